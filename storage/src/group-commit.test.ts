import type { DiskEvent } from "@millrace/simulator/crash-model";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { append, Bench, durable, readAll, smallRoom, tryAppend, values } from "../test/support.ts";
import type { BenchOptions } from "../test/support.ts";
import type { LogConfig } from "./log-config.ts";

const KiB = 1024;

async function recorded(options: Pick<BenchOptions, "limits"> = {}): Promise<{ bench: Bench; disk: RecordingDisk }> {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  return { disk, bench: await Bench.open({ disk, clock, limits: { retentionIntervalMs: 1e9, ...options.limits } }) };
}

/** What happened to the disk since, a word an event: `write:9000 write:500 sync sync`. */
function since(disk: RecordingDisk, position: number): string {
  const word = (event: DiskEvent): string => (event.kind === "write" ? `write:${event.bytes.length}` : event.kind);
  return disk.events.slice(position).map(word).join(" ");
}

test("one write a log and one sync for all that a turn brings", async () => {
  const { bench, disk } = await recorded();
  const logs = await Promise.all(["a", "b", "c"].map((topic) => bench.create(topic)));
  for (const log of logs) append(log);
  await bench.clock.settle();
  const position = disk.position;
  for (let round = 0; round < 5; round++) for (const log of logs) append(log, { sizeBytes: 1000 });
  await bench.clock.settle();
  const bytes = 5 * (logs[0]?.sizeBytes ?? 0) > 0 ? since(disk, position) : "";
  expect(bytes).toMatch(/^write:(\d+) write:\1 write:\1 sync sync sync$/);
});

