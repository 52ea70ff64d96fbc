import { Prng } from "@millrace/base/prng";
import { silentLogger } from "@millrace/base/logger";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { defaultLogConfig } from "@millrace/storage/log-config";
import { LogDirectory } from "@millrace/storage/log-directory";
import { decodeMetaProperties } from "@millrace/storage/meta-properties";
import type { Offset } from "@millrace/storage/types";
import * as kafka from "kafka-protocol-ts/internal/metadata-records";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { expect, test } from "vitest";
import { MetadataService } from "@millrace/broker/metadata/metadata";
import { noExtras } from "@millrace/broker/metadata/records";
import {
  beginning,
  clusterId,
  config,
  framed,
  makeKafkaDirectory,
  metadataRecord,
  orders,
  ordersId,
  ordersLog,
  ordersPartition,
  partition,
  segmentBytes,
  snapshotBytes,
  topic,
} from "../../test/kafka-directory.ts";
import type { KafkaDirectory } from "../../test/kafka-directory.ts";
import { ResourceType } from "../config/resources.ts";
import { importFromKafka } from "./import-kafka.ts";
import type { ImportReport } from "./import-kafka.ts";
import { knownTypes } from "./kafka-metadata.ts";

const to = "/new/data";

function run(disk: Disk, from: readonly string[], dropsUnsupported = false): Promise<ImportReport> {
  const world = { disk, clock: new VirtualClock(), random: new SeededRandom(1) };
  return importFromKafka({ world, from, to, dropsUnsupported });
}

async function imported(
  options: KafkaDirectory = {},
  dropsUnsupported = false,
): Promise<{ disk: Disk; report: ImportReport }> {
  const disk = new SimulatedDisk();
  const path = await makeKafkaDirectory(disk, options);
  return { disk, report: await run(disk, [path], dropsUnsupported) };
}

/** The message of the refusal; nothing may be left of the attempt. */
async function refusal(options: KafkaDirectory, disk: Disk = new SimulatedDisk()): Promise<string> {
  const path = await makeKafkaDirectory(disk, options);
  const message = await run(disk, [path]).then(
    () => "",
    (error: Error) => `${error.name}: ${error.message}`,
  );
  expect(await disk.stat(to)).toBeNull();
  return message;
}

async function metadataOf(disk: Disk): Promise<MetadataService> {
  const meta = decodeMetaProperties((await disk.readFile(`${to}/meta.properties`)).toString());
  if (!meta.ok) throw new Error(meta.message);
  const opened = await MetadataService.open({
    disk,
    clock: new VirtualClock(),
    random: new SeededRandom(2),
    logger: silentLogger,
    directory: `${to}/metadata`,
    nodeId: 1,
    directoryId: meta.value.directoryId,
    texts: new Map(),
    fatal: (error) => expect.fail(String(error)),
  });
  if (!opened.ok) throw new Error(opened.message);
  return opened.value;
}

async function openLogs(disk: Disk): ReturnType<typeof LogDirectory.open> {
  const world = { disk, clock: new VirtualClock(), random: new SeededRandom(3), logger: silentLogger };
  return LogDirectory.open({ path: to, ...world, clusterId: null, nodeId: 1, limits: { journalBytes: 0 } });
}

const log = (records: readonly Buffer[]): Pick<KafkaDirectory, "segments"> => ({
  segments: [{ baseOffset: 0, records: [...beginning, ...records] }],
});

test("topics, their ids, settings, epochs and records are there", async () => {
  const { disk, report } = await imported({
    ...log([
      ...orders,
      config(ResourceType.TOPIC, "orders", "retention.ms", "1"),
      config(ResourceType.TOPIC, "orders", "retention.ms", "777"),
      config(ResourceType.TOPIC, "orders", "segment.ms", "9"),
      config(ResourceType.TOPIC, "orders", "segment.ms", null),
      config(ResourceType.BROKER, "", "log.retention.ms", "555"),
      metadataRecord(kafka.partitionChangeRecord, { partitionId: 0, topicId: ordersId, leader: -1 }),
      metadataRecord(kafka.producerIdsRecord, { brokerId: 1, nextProducerId: 3000 }),
    ]),
  });
  expect(report).toMatchObject({ clusterId, nodeId: 1, topics: 1, partitions: 1, dropped: [], notes: [] });
  const { image } = await metadataOf(disk);
  const found = image.topic("orders");
  expect(found?.id).toBe(ordersId);
  expect(found?.partitions).toEqual([
    { index: 0, replicas: [1], isr: [1], leader: 1, leaderEpoch: 5, partitionEpoch: 8, ...noExtras },
  ]);
  expect([...image.configsOf(ResourceType.TOPIC, "orders")]).toEqual([["retention.ms", "777"]]);
  expect([...image.configsOf(ResourceType.BROKER, "")]).toEqual([["log.retention.ms", "555"]]);
  expect(image.nextProducerId).toBe(3000);

  const opened = await openLogs(disk);
  if (!opened.ok) throw new Error(opened.message);
  expect(opened.value.meta).toMatchObject({ clusterId, nodeId: 1 });
  const loaded = await opened.value.load(() => defaultLogConfig);
  expect(loaded).toMatchObject({ isClean: true, logsCount: 1, offline: [], unknown: [] });
  const orders0 = opened.value.find("orders", 0, ordersId);
  expect(orders0?.logEndOffset).toBe(3);
  expect(await disk.readFile(`${to}/orders-0/00000000000000000000.log`)).toEqual(ordersLog);
});

