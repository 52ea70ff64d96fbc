import { ErrorCode } from "kafka-protocol-ts/errors";
import type { MetadataResponse } from "kafka-protocol-ts/messages/03-metadata";
import type { Admin as CoreAdmin } from "../admin/admin.ts";
import type { Outcome } from "../admin/outcome.ts";
import { valuesOf } from "../admin/outcome.ts";
import { askMetadata } from "../admin/routes.ts";
import type { NewTopic } from "../admin/topics.ts";
import { brokerError } from "../errors.ts";
import type { KafkaError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import { checkArray, checkConfigEntries, checkName, checkNamed } from "./admin-checks.ts";
import type { Admin, ITopicConfig, ITopicMetadata, ITopicPartitionConfig } from "./admin-types.ts";
import { asking, askingMsMax, check } from "./asking.ts";
import { asKafkaJSError, finalError, protocolSourceOf } from "./error-mapping.ts";
import {
  KafkaJSAggregateError,
  KafkaJSAlterPartitionReassignmentsError,
  KafkaJSBrokerNotFound,
  KafkaJSCreateTopicError,
  KafkaJSDeleteTopicRecordsError,
  KafkaJSNonRetriableError,
} from "./errors.ts";
import type { KafkaJSError, KafkaJSDeleteTopicRecordsErrorPartition } from "./errors.ts";
import type { RetrySettings } from "./retry.ts";

/** What the calls of an admin stand on. */
export interface AdminContext {
  readonly wire: Wire;
  readonly core: CoreAdmin;
  readonly retry: RetrySettings;
}

type Options<Call extends keyof Admin> = Admin[Call] extends (options: infer Given) => unknown ? Given : never;

export async function createTopics(
  { core, wire, retry }: AdminContext,
  { topics, validateOnly = false, timeout = 5_000, waitForLeaders = true }: Options<"createTopics">,
): Promise<boolean> {
  checkNamed("topics", topics, ({ topic }: ITopicConfig) => topic);
  for (const { topic, configEntries } of topics)
    if (configEntries !== undefined && configEntries !== null) checkConfigEntries(topic, configEntries);
  const outcomes = await core.topics.create(topics.map(newTopic), { validateOnly, timeoutMs: timeout });
  const failures = failuresOf(outcomes);
  if (failures.length > 0) {
    const errors = failures.map(({ item, error }) => {
      const source = protocolSourceOf(error);
      if (source === undefined) throw finalError(error, retry);
      return new KafkaJSCreateTopicError(source, item.name);
    });
    if (errors.every(({ type }) => type === "TOPIC_ALREADY_EXISTS")) return false;
    const inOrder = errors.toSorted((a, b) => a.topic.localeCompare(b.topic));
    throw new KafkaJSAggregateError("topics could not be created", inOrder);
  }
  if (waitForLeaders && !validateOnly)
    // A broker may not know the topic yet that the controller has made.
    await wire
      .retrying({ what: "leaders of new topics", timeoutMs: timeout }, async () => {
        const names = topics.map(({ topic }) => topic);
        for (const { name, partitions } of await metadataOf(wire, names))
          if (partitions.some(({ leaderId }) => leaderId < 0))
            throw brokerError(ErrorCode.LEADER_NOT_AVAILABLE, `topic ${name}`);
      })
      .catch((error: unknown) => {
        throw finalError(error, retry);
      });
  return true;
}

function newTopic(config: ITopicConfig): NewTopic {
  const { topic: name, numPartitions, replicationFactor, replicaAssignment = [], configEntries } = config;
  const assignments = [...replicaAssignment].sort((a, b) => a.partition - b.partition).map(({ replicas }) => replicas);
  return {
    name,
    ...(assignments.length > 0 ? { assignments } : {}),
    ...(assignments.length > 0 || numPartitions === undefined || numPartitions === -1
      ? {}
      : { partitions: numPartitions }),
    ...(assignments.length > 0 || replicationFactor === undefined || replicationFactor === -1
      ? {}
      : { replicationFactor }),
    ...(configEntries === undefined || configEntries === null
      ? {}
      : { config: Object.fromEntries(configEntries.map((entry) => [entry.name, entry.value])) }),
  };
}

export async function deleteTopics(
  { core, retry }: AdminContext,
  { topics, timeout = 5_000 }: Options<"deleteTopics">,
): Promise<void> {
  checkNamed("topics", topics, (topic: string) => topic);
  throwFirst(await core.topics.delete(topics, { timeoutMs: timeout }), retry);
}

export async function createPartitions(
  { core }: AdminContext,
  { topicPartitions, validateOnly = false, timeout = 5_000 }: Options<"createPartitions">,
): Promise<boolean> {
  checkNamed("topicPartitions", topicPartitions, ({ topic }: ITopicPartitionConfig) => topic);
  if (topicPartitions.length === 0) throw new KafkaJSNonRetriableError("Invalid topicPartitions: the array is empty");
  const outcomes = await core.topics.createPartitions(topicPartitions, { validateOnly, timeoutMs: timeout });
  for (const { error } of failuresOf(outcomes)) throw asKafkaJSError(error);
  return true;
}

export async function fetchTopicMetadata(
  { wire, retry }: AdminContext,
  { topics = [] }: { readonly topics?: readonly string[] } = {},
): Promise<{ topics: ITopicMetadata[] }> {
  for (const topic of topics) checkName("topic", topic);
  const found = await asking(wire, retry, async () => metadataOf(wire, topics.length === 0 ? null : topics));
  return { topics: found.map(topicMetadata) };
}

/** Null: all. @throws KafkaError of the first topic that has one. */
async function metadataOf(wire: Wire, names: readonly string[] | null): Promise<MetadataResponse["topics"]> {
  const connection = await wire.any();
  const { topics } = await askMetadata(wire, connection, {
    topics: names === null ? null : names.map((name) => ({ name })),
    allowAutoTopicCreation: false,
  });
  for (const topic of topics) check(topic, `topic ${topic.name}`, connection);
  return topics;
}

function topicMetadata({ name, partitions }: MetadataResponse["topics"][number]): ITopicMetadata {
  return {
    name: name ?? "",
    partitions: partitions.map((partition) => ({
      partitionErrorCode: partition.errorCode,
      partitionId: partition.partitionIndex,
      leader: partition.leaderId,
      replicas: [...partition.replicaNodes],
      isr: [...partition.isrNodes],
      offlineReplicas: [...partition.offlineReplicas],
    })),
  };
}

export async function fetchTopicOffsets(
  context: AdminContext,
  topic: string,
): Promise<{ partition: number; offset: string; high: string; low: string }[]> {
  checkName("topic", topic);
  const [lows, highs] = await Promise.all([endsOf(context, topic, "earliest"), endsOf(context, topic, "latest")]);
  return Array.from(highs, ([partition, high]) => ({
    partition,
    offset: `${high}`,
    high: `${high}`,
    low: `${lows.get(partition) ?? 0}`,
  }));
}

export async function fetchTopicOffsetsByTimestamp(
  context: AdminContext,
  topic: string,
  timestamp?: number,
): Promise<{ partition: number; offset: string }[]> {
  checkName("topic", topic);
  const highs = await endsOf(context, topic, "latest");
  const found = timestamp === undefined ? highs : await endsOf(context, topic, { timestamp });
  return Array.from(highs, ([partition, high]) => ({ partition, offset: `${found.get(partition) ?? high}` }));
}

/** By partition; without those in which there is no such place. */
export async function endsOf(
  { core, retry }: AdminContext,
  topic: string,
  at: "earliest" | "latest" | { readonly timestamp: number },
): Promise<ReadonlyMap<number, number>> {
  try {
    const outcomes = await core.topics.offsets(topic, at, {
      timeoutMs: askingMsMax(retry),
      isolation: "read_uncommitted",
    });
    const offsets = valuesOf(outcomes);
    const ends = new Map<number, number>();
    for (const [index, { item }] of outcomes.entries()) {
      const offset = offsets[index]?.offset ?? null;
      if (offset !== null) ends.set(item.partition, offset);
    }
    return ends;
  } catch (error) {
    throw finalError(error, retry);
  }
}

export async function deleteTopicRecords(
  context: AdminContext,
  { topic, partitions }: Options<"deleteTopicRecords">,
): Promise<void> {
  checkName("topic", topic);
  if (!Array.isArray(partitions) || partitions.length === 0)
    throw new KafkaJSNonRetriableError("Invalid partitions: there are none");
  const known = await endsOf(context, topic, "latest");
  const missing = partitions.filter(({ partition }) => !known.has(partition));
  if (missing.length > 0) {
    const error = (partition: number): KafkaJSError =>
      new KafkaJSBrokerNotFound(`nobody leads ${topic}-${partition}`, { retriable: false });
    const undeleted = missing.map(({ partition, offset }) => ({ partition, offset, error: error(partition) }));
    throw new KafkaJSDeleteTopicRecordsError({ topic, partitions: undeleted });
  }
  const outcomes = await context.core.topics.deleteRecords(
    partitions.map(({ partition, offset }) => ({
      topic,
      partition,
      before: Number(offset) === -1 ? "latest" : Number(offset),
    })),
    { timeoutMs: askingMsMax(context.retry) },
  );
  const undeleted = failuresOf(outcomes).map(({ item, error }): KafkaJSDeleteTopicRecordsErrorPartition => {
    const offset = item.before === "latest" ? "-1" : `${item.before}`;
    return { partition: item.partition, offset, error: asKafkaJSError(error) as KafkaJSError };
  });
  if (undeleted.length === 0) return;
  const failure = new KafkaJSDeleteTopicRecordsError({ topic, partitions: undeleted });
  throw failure.retriable
    ? finalError(failure, context.retry)
    : new KafkaJSNonRetriableError(failure, { cause: failure });
}

export async function alterPartitionReassignments(
  { core, retry }: AdminContext,
  { topics, timeout = 5_000 }: Options<"alterPartitionReassignments">,
): Promise<void> {
  checkNamed("topics", topics, ({ topic }: { readonly topic: string }) => topic);
  for (const { topic, partitionAssignment } of topics) {
    checkArray(`partitionAssignment of ${topic}`, partitionAssignment);
    for (const { partition, replicas } of partitionAssignment) {
      checkArray(`replicas of ${topic}-${partition}`, replicas);
      checkIndexes(topic, [partition, ...replicas]);
    }
  }
  const wanted = topics.flatMap(({ topic, partitionAssignment }) =>
    partitionAssignment.map(({ partition, replicas }) => ({ topic, partition, replicas })),
  );
  const errors = failuresOf(await core.partitions.reassign(wanted, { timeoutMs: timeout })).map(({ item, error }) => {
    const source = protocolSourceOf(error);
    if (source === undefined) throw finalError(error, retry);
    return new KafkaJSAlterPartitionReassignmentsError(source, item.topic, item.partition);
  });
  if (errors.length > 0) throw new KafkaJSAggregateError("partitions could not be reassigned", errors);
}

export async function listPartitionReassignments(
  { core, retry }: AdminContext,
  { topics, timeout = 5_000 }: Options<"listPartitionReassignments"> = {},
): ReturnType<Admin["listPartitionReassignments"]> {
  if (topics !== undefined && topics !== null) {
    checkNamed("topics", topics, ({ topic }: { readonly topic: string }) => topic);
    for (const { topic, partitions } of topics) {
      checkArray(`partitions of ${topic}`, partitions);
      checkIndexes(topic, partitions);
    }
  }
  const partitions = topics?.flatMap(({ topic, partitions: of }) => of.map((partition) => ({ topic, partition })));
  try {
    const found = await core.partitions.listReassignments({
      timeoutMs: timeout,
      ...(partitions === undefined ? {} : { partitions }),
    });
    const byTopic = Map.groupBy(found, ({ topic }) => topic);
    return {
      topics: Array.from(byTopic, ([topic, of]) => ({
        topic,
        partitions: of.map(({ partition, replicas, addingReplicas, removingReplicas }) => ({
          partition,
          partitionIndex: partition,
          replicas: [...replicas],
          addingReplicas: [...addingReplicas],
          removingReplicas: [...removingReplicas],
        })),
      })),
    };
  } catch (error) {
    throw finalError(error, retry);
  }
}

function checkIndexes(topic: string, numbers: readonly unknown[]): void {
  const wrong = numbers.find((each) => typeof each !== "number" || each < 0);
  if (wrong !== undefined)
    throw new KafkaJSNonRetriableError(`Invalid partition or replica of ${topic}: ${JSON.stringify(wrong)}`);
}

type Failure<Item> = Extract<Outcome<Item, unknown>, { readonly ok: false }>;

export function failuresOf<Item>(outcomes: readonly Outcome<Item, unknown>[]): readonly Failure<Item>[] {
  return outcomes.filter((outcome): outcome is Failure<Item> => !outcome.ok);
}

export function throwFirst(outcomes: readonly Outcome<unknown, unknown>[], retry: RetrySettings): void {
  const error: KafkaError | undefined = failuresOf(outcomes)[0]?.error;
  if (error !== undefined) throw finalError(error, retry);
}
