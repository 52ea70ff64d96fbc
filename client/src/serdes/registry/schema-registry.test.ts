import { getEventListeners } from "node:events";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import { describe, expect, test } from "vitest";
import { FakeRegistry } from "../../../test/fake-registry.ts";
import { errorOf } from "../../../test/serde-context.ts";
import type { Schema } from "./schema.ts";
import { SchemaRegistry } from "./schema-registry.ts";
import type { RegistryOptions } from "./schema-registry.ts";

const schema = (text: string): Schema => ({ type: "AVRO", text, references: [] });

function start(options: Partial<RegistryOptions> = {}) {
  const fake = new FakeRegistry();
  const world = simulatedWorld({ seed: 1 });
  const registry = new SchemaRegistry({ url: fake.url, ...options, world: { ...world, fetch: fake.fetch } });
  /** The outcome, once virtual time has brought it about. */
  const outcome = async <T>(work: T | Promise<T>): Promise<T> => {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    Promise.resolve(work).then(settle, settle);
    await world.clock.runUntil(() => isSettled, { withinMs: 120_000 });
    return work;
  };
  return { fake, world, registry, outcome };
}

describe("a schema", () => {
  test("by id is asked for once, and then there at once", async () => {
    const { fake, registry, outcome } = start();
    const id = fake.register("orders-value", schema('"int"'));
    const both = await outcome(Promise.all([registry.schema(id), registry.schema(id)]));
    expect(both).toEqual([schema('"int"'), schema('"int"')]);
    expect(registry.schema(id)).toEqual(schema('"int"'));
    expect(fake.requests).toEqual(["GET /schemas/ids/1"]);
  });

  test("that is known stays known while the registry is down, and another fails soon", async () => {
    const { fake, registry, outcome, world } = start({ latestMaxAgeMs: 1_000 });
    const id = fake.register("orders-value", schema('"int"'));
    await outcome(registry.schema(id));
    await outcome(registry.latest("orders-value"));
    fake.isDown = true;
    expect(registry.schema(id)).toEqual(schema('"int"'));
    const beganMs = world.clock.monotonicMs();
    const error = await errorOf(() => outcome(registry.schema(99)));
    expect(error).toMatchObject({ code: "REGISTRY_UNAVAILABLE", retriable: true });
    expect(error.message).toMatch(
      /^schema id 99: .*6 attempts: http:\/\/registry:8081\/schemas\/ids\/99: fetch failed/,
    );
    const tookMs = world.clock.monotonicMs() - beganMs;
    expect(tookMs).toBeGreaterThan(0.8 * (100 + 200 + 400 + 800 + 1_600));
    expect(tookMs).toBeLessThan(1.2 * (100 + 200 + 400 + 800 + 1_600) + 1);
    expect((await outcome(registry.latest("orders-value"))).id).toBe(id);
  });

  test("of an unknown id is an error that names id and address, and is not asked for in a loop", async () => {
    const { fake, registry, outcome, world } = start();
    const error = await errorOf(() => outcome(registry.schema(7)));
    expect(error).toMatchObject({ code: "SCHEMA_NOT_FOUND", retriable: false });
    expect(error.message).toBe(
      "schema id 7: the schema registry at http://registry:8081/schemas/ids/7 answers 404 (40403): Schema not found",
    );
    for (let times = 0; times < 100; times++) await errorOf(() => registry.schema(7));
    expect(fake.requests).toHaveLength(1);
    // It may be on its way from another registry.
    for (let id = 1; id <= 7; id++) fake.register(`s${id}`, schema(`{"type":"fixed","name":"F${id}","size":1}`));
    await outcome(new Promise<void>((resolve) => void world.clock.schedule(1_001, resolve)));
    expect((await outcome(registry.schema(7))).text).toContain("F7");
  });

  test("is registered once, and the same one is found again", async () => {
    const { fake, registry, outcome } = start();
    const id = await outcome(registry.register("orders-value", schema('"int"')));
    expect(registry.register("orders-value", schema('"int"'))).toBe(id);
    expect(await outcome(registry.lookup("orders-value", schema('"int"')))).toBe(id);
    expect(await outcome(registry.isCompatible("orders-value", schema('"long"')))).toBe(true);
    expect(await outcome(registry.isCompatible("orders-value", schema('"string"')))).toBe(false);
    const refused = await errorOf(() => outcome(registry.register("orders-value", schema('"string"'))));
    expect(refused).toMatchObject({ code: "SCHEMA_INCOMPATIBLE", status: 409 });
    const absent = await errorOf(() => outcome(registry.lookup("orders-value", schema('"float"'))));
    expect(absent).toMatchObject({ code: "SCHEMA_NOT_FOUND", registryCode: 40403 });
    expect(fake.requests[0]).toBe("POST /subjects/orders-value/versions");
  });

  test("that refers to others is resolved with all of them, those that are needed first", async () => {
    const { fake, registry, outcome } = start();
    const refer = (name: string): Schema["references"][number] => ({ name, subject: name, version: 1 });
    fake.register("c", { type: "PROTOBUF", text: "c", references: [] });
    fake.register("b", { type: "PROTOBUF", text: "b", references: [refer("c")] });
    const resolved = await outcome(
      registry.resolve({ type: "PROTOBUF", text: "a", references: [refer("b"), refer("c")] }),
    );
    expect(resolved.references.map(({ name }) => name)).toEqual(["c", "b"]);
    const lost = await errorOf(() => outcome(registry.resolve({ type: "JSON", text: "a", references: [refer("d")] })));
    expect(lost.message).toContain("version 1 of subject d");
  });

  test("the latest of a subject is asked for again when it is old", async () => {
    const { fake, registry, outcome, world } = start({ latestMaxAgeMs: 1_000 });
    fake.register("orders-value", schema('"int"'));
    expect((await outcome(registry.latest("orders-value"))).version).toBe(1);
    fake.register("orders-value", schema('"long"'));
    expect(registry.latest("orders-value")).toMatchObject({ version: 1 });
    await outcome(new Promise<void>((resolve) => void world.clock.schedule(1_001, resolve)));
    expect((await outcome(registry.latest("orders-value"))).version).toBe(2);
  });
});

