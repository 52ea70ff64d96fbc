import "kafka-protocol-ts/install";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type { RecordInput } from "kafka-protocol-ts/records/record";
import { describe, expect, test } from "vitest";
import { tableOf } from "../../test/committed.ts";
import { append, Bench, compact, durable, readAll, readBytes, values, withoutLocks } from "../../test/support.ts";
import type { BatchInput } from "../../test/support.ts";
import type { LogConfig } from "../log-config.ts";
import type { PartitionLog } from "../log.ts";
import type { Offset } from "../types.ts";

const start = Date.UTC(2026, 0, 1);
const day = 86_400_000;
/** Days pass in these tests; nothing but the cleaner is to be looked at meanwhile. */
const quiet = { checkpointIntervalMs: day, retentionIntervalMs: day, osSyncIntervalMs: day };
const hour = 3_600_000;
const slowly = { limits: quiet, cleaner: { backoffMs: 3 * hour } };
const compacted: Partial<LogConfig> = {
  "cleanup.policy": ["compact"],
  "segment.bytes": 4096,
  "index.interval.bytes": 512,
};

function keyed(key: string | null, value: string | null, timestamp: number = start): RecordInput {
  return { key: key === null ? null : Buffer.from(key), value: value === null ? null : Buffer.from(value), timestamp };
}

async function batchesOf(log: PartitionLog): Promise<RecordBatchView[]> {
  const found: RecordBatchView[] = [];
  for (let offset: number = log.logStartOffset; offset < log.durableOffset;) {
    const bytes = await readBytes(log, offset);
    found.push(...batchesIn(bytes));
    offset = (found.at(-1)?.lastOffset ?? offset) + 1;
  }
  return found;
}

async function filesIn(bench: Bench): Promise<string[]> {
  return (await bench.disk.list("/data/orders-0")).map(({ name }) => name).sort();
}

/** Whether a text is anywhere in the log directory. */
async function isOnDisk(bench: Bench, text: string, path = "/data"): Promise<boolean> {
  for (const { name, kind } of await bench.disk.list(path)) {
    const child = `${path}/${name}`;
    if (kind === "directory" ? await isOnDisk(bench, text, child) : (await bench.disk.readFile(child)).includes(text))
      return true;
  }
  return false;
}

async function versions(log: PartitionLog, keys: number, rounds: number, input: BatchInput = {}): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let key = 0; key < keys; key += 10) {
      const records = Array.from({ length: Math.min(10, keys - key) }, (_, index) =>
        keyed(`k${key + index}`, `v${round}`, start + round),
      );
      append(log, { ...input, records });
    }
    await durable(log);
  }
}

