import type { DataCodec } from "./api.ts";
import { type ByteReader, noBytes } from "./reader.ts";
import type { FieldSchema, MessageSchema, ScalarType } from "./schema.ts";
import { failUnsupported, failVersion, notNull } from "./unsupported.ts";
import { zeroUuid } from "./uuid.ts";
import type { ByteWriter } from "./writer.ts";

/** A message of which only its declaration is known. */
export type AnyMessage = Readonly<Record<string, unknown>>;

/**
 * Reads and writes a message by walking its declaration: slowly, and so plainly that one can see that it is right. The
 * generated code must do the same (interpret.test.ts); it also serves where a declaration comes at run time.
 */
export function interpreted(schema: MessageSchema): DataCodec<AnyMessage> {
  const { name, versions } = schema;
  return {
    name,
    versions,
    read: (reader, version) => {
      reader.flexible = flexibleAt(schema, version);
      return readStruct(schema.fields, reader, version);
    },
    write: (writer, message, version) => {
      writer.flexible = flexibleAt(schema, version);
      writeStruct(schema, schema.fields, writer, message, version);
    },
  };
}

function flexibleAt({ name, versions: [first, last], flexibleFrom }: MessageSchema, version: number): boolean {
  if (version < first || version > last) failVersion(name, version);
  return flexibleFrom !== null && version >= flexibleFrom;
}

function existsAt({ since = 0, until = Infinity }: FieldSchema, version: number): boolean {
  return version >= since && version <= until;
}

function isNullableAt({ nullable }: FieldSchema, version: number): boolean {
  return nullable === true || (nullable !== undefined && version >= nullable);
}

interface Scalar {
  /** What it is where nothing is said. */
  readonly zero: unknown;
  read(reader: ByteReader, isNullable: boolean): unknown;
  write(writer: ByteWriter, value: never): void;
}

const bytes: Scalar = {
  zero: noBytes,
  read: (reader, isNullable) => (isNullable ? reader.nullableBytes() : reader.bytes()),
  write: (writer, value: Uint8Array | null) => writer.nullableBytes(value),
};

const scalars: Readonly<Record<ScalarType, Scalar>> = {
  bool: { zero: false, read: (reader) => reader.bool(), write: (writer, value: boolean) => writer.bool(value) },
  int8: { zero: 0, read: (reader) => reader.int8(), write: (writer, value: number) => writer.int8(value) },
  int16: { zero: 0, read: (reader) => reader.int16(), write: (writer, value: number) => writer.int16(value) },
  uint16: { zero: 0, read: (reader) => reader.uint16(), write: (writer, value: number) => writer.uint16(value) },
  int32: { zero: 0, read: (reader) => reader.int32(), write: (writer, value: number) => writer.int32(value) },
  uint32: { zero: 0, read: (reader) => reader.uint32(), write: (writer, value: number) => writer.uint32(value) },
  int64: { zero: 0, read: (reader) => reader.int64(), write: (writer, value: number | bigint) => writer.int64(value) },
  float64: { zero: 0, read: (reader) => reader.float64(), write: (writer, value: number) => writer.float64(value) },
  uuid: { zero: zeroUuid, read: (reader) => reader.uuid(), write: (writer, value: string) => writer.uuid(value) },
  string: {
    zero: "",
    read: (reader, isNullable) => (isNullable ? reader.nullableString() : reader.string()),
    write: (writer, value: string | null) => writer.nullableString(value),
  },
  bytes,
  records: bytes,
};

/** What a field is where nothing is said. */
function defaultOf(field: FieldSchema): unknown {
  if (field.default !== undefined) return typeof field.default === "bigint" ? saturated(field.default) : field.default;
  if (field.type === "array") return [];
  if (field.type === "struct") return Object.fromEntries(field.of.map((inner) => [inner.name, defaultOf(inner)]));
  if (field.type === "records" && field.nullable !== undefined) return null;
  return scalars[field.type].zero;
}

