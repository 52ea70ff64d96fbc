import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type { TimeMs } from "@millrace/base/units";
import { expect, test } from "vitest";
import { append, Bench, durable } from "../test/support.ts";
import { fileNames } from "./file-names.ts";
import type { Offset } from "./types.ts";

const at = (offset: number): Offset => offset as Offset;
const KiB = 1024;

test("what other replicas do not have yet is not removed, not compacted, and not found", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders", { "segment.bytes": 4 * KiB, "retention.ms": 1_000 });
  log.replicatedHighWatermark = at(0);
  for (let round = 0; round < 6; round++) append(log, { sizeBytes: 3 * KiB, timestamp: 1_000_000 + round });
  await durable(log);
  const muchLater = 2_000_000 as TimeMs;
  expect([await log.retain(muchLater), log.logStartOffset]).toEqual([0, 0]);
  expect(await log.deleteRecordsBefore(at(1))).toMatchObject({ failure: "out-of-range" });
  expect(await log.recordAtOrAfter(0)).toEqual({ ok: true, value: null });
  log.replicatedHighWatermark = at(3);
  expect(await log.recordAtOrAfter(1_000_002)).toMatchObject({ value: { offset: 2 } });
  expect(await log.recordAtOrAfter(1_000_003)).toEqual({ ok: true, value: null });
  expect([await log.retain(muchLater), log.logStartOffset]).toEqual([3, 3]);
  expect(await log.deleteRecordsBefore(at(4))).toMatchObject({ failure: "out-of-range" });
  log.replicatedHighWatermark = null;
  expect(await log.deleteRecordsBefore(at(4))).toMatchObject({ ok: true });
});

test("a transaction is decided when its marker is committed, not when it is durable here", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders");
  log.replicatedHighWatermark = at(0);
  append(log, { producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true });
  const marker = { isCommit: true, coordinatorEpoch: 0, producerId: 7, producerEpoch: 0, timestamp: 0 };
  append(log, encodeEndTransactionMarker(marker), { origin: "coordinator" });
  append(log);
  await durable(log);
  log.replicatedHighWatermark = at(1);
  // To be asked is not to forget what is undecided.
  expect([log.lastStableOffset, log.lastStableOffsetBelow(at(1))]).toEqual([0, 0]);
  log.replicatedHighWatermark = at(3);
  expect(log.lastStableOffset).toBe(3);
});

test("a cut takes the high watermark with it", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders");
  for (let round = 0; round < 4; round++) append(log);
  await durable(log);
  log.replicatedHighWatermark = at(3);
  await log.truncateTo(at(2));
  expect(log.highWatermark).toBe(2);
});

test("it is saved while it moves, and is where a log with other replicas begins", async () => {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk({ clock });
  const bench = await Bench.open({ disk, clock, areReplicated: true });
  const log = await bench.create("orders");
  const alone = await bench.create("alone");
  for (let round = 0; round < 4; round++) for (const each of [log, alone]) append(each);
  await durable(log);
  await durable(alone);
  log.replicatedHighWatermark = at(2);
  await clock.advance(6_000);
  const saved = async (): Promise<string> => (await disk.readFile(`/data/${fileNames.highWatermarks}`)).toString();
  expect(await saved()).toBe("0\n2\norders 0 2\nalone 0 4\n");
  append(alone);
  await clock.advance(6_000);
  // Nothing waits for that of a log that is alone.
  expect(await saved()).toContain("alone 0 4\n");
  const again = await Bench.open({ disk: disk.afterProcessDeath(), clock, areReplicated: true });
  expect([again.log("orders").highWatermark, again.log("alone").highWatermark]).toEqual([2, 4]);
  const apart = await Bench.open({ disk: disk.afterProcessDeath(), clock });
  expect([apart.log("orders").highWatermark, apart.log("alone").highWatermark]).toEqual([4, 5]);
});
