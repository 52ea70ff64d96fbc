import { MalformedMessage } from "../malformed.ts";
import { BATCH_HEADER_BYTES } from "./batch.ts";
import type { RecordBatchView } from "./batch.ts";
export { BatchBuilder, encodeBatch, fieldsBytesMax, recordBytesMax, renumberBatch } from "./builder.ts";
export type { BatchOptions, HeaderInput, RecordInput } from "./builder.ts";
import { decompress } from "./compression.ts";
import { forgetWideVarlongs, readVarint, readVarlong, readVarlongExact, varintEnd, wasVarlongWide } from "./varint.ts";

export interface Header {
  readonly key: string;
  readonly value: Buffer | null;
}

/** A record as a reader sees it. Key and value are views of the batch's memory, never copies. */
export interface Record {
  readonly offset: number;
  /** Milliseconds; −1 without one. Saturated beyond ±2^53, and then `timestampBig` is there with the exact value. */
  readonly timestamp: number;
  readonly timestampBig?: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly Header[];
}

export interface ReadLimits {
  /** What a compressed batch may hold. */
  readonly maxBytes: number;
}

const RECORD_BYTES_MIN = 7;
const DECOMPRESSED_BYTES_MAX = 104_857_600;
const noHeaders: readonly Header[] = [];

/** Makes something of a record's parts, which are those of `Record`. */
export type MakeRecord<Made> = (
  offset: number,
  timestamp: number,
  key: Buffer | null,
  value: Buffer | null,
  headers: readonly Header[],
  timestampBig: bigint | undefined,
) => Made;

/** All records of a batch, control records included. Throws MalformedMessage. A compacted batch gives fewer than its offsets span. */
export function readRecords(batch: RecordBatchView, limits?: ReadLimits): Record[] {
  return readRecordsAs(batch, asRecord, limits);
}

/** As `readRecords`, for whoever would make something else of each record at once, and keep that instead. */
export function readRecordsAs<Made>(batch: RecordBatchView, make: MakeRecord<Made>, limits?: ReadLimits): Made[] {
  const maxBytes = limits?.maxBytes ?? DECOMPRESSED_BYTES_MAX;
  const bytes = batch.isCompressed ? decompress(batch.codec, batch.recordsBytes, maxBytes) : batch.bytes;
  const start = batch.isCompressed ? 0 : batch.position + BATCH_HEADER_BYTES;
  const end = batch.isCompressed ? bytes.length : batch.end;
  const count = batch.recordsCount;
  const isCountPossible = count >= 0 && count * RECORD_BYTES_MIN <= end - start;
  if (!isCountPossible) throw new MalformedMessage(`${count} records cannot lie in ${end - start} bytes`);

  const reader = new RecordReader(batch, bytes, start, end);
  const records: Made[] = [];
  for (let index = 0; index < count; index++) records.push(reader.read(make));
  if (reader.position !== end) throw new MalformedMessage(`${end - reader.position} bytes follow the last record`);
  return records;
}

/**
 * What `subarray` makes its answer with, after it has made sure of what is known here. A tenth of the time that reading takes
 * goes into that. Where Buffer is somebody else's, its own `subarray` is used.
 */
type ViewConstructor = new (memory: ArrayBufferLike, byteOffset: number, length: number) => Buffer;
const species = (Buffer as unknown as { readonly [Symbol.species]?: ViewConstructor })[Symbol.species];
const View: ViewConstructor | null =
  species !== undefined && Buffer.isBuffer(new species(new ArrayBuffer(1), 0, 1)) ? species : null;

class RecordReader {
  readonly #bytes: Buffer;
  readonly #memory: ArrayBufferLike;
  readonly #memoryOffset: number;
  readonly #end: number;
  readonly #baseOffset: number;
  readonly #baseTimestamp: number | bigint;
  /** LogAppendTime: one timestamp for all records, that of the header. */
  readonly #appendTime: number | bigint | null;
  position: number;