test("what arrives during a sync is the next group; much of it is written meanwhile, and nothing of a third", async () => {
  const { bench, disk } = await recorded({ limits: { unsyncedBytesMax: 20 * KiB, eagerBytes: 5000 } });
  const log = await bench.create("orders");
  append(log);
  await bench.clock.settle();
  const position = disk.position;
  const release = disk.faults.holdSyncs();
  append(log, { sizeBytes: 2000 });
  await bench.clock.settle();
  expect(since(disk, position)).toMatch(/^write:\d+$/);
  append(log, { sizeBytes: 2000 });
  await bench.clock.settle();
  // Too little to be worth a call of its own.
  expect(since(disk, position).split(" ")).toHaveLength(1);
  for (let round = 0; round < 20; round++) append(log, { sizeBytes: 2000 });
  await bench.clock.settle();
  await bench.clock.settle();
  const writes = since(disk, position)
    .split(" ")
    .map((word) => Number(word.split(":")[1]));
  // Half of the bound and no more: the second group is full.
  expect(writes.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(20 * KiB);
  expect(writes.slice(1).reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(10 * KiB);
  expect(writes.slice(1).reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(7 * KiB);
  expect(log.flushedOffset).toBe(1);
  expect(log.queuedBytes).toBeGreaterThan(20 * KiB);
  expect(bench.directory.queuedBytes).toBe(log.queuedBytes);
  release();
  await durable(log);
  expect(log.flushedOffset).toBe(23);
  expect(bench.directory.queuedBytes).toBe(0);
});

test("at no moment is more than the bound written and not synced, whatever the sizes", async () => {
  const bound = 16 * KiB;
  const { bench, disk } = await recorded({
    limits: { unsyncedBytesMax: bound, eagerBytes: 1, room: { ...smallRoom, fromBytes: Infinity } },
  });
  const log = await bench.create("orders", { "segment.bytes": 64 * KiB });
  const sizes = [300, 9000, 40_000, 5000, 12_000, 700, 8000, 8000, 8000, 300, 20_000, 100];
  for (let round = 0; round < 60; round++) {
    append(log, { sizeBytes: Math.max(100, sizes[round % sizes.length] ?? 0) });
    if (round % 7 === 0) await Promise.resolve();
    if (round % 11 === 0) await bench.clock.settle();
  }
  await durable(log);
  const logNodes = new Set(
    disk.events.flatMap((event) => (event.kind === "create" && event.at.name.endsWith(".log") ? [event.node] : [])),
  );
  let unsynced: { position: number; bytes: number; node: number }[] = [];
  for (const [position, event] of disk.events.entries()) {
    if (event.kind === "write" && logNodes.has(event.node)) {
      unsynced.push({ position, bytes: event.bytes.length, node: event.node });
      const total = unsynced.reduce((sum, { bytes }) => sum + bytes, 0);
      // A batch larger than half the bound is unsynced alone.
      if (unsynced.length > 1) expect(total).toBeLessThanOrEqual(bound);
      // And a segment begins when the one before it is durable.
      expect(new Set(unsynced.map(({ node }) => node)).size).toBe(1);
    }
    if (event.kind === "sync")
      unsynced = unsynced.filter((each) => each.node !== event.node || each.position >= event.startedAt);
  }
  expect(await readAll(log)).toHaveLength(60);
});

test("what comes all at once is parted: one half is synced and told while the other is on its way", async () => {
  const { bench, disk } = await recorded({ limits: { eagerBytes: 3000 } });
  const [a, b] = [await bench.create("a"), await bench.create("b")];
  const inStep = async (): Promise<void> => {
    append(a, { sizeBytes: 2000 });
    append(b, { sizeBytes: 2000 });
    await bench.clock.settle();
  };
  await inStep();
  const release = disk.faults.holdSyncs();
  await inStep();
  // Both are written, but only the first waits for the sync under way.
  expect([a.writtenOffset, b.writtenOffset, disk.faults.heldSyncs]).toEqual([2, 1, 1]);
  append(b, { sizeBytes: 2000 });
  await bench.clock.settle();
  expect(b.writtenOffset).toBe(3);
  const told: string[] = [];
  a.onProgress = () => told.push("a");
  b.onProgress = () => told.push("b");
  release();
  await bench.clock.settle();
  expect(told).toEqual(["a", "b"]);
});

test("a new segment's name is durable before the first batch in it counts", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders", { "segment.bytes": 2000 });
  append(log, { sizeBytes: 1500 });
  await durable(log);
  const position = disk.position;
  const release = disk.faults.holdSyncs();
  append(log, { sizeBytes: 1500 });
  await bench.clock.settle();
  expect(log.durableOffset).toBe(1);
  release();
  await durable(log);
  const words = since(disk, position).split(" ");
  expect(words.indexOf("sync-directory")).toBeGreaterThan(words.indexOf("create"));
});

test("a slow reader of acknowledgements holds nobody up: batches keep their order over many groups", async () => {
  const { bench } = await recorded();
  const log = await bench.create("orders");
  const order: number[] = [];
  const waiting: number[] = [];
  log.onProgress = () => {
    while ((waiting[0] ?? Infinity) <= log.durableOffset) order.push(waiting.shift() ?? -1);
  };
  for (let batch = 0; batch < 200; batch++) {
    waiting.push(append(log, { records: [`${batch}`] }).nextOffset);
    if (batch % 9 === 0) await bench.clock.settle();
  }
  await bench.clock.settle();
  expect(order).toEqual(Array.from({ length: 200 }, (_, batch) => batch + 1));
  expect(values(await readAll(log))).toEqual(Array.from({ length: 200 }, (_, batch) => `${batch}`));
});

test("closing waits for what was appended, and tells of it", async () => {
  const { bench } = await recorded();
  const log = await bench.create("orders");
  const told: [number, unknown][] = [];
  log.onProgress = () => told.push([log.durableOffset, log.failure]);
  append(log);
  const closed = log.close();
  expect(tryAppend(log)).toMatchObject({ failure: { kind: "log-failed" } });
  await closed;
  expect(told).toEqual([[1, null]]);
  expect(log.failure?.kind).toBe("closed");
});

// --- Durability os ---------------------------------------------------------------------------------------------------

const os: Partial<LogConfig> = { "millrace.durability": "os" };

test("under durability os a batch counts when it is written; it is synced in the background", async () => {
  const { bench, disk } = await recorded({ limits: { osSyncIntervalMs: 500 } });
  const log = await bench.create("orders", os);
  const position = disk.position;
  append(log);
  await bench.clock.settle();
  expect(log.durableOffset).toBe(1);
  expect(log.flushedOffset).toBe(0);
  expect(since(disk, position)).not.toContain("sync");
  await bench.clock.advance(1100);
  expect(log.flushedOffset).toBe(1);
});

test("flush.ms syncs sooner", async () => {
  const { bench } = await recorded({ limits: { osSyncIntervalMs: 500 } });
  const log = await bench.create("orders", { ...os, "flush.ms": 10 });
  append(log);
  await bench.clock.advance(600);
  expect(log.flushedOffset).toBe(1);
});

test("flush.messages=3: every third batch counts only when it is synced, with all before it", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders", { ...os, "flush.messages": 3 });
  append(log);
  append(log);
  await bench.clock.settle();
  expect(log.durableOffset).toBe(2);
  const release = disk.faults.holdSyncs();
  append(log);
  await bench.clock.settle();
  expect([log.writtenOffset, log.durableOffset, log.flushedOffset]).toEqual([3, 2, 0]);
  release();
  await bench.clock.settle();
  expect([log.durableOffset, log.flushedOffset]).toEqual([3, 3]);
});

test("raising the durability syncs what was not, and takes nothing back", async () => {
  const { bench } = await recorded({ limits: { osSyncIntervalMs: 1e9 } });
  const log = await bench.create("orders", os);
  for (let batch = 0; batch < 5; batch++) append(log, { sizeBytes: 1500 });
  await bench.clock.settle();
  expect([log.durableOffset, log.flushedOffset]).toEqual([5, 0]);
  log.configure({ ...log.config, "millrace.durability": "fsync" });
  expect(log.durableOffset).toBe(5);
  await bench.clock.settle();
  expect(log.flushedOffset).toBe(5);
});

// --- Failing disks ---------------------------------------------------------------------------------------------------

test("a failed sync takes the directory offline; nothing is synced again as if it were clean (R16)", async () => {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const bench = await Bench.open({ disk, clock });
  const [a, b] = [await bench.create("a"), await bench.create("b")];
  append(a);
  await durable(a);
  disk.faults.failNextSync({ matches: (path) => path.includes("/a-0/") });
  append(a, { records: ["lost"] });
  const told: string[] = [];
  b.onProgress = () => told.push(b.failure?.kind ?? "none");
  await expect(durable(a)).rejects.toThrow(/has failed: sync/);
  expect(told).toEqual(["disk-failed"]);
  expect(bench.directory.failure?.message).toContain("/data");
  const position = disk.position;
  for (const log of [a, b]) expect(tryAppend(log)).toMatchObject({ failure: { kind: "log-failed" } });
  expect(a.durableOffset).toBe(1);
  await clock.advance(600_000);
  await bench.directory.close();
  expect(since(disk, position)).toBe("");
  expect(await inner.stat("/data/.kafka_cleanshutdown")).toBeNull();
  const again = await Bench.open({ disk: inner });
  expect(again.report).toMatchObject({ isClean: false, offline: [] });
});

test("a disk that is full: refused with a word that means later, nothing lost, and on it goes when there is space (R17)", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  const producer = { producerId: 3, producerEpoch: 0 };
  append(log, { records: ["kept"], ...producer, baseSequence: 0 });
  await durable(log);
  const cuts: [number, string][] = [];
  log.onCut = (endOffset, why) => cuts.push([endOffset, why]);
  disk.faults.spaceBytes = 2500;
  // Only a part of these fits; the rest of the portion is torn.
  append(log, { sizeBytes: 2000, ...producer, baseSequence: 1 });
  append(log, { sizeBytes: 2000, ...producer, baseSequence: 2 });
  await bench.clock.settle();
  expect(cuts).toEqual([[1, "disk-full"]]);
  expect(log.isDiskFull).toBe(true);
  expect(log.failure).toBeNull();
  expect(tryAppend(log)).toMatchObject({ failure: { kind: "disk-full" } });
  expect(values(await readAll(log))).toEqual(["kept"]);
  expect(bench.directory.queuedBytes).toBe(0);

  await bench.clock.advance(5000);
  expect(log.isDiskFull).toBe(true);
  disk.faults.spaceBytes = 1e9;
  await bench.clock.advance(5000);
  expect(log.isDiskFull).toBe(false);
  // The producer's retry gets the offset that was never told to anyone.
  expect(append(log, { records: ["again"], ...producer, baseSequence: 1 })).toMatchObject({
    firstOffset: 1,
    isDuplicate: false,
  });
  await durable(log);
  expect(values(await readAll(log))).toEqual(["kept", "again"]);
  await bench.directory.close();
  expect((await Bench.open({ disk })).report.offline).toEqual([]);
});

