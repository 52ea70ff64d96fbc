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
  /** Measured for one broker alone. */
  readonly isSolo?: boolean;
}

const big: BatchShape = { recordsPerBatch: 60, recordBytes: 1024, compression: "none" };
const small: BatchShape = { recordsPerBatch: 1, recordBytes: 100, compression: "none" };
const six = { kind: "produce", partitions: 6, connections: 2, inFlight: 5 } as const;

/** Produce asks for acks=all and sends one batch to one partition a request, the partitions in turn. */
export const brokerLoads: readonly BrokerLoad[] = [
  { ...six, name: "a", what: "60 x 1 KB", shape: big, ratioMin: 1.2 },
  { ...six, name: "a2-300", what: "60 x 1 KB, 300 partitions", partitions: 300, shape: big, ratioMin: 0.8 },
  { ...six, name: "a2-1000", what: "60 x 1 KB, 1000 partitions", partitions: 1_000, shape: big, ratioMin: 0.8 },
  { ...six, name: "a3", what: "60 x 1 KB, lz4", shape: { ...big, compression: "lz4" }, ratioMin: null },
  { ...six, name: "b", what: "1 x 100 B, 20 connections", connections: 20, shape: small, ratioMin: 0.9 },
  {
    ...six,
    name: "b1",
    what: "1 x 100 B, 20 connections, 1 in flight",
    connections: 20,
    inFlight: 1,
    shape: small,
    ratioMin: null,
  },
  { ...six, name: "c", what: "fetch, 1 MB a partition", kind: "fetch", inFlight: 1, shape: big, ratioMin: 0.9 },
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
    measureMs: extent.measureMs,
    warmUpMs: extent.warmUpMs,
    requestsMax: Number.MAX_SAFE_INTEGER,
  };
}
