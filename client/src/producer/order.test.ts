import { must } from "@millrace/base/assert";
import * as fc from "fast-check";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { KafkaError } from "../errors.ts";
import type { Mishap } from "../../test/fake-cluster.ts";

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `value ${index}`);

test.for([
  ["the leader has moved", { code: ErrorCode.NOT_LEADER_OR_FOLLOWER }],
  ["the answer is lost, and nothing was stored", "the connection breaks"],
  ["the answer is lost, and all was stored", "stored, and the connection breaks"],
  ["the time was over, and all was stored", { code: ErrorCode.REQUEST_TIMED_OUT, isStored: true }],
  ["no answer comes", "no answer"],
] as const)("a batch is sent again with the number that it had: %s", async ([, mishap]) => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client({ requestTimeoutMs: 5_000 });
  await using producer = cluster.producer();
  await producer.send("orders", { value: "before" });
  fake.mishaps.push(mishap, mishap);
  const sends = ["a", "b"].map(async (value) => producer.send("orders", { value }));
  // Those that come later wait behind it.
  await fake.world.clock.settle();
  sends.push(producer.send("orders", { value: "c" }));
  await fake.within(30_000, Promise.all(sends));
  expect(fake.values("orders")).toEqual(["before", "a", "b", "c"]);
  const again = fake.attempts.filter(({ values }) => values.includes("a"));
  expect(again.length).toBeGreaterThan(1);
  for (const attempt of again) expect(attempt).toMatchObject({ sequence: 1, values: ["a", "b"] });
  const behind = fake.attempts.filter(({ values }) => values.includes("c"));
  expect(behind.length).toBeGreaterThan(0);
  for (const attempt of behind) expect(attempt).toMatchObject({ sequence: 3, values: ["c"] });
});

test.for([
  ["waited in vain for replicas", ErrorCode.REQUEST_TIMED_OUT],
  ["lost the lead while it waited for them", ErrorCode.NOT_LEADER_OR_FOLLOWER],
] as const)(
  "a batch that was given up may have been stored where its leader %s: the next one has another epoch",
  async ([, code]) => {
    const fake = await FakeCluster.start();
    fake.create("orders");
    await using cluster = fake.client({ requestTimeoutMs: 1_000 });
    await using producer = cluster.producer({ deliveryTimeoutMs: 2_000 });
    const tooFew = { code: ErrorCode.NOT_ENOUGH_REPLICAS };
    fake.mishaps.push({ code, isStored: true }, ...Array.from({ length: 1_000 }, () => tooFew));
    const given = producer.send("orders", { value: "given up" });
    given.catch(() => {});
    await fake.within(10_000, Promise.allSettled([given]));
    await expect(given).rejects.toMatchObject({ code: "TIMED_OUT" });
    fake.mishaps.length = 0;
    await fake.within(10_000, producer.send("orders", { value: "next" }));
    expect(fake.values("orders")).toEqual(["given up", "next"]);
  },
);

test("a leader that moves is found again", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "at the first" });
  partition!.leaderId = 1;
  await fake.within(5_000, producer.send("orders", { value: "at the second" }));
  expect(fake.values("orders")).toEqual(["at the first", "at the second"]);
  expect(fake.brokers[1]!.names).toContain("Produce");
});

test("a batch that is refused for good fails alone: its numbers go to the next one", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  fake.mishaps.push({ code: ErrorCode.MESSAGE_TOO_LARGE });
  await expect(producer.send("orders", { value: "large" })).rejects.toMatchObject({
    code: "MESSAGE_TOO_LARGE",
    retriable: false,
    message: expect.stringMatching(/^orders-0: /) as string,
  });
  await producer.send("orders", { value: "small" });
  expect(fake.values("orders")).toEqual(["small"]);
  expect(fake.attempts.map(({ sequence }) => sequence)).toEqual([0, 0]);
  expect(fake.requests("InitProducerId")).toBe(1);
});

