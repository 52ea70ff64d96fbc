import { Prng } from "@millrace/base/prng";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { append, Bench, durable, readAll, tryAppend, values } from "../test/support.ts";
import type { BenchOptions } from "../test/support.ts";
import type { PartitionLog } from "./log.ts";
import type { Offset } from "./types.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const HELD_MS = 20;

interface Held {
  readonly bench: Bench;
  readonly disk: RecordingDisk;
  readonly inner: SimulatedDisk;
  readonly log: PartitionLog;
}

/** A log that is busy, so that what comes next is held. */
async function busy(limits: BenchOptions["limits"] = {}): Promise<Held> {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const quiet = { checkpointIntervalMs: 1e9, retentionIntervalMs: 1e9 };
  const bench = await Bench.open({
    disk,
    clock,
    limits: { ...quiet, journalBytes: 4 * MiB, heldBytesMax: 16 * MiB, ...limits },
  });
  const log = await bench.create("orders");
  append(log, { records: ["first"] });
  await clock.settle();
  return { bench, disk, inner, log };
}

async function appendOneByOne({ bench, log }: Held, names: readonly string[]): Promise<void> {
  for (const name of names) {
    append(log, { records: [name] });
    await bench.clock.settle();
  }
}

/** The sizes of the writes to segments since. */
function writesSince(disk: RecordingDisk, position: number): readonly number[] {
  const segments = new Set(
    disk.events.flatMap((event) => (event.kind === "create" && event.at.name.endsWith(".log") ? [event.node] : [])),
  );
  return disk.events
    .slice(position)
    .flatMap((event) => (event.kind === "write" && segments.has(event.node) ? [event.bytes.length] : []));
}

function sizeOnDisk({ inner }: Held, topic = "orders"): Promise<number> {
  return inner.stat(`/data/${topic}-0/00000000000000000000.log`).then((stat) => stat?.sizeBytes ?? 0);
}

test("batches of several groups count at once, and are written together a little later", async () => {
  const held = await busy();
  const { bench, disk, log } = held;
  const position = disk.position;
  await appendOneByOne(held, ["a", "b", "c"]);
  expect([log.durableOffset, log.flushedOffset, log.writtenOffset]).toEqual([4, 4, 4]);
  expect(writesSince(disk, position)).toEqual([]);
  await bench.clock.advance(HELD_MS);
  expect(writesSince(disk, position)).toHaveLength(1);
  expect(log.sizeBytes).toBe(await sizeOnDisk(held));
  expect(values(await readAll(log))).toEqual(["first", "a", "b", "c"]);
});

test("half a mebibyte is written without waiting, with one call", async () => {
  const { bench, disk, log } = await busy();
  const position = disk.position;
  for (let batch = 0; batch < 7; batch++) {
    append(log, { sizeBytes: 80 * KiB });
    await bench.clock.settle();
  }
  const writes = writesSince(disk, position);
  expect(writes).toHaveLength(1);
  expect(writes[0]).toBeGreaterThanOrEqual(512 * KiB);
  expect(log.durableOffset).toBe(8);
});

test("a log that has something to write now and then has it written at once", async () => {
  const { bench, disk } = await busy();
  const logs = await Promise.all(Array.from({ length: 10 }, (_, index) => bench.create(`topic-${index}`)));
  await bench.clock.advance(HELD_MS);
  const position = disk.position;
  for (let round = 0; round < 3; round++) {
    for (const log of logs) {
      append(log);
      await bench.clock.settle();
    }
  }
  expect(writesSince(disk, position)).toHaveLength(30);
});

test("who reads at the end sees at once what counts, and what comes next is not held", async () => {
  const held = await busy();
  const { disk, log } = held;
  const position = disk.position;
  await appendOneByOne(held, ["a", "b"]);
  expect(values(await readAll(log))).toEqual(["first", "a", "b"]);
  expect(writesSince(disk, position)).toHaveLength(1);
  await appendOneByOne(held, ["c", "d"]);
  expect(writesSince(disk, position)).toHaveLength(3);
  expect(values(await readAll(log, 3))).toEqual(["c", "d"]);
});

test("a reader waits for what is on its way, and sees all of it", async () => {
  const held = await busy();
  const { bench, disk, log } = held;
  const goOn = disk.faults.slowDown(bench.clock, (operation, path) =>
    operation === "write" && path.endsWith(".log") ? 5 : 0,
  );
  for (let batch = 0; batch < 9; batch++) {
    append(log, { sizeBytes: 80 * KiB });
    await bench.clock.settle();
  }
  expect([log.durableOffset, (await sizeOnDisk(held)) < 512 * KiB]).toEqual([10, true]);
  const reading = readAll(log);
  await bench.clock.advance(20);
  expect(await reading).toHaveLength(10);
  goOn();
});

