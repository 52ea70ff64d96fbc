import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { availableParallelism, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { interopDirectory } from "../test/interop/runtimes.ts";
import { Target, whyTargetMissing, type TargetName } from "../test/interop/target.ts";
import { createTopic, deleteTopic } from "./ask.ts";
import type { LoadEvent, LoadPlan, LoadResult } from "./load-plan.ts";
import { brokerLoads, fetchPlan, fillPlan, producePlan, type BrokerLoad, type Extent } from "./loads.ts";
import { printLine } from "./measure.ts";
import { cpuSecondsOf, rssMegabytesOf } from "./process-stats.ts";
import { renderTable } from "./table.ts";

/**
 * `npm run bench -- broker [--rounds N] [--seconds N] [--megabytes N] [--only a,b] [--target millrace|kafka] [--directory DIR]`
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
  const bench = new BrokerBench(names, values.directory, Number(values.rounds), extent);
  if (only === undefined || only.includes("start")) await bench.measureStart();
  if (loads.length > 0) await bench.measureLoads(loads);
  console.log(bench.render());
}

/** One run of one load against one broker. */
interface Sample {
  readonly megabytesPerSecond: number;
  readonly requestsPerSecond: number;
  readonly cpuSecondsPerGigabyte: number;
  readonly rssMegabytesMax: number;
  readonly generatorCpu: number;
  readonly latencyMsMedian: number;
  readonly latencyMsP99: number;
  /** Null where the broker cannot be asked. */
  readonly loopDelay: LoopDelay | null;
}

/** The answer of loop-delay.js: how late timers of the process came. */
interface LoopDelay {
  readonly p99Ms: number;
  readonly maxMs: number;
}

type SamplesByTarget = ReadonlyMap<TargetName, readonly Sample[]>;

const idleAfterMs = 3_000;
const warmUpMs = 15_000;
const warmUpMegabytesMax = 4_000;
const [, kafkaVersion = "?"] =
  /<kafka.version>([^<]+)</.exec(readFileSync(join(interopDirectory, "java", "pom.xml"), "utf8")) ?? [];

/** What is deleted leaves the disk soon, not after a minute: the one setting beside those that Kafka is shipped with. */
const settings = { "log.segment.delete.delay.ms": "100" };
const removalMsMax = 60_000;
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
  readonly #loadAtStart: number = loadAverage();

  constructor(names: readonly TargetName[], directory: string, rounds: number, extent: Extent) {
    this.#names = names;
    this.#directory = directory;
    this.#rounds = rounds;
    this.#extent = extent;
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
    const preload = join(import.meta.dirname, "loop-delay.js");
    for (const name of this.#names)
      targets.push(stack.use(await Target.start({ name, directory: this.#directory, preload, settings })));
    for (const target of targets) await this.#warmUp(target);
    for (const load of loads) {
      const involved = load.isSolo === true ? targets.slice(0, 1) : targets;
      this.#report(load, await this.#measure(load, involved));
    }
  }

  /** A JVM needs some ten seconds of work before its code is compiled; nobody runs a broker for less. */
  async #warmUp(target: Target): Promise<void> {
    const { port } = target;
    const [load] = brokerLoads;
    if (load === undefined) return;
    const topic = "bench-warm-up";
    await createTopic(port, topic, load.partitions);
    const extent = { measureMs: warmUpMs, warmUpMs: 0, megabytesMax: warmUpMegabytesMax };
    await generate(producePlan(load, port, topic, extent));
    await removeTopic(target, topic);
  }

  async #measure(load: BrokerLoad, targets: readonly Target[]): Promise<SamplesByTarget> {
    const samples = new Map(targets.map(({ name }) => [name, [] as Sample[]]));
    // What is read stays; the first run is not counted: this load may use code that the last one did not.
    const filled = new Map<Target, Filled>();
    if (load.kind === "fetch") for (const target of targets) filled.set(target, await fill(load, target, this.#extent));
    for (const target of targets) await this.#sample(load, target, filled.get(target));
    for (let round = 0; round < this.#rounds; round++) {
      this.#diskRates.push(syncedWriteRate(this.#directory));
      for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
        samples.get(target.name)?.push(await this.#sample(load, target, filled.get(target)));
      }
    }
    for (const [target, { topic }] of filled) await removeTopic(target, topic);
    return samples;
  }

  async #sample(load: BrokerLoad, target: Target, filled?: Filled): Promise<Sample> {
    const { topic, plan } = filled ?? (await fill(load, target, this.#extent));
    spawnSync("sync");
    const sample = await sampleOf(target, plan);
    if (filled === undefined) await removeTopic(target, topic);
    return sample;
  }

  #report(load: BrokerLoad, samples: SamplesByTarget): void {
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
        eachMegabytesPerSecond: each((sample) => sample.megabytesPerSecond),
        eachCpuSecondsPerGigabyte: each((sample) => sample.cpuSecondsPerGigabyte),
      });
    }
    this.#loadRows.push(loadRow(load, ours, theirs));
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
        `Synced sequential writes of 1 MiB to this disk: ${median(this.#diskRates).toFixed(0)} MB/s (median of ${this.#diskRates.length}).`,
      );
    }
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
  "generator CPU",
  "loop delay ms",
];

function loadRow(
  load: BrokerLoad,
  ours: readonly Sample[] | undefined,
  theirs: readonly Sample[] | undefined,
): string[] {
  const pair = (of: (sample: Sample) => number, digits: number): string =>
    [ours, theirs].map((list) => (list === undefined ? "-" : median(list.map(of)).toFixed(digits))).join(" / ");
  const ratio = (of: (sample: Sample) => number): number | null => {
    if (ours === undefined || theirs === undefined) return null;
    return median(ours.map((sample, round) => of(sample) / of(theirs[round] ?? sample)));
  };
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
  const { ratioMin } = load;
  return [
    load.name,
    load.what,
    pair((sample) => sample.megabytesPerSecond, 1),
    pair((sample) => sample.requestsPerSecond, 0),
    throughput === null ? "" : throughput.toFixed(2),
    ratioMin === null ? "" : bar(throughput, (value) => value >= ratioMin, `>= ${ratioMin}`),
    pair((sample) => sample.cpuSecondsPerGigabyte, 2),
    cpu === null ? "" : cpu.toFixed(2),
    ratioMin === null ? "" : bar(cpu, (value) => value <= bars.cpuRatioMax, `<= ${bars.cpuRatioMax}`),
    pair((sample) => sample.rssMegabytesMax, 0),
    bar(rss, (value) => value <= bars.rssLoadMegabytesMax, `<= ${bars.rssLoadMegabytesMax}`),
    latency(ours),
    latency(theirs),
    pair((sample) => sample.generatorCpu, 2),
    loopDelayOf(ours),
  ];
}

/** Medians of the rounds. */
function loopDelayOf(list: readonly Sample[] | undefined): string {
  const delays = (list ?? []).flatMap(({ loopDelay }) => (loopDelay === null ? [] : [loopDelay]));
  if (delays.length === 0) return "-";
  const middle = (of: (delay: LoopDelay) => number): string => median(delays.map(of)).toFixed(1);
  return `${middle(({ p99Ms }) => p99Ms)} / ${middle(({ maxMs }) => maxMs)}`;
}

function verdict(isMet: boolean, bar: string): string {
  return `${bar} ${isMet ? "met" : "MISSED"}`;
}

interface Filled {
  readonly topic: string;
  readonly plan: LoadPlan;
}

/** A topic of its own for a load, with what has to be there before anything is measured. */
async function fill(load: BrokerLoad, { port }: Target, extent: Extent): Promise<Filled> {
  const topic = `bench-${load.name}`;
  const id = await createTopic(port, topic, load.partitions);
  await generate(fillPlan(load, port, topic));
  const plan = load.kind === "fetch" ? fetchPlan(load, port, id, extent) : producePlan(load, port, topic, extent);
  return { topic, plan };
}

/** Resolves when its files are gone too. */
async function removeTopic({ name, port, dataDirectory }: Target, topic: string): Promise<void> {
  await deleteTopic(port, topic);
  for (let waitedMs = 0; waitedMs < removalMsMax; waitedMs += 50) {
    if (!readdirSync(dataDirectory).some((each) => each.startsWith(`${topic}-`))) return;
    await sleep(50);
  }
  throw new Error(`${name} did not remove the files of ${topic}`);
}

async function sampleOf(target: Target, plan: LoadPlan): Promise<Sample> {
  const { pid } = target;
  let cpuAtStart = 0;
  let rssMegabytesMax = 0;
  const watch = setInterval(() => {
    rssMegabytesMax = Math.max(rssMegabytesMax, rssMegabytesOf(pid));
  }, 200);
  try {
    const result = await generate(plan, () => {
      cpuAtStart = cpuSecondsOf(pid);
      if (target.name !== "kafka") target.tell("reset");
    });
    const cpuSeconds = cpuSecondsOf(pid) - cpuAtStart;
    return {
      megabytesPerSecond: result.bytes / 1e6 / result.seconds,
      requestsPerSecond: result.requests / result.seconds,
      cpuSecondsPerGigabyte: cpuSeconds / (result.bytes / 1e9),
      rssMegabytesMax,
      generatorCpu: result.cpuSeconds / result.seconds,
      latencyMsMedian: result.latencyMsMedian,
      latencyMsP99: result.latencyMsP99,
      loopDelay: target.name === "kafka" ? null : await target.ask<LoopDelay>("read"),
    };
  } finally {
    clearInterval(watch);
  }
}

/** Runs the load generator in a process of its own. */
async function generate(plan: LoadPlan, onMeasuring: () => void = () => undefined): Promise<LoadResult> {
  const script = join(import.meta.dirname, "load.ts");
  const child = spawn(process.execPath, ["--conditions=source", script, JSON.stringify(plan)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), plan.warmUpMs + Math.min(plan.measureMs, 120_000) + 60_000);
  const ended = once(child, "exit");
  let result: LoadResult | null = null;
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as LoadEvent;
    if (event.event === "measuring") onMeasuring();
    else result = event;
  }
  await ended;
  clearTimeout(timer);
  if (result === null || child.exitCode !== 0) {
    throw new Error(`the load generator ended with ${child.exitCode ?? child.signalCode}`);
  }
  return result;
}

/** Megabytes a second of 1 MiB writes to a new file, each synced before the next: what a durable log cannot exceed alone. */
function syncedWriteRate(directory: string): number {
  const own = mkdtempSync(join(existsSync(directory) ? directory : tmpdir(), "bench-disk-"));
  const chunk = Buffer.alloc(1024 * 1024, 0x5a);
  const chunks = 64;
  const file = openSync(join(own, "written"), "w");
  const startedMs = performance.now();
  for (let count = 0; count < chunks; count++) {
    writeSync(file, chunk);
    fdatasyncSync(file);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  closeSync(file);
  rmSync(own, { recursive: true });
  return (chunks * chunk.length) / 1e6 / seconds;
}

/** Of the last minute. */
function loadAverage(): number {
  return loadavg()[0] ?? 0;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
