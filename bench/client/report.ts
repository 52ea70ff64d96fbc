import { printLine } from "../measure.ts";
import { median, rounded, verdict } from "../statistics.ts";
import { renderTable } from "../table.ts";
import { cpuMicroseconds, driftOf, nameOf, recordsPerSecond } from "./loads.ts";
import type { Bar, ClientLoad } from "./loads.ts";
import type { ClientName, ClientResult } from "./plan.ts";

type Results = readonly ClientResult[];
export type ResultsByClient = ReadonlyMap<ClientName, Results>;

const javascript: readonly ClientName[] = ["platformatic", "kafkajs"];
const columns = [
  ...["load", "client", "records/s", "ours / it", "CPU us/record", "ours / it", "p50 ms", "p99 ms", "RSS MB"],
  ...["heap MB", "more in use MB", "loop delay ms"],
];

/** Gathers what was measured: a line of JSON for each load and client at once, and a table with the bars at the end. */
export class ClientReport {
  readonly #rows: string[][] = [];
  readonly #bars: string[][] = [];
  readonly #settings = new Map<string, string>();
  readonly #notes: string[] = [];

  add(load: ClientLoad, results: ResultsByClient): void {
    const ours = results.get("ours");
    let isFirst = true;
    for (const [client, list] of results) {
      this.#print(load, client, list);
      this.#rows.push([isFirst ? nameOf(load) : "", ...cells(client, list, ours)]);
      this.#settings.set(`${client}, ${load.kind}`, list.at(-1)?.settings ?? "");
      isFirst = false;
    }
    for (const bar of load.bars) this.#bars.push([nameOf(load), ...barCells(bar, results)]);
    if (load.kind === "memory-produce") {
      for (const [client, list] of results) {
        const { records = 0, refused = 0 } = list.at(-1) ?? {};
        this.#notes.push(`${nameOf(load)}, ${client}: of ${records} records offered, ${refused} were refused.`);
      }
    }
    if (load.kind.startsWith("flat-")) {
      const texts = ours?.map(({ inUseMegabytes }) => inUseMegabytes.map((each) => each.toFixed(1)).join(" ")) ?? [];
      this.#notes.push(`${nameOf(load)}, MB in use after each tenth: ${texts.join("; ")}.`);
    }
  }

  addFailure(load: ClientLoad, error: unknown): void {
    this.#notes.push(`${nameOf(load)}: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  }

  note(text: string): void {
    this.#notes.push(text);
  }

  render(scene: string): string {
    return [
      renderTable(columns, this.#rows),
      renderTable(["bar", "of ours", "against", "wanted", "is", ""], this.#bars),
      "Medians of the rounds; a ratio is the median of the rounds' ratios. Records have a key of 12 bytes beside the value. CPU is that",
      "of the client's process, all its threads; RSS its maximum; heap the maximum of V8's, and more in use that of heap and buffers",
      "over what they were before the client was made. Latency of produce-awaited is from the call to the acknowledgement, of",
      "end-to-end from the moment in which a record was due to that in which it was handed out. Loop delay is 99th percentile /",
      "maximum of how late timers came.",
      "",
      renderTable(
        ["what was called", ""],
        [...this.#settings].map(([name, text]) => [name, text]),
      ),
      ...this.#notes,
      scene,
    ].join("\n");
  }

  #print(load: ClientLoad, client: ClientName, list: Results): void {
    const middle = (of: (result: ClientResult) => number): number => rounded(median(list.map(of)));
    printLine({
      bench: "client",
      load: load.kind,
      recordBytes: load.recordBytes,
      client,
      rounds: list.length,
      recordsPerSecond: middle(recordsPerSecond),
      eachRecordsPerSecond: list.map((result) => rounded(recordsPerSecond(result))).join(" "),
      cpuUsPerRecord: middle(cpuMicroseconds),
      eachCpuUsPerRecord: list.map((result) => rounded(cpuMicroseconds(result))).join(" "),
      latencyMsMedian: middle((result) => result.latencyMsMedian),
      latencyMsP99: middle((result) => result.latencyMsP99),
      eachLatencyMsP99: list.map((result) => rounded(result.latencyMsP99)).join(" "),
      rssMegabytesMax: middle((result) => result.rssMegabytesMax),
      heapMegabytesMax: middle((result) => result.heapMegabytesMax),
      growthMegabytesMax: middle((result) => result.growthMegabytesMax),
      loopDelayMsP99: middle((result) => result.loopDelayMsP99),
      loopDelayMsMax: middle((result) => result.loopDelayMsMax),
      refused: middle((result) => result.refused),
      driftMegabytes: middle(driftOf),
      settings: list.at(-1)?.settings ?? "",
    });
  }
}

function cells(client: ClientName, list: Results, ours: Results | undefined): string[] {
  const middle = (of: (result: ClientResult) => number, digits: number): string => {
    const value = median(list.map(of));
    return value === 0 ? "-" : value.toFixed(digits);
  };
  const ratio = (of: (result: ClientResult) => number): string =>
    client === "ours" || ours === undefined ? "" : roundRatio(ours, [list], of, Math.max).toFixed(2);
  const hasLoop = list.some(({ loopDelayMsMax }) => loopDelayMsMax > 0);
  return [
    client,
    middle(recordsPerSecond, 0),
    ratio(recordsPerSecond),
    middle(cpuMicroseconds, 3),
    ratio(cpuMicroseconds),
    middle((result) => result.latencyMsMedian, 2),
    middle((result) => result.latencyMsP99, 2),
    middle((result) => result.rssMegabytesMax, 0),
    middle((result) => result.heapMegabytesMax, 0),
    middle((result) => result.growthMegabytesMax, 0),
    hasLoop ? `${middle((result) => result.loopDelayMsP99, 1)} / ${middle((result) => result.loopDelayMsMax, 1)}` : "-",
  ];
}

function barCells(bar: Bar, results: ResultsByClient): string[] {
  const ours = results.get("ours");
  const { what, of, max, against } = bar;
  if (against === null) {
    if (ours === undefined) return [what, "", `<= ${max}`, "-", ""];
    const value = median(ours.map(of));
    return [what, "", `<= ${max}`, value.toFixed(1), verdict(value <= max, "")];
  }
  const names: readonly ClientName[] = against === "javascript" ? javascript : [against];
  const theirs = names.flatMap((name) => results.get(name) ?? []).length;
  const wanted = bar.min === undefined ? `<= ${max} x` : `>= ${bar.min} x`;
  if (ours === undefined || theirs === 0) return [what, against, wanted, "-", ""];
  const lists = names.flatMap((name) => [results.get(name) ?? []]).filter((list) => list.length > 0);
  const ratio = roundRatio(ours, lists, of, bar.min === undefined ? Math.min : Math.max);
  const isMet = bar.min === undefined ? ratio <= (max ?? 0) : ratio >= bar.min;
  return [what, against === "javascript" ? "the better of two" : against, wanted, ratio.toFixed(2), verdict(isMet, "")];
}

/**
 * Ours to theirs round by round, and of that the median. Of several others it is the one whose own median is the best: the best
 * of each round would be one that chance has made, and better than any of them.
 */
function roundRatio(
  ours: Results,
  theirs: readonly Results[],
  of: (result: ClientResult) => number,
  best: (...values: readonly number[]) => number,
): number {
  const medians = theirs.map((list) => median(list.map(of)));
  const chosen = theirs[medians.indexOf(best(...medians))] ?? [];
  const ratios = ours.flatMap((result, round) => {
    const other = chosen[round];
    return other === undefined ? [] : [of(result) / of(other)];
  });
  return median(ratios);
}
