import { asKafkaError, KafkaError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import type { Sink } from "./batch.ts";
import { Interceptors } from "./interceptors.ts";
import type { AnyRecord } from "./interceptors.ts";
import type { Delivered, FailedRecord, SendResult, Settings } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import { nameOf } from "./records.ts";
import type { AnyTopic } from "./records.ts";
import { SentRecord, SentRecords } from "./sinks.ts";
import { untilAborted } from "./until-aborted.ts";

/** What is asked of a producer, and of a transaction alike: records in, with or without somebody who waits for them. */
export class Front {
  readonly #wire: Wire;
  readonly #outbox: Outbox;
  readonly #interceptors: Interceptors | null;
  readonly #onFailed: ((failed: FailedRecord) => void) | null;

  constructor(wire: Wire, outbox: Outbox, { interceptors, onFailed }: Settings) {
    this.#wire = wire;
    this.#outbox = outbox;
    this.#interceptors = interceptors.length === 0 ? null : new Interceptors(interceptors, wire.logger);
    this.#onFailed = onFailed;
  }

  send(topic: AnyTopic, record: AnyRecord, signal: AbortSignal | undefined): Promise<Delivered> {
    if (signal !== undefined) {
      const waiting = { signal, what: `sending a record to ${nameOf(topic)}` };
      return untilAborted(() => this.send(topic, record, undefined), waiting, mayBeDelivered);
    }
    const sent = new SentRecord();
    this.accept(topic, record, sent);
    return sent.promise;
  }

  sendAll(
    topic: AnyTopic,
    records: readonly AnyRecord[],
    signal: AbortSignal | undefined,
  ): Promise<readonly SendResult[]> {
    if (signal !== undefined) {
      const waiting = { signal, what: `sending ${records.length} records to ${nameOf(topic)}` };
      return untilAborted(() => this.sendAll(topic, records, undefined), waiting, mayBeDelivered);
    }
    const sent = new SentRecords(records.length);
    for (const [at, record] of records.entries()) this.accept(topic, record, sent.sink(at));
    return sent.promise;
  }

  /**
   * @param fallback hears of what is not delivered, where no `onFailed` does. Null: the next who looks.
   * @throws KafkaError CLOSED, BUFFER_EXHAUSTED: then none of the records was taken.
   */
  enqueue(topic: AnyTopic, records: AnyRecord | readonly AnyRecord[], fallback: Sink | null): void {
    this.#outbox.admit();
    if (!Array.isArray(records)) {
      this.#enqueueOne(topic, records as AnyRecord, fallback);
      return;
    }
    for (const record of records as readonly AnyRecord[]) this.#enqueueOne(topic, record, fallback);
  }

  #enqueueOne(topic: AnyTopic, record: AnyRecord, fallback: Sink | null): void {
    const sink = this.#onFailed === null ? fallback : this.#telling(topic, record, this.#onFailed, fallback);
    if (this.#interceptors === null) this.#outbox.accept(topic, record, sink);
    else this.#intercepted(this.#interceptors, topic, record, sink);
  }

  /** What is refused at once its sink is told, too. */
  accept(topic: AnyTopic, record: AnyRecord, sink: Sink): void {
    try {
      this.#outbox.admit();
      if (this.#interceptors === null) this.#outbox.accept(topic, record, sink);
      else this.#intercepted(this.#interceptors, topic, record, sink);
    } catch (error) {
      this.#outbox.refuse(sink, asKafkaError(error));
    }
  }

  #intercepted(interceptors: Interceptors, topic: AnyTopic, record: AnyRecord, sink: Sink | null): void {
    const name = nameOf(topic);
    const sent = interceptors.onSend(record, name);
    const unheard: Sink = { delivered: () => {}, failed: (error) => this.#outbox.noteUnheard(error) };
    this.#outbox.accept(topic, sent, interceptors.listening(sent, name, sink ?? unheard));
  }

  #telling(topic: AnyTopic, record: AnyRecord, onFailed: (failed: FailedRecord) => void, fallback: Sink | null): Sink {
    return {
      delivered: (partition, offset) => fallback?.delivered(partition, offset),
      failed: (error, partition) => {
        try {
          onFailed({ topic: nameOf(topic), partition, record, error });
        } catch (thrown) {
          this.#wire.logger.warn("a producer's onFailed has thrown", { topic: nameOf(topic), error: thrown });
        }
        fallback?.failed(error, partition);
      },
    };
  }
}

/** Who does not wait any longer is told so. */
function mayBeDelivered({ code, message, cause }: KafkaError): KafkaError {
  return new KafkaError(code, `${message}; it may have been delivered all the same`, { cause });
}
