import { BATCH_HEADER_BYTES, NO_TIMESTAMP } from "./batch.ts";
import type { RecordBatchView } from "./batch.ts";
import { CompressionFailure, decompress, releaseDecompressed } from "./compression.ts";
import { forgetWideVarlongs, readVarint, readVarlong, readVarlongExact, varintEnd, wasVarlongWide } from "./varint.ts";

/** What the caller asks of a batch's records beyond their form. */
export interface WalkRules {
  /** A compacted topic: a record without a key is refused. */
  readonly isKeyRequired?: boolean;
  /** Inclusive bounds of what `message.timestamp.before.max.ms` and `after.max.ms` allow. A record without a timestamp (−1) is not held to them. */
  readonly timestampMin?: number;
  readonly timestampMax?: number;
  /** From a producer the offset deltas are 0 … n−1; in a log that was compacted they only rise. Default: true. */
  readonly areOffsetsDense?: boolean;
  /** How much a compressed batch may hold. Default: 100 MiB. */
  readonly decompressedBytesMax?: number;
}

/**
 * What is wrong with the form of a batch's records.
 * - empty: no record
 * - last-offset-delta: not recordsCount − 1
 * - records-count: fewer or more records than the header says
 * - truncated: a record runs past the end of the batch
 * - record-length: a record's length and what it holds differ
 * - offset-delta: not in order
 * - bad-length: a negative length, or a varint that is too long
 * - bad-compression, decompressed-too-large, unknown-codec, codec-not-installed: nothing could be walked
 */
export type WalkFault =
  | "empty"
  | "last-offset-delta"
  | "records-count"
  | "truncated"
  | "record-length"
  | "offset-delta"
  | "bad-length"
  | "bad-compression"
  | "decompressed-too-large"
  | "unknown-codec"
  | "codec-not-installed";

/** A well-formed record that the topic's rules refuse. */
export interface RecordFault {
  /** In the batch, from 0. */
  readonly index: number;
  readonly fault: "null-key" | "timestamp";
  /** As the record has it; saturated. */
  readonly timestamp: number;
}

/** How many refused records a report names at most: the answer to a producer is no place for a hundred thousand. */
export const RECORD_FAULTS_MAX = 100;

export interface WalkReport {
  readonly fault: WalkFault | null;
  /** Which record has the fault; −1 where it is the batch as a whole. */
  readonly faultIndex: number;
  /** A sentence for the log and the producer; empty without a fault. */
  readonly faultMessage: string;
  /** The first `RECORD_FAULTS_MAX` that the rules refuse, in order. */
  readonly recordFaults: readonly RecordFault[];
  readonly recordsCount: number;
  /** Saturated; −1 in an empty batch. */
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  /** Where a value beyond ±2^53 is exact too. */
  readonly maxTimestampExact: number | bigint;
  /** The offset delta of the first record that has the maximum. */
  readonly maxTimestampOffsetDelta: number;
  /** Whether the header's maxTimestamp is that of the records; a producer's mistake is corrected by `setMaxTimestamp`. */
  readonly isMaxTimestampTrue: boolean;
}

/** Length, attributes, two deltas, key, value and header count, a byte each. */
const RECORD_BYTES_MIN = 7;
export const DECOMPRESSED_BYTES_MAX = 104_857_600;
const noRules: WalkRules = {};
const noRecordFaults: readonly RecordFault[] = [];

/** Validates the records of a batch in place; those of a compressed one after bounded decompression. Allocates nothing per record. */
export function walkBatch(batch: RecordBatchView, rules: WalkRules = noRules): WalkReport {
  if (!batch.isCompressed)
    return walkRecords(batch, batch.bytes, batch.position + BATCH_HEADER_BYTES, batch.end, rules);
  let records: Buffer;
  try {
    records = decompress(batch.codec, batch.recordsBytes, rules.decompressedBytesMax ?? DECOMPRESSED_BYTES_MAX);
  } catch (error) {
    if (!(error instanceof CompressionFailure)) throw error;
    return faulty(faultOfCompression[error.kind], -1, error.message, batch.recordsCount);
  }
  const report = walkRecords(batch, records, 0, records.length, rules);
  releaseDecompressed(records, batch.bytes);
  return report;
}

