/**
 * Every error code of Apache Kafka 4.3 under Kafka's own name: the code, whether it is retriable (the same request may
 * succeed later, and clients try again by themselves), and our sentence for the person who gets it.
 */
export const errors = {
  UNKNOWN_SERVER_ERROR: [-1, false, "The broker failed in a way that it did not foresee; its log says more."],
  NONE: [0, false, "No error."],
  OFFSET_OUT_OF_RANGE: [1, false, "The offset lies outside of the partition's log."],
  CORRUPT_MESSAGE: [2, true, "The records' checksum does not fit their bytes, or their bytes are no batch."],
  UNKNOWN_TOPIC_OR_PARTITION: [3, true, "This broker has no such topic or partition."],
  INVALID_FETCH_SIZE: [4, false, "The number of bytes to fetch makes no sense."],
  LEADER_NOT_AVAILABLE: [5, true, "The partition has no leader right now; one is being elected."],
  NOT_LEADER_OR_FOLLOWER: [6, true, "This broker is not the partition's leader, or holds no replica of it."],
  REQUEST_TIMED_OUT: [7, true, "The request's time was over before it was done."],
  BROKER_NOT_AVAILABLE: [8, false, "The broker is not available."],
  REPLICA_NOT_AVAILABLE: [9, true, "This broker has no usable replica of the partition."],
  MESSAGE_TOO_LARGE: [10, false, "The batch is larger than the topic's max.message.bytes."],
  STALE_CONTROLLER_EPOCH: [11, false, "The controller that sent this has been replaced."],
  OFFSET_METADATA_TOO_LARGE: [
    12,
    false,
    "The text beside the committed offset is longer than offset.metadata.max.bytes.",
  ],
  NETWORK_EXCEPTION: [13, true, "The connection ended before the answer came."],
  COORDINATOR_LOAD_IN_PROGRESS: [14, true, "The coordinator is still reading its log."],
  COORDINATOR_NOT_AVAILABLE: [15, true, "The coordinator is not available right now."],
  NOT_COORDINATOR: [16, true, "This broker is not the coordinator; ask FindCoordinator."],
  INVALID_TOPIC_EXCEPTION: [17, false, "The topic's name is not allowed, or the topic may not be used like this."],
  RECORD_LIST_TOO_LARGE: [18, false, "The batches of one partition are larger than a segment."],
  NOT_ENOUGH_REPLICAS: [19, true, "Fewer replicas are in sync than min.insync.replicas; nothing was written."],
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: [20, true, "Written, but by fewer in-sync replicas than min.insync.replicas."],
  INVALID_REQUIRED_ACKS: [21, false, "acks must be -1, 0 or 1."],
  ILLEGAL_GENERATION: [22, false, "The group is in another generation than the member."],
  INCONSISTENT_GROUP_PROTOCOL: [23, false, "The member shares no protocol with the rest of the group."],
  INVALID_GROUP_ID: [24, false, "The group id is empty or not allowed."],
  UNKNOWN_MEMBER_ID: [25, false, "The group has no such member."],
  INVALID_SESSION_TIMEOUT: [26, false, "The session timeout lies outside of what the broker allows."],
  REBALANCE_IN_PROGRESS: [27, false, "The group is rebalancing; the member should join again."],
  INVALID_COMMIT_OFFSET_SIZE: [28, false, "The offsets are too large to be stored together."],
  TOPIC_AUTHORIZATION_FAILED: [29, false, "Not allowed on this topic."],
  GROUP_AUTHORIZATION_FAILED: [30, false, "Not allowed on this group."],
  CLUSTER_AUTHORIZATION_FAILED: [31, false, "Not allowed on this cluster."],
  INVALID_TIMESTAMP: [32, false, "A record's timestamp is too far from the broker's time."],
  UNSUPPORTED_SASL_MECHANISM: [33, false, "The listener does not offer this SASL mechanism."],
  ILLEGAL_SASL_STATE: [34, false, "This SASL request does not fit the state of the connection."],
  UNSUPPORTED_VERSION: [35, false, "The broker does not speak this version of the API."],
  TOPIC_ALREADY_EXISTS: [36, false, "A topic of this name exists."],
  INVALID_PARTITIONS: [37, false, "The number of partitions is not possible."],
  INVALID_REPLICATION_FACTOR: [38, false, "The replication factor is below 1 or above the number of brokers."],
  INVALID_REPLICA_ASSIGNMENT: [39, false, "The assignment of replicas to brokers is not possible."],
  INVALID_CONFIG: [40, false, "A config has an unknown name or a value that is not allowed."],
  NOT_CONTROLLER: [41, true, "This node is not the active controller."],
  INVALID_REQUEST: [42, false, "The request contradicts itself or lacks something."],
  UNSUPPORTED_FOR_MESSAGE_FORMAT: [43, false, "The log's record format is too old for this request."],
  POLICY_VIOLATION: [44, false, "A policy of this cluster forbids it."],
  OUT_OF_ORDER_SEQUENCE_NUMBER: [45, false, "The producer's sequence number leaves a gap."],
  DUPLICATE_SEQUENCE_NUMBER: [46, false, "The producer's sequence number was used before."],
  INVALID_PRODUCER_EPOCH: [47, false, "The producer's epoch is older than the current one."],
  INVALID_TXN_STATE: [48, false, "The transaction is not in a state that allows this."],
  INVALID_PRODUCER_ID_MAPPING: [49, false, "The producer id does not belong to this transactional id."],
  INVALID_TRANSACTION_TIMEOUT: [50, false, "The transaction timeout is above transaction.max.timeout.ms."],
  CONCURRENT_TRANSACTIONS: [51, true, "An earlier transaction of this producer is still being ended."],
  TRANSACTION_COORDINATOR_FENCED: [52, false, "The transaction coordinator that sent this has been replaced."],
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: [53, false, "Not allowed on this transactional id."],
  SECURITY_DISABLED: [54, false, "No authorizer is configured."],
  OPERATION_NOT_ATTEMPTED: [55, false, "Not tried, because another part of the request failed."],
  KAFKA_STORAGE_ERROR: [56, true, "The disk below the partition failed."],
  LOG_DIR_NOT_FOUND: [57, false, "The broker has no such log directory."],
  SASL_AUTHENTICATION_FAILED: [58, false, "The credentials were not accepted."],
  UNKNOWN_PRODUCER_ID: [59, false, "The partition knows nothing of this producer id any more."],
  REASSIGNMENT_IN_PROGRESS: [60, false, "The partition's replicas are being moved."],
  DELEGATION_TOKEN_AUTH_DISABLED: [61, false, "Delegation tokens are switched off."],
  DELEGATION_TOKEN_NOT_FOUND: [62, false, "There is no such delegation token."],
  DELEGATION_TOKEN_OWNER_MISMATCH: [63, false, "The delegation token belongs to somebody else."],
  DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: [64, false, "Delegation tokens can not be asked for over this connection."],
  DELEGATION_TOKEN_AUTHORIZATION_FAILED: [65, false, "Not allowed on this delegation token."],
  DELEGATION_TOKEN_EXPIRED: [66, false, "The delegation token has expired."],
  INVALID_PRINCIPAL_TYPE: [67, false, "Principals of this type are not supported here."],
  NON_EMPTY_GROUP: [68, false, "The group still has members."],
  GROUP_ID_NOT_FOUND: [69, false, "There is no such group."],
  FETCH_SESSION_ID_NOT_FOUND: [70, true, "The broker does not know this fetch session."],
  INVALID_FETCH_SESSION_EPOCH: [71, true, "The fetch session is at another epoch."],
  LISTENER_NOT_FOUND: [72, true, "The leader has no listener that matches the one of this connection."],
  TOPIC_DELETION_DISABLED: [73, false, "Topics may not be deleted (delete.topic.enable)."],
  FENCED_LEADER_EPOCH: [74, true, "The leader epoch is older than the broker's."],
  UNKNOWN_LEADER_EPOCH: [75, true, "The leader epoch is newer than the broker's."],
  UNSUPPORTED_COMPRESSION_TYPE: [76, false, "This version of the API can not carry the batch's compression."],
  STALE_BROKER_EPOCH: [77, false, "The broker has registered again since."],
  OFFSET_NOT_AVAILABLE: [78, true, "A new leader does not know yet how far its log is safe."],
  MEMBER_ID_REQUIRED: [79, false, "The member must join again with the id that it was given."],
  PREFERRED_LEADER_NOT_AVAILABLE: [80, true, "The preferred leader is not available."],
  GROUP_MAX_SIZE_REACHED: [81, false, "The group has as many members as it may have."],
  FENCED_INSTANCE_ID: [82, false, "Another member took over this group.instance.id."],
  ELIGIBLE_LEADERS_NOT_AVAILABLE: [83, true, "No replica that could lead is available."],
  ELECTION_NOT_NEEDED: [84, true, "The partition already has the leader that was asked for."],
  NO_REASSIGNMENT_IN_PROGRESS: [85, false, "The partition's replicas are not being moved."],
  GROUP_SUBSCRIBED_TO_TOPIC: [86, false, "The group is subscribed to the topic, so that its offsets stay."],
  INVALID_RECORD: [87, false, "A record, or the batch around it, breaks a rule of the topic or of the format."],
  UNSTABLE_OFFSET_COMMIT: [88, true, "An open transaction holds offsets that are not final yet."],
  THROTTLING_QUOTA_EXCEEDED: [89, true, "A quota is used up; try again after the throttle time."],
  PRODUCER_FENCED: [90, false, "A newer producer took over this transactional id."],
  RESOURCE_NOT_FOUND: [91, false, "There is no such resource."],
  DUPLICATE_RESOURCE: [92, false, "The request names a resource twice, or the resource exists."],
  UNACCEPTABLE_CREDENTIAL: [93, false, "The credential is not good enough to be stored."],
  INCONSISTENT_VOTER_SET: [94, false, "The two sides do not agree on who votes."],
  INVALID_UPDATE_VERSION: [95, false, "The change is based on a version that is not the current one."],
  FEATURE_UPDATE_FAILED: [96, false, "The feature level could not be changed."],
  PRINCIPAL_DESERIALIZATION_FAILURE: [97, false, "The forwarded principal could not be read."],
  SNAPSHOT_NOT_FOUND: [98, false, "There is no such metadata snapshot."],
  POSITION_OUT_OF_RANGE: [99, false, "The position lies outside of the metadata snapshot."],
  UNKNOWN_TOPIC_ID: [100, true, "This broker has no topic with this id."],
  DUPLICATE_BROKER_REGISTRATION: [101, false, "A live broker uses this broker id."],
  BROKER_ID_NOT_REGISTERED: [102, false, "No broker of this id is registered."],
  INCONSISTENT_TOPIC_ID: [103, true, "The topic's id in the log is not the one in the request."],
  INCONSISTENT_CLUSTER_ID: [104, false, "The request is meant for another cluster."],
  TRANSACTIONAL_ID_NOT_FOUND: [105, false, "There is no such transactional id."],
  FETCH_SESSION_TOPIC_ID_ERROR: [106, true, "The fetch session used topic names and now ids, or the other way round."],
  INELIGIBLE_REPLICA: [107, false, "The replica may not be in the ISR."],
  NEW_LEADER_ELECTED: [108, false, "The ISR changed as asked, and the partition has a new leader by it."],
  OFFSET_MOVED_TO_TIERED_STORAGE: [109, false, "The offset is only in tiered storage by now."],
  FENCED_MEMBER_EPOCH: [
    110,
    false,
    "The member's epoch is not the coordinator's; it must give up its partitions and join again.",
  ],
  UNRELEASED_INSTANCE_ID: [111, false, "Another member still uses this instance id."],
  UNSUPPORTED_ASSIGNOR: [112, false, "The coordinator does not know the assignor."],
  STALE_MEMBER_EPOCH: [113, false, "The member's epoch is older than the coordinator's; it should heartbeat first."],
  MISMATCHED_ENDPOINT_TYPE: [
    114,
    false,
    "The request went to a broker and asked for controllers, or the other way round.",
  ],
  UNSUPPORTED_ENDPOINT_TYPE: [115, false, "There is no such kind of endpoint."],
  UNKNOWN_CONTROLLER_ID: [116, false, "There is no such controller."],
  UNKNOWN_SUBSCRIPTION_ID: [117, false, "The metrics subscription has changed since; ask for it again."],
  TELEMETRY_TOO_LARGE: [118, false, "The pushed metrics are larger than the broker takes."],
  INVALID_REGISTRATION: [119, false, "The controller does not accept the registration."],
  TRANSACTION_ABORTABLE: [120, false, "The transaction can not go on, but it can be aborted."],
  INVALID_RECORD_STATE: [121, false, "The record is not in a state that can be acknowledged like this."],
  SHARE_SESSION_NOT_FOUND: [122, true, "The broker does not know this share session."],
  INVALID_SHARE_SESSION_EPOCH: [123, true, "The share session is at another epoch."],
  FENCED_STATE_EPOCH: [124, false, "The share partition's state is at a newer epoch."],
  INVALID_VOTER_KEY: [125, false, "The voter's id and directory id are not those of the receiver."],
  DUPLICATE_VOTER: [126, false, "The voter is already one."],
  VOTER_NOT_FOUND: [127, false, "There is no such voter."],
  INVALID_REGULAR_EXPRESSION: [128, false, "The pattern is not a regular expression of RE2/J."],
  REBOOTSTRAP_REQUIRED: [
    129,
    false,
    "What the client knows of the cluster is out of date; it should start from its bootstrap list.",
  ],
  STREAMS_INVALID_TOPOLOGY: [130, false, "The topology can not be run."],
  STREAMS_INVALID_TOPOLOGY_EPOCH: [131, false, "The topology's epoch makes no sense."],
  STREAMS_TOPOLOGY_FENCED: [132, false, "The group has moved on to a newer topology."],
  SHARE_SESSION_LIMIT_REACHED: [133, true, "The broker has as many share sessions as it may have."],
} as const;

export type ErrorName = keyof typeof errors;

/** The code of each error, by its name: `ErrorCode.NOT_COORDINATOR`. */
export const ErrorCode: { readonly [Name in ErrorName]: (typeof errors)[Name][0] } = codes();
export type ErrorCode = (typeof ErrorCode)[ErrorName];

const namesByCode: ReadonlyMap<number, ErrorName> = new Map(names().map((name) => [errors[name][0], name]));

/** Kafka's name of a code; a code from the future is named by its number. */
export function errorName(code: number): string {
  return namesByCode.get(code) ?? `ERROR_${code}`;
}

/** Whether a client may simply try again. A code from the future is not retriable. */
export function isRetriable(code: number): boolean {
  const name = namesByCode.get(code);
  return name !== undefined && errors[name][1];
}

/** What went wrong, in a sentence. */
export function errorMessage(code: number): string {
  const name = namesByCode.get(code);
  return name === undefined ? `The error code ${code} is not known here.` : errors[name][2];
}

function names(): ErrorName[] {
  return Object.keys(errors) as ErrorName[];
}

function codes(): typeof ErrorCode {
  return Object.fromEntries(names().map((name) => [name, errors[name][0]])) as unknown as typeof ErrorCode;
}
