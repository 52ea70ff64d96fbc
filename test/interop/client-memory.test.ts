import { join } from "node:path";
import { Cluster } from "@millrace/client";
import { expect, test } from "vitest";
import { isLong, targetsOr } from "./asked.ts";
import { skipWhenMissing } from "./journey.ts";
import { interopDirectory } from "./runtimes.ts";
import { Running } from "./running.ts";
import { Target, whyTargetMissing } from "./target.ts";

/** A producer and a consumer hold no more after many records than after some; with `--long` after ten million, on both brokers. */
const roundsCount = isLong ? 20 : 6;
const recordsPerRound = isLong ? 500_000 : 25_000;
const megabyte = 1024 * 1024;

interface Sample {
  readonly round: number;
  readonly heapUsed: number;
  readonly arrayBuffers: number;
  readonly rss: number;
}

test.for(targetsOr(isLong ? ["millrace", "kafka"] : ["millrace"]))(
  "%s: what goes through leaves nothing behind",
  { timeout: isLong ? 1_800_000 : 240_000 },
  async (name, context) => {
    skipWhenMissing(context, whyTargetMissing(name));
    await using target = await Target.start({ name, settings: { "group.initial.rebalance.delay.ms": "0" } });
    await using cluster = new Cluster({ brokers: [target.address] });
    const config = { "retention.bytes": "100000000", "segment.bytes": "50000000" };
    await cluster.admin().topics.create({ name: "flow", partitions: 3, config });
    const program = join(interopDirectory, "clients", "millrace-flow.ts");
    const node = [process.execPath, "--conditions=source", "--expose-gc"] as const;
    const told = [target.address, "flow", `${roundsCount}`, `${recordsPerRound}`];
    await using flow = Running.start("flow", [...node, program, ...told]);
    const samples: Sample[] = [];
    while (samples.length < roundsCount) {
      await flow.until(`round ${samples.length + 1} is read`, () => flow.lines.length > samples.length);
      const sample = JSON.parse(flow.lines[samples.length] ?? "") as Sample;
      samples.push(sample);
      const { round, heapUsed, arrayBuffers, rss } = sample;
      const [heap, buffers, all] = [heapUsed, arrayBuffers, rss].map((bytes) => (bytes / megabyte).toFixed(1));
      const records = ((round * recordsPerRound) / 1_000).toLocaleString("en");
      console.log(`${name}, ${records} thousand records: heap ${heap} MiB, buffers ${buffers} MiB, RSS ${all} MiB`);
    }
    await flow.ended();
    // Caches and code have filled in the first rounds.
    const least = (from: readonly Sample[], of: (sample: Sample) => number): number => Math.min(...from.map(of));
    const half = Math.floor(roundsCount / 2);
    const [early, late] = [samples.slice(1, half), samples.slice(half)];
    const inUse = ({ heapUsed, arrayBuffers }: Sample): number => heapUsed + arrayBuffers;
    expect(least(late, inUse) - least(early, inUse)).toBeLessThan(2 * megabyte);
    expect(least(late, ({ rss }) => rss) - least(early, ({ rss }) => rss)).toBeLessThan(32 * megabyte);
  },
);
