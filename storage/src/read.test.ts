import type { Disk } from "@millrace/base/world";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { describe, expect, test } from "vitest";
import { append, Bench, durable, readBytes } from "../test/support.ts";
import type { PartitionLog } from "./log.ts";
import type { Offset } from "./types.ts";

/** Batches of 3 records and 400 bytes in segments of 4 KiB, which is ten of them. */
async function filled(options: { readonly isReopened: boolean }): Promise<PartitionLog> {
  const bench = await Bench.open();
  const config = { "segment.bytes": 4096, "index.interval.bytes": 900 };
  const log = await bench.create("orders", config);
  for (let batch = 0; batch < 35; batch++) {
    const filler = { value: Buffer.alloc(400 - 61 - 16 - (batch < 0 ? 1 : 0)) };
    append(log, { records: [{ value: Buffer.from([batch]) }, {}, filler] });
    if (batch % 4 === 0) await durable(log);
  }
  await durable(log);
  if (!options.isReopened) return log;
  await bench.directory.close();
  return (await Bench.open({ disk: bench.disk, config })).log("orders");
}

/** Which offsets a read brings, as `first..last`. */
async function offsets(
  log: PartitionLog,
  offset: number,
  limits: Parameters<typeof readBytes>[2] = {},
): Promise<string> {
  const bytes = await readBytes(log, offset, limits);
  const batches = [...batchesIn(bytes)];
  const [first, last] = [batches[0], batches.at(-1)];
  return first === undefined || last === undefined ? "nothing" : `${first.baseOffset}..${last.lastOffset}`;
}

describe.for([
  ["as it was written", false],
  ["after a restart", true],
] as const)("a log %s", ([, isReopened]) => {
  test("gives whole batches, from the one that holds the offset", async () => {
    const log = await filled({ isReopened });
    expect(log.logEndOffset).toBe(105);
    expect(log.segmentCount).toBeGreaterThan(2);
    const batchBytes = (await readBytes(log, 0, { sizeBytesMax: 1 })).length;
    for (let offset = 0; offset < 105; offset++) {
      const base = offset - (offset % 3);
      // The first batch comes whole, however small the limit; or not at all.
      expect(await offsets(log, offset, { sizeBytesMax: 1 })).toBe(`${base}..${base + 2}`);
      expect(await offsets(log, offset, { sizeBytesMax: batchBytes - 1, isWholeBatchGuaranteed: false })).toBe(
        "nothing",
      );
      // Two fit, where the segment has two.
      const two = await offsets(log, offset, { sizeBytesMax: 2 * batchBytes + 17 });
      expect([`${base}..${base + 2}`, `${base}..${base + 5}`]).toContain(two);
      // Never past the bound, also when it lies within a batch.
      for (const upTo of [base + 3, base + 4, base + 5, base + 6]) {
        const read = await offsets(log, offset, { upTo });
        const whole = upTo - (upTo % 3);
        if (whole > base + 3 && whole <= 105) expect([`${base}..${base + 2}`, `${base}..${whole - 1}`]).toContain(read);
        else expect(read).toBe(`${base}..${base + 2}`);
      }
      expect(await offsets(log, offset, { upTo: base + 2 })).toBe("nothing");
    }
  });

  test("every way of reading through it gives every batch once", async () => {
    const log = await filled({ isReopened });
    for (const sizeBytesMax of [1, 399, 400, 401, 1000, 4096, 1 << 20]) {
      const seen: number[] = [];
      let offset = 0;
      while (offset < 105) {
        const read = await log.read(offset as Offset, {
          sizeBytesMax,
          upTo: log.durableOffset,
          isWholeBatchGuaranteed: true,
        });
        if (!read.ok || read.value.slice === null) throw new Error(`nothing at ${offset}`);
        const { slice } = read.value;
        expect(slice.firstOffset).toBe(offset);
        const bytes = Buffer.alloc(slice.sizeBytes);
        await slice.file.read(bytes, slice.position);
        for (const batch of batchesIn(bytes)) seen.push(batch.baseOffset);
        slice.release();
        offset = slice.nextOffset;
      }
      expect(seen).toEqual(Array.from({ length: 35 }, (_, batch) => batch * 3));
    }
  });

  test("below the start and past the end is out of range; the end itself is nothing yet", async () => {
    const log = await filled({ isReopened });
    const limits = { sizeBytesMax: 1000, upTo: 105 as Offset, isWholeBatchGuaranteed: true };
    expect(await log.read(-1 as Offset, limits)).toMatchObject({ failure: "out-of-range" });
    expect(await log.read(106 as Offset, limits)).toMatchObject({ failure: "out-of-range" });
    expect(await log.read(105 as Offset, limits)).toMatchObject({ ok: true, value: { slice: null } });
    await log.deleteRecordsBefore(50 as Offset);
    expect(await log.read(49 as Offset, limits)).toMatchObject({ failure: "out-of-range" });
    expect(await offsets(log, 50, { sizeBytesMax: 1 })).toBe("48..50");
  });
});

test("an offset that compaction took leads to the next batch that is there", async () => {
  const log = await (await Bench.open()).create("gaps");
  const { RecordBatchView } = await import("kafka-protocol-ts/records/batch");
  const { encodeBatch } = await import("kafka-protocol-ts/records/record");
  const batches = [0, 7, 30].map(
    (baseOffset) => new RecordBatchView(encodeBatch({ baseOffset, leaderEpoch: 2, records: [{}, {}] })),
  );
  const appended = log.append(
    { bytes: Buffer.alloc(0), batches },
    { leaderEpoch: 9 as never, origin: "replication", nowMs: 0 as never },
  );
  expect(appended).toMatchObject({ ok: true, value: { nextOffset: 32 } });
  await durable(log);
  const found = await Promise.all(
    [0, 1, 2, 6, 8, 9, 29, 30].map((offset) => offsets(log, offset, { sizeBytesMax: 1 })),
  );
  expect(found).toEqual(["0..1", "0..1", "7..8", "7..8", "7..8", "30..31", "30..31", "30..31"]);
  expect(log.epochAt(7 as Offset)).toBe(2);
});