const faultOfCompression = {
  "bad-data": "bad-compression",
  "too-large": "decompressed-too-large",
  "unknown-codec": "unknown-codec",
  "not-installed": "codec-not-installed",
} as const satisfies Record<CompressionFailure["kind"], WalkFault>;

/**
 * The walk itself, over records that are not compressed (any more); `batch` gives the header.
 *
 * The varints of one and two bytes are read in line: this loop runs once for every record that is ever produced, and a call
 * for each number made it half as fast again. A read past `end` gives a number that the bounds below refuse.
 */
// oxlint-disable-next-line max-lines-per-function
export function walkRecords(
  batch: RecordBatchView,
  bytes: Uint8Array,
  start: number,
  end: number,
  rules: WalkRules = noRules,
): WalkReport {
  const areOffsetsDense = rules.areOffsetsDense ?? true;
  const count = batch.recordsCount;
  const lastOffsetDelta = batch.lastOffsetDelta;
  const impossible = checkCount(count, lastOffsetDelta, end - start, areOffsetsDense);
  if (impossible !== null) return impossible;

  const judge = new RecordJudge(rules, batch.baseTimestamp);
  let minDelta = Infinity;
  let maxDelta = -Infinity;
  let maxTimestampOffsetDelta = 0;
  let offsetDeltaBefore = -1;
  let at = start;
  let first = 0;
  let second = 0;
  forgetWideVarlongs();

  for (let index = 0; index < count; index++) {
    const recordAt = at;
    let length: number;
    if ((first = bytes[at] as number) < 0x80) {
      length = unzigzag(first);
      at += 1;
    } else if ((second = bytes[at + 1] as number) < 0x80) {
      length = unzigzag((first & 0x7f) | (second << 7));
      at += 2;
    } else {
      length = readVarint(bytes, at, end);
      at = varintEnd;
    }
    const recordEnd = at + length;
    if (at < 0 || length < 0 || recordEnd > end)
      return badRecord(index, { at: recordAt, next: at, length, end }, count);

    // One byte of attributes, which no version uses; Kafka does not look at it either.
    at += 1;
    let timestampDelta: number;
    if ((first = bytes[at] as number) < 0x80) {
      timestampDelta = unzigzag(first);
      at += 1;
    } else if ((second = bytes[at + 1] as number) < 0x80) {
      timestampDelta = unzigzag((first & 0x7f) | (second << 7));
      at += 2;
    } else {
      timestampDelta = readVarlong(bytes, at, recordEnd);
      at = varintEnd;
      if (at < 0) return badNumber(index, "timestamp delta", count);
    }

    let offsetDelta: number;
    if ((first = bytes[at] as number) < 0x80) {
      offsetDelta = unzigzag(first);
      at += 1;
    } else if ((second = bytes[at + 1] as number) < 0x80) {
      offsetDelta = unzigzag((first & 0x7f) | (second << 7));
      at += 2;
    } else {
      offsetDelta = readVarint(bytes, at, recordEnd);
      at = varintEnd;
      if (at < 0) return badNumber(index, "offset delta", count);
    }
    if (areOffsetsDense ? offsetDelta !== index : offsetDelta <= offsetDeltaBefore || offsetDelta > lastOffsetDelta) {
      return faulty("offset-delta", index, `record ${index} has the offset delta ${offsetDelta}`, count);
    }
    offsetDeltaBefore = offsetDelta;

    let keyLength: number;
    if ((first = bytes[at] as number) < 0x80) {
      keyLength = unzigzag(first);
      at += 1;
    } else {
      keyLength = readVarint(bytes, at, recordEnd);
      at = varintEnd;
      if (at < 0) return badNumber(index, "key length", count);
    }
    if (keyLength < -1) return faulty("bad-length", index, `record ${index} has the key length ${keyLength}`, count);
    if (keyLength > 0) at += keyLength;

    let valueLength: number;
    if ((first = bytes[at] as number) < 0x80) {
      valueLength = unzigzag(first);
      at += 1;
    } else if ((second = bytes[at + 1] as number) < 0x80) {
      valueLength = unzigzag((first & 0x7f) | (second << 7));
      at += 2;
    } else {
      valueLength = readVarint(bytes, at, recordEnd);
      at = varintEnd;
      if (at < 0) return badNumber(index, "value length", count);
    }
    if (valueLength < -1)
      return faulty("bad-length", index, `record ${index} has the value length ${valueLength}`, count);
    if (valueLength > 0) at += valueLength;

    if (bytes[at] === 0) at += 1;
    else {
      at = walkHeaders(bytes, at, recordEnd);
      if (at < 0) return faulty("bad-length", index, `record ${index} has broken headers`, count);
    }
    if (at !== recordEnd) {
      return faulty(
        "record-length",
        index,
        `record ${index} is ${length} bytes long, but holds ${length + at - recordEnd}`,
        count,
      );
    }

    if (timestampDelta > maxDelta) {
      maxDelta = timestampDelta;
      maxTimestampOffsetDelta = offsetDelta;
    }
    if (timestampDelta < minDelta) minDelta = timestampDelta;
    if (judge.isStrict) judge.look(index, timestampDelta, keyLength < 0);
  }
  if (at !== end) return faulty("records-count", count, `${end - at} bytes follow the last of ${count} records`, count);

  const base = batch.baseTimestampExact;
  if (typeof base === "bigint" || wasVarlongWide || !areSafe(base + minDelta, base + maxDelta)) {
    return withExactTimestamps(batch, bytes, start, judge.recordFaults);
  }
  return {
    fault: null,
    faultIndex: -1,
    faultMessage: "",
    recordFaults: judge.recordFaults,
    recordsCount: count,
    minTimestamp: base + minDelta,
    maxTimestamp: base + maxDelta,
    maxTimestampExact: base + maxDelta,
    maxTimestampOffsetDelta,
    isMaxTimestampTrue: base + maxDelta === batch.maxTimestampExact,
  };
}

