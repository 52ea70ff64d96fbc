import { Deque } from "@millrace/base/deque";
import type { Clock, Random } from "@millrace/base/world";
import { KafkaError } from "../../errors.ts";
import type { ConsumedRecord } from "../consumed-record.ts";
import type { RawTopic } from "../../topic.ts";
import type { ReadOptions } from "../options.ts";
import type { PartitionReading } from "../partition-reading.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { Decoder } from "./decoder.ts";
import { Reading } from "./reading.ts";
import type { ReadingOptions } from "./reading.ts";
import { WorkLane } from "./work-lane.ts";
import type { LaneListener, Share } from "./work-lane.ts";
import type { WorkOrder } from "./work-queue.ts";

/** How often a record is tried, and how long it waits in between. Times are milliseconds. */
export interface RetryPolicy {
  /** The first included. Default 1: none is tried again. */
  readonly attempts: number;
  /** Doubled from attempt to attempt, with jitter. Default 200. */
  readonly backoffMsMin?: number;
  /** Default 10,000. */
  readonly backoffMsMax?: number;
}

/** How handlers are called, beside how records are read. Times are milliseconds. */
export interface RunOptions extends ReadOptions {
  /** So many handlers run at the same time. Default 1. */
  readonly concurrency?: number;
  /** Which records keep their order: those of a key, those of a partition, none. Default "partition". */
  readonly order?: WorkOrder;
  /** What to do with a handler that fails. Default: one attempt. */
  readonly retry?: RetryPolicy;
  /** An attempt may take so long; then its signal is aborted and it has failed. Default: for ever. */
  readonly timeoutMs?: number;
  /**
   * Where a record goes whose last attempt has failed, with headers that say why and whence; reading goes on behind it.
   * Absent: `run` ends with the error, and the record is not committed.
   */
  readonly deadLetters?: string | RawTopic;
}

/** What a handler is told beside its record. */
export interface HandlerContext {
  /** Aborted when the partition is to be given up, when the attempt takes too long, and when `run` ends. */
  readonly signal: AbortSignal;
  /** From 1. */
  readonly attempt: number;
}

/**
 * What is called with each record. The record is done when it returns, or when the promise that it returns settles;
 * throwing, or a rejection, is a failed attempt.
 */
export type Handler<Record> = (record: Record, context: HandlerContext) => unknown;

export interface RunnerOptions extends ReadingOptions {
  readonly decoder: Decoder;
  readonly random: Random;
  readonly handler: Handler<ConsumedRecord>;
  readonly concurrency: number;
  readonly order: WorkOrder;
  /** What is looked at ahead may hold so much, of all partitions together. */
  readonly aheadBytesMax: number;
  readonly retry: Required<RetryPolicy>;
  readonly timeoutMs: number | null;
  /** So long handlers may take to end when reading has ended; then nobody waits for them any more. */
  readonly endTimeoutMs: number;
  /** Null: there is no place for them. */
  readonly bury: ((record: ConsumedRecord, error: unknown) => Promise<void>) | null;
}

/**
 * So many records are looked at ahead of those in work, of all partitions together: a hot key keeps others of its partition
 * waiting only when it has more than its share of that.
 */
const aheadMax = 1_000;