test("behind a batch of unknown fate that was given up, its partition alone goes on with the next epoch", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  await using cluster = fake.client({ requestTimeoutMs: 5_000 });
  await using producer = cluster.producer({ deliveryTimeoutMs: 12_000 });
  await producer.send("orders", { partition: 0, value: "first" });
  await producer.send("orders", { partition: 1, value: "other" });
  fake.mishaps.push("stored, and the connection breaks", "no answer", "no answer", "no answer");
  const lost = producer.send("orders", { partition: 0, value: "perhaps" });
  await expect(fake.within(12_000, lost)).rejects.toMatchObject({
    code: "TIMED_OUT",
    message: expect.stringMatching(/^1 records for orders-0: no success within \d+ ms: /) as string,
  });
  fake.mishaps.length = 0;
  // Its last attempt gets no answer either.
  await fake.world.clock.advance(6_000);
  await producer.send("orders", { partition: 0, value: "next" });
  expect(fake.values("orders")).toEqual(["first", "perhaps", "next"]);
  expect(fake.attempts.at(-1)).toMatchObject({ producerId: 1000, producerEpoch: 1, sequence: 0, values: ["next"] });
  await producer.send("orders", { partition: 1, value: "another" });
  expect(fake.attempts.at(-1)).toMatchObject({ producerId: 1000, producerEpoch: 0, sequence: 1, values: ["another"] });
  expect(fake.requests("InitProducerId")).toBe(1);
});

test("a batch of unknown fate behind one that was given up keeps its numbers until they are refused", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client({ requestTimeoutMs: 4_000 });
  await using producer = cluster.producer({ deliveryTimeoutMs: 10_000, inFlightMax: 2 });
  await producer.send("orders", { value: "first" });
  fake.mishaps.push("no answer", ...Array.from({ length: 100 }, () => "the connection breaks" as const));
  const lost = producer.send("orders", { value: "lost" });
  await fake.world.clock.advance(1_000);
  const behind = producer.send("orders", { value: "behind" });
  await expect(fake.within(10_000, lost)).rejects.toMatchObject({ code: "TIMED_OUT" });
  fake.mishaps.length = 0;
  await expect(fake.within(1_500, behind)).rejects.toMatchObject({ code: "OUT_OF_ORDER_SEQUENCE_NUMBER" });
  await fake.within(1_000, producer.send("orders", { value: "next" }));
  expect(fake.values("orders")).toEqual(["first", "next"]);
  const behindIt = fake.attempts.filter(({ values }) => values[0] === "behind");
  for (const attempt of behindIt) expect(attempt).toMatchObject({ producerEpoch: 0, sequence: 2 });
  expect(fake.attempts.at(-1)).toMatchObject({ producerEpoch: 1, sequence: 0 });
});

test("a partition that has lost track of the producer gets what is left under the next epoch", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "a" });
  await producer.send("orders", { value: "b" });
  // As after an unclean election: the leader has less than it acknowledged.
  partition!.producers.get(1000)!.batches.pop();
  await fake.within(5_000, producer.send("orders", { value: "c" }));
  expect(fake.values("orders")).toEqual(["a", "b", "c"]);
  expect(fake.attempts.at(-1)).toMatchObject({ producerEpoch: 1, sequence: 0 });
});

test("when the epochs are used up there is a new producer id", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  for (const broker of fake.brokers) {
    broker.on(initProducerId, () => ({
      throttleTimeMs: 0,
      errorCode: 0,
      producerId: fake.requests("InitProducerId"),
      producerEpoch: 32_766,
    }));
  }
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "a" });
  for (const value of ["b", "c", "d"]) {
    for (const { batches } of partition!.producers.values())
      batches.push({ baseSequence: 77, count: 1, baseOffset: 0 });
    await fake.within(5_000, producer.send("orders", { value }));
  }
  expect(fake.values("orders")).toEqual(["a", "b", "c", "d"]);
  const stored = fake.attempts.filter(({ sequence }) => sequence === 0);
  expect(stored.map(({ producerId, producerEpoch }) => `${producerId}/${producerEpoch}`)).toEqual([
    "1/32766",
    "1/32767",
    "2/32766",
    "2/32767",
  ]);
});

test("a duplicate of long ago is a success without a known place", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  fake.mishaps.push({ code: ErrorCode.DUPLICATE_SEQUENCE_NUMBER, isStored: true });
  expect(await producer.send("orders", { value: "a" })).toEqual({ partition: 0, offset: -1 });
  expect(fake.values("orders")).toEqual(["a"]);
});

