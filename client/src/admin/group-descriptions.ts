import type { TopicPartition } from "../topic-partition.ts";
import type { AclOperation } from "./acl-words.ts";

/** A group of whichever kind: `type` tells them apart. */
export type GroupDescription =
  | ClassicGroupDescription
  | ConsumerGroupDescription
  | ShareGroupDescription
  | StreamsGroupDescription;

/** The kinds of groups. */
export type GroupType = GroupDescription["type"];

interface AnyGroup {
  /** The name of the group. */
  readonly groupId: string;
  /** "Stable", "Empty", "PreparingRebalance", "Assigning" ...: as Kafka names it. */
  readonly state: string;
  /** "host:port" of the broker that coordinates it. */
  readonly coordinator: string;
  /** What whoever asks may do with it; null where that was not asked for. */
  readonly authorizedOperations: ReadonlySet<AclOperation> | null;
}

interface AnyMember {
  /** The id that the coordinator or the member has made. */
  readonly memberId: string;
  /** What the client calls itself. */
  readonly clientId: string;
  /** The address from which it came, as "/10.0.0.7". */
  readonly clientHost: string;
}

/** A group of the first protocol, in which the members assign. Also offsets that were committed without any member. */
export interface ClassicGroupDescription extends AnyGroup {
  /** Tells this kind from the others. */
  readonly type: "classic";
  /** "consumer", "connect" ...; empty where there never was a member. */
  readonly protocolType: string;
  /** The assignor that was agreed on: "range". */
  readonly protocol: string;
  /** Empty where nobody is in it at present. */
  readonly members: readonly ClassicMember[];
}

/** A member of a classic group. */
export interface ClassicMember extends AnyMember {
  /** Of a static member (KIP-345); else null. */
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
  /** Tells this kind from the others. */
  readonly type: "consumer";
  /** Grows with each change of members, subscriptions or topics. */
  readonly epoch: number;
  /** The epoch for which the target assignments were made; below `epoch` while they are being made. */
  readonly assignmentEpoch: number;
  /** Of the broker: "uniform", "range". */
  readonly assignor: string;
  /** Empty where nobody is in it at present. */
  readonly members: readonly ConsumerMember[];
}

/** A member of a group of KIP-848. */
export interface ConsumerMember extends AnyMember {
  /** Of a static member; else null. */
  readonly instanceId: string | null;
  /** Where it says that it is; else null. */
  readonly rack: string | null;
  /** The group's epoch that it has come to. */
  readonly epoch: number;
  /** The names that it asked for. */
  readonly subscribedTopics: readonly string[];
  /** The RE2 pattern that it asked for; null where it has none. */
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
  /** Tells this kind from the others. */
  readonly type: "share";
  /** Grows with each change of members, subscriptions or topics. */
  readonly epoch: number;
  /** The epoch for which the assignments were made. */
  readonly assignmentEpoch: number;
  /** Of the broker. */
  readonly assignor: string;
  /** Empty where nobody is in it at present. */
  readonly members: readonly ShareMember[];
}

/** A member of a share group. */
export interface ShareMember extends AnyMember {
  /** Where it says that it is; else null. */
  readonly rack: string | null;
  /** The group's epoch that it has come to. */
  readonly epoch: number;
  /** The names that it asked for. */
  readonly subscribedTopics: readonly string[];
  /** What it reads of; others may read of the same. */
  readonly assignment: readonly TopicPartition[];
}

/** A group of Kafka Streams (KIP-1071). */
export interface StreamsGroupDescription extends AnyGroup {
  /** Tells this kind from the others. */
  readonly type: "streams";
  /** Grows with each change of members or topology. */
  readonly epoch: number;
  /** The epoch for which the target assignments were made. */
  readonly assignmentEpoch: number;
  /** Null where no member has told it yet. */
  readonly topology: StreamsTopology | null;
  /** Empty where nobody is in it at present. */
  readonly members: readonly StreamsMember[];
}

/** What a group of Kafka Streams processes. */
export interface StreamsTopology {
  /** Grows with each change of it. */
  readonly epoch: number;
  /** The parts that it consists of. */
  readonly subtopologies: readonly StreamsSubtopology[];
}

/** A part of a topology whose tasks need no other part. */
export interface StreamsSubtopology {
  /** Its name within the topology. */
  readonly subtopologyId: string;
  /** What it reads. */
  readonly sourceTopics: readonly string[];
  /** What it writes for other parts to read. */
  readonly repartitionSinkTopics: readonly string[];
  /** What its state is restored from. */
  readonly stateChangelogTopics: readonly StreamsTopic[];
  /** What it reads that other parts have written. */
  readonly repartitionSourceTopics: readonly StreamsTopic[];
}

/** A topic that the group makes for itself. */
export interface StreamsTopic {
  /** As it is in the cluster. */
  readonly name: string;
  /** 0: as many as its sources have. */
  readonly partitionsCount: number;
  /** 0: the broker's default. */
  readonly replicationFactor: number;
  /** Settings that it is made with. */
  readonly config: ReadonlyMap<string, string>;
}

/** A member of a group of Kafka Streams. */
export interface StreamsMember extends AnyMember {
  /** The group's epoch that it has come to. */
  readonly epoch: number;
  /** Of a static member; else null. */
  readonly instanceId: string | null;
  /** Where it says that it is; else null. */
  readonly rack: string | null;
  /** Of the topology that it runs. */
  readonly topologyEpoch: number;
  /** The same for all members of one process. */
  readonly processId: string;
  /** Where it answers interactive queries. */
  readonly endpoint: { readonly host: string; readonly port: number } | null;
  /** What its configuration says of it, for rules of assignment. */
  readonly clientTags: ReadonlyMap<string, string>;
  /** How far the state of its tasks has come. */
  readonly taskOffsets: readonly StreamsTaskOffset[];
  /** How far it is to come. */
  readonly taskEndOffsets: readonly StreamsTaskOffset[];
  /** What it has. */
  readonly assignment: StreamsAssignment;
  /** What it shall have when the rebalance is over. */
  readonly targetAssignment: StreamsAssignment;
  /** It speaks the classic protocol. */
  readonly isClassic: boolean;
}

/** A task with an offset of its state. */
export interface StreamsTaskOffset extends StreamsTask {
  /** The sum over the changelogs of the task. */
  readonly offset: number;
}

/** The processing of one partition by one part of a topology. */
export interface StreamsTask {
  /** The part. */
  readonly subtopologyId: string;
  /** The partition of its source topics. */
  readonly partition: number;
}

/** Tasks of a member, by what it does with them. */
export interface StreamsAssignment {
  /** It processes these. */
  readonly activeTasks: readonly StreamsTask[];
  /** It keeps copies of their state. */
  readonly standbyTasks: readonly StreamsTask[];
  /** It restores their state, to take them over. */
  readonly warmupTasks: readonly StreamsTask[];
}
