import type { Api } from "kafka-protocol-ts/api";
import type { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";

type Make = (request: unknown, errorCode: ErrorCode, version: number) => unknown;

function answer<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  make: (request: Req, errorCode: ErrorCode, version: number) => ResInput | null,
): readonly [number, Make] {
  return [api.key, make as Make];
}

const nobody = { leaderId: -1, leaderEpoch: -1 } as const;

/** By API key, an answer that says of all that was asked that it failed. */
const answers: ReadonlyMap<number, Make> = new Map<number, Make>([
  answer(produce, ({ acks, topicData }, errorCode) => {
    // Nobody reads an answer: it fails as it does with Kafka, by the end of the connection.
    if (acks === 0) return null;
    return {
      responses: topicData.map(({ name, topicId, partitionData }) => ({
        name,
        topicId,
        partitionResponses: partitionData.map(({ index }) => ({ index, errorCode, baseOffset: -1 })),
      })),
    };
  }),
  answer(fetch, ({ topics, sessionId }, errorCode, version) => {
    const responses = topics.map(({ topic, topicId, partitions }) => ({
      topic,
      topicId,
      partitions: partitions.map(({ partition }) => ({
        partitionIndex: partition,
        errorCode,
        highWatermark: -1,
        currentLeader: nobody,
        abortedTransactions: null,
        records: Buffer.alloc(0),
      })),
    }));
    if (responses.length > 0) return { throttleTimeMs: 0, errorCode: 0, sessionId, responses };
    // A request of a session names only what has changed.
    return version < 7 ? null : { throttleTimeMs: 0, errorCode, sessionId: 0, responses };
  }),
  answer(listOffsets, ({ topics }, errorCode) => ({
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
    })),
  })),
  answer(metadata, ({ topics }, errorCode, version) =>
    topics === null && version < 13
      ? null
      : {
          brokers: [],
          errorCode: version < 13 ? 0 : errorCode,
          topics: (topics ?? []).map(({ name, topicId }) => ({ errorCode, name, topicId, partitions: [] })),
        },
  ),
  answer(offsetCommit, ({ topics }, errorCode) => ({ topics: failedTopics(topics, errorCode) })),
  answer(offsetFetch, ({ groups }, errorCode, version) => {
    if (version < 2) return null;
    if (version < 8) return { errorCode, topics: [] };
    return { groups: groups.map(({ groupId }) => ({ groupId, errorCode, topics: [] })) };
  }),
  answer(findCoordinator, ({ coordinatorKeys }, errorCode, version) => {
    const none = { nodeId: -1, host: "", port: -1, errorCode, errorMessage: null };
    if (version < 4) return none;
    return { coordinators: coordinatorKeys.map((key) => ({ ...none, key })) };
  }),
  answer(joinGroup, ({ memberId }, errorCode, version) => ({
    errorCode,
    memberId,
    protocolType: version < 7 ? "" : null,
    protocolName: version < 7 ? "" : null,
    leader: "",
    members: [],
  })),
  answer(heartbeat, (_, errorCode) => ({ errorCode })),
  answer(leaveGroup, (_, errorCode) => ({ errorCode, members: [] })),
  answer(syncGroup, (_, errorCode) => ({ errorCode, assignment: Buffer.alloc(0) })),
  answer(createTopics, ({ topics }, errorCode) => ({
    throttleTimeMs: 0,
    topics: topics.map(({ name }) => ({ name, errorCode, errorMessage: null })),
  })),
  answer(deleteTopics, ({ topics, topicNames }, errorCode) => ({
    throttleTimeMs: 0,
    responses: [...topics, ...topicNames.map((name) => ({ name }))].map((each) => ({ ...each, errorCode })),
  })),
  answer(initProducerId, (_, errorCode) => ({ throttleTimeMs: 0, errorCode, producerEpoch: -1 })),
  answer(addOffsetsToTxn, (_, errorCode) => ({ throttleTimeMs: 0, errorCode })),
  answer(endTxn, (_, errorCode) => ({ throttleTimeMs: 0, errorCode })),
  answer(txnOffsetCommit, ({ topics }, errorCode) => ({ throttleTimeMs: 0, topics: failedTopics(topics, errorCode) })),
  answer(consumerGroupHeartbeat, ({ memberId }, errorCode) => ({
    throttleTimeMs: 0,
    errorCode,
    memberId,
    memberEpoch: 0,
    heartbeatIntervalMs: 0,
  })),
]);

/** The answer with which a request fails as a whole; null where its API has none, or it is none of those that are known here. */
export function errorAnswer(
  apiKey: number,
  request: unknown,
  { errorCode, version }: { readonly errorCode: ErrorCode; readonly version: number },
): unknown {
  return answers.get(apiKey)?.(request, errorCode, version) ?? null;
}

function failedTopics<Topic extends { readonly partitions: readonly { readonly partitionIndex: number }[] }>(
  topics: readonly Topic[],
  errorCode: ErrorCode,
) {
  return topics.map((topic) => ({
    ...topic,
    partitions: topic.partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
  }));
}
