import type { Socket } from "node:net";
import { getSystemErrorName } from "node:util";
import { assert } from "../assert.ts";
import type { FileSlice } from "../world.ts";
import type { CatchUpPacer } from "./catch-up.ts";
import { coldReadBytesMax } from "./cold-reads.ts";
import type { NativeSource, NativeCalls } from "./native.ts";
import { errno } from "./native.ts";
import { NodeDiskFile } from "./node-disk.ts";
import { SlabPool } from "./slab-pool.ts";

/** What one connection may send by sendfile before the others have their turn. */
const turnBytesMax = 1024 * 1024;
/** What is written the ordinary way when the socket is full, so that its callback tells when there is room again. */
const fullSocketBytesMax = 64 * 1024;
/**
 * Left to itself the kernel lets a socket's buffer grow to megabytes. What is sent in such bursts is no longer in the processor's cache
 * when the peer reads it: measured over loopback, fetches of 1 MB a partition took 0.26 CPU s/GB of the sender at 2.6 GB/s,
 * and 0.175 at 3.2 GB/s with 200 to 400 KB; from 550 KB on it is as without a bound. Of those, 320 KB did best. Kafka bounds it
 * too, to 100 KB.
 */
const sendBufferBytes = 320 * 1024;
/** Pages mostly come into memory in runs as long as the kernel's read ahead: one probe in each. */
const probeStrideBytes = 128 * 1024;
/** Read and written at once where there is no sendfile. */
const copiedBytesMax = 256 * 1024;

/** A slice on its way. Its lease is given back exactly once, however it ends. */
export class OutgoingSlice {
  readonly slice: FileSlice;
  sentBytes = 0;
  /** The file is being read on another thread: the lease must outlive the read. */
  isInUse = false;
  /** Position up to which the pages were found in memory, or read ahead: no probe is needed there. */
  warmUntil = 0;
  isSendfileRefused = false;
  #isReleased = false;
  #isAbandoned = false;

  constructor(slice: FileSlice) {
    this.slice = slice;
  }

  get position(): number {
    return this.slice.position + this.sentBytes;
  }

  get remainingBytes(): number {
    return this.slice.sizeBytes - this.sentBytes;
  }

  get isAbandoned(): boolean {
    return this.#isAbandoned;
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.slice.release();
  }

  /** The connection is gone. */
  abandon(): void {
    this.#isAbandoned = true;
    if (!this.isInUse) this.release();
  }
}

export interface SliceHost {
  /** So many bytes more are with the operating system. */
  progressed(sizeBytes: number): void;
  sent(): void;
  /** The promised bytes cannot be sent: the connection is of no use any more. */
  failed(error: Error): void;
}

/** Sends file slices over one socket, each when everything before it has left. */
export class SliceSender {
  readonly #socket: Socket;
  readonly #native: NativeSource;
  readonly #pacer: CatchUpPacer;
  #isBufferBounded = false;
  #turn = -1;
  #turnBytes = 0;

  constructor(socket: Socket, native: NativeSource, pacer: CatchUpPacer) {
    this.#socket = socket;
    this.#pacer = pacer;
    this.#native = native;
  }

  /** To be called when the socket's own queue is empty and the preceding write has been confirmed. */
  send(outgoing: OutgoingSlice, host: SliceHost): void {
    if (outgoing.isAbandoned || this.#socket.destroyed) return;
    if (outgoing.remainingBytes === 0) return host.sent();
    const calls = outgoing.isSendfileRefused ? null : this.#native.calls;
    const { file } = outgoing.slice;
    if (this.#allowedBytes(outgoing) === 0) this.#pacer.wait(() => this.send(outgoing, host));
    else if (calls === null || !(file instanceof NodeDiskFile)) this.#copy(outgoing, host);
    else this.#sendfile(calls, file, outgoing, host);
  }

  #allowedBytes({ slice, remainingBytes }: OutgoingSlice): number {
    return slice.isCatchUp === true ? this.#pacer.allow(remainingBytes) : remainingBytes;
  }

  #progressed(sentBytes: number, outgoing: OutgoingSlice, host: SliceHost): void {
    outgoing.sentBytes += sentBytes;
    if (outgoing.slice.isCatchUp === true) this.#pacer.count(sentBytes);
    host.progressed(sentBytes);
  }

