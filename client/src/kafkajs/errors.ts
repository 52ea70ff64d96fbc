/**
 * The error classes of KafkaJS, by name and shape: programs tell them apart by `name`, `instanceof`, `type`, `code` and
 * `retriable`. The sentences are those of this client; `cause` holds its KafkaError where there is one.
 */

export interface KafkaJSErrorMetadata {
  readonly retriable?: boolean;
  readonly topic?: string;
  readonly partitionId?: number;
  readonly metadata?: unknown;
  readonly cause?: unknown;
}

export interface KafkaJSOffsetOutOfRangeMetadata {
  readonly topic: string;
  readonly partition: number;
}

export interface KafkaJSNumberOfRetriesExceededMetadata {
  readonly retryCount: number;
  readonly retryTime: number;
}

export interface KafkaJSConnectionErrorMetadata {
  readonly broker?: string | undefined;
  readonly code?: string | undefined;
}

export interface KafkaJSTopicMetadataNotLoadedMetadata {
  readonly topic: string;
}

export interface KafkaJSStaleTopicMetadataAssignmentMetadata {
  readonly topic: string;
  readonly unknownPartitions: unknown;
}

export interface KafkaJSServerDoesNotSupportApiKeyMetadata {
  readonly apiKey: number;
  readonly apiName: string;
}

/** What a protocol error is made of: the broker's code under the name that KafkaJS gives it. */
export interface ProtocolErrorSource {
  readonly message: string;
  readonly type: string;
  readonly code: number;
  readonly retriable: boolean;
  readonly cause?: unknown;
}

/** A message, an error that is shown under another class, or what a broker said. */
export type ErrorSource = string | Error | ProtocolErrorSource;

/**
 * What all errors of this interface are, but `KafkaJSAggregateError` and `KafkaJSFetcherRebalanceError`. `cause` holds
 * the `KafkaError` where there is one.
 */
export class KafkaJSError extends Error {
  override readonly name: string = "KafkaJSError";
  readonly retriable: boolean;
  readonly helpUrl?: string;
  declare readonly cause?: Error;

  constructor(source: ErrorSource = "", { retriable = true, cause = causeOf(source) }: KafkaJSErrorMetadata = {}) {
    super(typeof source === "string" ? source : source.message, cause === undefined ? undefined : { cause });
    this.retriable = retriable;
    const { helpUrl } = source as { readonly helpUrl?: string };
    if (helpUrl !== undefined) this.helpUrl = helpUrl;
  }
}

/** A class, too, so that `instanceof` says that no retry mends it. */
export class KafkaJSNonRetriableError extends KafkaJSError {
  override readonly name: string = "KafkaJSNonRetriableError";
  constructor(source: ErrorSource = "", metadata: { readonly cause?: unknown } = {}) {
    super(source, { ...metadata, retriable: false });
  }
}

/** A broker's answer. `type` is the name of `code` as KafkaJS knows it: NOT_LEADER_FOR_PARTITION where Kafka says NOT_LEADER_OR_FOLLOWER. */
export class KafkaJSProtocolError extends KafkaJSError {
  override readonly name: string = "KafkaJSProtocolError";
  readonly type: string;
  readonly code: number;
  constructor(source: ErrorSource, metadata: { readonly retriable?: boolean } = {}) {
    const { retriable, type, code } = source as Partial<ProtocolErrorSource>;
    super(source, { retriable: metadata.retriable ?? retriable ?? true });
    this.type = type ?? "UNKNOWN";
    this.code = code ?? -1;
  }
}

/** A position is not in the log (any more). */
export class KafkaJSOffsetOutOfRange extends KafkaJSProtocolError {
  override readonly name: string = "KafkaJSOffsetOutOfRange";
  readonly topic: string;
  readonly partition: number;
  constructor(source: ErrorSource, { topic, partition }: KafkaJSOffsetOutOfRangeMetadata) {
    super(source);
    this.topic = topic;
    this.partition = partition;
  }
}

/** A member is to join again under the id that it was given. */
export class KafkaJSMemberIdRequired extends KafkaJSProtocolError {
  override readonly name: string = "KafkaJSMemberIdRequired";
  readonly memberId: string;
  constructor(source: ErrorSource, { memberId }: { readonly memberId: string }) {
    super(source);
    this.memberId = memberId;
  }
}

