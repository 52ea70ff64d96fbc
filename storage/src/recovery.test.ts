import type { TimeMs } from "@millrace/base/units";
import type { Disk } from "@millrace/base/world";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { describe, expect, test } from "vitest";
import { append, Bench, durable, readAll, tryAppend, values } from "../test/support.ts";
import type { BatchInput, BenchOptions } from "../test/support.ts";
import { committedRecords } from "../test/committed.ts";
import type { PartitionLog } from "./log.ts";
import { encodeAborted } from "./transaction-index.ts";
import type { LeaderEpoch, Offset } from "./types.ts";
import { verifyDirectory } from "./verify.ts";
import { trustBatch } from "./validation.ts";

const log0 = "/data/orders-0/00000000000000000000.log";
const KiB = 1024;
const limits = { unsyncedBytesMax: 32 * KiB, checkpointIntervalMs: 1e9, checkpointBytesMin: 1 };

/** A log with so many batches of 1000 bytes, and the disk as the death of its process leaves it. */
async function died(
  batches: number,
  options: {
    readonly config?: BenchOptions["config"];
    readonly checkpointAfter?: number;
    readonly batch?: (index: number) => BatchInput;
    readonly before?: (log: PartitionLog, bench: Bench) => Promise<void>;
  } = {},
): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk, limits });
  const log = await bench.create("orders", options.config);
  for (let index = 0; index < batches; index++) {
    append(log, options.batch?.(index) ?? { records: [`${index}:${"x".repeat(920)}`] });
    if (index % 5 === 0) await durable(log);
    if (index + 1 === options.checkpointAfter) await bench.directory.checkpoint();
  }
  await durable(log);
  await options.before?.(log, bench);
  return disk.afterProcessDeath();
}

function reopen(disk: Disk, options: BenchOptions = {}): Promise<Bench> {
  return Bench.open({ disk, limits, ...options });
}

async function write(disk: Disk, path: string, position: number, bytes: Buffer): Promise<void> {
  const file = await disk.open(path, "write");
  await file.write([bytes], position);
  await file.close();
}

async function cutFile(disk: Disk, path: string, sizeBytes: number): Promise<void> {
  const file = await disk.open(path, "write");
  await file.truncate(sizeBytes);
  await file.close();
}

async function flip(disk: Disk, path: string, position: number): Promise<void> {
  const bytes = await disk.readFile(path);
  await write(disk, path, position, Buffer.from([(bytes[position] ?? 0) ^ 0x40]));
}

/** Positions of the batches, by their order. */
async function starts(disk: Disk, path: string): Promise<number[]> {
  const bytes = await disk.readFile(path);
  const found: number[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readInt32BE(at + 8) + 12) found.push(at);
  return found;
}

const bytesOf = async (disk: Disk, path: string): Promise<string> => (await disk.readFile(path)).toString("hex");

test("an aborted transaction that a recovery found in a closed segment is known to the next start as well", async () => {
  const disk = await died(1, {
    before: async (log) => {
      append(log, { records: ["aborted"], producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true });
      const marker = { isCommit: false, coordinatorEpoch: 0, producerId: 7, producerEpoch: 0, timestamp: 0 };
      const epoch = { leaderEpoch: 0 as LeaderEpoch, origin: "coordinator", nowMs: 0 as TimeMs } as const;
      log.append(trustBatch(encodeEndTransactionMarker(marker)), epoch);
      await durable(log);
      await log.roll();
      append(log, { records: ["behind"] });
      await durable(log);
    },
  });
  // The process has died before the closed segment was finished.
  for (const { name } of await disk.list("/data/orders-0"))
    if (/(txnindex|snapshot)$/.test(name)) await disk.removeFile(`/data/orders-0/${name}`);
  const seen = async (bench: Bench): Promise<string[]> =>
    (await committedRecords(bench.log("orders"))).map(({ value }) => String(value)).slice(1);
  const bench = await reopen(disk);
  expect(await seen(bench)).toEqual(["behind"]);
  append(bench.log("orders"), { records: ["more"] });
  await durable(bench.log("orders"));
  await bench.directory.checkpoint();
  expect(await seen(await reopen(disk.afterProcessDeath()))).toEqual(["behind", "more"]);
});

