import type { MetadataResponse } from "kafka-protocol-ts/messages/03-metadata";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import type {
  DescribeTopicPartitionsRequestInput,
  DescribeTopicPartitionsResponse,
} from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { PartitionMetadata } from "../network/metadata.ts";
import type { AclOperation } from "./acl-words.ts";
import { aclOperations } from "./acl-words.ts";

/** A topic as the cluster describes it. */
export interface TopicDescription {
  /** The name of the topic. */
  readonly name: string;
  /** Base64; all zeros from a broker older than 2.8. */
  readonly topicId: string;
  /** It is the cluster's own, as `__consumer_offsets`. */
  readonly isInternal: boolean;
  /** By partition index. */
  readonly partitions: readonly PartitionDescription[];
  /** What whoever asks may do with it; null where the broker does not say. */
  readonly authorizedOperations: ReadonlySet<AclOperation> | null;
}

/** One partition, with what only a description has. */
export interface PartitionDescription extends PartitionMetadata {
  /** Replicas on brokers or disks that are not there. */
  readonly offlineReplicas: readonly number[];
  /** Not in sync, but with all that is committed (KIP-966); null where the cluster does not keep them. */
  readonly eligibleLeaderReplicas: readonly number[] | null;
  /** The eligible ones of the last time that any were known. */
  readonly lastKnownEligibleLeaderReplicas: readonly number[] | null;
}

type PagedTopic = DescribeTopicPartitionsResponse["topics"][number];
type Cursor = NonNullable<DescribeTopicPartitionsRequestInput["cursor"]>;

/** What was said of a topic: its description, or an error code. */
export interface DescribedTopic {
  readonly name: string | null;
  readonly topicId: string;
  readonly errorCode: number;
  readonly description: TopicDescription;
}

/**
 * Page by page, each topic once and whole, in the order of the names. No name asks for all topics. The connection must
 * serve DescribeTopicPartitions.
 */
export async function* pagedTopics(
  ask: (message: DescribeTopicPartitionsRequestInput) => Promise<DescribeTopicPartitionsResponse>,
  names: readonly string[],
): AsyncGenerator<DescribedTopic, void> {
  const topics = names.map((name) => ({ name }));
  let cursor: Cursor | null = null;
  let unfinished: PagedTopic | null = null as PagedTopic | null;
  do {
    const answer: DescribeTopicPartitionsResponse = await ask({ topics, cursor });
    for (const topic of answer.topics) {
      // A page may end within a topic, and the next one goes on there.
      if (unfinished !== null && unfinished.name === topic.name) {
        unfinished = { ...unfinished, partitions: [...unfinished.partitions, ...topic.partitions] };
        continue;
      }
      if (unfinished !== null) yield fromPage(unfinished);
      unfinished = topic;
    }
    cursor = answer.nextCursor;
  } while (cursor !== null);
  if (unfinished !== null) yield fromPage(unfinished);
}

/** Whether topics can be described page by page. */
export function servesPages(connection: BrokerConnection): boolean {
  return connection.serves(describeTopicPartitions);
}

function fromPage(topic: PagedTopic): DescribedTopic {
  return described(topic, ({ eligibleLeaderReplicas, lastKnownElr }) => ({
    eligibleLeaderReplicas,
    lastKnownEligibleLeaderReplicas: lastKnownElr,
  }));
}

/** As Metadata tells it. */
export function fromMetadata(topic: MetadataResponse["topics"][number]): DescribedTopic {
  return described(topic, () => ({ eligibleLeaderReplicas: null, lastKnownEligibleLeaderReplicas: null }));
}

function described<Partition extends MetadataResponse["topics"][number]["partitions"][number]>(
  topic: Omit<MetadataResponse["topics"][number], "partitions"> & { readonly partitions: readonly Partition[] },
  eligible: (
    partition: Partition,
  ) => Pick<PartitionDescription, "eligibleLeaderReplicas" | "lastKnownEligibleLeaderReplicas">,
): DescribedTopic {
  const { name, topicId, errorCode, isInternal, topicAuthorizedOperations } = topic;
  const partitions = topic.partitions.map((partition) => ({
    index: partition.partitionIndex,
    leaderId: partition.leaderId,
    leaderEpoch: partition.leaderEpoch,
    replicas: partition.replicaNodes,
    inSyncReplicas: partition.isrNodes,
    offlineReplicas: partition.offlineReplicas,
    ...eligible(partition),
  }));
  const description = {
    name: name ?? "",
    topicId,
    isInternal,
    partitions: partitions.sort((a, b) => a.index - b.index),
    authorizedOperations: aclOperations.set(topicAuthorizedOperations),
  };
  return { name, topicId, errorCode, description };
}
