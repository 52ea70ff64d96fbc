import { silentLogger } from "@millrace/base/logger";
import { Prng } from "@millrace/base/prng";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { append, Bench, compact, durable, readAll, topicIdOf, values, withoutLocks } from "../test/support.ts";
import type { BenchOptions } from "../test/support.ts";
import { FRAMES_UNDER_WAY_MAX, readFrames } from "./journal-frame.ts";
import { LogDirectory } from "./log-directory.ts";
import type { Offset } from "./types.ts";
import { verifyDirectory } from "./verify.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const journalPaths = ["/data/millrace.journal.0", "/data/millrace.journal.1"];
const isJournal = (path: string): boolean => journalPaths.includes(path);
const isSegment = (path: string): boolean => path.endsWith(".log");

async function recorded(limits: BenchOptions["limits"] = {}): Promise<{ bench: Bench; disk: RecordingDisk }> {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const quiet = { checkpointIntervalMs: 1e9, retentionIntervalMs: 1e9 };
  const bench = await Bench.open({ disk, clock, limits: { ...quiet, journalBytes: 256 * KiB, ...limits } });
  return { disk, bench };
}

/** The broker after a loss of power in which nothing survives that was not synced. */
async function afterPowerLoss(disk: RecordingDisk, options: BenchOptions = {}): Promise<Bench> {
  const limits = { journalBytes: 256 * KiB, ...options.limits };
  return Bench.open({ disk: nothingUnsynced(disk), clock: new VirtualClock(), seed: 9, ...options, limits });
}

function nothingUnsynced(disk: RecordingDisk): SimulatedDisk {
  // The luck of unsynced pages is picked from a list that begins with none.
  for (let seed = 1; ; seed++)
    if (new Prng(seed).pick([0, 1, 1, 1, 1]) === 0) return disk.afterPowerLoss(new Prng(seed));
}

async function fill(bench: Bench, topic: string, count: number, sizeBytes = 1000): Promise<void> {
  for (let index = 0; index < count; index++) {
    append(bench.log(topic), { sizeBytes });
    await bench.clock.settle();
  }
}

test("what is acknowledged lies in the journal alone, and comes back from there", async () => {
  const { bench, disk } = await recorded();
  const [a, b] = [await bench.create("a"), await bench.create("b")];
  disk.faults.areSyncsLies = isSegment;
  for (let round = 0; round < 10; round++) {
    append(a, { records: [`a${round}`] });
    append(b, { records: [`b${round}`, "more"] });
    await bench.clock.settle();
  }
  expect([a.durableOffset, b.durableOffset]).toEqual([10, 20]);
  const again = await afterPowerLoss(disk);
  expect(again.report).toMatchObject({ isClean: false, offline: [] });
  expect(again.report.replayedBytes).toBeGreaterThan(500);
  expect(values(await readAll(again.log("a")))).toEqual(Array.from({ length: 10 }, (_, round) => `a${round}`));
  expect((await readAll(again.log("b"))).length).toBe(20);
});

test("one frame holds a turn's batches of all logs, and no segment is synced for it", async () => {
  const { bench, disk } = await recorded();
  const logs = await Promise.all(["a", "b", "c"].map((topic) => bench.create(topic)));
  for (const log of logs) append(log);
  await bench.clock.settle();
  const position = disk.position;
  for (let round = 0; round < 5; round++) for (const log of logs) append(log, { sizeBytes: 1000 });
  await bench.clock.settle();
  const events = disk.events.slice(position);
  expect(events.filter(({ kind }) => kind === "write")).toHaveLength(4);
  expect(events.filter(({ kind }) => kind === "sync")).toHaveLength(1);
});

test("some groups are under way, and a later one is not told before an earlier one", async () => {
  const { bench, disk } = await recorded();
  const topics = Array.from({ length: FRAMES_UNDER_WAY_MAX + 1 }, (_, index) => `topic-${index}`);
  const logs = await Promise.all(topics.map((topic) => bench.create(topic)));
  const release = disk.faults.holdSyncs();
  for (const log of logs) {
    append(log);
    await bench.clock.settle();
  }
  expect(disk.faults.heldSyncs).toBe(FRAMES_UNDER_WAY_MAX);
  // The last one waits in memory.
  expect(logs.map(({ writtenOffset }) => writtenOffset)).toEqual([...topics.slice(1).map(() => 1), 0]);
  const told: string[] = [];
  for (const log of logs) log.onProgress = () => told.push(log.topic);
  release();
  await bench.clock.settle();
  await bench.clock.settle();
  expect(told).toEqual(topics);
});

