import { simulatedWorld } from "@millrace/simulator/simulated-world";
import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { FakeRegistry } from "../../test/fake-registry.ts";
import { contextOf, errorOf } from "../../test/serde-context.ts";
import { KafkaError } from "../errors.ts";
import { avro } from "./avro.ts";
import { validated } from "./basic.ts";
import { encrypted } from "./encrypted.ts";
import { Shredded, Withheld } from "./encryption/hidden.ts";
import { KeyRing, LocalKeyWrapping, MemoryKeyStorage } from "./encryption/keys.ts";
import type { KeyRingOptions, KeyWrapping } from "./encryption/keys.ts";
import { Headers } from "./headers.ts";
import { json } from "./json.ts";
import { SchemaRegistry } from "./registry/schema-registry.ts";
import type { ReadOf, Serde, SerdeContext } from "./serde.ts";

interface Transfer {
  readonly user: string;
  readonly email: string;
  readonly account: string;
  readonly amount: number;
  readonly at: string;
}

const transfer = (user: string, amount: number): Transfer => ({
  user,
  email: `${user}@example.org`,
  account: "DE89370400440532013000",
  amount,
  at: "2026-01-02T03:04:05Z",
});

function setUp(options: Partial<KeyRingOptions> = {}) {
  const { clock, random } = simulatedWorld({ seed: 5 });
  const storage = new MemoryKeyStorage();
  const wrapping = new LocalKeyWrapping({ keys: { k1: Buffer.alloc(32, 1) }, current: "k1", random });
  const ring = (more: Partial<KeyRingOptions> = {}): KeyRing =>
    new KeyRing({ storage, wrapping, clock, random, ...options, ...more });
  const later = async (ms: number): Promise<void> => {
    let isOver = false;
    clock.schedule(ms, () => (isOver = true));
    await clock.runUntil(() => isOver, { withinMs: ms + 1 });
  };
  return { clock, random, storage, wrapping, ring, later, keys: ring() };
}

const serdeOf = (keys: KeyRing | null, hidden: "mark" | "fail" = "mark") =>
  encrypted(json<Transfer>(), {
    fields: ["user", "email", "account"],
    keys,
    hidden,
    subject: ({ user }) => user,
  });

interface Sent {
  readonly bytes: Buffer;
  readonly context: SerdeContext;
}

async function send<Write>(serde: Serde<unknown, Write>, value: Write): Promise<Sent> {
  const context = contextOf({ headers: new Headers() });
  return { bytes: Buffer.from((await serde.serialize(value, context)) ?? ""), context };
}
const read = async <Read>(serde: Serde<Read, never>, { bytes, context }: Sent): Promise<Read> =>
  serde.deserialize(bytes, context);

