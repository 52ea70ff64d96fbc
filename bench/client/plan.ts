/** In the order in which they take turns, and in which reports name them. */
export const clientNames = ["ours", "platformatic", "kafkajs", "librdkafka"] as const;
export type ClientName = (typeof clientNames)[number];

/**
 * - produce-pipelined: as much as the client takes, by its own batches and its own back-pressure
 * - produce-send: a promise (or a callback) a record, up to `sendsMax` of them without an answer
 * - produce-awaited: one record after the other
 * - consume-batch, consume-message: what lies in a topic, by the quickest way that gives several records at a time, and one
 * - consume-iterate: one at a time by `for await`, where a client has that
 * - end-to-end: at a rate, producer and consumer in one process
 * - memory-produce: a producer that waits for nothing, and a broker that takes little
 * - memory-consume: a consumer whose handler is slow
 * - flat-produce, flat-consume: so many records that a leak of a byte each would be seen
 */
export type LoadKind =
  | "produce-pipelined"
  | "produce-send"
  | "produce-awaited"
  | "consume-batch"
  | "consume-message"
  | "consume-iterate"
  | "end-to-end"
  | "memory-produce"
  | "memory-consume"
  | "flat-produce"
  | "flat-consume";

/** What one process of one client does; it comes as JSON in its first argument (to librdkafka.py, too). */
export interface ClientPlan {
  readonly client: ClientName;
  readonly kind: LoadKind;
  readonly port: number;
  readonly topic: string;
  readonly partitions: number;
  /** Of a record's value; its key has `keyBytes` more. */
  readonly recordBytes: number;
  /** Not counted: of loads that end by the clock. */
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Not counted: of loads that end by a number of records. */
  readonly warmUpRecords: number;
  /** Those of the warm-up included. */
  readonly records: number;
  readonly recordsPerSecond: number;
}

/** The line of JSON that such a process prints at its end. */
export interface ClientResult {
  /** In the measured time. */
  readonly records: number;
  readonly seconds: number;
  /** Of the whole process, all of its threads, in the measured time. */
  readonly cpuSeconds: number;
  /** Of single sends, or of records from the moment in which they were due to that in which they were handed out. */
  readonly latencyMsMedian: number;
  readonly latencyMsP99: number;
  readonly rssMegabytesMax: number;
  /** V8's heap, the memory of buffers not included. Zero where there is none. */
  readonly heapMegabytesMax: number;
  /** V8's heap and buffers, over what they were before the client was made. Zero where there is none. */
  readonly growthMegabytesMax: number;
  /** How late timers came. Zero where there is no event loop. */
  readonly loopDelayMsP99: number;
  readonly loopDelayMsMax: number;
  /** Acknowledged, or read, since the start. */
  readonly recordsInAll: number;
  /** Of all that was read: see `Tally`. */
  readonly checksum: number;
  /** memory-produce: records that the client did not take. */
  readonly refused: number;
  /** flat: what was in use after a collection, each time another tenth was done. */
  readonly inUseMegabytes: readonly number[];
  /** Which of the client's ways and settings were used. */
  readonly settings: string;
}

export const sendsMax = 10_000;
/** Records that one call takes where a call takes many. */
export const recordsPerCall = 1_000;
export const keyBytes = 12;
/** Records that are read were made at this time, and a millisecond after each other. */
export const firstTimestamp = 1_700_000_000_000;
/** Each record whose number is a multiple of it has a header. */
export const headerEach = 10;
/** memory-produce: what is offered each `offerEveryMs`. */
export const offerEveryMs = 10;
export const offeredRecords = 1_000;
/** memory-consume: how long a handler takes. */
export const handlerMs = 2;
