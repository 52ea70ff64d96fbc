import { ok } from "@millrace/base/result";
import type { BrokerConfig } from "../../config/broker-keys.ts";
import { ResourceType } from "../../config/resources.ts";
import type { BrokerImage, MetadataImage, PartitionAt } from "../image.ts";
import type { ConfigRecord, MetadataRecord, PartitionChangeRecord } from "../records.ts";
import type { InternalTopic } from "../topics.ts";
import { createTopics } from "./create-topics.ts";
import type { TopicWish } from "./create-topics.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { changeOf, isActive } from "./partition-changes.ts";
import { isMoving } from "./reassignments.ts";
import { placeableBrokers, placeReplicas, startOf } from "./replicas.ts";

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

/** Brokers that live and take new partitions. */
function openBrokers(image: MetadataImage): BrokerImage[] {
  return placeableBrokers(image).filter(isActive);
}

function internalTopicWish({ image, configs }: DecisionContext, name: InternalTopic): TopicWish {
  const shape = shapes[name](configs.broker);
  const replicationFactor = Math.max(1, Math.min(shape.replicas, openBrokers(image).length));
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

/**
 * Internal topics grow with the cluster: those that were made while there were fewer brokers get the replicas that they
 * lack, by moves like any other, and when all partitions have two in sync, min.insync.replicas 2. Nothing is taken away.
 */
export function raiseInternalTopics(context: DecisionContext): Decision<null> {
  const brokers = openBrokers(context.image);
  const records: MetadataRecord[] = [];
  for (const name of Object.keys(shapes).filter(isOwn)) {
    const topic = context.image.topic(name);
    if (topic === undefined) continue;
    const wanted = Math.min(shapes[name](context.configs.broker).replicas, brokers.length);
    for (const partition of topic.partitions) {
      const change = raised(context, brokers, { topic, partition }, wanted);
      if (change !== null) records.push(change);
    }
    const inSync = Math.min(...topic.partitions.map(({ isr }) => isr.length));
    const minInSync = raisedMinInSync(context, name, inSync);
    if (minInSync !== null) records.push(minInSync);
  }
  return { response: null, records };
}

/**
 * The replicas stay, and those that the placement of a new partition would choose are added until there are enough. The
 * first one is that of such a placement, so that the partitions of a topic that one broker led are led by all of them.
 */
function raised(
  context: DecisionContext,
  brokers: readonly BrokerImage[],
  { topic, partition }: PartitionAt,
  wanted: number,
): PartitionChangeRecord | null {
  const { replicas, index } = partition;
  if (replicas.length >= wanted || isMoving(partition)) return null;
  const placed = placeReplicas({
    brokers,
    count: 1,
    replicationFactor: brokers.length,
    start: startOf(topic.id) + index,
  });
  const [order] = placed.ok ? placed.value : [];
  if (order === undefined) return null;
  const missing = order.filter((id) => !replicas.includes(id)).slice(0, wanted - replicas.length);
  const target = [...replicas, ...missing];
  const place = (id: number): number => (order.includes(id) ? order.indexOf(id) : order.length);
  target.sort((a, b) => place(a) - place(b));
  return changeOf(context, { topic, partition }, { replicas: target, addingReplicas: missing });
}

function raisedMinInSync({ image }: DecisionContext, topic: InternalTopic, inSync: number): ConfigRecord | null {
  const name = "min.insync.replicas";
  const set = image.configsOf(ResourceType.TOPIC, topic).get(name);
  // One that was set to something else than a topic with one replica gets is somebody's choice.
  if (set !== "1" || inSync < 2) return null;
  return { type: "config", resourceType: ResourceType.TOPIC, resourceName: topic, name, value: "2" };
}