test("an index that names an aborted transaction whose marker the crash took is written anew", async () => {
  const disk = await died(3);
  const path = "/data/orders-0/00000000000000000000.txnindex";
  const gone = { producerId: 7, firstOffset: 1 as Offset, lastOffset: 5 as Offset, lastStableOffset: 6 as Offset };
  await disk.writeFile(path, encodeAborted(gone));
  const bench = await reopen(disk);
  append(bench.log("orders"), { records: ["more"] });
  await durable(bench.log("orders"));
  await bench.directory.close();
  expect((await disk.readFile(path)).length).toBe(0);
  expect((await verifyDirectory(disk, "/data")).problems).toEqual([]);
});

describe("a torn tail (R15)", () => {
  test("nothing is cut where nothing is torn, and the log goes on", async () => {
    const bench = await reopen(await died(20));
    expect(bench.report).toMatchObject({ isClean: false, cutBytes: 0, offline: [] });
    const log = bench.log("orders");
    expect(log.logEndOffset).toBe(20);
    expect(log.flushedOffset).toBe(20);
    append(log, { records: ["next"] });
    await durable(log);
    expect(values(await readAll(log, 20))).toEqual(["next"]);
  });

  test.for<[string, (disk: Disk, path: string, last: number, end: number) => Promise<void>]>([
    ["a batch that was written in part", (disk, path, last) => cutFile(disk, path, last + 500)],
    ["less than a header", (disk, path, last) => cutFile(disk, path, last + 10)],
    ["zeros where pages never came", (disk, path, last) => write(disk, path, last, Buffer.alloc(900))],
    ["a batch with a hole", (disk, path, last) => write(disk, path, last + 400, Buffer.alloc(100))],
    ["a flipped bit in its header", (disk, path, last) => flip(disk, path, last + 60)],
    ["a length that leads far away", (disk, path, last) => write(disk, path, last + 8, Buffer.from([0x7f, 0, 0, 0]))],
  ])("%s is cut", async ([, damage]) => {
    const disk = await died(20, { checkpointAfter: 10 });
    const positions = await starts(disk, log0);
    const last = positions.at(-1) ?? 0;
    await damage(disk, log0, last, (await disk.readFile(log0)).length);
    const bench = await reopen(disk);
    expect(bench.report.offline).toEqual([]);
    expect(bench.log("orders").logEndOffset).toBe(19);
    expect((await disk.stat(log0))?.sizeBytes).toBe(last);
    expect(await readAll(bench.log("orders"))).toHaveLength(19);
  });

  test("whole batches behind the first bad one go too, within the bound", async () => {
    const disk = await died(20, { checkpointAfter: 5 });
    await flip(disk, log0, ((await starts(disk, log0))[12] ?? 0) + 100);
    const bench = await reopen(disk);
    expect(bench.report.offline).toEqual([]);
    expect(bench.report.cutBytes).toBeGreaterThan(7000);
    expect(bench.log("orders").logEndOffset).toBe(12);
  });
});

