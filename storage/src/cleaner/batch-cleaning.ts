import { Attribute, BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { compress, compressionName, decompress, releaseDecompressed } from "kafka-protocol-ts/records/compression";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { RecordCursor } from "kafka-protocol-ts/records/cursor";
import { writeInt64 } from "kafka-protocol-ts/records/int64";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import type { AbortedTransaction } from "../transaction-index.ts";
import type { Offset } from "../types.ts";
import type { CleanedTransactions } from "./cleaned-transactions.ts";
import type { KeyOffsets } from "./key-offsets.ts";
import type { SupersededOffsets } from "./superseded-offsets.ts";

/** What a producer wrote last: the batch stays, empty if need be, so that its sequences and its epoch are known after a recovery. */
export interface LastOfProducer {
  readonly producerId: number;
  readonly epoch: number;
  /** Of its last batch of data; −1 where its last batch was a marker. */
  readonly lastDataOffset: number;
}

export interface BatchRules {
  readonly keys: KeyOffsets;
  /** Of those that the keys were noted of. */
  readonly superseded: SupersededOffsets;
  /** The map knows every key below it; what comes after is kept. */
  readonly keysEndOffset: Offset;
  /** Where the segments end that are cleaned together: the last batch below it stays, empty if need be, so that a log's segments follow each other without a hole. */
  readonly groupEndOffset: Offset;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  readonly decompressedBytesMax: number;
}

/** What becomes of a batch. */
export interface CleanedBatch {
  /** Null where nothing of it stays; the batch's own memory where it stays as it is. */
  readonly bytes: Buffer | null;
  readonly isChanged: boolean;
  readonly recordsRead: number;
  readonly recordsKept: number;
  /** When a tombstone in it, or the marker that it is, may go; null without one. */
  readonly horizonMs: number | null;
  /** Of an abort marker that stays. */
  readonly aborted: AbortedTransaction | null;
}

/**
 * Decides batch by batch what a compacted log keeps, with Kafka's rules:
 *
 *     a record stays if     no later record below `keysEndOffset` has its key
 *       and it has          a value, or it is a tombstone whose delete horizon is not over
 *     it goes if            it has no key, or its transaction was aborted
 *
 * The delete horizon (KIP-534) is set by the first round that sees a tombstone, or a marker without data: from then on
 * readers have `delete.retention.ms` to see it. It stands in the batch's base timestamp.
 */
export class BatchCleaner {
  readonly #rules: BatchRules;
  readonly #transactions: CleanedTransactions;
  readonly #lastOfProducers: ReadonlyMap<number, LastOfProducer>;
  readonly #cursor: RecordCursor = new RecordCursor();
  /** Where the kept records of the present batch lie: start and end by turns. */
  readonly #kept: number[] = [];

  constructor(rules: BatchRules, transactions: CleanedTransactions, lastOfProducers: readonly LastOfProducer[]) {
    this.#rules = rules;
    this.#transactions = transactions;
    this.#lastOfProducers = new Map(lastOfProducers.map((each) => [each.producerId, each]));
  }

  /** The batch is whole and its checksum right. Throws MalformedMessage or CompressionFailure where its records are not. */
  clean(batch: RecordBatchView): CleanedBatch {
    return batch.isControl ? this.#cleanMarker(batch) : this.#cleanData(batch);
  }

  #cleanMarker(batch: RecordBatchView): CleanedBatch {
    const { isUseless, aborted } = this.#transactions.end(batch);
    if (!isUseless || batch.baseOffset >= this.#rules.keysEndOffset) return { ...unchanged(batch), aborted };
    const isOver = batch.hasDeleteHorizon && batch.baseTimestamp <= this.#rules.nowMs;
    if (batch.recordsCount === 0 || isOver) return this.#emptied(batch);
    if (batch.hasDeleteHorizon) return { ...unchanged(batch), horizonMs: batch.baseTimestamp };
    const bytes = this.#withHorizon(batch, () => true);
    return { ...unchanged(batch), bytes, isChanged: true, horizonMs: this.#newHorizonMs };
  }

  #cleanData(batch: RecordBatchView): CleanedBatch {
    const { recordsCount } = batch;
    const isAborted = this.#transactions.isAborted(batch);
    if (batch.baseOffset >= this.#rules.keysEndOffset) return unchanged(batch);
    if (isAborted || recordsCount === 0) return this.#emptied(batch);
    if (this.#rules.superseded.areAll(batch.baseOffset, batch.lastOffset, recordsCount)) return this.#emptied(batch);
    const packed = batch.isCompressed;
    const bytes = packed ? decompress(batch.codec, batch.recordsBytes, this.#rules.decompressedBytesMax) : batch.bytes;
    try {
      return this.#cleanRecords(batch, bytes, packed ? 0 : batch.position + BATCH_HEADER_BYTES);
    } finally {
      if (packed) releaseDecompressed(bytes, batch.bytes);
    }
  }

  #cleanRecords(batch: RecordBatchView, bytes: Buffer, start: number): CleanedBatch {
    const { keysEndOffset, nowMs } = this.#rules;
    const cursor = this.#cursor;
    const kept = this.#kept;
    const { baseOffset, recordsCount } = batch;
    const areTombstonesKept = !batch.hasDeleteHorizon || nowMs < batch.baseTimestamp;
    kept.length = 0;
    let keptCount = 0;
    let maxDelta = Number.NEGATIVE_INFINITY;
    let hasTombstone = false;
    cursor.attach(bytes, start, batch.isCompressed ? bytes.length : batch.end, recordsCount);
    while (cursor.next()) {
      if (!this.#isKept(bytes, baseOffset + cursor.offsetDelta, areTombstonesKept)) continue;
      const isInRange = baseOffset + cursor.offsetDelta < keysEndOffset;
      hasTombstone ||= isInRange && !cursor.hasValue;
      maxDelta = Math.max(maxDelta, cursor.timestampDelta);
      keptCount += 1;
      if (kept.at(-1) === cursor.start) kept[kept.length - 1] = cursor.end;
      else kept.push(cursor.start, cursor.end);
    }
    if (keptCount === 0) return this.#emptied(batch);
    const changed = { isChanged: true, recordsRead: recordsCount, recordsKept: keptCount, aborted: null };
    if (hasTombstone && !batch.hasDeleteHorizon) {
      const offsets = this.#keptOffsets(batch, bytes, start);
      const marked = this.#withHorizon(batch, (offset) => offsets.has(offset));
      return { ...changed, bytes: marked, horizonMs: this.#newHorizonMs };
    }
    const horizonMs = hasTombstone ? batch.baseTimestamp : null;
    if (keptCount === recordsCount) return { ...unchanged(batch), horizonMs };
    return { ...changed, bytes: this.#withKept(batch, bytes, keptCount, maxDelta), horizonMs };
  }

  /** Whether the record on which the cursor stands stays. */
  #isKept(bytes: Buffer, offset: number, areTombstonesKept: boolean): boolean {
    const cursor = this.#cursor;
    const { keys, keysEndOffset, superseded } = this.#rules;
    if (offset >= keysEndOffset) return true;
    if (!cursor.hasKey) return false;
    const isSuperseded = superseded.covers(offset)
      ? superseded.has(offset)
      : offset < keys.get(bytes, cursor.keyStart, cursor.keyEnd);
    if (isSuperseded) return false;
    return cursor.hasValue || areTombstonesKept;
  }

  /** Of the records that were kept just now. */
  #keptOffsets(batch: RecordBatchView, bytes: Buffer, start: number): ReadonlySet<number> {
    const kept = this.#kept;
    const cursor = this.#cursor;
    const offsets = new Set<number>();
    let range = 0;
    cursor.attach(bytes, start, batch.isCompressed ? bytes.length : batch.end, batch.recordsCount);
    while (cursor.next()) {
      while (range < kept.length && (kept[range + 1] as number) <= cursor.start) range += 2;
      if (range < kept.length && (kept[range] as number) <= cursor.start)
        offsets.add(batch.baseOffset + cursor.offsetDelta);
    }
    return offsets;
  }

  /** The kept records as they are, under a header that says so. */
  #withKept(batch: RecordBatchView, bytes: Buffer, count: number, maxDelta: number): Buffer {
    const kept = this.#kept;
    let recordsBytes = 0;
    for (let at = 0; at < kept.length; at += 2) recordsBytes += (kept[at + 1] as number) - (kept[at] as number);
    const plain = Buffer.allocUnsafe(BATCH_HEADER_BYTES + recordsBytes);
    let end = BATCH_HEADER_BYTES;
    for (let at = 0; at < kept.length; at += 2) end += bytes.copy(plain, end, kept[at], kept[at + 1]);
    let cleaned = plain;
    if (batch.isCompressed) {
      const packed = compress(batch.codec, plain.subarray(BATCH_HEADER_BYTES));
      cleaned = Buffer.allocUnsafe(BATCH_HEADER_BYTES + packed.length);
      cleaned.set(packed, BATCH_HEADER_BYTES);
    }
    batch.bytes.copy(cleaned, 0, batch.position, batch.position + BATCH_HEADER_BYTES);
    cleaned.writeInt32BE(cleaned.length - BATCH_OVERHEAD_BYTES, BatchField.batchLength);
    cleaned.writeInt32BE(count, BatchField.recordsCount);
    // LogAppendTime: the header's maximum is the time of all of them. A sum beyond ±2^53 keeps what was there.
    const maxTimestamp = batch.baseTimestamp + maxDelta;
    const isExact = Number.isSafeInteger(maxTimestamp) && Number.isSafeInteger(maxDelta);
    if (batch.timestampType === "CreateTime" && isExact) writeInt64(cleaned, BatchField.maxTimestamp, maxTimestamp);
    cleaned.writeUInt32BE(crc32c(cleaned.subarray(BatchField.attributes)), BatchField.crc);
    return cleaned;
  }

  get #newHorizonMs(): number {
    return Math.min(this.#rules.nowMs + this.#rules.deleteRetentionMs, Number.MAX_SAFE_INTEGER);
  }

  /** With the horizon in the place of the base timestamp, to which all records relate: they are written anew. */
  #withHorizon(batch: RecordBatchView, isKept: (offset: number) => boolean): Buffer {
    const records = readRecords(batch, { maxBytes: this.#rules.decompressedBytesMax }).filter(({ offset }) =>
      isKept(offset),
    );
    return encodeBatch({
      records,
      baseOffset: batch.baseOffset,
      lastOffset: batch.lastOffset,
      leaderEpoch: batch.partitionLeaderEpoch,
      compression: compressionName(batch.codec) ?? "none",
      timestampType: batch.timestampType,
      appendTime: batch.maxTimestamp,
      producerId: batch.producerId,
      producerEpoch: batch.producerEpoch,
      baseSequence: batch.baseSequence,
      isTransactional: batch.isTransactional,
      isControl: batch.isControl,
      deleteHorizonMs: this.#newHorizonMs,
    });
  }

  /** No record stays: the batch goes, or its header stays alone. */
  #emptied(batch: RecordBatchView): CleanedBatch {
    const emptied = {
      isChanged: true,
      recordsRead: batch.recordsCount,
      recordsKept: 0,
      horizonMs: null,
      aborted: null,
    };
    const isNeeded = batch.lastOffset + 1 === this.#rules.groupEndOffset || this.#isLastOfProducer(batch);
    if (!isNeeded) return { ...emptied, bytes: null };
    if (batch.recordsCount === 0) return unchanged(batch);
    const bytes = Buffer.from(batch.bytes.subarray(batch.position, batch.position + BATCH_HEADER_BYTES));
    const { maxTimestampExact } = batch;
    bytes.writeInt32BE(BATCH_HEADER_BYTES - BATCH_OVERHEAD_BYTES, BatchField.batchLength);
    bytes.writeInt16BE(batch.attributes & ~(Attribute.codecMask | Attribute.deleteHorizon), BatchField.attributes);
    writeInt64(bytes, BatchField.baseTimestamp, maxTimestampExact);
    bytes.writeInt32BE(0, BatchField.recordsCount);
    bytes.writeUInt32BE(crc32c(bytes.subarray(BatchField.attributes)), BatchField.crc);
    return { ...emptied, bytes };
  }

  #isLastOfProducer(batch: RecordBatchView): boolean {
    if (!batch.hasProducerId) return false;
    const last = this.#lastOfProducers.get(batch.producerId);
    if (last === undefined) return false;
    return last.lastDataOffset >= 0
      ? batch.lastOffset === last.lastDataOffset
      : batch.isControl && batch.producerEpoch === last.epoch;
  }
}

function unchanged(batch: RecordBatchView): CleanedBatch {
  const { recordsCount } = batch;
  const bytes = batch.wholeBytes;
  return {
    bytes,
    isChanged: false,
    recordsRead: recordsCount,
    recordsKept: recordsCount,
    horizonMs: null,
    aborted: null,
  };
}