test("a log begins where Kafka says, in its first segment or with it", async () => {
  const cut = encodeBatch({
    baseOffset: 40,
    leaderEpoch: 4,
    records: [1, 2].map((n) => ({ value: Buffer.from([n]), timestamp: 1 })),
  });
  const { disk } = await imported({
    ...log([topic("orders", ordersId), partition(ordersId, 0), partition(ordersId, 1)]),
    partitions: { ...ordersPartition, "orders-1": { topicId: ordersId, log: cut, base: 40 } },
    files: { "log-start-offset-checkpoint": "0\n1\norders 0 2\n" },
  });
  const opened = await openLogs(disk);
  if (!opened.ok) throw new Error(opened.message);
  await opened.value.load(() => defaultLogConfig);
  expect(opened.value.find("orders", 0, ordersId)?.logStartOffset).toBe(2 as Offset);
  expect(opened.value.find("orders", 1, ordersId)?.logStartOffset).toBe(40 as Offset);
});

test("the newest snapshot stands for what is before it, and the log goes on from there", async () => {
  const gone = "Z29uZS10b3BpYy1pZC0tMQ";
  const { disk, report } = await imported({
    snapshots: {
      "00000000000000000009-0000000001": snapshotBytes([
        ...beginning.slice(1, 3),
        topic("gone", gone),
        partition(gone, 0),
      ]),
      "00000000000000000020-0000000002": snapshotBytes([...beginning.slice(1, 3), topic("orders", ordersId)]),
    },
    segments: [
      { baseOffset: 18, records: [framed(2, 0, Buffer.from("00", "hex"))] }, // below the end of the snapshot: not read
      { baseOffset: 20, records: [partition(ordersId, 0)] },
    ],
  });
  expect(report.topics).toBe(1);
  expect((await metadataOf(disk)).image.topic("gone")).toBeUndefined();
});

test("a metadata transaction counts when it has ended", async () => {
  const begin = metadataRecord(kafka.beginTransactionRecord, {});
  const removed = metadataRecord(kafka.removeTopicRecord, { topicId: ordersId });
  const aborted = [begin, removed, metadataRecord(kafka.abortTransactionRecord, { reason: "test" })];
  expect((await imported(log([...orders, ...aborted, begin, removed]))).report.topics).toBe(1);
  const ended = [begin, removed, metadataRecord(kafka.endTransactionRecord, {})];
  const { report } = await imported(log([...orders, ...ended]));
  expect(report).toMatchObject({
    topics: 0,
    partitions: 0,
    notes: ["/kafka/orders-0 is no topic's, and stays behind"],
  });
});

test("every record that is declared has its place in the import", () => {
  const declared = Object.keys(kafka.metadataRecords).map(Number);
  expect(new Set(knownTypes)).toEqual(new Set(declared));
});

test.for<[name: string, records: readonly Buffer[], message: RegExp]>([
  ["type", [...orders, framed(99, 3)], /metadata record at offset 7: type 99 \(version 3\) is unknown/],
  [
    "version",
    [framed(2, 8)],
    /metadata record at offset 5: version 8 of TopicRecord \(type 2\) is unknown; versions 0 to 0/,
  ],
  ["frame", [Buffer.from([9, 2, 0])], /metadata record at offset 5: frame version 9 is unknown/],
  ["length", [framed(2, 0, Buffer.from([100]))], /metadata record at offset 5 cannot be read: /],
  ["topic", [partition(ordersId, 0)], /metadata record at offset 5, PartitionRecord: there is no topic with id/],
  [
    "level",
    [metadataRecord(kafka.featureLevelRecord, { name: "metadata.version", featureLevel: 31 })],
    /metadata.version is at level 31; up to 30 is known/,
  ],
])("a metadata record of unknown %s is refused", async ([, records, message]) => {
  expect(await refusal(log(records))).toMatch(message);
});

