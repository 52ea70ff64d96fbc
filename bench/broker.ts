import { readFileSync } from "node:fs";
import { availableParallelism, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { interopDirectory } from "../test/interop/runtimes.ts";
import { Target, whyTargetMissing, type TargetName } from "../test/interop/target.ts";
import { measureCleaner } from "./cleaner.ts";
import { measureFlat } from "./flat.ts";
import { diskAtRest } from "./disk-at-rest.ts";
import { dirtyLimitMegabytes, LimitProbe, limitText, type Limits } from "./limits.ts";
import { brokerLoads, type BrokerLoad, type Extent } from "./loads.ts";
import type { LoadPlan } from "./load-plan.ts";
import { printLine } from "./measure.ts";
import { memoryAtHand } from "./memory-at-hand.ts";
import { measureMixed } from "./mixed.ts";
import { rssMegabytesOf } from "./process-stats.ts";
import {
  fill,
  freezeOthers,
  preload,
  removeTopic,
  sampleOf,
  settingsOf,
  warmUp,
  type Filled,
  type LoopDelay,
  type Sample,
  type Scene,
} from "./sampling.ts";
import { median, ratioOf, rounded, verdict } from "./statistics.ts";
import { renderTable } from "./table.ts";

/**
 * `npm run bench -- broker [--rounds N] [--seconds N] [--megabytes N] [--only a,b] [--target millrace|kafka] [--directory DIR]
 * [--gigabytes N]`; `--only` takes the names of loads.ts and `start`, `mixed`, `cleaner`, `flat`. `flat` runs only when it is
 * named: it fills a partition with so many gigabytes.
 *
 * Millrace and Apache Kafka side by side: both run, each load goes to one and then to the other, several rounds, and
 * the order changes from round to round, so that a slow minute of the machine meets both. Millrace syncs to the disk
 * before each answer, Kafka does not, so between runs the disk is given time to write out what the last one left.
 *
 * What is written goes to a new topic in each run, which is deleted after it: on a virtual machine memory that was not used
 * for a while costs several times as much to fill as memory that was, and a page cache that grows from run to run would make
 * each run slower than the one before.
 */
export async function run(args: readonly string[] = []): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      megabytes: { type: "string", default: "1500" },
      only: { type: "string" },
      target: { type: "string" },
      gigabytes: { type: "string", default: "20" },
      directory: { type: "string", default: tmpdir() },
    },
  });
  const only = values.only?.split(",");
  const loads = brokerLoads.filter(
    ({ name }) => only?.some((each) => name === each || name.startsWith(`${each}-`)) ?? true,
  );
  const isWanted = (name: TargetName): boolean => values.target === undefined || values.target === name;
  const names = (["millrace", "kafka"] as const).filter(isWanted);
  const missing = names.map(whyTargetMissing).filter((reason) => reason !== null);
  if (missing.length > 0) throw new Error(missing.join("; "));
  const extent = { measureMs: Number(values.seconds) * 1_000, warmUpMs: 1_000, megabytesMax: Number(values.megabytes) };
  const scene: Scene = { names, directory: values.directory, rounds: Number(values.rounds), extent };
  const bench = new BrokerBench(scene);
  const isDue = (name: string): boolean => only?.includes(name) ?? name !== "flat";
  if (isDue("start")) await bench.measureStart();
  if (loads.length > 0) await bench.measureLoads(loads);
  if (isDue("mixed")) bench.add(await measureMixed(scene));
  if (isDue("cleaner")) bench.add(await measureCleaner(scene));
  if (isDue("flat")) bench.add(await measureFlat(scene, Number(values.gigabytes)));
  console.log(bench.render());
}

async function alone(target: Target, targets: readonly Target[], plan: LoadPlan): Promise<Sample> {
  using _frozen = freezeOthers(target, targets);
  return await sampleOf(target, plan);
}

type SamplesByTarget = ReadonlyMap<TargetName, readonly Sample[]>;

const idleAfterMs = 3_000;
/** Of what a round writes: the page cache takes all of it, and the brokers some more. */
const memoryShare = 1.3;
const [, kafkaVersion = "?"] =
  /<kafka.version>([^<]+)</.exec(readFileSync(join(interopDirectory, "java", "pom.xml"), "utf8")) ?? [];

/** A load average above it is other work that shares the cores. */
const quietLoadMax = 1;

