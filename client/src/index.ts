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
export type { Admin, ExplainedKind, Explanation, NewTopic, TopicDescription } from "./admin/admin.ts";
export type { Consumer, ConsumedRecord, ConsumeOptions, ConsumerOptions, StartAt } from "./consumer/consumer.ts";
export type { Delivered, Producer, ProducerOptions, ProducerRecord } from "./producer/producer.ts";
