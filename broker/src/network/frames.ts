import { Deque } from "@millrace/base/deque";
import type { FramePool } from "./frame-pool.ts";

/** A frame that can not be one: the connection is closed with this reason. */
export class BadFrame extends Error {
  override readonly name = "BadFrame";
}

const lengthBytes = 4;
/** What a connection that has not shown larger frames yet gets at once for a frame it announces. */
const trustedBytesMin = 16 * 1024;
const trustedBytesMax = 4 * 1024 * 1024;

/**
 * Cuts a stream of chunks into frames: an int32 length, then so many bytes. A claimed length costs little: a frame's
 * memory grows with the bytes that arrive, and only a connection that has sent frames of a size before gets so much at once.
 */
export class FrameAssembler {
  readonly #frameBytesMax: number;
  readonly #pool: FramePool;
  readonly #whole = new Deque<Buffer>();
  /** Whole frames and the begun one, lengths included. */
  #bufferedBytes = 0;
  readonly #length = Buffer.alloc(lengthBytes);
  #lengthFilled = 0;
  /** The frame that is being filled. */
  #frame: Buffer | null = null;
  #frameBytes = 0;
  #filledBytes = 0;
  #trustedBytes = trustedBytesMin;
  #failure: BadFrame | null = null;

  constructor(frameBytesMax: number, pool: FramePool) {
    this.#frameBytesMax = frameBytesMax;
    this.#pool = pool;
  }

  /** Bytes that arrived and were not yet handed out. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Takes a copy of the chunk's bytes. */
  push(chunk: Buffer): void {
    this.#bufferedBytes += chunk.length;
    let at = 0;
    while (at < chunk.length && this.#failure === null) {
      if (this.#frame === null) at = this.#readLength(chunk, at);
      else at = this.#fill(this.#frame, chunk, at);
    }
  }

  /**
   * The next whole frame without its length, or null while there is none.
   * @throws BadFrame when, after all frames before it, a length is negative or above the limit.
   */
  next(): Buffer | null {
    const frame = this.#whole.shift();
    if (frame !== undefined) {
      this.#bufferedBytes -= frame.length + lengthBytes;
      return frame;
    }
    if (this.#failure !== null) throw this.#failure;
    return null;
  }

  #readLength(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#lengthFilled < lengthBytes && at < chunk.length) this.#length[this.#lengthFilled++] = chunk[at++] ?? 0;
    if (this.#lengthFilled < lengthBytes) return at;
    this.#lengthFilled = 0;
    const sizeBytes = this.#length.readInt32BE(0);
    if (sizeBytes < 0) {
      this.#failure = new BadFrame(`a frame claims ${sizeBytes} bytes`);
    } else if (sizeBytes > this.#frameBytesMax) {
      const limit = `socket.request.max.bytes is ${this.#frameBytesMax}`;
      this.#failure = new BadFrame(`a frame claims ${sizeBytes} bytes; ${limit}`);
    } else {
      const atOnce = Math.max(this.#trustedBytes, chunk.length - at);
      this.#frame = this.#pool.take(Math.min(sizeBytes, atOnce));
      this.#frameBytes = sizeBytes;
      this.#filledBytes = 0;
      if (sizeBytes === 0) this.#finish(this.#frame);
    }
    return at;
  }

  #fill(begun: Buffer, chunk: Buffer, from: number): number {
    const count = Math.min(this.#frameBytes - this.#filledBytes, chunk.length - from);
    const frame = this.#filledBytes + count <= begun.length ? begun : this.#grown(begun, this.#filledBytes + count);
    chunk.copy(frame, this.#filledBytes, from, from + count);
    this.#filledBytes += count;
    if (this.#filledBytes === this.#frameBytes) this.#finish(frame);
    return from + count;
  }

  #grown(begun: Buffer, sizeBytesMin: number): Buffer {
    const frame = this.#pool.take(Math.min(this.#frameBytes, Math.max(sizeBytesMin, begun.length * 2)));
    begun.copy(frame, 0, 0, this.#filledBytes);
    this.#pool.give(begun);
    this.#frame = frame;
    return frame;
  }

  #finish(frame: Buffer): void {
    this.#whole.push(frame.subarray(0, this.#frameBytes));
    this.#trustedBytes = Math.min(trustedBytesMax, Math.max(this.#trustedBytes, this.#frameBytes));
    this.#frame = null;
  }
}
