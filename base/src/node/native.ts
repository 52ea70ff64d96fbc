import { closeSync, readSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, release } from "node:os";

/**
 * The calls of the operating system that the platform does not offer. Each synchronous one answers like the kernel: a
 * count, or the negative errno.
 */
export interface NativeCalls {
  /** Sends file bytes to a non-blocking socket without copying them through this process. */
  sendfile(socketFd: number, fileFd: number, position: number, sizeBytes: number): number;
  /**
   * Reads up to `sizeBytes` (at most `cachedReadBytesMax`) into `cachedRead`, but only what needs no disk access:
   * -EAGAIN when the first page is not in memory, -EOPNOTSUPP when the file system cannot tell. What was read lasts
   * until the next call.
   */
  readCached(fileFd: number, position: number, sizeBytes: number): number;
  readonly cachedRead: Buffer;
  /** Whether every page of a range is in memory. Null where the kernel does not count them (before 6.5). */
  readonly isCached: ((fileFd: number, position: number, sizeBytes: number) => boolean) | null;
  /** Gives bytes to a socket as far as it takes them at once: a third of what the platform's streams cost for a small answer. */
  send(socketFd: number, bytes: Uint8Array): number;
  /** The next connection that waits at a listening socket, as a descriptor that does not block: -EAGAIN when none does. */
  accept(listeningFd: number): number;
  /** Bounds what the kernel takes for a socket before the peer has read it (SO_SNDBUF; it doubles the number). */
  setSendBuffer(socketFd: number, sizeBytes: number): void;
  /** Begins to write a range of the file's dirty pages to the disk, and does not wait for it. Too many at a time are left out. */
  startWriteback(fd: number, position: number, sizeBytes: number, done: () => void): void;
  /**
   * Allocates blocks up to a size that the file does not have yet (fallocate, FALLOC_FL_KEEP_SIZE). Tells 0, or the negative errno;
   * then a part of them may be the file's all the same.
   */
  reserve(fd: number, sizeBytes: number, done: (result: number) => void): void;
  /** Ends the reading ahead of what follows a read, for this descriptor (POSIX_FADV_RANDOM). */
  endReadahead(fd: number): void;
  /** Syncs the file system that holds the open file. Null where the kernel does not report its errors (before 5.8). */
  readonly syncfs: ((fd: number, done: (isSynced: boolean) => void) => void) | null;
}

/** Where a read into memory and one joint write still cost less than a `sendfile` of its own (measured: about 20 KB). */
export const cachedReadBytesMax: number = 16 * 1024;

/** errno of an answer below zero. */
export const errno: Readonly<
  Record<"EAGAIN" | "EINTR" | "EOPNOTSUPP" | "EBADF" | "EINVAL" | "ENOSYS" | "ENOSPC" | "EDQUOT" | "EIO", number>
> = constants.errno;

/** Why there are no native calls, in words for the log and for the metric; null when there are. */
export interface NativeStatus {
  readonly calls: NativeCalls | null;
  readonly reason: string | null;
}

/** What disk and network need to know. */
export interface NativeSource {
  readonly calls: NativeCalls | null;
}

/**
 * Loads the native calls at the first question. That takes 15-30 ms and 7 MB, so that a broker first becomes ready and
 * then calls `load`; whoever needs the calls earlier simply asks.
 */
export class Native implements NativeSource {
  #status: NativeStatus | null;

  constructor(options: { readonly isWanted: boolean }) {
    this.#status = options.isWanted ? null : { calls: null, reason: "switched off by configuration" };
  }

