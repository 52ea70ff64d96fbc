/** AlterConfigs v0–v2: the settings that are named take the place of all there were. Newer clients use key 44. */
import { alterConfigs } from "kafka-protocol-ts/messages/33-alter-configs";
import type { AlterConfigsResponseInput } from "kafka-protocol-ts/messages/33-alter-configs";
import { must } from "@millrace/base/assert";
import { ConfigOperation } from "../metadata/controller/alter-configs.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { outcomeOf } from "./config-answers.ts";

export const alterConfigsHandler: Handler<NodeServices> = handler(
  alterConfigs,
  async (services: NodeServices, request): Promise<AlterConfigsResponseInput> => {
    const { resources, validateOnly } = request;
    const changes = resources.map(({ resourceType, resourceName, configs }) => ({
      type: resourceType,
      name: resourceName,
      changes: configs.map(({ name, value }) => ({ name, operation: ConfigOperation.SET, value })),
      replacesAll: true,
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
