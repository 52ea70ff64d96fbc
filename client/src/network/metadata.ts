import type { Address } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { MetadataResponse } from "kafka-protocol-ts/messages/03-metadata";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { brokerError, corrupt } from "../errors.ts";
import { TopicIds } from "./topic-ids.ts";

/** What the client knows of a topic. */
export interface TopicMetadata {
  /** The name of the topic. */
  readonly name: string;
  /** Base64; all zeros from a broker older than 2.8. */
  readonly topicId: string;
  /** It is the cluster's own, as `__consumer_offsets`. */
  readonly isInternal: boolean;
  /** By partition index. */
  readonly partitions: readonly PartitionMetadata[];
}

/** Who leads a partition, and who follows. */
export interface PartitionMetadata {
  /** The number of the partition. */
  readonly index: number;
  /** -1 while there is none. */
  readonly leaderId: number;
  /** -1 where the broker does not say it. */
  readonly leaderEpoch: number;
  /** Ids of brokers, the preferred leader first. */
  readonly replicas: readonly number[];
  /** Ids of brokers that have all that is acknowledged. */
  readonly inSyncReplicas: readonly number[];
}

export interface BrokerMetadata extends Address {
  /** Its `node.id`. */
  readonly nodeId: number;
  /** Its `broker.rack`; null without one. */
  readonly rack: string | null;
}

/** Who leads a partition since which epoch, as an answer to Produce or Fetch tells it (KIP-951). */
export interface LeaderHint {
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

type TopicAnswer = MetadataResponse["topics"][number];

/** Of so many topics that were forgotten it is remembered who led them last. */
const forgottenMax = 1_000;

/**
 * What is known of a cluster: its brokers, and of the topics that were asked for who leads their partitions. It only
 * remembers; `Wire` asks.
 */
export class Metadata {
  clusterId: string | null = null;
  controllerId = -1;
  #brokers: ReadonlyMap<number, BrokerMetadata> = new Map();
  readonly #topics = new Map<string, { readonly topic: TopicMetadata; readonly atMs: number }>();
  /** The last that was known of those that were forgotten, the oldest first. */
  readonly #forgotten = new Map<string, TopicMetadata>();
  readonly #names = new Map<string, string>();
  readonly #ids = new TopicIds();
  readonly #doubted = new Set<number>();

  get brokers(): ReadonlyMap<number, BrokerMetadata> {
    return this.#brokers;
  }

  topic(name: string): TopicMetadata | null {
    return this.#topics.get(name)?.topic ?? null;
  }

  /** When the topic was last asked for, in the clock's monotonic milliseconds; minus infinity where it is not known. */
  learnedAtMs(name: string): number {
    return this.#topics.get(name)?.atMs ?? Number.NEGATIVE_INFINITY;
  }

  /** The topic that had this id when it was last asked for. */
  nameOf(topicId: string): string | null {
    return this.#names.get(topicId) ?? null;
  }

