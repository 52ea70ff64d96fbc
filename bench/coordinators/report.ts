import type { TargetName } from "../../test/interop/target.ts";
import { printLine } from "../measure.ts";
import type { LoopDelay } from "../sampling.ts";
import { median, ratioOf, rounded, verdict } from "../statistics.ts";
import { renderTable } from "../table.ts";
import type { CoordinatorLoad } from "./loads.ts";
import type { CoordinatorResult } from "./plan.ts";
import { serialSyncs, traceText, type Sync } from "./syncs.ts";

/** One run of one load against one broker. */
export interface CoordinatorSample {
  readonly result: CoordinatorResult;
  /** Of the broker, in the measured time. */
  readonly cpuCores: number;
  readonly rssMegabytesMax: number;
  /** Null where the broker cannot be asked. */
  readonly loopDelay: LoopDelay | null;
  /** Of the measured time, where they were traced. */
  readonly syncs: readonly Sync[];
}

type Samples = readonly CoordinatorSample[];
export type SamplesByTarget = ReadonlyMap<TargetName, Samples>;

const bars = {
  overheadMax: 0.05,
  rateRatioMin: 1,
  serialSyncsMax: 3,
  beyondSyncsMsMax: 1,
  settleRatioMax: 0.7,
  loopDelayMsP99Max: 20,
} as const;

const perSecond = ({ result }: CoordinatorSample): number => result.count / result.seconds;
const valueOf =
  (name: string) =>
  ({ result }: CoordinatorSample): number =>
    result.values[name] ?? Number.NaN;
const overheadOf = valueOf("overhead");

/** A line of the table: one figure of each broker. */
interface Figure {
  readonly name: string;
  readonly of: (sample: CoordinatorSample) => number;
  readonly digits: number;
  readonly bar?: (ratio: number | null, ours: Samples | undefined, theirs: Samples | undefined) => string;
}

const rateBar: Figure["bar"] = (ratio) =>
  ratio === null ? "" : verdict(ratio >= bars.rateRatioMin, `>= ${bars.rateRatioMin}`);
const settleBar: Figure["bar"] = (ratio) =>
  ratio === null ? "" : verdict(ratio <= bars.settleRatioMax, `<= ${bars.settleRatioMax}`);
const settleFigures: readonly Figure[] = [
  { name: "all join, ms", of: valueOf("allMs"), digits: 0, bar: settleBar },
  { name: "one leaves, ms", of: valueOf("leaveMs"), digits: 0, bar: settleBar },
  { name: "one joins, ms", of: valueOf("joinMs"), digits: 0, bar: settleBar },
];

const figuresOf: Readonly<Record<CoordinatorLoad["name"], readonly Figure[]>> = {
  "txn-throughput": [
    { name: "records/s without", of: valueOf("withoutPerSecond"), digits: 0 },
    { name: "records/s in transactions", of: valueOf("inTransactionsPerSecond"), digits: 0 },
    { name: "overhead, %", of: (sample) => 100 * overheadOf(sample), digits: 1, bar: overheadBar },
  ],
  "txn-rate": [{ name: "transactions/s", of: perSecond, digits: 0, bar: rateBar }],
  "txn-latency": [{ name: "transactions/s", of: perSecond, digits: 0 }],
  "rebalance-classic": settleFigures,
  "rebalance-consumer": settleFigures,
  heartbeats: [
    { name: "heartbeats/s", of: perSecond, digits: 0, bar: loopDelayBar },
    { name: "wanted/s", of: valueOf("wantedPerSecond"), digits: 0 },
  ],
  commits: [{ name: "commits/s", of: perSecond, digits: 0, bar: rateBar }],
};

/** So little, or no more than Apache Kafka's in this run. */
function overheadBar(_ratio: number | null, ours: Samples | undefined, theirs: Samples | undefined): string {
  if (ours === undefined) return "";
  const max = Math.max(bars.overheadMax, theirs === undefined ? 0 : median(theirs.map(overheadOf)));
  return verdict(median(ours.map(overheadOf)) <= max, `<= ${(100 * max).toFixed(1)} %`);
}

