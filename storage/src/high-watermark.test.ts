import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import type { TimeMs } from "@millrace/base/units";
import type { Disk } from "@millrace/base/world";
import { expect, test } from "vitest";
import { append, Bench, durable } from "../test/support.ts";
import { fileNames } from "./file-names.ts";
import type { PartitionLog } from "./log.ts";
import type { Offset } from "./types.ts";

const at = (offset: number): Offset => offset as Offset;
const KiB = 1024;

test("what other replicas do not have yet is not removed, not compacted, and not found", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders", { "segment.bytes": 4 * KiB, "retention.ms": 1_000 });
  log.replicatedHighWatermark = at(0);
  for (let round = 0; round < 6; round++) append(log, { sizeBytes: 3 * KiB, timestamp: 1_000_000 + round });
  await durable(log);
  const muchLater = 2_000_000 as TimeMs;
  expect([await log.retain(muchLater), log.logStartOffset]).toEqual([0, 0]);
  expect(await log.deleteRecordsBefore(at(1))).toMatchObject({ failure: "out-of-range" });
  expect(await log.recordAtOrAfter(0)).toEqual({ ok: true, value: null });
  log.replicatedHighWatermark = at(3);
  expect(await log.recordAtOrAfter(1_000_002)).toMatchObject({ value: { offset: 2 } });
  expect(await log.recordAtOrAfter(1_000_003)).toEqual({ ok: true, value: null });
  expect([await log.retain(muchLater), log.logStartOffset]).toEqual([3, 3]);
  expect(await log.deleteRecordsBefore(at(4))).toMatchObject({ failure: "out-of-range" });
  log.replicatedHighWatermark = null;
  expect(await log.deleteRecordsBefore(at(4))).toMatchObject({ ok: true });
});

test("a transaction is decided when its marker is committed, not when it is durable here", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders");
  log.replicatedHighWatermark = at(0);
  append(log, { producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true });
  const marker = { isCommit: true, coordinatorEpoch: 0, producerId: 7, producerEpoch: 0, timestamp: 0 };
  append(log, encodeEndTransactionMarker(marker), { origin: "coordinator" });
  append(log);
  await durable(log);
  log.replicatedHighWatermark = at(1);
  // To be asked is not to forget what is undecided.
  expect([log.lastStableOffset, log.lastStableOffsetBelow(at(1))]).toEqual([0, 0]);
  log.replicatedHighWatermark = at(3);
  expect(log.lastStableOffset).toBe(3);
});

test("a cut takes the high watermark with it", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders");
  for (let round = 0; round < 4; round++) append(log);
  await durable(log);
  log.replicatedHighWatermark = at(3);
  await log.truncateTo(at(2));
  expect(log.highWatermark).toBe(2);
});

/** As it is in the file. */
async function savedOf(disk: Disk): Promise<string> {
  return (await disk.readFile(`/data/${fileNames.highWatermarks}`)).toString();
}

test("of a follower that is behind it is saved as far as its disk has what was written", async () => {
  const clock = new VirtualClock();
  const recorded = new SimulatedDisk({ clock });
  await recorded.makeDirectory("/data");
  const disk = await RecordingDisk.over(recorded, "/data");
  const bench = await Bench.open({ disk, clock, areReplicated: true });
  const log = await bench.create("orders");
  append(log);
  await durable(log);
  const release = disk.faults.holdSyncs();
  append(log);
  append(log);
  log.replicatedHighWatermark = at(3);
  expect([log.savedHighWatermark, log.highWatermark]).toEqual([1, 3]);
  release();
  await durable(log);
  await clock.advance(6_000);
  expect(await savedOf(recorded)).toContain("orders 0 3\n");
});

test.for([
  ["a cut", async (log: PartitionLog) => log.truncateTo(at(2)), 2],
  ["a log that begins anew", async (log: PartitionLog) => log.truncateFullyAndStartAt(at(9)), 9],
] as const)("after %s below it, what comes is a tail again that may be torn", async ([, cut, end]) => {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk({ clock });
  const bench = await Bench.open({ disk, clock, areReplicated: true });
  const log = await bench.create("orders");
  for (let round = 0; round < 8; round++) append(log);
  await durable(log);
  log.replicatedHighWatermark = at(7);
  await clock.advance(6_000);
  expect(await savedOf(disk)).toContain("orders 0 7\n");
  await cut(log);
  append(log);
  await durable(log);
  const image = disk.afterProcessDeath();
  const [path = ""] = (await image.list("/data/orders-0"))
    .filter(({ name }) => name.endsWith(".log"))
    .map(({ name }) => `/data/orders-0/${name}`);
  const bytes = await image.readFile(path);
  const file = await image.open(path, "write");
  await file.truncate(bytes.length - 10);
  await file.close();
  for (const name of fileNames.journals) await image.removeFile(`/data/${name}`);
  const again = await Bench.open({ disk: image, clock, areReplicated: true });
  expect(again.report.offline).toEqual([]);
  expect(again.log("orders").logEndOffset).toBe(end);
});

test("of a topic that is gone it is not held against another one of that name", async () => {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk({ clock });
  const bench = await Bench.open({ disk, clock, areReplicated: true });
  const log = await bench.create("orders");
  for (let round = 0; round < 8; round++) append(log);
  await durable(log);
  log.replicatedHighWatermark = at(7);
  await clock.advance(6_000);
  expect(await savedOf(disk)).toContain("orders 0 7\n");
  // In this life, and after a crash.
  const image = disk.afterProcessDeath();
  for (const each of [bench, await Bench.open({ disk: image, clock, areReplicated: true })]) {
    await each.directory.deleteLog(each.log("orders"));
    await each.create("orders");
  }
  for (const each of [disk, image]) expect(await savedOf(each)).not.toContain("orders");
});

test("it is saved while it moves, and is where a log with other replicas begins", async () => {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk({ clock });
  const bench = await Bench.open({ disk, clock, areReplicated: true });
  const log = await bench.create("orders");
  const alone = await bench.create("alone");
  for (let round = 0; round < 4; round++) for (const each of [log, alone]) append(each);
  await durable(log);
  await durable(alone);
  log.replicatedHighWatermark = at(2);
  await clock.advance(6_000);
  const saved = (): Promise<string> => savedOf(disk);
  expect(await saved()).toBe("0\n2\norders 0 2\nalone 0 4\n");
  append(alone);
  await clock.advance(6_000);
  // Nothing waits for that of a log that is alone.
  expect(await saved()).toContain("alone 0 4\n");
  const again = await Bench.open({ disk: disk.afterProcessDeath(), clock, areReplicated: true });
  expect([again.log("orders").highWatermark, again.log("alone").highWatermark]).toEqual([2, 4]);
  const apart = await Bench.open({ disk: disk.afterProcessDeath(), clock });
  expect([apart.log("orders").highWatermark, apart.log("alone").highWatermark]).toEqual([4, 5]);
});
