import { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { append, Bench, readAll, values, withoutLocks } from "./support.ts";
import type { PartitionLog } from "../src/log.ts";

/*
 * R1: a loss of power at any moment, and what was acknowledged is there. The recording disk knows what was synced; each image
 * is that, and of the rest a random subset of pages, sizes and names.
 */

export interface Acknowledged {
  readonly log: string;
  readonly values: readonly string[];
  readonly firstOffset: number;
}

export interface Story {
  readonly disk: RecordingDisk<Acknowledged>;
  readonly topics: readonly string[];
}

const config = { "segment.bytes": 24 * 1024, "index.interval.bytes": 1024, "file.delete.delay.ms": 100 };
const limits = { unsyncedBytesMax: 32 * 1024, eagerBytes: 4096, checkpointBytesMin: 1, checkpointIntervalMs: 50 };

/** Appends of all sizes to a few logs, with rolls, checkpoints, restarts and everything the housekeeping does. */
export async function live(prng: Prng, options: { readonly isLying?: boolean; readonly steps?: number } = {}): Promise<Story> {
  const clock = new VirtualClock();
  const inner = new SimulatedDisk({ clock });
  await inner.makeDirectory("/data");
  const disk = await RecordingDisk.over<Acknowledged>(inner, "/data");
  disk.faults.areSyncsLies = options.isLying ?? false;
  const topics = ["a", "b", "c"];
  const shared = withoutLocks(disk);
  let bench = await Bench.open({ disk: shared, clock, limits, config });
  for (const topic of topics) await bench.create(topic, config);
  let serial = 0;
  const waiting = new Map<string, { readonly nextOffset: number; readonly acknowledged: Acknowledged }[]>();

  const watch = (log: PartitionLog): void => {
    log.onProgress = () => {
      const queue = waiting.get(log.topic) ?? [];
      while ((queue[0]?.nextOffset ?? Infinity) <= log.durableOffset) disk.mark((queue.shift() as (typeof queue)[0]).acknowledged);
    };
  };
  for (const topic of topics) watch(bench.log(topic));
  const steps = options.steps ?? 60;
  // A slow disk: two groups get to be written and not synced.
  let releaseSyncs: (() => void) | null = null;
  for (let step = 0; step < steps; step++) {
    const burst = prng.between(1, 6);
    for (let count = 0; count < burst; count++) {
      const log = bench.log(prng.pick(topics));
      const records = Array.from({ length: prng.between(1, 3) }, () => `${serial++}:${"x".repeat(prng.between(0, 3000))}`);
      const { firstOffset, nextOffset } = append(log, { records, producerId: 5 + serial, producerEpoch: 0, baseSequence: 0 });
      const queue = waiting.get(log.topic) ?? [];
      queue.push({ nextOffset, acknowledged: { log: log.topic, values: records, firstOffset } });
      waiting.set(log.topic, queue);
    }
    if (releaseSyncs === null && prng.chance(0.3)) releaseSyncs = disk.faults.holdSyncs();
    if (prng.chance(0.7)) await clock.settle();
    if (releaseSyncs !== null && prng.chance(0.1)) void bench.directory.checkpoint().catch(() => {});
    if (releaseSyncs !== null && prng.chance(0.4)) {
      const isKilled = prng.chance(0.3);
      // The process dies while syncs are under way: what they were for is with the system, and nobody was told.
      let isDying = isKilled;
      if (isKilled) for (let sync = 0; sync < 64; sync++) disk.faults.failNextSync({ matches: () => isDying });
      releaseSyncs();
      releaseSyncs = null;
      if (isKilled) {
        await clock.settle();
        isDying = false;
        waiting.clear();
        bench = await Bench.open({ disk: shared, clock, limits, config });
        for (const topic of topics) watch(bench.log(topic));
      }
    }
    if (releaseSyncs !== null) continue;
    if (prng.chance(0.2)) await clock.advance(prng.between(1, 120));
    if (prng.chance(0.05)) {
      await bench.directory.close();
      bench = await Bench.open({ disk: shared, clock, limits, config });
      for (const topic of topics) watch(bench.log(topic));
    }
  }
  releaseSyncs?.();
  await clock.settle();
  return { disk, topics };
}

/** What is missing or wrong on an image, in words; null when nothing is. */
export async function judge(image: Disk, acknowledged: readonly Acknowledged[], topics: readonly string[], counts?: CrashCounts): Promise<string | null> {
  const bench = await Bench.open({ disk: image, limits, config });
  if (counts !== undefined) {
    counts.crashes += 1;
    counts.acknowledged += acknowledged.length;
    counts.recoveredBytes += bench.report.recoveredBytes;
    if (bench.report.cutBytes > 0) counts.imagesWithCuts += 1;
  }
  const [offline] = bench.report.offline;
  if (offline !== undefined) return `offline: ${offline.message}`;
  for (const topic of topics) {
    const log = bench.directory.find(topic, 0, "AAAAAAAAAAAAAAAAAAAAAQ");
    const mine = acknowledged.filter((each) => each.log === topic);
    if (log === undefined) {
      if (mine.length > 0) return `log ${topic} is missing`;
      continue;
    }
    const records = await readAll(log, 0, 8192);
    const byOffset = new Map(records.map((record) => [record.offset, record.value?.toString()]));
    if (records.some((record, index) => record.offset !== index)) return `log ${topic} has a hole`;
    if (records.length !== log.logEndOffset) return `log ${topic} ends at ${log.logEndOffset} and holds ${records.length}`;
    for (const { values: wanted, firstOffset } of mine) {
      for (const [index, value] of wanted.entries()) {
        if (byOffset.get(firstOffset + index) !== value) return `log ${topic} lost offset ${firstOffset + index}`;
      }
    }
    // It goes on where it ended.
    append(log, { records: ["after"] });
    await bench.clock.settle();
    if (values(await readAll(log, log.logEndOffset - 1))[0] !== "after") return `log ${topic} does not go on`;
  }
  await bench.directory.close();
  const again = await Bench.open({ disk: image, limits, config });
  if (!again.report.isClean || again.report.offline.length > 0) return "the start after the recovery was not clean";
  return null;
}

/** What the images of many crashes were like: a test that never sees a torn tail proves nothing. */
export interface CrashCounts {
  crashes: number;
  acknowledged: number;
  recoveredBytes: number;
  imagesWithCuts: number;
}

/** Lives through a story and judges what crashes at random moments leave of it. Gives what went wrong, each with the way back to it. */
export async function crashSeed(seed: number, crashes: number, counts?: CrashCounts): Promise<string[]> {
  const prng = new Prng(seed);
  const { disk, topics } = await live(prng);
  // Half of the moments are those at which something was written and not yet synced.
  const afterWrites = disk.events.flatMap(({ kind }, index) => (kind === "write" ? [index + 1] : []));
  const positions = Array.from({ length: crashes }, (_, index) =>
    index % 2 === 0 ? prng.pick(afterWrites) : prng.between(0, disk.position),
  ).sort((a, b) => a - b);
  const found: string[] = [];
  for (const { position, disk: image } of disk.powerLosses(positions, prng)) {
    const acknowledged = disk.marksUntil(position).map(({ label }) => label);
    const wrong = await judge(image, acknowledged, topics, counts).catch((error: unknown) => `threw ${String(error)}`);
    if (wrong !== null) found.push(`seed ${seed}, crash after event ${position} of ${disk.position}: ${wrong}`);
  }
  return found;
}
