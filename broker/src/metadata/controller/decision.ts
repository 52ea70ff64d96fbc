import type { Result } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { BrokerConfigs } from "../../config/broker-configs.ts";
import type { MetadataImage } from "../image.ts";
import type { MetadataRecord } from "../records.ts";

/** The answer, and the records that must be in the log before it goes out. Deciding changes nothing. */
export interface Decision<Response> {
  readonly response: Response;
  readonly records: readonly MetadataRecord[];
}

/** What a decision is made from. */
export interface DecisionContext {
  readonly image: MetadataImage;
  readonly configs: BrokerConfigs;
  /** A fresh random id. */
  newTopicId(): Uuid;
}

/** What became of one item of a request: the message, where there is one, is for the client. */
export type ItemResult<T> = Result<T, ControllerFailure>;

export type ControllerFailure =
  | "bad-request"
  | "deletion-disabled"
  | "invalid-assignment"
  | "invalid-config"
  | "invalid-partitions"
  | "invalid-replication-factor"
  | "invalid-topic-name"
  | "metadata-unavailable"
  | "too-many-partitions"
  | "topic-exists"
  | "unknown-topic"
  | "unknown-topic-id";

/** What a client is told. A failure without a line here does not compile. */
export const codeOfControllerFailure: Readonly<Record<ControllerFailure, ErrorCode>> = {
  "bad-request": ErrorCode.INVALID_REQUEST,
  "deletion-disabled": ErrorCode.TOPIC_DELETION_DISABLED,
  "invalid-assignment": ErrorCode.INVALID_REPLICA_ASSIGNMENT,
  "invalid-config": ErrorCode.INVALID_CONFIG,
  "invalid-partitions": ErrorCode.INVALID_PARTITIONS,
  "invalid-replication-factor": ErrorCode.INVALID_REPLICATION_FACTOR,
  "invalid-topic-name": ErrorCode.INVALID_TOPIC_EXCEPTION,
  "metadata-unavailable": ErrorCode.KAFKA_STORAGE_ERROR,
  "too-many-partitions": ErrorCode.POLICY_VIOLATION,
  "topic-exists": ErrorCode.TOPIC_ALREADY_EXISTS,
  "unknown-topic": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "unknown-topic-id": ErrorCode.UNKNOWN_TOPIC_ID,
};

/** Which of these occur more than once. */
export function duplicatesOf<T>(items: Iterable<T>): ReadonlySet<T> {
  const seen = new Set<T>();
  const duplicates = new Set<T>();
  for (const item of items)
    if (seen.has(item)) duplicates.add(item);
    else seen.add(item);
  return duplicates;
}
