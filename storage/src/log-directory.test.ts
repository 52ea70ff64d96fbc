import type { Logger } from "@millrace/base/logger";
import { silentLogger } from "@millrace/base/logger";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { describe, expect, test } from "vitest";
import { append, Bench, durable, readAll, topicId, topicIdOf, values } from "../test/support.ts";
import { defaultLogConfig } from "./log-config.ts";
import { LogDirectory } from "./log-directory.ts";
import type { Offset } from "./types.ts";

const otherId = "AAAAAAAAAAAAAAAAAAAAAg";

function opening(
  disk: SimulatedDisk,
  identity: { clusterId?: string | null; nodeId?: number } = {},
): ReturnType<typeof LogDirectory.open> {
  return LogDirectory.open({
    path: "/data",
    disk,
    clock: new VirtualClock(),
    random: new SeededRandom(1),
    logger: silentLogger,
    clusterId: identity.clusterId ?? null,
    nodeId: identity.nodeId ?? 1,
  });
}

describe("whose directory it is", () => {
  test("an empty one becomes ours, and keeps its ids", async () => {
    const disk = new SimulatedDisk();
    const first = await opening(disk, { clusterId: "my-cluster" });
    if (!first.ok) throw new Error(first.message);
    expect(first.value.meta).toMatchObject({ clusterId: "my-cluster", nodeId: 1 });
    expect(first.value.meta.directoryId).toMatch(/^[\w-]{22}$/);
    await first.value.close();
    const second = await opening(disk);
    expect(second.ok && second.value.meta).toEqual(first.value.meta);
    expect((await disk.readFile("/data/meta.properties")).toString()).toBe(
      `version=1\ncluster.id=my-cluster\nnode.id=1\ndirectory.id=${first.value.meta.directoryId}\n`,
    );
  });

  test("a cluster id is made where none is given", async () => {
    const opened = await opening(new SimulatedDisk());
    expect(opened.ok && opened.value.meta.clusterId).toMatch(/^[\w-]{22}$/);
  });

  test("another process's is refused while it runs", async () => {
    const disk = new SimulatedDisk();
    const first = await opening(disk);
    expect(await opening(disk)).toMatchObject({
      failure: "locked",
      message: "the data directory /data is locked by another process",
    });
    if (first.ok) await first.value.close();
    expect((await opening(disk)).ok).toBe(true);
  });

  test.for<[string, (disk: SimulatedDisk) => Promise<void>, Parameters<typeof opening>[1], string, RegExp]>([
    [
      "another cluster's",
      async () => {},
      { clusterId: "theirs" },
      "other-cluster",
      /belongs to cluster ours, not to theirs/,
    ],
    ["another node's", async () => {}, { nodeId: 2 }, "other-node", /belongs to node 1, not to 2/],
    [
      "a newer broker's",
      (disk) => disk.writeFile("/data/millrace.format", Buffer.from("format.version=99\nwhatever=1\n")),
      {},
      "newer-format",
      /has format version 99; this broker reads up to 2/,
    ],
    ["Apache Kafka's", (disk) => disk.removeFile("/data/millrace.format"), {}, "foreign", /no millrace.format/],
    [
      "a garbled format",
      (disk) => disk.writeFile("/data/millrace.format", Buffer.from("?")),
      {},
      "unreadable",
      /format.version/,
    ],
    [
      "garbled properties",
      (disk) => disk.writeFile("/data/meta.properties", Buffer.from("version=1\n")),
      {},
      "unreadable",
      /cluster.id/,
    ],
  ])("%s is refused by name, and left as it is", async ([, change, identity, failure, message]) => {
    const disk = new SimulatedDisk();
    const first = await opening(disk, { clusterId: "ours" });
    if (first.ok) await first.value.close();
    await change(disk);
    const names = await disk.list("/data");
    const refused = await opening(disk, identity);
    expect(refused).toMatchObject({ ok: false, failure });
    expect(refused.ok ? "" : refused.message).toMatch(message);
    expect(await disk.list("/data")).toEqual(names);
    // The lock is free again.
    expect(await disk.lock("/data/.lock")).not.toBeNull();
  });
});

test("names that are nobody's are reported and left alone", async () => {
  const disk = new SimulatedDisk();
  for (const name of ["notes", "orders-0", "orders-x", "metadata", "old-0.0123456789abcdef0123456789abcdef-stray"]) {
    await disk.makeDirectory(`/data/${name}`);
    await disk.writeFile(`/data/${name}/00000000000000000000.log`, Buffer.from("something"));
  }
  const bench = await Bench.open({ disk });
  expect([...bench.report.unknown].sort()).toEqual([
    "notes",
    "old-0.0123456789abcdef0123456789abcdef-stray",
    "orders-0",
    "orders-x",
  ]);
  // A topic that takes the name of a directory which holds something sets that aside.
  const log = await bench.create("orders");
  append(log);
  await durable(log);
  const names = (await disk.list("/data")).map(({ name }) => name);
  const aside = names.find((name) => name.startsWith("orders-0.") && name.endsWith("-stray"));
  expect(await disk.readFile(`/data/${aside ?? ""}/00000000000000000000.log`)).toEqual(Buffer.from("something"));
});

