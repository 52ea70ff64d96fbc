import type { TimeMs } from "./units.ts";

/**
 * Everything in which two runs can differ. Rooms take what they need of it as an argument; nobody imports a real one
 * but the entry points. The interfaces are coarse: one call a turn or a list of buffers, never one a record.
 */
export interface World {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly network: Network;
  readonly random: Random;
  readonly workers: Workers;
}

// --- Clock -----------------------------------------------------------------------------------------------------------

export interface Clock {
  /** Wall-clock time: stamps records, decides retention. It may step back or forward. */
  now(): TimeMs;
  /** Milliseconds from an arbitrary start, with fractions; never steps back. All durations are measured with it. */
  monotonicMs(): number;
  /**
   * Calls once after at least `delayMs` (clamped to 0 ... 2^31-1). Does not keep a process alive by itself, unless
   * someone waits for it (`isAwaited`): the pause before a retry must not look like the end of the program.
   */
  schedule(delayMs: number, callback: () => void, options?: { readonly isAwaited?: boolean }): Timer;
  /** Calls after the input that is already waiting has been served: the end of a turn. */
  afterTurn(callback: () => void): void;
}

export interface Timer {
  /** Harmless after it has fired. */
  cancel(): void;
}

// --- Random ----------------------------------------------------------------------------------------------------------

export interface Random {
  /** Unpredictable bytes, for identifiers and nonces. */
  bytes(count: number): Buffer;
  /** Uniform in [0, 1): jitter and choices that need not be secret. */
  fraction(): number;
}

// --- Disk ------------------------------------------------------------------------------------------------------------

/** Error codes of the operating system that callers tell apart; anything else arrives as "EIO"-like `code` text. */
export type DiskErrorCode =
  | "ENOENT"
  | "EEXIST"
  | "ENOSPC"
  | "EIO"
  | "EACCES"
  | "ENOTDIR"
  | "EISDIR"
  | "ENOTEMPTY"
  | (string & {});

/** Every method of Disk and DiskFile rejects (or throws, where it is synchronous) with this and nothing else. */
export class DiskError extends Error {
  override readonly name = "DiskError";
  readonly code: DiskErrorCode;
  readonly path: string;
  constructor(code: DiskErrorCode, path: string, operation: string, cause?: unknown) {
    super(`${operation} ${path}: ${code}`, { cause });
    this.code = code;
    this.path = path;
  }
}

/**
 * A file system. Paths are absolute or relative to the process, `/`-separated. Nothing is durable before it is synced:
 * a file's bytes by `DiskFile.sync` or `Disk.syncFiles`, its name by `Disk.syncDirectory` of the directory it lies in.
 */
export interface Disk {
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  /** Missing parents are made too. Does not sync them. */
  makeDirectory(path: string): Promise<void>;
  /** Names with their kinds, in no particular order. ENOENT when the directory is missing. */
  list(path: string): Promise<DirectoryEntry[]>;
  /** Null when nothing is there. */
  stat(
    path: string,
  ): Promise<{ readonly kind: "file" | "directory"; readonly sizeBytes: number; readonly modifiedMs: number } | null>;
  /** The whole file; ENOENT when it is missing. For small files. */
  readFile(path: string): Promise<Buffer>;
  /** Creates or truncates, writes, does not sync. For small files; `replaceFile` in base/replace-file is the durable way. */
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  /**
   * A file of its own with the same bytes: the file system shares its blocks where it can. Not synced; after a
   * failure a part of it may be there. EEXIST where the target is.
   */
  copyFile(from: string, to: string): Promise<void>;
  /** Atomic; an existing target file is replaced. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; missing is not an error. */
  removeFile(path: string): Promise<void>;
  /** Removes a directory with all it holds; missing is not an error. */
  removeDirectory(path: string): Promise<void>;
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): Promise<void>;
  /**
   * Makes the bytes of all these files durable with the least waiting: one group commit. Rejects if any of them could
   * not be synced; then nothing is known about any of them (R16: the log directory has failed).
   */
  syncFiles(files: readonly DiskFile[]): Promise<void>;
  /** An exclusive advisory lock that dies with the process; null when another process holds it. */
  lock(path: string): Promise<DiskLock | null>;
  /** Bytes of the file system that holds `path`. */
  space(path: string): Promise<{ readonly totalBytes: number; readonly usableBytes: number }>;
  /** How many files and connections the process may have open; missing where that is not known. */
  readonly openFilesMax?: number;
  /** So much may be written and not synced before the system begins to write by itself; missing where that is not known. */
  readonly dirtyBytesMax?: number;
}

