import * as facade from "@millrace/client/kafkajs";
import type * as kafkajs from "kafkajs";

/**
 * For the compiler alone: what is typed with KafkaJS's types may be given to the facade, and what the facade gives may be
 * held as KafkaJS's types. `npm run check` compiles it; nothing runs.
 */

/** The module in place of the other, with every class, constant and function. */
// oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- an enumeration without the construct, which Node cannot run
export const asTheirs: Omit<typeof kafkajs, "default"> = facade;

/** Does not compile where the first cannot stand for the second. */
type Fits<From extends To, To> = From;

/** What the facade gives. */
export type Given = [
  Fits<facade.Kafka, kafkajs.Kafka>,
  Fits<facade.Producer, kafkajs.Producer>,
  Fits<facade.Transaction, kafkajs.Transaction>,
  Fits<facade.Consumer, kafkajs.Consumer>,
  Fits<facade.Admin, kafkajs.Admin>,
  Fits<facade.Logger, kafkajs.Logger>,
  Fits<facade.PartitionAssigner, kafkajs.PartitionAssigner>,
  Fits<facade.ICustomPartitioner, kafkajs.ICustomPartitioner>,
  Fits<facade.Message, kafkajs.Message>,
  Fits<facade.ProducerRecord, kafkajs.ProducerRecord>,
  Fits<facade.ProducerBatch, kafkajs.ProducerBatch>,
  Fits<facade.RecordMetadata, kafkajs.RecordMetadata>,
  Fits<facade.TopicPartitionOffsetAndMetadata, kafkajs.TopicPartitionOffsetAndMetadata>,
  Fits<facade.GroupDescription, kafkajs.GroupDescription>,
  Fits<facade.DescribeConfigResponse, kafkajs.DescribeConfigResponse>,
  Fits<facade.DescribeAclResponse, kafkajs.DescribeAclResponse>,
  Fits<facade.ITopicConfig, kafkajs.ITopicConfig>,
  Fits<facade.KafkaJSProtocolError, kafkajs.KafkaJSProtocolError>,
  Fits<facade.EachMessagePayload, kafkajs.EachMessagePayload>,
  Fits<facade.EachBatchPayload, kafkajs.EachBatchPayload>,
  Fits<facade.KafkaMessage, kafkajs.KafkaMessage>,
  Fits<facade.InstrumentationEvent<null>, kafkajs.InstrumentationEvent<null>>,
  Fits<facade.ConsumerCrashEvent, kafkajs.ConsumerCrashEvent>,
  Fits<facade.ConsumerGroupJoinEvent, kafkajs.ConsumerGroupJoinEvent>,
  Fits<facade.RequestEvent, kafkajs.RequestEvent>,
  Fits<facade.KafkaJSNumberOfRetriesExceeded, kafkajs.KafkaJSNumberOfRetriesExceeded>,
];

/** What it takes. */
export type Taken = [
  Fits<kafkajs.Producer, facade.Producer>,
  Fits<kafkajs.Transaction, facade.Transaction>,
  Fits<kafkajs.Consumer, facade.Consumer>,
  Fits<kafkajs.Admin, facade.Admin>,
  Fits<kafkajs.Logger, facade.Logger>,
  Fits<kafkajs.PartitionAssigner, facade.PartitionAssigner>,
  Fits<kafkajs.ICustomPartitioner, facade.ICustomPartitioner>,
  Fits<kafkajs.Message, facade.Message>,
  Fits<kafkajs.ProducerRecord, facade.ProducerRecord>,
  Fits<kafkajs.ProducerBatch, facade.ProducerBatch>,
  Fits<kafkajs.RecordMetadata, facade.RecordMetadata>,
  Fits<kafkajs.ConsumerRunConfig, facade.ConsumerRunConfig>,
  Fits<kafkajs.TopicPartitionOffsetAndMetadata, facade.TopicPartitionOffsetAndMetadata>,
  Fits<kafkajs.GroupDescription, facade.GroupDescription>,
  Fits<kafkajs.DescribeConfigResponse, facade.DescribeConfigResponse>,
  Fits<kafkajs.DescribeAclResponse, facade.DescribeAclResponse>,
  Fits<kafkajs.ITopicConfig, facade.ITopicConfig>,
  Fits<kafkajs.KafkaJSProtocolError, facade.KafkaJSProtocolError>,
  Fits<kafkajs.KafkaConfig, facade.KafkaConfig>,
  Fits<kafkajs.ProducerConfig, facade.ProducerConfig>,
  Fits<kafkajs.ConsumerConfig, facade.ConsumerConfig>,
  Fits<kafkajs.AdminConfig, facade.AdminConfig>,
  Fits<kafkajs.RetryOptions, facade.RetryOptions>,
  Fits<kafkajs.ConsumerSubscribeTopics, facade.ConsumerSubscribeTopics>,
  Fits<kafkajs.AclFilter, facade.AclFilter>,
];

/** Enumerations as types, and their members as values. */
/* oxlint-disable typescript/no-unsafe-enum-assignment -- as above */
export const constants: readonly [
  kafkajs.CompressionTypes,
  facade.CompressionTypes,
  kafkajs.logLevel,
  facade.logLevel,
  kafkajs.ConfigResourceTypes,
  facade.AclResourceTypes,
] = [
  facade.CompressionTypes.GZIP,
  facade.CompressionTypes.ZSTD,
  facade.logLevel.INFO,
  facade.logLevel.DEBUG,
  facade.ConfigResourceTypes.TOPIC,
  facade.AclResourceTypes.GROUP,
];
