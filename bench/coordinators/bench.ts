import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ErrorCode, errorName, isRetriable } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { Target, whyTargetMissing } from "../../test/interop/target.ts";
import { ask, createTopic } from "../ask.ts";
import { diskAtRest } from "../disk-at-rest.ts";
import { syncLatencyMs } from "../limits.ts";
import type { Extent } from "../loads.ts";
import { memoryAtHand } from "../memory-at-hand.ts";
import { cpuSecondsOf, rssMegabytesOf } from "../process-stats.ts";
import { freezeOthers, removeTopic, runGenerator, settingsOf, warmUp, type LoopDelay } from "../sampling.ts";
import { coordinatorLoads, type CoordinatorLoad } from "./loads.ts";
import type { CoordinatorEvent, CoordinatorResult } from "./plan.ts";
import { Report, type CoordinatorSample, type SamplesByTarget } from "./report.ts";
import type { Sync } from "./syncs.ts";

/**
 * `npm run bench -- coordinators [--rounds N] [--seconds N] [--megabytes N] [--only a,b] [--target millrace|kafka]
 * [--directory DIR] [--profile DIR]`; `--only` takes the names of loads.ts, or what they begin with.
 *
 * Transactions and groups on Millrace and on Apache Kafka side by side, in rounds as in broker.ts: one broker at a time has
 * the processor, the order changes from round to round, and a first run of each load is not counted. `--profile` leaves a
 * CPU profile of the Millrace process in DIR.
 */
export async function run(args: readonly string[] = []): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      megabytes: { type: "string", default: "2000" },
      only: { type: "string" },
      target: { type: "string" },
      directory: { type: "string", default: tmpdir() },
      profile: { type: "string" },
    },
  });
  const only = values.only?.split(",");
  const loads = coordinatorLoads.filter(
    ({ name }) => only?.some((each) => name === each || name.startsWith(`${each}-`)) ?? true,
  );
  if (loads.length === 0) {
    throw new Error(`no such load: choose from ${coordinatorLoads.map(({ name }) => name).join(", ")}`);
  }
  const names = (["millrace", "kafka"] as const).filter((name) => (values.target ?? name) === name);
  const missing = names.map(whyTargetMissing).filter((reason) => reason !== null);
  if (missing.length > 0) throw new Error(missing.join("; "));
  const extent = { measureMs: Number(values.seconds) * 1_000, warmUpMs: 1_000, megabytesMax: Number(values.megabytes) };
  const rounds = Number(values.rounds);
  const loadAtStart = loadavg()[0] ?? 0;
  const beganMs = performance.now();

  await using stack = new AsyncDisposableStack();
  const keptDirectory = mkdtempSync(join(tmpdir(), "bench-coordinators-"));
  stack.defer(() => rmSync(keptDirectory, { recursive: true }));
  const targets: Target[] = [];
  for (const name of names) {
    const options = { name, directory: values.directory, preload, settings: { ...settingsOf(name), ...settings } };
    const environment = values.profile === undefined || name === "kafka" ? {} : profiled(values.profile);
    targets.push(stack.use(await Target.start({ ...options, environment })));
  }
  const hasTransactions = loads.some(({ name }) => name.startsWith("txn-"));
  for (const target of targets) {
    await untilCoordinated(target, groupKey);
    if (!hasTransactions) continue;
    await untilCoordinated(target, transactionKey);
    await warmUp(target);
  }
  const bench = new CoordinatorBench({ targets, directory: values.directory, keptDirectory, rounds, extent });
  const report = new Report();
  for (const load of loads) {
    try {
      report.add(load, await bench.measure(load), bench.takeSyncLatenciesMs());
    } catch (error) {
      // What the other loads have taken minutes for is not lost.
      report.addFailure(load, error);
      process.exitCode = 1;
    }
  }
  // A profile is written by a process that ends by itself.
  if (values.profile !== undefined) for (const target of targets) await target.stop();
  console.log(
    report.render(
      `${availableParallelism()} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, Node ${process.version}; ` +
        `${rounds} rounds of ${extent.measureMs / 1000} s, ${((performance.now() - beganMs) / 60_000).toFixed(1)} minutes in all; load average ${loadAtStart.toFixed(1)} at the start, ${(loadavg()[0] ?? 0).toFixed(1)} at the end.`,
    ),
  );
}

const preload = join(import.meta.dirname, "sync-trace.js");
/** How long a rebalance takes is asked of the broker, not of settings that let it wait for more to come. */
const settings = { "group.initial.rebalance.delay.ms": "0", "group.consumer.assignment.interval.ms": "0" };

