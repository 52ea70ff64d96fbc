import {
  Attribute,
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BATCH_OVERHEAD_BYTES,
  BatchField,
  NO_PRODUCER_EPOCH,
  NO_PRODUCER_ID,
  NO_SEQUENCE,
  NO_TIMESTAMP,
} from "./batch.ts";
import type { TimestampType } from "./batch.ts";
import { compress, CompressionCodec } from "./compression.ts";
import type { CompressionName } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import { writeInt64 } from "./int64.ts";
import { VARINT_BYTES_MAX, varintBytes, VARLONG_BYTES_MAX, varlongBytes, writeVarint, writeVarlong } from "./varint.ts";

export interface HeaderInput {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** A record to be written. What was read can be written again. */
export interface RecordInput {
  readonly key?: Uint8Array | null;
  readonly value?: Uint8Array | null;
  readonly headers?: readonly HeaderInput[];
  /** Milliseconds. Default: −1, without. */
  readonly timestamp?: number;
  /** Wins over `timestamp`: for a value beyond ±2^53. */
  readonly timestampBig?: bigint;
  /** Default: one more than the record before it. Must rise; a gap is what compaction leaves. */
  readonly offset?: number;
}

export interface BatchOptions {
  /** Default 0, as a producer must send it. */
  readonly baseOffset?: number;
  /** Default −1: the leader stamps it. */
  readonly leaderEpoch?: number;
  readonly compression?: CompressionName;
  readonly compressionLevel?: number;
  /** LogAppendTime needs `appendTime`, which becomes the timestamp of all records. */
  readonly timestampType?: TimestampType;
  readonly appendTime?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly isTransactional?: boolean;
  readonly isControl?: boolean;
  /** KIP-534: takes the base timestamp's place and sets its bit. */
  readonly deleteHorizonMs?: number;
  /** Default: that of the last record. Compaction keeps the offset of one that is gone. */
  readonly lastOffset?: number;
}

type ProducerNumbers = Pick<BatchOptions, "producerId" | "producerEpoch" | "baseSequence">;

/** A record's offset must lie within an int32 of the batch's first. */
const OFFSET_DELTA_MAX = 0x7fff_ffff;
const CAPACITY_MIN = 512;
const noHeaders: readonly HeaderInput[] = [];

/**
 * Builds one batch, record after record. The records are laid down as they come, so that the size is known at any time:
 *
 *     const builder = new BatchBuilder({ compression: "lz4" });
 *     while (builder.sizeBytes + recordBytesMax(record) <= limit) builder.append(record);
 *     send(builder.build());
 */
export class BatchBuilder {
  readonly #options: BatchOptions;
  #bytes: Buffer;
  #end: number = BATCH_HEADER_BYTES;
  #recordsCount = 0;
  #baseTimestamp: number | bigint;
  #maxTimestamp: number | bigint = NO_TIMESTAMP;
  #lastOffsetDelta = -1;

  /** @param memory is a guess at the size, or memory to begin with. */
  constructor(options: BatchOptions = {}, memory: number | Buffer = CAPACITY_MIN) {
    this.#options = options;
    if (typeof memory === "number") this.#bytes = Buffer.allocUnsafe(Math.max(CAPACITY_MIN, memory));
    else this.#bytes = memory.length >= CAPACITY_MIN ? memory : Buffer.allocUnsafe(CAPACITY_MIN);
    this.#baseTimestamp = options.deleteHorizonMs ?? NO_TIMESTAMP;
  }

  get recordsCount(): number {
    return this.#recordsCount;
  }

  /** Header and records, before compression: exact. */
  get sizeBytes(): number {
    return this.#end;
  }

  /** Where the records are laid down; `build` may give a part of it away. For whoever uses it again. */
  get memory(): Buffer {
    return this.#bytes;
  }

