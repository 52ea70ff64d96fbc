/** BrokerHeartbeat v0–v2 (KIP-631): a broker lives, and may lead, or wants to stop. */
import { brokerHeartbeat } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import type { BrokerHeartbeatResponseInput } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const brokerHeartbeatHandler: Handler<NodeServices> = handler(
  brokerHeartbeat,
  async ({ controller }: NodeServices, request, context): Promise<BrokerHeartbeatResponseInput> => {
    const { brokerId, brokerEpoch, currentMetadataOffset, wantFence, wantShutDown, cordonedLogDirs } = request;
    const beaten = await controller.heartbeat(
      {
        brokerId,
        brokerEpoch,
        currentMetadataOffset,
        wantFence,
        wantShutDown,
        cordonedDirectoryIds: cordonedLogDirs,
      },
      context.connection.id,
    );
    const outcome = beaten.ok ? beaten.value : beaten;
    if (outcome.ok) return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, ...outcome.value };
    return { throttleTimeMs: 0, errorCode: codeOfControllerFailure[outcome.failure], shouldShutDown: false };
  },
);