/** All tries have failed; `cause` is why the last one did. */
export class KafkaJSNumberOfRetriesExceeded extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSNumberOfRetriesExceeded";
  readonly retryCount: number;
  /** Milliseconds: the last pause. */
  readonly retryTime: number;
  declare readonly stack: string;
  constructor(source: ErrorSource, { retryCount, retryTime }: KafkaJSNumberOfRetriesExceededMetadata) {
    super(source, { cause: source });
    this.retryCount = retryCount;
    this.retryTime = retryTime;
    if (source instanceof Error)
      Object.assign(this, { stack: `KafkaJSNumberOfRetriesExceeded\n  Caused by: ${source.stack}` });
  }
}

/** A broker could not be reached. */
export class KafkaJSConnectionError extends KafkaJSError {
  override readonly name: string = "KafkaJSConnectionError";
  /** "host:port" */
  readonly broker: string;
  /** The system's: ECONNREFUSED ... */
  readonly code: string | undefined;
  constructor(source: ErrorSource, { broker = "", code }: KafkaJSConnectionErrorMetadata = {}) {
    super(source);
    this.broker = broker;
    this.code = code;
  }
}

/** The connection ended before the answer came. */
export class KafkaJSConnectionClosedError extends KafkaJSConnectionError {
  override readonly name: string = "KafkaJSConnectionClosedError";
  readonly host: string | undefined;
  readonly port: number | undefined;
  constructor(source: ErrorSource, { host, port }: { readonly host?: string; readonly port?: number } = {}) {
    super(source, { broker: `${host}:${port}` });
    this.host = host;
    this.port = port;
  }
}

/** What of a request without an answer is known here: times are 0, since the client does not keep them. */
export class KafkaJSRequestTimeoutError extends KafkaJSError {
  override readonly name: string = "KafkaJSRequestTimeoutError";
  readonly broker: string;
  readonly correlationId: number;
  readonly createdAt: number;
  readonly sentAt: number;
  readonly pendingDuration: number;
  constructor(source: ErrorSource, metadata: Partial<KafkaJSRequestTimeoutErrorMetadata> = {}) {
    super(source);
    this.broker = metadata.broker ?? "";
    this.correlationId = metadata.correlationId ?? 0;
    this.createdAt = metadata.createdAt ?? 0;
    this.sentAt = metadata.sentAt ?? 0;
    this.pendingDuration = metadata.pendingDuration ?? 0;
  }
}

export interface KafkaJSRequestTimeoutErrorMetadata {
  readonly broker: string;
  readonly clientId: string;
  readonly correlationId: number;
  readonly createdAt: number;
  readonly sentAt: number;
  readonly pendingDuration: number;
}

/** The cluster could not be asked for its topics. */
export class KafkaJSMetadataNotLoaded extends KafkaJSError {
  override readonly name: string = "KafkaJSMetadataNotLoaded";
}

/** The cluster could not be asked for this topic. */
export class KafkaJSTopicMetadataNotLoaded extends KafkaJSMetadataNotLoaded {
  override readonly name: string = "KafkaJSTopicMetadataNotLoaded";
  readonly topic: string;
  constructor(source: ErrorSource, { topic = "" }: Partial<KafkaJSTopicMetadataNotLoadedMetadata> = {}) {
    super(source);
    this.topic = topic;
  }
}

/** A member was assigned partitions that it does not know of. */
export class KafkaJSStaleTopicMetadataAssignment extends KafkaJSError {
  override readonly name: string = "KafkaJSStaleTopicMetadataAssignment";
  readonly topic: string;
  /** An array, whatever KafkaJS's type says. */
  readonly unknownPartitions: number;
  constructor(
    source: ErrorSource,
    { topic = "", unknownPartitions }: Partial<KafkaJSStaleTopicMetadataAssignmentMetadata> = {},
  ) {
    super(source);
    this.topic = topic;
    this.unknownPartitions = unknownPartitions as number;
  }
}

export interface DeletedGroup {
  readonly groupId: string;
  readonly errorCode?: number;
  readonly error?: KafkaJSProtocolError;
}

export interface KafkaJSDeleteGroupsErrorGroups {
  readonly groupId: string;
  readonly errorCode: number;
  readonly error: KafkaJSError;
}

/** Some groups could not be deleted; the others are. */
export class KafkaJSDeleteGroupsError extends KafkaJSError {
  override readonly name: string = "KafkaJSDeleteGroupsError";
  /** Those that are still there. */
  readonly groups: DeletedGroup[];
  constructor(source: ErrorSource, groups: readonly KafkaJSDeleteGroupsErrorGroups[] = []) {
    super(source);
    this.groups = groups as DeletedGroup[];
  }
}

export interface KafkaJSDeleteTopicRecordsErrorPartition {
  readonly partition: number;
  readonly offset: string;
  readonly error: KafkaJSError;
}

