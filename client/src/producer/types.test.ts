import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { FakeCluster } from "../../test/fake-cluster.ts";
import { nullable, text } from "../serdes/basic.ts";
import { Headers } from "../serdes/headers.ts";
import { json } from "../serdes/json.ts";
import { int32, int64 } from "../serdes/numbers.ts";
import { topic } from "../topic.ts";
import type { RecordInput } from "../topic.ts";
import type { Delivered, SendResult } from "./options.ts";
import type { Producer } from "./producer.ts";
import type { Transaction } from "./transaction.ts";

const Order = z.object({ id: z.string(), note: z.string().default(""), placedAt: z.iso.datetime() });
const orders = topic("orders", { key: text(), value: json(Order), headers: { attempt: int32() } });
const raw = topic("raw");
const accounts = topic("accounts", { key: int64(), value: nullable(json<{ readonly owner: string }>()) });
const order = { id: "o1", placedAt: "2026-01-01T00:00:00Z" };

/** Compiled and never called: what is wrong here does not compile. */
export function typesOnly(producer: Producer | Transaction): void {
  expectTypeOf(producer.send(orders, { key: "o1", value: order })).toEqualTypeOf<Promise<Delivered>>();
  void producer.send(orders, { key: "o1", value: order, headers: { attempt: 1, trace: "t", bytes: Buffer.of(1) } });
  void producer.send(orders, { key: "o1", value: order, headers: new Headers().set("trace", "t") });
  // @ts-expect-error -- the key is text
  void producer.send(orders, { key: 1, value: order });
  // @ts-expect-error -- there must be a key
  void producer.send(orders, { value: order });
  // @ts-expect-error -- an order has an id
  void producer.send(orders, { key: "o1", value: { placedAt: order.placedAt } });
  // @ts-expect-error -- of another type
  void producer.send(orders, { key: "o1", value: { ...order, id: 5 } });
  // @ts-expect-error -- no tombstone without nullable()
  void producer.send(orders, { key: "o1", value: null });
  // @ts-expect-error -- the header is declared as a number
  void producer.send(orders, { key: "o1", value: order, headers: { attempt: "first" } });
  // @ts-expect-error -- a partition is a number
  void producer.send(orders, { key: "o1", value: order, partition: "0" });

  void producer.send(accounts, { key: 7, value: null });
  void producer.send(accounts, { key: 7, value: { owner: "a" } });
  // @ts-expect-error -- text is no key of 64 bits
  void producer.send(accounts, { key: "7", value: null });

  void producer.send(raw, { value: "text" });
  void producer.send("raw", { key: Buffer.of(1), value: null, headers: { trace: "t" } });
  // @ts-expect-error -- no numbers without a serde
  void producer.send("raw", { value: 1 });
  // @ts-expect-error -- nor in headers that nobody declared
  void producer.send(raw, { value: "text", headers: { attempt: 1 } });

  const many = producer.sendAll(orders, [{ key: "o1", value: order, headers: { attempt: 1 } }]);
  expectTypeOf(many).toEqualTypeOf<Promise<readonly SendResult[]>>();
  // @ts-expect-error -- each is looked at
  void producer.sendAll(orders, [{ key: "o1", value: order }, { value: order }]);
  producer.enqueue(orders, { key: "o1", value: order });
  producer.enqueue(orders, [{ key: "o1", value: order, headers: { attempt: 1 } }]);
  // @ts-expect-error -- the key is text
  producer.enqueue(orders, [{ key: 1, value: order }]);
}

/** As above. */
export function streamTypesOnly(producer: Producer): void {
  const stream = producer.writable(orders);
  expectTypeOf(stream).toExtend<WritableStream<RecordInput<string, { id: string; placedAt: string }>>>();
  void stream.getWriter().write({ key: "o1", value: order, headers: { attempt: 1 } });
  // @ts-expect-error -- the key is text
  void stream.getWriter().write({ key: 1, value: order });
  void producer.transaction((tx) => typesOnly(tx));
}

test("headers are written by the serdes that the topic declares", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  const seen: (number | undefined)[] = [];
  const counted = topic("orders", { value: text(), headers: { attempt: int32() } });
  const bare = topic("orders", { headers: { attempt: int32() } });
  await producer.send(counted, { value: "a", headers: { attempt: 7 } });
  await producer.send(bare, { value: "b", headers: { attempt: 8 } });
  producer.enqueue(counted, { value: "c", headers: { attempt: 9 } });
  await producer.flush();
  await expect(
    producer.send(counted, { value: "d", headers: { attempt: "x" as unknown as number } }),
  ).rejects.toMatchObject({
    code: "SERIALIZATION_FAILED",
    message: expect.stringContaining('the header "attempt" of a record of topic orders') as string,
  });
  for await (const record of cluster.consumer().records(counted, { untilEnd: true }))
    seen.push(record.headers.get("attempt"));
  expect(seen).toEqual([7, 8, 9]);
});
