export { Cluster } from "./cluster.ts";
export type { ClusterOptions, ClientWorld, PartitionMetadata, TopicMetadata, TopicOptions } from "./cluster.ts";
export { KafkaError } from "./errors.ts";
export type { Admin, ExplainedKind, Explanation, NewTopic, TopicDescription } from "./admin.ts";
export type { Consumer, ConsumedRecord, ConsumeOptions, ConsumerOptions, StartAt } from "./consumer.ts";
export type { Delivered, Producer, ProducerOptions, ProducerRecord } from "./producer.ts";