describe("corruption takes the log offline and cuts nothing (R15)", () => {
  test("a bad batch below the recovery point", async () => {
    const disk = await died(20, { checkpointAfter: 15 });
    const position = (await starts(disk, log0))[4] ?? 0;
    await flip(disk, log0, position + 100);
    const before = await bytesOf(disk, log0);
    const bench = await reopen(disk);
    const [offline] = bench.report.offline;
    expect(offline?.message).toContain(`${log0} position ${position} offset 4: bad-crc`);
    expect(await bytesOf(disk, log0)).toBe(before);
    const log = bench.log("orders");
    expect(log.failure?.kind).toBe("corrupt");
    expect(tryAppend(log)).toMatchObject({ ok: false, failure: { kind: "log-failed" } });
    expect(
      await log.read(0 as never, { sizeBytesMax: 1, upTo: 1 as never, isWholeBatchGuaranteed: true }),
    ).toMatchObject({
      failure: "log-failed",
    });
    // Neither does a clean stop make it look sound.
    await bench.directory.close();
    const again = await reopen(disk);
    expect(again.report.isClean).toBe(false);
    expect(again.report.offline).toEqual(bench.report.offline);
  });

  // Fewer new bytes than are worth a checkpoint: recovery point and journal know nothing of them.
  const unnoted = { ...limits, checkpointBytesMin: 1e9 };

  test.for<[string, (disk: Disk, positions: readonly number[]) => Promise<void>, RegExp]>([
    [
      "a bad batch",
      (disk, positions) => flip(disk, log0, (positions[4] ?? 0) + 100),
      /offset 4: bad-crc, below the high watermark 10$/,
    ],
    [
      "a write that went astray",
      async (disk, positions) => {
        const { sizeBytes = 0 } = (await disk.stat(log0)) ?? {};
        await write(disk, log0, positions[8] ?? 0, Buffer.alloc(sizeBytes - (positions[8] ?? 0)));
      },
      /offset 8: the log ends here, but by replication-offset-checkpoint it was durable up to 10$/,
    ],
  ])("%s below the high watermark, where no checkpoint was worth it", async ([, damage, message]) => {
    const disk = new SimulatedDisk();
    const bench = await Bench.open({ disk, limits: unnoted, areReplicated: true });
    const log = await bench.create("orders");
    for (let index = 0; index < 21; index++) append(log, { records: [`${index}:${"x".repeat(920)}`] });
    await durable(log);
    log.replicatedHighWatermark = 10 as Offset;
    await bench.directory.checkpoint();
    expect(log.recoveryPoint).toBe(0);
    const image = disk.afterProcessDeath();
    await damage(image, await starts(image, log0));
    const before = await bytesOf(image, log0);
    const isNamed = (await verifyDirectory(image, "/data")).problems.some(({ kind }) => kind === "corrupt");
    expect(isNamed).toBe(true);
    const again = await Bench.open({ disk: image, limits: unnoted, areReplicated: true });
    expect(again.report.offline[0]?.message).toMatch(message);
    expect(await bytesOf(image, log0)).toBe(before);
    // Nor is it forgotten what was committed.
    await again.directory.checkpoint();
    const third = await Bench.open({ disk: image.afterProcessDeath(), limits: unnoted, areReplicated: true });
    expect(third.report.offline).toEqual(again.report.offline);
  });

  test("whole batches further away than could be unsynced", async () => {
    const disk = await died(60, { checkpointAfter: 5 });
    const position = (await starts(disk, log0))[20] ?? 0;
    await flip(disk, log0, position + 100);
    const before = await bytesOf(disk, log0);
    const bench = await reopen(disk);
    const [offline] = bench.report.offline;
    expect(offline?.message).toContain(
      `${log0} position ${position} offset 20: bad-crc, but a whole batch with offset`,
    );
    expect(await bytesOf(disk, log0)).toBe(before);
  });

  test("the same under durability os is a tail: there is no bound", async () => {
    const config = { "millrace.durability": "os" } as const;
    const disk = await died(60, { checkpointAfter: 5, config });
    await flip(disk, log0, ((await starts(disk, log0))[20] ?? 0) + 100);
    const bench = await reopen(disk, { config });
    expect(bench.report.offline).toEqual([]);
    expect(bench.log("orders").logEndOffset).toBe(20);
  });

  test("a file that became shorter than the recovery point", async () => {
    const disk = await died(20, { checkpointAfter: 15 });
    await cutFile(disk, log0, (await starts(disk, log0))[10] ?? 0);
    const bench = await reopen(disk);
    expect(bench.report.offline[0]?.message).toMatch(/offset 10: .*durable up to 15/);
  });

  test.for<[string, number, RegExp]>([
    ["the first", 0, /starts at offset 0, but its first segment at \d+/],
    ["one in the middle", 1, /the segment before it, \d{20}\.log, ends at offset \d+/],
  ])("%s of several segments is missing", async ([, index, message]) => {
    const disk = await died(40, { config: { "segment.bytes": 10 * KiB }, checkpointAfter: 40 });
    const names = (await disk.list("/data/orders-0")).map(({ name }) => name).filter((name) => name.endsWith(".log"));
    await disk.removeFile(`/data/orders-0/${names.sort()[index] ?? ""}`);
    const bench = await reopen(disk);
    expect(bench.report.offline[0]?.message).toMatch(message);
  });

  test("a segment behind a torn one", async () => {
    const disk = await died(30, { config: { "segment.bytes": 10 * KiB } });
    const positions = await starts(disk, log0);
    await flip(disk, log0, (positions.at(-1) ?? 0) + 100);
    const bench = await reopen(disk);
    expect(bench.report.offline[0]?.message).toContain("follows in /data/orders-0/");
  });

  test("other partitions are served", async () => {
    const disk = await died(20, {
      checkpointAfter: 15,
      before: async (_, bench) => {
        const other = await bench.create("other");
        append(other, { records: ["fine"] });
        await durable(other);
      },
    });
    await flip(disk, log0, 100);
    const bench = await reopen(disk);
    expect(bench.report.offline).toHaveLength(1);
    expect(values(await readAll(bench.log("other")))).toEqual(["fine"]);
  });
});

