import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { Prng } from "@millrace/base/prng";
import { describe, expect, test } from "vitest";
import { append, Bench, durable, readAll, smallRoom } from "../test/support.ts";
import type { PartitionLog } from "./log.ts";
import { ZEROED_BYTES_MAX } from "./segment-room.ts";
import { verifyDirectory } from "./verify.ts";

const room = { ...smallRoom, fromBytes: 1000 };
const path = "/data/orders-0/00000000000000000000.log";

async function setUp(config: Parameters<Bench["create"]>[1] = {}, isJournaled = false) {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  // Little enough that a recovery need not begin at the start of a log.
  const unsyncedBytesMax = 4000;
  const limits = { room, unsyncedBytesMax, checkpointBytesMin: 1, journalBytes: isJournaled ? 131_072 : 0 };
  const bench = await Bench.open({ disk, clock, limits });
  const log = await bench.create("orders", config);
  // Its file is open from here on, so that writes are made on the calling thread.
  append(log, { records: ["first"] });
  await durable(log);
  const sizeOf = async (of = path): Promise<number> => (await disk.stat(of))?.sizeBytes ?? -1;
  /** Up to where blocks were set aside for the file, and where it was cut. */
  const reservedFor = (of: string): readonly number[] =>
    disk.reservations.filter((each) => each.path === of).map(({ sizeBytes }) => sizeBytes);
  return { clock, inner, disk, bench, log, limits, sizeOf, reservedFor };
}

/** One after the other; gives where the first begins. */
async function appendFive(log: PartitionLog): Promise<number> {
  const firstBytes = log.sizeBytes;
  for (let batch = 0; batch < 5; batch++) {
    append(log, { sizeBytes: 3000 });
    await durable(log);
  }
  return firstBytes;
}

/** What a death of the process leaves of two segments, of which neither is finished; and where each of the first one's batches ends. */
async function rolled(isJournaled: boolean) {
  const { inner, log, limits } = await setUp({ "segment.bytes": 10_000 }, isJournaled);
  const firstBytes = await appendFive(log);
  const batchBytes = (log.sizeBytes - firstBytes) / 5;
  const positions = [0, 1, 2, 3].map((count) => firstBytes + count * batchBytes) as [number, number, number, number];
  return { image: inner.afterProcessDeath(), limits, positions };
}

/** With zeros. */
async function overwrite(image: SimulatedDisk, position: number, sizeBytes: number): Promise<void> {
  const file = await image.open(path, "write");
  file.writeNow(Buffer.alloc(sizeBytes), position);
  await file.close();
}

describe("behind a segment that grows with large writes", () => {
  test("there are zeros in whole pieces, and blocks for as much again as it holds, up to a bound", async () => {
    const { log, sizeOf, reservedFor } = await setUp();
    expect([await sizeOf(), reservedFor(path)]).toEqual([log.sizeBytes, []]);
    append(log, { sizeBytes: 3000 });
    await durable(log);
    const first = log.sizeBytes;
    expect(await sizeOf()).toBe(room.zeroedBytes);
    for (let batch = 0; batch < 20; batch++) {
      append(log, { sizeBytes: 3000 });
      await durable(log);
      expect((await sizeOf()) % room.zeroedBytes).toBe(0);
      expect((await sizeOf()) - log.sizeBytes).toBeLessThan(room.zeroedBytes);
    }
    const reserved = reservedFor(path);
    expect(reserved[0]).toBe(2 * first);
    for (const [index, sizeBytes] of reserved.entries())
      expect(sizeBytes - (reserved[index - 1] ?? 0)).toBeGreaterThan(0);
    expect((reserved.at(-1) ?? 0) - log.sizeBytes).toBeLessThanOrEqual(room.reservedBytes);
    expect(await readAll(log)).toHaveLength(22);
  });

  test("nothing is left when it is closed for appends, and when the log is", async () => {
    const { bench, log, sizeOf } = await setUp({ "segment.bytes": 10_000 });
    const firstBytes = await appendFive(log);
    await bench.clock.settle();
    const batchBytes = (log.sizeBytes - firstBytes) / 5;
    const next = "/data/orders-0/00000000000000000004.log";
    expect([await sizeOf(), await sizeOf(next)]).toEqual([firstBytes + 3 * batchBytes, 2 * room.zeroedBytes]);
    await bench.directory.close();
    expect(await sizeOf(next)).toBe(2 * batchBytes);
  });

  test("nothing is left of blocks that come late", async () => {
    const { clock, disk, bench, log, reservedFor } = await setUp();
    disk.faults.slowDown(clock, (operation) => (operation === "reserve" ? 500 : 0));
    append(log, { sizeBytes: 3000 });
    await durable(log);
    const closed = bench.directory.close();
    await clock.advance(1000);
    await closed;
    expect(reservedFor(path)).toEqual([2 * log.sizeBytes, log.sizeBytes]);
  });

  test("nothing is left when it is at rest, durably, and on it goes from there", async () => {
    const { disk, bench, log, sizeOf } = await setUp();
    append(log, { sizeBytes: 3000 });
    await durable(log);
    await bench.directory.checkpoint();
    expect(await sizeOf()).toBe(room.zeroedBytes);
    await bench.directory.checkpoint();
    expect(await sizeOf()).toBe(log.sizeBytes);
    for (let batch = 0; batch < 2; batch++) {
      append(log, { sizeBytes: 3000 });
      await durable(log);
    }
    expect(await sizeOf()).toBe(3 * room.zeroedBytes);
    for (let count = 0; count < 2; count++) await bench.directory.checkpoint();
    expect(await readAll(log)).toHaveLength(4);
    await bench.directory.close();
    const lost = await Bench.open({ disk: disk.afterPowerLoss(new Prng(1)) });
    expect(lost.report).toMatchObject({ isClean: true, offline: [] });
    expect(await readAll(lost.log("orders"))).toHaveLength(4);
  });

  test("preallocated blocks stay as long as the segment may grow", async () => {
    const { bench, log, reservedFor } = await setUp({ preallocate: true, "segment.bytes": 50_000 });
    append(log, { sizeBytes: 3000 });
    await durable(log);
    for (let count = 0; count < 3; count++) await bench.directory.checkpoint();
    expect(reservedFor(path)).toEqual([50_000]);
  });

  test("a disk that has no room for it has it for the batches", async () => {
    const { disk, log, sizeOf, reservedFor } = await setUp();
    const firstBytes = log.sizeBytes;
    disk.faults.spaceBytes = 3500;
    append(log, { sizeBytes: 3000 });
    await durable(log);
    expect([(await sizeOf()) - firstBytes, reservedFor(path), log.isDiskFull]).toEqual([3500, [], false]);
    expect(await readAll(log)).toHaveLength(2);
  });

  test("blocks that fail otherwise than for want of room take the directory offline", async () => {
    const { disk, log, clock } = await setUp();
    disk.faults.failNextReservation({ code: "EIO" });
    append(log, { sizeBytes: 3000 });
    await clock.settle();
    expect(log.failure?.kind).toBe("disk-failed");
  });
});

