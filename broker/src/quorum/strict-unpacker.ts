import { MalformedMessage } from "kafka-protocol-ts/malformed";

/**
 * Reads the part of MessagePack that a frame of ours is written in: arrays, texts, bytes, booleans, null and whole numbers that are
 * safe and not negative. The package's own reader also knows extensions, and takes memory for an array on the word of its length;
 * here everything else is malformed, and a length is compared with the bytes that are there. Bytes are views.
 */
export class StrictUnpacker {
  readonly #bytes: Buffer;
  #position: number;

  constructor(bytes: Buffer, position = 0) {
    this.#bytes = bytes;
    this.#position = position;
  }

  /** The count of an array that begins here; its elements follow. */
  arrayLength(): number {
    const type = this.#byte();
    if (type >= 0x90 && type <= 0x9f) return this.#bounded(type & 0x0f);
    if (type === 0xdc) return this.#bounded(this.#unsigned(2));
    if (type === 0xdd) return this.#bounded(this.#unsigned(4));
    throw this.#unexpected(type, "an array");
  }

  /** An array of so many elements. */
  arrayOf(count: number): void {
    const length = this.arrayLength();
    if (length !== count) throw new MalformedMessage(`${length} elements, where ${count} belong`);
  }

  number(): number {
    const type = this.#byte();
    if (type <= 0x7f) return type;
    if (type === 0xcc) return this.#unsigned(1);
    if (type === 0xcd) return this.#unsigned(2);
    if (type === 0xce) return this.#unsigned(4);
    // Beyond 32 bits the package writes numbers so.
    if (type === 0xcb) return this.#safe(this.#bytes.readDoubleBE(this.#take(8)));
    if (type === 0xcf) return this.#safe(Number(this.#bytes.readBigUInt64BE(this.#take(8))));
    throw this.#unexpected(type, "a number");
  }

  bool(): boolean {
    const type = this.#byte();
    if (type === 0xc2) return false;
    if (type === 0xc3) return true;
    throw this.#unexpected(type, "a boolean");
  }

  text(bytesMax: number): string {
    const type = this.#byte();
    let sizeBytes: number;
    if (type >= 0xa0 && type <= 0xbf) sizeBytes = type & 0x1f;
    else if (type === 0xd9) sizeBytes = this.#unsigned(1);
    else if (type === 0xda) sizeBytes = this.#unsigned(2);
    else throw this.#unexpected(type, "a text");
    if (sizeBytes > bytesMax) throw new MalformedMessage(`a text of ${sizeBytes} bytes, and ${bytesMax} may be`);
    const start = this.#take(sizeBytes);
    return this.#bytes.toString("utf8", start, start + sizeBytes);
  }

  /** A view. */
  bytes(): Buffer {
    const type = this.#byte();
    let sizeBytes: number;
    if (type === 0xc4) sizeBytes = this.#unsigned(1);
    else if (type === 0xc5) sizeBytes = this.#unsigned(2);
    else if (type === 0xc6) sizeBytes = this.#unsigned(4);
    else throw this.#unexpected(type, "bytes");
    const start = this.#take(sizeBytes);
    return this.#bytes.subarray(start, start + sizeBytes);
  }

  /** Consumes a null where one stands. */
  isNull(): boolean {
    if (this.#bytes[this.#position] !== 0xc0) return false;
    this.#position++;
    return true;
  }

  end(): void {
    const left = this.#bytes.length - this.#position;
    if (left > 0) throw new MalformedMessage(`${left} bytes too many`);
  }

  /** An element takes a byte at least. */
  #bounded(count: number): number {
    const left = this.#bytes.length - this.#position;
    if (count > left) throw new MalformedMessage(`${count} elements in ${left} bytes`);
    return count;
  }

  #safe(value: number): number {
    if (!Number.isSafeInteger(value) || value < 0) throw new MalformedMessage(`${value} is no number of a frame`);
    return value;
  }

  #byte(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  #unsigned(sizeBytes: number): number {
    return this.#bytes.readUIntBE(this.#take(sizeBytes), sizeBytes);
  }

  #take(sizeBytes: number): number {
    const start = this.#position;
    const left = this.#bytes.length - start;
    if (sizeBytes > left) throw new MalformedMessage(`${sizeBytes} bytes, where ${left} are left`);
    this.#position += sizeBytes;
    return start;
  }

  #unexpected(type: number, wanted: string): MalformedMessage {
    return new MalformedMessage(`0x${type.toString(16)} at byte ${this.#position - 1}, where ${wanted} belongs`);
  }
}
