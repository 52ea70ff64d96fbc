import type { Clock } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import type { HeaderSerdes } from "../serdes/headers.ts";
import type { RecordInput, Topic } from "../topic.ts";
import { Front } from "./front.ts";
import { anonymous, IdempotentIdentities } from "./identity.ts";
import type { AnyRecord } from "./interceptors.ts";
import { settingsOf } from "./options.ts";
import type { Delivered, ProducerOptions, ProducerRecord, SendResult } from "./options.ts";
import { Outbox } from "./outbox.ts";
import type { AnyTopic } from "./records.ts";
import type { Transaction } from "./transaction.ts";
import { TransactionCoordinator } from "./transaction-coordinator.ts";
import { outside, Transactions } from "./transactions.ts";
import { untilAborted } from "./until-aborted.ts";
import { writableOf } from "./writable.ts";

/** How long to wait for a record. */
export interface SendOptions {
  /** Ends the waiting. A record that has left, or is in a batch, may be delivered all the same. */
  readonly signal?: AbortSignal;
}

/** Of what a producer lets its caller wait for. */
export interface WaitOptions {
  /** Ends the waiting, and nothing else. */
  readonly signal?: AbortSignal;
}

/**
 * Sends records, in batches and idempotently: through every retry each is stored once, and those of a partition in the
 * order of the calls.
 *
 * @example
 *     await using producer = cluster.producer({ lingerMs: 5, compression: "zstd" });
 *     const { partition, offset } = await producer.send(orders, { key: "o1", value: order });
 *     for (const each of [order]) {
 *       producer.enqueue(orders, { key: each.id, value: each });
 *       await producer.ready();
 *     }
 *     await producer.flush();
 */
export class Producer implements AsyncDisposable {
  readonly #outbox: Outbox;
  readonly #front: Front;
  readonly #transactions: Transactions | null;
  readonly #clock: Clock;

