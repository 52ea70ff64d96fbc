/** ListPartitionReassignments v0 (KIP-455): partitions whose replicas move. */
import { listPartitionReassignments } from "kafka-protocol-ts/messages/46-list-partition-reassignments";
import type { ListPartitionReassignmentsResponseInput } from "kafka-protocol-ts/messages/46-list-partition-reassignments";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import { listReassignments } from "../metadata/controller/reassignments.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const listPartitionReassignmentsHandler: Handler<NodeServices> = handler(
  listPartitionReassignments,
  async ({ controller }: NodeServices, { topics }): Promise<ListPartitionReassignmentsResponseInput> => {
    // Decided, though nothing changes: so that it is the active controller that answers, behind the changes before it.
    const decided = await controller.decide((context) => ({
      response: listReassignments(context, topics),
      records: [],
    }));
    if (!decided.ok) {
      const errorCode = codeOfControllerFailure[decided.failure];
      return { throttleTimeMs: 0, errorCode, errorMessage: decided.message ?? null, topics: [] };
    }
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      topics: [...Map.groupBy(decided.value, ({ topic }) => topic)].map(([name, ofTopic]) => ({
        name,
        partitions: ofTopic.map(({ partition: { index, replicas, addingReplicas, removingReplicas } }) => ({
          partitionIndex: index,
          replicas,
          addingReplicas,
          removingReplicas,
        })),
      })),
    };
  },
);
