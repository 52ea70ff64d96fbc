import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { describe, expect, test } from "vitest";
import { append, Bench, batchOf, durable, readAll, readBytes, values } from "../test/support.ts";
import type { LogConfig } from "./log-config.ts";
import type { PartitionLog } from "./log.ts";
import type { LeaderEpoch, Offset } from "./types.ts";
import { trustBatch } from "./validation.ts";

const start = Date.UTC(2026, 0, 1);
const hour = 3_600_000;

/** Segments of three batches each; batch n is of hour n. */
async function hourly(bench: Bench, batches: number, config: Partial<LogConfig> = {}): Promise<PartitionLog> {
  const log = await bench.create("orders", { "segment.bytes": 3000, "retention.ms": -1, ...config });
  for (let batch = 0; batch < batches; batch++) {
    append(log, { records: [{ timestamp: start + batch * hour, value: Buffer.alloc(850) }] });
  }
  await durable(log);
  return log;
}

async function namesIn(bench: Bench, suffix: string): Promise<string[]> {
  const names = (await bench.disk.list("/data/orders-0")).map(({ name }) => name);
  return names.filter((name) => name.endsWith(suffix)).sort();
}

describe("retention", () => {
  test("by time: whole segments go when their newest record is too old", async () => {
    const bench = await Bench.open();
    const log = await hourly(bench, 10, { "retention.ms": 5 * hour });
    expect(await log.retain((start + 7 * hour) as never)).toBe(0);
    expect(await log.retain((start + 7 * hour + 1) as never)).toBe(1);
    expect([log.logStartOffset, log.segmentCount]).toEqual([3, 3]);
    expect(await log.retain((start + 13 * hour + 1) as never)).toBe(2);
    expect([log.logStartOffset, log.logEndOffset]).toEqual([9, 10]);
    // The active one goes last, when an empty one has taken its place.
    expect(await log.retain((start + 100 * hour) as never)).toBe(1);
    expect([log.logStartOffset, log.logEndOffset, log.segmentCount, log.sizeBytes]).toEqual([10, 10, 1, 0]);
    expect(await log.retain((start + 900 * hour) as never)).toBe(0);
    append(log, { records: ["next"] });
    await durable(log);
    expect(values(await readAll(log))).toEqual(["next"]);
  });

  test("by size: what is left has at least retention.bytes, and the active segment stays", async () => {
    const bench = await Bench.open();
    const log = await hourly(bench, 10, { "retention.bytes": 3000 });
    expect(await log.retain(start as never)).toBe(2);
    expect(log.sizeBytes).toBeGreaterThanOrEqual(3000);
    expect(log.logStartOffset).toBe(6);
    log.configure({ ...log.config, "retention.bytes": 0 });
    await log.retain(start as never);
    expect([log.segmentCount, log.logStartOffset]).toEqual([1, 9]);
  });

  test.for<[string, Partial<LogConfig>]>([
    ["-1 keeps all", { "retention.ms": -1, "retention.bytes": -1 }],
    ["an empty cleanup.policy keeps all", { "cleanup.policy": [], "retention.ms": 1 }],
    [
      "compaction alone keeps the last of each key",
      { "cleanup.policy": ["compact"], "retention.ms": 1, "retention.bytes": 1 },
    ],
  ])("%s", async ([, config]) => {
    const log = await hourly(await Bench.open(), 10, config);
    expect(await log.retain((start + 9999 * hour) as never)).toBe(0);
    expect(await readAll(log)).toHaveLength(10);
  });

  test("what is not below the high watermark stays", async () => {
    const log = await hourly(await Bench.open(), 10, { "retention.ms": 1 });
    expect(await log.retain((start + 999 * hour) as never, 5 as Offset)).toBe(1);
    expect(log.logStartOffset).toBe(3);
  });

  test("files get another name at once and go after file.delete.delay.ms; who reads them reads on", async () => {
    const bench = await Bench.open();
    const log = await hourly(bench, 10, { "retention.ms": hour, "file.delete.delay.ms": 5000 });
    const read = await log.read(0 as Offset, { sizeBytesMax: 1e6, upTo: 10 as Offset, isWholeBatchGuaranteed: true });
    if (!read.ok || read.value.slice === null) throw new Error("a slice");
    const { slice } = read.value;
    expect(await log.retain((start + 6 * hour) as never)).toBe(1);
    expect(await namesIn(bench, ".log")).not.toContain("00000000000000000000.log");
    expect(await namesIn(bench, ".deleted")).toContain("00000000000000000000.log.deleted");
    await bench.clock.advance(20_000);
    // The name waits for the reader.
    const bytes = Buffer.alloc(slice.sizeBytes);
    expect(await slice.file.read(bytes, slice.position)).toBe(slice.sizeBytes);
    slice.release();
    await bench.clock.advance(10);
    expect(await namesIn(bench, ".deleted")).toEqual([]);
  });

  test("the housekeeping does it by itself", async () => {
    const bench = await Bench.open({ limits: { retentionIntervalMs: 60_000 } });
    const log = await hourly(bench, 10, { "retention.bytes": 3000 });
    await bench.clock.advance(61_000);
    expect(log.logStartOffset).toBe(6);
  });
});

