import fs from "node:fs";
import { dirname } from "node:path";
import { assert } from "../assert.ts";
import { DiskError } from "../world.ts";
import type { DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode } from "../world.ts";
import { reserveBlocks } from "./block-reservation.ts";
import { ColdReads } from "./cold-reads.ts";
import { DirectWrites } from "./direct-writes.ts";
import { diskError, settle } from "./disk-errors.ts";
import type { NativeSource } from "./native.ts";
import { lockFile } from "./file-lock.ts";
import { SyncQueue } from "./sync-queue.ts";
import { dirtyBytesMax, openFilesMax } from "./system-limits.ts";
import { threadPoolSize } from "./thread-pool.ts";
import { WarmRange } from "./warm-range.ts";

export interface NodeDiskOptions {
  readonly native: NativeSource;
  /** Up to so many files are synced each by itself; above it their file system is synced whole, where that can be. */
  readonly syncFilesMax?: number;
}

/**
 * Where the one way overtakes the other. Measured on a virtual disk (ext4, 4 syncs at a time), 4 KiB appended to each
 * file, median ms:
 *
 *     files        1     4     6     8    16    64   128   300
 *     fdatasync   0.2   0.3   0.5   0.9   1.8   6.9    20    25
 *     syncfs      0.3   0.3   0.4   0.6   0.9   2.5   4.6   8.5
 *
 * Not lower, since syncfs(2) also waits for what other programs have written to the file system.
 */
export const syncFilesMaxDefault: number = 6;

export class NodeDisk implements Disk {
  readonly #native: NativeSource;
  readonly #syncFilesMax: number;
  readonly #syncs: SyncQueue;
  readonly #directWrites: DirectWrites = new DirectWrites();
  readonly #coldReads: ColdReads = new ColdReads();
  readonly openFilesMax: number = openFilesMax();
  readonly dirtyBytesMax: number = dirtyBytesMax();
  /** A descriptor per file system, open for good: the kernel reports to it every write that failed since. */
  readonly #fileSystems = new Map<number, number>();

  constructor(options: NodeDiskOptions) {
    this.#native = options.native;
    this.#syncFilesMax = options.syncFilesMax ?? syncFilesMaxDefault;
    this.#syncs = new SyncQueue(Math.max(1, Math.floor(threadPoolSize() / 2)));
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    const means = { native: this.#native, syncs: this.#syncs, coldReads: this.#coldReads };
    return new Promise((resolve, reject) => {
      fs.open(path, openFlags[mode], (error, fd) => {
        if (error !== null) return reject(diskError(error, path, "open"));
        if (mode !== "durable") return resolve(new NodeDiskFile(path, fd, { ...means, durably: null }));
        this.#directWrites.open(path, openFlags.durable, (directFd) => {
          const durably = { isSyncedByUs: !isDsyncTrusted, directWrites: this.#directWrites, directFd };
          resolve(new NodeDiskFile(path, fd, { ...means, durably }));
        });
      });
    });
  }

  async makeDirectory(path: string): Promise<void> {
    let error = await makeOne(path);
    if (error?.code === "ENOENT" && dirname(path) !== path) {
      // Not the platform's own recursive form: that one tries for ever where the parent is there and takes no entries,
      // as a link that leads nowhere.
      await this.makeDirectory(dirname(path));
      error = await makeOne(path);
    }
    const isThere = error?.code === "EEXIST" && (await this.stat(path))?.kind === "directory";
    if (error !== null && !isThere) throw diskError(error, path, "make directory");
  }

  list(path: string): Promise<DirectoryEntry[]> {
    return new Promise((resolve, reject) => {
      fs.readdir(path, { withFileTypes: true }, (error, entries) => {
        if (error !== null) reject(diskError(error, path, "list"));
        else resolve(entries.map((entry) => ({ name: entry.name, kind: kindOf(entry) })));
      });
    });
  }

  stat(path: string): ReturnType<Disk["stat"]> {
    return new Promise((resolve, reject) => {
      fs.stat(path, (error, stats) => {
        if (error === null) {
          const kind = stats.isDirectory() ? "directory" : "file";
          resolve({ kind, sizeBytes: stats.size, modifiedMs: stats.mtimeMs });
        } else if (error.code === "ENOENT") resolve(null);
        else reject(diskError(error, path, "look at"));
      });
    });
  }

