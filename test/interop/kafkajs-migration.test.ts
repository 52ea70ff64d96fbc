import * as facade from "@millrace/client/kafkajs";
import kafkajs from "kafkajs";
import { afterAll, expect, test, type TestContext } from "vitest";
import { Collected, committed, createTopics, errorOf, joined, numbered, text } from "./kafkajs-facade/story.ts";
import type { Library } from "./kafkajs-facade/story.ts";
import { skipWhenMissing } from "./journey.ts";
import { Target, whyTargetMissing } from "./target.ts";

/** What docs/client/migrate-from-kafkajs.md says: where the facade differs on purpose, and that one may move bit by bit. */
type Name = "kafka" | "millrace";

const names = ["kafka", "millrace"] as const;
const targets = new Map<Name, Promise<Target>>();
// oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- see kafkajs-facade/types.ts
const ours: Library = facade;

process.env["KAFKAJS_NO_PARTITIONER_WARNING"] = "1";

async function brokerOf(name: Name, context: TestContext): Promise<string> {
  skipWhenMissing(context, whyTargetMissing(name));
  const target =
    targets.get(name) ?? Target.start({ name, isBrief: true, settings: { "group.initial.rebalance.delay.ms": "0" } });
  targets.set(name, target);
  return (await target).address;
}

function clientOf(library: Library, broker: string, clientId = "moving") {
  return new library.Kafka({ brokers: [broker], clientId, logLevel: library.logLevel.NOTHING });
}

afterAll(async () => {
  for (const target of targets.values()) await (await target)[Symbol.asyncDispose]();
});

test.for(names)("%s: members of both libraries share a group, and take over from each other", async (name, context) => {
  const broker = await brokerOf(name, context);
  const topic = "rolling";
  const kafka = clientOf(ours, broker);
  await createTopics(kafka, { [topic]: 4 });
  const seen = new Collected<string | null>();
  const member = async (library: Library) => {
    const consumer = clientOf(library, broker).consumer({
      groupId: topic,
      maxWaitTimeInMs: 100,
      heartbeatInterval: 200,
    });
    let assigned: readonly number[] = [];
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => (assigned = payload.memberAssignment[topic] ?? []));
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => seen.push(text(message.value)) });
    return { consumer, assigned: () => assigned };
  };
  const producer = kafka.producer();
  await producer.connect();
  const send = async (from: number): Promise<void> => {
    const messages = numbered(8, 4).map((each, at) => ({ ...each, value: `${from + at}` }));
    await producer.send({ topic, messages });
  };
  const theirs = await member(kafkajs);
  await send(0);
  await seen.count(8);
  const rebalanced = joined(theirs.consumer);
  const mine = await member(ours);
  await rebalanced;
  expect([...theirs.assigned(), ...mine.assigned()].sort()).toEqual([0, 1, 2, 3]);
  expect([theirs.assigned().length, mine.assigned().length]).toEqual([2, 2]);
  await send(8);
  await seen.count(16);
  const left = joined(mine.consumer);
  await theirs.consumer.disconnect();
  await left;
  await send(16);
  await seen.count(24);
  // The other way round: one of KafkaJS joins, as after a step back.
  const again = joined(mine.consumer);
  const back = await member(kafkajs);
  await again;
  expect([back.assigned().length, mine.assigned().length]).toEqual([2, 2]);
  await mine.consumer.disconnect();
  await back.consumer.disconnect();
  await producer.disconnect();
  // Each once: what one has committed the other goes on from.
  expect([...seen.items].sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 24 }, (_, at) => `${at}`));
});

test.for(names)("%s: sends that are not awaited keep their order", async (name, context) => {
  const broker = await brokerOf(name, context);
  const kafka = clientOf(ours, broker);
  await createTopics(kafka, { order: 1 });
  const producer = kafka.producer();
  await producer.connect();
  const sends = Array.from({ length: 200 }, (_, at) =>
    producer.send({ topic: "order", messages: [{ value: `${at}` }] }),
  );
  const offsets = (await Promise.all(sends)).map(([answer]) => Number(answer?.baseOffset));
  expect(offsets).toEqual(Array.from({ length: 200 }, (_, at) => at));
  await producer.disconnect();
});

test.for(names)("%s: every codec is built in", async (name, context) => {
  const broker = await brokerOf(name, context);
  const kafka = clientOf(ours, broker);
  await createTopics(kafka, { codecs: 1 });
  const producer = kafka.producer();
  await producer.connect();
  const { None, GZIP, Snappy, LZ4, ZSTD } = ours.CompressionTypes;
  for (const compression of [None, GZIP, Snappy, LZ4, ZSTD])
    await producer.send({ topic: "codecs", compression, messages: [{ value: `${compression}`.repeat(1_000) }] });
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: "codecs", maxWaitTimeInMs: 100 });
  await consumer.subscribe({ topic: "codecs", fromBeginning: true });
  const seen = new Collected<string>();
  await consumer.run({ eachMessage: async ({ message }) => seen.push(`${text(message.value)?.slice(0, 2)}`) });
  await seen.count(5);
  await consumer.disconnect();
  expect(seen.items).toEqual(["00", "11", "22", "33", "44"]);
});