test("a damaged metadata log is refused with its position", async () => {
  const disk = new SimulatedDisk();
  await makeKafkaDirectory(disk);
  const path = "/kafka/__cluster_metadata-0/00000000000000000000.log";
  const bytes = segmentBytes({ baseOffset: 0, records: [...beginning, ...orders] });
  bytes[bytes.length - 1] = 0xff;
  await disk.writeFile(path, bytes);
  await expect(run(disk, ["/kafka"])).rejects.toThrow(/00000000000000000000.log position \d+ offset 1: bad-crc/);
});

test.for<[why: string, options: KafkaDirectory, message: RegExp]>([
  ["stopped uncleanly", { isClean: false }, /has no \.kafka_cleanshutdown: its broker did not stop cleanly/],
  ["is Millrace's", { files: { "millrace.format": "" } }, /it is a data directory of Millrace already/],
  ["has no metadata", { segments: null }, /there is no __cluster_metadata-0 in \/kafka: give all log.dirs/],
  [
    "lacks metadata records",
    { segments: [{ baseOffset: 5, records: [] }] },
    /metadata records from offset 0 on are missing/,
  ],
  ["lacks a partition", { partitions: {} }, /there is no directory orders-0: give all log.dirs/],
  [
    "has another topic of that name",
    { partitions: { "orders-0": { topicId: "b3RoZXItdG9waWMtaWQtMQ", log: ordersLog } } },
    /is of topic id b3RoZXItdG9waWMtaWQtMQ, but orders has/,
  ],
  [
    "has its replicas elsewhere",
    log([topic("orders", ordersId), partition(ordersId, 0, [2, 3])]),
    /orders-0 is not on node 1 but on 2, 3/,
  ],
  [
    "has tiered topics",
    log([...orders, config(ResourceType.TOPIC, "orders", "remote.storage.enable", "true")]),
    /its older records are not in its directory/,
  ],
])("a directory is refused that %s", async ([, options, message]) => {
  expect(await refusal(options)).toMatch(message);
});

test("a directory in which a broker runs is refused", async () => {
  const disk = new SimulatedDisk();
  await makeKafkaDirectory(disk, { files: { ".lock": "" } });
  const lock = await disk.lock("/kafka/.lock");
  await expect(run(disk, ["/kafka"])).rejects.toThrow("a broker runs in /kafka: /kafka/.lock is locked");
  await lock?.release();
  await expect(run(disk, ["/kafka"])).resolves.toMatchObject({ topics: 1 });
});

test("several log directories are one broker's", async () => {
  const disk = new SimulatedDisk();
  await makeKafkaDirectory(disk, { path: "/a", partitions: {} });
  await makeKafkaDirectory(disk, { path: "/b", segments: null });
  await makeKafkaDirectory(disk, { path: "/c", segments: null, partitions: {}, nodeId: 2 });
  await expect(run(disk, ["/a", "/c"])).rejects.toThrow(`/a belongs to cluster ${clusterId} node 1, but /c to`);
  await expect(run(disk, ["/a", "/b", "/b"])).rejects.toThrow("/b/orders-0 and /b/orders-0 are both there");
  await expect(run(disk, ["/a", "/b"])).resolves.toMatchObject({ topics: 1, partitions: 1 });
});

test("what is not to be had here is named and refused, or left behind", async () => {
  const records = [
    ...orders,
    config(ResourceType.TOPIC, "orders", "plugin.setting", "x"),
    config(ResourceType.TOPIC, "orders", "retention.ms", "9"),
    metadataRecord(kafka.accessControlEntryRecord, {
      id: ordersId,
      resourceType: 2,
      resourceName: "orders",
      patternType: 3,
      principal: "User:a",
      host: "*",
      operation: 3,
      permissionType: 3,
    }),
  ];
  const message = await refusal(log(records));
  expect(message).toContain("--drop-unsupported leaves it behind:");
  expect(message).toContain("topic orders, plugin.setting=x: Unknown topic config name: plugin.setting");
  expect(message).toContain("1 access control list: not built yet");
  const { disk, report } = await imported(log(records), true);
  expect(report.dropped).toHaveLength(2);
  const { image } = await metadataOf(disk);
  expect([...image.configsOf(ResourceType.TOPIC, "orders")]).toEqual([["retention.ms", "9"]]);
  const removed = metadataRecord(kafka.removeAccessControlEntryRecord, { id: ordersId });
  const without = config(ResourceType.TOPIC, "orders", "plugin.setting", null);
  expect((await imported(log([...records, removed, without]))).report.dropped).toEqual([]);
});

test("a target that holds something is refused and stays as it is", async () => {
  const disk = new SimulatedDisk();
  await makeKafkaDirectory(disk);
  await disk.makeDirectory(to);
  await disk.writeFile(`${to}/mine`, Buffer.from("x"));
  await expect(run(disk, ["/kafka"])).rejects.toThrow("/new/data is not empty: it holds mine");
  expect((await disk.list(to)).map(({ name }) => name)).toEqual(["mine"]);
});