/**
 * No mode truncates. `create` makes the file if it is missing; so does `durable`, where each write is on the disk when it is
 * answered (its bytes, and the size that it gave the file), with no sync after it.
 */
export type OpenMode = "read" | "write" | "create" | "durable";

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "other";
}

export interface DiskLock {
  release(): Promise<void>;
}

/** An open file. Positions and sizes are bytes. */
export interface DiskFile {
  readonly path: string;
  sizeBytes(): Promise<number>;
  /** Writes all buffers, one after the other, at `position`; resolves when the operating system has them. */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  /** Reads up to `into.length` bytes; resolves to the count, which is short only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** As `read`, on the calling thread: for index pages and headers that are known to be few bytes. */
  readNow(into: Uint8Array, position: number): number;
  /** Whether `readNow` of a range would find all of it in memory. Absent, or true, where the system cannot tell. */
  isInMemory?(position: number, sizeBytes: number): boolean;
  /**
   * Brings a range into memory, and no more: the system's own reading ahead, which would keep others waiting for the disk, ends for this
   * file. Such ranges are read one after the other. Absent where files are in memory anyway.
   */
  warm?(position: number, sizeBytes: number): Promise<void>;
  /**
   * As `write`, on the calling thread: for a few bytes (index entries), or what is in memory anyway. Behind them come as many zeros
   * as were asked for, or fewer where the disk is full.
   */
  writeNow(bytes: Uint8Array, position: number, zeroBytes?: number): void;
  /**
   * Sets the disk's blocks aside for a file that will be so long, and leaves its size as it is; `truncate`, to that size too, gives back what
   * was not written, and what there was of a reservation that failed. ENOSPC where so much is not free, with so much to spare. Absent, or
   * nothing is done, where the file system cannot do it.
   */
  reserve?(sizeBytes: number, spareBytes?: number): Promise<void>;
  /** Cuts or extends with zeros (a hole where the file system knows holes). */
  truncate(sizeBytes: number): Promise<void>;
  /**
   * A hint that this range will be synced: the disk may begin to write it, so that the sync has less to wait for. Nothing is
   * promised by it, and a system that cannot do it does nothing.
   */
  startWriteback(position: number, sizeBytes: number): void;
  /** fdatasync: bytes and size are durable when it resolves. */
  sync(): Promise<void>;
  /** Closing twice is harmless. */
  close(): Promise<void>;
}

/** A range of a file to be sent as it lies there. The holder of the slice keeps the file open until `release`. */
export interface FileSlice {
  readonly file: DiskFile;
  readonly position: number;
  readonly sizeBytes: number;
  /** Far from the end of its log: its reader has more to read than it can wait for, and others go first. */
  readonly isCatchUp?: boolean;
  /** Called exactly once by whoever was given the slice: after the last byte has left, or when it never will. */
  release(): void;
}

// --- Network ---------------------------------------------------------------------------------------------------------

export interface Network {
  /** Rejects with NetworkError (code EADDRINUSE, EACCES ...) naming host and port. Port 0 takes any free port. */
  listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener>;
  /** Rejects with NetworkError; its code is the system's, or TLS's (CERT_HAS_EXPIRED, DEPTH_ZERO_SELF_SIGNED_CERT ...). */
  connect(address: Address, options: ConnectOptions): Promise<Connection>;
}

export interface ConnectOptions {
  /** For everything up to the first byte, TLS's handshake included. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Absent: in the clear. */
  readonly tls?: TlsClientOptions;
}

