import { ErrorCode } from "kafka-protocol-ts/errors";

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
