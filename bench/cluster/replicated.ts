import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { diesWithParent } from "../../test/interop/broker-process.ts";
import { javaProgram } from "../../test/interop/clients.ts";
import { LimitProbe } from "../limits.ts";
import { cpuSecondsOf, rssMegabytesOf } from "../process-stats.ts";
import { median, rounded, verdict } from "../statistics.ts";
import type { ClusterBench, Extent, Line, Measured } from "./bench.ts";
import { figures } from "./judging.ts";
import type { Subject } from "./subject.ts";

const partitions = 6;
const recordBytes = 1_000;
const firstRecords = 50_000;
const warmUpSeconds = 15;
/** More than any of them does in the time that is measured. */
const recordsPerSecondMax = 400_000;
const run = promisify(execFile);
/** Before latencies count: until then the client's own code is being compiled, and what has piled up meanwhile is sent. */
const settlingSeconds = 10;
/** What the load before has left for the disk is not this one's: it is waited for, of each of them. */
const restMegabytes = 32;
const restSecondsMax = 60;
const throughputBar = 1.2;
const p99Bar = 0.8;
/** Of a third of what the disk takes synced: three nodes share it. */
const diskShareBar = 0.85;
const whats = [
  ...["megabytesPerSecond", "p99MsAtHalf", "p99MsAtSame", "p50MsAtHalf", "cpuSecondsPerGigabyte", "rssMegabytes"],
  "diskMegabytesPerSecond",
];

/** Records a second, at full rate, as they were found last. */
const rates = new Map<string, number>();

