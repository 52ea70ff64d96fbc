import type { TopicPartition } from "../../topic-partition.ts";

/** A partition as the consumer protocol names it: a topic that was made again under its old name is another one. */
export interface IdPartition extends TopicPartition {
  readonly topicId: string;
}

/** By topic id: as answers and requests carry it. */
export type IdAssignment = readonly { readonly topicId: string; readonly partitions: readonly number[] }[];

/** The next step from what a member has to what it is to have. */
export interface Step {
  /** Not before they are given up is anything else done. */
  readonly revoke: readonly IdPartition[];
  readonly assign: readonly IdPartition[];
  /** Topics whose names are not known yet: what is theirs waits. */
  readonly unnamed: readonly string[];
}

export function nextStep(
  owned: readonly IdPartition[],
  target: IdAssignment,
  nameOf: (topicId: string) => string | null,
): Step {
  const wanted = new Set(target.flatMap(({ topicId, partitions }) => partitions.map((each) => keyOf(topicId, each))));
  const revoke = owned.filter(({ topicId, partition }) => !wanted.has(keyOf(topicId, partition)));
  const own = new Set(owned.map(({ topicId, partition }) => keyOf(topicId, partition)));
  const assign: IdPartition[] = [];
  const unnamed: string[] = [];
  for (const { topicId, partitions } of target) {
    const missing = partitions.filter((partition) => !own.has(keyOf(topicId, partition)));
    if (missing.length === 0) continue;
    const topic = nameOf(topicId);
    if (topic === null) unnamed.push(topicId);
    else assign.push(...missing.map((partition) => ({ topicId, topic, partition })));
  }
  return { revoke, assign, unnamed };
}

/** In one order, so that equal ones have equal texts. */
export function idAssignment(partitions: readonly IdPartition[]): IdAssignment {
  return Array.from(
    Map.groupBy(partitions, ({ topicId }) => topicId),
    ([topicId, found]) => ({ topicId, partitions: found.map(({ partition }) => partition).sort((a, b) => a - b) }),
  ).sort((left, right) => (left.topicId < right.topicId ? -1 : 1));
}

function keyOf(topicId: string, partition: number): string {
  return `${topicId} ${partition}`;
}

// --- What a heartbeat says ------------------------------------------------------------------------------------------------

/** What a member tells of itself. A heartbeat carries what is new; the first one, and one after a failure, all of it. */
export interface Told {
  readonly names: readonly string[];
  /** Empty: none any more. Null: there was never one, or the broker does not resolve it. */
  readonly regex: string | null;
  readonly owned: IdAssignment;
}

/** The part of `now` that the coordinator has not been told; `before` is null where nothing is certain. */
export function news(now: Told, before: Told | null): Partial<Told> {
  if (before === null) return now;
  return {
    ...(isSame(now.names, before.names) ? {} : { names: now.names }),
    ...(now.regex === before.regex ? {} : { regex: now.regex }),
    ...(isSame(now.owned, before.owned) ? {} : { owned: now.owned }),
  };
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/**
 * A pattern as the broker wants it: RE2, which must match the whole name, where a RegExp finds its match anywhere. Syntax
 * that RE2 does not have is refused by the broker.
 */
export function regexText({ source, flags }: RegExp): string {
  const kept = flags.replaceAll(/[^ims]/g, "");
  const anywhere = `.*(?:${source}).*`;
  return kept === "" ? anywhere : `(?${kept}:${anywhere})`;
}
