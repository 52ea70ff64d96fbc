import type { Clock } from "@millrace/base/world";
import { KafkaJSNonRetriableError } from "./errors.ts";
import type { Logger } from "./logger.ts";

export interface InstrumentationEvent<T> {
  id: string;
  type: string;
  timestamp: number;
  payload: T;
}

export type RemoveInstrumentationEventListener<_Name> = () => void;

export type ConnectEvent = InstrumentationEvent<null>;
export type DisconnectEvent = InstrumentationEvent<null>;

export type RequestEvent = InstrumentationEvent<{
  apiKey: number;
  apiName: string;
  apiVersion: number;
  broker: string;
  clientId: string;
  correlationId: number;
  createdAt: number;
  duration: number;
  pendingDuration: number;
  sentAt: number;
  size: number;
}>;

export type RequestTimeoutEvent = InstrumentationEvent<{
  apiKey: number;
  apiName: string;
  apiVersion: number;
  broker: string;
  clientId: string;
  correlationId: number;
  createdAt: number;
  pendingDuration: number;
  sentAt: number;
}>;

export type RequestQueueSizeEvent = InstrumentationEvent<{ broker: string; clientId: string; queueSize: number }>;

export type ValueOf<T> = T[keyof T];

const eventsOf = <Who extends string>(who: Who) =>
  ({
    CONNECT: `${who}.connect`,
    DISCONNECT: `${who}.disconnect`,
    REQUEST: `${who}.network.request`,
    REQUEST_TIMEOUT: `${who}.network.request_timeout`,
    REQUEST_QUEUE_SIZE: `${who}.network.request_queue_size`,
  }) as const;

/** Names for `producer.on`. */
export const producerEvents: ProducerEvents = eventsOf("producer");
/** Names for `admin.on`. */
export const adminEvents: AdminEvents = eventsOf("admin");

export interface ProducerEvents {
  readonly CONNECT: "producer.connect";
  readonly DISCONNECT: "producer.disconnect";
  readonly REQUEST: "producer.network.request";
  readonly REQUEST_TIMEOUT: "producer.network.request_timeout";
  readonly REQUEST_QUEUE_SIZE: "producer.network.request_queue_size";
}

export interface AdminEvents {
  readonly CONNECT: "admin.connect";
  readonly DISCONNECT: "admin.disconnect";
  readonly REQUEST: "admin.network.request";
  readonly REQUEST_TIMEOUT: "admin.network.request_timeout";
  readonly REQUEST_QUEUE_SIZE: "admin.network.request_queue_size";
}

export interface ConsumerEvents {
  readonly HEARTBEAT: "consumer.heartbeat";
  readonly COMMIT_OFFSETS: "consumer.commit_offsets";
  readonly GROUP_JOIN: "consumer.group_join";
  readonly FETCH_START: "consumer.fetch_start";
  readonly FETCH: "consumer.fetch";
  readonly START_BATCH_PROCESS: "consumer.start_batch_process";
  readonly END_BATCH_PROCESS: "consumer.end_batch_process";
  readonly CONNECT: "consumer.connect";
  readonly DISCONNECT: "consumer.disconnect";
  readonly STOP: "consumer.stop";
  readonly CRASH: "consumer.crash";
  readonly REBALANCING: "consumer.rebalancing";
  readonly RECEIVED_UNSUBSCRIBED_TOPICS: "consumer.received_unsubscribed_topics";
  readonly REQUEST: "consumer.network.request";
  readonly REQUEST_TIMEOUT: "consumer.network.request_timeout";
  readonly REQUEST_QUEUE_SIZE: "consumer.network.request_queue_size";
}

/** Names for `consumer.on`. */
export const consumerEvents: ConsumerEvents = {
  ...eventsOf("consumer"),
  HEARTBEAT: "consumer.heartbeat",
  COMMIT_OFFSETS: "consumer.commit_offsets",
  GROUP_JOIN: "consumer.group_join",
  FETCH_START: "consumer.fetch_start",
  FETCH: "consumer.fetch",
  START_BATCH_PROCESS: "consumer.start_batch_process",
  END_BATCH_PROCESS: "consumer.end_batch_process",
  STOP: "consumer.stop",
  CRASH: "consumer.crash",
  REBALANCING: "consumer.rebalancing",
  RECEIVED_UNSUBSCRIBED_TOPICS: "consumer.received_unsubscribed_topics",
};

type Heard = (event: InstrumentationEvent<unknown>) => void;

/**
 * The events of one producer, consumer or admin.
 *
 * @internal
 */
export class Instrumentation {
  readonly #names: ReadonlySet<string>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners = new Map<string, Set<Heard>>();
  #nextId = 0;

  constructor(events: object, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#names = new Set(Object.values(events) as string[]);
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Gives a function that ends it. A listener that fails is logged, and keeps nobody from anything. */
  on(name: string, listener: (event: never) => unknown): () => void {
    if (!this.#names.has(name))
      throw new KafkaJSNonRetriableError(`there is no event "${name}": take one of ${[...this.#names].join(", ")}`);
    const heard: Heard = (event) => {
      const failed = (error: unknown): void =>
        this.#logger.error(`a listener failed: ${(error as Error).message}`, { eventName: name });
      try {
        Promise.resolve(listener(event as never)).catch(failed);
      } catch (error) {
        failed(error);
      }
    };
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(heard));
    return () => void listeners.delete(heard);
  }

  isHeard(name: string): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit(name: string, payload: unknown = null): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined || listeners.size === 0) return;
    const event = { id: `${this.#nextId++}`, type: name, timestamp: this.#clock.now() as number, payload };
    for (const heard of [...listeners]) heard(event);
  }
}