function loopDelayBar(_ratio: number | null, ours: Samples | undefined): string {
  if (ours === undefined) return "";
  const p99Ms = median(ours.map(({ loopDelay }) => loopDelay?.p99Ms ?? Infinity));
  return verdict(p99Ms <= bars.loopDelayMsP99Max, `loop delay <= ${bars.loopDelayMsP99Max} ms`);
}

const columns = [
  ...["load", "what", "figure", "millrace", "kafka", "ratio", "bar", "CPU cores", "RSS MB", "latency ms millrace"],
  ...["latency ms kafka", "generator CPU", "loop delay ms"],
];

/** Gathers what was measured: a line of JSON for each load and broker at once, and tables at the end. */
export class Report {
  readonly #rows: string[][] = [];
  readonly #notes: string[] = [];

  add(load: CoordinatorLoad, samples: SamplesByTarget, syncLatenciesMs: readonly number[]): void {
    for (const [target, list] of samples) this.#print(load, target, list);
    const [ours, theirs] = [samples.get("millrace"), samples.get("kafka")];
    const shared = sharedCells(ours, theirs);
    for (const [index, { name, of, digits, bar }] of figuresOf[load.name].entries()) {
      const middle = (list: Samples | undefined): string =>
        list === undefined ? "-" : median(list.map(of)).toFixed(digits);
      const ratio = ratioOf(ours, theirs, of);
      const isFirst = index === 0;
      this.#rows.push([
        ...(isFirst ? [load.name, load.what] : ["", ""]),
        ...[name, middle(ours), middle(theirs), ratio === null ? "-" : ratio.toFixed(2)],
        bar?.(ratio, ours, theirs) ?? "",
        ...(isFirst ? shared : []),
      ]);
    }
    for (const [target, list] of samples) this.#notes.push(checkNote(load, target, list));
    if (load.name === "txn-latency" && ours !== undefined) this.#notes.push(...syncNotes(ours, syncLatenciesMs));
  }

  addFailure(load: CoordinatorLoad, error: unknown): void {
    this.#notes.push(`${load.name}: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  }

  render(scene: string): string {
    return [
      renderTable(columns, this.#rows),
      "Medians of the rounds; a ratio is the median of the rounds' ratios. CPU and RSS are the server's, millrace / kafka; latency is",
      "median / 99th percentile of what is counted; of txn-throughput that is a whole transaction with its 100 ms. Loop delay is 99th",
      "percentile / maximum of how late timers of the Millrace process came.",
      ...this.#notes,
      scene,
    ].join("\n");
  }

  #print(load: CoordinatorLoad, target: TargetName, list: Samples): void {
    const middle = (of: (sample: CoordinatorSample) => number): number => rounded(median(list.map(of)));
    const figures = figuresOf[load.name].flatMap(({ name, of }) => [
      [name, middle(of)] as const,
      [`each ${name}`, list.map((sample) => rounded(of(sample))).join(" ")] as const,
    ]);
    printLine({
      bench: "coordinators",
      load: load.name,
      target,
      rounds: list.length,
      ...Object.fromEntries(figures),
      cpuCores: middle(({ cpuCores }) => cpuCores),
      rssMegabytesMax: rounded(Math.max(...list.map(({ rssMegabytesMax }) => rssMegabytesMax))),
      latencyMsMedian: middle(({ result }) => result.latencyMsMedian),
      latencyMsP99: middle(({ result }) => result.latencyMsP99),
      generatorCpu: middle(({ result }) => result.cpuSeconds / result.seconds),
      loopDelayMsP99: middle(({ loopDelay }) => loopDelay?.p99Ms ?? 0),
    });
  }
}

