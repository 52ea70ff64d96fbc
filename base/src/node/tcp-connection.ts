import type { Socket } from "node:net";
import { Deque } from "../deque.ts";
import { NetworkError } from "../world.ts";
import type { Address, Connection, ConnectionHandlers, FileSlice, Part } from "../world.ts";
import type { CatchUpPacer } from "./catch-up.ts";
import { keepFreedMemory } from "./freed-memory.ts";
import type { NativeSource } from "./native.ts";
import { cachedReadBytesMax } from "./native.ts";
import { NodeDiskFile } from "./node-disk.ts";
import type { SharedReads } from "./shared-reads.ts";
import { isEncrypted, OutgoingSlice, SliceSender, socketDescriptor } from "./slice-sender.ts";
import { connectionFailure, hostAndPort } from "./tcp-errors.ts";

/** Up to so many bytes, several parts are copied into one write: cheaper than a list of buffers for the kernel. */
const joinedBytesMax = 16 * 1024;
/** What is handed to the socket at once: the callbacks of its parts come when all of it has left. */
const runBytesMax = 512 * 1024;
/** An answer with so much of files is of a reader for whom the rate counts, not the moment. */
const bulkBytesMin = 256 * 1024;
/** How long a connection that we have ended waits for its peer to end too. */
const lingerMs = 1000;

/** A part, or what is to be called when all parts before it have left. */
type Queued = Uint8Array | OutgoingSlice | (() => void);

/**
 * A TCP connection. What is sent in one turn of the event loop leaves in as few writes as its file slices allow: a small
 * answer is one write, and so are five small answers.
 */
export class TcpConnection implements Connection {
  readonly remote: Address;
  readonly local: Address;
  readonly #socket: Socket;
  readonly #native: NativeSource;
  readonly #reads: SharedReads;
  readonly #slices: SliceSender;
  readonly #pacer: CatchUpPacer;
  /** Of the answer that was sent last. */
  #sliceBytes = 0;
  readonly #queue = new Deque<Queued>();
  #handlers: ConnectionHandlers | null = null;
  #queuedBytes = 0;
  /** A write, a read ahead or a pause for the other connections is under way: its end calls `#flush`. */
  #isBusy = false;
  #isFlushDue = false;
  #isPaused = false;
  #isEnding = false;
  #isClosed = false;
  #closeReason: Error | null = null;

