import type { ScalarType } from "../src/schema.ts";
import type { Field, Message, Struct } from "./plan.ts";

/** The value of a field that a message does not have, as an expression. */
export function defaultText({ schema, struct, nullableFrom }: Field): string {
  const { default: value, type } = schema;
  if (value === null) return "null";
  if (type === "array") return "[]";
  if (struct !== null) return `default${struct.type}`;
  if (typeof value === "bigint") return String(saturated(value));
  if (value !== undefined) return JSON.stringify(value);
  if (type === "records" && nullableFrom !== null) return "null";
  return type === "struct" ? "{}" : zeros[type];
}

/** What a scalar is where nothing is said, as an expression. */
const zeros: Readonly<Record<ScalarType, string>> = {
  bool: "false",
  int8: "0",
  int16: "0",
  uint16: "0",
  int32: "0",
  uint32: "0",
  int64: "0",
  float64: "0",
  uuid: "zeroUuid",
  string: '""',
  bytes: "noBytes",
  records: "noBytes",
};

/** As the reader gives an int64 that is no safe integer. */
function saturated(value: bigint): bigint {
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  if (value > limit) return limit;
  return value < -limit ? -limit : value;
}

/** Structs whose default is needed: absent from some versions, or tagged. */
export function structsWithDefault(message: Message): Set<Struct> {
  const found = new Set<Struct>();
  const add = (struct: Struct): void => {
    found.add(struct);
    for (const field of struct.fields) if (field.struct !== null && isOneStruct(field)) add(field.struct);
  };
  for (const { range, fields } of message.structs) {
    for (const field of fields) {
      const isPartial = field.range.first > range.first || field.range.last < range.last;
      const canBeAbsent = isPartial || field.schema.tag !== undefined;
      if (field.struct !== null && isOneStruct(field) && canBeAbsent) add(field.struct);
    }
  }
  return found;
}

function isOneStruct({ schema }: Field): boolean {
  return schema.type === "struct" && schema.default !== null;
}

export function defaultsOf(message: Message): string {
  const needed = structsWithDefault(message);
  const lines = message.structs.map((struct) => {
    if (!needed.has(struct)) return "";
    const values = struct.fields.map((field) => `${field.name}: ${defaultText(field)}`);
    return `const default${struct.type}: ${struct.type} = { ${values.join(", ")} };\n`;
  });
  return lines.join("");
}
