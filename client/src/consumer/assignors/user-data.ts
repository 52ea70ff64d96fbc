import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { TopicPartition } from "../../topic-partition.ts";
import { groupedByTopic, partitionsOf } from "./embedded-protocol.ts";
import type { LastAssignment } from "./assignor.ts";

/** A topic's name and count of partitions. */
const topicBytesMin = 6;

/** Version 1 of what Java's StickyAssignor says of itself: what the member had, and since which generation. It carries no version. */
export function stickyUserData({ partitions, generation }: LastAssignment): Uint8Array {
  const writer = new ByteWriter(64);
  const topics = groupedByTopic(partitions);
  writer.arrayLength(topics.length);
  for (const { topic, partitions: indexes } of topics) {
    writer.string(topic);
    writer.int32Array(indexes);
  }
  writer.int32(generation);
  return writer.toBuffer();
}

/** Of either version, told apart by whether a generation follows. Null where the bytes are neither. */
export function readStickyUserData(bytes: Buffer): LastAssignment | null {
  return readOrNull(bytes, (reader) => {
    const topics: { topic: string; partitions: readonly number[] }[] = [];
    for (let left = reader.arrayLength(topicBytesMin); left > 0; left--) {
      topics.push({ topic: reader.string(), partitions: reader.int32Array() });
    }
    const partitions: readonly TopicPartition[] = partitionsOf(topics);
    return { partitions, generation: reader.remaining >= 4 ? reader.int32() : -1 };
  });
}

/** What Java's CooperativeStickyAssignor adds for leaders that know only version 1 of subscriptions, which has no generation. */
export function cooperativeUserData({ generation }: LastAssignment): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(generation);
  return bytes;
}

export function readCooperativeUserData(bytes: Buffer): number {
  return readOrNull(bytes, (reader) => reader.int32()) ?? -1;
}

function readOrNull<Value>(bytes: Buffer, read: (reader: ByteReader) => Value): Value | null {
  try {
    return read(new ByteReader(bytes));
  } catch (error) {
    if (error instanceof MalformedMessage) return null;
    throw error;
  }
}
