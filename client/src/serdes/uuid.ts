import { utf8Text } from "./basic.ts";
import { nullRefused, unreadable, unwritable } from "./failures.ts";
import type { HeaderSerde, SerdeContext } from "./serde.ts";

const shape = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;

/**
 * A UUID as text of 36 characters: as Java's UUIDSerializer. Given and read in lower case.
 *
 * @example
 *     const users = topic("users", { key: uuid(), value: json<{ name: string }>() });
 */
export function uuid(): HeaderSerde<string> {
  return asText;
}

/**
 * A UUID as its 16 bytes; in the program the same text as that of `uuid`.
 *
 * @example
 *     const users = topic("users", { key: uuidBytes(), value: json<{ name: string }>() });
 */
export function uuidBytes(): HeaderSerde<string> {
  return asBytes;
}

const asText: HeaderSerde<string> = {
  serialize: (value, context) => Buffer.from(checked(value, context, "uuid()"), "latin1"),
  deserialize(value, context) {
    const found = utf8Text(value, context, "uuid()");
    if (shape.test(found)) return found.toLowerCase();
    throw unreadable(context, `"${found.slice(0, 40)}" is no UUID`);
  },
};

const asBytes: HeaderSerde<string> = {
  serialize: (value, context) => Buffer.from(checked(value, context, "uuidBytes()").replaceAll("-", ""), "hex"),
  deserialize(value, context) {
    if (value === null) throw nullRefused(context, "uuidBytes()");
    if (value.length !== 16) throw unreadable(context, `a UUID is 16 bytes; here are ${value.length}`);
    return value.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};

function checked(value: unknown, context: SerdeContext, what: string): string {
  if (value === null || value === undefined) throw nullRefused(context, what);
  if (typeof value === "string" && shape.test(value)) return value.toLowerCase();
  throw unwritable(
    context,
    typeof value === "string" ? `"${value.slice(0, 40)}" is no UUID` : `${typeof value} is no UUID`,
  );
}