describe("fields of a bank transfer", () => {
  test("are clear to who is granted, and nowhere in the bytes", async () => {
    const { keys } = setUp();
    const sent = await send(serdeOf(keys), transfer("ann", 12));
    const raw = sent.bytes.toString("latin1");
    // Short ones may be in encrypted bytes by chance.
    for (const secret of ['"ann"', "example.org", "0532013000"]) expect(raw).not.toContain(secret);
    for (const clear of ['"amount":12', '"at":"2026-01-02T03:04:05Z"']) expect(raw).toContain(clear);
    expect(await read(serdeOf(keys), sent)).toEqual(transfer("ann", 12));
  });

  test("let whoever has no key sum amounts, and read no accounts", async () => {
    const { keys, ring } = setUp();
    const sent = await Promise.all([
      send(serdeOf(keys), transfer("ann", 12)),
      send(serdeOf(keys), transfer("bob", 30)),
    ]);
    const strangers = new LocalKeyWrapping({ keys: { k2: Buffer.alloc(32, 2) }, current: "k2" });
    for (const analytics of [serdeOf(null), serdeOf(ring({ wrapping: strangers }))]) {
      const records = await Promise.all(sent.map(async (each) => read(analytics, each)));
      expect(records.reduce((sum, { amount }) => sum + amount, 0)).toBe(42);
      for (const { account, user } of records) {
        expect(account).toBeInstanceOf(Withheld);
        expect(`${String(user)} ${JSON.stringify({ account })}`).toBe('[withheld] {"account":"[withheld]"}');
      }
    }
    expect(await errorOf(() => read(serdeOf(null, "fail"), sent[0]))).toMatchObject({ code: "KEY_NOT_GRANTED" });
    expect(await errorOf(() => send(serdeOf(null), transfer("ann", 1)))).toMatchObject({ code: "KEY_NOT_GRANTED" });
  });

  test("of a destroyed key nobody reads any more, and all others are as before", async () => {
    const { keys, ring, later } = setUp();
    const [ann, bob] = await Promise.all([
      send(serdeOf(keys), transfer("ann", 12)),
      send(serdeOf(keys), transfer("bob", 30)),
    ]);
    const elsewhere = serdeOf(ring({ cacheMs: 1_000 }));
    expect(await read(elsewhere, ann)).toEqual(transfer("ann", 12));
    await keys.destroy("ann");
    for (const serde of [serdeOf(keys), serdeOf(ring())]) {
      const shredded = await read(serde, ann);
      expect([shredded.user, shredded.email, shredded.account].every((field) => field instanceof Shredded)).toBe(true);
      expect([shredded.amount, String(shredded.email)]).toEqual([12, "[shredded]"]);
      expect(await read(serde, bob)).toEqual(transfer("bob", 30));
    }
    // A cache elsewhere knows the key until its time is over, and no longer.
    expect(await read(elsewhere, ann)).toEqual(transfer("ann", 12));
    await later(1_001);
    expect((await read(elsewhere, ann)).user).toBeInstanceOf(Shredded);
    const failure = await errorOf(() => read(serdeOf(ring(), "fail"), ann));
    expect(failure).toMatchObject({ code: "SHREDDED", retriable: false });
    expect(failure.message).toContain("the value of a record of topic orders holds the field user");
    expect(await errorOf(() => send(serdeOf(keys), transfer("ann", 1)))).toMatchObject({ code: "SHREDDED" });
    expect((await read(serdeOf(keys), await send(serdeOf(keys), transfer("bob", 1)))).user).toBe("bob");
  });

  test("stay what they are when who cannot read them passes the record on", async () => {
    const { keys } = setUp();
    const unread = await read(serdeOf(null), await send(serdeOf(keys), transfer("ann", 12)));
    const passedOn = await send(serdeOf(null), { ...unread, amount: 13 });
    expect(await read(serdeOf(keys), passedOn)).toEqual(transfer("ann", 13));
  });

  test("look different each time, and cannot be moved or altered", async () => {
    const { keys } = setUp();
    const serde = serdeOf(keys);
    const [first, second] = [await send(serde, transfer("ann", 1)), await send(serde, transfer("ann", 1))];
    const plain = (sent: Sent): Transfer => JSON.parse(sent.bytes.toString()) as Transfer;
    expect(plain(first).email).not.toBe(plain(second).email);
    const again = (value: object): Sent => ({ ...first, bytes: Buffer.from(JSON.stringify(value)) });
    const { email } = plain(first);
    const middle = Math.floor(email.length / 2);
    const altered = email.slice(0, middle) + (email[middle] === "A" ? "B" : "A") + email.slice(middle + 1);
    const wrong = [
      { ...plain(first), account: email },
      { ...plain(first), email: altered },
      { ...plain(first), email: "enc1:AQ" },
      { ...plain(first), email: "clear" },
      "text",
      [],
    ];
    for (const value of wrong.slice(0, -1))
      expect(await errorOf(() => read(serde, again(value as object)))).toMatchObject({
        code: "DESERIALIZATION_FAILED",
      });
    expect(
      await read(
        encrypted(json<Transfer>(), { fields: ["user"], keys, mayBeClear: true, subject: ({ user }) => user }),
        again(transfer("old", 1)),
      ),
    ).toEqual(transfer("old", 1));
  });

  test("may be of any kind, at any depth, and may be absent", async () => {
    interface Deep {
      readonly id: string;
      readonly customer: { readonly address: { readonly lines: readonly string[] } | null; readonly age?: number };
      readonly lines: readonly { readonly note?: string; readonly count: bigint }[];
    }
    const { keys } = setUp();
    const serde = encrypted(json<Deep>(), {
      fields: ["customer.address", "customer.age", "lines.note", "lines.count"],
      keys,
      subject: ({ id }) => id,
    });
    const value: Deep = {
      id: "7",
      customer: { address: { lines: ["a long street"] }, age: 40_123_456_789 },
      lines: [{ note: "fragile, this side up", count: 2n ** 70n }, { count: 1n }],
    };
    const before = structuredClone(value);
    const sent = await send(serde, value);
    expect(value).toEqual(before);
    expect(sent.bytes.toString()).not.toMatch(/40123456789|a long street|fragile/);
    expect(await read(serde, sent)).toEqual(value);
    expect(await read(serde, await send(serde, { id: "7", customer: { address: null }, lines: [] }))).toEqual({
      id: "7",
      customer: { address: null },
      lines: [],
    });
    const broken = await errorOf(() => send(serde, { id: "7", customer: "none", lines: [] } as never));
    expect(broken.message).toContain("customer holds no fields, but string");
  });

  test("with a kept format keep length and classes, and are gone with their key", async () => {
    const { keys } = setUp();
    const serde = encrypted(json<Transfer>(), {
      fields: ["user", "email"],
      formatPreserved: ["account"],
      keys,
      subject: ({ user }) => user,
    });
    const sent = await send(serde, transfer("ann", 12));
    const { account } = JSON.parse(sent.bytes.toString()) as Transfer;
    expect(account).toMatch(/^[A-Z]{2}\d{20}$/);
    expect(account).not.toBe(transfer("ann", 12).account);
    expect(await read(serde, sent)).toEqual(transfer("ann", 12));
    expect(await errorOf(() => read(serde, { ...sent, context: contextOf() }))).toMatchObject({
      code: "DESERIALIZATION_FAILED",
    });
    expect(await errorOf(() => send(serde, { ...transfer("ann", 1), account: "123" }))).toMatchObject({
      code: "SERIALIZATION_FAILED",
    });
    await keys.destroy("ann");
    const shredded = await read(serde, sent);
    expect(shredded.account).toBeInstanceOf(Shredded);
    const passedOn = Headers.from(sent.context.headers);
    const again = Buffer.from((await serde.serialize(shredded, contextOf({ headers: passedOn }))) ?? "");
    expect(JSON.parse(again.toString())).toEqual(JSON.parse(sent.bytes.toString()));
    expect(await errorOf(() => send(serde, shredded))).toMatchObject({ code: "SERIALIZATION_FAILED" });
  });

  test("go through Avro as strings, and through a validator outside", async () => {
    const { keys } = setUp();
    const fake = new FakeRegistry();
    const registry = new SchemaRegistry({ url: fake.url, world: { fetch: fake.fetch } });
    const fields = [
      ...["user", "email", "account", "at"].map((name) => ({ name, type: "string" })),
      { name: "amount", type: "int" },
    ];
    const inAvro = encrypted(avro<Transfer>({ registry, schema: { type: "record", name: "Transfer", fields } }), {
      fields: ["email"],
      keys,
      subject: ({ user }) => user,
    });
    expect(await read(inAvro, await send(inAvro, transfer("ann", 5)))).toEqual(transfer("ann", 5));

    const Checked = z.object({ user: z.string(), email: z.union([z.email(), z.instanceof(Shredded)]) });
    const checked = validated(
      encrypted(json<{ user: string; email: string }>(), { fields: ["email"], keys, subject: ({ user }) => user }),
      Checked,
    );
    const sent = await send(checked, { user: "eve", email: "eve@example.org" });
    expect(await read(checked, sent)).toEqual({ user: "eve", email: "eve@example.org" });
    expect(await errorOf(() => send(checked, { user: "eve", email: "none" }))).toMatchObject({
      code: "VALIDATION_FAILED",
    });
    await keys.destroy("eve");
    expect((await read(checked, sent)).email).toBeInstanceOf(Shredded);
  });

  test("have types that say what may be hidden", () => {
    const serde = serdeOf(null);
    expectTypeOf<ReadOf<typeof serde>["email"]>().toEqualTypeOf<string | Shredded | Withheld>();
    expectTypeOf<ReadOf<typeof serde>["amount"]>().toEqualTypeOf<number>();
    // @ts-expect-error -- no such field
    encrypted(json<Transfer>(), { fields: ["mail"], keys: null, subject: () => "x" });
    expect(serde).toBeDefined();
  });
});

