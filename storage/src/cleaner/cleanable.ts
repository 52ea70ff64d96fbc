import type { TimeMs } from "@millrace/base/units";
import { BATCH_HEADER_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { readInt64 } from "kafka-protocol-ts/records/int64";
import type { LogEnvironment } from "../log-environment.ts";
import type { PartitionLog } from "../log.ts";
import type { Segment } from "../segment.ts";
import { maxTimestampOf } from "../time-lookup.ts";
import type { Offset } from "../types.ts";

/** What the cleaner remembers of a compacted log. */
export interface CleanerState {
  /** Below it each key has one record. */
  firstDirtyOffset: Offset;
  /** The newest value of `millrace.compact.request` that was done. */
  doneRequest: number;
  /** When a tombstone that stayed may go; null without any. */
  nextHorizonMs: number | null;
}

/**
 * Why a log is to be cleaned now; null where it need not.
 * - request: an operator asked
 * - lag: a record is as old as `max.compaction.lag.ms` and has not been through it
 * - dirty: more than `min.cleanable.dirty.ratio` of it is dirty
 * - horizon: a tombstone or a marker has been kept for long enough
 */
export type CleaningReason = "request" | "lag" | "dirty" | "horizon" | null;

export interface Cleanable {
  readonly firstDirtyOffset: Offset;
  /** Exclusive. */
  readonly endOffset: Offset;
  readonly dirtyBytes: number;
  /** Of the bytes up to `endOffset`. */
  readonly dirtyRatio: number;
  readonly why: CleaningReason;
}

/** Looks at a log whose `cleanup.policy` has compact. Closes its active segment where that must be cleaned too. */
export async function findCleanable(
  environment: LogEnvironment,
  log: PartitionLog,
  state: CleanerState,
  nowMs: TimeMs,
): Promise<Cleanable> {
  const isRequested = log.config["millrace.compact.request"] > state.doneRequest;
  const isLate = isRequested ? false : await isLagOver(environment, log, state.firstDirtyOffset, nowMs);
  if (isRequested || isLate) await log.rollIfOlder(isRequested ? 0 : log.config["max.compaction.lag.ms"], nowMs);
  const { config } = log;
  const segments = log.segments();
  const firstDirtyOffset = firstDirtyOf(log, state);
  const endOffset = await endOf(environment, log, firstDirtyOffset, nowMs);
  let cleanBytes = 0;
  let dirtyBytes = 0;
  const firstDirty = segments.indexOf(firstDirtyOffset);
  for (const [index, { baseOffset, sizeBytes }] of segments.all().entries()) {
    if (baseOffset >= endOffset) break;
    if (index < firstDirty || firstDirtyOffset >= endOffset) cleanBytes += sizeBytes;
    else dirtyBytes += sizeBytes;
  }
  const dirtyRatio = dirtyBytes === 0 ? 0 : dirtyBytes / (cleanBytes + dirtyBytes);
  const isHorizonOver = state.nextHorizonMs !== null && state.nextHorizonMs <= nowMs;
  let why: CleaningReason = isHorizonOver && cleanBytes + dirtyBytes > 0 ? "horizon" : null;
  if (dirtyBytes > 0 && dirtyRatio > config["min.cleanable.dirty.ratio"]) why = "dirty";
  if (isLate && dirtyBytes > 0) why = "lag";
  if (isRequested) why = "request";
  return { firstDirtyOffset, endOffset, dirtyBytes, dirtyRatio, why };
}

/** As in Kafka: what cannot be, since the start of the log has moved, begins anew. */
function firstDirtyOf(log: PartitionLog, { firstDirtyOffset }: CleanerState): Offset {
  const { logStartOffset } = log;
  return firstDirtyOffset < logStartOffset || firstDirtyOffset > log.logEndOffset ? logStartOffset : firstDirtyOffset;
}

/** What is closed, durable with its indexes, decided, and older than `min.compaction.lag.ms`. */
async function endOf(
  environment: LogEnvironment,
  log: PartitionLog,
  firstDirtyOffset: Offset,
  nowMs: TimeMs,
): Promise<Offset> {
  const segments = log.segments();
  const bound = Math.min(segments.active.baseOffset, log.lastStableOffset, log.recoveryPoint) as Offset;
  const lagMs = log.config["min.compaction.lag.ms"];
  if (lagMs <= 0) return bound;
  for (const segment of segments.all().slice(segments.indexOf(firstDirtyOffset))) {
    if (segment.baseOffset >= bound) break;
    const { timestamp } = await maxTimestampOf(environment, segment);
    if (Number(timestamp) > nowMs - lagMs) return Math.min(segment.baseOffset, bound) as Offset;
  }
  return bound;
}

async function isLagOver(
  environment: LogEnvironment,
  log: PartitionLog,
  firstDirtyOffset: Offset,
  nowMs: TimeMs,
): Promise<boolean> {
  const lagMs = log.config["max.compaction.lag.ms"];
  if (lagMs >= Number.MAX_SAFE_INTEGER) return false;
  const segments = log.segments();
  for (const segment of segments.all().slice(segments.indexOf(firstDirtyOffset))) {
    const timestamp = await firstTimestampOf(environment, segment);
    if (timestamp !== null && timestamp >= 0 && nowMs - timestamp > lagMs) return true;
  }
  return false;
}

/** Of its first batch; null in an empty one. */
async function firstTimestampOf({ openSegments }: LogEnvironment, segment: Segment): Promise<number | null> {
  if (segment.sizeBytes < BATCH_HEADER_BYTES) return null;
  await openSegments.use(segment);
  try {
    const header = Buffer.alloc(BATCH_HEADER_BYTES);
    await segment.log.read(header, 0);
    return readInt64(header, BatchField.maxTimestamp);
  } finally {
    segment.release();
  }
}
