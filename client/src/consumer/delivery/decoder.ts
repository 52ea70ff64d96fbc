import type { Record as LogRecord } from "kafka-protocol-ts/records/record";
import { must } from "@millrace/base/assert";
import { isRetriableError, KafkaError } from "../../errors.ts";
import { bytes } from "../../serdes/basic.ts";
import { sentenceOf } from "../../serdes/failures.ts";
import { Headers } from "../../serdes/headers.ts";
import type { HeaderSerdes, HeadersOwner } from "../../serdes/headers.ts";
import type { Serde } from "../../serdes/serde.ts";
import type { Topic } from "../../topic.ts";
import { ConsumedRecord } from "../consumed-record.ts";
import type { RecordSource } from "../consumed-record.ts";

/** Any topic, as what reads it knows it. */
export type ReadTopic = Topic<unknown, unknown, never, never, HeaderSerdes>;

/** What becomes of a record that cannot be read. Settles when the record needs no more attention, or rejects. */
export type BadRecordHandler = (record: ConsumedRecord, error: KafkaError) => Promise<void>;

const raw = bytes();

/** Settles after a pause that grows with the number of the attempt. */
export type Pause = (attempt: number) => Promise<void>;

/** From records of a log to records with values, by the serdes of their topic. */
export class Decoder {
  readonly #topics: ReadonlyMap<string, ReadTopic>;
  readonly #onBad: BadRecordHandler;
  readonly #pause: Pause;

  constructor(
    topics: readonly ReadTopic[],
    { onBad, pause }: { readonly onBad: BadRecordHandler; readonly pause: Pause },
  ) {
    this.#topics = new Map(topics.map((topic) => [topic.name, topic]));
    this.#onBad = onBad;
    this.#pause = pause;
  }

  /** The topic, where it was given with serdes for headers. */
  ownerOf(name: string): HeadersOwner | null {
    const topic = this.#topics.get(name);
    return topic?.headers === undefined ? null : topic;
  }

  /** Keys and values are the bytes themselves: there is nothing to decode. */
  isRaw(name: string): boolean {
    const topic = this.#topics.get(name);
    return topic === undefined || (topic.key === raw && topic.value === raw);
  }

  /**
   * The record with its values, of a topic that is not raw. Null: it was bad, and is dealt with, or its partition was given up meanwhile.
   *
   * @param ticket of its lease; -1: it is a part of something that has one.
   */
  decode(
    source: RecordSource,
    record: LogRecord,
    ticket: number,
  ): ConsumedRecord | null | Promise<ConsumedRecord | null> {
    const topic = must(this.#topics.get(source.topic), "the topic of a record that is read by its serdes");
    const headers = new Headers(record.headers, topic);
    let key: unknown;
    let value: unknown;
    try {
      key = read(topic.key, record.key, { topic: topic.name, part: "key", headers });
      value = read(topic.value, record.value, { topic: topic.name, part: "value", headers });
    } catch (error) {
      return this.#failed(source, record, ticket, error);
    }
    if (!(key instanceof Promise) && !(value instanceof Promise)) return typed(source, record, ticket, key, value);
    return Promise.all([key, value]).then(
      ([ownKey, ownValue]) => typed(source, record, ticket, ownKey, ownValue),
      async (error: unknown) => this.#failed(source, record, ticket, error),
    );
  }

  async #failed(
    source: RecordSource,
    record: LogRecord,
    ticket: number,
    cause: unknown,
  ): Promise<ConsumedRecord | null> {
    let error = cause;
    // A registry or a key store that is away says nothing of the record: it waits, as for a broker.
    for (let attempt = 1; isRetriableError(error); attempt++) {
      await this.#pause(attempt);
      if (source.lease.isEnded) {
        source.lease.abandon(ticket);
        return null;
      }
      const topic = must(this.#topics.get(source.topic), "the topic of a record that was read by its serdes");
      const headers = new Headers(record.headers, topic);
      try {
        const key = await read(topic.key, record.key, { topic: topic.name, part: "key", headers });
        const value = await read(topic.value, record.value, { topic: topic.name, part: "value", headers });
        return typed(source, record, ticket, key, value);
      } catch (again) {
        error = again;
      }
    }
    const { offset, timestamp, key, value } = record;
    const bad = new ConsumedRecord(source, offset, timestamp, key, value, record).handOut(ticket);
    try {
      await this.#onBad(bad, failureOf(bad, error));
    } catch (failure) {
      bad.abandon();
      throw failure;
    }
    bad.done();
    return null;
  }
}

/** What is wrong with a record, by the code that its serde gave, if it is ours. */
function failureOf({ topic, partition, offset }: ConsumedRecord, cause: unknown): KafkaError {
  const code = cause instanceof KafkaError ? cause.code : "DESERIALIZATION_FAILED";
  return new KafkaError(code, `${topic}-${partition} at offset ${offset}: ${sentenceOf(cause)}`, { cause });
}

function read(
  serde: Serde<unknown, never>,
  given: Buffer | null,
  context: Parameters<Serde<unknown>["deserialize"]>[1],
): unknown {
  return serde === raw ? given : serde.deserialize(given, context);
}

/** Its type is the topic's: what a front gives says so. */
function typed(source: RecordSource, record: LogRecord, ticket: number, key: unknown, value: unknown): ConsumedRecord {
  const { offset, timestamp } = record;
  return new ConsumedRecord(source, offset, timestamp, key, value, record).handOut(ticket) as ConsumedRecord;
}
