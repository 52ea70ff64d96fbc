import fc from "fast-check";
import type { Assignment, Assignor, AssignorMember, AssignorTopic } from "../src/groups/assignors/types.ts";

/** A group as a test writes it down: subscriptions and present assignments by names that are ids, too. */
export interface Case {
  readonly topics: ReadonlyMap<string, AssignorTopic>;
  readonly members: readonly AssignorMember[];
}

/** `{ t: 3 }` is a topic t with three partitions. */
export function topicsOf(partitionCounts: Readonly<Record<string, number>>): ReadonlyMap<string, AssignorTopic> {
  return new Map(
    Object.entries(partitionCounts).map(([topicId, partitionCount]) => [
      topicId,
      { topicId, name: topicId, partitionCount },
    ]),
  );
}

export function member(
  memberId: string,
  topicIds: readonly string[],
  current: Readonly<Record<string, readonly number[]>> = {},
  instanceId: string | null = null,
): AssignorMember {
  return {
    memberId,
    instanceId,
    rackId: null,
    topicIds: new Set(topicIds),
    current: new Map(Object.entries(current)),
  };
}

/** As objects, which read better in a failure. */
export function plain(result: ReadonlyMap<string, Assignment>): Record<string, Record<string, readonly number[]>> {
  return Object.fromEntries([...result].map(([memberId, assignment]) => [memberId, Object.fromEntries(assignment)]));
}

export function sizeOf(assignment: Assignment | undefined): number {
  return [...(assignment?.values() ?? [])].reduce((sum, { length }) => sum + length, 0);
}

/** Partitions that somebody keeps who may, and that leave it all the same. */
export function moveCount({ topics, members }: Case, result: ReadonlyMap<string, Assignment>): number {
  let count = 0;
  for (const { memberId, topicIds, current } of members) {
    const next = result.get(memberId);
    for (const [topicId, partitions] of current) {
      if (!topicIds.has(topicId) || !topics.has(topicId)) continue;
      const kept = new Set(next?.get(topicId));
      count += partitions.filter((partition) => !kept.has(partition)).length;
    }
  }
  return count;
}

/** What every assignor promises; an empty list when it is kept. */
export function brokenPromises({ topics, members }: Case, result: ReadonlyMap<string, Assignment>): string[] {
  const broken: string[] = [];
  const owners = new Map<string, string>();
  for (const { memberId, topicIds } of members) {
    const assignment = result.get(memberId);
    if (assignment === undefined) broken.push(`${memberId} is missing`);
    for (const [topicId, partitions] of assignment ?? []) {
      if (!topicIds.has(topicId)) broken.push(`${memberId} has ${topicId} without a subscription`);
      if (partitions.length === 0) broken.push(`${memberId} has an empty list of ${topicId}`);
      if (!partitions.every((each, index) => index === 0 || (partitions[index - 1] ?? 0) < each)) {
        broken.push(`${memberId}: ${topicId} is out of order`);
      }
      for (const partition of partitions) {
        const name = `${topicId}-${partition}`;
        if (partition >= (topics.get(topicId)?.partitionCount ?? 0)) broken.push(`${name} does not exist`);
        if (owners.has(name)) broken.push(`${name} belongs to ${owners.get(name)} and ${memberId}`);
        owners.set(name, memberId);
      }
    }
  }
  for (const { topicId, partitionCount } of topics.values()) {
    if (!members.some(({ topicIds }) => topicIds.has(topicId))) continue;
    for (let partition = 0; partition < partitionCount; partition++) {
      if (!owners.has(`${topicId}-${partition}`)) broken.push(`${topicId}-${partition} belongs to nobody`);
    }
  }
  if (result.size !== members.length) broken.push(`${result.size} results for ${members.length} members`);
  return broken;
}

export interface CaseLimits {
  readonly membersMax: number;
  readonly topicsMax: number;
  readonly partitionsMax: number;
  readonly isAlike: boolean;
}

const change = fc.record({ leaves: fc.boolean(), subscribed: fc.nat({ max: 1_023 }), isOwn: fc.boolean() });

/**
 * A group that an assignor has brought to rest, after which members came, left and changed what they subscribe to and
 * topics grew, came and went: what a coordinator asks an assignor about. Odd members are static.
 */
export function changedGroup(assignor: Assignor, limits: CaseLimits): fc.Arbitrary<Case> {
  const counts = fc.array(fc.nat({ max: limits.partitionsMax }), { minLength: 1, maxLength: limits.topicsMax });
  return fc
    .record({
      before: counts,
      growth: fc.array(fc.constantFrom(0, 0, 1, 3), { maxLength: limits.topicsMax }),
      isFirstGone: fc.boolean(),
      old: fc.array(change, { maxLength: limits.membersMax }),
      common: fc.nat({ max: 1_023 }),
      joining: fc.array(fc.nat({ max: 1_023 }), { maxLength: Math.ceil(limits.membersMax / 2) }),
    })
    .map(({ before, growth, isFirstGone, old, common, joining }) => {
      const names = [...before.keys()].map((index) => `t${index}`);
      const subscription = (mask: number): readonly string[] =>
        limits.isAlike ? names : names.filter((_, index) => ((mask >> index) & 1) === 1);
      const firstTopics = topicsOf(Object.fromEntries(before.map((count, index) => [`t${index}`, count])));
      const first = old.map((_, index) =>
        member(`m${index}`, subscription(common | (1 << (index % 3))), {}, index % 2 === 1 ? `i${index}` : null),
      );
      const rested = assignor.assign(first, firstTopics);
      const topics = topicsOf(
        Object.fromEntries(
          before
            .map((count, index): [string, number] => [`t${index}`, count + (growth[index] ?? 0)])
            .slice(isFirstGone && before.length > 1 ? 1 : 0),
        ),
      );
      const stayed = first.flatMap((each, index): readonly AssignorMember[] => {
        const { leaves, subscribed, isOwn } = old[index] ?? { leaves: false, subscribed: 0, isOwn: false };
        if (leaves) return [];
        const topicIds = isOwn ? new Set(subscription(subscribed)) : each.topicIds;
        return [{ ...each, topicIds, current: rested.get(each.memberId) ?? new Map<string, readonly number[]>() }];
      });
      const joined = joining.map((mask, index) => member(`n${index}`, subscription(mask)));
      return { topics, members: [...stayed, ...joined] };
    });
}
