/**
 * Why batches were not appended. The broker has one table from these words to Kafka's codes.
 * - bad-crc: the bytes are not those that were sent
 * - bad-compression: a compressed block that cannot be read
 * - corrupt-batch: a length or a format that no batch has
 * - legacy-format: a message of format 0 or 1
 * - no-batch, truncated-batch, several-batches, control-batch, base-offset, bad-records: the form is not what a producer sends
 * - null-key: a compacted topic takes records with a key only
 * - transactional: transactional records where none are taken
 * - too-large: more than `max.message.bytes`
 * - bad-timestamp: see `message.timestamp.before.max.ms` and `after.max.ms`
 * - unsupported-compression: no such codec, none installed, or one that this version of Produce cannot carry
 * - stale-producer-epoch, sequence-gap, stale-coordinator-epoch, no-transaction: what the producer's state in this partition says
 * - disk-full: nothing is written until there is space again; to be tried again
 * - log-failed: the log is offline
 */
export type AppendFailureKind =
  | "bad-crc"
  | "bad-compression"
  | "corrupt-batch"
  | "legacy-format"
  | "no-batch"
  | "truncated-batch"
  | "several-batches"
  | "control-batch"
  | "base-offset"
  | "bad-records"
  | "null-key"
  | "transactional"
  | "too-large"
  | "bad-timestamp"
  | "unsupported-compression"
  | "stale-producer-epoch"
  | "sequence-gap"
  | "stale-coordinator-epoch"
  | "no-transaction"
  | "disk-full"
  | "log-failed";

/** One record that made the whole batch be refused (KIP-467). The names are those of the Produce answer. */
export interface RecordError {
  /** In the batch, from 0. */
  readonly batchIndex: number;
  readonly batchIndexErrorMessage: string;
}

export interface AppendFailure {
  readonly kind: AppendFailureKind;
  /** A sentence for the producer; names the offending thing. */
  readonly message: string;
  readonly recordErrors?: readonly RecordError[];
}
