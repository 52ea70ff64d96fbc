import type {
  ConnectEvent,
  ConsumerEvents,
  DisconnectEvent,
  InstrumentationEvent,
  RemoveInstrumentationEventListener,
  RequestEvent,
  RequestQueueSizeEvent,
  RequestTimeoutEvent,
} from "./events.ts";
import type { GroupDescription } from "./admin-types.ts";
import type { Logger } from "./logger.ts";
import type {
  KafkaMessage,
  Offsets,
  TopicOffsets,
  TopicPartitionOffset,
  TopicPartitionOffsetAndMetadata,
  TopicPartitions,
} from "./message-types.ts";

/** Messages of one partition that were fetched together. */
export interface Batch {
  topic: string;
  partition: number;
  /** Where the partition ended when it was fetched. */
  highWatermark: string;
  messages: KafkaMessage[];
  isEmpty(): boolean;
  firstOffset(): string | null;
  lastOffset(): string;
  /** How many come behind the last. */
  offsetLag(): string;
  /** How many come behind the first. */
  offsetLagLow(): string;
}

export interface OffsetsByTopicPartition {
  topics: TopicOffsets[];
}

export interface EachMessagePayload {
  topic: string;
  partition: number;
  message: KafkaMessage;
  /** Heartbeats are sent by themselves; it throws when the partition was taken away. */
  heartbeat(): Promise<void>;
  /** Pauses this partition; gives a function that resumes it. */
  pause(): () => void;
}

export interface EachBatchPayload {
  batch: Batch;
  /** This message is processed, and all before it. */
  resolveOffset(offset: string): void;
  heartbeat(): Promise<void>;
  pause(): () => void;
  /** Commits these; without an argument what is resolved, if autoCommitInterval or autoCommitThreshold says so. */
  commitOffsetsIfNecessary(offsets?: Offsets): Promise<void>;
  uncommittedOffsets(): OffsetsByTopicPartition;
  isRunning(): boolean;
  /** The rest of the batch is not to be processed: somebody has sought elsewhere, or the partition was taken away. */
  isStale(): boolean;
}

export type ConsumerEachMessagePayload = EachMessagePayload;
export type ConsumerEachBatchPayload = EachBatchPayload;
export type EachBatchHandler = (payload: EachBatchPayload) => Promise<void>;
export type EachMessageHandler = (payload: EachMessagePayload) => Promise<void>;

export interface ConsumerRunConfig {
  /** Default true. */
  autoCommit?: boolean;
  /** Milliseconds. Default: none; what is resolved is committed after each batch anyway. */
  autoCommitInterval?: number | null;
  /** Messages. */
  autoCommitThreshold?: number | null;
  /** Default true: a batch whose handler has ended well is resolved. */
  eachBatchAutoResolve?: boolean;
  /** Default 1. */
  partitionsConsumedConcurrently?: number;
  eachBatch?: EachBatchHandler;
  eachMessage?: EachMessageHandler;
}

export interface ConsumerSubscribeTopic {
  topic: string | RegExp;
  fromBeginning?: boolean;
}

export interface ConsumerSubscribeTopics {
  topics: (string | RegExp)[];
  fromBeginning?: boolean;
}

export type ConsumerHeartbeatEvent = InstrumentationEvent<{
  groupId: string;
  memberId: string;
  groupGenerationId: number;
}>;
export type ConsumerCommitOffsetsEvent = InstrumentationEvent<{
  groupId: string;
  memberId: string;
  groupGenerationId: number;
  topics: TopicOffsets[];
}>;
export interface IMemberAssignment {
  [key: string]: number[];
}
export type ConsumerGroupJoinEvent = InstrumentationEvent<{
  duration: number;
  groupId: string;
  isLeader: boolean;
  leaderId: string;
  groupProtocol: string;
  memberId: string;
  memberAssignment: IMemberAssignment;
}>;
export type ConsumerFetchStartEvent = InstrumentationEvent<{ nodeId: number }>;
export type ConsumerFetchEvent = InstrumentationEvent<{ numberOfBatches: number; duration: number; nodeId: number }>;
export interface IBatchProcessEvent {
  topic: string;
  partition: number;
  highWatermark: string;
  offsetLag: string;
  offsetLagLow: string;
  batchSize: number;
  firstOffset: string;
  lastOffset: string;
}
export type ConsumerStartBatchProcessEvent = InstrumentationEvent<IBatchProcessEvent>;
export type ConsumerEndBatchProcessEvent = InstrumentationEvent<IBatchProcessEvent & { duration: number }>;
export type ConsumerCrashEvent = InstrumentationEvent<{ error: Error; groupId: string; restart: boolean }>;
export type ConsumerRebalancingEvent = InstrumentationEvent<{ groupId: string; memberId: string }>;
export type ConsumerReceivedUnsubcribedTopicsEvent = InstrumentationEvent<{
  groupId: string;
  generationId: number;
  memberId: string;
  assignedTopics: string[];
  topicsSubscribed: string[];
  topicsNotSubscribed: string[];
}>;

interface EventOf {
  "consumer.heartbeat": ConsumerHeartbeatEvent;
  "consumer.commit_offsets": ConsumerCommitOffsetsEvent;
  "consumer.group_join": ConsumerGroupJoinEvent;
  "consumer.fetch_start": ConsumerFetchStartEvent;
  "consumer.fetch": ConsumerFetchEvent;
  "consumer.start_batch_process": ConsumerStartBatchProcessEvent;
  "consumer.end_batch_process": ConsumerEndBatchProcessEvent;
  "consumer.connect": ConnectEvent;
  "consumer.disconnect": DisconnectEvent;
  "consumer.stop": InstrumentationEvent<null>;
  "consumer.crash": ConsumerCrashEvent;
  "consumer.rebalancing": ConsumerRebalancingEvent;
  "consumer.received_unsubscribed_topics": ConsumerReceivedUnsubcribedTopicsEvent;
  "consumer.network.request": RequestEvent;
  "consumer.network.request_timeout": RequestTimeoutEvent;
  "consumer.network.request_queue_size": RequestQueueSizeEvent;
}

export interface Consumer {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Before `run`; a pattern is resolved now, and only now. */
  subscribe(subscription: ConsumerSubscribeTopics | ConsumerSubscribeTopic): Promise<void>;
  /** What is in work is awaited and committed; `run` may be called again. */
  stop(): Promise<void>;
  /** Settles when the consumer is a member of its group. */
  run(config?: ConsumerRunConfig): Promise<void>;
  commitOffsets(topicPartitions: TopicPartitionOffsetAndMetadata[]): Promise<void>;
  /** Takes effect at once, or when the partition is assigned. "-2" is the beginning, "-1" the end. */
  seek(topicPartitionOffset: TopicPartitionOffset): void;
  describeGroup(): Promise<GroupDescription>;
  /** Without partitions: all of the topic. */
  pause(topics?: { topic: string; partitions?: number[] }[]): void;
  paused(): TopicPartitions[];
  resume(topics?: { topic: string; partitions?: number[] }[]): void;
  /** Gives a function that ends it. */
  on<Name extends keyof EventOf>(
    eventName: Name,
    listener: (event: EventOf[Name]) => void,
  ): RemoveInstrumentationEventListener<Name>;
  logger(): Logger;
  readonly events: ConsumerEvents;
}