test("a full disk at a roll, and with much in the queue", async () => {
  const { bench, disk } = await recorded({ limits: { unsyncedBytesMax: 8 * KiB } });
  const log = await bench.create("orders", { "segment.bytes": 4000 });
  disk.faults.spaceBytes = 30_000;
  let accepted = 0;
  for (let batch = 0; batch < 40; batch++) if (tryAppend(log, { sizeBytes: 1500 }).ok) accepted += 1;
  expect(accepted).toBe(40);
  await bench.clock.settle();
  expect(log.isDiskFull).toBe(true);
  expect(log.logEndOffset).toBe(log.durableOffset);
  const kept = log.logEndOffset;
  expect(await readAll(log)).toHaveLength(kept);
  disk.faults.spaceBytes = 1e9;
  await bench.clock.advance(3000);
  expect(append(log, { records: ["on"] }).firstOffset).toBe(kept);
  await durable(log);
  await bench.directory.close();
  const again = await Bench.open({ disk });
  expect(again.report.offline).toEqual([]);
  expect(values(await readAll(again.log("orders"), kept))).toEqual(["on"]);
});

test("a write that fails for any other reason takes the directory offline", async () => {
  const { bench, disk } = await recorded();
  const log = await bench.create("orders");
  disk.faults.failNextWrite({ code: "EIO" });
  append(log);
  await expect(durable(log)).rejects.toThrow(/write .*EIO/);
});