test("a log is in two groups at most", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  const release = disk.faults.holdSyncs();
  for (let round = 0; round < 4; round++) {
    append(log);
    await bench.clock.settle();
  }
  expect([log.writtenOffset, disk.faults.heldSyncs]).toEqual([2, 2]);
  release();
  await durable(log);
  expect(log.flushedOffset).toBe(4);
});

test("a full file is drained: its segments are synced, the other file goes on, and it is used again", async () => {
  const { bench, disk } = await recorded({ journalBytes: 64 * KiB });
  await bench.create("orders");
  await fill(bench, "orders", 400, 2000);
  const sizes = await Promise.all(journalPaths.map(async (path) => (await disk.stat(path))?.sizeBytes ?? 0));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(64 * KiB);
  expect(Math.min(...sizes)).toBeGreaterThan(0);
  const again = await afterPowerLoss(disk);
  expect(again.log("orders").logEndOffset).toBe(400);
  // All but the newest was in the segments already.
  expect(again.report.replayedBytes).toBeLessThan(150 * KiB);
});

test("a burst is over: its segments are synced, and the next one finds a file with room for it", async () => {
  const { bench, disk } = await recorded({ journalBytes: 8 * MiB });
  const log = await bench.create("orders");
  const append3 = async (): Promise<void> => {
    for (let count = 0; count < 3; count++) {
      append(log, { sizeBytes: MiB });
      await bench.clock.settle();
    }
  };
  await append3();
  await bench.clock.advance(2000);
  const again = await afterPowerLoss(disk, { limits: { journalBytes: 8 * MiB } });
  expect([again.log("orders").logEndOffset, again.report.replayedBytes]).toEqual([3, 0]);
  const { position } = disk;
  await append3();
  const [first] = disk.events.slice(position).filter(({ kind }) => kind === "write");
  expect(first).toMatchObject({ position: 0 });
});

test("a file that waits for its burst to be over is drained at once where somebody needs it", async () => {
  const { bench, disk } = await recorded({ journalBytes: 3 * MiB });
  const log = await bench.create("orders");
  append(log, { sizeBytes: 1200 * KiB });
  await bench.clock.settle();
  // Too little of each for its writeback to be worth a call.
  for (let count = 0; count < 7; count++) await bench.create(`small-${count}`);
  const syncs = (): number => disk.events.filter(({ kind }) => kind === "sync").length;
  const before = syncs();
  for (let count = 0; count < 7; count++) {
    append(bench.log(`small-${count}`), { sizeBytes: 400 * KiB });
    await bench.clock.settle();
  }
  // Of frames, and of a file that grows; not of eight segments.
  expect(syncs() - before).toBeLessThan(10);
  await bench.directory.close();
  const segment = await nothingUnsynced(disk).readFile("/data/orders-0/00000000000000000000.log");
  expect(segment.length).toBeGreaterThanOrEqual(1200 * KiB);
});

test("a stop does not wait for a burst to be over, nor for what is to be overwritten", async () => {
  const { bench, disk } = await recorded({ journalBytes: 8 * MiB });
  const log = await bench.create("orders");
  const append3 = async (): Promise<void> => {
    for (let count = 0; count < 3; count++) append(log, { sizeBytes: MiB });
    await durable(log);
  };
  await append3();
  await log.deleteRecordsBefore(1 as Offset);
  const checkpoint = bench.directory.checkpoint();
  await bench.clock.settle();
  // No time passes.
  await bench.directory.close();
  await checkpoint;
  const again = await Bench.open({ disk: nothingUnsynced(disk), limits: { journalBytes: 8 * MiB } });
  expect(again.report).toMatchObject({ isClean: true });
  expect(again.log("orders").logEndOffset).toBe(3);
});

test("a load that goes on: a full file is drained while the other one fills", async () => {
  const { bench, disk } = await recorded({ journalBytes: 4 * MiB });
  const log = await bench.create("orders");
  for (let count = 0; count < 40; count++) {
    append(log, { sizeBytes: 600 * KiB });
    await bench.clock.settle();
  }
  expect(log.durableOffset).toBe(40);
  const again = await afterPowerLoss(disk, { limits: { journalBytes: 4 * MiB } });
  expect(again.log("orders").logEndOffset).toBe(40);
  expect(again.report.replayedBytes).toBeLessThan(8 * MiB);
});

