import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, deadLetterHeaders, Headers, json, SchemaRegistry, text, topic, validated } from "@millrace/client";
import type { BadRecords, Producer, Serde } from "@millrace/client";
import { avro } from "@millrace/client/serdes/avro";
import { encrypted } from "@millrace/client/serdes/encrypted";
import { Shredded, Withheld } from "@millrace/client/serdes/encryption/hidden";
import { KeyRing, LocalKeyWrapping, MemoryKeyStorage } from "@millrace/client/serdes/encryption/keys";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { FakeRegistry } from "../../client/test/fake-registry.ts";
import { ConsumerWorld, member, until } from "./consumer-world.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyTargetMissing } from "./target.ts";

/** Small applications as users of our client write them: request and reply, bad data, fields that are encrypted. */
describe.for(["millrace", "kafka"] as const)("%s", (name) => {
  const world = new ConsumerWorld(name);
  beforeAll(async () => world.begin());
  afterAll(async () => world[Symbol.asyncDispose]());
  beforeEach((context) => skipWhenMissing(context, whyTargetMissing(name)));

  test.concurrent("request and reply over two topics: ten requesters, and nobody gets another's answer", async () => {
    const requests = await world.newTopic(3);
    const replies = await world.newTopic(3);
    await using own = new Cluster({ brokers: [world.address] });
    const server = own.consumer(member("reply-server", "classic"));
    await using producer = own.producer();
    const serving = server.run(
      requests,
      async ({ value, headers }) => {
        const body = `${value?.toString()}`;
        if (body.startsWith("never")) return;
        if (body.startsWith("late")) await sleep(1_500);
        await producer.send(headers.get("reply-to") ?? "", {
          value: `answer to ${body}`,
          headers: { correlation: headers.get("correlation") ?? "" },
        });
      },
      { from: "earliest", concurrency: 20, order: "none" },
    );
    const requesters = Array.from(
      { length: 10 },
      (_, index) => new Requester(`requester-${index}`, { cluster: own, producer, requests, replies }),
    );
    const asked = requesters.flatMap((requester, index) =>
      Array.from({ length: 20 }, async (__, turn) => {
        const body = `${index}.${turn}`;
        expect(await requester.ask(body, 30_000)).toBe(`answer to ${body}`);
      }),
    );
    await Promise.all(asked);
    const [first] = requesters;
    expect(await first?.ask("never", 500)).toBe("timed out");
    expect(await first?.ask("late", 500)).toBe("timed out");
    await until(() => first?.strayCount === 1, "the late answer comes and is ignored");
    expect(await first?.ask("again", 30_000)).toBe("answer to again");
    for (const requester of requesters) await requester[Symbol.asyncDispose]();
    await server.close();
    await serving;
  });

  describe("bad data", () => {
    test.concurrent("that cannot be read stops a reader, is left out, or becomes a dead letter that says why and whence", async () => {
      const { orders, dead, kinds, good } = await badData(world);
      const { cluster } = world;
      // It stops: each kind by its own name, and what stands before it is committed.
      for (const { offset, code } of kinds) {
        const from = { offset };
        const stopped = (async () => {
          for await (const _ of cluster.consumer().records(orders, { from, untilEnd: true })) expect.unreachable(code);
        })();
        await expect(stopped, code).rejects.toMatchObject({ code });
      }
      const read = async (group: string, badRecords: BadRecords): Promise<number[]> => {
        const seen: number[] = [];
        const consumer = cluster.consumer(member(`${orders.name}-${group}`, "classic"));
        for await (const { value } of consumer.records(orders, { from: "earliest", badRecords })) {
          seen.push(value.number);
          if (value.number === good.at(-1)) break;
        }
        return seen;
      };
      await expect(read("stop", "fail")).rejects.toMatchObject({ code: kinds[0]?.code });
      expect(await world.committed(`${orders.name}-stop`, orders.name)).toBe(kinds[0]?.offset);
      expect(await read("skip", "skip")).toEqual(good);
      expect(await read("dead", { deadLetters: dead })).toEqual(good);
      const found: unknown[] = [];
      for await (const { key, value, headers } of cluster.consumer().records(dead, { untilEnd: true })) {
        const about = Object.values(deadLetterHeaders).map((header) => headers.get(header));
        const [of, partition, offset, , code, reason] = about;
        expect(reason).toContain(orders.name);
        found.push([of, partition, offset, code, key?.toString(), value?.toString("hex"), headers.get("trace")]);
      }
      expect(found).toEqual(
        kinds.map(({ offset, code, bytes }) => [orders.name, "0", `${offset}`, code, "k", bytes.toString("hex"), "t"]),
      );
      await using producer = cluster.producer();
      // Nor is it sent.
      const bad = { number: 1, cost: -5 };
      await expect(producer.send(orders, { key: "k", value: bad })).rejects.toMatchObject({
        code: "VALIDATION_FAILED",
      });
    });

    test.concurrent("that a handler notices, a gap and a duplicate, become dead letters, and are worked on later", async () => {
      const [from, dead] = [await world.newTopic(1), await world.newTopic(1)];
      const orders = topic(from, { key: text(), value: json<{ readonly number: number }>() });
      await using producer = world.cluster.producer();
      const send = async (...numbers: readonly number[]): Promise<void> => {
        for (const number of numbers) await producer.send(orders, { key: "k", value: { number } });
      };
      await send(1, 2, 2, 4, 5);
      const done: number[] = [];
      const handle = ({ value: { number } }: { readonly value: { readonly number: number } }): void => {
        const last = Math.max(0, ...done);
        if (number <= last) throw new RangeError(`${number} was handled`);
        if (number > last + 1) throw new TypeError(`${last + 1} is missing before ${number}`);
        done.push(number);
      };
      const stopping = world.cluster.consumer(member(`${from}-stop`, "classic"));
      await expect(stopping.run(orders, handle, { from: "earliest" })).rejects.toThrow("2 was handled");
      expect(await world.committed(`${from}-stop`, from)).toBe(2);
      done.length = 0;
      const consumer = world.cluster.consumer(member(`${from}-dead`, "classic"));
      const running = consumer.run(orders, handle, { from: "earliest", deadLetters: dead });
      await until(async () => (await world.committed(`${from}-dead`, from)) === 5, "all is handled or dead");
      expect(done).toEqual([1, 2]);
      const letters: unknown[] = [];
      const again: { readonly number: number }[] = [];
      const { offset, code, reason } = deadLetterHeaders;
      for await (const letter of world.cluster.consumer().records(topic(dead, orders), { untilEnd: true })) {
        const { headers, value } = letter;
        letters.push([headers.get(offset), headers.get(code), headers.get(reason)]);
        if (headers.get(code) === "TypeError") again.push(value);
      }
      expect(letters).toEqual([
        ["2", "RangeError", "2 was handled"],
        ["3", "TypeError", "3 is missing before 4"],
        ["4", "TypeError", "3 is missing before 5"],
      ]);
      // What was missing comes, and behind it what waited for it.
      await send(3);
      for (const value of again) await producer.send(orders, { key: "k", value });
      await until(() => done.length === 5, `all is handled: ${done.join(" ")}`);
      expect(done).toEqual([1, 2, 3, 4, 5]);
      await consumer.close();
      await running;
    });
  });

  test.concurrent("encrypted fields: readers by what they may, no clear text on the disk, and none of whom is forgotten", async () => {
    const transfers = await world.newTopic(2);
    const balances = await world.newTopic(1, { "cleanup.policy": "compact" });
    const { cluster } = world;
    const keys = ringOf(new MemoryKeyStorage());
    const value = serdeOf(keys);
    await using producer = cluster.producer();
    const sent = ["ann", "bob", "ann", "bob"].map((user, index) => transferOf(user, index + 1));
    for (const [index, each] of sent.entries())
      await producer.send(topic(transfers, { value }), { value: each, partition: index % 2 });
    // What a service derives from it is no clearer.
    for (const each of sent) await producer.send(topic(balances, { value }), { key: each.id, value: each });

    const read = async (serde: ReturnType<typeof serdeOf>, from = transfers) => {
      const found = [];
      for await (const { value: each } of cluster.consumer().records(topic(from, { value: serde }), { untilEnd: true }))
        found.push(each);
      return found.toSorted((a, b) => a.amount - b.amount);
    };
    expect(await read(value)).toEqual(sent);
    const analysed = await read(serdeOf(null));
    expect(analysed.reduce((sum, { amount }) => sum + amount, 0)).toBe(1 + 2 + 3 + 4);
    for (const { user, account, phone } of analysed)
      for (const field of [user, account, phone]) expect(field).toBeInstanceOf(Withheld);

    const disk = filesUnder(world.target.dataDirectory).map((file) => readFileSync(file));
    const isOnDisk = (words: string): boolean => disk.some((bytes) => bytes.includes(words));
    expect(isOnDisk('"purpose":"rent of ')).toBe(true);
    for (const { user, account, phone } of sent)
      for (const secret of [user, account, phone]) expect(isOnDisk(secret), secret).toBe(false);
    const raw: { readonly phone: string }[] = [];
    const open = topic(transfers, { value: json<{ readonly phone: string }>() });
    for await (const { value: each } of cluster.consumer().records(open, { untilEnd: true })) raw.push(each);
    // Length and class of each character are kept: who takes a phone number takes this one.
    for (const { phone } of raw) expect(phone).toMatch(/^\+\d{2} \d{3} \d{7}$/);

    await keys.destroy("user-ann@example.org");
    for (const from of [transfers, balances]) {
      const [one, two, three, four] = await read(value, from);
      expect([two, four]).toEqual([sent[1], sent[3]]);
      for (const forgotten of [one, three]) {
        expect([forgotten?.user, forgotten?.account, forgotten?.phone].every((each) => each instanceof Shredded)).toBe(
          true,
        );
        expect(forgotten?.amount).toBeGreaterThan(0);
      }
    }
    const last = producer.send(topic(transfers, { value }), { value: transferOf("ann", 5) });
    await expect(last).rejects.toMatchObject({ code: "SHREDDED" });
  });
});

