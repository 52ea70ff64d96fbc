import { bytes } from "./serdes/basic.ts";
import type { HeaderSerdes, HeadersInput, NoHeaderSerdes } from "./serdes/headers.ts";
import type { Serde } from "./serdes/serde.ts";

/**
 * A topic with what its keys and values are: what is sent to it is checked by the compiler and by the serdes, what is read
 * from it has these types.
 *
 *     const orders = topic("orders", { key: text(), value: json(OrderSchema), headers: { attempt: int32() } });
 */
export interface Topic<
  KeyRead,
  ValueRead,
  KeyWrite = KeyRead,
  ValueWrite = ValueRead,
  DeclaredHeaders extends HeaderSerdes = NoHeaderSerdes,
> {
  /** As the cluster has it. */
  readonly name: string;
  /** How keys become bytes, and bytes keys. */
  readonly key: Serde<KeyRead, KeyWrite>;
  /** How values become bytes, and bytes values. */
  readonly value: Serde<ValueRead, ValueWrite>;
  /** What headers of these names hold; others are text or bytes. */
  readonly headers?: DeclaredHeaders;
}

/** Bytes as they are; text may be sent for them. What a topic is that is only named. */
export type RawTopic = Topic<Buffer | null, Buffer | null, RawInput, RawInput>;
/** Bytes, text as UTF-8, or nothing. */
export type RawInput = Uint8Array | string | null;

interface Declared<DeclaredHeaders> {
  readonly headers?: DeclaredHeaders;
}

/**
 * Absent serdes: bytes, or null.
 *
 * @example
 *     const orders = topic("orders", { key: text(), value: json<Order>(), headers: { attempt: int32() } });
 *     await producer.send(orders, { key: "o1", value: { id: "o1", cents: 250 }, headers: { attempt: 1 } });
 */
export function topic<DeclaredHeaders extends HeaderSerdes = NoHeaderSerdes>(
  name: string,
  serdes?: Declared<DeclaredHeaders> & { readonly key?: undefined; readonly value?: undefined },
): Topic<Buffer | null, Buffer | null, RawInput, RawInput, DeclaredHeaders>;
export function topic<KeyRead, ValueRead, KeyWrite, ValueWrite, DeclaredHeaders extends HeaderSerdes = NoHeaderSerdes>(
  name: string,
  serdes: Declared<DeclaredHeaders> & {
    readonly key: Serde<KeyRead, KeyWrite>;
    readonly value: Serde<ValueRead, ValueWrite>;
  },
): Topic<KeyRead, ValueRead, KeyWrite, ValueWrite, DeclaredHeaders>;
export function topic<ValueRead, ValueWrite, DeclaredHeaders extends HeaderSerdes = NoHeaderSerdes>(
  name: string,
  serdes: Declared<DeclaredHeaders> & { readonly value: Serde<ValueRead, ValueWrite>; readonly key?: undefined },
): Topic<Buffer | null, ValueRead, RawInput, ValueWrite, DeclaredHeaders>;
export function topic<KeyRead, KeyWrite, DeclaredHeaders extends HeaderSerdes = NoHeaderSerdes>(
  name: string,
  serdes: Declared<DeclaredHeaders> & { readonly key: Serde<KeyRead, KeyWrite>; readonly value?: undefined },
): Topic<KeyRead, Buffer | null, KeyWrite, RawInput, DeclaredHeaders>;
export function topic(
  name: string,
  {
    key = bytes(),
    value = bytes(),
    headers,
  }: {
    readonly key?: Serde<unknown, never> | undefined;
    readonly value?: Serde<unknown, never> | undefined;
    readonly headers?: HeaderSerdes;
  } = {},
): Topic<unknown, unknown, never, never, HeaderSerdes> {
  return headers === undefined ? { name, key, value } : { name, key, value, headers };
}

/** What is sent. Where null is a key, it may be left out. */
export type RecordInput<Key, Value, DeclaredHeaders = NoHeaderSerdes> = {
  /** Null deletes the key in a compacted topic, where the serde takes null. */
  readonly value: Value;
  /** Names with text, bytes, or what the topic declares for them. */
  readonly headers?: HeadersInput<DeclaredHeaders>;
  /** Milliseconds since 1970; now when absent. */
  readonly timestamp?: number;
  /** Absent: murmur2 of the key, as the Java client; records without key stick to a partition for a batch. */
  readonly partition?: number;
} & (null extends Key
  ? {
      /** Decides on the partition; in a compacted topic a later record of the same key replaces this one. */
      readonly key?: Key;
    }
  : {
      /** Decides on the partition; in a compacted topic a later record of the same key replaces this one. */
      readonly key: Key;
    });