  constructor(batch: RecordBatchView, bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#memory = bytes.buffer;
    this.#memoryOffset = bytes.byteOffset;
    this.position = start;
    this.#end = end;
    this.#baseOffset = batch.baseOffset;
    this.#baseTimestamp = batch.baseTimestampExact;
    this.#appendTime = batch.timestampType === "LogAppendTime" ? batch.maxTimestampExact : null;
  }

  read<Made>(make: MakeRecord<Made>): Made {
    const bytes = this.#bytes;
    const length = readVarint(bytes, this.position, this.#end);
    let at = this.#after("record length");
    const end = at + length;
    if (length < 0 || end > this.#end) throw new MalformedMessage(`a record of ${length} bytes runs past its batch`);

    const timestampAt = at + 1;
    forgetWideVarlongs();
    const timestampDelta = readVarlong(bytes, timestampAt, end);
    const isWide = wasVarlongWide;
    at = this.#after("timestamp delta");
    const offsetDelta = readVarint(bytes, at, end);
    this.position = this.#after("offset delta");
    const key = this.#bytesOrNull(end, "key");
    const value = this.#bytesOrNull(end, "value");
    const headers = this.#headers(end);
    if (this.position !== end) throw new MalformedMessage("a record's length and what it holds differ");

    const base = this.#baseTimestamp;
    let timestamp: number | bigint;
    if (this.#appendTime !== null) timestamp = this.#appendTime;
    else if (!isWide && typeof base === "number") timestamp = base + timestampDelta;
    else timestamp = BigInt.asIntN(64, BigInt(base) + readVarlongExact(bytes, timestampAt, end));
    const offset = this.#baseOffset + offsetDelta;
    if (typeof timestamp === "number" && Number.isSafeInteger(timestamp))
      return make(offset, timestamp, key, value, headers, undefined);
    const timestampBig = BigInt(timestamp);
    const number = Number(timestampBig);
    if (Number.isSafeInteger(number)) return make(offset, number, key, value, headers, undefined);
    const saturated = timestampBig < 0n ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
    return make(offset, saturated, key, value, headers, timestampBig);
  }

  #after(field: string): number {
    if (varintEnd < 0) throw new MalformedMessage(`no readable ${field} in a record`);
    return varintEnd;
  }

  #bytesOrNull(end: number, field: string): Buffer | null {
    const length = readVarint(this.#bytes, this.position, end);
    const at = this.#after(field);
    if (length === -1) {
      this.position = at;
      return null;
    }
    if (length < 0 || at + length > end) throw tooLong(length, field);
    this.position = at + length;
    if (View === null) return this.#bytes.subarray(at, at + length);
    return new View(this.#memory, this.#memoryOffset + at, length);
  }

  #text(end: number, field: string): string {
    const length = readVarint(this.#bytes, this.position, end);
    const at = this.#after(field);
    if (length === -1) throw new MalformedMessage("a header without a key");
    if (length < 0 || at + length > end) throw tooLong(length, field);
    this.position = at + length;
    return this.#bytes.toString("utf8", at, at + length);
  }

  #headers(end: number): readonly Header[] {
    const count = readVarint(this.#bytes, this.position, end);
    this.position = this.#after("header count");
    if (count === 0) return noHeaders;
    const isPossible = count > 0 && count * 2 <= end - this.position;
    if (!isPossible) throw new MalformedMessage(`${count} headers cannot lie in ${end - this.position} bytes`);
    const headers: Header[] = [];
    for (let index = 0; index < count; index++) {
      headers.push({ key: this.#text(end, "header key"), value: this.#bytesOrNull(end, "header value") });
    }
    return headers;
  }
}

function tooLong(length: number, field: string): MalformedMessage {
  return new MalformedMessage(`a ${field} of ${length} bytes runs past its record`);
}

const asRecord: MakeRecord<Record> = (offset, timestamp, key, value, headers, timestampBig) =>
  timestampBig === undefined
    ? { offset, timestamp, key, value, headers }
    : { offset, timestamp, timestampBig, key, value, headers };
