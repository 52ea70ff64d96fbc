import { expect, test } from "vitest";
import { ReadEnds } from "./read-ends.ts";
import type { FilePosition, Offset } from "./types.ts";

const at = (value: number) => value as Offset & FilePosition;

test("follows a reader from slice to slice", () => {
  const ends = new ReadEnds();
  ends.note(at(0), at(10), at(1_000));
  ends.note(at(10), at(20), at(2_000));
  expect([0, 10, 20].map((offset) => ends.positionOf(at(offset)))).toEqual([null, null, 2_000]);
});

test("follows eight of them, and forgets the one that came first", () => {
  const ends = new ReadEnds();
  for (let reader = 0; reader < 9; reader++) ends.note(at(reader * 100), at(reader * 100 + 1), at(reader));
  ends.note(at(201), at(202), at(42));
  expect(ends.positionOf(at(1))).toBe(null);
  expect(ends.positionOf(at(801))).toBe(8);
  expect([101, 202, 301].map((offset) => ends.positionOf(at(offset)))).toEqual([1, 42, 3]);
});
