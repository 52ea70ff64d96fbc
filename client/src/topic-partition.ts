/** One partition of a topic. */
export interface TopicPartition {
  /** The name of the topic. */
  readonly topic: string;
  /** 0 to one less than the topic has. */
  readonly partition: number;
}

/** "orders-3": what people read, and what maps are keyed by. Topic names hold no character that makes two of them alike. */
export function partitionKey({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`;
}