function profiled(directory: string): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${directory}` };
}

const groupKey = 0;
const transactionKey = 1;
const findMsMax = 30_000;

/** The internal topic is made when it is first asked for. */
async function untilCoordinated({ name, port }: Target, keyType: number): Promise<void> {
  for (const endMs = performance.now() + findMsMax; ; await sleep(50)) {
    const { coordinators } = await ask(port, findCoordinator, 4, { keyType, coordinatorKeys: ["bench"] });
    const [{ errorCode } = { errorCode: ErrorCode.UNKNOWN_SERVER_ERROR }] = coordinators;
    if (errorCode === ErrorCode.NONE) return;
    if (!isRetriable(errorCode) || performance.now() > endMs)
      throw new Error(`${name} has no coordinator for keys of type ${keyType}: ${errorName(errorCode)}`);
  }
}

class CoordinatorBench {
  readonly #targets: readonly Target[];
  readonly #directory: string;
  readonly #keptDirectory: string;
  readonly #rounds: number;
  readonly #extent: Extent;
  readonly #topicIds = new Map<string, string>();
  #syncLatenciesMs: number[] = [];
  #runs = 0;

  constructor(options: {
    readonly targets: readonly Target[];
    readonly directory: string;
    readonly keptDirectory: string;
    readonly rounds: number;
    readonly extent: Extent;
  }) {
    this.#targets = options.targets;
    this.#directory = options.directory;
    this.#keptDirectory = options.keptDirectory;
    this.#rounds = options.rounds;
    this.#extent = options.extent;
  }

  /** How long the disk itself took, each time a round began. */
  takeSyncLatenciesMs(): readonly number[] {
    const taken = this.#syncLatenciesMs;
    this.#syncLatenciesMs = [];
    return taken;
  }

  async measure(load: CoordinatorLoad): Promise<SamplesByTarget> {
    const samples = new Map(this.#targets.map(({ name }) => [name, [] as CoordinatorSample[]]));
    const short = { ...this.#extent, measureMs: this.#extent.measureMs / 2 };
    for (const target of this.#targets) await this.#sample(load, target, short);
    for (let round = 0; round < this.#rounds; round++) {
      this.#syncLatenciesMs.push(syncLatencyMs(this.#directory));
      for (const target of round % 2 === 0 ? this.#targets : this.#targets.toReversed()) {
        samples.get(target.name)?.push(await this.#sample(load, target, this.#extent));
      }
    }
    return samples;
  }

  async #sample(load: CoordinatorLoad, target: Target, extent: Extent): Promise<CoordinatorSample> {
    using _frozen = freezeOthers(target, this.#targets);
    const topic = `bench-${load.name}`;
    const key = `${target.name} ${topic}`;
    const topicId = this.#topicIds.get(key) ?? (await createTopic(target.port, topic, load.partitions));
    if (load.isTopicKept) this.#topicIds.set(key, topicId);
    if (load.needs.includes("disk at rest")) await diskAtRest(this.#directory);
    if (load.needs.includes("memory at hand")) await memoryAtHand(extent.megabytesMax);
    const keptFile = join(this.#keptDirectory, `${target.name}-${load.name}.json`);
    const place = { port: target.port, topic, topicId, run: `${load.name}-${this.#runs++}`, keptFile };
    const sample = await sampleOf(target, load, place, extent);
    if (!load.isTopicKept) await removeTopic(target, topic);
    return sample;
  }
}

const generatorMsMax = 240_000;

async function sampleOf(
  target: Target,
  load: CoordinatorLoad,
  place: Parameters<CoordinatorLoad["plan"]>[0],
  extent: Extent,
): Promise<CoordinatorSample> {
  const { pid } = target;
  const isOurs = target.name !== "kafka";
  const isTraced = isOurs && load.name === "txn-latency";
  let cpuAtStart = 0;
  let cpuSeconds = 0;
  let rssMegabytesMax = 0;
  const loopDelays: Promise<LoopDelay>[] = [];
  const results: CoordinatorResult[] = [];
  const watch = setInterval(() => {
    rssMegabytesMax = Math.max(rssMegabytesMax, rssMegabytesOf(pid));
  }, 200);
  try {
    const script = join(import.meta.dirname, "generator.ts");
    const plan = load.plan(place, extent);
    await runGenerator<CoordinatorEvent>({ script, plan, timeoutMs: generatorMsMax }, (event) => {
      if (event.event === "measuring") {
        cpuAtStart = cpuSecondsOf(pid);
        if (isOurs) target.tell("reset");
        if (isTraced) target.tell("trace");
      } else if (event.event === "measured") {
        cpuSeconds = cpuSecondsOf(pid) - cpuAtStart;
        if (isOurs) loopDelays.push(target.ask<LoopDelay>("read"));
      } else if (event.event === "result") results.push(event);
    });
    const [result] = results;
    if (result === undefined) throw new Error("the load generator had no result");
    const [loopDelay = null] = await Promise.all(loopDelays);
    return {
      result,
      cpuCores: cpuSeconds / result.seconds,
      rssMegabytesMax,
      loopDelay,
      syncs: isTraced ? await target.ask<readonly Sync[]>("syncs") : [],
    };
  } finally {
    clearInterval(watch);
  }
}
