import type { Header } from "kafka-protocol-ts/records/record";
import { Headers } from "../serdes/headers.ts";
import type { HeadersOwner, NoHeaderSerdes, TypedHeaders } from "../serdes/headers.ts";
import type { Lease } from "./lease.ts";

/** What of a record's origin its fronts need, shared by all records of a partition. */
export interface RecordSource {
  readonly topic: string;
  readonly partition: number;
  readonly lease: Lease;
  /** The topic with the serdes of its headers, where it was given with any. */
  readonly owner: HeadersOwner | null;
}

/** What was fetched, where that is not what the record shows. */
export interface RawRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly Header[];
  readonly timestampBig?: bigint | undefined;
}

const noHeaders: readonly Header[] = [];

/**
 * A record that was read.
 *
 * @example
 *     for await (const record of consumer.records(orders, { done: "called" })) {
 *       void handle(record, { signal: record.signal }).then(() => record.done());
 *     }
 */
export class ConsumedRecord<Key = Buffer | null, Value = Buffer | null, DeclaredHeaders = NoHeaderSerdes> {
  /** The topic that it lies in. */
  readonly topic: string;
  /** The partition that it lies in. */
  readonly partition: number;
  /** Its place in the partition. */
  readonly offset: number;
  /** Milliseconds since 1970; -1 without one. Beyond the safe integers it is saturated, and `timestampBig` is exact. */
  readonly timestamp: number;
  /** As the topic's serde reads it; of a topic that is only named bytes, or null. */
  readonly key: Key;
  /** As the topic's serde reads it; of a topic that is only named bytes, or null. */
  readonly value: Value;
  /** Null where key and value are the bytes themselves, and there is nothing else: most records are small, and there are many. */
  readonly #raw: RawRecord | null;
  readonly #source: RecordSource;
  #ticket = -1;

  constructor(source: RecordSource, offset: number, timestamp: number, key: Key, value: Value, raw: RawRecord | null) {
    this.topic = source.topic;
    this.partition = source.partition;
    this.offset = offset;
    this.timestamp = timestamp;
    this.key = key;
    this.value = value;
    this.#raw = raw;
    this.#source = source;
  }

  /** A name with a serde of the topic gives its value; others text, or bytes by `bytes(name)`. */
  get headers(): TypedHeaders<DeclaredHeaders> {
    const { owner } = this.#source;
    const entries = this.#raw === null ? noHeaders : this.#raw.headers;
    const headers = owner === null ? new Headers(entries) : new Headers(entries, owner);
    return headers as TypedHeaders<DeclaredHeaders>;
  }

  /** Missing where `timestamp` is exact. */
  get timestampBig(): bigint | undefined {
    return this.#raw?.timestampBig;
  }

  /** The bytes as they were fetched: views of the answer's memory. */
  get rawKey(): Buffer | null {
    return this.#raw === null ? (this.key as Buffer | null) : this.#raw.key;
  }
  /** The bytes as they were fetched: views of the answer's memory. */
  get rawValue(): Buffer | null {
    return this.#raw === null ? (this.value as Buffer | null) : this.#raw.value;
  }

  /** Aborted when the partition is to be given up, or reading ends: work on this record should come to an end. */
  get signal(): AbortSignal {
    return this.#source.lease.signal;
  }

  /**
   * This record needs no more attention: what is committed may pass it, once all before it in its partition are done. A
   * second time, or after the partition was given up, it changes nothing; nor in a batch, which is done as a whole.
   */
  done(): void {
    this.#source.lease.done(this.#ticket);
  }

  /**
   * Under this ticket of its lease; it is a part of something that has one until then. For fronts.
   *
   * @internal
   */
  handOut(ticket: number): this {
    this.#ticket = ticket;
    return this;
  }

  /**
   * Whoever had it in hand is gone. For fronts.
   *
   * @internal
   */
  abandon(): void {
    this.#source.lease.abandon(this.#ticket);
  }
}