function unzigzag(raw: number): number {
  return (raw >>> 1) ^ -(raw & 1);
}

function areSafe(a: number, b: number): boolean {
  return Number.isSafeInteger(a) && Number.isSafeInteger(b);
}

function checkCount(
  count: number,
  lastOffsetDelta: number,
  bytes: number,
  areOffsetsDense: boolean,
): WalkReport | null {
  if (count <= 0) {
    const isEmptied = !areOffsetsDense && count === 0 && bytes === 0;
    return isEmptied ? emptied : faulty("empty", -1, `the batch says that it holds ${count} records`, count);
  }
  if (count * RECORD_BYTES_MIN > bytes) {
    return faulty("records-count", -1, `${count} records cannot lie in ${bytes} bytes`, count);
  }
  if (areOffsetsDense && lastOffsetDelta !== count - 1) {
    return faulty("last-offset-delta", -1, `last offset delta ${lastOffsetDelta} with ${count} records`, count);
  }
  return null;
}

/** The topic's rules, which are asked only where there are any. */
class RecordJudge {
  readonly isStrict: boolean;
  readonly #rules: WalkRules;
  readonly #baseTimestamp: number;
  recordFaults: readonly RecordFault[] = noRecordFaults;

  constructor(rules: WalkRules, baseTimestamp: number) {
    this.#rules = rules;
    this.#baseTimestamp = baseTimestamp;
    this.isStrict =
      rules.isKeyRequired === true || rules.timestampMin !== undefined || rules.timestampMax !== undefined;
  }

  look(index: number, timestampDelta: number, isKeyNull: boolean): void {
    const { isKeyRequired = false, timestampMin = -Infinity, timestampMax = Infinity } = this.#rules;
    const timestamp = this.#baseTimestamp + timestampDelta;
    if (isKeyRequired && isKeyNull) this.#refuse({ index, fault: "null-key", timestamp: saturated(timestamp) });
    else if ((timestamp < timestampMin || timestamp > timestampMax) && timestamp !== NO_TIMESTAMP) {
      this.#refuse({ index, fault: "timestamp", timestamp: saturated(timestamp) });
    }
  }