  // --- sendfile ------------------------------------------------------------------------------------------------------

  #sendfile(calls: NativeCalls, file: NodeDiskFile, outgoing: OutgoingSlice, host: SliceHost): void {
    assert(this.#socket.writableLength === 0, "a slice starts when all bytes before it have left");
    while (outgoing.remainingBytes > 0) {
      const budgetBytes = this.#budgetBytes();
      if (budgetBytes <= 0) {
        setImmediate(() => this.send(outgoing, host));
        return;
      }
      // Both descriptors are read in the turn in which they are used: a closed one may be another file's by the next.
      const socketFd = socketDescriptor(this.#socket);
      const fileFd = file.descriptor;
      if (socketFd < 0) return;
      if (!this.#isBufferBounded) {
        this.#isBufferBounded = true;
        calls.setSendBuffer(socketFd, sendBufferBytes);
      }
      if (fileFd === null) return host.failed(new Error("the file was closed under its lease"));

      const allowedBytes = this.#allowedBytes(outgoing);
      if (allowedBytes === 0) return this.#pacer.wait(() => this.send(outgoing, host));
      const wantedBytes = Math.min(allowedBytes, budgetBytes);
      const warmBytes = warmBytesOf(calls, file, fileFd, outgoing, wantedBytes);
      if (warmBytes === null) {
        outgoing.isSendfileRefused = true;
        return this.#copy(outgoing, host);
      }
      if (warmBytes === 0) return this.#readAhead(file, outgoing, host);

      const answer = calls.sendfile(socketFd, fileFd, outgoing.position, warmBytes);
      if (answer > 0) {
        this.#turnBytes += answer;
        this.#progressed(answer, outgoing, host);
        if (answer < warmBytes) return this.#writeIntoFullSocket(file, warmBytes - answer, outgoing, host);
      } else if (answer === -errno.EAGAIN) return this.#writeIntoFullSocket(file, warmBytes, outgoing, host);
      else if (answer === -errno.EINVAL || answer === -errno.ENOSYS) {
        outgoing.isSendfileRefused = true;
        return this.#copy(outgoing, host);
      } else if (answer === 0) return host.failed(new Error("the file is shorter than its slice"));
      else if (answer !== -errno.EINTR) return host.failed(systemError("sendfile", answer));
    }
    host.sent();
  }

  #budgetBytes(): number {
    const turn = currentTurn();
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#turnBytes = 0;
    }
    return turnBytesMax - this.#turnBytes;
  }

  /** No more than was found in memory, so that the read does not wait for the disk. */
  #writeIntoFullSocket(file: NodeDiskFile, warmBytes: number, outgoing: OutgoingSlice, host: SliceHost): void {
    const slab = smallSlabs.take();
    const bytes = slab.subarray(0, Math.min(warmBytes, fullSocketBytesMax));
    let count: number;
    try {
      count = file.readNow(bytes, outgoing.position);
    } catch (error) {
      return host.failed(error as Error);
    }
    if (count < bytes.length) return host.failed(new Error("the file is shorter than its slice"));
    this.#writeSlab(smallSlabs, slab, bytes, outgoing, host);
  }

  /** Reads cold pages on the thread pool, for their presence in memory only: the loop never waits for a disk. */
  #readAhead(file: NodeDiskFile, outgoing: OutgoingSlice, host: SliceHost): void {
    const { position } = outgoing;
    const sizeBytes = Math.min(outgoing.remainingBytes, coldReadBytesMax);
    this.#whileInUse(outgoing, file.warm(position, sizeBytes), host, () => {
      outgoing.warmUntil = position + sizeBytes;
      this.send(outgoing, host);
    });
  }

  // --- Without sendfile ----------------------------------------------------------------------------------------------

  #copy(outgoing: OutgoingSlice, host: SliceHost): void {
    const pool = outgoing.remainingBytes > fullSocketBytesMax ? largeSlabs : smallSlabs;
    const slab = pool.take();
    const bytes = slab.subarray(0, Math.min(outgoing.remainingBytes, slab.length));
    this.#read(outgoing, bytes, host, () => this.#writeSlab(pool, slab, bytes, outgoing, host));
  }

  #read(outgoing: OutgoingSlice, into: Buffer, host: SliceHost, done: () => void): void {
    const reading = outgoing.slice.file.read(into, outgoing.position);
    this.#whileInUse(outgoing, reading, host, (count) => {
      if (count === into.length) done();
      else host.failed(new Error("the file is shorter than its slice"));
    });
  }

  #whileInUse<T>(outgoing: OutgoingSlice, work: Promise<T>, host: SliceHost, done: (result: T) => void): void {
    outgoing.isInUse = true;
    const settled = (): boolean => {
      outgoing.isInUse = false;
      if (outgoing.isAbandoned) outgoing.release();
      return !outgoing.isAbandoned && !this.#socket.destroyed;
    };
    work.then(
      (result) => {
        if (settled()) done(result);
      },
      (error: Error) => {
        if (settled()) host.failed(error);
      },
    );
  }

  #writeSlab(pool: SlabPool, slab: Buffer, bytes: Buffer, outgoing: OutgoingSlice, host: SliceHost): void {
    this.#socket.write(bytes, (error) => {
      // A slab of a broken socket is not used again: nobody says when the kernel has let it go.
      if (error !== undefined && error !== null) return;
      pool.give(slab);
      this.#progressed(bytes.length, outgoing, host);
      if (outgoing.remainingBytes === 0) host.sent();
      else this.send(outgoing, host);
    });
  }
}

