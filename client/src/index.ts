export { Cluster } from "./cluster.ts";
export type { ClusterOptions } from "./cluster.ts";
export type { ClientWorld, TopicOptions } from "./network/wire.ts";
export type { PartitionMetadata, TopicMetadata } from "./network/metadata.ts";
export type { SaslOptions } from "./network/authentication.ts";
export { channels } from "./network/diagnostics.ts";
export type { RequestEnded, Throttled } from "./network/diagnostics.ts";
export { KafkaError } from "./errors.ts";
export type { Admin, ExplainedKind, Explanation, NewTopic, TopicDescription } from "./admin/admin.ts";
export type { Consumer, ConsumedRecord, ConsumeOptions, ConsumerOptions, StartAt } from "./consumer/consumer.ts";
export type { Delivered, Producer, ProducerOptions, ProducerRecord } from "./producer/producer.ts";
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
