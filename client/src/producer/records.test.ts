import { afterEach, expect, test } from "vitest";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Record as ReadRecord } from "kafka-protocol-ts/records/record";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { Cluster } from "../cluster.ts";
import { KafkaError } from "../errors.ts";
import { text } from "../serdes/basic.ts";
import { Headers } from "../serdes/headers.ts";
import { int32 } from "../serdes/numbers.ts";
import type { Serde } from "../serdes/serde.ts";
import { topic } from "../topic.ts";
import type { Acknowledged } from "./interceptors.ts";
import type { FailedRecord } from "./options.ts";

let cluster: Cluster | null = null;
afterEach(async () => {
  await cluster?.close();
  cluster = null;
});

async function started(leaderIds: readonly number[] = [0]) {
  const fake = await FakeCluster.start();
  fake.create("orders", leaderIds);
  cluster = fake.client();
  return { fake, cluster };
}

function stored(fake: FakeCluster, partition = 0): ReadRecord[] {
  const { log } = fake.topics.get("orders")!.partitions[partition]!;
  return log.flatMap((bytes) => [...batchesIn(bytes)].flatMap((batch) => readRecords(batch)));
}

/** Numbers as text; a promise for those below zero, an error for what is no number. */
const numbers: Serde<number> = {
  serialize(value, { headers }) {
    if (Number.isNaN(value)) throw new TypeError("not a number");
    headers.set("kind", value < 0 ? "late" : "prompt");
    const bytes = Buffer.from(String(value));
    return value < 0 ? Promise.resolve(bytes) : bytes;
  },
  deserialize: (bytes) => Number(bytes?.toString()),
};

test("a topic's serdes write its records, and may add headers", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  const orders = topic("orders", { key: text(), value: numbers });
  await producer.send(orders, { key: "k", value: 7, headers: { trace: "abc" }, timestamp: 1234 });
  const [record] = stored(fake);
  expect([record!.key?.toString(), record!.value?.toString(), record!.timestamp]).toEqual(["k", "7", 1234]);
  expect([...new Headers(record!.headers)].map(([name, value]) => `${name}=${value?.toString()}`)).toEqual([
    "trace=abc",
    "kind=prompt",
  ]);
});

test("headers that the topic declares are written by their serdes, and one that cannot be fails its record alone", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  const raw = topic("orders", { headers: { attempt: int32() } });
  const typed = topic("orders", { key: text(), value: numbers, headers: { attempt: int32() } });
  await producer.send(raw, { value: "v", headers: { attempt: 1, trace: "abc" } });
  await producer.send(typed, { key: "k", value: 7, headers: { attempt: 2 } });
  // @ts-expect-error -- the header is a number
  const refused = producer.send(typed, { key: "k", value: 8, headers: { attempt: "3" } });
  await expect(refused).rejects.toMatchObject({
    code: "SERIALIZATION_FAILED",
    message: expect.stringContaining("attempt"),
  });
  producer.enqueue(typed, [{ key: "k", value: 9, headers: { attempt: 4 } }]);
  await producer.flush();
  const attempts = stored(fake).map(({ headers }) => new Headers(headers).bytes("attempt")?.readInt32BE());
  expect(attempts).toEqual([1, 2, 4]);
  expect(new Headers(stored(fake)[0]!.headers).get("trace")).toBe("abc");
});

test("headers may be given in any of their forms, and null is a value", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  const forms = [
    { a: "1", b: null },
    new Headers().append("a", "1").append("b", null),
    [
      ["a", "1"],
      ["b", null],
    ],
  ] as const;
  for (const headers of forms) await producer.send("orders", { value: null, headers });
  for (const { headers } of stored(fake))
    expect(headers).toEqual([
      { key: "a", value: Buffer.from("1") },
      { key: "b", value: null },
    ]);
});

test("what comes behind a record whose bytes are still being made waits for it", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  const late = Promise.withResolvers<Uint8Array>();
  const slow: Serde<number> = {
    ...numbers,
    serialize: (value) => (value === 0 ? late.promise : Buffer.from(`${value}`)),
  };
  const orders = topic("orders", { value: slow });
  await producer.send("orders", { value: "before" });
  const sends = [0, 1, 2].map(async (value) => producer.send(orders, { value }));
  producer.enqueue("orders", { value: "raw" });
  await fake.world.clock.advance(1_000);
  expect(fake.values("orders")).toEqual(["before"]);
  late.resolve(Buffer.from("late"));
  await Promise.all(sends);
  await producer.flush();
  expect(fake.values("orders")).toEqual(["before", "late", "1", "2", "raw"]);
});

