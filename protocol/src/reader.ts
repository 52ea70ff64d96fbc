import { MalformedMessage } from "./malformed.ts";
import { uuidAt } from "./uuid.ts";

/** Who reads a uuid compares it with this one. */
export { zeroUuid } from "./uuid.ts";

/** The bytes that stand for "nothing". */
export const noBytes: Buffer = Buffer.alloc(0);

/** What an int64 above 2^53-1 reads as, and below -(2^53-1) with a minus. */
const int64Max: number = Number.MAX_SAFE_INTEGER;

/** Kafka's own limit of a string: its length was an int16 once and is still held to that. */
const stringBytesMax = 0x7fff;

/**
 * How many array elements one message may hold in all. A frame is believed to hold as many elements as fit its bytes,
 * yet an element of two bytes becomes an object of a hundred: without this bound a 100 MB frame would take gigabytes.
 */
const elementsMax = 4_194_304;

/**
 * Reads the primitives of the protocol, in order, from a part of a buffer. It believes no length: what does not fit
 * the bytes that are really there is a MalformedMessage before anything is allocated for it. Byte fields are views of
 * the buffer, never copies.
 *
 * `Buffer` is Node's; in a browser any of its well-known stand-ins will do.
 */
export class ByteReader {
  readonly buffer: Buffer;
  /** For numbers: half the time of putting them together byte by byte. */
  readonly #view: DataView;
  /** Where in the view the buffer begins. */
  readonly #base: number;
  /** Exclusive: where reading must stop. */
  readonly end: number;
  /** The next byte to be read. */
  position: number;
  /** Whether lengths are unsigned varints (KIP-482). The message's version decides; generated readers set it. */
  flexible = false;
  /** Array elements that may still be read; a host that knows its callers may lower it. */
  elementsLeft: number = elementsMax;

  constructor(buffer: Buffer, start = 0, end: number = buffer.length) {
    const isInside = start >= 0 && start <= end && end <= buffer.length;
    if (!isInside) throw new RangeError(`bytes ${start} to ${end} of ${buffer.length}`);
    this.buffer = buffer;
    this.#view = viewOf(buffer.buffer);
    this.#base = buffer.byteOffset;
    this.position = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  bool(): boolean {
    return this.#byte() !== 0;
  }

  int8(): number {
    return this.#view.getInt8(this.#base + this.#take(1));
  }

  int16(): number {
    return this.#view.getInt16(this.#base + this.#take(2));
  }

  uint16(): number {
    return this.#view.getUint16(this.#base + this.#take(2));
  }

  int32(): number {
    return this.#view.getInt32(this.#base + this.#take(4));
  }

  uint32(): number {
    return this.#view.getUint32(this.#base + this.#take(4));
  }

  /** A safe integer. What lies outside ±(2^53-1) saturates there; `int64Exact` tells it apart. */
  int64(): number {
    const at = this.#base + this.#take(8);
    const high = this.#view.getInt32(at);
    const low = this.#view.getUint32(at + 4);
    if (high >= -0x1fffff && high <= 0x1fffff) return high * 0x1_0000_0000 + low;
    return saturated(high, low);
  }

  /** As int64, but a bigint where a number would not be exact. */
  int64Exact(): number | bigint {
    const value = this.int64();
    if (value < int64Max && value > -int64Max) return value;
    return this.#view.getBigInt64(this.#base + this.position - 8);
  }

  float64(): number {
    return this.#view.getFloat64(this.#base + this.#take(8));
  }

  /** Kafka's form of a uuid: base64url without padding, 22 characters. */
  uuid(): string {
    return uuidAt(this.buffer, this.#take(16));
  }

  /** At most 32 bits in at most five bytes. */
  unsignedVarint(): number {
    const first = this.#byte();
    return first < 0x80 ? first : this.#longUnsignedVarint(first);
  }

  #longUnsignedVarint(first: number): number {
    let value = first & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = this.#byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    const last = this.#byte();
    if (last > 0x0f) throw this.#malformed("a varint of more than 32 bits");
    return value + last * 0x1000_0000;
  }

  /** Zigzag, at most 32 bits. */
  varint(): number {
    const value = this.unsignedVarint();
    return (value >>> 1) ^ -(value & 1);
  }

  /** Zigzag, at most 64 bits; saturates as int64 does. */
  varlong(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else if (byte > 1) break;
      else high |= bits << 31;
      if (byte < 0x80) {
        const sign = -(low & 1);
        const lowZigzag = (((low >>> 1) | (high << 31)) ^ sign) >>> 0;
        const highZigzag = (high >>> 1) ^ sign;
        if (highZigzag >= -0x1fffff && highZigzag <= 0x1fffff) return highZigzag * 0x1_0000_0000 + lowZigzag;
        return saturated(highZigzag, lowZigzag);
      }
    }
    throw this.#malformed("a varint of more than 64 bits");
  }