export interface KafkaJSDeleteTopicRecordsErrorTopic {
  readonly topic: string;
  readonly partitions: readonly KafkaJSDeleteTopicRecordsErrorPartition[];
}

/** Records of some partitions could not be deleted; those of the others are. */
export class KafkaJSDeleteTopicRecordsError extends KafkaJSError {
  override readonly name: string = "KafkaJSDeleteTopicRecordsError";
  readonly partitions: KafkaJSDeleteTopicRecordsErrorPartition[];
  constructor({ partitions }: KafkaJSDeleteTopicRecordsErrorTopic) {
    const told = partitions.map(({ partition, error }) => `partition ${partition}: ${error.message}`).join("; ");
    super(`records could not be deleted: ${told}`, { retriable: partitions.every(({ error }) => error.retriable) });
    this.partitions = [...partitions];
  }
}

/** The broker does not serve what was asked. */
export class KafkaJSServerDoesNotSupportApiKey extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSServerDoesNotSupportApiKey";
  /** -1 where it is not known: the message names it. */
  readonly apiKey: number;
  readonly apiName: string;
  constructor(
    source: ErrorSource,
    { apiKey = -1, apiName = "" }: Partial<KafkaJSServerDoesNotSupportApiKeyMetadata> = {},
  ) {
    super(source);
    this.apiKey = apiKey;
    this.apiName = apiName;
  }
}

/** A broker that is named is not in the cluster. */
export class KafkaJSBrokerNotFound extends KafkaJSError {
  override readonly name: string = "KafkaJSBrokerNotFound";
}

/** No broker is known. */
export class KafkaJSNoBrokerAvailableError extends KafkaJSError {
  override readonly name: string = "KafkaJSNoBrokerAvailableError";
  constructor() {
    super("no broker is available");
  }
}

/** A record is cut off. */
export class KafkaJSPartialMessageError extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSPartialMessageError";
}

/** The broker does not accept who the client says that it is. */
export class KafkaJSSASLAuthenticationError extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSSASLAuthenticationError";
}

/** The group has no coordinator at present. */
export class KafkaJSGroupCoordinatorNotFound extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSGroupCoordinatorNotFound";
}

/** Something that this interface does not have. */
export class KafkaJSNotImplemented extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSNotImplemented";
}

/** Something took too long. */
export class KafkaJSTimeout extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSTimeout";
}

/** Something took too long that another call kept. */
export class KafkaJSLockTimeout extends KafkaJSTimeout {
  override readonly name: string = "KafkaJSLockTimeout";
}

/** Records in a format that is not known. */
export class KafkaJSUnsupportedMagicByteInMessageSet extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSUnsupportedMagicByteInMessageSet";
}

/** Something that cannot be: a fault of the client. */
export class KafkaJSInvariantViolation extends KafkaJSNonRetriableError {
  override readonly name: string = "KafkaJSInvariantViolation";
}

/** A number that cannot be read. */
export class KafkaJSInvalidVarIntError extends KafkaJSNonRetriableError {}

/** A number beyond 64 bits. */
export class KafkaJSInvalidLongError extends KafkaJSNonRetriableError {}

/** A topic could not be made. */
export class KafkaJSCreateTopicError extends KafkaJSProtocolError {
  override readonly name: string = "KafkaJSCreateTopicError";
  readonly topic: string;
  constructor(source: ErrorSource, topicName: string) {
    super(source);
    this.topic = topicName;
  }
}

/** Replicas of a partition could not be moved. */
export class KafkaJSAlterPartitionReassignmentsError extends KafkaJSProtocolError {
  override readonly name: string = "KafkaJSAlterPartitionReassignmentsError";
  readonly topic?: string;
  readonly partition?: number;
  constructor(source: ErrorSource, topicName?: string, partition?: number) {
    super(source);
    if (topicName !== undefined) this.topic = topicName;
    if (partition !== undefined) this.partition = partition;
  }
}

/** Several errors of one call. */
export class KafkaJSAggregateError extends Error {
  override readonly name = "KafkaJSAggregateError";
  readonly errors: (Error | string)[];
  constructor(message: Error | string, errors: readonly (Error | string)[]) {
    super(typeof message === "string" ? message : message.message);
    this.errors = [...errors];
  }
}

/** Fetching was given up for a rebalance. */
export class KafkaJSFetcherRebalanceError extends Error {}

function causeOf(source: ErrorSource): unknown {
  return typeof source === "string" ? undefined : (source as { readonly cause?: unknown }).cause;
}
