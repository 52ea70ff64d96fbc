import { crc32c } from "./crc32c.ts";
import { readInt64, readInt64Exact, writeInt64 } from "./int64.ts";

/** Record batch, magic 2: where each field lies, from the batch's first byte. The CRC covers everything from the attributes on. */
export const BatchField = {
  baseOffset: 0,
  batchLength: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordsCount: 57,
  records: 61,
} as const;

export const BATCH_HEADER_BYTES: number = BatchField.records;
/** baseOffset and batchLength: what batchLength does not count. */
export const BATCH_OVERHEAD_BYTES: number = BatchField.partitionLeaderEpoch;
export const BATCH_MAGIC = 2;
/** A smaller batchLength is not even a message of the oldest format. */
const LEGACY_LENGTH_MIN = 14;

export const Attribute = {
  codecMask: 0x07,
  logAppendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
  deleteHorizon: 0x40,
} as const;

export const NO_PRODUCER_ID = -1;
export const NO_PRODUCER_EPOCH = -1;
export const NO_SEQUENCE = -1;
export const NO_TIMESTAMP = -1;

export type TimestampType = "CreateTime" | "LogAppendTime";

/** A record batch as it lies on the wire and on the disk: read in place, never copied, never decoded. Its length is already checked. */
export class RecordBatchView {
  readonly bytes: Buffer;
  /** Where in `bytes` the batch begins. */
  readonly position: number;

  constructor(bytes: Buffer, position = 0) {
    this.bytes = bytes;
    this.position = position;
  }

  get baseOffset(): number {
    return readInt64(this.bytes, this.position);
  }
  get lastOffset(): number {
    return this.baseOffset + this.lastOffsetDelta;
  }
  /** The batch's length as its header has it: without the first twelve bytes. */
  get batchLength(): number {
    return this.bytes.readInt32BE(this.position + 8);
  }
  /** All of it, header included. */
  get sizeBytes(): number {
    return this.bytes.readInt32BE(this.position + 8) + 12;
  }
  /** The position after its last byte. */
  get end(): number {
    return this.position + this.sizeBytes;
  }
  get partitionLeaderEpoch(): number {
    return this.bytes.readInt32BE(this.position + 12);
  }
  get magic(): number {
    return this.bytes.readInt8(this.position + 16);
  }
  get crc(): number {
    return this.bytes.readUInt32BE(this.position + 17);
  }
  get attributes(): number {
    return this.bytes.readInt16BE(this.position + 21);
  }
  /** Kafka's id of the codec, 0 to 7: only 0 to 4 exist, see compression.ts. */
  get codec(): number {
    return this.bytes.readInt16BE(this.position + 21) & Attribute.codecMask;
  }
  get isCompressed(): boolean {
    return this.codec !== 0;
  }
  get timestampType(): TimestampType {
    return (this.attributes & Attribute.logAppendTime) === 0 ? "CreateTime" : "LogAppendTime";
  }
  get isTransactional(): boolean {
    return (this.attributes & Attribute.transactional) !== 0;
  }
  get isControl(): boolean {
    return (this.attributes & Attribute.control) !== 0;
  }
  /** KIP-534: the base timestamp is then the time from which the cleaner may drop tombstones and markers. */
  get hasDeleteHorizon(): boolean {
    return (this.attributes & Attribute.deleteHorizon) !== 0;
  }
  get lastOffsetDelta(): number {
    return this.bytes.readInt32BE(this.position + 23);
  }
  get baseTimestamp(): number {
    return readInt64(this.bytes, this.position + 27);
  }
  get baseTimestampExact(): number | bigint {
    return readInt64Exact(this.bytes, this.position + 27);
  }
  get maxTimestamp(): number {
    return readInt64(this.bytes, this.position + 35);
  }
  get maxTimestampExact(): number | bigint {
    return readInt64Exact(this.bytes, this.position + 35);
  }
  get producerId(): number {
    return readInt64(this.bytes, this.position + 43);
  }
  get producerEpoch(): number {
    return this.bytes.readInt16BE(this.position + 51);
  }
  get hasProducerId(): boolean {
    return this.producerId > NO_PRODUCER_ID;
  }
  get baseSequence(): number {
    return this.bytes.readInt32BE(this.position + 53);
  }
  /** Sequences wrap from 2^31 − 1 to 0. */
  get lastSequence(): number {
    const base = this.baseSequence;
    return base === NO_SEQUENCE ? NO_SEQUENCE : (base + this.lastOffsetDelta) % 0x8000_0000;
  }
  /** As the header says; 0 in a batch that compaction emptied. */
  get recordsCount(): number {
    return this.bytes.readInt32BE(this.position + 57);
  }