  #refuse(fault: RecordFault): void {
    if (this.recordFaults.length < RECORD_FAULTS_MAX) this.recordFaults = [...this.recordFaults, fault];
  }
}

/** The position after the headers, whose count lies at `start`; or −1. */
function walkHeaders(bytes: Uint8Array, start: number, end: number): number {
  const count = readVarint(bytes, start, end);
  let at = varintEnd;
  // A header is two bytes at least; a lying count ends here.
  if (at < 0 || count < 0 || count * 2 > end - at) return -1;
  for (let index = 0; index < count; index++) {
    const keyLength = readVarint(bytes, at, end);
    at = varintEnd;
    if (at < 0 || keyLength < 0) return -1;
    at += keyLength;
    const valueLength = readVarint(bytes, at, end);
    at = varintEnd;
    if (at < 0 || valueLength < -1) return -1;
    if (valueLength > 0) at += valueLength;
  }
  return at;
}

/** For the rare batch with a timestamp beyond ±2^53: the same maximum, as bigint. The form is known to be good. */
function withExactTimestamps(
  batch: RecordBatchView,
  bytes: Uint8Array,
  start: number,
  recordFaults: readonly RecordFault[],
): WalkReport {
  const base = BigInt(batch.baseTimestampExact);
  let min = base;
  let max = base;
  let maxTimestampOffsetDelta = 0;
  let at = start;
  const count = batch.recordsCount;
  for (let index = 0; index < count; index++) {
    const recordEnd = readVarint(bytes, at, bytes.length) + varintEnd;
    // int64 wraps, as it does in the other implementations.
    const timestamp = BigInt.asIntN(64, base + readVarlongExact(bytes, varintEnd + 1, recordEnd));
    const offsetDelta = readVarint(bytes, varintEnd, recordEnd);
    if (index === 0 || timestamp > max) {
      max = timestamp;
      maxTimestampOffsetDelta = offsetDelta;
    }
    if (index === 0 || timestamp < min) min = timestamp;
    at = recordEnd;
  }
  return {
    fault: null,
    faultIndex: -1,
    faultMessage: "",
    recordFaults,
    recordsCount: count,
    minTimestamp: saturated(Number(min)),
    maxTimestamp: saturated(Number(max)),
    maxTimestampExact: exact(max),
    maxTimestampOffsetDelta,
    isMaxTimestampTrue: exact(max) === batch.maxTimestampExact,
  };
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function saturated(value: number): number {
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
}

const emptied: WalkReport = {
  fault: null,
  faultIndex: -1,
  faultMessage: "",
  recordFaults: noRecordFaults,
  recordsCount: 0,
  minTimestamp: -1,
  maxTimestamp: -1,
  maxTimestampExact: -1,
  maxTimestampOffsetDelta: -1,
  isMaxTimestampTrue: true,
};

function badRecord(
  index: number,
  record: { readonly at: number; readonly next: number; readonly length: number; readonly end: number },
  count: number,
): WalkReport {
  if (record.at >= record.end) {
    return faulty("records-count", index, `the header says ${count} records, ${index} are there`, count);
  }
  if (record.next < 0) return badNumber(index, "length", count);
  if (record.length < 0) return faulty("bad-length", index, `record ${index} has the length ${record.length}`, count);
  return faulty("truncated", index, `record ${index} runs past the end of the batch`, count);
}

function badNumber(index: number, field: string, recordsCount: number): WalkReport {
  return faulty("bad-length", index, `record ${index} has no readable ${field}`, recordsCount);
}

function faulty(fault: WalkFault, faultIndex: number, faultMessage: string, recordsCount: number): WalkReport {
  return { ...emptied, fault, faultIndex, faultMessage, recordsCount, isMaxTimestampTrue: false };
}
