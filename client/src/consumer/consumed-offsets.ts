import type { TopicPartition } from "../topic-partition.ts";
import type { GroupIdentity } from "./membership/membership.ts";

/** Where a group goes on reading: the next offset, not the last one that was read. */
export interface NextOffset extends TopicPartition {
  /** The next record to be read: one more than that of the last one that is done. */
  readonly offset: number;
  /** Of the record before it, by which a truncated log is noticed (KIP-320); -1 where it is not known. */
  readonly leaderEpoch: number;
  /** Kept with the offset, for people and tools. */
  readonly metadata?: string;
}

/** What was consumed, and as which member of which group: for a commit inside a transaction. */
export interface ConsumedOffsets {
  /** The member that has consumed, so that the coordinator refuses one that has lost its partitions (KIP-447). */
  readonly group: GroupIdentity;
  /** One for each partition. */
  readonly offsets: readonly NextOffset[];
}
