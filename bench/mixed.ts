import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Target, type TargetName } from "../test/interop/target.ts";
import { createTopic, endOffsets } from "./ask.ts";
import { diskAtRest } from "./disk-at-rest.ts";
import { LimitProbe, limitText, type Limits } from "./limits.ts";
import { batchOf, type FetchPlan, type ProducePlan } from "./load-plan.ts";
import { big } from "./loads.ts";
import { printLine } from "./measure.ts";
import {
  freezeOthers,
  generate,
  preload,
  removeTopic,
  sampleOf,
  settingsOf,
  warmUp,
  type Sample,
  type Scene,
} from "./sampling.ts";
import { median, ratioOf, rounded, verdict } from "./statistics.ts";
import { renderTable } from "./table.ts";

/**
 * What readers far behind do to everybody else: a producer at a steady rate and a consumer at the end of the log, first
 * alone, then beside two readers that go through the backlog from its start, as fast as they get it. The backlog is dropped
 * from the page cache first, since nobody has read it for long.
 */
interface Round {
  readonly alone: Sample;
  readonly beside: Sample;
  readonly readersMegabytesPerSecond: number;
}

const topic = "bench-mixed";
const partitions = 6;
const readers = 2;
const requestsPerSecond = 300;
const backlogBatches = 2_500;
/** Readers begin before the measured time of the others and end after it. */
const readersExtraMs = 3_000;
const tailRatioMax = 0.7;

export async function measureMixed({ names, directory, rounds: roundCount, extent }: Scene): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const probe = stack.use(await LimitProbe.start(directory));
  const targets: { readonly target: Target; readonly topicId: string; readonly rounds: Round[] }[] = [];
  for (const name of names) {
    const target = stack.use(await Target.start({ name, directory, preload, settings: settingsOf(name) }));
    await warmUp(target);
    const topicId = await createTopic(target.port, topic, partitions);
    const untimed = { measureMs: 600_000, warmUpMs: 0, connections: 2, inFlight: 5 };
    const requestsMax = partitions * (backlogBatches + 20);
    await generate({ kind: "produce", port: target.port, topic, partitions, ...big, ...untimed, requestsMax });
    targets.push({ target, topicId, rounds: [] });
  }

  const limits: Limits[] = [];
  const runRound = async ({ target, topicId }: (typeof targets)[number]): Promise<Round> => {
    const all = targets.map((each) => each.target);
    using _frozen = freezeOthers(target, all);
    const { port } = target;
    const times = { warmUpMs: extent.warmUpMs, measureMs: extent.measureMs, requestsMax: Number.MAX_SAFE_INTEGER };
    const paced = async (): Promise<ProducePlan> => {
      const tail = { topicId, startOffsets: await endOffsets(port, topic, partitions) };
      return {
        kind: "produce",
        port,
        topic,
        partitions,
        connections: 1,
        inFlight: 64,
        requestsPerSecond,
        tail,
        ...big,
        ...times,
      };
    };
    const behind: FetchPlan = {
      kind: "fetch",
      port,
      topicId,
      partitions,
      connections: readers,
      inFlight: 1,
      batchesPerPartition: backlogBatches,
      batchBytes: batchOf(big).length,
      recordsPerBatch: big.recordsPerBatch,
      partitionMaxBytes: 1024 * 1024,
      // Two consumers, on the machine of the broker.
      keepsBytes: true,
      warmUpMs: 0,
      measureMs: extent.measureMs + extent.warmUpMs + readersExtraMs,
      requestsMax: Number.MAX_SAFE_INTEGER,
    };
    const alone = await sampleOf(target, await paced());
    await dropFromCache(target);
    const reading = generate(behind);
    const [beside, { bytes, seconds }] = await Promise.all([sampleOf(target, await paced()), reading]);
    return { alone, beside, readersMegabytesPerSecond: bytes / 1e6 / seconds };
  };
  for (const each of targets) await runRound(each);
  for (let round = 0; round < roundCount; round++) {
    limits.push(await probe.measure());
    for (const each of round % 2 === 0 ? targets : targets.toReversed()) each.rounds.push(await runRound(each));
  }
  for (const { target } of targets) await removeTopic(target, topic);
  return report(new Map(targets.map(({ target, rounds }) => [target.name, rounds])), limits);
}

