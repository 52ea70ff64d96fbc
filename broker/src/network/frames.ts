/** A frame that can not be one: the connection is closed with this reason. */
export class BadFrame extends Error {
  override readonly name = "BadFrame";
}

/**
 * Cuts a stream of chunks into frames: an int32 length, then so many bytes. A claimed length costs nothing: bytes are
 * kept as they arrived, and only a frame that is wholly there and lies in several chunks is copied together.
 */
export class FrameAssembler {
  readonly #frameBytesMax: number;
  readonly #chunks: Buffer[] = [];
  /** Where the next frame begins in the first chunk. */
  #start = 0;
  #bufferedBytes = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Bytes that arrived and were not yet handed out. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
  }

  /**
   * The next frame without its length, or null while it is incomplete. It is a view of the bytes that arrived, or one copy of them.
   * @throws BadFrame when the length is negative or above the limit.
   */
  next(): Buffer | null {
    if (this.#bufferedBytes < 4) return null;
    const sizeBytes = this.#peekLength();
    if (sizeBytes < 0) throw new BadFrame(`a frame claims ${sizeBytes} bytes`);
    if (sizeBytes > this.#frameBytesMax) {
      throw new BadFrame(`a frame claims ${sizeBytes} bytes; socket.request.max.bytes is ${this.#frameBytesMax}`);
    }
    if (this.#bufferedBytes < 4 + sizeBytes) return null;
    this.#skip(4);
    return this.#take(sizeBytes);
  }

  #peekLength(): number {
    const first = this.#chunks[0];
    if (first !== undefined && first.length - this.#start >= 4) return first.readInt32BE(this.#start);
    let value = 0;
    let index = 0;
    let position = this.#start;
    for (let byte = 0; byte < 4; byte++) {
      let chunk = this.#chunks[index];
      while (chunk !== undefined && position >= chunk.length) {
        chunk = this.#chunks[++index];
        position = 0;
      }
      value = (value << 8) | (chunk?.[position++] ?? 0);
    }
    return value;
  }

  #skip(countBytes: number): void {
    this.#bufferedBytes -= countBytes;
    let left = countBytes;
    let first = this.#chunks[0];
    while (first !== undefined && left >= first.length - this.#start) {
      left -= first.length - this.#start;
      this.#chunks.shift();
      this.#start = 0;
      first = this.#chunks[0];
    }
    this.#start += left;
  }

  #take(sizeBytes: number): Buffer {
    const first = this.#chunks[0];
    if (sizeBytes === 0 || first === undefined) return Buffer.alloc(0);
    if (first.length - this.#start >= sizeBytes) {
      const frame = first.subarray(this.#start, this.#start + sizeBytes);
      this.#skip(sizeBytes);
      return frame;
    }
    const frame = Buffer.allocUnsafeSlow(sizeBytes);
    let filled = 0;
    while (filled < sizeBytes) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const count = Math.min(chunk.length - this.#start, sizeBytes - filled);
      chunk.copy(frame, filled, this.#start, this.#start + count);
      filled += count;
      this.#skip(count);
    }
    return frame;
  }
}
