import { failed, ok } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import { errorMessage } from "kafka-protocol-ts/errors";
import type { TopicImage } from "../image.ts";
import { codeOfControllerFailure, duplicatesOf } from "./decision.ts";
import type { ControllerFailure, Decision, DecisionContext, ItemResult } from "./decision.ts";

/** Which topic a client means: by name or by id; without both, or with both, it means none. */
export interface TopicReference {
  readonly name: string | null;
  readonly id: Uuid | null;
}

export interface DeletedTopic {
  readonly name: string;
  readonly id: Uuid;
}

/** One result for each reference, in order; for a topic that is meant twice only an error. */
export function deleteTopics(
  { image, configs }: DecisionContext,
  references: readonly TopicReference[],
): Decision<readonly ItemResult<DeletedTopic>[]> {
  if (!configs.broker["delete.topic.enable"]) {
    return { response: references.map(() => refused("deletion-disabled")), records: [] };
  }
  const duplicateNames = duplicatesOf(
    references.flatMap(({ name, id }) => (id === null && name !== null ? [name] : [])),
  );
  const duplicateIds = duplicatesOf(references.flatMap(({ name, id }) => (name === null && id !== null ? [id] : [])));
  const named = new Set(references.flatMap(({ name, id }) => (id === null && name !== null ? [name] : [])));
  const gone: TopicImage[] = [];
  const response = references.map(({ name, id }): ItemResult<DeletedTopic> => {
    if (name === null && id === null) return failed("bad-request", "Neither topic name nor id were specified.");
    if (name !== null && id !== null) return failed("bad-request", "You may not specify both topic name and topic id.");
    if (name !== null && duplicateNames.has(name)) return failed("bad-request", "Duplicate topic name.");
    if (id !== null && duplicateIds.has(id)) return failed("bad-request", "Duplicate topic id.");
    const topic = id === null ? image.topic(name ?? "") : image.topicById(id);
    if (topic === undefined) return refused(id === null ? "unknown-topic" : "unknown-topic-id");
    if (id !== null && named.has(topic.name)) {
      return failed("bad-request", "The provided topic name maps to an ID that was already supplied.");
    }
    gone.push(topic);
    return ok({ name: topic.name, id: topic.id });
  });
  return { response, records: gone.map(({ id }) => ({ type: "topic-removed", id })) };
}

function refused(failure: ControllerFailure): ItemResult<never> {
  return failed(failure, errorMessage(codeOfControllerFailure[failure]));
}