interface Performance {
  readonly megabytesPerSecond: number;
  readonly recordsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Apache Kafka's ProducerPerformance with acks=all on a topic of six partitions with three replicas each: as fast as it goes, then
 * for the latency at half of that, and at half of what the slower of the two does, in a steady state. Beside it what the disk does with the
 * bytes of one replica, synced, in the same minute.
 */
export const measureReplicated: ClusterBench = { visits: 2, rounds: 2, seconds: 8, visit, judge };

async function visit(subject: Subject, { rounds, seconds, directory }: Extent): Promise<Measured> {
  const measured: Record<string, number[]> = Object.fromEntries(whats.map((what) => [what, []]));
  await using probe = await LimitProbe.start(directory);
  const topic = "replicated";
  await subject.admin.topics.create({ name: topic, partitions, replicationFactor: 3 });
  const brokers = subject.nodes.addresses.join();
  const perform = async (records: number, throughput: number): Promise<Performance> =>
    await produce({ brokers, topic, records, throughput });
  // A JVM needs some work before its code is compiled; nobody runs a broker for less.
  let { recordsPerSecond } = await perform(firstRecords, -1);
  ({ recordsPerSecond } = await perform(Math.round(recordsPerSecond * warmUpSeconds), -1));
  for (let round = 0; round < rounds; round++) {
    const cpuBefore = cpuSeconds(subject);
    const records = Math.round(Math.min(recordsPerSecond, recordsPerSecondMax) * seconds);
    const full = await perform(records, -1);
    const gigabytes = (records * recordBytes) / 1e9;
    measured["cpuSecondsPerGigabyte"]?.push((cpuSeconds(subject) - cpuBefore) / gigabytes);
    measured["megabytesPerSecond"]?.push(full.megabytesPerSecond);
    ({ recordsPerSecond } = full);
    rates.set(subject.name, recordsPerSecond);
    const steady = async (throughput: number): Promise<Performance> =>
      produce({
        ...{ brokers, topic, throughput, records: throughput * (settlingSeconds + seconds) },
        warmUpRecords: throughput * settlingSeconds,
      });
    await diskAtRest();
    const atHalf = await steady(Math.round(recordsPerSecond / 2));
    measured["p99MsAtHalf"]?.push(atHalf.p99Ms);
    measured["p50MsAtHalf"]?.push(atHalf.p50Ms);
    await diskAtRest();
    if (rates.size === 2)
      measured["p99MsAtSame"]?.push((await steady(Math.round(Math.min(...rates.values()) / 2))).p99Ms);
    measured["rssMegabytes"]?.push(
      subject.nodes.nodeIds.reduce((sum, nodeId) => sum + rssMegabytesOf(subject.nodes.pidOf(nodeId)), 0),
    );
    measured["diskMegabytesPerSecond"]?.push((await probe.measure()).syncedMegabytesPerSecond);
  }
  return measured;
}

/** Until the system has hardly anything in memory that is not on the disk. */
async function diskAtRest(): Promise<void> {
  const endMs = performance.now() + restSecondsMax * 1_000;
  while (performance.now() < endMs) {
    const text = await readFile("/proc/meminfo", "utf8");
    const kilobytes = [...text.matchAll(/^(?:Dirty|Writeback): +(\d+) kB$/gm)].map(([, amount]) => Number(amount));
    if (kilobytes.reduce((sum, amount) => sum + amount, 0) < restMegabytes * 1_000) return;
    await setTimeout(100);
  }
}

function cpuSeconds({ nodes }: Subject): number {
  return nodes.nodeIds.reduce((sum, nodeId) => sum + cpuSecondsOf(nodes.pidOf(nodeId)), 0);
}

async function produce(options: {
  readonly brokers: string;
  readonly topic: string;
  readonly records: number;
  readonly throughput: number;
  readonly warmUpRecords?: number;
}): Promise<Performance> {
  const { brokers, topic, records, throughput, warmUpRecords = 0 } = options;
  const [executable, ...args] = diesWithParent(
    javaProgram("org.apache.kafka.tools.ProducerPerformance", [
      ...["--topic", topic, "--num-records", `${records}`, "--record-size", `${recordBytes}`],
      ...["--throughput", `${throughput}`, "--bootstrap-server", brokers],
      ...(warmUpRecords > 0 ? ["--warmup-records", `${warmUpRecords}`] : []),
      ...["--command-property", "acks=all", "batch.size=65536", "linger.ms=5", "buffer.memory=67108864"],
    ]),
  );
  const { stdout } = await run(executable, args, { maxBuffer: 2 ** 26 });
  return parsed(stdout);
}

/** "500000 records sent, 98058.0 records/sec (93.52 MB/sec), 211.44 ms avg latency, …, 612 ms 99th, 640 ms 99.9th." */
function parsed(text: string): Performance {
  const last = text.trim().split("\n").at(-1) ?? "";
  const [, perSecond] = /([\d.]+) records\/sec/.exec(last) ?? [];
  const [, p50] = /(\d+) ms 50th/.exec(last) ?? [];
  const [, p99] = /(\d+) ms 99th/.exec(last) ?? [];
  if (perSecond === undefined || p50 === undefined || p99 === undefined) throw new Error(`unexpected output: ${last}`);
  const recordsPerSecond = Number(perSecond);
  return {
    recordsPerSecond,
    megabytesPerSecond: (recordsPerSecond * recordBytes) / 1e6,
    p50Ms: Number(p50),
    p99Ms: Number(p99),
  };
}

function judge(ours: Measured | null, kafka: Measured | null): Line {
  const line: Line = { ...figures("millrace", ours, whats), ...figures("kafka", kafka, whats) };
  const middle = (measured: Measured | null, what: string): number => median(measured?.[what] ?? [Number.NaN]);
  if (ours === null || kafka === null) return line;
  const ratio = middle(ours, "megabytesPerSecond") / middle(kafka, "megabytesPerSecond");
  line["throughputOfKafkas"] = rounded(ratio);
  const diskBar = (diskShareBar * middle(ours, "diskMegabytesPerSecond")) / 3;
  const wanted = Math.min(throughputBar * middle(kafka, "megabytesPerSecond"), diskBar);
  line["throughputBar"] = verdict(middle(ours, "megabytesPerSecond") >= wanted, `>= ${rounded(wanted)} MB/s`);
  for (const what of ["AtHalf", "AtSame"]) {
    const p99Ratio = middle(ours, `p99Ms${what}`) / middle(kafka, `p99Ms${what}`);
    line[`p99${what}OfKafkas`] = rounded(p99Ratio);
    line[`p99${what}Bar`] = verdict(p99Ratio <= p99Bar, `<= ${p99Bar} of Kafka's`);
  }
  return line;
}