describe("the log's start (DeleteRecords)", () => {
  test("moves up, never back, and survives both kinds of restart", async () => {
    const disk = new SimulatedDisk();
    const bench = await Bench.open({ disk });
    const log = await hourly(bench, 10);
    expect(await log.deleteRecordsBefore(11 as Offset)).toMatchObject({ failure: "out-of-range" });
    expect(await log.deleteRecordsBefore(5 as Offset)).toMatchObject({ ok: true });
    expect(await log.deleteRecordsBefore(2 as Offset)).toMatchObject({ ok: true });
    expect([log.logStartOffset, log.segmentCount]).toEqual([5, 3]);
    expect((await readAll(log))[0]?.offset).toBe(5);
    const crashed = await Bench.open({ disk: disk.afterProcessDeath() });
    expect(crashed.log("orders").logStartOffset).toBe(5);
    await bench.directory.close();
    const again = (await Bench.open({ disk })).log("orders");
    expect(again.logStartOffset).toBe(5);
    expect((await readAll(again))[0]?.offset).toBe(5);
    expect(await again.deleteRecordsBefore(10 as Offset)).toMatchObject({ ok: true });
    expect([again.logStartOffset, again.logEndOffset]).toEqual([10, 10]);
  });

  test("is durable before anything is removed", async () => {
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await Bench.open({ disk, clock });
    const log = await hourly(bench, 10);
    const position = disk.position;
    await log.deleteRecordsBefore(6 as Offset);
    const events = disk.events.slice(position);
    const noted = events.findIndex(
      (event) => event.kind === "rename" && event.at.name === "log-start-offset-checkpoint",
    );
    const removed = events.findIndex((event) => event.kind === "rename" && event.at.name.endsWith(".deleted"));
    expect(noted).toBeGreaterThan(-1);
    expect(events.slice(noted, removed).some(({ kind }) => kind === "sync-directory")).toBe(true);
  });
});

describe("rolling", () => {
  test("by the age of the records, not of the file", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", { "segment.ms": 10 * hour });
    for (const age of [0, 5, 10, 11, 20, 40]) append(log, { timestamp: start + age * hour });
    await durable(log);
    expect(await namesIn(bench, ".log")).toEqual([
      "00000000000000000000.log",
      "00000000000000000003.log",
      "00000000000000000005.log",
    ]);
  });

  test("when the index is full", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", { "segment.index.bytes": 80, "index.interval.bytes": 10 });
    for (let batch = 0; batch < 30; batch++) {
      append(log);
      await durable(log);
    }
    expect(log.segmentCount).toBeGreaterThan(2);
    for (const name of await namesIn(bench, ".index")) {
      expect((await bench.disk.stat(`/data/orders-0/${name}`))?.sizeBytes).toBeLessThanOrEqual(80);
    }
  });

  test("a closed segment's time index ends with its largest timestamp, and its snapshot is that of its successor's start", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", { "segment.bytes": 2000 });
    for (let batch = 0; batch < 5; batch++) {
      append(log, {
        records: [{ timestamp: start + batch, value: Buffer.alloc(700) }],
        producerId: 3,
        producerEpoch: 0,
        baseSequence: batch,
      });
    }
    await durable(log);
    await bench.clock.settle();
    const times = await bench.disk.readFile("/data/orders-0/00000000000000000000.timeindex");
    expect(times.readBigInt64BE(times.length - 12)).toBe(BigInt(start + 1));
    expect(times.readInt32BE(times.length - 4)).toBe(1);
    expect(await namesIn(bench, ".snapshot")).toEqual([
      "00000000000000000002.snapshot",
      "00000000000000000004.snapshot",
    ]);
  });

  test("a jitter brings it forward", async () => {
    const bench = await Bench.open({ seed: 3 });
    const log = await bench.create("orders", { "segment.ms": 10 * hour, "segment.jitter.ms": 10 * hour });
    append(log, { timestamp: start });
    append(log, { timestamp: start + 10 * hour - 1 });
    await durable(log);
    expect(log.segmentCount).toBe(2);
  });
});

