import { BATCH_HEADER_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { readInt64Exact } from "kafka-protocol-ts/records/int64";
import { BrokenChain, HeaderWalk } from "./header-walk.ts";
import type { Segment } from "./segment.ts";
import { NO_TIMESTAMP } from "./types.ts";
import type { ExactTimestamp, FilePosition, Offset } from "./types.ts";

/*
 * Kafka's indexes have no checksum, and all of what they say is in the log as well: what an entry says counts when the batch that
 * it leads to says it too. An entry that is wrong is passed over, in growing steps, so that of an index
 * that is wrong all over a few are looked at; the way from the one before is longer.
 */

interface Waiting {
  /** False: ColdRead is thrown where the disk would have to be waited for. */
  readonly mayWait?: boolean;
}

/** Start of a batch that ends at `offset` or before it; the segment's start where no entry is that low. */
export function positionAtOrBefore(segment: Segment, offset: Offset, waiting: Waiting = {}): FilePosition {
  return walkAtOrBefore(segment, offset, waiting)?.position ?? (0 as FilePosition);
}

/** A walk that stands at that batch; null where no entry is that low. */
export function walkAtOrBefore(segment: Segment, offset: Offset, waiting: Waiting = {}): HeaderWalk | null {
  return soundWalk(segment, segment.offsets.floor(offset), { offset, position: segment.sizeBytes }, waiting);
}

/** A walk that stands at the last indexed batch that starts at `position` or before it, and ends at `offset` or before it. */
export function walkNear(
  segment: Segment,
  { position, offset = null }: { readonly position: number; readonly offset?: Offset | null },
  waiting: Waiting = {},
): HeaderWalk | null {
  // The nearer one alone is looked at: the further one may lie on a page that nobody needs.
  const byStart = segment.offsets.floorByStart(position);
  const from = offset === null ? byStart : Math.min(byStart, segment.offsets.floor(offset));
  return soundWalk(segment, from, { offset: offset ?? (Number.MAX_SAFE_INTEGER as Offset), position }, waiting);
}

function soundWalk(
  segment: Segment,
  from: number,
  most: { readonly offset: Offset; readonly position: number },
  waiting: Waiting,
): HeaderWalk | null {
  for (let index = from, step = 1; index >= 0; index -= step, step *= 2) {
    const { lastOffset, position } = segment.offsets.entry(index);
    if (lastOffset > most.offset || position > most.position || position < 0) continue;
    const walk = walkAt(segment, position, waiting);
    if (walk !== null && walk.nextOffset - 1 === lastOffset) return walk;
  }
  return null;
}

/** Null where no batch begins. */
function walkAt(segment: Segment, position: FilePosition, waiting: Waiting): HeaderWalk | null {
  const walk = new HeaderWalk(segment.log, position, segment.sizeBytes, waiting);
  try {
    return walk.next() ? walk : null;
  } catch (error) {
    if (error instanceof BrokenChain) return null;
    throw error;
  }
}

/** No record before this offset is at or after `timestamp`, apart from those in the same batch. */
export function offsetBeforeTime(segment: Segment, timestamp: ExactTimestamp): Offset {
  for (let index = segment.times.floor(timestamp), step = 1; index >= 0; index -= step, step *= 2) {
    const entry = segment.times.entry(index);
    if (entry.timestamp < timestamp && maxTimestampAt(segment, entry.offset) === entry.timestamp) return entry.offset;
  }
  return segment.baseOffset;
}

/** The last entry of a time index that is complete has the segment's largest timestamp; null where it is wrong or there is none. */
export function lastTime(segment: Segment): { readonly timestamp: ExactTimestamp; readonly offset: Offset } | null {
  const last = segment.times.last();
  if (last === null || maxTimestampAt(segment, last.offset) !== last.timestamp) return null;
  return last;
}

/** Of the batch that holds the offset; a log's oldest entries may name a record in the middle of one. */
function maxTimestampAt(segment: Segment, offset: Offset): ExactTimestamp {
  const walk = new HeaderWalk(segment.log, positionAtOrBefore(segment, offset), segment.sizeBytes);
  try {
    while (walk.next()) {
      if (walk.nextOffset <= offset) continue;
      if (walk.baseOffset > offset) return NO_TIMESTAMP;
      const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
      segment.log.readNow(header, walk.position);
      return readInt64Exact(header, BatchField.maxTimestamp);
    }
  } catch (error) {
    if (!(error instanceof BrokenChain)) throw error;
  }
  return NO_TIMESTAMP;
}
