import { putUuid } from "./uuid.ts";

/** Bytes that are not in memory: a part of a file, say. The writer needs their length only; the host sends them. */
export interface ExternalBytes {
  readonly sizeBytes: number;
}

export function isEmpty(bytes: Uint8Array | ExternalBytes): boolean {
  return (bytes instanceof Uint8Array ? bytes.length : bytes.sizeBytes) === 0;
}

/** What a finished message consists of, in the order in which it goes out. */
export type Part = Buffer | ExternalBytes;

/** Where a part goes that is not copied: in front of the writer's own byte `offset`. */
interface Cut {
  readonly offset: number;
  readonly part: Part;
}

/** Bytes, and the same bytes for numbers. */
interface Memory {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** The place of the frame length, in front of everything. */
const frameLengthBytes = 4;

/** Above this, bytes become a part of their own: a gathered write is cheaper than the copy. */
const copyBytesMax = 1024;

/** Up to so many characters a string is first tried as ASCII, byte by byte, which beats a call into the runtime. */
const shortStringLength = 32;

const stringBytesMax = 0x7fff;

const varlongBytesMax = 10;

/** Small messages are cut from slabs, since a buffer and a view of its own cost more than most messages. */
const slabBytes = 65_536;
const slabShareBytesMax = 4_096;
let slab: Memory = newMemory(slabBytes);
let slabUsedBytes = 0;

/**
 * Writes the primitives of the protocol, in order, into memory that grows. What is large or not in memory is never
 * copied: `finish` gives the parts in order. A number that does not fit its type is a RangeError: a mistake of the
 * caller, found before the other side is misled.
 */
export class ByteWriter {
  /** Whether lengths are unsigned varints (KIP-482). The message's version decides; generated writers set it. */
  flexible = false;
  #bytes: Buffer;
  #view: DataView;
  /** Where this writer's own bytes begin in the memory, and where they must end. */
  #start: number;
  #end: number;
  #position: number;
  /** Null until there is one: most messages have none. */
  #cuts: Cut[] | null = null;
  #cutBytes = 0;
  /** Inside tagged fields: their size stands in front of them, so that everything is copied. */
  #taggedDepth = 0;

  /** `initialBytes` is a guess at the size, parts not counted: a good one saves growing. */
  constructor(initialBytes = 512) {
    const sizeBytes = initialBytes + frameLengthBytes;
    if (sizeBytes <= slabShareBytesMax) {
      if (slabUsedBytes + sizeBytes > slabBytes) {
        slab = newMemory(slabBytes);
        slabUsedBytes = 0;
      }
      this.#bytes = slab.bytes;
      this.#view = slab.view;
      this.#start = slabUsedBytes;
      slabUsedBytes += sizeBytes;
    } else {
      const memory = newMemory(sizeBytes);
      this.#bytes = memory.bytes;
      this.#view = memory.view;
      this.#start = 0;
    }
    this.#end = this.#start + sizeBytes;
    this.#position = this.#start + frameLengthBytes;
  }

  /** All that was written so far, parts included. */
  get sizeBytes(): number {
    return this.#position - this.#start - frameLengthBytes + this.#cutBytes;
  }

  /** The parts in order. The writer must not be used afterwards. */
  finish(): readonly Part[] {
    return this.#partsFrom(frameLengthBytes);
  }

  /** As finish, with the int32 length of a frame in front. */
  finishFrame(): readonly Part[] {
    this.#view.setInt32(this.#start, this.sizeBytes);
    return this.#partsFrom(0);
  }

