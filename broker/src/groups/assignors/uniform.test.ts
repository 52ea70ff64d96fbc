import fc from "fast-check";
import { expect, test } from "vitest";
import {
  brokenPromises,
  changedGroup,
  member,
  moveCount,
  plain,
  sizeOf,
  topicsOf,
} from "../../../test/assignor-cases.ts";
import type { Case } from "../../../test/assignor-cases.ts";
import type { Assignment } from "./types.ts";
import { uniformAssignor } from "./uniform.ts";

test("a first assignment deals the partitions like cards", () => {
  const members = [member("a", ["t1", "t2"]), member("b", ["t1", "t2"])];
  expect(plain(uniformAssignor.assign(members, topicsOf({ t1: 3, t2: 3 })))).toEqual({
    a: { t1: [0, 2], t2: [1] },
    b: { t1: [1], t2: [0, 2] },
  });
});

test("who joins is given no more than its share, from those who have most", () => {
  const members = [
    member("a", ["t"], { t: [0, 1, 2] }),
    member("b", ["t"], { t: [3, 4, 5] }),
    member("c", ["t"], { t: [6, 7] }),
    member("d", ["t"]),
  ];
  const result = uniformAssignor.assign(members, topicsOf({ t: 8 }));
  expect(plain(result)).toEqual({ a: { t: [0, 1] }, b: { t: [3, 4] }, c: { t: [6, 7] }, d: { t: [2, 5] } });
  expect(result.get("c")).toBe(members[2]?.current);
});

test("who leaves is followed by the others, who keep what they have", () => {
  const members = [member("b", ["t"], { t: [1, 4] }), member("c", ["t"], { t: [2, 5] })];
  expect(plain(uniformAssignor.assign(members, topicsOf({ t: 6 })))).toEqual({
    b: { t: [0, 1, 4] },
    c: { t: [2, 3, 5] },
  });
});

test("a larger share stays with who has it", () => {
  const members = [member("a", ["t"], { t: [0] }), member("b", ["t"], { t: [1, 2] })];
  const result = uniformAssignor.assign(members, topicsOf({ t: 3 }));
  expect([...result.values()]).toEqual(members.map(({ current }) => current));
});

test("there are more members than partitions", () => {
  const members = ["a", "b", "c"].map((id) => member(id, ["t"]));
  expect(plain(uniformAssignor.assign(members, topicsOf({ t: 2 })))).toEqual({ a: { t: [0] }, b: { t: [1] }, c: {} });
});

test("of two that claim the same partition the first by id keeps it, and what does not exist is nobody's", () => {
  const members = [member("b", ["t"], { t: [0, 7], gone: [0] }), member("a", ["t"], { t: [0] })];
  expect(plain(uniformAssignor.assign(members, topicsOf({ t: 2 })))).toEqual({ a: { t: [0] }, b: { t: [1] } });
});

test("nobody is in the group, or nobody subscribes to what is there", () => {
  expect(uniformAssignor.assign([], topicsOf({ t: 3 })).size).toBe(0);
  const members = [member("a", []), member("b", ["no"])];
  expect(plain(uniformAssignor.assign(members, topicsOf({ t: 3 })))).toEqual({ a: {}, b: {} });
});

test("unlike subscriptions: who alone subscribes to a topic has it, and others have the rest", () => {
  const members = [member("a", ["t1", "t2"]), member("b", ["t2"]), member("c", ["t2", "t3"])];
  const result = uniformAssignor.assign(members, topicsOf({ t1: 3, t2: 4, t3: 2 }));
  expect([...result.values()].map(sizeOf)).toEqual([3, 3, 3]);
});

const alikeGroup = changedGroup(uniformAssignor, { membersMax: 8, topicsMax: 4, partitionsMax: 12, isAlike: true });
const unlikeGroup = changedGroup(uniformAssignor, { membersMax: 8, topicsMax: 6, partitionsMax: 10, isAlike: false });
const anyGroup = fc.oneof(alikeGroup, unlikeGroup);

test("every partition has exactly one owner, who subscribes to it", () => {
  fc.assert(
    fc.property(anyGroup, (group) => {
      expect(brokenPromises(group, uniformAssignor.assign(group.members, group.topics))).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("like subscriptions: numbers differ by one at most, and no more partitions move than that needs", () => {
  fc.assert(
    fc.property(alikeGroup, (group) => {
      const result = uniformAssignor.assign(group.members, group.topics);
      const sizes = [...result.values()].map(sizeOf);
      if (sizes.length > 0) expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      expect(moveCount(group, result)).toBe(fewestMoves(group));
    }),
    { numRuns: 300 },
  );
});

/** What exceeds the quota must go; of those who have more than it, as many may keep one more as there are larger shares. */
function fewestMoves({ topics, members }: Case): number {
  if (members.length === 0) return 0;
  const total = [...topics.values()].reduce((sum, { partitionCount }) => sum + partitionCount, 0);
  const quota = Math.floor(total / members.length);
  const excesses = members.map(({ current }) =>
    Math.max(0, sizeOf(new Map([...current].filter(([topicId]) => topics.has(topicId)))) - quota),
  );
  const keepingOneMore = Math.min(total % members.length, excesses.filter((excess) => excess > 0).length);
  return excesses.reduce((sum, excess) => sum + excess, 0) - keepingOneMore;
}

test("unlike subscriptions: no partition could go to a member that would still have less than its owner", () => {
  fc.assert(
    fc.property(unlikeGroup, (group) => {
      const result = uniformAssignor.assign(group.members, group.topics);
      for (const [owner, assignment] of result) {
        for (const topicId of assignment.keys()) {
          for (const other of group.members.filter(({ topicIds }) => topicIds.has(topicId))) {
            const difference = sizeOf(result.get(owner)) - sizeOf(result.get(other.memberId));
            expect(difference, `${topicId}: ${owner} and ${other.memberId}`).toBeLessThanOrEqual(1);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("the order of members and of their subscriptions says nothing", () => {
  const reversed = (each: Case["members"][number]): Case["members"][number] => ({
    ...each,
    topicIds: new Set([...each.topicIds].toReversed()),
    current: new Map([...each.current].toReversed()),
  });
  fc.assert(
    fc.property(anyGroup, ({ members, topics }) => {
      const other = uniformAssignor.assign(members.toReversed().map(reversed), topics);
      expect(plain(other)).toEqual(plain(uniformAssignor.assign(members, topics)));
    }),
    { numRuns: 200 },
  );
});

test("who keeps all that it has gets the same object, and a group at rest stays as it is", () => {
  fc.assert(
    fc.property(anyGroup, ({ members, topics }) => {
      const result = uniformAssignor.assign(members, topics);
      for (const { memberId, current } of members) {
        if (isSame(result.get(memberId), current)) expect(result.get(memberId)).toBe(current);
      }
      const rested = members.map((each) => ({ ...each, current: result.get(each.memberId)! }));
      const again = uniformAssignor.assign(rested, topics);
      for (const { memberId, current } of rested) expect(again.get(memberId)).toBe(current);
    }),
    { numRuns: 200 },
  );
});

function isSame(one: Assignment | undefined, other: Assignment): boolean {
  const sorted = (each: Assignment): string =>
    JSON.stringify([...each].sort(([left], [right]) => (left < right ? -1 : 1)));
  return one !== undefined && sorted(one) === sorted(other);
}
