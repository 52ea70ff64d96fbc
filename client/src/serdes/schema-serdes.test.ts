import { readFileSync } from "node:fs";
import avsc from "avsc";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeRegistry } from "../../test/fake-registry.ts";
import { contextOf, errorOf } from "../../test/serde-context.ts";
import { KafkaError } from "../errors.ts";
import { avro } from "./avro.ts";
import { checkAvro } from "./avro-guard.ts";
import { nullable } from "./basic.ts";
import { Headers } from "./headers.ts";
import { jsonSchema } from "./json-schema.ts";
import { protobuf } from "./protobuf.ts";
import { messageIndexBytes } from "./registry/framing.ts";
import { SchemaRegistry } from "./registry/schema-registry.ts";
import { recordNameSubject, topicRecordNameSubject } from "./registry/subjects.ts";
import type { Serde } from "./serde.ts";

const testdata = (name: string): string => readFileSync(new URL(`testdata/${name}`, import.meta.url), "utf8");
const context = contextOf();
const ids = (fake: FakeRegistry): SchemaRegistry => new SchemaRegistry({ url: fake.url, world: { fetch: fake.fetch } });
const written = async <Write>(serde: Serde<unknown, Write>, value: Write): Promise<Buffer> =>
  Buffer.from((await serde.serialize(value, context)) ?? "");
const back = async <Value>(serde: Serde<Value>, value: Value): Promise<Value> =>
  serde.deserialize(await written(serde, value), context);

const v1 = {
  type: "record",
  name: "Order",
  namespace: "shop",
  fields: [
    { name: "id", type: "string" },
    { name: "cents", type: "int" },
    { name: "items", type: { type: "array", items: "string" } },
    { name: "old", type: ["null", "string"], default: null },
  ],
} as const;
const v2 = {
  ...v1,
  fields: [
    v1.fields[0],
    { name: "cents", type: "long" },
    v1.fields[2],
    { name: "returnCode", type: "string", default: "none" },
  ],
} as const;
const order = { id: "o1", cents: 5, items: ["a", "b"], old: null };

