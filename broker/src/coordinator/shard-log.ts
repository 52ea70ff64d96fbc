import type { Result } from "@millrace/base/result";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { TimeMs } from "@millrace/base/units";

/** A record as it lies in an internal topic: an int16 type and a key, an int16 version and a value, or a tombstone. */
export interface CoordinatorRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/**
 * Why a batch was not appended.
 * - not-leader, log-failed: nothing more will be appended here
 * - not-enough-replicas: later it may be
 * - too-large: this batch never will be, others may
 */
export type ShardAppendFailure = "not-leader" | "log-failed" | "not-enough-replicas" | "too-large";

/** Why what was appended will not be committed, as far as this broker can know. */
export type ShardCommitFailure = "not-leader" | "log-failed";

/** The partition of an internal topic beneath a shard: all that a coordinator knows of a log. */
export interface ShardLog {
  /** One batch without a producer id. Gives the next offset after it. The order of calls is the order of offsets. */
  append(records: readonly CoordinatorRecord[], nowMs: TimeMs): Result<number, ShardAppendFailure>;
  /** Calls back once, perhaps at once: null when everything below `nextOffset` is committed. */
  whenCommitted(nextOffset: number, settle: (failure: ShardCommitFailure | null) => void): void;
  /** Every batch from the log's start to its end, in order. Rejects when the log cannot be read. */
  batches(): AsyncIterable<RecordBatchView>;
}
