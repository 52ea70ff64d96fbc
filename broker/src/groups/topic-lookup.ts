/** What the coordinator has to know about topics, of the metadata as it is now. */
export interface TopicLookup {
  byName(name: string): KnownTopic | null;
  byId(id: string): KnownTopic | null;
  names(): Iterable<string>;
  /** Grows with every change. */
  readonly version: number;
}

export interface KnownTopic {
  readonly name: string;
  readonly id: string;
  readonly partitionCount: number;
}

export function hasPartition(topic: KnownTopic, partition: number): boolean {
  return partition >= 0 && partition < topic.partitionCount;
}
