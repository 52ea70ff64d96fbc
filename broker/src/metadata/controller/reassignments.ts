import { failed, ok } from "@millrace/base/result";
import type { PartitionAt, PartitionImage, TopicImage } from "../image.ts";
import type { PartitionChangeRecord } from "../records.ts";
import { duplicatesOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { changeOf, isActive } from "./partition-changes.ts";
import { checkReplicas } from "./replicas.ts";

/** Where the replicas of a partition shall be. */
export interface ReassignmentWish {
  readonly topic: string;
  readonly partitionIndex: number;
  /** Null ends the move that is under way, and takes it back. */
  readonly replicas: readonly number[] | null;
}

/**
 * AlterPartitionReassignments (45): one result for each wish, in order. A move adds its new replicas, waits until all
 * that shall stay are in sync, and takes the others away: that happens by itself, with the change of the ISR that
 * completes it (KIP-455).
 *
 *     replicas [1 2 3], wanted [3 4]         replicas [3 4 1 2]   adding [4]   removing [1 2]
 *     3 and 4 are in sync                    replicas [3 4]
 *     or it is taken back before             replicas [3 1 2]
 */
export function alterReassignments(
  context: DecisionContext,
  wishes: readonly ReassignmentWish[],
  { allowReplicationFactorChange = true }: { readonly allowReplicationFactorChange?: boolean } = {},
): Decision<readonly ItemResult<null>[]> {
  const keyOf = ({ topic, partitionIndex }: ReassignmentWish): string => `${topic} ${partitionIndex}`;
  const duplicates = duplicatesOf(wishes.map(keyOf));
  const records: PartitionChangeRecord[] = [];
  const response = wishes.map((wish): ItemResult<null> => {
    if (duplicates.has(keyOf(wish))) return failed("bad-request", "Each partition must appear at most once.");
    const found = find(context, wish);
    if (!found.ok) return found;
    const decided =
      wish.replicas === null
        ? takenBack(context, found.value)
        : begun(context, found.value, wish.replicas, allowReplicationFactorChange);
    if (!decided.ok) return decided;
    if (decided.value !== null) records.push(decided.value);
    return ok(null);
  });
  return { response, records };
}

export function isMoving({ addingReplicas, removingReplicas }: PartitionImage): boolean {
  return addingReplicas.length > 0 || removingReplicas.length > 0;
}

export interface OngoingReassignment {
  readonly topic: string;
  readonly partition: PartitionImage;
}

/** ListPartitionReassignments (46). Null means all; what does not move, or is not there, is left out. */
export function listReassignments(
  { image }: Pick<DecisionContext, "image">,
  topics: readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[] | null,
): OngoingReassignment[] {
  if (topics === null) return [...image.topics()].flatMap((topic) => movingOf(topic, topic.partitions));
  return topics.flatMap(({ name, partitionIndexes }) => {
    const topic = image.topic(name);
    if (topic === undefined) return [];
    return movingOf(
      topic,
      partitionIndexes.flatMap((index) => topic.partitions[index] ?? []),
    );
  });
}

function movingOf({ name }: TopicImage, partitions: readonly PartitionImage[]): OngoingReassignment[] {
  return partitions.filter(isMoving).map((partition) => ({ topic: name, partition }));
}

function find({ image }: DecisionContext, { topic: name, partitionIndex }: ReassignmentWish): ItemResult<PartitionAt> {
  const topic = image.topic(name);
  if (topic === undefined) return failed("unknown-topic", `Unable to find a topic named ${name}.`);
  const partition = topic.partitions[partitionIndex];
  if (partition === undefined) return failed("unknown-topic", `Unable to find partition ${name}:${partitionIndex}.`);
  return ok({ topic, partition });
}

function begun(
  context: DecisionContext,
  at: PartitionAt,
  target: readonly number[],
  allowReplicationFactorChange: boolean,
): ItemResult<PartitionChangeRecord | null> {
  const checked = checkReplicas(context.image, target, null);
  if (!checked.ok) return checked;
  const { partition } = at;
  const { replicas, isr, elr, lastKnownElr, addingReplicas, removingReplicas } = partition;
  const replicationFactor = replicas.filter((id) => !removingReplicas.includes(id)).length;
  if (!allowReplicationFactorChange && target.length !== replicationFactor) {
    const factors = `${replicationFactor} to ${target.length}`;
    return failed("invalid-replication-factor", `The replication factor is changed from ${factors}`);
  }
  const original = replicas.filter((id) => !addingReplicas.includes(id));
  // Replicas of a move before this one that nobody wants any more. One that has all records, or most of them, may be
  // the only one: it goes when the move ends, whichever way, and so stands in both lists.
  const isNeeded = (id: number): boolean => [isr, elr, lastKnownElr].some((list) => list.includes(id));
  const dropped = addingReplicas.filter((id) => !target.includes(id) && isNeeded(id));
  const removing = [...original.filter((id) => !target.includes(id)), ...dropped];
  const adding = [...target.filter((id) => !original.includes(id)), ...dropped];
  const wish = { replicas: [...target, ...removing], addingReplicas: adding, removingReplicas: removing };
  return ok(changeOf(context, at, wish));
}

/** Back to the replicas from before the move. */
function takenBack(context: DecisionContext, at: PartitionAt): ItemResult<PartitionChangeRecord | null> {
  const { topic, partition } = at;
  if (!isMoving(partition)) return failed("no-reassignment-in-progress", "No partition reassignment is in progress.");
  const stays = (id: number): boolean => !partition.addingReplicas.includes(id);
  const replicas = partition.replicas.filter(stays);
  const isr = partition.isr.filter(stays);
  const wish = { replicas, addingReplicas: [], removingReplicas: [] };
  if (isr.length > 0 || partition.elr.some(stays)) return ok(changeOf(context, at, { ...wish, isr }));
  const canLead = replicas.some((id) => isActive(context.image.brokers.get(id)));
  if (!canLead || !context.configs.topic(topic.name)["unclean.leader.election.enable"]) {
    const name = `${topic.name}:${partition.index}`;
    return failed(
      "invalid-assignment",
      `Unable to revert partition assignment for ${name} because it would require an unclean leader election.`,
    );
  }
  return ok(changeOf(context, at, { ...wish, isr }));
}
