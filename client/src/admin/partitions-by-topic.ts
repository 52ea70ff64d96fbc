import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";

/** As requests want them: topic by topic. */
export function byTopic<Item extends TopicPartition, Topic, Partition>(
  items: readonly Item[],
  topicOf: (name: string, partitions: Partition[]) => Topic,
  partitionOf: (item: Item) => Partition,
): Topic[] {
  return [...Map.groupBy(items, ({ topic }) => topic)].map(([name, each]) => topicOf(name, each.map(partitionOf)));
}

/** What an answer says, by partition. */
export function byPartition<Topic, Partition>(
  topics: readonly Topic[],
  nameOf: (topic: Topic) => string,
  partitionsOf: (topic: Topic) => readonly (readonly [partition: number, said: Partition])[],
): Map<string, Partition> {
  const found = new Map<string, Partition>();
  for (const topic of topics) {
    for (const [partition, said] of partitionsOf(topic))
      found.set(partitionKey({ topic: nameOf(topic), partition }), said);
  }
  return found;
}

/** "partition orders-3" */
export function partitionName(item: TopicPartition): string {
  return `partition ${partitionKey(item)}`;
}