/** Calls a handler for each record until reading ends. Partitions do not wait for each other, but for a free handler. */
export class Runner implements LaneListener {
  readonly #options: RunnerOptions;
  readonly #life: Reading;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  readonly #lanes = new Map<PartitionReading, WorkLane>();
  /** Those whose records may be worked on, in the order in which they are served; those that have room for more. */
  readonly #ready = new Deque<WorkLane>();
  readonly #hungry = new Deque<WorkLane>();
  #inWork = 0;
  /** Records that their serdes take their time for: one of a partition. */
  #inDecoding = 0;
  #failure: unknown = null;
  #hasFailed = false;
  #wake: (() => void) | null = null;
  #news: Promise<boolean> | null = null;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#life = new Reading(options);
    this.#clock = options.clock;
  }

  /** Settles when reading has ended; rejects with what a handler failed with for good. */
  async run(): Promise<void> {
    try {
      while (!this.#hasFailed && (await this.#life.goesOn())) {
        this.#fill();
        const isTurnDue = this.#startAll();
        if (this.#hasFailed) break;
        if (isTurnDue) continue;
        if (this.#inWork >= this.#options.concurrency) await this.#ended();
        else if (this.#hungry.isEmpty && !(await this.#untilNewsOrProgress())) break;
      }
      this.#abandonWaiting();
      await this.#lastOnes();
    } finally {
      this.#stopping.abort();
      this.#abandonWaiting();
      await this.#life.end();
    }
    if (this.#hasFailed) throw this.#failure;
  }

  // --- What waits -------------------------------------------------------------------------------------------------------

  /**
   * Takes records until each partition has its share. After each chunk what can be done is done, so that an answer's records
   * are not all held at once.
   */
  #fill(): void {
    const { consumption, concurrency, decoder, aheadBytesMax } = this.#options;
    const readingsCount = Math.max(1, consumption.readingsCount);
    const share: Share = {
      count: Math.max(concurrency, Math.floor(aheadMax / readingsCount)),
      bytes: Math.max(1, aheadBytesMax / readingsCount),
    };
    this.#lookAtPauses();
    for (;;) {
      const lane = this.#hungry.shift() ?? this.#takeLane();
      if (lane === null) return;
      lane.isHungry = false;
      const filled = lane.fill(decoder, share);
      if (filled === "decoding") this.#inDecoding++;
      this.#offer(lane);
      if (filled === "through" && lane.work.waiting > 0) return;
    }
  }

  #takeLane(): WorkLane | null {
    const { consumption, order } = this.#options;
    const taken = consumption.take();
    if (taken === null) return null;
    const { reading } = taken;
    let lane = this.#lanes.get(reading);
    if (lane === undefined) {
      lane = new WorkLane(reading, { consumption, order, listener: this });
      this.#lanes.set(reading, lane);
    }
    lane.begin(new ChunkReader(taken, this.#options.decoder));
    return lane;
  }

  /** A lane that has changed takes its place among those that are ready, those with room, or none. */
  #offer(lane: WorkLane): void {
    if (lane.work.hasReady && !lane.isReady && !lane.reading.isPaused) {
      lane.isReady = true;
      this.#ready.push(lane);
    }
    if (lane.wantsMore && !lane.isHungry) {
      lane.isHungry = true;
      this.#hungry.push(lane);
    }
    if (lane.isOver && !lane.isHungry) this.#lanes.delete(lane.reading);
  }

  /** What waits for a paused partition is not begun, and goes on when it is resumed. */
  #lookAtPauses(): void {
    for (const lane of this.#lanes.values()) {
      if (lane.reading.isPaused) lane.giveBack();
      else if (lane.hasPaused) this.#offer(lane);
      lane.hasPaused = lane.reading.isPaused;
    }
  }

  /** What nobody has begun to work on is not waited for. */
  onRevoked(lane: WorkLane): void {
    this.#offer(lane);
    this.#tell();
  }

  onDecoded(lane: WorkLane): void {
    this.#inDecoding--;
    this.#offer(lane);
    this.#tell();
  }

  onUnreadable(error: unknown): void {
    this.#fail(error);
  }

  /** Nobody works on what waits any more. */
  #abandonWaiting(): void {
    for (const lane of this.#lanes.values()) lane.abandon();
  }

  // --- Work -------------------------------------------------------------------------------------------------------------

  /** True: others must have a turn before more is begun. */
  #startAll(): boolean {
    while (this.#inWork < this.#options.concurrency && !this.#hasFailed) {
      const lane = this.#ready.shift();
      if (lane === undefined) return false;
      lane.isReady = false;
      if (lane.reading.isPaused) {
        lane.hasPaused = true;
        continue;
      }
      const record = lane.work.take();
      if (record !== null) this.#start(lane, record);
      this.#offer(lane);
      if (this.#life.isTurnDue()) return true;
    }
    return false;
  }

  #start(lane: WorkLane, record: ConsumedRecord): void {
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
        lane.work.finished(record);
        return;
      }
      this.#begin(lane, record, outcome);
      return;
    }
    this.#begin(lane, record, this.#attempts(record));
  }

  #begin(lane: WorkLane, record: ConsumedRecord, outcome: PromiseLike<unknown>): void {
    this.#inWork++;
    lane.inWork++;
    void this.#finish(record, outcome).finally(() => {
      this.#inWork--;
      lane.inWork--;
      lane.work.finished(record);
      this.#offer(lane);
      this.#tell();
    });
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

  async #lastOnes(): Promise<void> {
    const late = new AbortController();
    const timer = this.#clock.schedule(this.#options.endTimeoutMs, () => {
      late.abort();
      this.#tell();
    });
    while (this.#inWork > 0 && !this.#hasFailed && !late.signal.aborted) await this.#ended();
    timer.cancel();
  }

  /** Until a handler has ended, or what waited for one was given up. */
  async #ended(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** False: there is nothing more, and nothing in work. */
  async #untilNewsOrProgress(): Promise<boolean> {
    const { consumption } = this.#options;
    if (this.#isIdle) return this.#life.untilNews();
    if (consumption.isOver || consumption.failure !== null) {
      await this.#ended();
      return true;
    }
    this.#news ??= this.#life.untilNews().finally(() => (this.#news = null));
    return (await Promise.race([this.#news, this.#ended().then(() => true)])) || !this.#isIdle;
  }

  get #isIdle(): boolean {
    return this.#inWork === 0 && this.#inDecoding === 0;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}