describe("avro", () => {
  test("writes 0x00, the id, and Avro's bytes", async () => {
    const fake = new FakeRegistry();
    fake.register("other", { type: "AVRO", text: '"int"', references: [] });
    const bytes = await written(avro({ registry: ids(fake), schema: v1 }), order);
    expect(bytes.toString("hex")).toBe("0000000002046f310a04026102620000");
    expect(fake.requests).toEqual(["POST /subjects/orders-value/versions"]);
  });

  test("reads by its own schema what another version wrote", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    const old = await written(avro({ registry, schema: v1 }), order);
    const fresh = avro<object>({ registry, schema: v2 });
    expect(await fresh.deserialize(old, context)).toEqual({
      id: "o1",
      cents: 5,
      items: ["a", "b"],
      returnCode: "none",
    });
    const newer = await written(fresh, { id: "o2", cents: 2 ** 40, items: [], returnCode: "x" });
    expect(await avro({ registry }).deserialize(newer, context)).toMatchObject({ cents: 2 ** 40, returnCode: "x" });
    // A long is no int: the old reader cannot read what is new.
    const refused = await errorOf(() => avro({ registry, schema: v1 }).deserialize(newer, context));
    expect(refused.code).toBe("SCHEMA_INCOMPATIBLE");
    expect(refused.message).toContain("the value of a record of topic orders");
  });

  test("asks the registry once, then neither waits nor asks", async () => {
    const fake = new FakeRegistry();
    const serde = avro<typeof order>({ registry: ids(fake), schema: v1 });
    const bytes = await written(serde, order);
    await serde.deserialize(bytes, context);
    fake.isDown = true;
    expect(serde.serialize(order, context)).toBeInstanceOf(Buffer);
    expect(serde.deserialize(bytes, context)).toEqual(order);
    expect(fake.requests).toHaveLength(2);
  });

  test("refuses what breaks the schema, before anything is sent", async () => {
    const fake = new FakeRegistry();
    const serde = avro<object>({ registry: ids(fake), schema: v1 });
    const error = await errorOf(() => serde.serialize({ ...order, items: ["a", 5] }, context));
    expect(error.code).toBe("SERIALIZATION_FAILED");
    expect(error.message).toContain("items.1: 5 is no valid string (schema id 1)");
    expect(await errorOf(() => serde.serialize({ ...order, cents: 2 ** 31 }, context))).toMatchObject({
      code: "SERIALIZATION_FAILED",
    });
    const incompatible = avro<object>({
      registry: ids(fake),
      schema: { ...v1, fields: [...v1.fields, { name: "needed", type: "int" }] },
    });
    const refused = await errorOf(() => incompatible.serialize({ ...order, needed: 1 }, context));
    expect(refused.code).toBe("SCHEMA_INCOMPATIBLE");
    expect(refused.message).toContain("incompatible with an earlier schema");
  });

  test("gives defaults on reading only to what the writer did not know", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    const given = await written(avro<object>({ registry, schema: v2 }), {
      id: "o1",
      cents: 1,
      items: [],
      returnCode: "r",
    });
    expect(await avro<object>({ registry, schema: v2 }).deserialize(given, context)).toMatchObject({ returnCode: "r" });
  });

  test("takes the newest schema, one of an id, or one that must be there", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    for (const schema of [v1, v2])
      fake.register("orders-value", { type: "AVRO", text: JSON.stringify(schema), references: [] });
    const idOf = async (serde: Serde<object>): Promise<number> =>
      (await written(serde, { ...order, returnCode: "x" })).readInt32BE(1);
    expect(await idOf(avro<object>({ registry }))).toBe(2);
    expect(await idOf(avro<object>({ registry, schema: v1, useLatestVersion: true }))).toBe(2);
    expect(await idOf(avro<object>({ registry, id: 1 }))).toBe(1);
    expect(await idOf(avro<object>({ registry, schema: v1, autoRegister: false }))).toBe(1);
    const absent = avro<object>({ registry, schema: { ...v1, name: "Other" }, autoRegister: false });
    expect(await errorOf(() => absent.serialize(order, context))).toMatchObject({ code: "SCHEMA_NOT_FOUND" });
    expect(fake.requests.filter((request) => request.endsWith("/versions"))).toEqual([]);
  });

  test("finds its subject by the topic, the record, or both", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    const subjects = [undefined, recordNameSubject, topicRecordNameSubject, () => "mine"];
    for (const subject of subjects)
      await written(avro<object>({ registry, schema: v1, ...(subject === undefined ? {} : { subject }) }), order);
    await avro<object>({ registry, schema: v1 }).serialize(order, contextOf({ part: "key" }));
    expect(fake.requests.map((request) => request.split("/")[2])).toEqual([
      "orders-value",
      "shop.Order",
      "orders-shop.Order",
      "mine",
      "orders-key",
    ]);
    const nameless = avro<number>({ registry, schema: '"int"', subject: recordNameSubject });
    expect(await errorOf(() => nameless.serialize(1, context))).toMatchObject({ code: "INVALID_CONFIG" });
  });

  test("knows the types that other schemas declare", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    fake.register("money", {
      type: "AVRO",
      text: '{"type":"record","name":"shop.Money","fields":[{"name":"cents","type":"long"}]}',
      references: [],
    });
    const schema = { type: "record", name: "Bill", fields: [{ name: "total", type: "shop.Money" }] };
    const references = [{ name: "shop.Money", subject: "money", version: 1 }];
    const serde = avro<object>({ registry, schema, references });
    expect(await back(serde, { total: { cents: 7 } })).toEqual({ total: { cents: 7 } });
    expect(await avro({ registry }).deserialize(await written(serde, { total: { cents: 7 } }), context)).toEqual({
      total: { cents: 7 },
    });
  });

  test("has longs as safe numbers or as bigints", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    const big = avro<bigint>({ registry, schema: '"long"', longs: "bigint" });
    for (const value of [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)]) expect(await back(big, value)).toBe(value);
    expect(await errorOf(() => big.serialize(2n ** 63n, context))).toMatchObject({ code: "SERIALIZATION_FAILED" });
    const numbers = avro<number>({ registry, schema: '"long"' });
    expect(await back(numbers, -(2 ** 45))).toBe(-(2 ** 45));
    const unsafe = await written(big, 2n ** 60n);
    expect(await errorOf(() => numbers.deserialize(unsafe, context))).toMatchObject({ code: "DESERIALIZATION_FAILED" });
    const ofInt = await written(avro<number>({ registry, schema: '"int"', subject: () => "ints" }), 5);
    expect(await big.deserialize(ofInt, context)).toBe(5n);
  });

  test("believes no length", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    const lists = avro({ registry, schema: { type: "array", items: "int" } });
    await written(lists, [1]);
    const of = (hex: string): Buffer => Buffer.from(`0000000001${hex}`, "hex");
    for (const lie of ["808080800202", "feffffffffffffffff01", "0102", "ffffffffff"])
      expect(await errorOf(() => lists.deserialize(of(lie), context)), lie).toMatchObject({
        code: "DESERIALIZATION_FAILED",
      });
    const nothings = avsc.Type.forSchema({ type: "array", items: "null" });
    expect(() => checkAvro(nothings, Buffer.from("808080800200", "hex"), 0)).toThrow("items that take no bytes");
    expect(() => checkAvro(nothings, Buffer.from("0600", "hex"), 0)).not.toThrow();
  });

  test("is stopped by no damage", async () => {
    const all = avsc.Type.forSchema({
      type: "record",
      name: "All",
      fields: [
        { name: "a", type: "boolean" },
        { name: "b", type: "int" },
        { name: "c", type: "long" },
        { name: "d", type: "float" },
        { name: "e", type: "double" },
        { name: "f", type: "bytes" },
        { name: "g", type: "string" },
        { name: "h", type: { type: "enum", name: "E", symbols: ["X", "Y"] } },
        { name: "i", type: { type: "fixed", name: "F", size: 3 } },
        { name: "j", type: { type: "map", values: "int" } },
        { name: "k", type: ["null", "int", "float"] },
        { name: "l", type: ["null", "string"] },
        { name: "m", type: { type: "long", logicalType: "timestamp-millis" } },
        { name: "n", type: { type: "array", items: ["null", "All"] } },
      ],
    });
    const leaf = {
      a: true,
      b: -1,
      c: 2 ** 40,
      d: 1,
      e: 0.1,
      f: Buffer.of(1, 2),
      g: "text",
      h: "Y",
      i: Buffer.alloc(3),
      j: { x: 1 },
    };
    const value = { ...leaf, k: { float: 1 }, l: "l", m: 5, n: [null, { ...leaf, k: null, l: null, m: 6, n: [] }] };
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(damage, fc.nat({ max: 3 }), (changes, cut) => {
        const copy = all.toBuffer(value);
        checkAvro(all, copy, 0);
        const whole = copy.subarray(0, copy.length - cut);
        for (const [at, byte] of changes) whole[at % whole.length] = byte;
        try {
          checkAvro(all, whole, 0);
        } catch {
          return;
        }
        // What the guard lets through avsc reads, or refuses for its value.
        try {
          all.fromBuffer(whole);
        } catch (error) {
          expect(String(error)).toMatch(/precision loss|invalid/i);
        }
      }),
    );
  });
});

