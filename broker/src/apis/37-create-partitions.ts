/** CreatePartitions v0–v3: a topic gets more partitions, never fewer. */
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import type { CreatePartitionsResponseInput } from "kafka-protocol-ts/messages/37-create-partitions";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { outcomeOf } from "./config-answers.ts";

export const createPartitionsHandler: Handler<NodeServices> = handler(
  createPartitions,
  async (services: NodeServices, { topics, validateOnly }): Promise<CreatePartitionsResponseInput> => {
    const results = await services.metadata.createPartitions(topics, { validateOnly });
    // A name that was sent twice is answered once.
    const answers = new Map<string, CreatePartitionsResponseInput["results"][number]>();
    for (const [index, result] of results.entries()) {
      const name = topics[index]?.name ?? "";
      answers.set(name, { name, ...outcomeOf(result) });
    }
    return { throttleTimeMs: 0, results: [...answers.values()] };
  },
);
