/**
 * InitProducerId v0–v5. Without a transactional id: a fresh producer id with epoch 0. With one: its producer id and the next epoch, which
 * fences whoever had the one before; v3 and later name the epoch they have, and then only they get the next (KIP-360).
 */
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import type { InitProducerIdResponseInput } from "kafka-protocol-ts/messages/22-init-producer-id";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { beforeFencing } from "./24-add-partitions-to-txn.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

const NONE = -1;

export const initProducerIdHandler: Handler = handler(
  initProducerId,
  async (services, request, { version }): Promise<InitProducerIdResponseInput> => {
    const refused = (errorCode: ErrorCode): InitProducerIdResponseInput => ({
      throttleTimeMs: 0,
      errorCode: version < 4 ? beforeFencing(errorCode) : errorCode,
      producerId: NONE,
      producerEpoch: NONE,
    });
    const { transactionalId, transactionTimeoutMs, producerId, producerEpoch } = request;
    const isHalfNamed = (producerId === NONE) !== (producerEpoch === NONE);
    if (transactionalId === "" || isHalfNamed) return refused(ErrorCode.INVALID_REQUEST);
    if (transactionalId === null) {
      const given = await services.producerIds.next();
      return given.ok
        ? { throttleTimeMs: 0, errorCode: ErrorCode.NONE, producerId: given.value, producerEpoch: 0 }
        : refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    }
    const given = await services.transactions.coordinator.init({
      transactionalId,
      timeoutMs: transactionTimeoutMs,
      expected: producerId === NONE ? null : { producerId, producerEpoch },
    });
    if (!given.ok) return refused(codeOfTransactionRequestFailure[given.failure]);
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, ...given.value };
  },
);