test("a search by time finds what counts, also where it is held; and the log's size is told with it", async () => {
  const { bench, log } = await busy();
  const sizeBytes = log.sizeBytes;
  append(log, { records: ["later"], timestamp: 4e12 });
  await bench.clock.settle();
  expect(log.sizeBytes).toBeGreaterThan(sizeBytes);
  expect(await log.recordAtOrAfter(4e12)).toMatchObject({ value: { offset: 1 } });
  append(log, { records: ["latest"], timestamp: 5e12 });
  await bench.clock.settle();
  expect(await log.maxTimestampRecord()).toMatchObject({ value: { offset: 2 } });
});

test.for(["the machine loses power", "the process dies"])(
  "what is held comes back from the journal when %s",
  async (end) => {
    const held = await busy();
    await appendOneByOne(held, ["a", "b", "c"]);
    const { inner, log } = held;
    expect(log.durableOffset).toBe(4);
    const disk = end === "the process dies" ? inner.afterProcessDeath() : held.disk.afterPowerLoss(new Prng(1));
    const again = await Bench.open({ disk, limits: { journalBytes: 4 * MiB } });
    expect(again.report).toMatchObject({ isClean: false, offline: [] });
    expect(values(await readAll(again.log("orders")))).toEqual(["first", "a", "b", "c"]);
  },
);

test("a file of the journal is given up only when what it holds is in the segments", async () => {
  const held = await busy({ journalBytes: 64 * KiB });
  const { bench, disk, log } = held;
  const names = Array.from({ length: 60 }, (_, index) => `${index}:${"x".repeat(3000)}`);
  for (const name of names) {
    append(log, { records: [name] });
    await bench.clock.settle();
    const again = await Bench.open({
      disk: disk.afterPowerLoss(new Prng(names.indexOf(name))),
      limits: { journalBytes: 64 * KiB },
    });
    expect(await readAll(again.log("orders"))).toHaveLength(log.durableOffset);
  }
});

test("what the journal cannot take is in its segment, and synced, before it counts", async () => {
  const { bench, disk, log } = await busy({ journalBytes: 64 * KiB });
  append(log, { sizeBytes: 100 * KiB });
  await bench.clock.settle();
  await durable(log);
  const again = await Bench.open({ disk: disk.afterPowerLoss(new Prng(1)), limits: { journalBytes: 64 * KiB } });
  expect(await readAll(again.log("orders"))).toHaveLength(2);
});

test("a cut, a roll, a checkpoint and the end of the broker find all of it in the file", async () => {
  const held = await busy();
  const { bench, inner, log } = held;
  await appendOneByOne(held, ["a", "b", "c"]);
  await log.truncateTo(3 as Offset);
  expect(values(await readAll(log))).toEqual(["first", "a", "b"]);
  await appendOneByOne(held, ["d"]);
  await log.roll();
  expect(log.segmentCount).toBe(2);
  await appendOneByOne(held, ["e", "f"]);
  await log.checkpoint();
  expect(log.recoveryPoint).toBe(6);
  await appendOneByOne(held, ["g", "h"]);
  await bench.directory.close();
  const again = await Bench.open({ disk: inner.afterProcessDeath() });
  expect(again.report).toMatchObject({ isClean: true, replayedBytes: 0, offline: [] });
  expect(values(await readAll(again.log("orders")))).toEqual(["first", "a", "b", "d", "e", "f", "g", "h"]);
});

test("another durability takes the order over: what is held comes first", async () => {
  const held = await busy();
  const { log } = held;
  await appendOneByOne(held, ["a", "b"]);
  log.configure({ ...log.config, "millrace.durability": "os" });
  await appendOneByOne(held, ["c"]);
  expect(values(await readAll(log))).toEqual(["first", "a", "b", "c"]);
});

test("a topic is deleted with what is held of it", async () => {
  const held = await busy();
  const { bench, inner, log } = held;
  await appendOneByOne(held, ["a", "b"]);
  await bench.directory.deleteLog(log);
  await bench.clock.advance(log.config["file.delete.delay.ms"] + 1000);
  expect((await inner.list("/data")).filter(({ kind }) => kind === "directory")).toEqual([]);
  await bench.directory.close();
});

test("a segment that cannot be written takes the directory offline (R16)", async () => {
  const held = await busy();
  const { bench, disk, log } = held;
  disk.faults.failNextWrite({ matches: (path) => path.endsWith(".log") });
  await appendOneByOne(held, ["a", "b"]);
  await bench.clock.advance(HELD_MS);
  expect(log.failure?.kind).toBe("disk-failed");
  const again = await Bench.open({ disk: held.inner.afterProcessDeath(), limits: { journalBytes: 4 * MiB } });
  expect(values(await readAll(again.log("orders")))).toEqual(["first", "a", "b"]);
});

