import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { nodeWorld } from "@millrace/base/node/node-world";
import { Prng } from "@millrace/base/prng";
import { Cluster } from "@millrace/client";
import type { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { createTopic, fetchFrom, offsetAt, produceTo, readBatches } from "./calls.ts";
import { batchOf, running, temporaryDirectory } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { dataDirectory, simulated } from "./simulated.ts";
import type { SimulatedBroker } from "./simulated.ts";

/*
 * When an acknowledgement leaves, and what it is worth when the disk fails or has changed a byte. A full one has a file of its own.
 */

const orders = { topic: "orders", partition: 0 };
const withoutJournal = { "millrace.journal.bytes": "0" };
const journalPath = `${dataDirectory}/millrace.journal.0`;
const segmentPath = `${dataDirectory}/orders-0/00000000000000000000.log`;

async function endOf(client: RawClient, partition = 0): Promise<number> {
  return (await offsetAt(client, { topic: "orders", partition }, -1)).offset;
}

async function readValues(client: RawClient, offset = 0, at = orders): Promise<number> {
  return (await readBatches(client, at, offset)).reduce((count, batch) => count + batch.recordsCount, 0);
}

describe("an acknowledgement", () => {
  test.for([1, -1])("for acks=%i leaves after the sync, and no reader sees the records before", async (acks) => {
    await using it = await simulated();
    await using producer = await it.client();
    await using reader = await it.client();
    await createTopic(producer, "orders");
    await produceTo(producer, batchOf(["first"]));
    const release = it.disk.faults.holdSyncs();
    const answer = produceTo(producer, batchOf(["second", "third"]), { acks });
    const parked = fetchFrom(await it.client(), { offset: 1, minBytes: 1, maxWaitMs: 60_000 });
    let isWoken = false;
    void parked.then(() => (isWoken = true));
    await it.settle();
    expect(it.disk.faults.heldSyncs).toBeGreaterThan(0);
    // It is written: what is missing is the sync alone.
    expect((await it.platter.readFile(segmentPath)).includes("second")).toBe(true);
    expect(producer.unanswered).toBe(1);
    expect(isWoken).toBe(false);
    const read = await fetchFrom(reader, { offset: 0 });
    expect([read.highWatermark, [...batchesIn(read.records!)].length]).toEqual([1, 1]);
    expect(await endOf(reader)).toBe(1);
    release();
    expect(await answer).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
    expect(await parked).toMatchObject({ errorCode: ErrorCode.NONE, highWatermark: 3 });
    expect(await endOf(reader)).toBe(3);
  });

  test("under durability os leaves when the records are written, and readers see them", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "millrace.durability": "os" });
    const release = it.disk.faults.holdSyncs();
    expect(await produceTo(client, batchOf(["first"]))).toMatchObject({ errorCode: ErrorCode.NONE });
    expect(await readValues(client)).toBe(1);
    // The system is asked to sync within a second, so that the bound of what can be lost is a bound in time.
    await it.clock.advance(1_000);
    expect(it.disk.faults.heldSyncs).toBeGreaterThan(0);
    expect(await produceTo(client, batchOf(["second"]))).toMatchObject({ baseOffset: 1 });
    release();
    await it.settle();
  });

  test("under durability os with flush.messages=1 waits for the sync all the same", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "millrace.durability": "os", "flush.messages": "1" });
    await produceTo(client, batchOf(["first"]));
    const release = it.disk.faults.holdSyncs();
    const answer = produceTo(client, batchOf(["second"]));
    await it.settle();
    expect(client.unanswered).toBe(1);
    release();
    expect(await answer).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
  });

  test("waits for the sync from the moment on at which the topic's durability becomes fsync", async () => {
    await using it = await simulated({ config: { "millrace.durability": "os" } });
    await using client = await it.client();
    await createTopic(client, "orders");
    await produceTo(client, batchOf(["first"]));
    const altered = await client.request(incrementalAlterConfigs, 1, {
      resources: [
        {
          resourceType: 2,
          resourceName: "orders",
          configs: [{ name: "millrace.durability", configOperation: 0, value: "fsync" }],
        },
      ],
      validateOnly: false,
    });
    expect(altered.responses[0]?.errorCode).toBe(ErrorCode.NONE);
    await it.settle();
    const release = it.disk.faults.holdSyncs();
    const answer = produceTo(client, batchOf(["second"]));
    await it.settle();
    expect(client.unanswered).toBe(1);
    release();
    expect(await answer).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
  });

  test("depends on durable names: of the directories, of the first segment, of each that follows", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders", 2, { "segment.bytes": "1048576" });
    expect(undurableNames(it)).toEqual([]);
    for (let count = 0; count < 6; count++) {
      const sent = Buffer.alloc(300_000, count).toString("latin1");
      expect(await produceTo(client, batchOf([sent]), { partition: count % 2 })).toMatchObject({ errorCode: 0 });
      expect(undurableNames(it)).toEqual([]);
    }
    for (let count = 0; count < 4; count++) {
      await produceTo(client, batchOf([Buffer.alloc(300_000, count).toString("latin1")]));
      expect(undurableNames(it)).toEqual([]);
    }
    const segments = (await it.platter.list(`${dataDirectory}/orders-0`)).filter(({ name }) => name.endsWith(".log"));
    expect(segments.length).toBeGreaterThan(1);
  });
});