describe("truncation", () => {
  async function fiveBatches(): Promise<{ bench: Bench; log: PartitionLog }> {
    const bench = await Bench.open({ limits: { checkpointBytesMin: 1 } });
    const log = await bench.create("orders", { "segment.bytes": 3000, "index.interval.bytes": 10 });
    for (let batch = 0; batch < 5; batch++) {
      const records = [`${batch}`, { timestamp: start + batch * 10, value: Buffer.alloc(700) }];
      append(
        log,
        { records, producerId: 4, producerEpoch: 0, baseSequence: batch * 2 },
        { leaderEpoch: batch as LeaderEpoch },
      );
    }
    await durable(log);
    return { bench, log };
  }

  test.for<[offset: number, end: number, segments: number]>([
    [10, 10, 2],
    [9, 8, 2],
    [8, 8, 2],
    [7, 6, 2],
    [6, 6, 2],
    [5, 4, 1],
    [1, 0, 1],
    [0, 0, 1],
  ])("to %i leaves whole batches up to %i", async ([offset, end, segments]) => {
    const { bench, log } = await fiveBatches();
    await bench.directory.checkpoint();
    const cuts: number[] = [];
    log.onCut = (endOffset) => cuts.push(endOffset);
    expect(await log.truncateTo(offset as Offset)).toMatchObject({ ok: true });
    expect([log.logEndOffset, log.durableOffset, log.segmentCount]).toEqual([end, end, segments]);
    if (end < 10) expect(cuts).toEqual([end]);
    expect(await readAll(log)).toHaveLength(end);
    expect(log.latestEpoch).toBe(end / 2 - 1);
    expect(log.recoveryPoint).toBeLessThanOrEqual(end);
    // Producers are as they were: the next batch of then is the next one again.
    if (end < 10) {
      const again = { records: ["again"], producerId: 4, producerEpoch: 0, baseSequence: end };
      expect(append(log, again)).toMatchObject({ firstOffset: end, isDuplicate: false });
    }
    await durable(log);
    const found = await log.maxTimestampRecord();
    expect(found.ok && found.value?.timestamp).toBe(end < 10 ? Math.max(start, start + end * 5 - 10) : start + 40);
    await bench.directory.close();
    const reopened = await Bench.open({ disk: bench.disk });
    expect(reopened.report.offline).toEqual([]);
    expect(reopened.log("orders").logEndOffset).toBe(end < 10 ? end + 1 : 10);
  });

  test("producers are known again after a clean stop that comes right after a cut", async () => {
    const { bench, log } = await fiveBatches();
    await bench.directory.checkpoint();
    await log.truncateTo(6 as Offset);
    await bench.directory.close();
    const again = (await Bench.open({ disk: bench.disk })).log("orders");
    const last = { records: ["x", "y"], producerId: 4, producerEpoch: 0, baseSequence: 4 };
    expect(append(again, last)).toMatchObject({ isDuplicate: true, firstOffset: 4 });
  });

  test("all of it, to begin where the leader's log does", async () => {
    const { bench, log } = await fiveBatches();
    expect(await log.truncateFullyAndStartAt(500 as Offset)).toMatchObject({ ok: true });
    expect([log.logStartOffset, log.logEndOffset, log.segmentCount]).toEqual([500, 500, 1]);
    append(log, { records: ["first"] });
    await durable(log);
    const image = (bench.disk as SimulatedDisk).afterProcessDeath();
    const again = (await Bench.open({ disk: image })).log("orders");
    expect([again.logStartOffset, again.logEndOffset]).toEqual([500, 501]);
    expect(values(await readAll(again))).toEqual(["first"]);
  });
});