describe.for([false, true])("after a death of the process, with a journal=%s", (isJournaled) => {
  test("the zeros go, and nothing is said to be cut", async () => {
    const { inner, log, sizeOf, limits } = await setUp({}, isJournaled);
    append(log, { sizeBytes: 3000 });
    await durable(log);
    const { sizeBytes } = log;
    expect(await sizeOf()).toBeGreaterThan(sizeBytes);
    const image = inner.afterProcessDeath();
    const found = await verifyDirectory(image, "/data");
    expect(found.problems.map(({ kind }) => kind)).toEqual(["tail"]);
    const again = await Bench.open({ disk: image, limits });
    expect(again.report).toMatchObject({ cutBytes: 0, offline: [] });
    expect((await image.stat(path))?.sizeBytes).toBe(sizeBytes);
    append(again.log("orders"), { sizeBytes: 3000 });
    await durable(again.log("orders"));
    expect(await readAll(again.log("orders"))).toHaveLength(3);
  });

  test("zeros behind a segment that is not the last are no gap", async () => {
    const { image, limits, positions } = await rolled(isJournaled);
    await overwrite(image, positions[3], 5000);
    const { problems } = await verifyDirectory(image, "/data");
    expect(problems.map(({ kind }) => kind)).toEqual(["tail", "tail"]);
    const again = await Bench.open({ disk: image, limits });
    expect(again.report).toMatchObject({ cutBytes: 0, offline: [] });
    expect(await readAll(again.log("orders"))).toHaveLength(6);
  });

  test("zeros in the place of what was acknowledged are corruption, and nothing is changed", async () => {
    const { image, limits, positions } = await rolled(isJournaled);
    for (const name of ["millrace.journal.0", "millrace.journal.1"]) await image.removeFile(`/data/${name}`);
    const [, , lastAt] = positions;
    await overwrite(image, lastAt, 8000);
    const again = await Bench.open({ disk: image, limits });
    expect(again.report.offline).toMatchObject([{ message: expect.stringContaining(`position ${lastAt}`) as string }]);
    expect((await image.stat(path))?.sizeBytes).toBe(lastAt + 8000);
  });

  test("more zeros than room ever has are a torn tail, and said to be cut", async () => {
    const { inner, log, limits } = await setUp({}, isJournaled);
    const image = inner.afterProcessDeath();
    await overwrite(image, log.sizeBytes, ZEROED_BYTES_MAX);
    const again = await Bench.open({ disk: image, limits });
    expect(again.report).toMatchObject({ cutBytes: ZEROED_BYTES_MAX, offline: [] });
    expect(await readAll(again.log("orders"))).toHaveLength(1);
  });

  test("what was found without them stays found when the power fails next", async () => {
    const { inner, bench, log, limits } = await setUp({ "index.interval.bytes": 1 }, isJournaled);
    await appendFive(log);
    await bench.directory.checkpoint();
    const disk = await RecordingDisk.over(inner.afterProcessDeath(), "/data");
    const again = await Bench.open({ disk, limits });
    // Else it would find out epochs anew, and sync the log for them.
    expect(again.report.recoveredBytes).toBeLessThan(log.sizeBytes);
    await again.directory.close();
    for (let seed = 1; seed <= 10; seed++) {
      const lost = await Bench.open({ disk: disk.afterPowerLoss(new Prng(seed)), limits });
      expect(lost.report).toMatchObject({ isClean: true, offline: [] });
      expect(await readAll(lost.log("orders"))).toHaveLength(6);
    }
  });
});
