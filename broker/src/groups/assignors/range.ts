import { compareTexts, unlessChanged } from "./assignment.ts";
import type { Assignment, Assignor, AssignorMember, AssignorTopic } from "./types.ts";

/**
 * Of each topic every subscriber has one range of neighbouring partitions, in the order of members; the first ones have
 * one partition more where they cannot be equal.
 *
 * Topics with the same number of partitions and the same subscribers are cut alike, so that joins by key find both sides
 * in one member. Static members come first, ordered by instance id: as long as they are the same ones a restart, which
 * gives them new member ids, moves nothing. Nothing else is sticky, as in Apache Kafka 4.3.
 */
export const rangeAssignor: Assignor = { name: "range", assign };

interface Cut {
  readonly partitionCount: number;
  subscribersLeft: number;
  next: number;
}

function assign(
  members: readonly AssignorMember[],
  topics: ReadonlyMap<string, AssignorTopic>,
): ReadonlyMap<string, Assignment> {
  const cuts = new Map<string, Cut>();
  for (const { topicIds } of members) {
    for (const topicId of topicIds) {
      const cut = cuts.get(topicId);
      const topic = topics.get(topicId);
      if (cut !== undefined) cut.subscribersLeft++;
      else if (topic !== undefined) {
        cuts.set(topicId, { partitionCount: topic.partitionCount, subscribersLeft: 1, next: 0 });
      }
    }
  }
  const ranges = members.toSorted(compareMembers).map((member): readonly [string, Assignment] => {
    const ranges = new Map<string, readonly number[]>();
    for (const topicId of member.topicIds) {
      const cut = cuts.get(topicId);
      if (cut === undefined || cut.next === cut.partitionCount) continue;
      ranges.set(topicId, takeRange(cut));
    }
    return [member.memberId, unlessChanged(member, ranges)];
  });
  return new Map(ranges);
}

/** Rounding up what is left for those who are left gives the larger shares to the first ones. */
function takeRange(cut: Cut): readonly number[] {
  const start = cut.next;
  const length = Math.ceil((cut.partitionCount - start) / cut.subscribersLeft);
  cut.subscribersLeft--;
  cut.next += length;
  return Array.from({ length }, (_, index) => start + index);
}

function compareMembers(left: AssignorMember, right: AssignorMember): number {
  if (left.instanceId !== null && right.instanceId !== null && left.instanceId !== right.instanceId) {
    return compareTexts(left.instanceId, right.instanceId);
  }
  if ((left.instanceId === null) !== (right.instanceId === null)) return left.instanceId === null ? 1 : -1;
  return compareTexts(left.memberId, right.memberId);
}
