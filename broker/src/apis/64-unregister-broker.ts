/** UnregisterBroker v0 (KIP-631): a broker that will not come back. One that lives registers again at its next heartbeat. */
import { unregisterBroker as unregisterBrokerApi } from "kafka-protocol-ts/messages/64-unregister-broker";
import type { UnregisterBrokerResponseInput } from "kafka-protocol-ts/messages/64-unregister-broker";
import { unregisterBroker } from "../metadata/controller/brokers.ts";
import type { NodeServices } from "../services.ts";
import { outcomeOf } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const unregisterBrokerHandler: Handler<NodeServices> = handler(
  unregisterBrokerApi,
  async ({ controller }: NodeServices, { brokerId }): Promise<UnregisterBrokerResponseInput> => {
    const decided = await controller.decide((context) => unregisterBroker(context, brokerId));
    return { throttleTimeMs: 0, ...outcomeOf(decided.ok ? decided.value : decided) };
  },
);
