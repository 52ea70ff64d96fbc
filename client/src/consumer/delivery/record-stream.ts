import type { ConsumedRecord } from "../consumed-record.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { Decoder } from "./decoder.ts";
import { Reading } from "./reading.ts";
import type { ReadingOptions } from "./reading.ts";

export interface RecordStreamOptions extends ReadingOptions {
  readonly decoder: Decoder;
  /** A record is done when the next one is asked for. */
  readonly isDoneByNext: boolean;
}

/**
 * Records one by one. Iterating it begins the reading; leaving the loop, by `break` or by an error, ends it, and the record
 * that was in hand is then not done: say `record.done()` before.
 *
 * @example
 *     await using records = consumer.records(orders);
 *     const { value: record } = await records.next();
 *     console.log(record?.value);
 */
export class RecordStream<Item> implements AsyncIterableIterator<Item, undefined> {
  readonly #options: RecordStreamOptions;
  readonly #life: Reading;
  #reader: ChunkReader | null = null;
  #inHand: ConsumedRecord | null = null;
  /** Whoever asks for several at once gets them one after the other. */
  #searching: Promise<IteratorResult<Item, undefined>> | null = null;

  constructor(options: RecordStreamOptions) {
    this.#options = options;
    this.#life = new Reading(options);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The next record, when there is one. The record before it is done then, unless `done` is "called".
   *
   * @throws KafkaError why reading has failed.
   */
  next(): Promise<IteratorResult<Item, undefined>> {
    const searching = this.#searching;
    if (searching !== null) return this.#search(async () => searching.then(() => null).catch(() => null));
    this.#leaveBehind();
    // The common case, without an async function: the chunk has another record that can be read at once.
    const reader = this.#reader;
    const isQuick = reader !== null && !this.#life.isEnded && !reader.reading.isPaused;
    if (isQuick && !this.#life.isTurnDue()) {
      const record = reader.next(this.#options.decoder);
      if (record instanceof Promise) return this.#search(async () => record);
      if (record !== null && record !== undefined) return Promise.resolve(this.#give(record));
      if (record === undefined) this.#reader = null;
    }
    return this.#search(null);
  }

  /** Ends reading: what is done is committed, and the group is left. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.#end();
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  #give(record: ConsumedRecord): IteratorYieldResult<Item> {
    this.#inHand = record;
    return { done: false, value: record as Item };
  }

  /** The record in hand is behind whoever asks for the next. */
  #leaveBehind(): void {
    if (this.#options.isDoneByNext) this.#inHand?.done();
    this.#inHand = null;
  }

  #search(before: (() => Promise<ConsumedRecord | null>) | null): Promise<IteratorResult<Item, undefined>> {
    const searching = this.#find(before).finally(() => {
      if (this.#searching === searching) this.#searching = null;
    });
    this.#searching = searching;
    return searching;
  }

  async #find(before: (() => Promise<ConsumedRecord | null>) | null): Promise<IteratorResult<Item, undefined>> {
    try {
      const first = before === null ? null : await before();
      if (first !== null) return this.#give(first);
      this.#leaveBehind();
      while (await this.#life.goesOn()) {
        const record = await this.#nextOf();
        if (record === "wait") {
          if (!(await this.#life.untilNews())) break;
        } else if (record !== null) return this.#give(record);
      }
    } catch (error) {
      await this.#end();
      throw error;
    }
    await this.#end();
    return { done: true, value: undefined };
  }

  /** The next record of this chunk or of another; null: look again. */
  async #nextOf(): Promise<ConsumedRecord | "wait" | null> {
    const { consumption, decoder } = this.#options;
    if (this.#reader?.reading.isPaused === true) {
      const rest = this.#reader.rest();
      this.#reader = null;
      if (rest !== null) consumption.giveBack(rest);
    }
    if (this.#reader === null) {
      const taken = consumption.take();
      if (taken === null) return "wait";
      this.#reader = new ChunkReader(taken, decoder);
    }
    const record = await this.#reader.next(decoder);
    if (record === undefined) this.#reader = null;
    return record ?? null;
  }

  async #end(): Promise<void> {
    this.#reader = null;
    this.#inHand?.abandon();
    this.#inHand = null;
    await this.#life.end();
  }
}
