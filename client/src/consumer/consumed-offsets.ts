import type { TopicPartition } from "../topic-partition.ts";
import type { GroupIdentity } from "./membership/membership.ts";

/** Where a group goes on reading: the next offset, not the last one that was read. */
export interface NextOffset extends TopicPartition {
  readonly offset: number;
  /** Of the record before it, by which a truncated log is noticed (KIP-320); -1 where it is not known. */
  readonly leaderEpoch: number;
  /** Kept with the offset, for people and tools. */
  readonly metadata?: string;
}

/** What was consumed, and as which member of which group: for a commit inside a transaction. */
export interface ConsumedOffsets {
  readonly group: GroupIdentity;
  readonly offsets: readonly NextOffset[];
}