describe("a whole value", () => {
  test("is encrypted, and shredded, as one", async () => {
    const { keys } = setUp();
    const serde = encrypted(json<Transfer>(), { keys, subject: () => "transfers" });
    const sent = await send(serde, transfer("ann", 12));
    expect(sent.bytes.toString("latin1")).not.toMatch(/"ann"|amount/);
    expect(await read(serde, sent)).toEqual(transfer("ann", 12));
    for (const at of [0, 1, 5, 20, 40, sent.bytes.length - 1]) {
      const bytes = Buffer.from(sent.bytes);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const { code } = await errorOf(() => read(serde, { ...sent, bytes }));
      expect(code, `byte ${at}`).toBe(at === 5 ? "KEY_NOT_FOUND" : "DESERIALIZATION_FAILED");
    }
    const unread = await read(encrypted(json<Transfer>(), { keys: null, subject: () => "x" }), sent);
    expect(unread).toBeInstanceOf(Withheld);
    expect((await send(serde, unread)).bytes).toEqual(sent.bytes);
    await keys.destroy("transfers");
    expect(await read(serde, sent)).toBeInstanceOf(Shredded);
    const instead = encrypted(json<Transfer>(), { keys, subject: () => "x", hidden: ({ reason }) => reason });
    expect(await read(instead, sent)).toBe("shredded");
    expect(await errorOf(() => read(serde, { ...sent, bytes: Buffer.from("{}") }))).toMatchObject({
      code: "DESERIALIZATION_FAILED",
    });
    const lenient = encrypted(json<object>(), { keys, subject: () => "x", mayBeClear: true });
    expect(await read(lenient, { ...sent, bytes: Buffer.from("{}") })).toEqual({});
    for (const each of [serde, serdeOf(keys)]) {
      expect(await errorOf(() => each.serialize(null as never, contextOf()))).toMatchObject({ code: "NULL_VALUE" });
      expect(await errorOf(() => each.deserialize(null, contextOf()))).toMatchObject({ code: "NULL_VALUE" });
    }
  });
});