test("what a log has given up is overwritten, but not where newer frames have done it already", async () => {
  const { bench, disk } = await recorded({ journalBytes: 1 * MiB });
  const log = await bench.create("orders");
  const isIn = async (word: string): Promise<boolean> =>
    (await Promise.all(journalPaths.map(async (path) => disk.readFile(path)))).some((bytes) => bytes.includes(word));
  append(log, { records: ["secret"] });
  await fill(bench, "orders", 100, 5000);
  const wipedBytes = async (): Promise<number> => {
    const { position } = disk;
    await bench.directory.checkpoint();
    const writes = disk.events.slice(position).filter((event) => event.kind === "write" && event.bytes.length > 4096);
    return writes.reduce((sum, event) => sum + (event.kind === "write" ? event.bytes.length : 0), 0);
  };
  await log.deleteRecordsBefore(50 as Offset);
  expect(await isIn("secret")).toBe(true);
  expect(await wipedBytes()).toBeGreaterThan(500_000);
  expect(await isIn("secret")).toBe(false);
  expect(await wipedBytes()).toBe(0);
  append(log, { records: ["another secret"] });
  await log.deleteRecordsBefore(100 as Offset);
  await fill(bench, "orders", 900, 5000);
  expect(await isIn("another secret")).toBe(false);
  expect(await wipedBytes()).toBe(0);
});

test("what a log gave up before a restart is overwritten after it", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  await fill(bench, "orders", 5);
  append(log, { records: ["secret"] });
  await fill(bench, "orders", 3);
  await log.deleteRecordsBefore(6 as Offset);
  await bench.directory.close();
  const again = await Bench.open({ disk, clock: bench.clock, limits: { journalBytes: 256 * KiB } });
  const isIn = async (): Promise<boolean> => (await disk.readFile(journalPaths[0] ?? "")).includes("secret");
  append(again.log("orders"));
  await durable(again.log("orders"));
  expect(await isIn()).toBe(true);
  await again.directory.checkpoint();
  expect(await isIn()).toBe(false);
  expect(await readAll(again.log("orders"))).toHaveLength(4);
});

test("where the other file cannot be drained yet, groups wait", async () => {
  const { bench, disk } = await recorded({ journalBytes: 64 * KiB });
  const log = await bench.create("orders");
  let isHeld = true;
  const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
  const syncFiles = disk.syncFiles.bind(disk);
  disk.syncFiles = async (files) => {
    if (isHeld) await gate;
    await syncFiles(files);
  };
  for (let round = 0; round < 100; round++) {
    append(log, { sizeBytes: 2000 });
    await bench.clock.settle();
  }
  // Both files are full, and the first is not free.
  expect(log.durableOffset).toBeLessThan(40);
  expect(log.durableOffset).toBeGreaterThan(20);
  isHeld = false;
  openGate();
  await durable(log);
  expect(log.durableOffset).toBe(100);
});

test("a clean stop leaves nothing in it, and a start clears it", async () => {
  const { bench, disk } = await recorded();
  await bench.create("orders");
  await fill(bench, "orders", 20);
  await bench.directory.close();
  for (const path of journalPaths)
    expect((await disk.readFile(path)).subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
  const again = await afterPowerLoss(disk);
  expect(again.report).toMatchObject({ isClean: true, replayedBytes: 0 });
  expect(again.log("orders").logEndOffset).toBe(20);
});

test("the power may go at any moment while a start clears it, whichever of its files is the newer one", async () => {
  const limits = { journalBytes: 64 * KiB };
  const newest = new Set<number>();
  for (let lap = 0; newest.size < 2 && lap < 200; lap++) {
    const { bench, disk } = await recorded(limits);
    const log = await bench.create("orders");
    // A file is drained slowly: the other one has frames by then.
    disk.faults.slowDown(bench.clock, (operation, path) => (operation === "sync" && isSegment(path) ? 12 : 0));
    for (let count = 0; count < 10 + lap; count++) {
      append(log, { sizeBytes: 2_000 });
      await bench.clock.advance(1);
    }
    const first = nothingUnsynced(disk);
    const files = await Promise.all(journalPaths.map(async (path) => readFrames(await first.open(path, "read"))));
    const [inFirst, inSecond] = files.map(({ frames }) => frames);
    const newer = (inFirst?.[0]?.sequence ?? -1) > (inSecond?.[0]?.sequence ?? -1) ? 0 : 1;
    // Only so many of them are more than a crash can leave of what was under way.
    const isTelling = files[1 - newer]!.frames.length > 0 && files[newer]!.frames.length > FRAMES_UNDER_WAY_MAX;
    if (!isTelling || newest.has(newer)) continue;
    newest.add(newer);
    const acknowledged = log.durableOffset;
    const again = await RecordingDisk.over(first, "/data");
    await Bench.open({ disk: again, clock: new VirtualClock(), seed: 9, limits });
    for (let position = 0; position <= again.position; position++) {
      const left = again.afterPowerLoss(new Prng(position), position);
      const third = await Bench.open({ disk: left, clock: new VirtualClock(), seed: 10, limits });
      expect(third.log("orders").logEndOffset, `power lost at ${position}`).toBeGreaterThanOrEqual(acknowledged);
    }
  }
  expect(newest).toEqual(new Set([0, 1]));
});

test("a log that was cut does not get back what it had there", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  await bench.create("other");
  for (let index = 0; index < 20; index++) append(log, { records: [`old${index}`] });
  await durable(log);
  const cut = log.truncateTo(5 as Offset);
  await bench.clock.settle();
  await cut;
  append(log, { records: ["new5"] });
  await durable(log);
  await fill(bench, "other", 3);
  const again = await afterPowerLoss(disk);
  expect(values(await readAll(again.log("orders")))).toEqual(["old0", "old1", "old2", "old3", "old4", "new5"]);
});

