import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Target, type TargetName } from "../test/interop/target.ts";
import { createTopic, setTopicConfigs } from "./ask.ts";
import { diskAtRest } from "./disk-at-rest.ts";
import { LimitProbe, limitText, type Limits } from "./limits.ts";
import type { BatchShape, ProducePlan } from "./load-plan.ts";
import { big } from "./loads.ts";
import { printLine } from "./measure.ts";
import { cpuSecondsOf, rssMegabytesOf } from "./process-stats.ts";
import {
  generate,
  preload,
  removeTopic,
  sampleOf,
  settingsOf,
  type LoopDelay,
  type Scene,
  freezeOthers,
} from "./sampling.ts";
import { median, ratioOf, rounded, verdict } from "./statistics.ts";
import { renderTable } from "./table.ts";

/**
 * How fast a dirty log is cleaned: one partition with several versions of every key, written while cleaning is held back by
 * `min.compaction.lag.ms`. The clock runs from the moment at which that is taken away until the broker's own checkpoint
 * says that all closed segments are clean.
 */
interface Cleaning {
  readonly megabytesPerSecond: number;
  readonly dirtyMegabytes: number;
  readonly cleanMegabytes: number;
  readonly cpuSecondsPerGigabyte: number;
  readonly rssMegabytesMax: number;
}

const topic = "bench-cleaner";
const loadTopic = "bench-cleaner-load";
const keyed: BatchShape = { ...big, keys: 60_000 };
const dirtyMegabytesMax = 400;
const held = { "min.compaction.lag.ms": "86400000" };
const configs = {
  "cleanup.policy": "compact",
  "segment.bytes": "33554432",
  "min.cleanable.dirty.ratio": "0.01",
  ...held,
};
const cleanerSettings = { "log.cleaner.backoff.ms": "100" };
const pollMs = 20;
const cleaningMsMax = 120_000;
const ratioMin = 0.8;
const loopDelayMsMax = 10;
const pacedRequestsPerSecond = 300;

export async function measureCleaner({ names, directory, rounds: roundCount, extent }: Scene): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const probe = stack.use(await LimitProbe.start(directory));
  const targets: { readonly target: Target; readonly rounds: Cleaning[] }[] = [];
  for (const name of names) {
    const target = stack.use(
      await Target.start({ name, directory, preload, settings: { ...settingsOf(name), ...cleanerSettings } }),
    );
    targets.push({ target, rounds: [] });
  }
  const all = targets.map(({ target }) => target);
  const megabytesMax = Math.min(dirtyMegabytesMax, extent.megabytesMax);
  const limits: Limits[] = [];
  const notes: string[] = [];
  const unclean = new Set<TargetName>();
  // The first round is not counted: its code is new to the broker.
  for (let round = -1; round < roundCount; round++) {
    limits.push(await probe.measure());
    for (const { target, rounds } of round % 2 === 0 ? targets : targets.toReversed()) {
      if (unclean.has(target.name)) continue;
      using _frozen = freezeOthers(target, all);
      await fillDirty(target, megabytesMax);
      const cleaning = await clean(target);
      await removeTopic(target, topic);
      if (cleaning === null) {
        unclean.add(target.name);
        notes.push(`${target.name} did not clean the log within ${cleaningMsMax / 1000} s.`);
      } else if (round >= 0) rounds.push(cleaning);
    }
  }
  const ours = targets.find(({ target }) => target.name === "millrace")?.target;
  if (ours !== undefined && !unclean.has("millrace")) {
    using _frozen = freezeOthers(ours, all);
    notes.push(await loopDelayNote(ours, megabytesMax, extent, roundCount));
  }
  return report(new Map(targets.map(({ target, rounds }) => [target.name, rounds])), limits, notes);
}

async function fillDirty({ port, dataDirectory }: Target, megabytesMax: number): Promise<void> {
  await createTopic(port, topic, 1, configs);
  const times = { measureMs: 600_000, warmUpMs: 0 };
  const requestsMax = Math.floor((megabytesMax * 1e3) / ((keyed.recordsPerBatch * keyed.recordBytes) / 1e3));
  await generate({
    kind: "produce",
    port,
    topic,
    partitions: 1,
    connections: 1,
    inFlight: 5,
    ...keyed,
    ...times,
    requestsMax,
  });
  await diskAtRest(dataDirectory);
}