/** Directories and segments whose creation no sync of the directory above has covered. Indexes can be made again. */
function undurableNames({ disk }: SimulatedBroker): string[] {
  const waiting = new Map<number, { readonly name: string; readonly directory: number; readonly position: number }>();
  for (const [position, event] of disk.events.entries()) {
    if (event.kind === "create") {
      const { name, directory } = event.at;
      if (event.isDirectory || name.endsWith(".log")) waiting.set(event.node, { name, directory, position });
    } else if (event.kind === "remove") waiting.delete(event.node);
    else if (event.kind === "sync-directory") {
      for (const [node, { directory, position: createdAt }] of waiting) {
        if (directory === event.node && createdAt < event.startedAt) waiting.delete(node);
      }
    }
  }
  return [...waiting.values()].map(({ name }) => name);
}

test("without a journal one sync covers the batches that wait, over many connections and partitions", async () => {
  await using it = await simulated({ config: withoutJournal });
  await using first = await it.client();
  const partitions = 20;
  await createTopic(first, "orders", partitions);
  for (let partition = 0; partition < partitions; partition++) await produceTo(first, batchOf(["warm"]), { partition });
  const syncFiles = vi.spyOn(it.disk, "syncFiles");
  const release = it.disk.faults.holdSyncs();
  const held = produceTo(first, batchOf(["first"]));
  await it.settle();
  expect(syncFiles).toHaveBeenCalledTimes(1);
  const clients = await Promise.all(Array.from({ length: 20 }, async () => it.client()));
  const answers = clients.flatMap((client, index) =>
    Array.from({ length: 10 }, async (_, count) =>
      produceTo(client, batchOf([`${index} ${count}`]), { partition: (index + count) % partitions }),
    ),
  );
  await it.settle();
  expect(syncFiles).toHaveBeenCalledTimes(1);
  release();
  for (const answer of [held, ...answers]) expect(await answer).toMatchObject({ errorCode: ErrorCode.NONE });
  // The one that was held, and one for all 200.
  expect(syncFiles).toHaveBeenCalledTimes(2);
  expect(syncFiles.mock.calls[1]?.[0]).toHaveLength(partitions);
  for (const client of clients) await client[Symbol.asyncDispose]();
});

test("a frame of the journal covers the batches that wait, over many connections and partitions", async () => {
  await using it = await simulated();
  await using first = await it.client();
  const partitions = 20;
  await createTopic(first, "orders", partitions);
  for (let partition = 0; partition < partitions; partition++) await produceTo(first, batchOf(["warm"]), { partition });
  const clients = await Promise.all(Array.from({ length: 20 }, async () => it.client()));
  const release = it.disk.faults.holdSyncs();
  const held = produceTo(first, batchOf(["first"]));
  await it.settle();
  const position = it.disk.position;
  const answers = clients.flatMap((client, index) =>
    Array.from({ length: 10 }, async (_, count) =>
      produceTo(client, batchOf([`${index} ${count}`]), { partition: (index + count) % partitions }),
    ),
  );
  await it.settle();
  expect(it.disk.faults.heldSyncs).toBeGreaterThan(1);
  release();
  for (const answer of [held, ...answers]) expect(await answer).toMatchObject({ errorCode: ErrorCode.NONE });
  // The one that was held, some for what came first, and one for all the rest.
  expect(it.disk.events.slice(position).filter(({ kind }) => kind === "sync").length).toBeLessThanOrEqual(6);
  for (const client of clients) await client[Symbol.asyncDispose]();
});

