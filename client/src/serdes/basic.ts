import { isUtf8 } from "node:buffer";
import { nullRefused, readFailure, refused, unreadable, unwritable, writeFailure } from "./failures.ts";
import { proceed } from "./maybe-promise.ts";
import type { HeaderSerde, Serde, SerdeContext } from "./serde.ts";
import { issuesText } from "./standard-schema.ts";
import type { StandardSchema, Validated } from "./standard-schema.ts";

/**
 * Bytes as they are, or null; text may be written for them.
 *
 * @example
 *     const images = topic("images", { key: text(), value: bytes() });
 */
export function bytes(): HeaderSerde<Buffer | null, Uint8Array | string | null> {
  return rawBytes;
}

const rawBytes: HeaderSerde<Buffer | null, Uint8Array | string | null> = {
  serialize: (value) => (typeof value === "string" ? Buffer.from(value) : value),
  deserialize: (value) => value,
};

/**
 * UTF-8. Bytes that are none, and text that has none (half of a surrogate pair), are refused instead of being replaced.
 *
 * @example
 *     const log = topic("log", { value: text() });
 */
export function text(): HeaderSerde<string> {
  return utf8;
}

const utf8: HeaderSerde<string> = {
  serialize(value, context) {
    if (value === null || value === undefined) throw nullRefused(context, "text()");
    if (typeof value !== "string") throw unwritable(context, `${typeof value} is no text`);
    if (!value.isWellFormed()) throw unwritable(context, "the text holds half of a surrogate pair");
    return Buffer.from(value);
  },
  deserialize: (value, context) => utf8Text(value, context, "text()"),
};

/** The text of bytes that must be UTF-8. */
export function utf8Text(value: Buffer | null, context: SerdeContext, what: string): string {
  if (value === null) throw nullRefused(context, what);
  if (!isUtf8(value)) throw unreadable(context, "the bytes are not UTF-8");
  return value.toString("utf8");
}

/**
 * One byte, 1 or 0: as Java's BooleanSerializer.
 *
 * @example
 *     const flags = topic("flags", { key: text(), value: boolean() });
 */
export function boolean(): HeaderSerde<boolean> {
  return oneByte;
}

const oneByte: HeaderSerde<boolean> = {
  serialize(value, context) {
    if (value === null || value === undefined) throw nullRefused(context, "boolean()");
    if (typeof value !== "boolean") throw unwritable(context, `${typeof value} is no boolean`);
    return Buffer.of(value ? 1 : 0);
  },
  deserialize(value, context) {
    if (value === null) throw nullRefused(context, "boolean()");
    const [byte] = value;
    if (value.length === 1 && (byte === 0 || byte === 1)) return byte === 1;
    throw unreadable(context, `a boolean is one byte, 0 or 1; here are ${value.length} bytes`);
  },
};

/**
 * Also null, which is neither written nor read by the serde inside: Kafka's tombstone.
 *
 * @example
 *     const accounts = topic("accounts", { key: text(), value: nullable(json<{ owner: string }>()) });
 *     await producer.send(accounts, { key: "a1", value: null }); // a tombstone
 */
export function nullable<Read, Write>(inner: HeaderSerde<Read, Write>): HeaderSerde<Read | null, Write | null>;
export function nullable<Read, Write>(inner: Serde<Read, Write>): Serde<Read | null, Write | null>;
export function nullable<Read, Write>(inner: Serde<Read, Write>): Serde<Read | null, Write | null> {
  return {
    serialize: (value, context) => (value === null ? null : inner.serialize(value, context)),
    deserialize: (value, context) => (value === null ? null : inner.deserialize(value, context)),
  };
}

/**
 * Other values in the place of those that `inner` reads and writes.
 *
 * What `read` and `write` throw becomes the cause of DESERIALIZATION_FAILED or SERIALIZATION_FAILED.
 *
 * @example
 *     const amount = via(int64(), { read: (cents) => cents / 100, write: (euros: number) => Math.round(euros * 100) });
 */
export function via<InnerRead, InnerWrite, Read, Write = Read>(
  inner: HeaderSerde<InnerRead, InnerWrite>,
  map: { readonly read: (value: InnerRead) => Read; readonly write: (value: Write) => InnerWrite },
): HeaderSerde<Read, Write>;
export function via<InnerRead, InnerWrite, Read, Write = Read>(
  inner: Serde<InnerRead, InnerWrite>,
  map: { readonly read: (value: InnerRead) => Read; readonly write: (value: Write) => InnerWrite },
): Serde<Read, Write>;
export function via<InnerRead, InnerWrite, Read, Write = Read>(
  inner: Serde<InnerRead, InnerWrite>,
  { read, write }: { readonly read: (value: InnerRead) => Read; readonly write: (value: Write) => InnerWrite },
): Serde<Read, Write> {
  return {
    serialize: (value, context) => inner.serialize(attempt(write, value, context, writeFailure), context),
    deserialize: (value, context) =>
      proceed(inner.deserialize(value, context), (found) => attempt(read, found, context, readFailure)),
  };
}

function attempt<From, To>(
  map: (value: From) => To,
  value: From,
  context: SerdeContext,
  failure: (error: unknown, context: SerdeContext) => Error,
): To {
  try {
    return map(value);
  } catch (error) {
    throw failure(error, context);
  }
}

/**
 * Only values that a Standard Schema accepts. What is written is validated and goes out as it was given: defaults and
 * transformations belong to the reader, who gets what the validator makes of what lies in the topic. A validator that
 * answers with a promise makes the serde wait.
 *
 * @throws KafkaError VALIDATION_FAILED with the first issues and their paths, on both ways.
 *
 * @example
 *     const positive = validated(json<unknown>(), z.number().positive());
 */
export function validated<Read, Write>(
  inner: Serde<unknown, unknown>,
  schema: StandardSchema<Write, Read>,
): Serde<Read, Write> {
  const check = (value: unknown, context: SerdeContext): Read | Promise<Read> =>
    proceed(schema["~standard"].validate(value), (result: Validated<Read>) => {
      if (result.issues === undefined) return result.value;
      throw refused(context, issuesText(result.issues), result.issues);
    });
  return {
    serialize: (value, context) => proceed(check(value, context), () => inner.serialize(value, context)),
    deserialize: (value, context) => proceed(inner.deserialize(value, context), (found) => check(found, context)),
  };
}