test("a batch that was stored, while its answer was lost, is told its first place", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "a" });
  fake.mishaps.push("stored, and the connection breaks");
  expect(await fake.within(5_000, producer.send("orders", { value: "b" }))).toEqual({ partition: 0, offset: 1 });
});

test("five batches of a partition are in flight, once it is known that it knows the producer", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  fake.beforeAnswer = () => new Promise((resolve) => void fake.world.clock.schedule(10, resolve));
  const begunMs = fake.world.clock.monotonicMs();
  await fake.within(10_000, Promise.all(numbered(40).map(async (value) => producer.send("orders", { value }))));
  expect(fake.values("orders")).toEqual(numbered(40));
  expect(fake.attempts).toHaveLength(40);
  expect(fake.inFlightMax).toBe(5);
  // The first alone, then five at a time.
  expect(fake.world.clock.monotonicMs() - begunMs).toBeLessThanOrEqual(10 + 8 * 10);
});

test("batches that are lost with one connection are one failure: the pause is that of the first", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  await producer.send("orders", { value: "first" });
  fake.beforeAnswer = () => new Promise((resolve) => void fake.world.clock.schedule(10, resolve));
  const sends = numbered(5).map(async (value) => producer.send("orders", { value }));
  await fake.world.clock.settle();
  expect(fake.attempts).toHaveLength(6);
  must(fake.brokers[0], "a broker").cut();
  const brokenMs = fake.world.clock.monotonicMs();
  await fake.within(5_000, Promise.all(sends));
  // Its fifth would be 1,600 ms.
  expect(fake.world.clock.monotonicMs() - brokenMs).toBeLessThan(120 + 100);
  expect(fake.values("orders")).toEqual(["first", ...numbered(5)]);
});

test("a broker remembers five batches: a sixth waits for the first, also where those between are stored", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  await producer.send("orders", { value: "first" });
  fake.mishaps.push("stored, and the connection breaks");
  let attempts = 0;
  const isRefused = (values: readonly unknown[]): boolean => values[0] === "value 0" && [2, 3].includes(++attempts);
  fake.refuse = ({ values }) => (isRefused(values) ? ErrorCode.NOT_ENOUGH_REPLICAS : ErrorCode.NONE);
  await fake.within(5_000, Promise.all(numbered(8).map(async (value) => producer.send("orders", { value }))));
  expect(fake.values("orders")).toEqual(["first", ...numbered(8)]);
  expect(new Set(fake.attempts.map(({ producerEpoch }) => producerEpoch))).toEqual(new Set([0]));
});

test("of a producer that its partition does not know, a second batch is not stored before the first", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  fake.mishaps.push({ code: ErrorCode.NOT_ENOUGH_REPLICAS });
  await fake.within(10_000, Promise.all(["a", "b", "c"].map(async (value) => producer.send("orders", { value }))));
  expect(fake.values("orders")).toEqual(["a", "b", "c"]);
  expect(new Set(fake.attempts.map(({ producerEpoch }) => producerEpoch))).toEqual(new Set([0]));
});

test("batches of several partitions go in one request, and one that fails does not hold up the others", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0, 0, 0]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await cluster.wire.topic("orders");
  fake.refuse = ({ partition }) => (partition === "orders-2" ? ErrorCode.NOT_ENOUGH_REPLICAS : ErrorCode.NONE);
  const sends = [0, 1, 2, 3].map(async (partition) => producer.send("orders", { partition, value: `${partition}` }));
  const others = sends.filter((_, partition) => partition !== 2);
  await Promise.all(others);
  expect(fake.requests("Produce")).toBe(1);
  fake.refuse = () => ErrorCode.NONE;
  expect(await fake.within(2_000, Promise.all(sends))).toHaveLength(4);
});

test("a request holds what requestBytesMax allows", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0, 0, 0]);
  await using cluster = fake.client();
  await using producer = cluster.producer({ requestBytesMax: 2_500 });
  await cluster.wire.topic("orders");
  const value = "x".repeat(1_000);
  await Promise.all([0, 1, 2, 3].map(async (partition) => producer.send("orders", { partition, value })));
  expect(fake.requests("Produce")).toBe(2);
});

/** Two brokers that say who leads when they do not; the first one leads the one partition of "orders". */
async function hintingBrokers() {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  fake.givesHints = true;
  return { fake, partition: must(partition, "the partition") };
}