/** Certificates and keys are PEM. */
export interface TlsClientOptions {
  /** Who may have signed the server's certificate. Absent: the authorities that the platform trusts. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  /** The client's own certificate with its chain, and its key: where the server asks for one. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly passphrase?: string;
  /**
   * The name that the certificate must hold, and that is sent as SNI. Absent: the host that is connected to. Where a cluster's
   * certificates hold the names of its brokers, leave it out: it is taken for all of them.
   */
  readonly serverName?: string;
  /** False takes any certificate: then nobody knows who answers. For tests. Default true. */
  readonly rejectUnauthorized?: boolean;
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a connection failed: on its way, while both sides agreed on TLS, or before, since a certificate or key cannot be used. */
export type NetworkErrorKind = "network" | "tls" | "options";

export class NetworkError extends Error {
  override readonly name = "NetworkError";
  readonly code: string;
  readonly kind: NetworkErrorKind;
  constructor(code: string, message: string, cause?: unknown, kind: NetworkErrorKind = "network") {
    super(message, { cause });
    this.code = code;
    this.kind = kind;
  }
}

export interface Listener {
  readonly address: Address;
  /** Takes no new connections; those that are open go on. */
  close(): Promise<void>;
}

export type Part = Uint8Array | FileSlice;

export interface Connection {
  readonly remote: Address;
  readonly local: Address;
  /** Called once, before the first byte is wanted. No byte is read before. */
  start(handlers: ConnectionHandlers): void;
  /** Stops the reading: TCP slows the peer down. At most one chunk that was already read still arrives. */
  pause(): void;
  resume(): void;
  /**
   * Queues parts behind those already queued; they leave in order and none is copied, so they must not change until
   * `onSent` was called. File slices go by sendfile(2) where the system has it. After a close nothing is sent; slices
   * are released all the same.
   */
  send(parts: readonly Part[], onSent?: () => void): void;
  /** Bytes queued and not yet taken by the operating system, file slices included. */
  readonly queuedBytes: number;
  /** Sends what is queued, then closes. */
  end(): void;
  /** Closes now. `reason` reaches `onClose`. What was sent before still comes to the peer, as late as the network likes. */
  destroy(reason?: Error): void;
  /** As `destroy`, and what has not come to the peer yet does not come any more, where the transport can do that (TCP's reset). */
  abort(reason?: Error): void;
}

export interface ConnectionHandlers {
  /** The chunk is valid during the call only: the next read writes over it. What is kept is copied. */
  onData(chunk: Buffer): void;
  /**
   * Where the next bytes are wanted, for whoever would copy a lot of them: what is read there comes to `onData` as a view of
   * it. Asked before each read, at most as much is then read as it holds. Null, and where the platform cannot: anywhere.
   */
  memory?(): Buffer | null;
  /** The peer will send no more. Answers may still go out. */
  onEnd(): void;
  /** Called exactly once, last. `error` tells why, where there is a reason. */
  onClose(error: Error | null): void;
}

/** HTTP, in the few words that a caller of ours needs: `globalThis.fetch` is one. */
export type Fetch = (url: string, request: FetchRequest) => Promise<FetchResponse>;

export interface FetchRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface FetchResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}

// --- Workers ---------------------------------------------------------------------------------------------------------

/** Work off the event loop: inline and in order in the simulator, worker threads in a real process. */
export interface Workers {
  /** Runs `task` by name with a structured-clonable argument, and the world as its thread sees it. */
  run<Input, Output>(task: WorkerTask<Input, Output>, input: Input, transfer?: readonly ArrayBuffer[]): Promise<Output>;
  close(): Promise<void>;
}

/** What of the world a task may use: most only compute. */
export interface WorkerHost {
  readonly disk: Disk;
  readonly clock: Clock;
}

/** A function that a worker can load: the module's file URL and the name of the exported function. It keeps no state. */
export interface WorkerTask<Input, Output> {
  readonly module: string;
  readonly name: string;
  /** It may run for minutes: others do not wait behind it. */
  readonly isLong?: boolean;
  /** Never set: carries the types. */
  readonly signature?: (input: Input, host: WorkerHost) => Output;
}
