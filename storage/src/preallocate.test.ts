import { MiB } from "@millrace/base/units";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { describe, expect, test } from "vitest";
import { append, Bench, compact, durable, readAll, values } from "../test/support.ts";

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

test.for([true, false])(
  "what a crash left set aside is given back by the next start, with preallocate=%s too",
  async (preallocate) => {
    const { inner, log } = await setUp(config);
    append(log, { sizeBytes: 3000 });
    await durable(log);
    const { sizeBytes } = log;
    const disk = await RecordingDisk.over(inner.afterProcessDeath(), "/data");
    const again = await Bench.open({ disk, config: { ...config, preallocate } });
    expect(disk.reservations.filter(({ path }) => path.endsWith("00000000000000000000.log"))).toMatchObject([
      { sizeBytes },
    ]);
    expect(await readAll(again.log("orders"))).toHaveLength(1);
  },
);

test("a clean stop leaves nothing set aside, whatever the disk loses after it", async () => {
  const { bench, disk, log } = await setUp(config);
  append(log, { sizeBytes: 3000 });
  await durable(log);
  await bench.directory.checkpoint();
  await bench.directory.close();
  const { events } = disk;
  const cut = events.findLastIndex((event) => event.kind === "truncate" && event.sizeBytes === log.sizeBytes);
  const node = (events[cut] as { readonly node?: number }).node;
  expect(events.slice(cut).some((event) => event.kind === "sync" && event.node === node)).toBe(true);
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

describe("a disk that has something, but not for a whole segment", () => {
  const large = { preallocate: true, "segment.bytes": 64 * MiB };
  const whole = (disk: RecordingDisk) => disk.reservations.filter(({ sizeBytes }) => sizeBytes === 64 * MiB).length;

  test("has the log wait until there is enough, and others go on meanwhile; or until nothing is set aside any more", async () => {
    const { clock, disk, bench, log } = await setUp(large);
    const other = await bench.create("payments");
    disk.faults.spaceBytes = 32 * MiB;
    append(log, { records: ["refused"] });
    await clock.runUntil(() => log.isDiskFull, { withinMs: 1000 });
    await clock.advance(10_000);
    expect([log.isDiskFull, log.failure]).toEqual([true, null]);
    append(other, { records: ["taken"] });
    await durable(other);

    disk.faults.spaceBytes = 128 * MiB;
    await clock.runUntil(() => !log.isDiskFull, { withinMs: 5000 });
    expect(whole(disk)).toBe(1);
    append(log, { records: ["taken"] });
    await durable(log);
    expect(whole(disk)).toBe(1);

    disk.faults.spaceBytes = 32 * MiB;
    await log.roll();
    append(log, { records: ["refused"] });
    await clock.runUntil(() => log.isDiskFull, { withinMs: 1000 });
    log.configure({ ...log.config, preallocate: false });
    await clock.runUntil(() => !log.isDiskFull, { withinMs: 5000 });
    append(log, { records: ["taken"] });
    await durable(log);
    expect(await readAll(log)).toHaveLength(2);
  });

  test("keeps no segment from being removed", async () => {
    const { disk, bench, log } = await setUp({ ...large, "retention.ms": 1 });
    append(log, { records: [{ timestamp: 1, value: Buffer.from("old") }] });
    await durable(log);
    disk.faults.spaceBytes = 32 * MiB;
    await bench.directory.retain();
    expect([log.logStartOffset, log.segmentCount]).toEqual([1, 1]);
    disk.faults.spaceBytes = Infinity;
    append(log, { records: ["new"] });
    await durable(log);
    expect(whole(disk)).toBe(2);
  });

  test("nor from being compacted", async () => {
    const { disk, bench, log } = await setUp({ ...large, "cleanup.policy": ["compact"] });
    for (const value of ["old", "new"])
      append(log, { records: [{ timestamp: 1, key: Buffer.from("key"), value: Buffer.from(value) }] });
    await durable(log);
    disk.faults.spaceBytes = 32 * MiB;
    await compact(bench, log);
    expect([bench.directory.failure, values(await readAll(log))]).toEqual([null, ["new"]]);
  });
});