describe("what is made anew", () => {
  const index0 = log0.replace(".log", ".index");
  const times0 = log0.replace(".log", ".timeindex");
  const config = { "index.interval.bytes": 100 };

  test.for<[string, (disk: Disk) => Promise<void>]>([
    ["missing indexes", async (disk) => disk.removeFile(index0).then(() => disk.removeFile(times0))],
    ["indexes that are ahead of the log", (disk) => write(disk, index0, 19 * 8, Buffer.alloc(80, 0x77))],
    [
      "indexes that end with zeros",
      async (disk) =>
        write(disk, index0, 19 * 8, Buffer.alloc(800)).then(() => write(disk, times0, 1200, Buffer.alloc(120))),
    ],
    [
      "indexes of nonsense",
      async (disk) =>
        write(disk, index0, 0, Buffer.alloc(160, 0xee)).then(() => write(disk, times0, 0, Buffer.alloc(200, 0xee))),
    ],
    ["an index that was cut in an entry", (disk) => cutFile(disk, index0, 43)],
  ])("%s", async ([, damage]) => {
    for (const checkpointAfter of [0, 12]) {
      const disk = await died(20, {
        config,
        checkpointAfter,
        batch: (index) => ({ records: [`${index}`, "x".repeat(500)], timestamp: 1e12 + index }),
      });
      const intact = [
        await bytesOf(await closed(disk.afterProcessDeath()), index0),
        await bytesOf(await closed(disk.afterProcessDeath()), times0),
      ];
      await damage(disk);
      const bench = await reopen(disk, { config });
      expect(bench.report.offline).toEqual([]);
      const log = bench.log("orders");
      for (let offset = 0; offset < 40; offset++) expect((await readAll(log, offset, 10))[0]?.offset).toBe(offset);
      expect(await log.recordAtOrAfter(1e12 + 7)).toMatchObject({ value: { offset: 14 } });
      await bench.directory.close();
      expect([await bytesOf(disk, index0), await bytesOf(disk, times0)]).toEqual(intact);
    }
  });

  async function closed(disk: SimulatedDisk): Promise<SimulatedDisk> {
    const bench = await reopen(disk, { config });
    await bench.directory.close();
    return disk;
  }

  test("the producers' state, from the snapshot and the batches after it", async () => {
    const batch = (index: number): BatchInput => ({
      records: [`${index}`],
      producerId: 9,
      producerEpoch: 1,
      baseSequence: index,
    });
    for (const damage of ["none", "snapshot lost", "snapshot torn"] as const) {
      const disk = await died(12, { checkpointAfter: 6, batch });
      const snapshot = "/data/orders-0/00000000000000000006.snapshot";
      expect((await disk.stat(snapshot))?.sizeBytes).toBe(10 + 5 * 46);
      if (damage === "snapshot lost") await disk.removeFile(snapshot);
      if (damage === "snapshot torn") await cutFile(disk, snapshot, 50);
      const log = (await reopen(disk)).log("orders");
      expect(append(log, batch(9))).toMatchObject({ isDuplicate: true, firstOffset: 9, nextOffset: 10 });
      expect(tryAppend(log, batch(5))).toMatchObject({ failure: { kind: "sequence-gap" } });
      expect(append(log, batch(12))).toMatchObject({ isDuplicate: false, firstOffset: 12 });
    }
  });

  test("a duplicate that crosses a clean restart is answered with its first offset, all five of them", async () => {
    const batch = (index: number): BatchInput => ({
      records: [`${index}`],
      producerId: 9,
      producerEpoch: 1,
      baseSequence: index,
    });
    const bench = await Bench.open();
    const log = await bench.create("orders");
    for (let index = 0; index < 8; index++) append(log, batch(index));
    await durable(log);
    await bench.directory.close();
    const again = (await Bench.open({ disk: bench.disk })).log("orders");
    for (const index of [3, 4, 5, 6, 7])
      expect(append(again, batch(index))).toMatchObject({ isDuplicate: true, firstOffset: index });
    expect(tryAppend(again, batch(2))).toMatchObject({ failure: { kind: "sequence-gap" } });
  });

  test("the leader epochs, where the checkpoint is behind or missing", async () => {
    const disk = new SimulatedDisk();
    const bench = await Bench.open({ disk, limits });
    const log = await bench.create("orders");
    for (const epoch of [1, 1, 4, 4, 6]) append(log, { records: ["a", "b"] }, { leaderEpoch: epoch as never });
    await durable(log);
    const crashed = disk.afterProcessDeath();
    await bench.directory.close();
    const lost = disk.afterProcessDeath();
    await lost.removeFile("/data/orders-0/leader-epoch-checkpoint");
    for (const image of [crashed, disk, lost]) {
      const found = (await reopen(image)).log("orders");
      expect([1, 3, 4, 6].map((epoch) => found.endOffsetForEpoch(epoch).endOffset)).toEqual([4, 4, 8, 10]);
    }
  });
});

