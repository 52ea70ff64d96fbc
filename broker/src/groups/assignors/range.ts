import type { Assignment, Assignor } from "./types.ts";

/** Of each topic every subscriber gets consecutive partitions, as many as the others or one more. */
export const rangeAssignor: Assignor = {
  name: "range",
  assign(members, topics) {
    const ordered = [...members].sort((a, b) => compare(a.instanceId ?? a.memberId, b.instanceId ?? b.memberId));
    const assigned = new Map<string, Map<string, readonly number[]>>(
      members.map(({ memberId }) => [memberId, new Map()]),
    );
    for (const { topicId, partitionCount } of topics.values()) {
      const subscribers = ordered.filter(({ topicIds }) => topicIds.has(topicId));
      const least = Math.floor(partitionCount / subscribers.length);
      const oneMoreCount = partitionCount % subscribers.length;
      let next = 0;
      for (const [index, { memberId }] of subscribers.entries()) {
        const count = least + (index < oneMoreCount ? 1 : 0);
        if (count > 0)
          assigned.get(memberId)?.set(
            topicId,
            Array.from({ length: count }, (_, at) => next + at),
          );
        next += count;
      }
    }
    return assigned satisfies ReadonlyMap<string, Assignment>;
  },
};

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