test("a topic that was deleted and made again under its name begins anew", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders", { "file.delete.delay.ms": 1000 });
  append(log, { records: ["old"] });
  await durable(log);
  const read = await log.read(0 as Offset, { sizeBytesMax: 1000, upTo: 1 as Offset, isWholeBatchGuaranteed: true });
  await bench.directory.deleteLog(log);
  expect(log.failure?.kind).toBe("closed");
  const again = await bench.directory.createLog({
    topic: "orders",
    partition: 0,
    topicId: otherId,
    config: defaultLogConfig,
  });
  expect(again.logEndOffset).toBe(0);
  expect(bench.directory.find("orders", 0, topicId)).toBeUndefined();
  append(again, { records: ["new"] });
  await durable(again);
  expect(values(await readAll(again))).toEqual(["new"]);
  // Whoever was reading reads to the end.
  if (!read.ok || read.value.slice === null) throw new Error("a slice");
  const { slice } = read.value;
  const bytes = Buffer.alloc(slice.sizeBytes);
  expect(await slice.file.read(bytes, slice.position)).toBe(slice.sizeBytes);
  slice.release();
  expect((await bench.disk.list("/data")).some(({ name }) => name.endsWith("-delete"))).toBe(true);
  await bench.clock.advance(1500);
  expect((await bench.disk.list("/data")).some(({ name }) => name.endsWith("-delete"))).toBe(false);
});

test.for([5, 15, 25, 35, 45])(
  "a log that is deleted %d ms into the end of a segment keeps its name until that has ended",
  async (ms) => {
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await Bench.open({ disk, clock, limits: { journalBytes: 0 } });
    const log = await bench.create("orders", { "segment.bytes": 2000 });
    disk.faults.slowDown(clock, (operation) => (operation === "sync" ? 10 : 0));
    // The second segment begins when the first is durable, and that one's indexes and snapshot are written then.
    append(log, { sizeBytes: 1500 });
    append(log, { sizeBytes: 1500 });
    await clock.advance(ms);
    let isDeleted = false;
    const deleting = bench.directory.deleteLog(log).then(() => (isDeleted = true));
    await clock.runUntil(() => isDeleted, { withinMs: 1000 });
    await deleting;
    await clock.advance(1000);
    expect(bench.directory.failure).toBeNull();
  },
);

test.for([0, 5, 15, 25, 35, 45, 55, 65])("so does one %d ms into the removal of its oldest records", async (ms) => {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const bench = await Bench.open({ disk, clock, limits: { journalBytes: 0 } });
  const log = await bench.create("orders", { "segment.bytes": 2000 });
  for (let count = 0; count < 3; count++) append(log, { sizeBytes: 1500 });
  await durable(log);
  disk.faults.slowDown(clock, (operation) => ({ sync: 10, names: 20 })[operation as string] ?? 0);
  const removing = log.deleteRecordsBefore(2 as Offset);
  // The removal waits for the end of this segment.
  append(log, { sizeBytes: 1500 });
  await clock.advance(ms);
  let isDone = false;
  const deleting = Promise.all([removing, bench.directory.deleteLog(log)]).then(() => (isDone = true));
  await clock.runUntil(() => isDone, { withinMs: 1000 });
  await deleting;
  expect(bench.directory.failure).toBeNull();
});

test("a deletion that a crash interrupted is finished by the next start", async () => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk });
  const log = await bench.create("orders");
  await bench.directory.deleteLog(log);
  const again = await Bench.open({ disk: disk.afterProcessDeath() });
  expect(again.report.logsCount).toBe(0);
  await again.clock.advance(10);
  expect((await again.disk.list("/data")).some(({ name }) => name.includes("orders"))).toBe(false);
});

test("what the checkpoints said of a deleted topic is not taken for the new one of its name, also after a crash", async () => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk, limits: { checkpointBytesMin: 1 } });
  const log = await bench.create("orders");
  for (let batch = 0; batch < 5; batch++) append(log);
  await durable(log);
  await log.deleteRecordsBefore(3 as Offset);
  await bench.directory.checkpoint();
  await bench.directory.deleteLog(log);
  await bench.create("orders");
  const again = await Bench.open({ disk: disk.afterProcessDeath() });
  expect(again.report.offline).toEqual([]);
  expect([again.log("orders").logStartOffset, again.log("orders").logEndOffset]).toEqual([0, 0]);
});