  /** The whole batch, uncopied. */
  get wholeBytes(): Buffer {
    return this.bytes.subarray(this.position, this.end);
  }
  /** What follows the header, uncopied: the records, or one compressed block of them. */
  get recordsBytes(): Buffer {
    return this.bytes.subarray(this.position + BATCH_HEADER_BYTES, this.end);
  }

  isCrcValid(): boolean {
    return this.computeCrc() === this.crc;
  }

  computeCrc(): number {
    return crc32c(this.bytes.subarray(this.position + BatchField.attributes, this.end));
  }

  /** The leader owns these two fields. They lie before what the CRC covers, so it stays true. */
  stamp(baseOffset: number, leaderEpoch: number): void {
    writeInt64(this.bytes, this.position, baseOffset);
    this.bytes.writeInt32BE(leaderEpoch, this.position + 12);
  }

  /** LogAppendTime: the type bit and the maximum change, the base stays the client's, and the CRC is made anew. */
  setLogAppendTime(nowMs: number): void {
    this.bytes.writeInt16BE(this.attributes | Attribute.logAppendTime, this.position + BatchField.attributes);
    this.setMaxTimestamp(nowMs);
  }

  /** For a producer that got a new epoch, or that must number its waiting batches again; makes the CRC anew. */
  setProducer(producer: {
    readonly producerId: number;
    readonly producerEpoch: number;
    readonly baseSequence: number;
  }): void {
    writeInt64(this.bytes, this.position + BatchField.producerId, producer.producerId);
    this.bytes.writeInt16BE(producer.producerEpoch, this.position + BatchField.producerEpoch);
    this.bytes.writeInt32BE(producer.baseSequence, this.position + BatchField.baseSequence);
    this.bytes.writeUInt32BE(this.computeCrc(), this.position + BatchField.crc);
  }

  /** Corrects a maximum that a producer got wrong; makes the CRC anew. */
  setMaxTimestamp(timestamp: number | bigint): void {
    writeInt64(this.bytes, this.position + BatchField.maxTimestamp, timestamp);
    this.bytes.writeUInt32BE(this.computeCrc(), this.position + BatchField.crc);
  }
}

/**
 * Why no batch begins at a position.
 * - truncated: the bytes end before the batch does (the last batch of a fetch, a torn write)
 * - too-short: batchLength is less than a header (zeros and garbage, mostly)
 * - legacy-magic: a message of format 0 or 1, which is not served
 * - unknown-magic: any other format
 */
export type BatchFault = "truncated" | "too-short" | "legacy-magic" | "unknown-magic";

/** The batch at a position, or the word for why there is none. Only the lengths and the magic are looked at. */
export function batchAt(bytes: Buffer, position: number, end: number = bytes.length): RecordBatchView | BatchFault {
  const remaining = end - position;
  if (remaining < BATCH_OVERHEAD_BYTES) return "truncated";
  const batchLength = bytes.readInt32BE(position + BatchField.batchLength);
  if (batchLength < LEGACY_LENGTH_MIN) return "too-short";
  if (remaining <= BatchField.magic) return "truncated";
  const magic = bytes.readInt8(position + BatchField.magic);
  if (magic !== BATCH_MAGIC) return magic === 0 || magic === 1 ? "legacy-magic" : "unknown-magic";
  if (batchLength < BATCH_HEADER_BYTES - BATCH_OVERHEAD_BYTES) return "too-short";
  if (remaining < batchLength + BATCH_OVERHEAD_BYTES) return "truncated";
  return new RecordBatchView(bytes, position);
}

/**
 * The batches one after the other, in place. Stops at the end or at the first fault, which is then in `fault`:
 *
 *     const batches = batchesIn(bytes);
 *     for (const batch of batches) ...
 *     if (batches.fault !== null) ... // at batches.position
 */
export class BatchIterator implements IterableIterator<RecordBatchView> {
  readonly bytes: Buffer;
  readonly end: number;
  /** Where the next batch begins, or where the fault is. */
  position: number;
  fault: BatchFault | null = null;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<RecordBatchView, undefined> {
    if (this.position >= this.end || this.fault !== null) return { done: true, value: undefined };
    const found = batchAt(this.bytes, this.position, this.end);
    if (typeof found === "string") {
      this.fault = found;
      return { done: true, value: undefined };
    }
    this.position = found.end;
    return { done: false, value: found };
  }
}

export function batchesIn(bytes: Buffer, start = 0, end: number = bytes.length): BatchIterator {
  return new BatchIterator(bytes, start, end);
}
