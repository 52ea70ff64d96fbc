import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";

/** Topics of the broker's own: clients read them and may not produce to them. */
export type InternalTopic = "__consumer_offsets" | "__transaction_state" | "__share_group_state";

const internalTopics: ReadonlySet<string> = new Set<InternalTopic>([
  "__consumer_offsets",
  "__transaction_state",
  "__share_group_state",
]);

export function isInternalTopic(name: string): name is InternalTopic {
  return internalTopics.has(name);
}

/** In Kafka the log of its controllers; ours lies elsewhere, and nobody may take the name. */
export const metadataTopic = "__cluster_metadata";

/** A name becomes a directory name: its length, and no path in it. */
const nameLengthMax = 249;

export function validateTopicName(name: string): Result<string, "invalid-topic-name"> {
  const refused = (why: string): Result<string, "invalid-topic-name"> =>
    failed("invalid-topic-name", `Topic name is invalid: ${why}`);
  if (name === "") return refused("the empty string is not allowed");
  if (name === "." || name === "..") return refused(`'${name}' is not allowed`);
  if (name.length > nameLengthMax) {
    return refused(`the length of '${name}' is longer than the max allowed length ${nameLengthMax}`);
  }
  if (!/^[a-zA-Z0-9._-]+$/.test(name)) {
    return refused(`'${name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'`);
  }
  return ok(name);
}

/** Two names with the same form collide: metrics write . as _. */
export function collisionForm(name: string): string {
  return name.replaceAll(".", "_");
}