  constructor(socket: Socket, native: NativeSource, reads: SharedReads, pacer: CatchUpPacer) {
    this.#socket = socket;
    this.#reads = reads;
    // What goes past TLS would go in plain text.
    this.#native = isEncrypted(socket) ? { calls: null } : native;
    this.remote = { host: plainHost(socket.remoteAddress), port: socket.remotePort ?? 0 };
    this.local = { host: plainHost(socket.localAddress), port: socket.localPort ?? 0 };
    this.#pacer = pacer;
    this.#slices = new SliceSender(socket, this.#native, pacer);
    socket.on("error", (error) => {
      this.#closeReason ??= connectionFailure(error, this.remote);
    });
    socket.on("close", () => this.#onClosed());
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    if (this.#isClosed) {
      queueMicrotask(() => handlers.onClose(this.#closeReason));
      return;
    }
    this.#reads.receive = (chunk) => {
      // Where a resume and a pause fall into one turn, the platform begins to read all the same.
      if (this.#isPaused) this.#socket.pause();
      // Who is given much at a time is not kept waiting by others who are.
      if (this.#sliceBytes < bulkBytesMin) this.#pacer.countRequest();
      if (!this.#isEnding) handlers.onData(chunk);
    };
    if (handlers.memory !== undefined) {
      keepFreedMemory();
      this.#reads.memory = () => handlers.memory?.() ?? null;
    }
    this.#socket.on("end", () => {
      if (!this.#isEnding) handlers.onEnd();
    });
    if (!this.#isPaused) this.#socket.resume();
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#handlers !== null) this.#socket.resume();
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send(parts: readonly Part[], onSent?: () => void): void {
    if (this.#isEnding || this.#isClosed || this.#socket.destroyed) {
      for (const part of parts) if (isSlice(part)) part.release();
      return;
    }
    let sliceBytes = 0;
    for (const part of parts) {
      if (isSlice(part)) {
        this.#queue.push(new OutgoingSlice(part));
        sliceBytes += part.sizeBytes;
        this.#queuedBytes += part.sizeBytes;
      } else if (part.length > 0) {
        this.#queue.push(part);
        this.#queuedBytes += part.length;
      }
    }
    this.#sliceBytes = sliceBytes;
    if (onSent !== undefined) this.#queue.push(onSent);
    this.#flushAfterTurn();
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#flushAfterTurn();
  }

  destroy(reason?: Error): void {
    if (this.#isClosed || this.#socket.destroyed) return;
    this.#closeReason ??= reason ?? null;
    this.#socket.destroy();
  }

  abort(reason?: Error): void {
    if (this.#isClosed || this.#socket.destroyed) return;
    this.#closeReason ??= reason ?? null;
    // A connection that is encrypted has no reset of its own.
    if (isEncrypted(this.#socket)) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  // --- Sending -------------------------------------------------------------------------------------------------------

  #flushAfterTurn(): void {
    if (this.#isBusy || this.#isFlushDue) return;
    this.#isFlushDue = true;
    flushAfterTurn(this);
  }

  /** Called at the end of the turn in which something was queued. */
  flushNow(): void {
    this.#isFlushDue = false;
    if (!this.#isBusy) this.#flush();
  }

  #flush(): void {
    while (!this.#isClosed && !this.#socket.destroyed) {
      this.#callReached();
      if (!this.#sendFirst()) break;
    }
    if (this.#isClosed || this.#socket.destroyed) return;
    const run = this.#takeRun();
    if (run.length > 0) return this.#write(run);
    const next = this.#queue.first();
    if (next instanceof OutgoingSlice) this.#sendSlice(next);
    else if (this.#isEnding) this.#finish();
  }

  /** Callbacks before the first part: what they waited for has left. */
  #callReached(): void {
    for (let next = this.#queue.first(); typeof next === "function"; next = this.#queue.first()) {
      this.#queue.shift();
      next();
    }
  }

  /** A small part with nothing to be joined to it, as most answers are: whether all of it has left. */
  #sendFirst(): boolean {
    const first = this.#queue.first();
    const second = this.#queue.at(1);
    if (!(first instanceof Uint8Array) || first.length > joinedBytesMax) return false;
    if (second !== undefined && typeof second !== "function") return false;
    const sentBytes = this.#sendNow(first);
    this.#queuedBytes -= sentBytes;
    if (sentBytes > 0) this.#queue.shift();
    if (sentBytes > 0 && sentBytes < first.length) this.#queue.unshift(first.subarray(sentBytes));
    return sentBytes === first.length;
  }

  /** The parts up to the next slice that is too large for memory, and the callbacks among them. */
  #takeRun(): Run {
    const run: Run = [];
    let sizeBytes = 0;
    for (let next = this.#queue.first(); next !== undefined; next = this.#queue.first()) {
      if (typeof next !== "function") {
        if (sizeBytes >= runBytesMax) break;
        const bytes: Uint8Array | null = next instanceof OutgoingSlice ? this.#inlined(next) : next;
        if (bytes === null) break;
        sizeBytes += bytes.length;
        if (bytes.length > 0) run.push(bytes);
      } else run.push(next);
      this.#queue.shift();
    }
    return run;
  }

  /** The bytes of a slice so small that a call of its own costs more than the copy; null when it must be sent as a slice. */
  #inlined(outgoing: OutgoingSlice): Uint8Array | null {
    const { slice } = outgoing;
    const { file, position, sizeBytes } = slice;
    if (sizeBytes > cachedReadBytesMax || outgoing.sentBytes > 0) return null;
    const descriptor = file instanceof NodeDiskFile ? file.descriptor : null;
    const calls = this.#native.calls;
    if (calls === null || descriptor === null) return null;
    if (sizeBytes > 0 && calls.readCached(descriptor, position, sizeBytes) !== sizeBytes) return null;
    const bytes = Buffer.allocUnsafe(sizeBytes);
    calls.cachedRead.copy(bytes, 0, 0, sizeBytes);
    outgoing.release();
    return bytes;
  }

  #write(run: Run): void {
    const buffers = run.filter((part) => typeof part !== "function");
    const callbacks = run.filter((part) => typeof part === "function");
    const sizeBytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    const [only] = buffers;
    const joined = buffers.length === 1 ? only : sizeBytes <= joinedBytesMax ? Buffer.concat(buffers, sizeBytes) : null;
    this.#isBusy = true;
    const written = (error?: Error | null): void => {
      // After a failure the socket closes, and that ends everything.
      if (error !== undefined && error !== null) return;
      this.#queuedBytes -= sizeBytes;
      this.#isBusy = false;
      for (const callback of callbacks) callback();
      if (!this.#isBusy) this.#flush();
    };
    if (joined !== null && joined !== undefined) {
      const sentBytes = sizeBytes <= joinedBytesMax ? this.#sendNow(joined) : 0;
      if (sentBytes === sizeBytes) written();
      else this.#socket.write(joined.subarray(sentBytes), written);
    } else {
      this.#socket.cork();
      const last = buffers.length - 1;
      for (let index = 0; index < last; index++) this.#socket.write(buffers[index] as Uint8Array);
      this.#socket.write(buffers[last] as Uint8Array, written);
      this.#socket.uncork();
    }
  }

  /** How much of it has left. Whatever is wrong with the socket is left to the platform, which is given the rest. */
  #sendNow(bytes: Uint8Array): number {
    const { calls } = this.#native;
    const socketFd = socketDescriptor(this.#socket);
    if (calls === null || socketFd < 0 || this.#socket.writableLength > 0) return 0;
    return Math.max(0, calls.send(socketFd, bytes));
  }

  #sendSlice(outgoing: OutgoingSlice): void {
    this.#isBusy = true;
    this.#slices.send(outgoing, {
      progressed: (sizeBytes) => {
        this.#queuedBytes -= sizeBytes;
      },
      // After every await the socket may be gone: its close has cleared the queue then.
      sent: () => {
        this.#isBusy = false;
        if (this.#queue.first() === outgoing) this.#queue.shift();
        outgoing.release();
        this.#flush();
      },
      failed: (error) => this.destroy(this.#sliceFailure(outgoing, error)),
    });
  }

  #sliceFailure({ slice }: OutgoingSlice, error: NodeJS.ErrnoException): NetworkError {
    const code = error.code ?? "EIO";
    const isPeersDoing = code === "EPIPE" || code === "ECONNRESET" || code === "ETIMEDOUT";
    if (isPeersDoing) return connectionFailure(error, this.remote);
    const range = `${slice.sizeBytes} bytes at ${slice.position} of ${slice.file.path}`;
    return new NetworkError(code, `${range} could not be sent to ${hostAndPort(this.remote)}: ${error.message}`, error);
  }

  // --- Closing -------------------------------------------------------------------------------------------------------

  #finish(): void {
    const socket = this.#socket;
    if (socket.writableEnded) return;
    socket.end(() => {
      if (socket.destroyed) return;
      // Input that nobody reads would make the kernel reset the connection, and the last answer could be lost by it.
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
      socket.once("close", () => clearTimeout(timer));
    });
  }

  #onClosed(): void {
    this.#isClosed = true;
    for (const part of this.#queue) if (part instanceof OutgoingSlice) part.abandon();
    this.#queue.clear();
    this.#queuedBytes = 0;
    this.#handlers?.onClose(this.#closeReason);
  }
}

type Run = (Uint8Array | (() => void))[];

function isSlice(part: Part): part is FileSlice {
  return !(part instanceof Uint8Array);
}

/** A socket that listens on both families shows IPv4 peers as `::ffff:127.0.0.1`. */
function plainHost(host: string | undefined): string {
  return host === undefined ? "" : host.replace(/^::ffff:(?=\d+\.)/, "");
}

// --- End of turn -----------------------------------------------------------------------------------------------------

const waiting = new Deque<TcpConnection>();

/**
 * Flushes when the callback that runs now and all microtasks that follow from it are done: a commit that answers five
 * requests of a connection makes one write. A tick that is queued from a microtask runs after the last microtask.
 */
function flushAfterTurn(connection: TcpConnection): void {
  waiting.push(connection);
  if (waiting.length === 1) queueMicrotask(flushOnTick);
}

const flushOnTick = (): void => process.nextTick(flushWaiting);

function flushWaiting(): void {
  for (let left = waiting.length; left > 0; left--) waiting.shift()?.flushNow();
}