test("who is told where the leader is asks nobody, and does not wait", async () => {
  const { fake, partition } = await hintingBrokers();
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "at the first" });
  Object.assign(partition, { leaderId: 1, leaderEpoch: 1 });
  const asked = fake.requests("Metadata");
  // No virtual time passes.
  await producer.send("orders", { value: "at the second" });
  expect(fake.requests("Metadata")).toBe(asked);
  expect(fake.values("orders")).toEqual(["at the first", "at the second"]);
});

test("nor who has several batches on their way, which are all told the same", async () => {
  const { fake, partition } = await hintingBrokers();
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  await producer.send("orders", { value: "at the first" });
  Object.assign(partition, { leaderId: 1, leaderEpoch: 1 });
  const asked = fake.requests("Metadata");
  const values = ["a", "b", "c", "d", "e"].map((letter) => letter.repeat(30));
  const nowMs = fake.world.clock.monotonicMs();
  await Promise.all(values.map(async (value) => producer.send("orders", { value })));
  const refusedCount = fake.attempts.length - 1 - values.length;
  expect(refusedCount).toBeGreaterThan(2);
  expect(fake.world.clock.monotonicMs()).toBe(nowMs);
  expect(fake.requests("Metadata")).toBe(asked);
  expect(fake.values("orders")).toEqual(["at the first", ...values]);
});

test("who is sent back and forth by brokers that name each other asks, and waits in between", async () => {
  const { fake, partition } = await hintingBrokers();
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  await producer.send("orders", { value: "at the first" });
  Object.assign(partition, { leaderId: 1, leaderEpoch: 1 });
  // The new leader has yet to hear of itself.
  let refusals = 3;
  fake.refuse = () => (refusals-- > 0 ? ErrorCode.NOT_LEADER_OR_FOLLOWER : ErrorCode.NONE);
  const asked = fake.requests("Metadata");
  const sending = producer.send("orders", { value: "at the second" });
  await fake.within(5_000, sending);
  expect(fake.requests("Metadata") - asked).toBe(3);
  expect(fake.world.clock.monotonicMs()).toBeGreaterThan(300);
});

test("a leader that is cut off from its cluster, and does not know, is left for the one that the others name", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [moved] = fake.create("orders", [0, 1]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { partition: 0, value: "before" });
  await producer.send("orders", { partition: 1, value: "other" });
  const [lost] = fake.brokers;
  // It goes on to tell what it knew, and waits in vain for its replicas.
  const known = await lost!.answerOf(metadata)!({
    message: { topics: [{ name: "orders" }], allowAutoTopicCreation: false },
  } as never);
  lost!.on(metadata, () => known as never);
  const timedOut = { errorCode: ErrorCode.REQUEST_TIMED_OUT, baseOffset: -1, index: 0 };
  lost!.on(produce, ({ message }) => ({
    responses: message.topicData.map(({ name, topicId }) => ({ name, topicId, partitionResponses: [timedOut] })),
    nodeEndpoints: [],
  }));
  moved!.leaderId = 1;
  moved!.leaderEpoch = 1;
  await fake.within(5_000, producer.send("orders", { partition: 0, value: "after" }));
  expect(fake.values("orders")).toEqual(["before", "after"]);
});

test("a leader that changes while its connection is being opened is followed at once", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [moving] = fake.create("orders", [1, 0]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { partition: 1, value: "warm" });
  const opening = Promise.withResolvers<void>();
  const slow = fake.brokers[1]!;
  slow.on(apiVersions, async () => {
    await opening.promise;
    return { errorCode: ErrorCode.NONE, apiKeys: slow.served };
  });
  const sent = producer.send("orders", { partition: 0, value: "moved" });
  await fake.world.clock.settle();
  moving!.leaderId = 0;
  moving!.leaderEpoch = 1;
  await cluster.wire.refresh("orders");
  await producer.send("orders", { partition: 1, value: "who learns of it" });
  opening.resolve();
  await fake.within(100, sent);
  expect(fake.values("orders")).toEqual(["moved"]);
});

