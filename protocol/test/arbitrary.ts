import fc from "fast-check";
import type { AnyMessage } from "../src/interpret.ts";
import type { FieldSchema, MessageSchema, ScalarType } from "../src/schema.ts";

/** Any message that can be said in a version. Fields that the version lacks, and some that have a default, are left out. */
export function messageIn(schema: MessageSchema, version: number): fc.Arbitrary<AnyMessage> {
  return structIn(schema.fields, version);
}

function structIn(fields: readonly FieldSchema[], version: number): fc.Arbitrary<AnyMessage> {
  const there = fields.filter(({ since = 0, until = Infinity }) => version >= since && version <= until);
  const members = Object.fromEntries(there.map((field) => [field.name, valueIn(field, version)]));
  const required = there.filter(({ default: value, tag }) => value === undefined && tag === undefined);
  return fc.record(members, { requiredKeys: required.map(({ name }) => name) });
}

function valueIn(field: FieldSchema, version: number): fc.Arbitrary<unknown> {
  const isNullable = field.nullable === true || (field.nullable !== undefined && version >= field.nullable);
  const value = presentValue(field, version);
  return isNullable ? fc.option(value, { nil: null, freq: 3 }) : value;
}

function presentValue(field: FieldSchema, version: number): fc.Arbitrary<unknown> {
  const inner =
    "struct" in field ? structIn(field.of, version) : scalars[field.type === "array" ? field.of : field.type];
  return field.type === "array" ? fc.array(inner, { maxLength: 3, size: "max" }) : inner;
}

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 20 }) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 50, size: "max" }) },
);

/** Mostly copied by the writer, sometimes large enough to become a part of its own. */
const someBytes = fc.oneof(
  { weight: 5, arbitrary: fc.uint8Array({ maxLength: 12 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1000, max: 1100 }).map((length) => new Uint8Array(length).fill(7)) },
);

const scalars: Readonly<Record<ScalarType, fc.Arbitrary<unknown>>> = {
  bool: fc.boolean(),
  int8: fc.integer({ min: -0x80, max: 0x7f }),
  int16: fc.integer({ min: -0x8000, max: 0x7fff }),
  uint16: fc.integer({ min: 0, max: 0xffff }),
  int32: fc.integer(),
  uint32: fc.integer({ min: 0, max: 0xffff_ffff }),
  int64: fc.oneof(fc.maxSafeInteger(), fc.integer({ min: -2, max: 2 })),
  float64: fc.double(),
  uuid: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("base64url")),
  string: text,
  bytes: someBytes,
  records: someBytes,
};
