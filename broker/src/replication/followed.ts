import type { Following, FollowerPosition } from "../partitions/following.ts";
import type { Partition } from "../partitions/partition.ts";

/** Between two tries for the same partition. */
export type Pause = "none" | "working" | "backing-off" | "halted";

/** A partition as its fetcher sees it. */
export class Followed {
  readonly partition: Partition;
  readonly following: Following;
  /** What the leader's session has of it; null: nothing. */
  told: FollowerPosition | null = null;
  /** It is left out while its log is cut, after an error, or for good in this epoch. */
  pause: Pause = "none";
  retryAtMs = 0;
  /** In a row, without an answer that could be used. */
  failures = 0;
  /** By its last answer it has all that is committed. */
  isCaughtUp = false;

  constructor(partition: Partition, following: Following) {
    this.partition = partition;
    this.following = following;
  }

  get key(): string {
    return keyOf(this.partition.log.topicId, this.partition.index);
  }

  /** Whether it still follows, in this epoch. */
  get isCurrent(): boolean {
    return this.partition.followingIn(this.following.leaderEpoch) === this.following;
  }

  isDue(nowMs: number): boolean {
    if (this.pause === "backing-off" && nowMs >= this.retryAtMs) this.pause = "none";
    return this.pause === "none" && this.isCurrent && this.partition.log.failure === null;
  }

  /** Whether the leader has not heard yet how far it is. */
  get isNews(): boolean {
    if (this.pause !== "none" || !this.isCurrent || this.partition.log.failure !== null) return false;
    const { flushedOffset, durableLogStartOffset } = this.partition.log;
    const { told } = this;
    return told === null || told.flushedOffset < flushedOffset || told.logStartOffset < durableLogStartOffset;
  }

  /** Whether something of it is appended and not durable. */
  get isUnflushed(): boolean {
    const { log } = this.partition;
    return this.isCurrent && log.failure === null && log.durableOffset < log.logEndOffset;
  }
}

export function keyOf(topicId: string, index: number): string {
  return `${topicId}/${index}`;
}
