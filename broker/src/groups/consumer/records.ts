import { MalformedMessage } from "kafka-protocol-ts/malformed";
import {
  consumerGroupCurrentMemberAssignment,
  consumerGroupMemberMetadata,
  consumerGroupMetadata,
  consumerGroupPartitionMetadata,
  consumerGroupRegularExpression,
  consumerGroupTargetAssignmentMember,
  consumerGroupTargetAssignmentMetadata,
} from "kafka-protocol-ts/internal/group-records";
import type { ByteReader } from "kafka-protocol-ts/reader";
import type { CoordinatorRecord } from "../../coordinator/shard-log.ts";
import type { Assignment } from "../assignors/types.ts";
import { keyBytes, readValue, valueBytes } from "../record-bytes.ts";
import type { ResolvedRegex } from "./group.ts";
import type { MemberAssignment, MemberState, MemberSubscription, Owned } from "./member.ts";

/** What the log says about consumer groups; a null value is a tombstone. In the log they are Kafka's records 3 to 8 and 16. */
export type ConsumerRecord =
  | {
      readonly kind: "consumer-group";
      readonly groupId: string;
      readonly value: { readonly epoch: number; readonly metadataHash: number } | null;
    }
  /** Of versions before 4.1: a hash stands for it now, so it is only ever taken away. */
  | { readonly kind: "consumer-partition-metadata"; readonly groupId: string; readonly value: null }
  | {
      readonly kind: "consumer-member";
      readonly groupId: string;
      readonly memberId: string;
      readonly value: MemberSubscription | null;
    }
  | {
      readonly kind: "consumer-target-epoch";
      readonly groupId: string;
      readonly value: { readonly epoch: number; readonly timestampMs: number } | null;
    }
  | {
      readonly kind: "consumer-target";
      readonly groupId: string;
      readonly memberId: string;
      readonly value: Assignment | null;
    }
  | {
      readonly kind: "consumer-current";
      readonly groupId: string;
      readonly memberId: string;
      readonly value: MemberAssignment | null;
    }
  | {
      readonly kind: "consumer-regex";
      readonly groupId: string;
      readonly regex: string;
      readonly value: ResolvedRegex | null;
    };

const VERSION = 0;
const states: readonly MemberState[] = ["stable", "unrevoked", "unreleased"];

export function encodeConsumerRecord(record: ConsumerRecord): CoordinatorRecord {
  const { groupId } = record;
  switch (record.kind) {
    case "consumer-group":
      return {
        key: keyBytes(consumerGroupMetadata, { groupId }),
        value: record.value && valueBytes(consumerGroupMetadata.value, record.value, VERSION),
      };
    case "consumer-partition-metadata":
      return { key: keyBytes(consumerGroupPartitionMetadata, { groupId }), value: null };
    case "consumer-member": {
      const { memberId, value } = record;
      return {
        key: keyBytes(consumerGroupMemberMetadata, { groupId, memberId }),
        value: value && valueBytes(consumerGroupMemberMetadata.value, memberMessage(value), VERSION),
      };
    }
    case "consumer-target-epoch": {
      const { value } = record;
      const message = value && { assignmentEpoch: value.epoch, assignmentTimestamp: value.timestampMs };
      return {
        key: keyBytes(consumerGroupTargetAssignmentMetadata, { groupId }),
        value: message && valueBytes(consumerGroupTargetAssignmentMetadata.value, message, VERSION),
      };
    }
    case "consumer-target": {
      const { memberId, value } = record;
      const message = value && {
        topicPartitions: Array.from(value, ([topicId, partitions]) => ({ topicId, partitions })),
      };
      return {
        key: keyBytes(consumerGroupTargetAssignmentMember, { groupId, memberId }),
        value: message && valueBytes(consumerGroupTargetAssignmentMember.value, message, VERSION),
      };
    }
    case "consumer-current": {
      const { memberId, value } = record;
      return {
        key: keyBytes(consumerGroupCurrentMemberAssignment, { groupId, memberId }),
        value: value && valueBytes(consumerGroupCurrentMemberAssignment.value, currentMessage(value), VERSION),
      };
    }
    case "consumer-regex": {
      const { regex, value } = record;
      const message = value && {
        topics: [...value.topics].sort(),
        version: value.version,
        timestamp: value.timestampMs,
      };
      return {
        key: keyBytes(consumerGroupRegularExpression, { groupId, regularExpression: regex }),
        value: message && valueBytes(consumerGroupRegularExpression.value, message, VERSION),
      };
    }
  }
}