/** Asks over one topic, and listens for its own answers on another, which it shares with others. */
class Requester implements AsyncDisposable {
  readonly #name: string;
  readonly #ways: RequesterWays;
  readonly #waiting = new Map<string, (answer: string) => void>();
  readonly #stop = new AbortController();
  readonly #listening: Promise<void>;
  #nextId = 0;
  /** Answers that came when nobody waited for them any more. */
  strayCount = 0;

  constructor(name: string, ways: RequesterWays) {
    this.#name = name;
    this.#ways = ways;
    this.#listening = this.#listen();
  }

  async ask(body: string, timeoutMs: number): Promise<string> {
    const { producer, requests, replies } = this.#ways;
    const id = `${this.#name}/${this.#nextId++}`;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.set(id, resolve);
    await producer.send(requests, { value: body, headers: { correlation: id, "reply-to": replies } });
    const late = sleep(timeoutMs, "timed out", { ref: false }).then((answer) => {
      this.#waiting.delete(id);
      return answer;
    });
    return Promise.race([promise, late]);
  }

  async #listen(): Promise<void> {
    const { cluster, replies } = this.#ways;
    const records = cluster.consumer({ maxWaitMs: 100 }).records(replies, { signal: this.#stop.signal });
    for await (const { headers, value } of records) {
      const id = headers.get("correlation") ?? "";
      if (!id.startsWith(`${this.#name}/`)) continue;
      const settle = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (settle === undefined) this.strayCount++;
      else settle(`${value?.toString()}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#listening;
  }
}

interface RequesterWays {
  readonly cluster: Cluster;
  readonly producer: Producer;
  readonly requests: string;
  readonly replies: string;
}

/** A topic of orders with one record of each kind that cannot be read, good ones before, between and behind them. */
async function badData(world: ConsumerWorld) {
  const fake = new FakeRegistry();
  const registry = new SchemaRegistry({ url: fake.url, world: { fetch: fake.fetch } });
  const fields = [
    { name: "number", type: "int" },
    { name: "cost", type: "int" },
  ];
  const avroOf = (schema: object) => avro<{ readonly number: number; readonly cost: number }>({ registry, schema });
  const plain = avroOf({ type: "record", name: "Order", fields });
  const checked = validated(plain, z.object({ number: z.number(), cost: z.number().nonnegative() }));
  const orders = topic(await world.newTopic(1), { key: text(), value: checked });
  const dead = await world.newTopic(1);
  await using producer = world.cluster.producer();
  const good: number[] = [];
  const sendGood = async (): Promise<void> => {
    good.push(2 * good.length);
    await producer.send(orders, { key: "k", value: { number: good.at(-1) ?? 0, cost: 7 }, partition: 0 });
  };
  await sendGood();
  const whole = await bytesOf(orders.name, plain, { number: 1, cost: 1 });
  const another = { type: "record", name: "Order", fields: [{ name: "text", type: "string" }] };
  const strange = avro<object>({ registry, schema: another, subject: () => "of-others" });
  const wrongId = Buffer.from(whole);
  wrongId.writeInt32BE(9_999, 1);
  const bad: readonly (readonly [code: string, bytes: Buffer])[] = [
    // Cut off in the middle; no Avro at all, after a good id.
    ["DESERIALIZATION_FAILED", whole.subarray(0, -1)],
    ["DESERIALIZATION_FAILED", Buffer.concat([whole.subarray(0, 5), Buffer.alloc(40, 0xff)])],
    ["SCHEMA_MISSING", Buffer.from('{"number":1,"cost":1}')],
    ["SCHEMA_NOT_FOUND", wrongId],
    ["SCHEMA_INCOMPATIBLE", await bytesOf(orders.name, strange, { text: "no order" })],
    ["VALIDATION_FAILED", await bytesOf(orders.name, plain, { number: 1, cost: -12 })],
  ];
  const kinds: { readonly offset: number; readonly code: string; readonly bytes: Buffer }[] = [];
  for (const [code, bytes] of bad) {
    const record = { key: "k", value: bytes, headers: { trace: "t" }, partition: 0 };
    const { offset } = await producer.send(orders.name, record);
    kinds.push({ offset, code, bytes });
    await sendGood();
  }
  return { orders, dead, kinds, good };
}

async function bytesOf<Value>(name: string, serde: Serde<unknown, Value>, value: Value): Promise<Buffer> {
  const context = { topic: name, part: "value", headers: new Headers() } as const;
  return Buffer.from((await serde.serialize(value, context)) ?? "");
}

interface Transfer {
  readonly id: string;
  readonly user: string;
  readonly account: string;
  readonly phone: string;
  readonly amount: number;
  readonly purpose: string;
}

function transferOf(user: string, amount: number): Transfer {
  return {
    id: `transfer-${amount}`,
    user: `user-${user}@example.org`,
    account: `DE8937040044053201300${amount}`,
    phone: `+49 151 234567${amount}`,
    amount,
    purpose: `rent of month ${amount}`,
  };
}

function ringOf(storage: MemoryKeyStorage): KeyRing {
  const wrapping = new LocalKeyWrapping({ keys: { k1: Buffer.alloc(32, 1) }, current: "k1" });
  return new KeyRing({ storage, wrapping });
}

const serdeOf = (keys: KeyRing | null) =>
  encrypted(json<Transfer>(), {
    fields: ["user", "account"],
    formatPreserved: ["phone"],
    keys,
    subject: ({ user }) => user,
  });

function filesUnder(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