  /** Everything in one buffer, where no part lies outside of memory. The writer must not be used afterwards. */
  toBuffer(): Buffer {
    if (this.#cuts === null) return this.#ownBytes(frameLengthBytes);
    return Buffer.concat(this.finish().map((part) => (part instanceof Uint8Array ? part : failExternal())));
  }

  #partsFrom(offset: number): readonly Part[] {
    if (this.#cuts === null) return [this.#ownBytes(offset)];
    this.#giveBack();
    const parts: Part[] = [];
    let from = this.#start + offset;
    for (const cut of this.#cuts) {
      const to = this.#start + cut.offset;
      if (to > from) parts.push(this.#bytes.subarray(from, to));
      parts.push(cut.part);
      from = to;
    }
    if (this.#position > from) parts.push(this.#bytes.subarray(from, this.#position));
    return parts;
  }

  #ownBytes(offset: number): Buffer {
    this.#giveBack();
    return this.#bytes.subarray(this.#start + offset, this.#position);
  }

  /** The end of the slab that was not needed goes to the next writer, if this one was the last to take some. */
  #giveBack(): void {
    if (this.#bytes === slab.bytes && this.#end === slabUsedBytes) slabUsedBytes = this.#position;
    this.#end = this.#position;
  }

  bool(value: boolean): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value ? 1 : 0;
  }

  int8(value: number): void {
    if ((value << 24) >> 24 !== value) failRange(value, "an int8");
    const at = this.#reserve(1);
    this.#view.setInt8(at, value);
  }

  int16(value: number): void {
    if ((value << 16) >> 16 !== value) failRange(value, "an int16");
    const at = this.#reserve(2);
    this.#view.setInt16(at, value);
  }

  uint16(value: number): void {
    if ((value & 0xffff) !== value) failRange(value, "a uint16");
    const at = this.#reserve(2);
    this.#view.setUint16(at, value);
  }

  int32(value: number): void {
    if ((value | 0) !== value) failRange(value, "an int32");
    const at = this.#reserve(4);
    this.#view.setInt32(at, value);
  }

  uint32(value: number): void {
    if (value >>> 0 !== value) failRange(value, "a uint32");
    const at = this.#reserve(4);
    this.#view.setUint32(at, value);
  }

  /** A bigint is for the few values that a number would not hold exactly. */
  int64(value: number | bigint): void {
    if (typeof value === "bigint") {
      if (BigInt.asIntN(64, value) !== value) failRange(value, "an int64");
      const at = this.#reserve(8);
      this.#view.setBigInt64(at, value);
      return;
    }
    if (!Number.isSafeInteger(value)) failRange(value, "a safe integer");
    const at = this.#reserve(8);
    this.#view.setInt32(at, Math.floor(value / 0x1_0000_0000));
    this.#view.setInt32(at + 4, value);
  }

  float64(value: number): void {
    const at = this.#reserve(8);
    this.#view.setFloat64(at, value);
  }

  /** Kafka's form of a uuid: base64url without padding, 22 characters. */
  uuid(value: string): void {
    const at = this.#reserve(16);
    if (!putUuid(this.#bytes, at, value)) failRange(value, "a uuid");
  }

  /** At most 32 bits. */
  unsignedVarint(value: number): void {
    if (value >>> 0 !== value) failRange(value, "a uint32");
    let at = this.#reserve(unsignedVarintBytes(value));
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[at++] = rest | 0x80;
      rest >>>= 7;
    }
    this.#bytes[at] = rest;
  }

  /** Zigzag, at most 32 bits. */
  varint(value: number): void {
    if ((value | 0) !== value) failRange(value, "an int32");
    this.unsignedVarint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  /** Zigzag, a safe integer. */
  varlong(value: number): void {
    if (!Number.isSafeInteger(value)) failRange(value, "a safe integer");
    let high = Math.floor(value / 0x1_0000_0000);
    let low = value >>> 0;
    const sign = high >> 31;
    high = ((high << 1) | (low >>> 31)) ^ sign;
    low = ((low << 1) ^ sign) >>> 0;
    let at = this.#reserve(varlongBytesMax);
    while (high !== 0 || low >= 0x80) {
      this.#bytes[at++] = low | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#bytes[at++] = low;
    this.#position = at;
  }

  string(value: string): void {
    if (value.length <= shortStringLength && this.#shortString(value)) return;
    const sizeBytes = Buffer.byteLength(value);
    if (sizeBytes > stringBytesMax) failRange(`"${value.slice(0, 40)}..."`, `of at most ${stringBytesMax} bytes`);
    if (this.flexible) this.unsignedVarint(sizeBytes + 1);
    else this.int16(sizeBytes);
    const at = this.#reserve(sizeBytes);
    this.#bytes.write(value, at, sizeBytes, "utf8");
  }

  /** Writes the string if it is ASCII, which short strings are: topic names, ids, hosts. */
  #shortString(value: string): boolean {
    const length = value.length;
    const start = this.#reserve(length + 2);
    const bytes = this.#bytes;
    let at = start;
    if (!this.flexible) bytes[at++] = 0;
    bytes[at++] = this.flexible ? length + 1 : length;
    for (let index = 0; index < length; index++) {
      const unit = value.charCodeAt(index);
      if (unit > 0x7f) {
        this.#position = start;
        return false;
      }
      bytes[at++] = unit;
    }
    this.#position = at;
    return true;
  }

  nullableString(value: string | null): void {
    if (value !== null) this.string(value);
    else if (this.flexible) this.unsignedVarint(0);
    else this.int16(-1);
  }

  /** With an int16 length in every version: the client id of a request header. */
  nullableInt16String(value: string | null): void {
    const flexible = this.flexible;
    this.flexible = false;
    this.nullableString(value);
    this.flexible = flexible;
  }

  /** Byte fields and record sets. Large ones are kept as parts, as they are: do not change them until they are sent. */
  bytes(value: Uint8Array | ExternalBytes): void {
    if (!(value instanceof Uint8Array)) {
      if (this.#taggedDepth > 0) failExternal();
      this.#bytesLength(value.sizeBytes);
      this.#cut(value, value.sizeBytes);
      return;
    }
    this.#bytesLength(value.length);
    if (value.length <= copyBytesMax || this.#taggedDepth > 0) this.raw(value);
    else this.#cut(asBuffer(value), value.length);
  }

  nullableBytes(value: Uint8Array | ExternalBytes | null): void {
    if (value === null) this.#bytesLength(-1);
    else this.bytes(value);
  }

  /** Bytes as they are, without a length, copied. */
  raw(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  #bytesLength(sizeBytes: number): void {
    if (this.flexible) this.unsignedVarint(sizeBytes + 1);
    else this.int32(sizeBytes);
  }

  #cut(part: Part, sizeBytes: number): void {
    this.#cuts ??= [];
    this.#cuts.push({ offset: this.#position - this.#start, part });
    this.#cutBytes += sizeBytes;
  }

  /** The count in front of an array; -1 writes null. */
  arrayLength(count: number): void {
    if (this.flexible) this.unsignedVarint(count + 1);
    else this.int32(count);
  }

  /** The int8 in front of a struct that may be null. */
  isPresent(value: boolean): void {
    this.int8(value ? 1 : -1);
  }

  /** The same in front of a tagged struct: there it is an unsigned varint. */
  isTaggedPresent(value: boolean): void {
    this.unsignedVarint(value ? 1 : 0);
  }

  int8Array(values: readonly number[]): void {
    this.arrayLength(values.length);
    for (const value of values) this.int8(value);
  }

  int16Array(values: readonly number[]): void {
    this.arrayLength(values.length);
    for (const value of values) this.int16(value);
  }

  int32Array(values: readonly number[]): void {
    this.arrayLength(values.length);
    for (const value of values) this.int32(value);
  }

  nullableInt32Array(values: readonly number[] | null): void {
    if (values === null) this.arrayLength(-1);
    else this.int32Array(values);
  }

  int64Array(values: readonly number[]): void {
    this.arrayLength(values.length);
    for (const value of values) this.int64(value);
  }

  stringArray(values: readonly string[]): void {
    this.arrayLength(values.length);
    for (const value of values) this.string(value);
  }

  nullableStringArray(values: readonly string[] | null): void {
    if (values === null) this.arrayLength(-1);
    else this.stringArray(values);
  }

  uuidArray(values: readonly string[]): void {
    this.arrayLength(values.length);
    for (const value of values) this.uuid(value);
  }

  nullableUuidArray(values: readonly string[] | null): void {
    if (values === null) this.arrayLength(-1);
    else this.uuidArray(values);
  }

  /** Begins a tagged field; what it gives must be handed to `endTag` after the value. */
  beginTag(tag: number): number {
    this.unsignedVarint(tag);
    this.#taggedDepth++;
    return this.#reserve(1) - this.#start;
  }

  /** Fills in the size of a tagged field. One byte was left for it; a larger one moves the value along. */
  endTag(sizeOffset: number): void {
    const sizeBytes = this.#position - this.#start - sizeOffset - 1;
    const extraBytes = unsignedVarintBytes(sizeBytes) - 1;
    if (extraBytes > 0) this.#reserve(extraBytes);
    const end = this.#position;
    const sizeAt = this.#start + sizeOffset;
    if (extraBytes > 0) this.#bytes.copyWithin(sizeAt + 1 + extraBytes, sizeAt + 1, sizeAt + 1 + sizeBytes);
    this.#position = sizeAt;
    this.unsignedVarint(sizeBytes);
    this.#position = end;
    this.#taggedDepth--;
  }

  /** Makes room and steps over it; tells where it begins. It may change `#bytes` and `#view`: read them after it. */
  #reserve(sizeBytes: number): number {
    if (this.#position + sizeBytes > this.#end) this.#grow(sizeBytes);
    const at = this.#position;
    this.#position = at + sizeBytes;
    return at;
  }

  #grow(sizeBytes: number): void {
    const usedBytes = this.#position - this.#start;
    const memory = newMemory(Math.max(usedBytes + sizeBytes, usedBytes * 2));
    this.#bytes.copy(memory.bytes, 0, this.#start, this.#position);
    this.#bytes = memory.bytes;
    this.#view = memory.view;
    this.#start = 0;
    this.#position = usedBytes;
    this.#end = memory.bytes.length;
  }
}

function newMemory(sizeBytes: number): Memory {
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, sizeBytes) };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unsignedVarintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

function failRange(value: unknown, type: string): never {
  throw new RangeError(`${String(value)} is not ${type}`);
}

function failExternal(): never {
  throw new TypeError("bytes outside of memory can not stand here");
}