/** Two batches count that have no space in their segment. */
async function outOfSpace(): Promise<Held & { readonly volume: { spaceBytes: number } }> {
  const held = await busy();
  const volume = { matches: (path: string) => path.includes("orders-0"), spaceBytes: 30 };
  held.disk.faults.volumes.push(volume);
  await appendOneByOne(held, ["a", "b"]);
  append(held.log, { records: ["c"] });
  await held.bench.clock.advance(HELD_MS);
  expect([held.log.isDiskFull, held.log.failure, held.log.durableOffset]).toEqual([true, null, 4]);
  return { ...held, volume };
}

test("the disk is full when it is to be written: what counts is kept, and is there when there is space again", async () => {
  const held = await outOfSpace();
  const { bench, log, volume } = held;
  expect(tryAppend(log, { records: ["refused"] })).toMatchObject({ failure: { kind: "disk-full" } });
  // What is in the file is served; the rest has to wait.
  expect(values(await readAll(log))).toEqual(["first"]);
  expect(await log.truncateTo(2 as Offset)).toMatchObject({ ok: false });
  await bench.clock.advance(5000);
  expect(log.isDiskFull).toBe(true);
  volume.spaceBytes = Infinity;
  await bench.clock.advance(5000);
  expect([log.isDiskFull, log.failure]).toEqual([false, null]);
  await appendOneByOne(held, ["d"]);
  await durable(log);
  expect(values(await readAll(log))).toEqual(["first", "a", "b", "c", "d"]);
  await bench.directory.close();
  const again = await Bench.open({ disk: held.inner.afterProcessDeath() });
  expect(again.report).toMatchObject({ isClean: true, offline: [] });
  expect(values(await readAll(again.log("orders")))).toEqual(["first", "a", "b", "c", "d"]);
});

test("nothing is held where the disk has little space: what counts is in its segment", async () => {
  const held = await busy();
  const { disk, log } = held;
  disk.faults.spaceBytes = 1024 * MiB;
  const position = disk.position;
  await appendOneByOne(held, ["a", "b"]);
  expect(writesSince(disk, position)).toHaveLength(2);
  expect(log.durableOffset).toBe(3);
});

test("what neither the segment nor the journal has space for is refused, with all behind it", async () => {
  const held = await busy();
  const { bench, disk, log } = held;
  await appendOneByOne(held, ["a"]);
  await bench.clock.advance(HELD_MS);
  const told: string[] = [];
  log.onCut = (endOffset, why) => told.push(`${why} ${endOffset}`);
  const volume = { matches: (path: string) => path !== "/data", spaceBytes: 0 };
  disk.faults.volumes.push(volume);
  append(log, { records: ["refused"] });
  append(log, { records: ["refused too"] });
  await bench.clock.settle();
  expect([log.isDiskFull, log.durableOffset, log.logEndOffset]).toEqual([true, 2, 2]);
  expect(told.at(-1)).toBe("disk-full 2");
  expect(tryAppend(log, { records: ["refused"] })).toMatchObject({ failure: { kind: "disk-full" } });
  volume.spaceBytes = Infinity;
  await bench.clock.advance(5000);
  expect([log.isDiskFull, log.failure]).toEqual([false, null]);
  expect(append(log, { records: ["b"] }).firstOffset).toBe(2);
  await durable(log);
  expect(values(await readAll(log))).toEqual(["first", "a", "b"]);
});

test("a stop on the full disk leaves it in the journal, for the next start", async () => {
  const { bench, inner, log } = await outOfSpace();
  await bench.directory.close();
  const again = await Bench.open({ disk: inner.afterProcessDeath(), limits: { journalBytes: 4 * MiB } });
  expect(again.report).toMatchObject({ isClean: false, offline: [] });
  expect(values(await readAll(again.log("orders")))).toEqual(["first", "a", "b", "c"]);
  expect(log.durableOffset).toBe(4);
});

test("other logs go on meanwhile, and a checkpoint waits; a log that is deleted makes way", async () => {
  const held = await outOfSpace();
  const { bench, log } = held;
  const other = await bench.create("other");
  append(other, { records: ["x"] });
  await bench.clock.settle();
  expect(other.durableOffset).toBe(1);
  const checkpoint = bench.directory.checkpoint();
  await bench.clock.advance(1000);
  await bench.directory.deleteLog(log);
  await checkpoint;
  append(other, { records: ["y"] });
  await bench.clock.settle();
  expect(values(await readAll(other))).toEqual(["x", "y"]);
  await bench.directory.close();
  const again = await Bench.open({ disk: held.inner.afterProcessDeath() });
  expect(again.report.isClean).toBe(true);
});
