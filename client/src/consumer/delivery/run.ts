import type { Clock, Random } from "@millrace/base/world";
import { KafkaError } from "../../errors.ts";
import type { ConsumedRecord } from "../consumed-record.ts";
import type { RawTopic } from "../../topic.ts";
import type { ReadOptions } from "../options.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { Decoder } from "./decoder.ts";
import { Reading } from "./reading.ts";
import type { ReadingOptions } from "./reading.ts";
import { WorkQueue } from "./work-queue.ts";
import type { WorkOrder } from "./work-queue.ts";

export interface RetryPolicy {
  /** The first included. Default 1: none is tried again. */
  readonly attempts: number;
  /** Doubled from attempt to attempt, with jitter. Default 200. */
  readonly backoffMsMin?: number;
  /** Default 10,000. */
  readonly backoffMsMax?: number;
}

export interface RunOptions extends ReadOptions {
  /** So many handlers run at the same time. Default 1. */
  readonly concurrency?: number;
  /** Which records keep their order: those of a key, those of a partition, none. Default "partition". */
  readonly order?: WorkOrder;
  readonly retry?: RetryPolicy;
  /** An attempt may take so long; then its signal is aborted and it has failed. Default: for ever. */
  readonly timeoutMs?: number;
  /**
   * Where a record goes whose last attempt has failed, with headers that say why and whence; reading goes on behind it.
   * Absent: `run` ends with the error, and the record is not committed.
   */
  readonly deadLetters?: string | RawTopic;
}

export interface HandlerContext {
  /** Aborted when the partition is to be given up, when the attempt takes too long, and when `run` ends. */
  readonly signal: AbortSignal;
  /** From 1. */
  readonly attempt: number;
}

export type Handler<Record> = (record: Record, context: HandlerContext) => unknown;

export interface RunnerOptions extends ReadingOptions {
  readonly decoder: Decoder;
  readonly random: Random;
  readonly handler: Handler<ConsumedRecord>;
  readonly concurrency: number;
  readonly order: WorkOrder;
  readonly retry: Required<RetryPolicy>;
  readonly timeoutMs: number | null;
  /** Null: there is no place for them. */
  readonly bury: ((record: ConsumedRecord, error: unknown) => Promise<void>) | null;
}

/** So many records are looked at ahead of those in work: a hot key keeps others waiting only when it has more than that. */
const aheadMax = 1_000;

