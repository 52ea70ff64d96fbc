import type { Headers } from "./headers.ts";

/** What a serde may look at beside the value itself. */
export interface SerdeContext {
  /** The name of the topic. */
  readonly topic: string;
  /** What of the record is written or read. */
  readonly part: "key" | "value" | "header";
  /** The name of the header, where the part is one. */
  readonly header?: string;
  /** Of the same record. While it is written a serde may add to them: what a reader must know to read it. */
  readonly headers: Headers;
}

/**
 * Values to bytes and back. `Write` is what may be sent where that is more than what is read.
 *
 * Null is a value like others: Kafka's tombstone. A serde that has no meaning for it refuses it (see `nullable`).
 */
export interface Serde<Read, Write = Read> {
  /**
   * The bytes of a value, or null. A promise only where something must be fetched first (a schema, a key): what is sent to
   * the same topic meanwhile waits, so that the order stays.
   *
   * @throws KafkaError SERIALIZATION_FAILED, NULL_VALUE or a more exact code; the record is then not sent, and its sender
   *   is told.
   */
  serialize(value: Write, context: SerdeContext): Uint8Array | null | Promise<Uint8Array | null>;
  /**
   * A value of bytes, which are a view of the batch that was fetched: to be copied where they are kept and small.
   *
   * @throws KafkaError DESERIALIZATION_FAILED, NULL_VALUE or a more exact code: the consumer's policy for bad records
   *   decides what follows. A `retriable` one is no fault of the record: the same bytes may be read later.
   */
  deserialize(bytes: Buffer | null, context: SerdeContext): Read | Promise<Read>;
}

/** One that never waits for anything: what headers need, and what most serdes are. */
export interface HeaderSerde<Read, Write = Read> {
  /** The bytes of a value, or null. */
  serialize(value: Write, context: SerdeContext): Uint8Array | null;
  /** A value of bytes. */
  deserialize(bytes: Buffer | null, context: SerdeContext): Read;
}

/** What a serde reads. */
export type ReadOf<S> = S extends { deserialize(bytes: Buffer | null, context: SerdeContext): infer Read }
  ? Awaited<Read>
  : never;

/** What a serde writes. */
export type WriteOf<S> = S extends { serialize(value: infer Write, context: SerdeContext): unknown } ? Write : never;
