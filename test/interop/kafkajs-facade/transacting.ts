import { Collected, committed, createTopics, errorOf, text } from "./story.ts";
import type { Context, Program } from "./story.ts";

/** What is read of a topic up to the message `end`, which is sent last. */
async function read(context: Context, topic: string, options: object = {}): Promise<readonly (string | null)[]> {
  const kafka = context.kafka();
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ value: "end" }] });
  await producer.disconnect();
  const consumer = kafka.consumer({
    groupId: context.name(`reader-${Math.random()}`),
    maxWaitTimeInMs: 200,
    ...options,
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<string | null>();
  const { promise: end, resolve } = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ message }) => {
      seen.push(text(message.value));
      if (text(message.value) === "end") resolve();
    },
  });
  await end;
  await consumer.disconnect();
  return seen.items;
}

const commitAndAbort: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("commit-and-abort");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer({ transactionalId: context.name("txn"), maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  const states: boolean[] = [];
  const kept = await producer.transaction();
  states.push(kept.isActive());
  await kept.send({ topic, messages: [{ value: "kept 1" }, { value: "kept 2" }] });
  await kept.sendBatch({ topicMessages: [{ topic, messages: [{ value: "kept 3" }] }] });
  const second = await errorOf(producer.transaction());
  await kept.commit();
  states.push(kept.isActive());
  const dropped = await producer.transaction();
  await dropped.send({ topic, messages: [{ value: "dropped" }] });
  await dropped.abort();
  states.push(dropped.isActive());
  const ended = {
    send: await errorOf(dropped.send({ topic, messages: [{ value: "x" }] })),
    commit: await errorOf(dropped.commit()),
    abort: await errorOf(dropped.abort()),
    commitTwice: await errorOf(kept.commit()),
    acks: await errorOf((await producer.transaction()).send({ topic, acks: 0, messages: [{ value: "x" }] })),
  };
  await producer.disconnect();
  const seen = await read(context, topic);
  return { states, second, ended, seen, all: await read(context, topic, { readUncommitted: true }) };
};

const anEmptyTransaction: Program = async (_library, context) => {
  const producer = context.kafka().producer({ transactionalId: context.name("empty"), maxInFlightRequests: 1 });
  await producer.connect();
  const states: boolean[] = [];
  for (const end of ["commit", "abort"] as const) {
    const transaction = await producer.transaction();
    states.push(transaction.isActive());
    await transaction[end]();
    states.push(transaction.isActive());
  }
  await producer.disconnect();
  return states;
};

const offsetsInATransaction: Program = async (_library, context) => {
  const kafka = context.kafka();
  const [from, to, groupId] = [context.name("from"), context.name("to"), context.name("group")];
  await createTopics(kafka, { [from]: 1, [to]: 1 });
  const producer = kafka.producer({ transactionalId: context.name("txn"), maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  await producer.send({ topic: from, messages: [{ value: "a" }, { value: "b" }, { value: "c" }] });
  const offsets: unknown[] = [];
  for (const [offset, end] of [
    ["2", "commit"],
    ["3", "abort"],
  ] as const) {
    const transaction = await producer.transaction();
    await transaction.send({ topic: to, messages: [{ value: `${end} ${offset}` }] });
    const topics = [{ topic: from, partitions: [{ partition: 0, offset }] }];
    await transaction.sendOffsets({ consumerGroupId: groupId, topics });
    await transaction[end]();
    offsets.push(await committed(kafka, groupId, from));
  }
  await producer.disconnect();
  return { offsets, seen: await read(context, to) };
};

const consumeTransformProduce: Program = async (_library, context) => {
  const kafka = context.kafka();
  const [from, to, groupId] = [context.name("in"), context.name("out"), context.name("transformer")];
  await createTopics(kafka, { [from]: 2, [to]: 1 });
  const producer = kafka.producer({ transactionalId: context.name("txn"), maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  await producer.send({
    topic: from,
    messages: Array.from({ length: 10 }, (_, at) => ({ value: `${at}`, partition: at % 2 })),
  });
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topic: from, fromBeginning: true });
  const done = new Collected<null>();
  let failuresLeft = 1;
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: true,
    eachBatch: async ({ batch, heartbeat }) => {
      const transaction = await producer.transaction();
      try {
        for (const message of batch.messages) {
          await transaction.send({ topic: to, messages: [{ value: `${text(message.value)}!` }] });
          await heartbeat();
        }
        if (failuresLeft-- > 0) throw new Error("half way");
        await transaction.sendOffsets({
          consumerGroupId: groupId,
          topics: [
            {
              topic: batch.topic,
              partitions: [{ partition: batch.partition, offset: `${Number(batch.lastOffset()) + 1}` }],
            },
          ],
        });
        await transaction.commit();
      } catch (error) {
        await transaction.abort();
        throw error;
      }
      for (let left = batch.messages.length; left > 0; left--) done.push(null);
    },
  });
  await done.count(10);
  await consumer.disconnect();
  await producer.disconnect();
  const seen = await read(context, to);
  return { seen: [...seen].sort(), offsets: await committed(kafka, groupId, from) };
};

const fenced: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("fenced");
  await createTopics(kafka, { [topic]: 1 });
  const transactionalId = context.name("same");
  const [first, second] = [1, 2].map(() =>
    kafka.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true }),
  );
  if (first === undefined || second === undefined) throw new Error("two producers were made");
  await first.connect();
  await second.connect();
  const old = await first.transaction();
  await old.send({ topic, messages: [{ value: "of the first" }] });
  const young = await second.transaction();
  await young.send({ topic, messages: [{ value: "of the second" }] });
  await young.commit();
  const refused = (await errorOf(old.commit())) as { readonly name: string; readonly retriable: boolean };
  await first.disconnect();
  await second.disconnect();
  return { name: refused.name, retriable: refused.retriable, seen: await read(context, topic) };
};

export const transacting: Readonly<Record<string, Program>> = {
  "commit and abort": commitAndAbort,
  "an empty transaction": anEmptyTransaction,
  "offsets in a transaction": offsetsInATransaction,
  "consume, transform, produce": consumeTransformProduce,
  "a producer that is fenced": fenced,
};
