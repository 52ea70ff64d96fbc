import type { CompressionName } from "kafka-protocol-ts/records/compression";
import { encodeBatch, type RecordInput } from "kafka-protocol-ts/records/record";

/** What one run of the load generator (load.ts) does; it comes as JSON in its first argument. */
export type LoadPlan = ProducePlan | FetchPlan;

interface Bounds {
  readonly port: number;
  readonly connections: number;
  /** Requests of one connection that are on their way at a time. */
  readonly inFlight: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** The run ends earlier when so many requests were answered. */
  readonly requestsMax: number;
}

export interface ProducePlan extends Bounds, BatchShape {
  readonly kind: "produce";
  readonly topic: string;
  readonly partitions: number;
  /** Requests leave at this rate, over all connections, or later when too many are on their way; else as fast as answers come. */
  readonly requestsPerSecond?: number;
  /** One consumer at the end of the log, which asks for all partitions. There must be one connection to produce. */
  readonly tail?: TailPlan;
}

export interface TailPlan {
  readonly topicId: string;
  /** Of each partition. */
  readonly startOffsets: readonly number[];
}

export interface FetchPlan extends Bounds {
  readonly kind: "fetch";
  readonly topicId: string;
  readonly partitions: number;
  /** What every partition holds: so many batches, all of one size. */
  readonly batchesPerPartition: number;
  readonly batchBytes: number;
  readonly recordsPerBatch: number;
  readonly partitionMaxBytes: number;
  /** What comes is read into new memory, as a consumer does that hands it on; else into one buffer, which costs less than half. */
  readonly keepsBytes: boolean;
}

export interface BatchShape {
  readonly recordsPerBatch: number;
  readonly recordBytes: number;
  readonly compression: CompressionName;
  /** So many keys, each of which comes once before any comes again; records have none where it is missing. */
  readonly keys?: number;
}

/** A line of the load generator's output: when the measured time begins, and the result when it has ended. */
export type LoadEvent = { readonly event: "measuring" } | ({ readonly event: "result" } & LoadResult);

export interface LoadResult {
  readonly seconds: number;
  /** Answered without an error in the measured time. */
  readonly requests: number;
  readonly records: number;
  /** Of record batches as they go over the wire. */
  readonly bytes: number;
  readonly latencyMsMedian: number;
  readonly latencyMsP99: number;
  /** From the sending of a batch to its arrival at the consumer at the end of the log. */
  readonly tail: { readonly batches: number; readonly latencyMsMedian: number; readonly latencyMsP99: number } | null;
  /** Of all record batches since the start, before the measured time, too. */
  readonly totalBytes: number;
  /** CPU seconds of the generator itself in the measured time. */
  readonly cpuSeconds: number;
}

/** The batch that is sent again and again: text like JSON, which a codec halves or better. */
export function batchOf(shape: BatchShape): Buffer {
  return batchFrom(shape, 0);
}

/** What is sent in turn: one batch, or as many as hold every key. */
export function batchesOf(shape: BatchShape): Buffer[] {
  const count = Math.ceil((shape.keys ?? 1) / shape.recordsPerBatch);
  return Array.from({ length: count }, (_, index) => batchFrom(shape, index * shape.recordsPerBatch));
}

function batchFrom({ recordsPerBatch, recordBytes, compression, keys }: BatchShape, firstKey: number): Buffer {
  let state = 4711;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const timestamp = Date.now();
  const records = Array.from({ length: recordsPerBatch }, (_, index): RecordInput => {
    let text = `{"id":${index}`;
    while (text.length < recordBytes) text += `,"field-${next(40)}":"${next(2000).toString(36).repeat(2)}"`;
    // All of one length, so that all batches are.
    const key =
      keys === undefined ? null : Buffer.from(`key-${((firstKey + index) % keys).toString().padStart(9, "0")}`);
    return { key, value: Buffer.from(text.slice(0, recordBytes)), timestamp };
  });
  return encodeBatch({ records, compression });
}
