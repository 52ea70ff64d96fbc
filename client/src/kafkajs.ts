/**
 * `@millrace/client/kafkajs`: KafkaJS's interface over this client, for programs that were written for KafkaJS. New programs
 * take `@millrace/client`, which is smaller and does more.
 *
 *     import { Kafka } from "@millrace/client/kafkajs";     instead of "kafkajs"
 */
export { Kafka } from "./kafkajs/kafka.ts";
export {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  CompressionCodecs,
  CompressionTypes,
  ConfigResourceTypes,
  ConfigSource,
  logLevel,
  ResourcePatternTypes,
} from "./kafkajs/enums.ts";
export { AssignerProtocol } from "./kafkajs/assigner-protocol.ts";
export { PartitionAssigners } from "./kafkajs/assigners.ts";
export { Partitioners } from "./kafkajs/partitioners.ts";
export {
  KafkaJSAggregateError,
  KafkaJSAlterPartitionReassignmentsError,
  KafkaJSBrokerNotFound,
  KafkaJSConnectionClosedError,
  KafkaJSConnectionError,
  KafkaJSCreateTopicError,
  KafkaJSDeleteGroupsError,
  KafkaJSDeleteTopicRecordsError,
  KafkaJSError,
  KafkaJSFetcherRebalanceError,
  KafkaJSGroupCoordinatorNotFound,
  KafkaJSInvalidLongError,
  KafkaJSInvalidVarIntError,
  KafkaJSInvariantViolation,
  KafkaJSLockTimeout,
  KafkaJSMemberIdRequired,
  KafkaJSMetadataNotLoaded,
  KafkaJSNoBrokerAvailableError,
  KafkaJSNonRetriableError,
  KafkaJSNotImplemented,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSOffsetOutOfRange,
  KafkaJSPartialMessageError,
  KafkaJSProtocolError,
  KafkaJSRequestTimeoutError,
  KafkaJSSASLAuthenticationError,
  KafkaJSServerDoesNotSupportApiKey,
  KafkaJSStaleTopicMetadataAssignment,
  KafkaJSTimeout,
  KafkaJSTopicMetadataNotLoaded,
  KafkaJSUnsupportedMagicByteInMessageSet,
} from "./kafkajs/errors.ts";
export type * from "./kafkajs/admin-types.ts";
export type * from "./kafkajs/assigner-types.ts";
export type { AssignerCluster as Cluster } from "./kafkajs/assigner-types.ts";
export type * from "./kafkajs/config-types.ts";
export type * from "./kafkajs/consumer-types.ts";
export type * from "./kafkajs/events.ts";
export type * from "./kafkajs/message-types.ts";
export type * from "./kafkajs/producer-types.ts";
export type { LogEntry, logCreator, Logger, LoggerEntryContent } from "./kafkajs/logger.ts";
export type {
  KafkaJSConnectionErrorMetadata,
  KafkaJSDeleteGroupsErrorGroups,
  KafkaJSDeleteTopicRecordsErrorPartition,
  KafkaJSDeleteTopicRecordsErrorTopic,
  KafkaJSErrorMetadata,
  KafkaJSNumberOfRetriesExceededMetadata,
  KafkaJSOffsetOutOfRangeMetadata,
  KafkaJSRequestTimeoutErrorMetadata,
  KafkaJSServerDoesNotSupportApiKeyMetadata,
  KafkaJSStaleTopicMetadataAssignmentMetadata,
  KafkaJSTopicMetadataNotLoadedMetadata,
} from "./kafkajs/errors.ts";
