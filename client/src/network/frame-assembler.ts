import { MalformedMessage } from "kafka-protocol-ts/malformed";

const lengthBytes = 4;
/** The least a frame holds: a correlation id. */
const frameBytesMin = 4;
/** So much is taken for a frame at once on the word of its length; more only as it arrives, or where as much came before. */
const trustedBytesMin = 1024 * 1024;
/** As long as more than that is missing of a frame, it is read to where it belongs. */
const directBytesMin = 64 * 1024;

/**
 * Puts the frames of a stream together: each has its length in front, an int32. Most bytes of a large frame are read to where they
 * belong (`memory`), and others copied once.
 */
export class FrameAssembler {
  readonly #frameBytesMax: number;
  readonly #onFrame: (frame: Buffer) => void;
  /** The beginning of a length. */
  readonly #length = Buffer.alloc(lengthBytes);
  #lengthFilled = 0;
  /** The frame that is being filled, without its length. */
  #frame: Buffer | null = null;
  #frameBytes = 0;
  #filled = 0;
  /** The largest frame until now: who has sent so much may do so again, and then it is not moved as it grows. */
  #trustedBytes = trustedBytesMin;

  /** @param onFrame gets memory of its own: the frame without its length. */
  constructor(frameBytesMax: number, onFrame: (frame: Buffer) => void) {
    this.#frameBytesMax = frameBytesMax;
    this.#onFrame = onFrame;
  }

  /**
   * The chunk is copied, since the connection writes the next one over it, unless it lies in `memory` already. Memory is
   * taken for what has arrived; for what a length claims up to a megabyte, or what the largest frame had.
   *
   * @throws MalformedMessage when a length cannot be true; and what `onFrame` throws.
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#frame === null) {
        while (this.#lengthFilled < lengthBytes && at < chunk.length) {
          this.#length[this.#lengthFilled++] = chunk[at++] as number;
        }
        if (this.#lengthFilled < lengthBytes) return;
        this.#begin(this.#length.readInt32BE(0));
      }
      at = this.#fill(chunk, at);
    }
  }

  /** Where the next bytes are to be read; null: anywhere. */
  memory(): Buffer | null {
    const frame = this.#frame;
    return frame === null || frame.length - this.#filled < directBytesMin ? null : frame.subarray(this.#filled);
  }

  #begin(sizeBytes: number): void {
    if (sizeBytes < frameBytesMin || sizeBytes > this.#frameBytesMax) {
      throw new MalformedMessage(`a frame claims ${sizeBytes} bytes (${frameBytesMin} to ${this.#frameBytesMax})`);
    }
    this.#lengthFilled = 0;
    this.#frameBytes = sizeBytes;
    this.#filled = 0;
    this.#frame = Buffer.allocUnsafe(Math.min(sizeBytes, this.#trustedBytes));
  }

  #fill(chunk: Buffer, at: number): number {
    let frame = this.#frame as Buffer;
    const taken = Math.min(chunk.length - at, this.#frameBytes - this.#filled);
    if (this.#filled + taken > frame.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#frameBytes, Math.max(2 * frame.length, this.#filled + taken)));
      frame.copy(grown, 0, 0, this.#filled);
      frame = this.#frame = grown;
    }
    const isThere = chunk.buffer === frame.buffer && chunk.byteOffset + at === frame.byteOffset + this.#filled;
    if (!isThere) chunk.copy(frame, this.#filled, at, at + taken);
    this.#filled += taken;
    if (this.#filled === this.#frameBytes) {
      this.#frame = null;
      if (frame.length > this.#trustedBytes) this.#trustedBytes = frame.length;
      this.#onFrame(frame);
    }
    return at + taken;
  }
}
