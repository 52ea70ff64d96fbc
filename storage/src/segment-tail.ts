import { readInt64Exact } from "kafka-protocol-ts/records/int64";
import { BATCH_HEADER_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { BrokenChain, HeaderWalk } from "./header-walk.ts";
import type { Segment } from "./segment.ts";
import type { Offset } from "./types.ts";

/**
 * From the last index entry on the headers must lead to the segment's end. Gives the offset after its last record, and lets
 * the segment know its largest timestamp. Entries past `below` are not believed. Throws BrokenChain.
 */
export function readTail(segment: Segment, below: Offset = Number.MAX_SAFE_INTEGER as Offset): Offset {
  const last = segment.times.last();
  if (last !== null) segment.observe(last.timestamp, last.offset);
  const walk = new HeaderWalk(segment.log, segment.offsets.positionAtOrBefore(below), segment.sizeBytes);
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
