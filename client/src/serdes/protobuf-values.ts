import protobuf from "protobufjs";

/**
 * A value as protobufjs takes it, after a look at every field of it: protobufjs alone would make 0 of "abc" and pass over
 * a name that it does not know.
 *
 * @throws Error naming the field.
 */
export function toWrite(type: protobuf.Type, value: unknown, path = ""): object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(path, `no ${type.name}`);
  const written: Record<string, unknown> = {};
  for (const [name, found] of Object.entries(value)) {
    const field = type.fields[name];
    const place = path === "" ? name : `${path}.${name}`;
    if (field === undefined) throw wrong(place, `not a field of ${type.fullName.slice(1)}`);
    if (found === undefined || found === null) continue;
    written[name] = fieldToWrite(field, found, place);
  }
  return written;
}

function fieldToWrite(field: protobuf.Field, value: unknown, path: string): unknown {
  if (field.map) {
    if (typeof value !== "object" || value === null) throw wrong(path, "no object, which a map is written from");
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, oneToWrite(field, each, `${path}.${key}`)]),
    );
  }
  if (!field.repeated) return oneToWrite(field, value, path);
  if (!Array.isArray(value)) throw wrong(path, "no array");
  return value.map((each, index) => oneToWrite(field, each, `${path}.${index}`));
}

function oneToWrite(field: protobuf.Field, value: unknown, path: string): unknown {
  const { resolvedType, type } = field;
  if (resolvedType instanceof protobuf.Type) return toWrite(resolvedType, value, path);
  if (resolvedType instanceof protobuf.Enum) {
    const isKnown =
      typeof value === "string" ? Object.hasOwn(resolvedType.values, value) : isWithin(value, -(2 ** 31), 2 ** 31);
    if (isKnown) return value;
    throw wrong(path, `${shown(value)} is none of the enum ${resolvedType.name}`);
  }
  if (!isScalar(type, value)) throw wrong(path, `${shown(value)} is no ${type}`);
  return typeof value === "bigint" ? value.toString() : value;
}

function isScalar(type: string, value: unknown): boolean {
  switch (type) {
    case "string":
      return typeof value === "string";
    case "bool":
      return typeof value === "boolean";
    case "bytes":
      return value instanceof Uint8Array;
    case "double":
    case "float":
      return typeof value === "number";
    case "int32":
    case "sint32":
    case "sfixed32":
      return isWithin(value, -(2 ** 31), 2 ** 31);
    case "uint32":
    case "fixed32":
      return isWithin(value, 0, 2 ** 32);
    case "uint64":
    case "fixed64":
      return typeof value === "bigint" ? value === BigInt.asUintN(64, value) : isWithin(value, 0, 2 ** 53);
    default:
      return typeof value === "bigint" ? value === BigInt.asIntN(64, value) : Number.isSafeInteger(value);
  }
}

/** An integer from the first up to but not the second. */
function isWithin(value: unknown, from: number, to: number): boolean {
  return Number.isInteger(value) && (value as number) >= from && (value as number) < to;
}

function shown(value: unknown): string {
  if (typeof value === "string") return `"${value.slice(0, 40)}"`;
  return typeof value === "number" || typeof value === "bigint" || typeof value === "boolean"
    ? String(value)
    : typeof value;
}

function wrong(path: string, why: string): Error {
  return new Error(path === "" ? why : `${path}: ${why}`);
}

/**
 * A message as a plain object. Scalars that were not written have their defaults, messages are null; enums are their names;
 * 64-bit numbers are bigints or, where they must be, safe numbers.
 *
 * @throws Error naming the field whose number is not safe.
 */
export function asRead(type: protobuf.Type, message: protobuf.Message, longs: "number" | "bigint"): object {
  const found = type.toObject(message, { defaults: true, enums: String, longs: BigInt });
  return (longs === "bigint" ? found : withNumbers(found, "")) as object;
}

function withNumbers(value: unknown, path: string): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw wrong(path, `${value} is no safe integer: see longs: "bigint"`);
  }
  if (Array.isArray(value)) return value.map((each, index) => withNumbers(each, `${path}.${index}`));
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  for (const [name, each] of Object.entries(value)) {
    if (typeof each === "bigint" || typeof each === "object")
      (value as Record<string, unknown>)[name] = withNumbers(each, path === "" ? name : `${path}.${name}`);
  }
  return value;
}
