import type {
  ConnectEvent,
  DisconnectEvent,
  ProducerEvents,
  RemoveInstrumentationEventListener,
  RequestEvent,
  RequestQueueSizeEvent,
  RequestTimeoutEvent,
} from "./events.ts";
import type { Logger } from "./logger.ts";
import type { Offsets, ProducerBatch, ProducerRecord, RecordMetadata } from "./message-types.ts";

interface EventOf {
  "producer.connect": ConnectEvent;
  "producer.disconnect": DisconnectEvent;
  "producer.network.request": RequestEvent;
  "producer.network.request_timeout": RequestTimeoutEvent;
  "producer.network.request_queue_size": RequestQueueSizeEvent;
}

export interface Sender {
  /** Settles when the brokers have answered: an entry for each partition that was written. */
  send(record: ProducerRecord): Promise<RecordMetadata[]>;
  sendBatch(batch: ProducerBatch): Promise<RecordMetadata[]>;
}

export type Producer = Sender & {
  connect(): Promise<void>;
  /** What was sent before is delivered, or has failed, when it settles. */
  disconnect(): Promise<void>;
  isIdempotent(): boolean;
  readonly events: ProducerEvents;
  /** Gives a function that ends it. */
  on<Name extends keyof EventOf>(
    eventName: Name,
    listener: (event: EventOf[Name]) => void,
  ): RemoveInstrumentationEventListener<Name>;
  /** Begins one; only one is open at a time. */
  transaction(): Promise<Transaction>;
  logger(): Logger;
};

export type Transaction = Sender & {
  /** Next offsets, as `consumer.commitOffsets` takes them: one more than the last that was processed. */
  sendOffsets(offsets: Offsets & { consumerGroupId: string }): Promise<void>;
  commit(): Promise<void>;
  abort(): Promise<void>;
  isActive(): boolean;
};
