import fc from "fast-check";
import { expect, test } from "vitest";
import { balancedCounts } from "./balanced-counts.ts";
import type { Subscriptions } from "./balanced-counts.ts";

interface Problem {
  /** By member, by topic: how many it keeps, or null where it does not subscribe. */
  readonly kept: readonly (readonly (number | null)[])[];
  /** By topic; of one that nobody subscribes to there is none. */
  readonly free: readonly number[];
}

test("a chain of moves levels what no single move can", () => {
  // The first has four and the last two, and no topic that both subscribe to.
  const kept = [
    [4, null],
    [0, 3],
    [null, 2],
  ];
  expect(solve({ kept, free: [0, 0] })).toEqual([
    [3, null],
    [1, 2],
    [null, 3],
  ]);
});

test("partitions come home where that costs nobody anything", () => {
  // Pouring gives the free one of the first topic to the second member, which has less; a chain would then move two.
  const problem = {
    kept: [
      [2, 2],
      [1, 1],
      [null, 0],
    ],
    free: [1, 0],
  };
  expect(measure(problem, solve(problem))).toEqual(best(problem));
});

const problem = fc
  .record({
    members: fc.array(fc.array(fc.option(fc.nat({ max: 2 }), { freq: 2 }), { minLength: 3, maxLength: 3 }), {
      minLength: 1,
      maxLength: 4,
    }),
    free: fc.array(fc.nat({ max: 2 }), { minLength: 3, maxLength: 3 }),
  })
  .map(({ members, free }) => ({
    kept: members,
    free: free.map((count, topic) => (members.some((each) => each[topic] !== null) ? count : 0)),
  }));

test("no assignment of all that exist is more level, or as level with fewer moves", () => {
  fc.assert(
    fc.property(problem, (each) => {
      expect(measure(each, solve(each))).toEqual(best(each));
    }),
    { numRuns: 300 },
  );
});

function solve({ kept, free }: Problem): readonly (readonly (number | null)[])[] {
  const edges = kept.flatMap((topics, member) =>
    topics.flatMap((count, topic) => (count === null ? [] : [{ member, topic, count }])),
  );
  const subscriptions: Subscriptions = {
    memberCount: kept.length,
    topicCount: free.length,
    memberOf: Int32Array.from(edges, ({ member }) => member),
    topicOf: Int32Array.from(edges, ({ topic }) => topic),
    kept: Int32Array.from(edges, ({ count }) => count),
    free: Int32Array.from(free),
  };
  const counts = balancedCounts(subscriptions);
  const solved = kept.map((topics) => topics.map((count): number | null => (count === null ? null : 0)));
  for (const [edge, { member, topic }] of edges.entries()) solved[member]![topic] = counts[edge]!;
  return solved;
}

interface Measure {
  readonly sizes: readonly number[];
  readonly moves: number;
}

/** Sizes from the largest; that the numbers of each topic add up is looked at here, too. */
function measure({ kept, free }: Problem, counts: readonly (readonly (number | null)[])[]): Measure {
  for (const [topic, freeCount] of free.entries()) {
    const before = kept.reduce((sum, each) => sum + (each[topic] ?? 0), freeCount);
    expect(counts.reduce((sum, each) => sum + (each[topic] ?? 0), 0)).toBe(before);
    for (const each of counts) expect(each[topic] ?? 0).toBeGreaterThanOrEqual(0);
  }
  const sizes = counts.map((topics) => topics.reduce<number>((sum, count) => sum + (count ?? 0), 0));
  const moves = kept
    .flatMap((topics, member) =>
      topics.map((count, topic) => Math.max(0, (count ?? 0) - (counts[member]?.[topic] ?? 0))),
    )
    .reduce((sum, each) => sum + each, 0);
  return { sizes: sizes.toSorted((left, right) => right - left), moves };
}

/** By trying all: topic after topic, every way of dividing it among its subscribers. */
function best(problem: Problem): Measure {
  const { kept, free } = problem;
  let states = new Map<string, { readonly sizes: readonly number[]; readonly moves: number }>([
    ["", { sizes: kept.map(() => 0), moves: 0 }],
  ]);
  for (const [topic, freeCount] of free.entries()) {
    const total = kept.reduce((sum, each) => sum + (each[topic] ?? 0), freeCount);
    const next: typeof states = new Map();
    for (const { sizes, moves } of states.values()) {
      for (const division of divisions(
        total,
        kept.map((each) => each[topic] !== null && each[topic] !== undefined),
      )) {
        const moved = kept.reduce((sum, each, member) => sum + Math.max(0, (each[topic] ?? 0) - division[member]!), 0);
        const reached = { sizes: sizes.map((size, member) => size + division[member]!), moves: moves + moved };
        const key = reached.sizes.join(" ");
        if (reached.moves < (next.get(key)?.moves ?? Infinity)) next.set(key, reached);
      }
    }
    states = next;
  }
  const cost = ({ sizes, moves }: Measure): number => sizes.reduce((sum, size) => sum + size * size, 0) * 1_000 + moves;
  const found = [...states.values()].reduce((one, other) => (cost(other) < cost(one) ? other : one));
  return { sizes: found.sizes.toSorted((left, right) => right - left), moves: found.moves };
}

function divisions(total: number, isSubscribed: readonly boolean[]): readonly (readonly number[])[] {
  const [first, ...rest] = isSubscribed;
  if (first === undefined) return total === 0 ? [[]] : [];
  const shares = first ? Array.from({ length: total + 1 }, (_, share) => share) : [0];
  return shares.flatMap((share) => divisions(total - share, rest).map((others) => [share, ...others]));
}
