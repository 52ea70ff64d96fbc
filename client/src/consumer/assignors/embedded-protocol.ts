import { consumerProtocolAssignment, consumerProtocolSubscription } from "kafka-protocol-ts/internal/consumer-protocol";
import type { DataCodec } from "kafka-protocol-ts/api";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { TopicPartition } from "../../topic-partition.ts";
import { comparePartitions } from "./assignor.ts";
import type { AssignorMember } from "./assignor.ts";

/**
 * What members of a classic group tell each other through the broker, which does not read it: the embedded protocol of
 * type "consumer". A version begins with all of the one before it, so one that is not known here is read as the last that
 * is.
 */
export const protocolType = "consumer";

const newest = consumerProtocolSubscription.versions[1];

/** What a member writes into its JoinGroup; what comes from the group itself is not in it. */
export type MemberSubscription = Pick<AssignorMember, "topics" | "owned" | "generation" | "rack"> & {
  readonly userData: Uint8Array | null;
};

/** In the newest version, as Java writes it: topics and partitions in their order. */
export function subscriptionBytes({ topics, userData, owned, generation, rack }: MemberSubscription): Uint8Array {
  const message = {
    topics: topics.toSorted(),
    userData,
    ownedPartitions: groupedByTopic(owned.toSorted(comparePartitions)),
    generationId: generation,
    rackId: rack,
  };
  return bytesOf(consumerProtocolSubscription, message);
}

/**
 * @throws MalformedMessage where it is no such message. Clients are known that say version 1 and leave out what it added:
 * of them the topics are read.
 */
export function readSubscription(bytes: Buffer): Omit<AssignorMember, "memberId" | "instanceId"> {
  const version = versionOf(bytes);
  try {
    return subscriptionOf(bytes, version);
  } catch (error) {
    if (!(error instanceof MalformedMessage) || version === 0) throw error;
    return subscriptionOf(bytes, 0);
  }
}

function subscriptionOf(bytes: Buffer, version: number): Omit<AssignorMember, "memberId" | "instanceId"> {
  const { topics, userData, ownedPartitions, generationId, rackId } = consumerProtocolSubscription.read(
    readerBehindVersion(bytes),
    version,
  );
  return { topics, userData, owned: partitionsOf(ownedPartitions), generation: generationId, rack: rackId };
}

export function assignmentBytes(partitions: readonly TopicPartition[]): Uint8Array {
  return bytesOf(consumerProtocolAssignment, { assignedPartitions: groupedByTopic(partitions) });
}

/** No bytes at all are an assignment of nothing: what a member gets that its leader did not know. @throws MalformedMessage */
export function readAssignment(bytes: Buffer): readonly TopicPartition[] {
  if (bytes.length === 0) return [];
  const message = consumerProtocolAssignment.read(readerBehindVersion(bytes), versionOf(bytes));
  return partitionsOf(message.assignedPartitions);
}

/** In the order in which topics first come. */
export function groupedByTopic(
  partitions: readonly TopicPartition[],
): readonly { readonly topic: string; readonly partitions: readonly number[] }[] {
  return Array.from(
    Map.groupBy(partitions, ({ topic }) => topic),
    ([topic, found]) => ({ topic, partitions: found.map(({ partition }) => partition) }),
  );
}

export function partitionsOf(
  topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
): readonly TopicPartition[] {
  return topics.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })));
}

function versionOf(bytes: Buffer): number {
  const version = new ByteReader(bytes).int16();
  if (version < 0) throw new MalformedMessage(`version ${version} of the consumer protocol`);
  return Math.min(version, newest);
}

function readerBehindVersion(bytes: Buffer): ByteReader {
  return new ByteReader(bytes, 2);
}

function bytesOf<Read, Write>(codec: DataCodec<Read, Write>, message: Write): Uint8Array {
  const writer = new ByteWriter(128);
  writer.int16(newest);
  codec.write(writer, message, newest);
  return writer.toBuffer();
}