describe("lookups by time", () => {
  test("the first record at or after a time, exact to the record, over segments and restarts", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", { "segment.bytes": 3000, "index.interval.bytes": 100 });
    // Times go up and down a little: 0 10 20 15 25 35 30 ...
    const times = Array.from(
      { length: 60 },
      (_, index) => start + index * 10 - (index % 3 === 0 && index > 0 ? 15 : 0),
    );
    for (let at = 0; at < 60; at += 3) {
      append(log, { records: times.slice(at, at + 3).map((timestamp) => ({ timestamp, value: Buffer.alloc(300) })) });
    }
    await durable(log);
    const expected = (time: number): number | null => {
      const index = times.findIndex((each) => each >= time);
      return index < 0 ? null : index;
    };
    const check = async (subject: PartitionLog): Promise<void> => {
      for (let time = start - 20; time <= start + 620; time += 5) {
        const found = await subject.recordAtOrAfter(time);
        expect(found.ok && (found.value?.offset ?? null), String(time - start)).toBe(expected(time));
        if (found.ok && found.value !== null) expect(found.value.timestamp).toBe(times[found.value.offset]);
      }
      const max = Math.max(...times);
      expect(await subject.maxTimestampRecord()).toMatchObject({
        value: { offset: times.indexOf(max), timestamp: max },
      });
    };
    await check(log);
    await bench.directory.close();
    await check((await Bench.open({ disk: bench.disk })).log("orders"));
  });

  test("nothing in an empty log, nor of records that are not durable or before the start", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders");
    expect(await log.maxTimestampRecord()).toEqual({ ok: true, value: null });
    expect(await log.recordAtOrAfter(0)).toEqual({ ok: true, value: null });
    append(log, { timestamp: start });
    append(log, { timestamp: start + 5 });
    expect(await log.recordAtOrAfter(0)).toEqual({ ok: true, value: null });
    await durable(log);
    await log.deleteRecordsBefore(1 as Offset);
    expect(await log.recordAtOrAfter(0)).toMatchObject({ value: { offset: 1 } });
  });

  test("times beyond 2^53 are told exactly", async () => {
    const log = await (await Bench.open()).create("orders");
    const huge = 2n ** 60n + 1n;
    append(log, batchOf({ records: [{ timestamp: 5 }, { timestampBig: huge }] }));
    await durable(log);
    expect(await log.recordAtOrAfter(6)).toMatchObject({
      value: { offset: 1, timestamp: Number.MAX_SAFE_INTEGER, timestampExact: huge },
    });
    expect(await log.recordAtOrAfter(huge + 1n)).toEqual({ ok: true, value: null });
  });

  test("LogAppendTime: the records have the time of their append", async () => {
    const log = await (await Bench.open()).create("orders", { "message.timestamp.type": "LogAppendTime" });
    const info = append(log, { records: ["a", "b"], timestamp: 7 }, { nowMs: (start + 99) as never });
    expect(info.logAppendTimeMs).toBe(start + 99);
    await durable(log);
    expect((await readAll(log)).map(({ timestamp }) => timestamp)).toEqual([start + 99, start + 99]);
    const bytes = await readBytes(log, 0);
    expect(bytes.readInt16BE(21)).toBe(8);
    expect(bytes.readBigInt64BE(27)).toBe(7n);
    expect(await log.recordAtOrAfter(8)).toMatchObject({ value: { offset: 0, timestamp: start + 99 } });
  });
});