test("behind a refused batch, one that may still be heard does not go again with a number that fits", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 100 });
  const { clock } = fake.world;
  await producer.send("orders", { value: "first" });
  fake.refuse = ({ values }) => (values[0] === "refused" ? ErrorCode.TOPIC_AUTHORIZATION_FAILED : ErrorCode.NONE);
  let requests = 0;
  fake.beforeAppend = () => new Promise((resolve) => void clock.schedule(++requests === 2 ? 5_000 : 0, resolve));
  const refused = Promise.allSettled([producer.send("orders", { value: "refused" })]);
  const behind = producer.send("orders", { value: "behind!" });
  await clock.advance(10);
  // The second request is still to be served when its connection breaks.
  fake.brokers[0]!.cut();
  await fake.within(2_000, behind);
  expect((await refused)[0]).toMatchObject({ reason: { code: "TOPIC_AUTHORIZATION_FAILED" } });
  await clock.advance(10_000);
  expect(fake.values("orders")).toEqual(["first", "behind!"]);
});

test("a batch that is too large goes in parts, in its order and with its numbers", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "first" });
  fake.batchBytesMax = 1_000;
  const large = "x".repeat(2_000);
  const values = [...numbered(100), large, "last"];
  const outcomes = await fake.within(
    5_000,
    Promise.allSettled(values.map(async (value) => producer.send("orders", { value }))),
  );
  const refused = outcomes.flatMap((outcome, index) => (outcome.status === "rejected" ? [values[index]] : []));
  expect(refused).toEqual([large]);
  expect(fake.values("orders")).toEqual(["first", ...numbered(100), "last"]);
  expect(new Set(fake.attempts.map(({ producerEpoch }) => producerEpoch))).toEqual(new Set([0]));
  // What comes next is not made so large again.
  const before = fake.attempts.length;
  await Promise.all(numbered(100).map(async (value) => producer.send("orders", { value })));
  expect(fake.attempts.slice(before).flatMap(({ values: each }) => each)).toEqual(numbered(100));
});

test("the parts of a batch have its codec, and nobody is asked for another", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  let asked = 0;
  const compression = (): "gzip" => {
    if (++asked > 2) throw new Error("asked too often");
    return "gzip";
  };
  await using producer = cluster.producer({ compression });
  await producer.send("orders", { value: "first" });
  fake.batchBytesMax = 250;
  const values = numbered(100);
  await fake.within(5_000, Promise.all(values.map(async (value) => producer.send("orders", { value }))));
  expect(fake.values("orders")).toEqual(["first", ...values]);
  expect(asked).toBe(2);
});

test("records for a topic that was deleted are not written into another one of its name", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "a" });
  fake.topics.delete("orders");
  fake.create("orders");
  await expect(fake.within(5_000, producer.send("orders", { value: "b" }))).rejects.toMatchObject({
    code: "UNKNOWN_TOPIC_ID",
    message: expect.stringMatching(/^topic orders was deleted and made again/) as string,
  });
  await producer.send("orders", { value: "c" });
  expect(fake.values("orders")).toEqual(["c"]);
});

test("a topic that was deleted times out, and nothing is left behind", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  fake.canCreate = false;
  const cluster = fake.client();
  const producer = cluster.producer({ deliveryTimeoutMs: 5_000 });
  await producer.send("orders", { value: "a" });
  fake.topics.delete("orders");
  const lost = producer.send("orders", { value: "b" });
  await expect(fake.within(5_100, lost)).rejects.toMatchObject({ code: "TIMED_OUT" });
  await producer.close();
  await cluster.close();
  expect(fake.world.clock.pendingTimers).toBe(0);
});

// --- Any mishaps -----------------------------------------------------------------------------------------------------

type Step =
  | { readonly send: number; readonly partition: number }
  | { readonly passMs: number }
  | { readonly mishap: Mishap; readonly times: number }
  | { readonly lead: number; readonly by: number }
  | { readonly cut: number }
  | { readonly batchBytesMax: number }
  | { readonly delayMs: number };

const codes = [
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.CORRUPT_MESSAGE,
];
const storedCodes = [
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.UNKNOWN_SERVER_ERROR,
];
const finalCodes = [ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.INVALID_RECORD, ErrorCode.UNKNOWN_SERVER_ERROR];

