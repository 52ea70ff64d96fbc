import type { ProduceRequestInput } from "kafka-protocol-ts/messages/00-produce";
import type { Batch } from "./batch.ts";
import type { Lane } from "./lane.ts";
import type { TopicLanes } from "./topic-lanes.ts";

/** A batch in a request. */
export interface Entry {
  readonly lane: Lane;
  readonly batch: Batch;
  /** As it was meant when it left: by then the topic may be another one. */
  readonly topic: TopicLanes;
  readonly topicId: string;
}

/** Without topic ids a topic that was deleted and made again would take the old one's records unnoticed. */
export function produceRequest(
  entries: readonly Entry[],
  version: number,
  common: { readonly transactionalId: string | null; readonly acks: number; readonly timeoutMs: number },
): ProduceRequestInput {
  const partitionsOf = new Map<TopicLanes, { index: number; records: Buffer }[]>();
  for (const { lane, batch, topic } of entries) {
    const partition = { index: lane.partition, records: batch.bytes };
    const others = partitionsOf.get(topic);
    if (others === undefined) partitionsOf.set(topic, [partition]);
    else others.push(partition);
  }
  return {
    ...common,
    topicData: Array.from(partitionsOf, ([{ name, metadata }, partitionData]) =>
      version >= 13 ? { topicId: metadata?.topicId ?? "", partitionData } : { name, partitionData },
    ),
  };
}