test("a record that cannot be serialized fails alone", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  const rejecting: Serde<number> = { ...numbers, serialize: () => Promise.reject(new Error("no schema")) };
  const orders = topic("orders", { value: numbers });
  const outcomes = await Promise.allSettled([
    producer.send(orders, { value: 1 }),
    producer.send(orders, { value: Number.NaN }),
    producer.send(topic("orders", { value: rejecting }), { value: 1 }),
    producer.send("orders", { value: 3 as unknown as string }),
    producer.send("orders", {} as { value: string }),
    producer.send(orders, { value: -2 }),
  ]);
  const errors = outcomes.map((outcome) => (outcome.status === "rejected" ? (outcome.reason as KafkaError) : null));
  expect(errors.map((error) => error?.code)).toEqual([
    undefined,
    ...Array.from({ length: 4 }, () => "SERIALIZATION_FAILED"),
    undefined,
  ]);
  expect(errors[1]!.message).toBe("the value of a record for orders cannot be serialized: not a number");
  expect(errors[1]!.cause).toBeInstanceOf(TypeError);
  expect(errors[2]!.message).toMatch(/no schema$/);
  expect(errors[4]!.message).toMatch(/^the value of a record for orders is missing/);
  expect(fake.values("orders")).toEqual(["1", "-2"]);
});

test("what a serde of ours says of a value is what its sender hears, with its code", async () => {
  const { cluster } = await started();
  const producer = cluster.producer();
  await expect(producer.send(topic("orders", { value: text() }), { value: null as never })).rejects.toMatchObject({
    code: "NULL_VALUE",
    message: expect.stringMatching(/^the value of a record of topic orders is null/) as string,
  });
  const away = new KafkaError("REGISTRY_UNAVAILABLE", "nobody answers", { retriable: true });
  const late: Serde<number> = { ...numbers, serialize: () => Promise.reject(away) };
  await expect(producer.send(topic("orders", { value: late }), { value: 1 })).rejects.toBe(away);
});

test("a serde that never ends fails its record in time, and those behind it go on", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer({ deliveryTimeoutMs: 1_000 });
  await producer.send("orders", { value: "before" });
  const stuck: Serde<number> = { ...numbers, serialize: () => new Promise(() => {}) };
  const lost = Promise.allSettled([producer.send(topic("orders", { value: stuck }), { value: 1 })]);
  await fake.world.clock.advance(500);
  const behind = producer.send("orders", { value: "behind" });
  expect((await fake.within(600, lost))[0]).toMatchObject({ reason: { code: "TIMED_OUT" } });
  await behind;
  expect(fake.values("orders")).toEqual(["before", "behind"]);
});

test("sendAll tells what became of each, in order", async () => {
  const { fake, cluster } = await started([0, 0]);
  const producer = cluster.producer();
  fake.refuse = ({ partition }) => (partition === "orders-1" ? ErrorCode.INVALID_RECORD : ErrorCode.NONE);
  const results = await producer.sendAll("orders", [
    { partition: 0, value: "a" },
    { partition: 1, value: "b" },
    { partition: 7, value: "c" },
    { partition: 0, value: "d" },
  ]);
  expect(results.map(({ partition, offset, error }) => [partition, offset, error?.code])).toEqual([
    [0, 0, undefined],
    [1, -1, "INVALID_RECORD"],
    [-1, -1, "UNKNOWN_TOPIC_OR_PARTITION"],
    [0, 1, undefined],
  ]);
  expect(await producer.sendAll("orders", [])).toEqual([]);
});

test("a partitioner decides, or leaves it to the default", async () => {
  const { fake, cluster } = await started([0, 0, 0]);
  const producer = cluster.producer({
    partitioner: ({ key, value, partitionCount, topic: name }) => {
      expect([name, partitionCount]).toEqual(["orders", 3]);
      if (value?.toString() === "beyond") return 3;
      if (value?.toString() === "thrown") throw new Error("mine");
      return key === null ? 2 : null;
    },
  });
  expect((await producer.send("orders", { value: "x" })).partition).toBe(2);
  expect((await producer.send("orders", { key: "key", value: "x" })).partition).not.toBe(2);
  expect((await producer.send("orders", { key: "key", value: "x", partition: 1 })).partition).toBe(1);
  await expect(producer.send("orders", { value: "beyond" })).rejects.toThrow("partition orders-3");
  await expect(producer.send("orders", { value: "thrown" })).rejects.toMatchObject({
    code: "PARTITIONER_FAILED",
    message: "the partitioner has thrown for a record for orders: mine",
  });
  expect(fake.attempts).toHaveLength(3);
});