/** As a reader gives an int64 that is no safe integer. */
function saturated(value: bigint): number {
  return Math.max(Math.min(Number(value), Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER);
}

function isDefault(field: FieldSchema, value: unknown): boolean {
  if (value === null) return defaultOf(field) === null;
  if (field.default === null) return false;
  if (field.type === "array") return (value as unknown[]).length === 0;
  if (field.type === "struct") {
    return field.of.every((inner) => isDefault(inner, given(inner, value as AnyMessage)));
  }
  return value instanceof Uint8Array ? value.length === 0 : value === defaultOf(field);
}

function given(field: FieldSchema, message: AnyMessage): unknown {
  const value = message[field.name];
  return value === undefined ? defaultOf(field) : value;
}

function readStruct(fields: readonly FieldSchema[], reader: ByteReader, version: number): AnyMessage {
  const message: Record<string, unknown> = {};
  for (const field of fields) {
    const isInPlace = existsAt(field, version) && field.tag === undefined;
    message[field.name] = isInPlace ? readField(field, reader, version) : defaultOf(field);
  }
  if (!reader.flexible) return message;
  for (let left = reader.unsignedVarint(); left > 0; left--) {
    const tag = reader.unsignedVarint();
    const end = reader.taggedEnd();
    const field = fields.find((candidate) => candidate.tag === tag && existsAt(candidate, version));
    if (field === undefined) reader.position = end;
    else message[field.name] = readField(field, reader, version);
    reader.expectTaggedEnd(end);
  }
  return message;
}

function readField(field: FieldSchema, reader: ByteReader, version: number): unknown {
  const isNullable = isNullableAt(field, version);
  if (field.type === "array") {
    const count = isNullable ? reader.nullableArrayLength(1) : reader.arrayLength(1);
    if (count < 0) return null;
    return Array.from({ length: count }, () =>
      "struct" in field ? readStruct(field.of, reader, version) : scalars[field.of].read(reader, false),
    );
  }
  if (field.type === "struct") {
    const isPresent = !isNullable || (field.tag === undefined ? reader.isPresent() : reader.isTaggedPresent());
    return isPresent ? readStruct(field.of, reader, version) : null;
  }
  return field.neverFlexible === true ? reader.nullableInt16String() : scalars[field.type].read(reader, isNullable);
}

function writeStruct(
  schema: MessageSchema,
  fields: readonly FieldSchema[],
  writer: ByteWriter,
  message: AnyMessage,
  version: number,
): void {
  const tagged: FieldSchema[] = [];
  for (const field of fields) {
    const value = given(field, message);
    if (existsAt(field, version)) {
      if (field.tag === undefined) writeField(schema, field, writer, value, version);
      else if (!isDefault(field, value)) tagged.push(field);
    } else if (field.ignorable !== true && !isDefault(field, value)) {
      failUnsupported(schema.name, field.name, version);
    }
  }
  if (!writer.flexible) return;
  writer.unsignedVarint(tagged.length);
  for (const field of tagged.toSorted((left, right) => (left.tag ?? 0) - (right.tag ?? 0))) {
    const at = writer.beginTag(field.tag ?? 0);
    writeField(schema, field, writer, message[field.name], version);
    writer.endTag(at);
  }
}

function writeField(
  schema: MessageSchema,
  field: FieldSchema,
  writer: ByteWriter,
  value: unknown,
  version: number,
): void {
  const isNullable = isNullableAt(field, version);
  if (!isNullable) notNull(value, schema.name, field.name, version);
  if (field.type === "array") {
    if (value === null) return writer.arrayLength(-1);
    const elements = value as readonly unknown[];
    writer.arrayLength(elements.length);
    for (const element of elements) {
      if ("struct" in field) writeStruct(schema, field.of, writer, element as AnyMessage, version);
      else scalars[field.of].write(writer, element as never);
    }
  } else if (field.type === "struct") {
    if (isNullable && field.tag === undefined) writer.isPresent(value !== null);
    else if (isNullable) writer.isTaggedPresent(value !== null);
    if (value !== null) writeStruct(schema, field.of, writer, value as AnyMessage, version);
  } else if (field.neverFlexible === true) {
    writer.nullableInt16String(value as string | null);
  } else {
    scalars[field.type].write(writer, value as never);
  }
}
