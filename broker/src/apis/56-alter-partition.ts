/** AlterPartition v2–v3 (KIP-497, KIP-841, KIP-903): a leader proposes who is in sync. */
import { alterPartition } from "kafka-protocol-ts/messages/56-alter-partition";
import type { AlterPartitionRequest, AlterPartitionResponseInput } from "kafka-protocol-ts/messages/56-alter-partition";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { alterPartitions } from "../metadata/controller/alter-partition.ts";
import type { AlteredPartition, IsrProposal } from "../metadata/controller/alter-partition.ts";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import type { ItemResult } from "../metadata/controller/decision.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type PartitionAnswer = AlterPartitionResponseInput["topics"][number]["partitions"][number];

export const alterPartitionHandler: Handler<NodeServices> = handler(
  alterPartition,
  async ({ controller }: NodeServices, request): Promise<AlterPartitionResponseInput> => {
    const { brokerId, brokerEpoch } = request;
    const proposals = proposalsOf(request);
    const decided = await controller.decide((context) =>
      alterPartitions(context, { brokerId, brokerEpoch }, proposals),
    );
    const outcome = decided.ok ? decided.value : decided;
    if (!outcome.ok) return { throttleTimeMs: 0, errorCode: codeOfControllerFailure[outcome.failure], topics: [] };
    const results = outcome.value.values();
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      topics: request.topics.map(({ topicId, partitions }) => ({
        topicId,
        partitions: partitions.map(({ partitionIndex }) => answerOf(partitionIndex, results.next().value)),
      })),
    };
  },
);

function proposalsOf({ topics }: AlterPartitionRequest): IsrProposal[] {
  return topics.flatMap(({ topicId, partitions }) =>
    partitions.map(({ partitionIndex, leaderEpoch, partitionEpoch, newIsr, newIsrWithEpochs }) => ({
      topicId,
      partitionIndex,
      leaderEpoch,
      partitionEpoch,
      newIsr:
        newIsrWithEpochs.length > 0 ? newIsrWithEpochs : newIsr.map((brokerId) => ({ brokerId, brokerEpoch: -1 })),
    })),
  );
}

function answerOf(partitionIndex: number, result: ItemResult<AlteredPartition> | undefined): PartitionAnswer {
  if (result?.ok === true) {
    const { leader, leaderEpoch, isr, partitionEpoch } = result.value;
    return { partitionIndex, errorCode: ErrorCode.NONE, leaderId: leader, leaderEpoch, isr, partitionEpoch };
  }
  const errorCode = result === undefined ? ErrorCode.UNKNOWN_SERVER_ERROR : codeOfControllerFailure[result.failure];
  return { partitionIndex, errorCode, leaderId: -1, leaderEpoch: -1, isr: [], partitionEpoch: -1 };
}
