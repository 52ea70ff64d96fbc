/** AlterPartitionReassignments v0–v1 (KIP-455, KIP-860): where the replicas of partitions shall be. */
import { alterPartitionReassignments } from "kafka-protocol-ts/messages/45-alter-partition-reassignments";
import type { AlterPartitionReassignmentsResponseInput } from "kafka-protocol-ts/messages/45-alter-partition-reassignments";
import { must } from "@millrace/base/assert";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import { alterReassignments } from "../metadata/controller/reassignments.ts";
import type { NodeServices } from "../services.ts";
import { outcomeOf } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { refusedReassignments } from "./refusals.ts";

export const alterPartitionReassignmentsHandler: Handler<NodeServices> = handler(
  alterPartitionReassignments,
  async ({ controller }: NodeServices, request): Promise<AlterPartitionReassignmentsResponseInput> => {
    const { topics, allowReplicationFactorChange } = request;
    const wishes = topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, replicas }) => ({ topic: name, partitionIndex, replicas })),
    );
    const decided = await controller.decide((context) =>
      alterReassignments(context, wishes, { allowReplicationFactorChange }),
    );
    if (!decided.ok)
      return refusedReassignments(request, codeOfControllerFailure[decided.failure], decided.message ?? null);
    const results = decided.value.values();
    return {
      throttleTimeMs: 0,
      allowReplicationFactorChange,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      responses: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({
          partitionIndex,
          ...outcomeOf(must(results.next().value, "the result of a wish")),
        })),
      })),
    };
  },
);