  readFile(path: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      fs.readFile(path, (error, bytes) => {
        if (error === null) resolve(bytes);
        else reject(diskError(error, path, "read"));
      });
    });
  }

  writeFile(path: string, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.writeFile(path, bytes, settle(path, "write", resolve, reject));
    });
  }

  copyFile(from: string, to: string): Promise<void> {
    // A clone where the file system has them (Btrfs, XFS, APFS), else a copy inside the kernel.
    const mode = fs.constants.COPYFILE_FICLONE | fs.constants.COPYFILE_EXCL;
    return new Promise((resolve, reject) => {
      fs.copyFile(from, to, mode, settle(from, `copy to ${to}:`, resolve, reject));
    });
  }

  rename(from: string, to: string): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.rename(from, to, settle(from, `rename to ${to}:`, resolve, reject));
    });
  }

  removeFile(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.unlink(path, (error) => {
        if (error === null || error.code === "ENOENT") resolve();
        else reject(diskError(error, path, "remove"));
      });
    });
  }

  removeDirectory(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.rm(path, { recursive: true, force: true }, settle(path, "remove directory", resolve, reject));
    });
  }

  async syncDirectory(path: string): Promise<void> {
    // Windows cannot open a directory, and its file systems journal names by themselves.
    if (process.platform === "win32") return;
    const fd = await openFd(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      await this.#syncs.run((done) => fs.fsync(fd, done), path, "sync directory");
    } finally {
      await closeFd(fd, path);
    }
  }

  async syncFiles(files: readonly DiskFile[]): Promise<void> {
    const ours = files.map(nodeFile);
    const calls = ours.length > this.#syncFilesMax ? this.#native.calls : null;
    if (calls === null || calls.syncfs === null) {
      await allSettled(ours.map((file) => file.sync()));
      return;
    }
    for (const file of ours) file.assertSyncable();
    const syncfs = calls.syncfs;
    const byDevice = Map.groupBy(ours, (file) => file.device());
    await allSettled([...byDevice].map(([device, members]) => this.#syncFileSystem(syncfs, device, members)));
  }

  async #syncFileSystem(
    syncfs: (fd: number, done: (isSynced: boolean) => void) => void,
    device: number,
    files: readonly NodeDiskFile[],
  ): Promise<void> {
    const [first] = files;
    assert(first !== undefined, "a file system to be synced has a dirty file");
    try {
      const fd = this.#fileSystems.get(device) ?? openDirectoryAbove(first.path);
      this.#fileSystems.set(device, fd);
      // The call runs on another thread, whose errno is gone when it answers: that it failed is all there is to know.
      const failure = Object.assign(new Error("syncfs failed"), { code: "EIO" });
      await this.#syncs.run(
        (done) => syncfs(fd, (isSynced) => done(isSynced ? null : failure)),
        dirname(first.path),
        "sync file system of",
      );
    } catch (error) {
      for (const file of files) file.failSync(error as DiskError);
      throw error;
    }
  }

  lock(path: string): Promise<DiskLock | null> {
    return lockFile(path);
  }

  space(path: string): ReturnType<Disk["space"]> {
    return new Promise((resolve, reject) => {
      fs.statfs(path, (error, stats) => {
        if (error === null) {
          resolve({ totalBytes: stats.blocks * stats.bsize, usableBytes: stats.bavail * stats.bsize });
        } else reject(diskError(error, path, "ask the space of"));
      });
    });
  }
}

/** Elsewhere the flag is missing, or leaves the bytes in the cache of the disk. */
const isDsyncTrusted: boolean = process.platform === "linux";

const openFlags: Readonly<Record<OpenMode, number>> = {
  read: fs.constants.O_RDONLY,
  write: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT,
  durable: fs.constants.O_RDWR | fs.constants.O_CREAT | (isDsyncTrusted ? fs.constants.O_DSYNC : 0),
};

// --- Files -----------------------------------------------------------------------------------------------------------

/** Of a file whose writes are durable when they are answered. */
interface DurableMeans {
  /** Each write is followed by a sync, where the system does not do it by itself. */
  readonly isSyncedByUs: boolean;
  readonly directWrites: DirectWrites;
  /** Null where the file system takes no direct writes. */
  readonly directFd: number | null;
}

/**
 * An open file of the operating system. It is closed only when the last call that uses its descriptor has returned,
 * since the kernel gives the same number to the next file that is opened.
 */
export class NodeDiskFile implements DiskFile {
  readonly path: string;
  /** Of what was written at once, and of what whoever reads it found in memory. */
  readonly warmRange: WarmRange = new WarmRange();
  readonly #fd: number;
  readonly #native: NativeSource;
  readonly #syncs: SyncQueue;
  readonly #coldReads: ColdReads;
  readonly #durably: DurableMeans | null;
  #isReadaheadEnded = false;
  #callsInFlight = 0;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  #device: number | null = null;
  /** R16: after a failed sync the kernel calls the lost pages clean. A later sync would lie, so that none is asked for. */
  #syncFailure: DiskError | null = null;

  constructor(
    path: string,
    fd: number,
    {
      native,
      syncs,
      coldReads,
      durably,
    }: {
      readonly native: NativeSource;
      readonly syncs: SyncQueue;
      readonly coldReads: ColdReads;
      readonly durably: DurableMeans | null;
    },
  ) {
    this.path = path;
    this.#fd = fd;
    this.#native = native;
    this.#syncs = syncs;
    this.#coldReads = coldReads;
    this.#durably = durably;
  }

