import type { ConsumedOffsets } from "../consumer/consumed-offsets.ts";
import { abortedError, asKafkaError, KafkaError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { Front } from "./front.ts";
import type { Identities, ProducerIdentity } from "./identity.ts";
import type { AnyRecord } from "./interceptors.ts";
import type { Lane } from "./lane.ts";
import type { Delivered, SendResult } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import type { SendOptions, WaitOptions } from "./producer.ts";
import type { AnyTopic } from "./records.ts";
import type { TransactionalSending } from "./sender-host.ts";
import { mute } from "./sinks.ts";
import type { HasConsumedOffsets, Transaction } from "./transaction.ts";
import { EndFailure, produceVersionMax } from "./transaction-coordinator.ts";
import type { TransactionCoordinator, TransactionVersion } from "./transaction-coordinator.ts";
import { untilAborted } from "./until-aborted.ts";

/** The transaction that is open. */
class Running {
  readonly controller = new AbortController();
  /** Rejects when nothing of it is to be waited for any more: its caller has aborted it, or the producer was closed. */
  readonly cut: Promise<never>;
  readonly end: (error: KafkaError) => void;
  readonly done = Promise.withResolvers<void>();
  /** Why it cannot be committed. */
  failure: KafkaError | null = null;
  /** What records are told that are lost by it. */
  aborted: KafkaError | null = null;
  /** Takes nothing more. */
  isOver = false;
  /** A broker may know of it. */
  isStarted = false;
  /** A batch with numbers was dropped: the next one of its partition must not look like a gap. */
  hasGap = false;
  /** Its end is decided, or nobody can be asked for it. */
  isHopeless = false;
  /** Version 1: partitions that the coordinator knows of, and those that it must be told. */
  readonly added = new Set<Lane>();
  readonly wanted = new Set<Lane>();
  isAdding = false;
  /** Settles when the coordinator is not being told of partitions any more. */
  adding: Promise<void> = Promise.resolve();
  readonly committing = new Set<Promise<void>>();

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.cut = promise;
    this.end = reject;
  }

  fail(error: KafkaError): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.controller.abort(error);
  }
}

/** The transactions of one producer, one after the other, and the identity that it has in them. */
export class Transactions implements Identities, TransactionalSending {
  readonly transactionalId: string;
  readonly #coordinator: TransactionCoordinator;
  #parts: { readonly outbox: Outbox; readonly front: Front } | null = null;
  #identity: ProducerIdentity | null = null;
  /** The coordinator must be asked for an identity before the next transaction. */
  #isStale = true;
  #version: TransactionVersion = 1;
  #preparing: Promise<void> | null = null;
  #running: Running | null = null;
  #fatal: KafkaError | null = null;
  readonly #givenUp = Promise.withResolvers<void>();

  constructor(coordinator: TransactionCoordinator) {
    this.#coordinator = coordinator;
    this.transactionalId = coordinator.transactionalId;
  }

  /** What records go through. */
  attach(parts: { readonly outbox: Outbox; readonly front: Front }): void {
    this.#parts = parts;
  }

  // --- What the sender asks ---------------------------------------------------------------------------------------------

  get current(): ProducerIdentity | null {
    return this.#identity;
  }

