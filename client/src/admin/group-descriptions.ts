import type { TopicPartition } from "../topic-partition.ts";
import type { AclOperation } from "./acl-words.ts";

/** A group of whichever kind: `type` tells them apart. */
export type GroupDescription =
  | ClassicGroupDescription
  | ConsumerGroupDescription
  | ShareGroupDescription
  | StreamsGroupDescription;

export type GroupType = GroupDescription["type"];

interface AnyGroup {
  readonly groupId: string;
  /** "Stable", "Empty", "PreparingRebalance", "Assigning" ...: as Kafka names it. */
  readonly state: string;
  /** "host:port" of the broker that coordinates it. */
  readonly coordinator: string;
  /** What whoever asks may do with it; null where that was not asked for. */
  readonly authorizedOperations: ReadonlySet<AclOperation> | null;
}

interface AnyMember {
  readonly memberId: string;
  readonly clientId: string;
  readonly clientHost: string;
}

/** A group of the first protocol, in which the members assign. Also offsets that were committed without any member. */
export interface ClassicGroupDescription extends AnyGroup {
  readonly type: "classic";
  /** "consumer", "connect" ...; empty where there never was a member. */
  readonly protocolType: string;
  /** The assignor that was agreed on: "range". */
  readonly protocol: string;
  readonly members: readonly ClassicMember[];
}

export interface ClassicMember extends AnyMember {
  readonly instanceId: string | null;
  /** Null where the group is not of consumers, or the bytes are not to be read. */
  readonly subscribedTopics: readonly string[] | null;
  /** Null where the group is not of consumers, or the bytes are not to be read. */
  readonly assignment: readonly TopicPartition[] | null;
  /** As the member sent it. */
  readonly metadataBytes: Buffer;
  /** As the leader of the group sent it. */
  readonly assignmentBytes: Buffer;
}

/** A group of KIP-848, in which the broker assigns. */
export interface ConsumerGroupDescription extends AnyGroup {
  readonly type: "consumer";
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly assignor: string;
  readonly members: readonly ConsumerMember[];
}

export interface ConsumerMember extends AnyMember {
  readonly instanceId: string | null;
  readonly rack: string | null;
  readonly epoch: number;
  readonly subscribedTopics: readonly string[];
  readonly subscribedPattern: string | null;
  /** What it has. */
  readonly assignment: readonly TopicPartition[];
  /** What it shall have when the rebalance is over. */
  readonly targetAssignment: readonly TopicPartition[];
  /** Whether it speaks the classic protocol; "unknown" before Kafka 4.0. */
  readonly protocol: "classic" | "consumer" | "unknown";
}

/** A group of KIP-932, whose members share the records of partitions. */
export interface ShareGroupDescription extends AnyGroup {
  readonly type: "share";
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly assignor: string;
  readonly members: readonly ShareMember[];
}

export interface ShareMember extends AnyMember {
  readonly rack: string | null;
  readonly epoch: number;
  readonly subscribedTopics: readonly string[];
  readonly assignment: readonly TopicPartition[];
}

/** A group of Kafka Streams (KIP-1071). */
export interface StreamsGroupDescription extends AnyGroup {
  readonly type: "streams";
  readonly epoch: number;
  readonly assignmentEpoch: number;
  /** Null where no member has told it yet. */
  readonly topology: StreamsTopology | null;
  readonly members: readonly StreamsMember[];
}

export interface StreamsTopology {
  readonly epoch: number;
  readonly subtopologies: readonly StreamsSubtopology[];
}

export interface StreamsSubtopology {
  readonly subtopologyId: string;
  readonly sourceTopics: readonly string[];
  readonly repartitionSinkTopics: readonly string[];
  readonly stateChangelogTopics: readonly StreamsTopic[];
  readonly repartitionSourceTopics: readonly StreamsTopic[];
}

/** A topic that the group makes for itself. */
export interface StreamsTopic {
  readonly name: string;
  /** 0: as many as its sources have. */
  readonly partitionsCount: number;
  /** 0: the broker's default. */
  readonly replicationFactor: number;
  readonly config: ReadonlyMap<string, string>;
}

export interface StreamsMember extends AnyMember {
  readonly epoch: number;
  readonly instanceId: string | null;
  readonly rack: string | null;
  readonly topologyEpoch: number;
  readonly processId: string;
  /** Where it answers interactive queries. */
  readonly endpoint: { readonly host: string; readonly port: number } | null;
  readonly clientTags: ReadonlyMap<string, string>;
  readonly taskOffsets: readonly StreamsTaskOffset[];
  readonly taskEndOffsets: readonly StreamsTaskOffset[];
  readonly assignment: StreamsAssignment;
  readonly targetAssignment: StreamsAssignment;
  /** It speaks the classic protocol. */
  readonly isClassic: boolean;
}

export interface StreamsTaskOffset extends StreamsTask {
  readonly offset: number;
}

export interface StreamsTask {
  readonly subtopologyId: string;
  readonly partition: number;
}

export interface StreamsAssignment {
  readonly activeTasks: readonly StreamsTask[];
  readonly standbyTasks: readonly StreamsTask[];
  readonly warmupTasks: readonly StreamsTask[];
}
