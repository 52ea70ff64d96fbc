import "kafka-protocol-ts/install";
import fc from "fast-check";
import { InlineWorkers } from "@millrace/base/inline-workers";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type { RecordInput } from "kafka-protocol-ts/records/record";
import { expect, test } from "vitest";
import { committedRecords, tableOf } from "../../test/committed.ts";
import { append, Bench, compact, durable, readAll } from "../../test/support.ts";
import { defaultLogConfig } from "../log-config.ts";
import type { LogConfig } from "../log-config.ts";
import type { PartitionLog } from "../log.ts";

const hour = 3_600_000;
const start = Date.UTC(2026, 0, 1);
const quiet = { checkpointIntervalMs: 1000 * hour, retentionIntervalMs: 1000 * hour, osSyncIntervalMs: 1000 * hour };
const config: LogConfig = {
  ...defaultLogConfig,
  "cleanup.policy": ["compact"],
  "segment.bytes": 1500,
  "index.interval.bytes": 200,
  "delete.retention.ms": 10 * hour,
};

/** What is done to a log. Keys and producers are few, so that much meets. */
type Step =
  | {
      readonly kind: "append";
      readonly records: readonly { readonly key: number; readonly isTombstone: boolean }[];
      /** 0: without an id; 1 and 2 have sequences; 3 and 4 write in transactions. */
      readonly producer: number;
      readonly codec: "none" | "lz4" | "zstd";
    }
  | { readonly kind: "end"; readonly producer: 3 | 4; readonly isCommit: boolean }
  | { readonly kind: "compact"; readonly keysMax: number }
  | { readonly kind: "wait"; readonly hours: number }
  | { readonly kind: "segments"; readonly bytes: number }
  | { readonly kind: "restart"; readonly isClean: boolean };

const appendStep = fc.record({
  kind: fc.constant("append" as const),
  records: fc.array(fc.record({ key: fc.nat(6), isTombstone: fc.boolean() }), { minLength: 1, maxLength: 6 }),
  producer: fc.nat(4),
  codec: fc.constantFrom("none", "none", "lz4", "zstd"),
});
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: appendStep },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("end" as const),
      producer: fc.constantFrom(3 as const, 4 as const),
      isCommit: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("compact" as const), keysMax: fc.constantFrom(8, 12, 100) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), hours: fc.nat(15) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("segments" as const), bytes: fc.constantFrom(400, 1500, 20_000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), isClean: fc.boolean() }) },
);

interface Written extends RecordInput {
  readonly offset: number;
  readonly producer: number;
  /** Null while its transaction is open. */
  isCommitted: boolean | null;
}

/** The log as a list that nobody compacts, and what must hold of the real one beside it. */
class Model {
  readonly written: Written[] = [];

  append(firstOffset: number, records: readonly RecordInput[], producer: number): void {
    const isOpen = producer >= 3;
    for (const [index, record] of records.entries())
      this.written.push({ ...record, offset: firstOffset + index, producer, isCommitted: isOpen ? null : true });
  }

  end(producer: number, isCommitted: boolean): void {
    for (const each of this.written)
      if (each.producer === producer && each.isCommitted === null) each.isCommitted = isCommitted;
  }

  /** What readers of committed records have seen below an offset, if nothing was compacted. */
  committedBelow(offset: number): Written[] {
    return this.written.filter((each) => each.isCommitted === true && each.offset < offset);
  }
}

async function check(log: PartitionLog, model: Model): Promise<void> {
  const found = await committedRecords(log);
  const expected = model.committedBelow(log.lastStableOffset);
  const byOffset = new Map(expected.map((each) => [each.offset, each]));
  for (const { offset, key, value, timestamp } of found) {
    const original = byOffset.get(offset);
    expect([offset, String(key), value?.toString() ?? null, timestamp]).toEqual([
      offset,
      String(original?.key),
      original?.value?.toString() ?? null,
      original?.timestamp,
    ]);
  }
  expect(tableOf(found)).toEqual(tableOf(expected as never));
  // What is not decided yet is as it was.
  const undecided = model.written.filter(({ offset }) => offset >= log.lastStableOffset);
  const kept = new Set((await readAll(log)).map(({ offset }) => offset));
  for (const { offset } of undecided) expect(kept.has(offset)).toBe(true);
}

function end(log: PartitionLog, producerId: number, isCommit: boolean): void {
  const marker = { isCommit, coordinatorEpoch: 0, producerId, producerEpoch: 0, timestamp: start };
  append(log, encodeEndTransactionMarker(marker), { origin: "coordinator" });
}

async function live(steps: readonly Step[]): Promise<void> {
  const cleaner = { dedupeBufferBytes: 24 * 100, loadFactor: 0.9, backoffMs: 1000 * hour };
  let bench = await Bench.open({ limits: quiet, cleaner, configOf: () => config });
  let log = await bench.create("orders", config);
  const model = new Model();
  const epoch = 0;
  for (const step of steps) {
    if (step.kind === "append") {
      const records = step.records.map(({ key, isTombstone }, index) => ({
        key: Buffer.from(`k${key}`),
        value: isTombstone ? null : Buffer.from(`${log.logEndOffset + index}`),
        timestamp: start + log.logEndOffset,
      }));
      const { producer } = step;
      const last = [...log.producers()].find(({ producerId }) => producerId === producer)?.lastSequence ?? -1;
      const ids = {
        producerId: producer,
        producerEpoch: epoch,
        baseSequence: last + 1,
        isTransactional: producer >= 3,
      };
      const { firstOffset } = append(log, { records, compression: step.codec, ...(producer === 0 ? {} : ids) });
      model.append(firstOffset, records, producer);
    } else if (step.kind === "end") {
      const { producer: producerId, isCommit } = step;
      end(log, producerId, isCommit);
      model.end(producerId, isCommit);
    } else if (step.kind === "compact") {
      cleaner.dedupeBufferBytes = 24 * step.keysMax;
      await durable(log);
      await compact(bench, log);
    } else if (step.kind === "wait") {
      await bench.clock.advance(step.hours * hour);
    } else if (step.kind === "segments") {
      log.configure({ ...log.config, "segment.bytes": step.bytes });
    } else {
      await durable(log);
      const kept = log.config;
      await bench.directory.close();
      if (!step.isClean) await bench.disk.removeFile("/data/.kafka_cleanshutdown");
      const { disk, clock } = bench;
      bench = await Bench.open({ disk, clock, limits: quiet, cleaner, configOf: () => kept });
      log = bench.log("orders");
      expect(bench.report.offline).toEqual([]);
    }
    await durable(log);
    if (step.kind !== "append") await check(log, model);
  }
  for (const producer of [3, 4] as const) {
    end(log, producer, true);
    model.end(producer, true);
  }
  await durable(log);
  await compact(bench, log);
  await check(log, model);
  // All of it was cleaned: each key is there once.
  const keys = (await committedRecords(log)).map(({ key }) => String(key));
  expect(keys.length).toBe(new Set(keys).size);
}

test("whatever is written, ended, compacted, waited for and restarted: readers build the same table", async () => {
  await new InlineWorkers().load(new URL("clean-task.ts", import.meta.url).href);
  await fc.assert(fc.asyncProperty(fc.array(stepArbitrary, { minLength: 5, maxLength: 60, size: "max" }), live), {
    numRuns: 200,
  });
}, 120_000);
