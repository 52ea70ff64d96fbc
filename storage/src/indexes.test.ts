import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { describe, expect, test } from "vitest";
import type { EntryFile } from "./entry-file.ts";
import { OffsetIndex } from "./offset-index.ts";
import { RecentBatches } from "./recent-batches.ts";
import { TimeIndex } from "./time-index.ts";
import type { FilePosition, Offset } from "./types.ts";

async function attached<T extends { readonly entries: EntryFile }>(index: T): Promise<T> {
  const file = await new SimulatedDisk().open("/index", "create");
  index.entries.attach(file, 0);
  return index;
}

describe.for([0, 3, 700, 2000])(
  "an offset index of which %i entries are written and the rest waits",
  (writtenCount) => {
    const count = 2000;
    async function filled(): Promise<OffsetIndex> {
      const index = await attached(new OffsetIndex(1000 as Offset));
      for (let entry = 0; entry < count; entry++) {
        index.add((1000 + entry * 10 + 9) as Offset, (entry * 5000) as FilePosition);
        if (entry === writtenCount - 1) index.entries.flush();
      }
      return index;
    }

    test("leads to the last entry at or before an offset, and a position", async () => {
      const index = await filled();
      expect(index.floor(1008 as Offset)).toBe(-1);
      for (const entry of [0, 2, 3, 511, 512, 513, 699, 700, 1999]) {
        expect(index.floor((1000 + entry * 10 + 9) as Offset)).toBe(entry);
        expect(index.floor((1000 + entry * 10 + 18) as Offset)).toBe(entry);
        expect(index.floorByStart(entry * 5000)).toBe(entry);
        expect(index.floorByStart(entry * 5000 + 4999)).toBe(entry);
        expect(index.entry(entry).position).toBe(entry * 5000);
      }
    });

    test("forgets what was cut, and goes on", async () => {
      const index = await filled();
      index.truncateTo(600 * 5000);
      expect(index.entries.count).toBe(600);
      index.add(999_999 as Offset, 7_000_000 as FilePosition);
      index.entries.flush();
      expect(index.entry(600)).toEqual({ lastOffset: 999_999, position: 7_000_000 });
      expect(index.floor(999_998 as Offset)).toBe(599);
    });
  },
);

test("the bytes of an offset index are big-endian pairs of relative last offset and position", async () => {
  const index = await attached(new OffsetIndex(500 as Offset));
  index.add(503 as Offset, 70 as FilePosition);
  index.add(600 as Offset, 0x01020304 as FilePosition);
  index.entries.flush();
  const bytes = Buffer.alloc(16);
  index.entries.file?.readNow(bytes, 0);
  expect(bytes.toString("hex")).toBe("00000003000000460000006401020304");
});

describe("a time index", () => {
  test("keeps rising times only, and none below zero", async () => {
    const index = await attached(new TimeIndex(100 as Offset));
    for (const [timestamp, offset] of [
      [-1, 100],
      [50, 105],
      [50, 110],
      [40, 115],
      [60, 120],
    ] as const) {
      index.add(timestamp, offset as Offset);
    }
    expect([0, 1].map((entry) => index.entry(entry))).toEqual([
      { timestamp: 50, offset: 105 },
      { timestamp: 60, offset: 120 },
    ]);
    expect(index.floor(50)).toBe(-1);
    expect(index.floor(51)).toBe(0);
    expect(index.floor(1000)).toBe(1);
  });

  test("keeps times beyond 2^53 exactly", async () => {
    const index = await attached(new TimeIndex(0 as Offset));
    const huge = 2n ** 62n + 1n;
    index.add(5, 1 as Offset);
    index.add(huge, 2 as Offset);
    index.add(huge, 3 as Offset);
    index.entries.flush();
    expect(index.entries.count).toBe(2);
    expect(index.last()).toEqual({ timestamp: huge, offset: 2 });
    expect(index.floor(huge)).toBe(0);
    expect(index.floor(huge + 1n)).toBe(1);
  });

  test("forgets batches that were cut, and takes their times again", async () => {
    const index = await attached(new TimeIndex(0 as Offset));
    index.add(10, 5 as Offset);
    index.add(20, 9 as Offset);
    index.truncateTo(9 as Offset);
    index.add(15, 9 as Offset);
    expect(index.last()).toEqual({ timestamp: 15, offset: 9 });
  });
});

describe("the newest batches", () => {
  function ring(count: number): RecentBatches {
    const recent = new RecentBatches();
    for (let batch = 0; batch < count; batch++) {
      recent.add((batch * 3) as Offset, (batch * 3 + 3) as Offset, (batch * 100) as FilePosition, 100);
    }
    return recent;
  }

  test.for([1, 16, 17, 256, 257, 1000])(
    "%i of them: offsets in the middle are found, forgotten ones are not",
    (count) => {
      const recent = ring(count);
      const oldest = Math.max(0, count - 256);
      for (let batch = oldest; batch < count; batch++) {
        const found = recent.find((batch * 3 + 1) as Offset);
        expect(recent.startOf(found)).toBe(batch * 100);
        expect(recent.endOf(found)).toBe(batch * 100 + 100);
        expect(recent.nextOffsetOf(found)).toBe(batch * 3 + 3);
      }
      expect(recent.find((count * 3) as Offset)).toBe(-1);
      if (oldest > 0) expect(recent.find((oldest * 3 - 1) as Offset)).toBe(-1);
    },
  );

  test("bounds by bytes and by offset", () => {
    const recent = ring(20);
    const from = recent.find(15 as Offset);
    expect(recent.startOf(recent.lastEndingBy(799, from))).toBe(600);
    expect(recent.lastEndingBy(599, from)).toBe(-1);
    expect(recent.startOf(recent.lastBelow(24 as Offset, from))).toBe(700);
    expect(recent.startOf(recent.lastBelow(23 as Offset, from))).toBe(600);
    expect(recent.lastBelow(17 as Offset, from)).toBe(-1);
  });

  test("a cut forgets the end", () => {
    const recent = ring(20);
    recent.truncateTo(1000);
    expect(recent.find(30 as Offset)).toBe(-1);
    expect(recent.endOf(recent.find(29 as Offset))).toBe(1000);
    recent.add(30 as Offset, 31 as Offset, 1000 as FilePosition, 7);
    expect(recent.endOf(recent.find(30 as Offset))).toBe(1007);
  });
});
