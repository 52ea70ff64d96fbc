/** DeleteTopics v1–v6: by name, from v6 also by id. Before v3 there is no code that says that topics may not be deleted. */
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import type { DeleteTopicsRequest, DeleteTopicsResponseInput } from "kafka-protocol-ts/messages/20-delete-topics";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { zeroUuid } from "kafka-protocol-ts/reader";
import type { TopicReference } from "../metadata/controller/delete-topics.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { outcomeOf } from "./config-answers.ts";

const firstVersionWithDeletionDisabled = 3;

export const deleteTopicsHandler: Handler<NodeServices> = handler(
  deleteTopics,
  async (services: NodeServices, request, context): Promise<DeleteTopicsResponseInput> => {
    const references = referencesOf(request, context.version);
    const results = await services.metadata.deleteTopics(references);
    const answered = new Set<string>();
    const responses: DeleteTopicsResponseInput["responses"][number][] = [];
    for (const [index, result] of results.entries()) {
      const reference = references[index];
      if (reference === undefined) continue;
      // A topic that was named twice is answered once.
      const key = `${reference.name ?? ""} ${reference.id ?? ""}`;
      if (answered.has(key)) continue;
      answered.add(key);
      const outcome = outcomeOf(result);
      const isTooNew =
        outcome.errorCode === ErrorCode.TOPIC_DELETION_DISABLED && context.version < firstVersionWithDeletionDisabled;
      const topic = result.ok ? result.value : reference;
      responses.push({
        name: topic.name,
        topicId: topic.id ?? zeroUuid,
        errorCode: isTooNew ? ErrorCode.INVALID_REQUEST : outcome.errorCode,
        errorMessage: outcome.errorMessage,
      });
    }
    return { throttleTimeMs: 0, responses };
  },
);

function referencesOf({ topics, topicNames }: DeleteTopicsRequest, version: number): TopicReference[] {
  if (version < 6) return topicNames.map((name) => ({ name, id: null }));
  return topics.map(({ name, topicId }) => ({ name, id: topicId === zeroUuid ? null : topicId }));
}
