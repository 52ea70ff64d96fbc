import type { GroupIdentity } from "../consumer/membership/membership.ts";
import type { Producer as CoreProducer } from "../producer/producer.ts";
import type { Transaction as CoreTransaction } from "../producer/transaction.ts";
import { finalError } from "./error-mapping.ts";
import { KafkaJSNonRetriableError } from "./errors.ts";
import type { Offsets, ProducerBatch, RecordMetadata } from "./message-types.ts";
import type { Transaction } from "./producer-types.ts";
import type { RetrySettings } from "./retry.ts";
import type { SendAll } from "./sending.ts";

export interface TransactionParts {
  readonly producer: CoreProducer;
  readonly retry: RetrySettings;
  send(batch: ProducerBatch, sendAll: SendAll): Promise<RecordMetadata[]>;
  /** As whom offsets of a group are committed: its member that owns all of these, else nobody. */
  memberOf(offsets: Offsets & { readonly consumerGroupId: string }): GroupIdentity;
  /** Consumers of the program need not commit them any more. */
  sent(offsets: Offsets & { readonly consumerGroupId: string }): void;
  /** A transaction has not been committed, or none has begun. */
  failed(error: unknown): void;
}

/** What the work of an aborted transaction throws; nobody else ever sees it. */
const asked = new Error("the transaction was aborted by its program");

/**
 * Begins and ends by calls what the client runs as a function: the function waits for the call that ends it.
 *
 * @throws what the coordinator refused, before anything was sent.
 */
export async function beginTransaction(parts: TransactionParts): Promise<OpenTransaction> {
  const end = Promise.withResolvers<void>();
  end.promise.catch(() => {});
  const begun = Promise.withResolvers<CoreTransaction>();
  const run = parts.producer.transaction(async (transaction) => {
    begun.resolve(transaction);
    await end.promise;
  });
  run.catch((error: unknown) => {
    if (error !== asked) parts.failed(error);
    begun.reject(error);
  });
  try {
    return new OpenTransaction(parts, { transaction: await begun.promise, run, end });
  } catch (error) {
    throw finalError(error, parts.retry);
  }
}

interface Running {
  readonly transaction: CoreTransaction;
  readonly run: Promise<void>;
  readonly end: PromiseWithResolvers<void>;
}

export class OpenTransaction implements Transaction {
  readonly #parts: TransactionParts;
  readonly #running: Running;
  /** A call has begun to end it. */
  #isEnding = false;
  #isOver = false;
  /** Its end was asked for and did not come about: an abort that follows has nothing to do. */
  #hasFailed = false;

  constructor(parts: TransactionParts, running: Running) {
    this.#parts = parts;
    this.#running = running;
    const over = (): void => {
      this.#isOver = true;
    };
    running.run.then(over, over);
  }

  // Programs take these out of the object: they are bound to it.

  readonly isActive = (): boolean => !this.#isEnding && !this.#isOver;

  readonly send: Transaction["send"] = async (record) => {
    const { topic, messages, ...options } = record;
    return this.sendBatch({ ...options, topicMessages: [{ topic, messages }] });
  };

  readonly sendBatch: Transaction["sendBatch"] = async (batch) => {
    this.#check();
    const { transaction } = this.#running;
    return this.#parts.send(batch, async (topic, records) => transaction.sendAll(topic, records));
  };

  readonly sendOffsets: Transaction["sendOffsets"] = async (offsets) => {
    this.#check();
    const { consumerGroupId, topics } = offsets;
    if (!consumerGroupId) throw new KafkaJSNonRetriableError("sendOffsets: consumerGroupId is missing");
    if (!Array.isArray(topics)) throw new KafkaJSNonRetriableError("sendOffsets: topics is missing");
    const next = topics.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset), leaderEpoch: -1 })),
    );
    try {
      await this.#running.transaction.commitOffsets({ group: this.#parts.memberOf(offsets), offsets: next });
      this.#parts.sent(offsets);
    } catch (error) {
      // Without its offsets nothing of it may be committed.
      this.#running.end.reject(error);
      throw finalError(error, this.#parts.retry);
    }
  };

  readonly commit: Transaction["commit"] = async () => {
    this.#check();
    this.#isEnding = true;
    this.#running.end.resolve();
    try {
      await this.#running.run;
    } catch (error) {
      this.#hasFailed = true;
      throw finalError(error, this.#parts.retry);
    }
  };

  readonly abort: Transaction["abort"] = async () => {
    if (this.#hasFailed) return;
    if (this.#isEnding) this.#check();
    this.#isEnding = true;
    this.#running.end.reject(asked);
    try {
      await this.#running.run;
    } catch (error) {
      // A record that had failed before, or the coordinator's timeout, has aborted it already.
      const { fatal = false } = error as { readonly fatal?: boolean };
      if (error !== asked && fatal) throw finalError(error, this.#parts.retry);
    }
  };

  #check(): void {
    if (!this.isActive()) throw new KafkaJSNonRetriableError("the transaction has ended: begin another one");
  }
}