describe("protobuf", () => {
  const proto = testdata("order.proto");
  const value = {
    id: "o1",
    cents: 5,
    lines: [{ sku: "a" }],
    state: "PAID",
    counts: { x: 1 },
    placedAt: { seconds: 7, nanos: 0 },
    raw: Buffer.of(1),
    mail: "m",
  };

  test("writes 0x00, the id, the message's place and Protobuf's bytes", async () => {
    const registry = ids(new FakeRegistry());
    const first = protobuf<object>({ registry, schema: proto });
    expect((await written(first, { id: "o1" })).toString("hex")).toBe("0000000001000a026f31");
    const second = protobuf<object>({ registry, schema: proto, message: "Refund" });
    expect((await written(second, { orderId: "o1" })).toString("hex")).toBe("000000000102020a026f31");
    const nested = protobuf<object>({ registry, schema: proto, message: "shop.Order.Note" });
    expect((await written(nested, { text: "t" })).toString("hex")).toBe("00000000010400020a0174");
    expect(messageIndexBytes([0, 100]).toString("hex")).toBe("0400c801");
  });

  test("reads what it wrote, by its own schema or by the writer's", async () => {
    const registry = ids(new FakeRegistry());
    const serde = protobuf<object>({ registry, schema: proto });
    expect(await back(serde, value)).toEqual(value);
    expect(await protobuf({ registry }).deserialize(await written(serde, value), context)).toEqual(value);
    expect(await back(serde, { id: "o1" })).toEqual({
      id: "o1",
      cents: 0,
      lines: [],
      state: "NEW",
      counts: {},
      placedAt: null,
      raw: Buffer.of(),
    });
    const kept = protobuf<object>({ registry, schema: proto, keepCase: true });
    expect(await kept.deserialize(await written(serde, value), context)).toMatchObject({ placed_at: { seconds: 7 } });
  });

  test("reads another version of the message, and refuses another message", async () => {
    const registry = ids(new FakeRegistry());
    const bytes = await written(protobuf<object>({ registry, schema: proto }), value);
    const fewer = protobuf({
      registry,
      schema: 'syntax = "proto3"; package shop; message Order { string id = 1; int32 weight = 20; }',
    });
    expect(await fewer.deserialize(bytes, context)).toEqual({ id: "o1", weight: 0 });
    const other = protobuf({ registry, schema: proto, message: "Refund" });
    const error = await errorOf(() => other.deserialize(bytes, context));
    expect(error.code).toBe("SCHEMA_INCOMPATIBLE");
    expect(error.message).toContain("is the message shop.Order, where shop.Refund is read");
    // Of a nested message some writers count the hidden message of a map before it.
    const note = protobuf({ registry, schema: proto, message: "Note" });
    expect(await note.deserialize(Buffer.from("00000000010400040a0174", "hex"), context)).toEqual({
      text: "t",
    });
    expect(await errorOf(() => note.deserialize(Buffer.from("00000000010400080a0174", "hex"), context))).toMatchObject({
      code: "SCHEMA_INCOMPATIBLE",
    });
  });

  const wrong: readonly (readonly [object, string])[] = [
    [{ identifier: "o1" }, "identifier: not a field of shop.Order"],
    [{ id: 5 }, "id: 5 is no string"],
    [{ cents: "5" }, 'cents: "5" is no int64'],
    [{ cents: 2 ** 53 }, "cents: 9007199254740992 is no int64"],
    [{ lines: {} }, "lines: no array"],
    [{ lines: [{ sku: "a" }, { sku: 1 }] }, "lines.1.sku: 1 is no string"],
    [{ state: "LOST" }, 'state: "LOST" is none of the enum State'],
    [{ counts: { x: 1.5 } }, "counts.x: 1.5 is no int32"],
    [{ raw: "abc" }, 'raw: "abc" is no bytes'],
  ];
  test.for(wrong)("refuses to send %o", async ([bad, sentence]) => {
    const error = await errorOf(() =>
      protobuf<object>({ registry: ids(new FakeRegistry()), schema: proto }).serialize(bad, context),
    );
    expect(error.code).toBe("SERIALIZATION_FAILED");
    expect(error.message).toContain(sentence);
  });

  test("has 64-bit numbers as safe numbers or as bigints", async () => {
    const registry = ids(new FakeRegistry());
    const big = protobuf<object>({ registry, schema: proto, longs: "bigint" });
    expect(await back(big, { cents: 2n ** 63n - 1n })).toMatchObject({ cents: 2n ** 63n - 1n });
    const bytes = await written(big, { cents: 2n ** 60n });
    const error = await errorOf(() => protobuf({ registry, schema: proto }).deserialize(bytes, context));
    expect(error.message).toContain('cents: 1152921504606846976 is no safe integer: see longs: "bigint"');
  });

  test("knows what a file imports from other subjects, and says what is missing", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    fake.register("money", {
      type: "PROTOBUF",
      text: 'syntax = "proto3"; package shop; message First {} message Money { int64 cents = 1; }',
      references: [],
    });
    const schema = testdata("bill.proto");
    const references = [{ name: "money.proto", subject: "money", version: 1 }];
    const serde = protobuf<object>({ registry, schema, references });
    // The place is counted in the file itself, not in the package.
    expect((await written(serde, { total: { cents: 7 } }))[5]).toBe(0);
    expect(await back(serde, { total: { cents: 7 } })).toEqual({ total: { cents: 7 } });
    const error = await errorOf(() => protobuf({ registry, schema }));
    expect(error).toMatchObject({ code: "INVALID_SCHEMA" });
    expect(error.message).toContain('it imports "money.proto", which is not among its references');
    expect(await errorOf(() => protobuf({ registry, schema: proto, message: "Nothing" }))).toMatchObject({
      code: "INVALID_SCHEMA",
    });
  });
});