describe("transactions", () => {
  function mark(
    log: PartitionLog,
    producerId: number,
    isCommit: boolean,
    coordinatorEpoch = 1,
  ): ReturnType<PartitionLog["append"]> {
    const bytes = encodeEndTransactionMarker({
      isCommit,
      coordinatorEpoch,
      producerId,
      producerEpoch: 0,
      timestamp: start,
    });
    return log.append(trustBatch(bytes), {
      leaderEpoch: 0 as LeaderEpoch,
      origin: "coordinator",
      nowMs: start as never,
    });
  }
  const data = (producerId: number, baseSequence: number) => ({
    records: ["x"],
    producerId,
    producerEpoch: 0,
    baseSequence,
    isTransactional: true,
  });

  async function mixed(): Promise<{ bench: Bench; log: PartitionLog }> {
    const bench = await Bench.open({ limits: { checkpointBytesMin: 1 } });
    const log = await bench.create("orders", { "segment.bytes": 400 });
    append(log, data(1, 0)); // 0
    append(log, data(2, 0)); // 1
    mark(log, 1, false); // 2
    append(log, { records: ["plain"] }); // 3
    append(log, data(1, 1)); // 4
    mark(log, 2, true); // 5
    mark(log, 1, false); // 6
    append(log, data(3, 0)); // 7
    await durable(log);
    await bench.clock.settle();
    return { bench, log };
  }

  async function abortedIn(log: PartitionLog, offset: number, upTo: number): Promise<unknown> {
    const found: unknown[] = [];
    for (let at = offset; at < upTo;) {
      const read = await log.read(at as Offset, {
        sizeBytesMax: 1,
        upTo: upTo as Offset,
        isWholeBatchGuaranteed: true,
        areAbortedTransactionsWanted: true,
      });
      if (!read.ok || read.value.slice === null) throw new Error("a slice");
      found.push(
        read.value.abortedTransactions?.map(({ producerId, firstOffset }) => `${producerId}@${firstOffset}`).join(" "),
      );
      at = read.value.slice.nextOffset;
      read.value.slice.release();
    }
    return found;
  }

  test("readers of committed records stop at the first that is under way, and know which were aborted", async () => {
    const { bench, log } = await mixed();
    expect(log.lastStableOffset).toBe(7);
    expect(log.segmentCount).toBeGreaterThan(1);
    const expected = ["1@0", "1@0", "1@0", "", "1@4", "1@4", "1@4"];
    expect(await abortedIn(log, 0, 7)).toEqual(expected);
    const crashed = (await Bench.open({ disk: (bench.disk as SimulatedDisk).afterProcessDeath() })).log("orders");
    expect(crashed.lastStableOffset).toBe(7);
    expect(await abortedIn(crashed, 0, 7)).toEqual(expected);
    await bench.directory.close();
    const again = (await Bench.open({ disk: bench.disk })).log("orders");
    expect(again.lastStableOffset).toBe(7);
    expect(await abortedIn(again, 0, 7)).toEqual(expected);
    mark(again, 3, true);
    await durable(again);
    expect(again.lastStableOffset).toBe(9);
  });

  test("a segment that a full disk kept from being finished is finished before the recovery point passes it", async () => {
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await Bench.open({ disk, clock, limits: { checkpointBytesMin: 1 } });
    const log = await bench.create("orders", { "segment.bytes": 400 });
    disk.faults.failNextWrite({ code: "ENOSPC", matches: (path) => path.endsWith(".txnindex") });
    append(log, data(1, 0)); // 0
    mark(log, 1, false); // 1
    while (log.segmentCount === 1) append(log, { records: ["plain"] });
    await durable(log);
    await clock.settle();
    expect(log.recoveryPoint).toBe(0);
    const end = log.logEndOffset;
    await clock.runUntil(() => log.recoveryPoint === end, { withinMs: 200_000 });
    // Until that is on the disk, too.
    await clock.advance(200_000);
    const again = await Bench.open({ disk: inner.afterProcessDeath() });
    expect(await abortedIn(again.log("orders"), 0, 1)).toEqual(["1@0"]);
  });

  test("a transaction counts as decided when its marker is durable", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders");
    append(log, data(1, 0));
    await durable(log);
    expect(log.lastStableOffset).toBe(0);
    mark(log, 1, true);
    expect(log.lastStableOffset).toBe(0);
    await durable(log);
    expect(log.lastStableOffset).toBe(2);
  });

  test("a stale coordinator writes no marker", async () => {
    const { log } = await mixed();
    expect(mark(log, 1, true, 0)).toMatchObject({ failure: { kind: "stale-coordinator-epoch" } });
  });

  test("a cut takes aborted transactions with it, and brings undecided ones back", async () => {
    const { log } = await mixed();
    await log.truncateTo(6 as Offset);
    expect(log.lastStableOffset).toBe(4);
    expect(await abortedIn(log, 0, 4)).toEqual(["1@0", "1@0", "1@0", ""]);
    mark(log, 1, true);
    await durable(log);
    expect(log.lastStableOffset).toBe(7);
    expect(await abortedIn(log, 3, 7)).toEqual(["", "", "", ""]);
  });
});
