/** InitProducerId v0–v5 for idempotent producers: a fresh producer id with epoch 0. A transactional id is refused until transactions exist. */
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import type { InitProducerIdResponseInput } from "kafka-protocol-ts/messages/22-init-producer-id";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const initProducerIdHandler: Handler = handler(
  initProducerId,
  async (services, request): Promise<InitProducerIdResponseInput> => {
    const refused = (errorCode: ErrorCode): InitProducerIdResponseInput => ({
      throttleTimeMs: 0,
      errorCode,
      producerId: -1,
      producerEpoch: -1,
    });
    if (request.transactionalId === "") return refused(ErrorCode.INVALID_REQUEST);
    // No partition of __transaction_state exists here, which is what this code says; clients report it as a setup error.
    if (request.transactionalId !== null) return refused(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const given = await services.producerIds.next();
    return given.ok
      ? { throttleTimeMs: 0, errorCode: ErrorCode.NONE, producerId: given.value, producerEpoch: 0 }
      : refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  },
);
