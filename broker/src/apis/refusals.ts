/**
 * What a client is told where no controller has decided: each API has its own place for it, as in Kafka's `getErrorResponse`. An API
 * that is forwarded and has none here is a mistake, which a test finds.
 */
import type { Api } from "kafka-protocol-ts/api";
import type { ErrorCode } from "kafka-protocol-ts/errors";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { alterConfigs } from "kafka-protocol-ts/messages/33-alter-configs";
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import { electLeaders } from "kafka-protocol-ts/messages/43-elect-leaders";
import type { ElectLeadersRequest, ElectLeadersResponseInput } from "kafka-protocol-ts/messages/43-elect-leaders";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { alterPartitionReassignments } from "kafka-protocol-ts/messages/45-alter-partition-reassignments";
import type {
  AlterPartitionReassignmentsRequest,
  AlterPartitionReassignmentsResponseInput,
} from "kafka-protocol-ts/messages/45-alter-partition-reassignments";
import { listPartitionReassignments } from "kafka-protocol-ts/messages/46-list-partition-reassignments";
import { describeQuorum } from "kafka-protocol-ts/messages/55-describe-quorum";
import { updateFeatures } from "kafka-protocol-ts/messages/57-update-features";
import { unregisterBroker } from "kafka-protocol-ts/messages/64-unregister-broker";
import { addRaftVoter } from "kafka-protocol-ts/messages/80-add-raft-voter";
import { removeRaftVoter } from "kafka-protocol-ts/messages/81-remove-raft-voter";
import { zeroUuid } from "kafka-protocol-ts/reader";

/** The answer to a request that was not carried out, or not for certain. */
export type Refusal = (request: unknown, code: ErrorCode, message: string | null, version: number) => unknown;

/** By API key. */
export const refusals: ReadonlyMap<number, Refusal> = new Map([
  refusal(createTopics, ({ topics }, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    topics: topics.map(({ name }) => ({
      ...{ name, errorCode, errorMessage },
      ...{ numPartitions: -1, replicationFactor: -1, configs: [] },
    })),
  })),
  refusal(deleteTopics, ({ topics, topicNames }, errorCode, errorMessage, version) => {
    const named = version < 6 ? topicNames.map((name) => ({ name, topicId: zeroUuid })) : topics;
    return {
      throttleTimeMs: 0,
      responses: named.map(({ name, topicId }) => ({ name, topicId, errorCode, errorMessage })),
    };
  }),
  refusal(alterConfigs, ({ resources }, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    responses: resources.map(({ resourceType, resourceName }) => ({
      ...{ errorCode, errorMessage, resourceType, resourceName },
    })),
  })),
  refusal(incrementalAlterConfigs, ({ resources }, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    responses: resources.map(({ resourceType, resourceName }) => ({
      ...{ errorCode, errorMessage, resourceType, resourceName },
    })),
  })),
  refusal(createPartitions, ({ topics }, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    results: topics.map(({ name }) => ({ name, errorCode, errorMessage })),
  })),
  refusal(electLeaders, refusedElection),
  refusal(alterPartitionReassignments, refusedReassignments),
  refusal(listPartitionReassignments, (_, errorCode, errorMessage) => ({
    ...{ throttleTimeMs: 0, errorCode, errorMessage, topics: [] },
  })),
  refusal(describeQuorum, (_, errorCode, errorMessage) => ({ errorCode, errorMessage, topics: [], nodes: [] })),
  refusal(updateFeatures, ({ featureUpdates }, errorCode, errorMessage, version) => ({
    ...{ throttleTimeMs: 0, errorCode, errorMessage },
    results: version < 2 ? featureUpdates.map(({ feature }) => ({ feature, errorCode, errorMessage })) : [],
  })),
  refusal(unregisterBroker, (_, errorCode, errorMessage) => ({ throttleTimeMs: 0, errorCode, errorMessage })),
  refusal(addRaftVoter, (_, errorCode, errorMessage) => ({ throttleTimeMs: 0, errorCode, errorMessage })),
  refusal(removeRaftVoter, (_, errorCode, errorMessage) => ({ throttleTimeMs: 0, errorCode, errorMessage })),
]);

/** ElectLeaders v0 has no code for the whole of it. */
export function refusedElection(
  { topicPartitions }: ElectLeadersRequest,
  errorCode: ErrorCode,
  errorMessage: string | null,
  version: number,
): ElectLeadersResponseInput {
  return {
    throttleTimeMs: 0,
    ...(version === 0 ? {} : { errorCode }),
    replicaElectionResults: (topicPartitions ?? []).map(({ topic, partitions }) => ({
      topic,
      partitionResult: partitions.map((partitionId) => ({ partitionId, errorCode, errorMessage })),
    })),
  };
}

export function refusedReassignments(
  { topics }: AlterPartitionReassignmentsRequest,
  errorCode: ErrorCode,
  errorMessage: string | null,
): AlterPartitionReassignmentsResponseInput {
  return {
    ...{ throttleTimeMs: 0, errorCode, errorMessage },
    responses: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode, errorMessage })),
    })),
  };
}

function refusal<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  answer: (request: Req, code: ErrorCode, message: string | null, version: number) => ResInput,
): readonly [number, Refusal] {
  return [api.key, (request, code, message, version) => answer(request as Req, code, message, version)];
}
