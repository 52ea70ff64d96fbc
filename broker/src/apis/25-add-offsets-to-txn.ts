/** AddOffsetsToTxn v0–v4: the group's partition of __consumer_offsets becomes part of the transaction, as any other does by AddPartitionsToTxn. */
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import type { AddOffsetsToTxnResponseInput } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetsTopic } from "../groups-host.ts";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { beforeFencing } from "./24-add-partitions-to-txn.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const addOffsetsToTxnHandler: Handler = handler(
  addOffsetsToTxn,
  async (services, request, { version }): Promise<AddOffsetsToTxnResponseInput> => {
    const answer = (errorCode: ErrorCode): AddOffsetsToTxnResponseInput => ({
      throttleTimeMs: 0,
      errorCode: version < 2 ? beforeFencing(errorCode) : errorCode,
    });
    const { transactionalId, producerId, producerEpoch, groupId } = request;
    if (transactionalId === "") return answer(ErrorCode.INVALID_REQUEST);
    const isReady = await services.topicCreation.ensureInternalTopic(offsetsTopic);
    if (!isReady.ok) return answer(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const added = await services.transactions.coordinator.add({
      transactionalId,
      producerId,
      producerEpoch,
      topics: [{ topic: offsetsTopic, partitions: [services.groups.partitionFor(groupId)] }],
      clientVersion: 0,
      when: "committed",
    });
    return answer(added.ok ? ErrorCode.NONE : codeOfTransactionRequestFailure[added.failure]);
  },
);
