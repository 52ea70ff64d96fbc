import { expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";

const first = (prng: Prng): number[] => Array.from({ length: 4 }, () => prng.uint32());

test("a seed brings the same numbers back, and another seed others", () => {
  expect(first(new Prng(42))).toEqual(first(new Prng(42)));
  const starts = [0, 1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].map((seed) => first(new Prng(seed)).join());
  expect(new Set(starts).size).toBe(starts.length);
  expect(first(new Prng(42))).toMatchInlineSnapshot(`
    [
      3893884377,
      145076852,
      3246010591,
      4141225530,
    ]
  `);
});

test("numbers are spread evenly and stay within their bounds", () => {
  const prng = new Prng(1);
  const counts = [0, 0, 0, 0, 0, 0];
  for (let draw = 0; draw < 60_000; draw++) counts[prng.between(0, 5)]!++;
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  for (let draw = 0; draw < 1000; draw++) {
    const fraction = prng.fraction();
    expect(fraction >= 0 && fraction < 1).toBe(true);
  }
  expect(prng.shuffle([1, 2, 3, 4, 5]).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
  expect([prng.chance(0), prng.chance(1)]).toEqual([false, true]);
  expect(() => prng.pick([])).toThrow(RangeError);
  expect(prng.bytes(7).length).toBe(7);
});

test("a fork goes its own way", () => {
  const prng = new Prng(9);
  const fork = prng.fork();
  const expected = first(new Prng(9).fork());
  prng.bytes(100);
  expect(first(fork)).toEqual(expected);
});
