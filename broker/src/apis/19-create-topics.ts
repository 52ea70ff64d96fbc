/** CreateTopics v2–v7: each topic by itself; v5+ tells its settings, v7 its id. validateOnly answers the same and creates nothing. */
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import type { CreateTopicsResponseInput } from "kafka-protocol-ts/messages/19-create-topics";
import { must } from "@millrace/base/assert";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { outcomeOf } from "./config-answers.ts";

export const createTopicsHandler: Handler<NodeServices> = handler(
  createTopics,
  async (services: NodeServices, request): Promise<CreateTopicsResponseInput> => {
    const { topics, validateOnly } = request;
    const results = await services.metadata.createTopics(topics, { validateOnly });
    return {
      throttleTimeMs: 0,
      topics: distinct(topics.map(({ name }) => name)).map((index) => {
        const { name } = must(topics[index], "the topic of a result");
        const result = must(results[index], "the result of a topic");
        if (!result.ok) return { name, ...outcomeOf(result), numPartitions: -1, replicationFactor: -1, configs: [] };
        const { id, numPartitions, replicationFactor, overrides } = result.value;
        return {
          name,
          topicId: id,
          ...outcomeOf(result),
          numPartitions,
          replicationFactor,
          configs: services.configs.describeTopic(overrides).map((entry) => ({
            name: entry.name,
            value: entry.value,
            readOnly: entry.isReadOnly,
            configSource: entry.source,
            isSensitive: entry.isSensitive,
          })),
        };
      }),
    };
  },
);

/** Where each name stands first: a name that was sent twice is answered once. */
function distinct(names: readonly string[]): number[] {
  const seen = new Set<string>();
  return names.flatMap((name, index) => {
    if (seen.has(name)) return [];
    seen.add(name);
    return [index];
  });
}
