import { bytes } from "./serdes/basic.ts";
import type { HeadersInput } from "./serdes/headers.ts";
import type { Serde } from "./serdes/serde.ts";

/**
 * A topic with what its keys and values are: what is sent to it is checked by the compiler and by the serdes, what is read
 * from it has these types.
 *
 *     const orders = topic("orders", { key: text(), value: json(OrderSchema) });
 */
export interface Topic<KeyRead, ValueRead, KeyWrite = KeyRead, ValueWrite = ValueRead> {
  readonly name: string;
  readonly key: Serde<KeyRead, KeyWrite>;
  readonly value: Serde<ValueRead, ValueWrite>;
}

/** Bytes as they are; text may be sent for them. What a topic is that is only named. */
export type RawTopic = Topic<Buffer | null, Buffer | null, RawInput, RawInput>;
export type RawInput = Uint8Array | string | null;

/** Absent serdes: bytes, or null. */
export function topic(name: string): RawTopic;
export function topic<KeyRead, ValueRead, KeyWrite, ValueWrite>(
  name: string,
  serdes: { readonly key: Serde<KeyRead, KeyWrite>; readonly value: Serde<ValueRead, ValueWrite> },
): Topic<KeyRead, ValueRead, KeyWrite, ValueWrite>;
export function topic<ValueRead, ValueWrite>(
  name: string,
  serdes: { readonly value: Serde<ValueRead, ValueWrite> },
): Topic<Buffer | null, ValueRead, RawInput, ValueWrite>;
export function topic<KeyRead, KeyWrite>(
  name: string,
  serdes: { readonly key: Serde<KeyRead, KeyWrite> },
): Topic<KeyRead, Buffer | null, KeyWrite, RawInput>;
export function topic(
  name: string,
  {
    key = bytes(),
    value = bytes(),
  }: { readonly key?: Serde<unknown, never>; readonly value?: Serde<unknown, never> } = {},
): Topic<unknown, unknown, never, never> {
  return { name, key, value };
}

/** What is sent. Where null is a key, it may be left out. */
export type RecordInput<Key, Value> = {
  readonly value: Value;
  readonly headers?: HeadersInput;
  /** Milliseconds since 1970; now when absent. */
  readonly timestamp?: number;
  /** Absent: murmur2 of the key, as the Java client; records without key stick to a partition for a batch. */
  readonly partition?: number;
} & (null extends Key ? { readonly key?: Key } : { readonly key: Key });