describe("keys", () => {
  test("are rotated: what was written before stays readable", async () => {
    const { keys, storage, random } = setUp();
    const serde = serdeOf(keys);
    const before = await send(serde, transfer("ann", 1));
    await keys.rotate("ann");
    const after = await send(serde, transfer("ann", 2));
    const keyOf = ({ bytes }: Sent): string =>
      Buffer.from((JSON.parse(bytes.toString()) as Transfer).user.slice(5), "base64url").toString("hex", 1, 17);
    expect(keyOf(before)).not.toBe(keyOf(after));
    // The key that wraps them, too: the old one only unwraps.
    const newer = new LocalKeyWrapping({
      keys: { k1: Buffer.alloc(32, 1), k2: Buffer.alloc(32, 2) },
      current: "k2",
      random,
    });
    const fresh = serdeOf(new KeyRing({ storage, wrapping: newer }));
    for (const sent of [before, after, await send(fresh, transfer("carl", 3))])
      expect(await read(fresh, sent)).toMatchObject({ email: expect.stringContaining("@example.org") });
    await keys.destroy("ann");
    expect((await read(serdeOf(keys), before)).user).toBeInstanceOf(Shredded);
    expect((await read(serdeOf(keys), after)).user).toBeInstanceOf(Shredded);
    expect(await errorOf(() => keys.rotate("ann"))).toMatchObject({ code: "SHREDDED" });
  });

  test("are asked for once for many, and again when the cache's time or room is over", async () => {
    let count = 0;
    const { wrapping, ring, later } = setUp();
    const counting: KeyWrapping = {
      wrap: async (secret, subject) => wrapping.wrap(secret, subject),
      unwrap: async (wrapped, subject) => {
        count++;
        return wrapping.unwrap(wrapped, subject);
      },
    };
    const serde = serdeOf(ring({ wrapping: counting, cacheMs: 1_000, cacheMax: 2 }));
    await Promise.all([send(serde, transfer("ann", 1)), send(serde, transfer("ann", 2))]);
    expect(count).toBe(1);
    expect(serde.serialize(transfer("ann", 3), contextOf())).toBeInstanceOf(Uint8Array);
    await later(1_001);
    await send(serde, transfer("ann", 4));
    expect(count).toBe(2);
    await send(serde, transfer("bob", 1));
    await send(serde, transfer("ann", 1));
    await send(serde, transfer("carl", 1));
    expect(count).toBe(4);
    await send(serde, transfer("ann", 1));
    expect(count).toBe(4);
    await send(serde, transfer("bob", 1));
    expect(count).toBe(5);
  });

  test("of two writers who begin at once are one", async () => {
    const { ring } = setUp();
    const [one, other] = [ring(), ring()];
    expect(await one.toWrite("ann")).toEqual(await other.toWrite("ann"));
    const [third, fourth] = await Promise.all([one.toWrite("bob"), other.toWrite("bob")]);
    expect(third).toEqual(fourth);
  });

  test("that cannot be had are told apart from those that are gone", async () => {
    const { keys, ring } = setUp();
    const sent = await send(serdeOf(keys), transfer("ann", 1));
    const foreign = serdeOf(ring({ storage: new MemoryKeyStorage() }));
    expect(await errorOf(() => read(foreign, sent))).toMatchObject({ code: "KEY_NOT_FOUND", retriable: false });
    const away: KeyWrapping = {
      wrap: async () => Promise.reject(new Error("away")),
      unwrap: async () => Promise.reject(new Error("away")),
    };
    expect(await errorOf(() => read(serdeOf(ring({ wrapping: away })), sent))).toMatchObject({
      code: "KEYS_UNAVAILABLE",
      retriable: true,
    });
    expect(() => new LocalKeyWrapping({ keys: { k: Buffer.alloc(16) }, current: "k" })).toThrow(KafkaError);
    expect(() => new LocalKeyWrapping({ keys: {}, current: "k" })).toThrow(KafkaError);
  });
});
