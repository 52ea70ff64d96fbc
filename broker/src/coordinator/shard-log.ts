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
 * - stale-producer-epoch, no-transaction: of a transaction's batch; its producer was fenced, or its transaction has ended meanwhile
 */
export type ShardAppendFailure =
  | "not-leader"
  | "log-failed"
  | "not-enough-replicas"
  | "too-large"
  | "stale-producer-epoch"
  | "no-transaction";

/** Whose transaction records belong to. */
export interface TransactionalProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** What the log gave when the transaction was about to begin here: void once a marker has come in between. */
  readonly guard: unknown;
}

/** The end of a producer's transaction in one partition. */
export interface TransactionMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly outcome: "commit" | "abort";
  /** The leader epoch of the coordinator's own partition: who was replaced writes no markers. */
  readonly coordinatorEpoch: number;
  /**
   * Its epoch is above that of the records it ends (KIP-890): then it never ends a transaction of its own epoch, which is the next one. Default: it
   * is not known.
   */
  readonly isEpochRaised?: boolean;
}

/** Why a marker was not written: besides the log's reasons, a newer producer epoch or coordinator has been here. */
export type MarkerAppendFailure = "not-leader" | "log-failed" | "stale-producer-epoch" | "stale-coordinator-epoch";

/** Why what was appended will not be committed, as far as this broker can know. */
export type ShardCommitFailure = "not-leader" | "log-failed";

/** The partition of an internal topic beneath a shard: all that a coordinator knows of a log. */
export interface ShardLog {
  /** What the next record gets. */
  readonly nextOffset: number;
  /** Of a batch, which `append` refuses as too large above it. */
  readonly batchBytesMax: number;
  /** Whether a batch within that is taken, as far as can be said beforehand. */
  readonly isWritable: boolean;
  /** One batch, of nobody's or of a producer's transaction. Gives the next offset after it. The order of calls is the order of offsets. */
  append(
    records: readonly CoordinatorRecord[],
    nowMs: TimeMs,
    producer: TransactionalProducer | null,
  ): Result<number, ShardAppendFailure>;
  /** The marker that ends a transaction. */
  appendMarker(marker: TransactionMarker, nowMs: TimeMs): Result<number, MarkerAppendFailure>;
  /** Calls back once, perhaps at once: null when everything below `nextOffset` is committed. */
  whenCommitted(nextOffset: number, settle: (failure: ShardCommitFailure | null) => void): void;
  /** Every batch from the log's start to its end, in order. Rejects when the log cannot be read. */
  batches(): AsyncIterable<RecordBatchView>;
}