  /** For a synchronous system call only: never to be kept across an await. Null when the file is closed. */
  get descriptor(): number | null {
    return this.#closing === null ? this.#fd : null;
  }

  sizeBytes(): Promise<number> {
    return new Promise((resolve, reject) => {
      if (!this.#enter(reject, "measure")) return;
      fs.fstat(this.#fd, (error, stats) => {
        this.#leave();
        if (error === null) resolve(stats.size);
        else reject(diskError(error, this.path, "measure"));
      });
    });
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    const writing = this.#write(buffers, position);
    return this.#durably?.isSyncedByUs === true ? writing.then(() => this.sync()) : writing;
  }

  #write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#enter(reject, "write")) return;
      const done = (error: Error | null): void => {
        this.#leave();
        if (this.#durably !== null) this.#coldReads.durableWriteEnded();
        if (error === null) resolve();
        else reject(diskError(error, this.path, "write"));
      };
      const directFd = this.#durably?.directFd ?? null;
      const sizeBytes = directFd === null ? 0 : buffers.reduce((sum, { length }) => sum + length, 0);
      if (this.#durably !== null) this.#coldReads.durableWriteBegan();
      if (directFd !== null && this.#durably?.directWrites.isPossible(position, sizeBytes) === true)
        this.#durably.directWrites.write(directFd, buffers, position, done);
      else this.#writeRest(buffers, position, done);
    });
  }