describe("a request", () => {
  test("that fails for now is tried again, and no sooner than the registry asks", async () => {
    const { fake, registry, outcome, world } = start();
    const id = fake.register("orders-value", schema('"int"'));
    fake.mishaps.push({ status: 500 }, { status: 429, retryAfter: "3" }, "unreachable");
    await outcome(registry.schema(id));
    expect(fake.requests).toHaveLength(4);
    expect(world.clock.monotonicMs()).toBeGreaterThan(0.8 * 3_000);
  });

  test("that is refused for good is not", async () => {
    const { fake, registry, outcome } = start();
    fake.mishaps.push({ status: 401, body: '{"error_code":40101,"message":"who are you?"}' });
    const error = await errorOf(() => outcome(registry.schema(1)));
    expect(error).toMatchObject({ code: "REGISTRY_UNAUTHORIZED", retriable: false });
    expect(error.message).toContain("who are you?");
    fake.mishaps.push({ status: 200, body: "<html>a proxy</html>" });
    expect(await errorOf(() => outcome(registry.schema(2)))).toMatchObject({ code: "REGISTRY_FAILED" });
    fake.mishaps.push({ status: 200, body: '{"schema":7}' });
    expect(await errorOf(() => outcome(registry.schema(3)))).toMatchObject({ code: "REGISTRY_FAILED" });
    expect(fake.requests).toHaveLength(3);
  });

  test("without an answer ends after its time", async () => {
    const { fake, registry, outcome, world } = start({ timeoutMs: 500, attemptsMax: 1 });
    fake.mishaps.push("no answer");
    const error = await errorOf(() => outcome(registry.schema(1)));
    expect(error.message).toContain("no answer within 500 ms");
    expect(world.clock.monotonicMs()).toBeGreaterThanOrEqual(500);
  });

  test("goes to the next address at once, and stays with the one that answers", async () => {
    const good = new FakeRegistry("http://b:8081");
    good.register("s", schema('"int"'));
    good.register("s", schema('"long"'));
    const asked: string[] = [];
    const world = simulatedWorld({ seed: 1 });
    const registry = new SchemaRegistry({
      url: ["http://a:8081", "http://b:8081/"],
      world: {
        ...world,
        fetch: async (url, request) => {
          asked.push(url);
          if (url.startsWith("http://a")) throw new TypeError("fetch failed");
          return good.fetch(url, request);
        },
      },
    });
    await registry.schema(1);
    await registry.schema(2);
    expect(asked.map((url) => url.slice(7, 8))).toEqual(["a", "b", "b"]);
  });

  test("says who asks", async () => {
    const basic = start({ auth: { username: "u", password: "p:w" } });
    await errorOf(() => basic.outcome(basic.registry.schema(1)));
    expect(basic.fake.authorizations).toEqual([`Basic ${Buffer.from("u:p:w").toString("base64")}`]);
    let count = 0;
    const bearer = start({ auth: { token: async () => `t${++count}` } });
    await errorOf(() => bearer.outcome(bearer.registry.schema(1)));
    await errorOf(() => bearer.outcome(bearer.registry.schema(2)));
    expect(bearer.fake.authorizations).toEqual(["Bearer t1", "Bearer t2"]);
  });

  test("ends with the signal", async () => {
    const ending = new AbortController();
    const { fake, registry, outcome } = start({ signal: ending.signal });
    fake.isDown = true;
    const asking = errorOf(() => outcome(registry.schema(1)));
    ending.abort();
    expect(await asking).toMatchObject({ code: "ABORTED" });
  });

  test("leaves no listener behind", async () => {
    const ending = new AbortController();
    const { fake, registry, outcome } = start({ signal: ending.signal, attemptsMax: 12 });
    fake.isDown = true;
    expect(await errorOf(() => outcome(registry.schema(1)))).toMatchObject({ code: "REGISTRY_UNAVAILABLE" });
    expect(getEventListeners(ending.signal, "abort")).toEqual([]);
  });

  test("does not wait for a token that does not come", async () => {
    const token = (): Promise<string> => new Promise(() => {});
    const { registry, outcome } = start({ auth: { token }, timeoutMs: 1_000, attemptsMax: 2 });
    const error = await errorOf(() => outcome(registry.schema(1)));
    expect(error).toMatchObject({ code: "REGISTRY_UNAVAILABLE" });
    expect((error as Error).message).toContain("no answer within 1000 ms");
  });

  test("goes nowhere but to an http address", async () => {
    expect(await errorOf(() => new SchemaRegistry({ url: "registry:8081" }))).toMatchObject({ code: "INVALID_CONFIG" });
    expect(await errorOf(() => new SchemaRegistry({ url: [] }))).toMatchObject({ code: "INVALID_CONFIG" });
  });
});
