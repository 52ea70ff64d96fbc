import { MalformedMessage } from "kafka-protocol-ts/malformed";

const lengthBytes = 4;
/** The least a frame holds: a correlation id. */
const frameBytesMin = 4;

/** Puts the frames of a stream together: each has its length in front, an int32. */
export class FrameAssembler {
  readonly #frameBytesMax: number;
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** The chunk is copied: the connection writes the next one over it. */
  push(chunk: Buffer): void {
    this.#chunks.push(Buffer.from(chunk));
    this.#bufferedBytes += chunk.length;
  }

  /**
   * The next whole frame without its length, or null when more bytes must come. Memory is taken for what has arrived,
   * never for what a length claims.
   *
   * @throws MalformedMessage when the length cannot be true.
   */
  next(): Buffer | null {
    if (this.#bufferedBytes < lengthBytes) return null;
    const [first] = this.#chunks;
    const head = first !== undefined && first.length >= lengthBytes ? first : this.#joined();
    const sizeBytes = head.readInt32BE(0);
    if (sizeBytes < frameBytesMin || sizeBytes > this.#frameBytesMax) {
      throw new MalformedMessage(`a frame claims ${sizeBytes} bytes (${frameBytesMin} to ${this.#frameBytesMax})`);
    }
    const end = lengthBytes + sizeBytes;
    if (this.#bufferedBytes < end) return null;
    const whole = this.#joined();
    this.#bufferedBytes -= end;
    this.#chunks = this.#bufferedBytes === 0 ? [] : [whole.subarray(end)];
    return whole.subarray(lengthBytes, end);
  }

  #joined(): Buffer {
    const [first] = this.#chunks;
    const isOne = this.#chunks.length === 1 && first !== undefined;
    const whole = isOne ? first : Buffer.concat(this.#chunks, this.#bufferedBytes);
    this.#chunks = [whole];
    return whole;
  }
}