  #writeRest(buffers: readonly Uint8Array[], position: number, done: (error: Error | null) => void): void {
    const [first] = buffers;
    if (first === undefined) return done(null);
    const next = (error: Error | null, written: number): void => {
      if (error !== null) return done(error);
      const rest = dropBytes(buffers, written);
      if (rest.length === 0) done(null);
      // The disk took a part (it is nearly full, or a signal came): the rest follows, and fails by name if it must.
      else if (written === 0) done(Object.assign(new Error("no byte was taken"), { code: "EIO" }));
      else this.#writeRest(rest, position + written, done);
    };
    if (buffers.length === 1) fs.write(this.#fd, first, 0, first.length, position, next);
    else fs.writev(this.#fd, buffers as Uint8Array[], position, next);
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      if (!this.#enter(reject, "read")) return;
      this.#readRest(into, position, 0, (error, count) => {
        this.#leave();
        if (error === null) resolve(count);
        else reject(diskError(error, this.path, "read"));
      });
    });
  }

  #readRest(
    into: Uint8Array,
    position: number,
    have: number,
    done: (error: Error | null, count: number) => void,
  ): void {
    fs.read(this.#fd, into, have, into.length - have, position + have, (error, count) => {
      const total = have + count;
      if (error !== null || count === 0 || total === into.length) done(error, total);
      else this.#readRest(into, position, total, done);
    });
  }

  readNow(into: Uint8Array, position: number): number {
    return this.#now("read", () => {
      let have = 0;
      while (have < into.length) {
        const count = fs.readSync(this.#fd, into, have, into.length - have, position + have);
        if (count === 0) break;
        have += count;
      }
      return have;
    });
  }

  isInMemory(position: number, sizeBytes: number): boolean {
    if (this.warmRange.untilFrom(position, performance.now()) >= position + sizeBytes) return true;
    return this.#native.calls?.isCached?.(this.#fd, position, sizeBytes) ?? true;
  }

  warm(position: number, sizeBytes: number): Promise<void> {
    if (!this.#isReadaheadEnded && this.#closing === null) {
      this.#isReadaheadEnded = true;
      this.#native.calls?.endReadahead(this.#fd);
    }
    return this.#coldReads.run((into) => this.read(into, position), sizeBytes);
  }

  writeNow(bytes: Uint8Array, position: number, zeroBytes = 0): void {
    this.#now("write", () => {
      let written = zeroBytes === 0 ? 0 : writeWithZeros(this.#fd, { bytes, position, zeroBytes });
      while (written < bytes.length) {
        written += fs.writeSync(this.#fd, bytes, written, bytes.length - written, position + written);
      }
      this.warmRange.note(position, position + bytes.length, performance.now());
      if (this.#durably?.isSyncedByUs === true) fs.fdatasyncSync(this.#fd);
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#enter(reject, "truncate")) return;
      fs.ftruncate(this.#fd, sizeBytes, (error) => {
        this.#leave();
        if (error === null) resolve();
        else reject(diskError(error, this.path, "truncate"));
      });
    });
  }

  async reserve(sizeBytes: number, spareBytes = 0): Promise<void> {
    const { calls } = this.#native;
    if (calls === null) return;
    if (this.#closing !== null) throw new DiskError("EBADF", this.path, "reserve space in closed file");
    this.#callsInFlight++;
    try {
      await reserveBlocks({ fd: this.#fd, path: this.path, calls }, sizeBytes, spareBytes);
    } catch (error) {
      throw diskError(error as NodeJS.ErrnoException, this.path, `reserve ${sizeBytes} bytes for`);
    } finally {
      this.#leave();
    }
  }

  startWriteback(position: number, sizeBytes: number): void {
    const { calls } = this.#native;
    if (calls === null || this.#closing !== null) return;
    this.#callsInFlight++;
    calls.startWriteback(this.#fd, position, sizeBytes, () => this.#leave());
  }

  async sync(): Promise<void> {
    this.assertSyncable();
    this.#callsInFlight++;
    try {
      await this.#syncs.run((done) => fs.fdatasync(this.#fd, done), this.path, "sync");
    } catch (error) {
      this.failSync(error as DiskError);
      throw error;
    } finally {
      this.#leave();
    }
  }

  assertSyncable(): void {
    if (this.#syncFailure !== null) throw this.#syncFailure;
    if (this.#closing !== null) throw new DiskError("EBADF", this.path, "sync closed file");
  }

  failSync(failure: DiskError): void {
    this.#syncFailure ??= failure;
  }

  /** Which file system the file lies in. */
  device(): number {
    return (this.#device ??= this.#now("look at", () => fs.fstatSync(this.#fd).dev));
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve, reject) => {
      const close = (): void => {
        const directFd = this.#durably?.directFd ?? null;
        if (directFd !== null) fs.closeSync(directFd);
        fs.close(this.#fd, settle(this.path, "close", resolve, reject));
      };
      if (this.#callsInFlight === 0) close();
      else this.#onIdle = close;
    });
    return this.#closing;
  }

  #enter(reject: (error: DiskError) => void, operation: string): boolean {
    if (this.#closing === null) {
      this.#callsInFlight++;
      return true;
    }
    reject(new DiskError("EBADF", this.path, `${operation} closed file`));
    return false;
  }

  #leave(): void {
    this.#callsInFlight--;
    if (this.#callsInFlight === 0 && this.#onIdle !== null) this.#onIdle();
  }

  #now<T>(operation: string, call: () => T): T {
    if (this.#closing !== null) throw new DiskError("EBADF", this.path, `${operation} closed file`);
    try {
      return call();
    } catch (error) {
      throw diskError(error as NodeJS.ErrnoException, this.path, operation);
    }
  }
}

function nodeFile(file: DiskFile): NodeDiskFile {
  assert(file instanceof NodeDiskFile, "a disk syncs the files that it has opened");
  return file;
}

let zeros: Buffer = Buffer.alloc(0);

/** Tells how many of the bytes were written: none where the disk has no room for all of it. */
function writeWithZeros(
  fd: number,
  { bytes, position, zeroBytes }: { readonly bytes: Uint8Array; readonly position: number; readonly zeroBytes: number },
): number {
  if (zeros.length < zeroBytes) zeros = Buffer.alloc(zeroBytes);
  try {
    return Math.min(bytes.length, fs.writevSync(fd, [bytes, zeros.subarray(0, zeroBytes)], position));
  } catch (error) {
    // The bytes alone may still have room.
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") return 0;
    throw error;
  }
}

/** What is left of the buffers after their first bytes were taken. */
function dropBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  let dropped = 0;
  let index = 0;
  for (const buffer of buffers) {
    if (dropped + buffer.length > count) break;
    dropped += buffer.length;
    index++;
  }
  const cut = buffers[index];
  if (cut === undefined) return [];
  return [cut.subarray(count - dropped), ...buffers.slice(index + 1)];
}

/** Waits for all, so that no call is under way when the failure of one is told. */
async function allSettled(calls: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(calls)) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}

// --- Calls ----------------------------------------------------------------------------------------------------------

function makeOne(path: string): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    fs.mkdir(path, (error) => resolve(error));
  });
}

function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, (error, fd) => {
      if (error === null) resolve(fd);
      else reject(diskError(error, path, "open"));
    });
  });
}

/** The nearest directory that still has its name: an open file's own may have been renamed since. */
function openDirectoryAbove(path: string): number {
  const directory = dirname(path);
  try {
    return fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  } catch (error) {
    const isRoot = dirname(directory) === directory;
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && !isRoot) return openDirectoryAbove(directory);
    throw diskError(error as NodeJS.ErrnoException, directory, "open");
  }
}

function closeFd(fd: number, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(fd, settle(path, "close", resolve, reject));
  });
}

function kindOf(entry: fs.Dirent): DirectoryEntry["kind"] {
  if (entry.isFile()) return "file";
  return entry.isDirectory() ? "directory" : "other";
}
