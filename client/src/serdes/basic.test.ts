import { type } from "arktype";
import * as fc from "fast-check";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { contextOf, errorOf } from "../../test/serde-context.ts";
import { boolean, bytes, nullable, text, via } from "./basic.ts";
import { json } from "./json.ts";
import { msgpack } from "./msgpack.ts";
import { bigint64, float64, instant, int32, int64 } from "./numbers.ts";
import type { Serde } from "./serde.ts";
import { uuid, uuidBytes } from "./uuid.ts";

const context = contextOf();
const hex = (serde: Serde<unknown, never>, value: unknown): string => {
  const written = serde.serialize(value as never, context);
  if (!(written instanceof Uint8Array)) throw new Error("no bytes");
  return Buffer.from(written).toString("hex");
};
const read = <Read>(serde: Serde<Read, never>, written: string): Read | Promise<Read> =>
  serde.deserialize(Buffer.from(written, "hex"), context);

describe("what is written and read", () => {
  // The bytes of org.apache.kafka.common.serialization, written down by hand from their definition.
  const cases: readonly (readonly [string, Serde<unknown, never>, unknown, string])[] = [
    ["int32", int32(), 1, "00000001"],
    ["int32", int32(), -2, "fffffffe"],
    ["int64", int64(), 4_294_967_296, "0000000100000000"],
    ["int64", int64(), -1, "ffffffffffffffff"],
    ["int64", int64(), Number.MAX_SAFE_INTEGER, "001fffffffffffff"],
    ["int64", int64(), Number.MIN_SAFE_INTEGER, "ffe0000000000001"],
    ["bigint64", bigint64(), -(2n ** 63n), "8000000000000000"],
    ["float64", float64(), -0.5, "bfe0000000000000"],
    ["instant", instant(), new Date(1_700_000_000_000), "0000018bcfe56800"],
    ["boolean", boolean(), true, "01"],
    ["text", text(), "käse", "6bc3a47365"],
    [
      "uuid",
      uuid(),
      "6b1bd5f8-5b5c-4d1e-8a0b-0123456789ab",
      Buffer.from("6b1bd5f8-5b5c-4d1e-8a0b-0123456789ab").toString("hex"),
    ],
    ["uuidBytes", uuidBytes(), "6b1bd5f8-5b5c-4d1e-8a0b-0123456789ab", "6b1bd5f85b5c4d1e8a0b0123456789ab"],
    ["json", json(), { a: [1, "x", null] }, Buffer.from('{"a":[1,"x",null]}').toString("hex")],
    ["msgpack", msgpack(), { a: [1, "x", null] }, "81a16193 01 a178 c0".replaceAll(" ", "")],
  ];
  test.for(cases)("%s: %#", ([, serde, value, written]) => {
    expect(hex(serde, value)).toBe(written);
    expect(read(serde, written)).toEqual(value);
  });

  test("every value comes back as it was", () => {
    const same = <Value>(serde: Serde<Value>, values: fc.Arbitrary<Value>): void =>
      fc.assert(
        fc.property(values, (value) => {
          expect(read(serde, hex(serde, value))).toEqual(value);
        }),
      );
    same(int32(), fc.integer());
    same(int64(), fc.maxSafeInteger());
    same(bigint64(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
    same(float64(), fc.double());
    same(text(), fc.string({ unit: "grapheme" }));
    same(uuid(), fc.uuid());
    same(uuidBytes(), fc.uuid());
    same(
      json(),
      // What JSON itself makes of them: it has no negative zero.
      fc
        .jsonValue()
        .map((value): unknown => JSON.parse(JSON.stringify(value)))
        .filter((value) => value !== null),
    );
    same(
      msgpack(),
      fc.object({
        key: fc.string({ minLength: 1 }).filter((key) => key !== "__proto__"),
        values: [fc.integer(), fc.string(), fc.boolean()],
      }),
    );
  });

  test("bytes are what they are, and text is written for them", () => {
    expect(bytes().deserialize(null, context)).toBeNull();
    expect(Buffer.from(bytes().serialize("abc", context) ?? "").toString()).toBe("abc");
  });

  test("nullable passes null by, and via maps what is inside", () => {
    const cents = nullable(
      via(int64(), { read: (count) => `${count} c`, write: (word: string) => parseInt(word, 10) }),
    );
    expect(cents.serialize(null, context)).toBeNull();
    expect(cents.deserialize(null, context)).toBeNull();
    expect(read(cents, hex(cents, "12 c"))).toBe("12 c");
  });
});

describe("what is refused", () => {
  const refusals: readonly (readonly [string, Serde<unknown, never>, string | null, string, RegExp])[] = [
    ["int32 of 3 bytes", int32(), "000001", "DESERIALIZATION_FAILED", /reads 4 bytes; here are 3/],
    [
      "int64 beyond a safe integer",
      int64(),
      "0020000000000000",
      "DESERIALIZATION_FAILED",
      /9007199254740992 is no safe integer/,
    ],
    ["int64 below a safe integer", int64(), "8000000000000000", "DESERIALIZATION_FAILED", /bigint64\(\)/],
    ["an instant beyond Date", instant(), "001fffffffffffff", "DESERIALIZATION_FAILED", /outside/],
    ["boolean 2", boolean(), "02", "DESERIALIZATION_FAILED", /one byte/],
    ["text that is no UTF-8", text(), "ff41", "DESERIALIZATION_FAILED", /not UTF-8/],
    ["uuid that is none", uuid(), "414243", "DESERIALIZATION_FAILED", /"ABC" is no UUID/],
    ["uuidBytes of 3", uuidBytes(), "414243", "DESERIALIZATION_FAILED", /16 bytes/],
    ["JSON cut off", json(), "7b2261", "DESERIALIZATION_FAILED", /JSON/],
    ["JSON of nothing", json(), "", "DESERIALIZATION_FAILED", /empty/],
    ["MessagePack cut off", msgpack(), "93", "DESERIALIZATION_FAILED", /end of MessagePack/],
    ["MessagePack with a count that lies", msgpack(), "ddffffffff01", "DESERIALIZATION_FAILED", /MessagePack/],
    ["MessagePack with something behind it", msgpack(), "0102", "DESERIALIZATION_FAILED", /end of buffer/],
    ["MessagePack 0xc1", msgpack(), "c1", "DESERIALIZATION_FAILED", /0xc1/],
    ...[
      int32(),
      int64(),
      bigint64(),
      float64(),
      instant(),
      boolean(),
      text(),
      uuid(),
      uuidBytes(),
      json(),
      msgpack(),
    ].map((serde) => ["null", serde, null, "NULL_VALUE", /see nullable\(\)/] as const),
  ];
  test.for(refusals)("to read: %s %#", async ([, serde, written, code, sentence]) => {
    const from = written === null ? null : Buffer.from(written, "hex");
    const error = await errorOf(() => serde.deserialize(from, context));
    expect(error).toMatchObject({ code, retriable: false });
    expect(error.message).toMatch(sentence);
    expect(error.message).toContain("the value of a record of topic orders");
  });

  const circle: { inside?: unknown } = {};
  circle.inside = circle;
  const unwritable: readonly (readonly [string, Serde<unknown, never>, unknown, string])[] = [
    ["a fraction", int32(), 1.5, "SERIALIZATION_FAILED"],
    ["2^31", int32(), 2 ** 31, "SERIALIZATION_FAILED"],
    ["2^53", int64(), 2 ** 53, "SERIALIZATION_FAILED"],
    ["2^63", bigint64(), 2n ** 63n, "SERIALIZATION_FAILED"],
    ["a number for a bigint", bigint64(), 1, "SERIALIZATION_FAILED"],
    ["text for a number", float64(), "1", "SERIALIZATION_FAILED"],
    ["no date", instant(), new Date(Number.NaN), "SERIALIZATION_FAILED"],
    ["text for a boolean", boolean(), "true", "SERIALIZATION_FAILED"],
    ["half a pair", text(), "a\uD800", "SERIALIZATION_FAILED"],
    ["a number for text", text(), 5, "SERIALIZATION_FAILED"],
    ["no uuid", uuid(), "abc", "SERIALIZATION_FAILED"],
    ["no uuid", uuidBytes(), "abc", "SERIALIZATION_FAILED"],
    ["undefined", json(), undefined, "SERIALIZATION_FAILED"],
    ["a bigint", json(), { a: 1n }, "SERIALIZATION_FAILED"],
    ["a circle", json(), circle, "SERIALIZATION_FAILED"],
    ["undefined", msgpack(), undefined, "SERIALIZATION_FAILED"],
    ["a circle", msgpack(), circle, "SERIALIZATION_FAILED"],
    [
      "what write throws",
      via(int32(), {
        read: String,
        write: () => {
          throw new Error("no");
        },
      }),
      "x",
      "SERIALIZATION_FAILED",
    ],
    ...[
      int32(),
      int64(),
      bigint64(),
      float64(),
      instant(),
      boolean(),
      text(),
      uuid(),
      uuidBytes(),
      json(),
      msgpack(),
    ].map((serde) => ["null", serde, null, "NULL_VALUE"] as const),
  ];
  test.for(unwritable)("to write: %s %#", async ([, serde, value, code]) => {
    const error = await errorOf(() => serde.serialize(value as never, contextOf({ part: "key" })));
    expect(error.code).toBe(code);
    expect(error.message).toContain("the key of a record of topic orders");
  });

  test("random bytes are values or refused, and never anything else", () => {
    const serdes = [int32(), int64(), boolean(), text(), uuid(), json(), msgpack()];
    fc.assert(
      fc.property(fc.constantFrom(...serdes), fc.uint8Array({ maxLength: 40 }), (serde, noise) => {
        try {
          serde.deserialize(Buffer.from(noise), context);
        } catch (error) {
          expect(error).toMatchObject({ code: "DESERIALIZATION_FAILED" });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("with a Standard Schema", () => {
  const ofZod = z.object({
    id: z.string().min(1),
    placedAt: z.iso.datetime().transform((at) => new Date(at)),
    note: z.string().default("none"),
  });
  const ofValibot = v.object({
    id: v.pipe(v.string(), v.minLength(1)),
    placedAt: v.pipe(
      v.string(),
      v.isoTimestamp(),
      v.transform((at) => new Date(at)),
    ),
    note: v.optional(v.string(), "none"),
  });
  const ofArkType = type({
    id: "string > 0",
    placedAt: type("string.date.iso").pipe((at) => new Date(at)),
    note: "string = 'none'",
  });
  const schemas = [
    ["zod", json(ofZod)],
    ["valibot", json(ofValibot)],
    ["arktype", json(ofArkType)],
    ["zod in MessagePack", msgpack(ofZod)],
  ] as const;

  test.for(schemas)(
    "of %s what is sent goes out as it was given, and what is read is transformed",
    async ([, serde]) => {
      const sent = { id: "o1", placedAt: "2026-01-02T03:04:05.000Z" };
      const written = await serde.serialize(sent, context);
      const plain = serde === schemas[3][1] ? msgpack() : json();
      expect(plain.deserialize(written as Buffer, context)).toEqual(sent);
      expect(await serde.deserialize(written as Buffer, context)).toEqual({
        id: "o1",
        placedAt: new Date(sent.placedAt),
        note: "none",
      });
    },
  );

  test.for(schemas)("of %s what it refuses is neither sent nor read", async ([, serde]) => {
    const wrong = { id: "", placedAt: "yesterday" };
    const refusal = await errorOf(() => serde.serialize(wrong, context));
    expect(refusal.code).toBe("VALIDATION_FAILED");
    expect(refusal.message).toMatch(/id|placedAt/);
    expect(refusal.cause).toBeInstanceOf(Array);
    const written = serde === schemas[3][1] ? msgpack().serialize(wrong, context) : json().serialize(wrong, context);
    expect((await errorOf(() => serde.deserialize(written as Buffer, context))).code).toBe("VALIDATION_FAILED");
  });

  test("one that answers at once costs no promise, and one that waits is waited for", async () => {
    expect(json(ofZod).serialize({ id: "o1", placedAt: "2026-01-02T03:04:05Z" }, context)).toBeInstanceOf(Uint8Array);
    const slow = json(z.object({ id: z.string().refine(async (id) => Promise.resolve(id !== "taken")) }));
    expect(slow.serialize({ id: "o1" }, context)).toBeInstanceOf(Promise);
    expect((await errorOf(() => slow.serialize({ id: "taken" }, context))).code).toBe("VALIDATION_FAILED");
  });

  test("only the first issues are shown", async () => {
    const error = await errorOf(() =>
      json(z.array(z.number())).serialize(Array.from({ length: 20 }, () => "x") as never, context),
    );
    expect(error.message).toMatch(/; and 15 more$/);
  });
});
