import type { HeaderInput } from "kafka-protocol-ts/records/record";
import { KafkaError } from "../errors.ts";
import { bytes } from "../serdes/basic.ts";
import { Headers } from "../serdes/headers.ts";
import type { HeadersInput, NoHeaderSerdes } from "../serdes/headers.ts";
import type { Serde, SerdeContext } from "../serdes/serde.ts";
import type { Topic } from "../topic.ts";
import type { Sink } from "./batch.ts";
import type { AnyRecord } from "./interceptors.ts";
import type { Tally } from "./tally.ts";

/** What a record may be sent to. */
export type AnyTopic = string | Topic<unknown, unknown, never, never>;

/** A record as it is sent. */
export interface WrittenRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly HeaderInput[];
}

/** A record that has no partition yet. */
export interface WaitingRecord {
  readonly topic: AnyTopic;
  readonly record: AnyRecord;
  readonly sink: Sink | null;
  /** Monotonic. */
  readonly deadlineMs: number;
  readonly tally: Tally;
  readonly chargedBytes: number;
  /** Its bytes, where its serde has been asked for them already. */
  readonly bytes: Promise<WrittenRecord> | null;
  /** Its time is over, and its sender was told. */
  isOver: boolean;
}

const raw = bytes();
const noHeaders: readonly HeaderInput[] = [];

export function nameOf(topic: AnyTopic): string {
  return typeof topic === "string" ? topic : topic.name;
}

/** Whether keys and values are bytes or text, which need no serde. */
export function isRaw(topic: AnyTopic): boolean {
  return typeof topic === "string" || (topic.key === raw && topic.value === raw);
}

/** @throws KafkaError SERIALIZATION_FAILED */
export function rawBytes(value: unknown, part: "key" | "value", topic: AnyTopic): Uint8Array | null {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return Buffer.from(value);
  if (value === null || (value === undefined && part === "key")) return null;
  const kind = value === undefined ? "missing" : `of type ${typeof value}`;
  throw new KafkaError(
    "SERIALIZATION_FAILED",
    `the ${part} of a record for ${nameOf(topic)} is ${kind}: bytes, text or null can be sent; topic() takes serdes for more`,
  );
}

/** @throws KafkaError of a header that cannot be written. */
export function headersOf(input: HeadersInput | undefined, topic: AnyTopic): readonly HeaderInput[] {
  return input === undefined ? noHeaders : headersFor(input, topic).entries;
}

/** As the topic declares them. */
function headersFor(input: HeadersInput | undefined, topic: AnyTopic): Headers {
  return typeof topic === "string" ? Headers.from(input) : Headers.from<NoHeaderSerdes>(input, topic);
}

/** What a record takes of the budget before its bytes are known. */
export function roughBytes({ key, value }: AnyRecord): number {
  return 64 + roughLength(key) + roughLength(value);
}

function roughLength(value: unknown): number {
  return typeof value === "string" || value instanceof Uint8Array ? value.length : 64;
}

/** The headers of a record are made when a serde asks for them, which most do not. */
class WriteContext implements SerdeContext {
  readonly topic: string;
  readonly part: "key" | "value";
  readonly #shared: SharedHeaders;

  constructor(topic: string, part: "key" | "value", shared: SharedHeaders) {
    this.topic = topic;
    this.part = part;
    this.#shared = shared;
  }

  get headers(): Headers {
    return this.#shared.headers;
  }
}

class SharedHeaders {
  readonly #input: HeadersInput | undefined;
  readonly #topic: AnyTopic;
  #headers: Headers | null = null;

  constructor(input: HeadersInput | undefined, topic: AnyTopic) {
    this.#input = input;
    this.#topic = topic;
  }

  get headers(): Headers {
    return (this.#headers ??= headersFor(this.#input, this.#topic));
  }

  get entries(): readonly HeaderInput[] {
    return this.#headers === null ? headersOf(this.#input, this.#topic) : this.#headers.entries;
  }
}

/**
 * The bytes of a record; a promise where a serde gives one.
 *
 * @throws KafkaError SERIALIZATION_FAILED, whose cause is what the serde has thrown; or the promise rejects with it.
 */
export function written(topic: AnyTopic, record: AnyRecord): WrittenRecord | Promise<WrittenRecord> {
  if (typeof topic === "string" || isRaw(topic)) {
    const key = rawBytes(record.key, "key", topic);
    return { key, value: rawBytes(record.value, "value", topic), headers: headersOf(record.headers, topic) };
  }
  const shared = new SharedHeaders(record.headers, topic);
  const key = part(topic, "key", record, shared);
  if (key instanceof Promise) return writtenLater(topic, record, shared, key);
  const value = part(topic, "value", record, shared);
  if (value instanceof Promise) return value.then((bytesOfIt) => ({ key, value: bytesOfIt, headers: shared.entries }));
  return { key, value, headers: shared.entries };
}

async function writtenLater(
  topic: Topic<unknown, unknown, never, never>,
  record: AnyRecord,
  shared: SharedHeaders,
  key: Promise<Uint8Array | null>,
): Promise<WrittenRecord> {
  const bytesOfKey = await key;
  return { key: bytesOfKey, value: await part(topic, "value", record, shared), headers: shared.entries };
}

function part(
  topic: Topic<unknown, unknown, never, never>,
  name: "key" | "value",
  record: AnyRecord,
  shared: SharedHeaders,
): Uint8Array | null | Promise<Uint8Array | null> {
  const serde = topic[name] as Serde<unknown, unknown>;
  // A key may be left out where null is one.
  const value = name === "key" ? (record.key ?? null) : record.value;
  if (serde === raw) return rawBytes(value, name, topic);
  try {
    const made: unknown = serde.serialize(value, new WriteContext(topic.name, name, shared));
    if (!isThenable(made)) return checked(made);
    return Promise.resolve(made)
      .then(checked)
      .catch((error: unknown) => {
        throw serializationFailed(topic.name, name, error);
      });
  } catch (error) {
    throw serializationFailed(topic.name, name, error);
  }
}

function isThenable(made: unknown): made is PromiseLike<unknown> {
  return typeof made === "object" && made !== null && "then" in made;
}

function checked(made: unknown): Uint8Array | null {
  if (made === null || made instanceof Uint8Array) return made;
  throw new TypeError(`its serde gave a value of type ${typeof made}, where bytes or null are expected`);
}

function serializationFailed(topic: string, name: "key" | "value", cause: unknown): KafkaError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const sentence = `the ${name} of a record for ${topic} cannot be serialized: ${reason}`;
  return new KafkaError("SERIALIZATION_FAILED", sentence, { cause });
}
