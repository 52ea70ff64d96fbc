import fc from "fast-check";
import { expect, test } from "vitest";
import { rangeAssignor } from "./range.ts";
import { brokenPromises, changedGroup, member, plain, topicsOf } from "../../../test/assignor-cases.ts";

test("two topics that are alike are cut alike", () => {
  const members = [member("m0", ["t1", "t2"]), member("m1", ["t1", "t2"])];
  expect(plain(rangeAssignor.assign(members, topicsOf({ t1: 3, t2: 3 })))).toEqual({
    m0: { t1: [0, 1], t2: [0, 1] },
    m1: { t1: [2], t2: [2] },
  });
});

test("static members keep their ranges when a restart gives them other ids", () => {
  const topics = topicsOf({ t1: 3, t2: 3 });
  const restarted = [member("m3", ["t1", "t2"], {}, "i0"), member("m2", ["t1", "t2"], {}, "i1")];
  expect(plain(rangeAssignor.assign(restarted, topics))).toEqual({
    m3: { t1: [0, 1], t2: [0, 1] },
    m2: { t1: [2], t2: [2] },
  });
});

test("static members come first", () => {
  const members = [member("a", ["t"]), member("z", ["t"], {}, "i")];
  expect(plain(rangeAssignor.assign(members, topicsOf({ t: 3 })))).toEqual({ z: { t: [0, 1] }, a: { t: [2] } });
});

test("each topic is divided among its own subscribers, and one that has no partition left gives nothing", () => {
  const members = [
    member("a", ["t1", "t2"]),
    member("b", ["t3"]),
    member("c", ["t2", "t3"]),
    member("d", ["t3", "no"]),
  ];
  expect(plain(rangeAssignor.assign(members, topicsOf({ t1: 3, t2: 3, t3: 2 })))).toEqual({
    a: { t1: [0, 1, 2], t2: [0, 1] },
    b: { t3: [0] },
    c: { t2: [2], t3: [1] },
    d: {},
  });
});

test("nobody is in the group", () => {
  expect(rangeAssignor.assign([], topicsOf({ t: 3 })).size).toBe(0);
});

const anyGroup = fc
  .boolean()
  .chain((isAlike) => changedGroup(rangeAssignor, { membersMax: 8, topicsMax: 6, partitionsMax: 12, isAlike }));

test("every partition has one owner, ranges have no holes and differ by one at most, and like topics are cut alike", () => {
  fc.assert(
    fc.property(anyGroup, (group) => {
      const result = rangeAssignor.assign(group.members, group.topics);
      expect(brokenPromises(group, result)).toEqual([]);
      const cuts = new Map<string, string>();
      for (const { topicId, partitionCount } of group.topics.values()) {
        const subscribers = group.members.filter(({ topicIds }) => topicIds.has(topicId));
        const ranges = subscribers.map(({ memberId }) => result.get(memberId)?.get(topicId) ?? []);
        const lengths = ranges.map(({ length }) => length);
        if (lengths.length > 0) expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
        for (const range of ranges) expect((range.at(-1) ?? -1) - (range[0] ?? 0) + 1).toBe(range.length);
        const kind = JSON.stringify([partitionCount, subscribers.map(({ memberId }) => memberId)]);
        expect(cuts.get(kind) ?? JSON.stringify(ranges)).toBe(JSON.stringify(ranges));
        cuts.set(kind, JSON.stringify(ranges));
      }
    }),
    { numRuns: 300 },
  );
});

test("the order of members says nothing, and what stays is the same object", () => {
  fc.assert(
    fc.property(anyGroup, (group) => {
      const result = rangeAssignor.assign(group.members, group.topics);
      expect(plain(rangeAssignor.assign(group.members.toReversed(), group.topics))).toEqual(plain(result));
      const rested = group.members.map((each) => ({ ...each, current: result.get(each.memberId)! }));
      for (const { memberId, current } of rested) {
        expect(rangeAssignor.assign(rested, group.topics).get(memberId)).toBe(current);
      }
    }),
    { numRuns: 100 },
  );
});
