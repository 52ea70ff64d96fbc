import { Target } from "../test/interop/target.ts";
import { createTopic } from "./ask.ts";
import { freeGigabytes, LimitProbe, limitText, type Limits } from "./limits.ts";
import { batchOf, type FetchPlan, type ProducePlan } from "./load-plan.ts";
import { big } from "./loads.ts";
import { printLine } from "./measure.ts";
import { generate, preload, removeTopic, sampleOf, settings, warmUp, type Sample, type Scene } from "./sampling.ts";
import { median, rounded, verdict } from "./statistics.ts";
import { renderTable } from "./table.ts";

/**
 * Whether a partition costs more as it grows: at each size the same appends to its end, and the same reads from its start,
 * which lies in the page cache each time. Millrace alone, since it is compared with itself.
 */
const topic = "bench-flat";
const sizesGigabytes = [0.1, 1, 5, 10, 20, 50];
const readBatches = 1_500;
/** One sample appends no more, so that the size is what the row says. */
const appendMegabytesMax = 300;
const tolerance = 0.1;

interface Stop {
  readonly gigabytes: number;
  readonly appends: readonly Sample[];
  readonly reads: readonly Sample[];
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
  const topicId = await createTopic(port, topic, 1);
  const batchBytes = batchOf(big).length;
  const produce = (megabytesMax: number, times: Pick<ProducePlan, "measureMs" | "warmUpMs">): ProducePlan => {
    const requestsMax = Math.max(1, Math.round((megabytesMax * 1e6) / batchBytes));
    return { kind: "produce", port, topic, partitions: 1, connections: 2, inFlight: 5, ...big, ...times, requestsMax };
  };
  const fetch: FetchPlan = {
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
  };

  const stops: Stop[] = [];
  const limits: Limits[] = [];
  let writtenMegabytes = 0;
  const write = async (megabytes: number): Promise<void> => {
    if (megabytes <= 0) return;
    await generate(produce(megabytes, { measureMs: 600_000, warmUpMs: 0 }));
    writtenMegabytes += megabytes;
  };
  for (const size of sizesGigabytes.filter((each) => each <= gigabytes)) {
    await write(size * 1000 - writtenMegabytes);
    limits.push(await probe.measure());
    const stop = { gigabytes: writtenMegabytes / 1000, appends: [] as Sample[], reads: [] as Sample[] };
    for (let round = 0; round < rounds; round++) {
      stop.reads.push(await sampleOf(target, fetch));
      const sample = await sampleOf(target, produce(appendMegabytesMax, { measureMs: extent.measureMs, warmUpMs: 0 }));
      stop.appends.push(sample);
      writtenMegabytes += sample.writtenMegabytes;
    }
    stops.push(stop);
  }
  await removeTopic(target, topic);
  return report(stops, limits);
}

function report(stops: readonly Stop[], limits: readonly Limits[]): string {
  const [first] = stops;
  const rows = stops.map((stop, index) => {
    const { gigabytes, appends, reads } = stop;
    const middle = (list: readonly Sample[], of: (sample: Sample) => number): number => median(list.map(of));
    const cost = (list: readonly Sample[]): number => middle(list, (sample) => sample.cpuSecondsPerGigabyte);
    const rate = (list: readonly Sample[]): number => middle(list, (sample) => sample.megabytesPerSecond);
    const beside = (
      list: readonly Sample[],
      of: (list: readonly Sample[]) => number,
      start?: readonly Sample[],
    ): number => of(list) / of(start ?? list);
    const isFlat = (ratio: number): string => verdict(Math.abs(ratio - 1) <= tolerance, `within ${tolerance * 100} %`);
    const appendCost = beside(appends, cost, first?.appends);
    const readCost = beside(reads, cost, first?.reads);
    printLine({
      bench: "broker",
      load: "flat",
      gigabytes: rounded(gigabytes),
      rounds: appends.length,
      appendMegabytesPerSecond: rounded(rate(appends)),
      appendCpuSecondsPerGigabyte: rounded(cost(appends)),
      readMegabytesPerSecond: rounded(rate(reads)),
      readCpuSecondsPerGigabyte: rounded(cost(reads)),
    });
    const columns = (list: readonly Sample[], ratio: number, start?: readonly Sample[]): string[] => [
      rate(list).toFixed(0),
      beside(list, rate, start).toFixed(2),
      cost(list).toFixed(3),
      ratio.toFixed(2),
      index === 0 ? "" : isFlat(ratio),
      middle(list, (sample) => sample.latencyMsP99).toFixed(1),
      middle(list, (sample) => sample.loopDelay?.p99Ms ?? 0).toFixed(1),
    ];
    return [
      `${gigabytes.toFixed(1)} GB`,
      limitText(limits.slice(index, index + 1), ["disk", "loopback"]),
      ...columns(appends, appendCost, first?.appends),
      ...columns(reads, readCost, first?.reads),
      Math.max(...[...appends, ...reads].map(({ rssMegabytesMax }) => rssMegabytesMax)).toFixed(0),
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
    "Ratios are to the first row: the smallest partition.",
    "",
  ].join("\n");
}
