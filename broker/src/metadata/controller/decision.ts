import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { BrokerConfigs } from "../../config/broker-configs.ts";
import type { BrokerImage, MetadataImage } from "../image.ts";
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
  | "broker-not-registered"
  | "deletion-disabled"
  | "duplicate-broker-registration"
  | "duplicate-voter"
  | "election-not-needed"
  | "eligible-leaders-not-available"
  | "fenced-leader-epoch"
  | "inconsistent-cluster-id"
  | "ineligible-replica"
  | "invalid-assignment"
  | "invalid-config"
  | "invalid-partitions"
  | "invalid-replication-factor"
  | "invalid-topic-name"
  | "invalid-update-version"
  | "metadata-unavailable"
  | "new-leader-elected"
  | "no-reassignment-in-progress"
  | "not-controller"
  | "preferred-leader-not-available"
  | "stale-broker-epoch"
  | "timed-out"
  | "too-many-partitions"
  | "topic-exists"
  | "unknown-topic"
  | "unknown-topic-id"
  | "unsupported-version"
  | "voter-not-found";

/** What a client is told. A failure without a line here does not compile. */
export const codeOfControllerFailure: Readonly<Record<ControllerFailure, ErrorCode>> = {
  "bad-request": ErrorCode.INVALID_REQUEST,
  "broker-not-registered": ErrorCode.BROKER_ID_NOT_REGISTERED,
  "deletion-disabled": ErrorCode.TOPIC_DELETION_DISABLED,
  "duplicate-broker-registration": ErrorCode.DUPLICATE_BROKER_REGISTRATION,
  "duplicate-voter": ErrorCode.DUPLICATE_VOTER,
  "election-not-needed": ErrorCode.ELECTION_NOT_NEEDED,
  "eligible-leaders-not-available": ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
  "fenced-leader-epoch": ErrorCode.FENCED_LEADER_EPOCH,
  "inconsistent-cluster-id": ErrorCode.INCONSISTENT_CLUSTER_ID,
  "ineligible-replica": ErrorCode.INELIGIBLE_REPLICA,
  "invalid-assignment": ErrorCode.INVALID_REPLICA_ASSIGNMENT,
  "invalid-config": ErrorCode.INVALID_CONFIG,
  "invalid-partitions": ErrorCode.INVALID_PARTITIONS,
  "invalid-replication-factor": ErrorCode.INVALID_REPLICATION_FACTOR,
  "invalid-topic-name": ErrorCode.INVALID_TOPIC_EXCEPTION,
  "invalid-update-version": ErrorCode.INVALID_UPDATE_VERSION,
  "metadata-unavailable": ErrorCode.KAFKA_STORAGE_ERROR,
  "new-leader-elected": ErrorCode.NEW_LEADER_ELECTED,
  "no-reassignment-in-progress": ErrorCode.NO_REASSIGNMENT_IN_PROGRESS,
  "not-controller": ErrorCode.NOT_CONTROLLER,
  "preferred-leader-not-available": ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
  "stale-broker-epoch": ErrorCode.STALE_BROKER_EPOCH,
  "timed-out": ErrorCode.REQUEST_TIMED_OUT,
  "too-many-partitions": ErrorCode.POLICY_VIOLATION,
  "topic-exists": ErrorCode.TOPIC_ALREADY_EXISTS,
  "unknown-topic": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "unknown-topic-id": ErrorCode.UNKNOWN_TOPIC_ID,
  "unsupported-version": ErrorCode.UNSUPPORTED_VERSION,
  "voter-not-found": ErrorCode.VOTER_NOT_FOUND,
};

/** The broker that sends something, if it is the one that is registered: an earlier life of it has nothing to say. */
export function senderOf(
  image: MetadataImage,
  { brokerId, brokerEpoch }: { readonly brokerId: number; readonly brokerEpoch: number },
): ItemResult<BrokerImage> {
  const broker = image.brokers.get(brokerId);
  if (broker === undefined) {
    return failed("stale-broker-epoch", `No broker registration found for broker id ${brokerId}`);
  }
  if (broker.epoch !== brokerEpoch) {
    return failed("stale-broker-epoch", `Expected broker epoch ${broker.epoch}, but got broker epoch ${brokerEpoch}`);
  }
  return ok(broker);
}

/** Which of these occur more than once. */
export function duplicatesOf<T>(items: Iterable<T>): ReadonlySet<T> {
  const seen = new Set<T>();
  const duplicates = new Set<T>();
  for (const item of items)
    if (seen.has(item)) duplicates.add(item);
    else seen.add(item);
  return duplicates;
}