describe("jsonSchema", () => {
  const schema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Order",
    type: "object",
    properties: {
      id: { type: "string" },
      height: { type: "integer", minimum: 1, maximum: 300 },
      note: { type: "string", default: "none" },
    },
    required: ["id"],
  };

  test("writes 0x00, the id and JSON", async () => {
    const bytes = await written(jsonSchema<object>({ registry: ids(new FakeRegistry()), schema }), { id: "o1" });
    expect(bytes.toString("latin1")).toBe('\0\0\0\0\x01{"id":"o1"}');
  });

  test("gives defaults on reading only", async () => {
    const serde = jsonSchema<object>({ registry: ids(new FakeRegistry()), schema });
    const sent = { id: "o1" };
    const bytes = await written(serde, sent);
    expect(sent).toEqual({ id: "o1" });
    expect(await serde.deserialize(bytes, context)).toEqual({ id: "o1", note: "none" });
  });

  test("refuses on both ways what its schema refuses", async () => {
    const registry = ids(new FakeRegistry());
    const serde = jsonSchema<object>({ registry, schema });
    for (const height of [0, 301, "1"]) {
      const error = await errorOf(() => serde.serialize({ id: "o1", height }, context));
      expect(error.code).toBe("VALIDATION_FAILED");
      expect(error.message).toContain("/height must be");
    }
    const loose = jsonSchema<object>({ registry, schema: { type: "object" }, subject: () => "loose" });
    const bytes = await written(loose, { id: "o1", height: 0 });
    expect(await errorOf(() => serde.deserialize(bytes, context))).toMatchObject({ code: "VALIDATION_FAILED" });
    expect(await jsonSchema({ registry }).deserialize(bytes, context)).toEqual({ id: "o1", height: 0 });
  });

  test("knows drafts by their name, and what other schemas hold", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    fake.register("money", { type: "JSON", text: '{"type":"object","required":["cents"]}', references: [] });
    for (const draft of [
      "https://json-schema.org/draft/2020-12/schema",
      "https://json-schema.org/draft/2019-09/schema",
      undefined,
    ]) {
      const bill = {
        ...(draft === undefined ? {} : { $schema: draft }),
        title: String(draft),
        type: "object",
        properties: { total: { $ref: "money.json" } },
      };
      const references = [{ name: "money.json", subject: "money", version: 1 }];
      const serde = jsonSchema<object>({ registry, schema: bill, references, subject: recordNameSubject });
      expect(await back(serde, { total: { cents: 1 } })).toEqual({ total: { cents: 1 } });
      expect(await errorOf(() => serde.serialize({ total: {} }, context))).toMatchObject({ code: "VALIDATION_FAILED" });
    }
    expect(await errorOf(() => jsonSchema({ registry, schema: { type: "nonsense" } }))).toMatchObject({
      code: "INVALID_SCHEMA",
    });
  });
});