test("a broken range is not served, what is around it is", async () => {
  const log = await filled({ isReopened: false });
  log.quarantine({ firstOffset: 30 as Offset, nextOffset: 42 as Offset, why: "a test says so" });
  expect(await offsets(log, 24, {})).toBe("24..29");
  expect(
    await log.read(33 as Offset, { sizeBytesMax: 1, upTo: 105 as Offset, isWholeBatchGuaranteed: true }),
  ).toMatchObject({
    failure: "corrupt",
  });
  expect(await offsets(log, 42, { sizeBytesMax: 1 })).toBe("42..44");
});

test("a chain of batches that is broken is found by reading, and fenced off", async () => {
  const bench = await Bench.open();
  const config = { "index.interval.bytes": 100 };
  const log = await bench.create("orders", config);
  for (let batch = 0; batch < 20; batch++) append(log, { sizeBytes: 500 });
  const batchBytes = log.queuedBytes / 20;
  await durable(log);
  await bench.directory.close();
  const again = (await Bench.open({ disk: bench.disk, config })).log("orders");
  const file = await bench.disk.open("/data/orders-0/00000000000000000000.log", "write");
  await file.write([Buffer.alloc(61)], 10 * batchBytes);
  const limits = { sizeBytesMax: 1 << 20, upTo: 20 as Offset, isWholeBatchGuaranteed: true };
  expect(await again.read(10 as Offset, limits)).toMatchObject({ failure: "corrupt" });
  expect(again.quarantined).toMatchObject([{ firstOffset: 10, nextOffset: 11 }]);
  expect(await offsets(again, 0, limits)).toBe("0..9");
  expect(await offsets(again, 11, limits)).toBe("11..19");
});

describe("what is not in memory", () => {
  /** A disk whose `.log` and `.index` files have left memory: `readNow` before a `read` of the same page would have waited. */
  function cold(disk: Disk, waits: number[]): Disk {
    const open: Disk["open"] = async (path, mode) => {
      const file = await disk.open(path, mode);
      if (!/\.(log|index)$/.test(path)) return file;
      const warm = new Set<number>();
      const pages = (position: number, sizeBytes: number): number[] =>
        Array.from(
          { length: Math.floor((position + sizeBytes - 1) / 512) - Math.floor(position / 512) + 1 },
          (_, index) => Math.floor(position / 512) + index,
        );
      return Object.assign(Object.create(file) as typeof file, {
        sizeBytes: async () => file.sizeBytes(),
        close: async () => file.close(),
        isInMemory: (position: number, sizeBytes: number) => pages(position, sizeBytes).every((page) => warm.has(page)),
        read: async (into: Uint8Array, position: number) => {
          for (const page of pages(position, into.length)) warm.add(page);
          return file.read(into, position);
        },
        readNow: (into: Uint8Array, position: number) => {
          if (!pages(position, into.length).every((page) => warm.has(page))) waits.push(position);
          return file.readNow(into, position);
        },
      });
    };
    return new Proxy(disk, {
      get: (target, name) => {
        if (name === "open") return open;
        const found: unknown = Reflect.get(target, name, target);
        return typeof found === "function" ? found.bind(target) : found;
      },
    });
  }

  test("is brought there by another thread before it is looked at", async () => {
    const bench = await Bench.open();
    const config = { "segment.bytes": 1 << 20, "index.interval.bytes": 900 };
    const log = await bench.create("orders", config);
    for (let batch = 0; batch < 200; batch++) append(log, { records: [{ value: Buffer.alloc(1000) }] });
    append(log, { sizeBytes: (1 << 20) - 100 });
    await durable(log);
    await bench.directory.close();
    const waits: number[] = [];
    const again = await Bench.open({ disk: cold(bench.disk, waits), config });
    const reopened = again.log("orders");
    // What a start has to look at is its own affair.
    waits.length = 0;
    for (const offset of [3, 77, 150]) {
      expect(await offsets(reopened, offset, { sizeBytesMax: 20_000 })).toBe(`${offset}..${offset + 17}`);
      expect(await offsets(reopened, offset, { sizeBytesMax: 20_000, upTo: offset + 5 })).toBe(
        `${offset}..${offset + 4}`,
      );
    }
    expect(waits).toEqual([]);
  });
});

test("a reader whose end was cut away finds what was written in its place", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders");
  const write = (count: number, sizeBytes: number): void => {
    for (let record = 0; record < count; record++) append(log, { records: [{ value: Buffer.alloc(sizeBytes) }] });
  };
  // More than the newest batches, of which the positions are in memory.
  write(600, 100);
  await durable(log);
  // Each ends at another offset, and eight of them are remembered.
  for (let offset = 40; offset < 48; offset++) expect(await offsets(log, 0, { upTo: offset })).toBe(`0..${offset - 1}`);
  await log.truncateTo(20 as Offset);
  write(600, 70);
  await durable(log);
  for (let offset = 40; offset < 48; offset++) expect(await offsets(log, offset, { upTo: 60 })).toBe(`${offset}..59`);
});
