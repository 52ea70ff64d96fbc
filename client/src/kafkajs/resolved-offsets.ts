import type { NextOffset } from "../consumer/consumed-offsets.ts";
import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { TopicOffsets } from "./message-types.ts";

interface Progress extends TopicPartition {
  /** Next offset behind what was resolved; -1: nothing was. */
  resolved: number;
  /** Leader epoch of the record before it; -1: not known. */
  epoch: number;
  committed: number;
  /** Whence it is counted as long as nothing is committed. */
  readonly start: number;
}

/** What the program has resolved in each partition, and what of that is committed. */
export class ResolvedOffsets {
  readonly #progress = new Map<string, Progress>();

  /** Reading of it begins, or goes on, at this offset. */
  begin(partition: TopicPartition, at: { readonly offset: number; readonly committed: number }): void {
    const key = partitionKey(partition);
    if (this.#progress.has(key)) return;
    const { topic, partition: index } = partition;
    const { offset: start, committed } = at;
    this.#progress.set(key, { topic, partition: index, resolved: -1, epoch: -1, committed, start });
  }

  /** It was given up, or is read from elsewhere. */
  forget(partition: TopicPartition): void {
    this.#progress.delete(partitionKey(partition));
  }

  resolve(
    partition: TopicPartition,
    { nextOffset, epoch }: { readonly nextOffset: number; readonly epoch: number },
  ): void {
    this.begin(partition, { offset: nextOffset, committed: -1 });
    const progress = this.#progress.get(partitionKey(partition));
    if (progress === undefined) return;
    progress.resolved = nextOffset;
    progress.epoch = epoch;
  }

  /** -1: nothing was resolved. */
  nextOffset(partition: TopicPartition): number {
    return this.#progress.get(partitionKey(partition))?.resolved ?? -1;
  }

  committed(offsets: readonly (TopicPartition & { readonly offset: number })[]): void {
    for (const { offset, ...partition } of offsets) {
      const progress = this.#progress.get(partitionKey(partition));
      if (progress !== undefined) progress.committed = offset;
    }
  }

  /** Of these partitions, or of all. */
  uncommitted(partitions?: readonly TopicPartition[]): readonly NextOffset[] {
    const keys = partitions === undefined ? null : new Set(partitions.map(partitionKey));
    return [...this.#progress]
      .filter(([key, { resolved, committed }]) => resolved >= 0 && resolved !== committed && keys?.has(key) !== false)
      .map(([, { topic, partition, resolved, epoch }]) => ({ topic, partition, offset: resolved, leaderEpoch: epoch }));
  }

  /** Messages that are resolved and not committed, as far as offsets tell. */
  get uncommittedCount(): number {
    let count = 0;
    for (const { resolved, committed, start } of this.#progress.values())
      if (resolved >= 0) count += Math.max(0, resolved - (committed >= 0 ? committed : start));
    return count;
  }
}

/** By topic, as KafkaJS shows them. */
export function topicOffsets(offsets: readonly NextOffset[]): TopicOffsets[] {
  return Array.from(
    Map.groupBy(offsets, ({ topic }) => topic),
    ([topic, of]) => ({
      topic,
      partitions: of.map(({ partition, offset }) => ({ partition, offset: `${offset}` })),
    }),
  );
}