describe("bad data", () => {
  const proto = 'syntax = "proto3"; message Order { string id = 1; }';
  const serdes = (registry: SchemaRegistry): readonly (readonly [string, Serde<object>])[] => [
    ["avro", avro<object>({ registry, schema: v1 })],
    ["protobuf", protobuf<object>({ registry, schema: proto })],
    ["jsonSchema", jsonSchema<object>({ registry, schema: { type: "object" } })],
  ];

  test("of every kind is an error with its own code, which names topic and part", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    const byName = { avro: order, protobuf: { id: "o1" }, jsonSchema: order };
    const frames = new Map<string, Buffer>();
    for (const [name, serde] of serdes(registry)) frames.set(name, await written(serde, byName[name as "avro"]));
    for (const [name, serde] of serdes(registry)) {
      const whole = frames.get(name)!;
      const foreign = frames.get(name === "avro" ? "protobuf" : "avro")!;
      const damaged = Buffer.from(whole.subarray(0, whole.length - 1));
      const kinds: readonly (readonly [Buffer | null, string])[] = [
        [damaged, "DESERIALIZATION_FAILED"],
        [Buffer.from("not framed"), "SCHEMA_MISSING"],
        [Buffer.of(0, 0), "SCHEMA_MISSING"],
        [Buffer.concat([Buffer.from("0000000063", "hex"), whole.subarray(5)]), "SCHEMA_NOT_FOUND"],
        [foreign, "SCHEMA_INCOMPATIBLE"],
        [null, "NULL_VALUE"],
      ];
      for (const [bytes, code] of kinds) {
        const error = await errorOf(() => serde.deserialize(bytes, context));
        expect(error, `${name} ${code}: ${error.message}`).toMatchObject({ code, retriable: false });
        expect(error.message).toContain("the value of a record of topic orders");
      }
      fake.isDown = true;
      const away = new SchemaRegistry({ url: fake.url, attemptsMax: 1, world: { fetch: fake.fetch } });
      const stranger = serdes(away).find(([each]) => each === name)![1];
      expect(await errorOf(() => stranger.deserialize(whole, context))).toMatchObject({
        code: "REGISTRY_UNAVAILABLE",
        retriable: true,
      });
      fake.isDown = false;
      expect(await serde.deserialize(whole, context)).toEqual(byName[name as "avro"]);
      expect(await nullable(serde).deserialize(null, context)).toBeNull();
    }
  });

  test("by chance is a value or an error of ours, and never anything else", async () => {
    const registry = ids(new FakeRegistry());
    for (const [name, serde] of serdes(registry)) {
      const whole = await written(serde, name === "protobuf" ? { id: "o1" } : order);
      const noise = fc.tuple(fc.uint8Array({ maxLength: 60 }), fc.boolean());
      await fc.assert(
        fc.asyncProperty(noise, async ([bytes, isFramed]) => {
          const given = isFramed ? Buffer.concat([whole.subarray(0, 5), bytes]) : Buffer.from(bytes);
          try {
            await serde.deserialize(given, context);
          } catch (error) {
            expect(error).toBeInstanceOf(KafkaError);
          }
        }),
        { numRuns: 300 },
      );
    }
  });

  test("the id may be a GUID in a header, as newer serializers write it", async () => {
    const fake = new FakeRegistry();
    const registry = ids(fake);
    for (const [name, serde] of serdes(registry)) {
      const bytes = await written(serde, name === "protobuf" ? { id: "o1" } : order);
      const guid = Buffer.from(fake.guid(bytes.readInt32BE(1)).replaceAll("-", ""), "hex");
      // Of Protobuf the message's place goes with it.
      const place = name === "protobuf" ? bytes.subarray(5, 6) : Buffer.alloc(0);
      const headers = new Headers([{ key: "__value_schema_id", value: Buffer.concat([Buffer.of(1), guid, place]) }]);
      const payload = bytes.subarray(5 + place.length);
      expect(await serde.deserialize(payload, contextOf({ headers }))).toMatchObject({ id: "o1" });
    }
    expect(fake.requests.filter((request) => request.includes("/schemas/guids/"))).toHaveLength(3);
  });
});
