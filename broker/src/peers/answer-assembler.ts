import { MalformedMessage } from "kafka-protocol-ts/malformed";

const lengthBytes = 4;
/** The least an answer holds: a correlation id. */
const answerBytesMin = 4;
/** So much is taken for an answer at once on the word of its length; more only as it arrives, or where as much came before. */
const trustedBytesMin = 64 * 1024;
const trustedBytesMax = 16 * 1024 * 1024;
/** As long as more than that is missing of an answer, it is read to where it belongs. */
const directBytesMin = 64 * 1024;

/**
 * Puts the answers of a connection together: each has its length in front, an int32. An answer has memory of its own, which is never
 * used again: its records stay valid as long as somebody holds them.
 */
export class AnswerAssembler {
  readonly #answerBytesMax: number;
  readonly #onAnswer: (answer: Buffer) => void;
  readonly #length = Buffer.alloc(lengthBytes);
  #lengthFilled = 0;
  /** The answer that is being filled, without its length. */
  #answer: Buffer | null = null;
  #answerBytes = 0;
  #filled = 0;
  #trustedBytes = trustedBytesMin;

  constructor(answerBytesMax: number, onAnswer: (answer: Buffer) => void) {
    this.#answerBytesMax = answerBytesMax;
    this.#onAnswer = onAnswer;
  }

  /**
   * Takes the chunk's bytes: a copy, unless they lie in `memory` already.
   *
   * @throws MalformedMessage when a length cannot be true; and what `onAnswer` throws.
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const answer = this.#answer;
      at = answer === null ? this.#readLength(chunk, at) : this.#fill(answer, chunk, at);
    }
  }

  /** Where the next bytes are to be read; null: anywhere. */
  memory(): Buffer | null {
    const answer = this.#answer;
    return answer === null || answer.length - this.#filled < directBytesMin ? null : answer.subarray(this.#filled);
  }

  #readLength(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#lengthFilled < lengthBytes && at < chunk.length) this.#length[this.#lengthFilled++] = chunk[at++] ?? 0;
    if (this.#lengthFilled < lengthBytes) return at;
    this.#lengthFilled = 0;
    const sizeBytes = this.#length.readInt32BE(0);
    if (sizeBytes < answerBytesMin || sizeBytes > this.#answerBytesMax) {
      throw new MalformedMessage(`an answer claims ${sizeBytes} bytes (${answerBytesMin} to ${this.#answerBytesMax})`);
    }
    this.#answerBytes = sizeBytes;
    this.#filled = 0;
    this.#answer = Buffer.allocUnsafe(Math.min(sizeBytes, this.#trustedBytes));
    return at;
  }

  #fill(begun: Buffer, chunk: Buffer, from: number): number {
    const count = Math.min(chunk.length - from, this.#answerBytes - this.#filled);
    const answer = this.#filled + count <= begun.length ? begun : this.#grown(begun, this.#filled + count);
    const isThere = chunk.buffer === answer.buffer && chunk.byteOffset + from === answer.byteOffset + this.#filled;
    if (!isThere) chunk.copy(answer, this.#filled, from, from + count);
    this.#filled += count;
    if (this.#filled === this.#answerBytes) {
      this.#answer = null;
      this.#trustedBytes = Math.min(trustedBytesMax, Math.max(this.#trustedBytes, this.#answerBytes));
      this.#onAnswer(answer);
    }
    return from + count;
  }

  #grown(begun: Buffer, sizeBytesMin: number): Buffer {
    const answer = Buffer.allocUnsafe(Math.min(this.#answerBytes, Math.max(sizeBytesMin, begun.length * 2)));
    begun.copy(answer, 0, 0, this.#filled);
    this.#answer = answer;
    return answer;
  }
}
