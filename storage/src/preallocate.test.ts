import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { append, Bench, durable, readAll } from "../test/support.ts";

async function setUp(config: Parameters<Bench["create"]>[1]) {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over(inner, "/data");
  const bench = await Bench.open({ disk, clock });
  const log = await bench.create("orders", config);
  /** What was set aside for each segment, and then given back down to its size. */
  const reserved = (): readonly string[] =>
    disk.reservations
      .filter(({ path }) => path.endsWith(".log"))
      .map(({ path, sizeBytes }) => `${Number(path.slice(-24, -4))}: ${sizeBytes}`);
  return { clock, inner, disk, bench, log, reserved };
}

const config = { preallocate: true, "segment.bytes": 10_000 };

test("blocks are set aside when a segment begins, and given back when it is closed for appends, or the log is", async () => {
  const { bench, log, reserved } = await setUp(config);
  expect(reserved()).toEqual([]);
  for (let batch = 0; batch < 4; batch++) append(log, { sizeBytes: 3000 });
  await durable(log);
  await bench.clock.settle();
  const sizeBytes = log.sizeBytes / 4;
  expect(reserved().toSorted()).toEqual([`0: ${3 * sizeBytes}`, "0: 10000", "3: 10000"].toSorted());
  await bench.directory.close();
  expect(reserved().at(-1)).toBe(`3: ${sizeBytes}`);
  expect((await bench.disk.stat("/data/orders-0/00000000000000000003.log"))?.sizeBytes).toBe(sizeBytes);
});

test("the setting counts from the next segment on, and without it nothing is set aside", async () => {
  const { bench, log, reserved } = await setUp({ ...config, preallocate: false });
  for (let batch = 0; batch < 4; batch++) append(log, { sizeBytes: 3000 });
  await durable(log);
  await bench.clock.settle();
  expect(reserved()).toEqual([]);
  log.configure({ ...log.config, preallocate: true });
  append(log, { sizeBytes: 3000 });
  await durable(log);
  expect(reserved()).toEqual([]);
  for (let batch = 0; batch < 3; batch++) append(log, { sizeBytes: 3000 });
  await durable(log);
  expect(reserved()).toEqual(["6: 10000"]);
});

test("what a crash left set aside is given back when its segment ends", async () => {
  const { inner, log } = await setUp(config);
  append(log, { sizeBytes: 3000 });
  await durable(log);
  const disk = await RecordingDisk.over(inner.afterProcessDeath(), "/data");
  const again = await Bench.open({ disk, config });
  const found = again.log("orders");
  for (let batch = 0; batch < 3; batch++) append(found, { sizeBytes: 3000 });
  await durable(found);
  await again.clock.settle();
  const ofFirst = disk.reservations.filter(({ path }) => path.endsWith("00000000000000000000.log"));
  expect(ofFirst.map(({ sizeBytes }) => sizeBytes)).toEqual([(3 * found.sizeBytes) / 4]);
});

test("a disk that has not that much refuses the batch that needs it, and takes it when it has", async () => {
  const { clock, disk, log } = await setUp(config);
  disk.faults.spaceBytes = 9_999;
  append(log, { sizeBytes: 3000 });
  await clock.settle();
  expect([log.isDiskFull, log.failure, log.logEndOffset]).toEqual([true, null, 0]);
  disk.faults.spaceBytes = Infinity;
  await clock.advance(3000);
  append(log, { sizeBytes: 3000 });
  await durable(log);
  expect(await readAll(log)).toHaveLength(1);
});