  string(): string {
    const length = this.flexible ? this.unsignedVarint() - 1 : this.int16();
    if (length < 0) throw this.#malformed("null for a string that must be there");
    return this.#text(length);
  }

  nullableString(): string | null {
    const length = this.flexible ? this.unsignedVarint() - 1 : this.int16();
    return length === -1 ? null : this.#text(length);
  }

  /** With an int16 length in every version: the client id of a request header. */
  nullableInt16String(): string | null {
    const length = this.int16();
    return length === -1 ? null : this.#text(length);
  }

  #text(length: number): string {
    if (length < 0 || length > stringBytesMax) throw this.#malformed(`a string of ${length} bytes`);
    if (length > this.end - this.position) throw this.#tooShort(`a string of ${length} bytes`);
    const at = this.position;
    this.position = at + length;
    return length === 0 ? "" : this.buffer.toString("utf8", at, at + length);
  }

  bytes(): Buffer {
    const length = this.flexible ? this.unsignedVarint() - 1 : this.int32();
    if (length < 0) throw this.#malformed(length === -1 ? "null for bytes that must be there" : `${length} bytes`);
    return this.slice(length);
  }

  nullableBytes(): Buffer | null {
    const length = this.flexible ? this.unsignedVarint() - 1 : this.int32();
    if (length === -1) return null;
    if (length < 0) throw this.#malformed(`${length} bytes`);
    return this.slice(length);
  }

  /** The next `sizeBytes` bytes, as a view. */
  slice(sizeBytes: number): Buffer {
    if (sizeBytes > this.end - this.position) throw this.#tooShort(`${sizeBytes} bytes`);
    const at = this.position;
    this.position = at + sizeBytes;
    return this.buffer.subarray(at, at + sizeBytes);
  }

  /** How many elements follow. A lying count is caught here, before anything is allocated for it. */
  arrayLength(elementBytesMin: number): number {
    const count = this.flexible ? this.unsignedVarint() - 1 : this.int32();
    if (count < 0)
      throw this.#malformed(count === -1 ? "null for an array that must be there" : `an array of ${count} elements`);
    return this.#believable(count, elementBytesMin);
  }

  /** As arrayLength; -1 stands for null. */
  nullableArrayLength(elementBytesMin: number): number {
    const count = this.flexible ? this.unsignedVarint() - 1 : this.int32();
    if (count === -1) return -1;
    if (count < 0) throw this.#malformed(`an array of ${count} elements`);
    return this.#believable(count, elementBytesMin);
  }

  #believable(count: number, elementBytesMin: number): number {
    if (count * elementBytesMin > this.end - this.position) throw this.#tooShort(`an array of ${count} elements`);
    this.elementsLeft -= count;
    if (this.elementsLeft < 0) throw this.#malformed(`an array of ${count} elements: too many for one message`);
    return count;
  }

  /** The int8 in front of a struct that may be null. */
  isPresent(): boolean {
    return this.int8() >= 0;
  }

  /** The same in front of a tagged struct: there it is an unsigned varint. */
  isTaggedPresent(): boolean {
    return this.unsignedVarint() > 0;
  }

  int8Array(): number[] {
    const values: number[] = [];
    for (let left = this.arrayLength(1); left > 0; left--) values.push(this.int8());
    return values;
  }

  int16Array(): number[] {
    const values: number[] = [];
    for (let left = this.arrayLength(2); left > 0; left--) values.push(this.int16());
    return values;
  }

  int32Array(): number[] {
    const values: number[] = [];
    for (let left = this.arrayLength(4); left > 0; left--) values.push(this.int32());
    return values;
  }

  nullableInt32Array(): number[] | null {
    const count = this.nullableArrayLength(4);
    if (count < 0) return null;
    const values: number[] = [];
    for (let left = count; left > 0; left--) values.push(this.int32());
    return values;
  }

  int64Array(): number[] {
    const values: number[] = [];
    for (let left = this.arrayLength(8); left > 0; left--) values.push(this.int64());
    return values;
  }

  stringArray(): string[] {
    const values: string[] = [];
    for (let left = this.arrayLength(this.flexible ? 1 : 2); left > 0; left--) values.push(this.string());
    return values;
  }

  nullableStringArray(): string[] | null {
    const count = this.nullableArrayLength(this.flexible ? 1 : 2);
    if (count < 0) return null;
    const values: string[] = [];
    for (let left = count; left > 0; left--) values.push(this.string());
    return values;
  }

  uuidArray(): string[] {
    const values: string[] = [];
    for (let left = this.arrayLength(16); left > 0; left--) values.push(this.uuid());
    return values;
  }

  nullableUuidArray(): string[] | null {
    const count = this.nullableArrayLength(16);
    if (count < 0) return null;
    const values: string[] = [];
    for (let left = count; left > 0; left--) values.push(this.uuid());
    return values;
  }

  /** The size in front of a tagged field's value; gives the position at which the value must end. */
  taggedEnd(): number {
    const sizeBytes = this.unsignedVarint();
    if (sizeBytes > this.end - this.position) throw this.#tooShort(`a tagged field of ${sizeBytes} bytes`);
    return this.position + sizeBytes;
  }

  /** After a tagged field's value: it must fill exactly what was announced. */
  expectTaggedEnd(end: number): void {
    if (this.position !== end) throw this.#malformed(`a tagged field that should end at byte ${end}`);
  }

  /** A tagged-field block of which no tag is known. */
  skipTags(): void {
    for (let left = this.unsignedVarint(); left > 0; left--) {
      this.unsignedVarint();
      this.position = this.taggedEnd();
    }
  }

  #byte(): number {
    const at = this.position;
    if (at >= this.end) throw this.#tooShort("one byte");
    this.position = at + 1;
    return this.buffer[at] as number;
  }

  /** Steps over so many bytes and tells where they began. */
  #take(sizeBytes: number): number {
    const at = this.position;
    if (sizeBytes > this.end - at) throw this.#tooShort(`${sizeBytes} bytes`);
    this.position = at + sizeBytes;
    return at;
  }

  #tooShort(what: string): MalformedMessage {
    return new MalformedMessage(`${what} at byte ${this.position}, where ${this.remaining} are left`);
  }

  #malformed(what: string): MalformedMessage {
    return new MalformedMessage(`${what} before byte ${this.position} of ${this.end}`);
  }
}

function saturated(high: number, low: number): number {
  if (high === -0x20_0000 && low > 0) return high * 0x1_0000_0000 + low;
  return high < 0 ? -int64Max : int64Max;
}

/** Small messages lie in memory that the platform cuts many buffers from: a view of its own costs more than to read most of them. */
const sharedMemoryBytesMax = 65_536;
let lastView: DataView = new DataView(new ArrayBuffer(0));

function viewOf(memory: ArrayBufferLike): DataView {
  if (lastView.buffer === memory) return lastView;
  const view = new DataView(memory);
  // What is larger is not kept alive for it.
  if (memory.byteLength <= sharedMemoryBytesMax) lastView = view;
  return view;
}