describe("compaction", () => {
  test.for(["none", "gzip", "snappy", "lz4", "zstd"] as const)(
    "keeps the last value of each key (%s)",
    async (compression) => {
      const bench = await Bench.open({ configOf: () => compacted });
      const log = await bench.create("orders", compacted);
      await versions(log, 100, 20, { compression });
      const before = new Map((await readAll(log)).map((record) => [record.offset, record]));
      expect(before.size).toBe(2000);
      const table = tableOf(await readAll(log));
      await compact(bench, log);
      const after = await readAll(log);
      expect(after.length).toBe(100);
      for (const record of after) expect(record).toEqual(before.get(record.offset));
      expect(after.map(({ offset }) => offset)).toEqual(after.map(({ offset }) => offset).toSorted((a, b) => a - b));
      expect(tableOf(await readAll(log))).toEqual(table);
      expect([log.logStartOffset, log.logEndOffset]).toEqual([0, 2000]);
      // A vanished offset leads to the next record.
      expect((await readAll(log, 17))[0]?.offset).toBe(after[0]?.offset);
      // Offsets go on, and the next start finds the same.
      append(log, { records: [keyed("k1", "new")] });
      await durable(log);
      await bench.directory.close();
      const again = await Bench.open({ disk: bench.disk, clock: bench.clock, configOf: () => compacted });
      expect(again.report.offline).toEqual([]);
      expect(tableOf(await readAll(again.log("orders")))).toEqual(table.set("k1", "new"));
      expect(await filesIn(again)).not.toContainEqual(expect.stringMatching(/cleaned|swap/));
    },
  );

  test("begins by itself when more than the dirty ratio is dirty, and not before", async () => {
    const bench = await Bench.open({ cleaner: { backoffMs: 1000 } });
    const log = await bench.create("orders", { ...compacted, "min.cleanable.dirty.ratio": 0.5 });
    await versions(log, 50, 10);
    await bench.clock.advance(1000);
    expect((await readAll(log)).length).toBeLessThan(300);
    // Less than half as much again is dirty.
    const { sizeBytes } = log;
    for (let count = 0; log.sizeBytes < sizeBytes * 1.4; count++) {
      append(log, { records: [keyed("k1", `w${count}`)] });
      await durable(log);
    }
    const { segmentCount } = log;
    await bench.clock.advance(10_000);
    expect(log.segmentCount).toBe(segmentCount);
    await versions(log, 50, 12);
    await bench.clock.advance(1000);
    expect((await readAll(log)).length).toBeLessThan(300);
  });

  test("leaves a topic alone that is only retained, and records of a policy of before without a key go", async () => {
    const bench = await Bench.open({ cleaner: { backoffMs: 1000 } });
    const log = await bench.create("orders", { ...compacted, "cleanup.policy": ["delete"], "retention.ms": -1 });
    await versions(log, 10, 50);
    append(log, { records: [keyed(null, "no key")] });
    await durable(log);
    await bench.clock.advance(60_000);
    expect((await readAll(log)).length).toBe(501);
    log.configure({ ...log.config, "cleanup.policy": ["compact"] });
    await compact(bench, log);
    expect((await readAll(log)).length).toBe(10);
  });

  test("a tombstone hides the key's values at once, stays delete.retention.ms, and goes then, by itself", async () => {
    const bench = await Bench.open(slowly);
    const log = await bench.create("orders", { ...compacted, "delete.retention.ms": day });
    append(log, { records: [keyed("anna", "anna's secret"), keyed("bert", "stays")] });
    append(log, { records: [keyed("anna", null), keyed("carl", "stays too")] });
    await durable(log);
    await compact(bench, log);
    expect(
      (await readAll(log)).map(({ offset, key, value }) => [offset, String(key), value?.toString() ?? null]),
    ).toEqual([
      [1, "bert", "stays"],
      [2, "anna", null],
      [3, "carl", "stays too"],
    ]);
    expect(await isOnDisk(bench, "anna's secret")).toBe(false);
    await bench.clock.advance(day - 1);
    expect((await readAll(log)).length).toBe(3);
    await bench.clock.advance(4 * hour);
    expect(values(await readAll(log))).toEqual(["stays", "stays too"]);
    expect(await isOnDisk(bench, "anna")).toBe(false);
    expect(await isOnDisk(bench, "stays too")).toBe(true);
  });

  test("a tombstone's time counts from the round that first saw it, over a restart too", async () => {
    const config = { ...compacted, "delete.retention.ms": day };
    const bench = await Bench.open({ ...slowly, configOf: () => config });
    const log = await bench.create("orders", config);
    append(log, { records: [keyed("anna", null)], compression: "lz4" });
    await durable(log);
    await bench.clock.advance(10 * day);
    await compact(bench, log);
    const [batch] = await batchesOf(log);
    expect([batch?.hasDeleteHorizon, batch?.baseTimestamp]).toEqual([true, bench.clock.now() + day]);
    expect((await readAll(log))[0]?.timestamp).toBe(start);
    await bench.directory.close();
    const again = await Bench.open({ ...slowly, disk: bench.disk, clock: bench.clock, configOf: () => config });
    await again.clock.advance(day - 1);
    expect((await readAll(again.log("orders"))).length).toBe(1);
    await again.clock.advance(4 * hour);
    expect((await readAll(again.log("orders"))).length).toBe(0);
  });

  test("min.compaction.lag.ms: nothing younger is touched; max.compaction.lag.ms: nothing older is left", async () => {
    const bench = await Bench.open(slowly);
    const lagging = await bench.create("orders", { ...compacted, "min.compaction.lag.ms": day });
    await versions(lagging, 50, 10);
    await bench.clock.advance(day - 1);
    expect((await readAll(lagging)).length).toBe(500);
    await bench.clock.advance(4 * hour);
    expect((await readAll(lagging)).length).toBeLessThan(300);

    const prompt = await bench.create("prompt", {
      ...compacted,
      "min.cleanable.dirty.ratio": 1,
      "max.compaction.lag.ms": day,
    });
    const nowMs = bench.clock.now();
    append(prompt, { records: [keyed("a", "1", nowMs), keyed("a", "2", nowMs)] });
    await durable(prompt);
    await bench.clock.advance(day - 1);
    expect((await readAll(prompt)).length).toBe(2);
    await bench.clock.advance(4 * hour);
    expect(values(await readAll(prompt))).toEqual(["2"]);
  });

  test("compact,delete: retention removes what is too old, compaction what is superseded", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", {
      ...compacted,
      "cleanup.policy": ["compact", "delete"],
      "retention.ms": 10 * day,
    });
    await versions(log, 100, 5);
    await compact(bench, log);
    expect((await readAll(log)).length).toBe(100);
    await log.retain((start + 11 * day) as never);
    expect((await readAll(log)).length).toBe(0);
    expect(log.logStartOffset).toBe(log.logEndOffset);
  });

  test("takes several rounds where the memory for keys is small, and comes to the same", async () => {
    const bench = await Bench.open({ cleaner: { dedupeBufferBytes: 24 * 60, backoffMs: 100 } });
    const log = await bench.create("orders", { ...compacted, "min.cleanable.dirty.ratio": 0.01 });
    await versions(log, 200, 10);
    const table = tableOf(await readAll(log));
    await compact(bench, log);
    expect(tableOf(await readAll(log))).toEqual(table);
    expect((await readAll(log)).length).toBe(200);
  });

  test("memory that does not hold the keys of one batch: the log is left alone, with the reason, until it is asked for", async () => {
    const cleaner = { dedupeBufferBytes: 24 * 5, backoffMs: 1000 };
    const bench = await Bench.open({ cleaner });
    const log = await bench.create("orders", { ...compacted, "min.cleanable.dirty.ratio": 0.01 });
    await versions(log, 10, 30);
    await bench.clock.advance(1000);
    expect([...bench.directory.uncleanable()]).toEqual([
      { topic: "orders", partition: 0, reason: expect.stringContaining("log.cleaner.dedupe.buffer.size") as string },
    ]);
    expect((await readAll(log)).length).toBe(300);
    cleaner.dedupeBufferBytes = 1 << 20;
    await bench.clock.advance(10_000);
    expect((await readAll(log)).length).toBe(300);
    await compact(bench, log);
    expect((await readAll(log)).length).toBe(10);
  });

  test("a batch that is not what was written: nothing is made of it, the log is left alone, others are compacted", async () => {
    const bench = await Bench.open({ cleaner: { backoffMs: 100 } });
    const log = await bench.create("orders", { ...compacted, "min.cleanable.dirty.ratio": 0.01 });
    const other = await bench.create("others", { ...compacted, "min.cleanable.dirty.ratio": 0.01 });
    await versions(log, 10, 60);
    await versions(other, 10, 60);
    const file = await bench.disk.open("/data/orders-0/00000000000000000000.log", "write");
    await file.write([Buffer.from("!")], 300);
    await file.close();
    await bench.clock.advance(1000);
    const [found] = bench.directory.uncleanable();
    expect(found).toMatchObject({ topic: "orders", reason: expect.stringMatching(/0\.log position \d+: .*checksum/) });
    expect((await readAll(other)).length).toBeLessThan(300);
    expect(log.failure).toBe(null);
    expect(await filesIn(bench)).not.toContainEqual(expect.stringMatching(/swap/));
  });

  test("a reader that was given a part of a segment reads on in it while it is replaced", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", compacted);
    await versions(log, 10, 30);
    const read = await log.read(0 as Offset, {
      sizeBytesMax: 1 << 20,
      upTo: log.durableOffset,
      isWholeBatchGuaranteed: true,
    });
    if (!read.ok || read.value.slice === null) throw new Error("no slice");
    const { slice } = read.value;
    await compact(bench, log);
    const bytes = Buffer.alloc(slice.sizeBytes);
    expect(await slice.file.read(bytes, slice.position)).toBe(bytes.length);
    expect([...batchesIn(bytes)].every((batch) => batch.isCrcValid())).toBe(true);
    slice.release();
    expect((await readAll(log)).length).toBe(10);
  });

  test("lookups by time find what is there", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", compacted);
    await versions(log, 10, 30);
    await compact(bench, log);
    const found = await log.recordAtOrAfter(start + 3);
    expect(found.ok && found.value).toMatchObject({ offset: 290, timestamp: start + 29 });
    const max = await log.maxTimestampRecord();
    expect(max.ok && max.value?.timestamp).toBe(start + 29);
  });
});