const smallSlabs = new SlabPool({ slabBytes: fullSocketBytesMax, keptMax: 64 });
const largeSlabs = new SlabPool({ slabBytes: copiedBytesMax, keptMax: 32 });

/**
 * How many bytes from the slice's position are in memory; null when the file system cannot tell. A probe finds what is not
 * there and what is just being read; it costs a microsecond, too much for each page. Between the probes the pages are
 * counted: a search for a batch leaves lone pages in memory, and one of them may lie where a probe looks. What the file itself
 * remembers is not asked for.
 */
function warmBytesOf(
  calls: NativeCalls,
  file: NodeDiskFile,
  fileFd: number,
  outgoing: OutgoingSlice,
  wantedBytes: number,
): number | null {
  const start = outgoing.position;
  const end = start + wantedBytes;
  const nowMs = performance.now();
  outgoing.warmUntil = Math.max(start, outgoing.warmUntil, file.warmRange.untilFrom(start, nowMs));
  if (outgoing.warmUntil >= end) return wantedBytes;
  const from = outgoing.warmUntil;
  let position = from;
  while (position < end) {
    const next = Math.min((Math.floor(position / probeStrideBytes) + 1) * probeStrideBytes, end);
    // The last byte, since what is just being read comes from the front.
    const answer = calls.readCached(fileFd, next - 1, 1);
    if (answer === -errno.EAGAIN) break;
    if (answer === -errno.EINTR) continue;
    if (answer < 0) return null;
    position = next;
  }
  const hasHole = position > from && calls.isCached?.(fileFd, from, position - from) === false;
  outgoing.warmUntil = hasHole ? from : position;
  if (outgoing.warmUntil > from) file.warmRange.note(from, outgoing.warmUntil, nowMs);
  return outgoing.warmUntil - start;
}

/** What is sent to the descriptor beneath a TLS socket, which the platform tells like any other, would not be encrypted. */
export function isEncrypted(socket: Socket): boolean {
  return (socket as unknown as { readonly encrypted?: boolean }).encrypted === true;
}

/** The platform does not give it out, but every version so far has it here. */
export function socketDescriptor(socket: Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd?: number } | null })._handle?.fd ?? -1;
}

function systemError(call: string, answer: number): Error {
  const code = getSystemErrorName(answer);
  return Object.assign(new Error(`${call}: ${code}`), { code });
}

// --- Turns -----------------------------------------------------------------------------------------------------------

let turn = 0;
let isTurnEndDue = false;

/** A number that changes once the event loop has served every other socket that was ready. */
function currentTurn(): number {
  if (!isTurnEndDue) {
    isTurnEndDue = true;
    setImmediate(() => {
      isTurnEndDue = false;
      turn++;
    });
  }
  return turn;
}