describe("a sync that fails", () => {
  test.for([
    ["of a segment", withoutJournal, segmentPath],
    ["of the journal", {}, journalPath],
  ] as const)(
    "%s takes the directory offline: producers are told, nothing is synced as if it were clean, the broker says so",
    async ([, config, path]) => {
      await using it = await simulated({ config });
      await using client = await it.client();
      await createTopic(client, "orders", 2);
      await produceTo(client, batchOf(["kept"]));
      await produceTo(client, batchOf(["kept"]), { partition: 1 });
      it.disk.faults.failNextSync({ matches: (each) => each === path });
      const syncsBefore = it.disk.events.length;
      const syncsSince = (): number => it.disk.events.slice(syncsBefore).filter(({ kind }) => kind === "sync").length;
      expect(await produceTo(client, batchOf(["lost"]))).toMatchObject({
        errorCode: ErrorCode.KAFKA_STORAGE_ERROR,
        baseOffset: -1,
      });
      for (const partition of [0, 1]) {
        expect(await produceTo(client, batchOf(["late"]), { partition })).toMatchObject({
          errorCode: ErrorCode.KAFKA_STORAGE_ERROR,
        });
        expect(await fetchFrom(client, { partition, offset: 0 })).toMatchObject({
          errorCode: ErrorCode.KAFKA_STORAGE_ERROR,
        });
      }
      expect(it.fatal).toHaveLength(1);
      expect(it.log.lines.find(({ message }) => message.startsWith("the log directory has failed"))?.level).toBe(
        "error",
      );
      expect(it.log.text(10)).toContain(`${path}: EIO`);
      const isOfLogs = syncsSince();
      await it.clock.advance(120_000);
      await client[Symbol.asyncDispose]();
      await it.broker.stop();
      expect(syncsSince() - isOfLogs).toBe(0);
      // The next start does not take the stop for a clean one.
      await using again = await simulated({ platter: it.platter });
      await using reader = await again.client();
      expect(again.log.lines.find(({ message }) => message === "logs loaded")?.fields).toMatchObject({
        isClean: false,
      });
      expect(await readValues(reader, 0, { topic: "orders", partition: 1 })).toBe(1);
      expect(await readValues(reader)).toBeGreaterThanOrEqual(1);
    },
  );

  test("in the background under durability os does the same, and what had been answered since the last sync may be lost", async () => {
    await using it = await simulated({ config: withoutJournal });
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "millrace.durability": "os" });
    await produceTo(client, batchOf(["kept"]));
    await it.clock.advance(1_000);
    it.disk.faults.failNextSync({ matches: (path) => path === segmentPath });
    expect(await produceTo(client, batchOf(["answered"]))).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
    await it.clock.advance(1_000);
    expect(it.fatal).toHaveLength(1);
    expect(it.log.text(10)).toMatch(/error the log directory has failed.*orders-0.*EIO/);
    expect(await produceTo(client, batchOf(["late"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    expect(await fetchFrom(client, { offset: 0 })).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    const left = it.disk.afterPowerLoss(new Prng(1));
    await it.broker.stop();
    await using again = await simulated({ platter: left });
    await using reader = await again.client();
    expect(await readValues(reader)).toBeGreaterThanOrEqual(1);
  });

  test("of a directory, when a topic is created, does the same", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders");
    it.disk.faults.failNextSync({ matches: (path) => path.endsWith("/late-0") });
    await client.request(createTopics, 7, {
      topics: [{ name: "late", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
      timeoutMs: 10_000,
      validateOnly: false,
    });
    expect(it.fatal).toHaveLength(1);
    expect(it.log.text(10)).toMatch(/error the log directory has failed.*late-0: EIO/);
    // Nothing more is promised on this disk.
    expect(await produceTo(client, batchOf(["late"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
  });

  test("of the metadata log: the change is refused, and the broker says so", async () => {
    await using it = await simulated();
    await using client = await it.client();
    it.disk.faults.failNextSync({ matches: (path) => path.includes("/metadata/") });
    await expect(createTopic(client, "orders")).rejects.toThrow(/creating orders: (?!UNKNOWN_SERVER_ERROR)/);
    expect(it.fatal).toHaveLength(1);
    expect(it.log.text(10)).toMatch(/error the metadata log has failed.*EIO/);
  });

  test("stops the broker where nobody asked to be told, after the producer was answered", async () => {
    await using directory = await temporaryDirectory();
    const { RecordingDisk } = await import("@millrace/simulator/recording-disk");
    const world = nodeWorld();
    const disk = await RecordingDisk.over(world.disk, directory.path);
    await using it = await running(directory.path, {}, { ...world, disk });
    await using client = await it.client();
    await createTopic(client, "orders");
    disk.faults.failNextSync({ matches: (path) => path.includes("millrace.journal") });
    expect(await produceTo(client, batchOf(["lost"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    await client.closed;
  });
});

/** One replica: nothing refills the range. */
describe("a byte that flipped in a stored segment", () => {
  test("is a corrupt record for its reader, by topic, partition and offset; others read on", async () => {
    await using directory = await temporaryDirectory();
    await using it = await running(directory.path);
    await using client = await it.client();
    await createTopic(client, "orders", 2);
    for (let count = 0; count < 5; count++) {
      for (const partition of [0, 1]) await produceTo(client, batchOf([`record ${count}`]), { partition });
    }
    const path = join(directory.path, "orders-0", "00000000000000000000.log");
    await flip(path, "record 3");
    await using cluster = new Cluster({ brokers: [`127.0.0.1:${it.broker.address.port}`] });
    const consumer = cluster.consumer();
    const read = async (partition: number, from: number): Promise<string[]> => {
      const values: string[] = [];
      for await (const { value } of consumer.records("orders", {
        partitions: [partition],
        from: { offset: from },
        untilEnd: true,
      })) {
        values.push(`${value}`);
      }
      return values;
    };
    await expect(read(0, 0)).rejects.toThrow(/orders-0.*offset 3.*CRC/);
    expect(await read(0, 4)).toEqual(["record 4"]);
    expect(await read(1, 0)).toEqual(["record 0", "record 1", "record 2", "record 3", "record 4"]);
    // The producer of the partition goes on.
    expect(await produceTo(client, batchOf(["record 5"]))).toMatchObject({ errorCode: 0, baseOffset: 5 });
    expect(await read(0, 4)).toEqual(["record 4", "record 5"]);
  });

  test("that breaks the chain of headers: that range is answered with CORRUPT_MESSAGE, the rest is served", async () => {
    const crashed = await recordedAndStopped();
    const bytes = await crashed.readFile(segmentPath);
    const second = [...batchesIn(bytes)][60]!;
    await patch(crashed, segmentPath, second.position + 8, 0x7f);
    await using it = await simulated({ platter: crashed });
    await using client = await it.client();
    const broken = await fetchFrom(client, { offset: second.baseOffset });
    expect(broken).toMatchObject({ errorCode: ErrorCode.CORRUPT_MESSAGE });
    expect(it.log.text(30)).toMatch(/orders-0\/00000000000000000000\.log/);
    expect((await fetchFrom(client, { offset: 10 })).errorCode).toBe(ErrorCode.NONE);
    expect((await fetchFrom(client, { offset: 198 })).errorCode).toBe(ErrorCode.NONE);
    expect(await readValues(client, 0, { topic: "orders", partition: 1 })).toBe(200);
    expect(await produceTo(client, batchOf(["x"]))).toMatchObject({ errorCode: 0, baseOffset: 200 });
  });

  test("below the recovery point, found after an unclean stop: the partition is offline by name, nothing is cut", async () => {
    const stopped = await recordedAndStopped();
    // A second life, which ends without a clean stop: its start has noted the recovery point.
    const second = await simulated({ platter: stopped });
    {
      await using client = await second.client();
      for (const partition of [0, 1]) await produceTo(client, batchOf(["tail"]), { partition });
    }
    const crashed = second.platter.afterProcessDeath();
    const before = await crashed.readFile(segmentPath);
    const broken = [...batchesIn(before)][150]!;
    await patch(crashed, segmentPath, broken.position + 70, before[broken.position + 70]! ^ 1);
    await using it = await simulated({ platter: crashed });
    await using client = await it.client();
    expect(await produceTo(client, batchOf(["x"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    expect(await fetchFrom(client, { offset: 0 })).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    const said = it.log.lines.filter(({ level }) => level === "error").map((line) => JSON.stringify(line));
    expect(said.join("\n")).toMatch(new RegExp(`${segmentPath}.*position ${broken.position} offset 150`));
    expect((await crashed.readFile(segmentPath)).length).toBe(before.length);
    const healthy = { topic: "orders", partition: 1 };
    expect(await readValues(client, 0, healthy)).toBe(201);
    expect(await produceTo(client, batchOf(["x"]), healthy)).toMatchObject({ errorCode: 0, baseOffset: 201 });
    await second.broker.stop();
  });
});

/** Two partitions of 200 batches each, after a clean stop. */
async function recordedAndStopped(): Promise<SimulatedDisk> {
  const it = await simulated();
  {
    await using client = await it.client();
    await createTopic(client, "orders", 2);
    for (const partition of [0, 1]) {
      await Promise.all(
        Array.from({ length: 200 }, async (_, count) =>
          produceTo(client, batchOf([`record ${count} ${"x".repeat(200)}`]), { partition }),
        ),
      );
    }
  }
  await it.broker.stop();
  return it.platter;
}

async function patch(disk: SimulatedDisk, path: string, position: number, byte: number): Promise<void> {
  const file = await disk.open(path, "write");
  file.writeNow(Uint8Array.of(byte), position);
  await file.close();
}

/** Changes one bit of a text in a file. */
async function flip(path: string, text: string): Promise<void> {
  await using file = await open(path, "r+");
  const bytes = await file.readFile();
  const at = bytes.indexOf(text);
  await file.write(Uint8Array.of(bytes[at]! ^ 1), 0, 1, at);
}