function report(roundsOf: ReadonlyMap<TargetName, readonly Round[]>, limits: readonly Limits[]): string {
  const tailRatio = ratioOf(
    roundsOf.get("millrace"),
    roundsOf.get("kafka"),
    ({ beside }) => beside.tail?.latencyMsP99 ?? 0,
  );
  const rows = [...roundsOf].map(([name, rounds]) => {
    const middle = (of: (round: Round) => number): number => median(rounds.map(of));
    const both = (of: (sample: Sample) => number, digits: number): string =>
      `${middle(({ alone }) => of(alone)).toFixed(digits)} / ${middle(({ beside }) => of(beside)).toFixed(digits)}`;
    const tailP99 = (sample: Sample): number => sample.tail?.latencyMsP99 ?? 0;
    printLine({
      bench: "broker",
      load: "mixed",
      target: name,
      rounds: rounds.length,
      tailMsP99Alone: rounded(middle(({ alone }) => tailP99(alone))),
      tailMsP99: rounded(middle(({ beside }) => tailP99(beside))),
      tailMsMedian: rounded(middle(({ beside }) => beside.tail?.latencyMsMedian ?? 0)),
      produceMegabytesPerSecond: rounded(middle(({ beside }) => beside.megabytesPerSecond)),
      produceMsP99Alone: rounded(middle(({ alone }) => alone.latencyMsP99)),
      produceMsP99: rounded(middle(({ beside }) => beside.latencyMsP99)),
      readersMegabytesPerSecond: rounded(middle(({ readersMegabytesPerSecond }) => readersMegabytesPerSecond)),
      eachTailMsP99: rounds.map(({ beside }) => rounded(tailP99(beside))).join(" "),
    });
    const isOurs = name !== "kafka";
    return [
      name,
      both((sample) => sample.tail?.latencyMsMedian ?? 0, 1),
      both(tailP99, 1),
      isOurs && tailRatio !== null ? tailRatio.toFixed(2) : "",
      isOurs && tailRatio !== null ? verdict(tailRatio <= tailRatioMax, `<= ${tailRatioMax}`) : "",
      both((sample) => sample.megabytesPerSecond, 1),
      both((sample) => sample.latencyMsP99, 1),
      middle(({ readersMegabytesPerSecond }) => readersMegabytesPerSecond).toFixed(0),
      Math.max(...rounds.map(({ beside }) => beside.rssMegabytesMax)).toFixed(0),
      isOurs ? both((sample) => sample.loopDelay?.p99Ms ?? 0, 1) : "-",
    ];
  });
  const head = [
    "mixed",
    "tail ms",
    "tail p99 ms",
    "ratio",
    "bar",
    "produce MB/s",
    "produce p99 ms",
    "readers MB/s",
    "RSS MB",
  ];
  return [
    renderTable([...head, "loop delay p99 ms"], rows),
    "In each pair: without / with two readers from the start. Tail is from the sending of a batch, at its due time, to its",
    `arrival at the consumer. ${requestsPerSecond} batches a second; limit: ${limitText(limits, ["disk", "loopback"])}.`,
    "",
  ].join("\n");
}

/** What was synced goes; a file is not changed by this. */
async function dropFromCache({ dataDirectory }: Target): Promise<void> {
  await diskAtRest(dataDirectory);
  for (const directory of readdirSync(dataDirectory).filter((each) => each.startsWith(`${topic}-`))) {
    for (const file of readdirSync(join(dataDirectory, directory)).filter((each) => each.endsWith(".log"))) {
      const path = join(dataDirectory, directory, file);
      spawnSync("dd", [`of=${path}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"]);
    }
  }
}
