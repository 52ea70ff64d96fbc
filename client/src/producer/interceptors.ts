import type { Logger } from "@millrace/base/logger";
import type { KafkaError } from "../errors.ts";
import type { RecordInput } from "../topic.ts";
import type { Sink } from "./batch.ts";

export type AnyRecord = RecordInput<unknown, unknown>;

/** What became of a record, for `ProducerInterceptor.onAcknowledged`. */
export interface Acknowledged {
  /** The name of the topic. */
  readonly topic: string;
  /** As the interceptors have left it. */
  readonly record: AnyRecord;
  /** -1 where it was not chosen. */
  readonly partition: number;
  /** -1 where it is not known, or the record was not delivered. */
  readonly offset: number;
  /** Null: it was delivered. */
  readonly error: KafkaError | null;
}

/** Sees each record on its way. What it throws is logged, and the record goes on as it was. */
export interface ProducerInterceptor {
  /** Before serialization; what it gives is sent. */
  onSend?(record: AnyRecord, topic: string): AnyRecord;
  /** After the broker has answered, or the record has failed; before the sender hears of it. */
  onAcknowledged?(acknowledged: Acknowledged): void;
}

/** All interceptors of a producer, in their order. */
export class Interceptors {
  readonly #interceptors: readonly ProducerInterceptor[];
  readonly #logger: Logger;

  constructor(interceptors: readonly ProducerInterceptor[], logger: Logger) {
    this.#interceptors = interceptors;
    this.#logger = logger;
  }

  onSend(record: AnyRecord, topic: string): AnyRecord {
    let sent = record;
    for (const interceptor of this.#interceptors) {
      try {
        sent = interceptor.onSend?.(sent, topic) ?? sent;
      } catch (error) {
        this.#logger.warn("an interceptor's onSend has thrown; the record is sent as it was", { topic, error });
      }
    }
    return sent;
  }

  onAcknowledged(acknowledged: Acknowledged): void {
    for (const interceptor of this.#interceptors) {
      try {
        interceptor.onAcknowledged?.(acknowledged);
      } catch (error) {
        this.#logger.warn("an interceptor's onAcknowledged has thrown", { topic: acknowledged.topic, error });
      }
    }
  }

  /** Hears of the record before `inner` does. */
  listening(record: AnyRecord, topic: string, inner: Sink): Sink {
    return {
      delivered: (partition, offset) => {
        this.onAcknowledged({ topic, record, partition, offset, error: null });
        inner.delivered(partition, offset);
      },
      failed: (error, partition) => {
        this.onAcknowledged({ topic, record, partition: partition ?? -1, offset: -1, error });
        inner.failed(error, partition);
      },
    };
  }
}
