import type { TargetName } from "../test/interop/target.ts";
import type { LimitName } from "./limits.ts";
import { batchOf, type BatchShape, type FetchPlan, type ProducePlan } from "./load-plan.ts";

/** A load of the broker bench, and how well Millrace must do beside Apache Kafka. */
export interface BrokerLoad {
  readonly name: string;
  readonly what: string;
  readonly kind: "produce" | "fetch";
  readonly partitions: number;
  readonly connections: number;
  readonly inFlight: number;
  readonly shape: BatchShape;
  /** The least ratio of throughput, Millrace to Kafka; null where a row is printed without one. */
  readonly ratioMin: number | null;
  /** Such a share of the disk's synced rate is enough, where that is less than `ratioMin` asks for. */
  readonly diskShareMin?: number;
  /** The largest ratio of CPU a GB; 1 where it is missing and there is a `ratioMin`. */
  readonly cpuRatioMax?: number;
  /** The largest ratio of the 99th percentile of the latency. */
  readonly p99RatioMax?: number;
  /** Of its topic, where one of the brokers needs other than its defaults. */
  readonly configs?: Readonly<Partial<Record<TargetName, Readonly<Record<string, string>>>>>;
  /** What bounds it on this machine. */
  readonly limits: readonly LimitName[];
  /** So many times the bytes of other loads: it goes on for as long as it may. */
  readonly megabytesFactor?: number;
  /** Measured for one broker alone. */
  readonly isSolo?: boolean;
}

export const big: BatchShape = { recordsPerBatch: 60, recordBytes: 1024, compression: "none" };
const small: BatchShape = { recordsPerBatch: 1, recordBytes: 100, compression: "none" };
const six = {
  kind: "produce",
  partitions: 6,
  connections: 2,
  inFlight: 5,
  limits: ["disk", "files", "loopback"],
} as const;
const twenty = { ...six, connections: 20, shape: small, limits: ["syncs", "echoes"] } as const;

/** Produce asks for acks=all and sends one batch to one partition a request, the partitions in turn. */
export const brokerLoads: readonly BrokerLoad[] = [
  { ...six, name: "a", what: "60 x 1 KB", shape: big, ratioMin: 1.3, diskShareMin: 0.85 },
  {
    ...six,
    name: "a-flush",
    what: "60 x 1 KB, Kafka with flush.messages=1",
    shape: big,
    ratioMin: 3,
    configs: { kafka: { "flush.messages": "1" } },
  },
  { ...six, name: "a-long", what: "60 x 1 KB, without a pause", shape: big, ratioMin: null, megabytesFactor: 4 },
  { ...six, name: "a2-300", what: "60 x 1 KB, 300 partitions", partitions: 300, shape: big, ratioMin: 0.8 },
  { ...six, name: "a2-1000", what: "60 x 1 KB, 1000 partitions", partitions: 1_000, shape: big, ratioMin: 0.8 },
  { ...six, name: "a3", what: "60 x 1 KB, lz4", shape: { ...big, compression: "lz4" }, ratioMin: null },
  { ...twenty, name: "b", what: "1 x 100 B, 20 connections", ratioMin: 1 },
  {
    ...twenty,
    name: "b-os",
    what: "1 x 100 B, 20 connections, durability=os",
    ratioMin: 1.4,
    configs: { millrace: { "millrace.durability": "os" } },
  },
  { ...twenty, name: "b1", what: "1 x 100 B, 20 connections, 1 in flight", inFlight: 1, ratioMin: null },
  {
    ...six,
    name: "c",
    what: "fetch, 1 MB a partition",
    kind: "fetch",
    inFlight: 1,
    shape: big,
    ratioMin: 1,
    cpuRatioMax: 0.8,
    p99RatioMax: 0.7,
    limits: ["loopback"],
  },
  {
    ...six,
    name: "d-1k",
    what: "batches of 1 KB",
    shape: { ...big, recordsPerBatch: 1 },
    ratioMin: null,
    isSolo: true,
  },
  {
    ...six,
    name: "d-16k",
    what: "batches of 16 KB",
    shape: { ...big, recordsPerBatch: 16 },
    ratioMin: null,
    isSolo: true,
  },
  {
    ...six,
    name: "d-256k",
    what: "batches of 256 KB",
    shape: { ...big, recordsPerBatch: 256 },
    ratioMin: null,
    isSolo: true,
  },
];

/** Times and bounds that the command line sets. */
export interface Extent {
  readonly measureMs: number;
  readonly warmUpMs: number;
  /** No run writes more: the disk is not endless. */
  readonly megabytesMax: number;
}

export function producePlan(load: BrokerLoad, port: number, topic: string, extent: Extent): ProducePlan {
  const { partitions, connections, inFlight, shape } = load;
  const requestsMax = Math.floor((extent.megabytesMax * 1e6) / batchOf({ ...shape, compression: "none" }).length);
  const { measureMs, warmUpMs } = extent;
  return {
    kind: "produce",
    port,
    topic,
    partitions,
    connections,
    inFlight,
    ...shape,
    measureMs,
    warmUpMs,
    requestsMax,
  };
}

/** So much lies in each partition to be fetched: it stays in the page cache, as a consumer near the end finds it. */
const batchesPerPartition = 1_000;
const partitionMaxBytes = 1024 * 1024;

/**
 * What is written before anything is measured. For fetch what will be read, and a little more, since the connections do
 * not end at the same request; for produce a few batches to each partition, since the first one to a new log costs
 * Kafka a synced checkpoint.
 */
export function fillPlan(load: BrokerLoad, port: number, topic: string): ProducePlan {
  const { partitions, shape } = load;
  const requestsMax = partitions * (load.kind === "fetch" ? batchesPerPartition + 20 : 4);
  const untimed = { measureMs: 600_000, warmUpMs: 0 };
  return { kind: "produce", port, topic, partitions, connections: 2, inFlight: 5, ...shape, ...untimed, requestsMax };
}

export function fetchPlan(load: BrokerLoad, port: number, topicId: string, extent: Extent): FetchPlan {
  const { partitions, connections, inFlight, shape } = load;
  return {
    kind: "fetch",
    port,
    topicId,
    partitions,
    connections,
    inFlight,
    batchesPerPartition,
    batchBytes: batchOf(shape).length,
    recordsPerBatch: shape.recordsPerBatch,
    partitionMaxBytes,
    keepsBytes: false,
    measureMs: extent.measureMs,
    warmUpMs: extent.warmUpMs,
    requestsMax: Number.MAX_SAFE_INTEGER,
  };
}