  async obtain(): Promise<void> {
    if (this.#identity === null) throw outside(this.transactionalId);
  }

  useUp(): void {}

  get produceVersionMax(): number {
    return produceVersionMax[this.#version];
  }

  admits(lane: Lane): boolean {
    const running = this.#running;
    if (running === null || running.failure !== null) return false;
    if (this.#version === 2) {
      running.isStarted = true;
      return true;
    }
    if (running.added.has(lane)) return true;
    running.wanted.add(lane);
    if (!running.isAdding) running.adding = this.#add(running);
    return false;
  }

  dropped(): void {
    if (this.#running !== null) this.#running.hasGap = true;
  }

  /** A record of the transaction was not delivered. */
  failed(error: KafkaError): void {
    if (this.#running !== null) this.#fail(this.#running, error);
  }

  // --- One transaction --------------------------------------------------------------------------------------------------

  async run<T>(work: (transaction: Transaction) => T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (this.#fatal !== null) throw this.#fatal;
    if (this.#running !== null) throw concurrent(this.transactionalId);
    if (signal?.aborted === true) throw abortedError(signal, "the transaction");
    const running = new Running();
    this.#running = running;
    const onAbort = (): void => running.end(abortedError(signal as AbortSignal, "the transaction"));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await Promise.race([this.#prepare(), running.cut]);
      const value = await Promise.race([work(this.#handle(running)), running.cut]);
      running.isOver = true;
      await Promise.race([this.#settled(running), running.cut]);
      if (running.failure !== null) throw running.failure;
      await this.#commit(running);
      return value;
    } catch (error) {
      throw await this.#abort(running, error);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#running = null;
      running.done.resolve();
    }
  }

  /** Aborts what is open, and takes no more. Settles when it has ended, or is given up. */
  async close(error: KafkaError): Promise<void> {
    this.#fatal ??= error;
    this.#running?.end(error);
    await Promise.race([this.#running?.done.promise, this.#givenUp.promise]);
  }

  /** Nobody waits for the end of what is open any more: its coordinator ends it by its time. */
  giveUp(error: KafkaError): void {
    this.#coordinator.stop(error);
    this.#givenUp.resolve();
  }

  /** Whoever comes while an earlier call is still under way waits for that. */
  async #prepare(): Promise<void> {
    this.#preparing ??= this.#identify().finally(() => {
      this.#preparing = null;
    });
    await this.#preparing;
  }

  async #identify(): Promise<void> {
    try {
      if (this.#isStale) this.#identity = await this.#coordinator.init(this.#identity);
      this.#isStale = false;
      this.#version = await this.#coordinator.version();
    } catch (error) {
      throw this.#noteFatal(asKafkaError(error));
    }
  }

  async #settled(running: Running): Promise<void> {
    await this.#parts?.outbox.flush();
    await Promise.allSettled(running.committing);
  }

  // --- Its end ----------------------------------------------------------------------------------------------------------

  async #commit(running: Running): Promise<void> {
    // Of an empty one nobody knows.
    if (!running.isStarted) return;
    const identity = this.#identity as ProducerIdentity;
    try {
      this.#identity = await this.#coordinator.end(identity, { isCommit: true, version: this.#version });
    } catch (error) {
      if (!(error instanceof EndFailure)) throw error;
      const { cause, isUncertain } = error;
      this.#isStale = true;
      const isDecided = cause.code === "INVALID_TXN_STATE" || cause.code === "TRANSACTION_ABORTABLE";
      if (isUncertain && !isDecided) {
        running.isHopeless = true;
        throw this.#noteFatal(
          new KafkaError(
            "TRANSACTION_OUTCOME_UNKNOWN",
            `the transaction of ${this.transactionalId} may or may not have been committed: ${cause.message}`,
            { fatal: true, cause },
          ),
        );
      }
      running.isHopeless = cause.code === "TIMED_OUT" || cause.code === "CLOSED";
      throw this.#noteFatal(cause);
    }
  }

  /** It cannot be committed any more: nothing of it leaves, and whoever waits for that is told. */
  #fail(running: Running, error: KafkaError): void {
    if (running.failure !== null) return;
    running.fail(error);
    // Not within the call that tells of it: there a batch is being given up.
    queueMicrotask(() => {
      if (this.#running === running) void this.#discard(running, error);
    });
  }

  async #discard(running: Running, cause: unknown): Promise<void> {
    const sentence = `the transaction of ${this.transactionalId} was aborted: ${asKafkaError(cause).message}`;
    running.aborted ??= new KafkaError("TRANSACTION_ABORTED", sentence, { cause });
    await this.#parts?.outbox.discard(running.aborted);
  }

  /** What the caller is told in the end. */
  async #abort(running: Running, thrown: unknown): Promise<unknown> {
    running.isOver = true;
    // Why the records were lost for which the caller has waited.
    const error = thrown === running.aborted ? running.failure : thrown;
    running.fail(asKafkaError(error));
    await this.#discard(running, error);
    // What is still being said of it must not come behind its end, and begin another one that nobody ends.
    await Promise.allSettled([running.adding, ...running.committing]);
    if (running.failure?.fatal === true) this.#noteFatal(running.failure);
    const isOpen = running.isStarted && !running.isHopeless && (this.#fatal === null || this.#fatal.code === "CLOSED");
    if (isOpen) await this.#endAborted(running);
    return this.#fatal?.fatal === true ? this.#fatal : error;
  }

  async #endAborted(running: Running): Promise<void> {
    const identity = this.#identity as ProducerIdentity;
    try {
      this.#identity = await this.#coordinator.end(identity, { isCommit: false, version: this.#version });
      // KIP-360: the next epoch begins with sequence 0 everywhere.
      if (this.#version === 1 && running.hasGap) this.#isStale = true;
    } catch (error) {
      this.#isStale = true;
      if (!(error instanceof EndFailure)) throw error;
      // A coordinator that ended the transaction for its time has raised the epoch, as it does for another producer: it
      // tells the one its next epoch, and refuses the other.
      if (error.cause.code === "PRODUCER_FENCED") await this.#prepare().catch(() => {});
      else this.#noteFatal(error.cause);
    }
  }

  #noteFatal(error: KafkaError): KafkaError {
    if (error.fatal) this.#fatal ??= error;
    return error;
  }

  // --- What belongs to it -----------------------------------------------------------------------------------------------

  /** Version 1: all partitions of this moment in one request. */
  async #add(running: Running): Promise<void> {
    running.isAdding = true;
    try {
      // Others of this turn join.
      await Promise.resolve();
      while (running.wanted.size > 0 && running.failure === null) {
        const lanes = [...running.wanted];
        const partitions = lanes.map(({ topic, partition }): TopicPartition => ({ topic: topic.name, partition }));
        running.isStarted = true;
        await this.#coordinator.addPartitions(
          this.#identity as ProducerIdentity,
          partitions,
          running.controller.signal,
        );
        for (const lane of lanes) {
          running.wanted.delete(lane);
          running.added.add(lane);
        }
        for (const lane of lanes) this.#parts?.outbox.offer(lane);
      }
    } catch (error) {
      this.#fail(running, asKafkaError(error));
    } finally {
      running.isAdding = false;
    }
  }

  async #commitOffsets(running: Running, consumed: ConsumedOffsets | HasConsumedOffsets): Promise<void> {
    const offsets = "consumedOffsets" in consumed ? consumed.consumedOffsets() : consumed;
    if (offsets.offsets.length === 0) return;
    running.isStarted = true;
    const identity = this.#identity as ProducerIdentity;
    const committing = this.#coordinator.commitOffsets(identity, offsets, {
      version: this.#version,
      signal: running.controller.signal,
    });
    running.committing.add(committing);
    try {
      await committing;
    } catch (error) {
      this.#fail(running, asKafkaError(error));
      throw error;
    }
  }

  #handle(running: Running): Transaction {
    const parts = this.#parts as { readonly outbox: Outbox; readonly front: Front };
    const { outbox, front } = parts;
    const refusal = (): KafkaError | null => {
      if (running.failure !== null) return running.failure;
      return running.isOver ? new KafkaError("INVALID_TXN_STATE", "the transaction has ended") : null;
    };
    const check = (): void => {
      const error = refusal();
      if (error !== null) throw error;
    };
    /** Also where only the waiting for a record has ended: nobody has seen it delivered. */
    const orFail = async <T>(send: () => Promise<T>): Promise<T> => {
      check();
      try {
        return await send();
      } catch (error) {
        this.#fail(running, asKafkaError(error));
        throw error;
      }
    };
    return {
      signal: running.controller.signal,
      send: async (topic: AnyTopic, record: AnyRecord, options: SendOptions = {}): Promise<Delivered> =>
        orFail(() => front.send(topic, record, options.signal)),
      sendAll: async (
        topic: AnyTopic,
        records: readonly AnyRecord[],
        options: SendOptions = {},
      ): Promise<readonly SendResult[]> => orFail(() => front.sendAll(topic, records, options.signal)),
      enqueue: (topic: AnyTopic, records: AnyRecord | readonly AnyRecord[]): void => {
        check();
        front.enqueue(topic, records, mute);
      },
      ready: async ({ signal }: WaitOptions = {}): Promise<void> => {
        check();
        await untilAborted(() => outbox.room(), { signal, what: "waiting for room" });
        check();
      },
      commitOffsets: async (consumed: ConsumedOffsets | HasConsumedOffsets): Promise<void> => {
        check();
        await this.#commitOffsets(running, consumed);
      },
    };
  }
}

/** What a producer with a transactional id answers to who sends without a transaction. */
export function outside(transactionalId: string): KafkaError {
  const sentence = `the producer has the transactional id ${transactionalId}: it sends inside of transaction() only`;
  return new KafkaError("INVALID_TXN_STATE", sentence);
}

function concurrent(transactionalId: string): KafkaError {
  const sentence = `a transaction of ${transactionalId} is open: await its end, or use a producer with another id`;
  return new KafkaError("CONCURRENT_TRANSACTION", sentence);
}