describe("the cleaner", () => {
  const eager = { ...compacted, "min.cleanable.dirty.ratio": 0.01 };

  test("keeps to its rate", async () => {
    const cleaner = { backoffMs: 1000, bytesPerSecond: 1000 };
    const bench = await Bench.open({ limits: quiet, cleaner });
    const log = await bench.create("orders", eager);
    await versions(log, 100, 20);
    const { sizeBytes } = log;
    const startMs = bench.clock.monotonicMs();
    await compact(bench, log);
    // All of it is read twice, and a little is written.
    const seconds = (bench.clock.monotonicMs() - startMs) / 1000;
    expect(seconds).toBeGreaterThan((1.5 * sizeBytes) / 1000);
    expect(seconds).toBeLessThan((3 * sizeBytes) / 1000 + 5);
  });

  test.for([
    ["is switched off", { isEnabled: false }],
    ["has no thread", { threads: 0 }],
  ] as const)("does nothing while it %s", async ([, settings]) => {
    const bench = await Bench.open({ cleaner: { backoffMs: 1000, ...settings } });
    const log = await bench.create("orders", eager);
    await versions(log, 10, 60);
    await bench.clock.advance(20_000);
    expect((await readAll(log)).length).toBe(600);
  });

  test("takes up a second log while the first is still being cleaned", async () => {
    const bench = await Bench.open({ limits: quiet, cleaner: { threads: 2, backoffMs: 1000, bytesPerSecond: 1000 } });
    const slow = await bench.create("orders", eager);
    await versions(slow, 100, 30);
    await bench.clock.advance(2000);
    const quick = await bench.create("others", eager);
    await versions(quick, 10, 60);
    await bench.clock.runUntil(() => bench.directory.compactedOffset(quick) > 0, { withinMs: 200_000 });
    expect(bench.directory.compactedOffset(slow)).toBe(0);
  });

  test("a full disk: nothing is lost, it is tried again after a pause, and done when there is space", async () => {
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await Bench.open({ disk, clock, limits: quiet, cleaner: { backoffMs: 1000 } });
    const log = await bench.create("orders", eager);
    await versions(log, 10, 60);
    const table = tableOf(await readAll(log));
    let refused = 0;
    const volume = { matches: (path: string) => path.includes(".cleaned") && ++refused > 0, spaceBytes: 0 };
    disk.faults.volumes.push(volume);
    await bench.clock.advance(20_000);
    expect(refused).toBeGreaterThan(5);
    expect(refused).toBeLessThan(50);
    expect([log.failure, [...bench.directory.uncleanable()]]).toEqual([null, []]);
    append(log, { records: [keyed("k1", "still taken")] });
    await durable(log);
    volume.spaceBytes = Infinity;
    await bench.clock.advance(2000);
    expect((await readAll(log)).length).toBeLessThan(300);
    expect(tableOf(await readAll(log))).toEqual(table.set("k1", "still taken"));
  });

  test("a thread that dies takes nothing along but its round: the log is left alone, with the reason", async () => {
    const workers = { run: () => Promise.reject(new Error("out of memory")), close: async () => {} };
    const bench = await Bench.open({ limits: quiet, cleaner: { backoffMs: 1000 }, cleanerThreads: { workers } });
    const log = await bench.create("orders", eager);
    await versions(log, 10, 60);
    await bench.clock.advance(2000);
    const [found] = bench.directory.uncleanable();
    expect(found?.reason).toContain("out of memory");
    expect([log.failure, bench.directory.failure]).toEqual([null, null]);
  });

  test("what a cut has taken is dirty when it is written anew, over a crash too", async () => {
    const bench = await Bench.open({ configOf: () => compacted });
    const log = await bench.create("orders", compacted);
    await versions(log, 100, 1);
    await versions(log, 10, 30);
    await compact(bench, log);
    expect(bench.directory.compactedOffset(log)).toBe(400);
    await log.truncateTo(50 as Offset);
    expect([log.logEndOffset, bench.directory.compactedOffset(log)]).toEqual([50, 50]);
    await versions(log, 10, 30);
    const { disk, clock } = bench;
    const again = await Bench.open({ disk: withoutLocks(disk), clock, configOf: () => compacted });
    expect(again.directory.compactedOffset(again.log("orders"))).toBe(50);
  });

  test("a new topic of the same name begins anew, over a crash too", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", compacted);
    await versions(log, 10, 30);
    await compact(bench, log);
    await bench.directory.deleteLog(log);
    await bench.create("orders", compacted);
    const { disk, clock } = bench;
    const again = await Bench.open({ disk: withoutLocks(disk), clock, configOf: () => compacted });
    expect(again.directory.compactedOffset(again.log("orders"))).toBe(0);
  });
});

