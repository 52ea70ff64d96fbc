import type { Headers } from "./headers.ts";

/** What a serde may look at beside the value itself. */
export interface SerdeContext {
  readonly topic: string;
  readonly part: "key" | "value";
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
   * @throws whatever is wrong with the value; the record is then not sent, and its sender is told.
   */
  serialize(value: Write, context: SerdeContext): Uint8Array | null | Promise<Uint8Array | null>;
  /**
   * A value of bytes, which are a view of the batch that was fetched: to be copied where they are kept and small.
   *
   * @throws whatever is wrong with the bytes: the consumer's policy for bad records decides what follows.
   */
  deserialize(bytes: Buffer | null, context: SerdeContext): Read | Promise<Read>;
}

/** Of a header: nothing may be awaited. */
export interface HeaderSerde<Read, Write = Read> {
  serialize(value: Write, context: SerdeContext): Uint8Array | null;
  deserialize(bytes: Buffer | null, context: SerdeContext): Read;
}
