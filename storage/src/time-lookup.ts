import { batchAt } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Record } from "kafka-protocol-ts/records/record";
import type { LogEnvironment } from "./log-environment.ts";
import { HeaderWalk } from "./header-walk.ts";
import { lastTime, offsetBeforeTime, positionAtOrBefore } from "./index-lookup.ts";
import type { MaxTimestamp, Segment } from "./segment.ts";
import type { Segments } from "./segments.ts";
import { NO_TIMESTAMP } from "./types.ts";
import type { ExactTimestamp, Offset } from "./types.ts";

/** A record that was looked up by its time. */
export interface FoundRecord {
  readonly offset: Offset;
  /** Saturated beyond ±2^53. */
  readonly timestamp: number;
  readonly timestampExact: ExactTimestamp;
}

/** The largest timestamp of a closed segment is the last entry of its time index; the active one's is known. */
export async function maxTimestampOf(environment: LogEnvironment, segment: Segment): Promise<MaxTimestamp> {
  if (segment.maxTimestamp !== null) return segment.maxTimestamp;
  await environment.openSegments.use(segment);
  try {
    const last = lastTime(segment);
    if (last === null && segment.sizeBytes > 0) observeAll(segment);
    segment.maxTimestamp ??= last ?? { timestamp: NO_TIMESTAMP, offset: segment.baseOffset };
    return segment.maxTimestamp;
  } finally {
    segment.release();
  }
}

/** Only for a segment whose time index has no end: none of its records has a timestamp, or the index is not there, or wrong. */
function observeAll(segment: Segment): void {
  const header = Buffer.alloc(61);
  const walk = new HeaderWalk(segment.log, 0 as HeaderWalk["position"], segment.sizeBytes);
  while (walk.next()) {
    segment.log.readNow(header, walk.position);
    const batch = batchAt(header, 0, walk.nextPosition);
    if (typeof batch !== "string") segment.observe(batch.maxTimestampExact, batch.lastOffset as Offset);
  }
}

/** The first record at or after `timestamp` among the offsets from `from` to `upTo`; null where there is none. */
export async function findByTime(
  environment: LogEnvironment,
  segments: Segments,
  { timestamp, from, upTo }: { readonly timestamp: ExactTimestamp; readonly from: Offset; readonly upTo: Offset },
): Promise<FoundRecord | null> {
  for (const segment of segments.all().slice(segments.indexOf(from))) {
    if (segment.sizeBytes === 0 || segment.baseOffset >= upTo) continue;
    if ((await maxTimestampOf(environment, segment)).timestamp < timestamp) continue;
    const found = await findInSegment(environment, segment, { from, upTo, timestamp });
    if (found !== null) return found;
  }
  return null;
}

/** The record with the largest timestamp, the first of them. */
export async function findMaxTimestamp(
  environment: LogEnvironment,
  segments: Segments,
  { from, upTo }: { readonly from: Offset; readonly upTo: Offset },
): Promise<FoundRecord | null> {
  let newest: { readonly segment: Segment; readonly max: MaxTimestamp } | null = null;
  for (const segment of segments.all().slice(segments.indexOf(from))) {
    if (segment.sizeBytes === 0) continue;
    const max = await maxTimestampOf(environment, segment);
    if (max.timestamp !== NO_TIMESTAMP && (newest === null || max.timestamp > newest.max.timestamp))
      newest = { segment, max };
  }
  if (newest === null) return null;
  const { segment, max } = newest;
  return findInSegment(environment, segment, { from, upTo, timestamp: max.timestamp });
}

async function findInSegment(
  environment: LogEnvironment,
  segment: Segment,
  wanted: { readonly from: Offset; readonly upTo: Offset; readonly timestamp: ExactTimestamp },
): Promise<FoundRecord | null> {
  await environment.openSegments.use(segment);
  try {
    const near = Math.max(offsetBeforeTime(segment, wanted.timestamp), wanted.from) as Offset;
    let position = positionAtOrBefore(segment, near);
    const header = Buffer.alloc(61);
    for (;;) {
      const end = segment.sizeBytes;
      if (position >= end) return null;
      await segment.log.read(header, position);
      const batch = batchAt(header, 0, end - position);
      if (typeof batch === "string" || batch.baseOffset >= wanted.upTo) return null;
      const { sizeBytes } = batch;
      const isCandidate =
        batch.lastOffset >= wanted.from && batch.maxTimestampExact >= wanted.timestamp && !batch.isControl;
      if (isCandidate) {
        const bytes = Buffer.alloc(sizeBytes);
        await segment.log.read(bytes, position);
        const found = findInBatch(bytes, wanted);
        if (found !== null) return found;
      }
      position = (position + sizeBytes) as typeof position;
    }
  } finally {
    segment.release();
  }
}

function findInBatch(
  bytes: Buffer,
  { from, upTo, timestamp }: { readonly from: Offset; readonly upTo: Offset; readonly timestamp: ExactTimestamp },
): FoundRecord | null {
  const batch = batchAt(bytes, 0);
  if (typeof batch === "string") return null;
  for (const record of readRecords(batch)) {
    if (record.offset < from) continue;
    if (record.offset >= upTo) return null;
    if (exactTimestamp(record) >= timestamp) {
      return { offset: record.offset as Offset, timestamp: record.timestamp, timestampExact: exactTimestamp(record) };
    }
  }
  return null;
}

function exactTimestamp(record: Record): ExactTimestamp {
  return record.timestampBig ?? record.timestamp;
}
