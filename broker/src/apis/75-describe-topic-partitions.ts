/**
 * DescribeTopicPartitions v0: topics in the order of their names, so many partitions an answer, and where to go on; with who may lead
 * though it is not in sync (KIP-966).
 */
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import type {
  DescribeTopicPartitionsRequest,
  DescribeTopicPartitionsResponseInput,
  DescribeTopicPartitionsResponseTopicInput,
} from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { isInternalTopic, validateTopicName } from "../metadata/topics.ts";
import type { Services } from "../services.ts";
import { allTopicOperations, viewPartitions } from "./cluster-view.ts";
import { handler } from "./handler.ts";
import type { Handler, RequestContext } from "./handler.ts";

export const describeTopicPartitionsHandler: Handler = handler(
  describeTopicPartitions,
  (services, request, context): DescribeTopicPartitionsResponseInput => {
    const { cursor } = request;
    const names = wantedNames(services, request);
    if (names === null) return refusal(request);
    const limit = services.configs.broker["max.request.partition.size.limit"];
    let left = Math.max(1, Math.min(limit, request.responsePartitionLimit));
    const topics: DescribeTopicPartitionsResponseTopicInput[] = [];
    for (const name of names) {
      if (left === 0) return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: 0 } };
      const from = name === cursor?.topicName ? cursor.partitionIndex : 0;
      const topic = describe(services, name, context, { from, limit: left });
      topics.push(topic);
      left -= topic.partitions.length;
      const next = from + topic.partitions.length;
      const count = services.metadata.image.topic(name)?.partitions.length ?? 0;
      if (next < count) return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: next } };
    }
    return { throttleTimeMs: 0, topics, nextCursor: null };
  },
);

/** Sorted, from the cursor's topic on; null when the cursor can not be one of this list. */
function wantedNames(
  { metadata }: Services,
  { topics, cursor }: DescribeTopicPartitionsRequest,
): readonly string[] | null {
  const areAll = topics.length === 0;
  const all = areAll ? [...metadata.image.topics()].map(({ name }) => name) : topics.map(({ name }) => name);
  const sorted = [...new Set(all)].sort();
  if (cursor === null) return sorted;
  if (cursor.partitionIndex < 0) return null;
  const rest = sorted.filter((name) => name >= cursor.topicName);
  // A topic of the cursor that was deleted meanwhile is passed over where all are asked for.
  return areAll || rest[0] === cursor.topicName ? rest : null;
}

function refusal({ topics }: DescribeTopicPartitionsRequest): DescribeTopicPartitionsResponseInput {
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ name }) => ({
      errorCode: ErrorCode.INVALID_REQUEST,
      name,
      topicId: zeroUuid,
      partitions: [],
    })),
    nextCursor: null,
  };
}

function describe(
  services: Services,
  name: string,
  context: RequestContext,
  { from, limit }: { readonly from: number; readonly limit: number },
): DescribeTopicPartitionsResponseTopicInput {
  const topic = services.metadata.image.topic(name);
  const common = { name, isInternal: isInternalTopic(name), topicAuthorizedOperations: allTopicOperations };
  if (topic === undefined) {
    const isValid = validateTopicName(name).ok;
    const errorCode = isValid ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.INVALID_TOPIC_EXCEPTION;
    return { ...common, errorCode, topicId: zeroUuid, partitions: [] };
  }
  const partitions = viewPartitions(services, topic, context, { from, to: from + limit }).map((partition) => ({
    ...partition,
    eligibleLeaderReplicas: topic.partitions[partition.partitionIndex]?.elr ?? [],
    lastKnownElr: topic.partitions[partition.partitionIndex]?.lastKnownElr ?? [],
  }));
  return { ...common, errorCode: ErrorCode.NONE, topicId: topic.id, partitions };
}
