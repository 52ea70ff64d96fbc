import { ok } from "@millrace/base/result";
import type { BrokerConfig } from "../../config/broker-keys.ts";
import type { InternalTopic } from "../topics.ts";
import { createTopics } from "./create-topics.ts";
import type { TopicWish } from "./create-topics.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { aliveBrokers } from "./replicas.ts";

/** Creates one of the broker's own topics if it is missing. */
export function ensureInternalTopic(context: DecisionContext, name: InternalTopic): Decision<ItemResult<null>> {
  if (context.image.topic(name) !== undefined) return { response: ok(null), records: [] };
  const { response, records } = createTopics(context, [internalTopicWish(context, name)]);
  const [created] = response;
  return { response: created?.ok === false ? created : ok(null), records };
}

/** What a client's wish for a topic without any setting comes to: the defaults, or for an internal topic what it needs. */
export function automaticWish(context: DecisionContext, name: string): TopicWish {
  if (isOwn(name)) return internalTopicWish(context, name);
  return { name, numPartitions: -1, replicationFactor: -1, assignments: [], configs: [] };
}

function isOwn(name: string): name is InternalTopic {
  return Object.hasOwn(shapes, name);
}

interface Shape {
  readonly partitions: number;
  /** As many replicas as this, or as there are brokers. */
  readonly replicas: number;
  readonly configs: Readonly<Record<string, string>>;
}

const shapes: Readonly<Record<InternalTopic, (broker: BrokerConfig) => Shape>> = {
  __consumer_offsets: (broker) => ({
    partitions: broker["offsets.topic.num.partitions"],
    replicas: broker["offsets.topic.replication.factor"],
    configs: {
      "cleanup.policy": "compact",
      "compression.type": "producer",
      "segment.bytes": String(Math.max(broker["offsets.topic.segment.bytes"], segmentBytesMin)),
    },
  }),
  __transaction_state: (broker) => ({
    partitions: broker["transaction.state.log.num.partitions"],
    replicas: broker["transaction.state.log.replication.factor"],
    configs: {
      "cleanup.policy": "compact",
      "compression.type": "uncompressed",
      "segment.bytes": String(Math.max(broker["transaction.state.log.segment.bytes"], segmentBytesMin)),
      "unclean.leader.election.enable": "false",
    },
  }),
  __share_group_state: (broker) => ({
    partitions: broker["share.coordinator.state.topic.num.partitions"],
    replicas: broker["share.coordinator.state.topic.replication.factor"],
    configs: {
      "cleanup.policy": "delete",
      "compression.type": "producer",
      "retention.ms": "-1",
      "segment.bytes": String(Math.max(broker["share.coordinator.state.topic.segment.bytes"], segmentBytesMin)),
    },
  }),
};

/** The bound of segment.bytes; the broker keys of internal topics have none. */
const segmentBytesMin = 1_048_576;

function internalTopicWish({ image, configs }: DecisionContext, name: InternalTopic): TopicWish {
  const shape = shapes[name](configs.broker);
  const replicationFactor = Math.max(1, Math.min(shape.replicas, aliveBrokers(image).length));
  // Said in the topic itself: a broker-wide min.insync.replicas above the replicas it has would stop all groups.
  const settings = { ...shape.configs, "min.insync.replicas": String(Math.min(2, replicationFactor)) };
  return {
    name,
    numPartitions: shape.partitions,
    replicationFactor,
    assignments: [],
    configs: Object.entries(settings).map(([key, value]) => ({ name: key, value })),
  };
}
