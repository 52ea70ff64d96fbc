import type { Logger } from "./logger.ts";
import type { PartitionMetadata } from "./message-types.ts";

/** Partition indexes by topic. */
export interface Assignment {
  [topic: string]: number[];
}

export interface GroupMember {
  memberId: string;
  memberMetadata: Buffer;
}

export interface GroupMemberAssignment {
  memberId: string;
  memberAssignment: Buffer;
}

export interface GroupState {
  name: string;
  metadata: Buffer;
}

/** How the leader of a group shares the partitions out. */
export interface Assigner {
  name: string;
  version: number;
  assign(group: { members: GroupMember[]; topics: string[] }): Promise<GroupMemberAssignment[]>;
  protocol(subscription: { topics: string[] }): GroupState;
}

/** What of KafkaJS's cluster an assigner can use here. */
export interface AssignerCluster {
  /** Empty where the topic does not exist. */
  findTopicPartitionMetadata(topic: string): PartitionMetadata[];
  getNodeIds(): number[];
  isConnected(): boolean;
  findLeaderForPartitions(topic: string, partitions: number[]): { [leader: string]: number[] };
}

export type PartitionAssigner = (config: {
  // What it declares to need is the program's business: KafkaJS's own type has more methods.
  // oxlint-disable-next-line typescript/no-explicit-any -- a program's assigner is typed with KafkaJS's cluster
  cluster: any;
  groupId: string;
  logger: Logger;
}) => Assigner;

export interface MemberMetadata {
  version: number;
  topics: string[];
  userData: Buffer;
}

export interface MemberAssignment {
  version: number;
  assignment: Assignment;
  userData: Buffer;
}

/** A program may leave `userData` out. */
type Encoded<T extends { userData: Buffer }> = Omit<T, "userData"> & Partial<Pick<T, "userData">>;

export interface ISerializer<T extends { userData: Buffer }> {
  encode(value: Encoded<T>): Buffer;
  decode(buffer: Buffer): T | null;
}
