import { BrokenChain, ColdRead, HeaderWalk } from "./header-walk.ts";
import { walkAtOrBefore, walkNear } from "./index-lookup.ts";
import { ReadEnds } from "./read-ends.ts";
import type { RecentBatches } from "./recent-batches.ts";
import type { Segment } from "./segment.ts";
import type { FilePosition, Offset } from "./types.ts";

export interface ReadLimits {
  readonly sizeBytesMax: number;
  /** Exclusive: the high watermark, or the last stable offset. */
  readonly upTo: Offset;
  /** The first batch comes whole, however large it is: else a reader would never get past it. */
  readonly isWholeBatchGuaranteed: boolean;
  /** False: what would have to wait for the disk throws ColdRead. Default: true. */
  readonly mayWait?: boolean;
}

/** Whole batches inside one segment file. */
export interface Extent {
  readonly firstOffset: Offset;
  readonly nextOffset: Offset;
  readonly position: FilePosition;
  readonly sizeBytes: number;
}

/** nothing: the first batch does not fit; beyond: the segment ends before the offset, the next one may have it. */
export type Located = Extent | "nothing" | "beyond";

interface Start {
  readonly position: FilePosition;
  readonly end: FilePosition;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
}

/**
 * Where the batches lie that hold `offset` and what follows it. A batch comes whole even when the offset lies in its middle;
 * an offset that compaction took leads to the next batch. `segmentEnd` is the offset after the segment's last record.
 * Looks at the file only where the newest batches do not tell. Throws BrokenChain, and ColdRead.
 */
export function locate(
  segment: Segment,
  recent: RecentBatches | null,
  offset: Offset,
  limits: ReadLimits,
  segmentEnd: Offset,
): Located {
  const newest = recent?.find(offset) ?? -1;
  return newest >= 0 && recent !== null
    ? locateRecent(recent, newest, limits)
    : locateInFile(segment, offset, limits, segmentEnd);
}

function locateRecent(recent: RecentBatches, first: number, limits: ReadLimits): Located {
  if (recent.nextOffsetOf(first) > limits.upTo) return "nothing";
  const position = recent.startOf(first);
  let last = recent.lastEndingBy(position + limits.sizeBytesMax, first);
  if (last < 0) {
    if (!limits.isWholeBatchGuaranteed) return "nothing";
    last = first;
  }
  if (recent.nextOffsetOf(last) > limits.upTo) last = recent.lastBelow(limits.upTo, first);
  return {
    firstOffset: recent.baseOffsetOf(first),
    nextOffset: recent.nextOffsetOf(last),
    position,
    sizeBytes: recent.endOf(last) - position,
  };
}

function locateInFile(segment: Segment, offset: Offset, limits: ReadLimits, segmentEnd: Offset): Located {
  const located = lookUpInFile(segment, offset, limits, segmentEnd);
  if (typeof located === "object") {
    segment.readEnds ??= new ReadEnds();
    segment.readEnds.note(offset, located.nextOffset, (located.position + located.sizeBytes) as FilePosition);
  }
  return located;
}

function lookUpInFile(segment: Segment, offset: Offset, limits: ReadLimits, segmentEnd: Offset): Located {
  if (limits.mayWait === false && !segment.offsets.entries.isInMemory) throw new ColdRead(null);
  const start = findStart(segment, offset, limits, segmentEnd);
  if (start === null) return "beyond";
  if (start.nextOffset > limits.upTo) return "nothing";
  const { position } = start;
  const limit = position + limits.sizeBytesMax;
  if (start.end > limit) return limits.isWholeBatchGuaranteed ? extent(start, start.end, start.nextOffset) : "nothing";
  if (limit >= segment.sizeBytes && segmentEnd <= limits.upTo) {
    return extent(start, segment.sizeBytes as FilePosition, segmentEnd);
  }
  return extendTo(segment, start, Math.min(limit, segment.sizeBytes), limits, segmentEnd);
}

/** The first batch that ends past `offset`. */
function findStart(segment: Segment, offset: Offset, limits: ReadLimits, segmentEnd: Offset): Start | null {
  const walk = walkTo(segment, offset, limits);
  while (walk.next()) {
    if (walk.nextOffset <= offset) continue;
    // The header's fields that no checksum covers, or not yet: nothing is to be waited for that will never come.
    if (walk.nextOffset > segmentEnd) throw new BrokenChain(walk.position);
    return {
      position: walk.position,
      end: walk.nextPosition,
      baseOffset: walk.baseOffset,
      nextOffset: walk.nextOffset,
    };
  }
  return null;
}

/** Begins where a reader has come to `offset`; else at the last indexed batch that is not past it. */
function walkTo(segment: Segment, offset: Offset, limits: ReadLimits): HeaderWalk {
  const known = segment.readEnds?.positionOf(offset) ?? null;
  const indexed = known === null ? walkAtOrBefore(segment, offset, limits) : null;
  return indexed?.repeat() ?? new HeaderWalk(segment.log, known ?? (0 as FilePosition), segment.sizeBytes, limits);
}

/** As many batches after the first as end by `limit` and lie below `upTo`. */
function extendTo(segment: Segment, start: Start, limit: number, limits: ReadLimits, segmentEnd: Offset): Extent {
  const { upTo } = limits;
  // The index leads to the neighbourhood of the nearer bound; from there it is one interval of headers at most.
  const near = walkNear(
    segment,
    { position: limit, offset: segmentEnd <= upTo ? null : ((upTo - 1) as Offset) },
    limits,
  );
  const isNearer = near !== null && near.position > start.position;
  const walk = isNearer ? near.repeat() : new HeaderWalk(segment.log, start.position, segment.sizeBytes, limits);
  let end = start.end;
  let nextOffset = start.nextOffset;
  let isFirst = true;
  while (nextOffset < upTo && goOn(walk)) {
    if (walk.nextPosition > limit || walk.nextOffset > upTo) {
      // The batch at the index entry itself is too far: it ends past the limit, and its start is the bound.
      if (isFirst && walk.position > start.position) {
        end = walk.position;
        nextOffset = walk.baseOffset;
      }
      break;
    }
    end = walk.nextPosition;
    nextOffset = walk.nextOffset;
    isFirst = false;
  }
  return extent(start, end, nextOffset);
}

/** A break in the chain ends what is sent; whoever reads on from there is told of it. */
function goOn(walk: HeaderWalk): boolean {
  try {
    return walk.next();
  } catch (error) {
    if (error instanceof BrokenChain) return false;
    throw error;
  }
}

/** After a break in the chain: where the next batch begins that the index knows. */
export function offsetAfterBreak(segment: Segment, position: number, segmentEnd: Offset): Offset {
  const { entries } = segment.offsets;
  const next = entries.floor((bytes, at) => bytes.readInt32BE(at + 4) <= position) + 1;
  if (next >= entries.count) return segmentEnd;
  const walk = new HeaderWalk(segment.log, segment.offsets.entry(next).position, segment.sizeBytes);
  try {
    return walk.next() ? walk.baseOffset : segmentEnd;
  } catch (error) {
    if (error instanceof BrokenChain) return segmentEnd;
    throw error;
  }
}

function extent(start: Start, end: FilePosition, nextOffset: Offset): Extent {
  return { firstOffset: start.baseOffset, nextOffset, position: start.position, sizeBytes: end - start.position };
}
