import { Prng } from "@millrace/base/prng";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import fc from "fast-check";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { expect, test } from "vitest";
import { append, Bench, batchOf, durable, readAll, readBytes, smallRoom, tryAppend } from "../test/support.ts";
import type { LogConfig } from "./log-config.ts";
import type { PartitionLog } from "./log.ts";
import type { LeaderEpoch, Offset } from "./types.ts";

/** What a log is to those who use it: batches one after the other, and a start. */
interface Model {
  batches: {
    readonly firstOffset: number;
    readonly values: readonly string[];
    readonly timestamp: number;
    readonly epoch: number;
  }[];
  start: number;
}

type Step =
  | { readonly do: "append"; readonly records: number; readonly bytes: number; readonly age: number }
  | { readonly do: "cut" | "trim"; readonly share: number }
  | { readonly do: "read"; readonly share: number; readonly upTo: number; readonly bytes: number }
  | { readonly do: "look" | "full" | "unreadable"; readonly share: number }
  | { readonly do: "lose power"; readonly seed: number }
  | { readonly do: "flush" | "checkpoint" | "retain" | "roll" | "restart" | "die" | "lead" };

const share = fc.double({ min: 0, max: 1, noNaN: true });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("append" as const),
      records: fc.integer({ min: 1, max: 5 }),
      bytes: fc.integer({ min: 0, max: 700 }),
      age: fc.integer({ min: 0, max: 50 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("read" as const),
      share,
      upTo: share,
      bytes: fc.integer({ min: 1, max: 6000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const), share }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("full" as const, "unreadable" as const), share }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("lose power" as const), seed: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("cut" as const, "trim" as const), share }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "flush" as const,
        "checkpoint" as const,
        "retain" as const,
        "roll" as const,
        "restart" as const,
        "die" as const,
        "lead" as const,
      ),
    }),
  },
);

const config: Partial<LogConfig> = {
  "segment.bytes": 3000,
  "index.interval.bytes": 300,
  "retention.ms": -1,
  "retention.bytes": 6000,
};
const limits = {
  unsyncedBytesMax: 1 << 20,
  checkpointBytesMin: 1,
  retentionIntervalMs: 1e9,
  checkpointIntervalMs: 1e9,
  room: smallRoom,
};
const epoch = 1_700_000_000_000;

class Subject {
  readonly model: Model = { batches: [], start: 0 };
  #inner: SimulatedDisk;
  #disk: RecordingDisk;
  #bench: Bench;
  #serial = 0;
  #epoch = 0;

  private constructor(inner: SimulatedDisk, disk: RecordingDisk, bench: Bench) {
    this.#inner = inner;
    this.#disk = disk;
    this.#bench = bench;
  }

  static async create(): Promise<Subject> {
    const inner = new SimulatedDisk();
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await Bench.open({ disk, clock: new VirtualClock(), limits, config });
    await bench.create("orders", config);
    return new Subject(inner, disk, bench);
  }

  /** What is left on a disk is opened by a new process. */
  async #reopen(left: SimulatedDisk): Promise<void> {
    this.#inner = left;
    this.#disk = await RecordingDisk.over(left, "/data");
    this.#bench = await Bench.open({ disk: this.#disk, clock: new VirtualClock(), limits, config });
    expect(this.#bench.report).toMatchObject({ isClean: false, offline: [] });
  }