test("a log that was deleted, and made anew under its name, starts empty", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  await fill(bench, "orders", 5);
  await bench.directory.deleteLog(log);
  const topicId = topicIdOf("orders, the second");
  const { config } = log;
  await bench.directory.createLog({ topic: "orders", partition: 0, topicId, config });
  const again = await afterPowerLoss(disk);
  expect(again.report.replayedBytes).toBe(0);
  expect(again.directory.find("orders", 0, topicId)?.logEndOffset).toBe(0);
});

test("a group too large for a file, and one for which the disk has no room, are synced in their segments", async () => {
  const { bench, disk } = await recorded({ journalBytes: 64 * KiB });
  const log = await bench.create("orders");
  append(log, { sizeBytes: 100 * KiB });
  await durable(log);
  disk.faults.failNextWrite({ code: "ENOSPC", matches: isJournal });
  append(log);
  await durable(log);
  await fill(bench, "orders", 3);
  const again = await afterPowerLoss(disk);
  expect(again.report.offline).toEqual([]);
  expect(again.log("orders").logEndOffset).toBe(5);
});

test("a crash after a frame for which there was no room is no damage, whenever it comes", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  await fill(bench, "orders", 3);
  const position = disk.position;
  disk.faults.failNextWrite({ code: "ENOSPC", matches: isJournal });
  append(log);
  await durable(log);
  await fill(bench, "orders", 3);
  const positions = Array.from({ length: disk.position - position + 1 }, (_, index) => position + index);
  for (const { disk: left } of disk.powerLosses(positions, new Prng(1))) {
    const again = await Bench.open({ disk: left, clock: new VirtualClock(), limits: { journalBytes: 256 * KiB } });
    expect(again.report.offline).toEqual([]);
    expect(again.log("orders").logEndOffset).toBeGreaterThanOrEqual(3);
    await again.directory.close();
  }
});

test("what lies behind a frame that was not written is not believed to be durable", async () => {
  const { bench, disk } = await recorded();
  const [a, b] = [await bench.create("a"), await bench.create("b")];
  const release = disk.faults.holdSyncs();
  append(a);
  await bench.clock.settle();
  // The second is written and waits for its sync; the first fails after it.
  disk.faults.failNextSync({ code: "ENOSPC", matches: isJournal });
  append(b);
  await bench.clock.settle();
  release();
  await Promise.all([durable(a), durable(b)]);
  const again = await afterPowerLoss(disk);
  expect([again.log("a").logEndOffset, again.log("b").logEndOffset]).toEqual([1, 1]);
});

test("a journal that cannot be written takes the directory offline (R16)", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  append(log);
  await durable(log);
  disk.faults.failNextSync({ matches: isJournal });
  append(log);
  await expect(durable(log)).rejects.toThrow("millrace.journal");
  expect(log.durableOffset).toBe(1);
  await bench.directory.close();
});

test("a torn frame at the end is nobody's loss", async () => {
  const { bench, disk } = await recorded();
  await bench.create("orders");
  await fill(bench, "orders", 5);
  const file = await disk.open(journalPaths[0] as string, "write");
  await file.write([Buffer.alloc(100, 7)], 4 * 4096 + 200);
  await file.sync();
  const again = await afterPowerLoss(disk);
  expect(again.log("orders").logEndOffset).toBe(4);
});