  /** @throws KafkaError INVALID_CONFIG, naming the option. */
  constructor(wire: Wire, options: ProducerOptions = {}) {
    const settings = settingsOf(options);
    this.#clock = wire.world.clock;
    const { transactionalId, transactionTimeoutMs, deliveryTimeoutMs: timeoutMs } = settings;
    const transactions =
      transactionalId === null
        ? null
        : new Transactions(new TransactionCoordinator(wire, { transactionalId, transactionTimeoutMs, timeoutMs }));
    const identities = transactions ?? (settings.isIdempotent ? new IdempotentIdentities(wire) : anonymous);
    this.#outbox = new Outbox(wire, {
      settings,
      identities,
      transaction: transactions,
      ...(transactions === null ? {} : { onFailed: (error) => transactions.failed(error) }),
    });
    this.#front = new Front(wire, this.#outbox, settings);
    this.#transactions = transactions;
    transactions?.attach({ outbox: this.#outbox, front: this.#front });
  }

  /**
   * Settles when the broker has answered for the record. Records of one partition keep the order of the calls.
   *
   * @throws KafkaError of the broker; TIMED_OUT after deliveryTimeoutMs; SERIALIZATION_FAILED, or what its serde says more
   *   exactly; BUFFER_EXHAUSTED; CLOSED; ABORTED by its signal.
   */
  send<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
    record: RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>,
    options?: SendOptions,
  ): Promise<Delivered>;
  send(topic: string, record: ProducerRecord, options?: SendOptions): Promise<Delivered>;
  send(topic: AnyTopic, record: AnyRecord, options?: SendOptions): Promise<Delivered> {
    if (this.#transactions !== null) return Promise.reject(outside(this.#transactions.transactionalId));
    return this.#front.send(topic, record, options?.signal);
  }

  /**
   * Settles when all are answered: what became of each, in their order. Never rejects for a record.
   *
   * @throws KafkaError ABORTED by its signal.
   */
  sendAll<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
    records: readonly RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>[],
    options?: SendOptions,
  ): Promise<readonly SendResult[]>;
  sendAll(topic: string, records: readonly ProducerRecord[], options?: SendOptions): Promise<readonly SendResult[]>;
  sendAll(topic: AnyTopic, records: readonly AnyRecord[], options?: SendOptions): Promise<readonly SendResult[]> {
    if (this.#transactions !== null) return Promise.reject(outside(this.#transactions.transactionalId));
    return this.#front.sendAll(topic, records, options?.signal);
  }

  /**
   * Takes records without a promise for each: the cheapest way. `ready` tells when there is room for more. What is not
   * delivered goes to the option `onFailed`, else the next ready, flush or close throws the first one.
   *
   * @throws KafkaError CLOSED; BUFFER_EXHAUSTED, retriable, when twice bufferBytesMax is waiting. Then none of the records
   *   was taken.
   */
  enqueue<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
    records:
      | RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>
      | readonly RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>[],
  ): void;
  enqueue(topic: string, records: ProducerRecord | readonly ProducerRecord[]): void;
  enqueue(topic: AnyTopic, records: AnyRecord | readonly AnyRecord[]): void {
    if (this.#transactions !== null) throw outside(this.#transactions.transactionalId);
    this.#front.enqueue(topic, records, null);
  }

  /**
   * Settles when less than bufferBytesMax is waiting; who fills fast lets other work have its turn by it.
   *
   * @throws the first failure of an enqueued record of which nobody has heard; KafkaError ABORTED by its signal.
   */
  ready({ signal }: WaitOptions = {}): Promise<void> {
    if (signal === undefined) return this.#outbox.ready();
    return untilAborted(() => this.#outbox.ready(), { signal, what: "waiting for room" });
  }

  /**
   * Settles when everything sent so far has been answered, well or ill; it does not wait for lingerMs.
   *
   * @throws the first failure of an enqueued record of which nobody has heard; KafkaError ABORTED by its signal.
   */
  async flush({ signal }: WaitOptions = {}): Promise<void> {
    await untilAborted(() => this.#outbox.flush(), { signal, what: "waiting for all that was sent" });
    this.#outbox.throwUnheard();
  }

  /**
   * A stream of records, for `readable.pipeTo(...)` and `stream.pipeline(...)`: it takes as much as there is room for, and
   * fails with the first record that was not delivered.
   */
  writable<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
  ): WritableStream<RecordInput<Key, Value, Declared>>;
  writable(topic: string): WritableStream<ProducerRecord>;
  writable(topic: AnyTopic): WritableStream<AnyRecord> {
    if (this.#transactions !== null) throw outside(this.#transactions.transactionalId);
    return writableOf(this.#front, this.#outbox, topic);
  }

  /**
   * Runs `work` in a transaction: committed when it returns, after all that it sent was answered; aborted when it throws,
   * when a record fails, or when the signal is aborted. Needs the option transactionalId.
   *
   *     await producer.transaction(async (tx) => {
   *       for (const record of batch) await tx.send(bills, billOf(record));
   *       await tx.commitOffsets(batch);
   *     });
   *
   * @returns what `work` returned.
   * @throws what `work` threw; KafkaError of a record or of the coordinator: where it is `fatal`, as PRODUCER_FENCED or
   *   TRANSACTION_OUTCOME_UNKNOWN, the producer is of no more use. CONCURRENT_TRANSACTION while another one is open.
   */
  async transaction<T>(
    work: (transaction: Transaction) => T | Promise<T>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<T> {
    if (this.#transactions === null)
      throw new KafkaError("INVALID_CONFIG", "transactionalId: a producer without one has no transactions");
    if (this.#outbox.closed !== null) throw this.#outbox.closed;
    return this.#transactions.run(work, options.signal);
  }

  /**
   * Sends what is waiting, then takes no more; each record is delivered or has failed when it settles. An open transaction
   * is aborted.
   *
   * @param options timeoutMs is how long it may take: what is left then fails, and a transaction whose end is not known yet
   *   is left to its coordinator. Absent: as long as deliveryTimeoutMs.
   * @throws the first failure of an enqueued record of which nobody has heard.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const { timeoutMs = null } = options;
    const begunMs = this.#clock.monotonicMs();
    if (this.#transactions !== null) await this.#closeTransactions(this.#transactions, timeoutMs);
    const spentMs = this.#clock.monotonicMs() - begunMs;
    await this.#outbox.close(timeoutMs === null ? null : Math.max(0, timeoutMs - spentMs));
    this.#outbox.throwUnheard();
  }

  async #closeTransactions(transactions: Transactions, timeoutMs: number | null): Promise<void> {
    const closed = new KafkaError("CLOSED", "the producer was closed");
    const giveUp = (): void => transactions.giveUp(closed);
    const timer = timeoutMs === null ? null : this.#clock.schedule(timeoutMs, giveUp, { isAwaited: true });
    await transactions.close(closed);
    timer?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
