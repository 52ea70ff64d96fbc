import { readInt64Exact } from "kafka-protocol-ts/records/int64";
import { BATCH_HEADER_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { BrokenChain, HeaderWalk } from "./header-walk.ts";
import { lastTime, positionAtOrBefore } from "./index-lookup.ts";
import type { Segment } from "./segment.ts";
import type { FilePosition, Offset } from "./types.ts";

/**
 * From the last index entry on the headers must lead to the segment's end. Gives the offset after its last record, and lets
 * the segment know its largest timestamp. Entries past `below` are not believed. Throws BrokenChain.
 */
export function readTail(segment: Segment, below: Offset = Number.MAX_SAFE_INTEGER as Offset): Offset {
  const last = lastTime(segment);
  if (last !== null) segment.observe(last.timestamp, last.offset);
  const isTimeKnown = last !== null || segment.times.entries.count === 0;
  const from = isTimeKnown ? positionAtOrBefore(segment, below) : (0 as FilePosition);
  const walk = new HeaderWalk(segment.log, from, segment.sizeBytes);
  const header = Buffer.alloc(BATCH_HEADER_BYTES);
  let nextOffset = segment.baseOffset;
  while (walk.next()) {
    if (walk.baseOffset < nextOffset) throw new BrokenChain(walk.position);
    nextOffset = walk.nextOffset;
    segment.log.readNow(header, walk.position);
    segment.observe(readInt64Exact(header, BatchField.maxTimestamp), (nextOffset - 1) as Offset);
  }
  return nextOffset;
}
