/** IncrementalAlterConfigs v0–v1: sets, deletes, appends to and subtracts from settings; what is not named stays (KIP-339). */
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import type { IncrementalAlterConfigsResponseInput } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { must } from "@millrace/base/assert";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { outcomeOf } from "./config-answers.ts";

export const incrementalAlterConfigsHandler: Handler<NodeServices> = handler(
  incrementalAlterConfigs,
  async (services: NodeServices, { resources, validateOnly }): Promise<IncrementalAlterConfigsResponseInput> => {
    const changes = resources.map(({ resourceType, resourceName, configs }) => ({
      type: resourceType,
      name: resourceName,
      changes: configs.map(({ name, configOperation, value }) => ({ name, operation: configOperation, value })),
      replacesAll: false,
    }));
    const results = await services.metadata.alterConfigs(changes, { validateOnly });
    return {
      throttleTimeMs: 0,
      responses: resources.map(({ resourceType, resourceName }, index) => ({
        ...outcomeOf(must(results[index], "the result of a resource")),
        resourceType,
        resourceName,
      })),
    };
  },
);
