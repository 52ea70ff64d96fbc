import type { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import fc from "fast-check";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { expect, test } from "vitest";
import { append, Bench, durable, readAll, readBytes } from "../test/support.ts";
import type { LogConfig } from "./log-config.ts";
import type { PartitionLog } from "./log.ts";
import type { Offset } from "./types.ts";

/** What a log is to those who use it: batches one after the other, and a start. */
interface Model {
  batches: { readonly firstOffset: number; readonly values: readonly string[]; readonly timestamp: number }[];
  start: number;
}

type Step =
  | { readonly do: "append"; readonly records: number; readonly bytes: number; readonly age: number }
  | { readonly do: "cut" | "trim"; readonly share: number }
  | { readonly do: "read"; readonly share: number; readonly upTo: number; readonly bytes: number }
  | { readonly do: "look"; readonly share: number }
  | { readonly do: "flush" | "checkpoint" | "retain" | "roll" | "restart" | "die" };

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
};
const epoch = 1_700_000_000_000;

class Subject {
  readonly model: Model = { batches: [], start: 0 };
  #bench: Bench;
  #serial = 0;

  private constructor(bench: Bench) {
    this.#bench = bench;
  }

  static async create(): Promise<Subject> {
    const bench = await Bench.open({ limits, config });
    await bench.create("orders", config);
    return new Subject(bench);
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
        const { firstOffset } = append(log, { records });
        expect(firstOffset).toBe(this.end);
        model.batches.push({ firstOffset, values, timestamp });
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
        this.#bench = await Bench.open({ disk: this.#bench.disk, limits, config });
        expect(this.#bench.report).toMatchObject({ isClean: true, offline: [] });
        return;
      case "die":
        await durable(log);
        this.#bench = await Bench.open({
          disk: (this.#bench.disk as SimulatedDisk).afterProcessDeath(),
          limits,
          config,
        });
        expect(this.#bench.report).toMatchObject({ isClean: false, cutBytes: 0, offline: [] });
        return;
    }
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

  async check(): Promise<void> {
    const { log, model } = this;
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

test("a log is what was appended to it, less what was removed, whatever happens in between", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async (steps) => {
      const subject = await Subject.create();
      for (const next of steps) await subject.run(next);
      await subject.check();
    }),
    { numRuns: 100 },
  );
}, 60_000);