test("a target inside of Kafka's directory is refused", async () => {
  const disk = new SimulatedDisk();
  await makeKafkaDirectory(disk);
  const world = { disk, clock: new VirtualClock(), random: new SeededRandom(1) };
  const options = { world, from: ["/kafka"], to: "/kafka/new", dropsUnsupported: false };
  await expect(importFromKafka(options)).rejects.toThrow("/kafka/new lies in /kafka, which is only read");
  expect(await disk.stat("/kafka/new")).toBeNull();
});

test.for<[sign: string, start: (disk: Disk) => Promise<void>]>([
  ["its lock", (disk) => disk.writeFile("/kafka/.lock", Buffer.alloc(0))],
  ["the mark it removes", (disk) => disk.removeFile("/kafka/.kafka_cleanshutdown")],
])("a broker that starts meanwhile is found out by %s", async ([, start]) => {
  const inner = new SimulatedDisk();
  await makeKafkaDirectory(inner);
  const disk = await RecordingDisk.over(inner, "/");
  const release = disk.faults.holdSyncs();
  const outcome = expect(run(disk, ["/kafka"])).rejects.toThrow("/kafka: a broker was started while it was copied");
  while (disk.faults.heldSyncs === 0) await Promise.resolve();
  await start(inner);
  release();
  await outcome;
  expect(await disk.stat(to)).toBeNull();
});

test("damage that is found in the copy leaves nothing of it", async () => {
  const damaged = Buffer.from(ordersLog);
  damaged[damaged.length - 2] = 0x7f;
  const partitions = { "orders-0": { topicId: ordersId, log: damaged } };
  expect(await refusal({ partitions })).toMatch(
    /not whole \(1 findings\); the first: \/new\/data\/orders-0\/0{20}.log position 0: /,
  );
  const disk = new SimulatedDisk();
  await disk.makeDirectory(to);
  await makeKafkaDirectory(disk, { partitions });
  await expect(run(disk, ["/kafka"])).rejects.toThrow("not whole");
  expect(await disk.list(to)).toEqual([]);
});

test("Kafka's directory is only read, and a write that fails leaves nothing of the copy", async () => {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await makeKafkaDirectory(inner, { files: { ".lock": "" } });
  const before = await treeOf(inner, "/kafka");
  await clock.advance(1000);
  for (let writes = 0; ; writes++) {
    const disk = await RecordingDisk.over(inner.afterProcessDeath(), "/");
    disk.faults.spaceBytes = writes * 40;
    const outcome = await run(disk, ["/kafka"]).catch((error: Error) => error);
    expect(await treeOf(disk, "/kafka")).toEqual(before);
    if (!(outcome instanceof Error)) break;
    expect(outcome.message).toMatch(/ENOSPC/);
    expect(await disk.stat(to)).toBeNull();
  }
});

/** Names, times and bytes. */
async function treeOf(disk: Disk, path: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const { name, kind } of await disk.list(path)) {
    const child = `${path}/${name}`;
    const bytes = kind === "file" ? (await disk.readFile(child)).toString("hex") : await treeOf(disk, child);
    found.push({ name, ...(await disk.stat(child)), bytes });
  }
  return found;
}

test("a loss of power leaves the whole copy, or a directory that no broker takes", async () => {
  const inner = new SimulatedDisk();
  await makeKafkaDirectory(inner);
  const disk = await RecordingDisk.over(inner, "/");
  await run(disk, ["/kafka"]);
  const seen = { nothing: 0, refused: 0, whole: 0 };
  // What is reported as done is done, whatever the disk makes of the moment after.
  for (let seed = 1; seed <= 20; seed++) {
    const opened = await openLogs(disk.afterPowerLoss(new Prng(seed)));
    if (!opened.ok) throw new Error(`seed ${seed}: ${opened.message}`);
    expect((await opened.value.load(() => defaultLogConfig)).logsCount, `seed ${seed}`).toBe(1);
  }
  for (const { disk: left } of disk.powerLosses(
    Array.from({ length: disk.position + 1 }, (_, at) => at),
    new Prng(5),
  )) {
    const opened = await openLogs(left);
    if (!opened.ok) {
      expect(opened.message).toMatch(/it is another broker's, or an import that did not end/);
      seen.refused++;
      continue;
    }
    const { logsCount } = await opened.value.load(() => defaultLogConfig);
    if (logsCount === 0) {
      expect(await left.stat(`${to}/metadata`)).toBeNull();
      seen.nothing++;
      continue;
    }
    expect(opened.value.find("orders", 0, ordersId)?.logEndOffset).toBe(3);
    expect((await metadataOf(left)).image.topic("orders")?.id).toBe(ordersId);
    seen.whole++;
  }
  expect(Math.min(seen.nothing, seen.refused, seen.whole)).toBeGreaterThan(0);
});
