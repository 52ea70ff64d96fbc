import { ErrorCode } from "kafka-protocol-ts/errors";
import type { CoordinatorFailure } from "../coordinator/shard.ts";

/** What the transaction coordinator refuses, in words. */
export type TransactionFailure =
  | "invalid-timeout"
  | "invalid-producer-id-mapping"
  | "producer-fenced"
  | "concurrent-transactions"
  | "invalid-state"
  | "abortable";

/** The codes that clients are told. A failure without a line here does not compile. */
export const codeOfTransactionFailure: Readonly<Record<TransactionFailure, ErrorCode>> = {
  "invalid-timeout": ErrorCode.INVALID_TRANSACTION_TIMEOUT,
  "invalid-producer-id-mapping": ErrorCode.INVALID_PRODUCER_ID_MAPPING,
  "producer-fenced": ErrorCode.PRODUCER_FENCED,
  // Ask again in a moment: the last transaction is being ended.
  "concurrent-transactions": ErrorCode.CONCURRENT_TRANSACTIONS,
  "invalid-state": ErrorCode.INVALID_TXN_STATE,
  // The transaction cannot go on, and the producer can: it aborts (KIP-890).
  abortable: ErrorCode.TRANSACTION_ABORTABLE,
};

/** What clients of the coordinator are told, whatever the reason. */
export const codeOfTransactionRequestFailure: Readonly<Record<TransactionFailure | CoordinatorFailure, ErrorCode>> = {
  ...codeOfTransactionFailure,
  loading: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  "not-coordinator": ErrorCode.NOT_COORDINATOR,
  "not-available": ErrorCode.COORDINATOR_NOT_AVAILABLE,
  "too-large": ErrorCode.UNKNOWN_SERVER_ERROR,
  "stale-producer-epoch": ErrorCode.INVALID_PRODUCER_EPOCH,
  "no-transaction": ErrorCode.INVALID_TXN_STATE,
};

/** How much of KIP-890 a request that writes in a transaction knows: nothing, TRANSACTION_ABORTABLE too, or that it names partitions by writing to them. */
export type TransactionSupport = "none" | "abortable" | "implicit";

/**
 * What a producer is told whose records, or offsets, were not let in. Older ones know fewer codes: what they should try again is told as
 * NOT_ENOUGH_REPLICAS, which every producer tries again without asking anybody else.
 */
export function codeOfAdmission(
  failure: TransactionFailure | CoordinatorFailure,
  support: TransactionSupport,
): ErrorCode {
  switch (failure) {
    case "producer-fenced":
      return ErrorCode.INVALID_PRODUCER_EPOCH;
    case "abortable":
      return support === "none" ? ErrorCode.INVALID_TXN_STATE : ErrorCode.TRANSACTION_ABORTABLE;
    case "concurrent-transactions":
      return support === "implicit" ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.NOT_ENOUGH_REPLICAS;
    case "loading":
    case "not-coordinator":
    case "not-available":
      return ErrorCode.NOT_ENOUGH_REPLICAS;
    default:
      return codeOfTransactionRequestFailure[failure];
  }
}
