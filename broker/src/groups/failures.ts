import { ErrorCode } from "kafka-protocol-ts/errors";
import type { CoordinatorFailure } from "../coordinator/shard.ts";

/** What a group refuses, in words. */
export type GroupFailure =
  | "invalid-group-id"
  | "group-id-not-found"
  | "non-empty-group"
  | "unknown-member-id"
  | "fenced-instance-id"
  | "illegal-generation"
  | "rebalance-in-progress"
  | "member-id-required"
  | "group-max-size-reached"
  | "inconsistent-group-protocol"
  | "invalid-session-timeout"
  | "too-many-pending-joins"
  | "assignment-too-large"
  | "group-subscribed-to-topic"
  | "offset-metadata-too-large"
  | "unstable-offset-commit"
  | "unknown-topic-or-partition"
  | "unknown-topic-id"
  | "invalid-request"
  | "fenced-member-epoch"
  | "stale-member-epoch"
  | "unreleased-instance-id"
  | "unsupported-assignor"
  | "unsupported-version"
  | "invalid-regular-expression";

/** The codes that clients are told. A failure without a line here does not compile. */
export const codeOfGroupFailure: Readonly<Record<GroupFailure, ErrorCode>> = {
  "invalid-group-id": ErrorCode.INVALID_GROUP_ID,
  "group-id-not-found": ErrorCode.GROUP_ID_NOT_FOUND,
  "non-empty-group": ErrorCode.NON_EMPTY_GROUP,
  "unknown-member-id": ErrorCode.UNKNOWN_MEMBER_ID,
  "fenced-instance-id": ErrorCode.FENCED_INSTANCE_ID,
  "illegal-generation": ErrorCode.ILLEGAL_GENERATION,
  "rebalance-in-progress": ErrorCode.REBALANCE_IN_PROGRESS,
  "member-id-required": ErrorCode.MEMBER_ID_REQUIRED,
  "group-max-size-reached": ErrorCode.GROUP_MAX_SIZE_REACHED,
  "inconsistent-group-protocol": ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
  "invalid-session-timeout": ErrorCode.INVALID_SESSION_TIMEOUT,
  // Retriable, with a back-off and without a new search for the coordinator: what a full coordinator wants.
  "too-many-pending-joins": ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  "assignment-too-large": ErrorCode.UNKNOWN_SERVER_ERROR,
  "group-subscribed-to-topic": ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
  "offset-metadata-too-large": ErrorCode.OFFSET_METADATA_TOO_LARGE,
  "unstable-offset-commit": ErrorCode.UNSTABLE_OFFSET_COMMIT,
  "unknown-topic-or-partition": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "unknown-topic-id": ErrorCode.UNKNOWN_TOPIC_ID,
  "invalid-request": ErrorCode.INVALID_REQUEST,
  "fenced-member-epoch": ErrorCode.FENCED_MEMBER_EPOCH,
  "stale-member-epoch": ErrorCode.STALE_MEMBER_EPOCH,
  "unreleased-instance-id": ErrorCode.UNRELEASED_INSTANCE_ID,
  "unsupported-assignor": ErrorCode.UNSUPPORTED_ASSIGNOR,
  "unsupported-version": ErrorCode.UNSUPPORTED_VERSION,
  "invalid-regular-expression": ErrorCode.INVALID_REGULAR_EXPRESSION,
};

/** What clients are told when the coordinator itself could not answer: the first three mean "try again". */
export const codeOfCoordinatorFailure: Readonly<Record<CoordinatorFailure, ErrorCode>> = {
  loading: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  "not-coordinator": ErrorCode.NOT_COORDINATOR,
  "not-available": ErrorCode.COORDINATOR_NOT_AVAILABLE,
  "too-large": ErrorCode.UNKNOWN_SERVER_ERROR,
  "stale-producer-epoch": ErrorCode.INVALID_PRODUCER_EPOCH,
  "no-transaction": ErrorCode.INVALID_TXN_STATE,
};
