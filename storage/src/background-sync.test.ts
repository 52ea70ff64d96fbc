import { Prng } from "@millrace/base/prng";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { append, Bench, readAll, values } from "../test/support.ts";
import { BackgroundSync } from "./background-sync.ts";
import type { LogConfig } from "./log-config.ts";
import type { WriteQueue } from "./write-queue.ts";

const os: Partial<LogConfig> = { "millrace.durability": "os" };

/** Says when a sync was asked for which of the logs; to the bound they are names. */
function watched(intervalMs: number) {
  const clock = new VirtualClock();
  const asked: string[] = [];
  const names = new Map<WriteQueue, string>();
  const queueOf = new Map<string, WriteQueue>();
  const sync = new BackgroundSync({
    clock,
    intervalMs,
    committer: { syncSoon: (queue) => void asked.push(`${clock.monotonicMs()} ${names.get(queue)}`) },
  });
  const write = (name: string, limitMs = Infinity): void => {
    const queue = queueOf.get(name) ?? ({} as WriteQueue);
    queueOf.set(name, queue);
    names.set(queue, name);
    sync.onWritten(queue, limitMs);
  };
  return { clock, asked, sync, write };
}

test("a log is synced when its oldest unsynced bytes are as old as the bound, however often it is written", async () => {
  const { clock, asked, write } = watched(1000);
  for (let ms = 0; ms < 2500; ms += 100) {
    write("a");
    await clock.advance(100);
  }
  expect(asked).toEqual(["1000 a", "2000 a"]);
  expect(clock.pendingTimers).toBe(1);
  await clock.advance(10_000);
  expect(clock.pendingTimers).toBe(0);
});

test("logs that are due soon go along, and flush.ms brings a log's own sync forward", async () => {
  const { clock, asked, write } = watched(1000);
  write("a");
  await clock.advance(400);
  write("b");
  await clock.advance(300);
  write("c");
  write("quick", 50);
  await clock.advance(10_000);
  expect(asked).toEqual(["750 a", "750 quick", "1400 b", "1400 c"]);
});

test("nothing is asked for when the directory has stopped", async () => {
  const { clock, asked, sync, write } = watched(1000);
  write("a");
  sync.stop();
  write("b");
  expect(clock.pendingTimers).toBe(0);
  await clock.advance(10_000);
  expect(asked).toEqual([]);
});

test("it does not wait for housekeeping that is under way", async () => {
  const clock = new VirtualClock();
  const bench = await Bench.open({ clock, disk: new SimulatedDisk({ clock }), limits: { checkpointIntervalMs: 500 } });
  const [log, held] = [await bench.create("orders", os), await bench.create("held")];
  // A checkpoint that does not end.
  held.checkpoint = () => new Promise<void>(() => {});
  append(held, { sizeBytes: 2 * 1024 * 1024 });
  await clock.advance(600);
  append(log);
  await clock.advance(1000);
  expect(log.flushedOffset).toBe(1);
});

let lost = 0;

test.for(Array.from({ length: 30 }, (_, index) => index + 1))(
  "the power takes what was answered in the last second at most, and leaves no hole (seed %i)",
  async (seed) => {
    const prng = new Prng(seed);
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const limits = { journalBytes: prng.pick([0, 131_072]) };
    const config = { ...os, "segment.bytes": 20_000 };
    const bench = await Bench.open({ disk, clock, limits });
    const logs = [await bench.create("a", config), await bench.create("b", config)];
    const answered: {
      readonly topic: string;
      readonly offset: number;
      readonly value: string;
      readonly atMs: number;
    }[] = [];
    for (let crash = 0; crash < 6; crash++) {
      const endMs = clock.monotonicMs() + prng.between(100, 4000);
      while (clock.monotonicMs() < endMs) {
        const log = prng.pick(logs);
        const value = `${answered.length}:${"x".repeat(prng.between(0, 3000))}`;
        const { firstOffset, nextOffset } = append(log, { records: [value] });
        await clock.settle();
        expect(log.durableOffset).toBe(nextOffset);
        answered.push({ topic: log.topic, offset: firstOffset, value, atMs: clock.monotonicMs() });
        await clock.advance(prng.between(1, 200));
      }
      const image = await Bench.open({ disk: disk.afterPowerLoss(prng), limits, config });
      expect(image.report.offline).toEqual([]);
      for (const { topic } of logs) {
        const found = values(await readAll(image.log(topic)));
        const mine = answered.filter((each) => each.topic === topic);
        expect(found).toEqual(mine.slice(0, found.length).map(({ value }) => value));
        const oldestLost = mine[found.length];
        expect(clock.monotonicMs() - (oldestLost?.atMs ?? Infinity)).toBeLessThanOrEqual(1000);
        lost += mine.length - found.length;
      }
    }
  },
);

test("these losses of power take something: without that they show nothing", () => {
  expect(lost).toBeGreaterThan(100);
});
