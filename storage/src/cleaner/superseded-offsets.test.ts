import { Prng } from "@millrace/base/prng";
import { expect, test } from "vitest";
import type { Offset } from "../types.ts";
import { KeyOffsets } from "./key-offsets.ts";
import { SupersededOffsets } from "./superseded-offsets.ts";

const FROM = (2 ** 40 + 13) as Offset;
const secret = Buffer.alloc(16, 7);

function overOf(offsets: number, bytesMax = 1 << 20): SupersededOffsets {
  return new SupersededOffsets(
    SupersededOffsets.allocate({ from: FROM, upTo: (FROM + offsets) as Offset, bytesMax }),
    FROM,
  );
}

test("they are those whose key was noted again, as far as they are covered", () => {
  const prng = new Prng(3);
  const superseded = overOf(10_000, 4 * 100);
  expect([superseded.covers(FROM - 1), superseded.covers(FROM), superseded.covers(FROM + 3199)]).toEqual([
    false,
    true,
    true,
  ]);
  expect(superseded.covers(FROM + 3200)).toBe(false);
  const memory = KeyOffsets.allocate({ keysMax: 10_000, bytesMax: 1 << 20, loadFactor: 0.9, secret });
  const keys = new KeyOffsets(memory, 0.9, superseded);
  const keyAt: Buffer[] = [];
  for (let delta = 0; delta < 10_000; delta++) {
    const key = Buffer.from(String(prng.between(0, 2_000)));
    keyAt.push(key);
    expect(keys.put(key, 0, key.length, (FROM + delta) as Offset)).toBe(true);
  }
  let marked = 0;
  for (const [delta, key] of keyAt.entries()) {
    const offset = FROM + delta;
    if (!superseded.covers(offset)) continue;
    expect(superseded.has(offset)).toBe(offset < keys.get(key, 0, key.length));
    if (superseded.has(offset)) marked += 1;
  }
  expect(marked).toBeGreaterThan(1000);
  expect(marked).toBeLessThan(3200);
});

test("a batch is passed over only when each record that it holds is superseded, and all of it is covered", () => {
  const superseded = overOf(96);
  for (const delta of [0, 1, 2, 31, 32, 40, 95]) superseded.mark(FROM + delta);
  superseded.mark(FROM - 1);
  superseded.mark(FROM + 96);
  const areAll = (first: number, last: number, count: number) => superseded.areAll(FROM + first, FROM + last, count);
  expect(areAll(0, 2, 3)).toBe(true);
  expect(areAll(0, 3, 4)).toBe(false);
  expect(areAll(31, 32, 2)).toBe(true);
  // After an earlier round there are holes between records.
  expect(areAll(32, 40, 2)).toBe(true);
  expect(areAll(32, 41, 3)).toBe(false);
  expect(areAll(-1, 0, 1)).toBe(false);
  expect(areAll(95, 95, 1)).toBe(true);
  expect(areAll(95, 96, 1)).toBe(false);
});

test("nothing is covered where there is no room, or nothing to clean", () => {
  expect(overOf(1000, 3).covers(FROM)).toBe(false);
  expect(overOf(0).covers(FROM)).toBe(false);
  overOf(0).mark(FROM);
});