/** Null: a record of another kind of group. Throws MalformedMessage for one of ours that cannot be read. */
export function decodeConsumerRecord(type: number, key: ByteReader, value: Uint8Array | null): ConsumerRecord | null {
  switch (type) {
    case consumerGroupMetadata.type: {
      const { groupId } = consumerGroupMetadata.key.read(key, 0);
      return { kind: "consumer-group", groupId, value: value && readValue(consumerGroupMetadata.value, value) };
    }
    case consumerGroupPartitionMetadata.type: {
      const { groupId } = consumerGroupPartitionMetadata.key.read(key, 0);
      return { kind: "consumer-partition-metadata", groupId, value: null };
    }
    case consumerGroupMemberMetadata.type: {
      const { groupId, memberId } = consumerGroupMemberMetadata.key.read(key, 0);
      return { kind: "consumer-member", groupId, memberId, value: value && readMember(value) };
    }
    case consumerGroupTargetAssignmentMetadata.type: {
      const { groupId } = consumerGroupTargetAssignmentMetadata.key.read(key, 0);
      const read = value && readValue(consumerGroupTargetAssignmentMetadata.value, value);
      const target = read && { epoch: read.assignmentEpoch, timestampMs: read.assignmentTimestamp };
      return { kind: "consumer-target-epoch", groupId, value: target };
    }
    case consumerGroupTargetAssignmentMember.type: {
      const { groupId, memberId } = consumerGroupTargetAssignmentMember.key.read(key, 0);
      const read = value && readValue(consumerGroupTargetAssignmentMember.value, value);
      const target =
        read && new Map(read.topicPartitions.map(({ topicId, partitions }) => [topicId, partitions] as const));
      return { kind: "consumer-target", groupId, memberId, value: target };
    }
    case consumerGroupCurrentMemberAssignment.type: {
      const { groupId, memberId } = consumerGroupCurrentMemberAssignment.key.read(key, 0);
      return { kind: "consumer-current", groupId, memberId, value: value && readCurrent(value) };
    }
    case consumerGroupRegularExpression.type: {
      const { groupId, regularExpression } = consumerGroupRegularExpression.key.read(key, 0);
      const read = value && readValue(consumerGroupRegularExpression.value, value);
      const resolved = read && { topics: new Set(read.topics), version: read.version, timestampMs: read.timestamp };
      return { kind: "consumer-regex", groupId, regex: regularExpression, value: resolved };
    }
    default:
      return null;
  }
}

function memberMessage(value: MemberSubscription): Parameters<typeof consumerGroupMemberMetadata.value.write>[1] {
  return {
    instanceId: value.instanceId,
    rackId: value.rackId,
    clientId: value.clientId,
    clientHost: value.clientHost,
    subscribedTopicNames: value.topicNames,
    subscribedTopicRegex: value.topicRegex,
    rebalanceTimeoutMs: value.rebalanceTimeoutMs,
    serverAssignor: value.serverAssignor,
    classicMemberMetadata: value.classic && {
      sessionTimeoutMs: value.classic.sessionTimeoutMs,
      supportedProtocols: value.classic.protocols,
    },
  };
}

function readMember(bytes: Uint8Array): MemberSubscription {
  const value = readValue(consumerGroupMemberMetadata.value, bytes);
  const classic = value.classicMemberMetadata;
  return {
    instanceId: value.instanceId,
    rackId: value.rackId,
    clientId: value.clientId,
    clientHost: value.clientHost,
    topicNames: value.subscribedTopicNames,
    topicRegex: value.subscribedTopicRegex,
    rebalanceTimeoutMs: value.rebalanceTimeoutMs,
    serverAssignor: value.serverAssignor,
    classic: classic && {
      sessionTimeoutMs: classic.sessionTimeoutMs,
      // What was read are views of a batch; they are kept for long.
      protocols: classic.supportedProtocols.map(({ name, metadata }) => ({ name, metadata: new Uint8Array(metadata) })),
    },
  };
}

function currentMessage(
  value: MemberAssignment,
): Parameters<typeof consumerGroupCurrentMemberAssignment.value.write>[1] {
  return {
    memberEpoch: value.memberEpoch,
    previousMemberEpoch: value.previousMemberEpoch,
    state: states.indexOf(value.state),
    assignedPartitions: ownedMessage(value.assigned),
    partitionsPendingRevocation: ownedMessage(value.pendingRevocation),
  };
}

interface OwnedMessage {
  readonly topicId: string;
  readonly partitions: readonly number[];
  readonly assignmentEpochs: readonly number[] | null;
}

function ownedMessage(owned: Owned): OwnedMessage[] {
  return Array.from(owned, ([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions.keys()],
    assignmentEpochs: [...partitions.values()],
  }));
}

function readCurrent(bytes: Uint8Array): MemberAssignment {
  const value = readValue(consumerGroupCurrentMemberAssignment.value, bytes);
  const state = states[value.state];
  if (state === undefined) throw new MalformedMessage(`a member of a consumer group is in state ${value.state}`);
  const { memberEpoch, previousMemberEpoch } = value;
  return {
    memberEpoch,
    previousMemberEpoch,
    state,
    assigned: readOwned(value.assignedPartitions, memberEpoch),
    pendingRevocation: readOwned(value.partitionsPendingRevocation, memberEpoch),
  };
}

/** Before 4.2 there were no epochs of partitions: the member's own is the strictest. */
function readOwned(message: readonly OwnedMessage[], memberEpoch: number): Owned {
  return new Map(
    message.map(({ topicId, partitions, assignmentEpochs }) => [
      topicId,
      new Map(partitions.map((partition, at) => [partition, assignmentEpochs?.[at] ?? memberEpoch] as const)),
    ]),
  );
}
