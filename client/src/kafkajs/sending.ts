import type { CompressionName } from "kafka-protocol-ts/records/compression";
import type { PartitionMetadata as KnownPartition, TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import type { ProducerRecord as OutgoingRecord, SendResult } from "../producer/options.ts";
import type { HeaderValue } from "../serdes/headers.ts";
import type { ICustomPartitioner } from "./config-types.ts";
import { tried } from "./asking.ts";
import { finalError } from "./error-mapping.ts";
import { KafkaJSNonRetriableError, KafkaJSProtocolError } from "./errors.ts";
import type {
  IHeaders,
  Message,
  PartitionMetadata,
  ProducerBatch,
  RecordMetadata,
  TopicMessages,
} from "./message-types.ts";
import type { RetrySettings } from "./retry.ts";

export const compressionNames: Readonly<Record<number, CompressionName>> = {
  0: "none",
  1: "gzip",
  2: "snappy",
  3: "lz4",
  4: "zstd",
};

export type SendAll = (topic: string, records: readonly OutgoingRecord[]) => Promise<readonly SendResult[]>;

export interface SendingOptions {
  readonly retry: RetrySettings;
  readonly mayCreateTopics: boolean;
  readonly partitioner: ReturnType<ICustomPartitioner>;
}

/** @throws KafkaJSNonRetriableError where there is no topic, no messages, or a message without a value. */
export function checkBatch({ topicMessages = [] }: ProducerBatch): readonly TopicMessages[] {
  const merged = new Map<string, Message[]>();
  for (const { topic, messages } of topicMessages) {
    if (topic === undefined || topic === "")
      throw new KafkaJSNonRetriableError(`Invalid topic: ${JSON.stringify(topic)}`);
    if (!Array.isArray(messages))
      throw new KafkaJSNonRetriableError(
        `Invalid messages for topic ${topic}: ${JSON.stringify(messages)} is no array`,
      );
    const without = messages.find(({ value }) => value === undefined);
    if (without !== undefined)
      throw new KafkaJSNonRetriableError(
        `Invalid message for topic ${topic}: it has no value: ${JSON.stringify(without)}`,
      );
    merged.set(topic, [...(merged.get(topic) ?? []), ...messages]);
  }
  return Array.from(merged, ([topic, messages]) => ({ topic, messages }));
}

/** Gives each message its partition, sends them all, and says where each partition's part begins. */
export async function sendMessages(
  wire: Wire,
  topicMessages: readonly TopicMessages[],
  sendAll: SendAll,
  { retry, mayCreateTopics, partitioner }: SendingOptions,
): Promise<RecordMetadata[]> {
  let topics: TopicMetadata[];
  try {
    // All topics are known before anything leaves, so that messages are sent in the order of the calls.
    topics = await Promise.all(
      topicMessages.map(async ({ topic }) =>
        tried(wire, retry, async () => wire.topic(topic, { mayCreate: mayCreateTopics })),
      ),
    );
  } catch (error) {
    // Before anything has left no error comes as it is.
    const failure = finalError(error, retry);
    throw failure instanceof KafkaJSProtocolError ? new KafkaJSNonRetriableError(failure, { cause: failure }) : failure;
  }
  try {
    const answers = await Promise.all(
      topicMessages.map(async ({ topic, messages }, at) => {
        const known = partitionMetadataOf(topics[at] as TopicMetadata);
        const records = messages.map((message) =>
          recordOf(message, partitioner({ topic, partitionMetadata: known, message })),
        );
        return summed(topic, await sendAll(topic, records));
      }),
    );
    return answers.flat();
  } catch (error) {
    throw finalError(error, retry);
  }
}

export function partitionMetadataOf({ partitions }: TopicMetadata): PartitionMetadata[] {
  return partitions.map(partitionMetadata);
}

function partitionMetadata({ index, leaderId, replicas, inSyncReplicas }: KnownPartition): PartitionMetadata {
  return {
    partitionErrorCode: 0,
    partitionId: index,
    leader: leaderId,
    replicas: [...replicas],
    isr: [...inSyncReplicas],
    offlineReplicas: [],
  };
}

function recordOf({ key, value, headers, timestamp }: Message, partition: number): OutgoingRecord {
  return {
    key: bytesOrText(key),
    value: bytesOrText(value),
    partition,
    ...(headers === undefined ? {} : { headers: headerPairs(headers) }),
    ...(timestamp === undefined || timestamp === null ? {} : { timestamp: Number(timestamp) }),
  };
}

/** What is neither, against the types, is sent as its text. */
function bytesOrText(value: Buffer | string | number | null | undefined): Uint8Array | string | null {
  if (value === null || value === undefined) return null;
  return value instanceof Uint8Array ? value : `${value}`;
}

function* headerPairs(headers: IHeaders): Iterable<readonly [string, HeaderValue]> {
  for (const [name, value] of Object.entries(headers)) {
    for (const each of Array.isArray(value) ? value : [value]) yield [name, bytesOrText(each)];
  }
}

/** One entry a partition, by index. @throws KafkaError the first failure. */
function summed(topicName: string, results: readonly SendResult[]): readonly RecordMetadata[] {
  const baseOffsets = new Map<number, number>();
  for (const { partition, offset, error } of results) {
    if (error !== null) throw error;
    if (!baseOffsets.has(partition)) baseOffsets.set(partition, offset);
  }
  return Array.from(baseOffsets, ([partition, offset]): RecordMetadata => ({
    topicName,
    partition,
    errorCode: 0,
    baseOffset: `${offset}`,
  })).sort((a, b) => a.partition - b.partition);
}
