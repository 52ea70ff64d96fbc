/** What one run of the coordinators' load generator (generator.ts) does; it comes as JSON in its first argument. */
export type CoordinatorPlan = TransactionPlan | RebalancePlan | HeartbeatPlan | CommitPlan;

interface Bounds {
  readonly port: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface TransactionPlan extends Bounds {
  /**
   * - txn-throughput: one producer in a transaction and one without, in turns, as fast as answers come
   * - txn-rate: many producers, each one record a transaction
   * - txn-latency: one producer, one record a transaction
   */
  readonly kind: "txn-throughput" | "txn-rate" | "txn-latency";
  readonly topic: string;
  readonly topicId: string;
  readonly partitions: number;
  /** Producers at a time, each with its own connection. */
  readonly producers: number;
  /** Produce requests of one producer that are on their way at a time. */
  readonly inFlight: number;
  readonly recordsPerBatch: number;
  readonly recordBytes: number;
  /** txn-throughput: how long a transaction is open. */
  readonly commitEveryMs: number;
  /** txn-throughput ends earlier when so much was written. */
  readonly megabytesMax: number;
}

export interface RebalancePlan extends Bounds {
  readonly kind: "rebalance";
  readonly protocol: "classic" | "consumer";
  readonly groupId: string;
  readonly topic: string;
  readonly topicId: string;
  readonly partitions: number;
  readonly members: number;
  /** How often a member that waits for nothing is heard of: how soon it learns of a rebalance. */
  readonly heartbeatMs: number;
}

export interface HeartbeatPlan extends Bounds {
  readonly kind: "heartbeats";
  readonly groups: number;
  readonly membersPerGroup: number;
  readonly connections: number;
  readonly intervalMs: number;
  /** Where the members are kept from run to run: the first run makes the groups. */
  readonly membersFile: string;
}

export interface CommitPlan extends Bounds {
  readonly kind: "commits";
  readonly topic: string;
  /** Each a group of one member with one partition, one connection, and one commit on its way. */
  readonly committers: number;
  readonly groupPrefix: string;
}

/** A line of the generator's output: when the measured time begins and ends, and the result. */
export type CoordinatorEvent =
  | { readonly event: "measuring" | "measured" }
  | ({ readonly event: "result" } & CoordinatorResult);

export interface CoordinatorResult {
  /** The measured time. */
  readonly seconds: number;
  /** What the load counts, in the measured time: records, transactions, heartbeats, commits. */
  readonly count: number;
  readonly latencyMsMedian: number;
  readonly latencyMsP99: number;
  /** How often which request was answered with which error and tried again, in the whole run. */
  readonly retried: Readonly<Record<string, number>>;
  /** What was read back, in words. A run whose check fails ends with an error instead. */
  readonly checked: string;
  /** CPU seconds of the generator itself in the measured time. */
  readonly cpuSeconds: number;
  /** Medians of the run. txn-throughput: records a second without and within transactions, the share lost; rebalance: ms to settle. */
  readonly values: Readonly<Record<string, number>>;
  /** txn-latency: of each transaction, in milliseconds of the system's monotonic clock. */
  readonly transactions: readonly TransactionTimes[];
}

export interface TransactionTimes {
  readonly beganMs: number;
  readonly producedMs: number;
  readonly endedMs: number;
}

/** Of the system's monotonic clock, which all processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
