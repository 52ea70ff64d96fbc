import { MalformedMessage } from "kafka-protocol-ts/malformed";

const lengthBytes = 4;
/** The least a frame holds: a correlation id. */
const frameBytesMin = 4;
/** So much is taken for a frame at once on the word of its length; more only as it arrives. */
const trustedBytesMax = 1024 * 1024;

/** Puts the frames of a stream together: each has its length in front, an int32. Every byte is copied once, or twice in a large frame. */
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

  /** @param onFrame gets memory of its own: the frame without its length. */
  constructor(frameBytesMax: number, onFrame: (frame: Buffer) => void) {
    this.#frameBytesMax = frameBytesMax;
    this.#onFrame = onFrame;
  }

  /**
   * The chunk is copied: the connection writes the next one over it. Memory is taken for what has arrived, beyond a
   * megabyte never for what a length claims.
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

  #begin(sizeBytes: number): void {
    if (sizeBytes < frameBytesMin || sizeBytes > this.#frameBytesMax) {
      throw new MalformedMessage(`a frame claims ${sizeBytes} bytes (${frameBytesMin} to ${this.#frameBytesMax})`);
    }
    this.#lengthFilled = 0;
    this.#frameBytes = sizeBytes;
    this.#filled = 0;
    this.#frame = Buffer.allocUnsafe(Math.min(sizeBytes, trustedBytesMax));
  }

  #fill(chunk: Buffer, at: number): number {
    let frame = this.#frame as Buffer;
    const taken = Math.min(chunk.length - at, this.#frameBytes - this.#filled);
    if (this.#filled + taken > frame.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#frameBytes, Math.max(2 * frame.length, this.#filled + taken)));
      frame.copy(grown, 0, 0, this.#filled);
      frame = this.#frame = grown;
    }
    chunk.copy(frame, this.#filled, at, at + taken);
    this.#filled += taken;
    if (this.#filled === this.#frameBytes) {
      this.#frame = null;
      this.#onFrame(frame);
    }
    return at + taken;
  }
}