/** Null when it takes too long. */
async function clean({ port, pid, dataDirectory }: Target): Promise<Cleaning | null> {
  const directory = join(dataDirectory, `${topic}-0`);
  const closed = segmentsOf(directory).slice(0, -1);
  const firstActiveOffset = segmentsOf(directory).at(-1)?.baseOffset ?? 0;
  const dirtyBytes = closed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const cpuAtStart = cpuSecondsOf(pid);
  let rssMegabytesMax = 0;
  await setTopicConfigs(port, topic, { "min.compaction.lag.ms": "0" });
  const startedMs = performance.now();
  while (cleanedUpTo(dataDirectory) < firstActiveOffset) {
    if (performance.now() - startedMs > cleaningMsMax) return null;
    rssMegabytesMax = Math.max(rssMegabytesMax, rssMegabytesOf(pid));
    await sleep(pollMs);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const left = segmentsOf(directory).filter(({ baseOffset }) => baseOffset < firstActiveOffset);
  return {
    megabytesPerSecond: dirtyBytes / 1e6 / seconds,
    dirtyMegabytes: dirtyBytes / 1e6,
    cleanMegabytes: left.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 1e6,
    cpuSecondsPerGigabyte: (cpuSecondsOf(pid) - cpuAtStart) / (dirtyBytes / 1e9),
    rssMegabytesMax,
  };
}

function segmentsOf(directory: string): { readonly baseOffset: number; readonly sizeBytes: number }[] {
  const names = readdirSync(directory).filter((name) => name.endsWith(".log"));
  return names.toSorted().map((name) => {
    // A cleaned segment may be replaced between the two calls.
    const stats = statSync(join(directory, name), { throwIfNoEntry: false });
    return { baseOffset: Number(name.slice(0, -".log".length)), sizeBytes: stats?.size ?? 0 };
  });
}

/** What `cleaner-offset-checkpoint` says of the partition: a line of version, one of count, then `TOPIC PARTITION OFFSET`. */
function cleanedUpTo(dataDirectory: string): number {
  let text: string;
  try {
    text = readFileSync(join(dataDirectory, "cleaner-offset-checkpoint"), "utf8");
  } catch {
    return 0; // It is written when the first log has been cleaned.
  }
  const line = text.split("\n").find((each) => each.startsWith(`${topic} 0 `));
  return Number(line?.split(" ")[2] ?? 0);
}

/** The same produce load without the cleaner and beside it. */
async function loopDelayNote(
  target: Target,
  megabytesMax: number,
  extent: Scene["extent"],
  roundCount: number,
): Promise<string> {
  const { port } = target;
  await createTopic(port, loadTopic, 6);
  const times = { warmUpMs: extent.warmUpMs, measureMs: extent.measureMs, requestsMax: Number.MAX_SAFE_INTEGER };
  const load = { kind: "produce", port, topic: loadTopic, partitions: 6, connections: 1, inFlight: 64 } as const;
  const plan: ProducePlan = { ...load, requestsPerSecond: pacedRequestsPerSecond, ...big, ...times };
  const alone: LoopDelay[] = [];
  const beside: LoopDelay[] = [];
  for (let round = 0; round < roundCount; round++) {
    const without = await sampleOf(target, plan);
    await fillDirty(target, megabytesMax);
    const cleaning = sleep(extent.warmUpMs).then(() => clean(target));
    const [with_] = await Promise.all([sampleOf(target, plan), cleaning]);
    await removeTopic(target, topic);
    if (without.loopDelay !== null) alone.push(without.loopDelay);
    if (with_.loopDelay !== null) beside.push(with_.loopDelay);
  }
  await removeTopic(target, loadTopic);
  const p999 = (list: readonly LoopDelay[]): number => median(list.map(({ p999Ms }) => p999Ms));
  const more = p999(beside) - p999(alone);
  const bar = verdict(more <= loopDelayMsMax, `<= ${loopDelayMsMax} ms more`);
  return `Loop delay p99.9 at ${pacedRequestsPerSecond} batches a second: ${p999(alone).toFixed(1)} ms, beside the cleaner ${p999(beside).toFixed(1)} ms: ${bar}.`;
}

function report(
  roundsOf: ReadonlyMap<TargetName, readonly Cleaning[]>,
  limits: readonly Limits[],
  notes: readonly string[],
): string {
  const [ours, theirs] = [roundsOf.get("millrace"), roundsOf.get("kafka")];
  const areBoth = ours !== undefined && ours.length > 0 && theirs !== undefined && theirs.length > 0;
  const ratio = areBoth ? ratioOf(ours, theirs, (each) => each.megabytesPerSecond) : null;
  const rows = [...roundsOf].flatMap(([name, rounds]) => {
    if (rounds.length === 0) return [];
    const middle = (of: (cleaning: Cleaning) => number): number => median(rounds.map(of));
    printLine({
      bench: "broker",
      load: "cleaner",
      target: name,
      rounds: rounds.length,
      megabytesPerSecond: rounded(middle((each) => each.megabytesPerSecond)),
      dirtyMegabytes: rounded(middle((each) => each.dirtyMegabytes)),
      cleanMegabytes: rounded(middle((each) => each.cleanMegabytes)),
      cpuSecondsPerGigabyte: rounded(middle((each) => each.cpuSecondsPerGigabyte)),
      rssMegabytesMax: rounded(Math.max(...rounds.map(({ rssMegabytesMax }) => rssMegabytesMax))),
      eachMegabytesPerSecond: rounds.map((each) => rounded(each.megabytesPerSecond)).join(" "),
    });
    return [
      [
        name,
        limitText(limits, ["disk"]),
        middle((each) => each.megabytesPerSecond).toFixed(0),
        name === "millrace" && ratio !== null ? ratio.toFixed(2) : "",
        name === "millrace" && ratio !== null ? verdict(ratio >= ratioMin, `>= ${ratioMin}`) : "",
        `${middle((each) => each.dirtyMegabytes).toFixed(0)} -> ${middle((each) => each.cleanMegabytes).toFixed(0)}`,
        middle((each) => each.cpuSecondsPerGigabyte).toFixed(2),
        Math.max(...rounds.map(({ rssMegabytesMax }) => rssMegabytesMax)).toFixed(0),
      ],
    ];
  });
  return [
    renderTable(["cleaner", "limit", "MB/s", "ratio", "bar", "MB before -> after", "CPU s/GB", "RSS MB"], rows),
    ...notes,
    "",
  ].join("\n");
}