  /** What the batch will be after compression, if it shrinks as the batches before it did: 1 is no shrinking. */
  estimatedSizeBytes(compressionRatio: number): number {
    return BATCH_HEADER_BYTES + Math.ceil((this.#end - BATCH_HEADER_BYTES) * compressionRatio);
  }

  get maxTimestamp(): number | bigint {
    return this.#maxTimestamp;
  }

  /**
   * Adds the common record without an object for it: at the next offset, its timestamp a safe integer. Cheaper than
   * `append`, and the same bytes.
   */
  add(
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly HeaderInput[],
    /** Milliseconds. */
    timestamp: number,
  ): void {
    if (this.#recordsCount === 0) {
      if (this.#options.deleteHorizonMs === undefined) this.#baseTimestamp = timestamp;
      this.#maxTimestamp = timestamp;
    } else if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp;
    const offsetDelta = this.#lastOffsetDelta + 1;
    if (offsetDelta > OFFSET_DELTA_MAX) throw new RangeError(`offset delta ${offsetDelta}`);
    this.#write(difference(timestamp, this.#baseTimestamp), offsetDelta, key, value, headers);
  }

  append(record: RecordInput): void {
    const timestamp = record.timestampBig ?? record.timestamp ?? NO_TIMESTAMP;
    const isFirst = this.#recordsCount === 0;
    if (isFirst && this.#options.deleteHorizonMs === undefined) this.#baseTimestamp = timestamp;
    if (isFirst || timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp;
    const offsetDelta =
      record.offset === undefined ? this.#lastOffsetDelta + 1 : record.offset - (this.#options.baseOffset ?? 0);
    if (offsetDelta <= this.#lastOffsetDelta || offsetDelta > OFFSET_DELTA_MAX) {
      throw new RangeError(`offset delta ${offsetDelta} after ${this.#lastOffsetDelta}`);
    }

    const timestampDelta = difference(timestamp, this.#baseTimestamp);
    this.#write(timestampDelta, offsetDelta, record.key ?? null, record.value ?? null, record.headers ?? noHeaders);
  }

  #write(
    timestampDelta: number | bigint,
    offsetDelta: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly HeaderInput[],
  ): void {
    const bodyBytes =
      1 +
      varlongBytes(timestampDelta) +
      varintBytes(offsetDelta) +
      fieldBytes(key) +
      fieldBytes(value) +
      varintBytes(headers.length) +
      headersBytes(headers);
    this.#reserve(bodyBytes + VARINT_BYTES_MAX);

    const bytes = this.#bytes;
    let at = writeVarint(bytes, this.#end, bodyBytes);
    bytes[at++] = 0;
    at = writeVarlong(bytes, at, timestampDelta);
    at = writeVarint(bytes, at, offsetDelta);
    at = writeField(bytes, at, key);
    at = writeField(bytes, at, value);
    at = writeVarint(bytes, at, headers.length);
    if (headers.length > 0) at = writeHeaders(bytes, at, headers);
    this.#end = at;
    this.#recordsCount += 1;
    this.#lastOffsetDelta = offsetDelta;
  }

  /**
   * The finished batch. `producer` may come this late: a producer numbers a batch when it is sent, not when it is filled.
   * Without compression the builder's own memory is given away, so it is built once.
   */
  build(producer: ProducerNumbers = {}): Buffer {
    const codec = CompressionCodec[this.#options.compression ?? "none"];
    const records = this.#bytes.subarray(BATCH_HEADER_BYTES, this.#end);
    let batch: Buffer;
    if (codec === CompressionCodec.none || records.length === 0) {
      batch = this.#bytes.subarray(0, this.#end);
    } else {
      const compressed = compress(codec, records, this.#options.compressionLevel);
      const isInPlace = compressed.length <= records.length;
      batch = isInPlace
        ? this.#bytes.subarray(0, BATCH_HEADER_BYTES + compressed.length)
        : Buffer.allocUnsafe(BATCH_HEADER_BYTES + compressed.length);
      batch.set(compressed, BATCH_HEADER_BYTES);
    }
    this.#writeHeader(batch, records.length === 0 ? CompressionCodec.none : codec, producer);
    return batch;
  }

  #writeHeader(batch: Buffer, codec: number, producer: ProducerNumbers): void {
    const options = this.#options;
    const isLogAppendTime = options.timestampType === "LogAppendTime";
    const attributes =
      codec |
      (isLogAppendTime ? Attribute.logAppendTime : 0) |
      (options.isTransactional === true ? Attribute.transactional : 0) |
      (options.isControl === true ? Attribute.control : 0) |
      (options.deleteHorizonMs === undefined ? 0 : Attribute.deleteHorizon);
    const baseOffset = options.baseOffset ?? 0;
    const lastOffsetDelta = options.lastOffset === undefined ? this.#lastOffsetDelta : options.lastOffset - baseOffset;
    writeInt64(batch, BatchField.baseOffset, baseOffset);
    batch.writeInt32BE(batch.length - BATCH_OVERHEAD_BYTES, BatchField.batchLength);
    batch.writeInt32BE(options.leaderEpoch ?? -1, BatchField.partitionLeaderEpoch);
    batch.writeInt8(BATCH_MAGIC, BatchField.magic);
    batch.writeInt16BE(attributes, BatchField.attributes);
    batch.writeInt32BE(lastOffsetDelta, BatchField.lastOffsetDelta);
    writeInt64(batch, BatchField.baseTimestamp, this.#baseTimestamp);
    writeInt64(
      batch,
      BatchField.maxTimestamp,
      isLogAppendTime ? (options.appendTime ?? NO_TIMESTAMP) : this.#maxTimestamp,
    );
    writeInt64(batch, BatchField.producerId, producer.producerId ?? options.producerId ?? NO_PRODUCER_ID);
    batch.writeInt16BE(producer.producerEpoch ?? options.producerEpoch ?? NO_PRODUCER_EPOCH, BatchField.producerEpoch);
    batch.writeInt32BE(producer.baseSequence ?? options.baseSequence ?? NO_SEQUENCE, BatchField.baseSequence);
    batch.writeInt32BE(this.#recordsCount, BatchField.recordsCount);
    batch.writeUInt32BE(crc32c(batch.subarray(BatchField.attributes)), BatchField.crc);
  }

  #reserve(moreBytes: number): void {
    const needed = this.#end + moreBytes;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#end);
    this.#bytes = grown;
  }
}

/** The most that a record can take in a batch. */
export function recordBytesMax(record: RecordInput): number {
  const headers = record.headers ?? [];
  return (
    VARINT_BYTES_MAX * 3 +
    VARLONG_BYTES_MAX +
    1 +
    fieldBytes(record.key ?? null) +
    fieldBytes(record.value ?? null) +
    headersBytes(headers)
  );
}

/** The most that `BatchBuilder.add` can take for a record. */
export function fieldsBytesMax(
  key: Uint8Array | null,
  value: Uint8Array | null,
  headers: readonly HeaderInput[],
): number {
  const fixed = VARINT_BYTES_MAX * 5 + VARLONG_BYTES_MAX + 1;
  const fields = (key === null ? 0 : key.length) + (value === null ? 0 : value.length);
  return fixed + fields + (headers.length === 0 ? 0 : headersBytes(headers));
}

/**
 * Gives a finished batch other numbers, in place, with the checksum that goes with them: for a producer that must send
 * it under another epoch.
 */
export function renumberBatch(
  batch: Buffer,
  producer: { readonly producerId: number; readonly producerEpoch: number; readonly baseSequence: number },
): void {
  writeInt64(batch, BatchField.producerId, producer.producerId);
  batch.writeInt16BE(producer.producerEpoch, BatchField.producerEpoch);
  batch.writeInt32BE(producer.baseSequence, BatchField.baseSequence);
  batch.writeUInt32BE(crc32c(batch.subarray(BatchField.attributes)), BatchField.crc);
}

/** One whole batch. An empty list of records is what compaction leaves of a producer's last batch. */
export function encodeBatch(batch: BatchOptions & { readonly records: readonly RecordInput[] }): Buffer {
  let capacity = BATCH_HEADER_BYTES;
  for (const record of batch.records) capacity += recordBytesMax(record);
  const builder = new BatchBuilder(batch, capacity);
  for (const record of batch.records) builder.append(record);
  return builder.build();
}

function difference(a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === "number" && typeof b === "number") {
    const delta = a - b;
    if (Number.isSafeInteger(delta)) return delta;
  }
  return BigInt.asIntN(64, BigInt(a) - BigInt(b));
}

function fieldBytes(field: Uint8Array | null): number {
  return field === null ? 1 : varintBytes(field.length) + field.length;
}

function headersBytes(headers: readonly HeaderInput[]): number {
  let bytes = 0;
  for (const { key, value } of headers) {
    const keyBytes = Buffer.byteLength(key, "utf8");
    bytes += varintBytes(keyBytes) + keyBytes + fieldBytes(value);
  }
  return bytes;
}

function writeHeaders(bytes: Buffer, start: number, headers: readonly HeaderInput[]): number {
  let at = start;
  for (const header of headers) {
    const keyBytes = Buffer.byteLength(header.key, "utf8");
    at = writeVarint(bytes, at, keyBytes);
    at += bytes.write(header.key, at, keyBytes, "utf8");
    at = writeField(bytes, at, header.value);
  }
  return at;
}

function writeField(bytes: Buffer, at: number, field: Uint8Array | null): number {
  if (field === null) return writeVarint(bytes, at, -1);
  const start = writeVarint(bytes, at, field.length);
  bytes.set(field, start);
  return start + field.length;
}
