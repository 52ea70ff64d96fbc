import { utf8Text, validated } from "./basic.ts";
import { nullRefused, readFailure, unreadable, unwritable, writeFailure } from "./failures.ts";
import type { HeaderSerde, Serde } from "./serde.ts";
import type { StandardSchema } from "./standard-schema.ts";

/**
 * JSON text. Without a schema nothing is checked but that it is JSON: the type is the caller's word.
 *
 * With a schema (zod, valibot, arktype: any Standard Schema) see `validated`: what is sent is validated as the schema's
 * input and written as it was given; what is read is the schema's output, with its defaults and transformations.
 *
 * Null is refused, since the text `null` would be no tombstone: see `nullable`.
 *
 * @example
 *     const plain = topic("orders", { key: text(), value: json<Order>() });
 *     const checked = topic("orders", { key: text(), value: json(z.object({ id: z.string(), cents: z.int() })) });
 */
export function json<Value = unknown>(): HeaderSerde<Value>;
export function json<Read, Write = Read>(schema: StandardSchema<Write, Read>): Serde<Read, Write>;
export function json(schema?: StandardSchema): Serde<unknown> {
  return schema === undefined ? plain : validated(plain, schema);
}

const plain: HeaderSerde<unknown> = {
  serialize(value, context) {
    if (value === null) throw nullRefused(context, "json()");
    let written: string | undefined;
    try {
      // Undefined for a function, a symbol and undefined itself, whatever its type says.
      written = JSON.stringify(value) as string | undefined;
    } catch (error) {
      throw writeFailure(error, context);
    }
    if (written === undefined) throw unwritable(context, `JSON has no text for ${typeof value}`);
    return Buffer.from(written);
  },
  deserialize(value, context) {
    const written = utf8Text(value, context, "json()");
    if (written === "") throw unreadable(context, "an empty text is not JSON");
    try {
      return JSON.parse(written);
    } catch (error) {
      throw readFailure(error, context);
    }
  },
};
