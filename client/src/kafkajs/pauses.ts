import type { TopicPartition } from "../topic-partition.ts";
import type { TopicPartitions } from "./message-types.ts";

interface TopicPauses {
  /** The whole topic, with partitions that are assigned later. */
  isAll: boolean;
  /** Of single partitions, where they differ from the topic. */
  readonly exceptions: Set<number>;
}

/** Which partitions are paused, assigned or not: it outlives rebalances, as long as the consumer runs. */
export class Pauses {
  readonly #topics = new Map<string, TopicPauses>();

  set(topics: readonly { readonly topic: string; readonly partitions?: readonly number[] }[], isPaused: boolean): void {
    for (const { topic, partitions } of topics) {
      if (partitions === undefined) {
        this.#topics.set(topic, { isAll: isPaused, exceptions: new Set() });
        continue;
      }
      const pauses = this.#topics.get(topic) ?? { isAll: false, exceptions: new Set() };
      this.#topics.set(topic, pauses);
      for (const partition of partitions) {
        if (pauses.isAll === isPaused) pauses.exceptions.delete(partition);
        else pauses.exceptions.add(partition);
      }
    }
  }

  isPaused({ topic, partition }: TopicPartition): boolean {
    const pauses = this.#topics.get(topic);
    return pauses !== undefined && pauses.isAll !== pauses.exceptions.has(partition);
  }

  /** Those of these that are paused, by topic. */
  of(partitions: readonly TopicPartition[]): TopicPartitions[] {
    const paused = partitions.filter((partition) => this.isPaused(partition));
    return Array.from(
      Map.groupBy(paused, ({ topic }) => topic),
      ([topic, found]) => ({ topic, partitions: found.map(({ partition }) => partition).sort((a, b) => a - b) }),
    );
  }
}
