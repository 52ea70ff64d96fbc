import type { ClientName, LoadKind } from "./plan.ts";
import { clientNames } from "./plan.ts";
import type { ClientResult } from "./plan.ts";

/** One row of figures a client. */
export interface ClientLoad {
  readonly kind: LoadKind;
  readonly recordBytes: number;
  readonly clients: readonly ClientName[];
  readonly bars: readonly Bar[];
}

/** What is asked of our client. */
export type Bar =
  | {
      readonly what: string;
      readonly of: (result: ClientResult) => number;
      /** The ratio of ours to theirs. */
      readonly min?: number;
      readonly max?: number;
      /** "javascript": to the better of platformatic and kafkajs in the same round. */
      readonly against: "javascript" | "librdkafka";
    }
  | {
      readonly what: string;
      readonly of: (result: ClientResult) => number;
      readonly max: number;
      readonly against: null;
    };

export const recordsPerSecond = (result: ClientResult): number => result.records / result.seconds;
export const cpuMicroseconds = (result: ClientResult): number => (result.cpuSeconds / result.records) * 1e6;
const p99 = (result: ClientResult): number => result.latencyMsP99;

const withIterator: readonly ClientName[] = ["ours", "platformatic"];
const small = 100;
const large = 1_000;

const rate = (min: number): Bar => ({ what: "records/s", of: recordsPerSecond, min, against: "javascript" });
const cpu: Bar = { what: "CPU a record", of: cpuMicroseconds, max: 0.7, against: "javascript" };
const latency: Bar = { what: "p99", of: p99, max: 1, against: "javascript" };
const librdkafka = (min: number, recordBytes: number): readonly Bar[] =>
  recordBytes === small ? [{ what: "records/s", of: recordsPerSecond, min, against: "librdkafka" }] : [];

/** Twice the 32 MiB that a producer holds by itself, and what V8 has not collected. */
const producerMegabytesMax = 150;
/** Of three partitions a megabyte each is fetched ahead, and an answer is on its way. */
const consumerMegabytesMax = 50;
/** Between the median of the second half of the looks and that of the first. */
const leakMegabytesMax = 2;

/** What it grew by while it did the same again and again. */
export function driftOf({ inUseMegabytes }: ClientResult): number {
  const half = inUseMegabytes.length >> 1;
  const middle = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
  return middle(inUseMegabytes.slice(half)) - middle(inUseMegabytes.slice(0, half));
}

const growth = (max: number): readonly Bar[] => [
  { what: "MB more in use", of: (result) => result.growthMegabytesMax, max, against: null },
];
const flat: readonly Bar[] = [{ what: "MB more, second half", of: driftOf, max: leakMegabytesMax, against: null }];

export const clientLoads: readonly ClientLoad[] = [
  ...[small, large].flatMap((recordBytes): ClientLoad[] => [
    {
      kind: "produce-pipelined",
      recordBytes,
      clients: clientNames,
      bars: [rate(1.5), cpu, ...librdkafka(1, recordBytes)],
    },
    { kind: "produce-send", recordBytes, clients: clientNames, bars: [rate(1.5), cpu, ...librdkafka(1, recordBytes)] },
    { kind: "consume-batch", recordBytes, clients: clientNames, bars: [rate(1.8), ...librdkafka(0.8, recordBytes)] },
    { kind: "consume-message", recordBytes, clients: clientNames, bars: [rate(1.3)] },
    { kind: "consume-iterate", recordBytes, clients: withIterator, bars: [] },
  ]),
  { kind: "produce-awaited", recordBytes: small, clients: clientNames, bars: [latency] },
  { kind: "end-to-end", recordBytes: small, clients: clientNames, bars: [latency] },
  { kind: "memory-produce", recordBytes: large, clients: clientNames, bars: growth(producerMegabytesMax) },
  { kind: "memory-consume", recordBytes: large, clients: clientNames, bars: growth(consumerMegabytesMax) },
  { kind: "flat-produce", recordBytes: small, clients: ["ours"], bars: flat },
  { kind: "flat-consume", recordBytes: small, clients: ["ours"], bars: flat },
];

export function nameOf({ kind, recordBytes }: ClientLoad): string {
  return `${kind} ${recordBytes === large ? "1 KB" : `${recordBytes} B`}`;
}

export function isConsuming({ kind }: Pick<ClientLoad, "kind">): boolean {
  return kind.startsWith("consume-") || kind === "memory-consume" || kind === "flat-consume";
}
