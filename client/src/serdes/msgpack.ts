// The entry without a native part: "msgpackr" itself would load its optional addon where that is installed.
import { Packr } from "msgpackr/pack";
import { validated } from "./basic.ts";
import { nullRefused, readFailure, unreadable, unwritable, writeFailure } from "./failures.ts";
import type { HeaderSerde, Serde } from "./serde.ts";
import type { StandardSchema } from "./standard-schema.ts";

/**
 * MessagePack: JSON's values, and bytes, dates and integers up to 64 bits. Objects are written as plain maps, which every
 * MessagePack library reads. A number beyond 32 bits is written as a float64, a bigint as an integer of 64 bits; an integer
 * beyond ±2^53 is read as a bigint.
 *
 * With a Standard Schema it validates as `json` does. Null is refused: see `nullable`.
 *
 * @example
 *     const readings = topic("readings", { key: text(), value: msgpack<{ celsius: number }>() });
 */
export function msgpack<Value = unknown>(): HeaderSerde<Value>;
export function msgpack<Read, Write = Read>(schema: StandardSchema<Write, Read>): Serde<Read, Write>;
export function msgpack(schema?: StandardSchema): Serde<unknown> {
  return schema === undefined ? plain : validated(plain, schema);
}

const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: "auto" });

const plain: HeaderSerde<unknown> = {
  serialize(value, context) {
    if (value === null) throw nullRefused(context, "msgpack()");
    if (value === undefined) throw unwritable(context, "MessagePack has no bytes for undefined");
    try {
      return packr.pack(value);
    } catch (error) {
      throw writeFailure(error, context);
    }
  },
  deserialize(value, context) {
    if (value === null) throw nullRefused(context, "msgpack()");
    // The unpacker takes the byte that means nothing, 0xc1, for a value of its own.
    if (value.length === 1 && value[0] === 0xc1) throw unreadable(context, "0xc1 begins no value");
    try {
      return packr.unpack(value);
    } catch (error) {
      throw readFailure(error, context);
    }
  },
};
