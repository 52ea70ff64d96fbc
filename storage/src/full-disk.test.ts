import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { append, Bench, durable, readAll, values } from "../test/support.ts";

test.for(["its process dies", "it is closed"])(
  "a log with index entries in memory that finds the disk full goes on by itself, also where %s next",
  async (end) => {
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await Bench.open({ disk, clock });
    const config = { "index.interval.bytes": 100 };
    const log = await bench.create("orders", config);
    for (let batch = 0; batch < 10; batch++) append(log, { records: [`${batch}`], timestamp: 1e12 + batch });
    await durable(log);
    disk.faults.spaceBytes = 50;
    append(log, { records: ["refused"], timestamp: 1e12 + 10 });
    await clock.settle();
    expect([log.isDiskFull, log.failure, log.logEndOffset]).toEqual([true, null, 10]);
    expect(await readAll(log, 7)).toHaveLength(3);
    disk.faults.spaceBytes = Infinity;
    await clock.advance(3000);
    expect(append(log, { records: ["taken"], timestamp: 1e12 + 10 }).firstOffset).toBe(10);
    await durable(log);
    if (end === "it is closed") await bench.directory.close();
    const again = await Bench.open({ disk: inner.afterProcessDeath(), config });
    expect(again.report).toMatchObject({ isClean: end === "it is closed", offline: [] });
    const found = again.log("orders");
    expect(values(await readAll(found))).toEqual([...Array(10).keys().map(String), "taken"]);
    for (let offset = 0; offset <= 10; offset++) {
      expect((await readAll(found, offset, 10))[0]?.offset).toBe(offset);
      expect(await found.recordAtOrAfter(1e12 + offset)).toMatchObject({ value: { offset } });
    }
  },
);

test("retention goes on while a log finds the disk full", async () => {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const bench = await Bench.open({ disk, clock, limits: { retentionIntervalMs: 60_000 } });
  const log = await bench.create("orders", {
    "segment.bytes": 10_000,
    "file.delete.delay.ms": 1000,
    "retention.ms": -1,
  });
  for (let batch = 0; batch < 30; batch++) append(log, { sizeBytes: 3000 });
  await durable(log);
  // Room for a checkpoint, and for no batch.
  disk.faults.spaceBytes = 2000;
  append(log, { sizeBytes: 3000 });
  await clock.settle();
  expect([log.isDiskFull, log.logEndOffset]).toEqual([true, 30]);
  log.configure({ ...log.config, "retention.bytes": 20_000 });
  disk.faults.spaceBytes = 2000;
  await clock.runUntil(() => log.logStartOffset > 0, { withinMs: 120_000 });
  expect(log.isDiskFull).toBe(true);
  expect(await readAll(log)).toHaveLength(30 - log.logStartOffset);
  await clock.advance(2000);
  expect((await inner.list("/data/orders-0")).filter(({ name }) => name.includes(".log")).length).toBeLessThan(5);
  disk.faults.spaceBytes = Infinity;
  await clock.advance(3000);
  expect(append(log, { sizeBytes: 3000 }).firstOffset).toBe(30);
});
