/**
 * DescribeQuorum v0–v2 (KIP-642, KIP-836, KIP-853): who leads, votes and follows, and how far each is. Offsets are those of the
 * quorum's own log, exclusive as Kafka's are: the high watermark lies behind the last entry that is committed.
 */
import { describeQuorum } from "kafka-protocol-ts/messages/55-describe-quorum";
import type {
  DescribeQuorumResponseInput,
  DescribeQuorumResponsePartitionDataInput,
  DescribeQuorumResponseReplicaStateInput,
} from "kafka-protocol-ts/messages/55-describe-quorum";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { NodeId } from "raft-ts-lite";
import { memberOf } from "../quorum/node-ids.ts";
import type { Quorum } from "../quorum/quorum.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

const metadataTopic = "__cluster_metadata";

export const describeQuorumHandler: Handler<NodeServices> = handler(
  describeQuorum,
  async ({ metadata, clock }: NodeServices, { topics }): Promise<DescribeQuorumResponseInput> => {
    const { quorum, image } = metadata;
    const isActive = await quorum.activate();
    if (!isActive) return { errorCode: ErrorCode.NOT_CONTROLLER, errorMessage: null, topics: [], nodes: [] };
    const nowMs = clock.now();
    const answered = topics.map(({ topicName, partitions }) => ({
      topicName,
      partitions: partitions.map(({ partitionIndex }) =>
        topicName === metadataTopic && partitionIndex === 0 ? describe(quorum, nowMs) : unknown(partitionIndex),
      ),
    }));
    const nodes = [...image.controllers.values()].map(({ id, endpoints }) => ({
      nodeId: id,
      listeners: endpoints.map(({ listener, host, port }) => ({ name: listener, host, port })),
    }));
    return { errorCode: ErrorCode.NONE, errorMessage: null, topics: answered, nodes };
  },
);

function describe(quorum: Quorum, nowMs: number): DescribeQuorumResponsePartitionDataInput {
  const { term, lastIndex, committedIndex, voters, others } = quorum.status;
  const ofOther = (id: NodeId): DescribeQuorumResponseReplicaStateInput => {
    const heard = quorum.heardOf(id);
    return {
      ...identityOf(id),
      logEndOffset: (others.find((other) => other.id === id)?.matchIndex ?? 0) + 1,
      lastFetchTimestamp: heard?.lastHeardMs ?? -1,
      lastCaughtUpTimestamp: heard?.lastCaughtUpMs ?? -1,
    };
  };
  const own = {
    ...identityOf(quorum.id),
    logEndOffset: lastIndex + 1,
    lastFetchTimestamp: nowMs,
    lastCaughtUpTimestamp: nowMs,
  };
  return {
    partitionIndex: 0,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    leaderId: memberOf(quorum.id).nodeId,
    leaderEpoch: term,
    highWatermark: committedIndex + 1,
    currentVoters: voters.map((id) => (id === quorum.id ? own : ofOther(id))),
    observers: others.filter(({ isVoter }) => !isVoter).map(({ id }) => ofOther(id)),
  };
}

function identityOf(id: NodeId): { readonly replicaId: number; readonly replicaDirectoryId: string } {
  const { nodeId, directoryId } = memberOf(id);
  return { replicaId: nodeId, replicaDirectoryId: directoryId };
}

function unknown(partitionIndex: number): DescribeQuorumResponsePartitionDataInput {
  const errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const nothing = { leaderId: 0, leaderEpoch: 0, highWatermark: 0, currentVoters: [], observers: [] };
  return { partitionIndex, errorCode, errorMessage: null, ...nothing };
}
