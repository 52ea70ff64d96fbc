import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "@millrace/base/prng";
import { Cluster } from "@millrace/client";
import { checkHistory } from "@millrace/simulator/histories/check";
import type { HistorySize } from "@millrace/simulator/histories/check";
import { mergeHistories } from "@millrace/simulator/histories/history";
import type { HistoryEvent } from "@millrace/simulator/histories/history";
import { Target, type TargetName } from "../target.ts";
import { brokerFaults, torment, workerFaults } from "./nemesis.ts";
import type { Cast, Faults } from "./nemesis.ts";
import { groupSettings, sessionTimeoutMs, slots, topics, transactionalIdsOf, type Slot } from "./plan.ts";
import { Worker } from "./worker.ts";

export interface CampaignOptions {
  readonly seed: number;
  /** How long the clients work; before it comes the start, after it the healing and the last read. */
  readonly seconds: number;
  /** Whom the clients work against. */
  readonly target: TargetName | (() => Promise<Stage>);
  /** Some of the target's and of the clients'. */
  readonly faults: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
  /** Leaves the notes of the clients where they are, whatever was found. */
  readonly isKept?: boolean;
  readonly note?: (line: string) => void;
}

/** Whom the clients work against, and what can be done to it. */
export interface Stage extends AsyncDisposable {
  /** For clients to begin with; several are separated by commas. */
  readonly address: string;
  /** What it has written, for whoever looks for a cause. */
  readonly output: string;
  readonly faults: Faults;
  /** Everything is whole again: the last that happens before all is read. */
  healed?(): Promise<void>;
}

export interface CampaignReport {
  /** A line each; empty when all is well. */
  readonly findings: readonly string[];
  readonly size: HistorySize;
  readonly faults: readonly string[];
  /** The longest time in which no send, commit or poll with records was answered. */
  readonly longestGapMs: number;
  /** Where the notes of the clients were left: where something was found, or they were to be kept. */
  readonly directory: string | null;
}

/** Some 300 bytes each, so that the notes of a run stay below 300 MB. */
const linesMaxOfRun = 1_000_000;
const startTimeoutMs = 60_000;
const workBytes = 20_000;
const stopTimeoutMs = 25_000;
const lastReadTimeoutMs = 90_000;

/**
 * Clients of other people work against a broker while it and they are killed and paused. Then everything is healed, what
 * dead producers left open is ended, all is read once more, and the notes of all clients are checked.
 */
