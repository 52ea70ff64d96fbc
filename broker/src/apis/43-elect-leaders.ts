/** ElectLeaders v0–v2 (KIP-183, KIP-460): the preferred replicas lead again, or one that may lack records does. */
import { electLeaders as electLeadersApi } from "kafka-protocol-ts/messages/43-elect-leaders";
import type { ElectLeadersRequest, ElectLeadersResponseInput } from "kafka-protocol-ts/messages/43-elect-leaders";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import { electionKindOf, electLeaders } from "../metadata/controller/elect-leaders.ts";
import type { ElectionResult, PartitionName } from "../metadata/controller/elect-leaders.ts";
import type { NodeServices } from "../services.ts";
import { outcomeOf } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { refusedElection } from "./refusals.ts";

export const electLeadersHandler: Handler<NodeServices> = handler(
  electLeadersApi,
  async ({ controller }: NodeServices, request, { version }): Promise<ElectLeadersResponseInput> => {
    const kind = electionKindOf(request.electionType);
    if (!kind.ok) return refusedElection(request, codeOfControllerFailure[kind.failure], kind.message ?? null, version);
    const names = namesOf(request);
    const decided = await controller.decide((context) => electLeaders(context, kind.value, names));
    if (!decided.ok)
      return refusedElection(request, codeOfControllerFailure[decided.failure], decided.message ?? null, version);
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, replicaElectionResults: byTopic(decided.value) };
  },
);

function namesOf({ topicPartitions }: ElectLeadersRequest): readonly PartitionName[] | null {
  if (topicPartitions === null) return null;
  return topicPartitions.flatMap(({ topic, partitions }) =>
    partitions.map((partitionIndex) => ({ topic, partitionIndex })),
  );
}

function byTopic(results: readonly ElectionResult[]): ElectLeadersResponseInput["replicaElectionResults"] {
  return [...Map.groupBy(results, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
    topic,
    partitionResult: ofTopic.map(({ partitionIndex, result }) => ({
      partitionId: partitionIndex,
      ...outcomeOf(result),
    })),
  }));
}
