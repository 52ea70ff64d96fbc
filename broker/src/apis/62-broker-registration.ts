/** BrokerRegistration v0–v4 (KIP-631): a broker joins the cluster, and learns its epoch. */
import { brokerRegistration } from "kafka-protocol-ts/messages/62-broker-registration";
import type { BrokerRegistrationResponseInput } from "kafka-protocol-ts/messages/62-broker-registration";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const brokerRegistrationHandler: Handler<NodeServices> = handler(
  brokerRegistration,
  async ({ controller }: NodeServices, request): Promise<BrokerRegistrationResponseInput> => {
    const { brokerId, clusterId, incarnationId, listeners, features, rack, logDirs, previousBrokerEpoch } = request;
    const registered = await controller.registerBroker({
      id: brokerId,
      clusterId,
      incarnationId,
      rack,
      endpoints: listeners.map(({ name, host, port }) => ({ listener: name, host, port })),
      directoryIds: logDirs,
      features: features.map(({ name, minSupportedVersion, maxSupportedVersion }) => ({
        name,
        minVersion: minSupportedVersion,
        maxVersion: maxSupportedVersion,
      })),
      previousBrokerEpoch,
    });
    const outcome = registered.ok ? registered.value : registered;
    if (outcome.ok) return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, brokerEpoch: outcome.value.brokerEpoch };
    return { throttleTimeMs: 0, errorCode: codeOfControllerFailure[outcome.failure], brokerEpoch: -1 };
  },
);
