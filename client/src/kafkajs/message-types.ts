/** What is sent and read. Offsets and timestamps are decimal text, as in KafkaJS. */

export interface IHeaders {
  [key: string]: Buffer | string | (Buffer | string)[] | undefined;
}

export interface Message {
  key?: Buffer | string | null;
  value: Buffer | string | null;
  partition?: number;
  headers?: IHeaders;
  /** Milliseconds since 1970. */
  timestamp?: string;
}

export interface ProducerRecord {
  topic: string;
  messages: Message[];
  /** -1: all in-sync replicas; 1: the leader; 0: nobody. Default -1. */
  acks?: number;
  /** Has no meaning here: `retry` and `requestTimeout` say how long a send may take. */
  timeout?: number;
  compression?: number;
}

export interface TopicMessages {
  topic: string;
  messages: Message[];
}

export interface ProducerBatch {
  acks?: number;
  timeout?: number;
  compression?: number;
  topicMessages?: TopicMessages[];
}

/** One partition's part of a send. */
export interface RecordMetadata {
  topicName: string;
  partition: number;
  errorCode: number;
  offset?: string;
  timestamp?: string;
  /** Of its first message. */
  baseOffset?: string;
  logAppendTime?: string;
  logStartOffset?: string;
}

/** `headers` has an array where a name comes more than once. */
export interface KafkaMessage {
  key: Buffer | null;
  value: Buffer | null;
  timestamp: string;
  attributes: number;
  offset: string;
  headers: IHeaders;
  size?: never;
}

export interface PartitionMetadata {
  partitionErrorCode: number;
  partitionId: number;
  /** -1 where there is none. */
  leader: number;
  replicas: number[];
  isr: number[];
  offlineReplicas?: number[];
}

export interface PartitionOffset {
  partition: number;
  offset: string;
}

export interface TopicOffsets {
  topic: string;
  partitions: PartitionOffset[];
}

export interface Offsets {
  topics: TopicOffsets[];
}

export interface TopicPartitions {
  topic: string;
  partitions: number[];
}

export interface TopicPartition {
  topic: string;
  partition: number;
}

export type TopicPartitionOffset = TopicPartition & { offset: string };
export type TopicPartitionOffsetAndMetadata = TopicPartitionOffset & { metadata?: string | null };
