import { groupMetadata, legacyOffsetCommit, offsetCommit } from "kafka-protocol-ts/internal/group-records";
import { zeroUuid } from "kafka-protocol-ts/reader";
import type { CoordinatorRecord } from "../coordinator/shard-log.ts";
import { decodeConsumerRecord, encodeConsumerRecord } from "./consumer/records.ts";
import type { ConsumerRecord } from "./consumer/records.ts";
import { keyBytes, readerOf, readValue, valueBytes } from "./record-bytes.ts";

/** What the log can say about groups; a null value is a tombstone. In the log they are Kafka's own records of __consumer_offsets. */
export type GroupRecord =
  | { readonly kind: "group"; readonly groupId: string; readonly value: GroupValue | null }
  | {
      readonly kind: "offset";
      readonly groupId: string;
      readonly topic: string;
      readonly partition: number;
      readonly value: OffsetValue | null;
    }
  | ConsumerRecord;

/** A generation whose assignment is complete; without members, an empty group. */
export interface GroupValue {
  readonly protocolType: string | null;
  readonly generation: number;
  readonly protocolName: string | null;
  readonly leaderId: string | null;
  readonly stateTimestampMs: number;
  readonly members: readonly LoggedMember[];
}

export interface LoggedMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  /** The metadata of the selected protocol. */
  readonly subscription: Uint8Array;
  readonly assignment: Uint8Array;
}

export interface OffsetValue {
  readonly offset: number;
  /** −1: unknown. */
  readonly leaderEpoch: number;
  readonly metadata: string;
  readonly commitTimestampMs: number;
  /** −1: by the broker's retention. */
  readonly expireTimestampMs: number;
  /** Null: not known when it was committed, or not told by the record's version. */
  readonly topicId: string | null;
}

/** The highest that is not flexible: tools of every age read it. */
const GROUP_VALUE_VERSION = 3;

export function encodeRecord(record: GroupRecord): CoordinatorRecord {
  if (record.kind === "group") {
    const { value } = record;
    return {
      key: keyBytes(groupMetadata, { group: record.groupId }),
      value: value === null ? null : valueBytes(groupMetadata.value, groupValueMessage(value), GROUP_VALUE_VERSION),
    };
  }
  if (record.kind !== "offset") return encodeConsumerRecord(record);
  const { value } = record;
  return {
    key: keyBytes(offsetCommit, { group: record.groupId, topic: record.topic, partition: record.partition }),
    value: value === null ? null : valueBytes(offsetCommit.value, offsetValueMessage(value), offsetValueVersion(value)),
  };
}

/** Null: a record of another kind of group. Throws MalformedMessage for one of ours that cannot be read. */
export function decodeRecord(key: Uint8Array, value: Uint8Array | null): GroupRecord | null {
  const reader = readerOf(key);
  const type = reader.int16();
  switch (type) {
    case legacyOffsetCommit.type:
    case offsetCommit.type: {
      const { group, topic, partition } = offsetCommit.key.read(reader, 0);
      return {
        kind: "offset",
        groupId: group,
        topic,
        partition,
        value: value === null ? null : readOffsetValue(value),
      };
    }
    case groupMetadata.type: {
      const { group } = groupMetadata.key.read(reader, 0);
      return { kind: "group", groupId: group, value: value === null ? null : readGroupValue(value) };
    }
    default:
      return decodeConsumerRecord(type, reader, value);
  }
}

/** No record of this group is larger than this: reckoned before any of it is built. */
export function groupRecordBytesMax(groupId: string, value: GroupValue): number {
  const { protocolName, protocolType, leaderId } = value;
  let bytes = 64 + textBytes(groupId) + textBytes(protocolName) + textBytes(protocolType) + textBytes(leaderId);
  for (const { memberId, instanceId, clientId, clientHost, subscription, assignment } of value.members) {
    bytes += 32 + textBytes(memberId) + textBytes(instanceId) + textBytes(clientId) + textBytes(clientHost);
    bytes += subscription.length + assignment.length;
  }
  return bytes;
}

function textBytes(text: string | null): number {
  return text === null ? 0 : Buffer.byteLength(text, "utf8");
}

/** An expiry of its own fits version 1 only, a topic id version 4 only. */
function offsetValueVersion(value: OffsetValue): number {
  if (value.expireTimestampMs !== -1) return 1;
  return value.topicId === null ? 3 : 4;
}

function offsetValueMessage(value: OffsetValue): Parameters<typeof offsetCommit.value.write>[1] {
  return {
    offset: value.offset,
    leaderEpoch: value.leaderEpoch,
    metadata: value.metadata,
    commitTimestamp: value.commitTimestampMs,
    expireTimestamp: value.expireTimestampMs,
    topicId: value.topicId ?? zeroUuid,
  };
}

function readOffsetValue(bytes: Uint8Array): OffsetValue {
  const value = readValue(offsetCommit.value, bytes);
  return {
    offset: value.offset,
    leaderEpoch: value.leaderEpoch,
    metadata: value.metadata,
    commitTimestampMs: value.commitTimestamp,
    expireTimestampMs: value.expireTimestamp,
    topicId: value.topicId === zeroUuid ? null : value.topicId,
  };
}

function groupValueMessage(value: GroupValue): Parameters<typeof groupMetadata.value.write>[1] {
  return {
    protocolType: value.protocolType ?? "",
    generation: value.generation,
    protocol: value.protocolName,
    leader: value.leaderId,
    currentStateTimestamp: value.stateTimestampMs,
    members: value.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeout: member.rebalanceTimeoutMs,
      sessionTimeout: member.sessionTimeoutMs,
      subscription: member.subscription,
      assignment: member.assignment,
    })),
  };
}

function readGroupValue(bytes: Uint8Array): GroupValue {
  const value = readValue(groupMetadata.value, bytes);
  return {
    protocolType: value.protocolType === "" ? null : value.protocolType,
    generation: value.generation,
    protocolName: value.protocol,
    leaderId: value.leader,
    stateTimestampMs: value.currentStateTimestamp,
    members: value.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      // The oldest records lack it: a session was the time to join, too.
      rebalanceTimeoutMs: member.rebalanceTimeout === -1 ? member.sessionTimeout : member.rebalanceTimeout,
      sessionTimeoutMs: member.sessionTimeout,
      // What was read are views of a batch; they are kept for long.
      subscription: new Uint8Array(member.subscription),
      assignment: new Uint8Array(member.assignment),
    })),
  };
}
