import { KafkaError } from "../errors.ts";
import type { HeaderSerde, Serde } from "./serde.ts";

/** Bytes as they are, or null; text may be written for them. */
export function bytes(): HeaderSerde<Buffer | null, Uint8Array | string | null> {
  return rawBytes;
}

const rawBytes: HeaderSerde<Buffer | null, Uint8Array | string | null> = {
  serialize: (value) => (typeof value === "string" ? Buffer.from(value) : value),
  deserialize: (value) => value,
};

/** UTF-8. */
export function text(): HeaderSerde<string> {
  return utf8;
}

const utf8: HeaderSerde<string> = {
  serialize: (value) => Buffer.from(value),
  deserialize: (value, { part }) => {
    if (value === null)
      throw new KafkaError("NULL_VALUE", `the ${part} is null, where text() reads text: see nullable()`);
    return value.toString("utf8");
  },
};

/** Also null, which is neither written nor read by the serde inside. */
export function nullable<Read, Write>(inner: Serde<Read, Write>): Serde<Read | null, Write | null> {
  return {
    serialize: (value, context) => (value === null ? null : inner.serialize(value, context)),
    deserialize: (value, context) => (value === null ? null : inner.deserialize(value, context)),
  };
}