  names(): readonly string[] {
    return [...this.#topics.keys()];
  }

  /**
   * Whoever wants to know of the topic asks anew. Leader epochs that were seen stay seen (KIP-320): the next to be asked may be a
   * broker that lags behind, or that was paused and believes that it still leads what it led before.
   */
  forget(name: string): void {
    const topic = this.topic(name);
    if (topic === null) return;
    this.#drop(topic);
    // Without an id nobody can say whether a lower epoch is an earlier leader's, or of a topic that was made again.
    if (topic.topicId === zeroUuid) return;
    this.#forgotten.set(name, topic);
    const [oldest] = this.#forgotten.keys();
    if (oldest !== undefined && this.#forgotten.size > forgottenMax) this.#forgotten.delete(oldest);
  }

  #drop({ name, topicId }: TopicMetadata): void {
    this.#names.delete(topicId);
    this.#topics.delete(name);
  }

  /** Nothing of the brokers is believed any more: who asks next asks the addresses that were given. */
  forgetBrokers(): void {
    this.#brokers = new Map();
    this.controllerId = -1;
  }

  /** Nothing has answered at the address of this broker: it may have moved. */
  doubtBroker(nodeId: number): void {
    this.#doubted.add(nodeId);
  }

  /** Whether the cluster has said where the broker is, and not been proven wrong since. */
  isBrokerCertain(nodeId: number): boolean {
    return this.#brokers.has(nodeId) && !this.#doubted.has(nodeId);
  }

  learnBrokers(answer: Pick<MetadataResponse, "brokers" | "clusterId" | "controllerId">): void {
    // A broker that is starting may not know any, itself included.
    if (answer.brokers.length === 0) return;
    this.#doubted.clear();
    this.#brokers = new Map(answer.brokers.map((broker) => [broker.nodeId, broker]));
    this.clusterId = answer.clusterId;
    this.controllerId = answer.controllerId;
  }

  /** Another answer than Metadata has named it. */
  learnBroker(broker: BrokerMetadata): void {
    this.#doubted.delete(broker.nodeId);
    const known = this.#brokers.get(broker.nodeId);
    if (known?.host === broker.host && known.port === broker.port) return;
    this.#brokers = new Map([...this.#brokers, [broker.nodeId, broker]]);
  }

  /** @throws KafkaError where the answer is an error, or leaves partitions out. */
  learnTopic(answer: TopicAnswer, nowMs: number): TopicMetadata {
    // Replicas or listeners that are missing are the matter of single partitions; what is there can be used.
    if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `topic ${answer.name}`);
    const told = topicOf(answer);
    const known = this.topic(told.name);
    if (this.#ids.isFormer(told.name, told.topicId)) {
      if (known !== null) return known;
      const sentence = `the broker names ${told.topicId}, which was deleted and made again: it has not heard of that yet`;
      throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `topic ${told.name}`, sentence);
    }
    this.#ids.see(told.name, told.topicId);
    const before = known ?? this.#forgotten.get(told.name);
    const topic = before === undefined ? told : newerOf(before, told);
    this.#remember(topic, nowMs);
    return topic;
  }

  /** Takes over who leads now, if that is news. */
  learnLeader(name: string, partition: number, hint: LeaderHint, endpoints: readonly BrokerMetadata[]): boolean {
    const found = this.#topics.get(name);
    const before = found?.topic.partitions[partition];
    if (found === undefined || before === undefined || hint.leaderId < 0 || hint.leaderEpoch <= before.leaderEpoch)
      return false;
    const endpoint = endpoints.find(({ nodeId }) => nodeId === hint.leaderId);
    if (endpoint !== undefined) this.learnBroker(endpoint);
    if (!this.#brokers.has(hint.leaderId)) return false;
    const partitions = found.topic.partitions.with(partition, { ...before, ...hint });
    this.#remember({ ...found.topic, partitions }, found.atMs);
    return true;
  }

  #remember(topic: TopicMetadata, atMs: number): void {
    const before = this.topic(topic.name);
    if (before !== null) this.#drop(before);
    this.#forgotten.delete(topic.name);
    this.#topics.set(topic.name, { topic, atMs });
    this.#names.set(topic.topicId, topic.name);
  }
}

/** A broker that lags behind may still name an earlier leader: of the same topic, the later epoch counts. */
function newerOf(known: TopicMetadata, told: TopicMetadata): TopicMetadata {
  if (known.topicId !== told.topicId) return told;
  const partitions = told.partitions.map((partition, index) => {
    const before = known.partitions[index];
    return before !== undefined && before.leaderEpoch > partition.leaderEpoch ? before : partition;
  });
  return { ...told, partitions };
}

export function topicOf({ name, topicId, isInternal, partitions }: TopicAnswer): TopicMetadata {
  const found = partitions
    .map(({ partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes }) => ({
      index: partitionIndex,
      leaderId,
      leaderEpoch,
      replicas: replicaNodes,
      inSyncReplicas: isrNodes,
    }))
    .sort((a, b) => a.index - b.index);
  if (found.length === 0 || found.some(({ index }, at) => index !== at)) {
    throw corrupt(`topic ${name}: its metadata names no partition, or leaves one out`);
  }
  return { name: name ?? "", topicId, isInternal, partitions: found };
}
