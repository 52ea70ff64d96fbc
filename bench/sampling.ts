import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Target, TargetName } from "../test/interop/target.ts";
import { createTopic, deleteTopic } from "./ask.ts";
import type { LoadEvent, LoadPlan, LoadResult } from "./load-plan.ts";
import { brokerLoads, fetchPlan, fillPlan, producePlan, type BrokerLoad, type Extent } from "./loads.ts";
import { cpuSecondsOf, rssMegabytesOf } from "./process-stats.ts";

/** One run of one load against one broker. */
export interface Sample {
  readonly megabytesPerSecond: number;
  readonly requestsPerSecond: number;
  readonly cpuSecondsPerGigabyte: number;
  readonly rssMegabytesMax: number;
  readonly generatorCpu: number;
  readonly latencyMsMedian: number;
  readonly latencyMsP99: number;
  readonly tail: LoadResult["tail"];
  /** In the whole run, the time before the measured one included. */
  readonly writtenMegabytes: number;
  /** Null where the broker cannot be asked. */
  readonly loopDelay: LoopDelay | null;
}

/** The answer of loop-delay.js: how late timers of the process came. */
export interface LoopDelay {
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** What the command line has said. */
export interface Scene {
  readonly names: readonly TargetName[];
  readonly directory: string;
  readonly rounds: number;
  readonly extent: Extent;
}

/** What is deleted leaves the disk soon, not after a minute: the one setting beside those that Kafka is shipped with. */
export const settings: Readonly<Record<string, string>> = { "log.segment.delete.delay.ms": "100" };
/** Kafka's controller would take a broker that was frozen for one that is gone. */
const frozenSettings: Readonly<Record<string, string>> = { "broker.session.timeout.ms": "3600000" };

export function settingsOf(name: TargetName): Readonly<Record<string, string>> {
  return name === "kafka" ? { ...settings, ...frozenSettings } : settings;
}

/**
 * All but one get no processor: an idle Kafka takes two hundredths of a core, which is more than the hundredth of the requests
 * that a 99th percentile looks at.
 */
export function freezeOthers(target: Target, targets: readonly Target[]): Disposable {
  const stack = new DisposableStack();
  for (const other of targets) if (other !== target) stack.use(other.freeze());
  return stack;
}
export const preload: string = join(import.meta.dirname, "loop-delay.js");
const removalMsMax = 60_000;
const warmUpMs = 15_000;
const warmUpMegabytesMax = 4_000;

/** A JVM needs some ten seconds of work before its code is compiled; nobody runs a broker for less. */
export async function warmUp(target: Target): Promise<void> {
  const { port } = target;
  const [load] = brokerLoads;
  if (load === undefined) return;
  const topic = "bench-warm-up";
  await createTopic(port, topic, load.partitions);
  const extent = { measureMs: warmUpMs, warmUpMs: 0, megabytesMax: warmUpMegabytesMax };
  await generate(producePlan(load, port, topic, extent));
  await removeTopic(target, topic);
}

/** A topic of a load, and what is done to it. */
export interface Filled {
  readonly topic: string;
  readonly plan: LoadPlan;
}

/** A topic of its own for a load, with what has to be there before anything is measured. */
export async function fill(load: BrokerLoad, { name, port }: Target, extent: Extent): Promise<Filled> {
  const topic = `bench-${load.name}`;
  const id = await createTopic(port, topic, load.partitions, load.configs?.[name]);
  await generate(fillPlan(load, port, topic));
  const plan = load.kind === "fetch" ? fetchPlan(load, port, id, extent) : producePlan(load, port, topic, extent);
  return { topic, plan };
}

/** Resolves when its files are gone too. */
export async function removeTopic({ name, port, dataDirectory }: Target, topic: string): Promise<void> {
  await deleteTopic(port, topic);
  for (let waitedMs = 0; waitedMs < removalMsMax; waitedMs += 50) {
    // `TOPIC-0`, or `TOPIC-0.UUID-delete`; another topic's name may begin in the same way.
    if (!readdirSync(dataDirectory).some((each) => /^\d/.test(each.slice(topic.length + 1)) && each.startsWith(topic)))
      return;
    await sleep(50);
  }
  throw new Error(`${name} did not remove the files of ${topic}`);
}

export async function sampleOf(target: Target, plan: LoadPlan): Promise<Sample> {
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
      tail: result.tail,
      writtenMegabytes: plan.kind === "produce" ? result.totalBytes / 1e6 : 0,
      loopDelay: target.name === "kafka" ? null : await target.ask<LoopDelay>("read"),
    };
  } finally {
    clearInterval(watch);
  }
}

/** Runs the load generator in a process of its own. */
export async function generate(plan: LoadPlan, onMeasuring: () => void = () => undefined): Promise<LoadResult> {
  const timeoutMs = plan.warmUpMs + Math.min(plan.measureMs, 120_000) + 60_000;
  let result: LoadResult | null = null;
  await runGenerator<LoadEvent>({ script: join(import.meta.dirname, "load.ts"), plan, timeoutMs }, (event) => {
    if (event.event === "measuring") onMeasuring();
    else result = event;
  });
  if (result === null) throw new Error("the load generator had no result");
  return result;
}

/** A script that takes its plan as JSON and prints events, each a line of JSON. Rejects when it ends with an error. */
export async function runGenerator<Event>(
  { script, plan, timeoutMs }: { readonly script: string; readonly plan: object; readonly timeoutMs: number },
  onEvent: (event: Event) => void,
): Promise<void> {
  const child = spawn(process.execPath, ["--conditions=source", script, JSON.stringify(plan)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const ended = once(child, "exit");
  for await (const line of createInterface({ input: child.stdout })) onEvent(JSON.parse(line) as Event);
  await ended;
  clearTimeout(timer);
  if (child.exitCode !== 0) throw new Error(`the load generator ended with ${child.exitCode ?? child.signalCode}`);
}