describe("a clean stop", () => {
  test("nothing is scanned, and the marker goes at once", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders");
    for (let index = 0; index < 50; index++) append(log, { sizeBytes: 5000 });
    await durable(log);
    await bench.directory.close();
    expect(await bench.disk.stat("/data/.kafka_cleanshutdown")).not.toBeNull();
    const again = await Bench.open({ disk: bench.disk });
    expect(again.report).toMatchObject({ isClean: true, recoveredBytes: 0 });
    expect(await bench.disk.stat("/data/.kafka_cleanshutdown")).toBeNull();
  });

  test("leaves no trace in memory or on the disk of what was only queued at a crash", async () => {
    const disk = new SimulatedDisk();
    const bench = await Bench.open({ disk, limits });
    const log = await bench.create("orders");
    append(log, { records: ["queued"] });
    const again = await reopen(disk.afterProcessDeath());
    expect(again.log("orders").logEndOffset).toBe(0);
  });
});

test("a start time that does not grow with the data: only the tail behind the recovery point is read", async () => {
  const disk = await died(400, { checkpointAfter: 395, config: { "index.interval.bytes": 4096 } });
  const bench = await reopen(disk);
  expect(bench.log("orders").logEndOffset).toBe(400);
  // The tail, and one bound before it.
  expect(bench.report.recoveredBytes).toBeLessThan(50 * KiB);
});
