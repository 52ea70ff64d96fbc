import { Target } from "../test/interop/target.ts";
import { createTopic } from "./ask.ts";
import { diskAtRest } from "./disk-at-rest.ts";
import { freeGigabytes, LimitProbe, limitText, type Limits } from "./limits.ts";
import { batchOf, type FetchPlan, type ProducePlan } from "./load-plan.ts";
import { big } from "./loads.ts";
import { printLine } from "./measure.ts";
import { memoryAtHand } from "./memory-at-hand.ts";
import { generate, preload, removeTopic, sampleOf, settings, warmUp, type Sample, type Scene } from "./sampling.ts";
import { median, ratioOf, rounded, verdict } from "./statistics.ts";
import { renderTable } from "./table.ts";

/**
 * Whether a partition costs more as it grows: at each size the same appends to its end, and the same reads from its start,
 * which lies in the page cache each time. Millrace alone, since it is compared with itself: in turns with a partition that is
 * new, since a machine that has just taken 20 GB may be slower for a while than it was before.
 */
const topic = "bench-flat";
const newTopic = "bench-flat-new";
const newGigabytes = 0.1;
const sizesGigabytes = [1, 5, 10, 20, 50];
const readBatches = 1_500;
/** One sample appends no more, so that the size is what the row says. */
const appendMegabytesMax = 300;
const tolerance = 0.1;

/** Appends and reads of one partition at one size. */
interface Samples {
  readonly appends: Sample[];
  readonly reads: Sample[];
}

interface Stop {
  readonly gigabytes: number;
  readonly grown: Samples;
  readonly fresh: Samples;
}

export async function measureFlat({ directory, rounds, extent }: Scene, gigabytes: number): Promise<string> {
  const free = freeGigabytes(directory);
  const needed = gigabytes * 1.2 + 2;
  if (free < needed)
    throw new Error(`flat needs ${needed.toFixed(0)} GB in ${directory}, and ${free.toFixed(0)} GB are free`);
  await using stack = new AsyncDisposableStack();
  const probe = stack.use(await LimitProbe.start(directory));
  const target = stack.use(await Target.start({ name: "millrace", directory, preload, settings }));
  const { port } = target;
  await warmUp(target);
  const batchBytes = batchOf(big).length;
  const append = (
    to: string,
    megabytesMax: number,
    times: Pick<ProducePlan, "measureMs" | "warmUpMs">,
  ): ProducePlan => ({
    kind: "produce",
    port,
    topic: to,
    partitions: 1,
    connections: 2,
    inFlight: 5,
    ...big,
    ...times,
    requestsMax: Math.max(1, Math.round((megabytesMax * 1e6) / batchBytes)),
  });
  const read = (topicId: string): FetchPlan => ({
    kind: "fetch",
    port,
    topicId,
    partitions: 1,
    connections: 1,
    inFlight: 1,
    batchesPerPartition: readBatches,
    batchBytes,
    recordsPerBatch: big.recordsPerBatch,
    partitionMaxBytes: 1024 * 1024,
    keepsBytes: false,
    measureMs: extent.measureMs,
    warmUpMs: extent.warmUpMs,
    requestsMax: Number.MAX_SAFE_INTEGER,
  });
  const write = (to: string, megabytes: number): Promise<unknown> =>
    generate(append(to, megabytes, { measureMs: 600_000, warmUpMs: 0 }));
  /** Gives how many megabytes were appended. */
  const take = async (samples: Samples, name: string, topicId: string): Promise<number> => {
    samples.reads.push(await sampleOf(target, read(topicId)));
    await diskAtRest(directory);
    await memoryAtHand(appendMegabytesMax);
    const times = { measureMs: extent.measureMs, warmUpMs: 0 };
    const sample = await sampleOf(target, append(name, appendMegabytesMax, times));
    samples.appends.push(sample);
    return sample.writtenMegabytes;
  };

  const grownId = await createTopic(port, topic, 1);
  const stops: Stop[] = [];
  const limits: Limits[] = [];
  let writtenMegabytes = 0;
  for (const size of sizesGigabytes.filter((each) => each <= gigabytes)) {
    await write(topic, size * 1000 - writtenMegabytes);
    writtenMegabytes = size * 1000;
    await memoryAtHand(appendMegabytesMax);
    limits.push(await probe.measure());
    const stop: Stop = { gigabytes: size, grown: { appends: [], reads: [] }, fresh: { appends: [], reads: [] } };
    for (let round = 0; round < rounds; round++) {
      const takeGrown = async (): Promise<void> => {
        writtenMegabytes += await take(stop.grown, topic, grownId);
      };
      const takeFresh = async (): Promise<void> => {
        const id = await createTopic(port, newTopic, 1);
        await write(newTopic, newGigabytes * 1000);
        await take(stop.fresh, newTopic, id);
        await removeTopic(target, newTopic);
      };
      for (const each of round % 2 === 0 ? [takeFresh, takeGrown] : [takeGrown, takeFresh]) await each();
    }
    stops.push(stop);
  }
  await removeTopic(target, topic);
  return report(stops, limits);
}