  get calls(): NativeCalls | null {
    return (this.#status ?? this.load()).calls;
  }

  get reason(): string | null {
    return (this.#status ?? this.load()).reason;
  }

  load(): NativeStatus {
    return (this.#status ??= nativeCalls());
  }
}

let loaded: NativeStatus | null = null;

/** One binding a process: the library is loaded once, however many worlds there are. */
function nativeCalls(): NativeStatus {
  loaded ??= loadAndTest();
  return loaded;
}

function loadAndTest(): NativeStatus {
  if (process.platform !== "linux") return { calls: null, reason: `sendfile is not bound on ${process.platform}` };
  if (process.arch !== "x64" && process.arch !== "arm64") {
    return { calls: null, reason: `sendfile is not bound on ${process.arch}` };
  }
  try {
    const { calls, createMemoryFile } = bind();
    selfTest(calls, createMemoryFile);
    return { calls, reason: null };
  } catch (error) {
    return { calls: null, reason: error instanceof Error ? firstLine(error.message) : String(error) };
  }
}

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? text;

// --- Binding ---------------------------------------------------------------------------------------------------------

type ForeignFunction = ((...args: readonly unknown[]) => number) & {
  async(...args: readonly unknown[]): void;
};

/** The part of koffi that is used here. koffi is an optional dependency, so that its own types may be absent too. */
interface Koffi {
  load(path: null): { func(name: string, result: string, parameters: readonly string[]): ForeignFunction };
  config(settings: Readonly<Record<string, number>>): void;
  errno(): number;
  address(value: Uint8Array): bigint;
}

const doNotWait = 8; // RWF_NOWAIT
const beginWrite = 2; // SYNC_FILE_RANGE_WRITE
/** koffi has room for 64 calls on other threads, of all kinds; a hint can be left out. */
const writebacksMax = 16;
const keepSize = 1; // FALLOC_FL_KEEP_SIZE
const randomAccess = 1; // POSIX_FADV_RANDOM
const socketLevel = 1; // SOL_SOCKET
const sendBuffer = 7; // SO_SNDBUF
const sendFlags = 0x4040; // MSG_DONTWAIT | MSG_NOSIGNAL
const acceptFlags = 0o2004000; // SOCK_CLOEXEC | SOCK_NONBLOCK
const cachestatNumber = 451; // On both architectures; the libc has no function for it.

function bind(): { calls: NativeCalls; createMemoryFile: (name: string) => number } {
  const koffi = createRequire(import.meta.url)("koffi") as Koffi;
  try {
    // The calls below pass a few words each; the defaults would set aside three megabytes for them.
    koffi.config({ sync_stack_size: 256 * 1024, sync_heap_size: 64 * 1024, resident_async_pools: 1 });
  } catch {
    // Another user of koffi in this process has made a call already: its settings stay.
  }
  const libc = koffi.load(null); // The libc of this process, glibc and musl alike.
  const sendfile = libc.func("sendfile", "int64_t", ["int", "int", "void *", "size_t"]);
  const preadv2 = libc.func("preadv2", "int64_t", ["int", "void *", "int", "int64_t", "int"]);
  const syncfs = libc.func("syncfs", "int", ["int"]);
  const syncFileRange = libc.func("sync_file_range", "int", ["int", "int64_t", "int64_t", "uint"]);
  const fallocate = libc.func("fallocate", "int", ["int", "int", "int64_t", "int64_t"]);
  const fadvise = libc.func("posix_fadvise", "int", ["int", "int64_t", "int64_t", "int"]);
  const setsockopt = libc.func("setsockopt", "int", ["int", "int", "int", "void *", "uint"]);
  const send = libc.func("send", "int64_t", ["int", "void *", "size_t", "int"]);
  const accept4 = libc.func("accept4", "int", ["int", "void *", "void *", "int"]);
  const memfdCreate = libc.func("memfd_create", "int", ["str", "uint"]);
  const cachestat = libc.func("syscall", "int64_t", ["int64_t", "int", "void *", "void *", "uint"]);
  const pageBytes = libc.func("getpagesize", "int", [])();

  const offset = new Uint32Array(2); // off_t; both architectures are little-endian
  const offsetBytes = new Uint8Array(offset.buffer);
  const cachedRead = Buffer.allocUnsafeSlow(cachedReadBytesMax);
  const vector = new BigUint64Array(2); // struct iovec { void *base; size_t length }
  const vectorBytes = new Uint8Array(vector.buffer);
  const vectorLength = new Uint32Array(vector.buffer, 8, 2);
  vector[0] = koffi.address(cachedRead);
  const range = new BigUint64Array(2); // struct cachestat_range { off, len }
  const rangeBytes = new Uint8Array(range.buffer);
  const rangeWords = new Uint32Array(range.buffer);
  const counts = new BigUint64Array(5); // struct cachestat, whose first field counts the pages in memory
  const countsBytes = new Uint8Array(counts.buffer);
  const countWords = new Uint32Array(counts.buffer);
  const countCached = (fileFd: number, position: number, sizeBytes: number): number => {
    rangeWords[0] = position >>> 0;
    rangeWords[1] = Math.floor(position / 2 ** 32);
    rangeWords[2] = sizeBytes;
    return cachestat(cachestatNumber, fileFd, rangeBytes, countsBytes, 0) === 0 ? (countWords[0] ?? 0) : -koffi.errno();
  };

  let writebacks = 0;

  const calls: NativeCalls = {
    cachedRead,
    sendfile(socketFd, fileFd, position, sizeBytes) {
      offset[0] = position >>> 0;
      offset[1] = Math.floor(position / 2 ** 32);
      const sent = sendfile(socketFd, fileFd, offsetBytes, sizeBytes);
      return sent >= 0 ? sent : -koffi.errno();
    },
    readCached(fileFd, position, sizeBytes) {
      vectorLength[0] = Math.min(sizeBytes, cachedReadBytesMax);
      const count = preadv2(fileFd, vectorBytes, 1, position, doNotWait);
      return count >= 0 ? count : -koffi.errno();
    },
    // A container's filter of system calls may refuse it, too.
    isCached:
      countCached(-1, 0, 1) === -errno.EBADF
        ? (fileFd, position, sizeBytes) => {
            const pages = Math.floor((position + sizeBytes - 1) / pageBytes) - Math.floor(position / pageBytes) + 1;
            return countCached(fileFd, position, sizeBytes) === pages;
          }
        : null,
    send(socketFd, bytes) {
      const sent = send(socketFd, bytes, bytes.length, sendFlags);
      return sent >= 0 ? sent : -koffi.errno();
    },
    accept(listeningFd) {
      const fd = accept4(listeningFd, null, null, acceptFlags);
      return fd >= 0 ? fd : -koffi.errno();
    },
    setSendBuffer(socketFd, sizeBytes) {
      // A kernel that refuses it sends all the same.
      const value = new Uint8Array(new Uint32Array([sizeBytes]).buffer);
      setsockopt(socketFd, socketLevel, sendBuffer, value, value.length);
    },
    startWriteback(fd, position, sizeBytes, done) {
      if (writebacks >= writebacksMax) return done();
      writebacks += 1;
      // On another thread, since a full queue of the disk makes the caller wait.
      syncFileRange.async(fd, position, sizeBytes, beginWrite, () => {
        writebacks -= 1;
        done();
      });
    },
    reserve(fd, sizeBytes, done) {
      fallocate.async(fd, keepSize, 0, sizeBytes, (error: unknown, result: number) =>
        // koffi carries the errno over from the thread of the call.
        done(error === null && result === 0 ? 0 : -koffi.errno()),
      );
    },
    endReadahead(fd) {
      fadvise(fd, 0, 0, randomAccess);
    },
    syncfs: isSyncfsHonest(release())
      ? (fd, done) => syncfs.async(fd, (error: unknown, result: number) => done(error === null && result === 0))
      : null,
  };
  return { calls, createMemoryFile: (name) => memfdCreate(name, 0) };
}

/** Since Linux 5.8 syncfs(2) reports that a write failed; before, it says yes to everything. */
export function isSyncfsHonest(kernelRelease: string): boolean {
  const [major = 0, minor = 0] = kernelRelease.split(".").map((part) => Number.parseInt(part, 10));
  return major > 5 || (major === 5 && minor >= 8);
}

// --- Self-test -------------------------------------------------------------------------------------------------------

/** A wrong binding must show at start-up, not in the bytes that a consumer receives. */
function selfTest(calls: NativeCalls, createMemoryFile: (name: string) => number): void {
  const source = createMemoryFile("millrace-source");
  const target = createMemoryFile("millrace-target");
  if (source < 0 || target < 0) throw new Error("self-test: no memory file can be created");
  try {
    const expected = Buffer.from("the bytes that a native call must move without a change");
    writeSync(source, expected, 0, expected.length, 0);
    const [skipped, wanted] = [4, 20];
    const sent = calls.sendfile(target, source, skipped, wanted);
    if (sent !== wanted) throw new Error(`self-test: sendfile answered ${sent} instead of ${wanted}`);
    const moved = Buffer.alloc(wanted);
    readSync(target, moved, 0, wanted, 0);
    const isMoved = moved.equals(expected.subarray(skipped, skipped + wanted));
    if (!isMoved) throw new Error("self-test: sendfile moved other bytes");

    const read = calls.readCached(source, skipped, wanted);
    const isRead = read === wanted && calls.cachedRead.subarray(0, wanted).equals(moved);
    // A memory file may live on a file system that does not know the flag; the answer is then still the kernel's.
    if (!isRead && read !== -errno.EOPNOTSUPP) throw new Error(`self-test: preadv2 answered ${read}`);
    const isCounted = calls.isCached?.(source, skipped, wanted) ?? true;
    if (!isCounted) throw new Error("self-test: cachestat missed a page that was just written");
    const refused = calls.sendfile(-1, -1, 0, 1);
    if (refused !== -errno.EBADF) throw new Error(`self-test: sendfile on no file answered ${refused}`);
  } finally {
    closeSync(source);
    closeSync(target);
  }
}