describe("compaction and producers", () => {
  const producer = { producerId: 7, producerEpoch: 0, isTransactional: true };
  const end = (log: PartitionLog, isCommit: boolean): void => {
    const marker = encodeEndTransactionMarker({
      isCommit,
      coordinatorEpoch: 0,
      producerId: 7,
      producerEpoch: 0,
      timestamp: start,
    });
    append(log, marker, { origin: "coordinator" });
  };

  test("the last batch of a producer stays, empty, so that its sequences are known after a recovery", async () => {
    const bench = await Bench.open({ configOf: () => compacted });
    const log = await bench.create("orders", compacted);
    append(log, { records: [keyed("a", "1"), keyed("a", "2")], producerId: 7, producerEpoch: 3, baseSequence: 0 });
    append(log, { records: [keyed("a", "3")], producerId: 7, producerEpoch: 3, baseSequence: 2 });
    append(log, { records: [keyed("a", "4")], producerId: 9, producerEpoch: 0, baseSequence: 0 });
    append(log, { records: [keyed("b", "5")] });
    await durable(log);
    await compact(bench, log);
    const batches = await batchesOf(log);
    expect(batches.map(({ baseOffset, lastOffset, recordsCount }) => [baseOffset, lastOffset, recordsCount])).toEqual([
      [2, 2, 0],
      [3, 3, 1],
      [4, 4, 1],
    ]);
    // Without the snapshot the state is made of the batches.
    await bench.directory.close();
    for (const name of await filesIn(bench))
      if (name.endsWith(".snapshot")) await bench.disk.removeFile(`/data/orders-0/${name}`);
    await bench.disk.removeFile("/data/.kafka_cleanshutdown");
    const again = await Bench.open({ disk: bench.disk, clock: bench.clock, configOf: () => compacted });
    const recovered = again.log("orders");
    const retried = append(recovered, { records: [keyed("a", "3")], producerId: 7, producerEpoch: 3, baseSequence: 2 });
    expect([retried.isDuplicate, retried.firstOffset]).toEqual([true, 2]);
    expect(append(recovered, { records: ["x"], producerId: 7, producerEpoch: 3, baseSequence: 3 }).isDuplicate).toBe(
      false,
    );
  });

  test("aborted records go, and count for nothing; the marker goes after its horizon; nothing of an open transaction is touched", async () => {
    const bench = await Bench.open(slowly);
    const log = await bench.create("orders", { ...compacted, "delete.retention.ms": day });
    append(log, { records: [keyed("a", "committed before")] });
    append(log, { ...producer, baseSequence: 0, records: [keyed("a", "aborted"), keyed("b", "aborted too")] });
    end(log, false);
    append(log, { ...producer, baseSequence: 2, records: [keyed("c", "committed")] });
    end(log, true);
    append(log, { records: [keyed("d", "d1")] });
    append(log, { ...producer, baseSequence: 3, records: [keyed("d", "open")] });
    append(log, { records: [keyed("d", "after the open one")] });
    await durable(log);
    expect(log.lastStableOffset).toBe(7);
    await compact(bench, log);
    expect(values((await readAll(log)).filter(({ key }) => key?.length === 1))).toEqual([
      "committed before",
      "committed",
      "d1",
      "open",
      "after the open one",
    ]);
    // The abort marker stays in this round: a reader may hold data of it still.
    expect((await batchesOf(log)).filter((batch) => batch.isControl).map(({ baseOffset }) => baseOffset)).toEqual([
      3, 5,
    ]);
    end(log, true);
    await durable(log);
    await compact(bench, log);
    expect(values((await readAll(log)).filter(({ key }) => key?.length === 1))).toEqual([
      "committed before",
      "committed",
      "after the open one",
    ]);
    await bench.clock.advance(day + hour);
    await compact(bench, log);
    const markers = (await batchesOf(log)).filter((batch) => batch.isControl && batch.recordsCount > 0);
    // Of the first one nothing was left; the others have data of the producer before them.
    expect(markers.map(({ baseOffset }) => baseOffset)).toEqual([5, 9]);
  });

  test("a reader of committed records gets the aborted transactions of what it was given, also when it is replaced meanwhile", async () => {
    const bench = await Bench.open();
    const log = await bench.create("orders", compacted);
    append(log, { ...producer, baseSequence: 0, records: [keyed("a", "aborted")] });
    end(log, false);
    append(log, { ...producer, baseSequence: 1, records: [keyed("b", "committed")] });
    end(log, true);
    for (let count = 0; count < 10; count++) append(log, { records: [keyed("x", "y".repeat(1000))] });
    await durable(log);
    const limits = { sizeBytesMax: 1 << 20, upTo: log.durableOffset, isWholeBatchGuaranteed: true };
    const read = await log.read(0 as Offset, { ...limits, areAbortedTransactionsWanted: true });
    expect(read.ok && read.value.abortedTransactions?.map(({ firstOffset }) => firstOffset)).toEqual([0]);
    if (read.ok) read.value.slice?.release();
    await compact(bench, log);
    await compact(bench, log);
    // The marker of what is gone stays until its horizon, and says nothing.
    expect((await batchesOf(log)).map(({ baseOffset }) => baseOffset)).toContain(1);
    const again = await log.read(0 as Offset, { ...limits, areAbortedTransactionsWanted: true });
    expect(again.ok && again.value.abortedTransactions).toEqual([]);
    if (again.ok) again.value.slice?.release();
  });
});