function report(stops: readonly Stop[], limits: readonly Limits[]): string {
  const rows = stops.map(({ gigabytes, grown, fresh }, index) => {
    const cells = (what: keyof Samples): string[] => {
      const [ours, theirs] = [grown[what], fresh[what]];
      const middle = (list: readonly Sample[], of: (sample: Sample) => number): number => median(list.map(of));
      const rate = (sample: Sample): number => sample.megabytesPerSecond;
      const cost = (sample: Sample): number => sample.cpuSecondsPerGigabyte;
      const costRatio = ratioOf(ours, theirs, cost) ?? 1;
      printLine({
        bench: "broker",
        load: "flat",
        what,
        gigabytes,
        rounds: ours.length,
        megabytesPerSecond: rounded(middle(ours, rate)),
        newMegabytesPerSecond: rounded(middle(theirs, rate)),
        cpuSecondsPerGigabyte: rounded(middle(ours, cost)),
        newCpuSecondsPerGigabyte: rounded(middle(theirs, cost)),
        eachCpuRatio: ours.map((each, round) => rounded(cost(each) / cost(theirs[round] ?? each))).join(" "),
      });
      return [
        `${middle(ours, rate).toFixed(0)} / ${middle(theirs, rate).toFixed(0)}`,
        (ratioOf(ours, theirs, rate) ?? 1).toFixed(2),
        `${middle(ours, cost).toFixed(3)} / ${middle(theirs, cost).toFixed(3)}`,
        costRatio.toFixed(2),
        verdict(Math.abs(costRatio - 1) <= tolerance, `within ${tolerance * 100} %`),
        middle(ours, (sample) => sample.latencyMsP99).toFixed(1),
        middle(ours, (sample) => sample.loopDelay?.p99Ms ?? 0).toFixed(1),
      ];
    };
    const all = [...grown.appends, ...grown.reads, ...fresh.appends, ...fresh.reads];
    return [
      `${gigabytes} GB`,
      limitText(limits.slice(index, index + 1), ["disk", "loopback"]),
      ...cells("appends"),
      ...cells("reads"),
      Math.max(...all.map(({ rssMegabytesMax }) => rssMegabytesMax)).toFixed(0),
    ];
  });
  const head = (name: string): string[] => [
    `${name} MB/s`,
    "ratio",
    "CPU s/GB",
    "ratio",
    "bar",
    "p99 ms",
    "loop delay p99 ms",
  ];
  return [
    renderTable(["flat", "limit", ...head("append"), ...head("read"), "RSS MB"], rows),
    `The partition of that size / one of ${newGigabytes} GB, in turns; a ratio is the median of the pairs' ratios.`,
    "",
  ].join("\n");
}