export async function campaign(options: CampaignOptions): Promise<CampaignReport> {
  const directory = mkdtempSync(join(tmpdir(), "millrace-histories-"));
  try {
    const report = await runIn(directory, options);
    const isKept = report.findings.length > 0 || options.isKept === true;
    if (!isKept) rmSync(directory, { recursive: true, force: true });
    return { ...report, directory: isKept ? directory : null };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

async function runIn(directory: string, options: CampaignOptions): Promise<Omit<CampaignReport, "directory">> {
  const { seed, seconds, note = () => undefined } = options;
  const prng = new Prng(seed);
  const faults: string[] = [];
  await using stage =
    typeof options.target === "string" ? await stageOf(options.target, options) : await options.target();
  {
    await using cluster = new Cluster({ brokers: stage.address.split(",") });
    for (const [name, partitions] of Object.entries(topics)) await cluster.admin().topics.create({ name, partitions });
  }
  await using troupe = new Troupe({ stage, directory, prng: prng.fork(), linesMax: Math.floor(linesMaxOfRun / 8) });
  for (const slot of slots) troupe.hire(slot);
  await troupe.areAtWork();
  const startedMs = performance.now();
  await torment(troupe, {
    prng,
    faults: Object.fromEntries(
      Object.entries({ ...stage.faults, ...workerFaults }).filter(([name]) => options.faults.includes(name)),
    ),
    untilMs: startedMs + seconds * 1000,
    note: (line) => {
      faults.push(line);
      note(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${line}`);
    },
  });
  for (const name of await troupe.stop()) faults.push(`${name} did not stop in ${stopTimeoutMs} ms and was killed`);
  await stage.healed?.();
  const last: Slot = {
    name: "last",
    program: "java",
    clients: { reader: { role: "final", transactionalIds: transactionalIdsOf(slots) } },
  };
  const reader = troupe.hire(last);
  if (!(await reader.ended(lastReadTimeoutMs))) {
    throw new Error(`the last reader did not come to the end\n${reader.output}\n${stage.output}`);
  }
  const events = mergeHistories(troupe.all.map((worker) => worker.history()));
  const checked = checkHistory(events, { sessionTimeoutMs });
  if (!checked.ok) throw new Error(`the history is none: ${checked.message}`);
  const { findings, counts, size } = checked.value;
  const unworded = [...counts].filter(([, count]) => count > 10).map(([kind, count]) => `${kind}: ${count} in all`);
  if (findings.length > 0) writeFileSync(join(directory, "broker.txt"), stage.output);
  return {
    findings: [...findings.map(({ text }) => text), ...unworded],
    size,
    faults,
    longestGapMs: longestGapMs(events),
  };
}

async function stageOf(name: TargetName, { settings }: CampaignOptions): Promise<Stage> {
  const target = await Target.start({ name, settings: { ...groupSettings, ...settings } });
  return {
    address: target.address,
    get output() {
      return target.output;
    },
    faults: brokerFaults(target),
    [Symbol.asyncDispose]: async () => await target[Symbol.asyncDispose](),
  };
}

/** All processes of clients, dead ones with them, and who has which place now. */
class Troupe implements Cast, AsyncDisposable {
  readonly workers: Map<Slot, Worker> = new Map();
  readonly all: Worker[] = [];
  readonly #stage: Stage;
  readonly #directory: string;
  readonly #prng: Prng;
  readonly #linesMax: number;

  constructor(options: {
    readonly stage: Stage;
    readonly directory: string;
    readonly prng: Prng;
    readonly linesMax: number;
  }) {
    this.#stage = options.stage;
    this.#directory = join(options.directory, "notes");
    this.#prng = options.prng;
    this.#linesMax = options.linesMax;
    mkdirSync(this.#directory);
  }

  hire(slot: Slot): Worker {
    const worker = new Worker({
      slot,
      life: this.all.length,
      address: this.#stage.address,
      directory: this.#directory,
      seed: this.#prng.between(0, 2 ** 30),
      linesMax: this.#linesMax,
    });
    this.all.push(worker);
    this.workers.set(slot, worker);
    return worker;
  }

  /** Until all have noted so much that they must have had answers. */
  async areAtWork(): Promise<void> {
    const untilMs = performance.now() + startTimeoutMs;
    while (this.all.some(({ notedBytes }) => notedBytes < workBytes)) {
      const gone = this.all.find(({ hasEnded }) => hasEnded);
      if (gone !== undefined) throw new Error(`${gone.name} ended before it worked\n${gone.output}`);
      if (performance.now() > untilMs) throw new Error(`no work in ${startTimeoutMs} ms\n${this.#stage.output}`);
      await sleep(50);
    }
  }

  /** Gives the names of those that had to be killed. */
  async stop(): Promise<readonly string[]> {
    const working = this.all.filter(({ hasEnded }) => !hasEnded);
    const haveStopped = await Promise.all(working.map((worker) => worker.stop(stopTimeoutMs)));
    const failed = this.all.find(({ hasFailed }) => hasFailed);
    if (failed !== undefined) throw new Error(`${failed.name} failed\n${failed.output}`);
    this.workers.clear();
    return working.filter((_, index) => haveStopped[index] === false).map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.filter(({ hasEnded }) => !hasEnded).map((worker) => worker.kill()));
  }
}

function longestGapMs(events: readonly HistoryEvent[]): number {
  let [longestUs, lastUs] = [0, events[0]?.atUs ?? 0];
  for (const event of events) {
    if (event.type !== "ok" || event.records?.length === 0) continue;
    longestUs = Math.max(longestUs, event.atUs - lastUs);
    lastUs = event.atUs;
  }
  return longestUs / 1000;
}
