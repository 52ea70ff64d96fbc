import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import type { ProduceResponse } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchResponsePartitionData } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { RawClient } from "./raw-client.ts";

/* One partition's worth of the requests that most tests need, each in a version that every topic and broker knows. */

export type ProducedPartition = ProduceResponse["responses"][number]["partitionResponses"][number];

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** See `served.ts`. */
export const isKafka: boolean = process.env["MILLRACE_JOURNEYS_TARGET"] === "kafka";

/** Creates the topic and gives its id. */
export async function createTopic(
  client: RawClient,
  name: string,
  partitions = 1,
  config: Readonly<Record<string, string>> = {},
): Promise<string> {
  const configs = Object.entries(config).map(([key, value]) => ({ name: key, value }));
  const { topics } = await client.request(createTopics, 7, {
    topics: [{ name, numPartitions: partitions, replicationFactor: 1, assignments: [], configs }],
    timeoutMs: 10_000,
    validateOnly: false,
  });
  const [created] = topics;
  if (created?.errorCode !== 0) {
    throw new Error(`creating ${name}: ${errorName(created?.errorCode ?? -1)} ${created?.errorMessage}`);
  }
  // With Apache Kafka a topic is created before its leaders know of it; with us it can be used at once.
  if (isKafka) {
    for (let partition = 0; partition < partitions;) {
      if ((await offsetAt(client, { topic: name, partition }, -1)).errorCode === ErrorCode.NONE) partition++;
    }
  }
  return created.topicId;
}

export interface ProduceOptions {
  readonly topic?: string;
  readonly partition?: number;
  readonly acks?: number;
  readonly version?: number;
  readonly timeoutMs?: number;
}

/** Sends one batch and gives the partition's answer. */
export async function produceTo(
  client: RawClient,
  records: Buffer | null,
  { topic = "orders", partition = 0, acks = -1, version = 9, timeoutMs = 10_000 }: ProduceOptions = {},
): Promise<ProducedPartition> {
  const answer = await client.request(produce, version, {
    transactionalId: null,
    acks,
    timeoutMs,
    topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
  });
  return answer.responses[0]!.partitionResponses[0]!;
}

export interface FetchOptions {
  readonly topic?: string;
  readonly partition?: number;
  readonly offset: number;
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly partitionMaxBytes?: number;
  readonly isolationLevel?: number;
  readonly currentLeaderEpoch?: number;
}

/** One fetch of one partition, outside of any session; version 12. */
export async function fetchFrom(client: RawClient, options: FetchOptions): Promise<FetchResponsePartitionData> {
  const { topic = "orders", partition = 0, offset, maxBytes = 50_000_000 } = options;
  const answer = await client.request(fetch, 12, {
    maxWaitMs: options.maxWaitMs ?? 0,
    minBytes: options.minBytes ?? 0,
    maxBytes,
    isolationLevel: options.isolationLevel ?? 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic,
        partitions: [
          {
            partition,
            fetchOffset: offset,
            currentLeaderEpoch: options.currentLeaderEpoch ?? -1,
            partitionMaxBytes: options.partitionMaxBytes ?? maxBytes,
          },
        ],
      },
    ],
    forgottenTopicsData: [],
  });
  return answer.responses[0]!.partitions[0]!;
}

/** All batches from `offset` to the high watermark. */
export async function readBatches(
  client: RawClient,
  { topic, partition }: TopicPartition,
  offset: number,
): Promise<RecordBatchView[]> {
  const batches: RecordBatchView[] = [];
  let next = offset;
  for (;;) {
    const answer = await fetchFrom(client, { topic, partition, offset: next });
    if (answer.errorCode !== 0) throw new Error(`${topic}-${partition} at ${next}: ${errorName(answer.errorCode)}`);
    const some = [...batchesIn(answer.records ?? Buffer.alloc(0))];
    batches.push(...some);
    const last = some.at(-1);
    if (last === undefined || last.lastOffset < next) break;
    next = last.lastOffset + 1;
    if (next >= answer.highWatermark) break;
  }
  return batches;
}

/** ListOffsets of one partition: −1 the end, −2 the start. */
export async function offsetAt(
  client: RawClient,
  { topic, partition }: TopicPartition,
  timestamp: number,
  options: { readonly version?: number; readonly isolationLevel?: number } = {},
) {
  const answer = await client.request(listOffsets, options.version ?? 7, {
    replicaId: -1,
    isolationLevel: options.isolationLevel ?? 0,
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }],
  });
  return answer.topics[0]!.partitions[0]!;
}

export async function deleteBefore(client: RawClient, { topic, partition }: TopicPartition, offset: number) {
  const answer = await client.request(deleteRecords, 2, {
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
    timeoutMs: 10_000,
  });
  return answer.topics[0]!.partitions[0]!;
}

/** Topics by name; null asks for all. */
export async function describeTopics(client: RawClient, names: readonly string[] | null) {
  const answer = await client.request(metadata, 12, {
    topics: names === null ? null : names.map((name) => ({ name })),
    allowAutoTopicCreation: false,
  });
  return answer.topics;
}
