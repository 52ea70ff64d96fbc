export { Cluster } from "./cluster.ts";
export type { ClusterOptions } from "./cluster.ts";
export type { ClientWorld, TopicOptions } from "./network/wire.ts";
export type { PartitionMetadata, TopicMetadata } from "./network/metadata.ts";
export type { OAuthBearerOptions, OAuthBearerToken, PlainOptions, SaslOptions, ScramOptions } from "./network/sasl.ts";
export { channels } from "./network/diagnostics.ts";
export type {
  ClientEvent,
  ClientEvents,
  ConnectionClosed,
  ConnectionFailed,
  ConnectionOpened,
  MetadataAsked,
  Reauthenticated,
  RequestEnded,
  Throttled,
} from "./network/diagnostics.ts";
export { clientMetrics, latencyBoundsMs } from "./network/metrics.ts";
export type { ClientMetrics, ClientMetricsOptions, ClientMetricsSnapshot, RequestMetrics } from "./network/metrics.ts";
export { KafkaError } from "./errors.ts";
export { valuesOf } from "./admin/outcome.ts";
export type { Failed, Outcome, Succeeded } from "./admin/outcome.ts";
export type { Admin } from "./admin/admin.ts";
export type { CallOptions, ValidatingCallOptions } from "./admin/calls.ts";
export type { AclOperation, AclPattern, AclPermission, AclResourceType } from "./admin/acl-words.ts";
export type { Acl, AclFilter, AclsAdmin, NewAcl } from "./admin/acls.ts";
export type { ClusterAdmin, ClusterBroker, ClusterDescription, DescribeClusterOptions } from "./admin/cluster.ts";
export type {
  ConfigChange,
  ConfigChanges,
  ConfigEntry,
  ConfigReplacement,
  ConfigResource,
  ConfigResourceType,
  ConfigSource,
  ConfigSynonym,
  ConfigValueType,
  ConfigsAdmin,
  DescribeConfigsOptions,
  ListConfigResourcesOptions,
} from "./admin/configs.ts";
export type { ExplainedKind, Explanation } from "./admin/explanations.ts";
export type { Feature, FeatureUpdate, FeaturesAdmin, FeaturesDescription } from "./admin/features.ts";
export type {
  ClassicGroupDescription,
  ClassicMember,
  ConsumerGroupDescription,
  ConsumerMember,
  GroupDescription,
  GroupType,
  ShareGroupDescription,
  ShareMember,
  StreamsAssignment,
  StreamsGroupDescription,
  StreamsMember,
  StreamsSubtopology,
  StreamsTask,
  StreamsTaskOffset,
  StreamsTopic,
  StreamsTopology,
} from "./admin/group-descriptions.ts";
export type { CommittedOffset, GroupOffsetsOptions, OffsetToCommit } from "./admin/group-offsets.ts";
export type {
  DescribeGroupsOptions,
  GroupsAdmin,
  ListedGroup,
  ListGroupsOptions,
  MemberReference,
  RemoveMembersOptions,
} from "./admin/groups.ts";
export type { FindHangingOptions, HangingTransaction } from "./admin/hanging-transactions.ts";
export type { DescribeLogDirsOptions, LogDir, LogDirReplica, LogDirsAdmin, ReplicaMove } from "./admin/log-dirs.ts";
export type { OffsetReset, ResetOffsetsOptions, ResetTarget } from "./admin/offset-reset.ts";
export type { ListedOffset, OffsetOptions, OffsetQuery, OffsetSpec } from "./admin/offsets.ts";
export type {
  Election,
  ElectLeadersOptions,
  OngoingReassignment,
  PartitionsAdmin,
  Reassignment,
  ReassignOptions,
} from "./admin/partitions.ts";
export type {
  QuorumAdmin,
  QuorumController,
  QuorumDescription,
  QuorumListener,
  QuorumReplica,
  QuorumVoter,
  VoterOptions,
} from "./admin/quorum.ts";
export type { Quota, QuotaChange, QuotaEntity, QuotaFilter, QuotasAdmin } from "./admin/quotas.ts";
export type { ShareGroupsAdmin, ShareOffset, ShareOffsetToSet } from "./admin/share-groups.ts";
export type { CreateTokenOptions, DelegationToken, ListTokensOptions, TokensAdmin } from "./admin/tokens.ts";
export type { PartitionDescription, TopicDescription } from "./admin/topic-descriptions.ts";
export type {
  CreatedTopic,
  DeletedRecords,
  ListTopicsOptions,
  MorePartitions,
  NewTopic,
  RecordsToDelete,
  TopicReference,
  TopicsAdmin,
} from "./admin/topics.ts";
export type {
  ActiveProducer,
  FencedProducer,
  ListedTransaction,
  ListTransactionsOptions,
  TransactionDescription,
  TransactionsAdmin,
  TransactionState,
  TransactionToAbort,
} from "./admin/transactions.ts";
export type {
  ScramChange,
  ScramCredential,
  ScramDeletion,
  ScramMechanism,
  ScramUpsertion,
  UsersAdmin,
} from "./admin/users.ts";
export type { Consumer, RecordOf, Source } from "./consumer/consumer.ts";
export type { BadRecords, ConsumerEvents, ConsumerOptions, PositionMoved, ReadOptions } from "./consumer/options.ts";
export type { ConsumedRecord } from "./consumer/consumed-record.ts";
export type { ConsumedBatch } from "./consumer/consumed-batch.ts";
export type { ConsumedOffsets, NextOffset } from "./consumer/consumed-offsets.ts";
export { deadLetterHeaders } from "./consumer/dead-letters.ts";
export type { BatchOptions, BatchStream } from "./consumer/delivery/batch-stream.ts";
export type { RecordStream } from "./consumer/delivery/record-stream.ts";
export type { Handler, HandlerContext, RetryPolicy, RunOptions } from "./consumer/delivery/run.ts";
export type { StartAt } from "./consumer/positions.ts";
export type { TopicPartition } from "./topic-partition.ts";
export { topic } from "./topic.ts";
export type { RawTopic, RecordInput, Topic } from "./topic.ts";
export { boolean, bytes, nullable, text, validated, via } from "./serdes/basic.ts";
export { Headers } from "./serdes/headers.ts";
export type { HeadersInput, HeaderValue, TypedHeaders } from "./serdes/headers.ts";
export { json } from "./serdes/json.ts";
export { bigint64, float64, instant, int32, int64 } from "./serdes/numbers.ts";
export { SchemaRegistry } from "./serdes/registry/schema-registry.ts";
export type { RegistryOptions } from "./serdes/registry/schema-registry.ts";
export { recordNameSubject, topicNameSubject, topicRecordNameSubject } from "./serdes/registry/subjects.ts";
export type { HeaderSerde, ReadOf, Serde, SerdeContext, WriteOf } from "./serdes/serde.ts";
export type { StandardSchema } from "./serdes/standard-schema.ts";
export { extractTrace, injectTrace, traceInterceptor, withTrace } from "./serdes/trace-context.ts";
export { uuid, uuidBytes } from "./serdes/uuid.ts";
export { assignors } from "./consumer/assignors/assignors.ts";
export type { AssignorName } from "./consumer/assignors/assignors.ts";
export type {
  Assignments,
  Assignor,
  AssignorMember,
  AssignorTopic,
  LastAssignment,
} from "./consumer/assignors/assignor.ts";
export type { GroupProtocol, MembershipOptions } from "./consumer/membership/options.ts";
export type { Producer, SendOptions, WaitOptions } from "./producer/producer.ts";
export type { Delivered, FailedRecord, ProducerOptions, ProducerRecord, SendResult } from "./producer/options.ts";
export type { Acknowledged, ProducerInterceptor } from "./producer/interceptors.ts";
export type { Partitioner, PartitionerInput } from "./producer/partitioner.ts";
export type { HasConsumedOffsets, Transaction } from "./producer/transaction.ts";
