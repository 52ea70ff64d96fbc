import { ErrorCode } from "kafka-protocol-ts/errors";
import type { ReadFailure } from "@millrace/storage/log";
import type { AppendFailureKind } from "@millrace/storage/append-failure";
import type { CommitFailure } from "./partitions/partition.ts";

/*
 * The total tables from the words rooms use to Kafka's codes: a failure without a line here does not compile.
 * No handler invents a number. An idempotent producer must never see UNKNOWN_SERVER_ERROR (KAFKA-14034).
 */

/** What a producer is told. */
export const codeOfAppendFailure: Readonly<Record<AppendFailureKind, ErrorCode>> = {
  "bad-crc": ErrorCode.CORRUPT_MESSAGE,
  "bad-compression": ErrorCode.CORRUPT_MESSAGE,
  "corrupt-batch": ErrorCode.CORRUPT_MESSAGE,
  "legacy-format": ErrorCode.INVALID_RECORD,
  "no-batch": ErrorCode.INVALID_RECORD,
  "truncated-batch": ErrorCode.INVALID_RECORD,
  "several-batches": ErrorCode.INVALID_RECORD,
  "control-batch": ErrorCode.INVALID_RECORD,
  "base-offset": ErrorCode.INVALID_RECORD,
  "bad-records": ErrorCode.INVALID_RECORD,
  "null-key": ErrorCode.INVALID_RECORD,
  transactional: ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  "too-large": ErrorCode.MESSAGE_TOO_LARGE,
  "bad-timestamp": ErrorCode.INVALID_TIMESTAMP,
  "unsupported-compression": ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  "stale-producer-epoch": ErrorCode.INVALID_PRODUCER_EPOCH,
  "sequence-gap": ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  "stale-coordinator-epoch": ErrorCode.TRANSACTION_COORDINATOR_FENCED,
  "no-transaction": ErrorCode.INVALID_TXN_STATE,
  // Retriable: the record is taken once there is space again.
  "disk-full": ErrorCode.KAFKA_STORAGE_ERROR,
  "log-failed": ErrorCode.KAFKA_STORAGE_ERROR,
};

/** What a producer is told whose batch was appended and did not become durable. */
export const codeOfCommitFailure: Readonly<Record<CommitFailure, ErrorCode>> = {
  "not-leader": ErrorCode.NOT_LEADER_OR_FOLLOWER,
  "log-failed": ErrorCode.KAFKA_STORAGE_ERROR,
  "disk-full": ErrorCode.KAFKA_STORAGE_ERROR,
  "not-enough-replicas": ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
};

/** What a reader is told. */
export const codeOfReadFailure: Readonly<
  Record<ReadFailure | "fenced-leader-epoch" | "unknown-leader-epoch", ErrorCode>
> = {
  "out-of-range": ErrorCode.OFFSET_OUT_OF_RANGE,
  corrupt: ErrorCode.CORRUPT_MESSAGE,
  "log-failed": ErrorCode.KAFKA_STORAGE_ERROR,
  "fenced-leader-epoch": ErrorCode.FENCED_LEADER_EPOCH,
  "unknown-leader-epoch": ErrorCode.UNKNOWN_LEADER_EPOCH,
};
