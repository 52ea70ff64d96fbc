import { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { describe, expect, test } from "vitest";
import { committedRecords, tableOf } from "../../test/committed.ts";
import { append, Bench, compact, durable, withoutLocks } from "../../test/support.ts";
import { defaultLogConfig } from "../log-config.ts";
import type { LogConfig } from "../log-config.ts";
import type { PartitionLog } from "../log.ts";
import { verifyDirectory } from "../verify.ts";

const start = Date.UTC(2026, 0, 1);
const config: LogConfig = {
  ...defaultLogConfig,
  "cleanup.policy": ["compact"],
  "segment.bytes": 2048,
  "index.interval.bytes": 256,
};
const limits = { journalBytes: 131_072, checkpointBytesMin: 1 };

/** Seven keys, aborted transactions, a tombstone, and records of all that a producer with sequences writes. */
async function fill(log: PartitionLog, prng: Prng): Promise<void> {
  let sequence = [...log.producers()].find(({ producerId }) => producerId === 1)?.lastSequence ?? -1;
  for (let count = 0; count < 40; count++) {
    const key = Buffer.from(`k${prng.between(0, 6)}`);
    const value = prng.chance(0.1) ? null : Buffer.from(`${count}-${"x".repeat(prng.between(0, 120))}`);
    const records = [{ key, value, timestamp: start + count }];
    const isTransactional = prng.chance(0.3);
    append(log, { records, producerId: 1, producerEpoch: 0, baseSequence: (sequence += 1), isTransactional });
    if (!isTransactional) continue;
    const marker = {
      isCommit: prng.chance(0.5),
      coordinatorEpoch: 0,
      producerId: 1,
      producerEpoch: 0,
      timestamp: start,
    };
    append(log, encodeEndTransactionMarker(marker), { origin: "coordinator" });
  }
  await durable(log);
}

async function opened(disk: Disk, clock: VirtualClock): Promise<Bench> {
  return Bench.open({ disk: withoutLocks(disk), clock, limits, configOf: () => config });
}

describe("a crash at any step of a compaction", () => {
  test.for([1, 2, 3, 4, 5, 6])("loses nothing and doubles nothing (seed %i)", async (seed) => {
    const prng = new Prng(seed);
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const disk = await RecordingDisk.over(inner, "/data");
    const bench = await opened(disk, clock);
    const log = await bench.create("orders", config);
    await fill(log, prng);
    const expected = tableOf(await committedRecords(log));
    const { logEndOffset } = log;
    // Several segments become one.
    log.configure({ ...config, "segment.bytes": 6144 });
    const { segmentCount } = log;
    const from = disk.position;
    await compact(bench, log);
    const to = disk.position;
    expect(log.segmentCount).toBeLessThan(segmentCount);
    expect(tableOf(await committedRecords(log))).toEqual(expected);

    let finishedSwaps = 0;
    for (let position = from; position <= to; position++) {
      const image = disk.afterPowerLoss(prng, position);
      const names = (await image.list("/data/orders-0")).map(({ name }) => name);
      if (names.some((name) => name.endsWith(".swap"))) finishedSwaps += 1;
      const at = `position ${position} of ${from}-${to}, seed ${seed}`;
      const { problems } = await verifyDirectory(image, "/data");
      expect(
        problems.filter(({ kind }) => kind === "corrupt"),
        at,
      ).toEqual([]);
      const again = await opened(image, new VirtualClock());
      expect(again.report.offline, at).toEqual([]);
      const recovered = again.log("orders");
      expect(tableOf(await committedRecords(recovered)), at).toEqual(expected);
      expect(recovered.logEndOffset, at).toBe(logEndOffset);
      expect(
        (await image.list("/data/orders-0")).map(({ name }) => name),
        at,
      ).not.toContainEqual(expect.stringMatching(/cleaned|swap/));
      // The sequences of the producer go on: what it wrote last is known, whatever the round made of it.
      const last = [...recovered.producers()].find(({ producerId }) => producerId === 1)?.lastSequence ?? -1;
      const next = { key: Buffer.from("next"), value: Buffer.from("next"), timestamp: start };
      append(recovered, { records: [next], producerId: 1, producerEpoch: 0, baseSequence: last + 1 });
      await durable(recovered);
      // And a compaction after it comes to an end.
      await compact(again, recovered);
      expect(tableOf(await committedRecords(recovered)), at).toEqual(new Map([...expected, ["next", "next"]]));
      await again.directory.close();
      expect((await verifyDirectory(image, "/data")).problems, at).toEqual([]);
    }
    expect(finishedSwaps).toBeGreaterThan(0);
  });
});