function sharedCells(ours: Samples | undefined, theirs: Samples | undefined): string[] {
  const pair = (of: (sample: CoordinatorSample) => number, digits: number): string =>
    [ours, theirs].map((list) => (list === undefined ? "-" : median(list.map(of)).toFixed(digits))).join(" / ");
  const both = (
    list: Samples | undefined,
    one: (sample: CoordinatorSample) => number,
    other: (sample: CoordinatorSample) => number,
  ): string =>
    list === undefined || median(list.map(other)) === 0
      ? "-"
      : `${median(list.map(one)).toFixed(2)} / ${median(list.map(other)).toFixed(2)}`;
  const [half, p99] = [
    ({ result }: CoordinatorSample): number => result.latencyMsMedian,
    ({ result }: CoordinatorSample): number => result.latencyMsP99,
  ];
  return [
    pair(({ cpuCores }) => cpuCores, 2),
    pair(({ rssMegabytesMax }) => rssMegabytesMax, 0),
    both(ours, half, p99),
    both(theirs, half, p99),
    pair(({ result }) => result.cpuSeconds / result.seconds, 2),
    both(
      ours,
      ({ loopDelay }) => loopDelay?.p99Ms ?? 0,
      ({ loopDelay }) => loopDelay?.maxMs ?? 0,
    ),
  ];
}

/** What was tried again in all rounds, and what the last one read back. */
function checkNote(load: CoordinatorLoad, target: TargetName, list: Samples): string {
  const retried = new Map<string, number>();
  for (const { result } of list) {
    for (const [name, count] of Object.entries(result.retried)) retried.set(name, (retried.get(name) ?? 0) + count);
  }
  const texts = [...retried].map(([name, count]) => `${name} ${count} times`);
  const again = texts.length === 0 ? "no error" : `tried again: ${texts.join(", ")}`;
  return `${load.name}, ${target}: ${list.at(-1)?.result.checked ?? ""}; ${again}.`;
}

/** How many syncs a transaction waits for, one after the other, and what they and a millisecond come to. */
function syncNotes(ours: Samples, latenciesMs: readonly number[]): string[] {
  const traced = ours.flatMap(({ result, syncs }) => {
    const chains = serialSyncs(result.transactions, syncs);
    return result.transactions.map((transaction, index) => ({ transaction, chain: chains[index] ?? [] }));
  });
  const lengths = traced.map(({ chain }) => chain.length);
  const count = median(lengths);
  const share = lengths.filter((length) => length <= bars.serialSyncsMax).length / lengths.length;
  const syncMs = median(latenciesMs);
  const ownMs = median(traced.flatMap(({ chain }) => chain.map((sync) => sync.endedMs - sync.beganMs)));
  // Whichever is less: the disk's in a quiet moment, or what the broker itself saw.
  const oneMs = Math.min(syncMs, ownMs);
  const boundMs = count * oneMs + bars.beyondSyncsMsMax;
  const halfMs = median(ours.map(({ result }) => result.latencyMsMedian));
  const typical = traced
    .filter(({ chain }) => chain.length === count)
    .toSorted((a, b) => lengthMs(a.transaction) - lengthMs(b.transaction));
  const middle = typical[typical.length >> 1];
  return [
    `txn-latency, millrace: ${count} serial syncs a transaction (median of ${lengths.length}; ${(100 * share).toFixed(1)} % have at most ` +
      `${bars.serialSyncsMax}, the most is ${Math.max(...lengths)}): ${verdict(count <= bars.serialSyncsMax, `<= ${bars.serialSyncsMax}`)}.`,
    `The disk's own sync takes ${syncMs.toFixed(3)} ms, one of the broker's ${ownMs.toFixed(3)} ms as its event loop sees it; ${count} x ${oneMs.toFixed(3)} + ` +
      `${bars.beyondSyncsMsMax} = ${boundMs.toFixed(2)} ms, p50 ${halfMs.toFixed(2)} ms: ${verdict(halfMs <= boundMs, `<= ${boundMs.toFixed(2)} ms`)}.`,
    ...(middle === undefined ? [] : [`One of them: ${traceText(middle.transaction, middle.chain)}`]),
  ];
}

function lengthMs({ beganMs, endedMs }: CoordinatorResult["transactions"][number]): number {
  return endedMs - beganMs;
}