/** Calls a handler for each record until reading ends. */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #life: Reading;
  readonly #clock: Clock;
  readonly #work: WorkQueue;
  readonly #stopping = new AbortController();
  #inWork = 0;
  #reader: ChunkReader | null = null;
  #failure: unknown = null;
  #hasFailed = false;
  #wake: (() => void) | null = null;
  #news: Promise<boolean> | null = null;
  /** What nobody has begun to work on is not waited for. */
  readonly #onRevoked = (): void => {
    for (const record of this.#work.dropRevoked()) record.abandon();
  };

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#life = new Reading(options);
    this.#clock = options.clock;
    this.#work = new WorkQueue(options.order);
  }

  /** Settles when reading has ended; rejects with what a handler failed with for good. */
  async run(): Promise<void> {
    try {
      while (!this.#hasFailed && (await this.#life.goesOn())) {
        const hasMore = await this.#fill();
        this.#startAll();
        if (this.#hasFailed) break;
        const isFull = this.#work.waiting >= aheadMax || this.#inWork >= this.#options.concurrency;
        if (isFull) await this.#progress();
        else if (!hasMore && !(await this.#untilNewsOrProgress())) break;
      }
      while (this.#inWork > 0 && !this.#hasFailed) {
        await this.#progress();
        this.#startAll();
      }
    } finally {
      this.#stopping.abort();
      this.#abandonAll();
      await this.#life.end();
    }
    if (this.#hasFailed) throw this.#failure;
  }

  /** Takes records until there are enough to choose from. False: there are no more at present. */
  async #fill(): Promise<boolean> {
    const { consumption, decoder } = this.#options;
    while (this.#work.waiting < aheadMax) {
      if (this.#reader === null) {
        const taken = consumption.take();
        if (taken === null) return false;
        this.#reader = new ChunkReader(taken, decoder);
        this.#reader.source.lease.signal.addEventListener("abort", this.#onRevoked, { once: true });
      }
      let record = this.#reader.next(decoder);
      if (record instanceof Promise) record = await record;
      if (record === undefined) {
        this.#reader = null;
        // After each chunk what can be done is done, so that an answer's records are not all held at once.
        if (this.#work.waiting > 0) return true;
      } else if (record !== null) this.#work.add(record);
    }
    return true;
  }

  #startAll(): void {
    while (this.#inWork < this.#options.concurrency && !this.#hasFailed) {
      const record = this.#work.take();
      if (record === null) return;
      this.#start(record);
    }
  }

  #start(record: ConsumedRecord): void {
    const { handler, timeoutMs, retry } = this.#options;
    // The common case, a handler that is no async function, costs no promise.
    if (timeoutMs === null && retry.attempts === 1) {
      let outcome: unknown;
      try {
        outcome = handler(record, { signal: record.signal, attempt: 1 });
      } catch (error) {
        outcome = Promise.reject(error);
      }
      if (!isThenable(outcome)) {
        record.done();
        this.#work.finished(record);
        return;
      }
      this.#inWork++;
      void this.#finish(record, outcome);
      return;
    }
    this.#inWork++;
    void this.#finish(record, this.#attempts(record));
  }

  async #finish(record: ConsumedRecord, outcome: PromiseLike<unknown>): Promise<void> {
    try {
      try {
        await outcome;
      } catch (error) {
        await this.#bury(record, error);
      }
      record.done();
    } catch (error) {
      record.abandon();
      // What fails because its partition was given up is tried by the next owner.
      if (!record.signal.aborted) this.#fail(error);
    }
    this.#inWork--;
    this.#work.finished(record);
    this.#tell();
  }

  async #attempts(record: ConsumedRecord): Promise<void> {
    const { retry } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#attempt(record, attempt);
        return;
      } catch (error) {
        if (attempt >= retry.attempts || record.signal.aborted || this.#stopping.signal.aborted) throw error;
      }
      await this.#pause(Math.min(retry.backoffMsMax, retry.backoffMsMin * 2 ** (attempt - 1)), record.signal);
    }
  }

  async #attempt(record: ConsumedRecord, attempt: number): Promise<void> {
    const { handler, timeoutMs } = this.#options;
    const late = new AbortController();
    const signal = AbortSignal.any([record.signal, late.signal, this.#stopping.signal]);
    const { promise: over, reject } = Promise.withResolvers<never>();
    over.catch(() => undefined);
    const timer =
      timeoutMs === null
        ? null
        : this.#clock.schedule(timeoutMs, () => {
            const where = `${record.topic}-${record.partition} at offset ${record.offset}`;
            const error = new KafkaError(
              "HANDLER_TIMED_OUT",
              `the handler of ${where} did not end within ${timeoutMs} ms`,
            );
            late.abort(error);
            reject(error);
          });
    try {
      await Promise.race([handler(record, { signal, attempt }), over]);
    } finally {
      timer?.cancel();
    }
  }

  async #bury(record: ConsumedRecord, error: unknown): Promise<void> {
    const { bury } = this.#options;
    if (bury === null || record.signal.aborted) throw error;
    await bury(record, error);
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => resolve();
    const timer = this.#clock.schedule(ms * (0.8 + 0.4 * this.#options.random.fraction()), end, { isAwaited: true });
    signal.addEventListener("abort", end);
    this.#stopping.signal.addEventListener("abort", end);
    await promise;
    timer.cancel();
    signal.removeEventListener("abort", end);
    this.#stopping.signal.removeEventListener("abort", end);
  }

  #fail(error: unknown): void {
    if (!this.#hasFailed) this.#failure = error;
    this.#hasFailed = true;
    this.#tell();
  }

  // --- Waiting ----------------------------------------------------------------------------------------------------------

  #tell(): void {
    this.#wake?.();
    this.#wake = null;
  }

  /** Until a handler has ended, or reading has. */
  async #progress(): Promise<void> {
    if (this.#inWork === 0) return;
    await this.#ended();
  }

  async #ended(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** False: there is nothing more, and nothing in work. */
  async #untilNewsOrProgress(): Promise<boolean> {
    const { consumption } = this.#options;
    if (this.#inWork === 0) return this.#life.untilNews();
    if (consumption.isOver || consumption.failure !== null) {
      await this.#ended();
      return true;
    }
    this.#news ??= this.#life.untilNews().finally(() => (this.#news = null));
    return (await Promise.race([this.#news, this.#ended().then(() => true)])) || this.#inWork > 0;
  }

  /** Nobody works on what waits any more. */
  #abandonAll(): void {
    for (let record = this.#work.take(); record !== null; record = this.#work.take()) {
      record.abandon();
      this.#work.finished(record);
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}