const bars = {
  cpuRatioMax: 1,
  readyMsMax: 500,
  rssIdleMegabytesMax: { millrace: 120, "millrace-dist": 100 } as Readonly<Partial<Record<TargetName, number>>>,
  rssLoadMegabytesMax: 400,
} as const;

class BrokerBench {
  readonly #names: readonly TargetName[];
  readonly #directory: string;
  readonly #rounds: number;
  readonly #extent: Extent;
  readonly #startRows: string[][] = [];
  readonly #loadRows: string[][] = [];
  readonly #diskRates: number[] = [];
  readonly #dirtyNotes: string[] = [];
  readonly #others: string[] = [];
  readonly #loadAtStart: number = loadAverage();

  constructor({ names, directory, rounds, extent }: Scene) {
    this.#names = names;
    this.#directory = directory;
    this.#rounds = rounds;
    this.#extent = extent;
  }

  /** A table of its own. */
  add(text: string): void {
    this.#others.push(text);
  }

  /** How long until the first request is answered on an empty directory, and what an idle broker takes. */
  async measureStart(): Promise<void> {
    const withDist = this.#names.includes("millrace") && whyTargetMissing("millrace-dist") === null;
    const names: readonly TargetName[] = withDist ? ["millrace-dist", ...this.#names] : this.#names;
    const samples = new Map(names.map((name) => [name, [] as { readonly readyMs: number; readonly rss: number }[]]));
    for (let round = 0; round < Math.min(this.#rounds, 5); round++) {
      for (const name of names) {
        await using target = await Target.create({ name, directory: this.#directory });
        await target.format();
        const readyMs = await target.start();
        await sleep(idleAfterMs);
        samples.get(name)?.push({ readyMs, rss: rssMegabytesOf(target.pid) });
        await target.stop();
      }
    }
    for (const [name, list] of samples) {
      const readyMs = median(list.map((sample) => sample.readyMs));
      const rssMegabytes = median(list.map(({ rss }) => rss));
      printLine({
        bench: "broker",
        load: "start",
        target: name,
        readyMs: rounded(readyMs),
        rssMegabytes: rounded(rssMegabytes),
      });
      const rssMax = bars.rssIdleMegabytesMax[name];
      const isOurs = name !== "kafka";
      this.#startRows.push([
        name,
        `${readyMs.toFixed(0)} ms`,
        isOurs ? verdict(readyMs <= bars.readyMsMax, `<= ${bars.readyMsMax} ms`) : "",
        `${rssMegabytes.toFixed(0)} MB`,
        rssMax === undefined ? "" : verdict(rssMegabytes <= rssMax, `<= ${rssMax} MB`),
      ]);
    }
  }

  async measureLoads(loads: readonly BrokerLoad[]): Promise<void> {
    await using stack = new AsyncDisposableStack();
    const targets: Target[] = [];
    for (const name of this.#names)
      targets.push(
        stack.use(await Target.start({ name, directory: this.#directory, preload, settings: settingsOf(name) })),
      );
    const probe = stack.use(await LimitProbe.start(this.#directory));
    for (const target of targets) await warmUp(target);
    for (const load of loads) {
      const involved = load.isSolo === true ? targets.slice(0, 1) : targets;
      const limits: Limits[] = [];
      const samples = await this.#measure(load, involved, async () => void limits.push(await probe.measure()));
      this.#report(load, samples, limits);
    }
  }

  async #measure(
    load: BrokerLoad,
    targets: readonly Target[],
    measureLimits: () => Promise<void>,
  ): Promise<SamplesByTarget> {
    const samples = new Map(targets.map(({ name }) => [name, [] as Sample[]]));
    // What is read stays; the first run is not counted: this load may use code that the last one did not.
    const filled = new Map<Target, Filled>();
    if (load.kind === "fetch") for (const target of targets) filled.set(target, await fill(load, target, this.#extent));
    for (const target of targets) await this.#sample(load, target, targets, filled.get(target));
    for (let round = 0; round < this.#rounds; round++) {
      await measureLimits();
      for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
        samples.get(target.name)?.push(await this.#sample(load, target, targets, filled.get(target)));
      }
    }
    for (const [target, { topic }] of filled) await removeTopic(target, topic);
    return samples;
  }

  async #sample(load: BrokerLoad, target: Target, targets: readonly Target[], filled?: Filled): Promise<Sample> {
    const megabytesMax = this.#extent.megabytesMax * (load.megabytesFactor ?? 1);
    const { topic, plan } = filled ?? (await fill(load, target, { ...this.#extent, megabytesMax }));
    await diskAtRest(this.#directory);
    await memoryAtHand(megabytesMax * memoryShare);
    const sample = await alone(target, targets, plan);
    if (filled === undefined) await removeTopic(target, topic);
    return sample;
  }

  #report(load: BrokerLoad, samples: SamplesByTarget, limits: readonly Limits[]): void {
    const ours = samples.get("millrace");
    const theirs = samples.get("kafka");
    for (const [target, list] of samples) {
      const middle = (of: (sample: Sample) => number): number => rounded(median(list.map(of)));
      const each = (of: (sample: Sample) => number): string => list.map((sample) => rounded(of(sample))).join(" ");
      printLine({
        bench: "broker",
        load: load.name,
        what: load.what,
        target,
        rounds: list.length,
        megabytesPerSecond: middle((sample) => sample.megabytesPerSecond),
        requestsPerSecond: middle((sample) => sample.requestsPerSecond),
        cpuSecondsPerGigabyte: middle((sample) => sample.cpuSecondsPerGigabyte),
        rssMegabytesMax: rounded(Math.max(...list.map(({ rssMegabytesMax }) => rssMegabytesMax))),
        latencyMsMedian: middle((sample) => sample.latencyMsMedian),
        latencyMsP99: middle((sample) => sample.latencyMsP99),
        generatorCpu: middle((sample) => sample.generatorCpu),
        loopDelayMsP99: middle(({ loopDelay }) => loopDelay?.p99Ms ?? 0),
        limit: limitText(limits, load.limits),
        eachMegabytesPerSecond: each((sample) => sample.megabytesPerSecond),
        eachCpuSecondsPerGigabyte: each((sample) => sample.cpuSecondsPerGigabyte),
      });
    }
    this.#diskRates.push(...limits.map((each) => each.syncedMegabytesPerSecond));
    if (load.kind === "produce") this.#dirtyNotes.push(dirtyNote(load, samples));
    this.#loadRows.push(loadRow(load, ours, theirs, limits));
  }

  render(): string {
    const parts: string[] = [];
    if (this.#startRows.length > 0) {
      parts.push(renderTable(["start", "ready", "bar", "idle RSS", "bar"], this.#startRows));
    }
    if (this.#loadRows.length > 0) {
      parts.push(renderTable(loadColumns, this.#loadRows));
      parts.push(
        "millrace / kafka in each pair; a ratio is the median of the rounds' ratios. CPU is the server's, in seconds a GB",
        "of batches; the generator's CPU is in cores. Latency is median / 99th percentile in ms, from send to answer; loop",
        "delay is 99th percentile / maximum of how late a timer came that the Millrace process sets every 5 ms, medians of the",
        "rounds: 0 is an idle event loop. Kafka has no such figure.",
        ...this.#dirtyNotes,
        `Synced sequential writes of 1 MiB to this disk: ${median(this.#diskRates).toFixed(0)} MB/s (median of ${this.#diskRates.length}).`,
      );
    }
    parts.push(...this.#others);
    parts.push(
      `${availableParallelism()} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, Node ${process.version}, Apache Kafka ${kafkaVersion}; ` +
        `${this.#rounds} rounds of ${this.#extent.measureMs / 1000} s; load average ${this.#loadAtStart.toFixed(1)} at the start, ${loadAverage().toFixed(1)} at the end.`,
    );
    if (this.#loadAtStart > quietLoadMax) {
      parts.push(
        `WARNING: the load average was ${this.#loadAtStart.toFixed(1)} when it began: other work shared the machine; the ratios are not to be trusted.`,
      );
    }
    return parts.join("\n");
  }
}

const loadColumns = [
  "load",
  "what",
  "limit",
  "MB/s",
  "requests/s",
  "ratio",
  "bar",
  "CPU s/GB",
  "ratio",
  "bar",
  "RSS MB",
  "bar",
  "latency ms millrace",
  "latency ms kafka",
  "p99 ratio",
  "bar",
  "generator CPU",
  "loop delay ms",
];

function loadRow(
  load: BrokerLoad,
  ours: readonly Sample[] | undefined,
  theirs: readonly Sample[] | undefined,
  limits: readonly Limits[],
): string[] {
  const pair = (of: (sample: Sample) => number, digits: number): string =>
    [ours, theirs].map((list) => (list === undefined ? "-" : median(list.map(of)).toFixed(digits))).join(" / ");
  const ratio = (of: (sample: Sample) => number): number | null => ratioOf(ours, theirs, of);
  const latency = (list: readonly Sample[] | undefined): string => {
    if (list === undefined) return "-";
    const middle = (of: (sample: Sample) => number): string => median(list.map(of)).toFixed(1);
    return `${middle((sample) => sample.latencyMsMedian)} / ${middle((sample) => sample.latencyMsP99)}`;
  };
  const throughput = ratio((sample) => sample.requestsPerSecond);
  const cpu = ratio((sample) => sample.cpuSecondsPerGigabyte);
  const rss = ours === undefined ? null : Math.max(...ours.map(({ rssMegabytesMax }) => rssMegabytesMax));
  const bar = (value: number | null, isMet: (value: number) => boolean, text: string): string =>
    value === null ? "" : verdict(isMet(value), text);
  const p99 = ratio((sample) => sample.latencyMsP99);
  const { ratioMin, p99RatioMax } = load;
  const cpuRatioMax = load.cpuRatioMax ?? bars.cpuRatioMax;
  return [
    load.name,
    load.what,
    limitText(limits, load.limits),
    pair((sample) => sample.megabytesPerSecond, 1),
    pair((sample) => sample.requestsPerSecond, 0),
    throughput === null ? "" : throughput.toFixed(2),
    throughputBar(load, ours, theirs, limits),
    pair((sample) => sample.cpuSecondsPerGigabyte, 2),
    cpu === null ? "" : cpu.toFixed(2),
    ratioMin === null ? "" : bar(cpu, (value) => value <= cpuRatioMax, `<= ${cpuRatioMax}`),
    pair((sample) => sample.rssMegabytesMax, 0),
    bar(rss, (value) => value <= bars.rssLoadMegabytesMax, `<= ${bars.rssLoadMegabytesMax}`),
    latency(ours),
    latency(theirs),
    p99 === null ? "" : p99.toFixed(2),
    p99RatioMax === undefined ? "" : bar(p99, (value) => value <= p99RatioMax, `<= ${p99RatioMax}`),
    pair((sample) => sample.generatorCpu, 2),
    loopDelayOf(ours),
  ];
}

/** Kafka's throughput times `ratioMin`, or the share of the disk's that is enough, whichever is lower in the middle of the rounds. */
function throughputBar(
  { ratioMin, diskShareMin }: BrokerLoad,
  ours: readonly Sample[] | undefined,
  theirs: readonly Sample[] | undefined,
  limits: readonly Limits[],
): string {
  const throughput = ratioOf(ours, theirs, (sample) => sample.requestsPerSecond);
  if (ours === undefined || theirs === undefined || throughput === null || ratioMin === null) return "";
  if (diskShareMin !== undefined) {
    const disk = (round: number): number => limits[round]?.syncedMegabytesPerSecond ?? 0;
    const wanted = median(theirs.map((sample) => ratioMin * sample.megabytesPerSecond));
    const enough = median(theirs.map((_, round) => diskShareMin * disk(round)));
    const share = median(ours.map((sample, round) => sample.megabytesPerSecond / disk(round)));
    if (enough < wanted) return verdict(share >= diskShareMin, `${share.toFixed(2)} >= ${diskShareMin} of the disk`);
  }
  return verdict(throughput >= ratioMin, `>= ${ratioMin}`);
}

/** Whether a round wrote more than the kernel keeps unwritten for a broker that does not sync. */
function dirtyNote(load: BrokerLoad, samples: SamplesByTarget): string {
  const limit = dirtyLimitMegabytes();
  const texts = [...samples].map(([name, list]) => {
    const least = Math.min(...list.map(({ writtenMegabytes }) => writtenMegabytes));
    return `${name} ${least.toFixed(0)} MB (${least > limit ? "past" : "NOT past"} it)`;
  });
  return `${load.name}: the kernel's dirty limit is ${limit.toFixed(0)} MB; the least that a round wrote: ${texts.join(", ")}.`;
}

/** Medians of the rounds. */
function loopDelayOf(list: readonly Sample[] | undefined): string {
  const delays = (list ?? []).flatMap(({ loopDelay }) => (loopDelay === null ? [] : [loopDelay]));
  if (delays.length === 0) return "-";
  const middle = (of: (delay: LoopDelay) => number): string => median(delays.map(of)).toFixed(1);
  return `${middle(({ p99Ms }) => p99Ms)} / ${middle(({ maxMs }) => maxMs)}`;
}

/** Of the last minute. */
function loadAverage(): number {
  return loadavg()[0] ?? 0;
}