test("a broken frame with newer ones behind it refuses the start, by place, and changes nothing", async () => {
  const { bench, disk } = await recorded();
  await bench.create("orders");
  await fill(bench, "orders", 8);
  const image = nothingUnsynced(disk);
  const file = await image.open(journalPaths[0] as string, "write");
  await file.write([Buffer.alloc(1, 7)], 2 * 4096 + 300);
  const before = await image.readFile(journalPaths[0] as string);
  const opened = await LogDirectory.open({
    path: "/data",
    disk: image,
    clock: new VirtualClock(),
    random: { bytes: (count) => Buffer.alloc(count, 5), fraction: () => 0.5 },
    logger: silentLogger,
    clusterId: null,
    nodeId: 1,
  });
  expect(opened).toMatchObject({ ok: false, failure: "broken-journal" });
  expect(opened.ok ? "" : opened.message).toMatch(
    /millrace\.journal\.0 position 8192: .*acknowledged records may be missing/,
  );
  expect((await image.readFile(journalPaths[0] as string)).equals(before)).toBe(true);
  const { problems } = await verifyDirectory(image, "/data");
  expect(problems).toMatchObject([{ kind: "corrupt", message: /position 8192/ }]);
});

test("frames of an earlier session, or an earlier lap, are not taken for new ones", async () => {
  const { bench, disk } = await recorded({ journalBytes: 64 * KiB });
  await bench.create("orders");
  await fill(bench, "orders", 200, 2000);
  await bench.directory.checkpoint();
  await fill(bench, "orders", 2);
  const second = await afterPowerLoss(disk, { limits: { journalBytes: 64 * KiB } });
  expect(second.log("orders").logEndOffset).toBe(202);
  append(second.log("orders"), { records: ["x"] });
  await durable(second.log("orders"));
  const third = await Bench.open({
    disk: withoutLocks(second.disk),
    clock: new VirtualClock(),
    seed: 10,
    limits: { journalBytes: 64 * KiB },
  });
  expect(third.report.offline).toEqual([]);
  expect(third.log("orders").logEndOffset).toBe(203);
});

test("without a journal its files go", async () => {
  const { bench, disk } = await recorded();
  await bench.create("orders");
  await fill(bench, "orders", 5);
  const again = await afterPowerLoss(disk, { limits: { journalBytes: 0 } });
  expect(again.log("orders").logEndOffset).toBe(5);
  expect((await again.disk.list("/data")).map(({ name }) => name)).not.toContain("millrace.journal.0");
});

test("a directory that is looked at after a crash is judged with its journal", async () => {
  const { bench, disk } = await recorded();
  await bench.create("orders", { "segment.bytes": 8000 });
  await fill(bench, "orders", 30);
  const image = nothingUnsynced(disk);
  const { logs, problems } = await verifyDirectory(image, "/data");
  expect(logs).toMatchObject([{ batches: 30, endOffset: 30 }]);
  expect(problems.filter(({ kind }) => kind === "corrupt")).toEqual([]);
});

test("what is removed is not held until the journal's file is full: the disk gets it back", async () => {
  const { bench, disk } = await recorded();
  const config = { "segment.bytes": 4 * KiB, "retention.bytes": 1, "file.delete.delay.ms": 100 };
  const [kept, deleted] = [await bench.create("kept", config), await bench.create("deleted")];
  await fill(bench, "kept", 6);
  await fill(bench, "deleted", 1);
  const { active } = deleted.segments();
  expect([kept.segmentCount, active.isOpen]).toEqual([2, true]);
  await bench.directory.retain();
  await bench.directory.deleteLog(deleted);
  await bench.clock.advance(100);
  await bench.clock.settle();
  expect(active.isOpen).toBe(false);
  const names = (await disk.list("/data/kept-0")).map(({ name }) => name);
  expect(names.filter((name) => name.includes(".log"))).toEqual(["00000000000000000004.log"]);
});

test("nor what compaction has replaced", async () => {
  const { bench } = await recorded();
  const log = await bench.create("orders", { "segment.bytes": 4 * KiB, "cleanup.policy": ["compact"] });
  for (let index = 0; index < 6; index++) {
    append(log, { records: [{ timestamp: 1, key: Buffer.from("key"), value: Buffer.alloc(1000) }] });
    await bench.clock.settle();
  }
  const { first } = log.segments();
  expect(first.isOpen).toBe(true);
  await compact(bench, log);
  await bench.clock.settle();
  expect([log.segments().first === first, first.isOpen]).toEqual([false, false]);
});