const mishaps: fc.Arbitrary<Mishap> = fc.oneof(
  fc.constantFrom<Mishap>(
    "none",
    "no answer",
    "no answer, but stored",
    "stored, and the connection breaks",
    "the connection breaks",
  ),
  fc.constantFrom(...codes).map((code) => ({ code })),
  fc.record({ code: fc.constantFrom(...storedCodes), isStored: fc.boolean() }),
  fc.constantFrom(...finalCodes).map((code) => ({ code })),
);

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ send: fc.integer({ min: 1, max: 12 }), partition: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ passMs: fc.constantFrom(0, 1, 6, 150, 900, 1_100, 3_000) }) },
  { weight: 4, arbitrary: fc.record({ mishap: mishaps, times: fc.constantFrom(1, 1, 2, 8) }) },
  { weight: 1, arbitrary: fc.record({ lead: fc.nat(1), by: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ cut: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ batchBytesMax: fc.constantFrom(120, 300, 1_000_000) }) },
  { weight: 1, arbitrary: fc.record({ delayMs: fc.constantFrom(0, 5, 700, 2_500) }) },
);

/** Everything that was sent, with what its sender was told, and what lies in the log. */
async function run(script: readonly Step[], options: { readonly givesHints: boolean; readonly inFlightMax: number }) {
  const fake = await FakeCluster.start({ brokers: 3 });
  const partitions = fake.create("orders", [0, 1]);
  const { clock } = fake.world;
  fake.givesHints = options.givesHints;
  let delayMs = 0;
  const delay = (): Promise<void> =>
    delayMs === 0 ? Promise.resolve() : new Promise((resolve) => void clock.schedule(delayMs, resolve));
  fake.beforeAppend = delay;
  const cluster = fake.client({ requestTimeoutMs: 1_000 });
  const producer = cluster.producer({ deliveryTimeoutMs: 6_000, batchBytesMax: 130, inFlightMax: options.inFlightMax });
  const sent: { partition: number; value: string; offset: number | null; code: string | null }[] = [];
  const settled: Promise<void>[] = [];
  for (const step of script) {
    if ("send" in step) {
      for (let count = 0; count < step.send; count++) {
        const { partition } = step;
        const record = {
          partition,
          value: String(sent.length).padStart(20, "0"),
          offset: null as number | null,
          code: null as string | null,
        };
        sent.push(record);
        const sending = producer.send("orders", { partition, value: record.value });
        settled.push(
          sending.then(
            ({ offset }) => void (record.offset = offset),
            (error: KafkaError) => void (record.code = error.code),
          ),
        );
      }
    } else if ("passMs" in step) await clock.advance(step.passMs);
    else if ("mishap" in step) for (let times = 0; times < step.times; times++) fake.mishaps.push(step.mishap);
    else if ("lead" in step) {
      const partition = partitions[step.lead]!;
      partition.leaderId = step.by;
      partition.leaderEpoch++;
    } else if ("cut" in step) fake.brokers[step.cut]!.cut();
    else if ("batchBytesMax" in step) fake.batchBytesMax = step.batchBytesMax;
    else delayMs = step.delayMs;
  }
  delayMs = 0;
  await fake.within(60_000, Promise.all(settled));
  const timely = clock.monotonicMs();
  await fake.within(60_000, producer.close());
  await clock.advance(10_000);
  await cluster.close();
  return { fake, sent, timely };
}

test("whatever happens, what is acknowledged is stored once, in its place, and nothing overtakes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(steps, { minLength: 20, maxLength: 60, size: "max" }),
      fc.record({ givesHints: fc.boolean(), inFlightMax: fc.integer({ min: 1, max: 5 }) }),
      async (script, options) => {
        const { fake, sent } = await run(script, options);
        for (const partition of [0, 1]) {
          const stored = fake.values("orders", partition);
          // Values rise in the order of the calls: none is there twice, and none before an earlier one.
          expect(stored.slice(1).every((value, index) => value! > stored[index]!)).toBe(true);
          for (const { value, offset } of sent.filter((each) => each.partition === partition))
            if (offset !== null && offset >= 0) expect(stored[offset]).toBe(value);
            else if (offset !== null) expect(stored).toContain(value);
          // Behind one whose fate nobody knows another may be given up; of itself none is out of order.
          const codes = sent.filter((each) => each.partition === partition).map(({ code }) => code);
          if (codes.includes("OUT_OF_ORDER_SEQUENCE_NUMBER"))
            expect(codes.some((code) => code !== null && code !== "OUT_OF_ORDER_SEQUENCE_NUMBER")).toBe(true);
        }
        expect(fake.world.clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});