  get log(): PartitionLog {
    return this.#bench.log("orders");
  }
  get end(): number {
    const last = this.model.batches.at(-1);
    return last === undefined ? this.model.start : last.firstOffset + last.values.length;
  }
  #offsetAt(part: number): number {
    return this.model.start + Math.round(part * (this.end - this.model.start));
  }

  async run(next: Step): Promise<void> {
    const { log, model } = this;
    switch (next.do) {
      case "append": {
        const values = Array.from({ length: next.records }, () => `${this.#serial++}${"x".repeat(next.bytes)}`);
        const timestamp = epoch + this.#serial - next.age;
        const records = values.map((value) => ({ timestamp, value: Buffer.from(value) }));
        const { firstOffset } = append(log, { records }, { leaderEpoch: this.#epoch as LeaderEpoch });
        expect(firstOffset).toBe(this.end);
        model.batches.push({ firstOffset, values, timestamp, epoch: this.#epoch });
        return;
      }
      case "cut": {
        await durable(log);
        const offset = this.#offsetAt(next.share);
        await this.#settled(log.truncateTo(offset as Offset));
        model.batches = model.batches.filter((batch) => batch.firstOffset + batch.values.length <= offset);
        // A start inside of a batch goes with it.
        if (this.end < model.start || model.batches.length === 0) model.start = Math.min(model.start, log.logEndOffset);
        return;
      }
      case "trim": {
        await durable(log);
        const offset = this.#offsetAt(next.share);
        await this.#settled(log.deleteRecordsBefore(offset as Offset));
        model.start = Math.max(model.start, offset);
        return;
      }
      case "retain":
        await durable(log);
        await this.#settled(log.retain(epoch as never));
        expect(log.logStartOffset).toBeGreaterThanOrEqual(model.start);
        // Which segments went is not the model's affair; that enough stayed is.
        if (log.logStartOffset > model.start) expect(log.sizeBytes).toBeGreaterThanOrEqual(6000);
        model.start = log.logStartOffset;
        return;
      case "read":
        return this.#read(next);
      case "look":
        return this.#look(next.share);
      case "flush":
        return durable(log);
      case "checkpoint":
        return this.#settled(this.#bench.directory.checkpoint());
      case "roll":
        return this.#settled(log.roll());
      case "restart":
        await this.#settled(this.#bench.directory.close());
        this.#bench = await Bench.open({ disk: this.#disk, clock: this.#bench.clock, limits, config });
        expect(this.#bench.report).toMatchObject({ isClean: true, offline: [] });
        return;
      case "die":
        await durable(log);
        await this.#reopen(this.#inner.afterProcessDeath());
        expect(this.#bench.report.cutBytes).toBe(0);
        return;
      case "lose power": {
        // What waits for its sync may be there or not; what counted is.
        const { durableOffset } = log;
        await this.#reopen(this.#disk.afterPowerLoss(new Prng(next.seed)));
        const { logEndOffset } = this.log;
        expect(logEndOffset).toBeGreaterThanOrEqual(durableOffset);
        model.batches = model.batches.filter(({ firstOffset }) => firstOffset < logEndOffset);
        return;
      }
      case "lead":
        this.#epoch += 1;
        return;
      case "full":
        return this.#full(next.share);
      case "unreadable": {
        await durable(log);
        this.#disk.faults.makeUnreadable((path) => path.endsWith(".log"));
        const offset = this.#offsetAt(next.share);
        const read = await log.read(offset as Offset, {
          sizeBytesMax: 1000,
          upTo: log.durableOffset,
          isWholeBatchGuaranteed: true,
        });
        if (read.ok) read.value.slice?.release();
        else expect(read.failure).toBe("log-failed");
        this.#disk.faults.makeReadable();
        return;
      }
    }
  }

  /** A batch that the disk may have no room for: it is taken or refused whole, and the next one is taken when there is room. */
  async #full(part: number): Promise<void> {
    const { log, model } = this;
    await durable(log);
    const values = [`${this.#serial++}`];
    const timestamp = epoch + this.#serial;
    const batch = batchOf({ records: values.map((value) => ({ timestamp, value: Buffer.from(value) })) });
    this.#disk.faults.spaceBytes = Math.round(part * 3 * batch.length);
    const firstOffset = this.end;
    const appended = tryAppend(log, batch, { leaderEpoch: this.#epoch as LeaderEpoch });
    expect(appended.ok).toBe(true);
    await this.#bench.clock.settle();
    await this.#bench.clock.settle();
    this.#disk.faults.spaceBytes = Infinity;
    await this.#bench.clock.advance(3_000);
    expect([log.isDiskFull, log.failure]).toEqual([false, null]);
    if (log.logEndOffset > firstOffset) model.batches.push({ firstOffset, values, timestamp, epoch: this.#epoch });
  }

  async #settled<T>(work: Promise<T>): Promise<T> {
    await this.#bench.clock.settle();
    return work;
  }

  async #read({ share: part, upTo, bytes: sizeBytesMax }: Extract<Step, { do: "read" }>): Promise<void> {
    const { log, model } = this;
    await durable(log);
    const offset = this.#offsetAt(part);
    const bound = Math.max(offset, this.#offsetAt(upTo));
    const bytes = await readBytes(log, offset, { sizeBytesMax, upTo: bound });
    const found = Array.from(batchesIn(bytes), ({ baseOffset }) => baseOffset);
    const below = model.batches.filter(
      (each) => each.firstOffset + each.values.length > offset && each.firstOffset + each.values.length <= bound,
    );
    expect(found).toEqual(below.slice(0, found.length).map(({ firstOffset }) => firstOffset));
    // Something, where there is something; and no more than was asked for, but for the first batch.
    expect(found.length > 0).toBe(below.length > 0);
    if (found.length > 1) expect(bytes.length).toBeLessThanOrEqual(sizeBytesMax);
  }

  async #look(part: number): Promise<void> {
    const { log, model } = this;
    await durable(log);
    const times = model.batches.flatMap(({ firstOffset, values, timestamp }) =>
      values.map((_, index) => ({ offset: firstOffset + index, timestamp })),
    );
    const readable = times.filter(({ offset }) => offset >= model.start);
    const wanted = epoch + Math.round(part * this.#serial);
    const found = await log.recordAtOrAfter(wanted);
    expect(found.ok && (found.value?.offset ?? null)).toBe(
      readable.find(({ timestamp }) => timestamp >= wanted)?.offset ?? null,
    );
  }

  /** Each epoch ends where the next one that is in the log begins. */
  #checkEpochs(): void {
    const { log, model } = this;
    const readable = model.batches.filter((each) => each.firstOffset + each.values.length > model.start);
    for (const [index, each] of readable.entries()) {
      const next = readable.slice(index).find((later) => later.epoch > each.epoch);
      const endOffset = next?.firstOffset ?? this.end;
      expect(log.endOffsetForEpoch(each.epoch)).toEqual({ epoch: each.epoch, endOffset });
    }
  }

  async check(): Promise<void> {
    const { log, model } = this;
    this.#checkEpochs();
    expect([log.logStartOffset, log.logEndOffset]).toEqual([model.start, this.end]);
    await durable(log);
    const found = (await readAll(log, log.logStartOffset, 2000)).map(
      ({ offset, value }) => `${offset} ${value?.toString()}`,
    );
    const expected = model.batches.flatMap(({ firstOffset, values }) =>
      values.map((value, index) => `${firstOffset + index} ${value}`),
    );
    expect(found).toEqual(expected.filter((line) => Number(line.split(" ")[0]) >= model.start));
  }
}

/** A crash between a cut and the next checkpoint: the file of the epochs tells of batches that are gone. */
const cutBeforeCrash: Step[] = [
  { do: "append", records: 4, bytes: 560, age: 0 },
  { do: "lead" },
  { do: "append", records: 4, bytes: 356, age: 0 },
  { do: "cut", share: 0 },
  { do: "append", records: 1, bytes: 0, age: 0 },
  { do: "die" },
];

test("a log is what was appended to it, less what was removed, whatever happens in between", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80, size: "max" }), async (steps) => {
      const subject = await Subject.create();
      for (const next of steps) await subject.run(next);
      await subject.check();
    }),
    { numRuns: 500, examples: [[cutBeforeCrash]] },
  );
}, 60_000);