test.for(names)(
  "%s: a partition that is not there is refused, and a header may have no value",
  async (name, context) => {
    const broker = await brokerOf(name, context);
    const kafka = clientOf(ours, broker);
    await createTopics(kafka, { odd: 1 });
    const producer = kafka.producer({ retry: { retries: 0 } });
    await producer.connect();
    const refused = await errorOf(producer.send({ topic: "odd", messages: [{ value: "x", partition: 7 }] }));
    expect(refused).not.toHaveProperty("value");
    await producer.send({ topic: "odd", messages: [{ value: "y", headers: { none: null as never, some: "1" } }] });
    await producer.disconnect();
    const consumer = kafka.consumer({ groupId: "odd", maxWaitTimeInMs: 100 });
    await consumer.subscribe({ topic: "odd", fromBeginning: true });
    const seen = new Collected<object>();
    await consumer.run({ eachMessage: async ({ message }) => seen.push({ ...message.headers }) });
    await seen.count(1);
    await consumer.disconnect();
    expect(seen.items).toEqual([{ none: null, some: Buffer.from("1") }]);
  },
);

test.for(names)("%s: a group does not lag behind the marker of a transaction", async (name, context) => {
  const broker = await brokerOf(name, context);
  const kafka = clientOf(ours, broker);
  await createTopics(kafka, { marked: 1 });
  const producer = kafka.producer({ transactionalId: "marking" });
  await producer.connect();
  const transaction = await producer.transaction();
  await transaction.send({ topic: "marked", messages: [{ value: "a" }, { value: "b" }] });
  await transaction.commit();
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: "marked", maxWaitTimeInMs: 100 });
  await consumer.subscribe({ topic: "marked", fromBeginning: true });
  const commits = new Collected<string | undefined>();
  consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => commits.push(payload.topics[0]?.partitions[0]?.offset));
  await consumer.run({ eachMessage: async () => undefined });
  await commits.count(1);
  await consumer.disconnect();
  expect(await committed(kafka, "marked", "marked")).toEqual(["0 3 null"]);
});

test.for(names)(
  "%s: what is only validated is not waited for, and resetting commits offsets that are there",
  async (name, context) => {
    const broker = await brokerOf(name, context);
    const kafka = clientOf(ours, broker);
    const admin = kafka.admin();
    expect(await admin.createTopics({ validateOnly: true, topics: [{ topic: "unmade" }] })).toBe(true);
    expect(await admin.listTopics()).not.toContain("unmade");
    await createTopics(kafka, { reset: 1 });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: "reset", messages: numbered(5) });
    await producer.disconnect();
    await admin.deleteTopicRecords({ topic: "reset", partitions: [{ partition: 0, offset: "2" }] });
    await admin.resetOffsets({ groupId: "resetting", topic: "reset", earliest: true });
    expect(await committed(kafka, "resetting", "reset")).toEqual(["0 2 null"]);
    await admin.resetOffsets({ groupId: "resetting", topic: "reset", earliest: false });
    expect(await committed(kafka, "resetting", "reset")).toEqual(["0 5 null"]);
    await admin.setOffsets({ groupId: "resetting", topic: "reset", partitions: [{ partition: 0, offset: "-2" }] });
    expect(await committed(kafka, "resetting", "reset")).toEqual(["0 2 null"]);
    const [all] = await admin.fetchOffsets({ groupId: "nobody", topics: ["reset"], resolveOffsets: true });
    expect(all?.partitions).toEqual([{ partition: 0, offset: "5", metadata: null }]);
    await admin.disconnect();
  },
);

test.for(names)(
  "%s: a transaction commits offsets of its own partitions, and of none that it has lost",
  async (name, context) => {
    const broker = await brokerOf(name, context);
    const kafka = clientOf(ours, broker);
    await createTopics(kafka, { owned: 1, output: 1 });
    const producer = kafka.producer({ transactionalId: "owner" });
    await producer.connect();
    await producer.send({ topic: "owned", messages: numbered(1) });
    const options = { groupId: "owning", maxWaitTimeInMs: 100, heartbeatInterval: 200, rebalanceTimeout: 2_000 };
    const gate = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const outcomes = Promise.withResolvers<readonly object[]>();
    const first = kafka.consumer(options);
    await first.subscribe({ topic: "owned", fromBeginning: true });
    await first.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const topics = [{ topic: batch.topic, partitions: [{ partition: 0, offset: "1" }] }];
        const fine = await producer.transaction();
        const sent = await errorOf(fine.sendOffsets({ consumerGroupId: "owning", topics }).then(() => "sent"));
        await fine.abort();
        const late = await producer.transaction();
        await late.send({ topic: "output", messages: [{ value: "of the first" }] });
        taken.resolve();
        await gate.promise;
        const refused = await errorOf(late.sendOffsets({ consumerGroupId: "owning", topics }));
        const commit = await errorOf(late.commit());
        await late.abort();
        outcomes.resolve([sent, refused, commit]);
      },
    });
    await taken.promise;
    // Another member comes, and the group does not wait for the handler that holds on. Ids of members begin with the client's,
    // and the only partition goes to the first of them.
    const seen = new Collected<string | null>();
    const second = clientOf(kafkajs, broker, "another").consumer(options);
    await second.connect();
    await second.subscribe({ topic: "owned", fromBeginning: true });
    await second.run({ eachMessage: async ({ message }) => seen.push(text(message.value)) });
    await seen.count(1);
    gate.resolve();
    const [sent, refused, commit] = await outcomes.promise;
    expect(sent).toEqual({ value: "sent" });
    expect(refused).toMatchObject({ name: "KafkaJSProtocolError", type: "REBALANCE_IN_PROGRESS" });
    expect(commit).not.toHaveProperty("value");
    await second.disconnect();
    await first.disconnect();
    await producer.disconnect();
  },
);