test("a thousand partitions are made with few syncs of their directory", async () => {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const bench = await Bench.open({ disk, clock });
  const position = disk.position;
  await Promise.all(Array.from({ length: 1000 }, (_, partition) => bench.create("many", {}, partition)));
  const directories = disk.events.slice(position).filter(({ kind }) => kind === "sync-directory");
  expect(directories).toHaveLength(1004);
});

test("an unreadable file takes its own log offline, by name", async () => {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  const bench = await Bench.open({ disk: inner, clock });
  for (const topic of ["good", "bad"]) {
    const log = await bench.create(topic);
    append(log, { records: [topic] });
    await durable(log);
  }
  await bench.directory.close();
  const disk = await RecordingDisk.over(inner, "/data");
  disk.faults.makeUnreadable((path) => path.includes("/bad-0/") && path.endsWith(".log"), "EACCES");
  const again = await Bench.open({ disk, clock });
  expect(again.report.offline).toMatchObject([
    { topic: "bad", message: expect.stringContaining("/data/bad-0/00000000000000000000.log: EACCES") },
  ]);
  expect(values(await readAll(again.log("good")))).toEqual(["good"]);
});

test("the bound of unsynced bytes is remembered: a smaller one later does not make a torn tail look like corruption", async () => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk, limits: { unsyncedBytesMax: 1_000_000 } });
  const log = await bench.create("orders");
  for (let batch = 0; batch < 20; batch++) append(log, { sizeBytes: 5000 });
  await durable(log);
  const image = disk.afterProcessDeath();
  const file = await image.open("/data/orders-0/00000000000000000000.log", "write");
  await file.write([Buffer.alloc(4)], 200);
  const again = await Bench.open({ disk: image, limits: { unsyncedBytesMax: 10_000 } });
  expect(again.report.offline).toEqual([]);
  expect(again.log("orders").logEndOffset).toBe(0);
});

test("a checkpoint brings the recovery points to the disk, in Kafka's text", async () => {
  const bench = await Bench.open({ limits: { checkpointBytesMin: 1, checkpointIntervalMs: 1000 } });
  const [a, b] = [await bench.create("a"), await bench.create("b")];
  for (const log of [a, a, b]) append(log);
  await bench.clock.advance(1500);
  expect((await bench.disk.readFile("/data/recovery-point-offset-checkpoint")).toString()).toBe("0\n2\na 0 2\nb 0 1\n");
  expect((await bench.disk.readFile("/data/replication-offset-checkpoint")).toString()).toBe("0\n2\na 0 2\nb 0 1\n");
  expect((await bench.disk.readFile("/data/a-0/partition.metadata")).toString()).toBe(
    `version: 0\ntopic_id: ${topicIdOf("a")}\n`,
  );
});

test("a checkpoint that is under way when the directory is closed does not get in its way", async () => {
  const bench = await Bench.open({ limits: { checkpointBytesMin: 1 } });
  const log = await bench.create("orders");
  append(log);
  const checkpoints = [bench.directory.checkpoint(), bench.directory.checkpoint()];
  await bench.directory.close();
  await Promise.all(checkpoints);
  expect((await Bench.open({ disk: bench.disk })).report).toMatchObject({ isClean: true, offline: [] });
});

test("open files are bounded: the least recently used are closed and opened again", async () => {
  const bench = await Bench.open({ limits: { openSegmentsMax: 4 } });
  const logs = await Promise.all(Array.from({ length: 12 }, (_, partition) => bench.create("many", {}, partition)));
  for (let round = 0; round < 4; round++) {
    for (const log of logs) append(log, { records: [`${round}`] });
    await Promise.all(logs.map((log) => durable(log)));
    expect(bench.directory.openSegments).toBeLessThanOrEqual(4);
  }
  for (const log of logs) expect(values(await readAll(log))).toEqual(["0", "1", "2", "3"]);
});

const errors: Logger = { ...silentLogger, error: (message, fields) => console.error(message, fields) };

test("a broken checkpoint is no reason not to start", async () => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk });
  const log = await bench.create("orders");
  for (let batch = 0; batch < 4; batch++) append(log);
  await durable(log);
  await log.deleteRecordsBefore(2 as Offset);
  await bench.directory.close();
  for (const name of ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"]) {
    await disk.writeFile(`/data/${name}`, Buffer.from("7\nnonsense"));
  }
  const again = await Bench.open({ disk, logger: errors });
  expect(again.report.offline).toEqual([]);
  expect(again.log("orders").logStartOffset).toBe(2);
  expect(again.log("orders").logEndOffset).toBe(4);
});
