import { isTestFile } from "./repository.ts";

/** A call in which two runs can differ, and what to use instead. The linter says the same where one types. */
export interface Banned {
  readonly call: RegExp;
  readonly instead: string;
  /** Where it is at home, beside the adapters. */
  readonly allowedUnder?: readonly string[];
}

/** The only places of the real world: its files, sockets, clocks, threads and codecs. */
const adapters: readonly string[] = ["base/src/node/", "protocol/src/node.ts", "protocol/src/node/"];

const world = "@millrace/base/world";
const disk = `Disk of ${world}`;
const network = `Network of ${world}`;
const clock = `Clock of ${world}: schedule, afterTurn`;
const monotonic = `Clock.monotonicMs of ${world}`;
const random = `Random of ${world}`;
const workers = `Workers of ${world}`;

/** An import, in any form, of one of these modules of Node. */
function modules(names: string): RegExp {
  return new RegExp(String.raw`(?:\bfrom|\bimport|\()\s*["'\`](?:node:)?(?:${names})(?:/promises)?["'\`]`);
}

/** A package by its name in quotes: optional ones are loaded through variables. */
function packages(names: string): RegExp {
  return new RegExp(String.raw`["'\`](?:${names})["'\`]`);
}

export const banned: readonly Banned[] = [
  { call: modules("fs"), instead: disk },
  { call: modules("net|tls|dgram|https?|http2"), instead: network },
  { call: /\bnew WebSocket\(/, instead: network },
  { call: modules("timers"), instead: clock },
  { call: /\b(?:set|clear)(?:Timeout|Immediate)\b/, instead: clock },
  // The command line keeps its process alive with one that does nothing.
  { call: /\b(?:set|clear)Interval\b/, instead: clock, allowedUnder: ["cli/src/commands/start.ts"] },
  { call: /\bprocess\.nextTick\b/, instead: `${clock}, or queueMicrotask` },
  { call: /\bAbortSignal\.timeout\b/, instead: clock },
  { call: /\bDate\.now\b|\bnew Date\(\s*\)|(?<!new )\bDate\(\s*\)/, instead: `Clock.now of ${world}` },
  // The command line counts from the start of its process, which no clock of the world knows.
  { call: /\bperformance\.|\bprocess\.hrtime\b/, instead: monotonic, allowedUnder: ["cli/src/"] },
  { call: modules("perf_hooks"), instead: monotonic },
  { call: /\bMath\.random\b/, instead: `Random.fraction of ${world}` },
  { call: /\brandom(?:Bytes|Int|UUID|Fill|FillSync)\(|\bgetRandomValues\(|\bwebcrypto\b/, instead: random },
  { call: modules("worker_threads|child_process|cluster"), instead: workers },
  { call: modules("zlib"), instead: "kafka-protocol-ts/records/compression" },
  { call: packages("koffi|lmdb"), instead: disk },
  { call: packages("@node-rs/crc32"), instead: "kafka-protocol-ts/records/crc32c" },
  { call: packages("pino|pino-pretty"), instead: "Logger of @millrace/base/logger" },
  { call: /\bconsole\./, instead: "Logger of @millrace/base/logger", allowedUnder: ["cli/src/"] },
  { call: /\bprocess\.exit\(/, instead: "process.exitCode, and let what is open close" },
];

/** What a room ships is held to the table; its tests, generators and benches are not. */
export function isBannedIn(file: string, { allowedUnder = [] }: Banned): boolean {
  const isShipped = /^[^/]+\/src\/.*\.ts$/.test(file) && !isTestFile(file);
  return isShipped && ![...adapters, ...allowedUnder].some((place) => file.startsWith(place));
}
