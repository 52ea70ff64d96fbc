import { failed, ok } from "@millrace/base/result";
import type { TopicImage } from "../image.ts";
import type { PartitionRecord } from "../records.ts";
import { newPartitions } from "./create-topics.ts";
import { duplicatesOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { checkReplicas, placeableBrokers, placeReplicas, startOf } from "./replicas.ts";

/** A topic that shall have more partitions. */
export interface PartitionsWish {
  readonly name: string;
  /** In all, not how many more. */
  readonly count: number;
  /** Replicas of each new partition; null: the broker chooses. */
  readonly assignments: readonly { readonly brokerIds: readonly number[] }[] | null;
}

/** One result for each wish, in order. */
export function createPartitions(
  context: DecisionContext,
  wishes: readonly PartitionsWish[],
): Decision<readonly ItemResult<null>[]> {
  const duplicates = duplicatesOf(wishes.map(({ name }) => name));
  const records: PartitionRecord[] = [];
  const response = wishes.map((wish): ItemResult<null> => {
    if (duplicates.has(wish.name)) return failed("bad-request", "Duplicate topic name.");
    const topic = context.image.topic(wish.name);
    if (topic === undefined) return failed("unknown-topic");
    const added = newReplicas(context, topic, wish, records.length);
    if (!added.ok) return added;
    const partitions = newPartitions(context, {
      topicId: topic.id,
      firstIndex: topic.partitions.length,
      replicas: added.value,
      isAssigned: wish.assignments !== null,
    });
    if (!partitions.ok) return partitions;
    records.push(...partitions.value);
    return ok(null);
  });
  return { response, records };
}

function newReplicas(
  context: DecisionContext,
  topic: TopicImage,
  { name, count, assignments }: PartitionsWish,
  alreadyAdded: number,
): ItemResult<readonly (readonly number[])[]> {
  const before = topic.partitions.length;
  if (count === before) return failed("invalid-partitions", `Topic already has ${before} partition(s).`);
  if (count < before) {
    return failed(
      "invalid-partitions",
      `The topic ${name} currently has ${before} partition(s); ${count} would not be an increase.`,
    );
  }
  const added = count - before;
  if (alreadyAdded + added > context.configs.broker["millrace.partitions.per.request.max"]) {
    return failed("too-many-partitions", "Excessively large number of partitions per request.");
  }
  const [first] = topic.partitions;
  const replicationFactor = first?.replicas.filter((id) => !first.removingReplicas.includes(id)).length ?? 1;
  if (assignments === null) {
    const start = startOf(topic.id) + before;
    return placeReplicas({ brokers: placeableBrokers(context.image), count: added, replicationFactor, start });
  }
  if (assignments.length !== added) {
    return failed(
      "invalid-assignment",
      `Attempted to add ${added} additional partition(s), but only ${assignments.length} assignment(s) were specified.`,
    );
  }
  const replicas: (readonly number[])[] = [];
  for (const { brokerIds } of assignments) {
    const checked = checkReplicas(context.image, brokerIds, replicationFactor);
    if (!checked.ok) return checked;
    replicas.push(checked.value);
  }
  return ok(replicas);
}
