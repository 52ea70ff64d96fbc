import type { Clock } from "@millrace/base/world";
import { ConsumedBatch } from "../consumed-batch.ts";
import type { ConsumedRecord } from "../consumed-record.ts";
import type { Consumption } from "../consumption.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { Decoder } from "./decoder.ts";
import type { Lease } from "../lease.ts";
import { Reading } from "./reading.ts";

/** How large a batch is, and how long it waits to become so. */
export interface BatchOptions {
  /** So many records at most. Default 10,000. */
  readonly countMax?: number;
  /** A batch that is not full waits so long for more. Default 0: what is there is given. */
  readonly waitMs?: number;
}

export interface BatchStreamOptions {
  readonly consumption: Consumption;
  readonly decoder: Decoder;
  readonly clock: Clock;
  readonly isDoneByNext: boolean;
  readonly batch: Required<BatchOptions>;
  readonly signal?: AbortSignal;
}

/**
 * Records in batches, each of one partition. Leaving the loop ends the reading; the batch in hand is then not done.
 *
 * @example
 *     await using batches = consumer.batches(orders, { countMax: 1_000, waitMs: 50 });
 *     const { value: batch } = await batches.next();
 *     console.log(batch?.length);
 */
export class BatchStream<Item> implements AsyncIterableIterator<Item, undefined> {
  readonly #options: BatchStreamOptions;
  readonly #life: Reading;
  #reader: ChunkReader | null = null;
  #inHand: ConsumedBatch | null = null;
  /** What follows the batch in hand cannot be read, as long as its partition is ours; null: nothing is known of that. */
  #failure: { readonly error: unknown; readonly lease: Lease } | null = null;
  /** Whoever asks for several at once gets them one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: BatchStreamOptions) {
    this.#options = options;
    this.#life = new Reading(options);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The next batch, when there is one. The batch before it is done then, unless `done` is "called".
   *
   * @throws KafkaError why reading has failed.
   */
  async next(): Promise<IteratorResult<Item, undefined>> {
    const next = this.#last.then(async () => this.#next());
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #next(): Promise<IteratorResult<Item, undefined>> {
    if (this.#options.isDoneByNext) this.#inHand?.done();
    this.#inHand = null;
    try {
      const failure = this.#failure;
      this.#failure = null;
      if (failure !== null && !failure.lease.isEnded) throw failure.error;
      while (await this.#life.goesOn()) {
        this.#failure = null;
        const batch = await this.#gather();
        if (batch !== null) {
          this.#inHand = batch;
          return { done: false, value: batch as Item };
        }
        if (this.#reader === null && !(await this.#life.untilNews())) break;
      }
    } catch (error) {
      await this.#end();
      throw error;
    }
    await this.#end();
    return { done: true, value: undefined };
  }

  /** Ends reading: what is done is committed, and the group is left. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.#end();
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  async #gather(): Promise<ConsumedBatch | null> {
    const { consumption, decoder, batch, clock } = this.#options;
    let reader = this.#reader;
    if (reader === null || reader.left === 0 || reader.reading.isPaused) {
      const rest = reader?.rest() ?? null;
      if (rest !== null) consumption.giveBack(rest);
      const taken = consumption.take();
      this.#reader = reader = taken === null ? null : new ChunkReader(taken, decoder);
    }
    if (reader === null) return null;
    const { reading, source } = reader;
    const records: ConsumedRecord[] = [];
    const untilMs = clock.monotonicMs() + batch.waitMs;
    for (;;) {
      while (records.length < batch.countMax) {
        if (this.#life.isTurnDue() && !(await this.#life.goesOn())) return null;
        let record = reader.nextPart(decoder);
        if (record instanceof Promise) record = await this.#orFailure(record, records.length > 0 ? source.lease : null);
        if (record === undefined) break;
        if (record !== null) records.push(record);
      }
      if (records.length >= batch.countMax || reader.isVoid || this.#failure !== null) break;
      const restMs = untilMs - clock.monotonicMs();
      const chunk = consumption.takeOf(reading);
      if (chunk !== null) this.#reader = reader = new ChunkReader({ reading, chunk }, decoder);
      else {
        // Nobody waits for company while others are ready.
        const mayWait = records.length > 0 && restMs > 0 && !consumption.hasReady && consumption.failure === null;
        if (!mayWait || !(await this.#life.untilNews(restMs))) break;
      }
      if (!(await this.#life.goesOn())) return null;
    }
    const { isVoid } = reader;
    // With a failure there is a record before it.
    const last = this.#failure === null ? undefined : records.at(-1);
    const { nextOffset, leaderEpoch } = last === undefined ? reader : { nextOffset: last.offset + 1, leaderEpoch: -1 };
    if (reader.left === 0 || this.#failure !== null) this.#reader = null;
    if (isVoid || source.lease !== reader.source.lease) return null;
    if (records.length === 0) {
      source.lease.skipTo(nextOffset);
      return null;
    }
    const ticket = source.lease.begin(nextOffset);
    const { highWatermark } = reading;
    return new ConsumedBatch(consumption, source, { records, nextOffset, highWatermark, leaderEpoch, ticket });
  }

  /** @param others is the lease of those that the batch has already: they are given first. */
  async #orFailure(
    record: Promise<ConsumedRecord | null>,
    others: Lease | null,
  ): Promise<ConsumedRecord | null | undefined> {
    try {
      return await record;
    } catch (error) {
      if (others === null) throw error;
      this.#failure = { error, lease: others };
      return undefined;
    }
  }

  async #end(): Promise<void> {
    this.#reader = null;
    this.#inHand?.abandon();
    this.#inHand = null;
    await this.#life.end();
  }
}
