import { expect, test } from "vitest";
import { append, Bench, compact, durable, readAll } from "../test/support.ts";
import type { PartitionLog } from "./log.ts";
import type { ScrubRules } from "./scrubber.ts";
import type { Offset } from "./types.ts";

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const quiet = { checkpointIntervalMs: 1e12, retentionIntervalMs: 1e12, osSyncIntervalMs: 1e12 };
const day = 86_400_000;

/** A log of five batches to a segment, scrubbed at 1,000 bytes a second, a round a day. */
async function scrubbed(
  rules: Partial<ScrubRules> = {},
): Promise<{ readonly bench: Bench; readonly log: PartitionLog; readonly rules: Writable<ScrubRules> }> {
  const current = { bytesPerSecond: 1_000, intervalMs: day, ...rules };
  const bench = await Bench.open({ limits: quiet, cleaner: { backoffMs: 1e12 }, scrub: () => current });
  const log = await bench.create("orders", { "segment.bytes": 5_000, "retention.ms": -1 });
  return { bench, log, rules: current };
}

async function fill(log: PartitionLog, batches: number): Promise<void> {
  for (let batch = 0; batch < batches; batch++) append(log, { sizeBytes: 1_000 });
  await durable(log);
}

/** A bit flips, where nobody looks. */
async function flip(bench: Bench, segment: string, position: number): Promise<void> {
  const file = await bench.disk.open(`/data/orders-0/${segment.padStart(20, "0")}.log`, "write");
  const byte = Buffer.alloc(1);
  await file.read(byte, position);
  byte[0] = (byte[0] ?? 0) ^ 4;
  await file.write([byte], position);
  await file.close();
}

async function readAt(log: PartitionLog, offset: number): Promise<string> {
  const read = await log.read(offset as Offset, {
    sizeBytesMax: 1,
    upTo: log.durableOffset,
    isWholeBatchGuaranteed: true,
  });
  if (!read.ok) return read.failure;
  const next = read.value.slice?.nextOffset;
  read.value.slice?.release();
  return `next ${next}`;
}

test("a flipped bit of a closed segment is found, and only its batch is not served", async () => {
  const { bench, log } = await scrubbed();
  await fill(log, 22);
  await flip(bench, "5", 2_500);
  expect(await readAt(log, 7)).toBe("next 8");
  await bench.clock.runUntil(() => log.quarantined.length > 0, { withinMs: 2 * day });
  expect(log.quarantined).toEqual([
    { firstOffset: 7, nextOffset: 8, why: "/data/orders-0/00000000000000000005.log position 1994 offset 7: bad-crc" },
  ]);
  expect([await readAt(log, 6), await readAt(log, 7), await readAt(log, 8)]).toEqual(["next 7", "corrupt", "next 9"]);
  // The next round does not say it again.
  await bench.clock.advance(day);
  expect(log.quarantined.length).toBe(1);
  expect(log.failure).toBe(null);
});

test("what is sound is left alone, beside compaction, retention and deletion", async () => {
  const { bench, log } = await scrubbed({ intervalMs: 1_000, bytesPerSecond: 1e6 });
  log.configure({ ...log.config, "cleanup.policy": ["compact"] });
  for (let round = 0; round < 10; round++) {
    for (let key = 0; key < 7; key++)
      append(log, { records: [{ key: Buffer.from([key]), value: Buffer.alloc(900), timestamp: 1 }] });
    await durable(log);
    if (round % 3 === 0) await compact(bench, log);
    await bench.clock.advance(2_000);
  }
  await log.deleteRecordsBefore(65 as Offset);
  await bench.clock.advance(5_000);
  expect(log.quarantined).toEqual([]);
  expect((await readAll(log)).length).toBeGreaterThan(0);
});

test("its rate is kept: nine segments of 5,000 bytes before the bad one take 45 s", async () => {
  const { bench, log } = await scrubbed();
  await fill(log, 52);
  await flip(bench, "45", 4_500);
  await bench.clock.advance(day + 40_000);
  expect(log.quarantined).toEqual([]);
  await bench.clock.advance(15_000);
  expect(log.quarantined.map(({ firstOffset }) => firstOffset)).toEqual([49]);
});

test("at 0 bytes a second nothing is read, until that is changed", async () => {
  const { bench, log, rules } = await scrubbed({ bytesPerSecond: 0, intervalMs: 1_000 });
  await fill(log, 22);
  await flip(bench, "5", 2_500);
  await bench.clock.advance(300_000);
  expect(log.quarantined).toEqual([]);
  rules.bytesPerSecond = 1_000;
  await bench.clock.runUntil(() => log.quarantined.length > 0, { withinMs: 60_000 });
});