test("interceptors see each record and what became of it; what they throw loses nothing", async () => {
  const { fake, cluster } = await started();
  const seen: Acknowledged[] = [];
  const producer = cluster.producer({
    interceptors: [
      { onSend: (record) => ({ ...record, headers: { by: "first" } }) },
      {
        onSend: () => {
          throw new Error("onSend");
        },
        onAcknowledged: () => {
          throw new Error("onAcknowledged");
        },
      },
      { onAcknowledged: (acknowledged) => void seen.push(acknowledged) },
    ],
  });
  expect(await producer.send("orders", { value: "a" })).toEqual({ partition: 0, offset: 0 });
  producer.enqueue("orders", { value: "b" });
  await producer.flush();
  await expect(producer.send("orders", { value: "c", partition: 9 })).rejects.toThrow("orders-9");
  expect(
    seen.map(({ topic: name, partition, offset, record, error }) => [
      name,
      partition,
      offset,
      record.value,
      error?.code,
    ]),
  ).toEqual([
    ["orders", 0, 0, "a", undefined],
    ["orders", 0, 1, "b", undefined],
    ["orders", -1, -1, "c", "UNKNOWN_TOPIC_OR_PARTITION"],
  ]);
  expect(stored(fake).map(({ headers }) => headers.map(({ value }) => value?.toString()))).toEqual([
    ["first"],
    ["first"],
  ]);
});

test("onFailed hears of each enqueued record that is lost, with its error", async () => {
  const { fake, cluster } = await started([0, 0]);
  const failed: FailedRecord[] = [];
  const producer = cluster.producer({
    onFailed: (each) => {
      failed.push(each);
      throw new Error("of the caller");
    },
  });
  fake.refuse = ({ partition }) => (partition === "orders-1" ? ErrorCode.INVALID_RECORD : ErrorCode.NONE);
  const lost = { partition: 1, value: "lost" };
  producer.enqueue("orders", [{ partition: 0, value: "kept" }, lost, { partition: 5, value: "no place" }]);
  await producer.flush();
  expect(
    failed.map(({ topic: name, partition, record, error }) => [name, partition, record.value, error.code]),
  ).toEqual([
    ["orders", null, "no place", "UNKNOWN_TOPIC_OR_PARTITION"],
    ["orders", 1, "lost", "INVALID_RECORD"],
  ]);
  expect(failed[1]!.record).toBe(lost);
  await producer.close();
});

test("an enqueued record that is lost is thrown once, where somebody looks next", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  fake.refuse = () => ErrorCode.INVALID_RECORD;
  producer.enqueue("orders", { value: "a" });
  await expect(producer.flush()).rejects.toMatchObject({ code: "INVALID_RECORD" });
  await producer.flush();
  producer.enqueue("orders", { value: "b" });
  await fake.world.clock.settle();
  await expect(producer.ready()).rejects.toMatchObject({ code: "INVALID_RECORD" });
  producer.enqueue("orders", { value: "c" });
  await expect(producer.close()).rejects.toMatchObject({ code: "INVALID_RECORD" });
});

test("a batch that cannot be compressed fails alone, and those behind it go on", async () => {
  const { fake, cluster } = await started();
  let asked = 0;
  const producer = cluster.producer({
    compression: () => {
      asked++;
      if (asked === 2) throw new Error("no codec today");
      return asked === 3 ? ("brotli" as "gzip") : "none";
    },
  });
  // The first goes while its connection is being opened, the others on an open one.
  for (const value of ["a", "b", "c", "d"]) {
    const sent = producer.send("orders", { value });
    if (value === "a" || value === "d") await fake.within(1_000, sent);
    else
      await expect(fake.within(1_000, sent)).rejects.toMatchObject({
        code: "INVALID_CONFIG",
        message: expect.stringMatching(/^a batch for orders-0 cannot be compressed, see compression/) as string,
      });
  }
  expect(fake.values("orders")).toEqual(["a", "d"]);
  expect(fake.attempts.map(({ sequence }) => sequence)).toEqual([0, 1]);
  await producer.close();
});

test("a signal ends the waiting for a record", async () => {
  const { fake, cluster } = await started();
  const producer = cluster.producer();
  await producer.send("orders", { value: "first" });
  fake.mishaps.push("no answer, but stored");
  const controller = new AbortController();
  const sent = producer.send("orders", { value: "a" }, { signal: controller.signal });
  await fake.world.clock.settle();
  controller.abort(new Error("enough"));
  await expect(sent).rejects.toMatchObject({ code: "ABORTED", cause: { message: "enough" } });
  const late = producer.send("orders", { value: "b" }, { signal: controller.signal });
  await expect(late).rejects.toMatchObject({ code: "ABORTED" });
  expect(fake.values("orders")).toEqual(["first", "a"]);
});
