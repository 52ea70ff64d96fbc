import { expect, test } from "vitest";
import { WarmRange, warmMs } from "./warm-range.ts";

test("knows what was noted, and what is next to it", () => {
  const range = new WarmRange();
  expect(range.untilFrom(0, 0)).toBe(0);
  range.note(100, 200, 0);
  range.note(200, 300, 1);
  range.note(50, 120, 2);
  expect([49, 50, 150, 299, 300].map((position) => range.untilFrom(position, 3))).toEqual([49, 300, 300, 300, 300]);
});

test("knows one range: a reader elsewhere begins another", () => {
  const range = new WarmRange();
  range.note(0, 100, 0);
  range.note(1_000, 1_100, 1);
  expect([range.untilFrom(0, 2), range.untilFrom(1_000, 2)]).toEqual([0, 1_100]);
});

test("knows nothing that is older than a second, and never forgets all at once", () => {
  const range = new WarmRange();
  let position = 0;
  for (let nowMs = 0; nowMs <= 10_000; nowMs += 10) {
    range.note(position, position + 10, nowMs);
    position += 10;
    const oldest = position - warmMs - 20;
    if (oldest >= 0) expect(range.untilFrom(oldest, nowMs)).toBe(oldest);
    // Of the last half of a second all is known, in one answer.
    expect(range.untilFrom(Math.max(0, position - warmMs / 2), nowMs)).toBe(position);
  }
  expect(range.untilFrom(position - 1, 10_000 + warmMs + 1)).toBe(position - 1);
});
