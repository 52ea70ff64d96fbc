import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { avro } from "@millrace/client/serdes/avro";
import { boolean, text } from "@millrace/client/serdes/basic";
import { Headers } from "@millrace/client/serdes/headers";
import { jsonSchema } from "@millrace/client/serdes/json-schema";
import { bigint64, float64, int32, int64 } from "@millrace/client/serdes/numbers";
import { protobuf } from "@millrace/client/serdes/protobuf";
import { SchemaRegistry } from "@millrace/client/serdes/registry/schema-registry";
import type { Serde, SerdeContext } from "@millrace/client/serdes/serde";
import { uuid } from "@millrace/client/serdes/uuid";
import { FakeRegistry, serveRegistry } from "../../client/test/fake-registry.ts";
import { readText } from "../house/repository.ts";
import { skipWhenMissing } from "./journey.ts";
import { interopDirectory, javaClassPath, paths, pythonCommand, whyMissing } from "./runtimes.ts";

/** What our serdes write Confluent's read, and the other way round, through one registry. */
interface Answer {
  readonly bytes?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly value?: unknown;
  readonly error?: string;
}

/** Confluent's serializers in a process of their own, and a registry that both sides ask. */
async function start() {
  const server = await serveRegistry(new FakeRegistry());
  const { url } = server;
  const script = `${interopDirectory}/schemas/serializers.py`;
  const child = spawn(pythonCommand() ?? "python3", [script, url], {
    env: { ...process.env, PYTHONPATH: paths.schemaPackages, NO_PROXY: "*" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4_096)));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (command: object): Promise<Answer> => {
    child.stdin.write(`${JSON.stringify({ topic: "orders", ...command })}\n`);
    const { done, value } = await lines.next();
    if (done === true) throw new Error(`the serializers ended: ${log}`);
    const answer = JSON.parse(value) as Answer;
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  };
  return {
    ask,
    registry: new SchemaRegistry({ url }),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      child.kill();
      await server[Symbol.asyncDispose]();
    },
  };
}

const context = (headers: readonly (readonly [string, string])[] = []): SerdeContext => ({
  topic: "orders",
  part: "value",
  headers: Headers.from(headers.map(([name, value]) => [name, Buffer.from(value, "base64")] as const)),
});
const written = async (serde: Serde<object>, value: object): Promise<string> =>
  Buffer.from((await serde.serialize(value, context())) ?? "").toString("base64");
const read = async (serde: Serde<object>, { bytes = "", headers = [] }: Answer): Promise<object> =>
  serde.deserialize(Buffer.from(bytes, "base64"), context(headers));

const fields = [
  { name: "id", type: "string" },
  { name: "cents", type: "long" },
  { name: "ratio", type: ["null", "double"], default: null },
  { name: "tags", type: { type: "map", values: { type: "array", items: "string" } } },
  { name: "state", type: { type: "enum", name: "State", symbols: ["NEW", "PAID"] } },
];
const avroSchema = { type: "record", name: "Order", namespace: "shop", fields };
const newer = { ...avroSchema, fields: [...fields, { name: "returnCode", type: "string", default: "none" }] };
const order = { id: "käse", cents: -(2 ** 40), ratio: 0.1, tags: { a: ["x", ""], b: [] }, state: "PAID" };

test("Avro goes both ways, also with another version of the schema", async (test) => {
  skipWhenMissing(test, whyMissing("schemas"));
  await using confluent = await start();
  const { registry, ask } = confluent;
  const ours = await written(avro<object>({ registry, schema: avroSchema }), order);
  expect((await ask({ do: "read", format: "avro", bytes: ours })).value).toEqual(order);
  expect((await ask({ do: "read", format: "avro", bytes: ours, schema: JSON.stringify(newer) })).value).toEqual({
    ...order,
    returnCode: "none",
  });

  const theirs = { do: "write", format: "avro", schema: JSON.stringify(avroSchema), value: order };
  for (const inHeader of [false, true]) {
    const answer = await ask({ ...theirs, inHeader });
    expect(answer.headers?.map(([name]) => name)).toEqual(inHeader ? ["__value_schema_id"] : []);
    expect(await read(avro<object>({ registry }), answer)).toEqual(order);
    expect(await read(avro<object>({ registry, schema: newer }), answer)).toEqual({ ...order, returnCode: "none" });
  }
});

test("JSON Schema goes both ways", async (test) => {
  skipWhenMissing(test, whyMissing("schemas"));
  await using confluent = await start();
  const { registry, ask } = confluent;
  const schema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Order",
    type: "object",
    properties: { id: { type: "string" } },
    required: ["id"],
  };
  const value = { id: "käse", list: [1.5, null, { a: true }] };
  const ours = await written(jsonSchema<object>({ registry, schema }), value);
  expect((await ask({ do: "read", format: "json", bytes: ours })).value).toEqual(value);
  for (const inHeader of [false, true]) {
    const theirs = await ask({ do: "write", format: "json", schema: JSON.stringify(schema), value, inHeader });
    expect(await read(jsonSchema<object>({ registry, schema }), theirs)).toEqual(value);
    expect(await read(jsonSchema<object>({ registry }), theirs)).toEqual(value);
  }
});

test("Protobuf goes both ways, whichever message of the file it is", async (test) => {
  skipWhenMissing(test, whyMissing("schemas"));
  await using confluent = await start();
  const { registry, ask } = confluent;
  const schema = readText("client/src/serdes/testdata/order.proto");
  const values = {
    "shop.Order": { id: "käse", cents: "-1099511627776", lines: [{ sku: "a" }, { sku: "b" }], counts: { x: -1 } },
    "shop.Order.Note": { text: "t" },
    "shop.Refund": { orderId: "o1" },
  };
  for (const [message, value] of Object.entries(values)) {
    const own = "cents" in value ? { ...value, cents: Number(value.cents) } : value;
    const serde = protobuf<object>({ registry, schema, message });
    expect((await ask({ do: "read", format: "protobuf", message, bytes: await written(serde, own) })).value).toEqual(
      value,
    );
    for (const inHeader of [false, true]) {
      // It registers the compiled file.
      const theirs = await ask({ do: "write", format: "protobuf", message, value, inHeader });
      expect(await read(serde, theirs), message).toMatchObject(own);
      expect(await read(protobuf<object>({ registry }), theirs)).toMatchObject(own);
    }
  }
});

test("plain values are the bytes of Java's serializers", (test) => {
  skipWhenMissing(test, whyMissing("java"));
  const program = `${interopDirectory}/schemas/PlainSerializers.java`;
  const { stdout, stderr } = spawnSync("java", ["-cp", javaClassPath(), program], { encoding: "utf8" });
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  expect(lines.length, stderr).toBe(20);
  const serdes: Readonly<Record<string, readonly [Serde<unknown, never>, (shown: string) => unknown]>> = {
    int32: [int32(), Number],
    int64: [int64(), Number],
    bigint64: [bigint64(), BigInt],
    float64: [float64(), Number],
    boolean: [boolean(), (shown) => shown === "true"],
    text: [text(), () => "käse-😀"],
    uuid: [uuid(), (shown) => shown],
  };
  for (const [name = "", shown = "", hex = ""] of lines) {
    const [serde, valueOf] = serdes[name]!;
    const bytes = serde.serialize(valueOf(shown) as never, context()) as Uint8Array;
    expect(Buffer.from(bytes).toString("hex"), `${name} ${shown}`).toBe(hex);
    expect(serde.deserialize(Buffer.from(hex, "hex"), context())).toEqual(valueOf(shown));
  }
});
