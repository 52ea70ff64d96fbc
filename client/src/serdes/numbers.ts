import { nullRefused, unreadable, unwritable } from "./failures.ts";
import type { HeaderSerde, SerdeContext } from "./serde.ts";

/**
 * 4 bytes, big-endian: as Java's IntegerSerializer.
 *
 * @example
 *     const attempts = topic("jobs", { value: text(), headers: { attempt: int32() } });
 */
export function int32(): HeaderSerde<number> {
  return int32Serde;
}

/**
 * 8 bytes, big-endian: as Java's LongSerializer. What lies outside ±(2^53 − 1) is an error on both ways, never rounded: see
 * `bigint64`.
 *
 * @example
 *     const totals = topic("totals", { key: text(), value: int64() });
 *     await producer.send(totals, { key: "t1", value: 250 });
 */
export function int64(): HeaderSerde<number> {
  return int64Serde;
}

/**
 * 8 bytes, big-endian: as Java's LongSerializer, its whole range.
 *
 * @example
 *     const counters = topic("counters", { key: text(), value: bigint64() });
 *     await producer.send(counters, { key: "c1", value: 2n ** 60n });
 */
export function bigint64(): HeaderSerde<bigint> {
  return bigint64Serde;
}

/**
 * 8 bytes, IEEE 754, big-endian: as Java's DoubleSerializer.
 *
 * @example
 *     const readings = topic("readings", { key: text(), value: float64() });
 */
export function float64(): HeaderSerde<number> {
  return float64Serde;
}

/**
 * A moment: milliseconds since 1970 as `int64` writes them.
 *
 * @example
 *     const seen = topic("last-seen", { key: text(), value: instant() });
 *     await producer.send(seen, { key: "u1", value: new Date() });
 */
export function instant(): HeaderSerde<Date> {
  return instantSerde;
}

const int32Serde = fixed<number>("int32()", 4, {
  refusal: (value) =>
    typeof value === "number" && value === (value | 0) ? null : `${String(value)} is no integer of 32 bits`,
  write: (into, value) => into.writeInt32BE(value),
  read: (from) => from.readInt32BE(),
});

const int64Serde = fixed<number>("int64()", 8, {
  refusal: (value) => (Number.isSafeInteger(value) ? null : `${String(value)} is no safe integer: see bigint64()`),
  write: writeSafe,
  read: readSafe,
});

const bigint64Serde = fixed<bigint>("bigint64()", 8, {
  refusal: (value) =>
    typeof value === "bigint" && value === BigInt.asIntN(64, value)
      ? null
      : `${String(value)} is no bigint of 64 bits with sign`,
  write: (into, value) => into.writeBigInt64BE(value),
  read: (from) => from.readBigInt64BE(),
});

const float64Serde = fixed<number>("float64()", 8, {
  refusal: (value) => (typeof value === "number" ? null : `${typeof value} is no number`),
  write: (into, value) => into.writeDoubleBE(value),
  read: (from) => from.readDoubleBE(),
});

const instantSerde = fixed<Date>("instant()", 8, {
  refusal: (value) =>
    value instanceof Date && Number.isSafeInteger(value.getTime()) ? null : `${String(value)} is no valid Date`,
  write: (into, value) => writeSafe(into, value.getTime()),
  read(from, context) {
    const date = new Date(readSafe(from, context));
    if (Number.isNaN(date.getTime())) throw unreadable(context, "the time is outside what a Date can hold");
    return date;
  },
});

interface Layout<Value> {
  /** Why this cannot be written, or null. What the type promises is checked, too: callers need not be TypeScript. */
  readonly refusal: (value: unknown) => string | null;
  readonly write: (into: Buffer, value: Value) => void;
  readonly read: (from: Buffer, context: SerdeContext) => Value;
}

function fixed<Value>(what: string, sizeBytes: number, { refusal, write, read }: Layout<Value>): HeaderSerde<Value> {
  return {
    serialize(value, context) {
      if (value === null || value === undefined) throw nullRefused(context, what);
      const why = refusal(value);
      if (why !== null) throw unwritable(context, why);
      const into = Buffer.allocUnsafe(sizeBytes);
      write(into, value);
      return into;
    },
    deserialize(value, context) {
      if (value === null) throw nullRefused(context, what);
      if (value.length !== sizeBytes)
        throw unreadable(context, `${what} reads ${sizeBytes} bytes; here are ${value.length}`);
      return read(value, context);
    },
  };
}

function writeSafe(into: Buffer, value: number): void {
  const high = Math.floor(value / 2 ** 32);
  into.writeInt32BE(high);
  into.writeUInt32BE(value - high * 2 ** 32, 4);
}

function readSafe(from: Buffer, context: SerdeContext): number {
  const value = from.readInt32BE() * 2 ** 32 + from.readUInt32BE(4);
  if (Number.isSafeInteger(value)) return value;
  throw unreadable(context, `${from.readBigInt64BE()} is no safe integer: see bigint64()`);
}
