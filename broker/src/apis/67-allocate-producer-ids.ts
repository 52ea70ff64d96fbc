/** AllocateProducerIds v0 (KIP-730): a block of ids, which no other broker gets. */
import { allocateProducerIds } from "kafka-protocol-ts/messages/67-allocate-producer-ids";
import type { AllocateProducerIdsResponseInput } from "kafka-protocol-ts/messages/67-allocate-producer-ids";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import { allocateProducerIdsFor } from "../metadata/controller/producer-ids.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const allocateProducerIdsHandler: Handler<NodeServices> = handler(
  allocateProducerIds,
  async ({ controller }: NodeServices, { brokerId, brokerEpoch }): Promise<AllocateProducerIdsResponseInput> => {
    const decided = await controller.decide((context) => allocateProducerIdsFor(context, { brokerId, brokerEpoch }));
    const outcome = decided.ok ? decided.value : decided;
    const nothing = { producerIdStart: -1, producerIdLen: 0 };
    if (!outcome.ok) return { throttleTimeMs: 0, errorCode: codeOfControllerFailure[outcome.failure], ...nothing };
    const { firstId, count } = outcome.value;
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, producerIdStart: firstId, producerIdLen: count };
  },
);
