import { Collected, createTopics, errorOf, numbered, shown } from "./story.ts";
import type { Context, Program } from "./story.ts";

/** What a topic holds, read by another consumer of the same library. */
async function contents(context: Context, topic: string, count: number): Promise<readonly object[]> {
  const consumer = context.kafka().consumer({ groupId: context.name("reader"), maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const messages = new Collected<object>();
  await consumer.run({
    eachMessage: async ({ partition, message }) => messages.push({ partition, ...shown(message) }),
  });
  await messages.count(count);
  await consumer.disconnect();
  return [...messages.items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** Brokers answer in an order of their own. */
const answered = (answers: readonly { readonly topicName: string; readonly partition: number }[]) =>
  answers
    .map((answer) => {
      const { topicName, partition, errorCode, baseOffset } = answer as typeof answer & Record<string, unknown>;
      return { topicName, partition, errorCode, baseOffset };
    })
    .sort((a, b) => a.topicName.localeCompare(b.topicName) || a.partition - b.partition);

const theFirstSteps: Program = async (_library, context) => {
  const kafka = context.kafka({ clientId: "my-app" });
  const topic = context.name("test-topic");
  const producer = kafka.producer();
  await producer.connect();
  const answers = await producer.send({ topic, messages: [{ value: "Hello KafkaJS user!" }] });
  await producer.disconnect();
  return { answers: answered(answers), contents: await contents(context, topic, 1) };
};

const allFieldsOfMessages: Program = async (library, context) => {
  const kafka = context.kafka();
  const topic = context.name("fields");
  await createTopics(kafka, { [topic]: 2 });
  const producer = kafka.producer({ createPartitioner: library.Partitioners.DefaultPartitioner });
  await producer.connect();
  const answers = await producer.send({
    topic,
    acks: -1,
    timeout: 30_000,
    messages: [
      { key: "a", value: "text", partition: 0 },
      { key: Buffer.from("b"), value: Buffer.from("bytes"), partition: 1, timestamp: "1700000000123" },
      { key: null, value: null, partition: 0 },
      {
        key: "c",
        value: "with headers",
        partition: 1,
        headers: { one: "1", many: ["x", Buffer.from("y")], raw: Buffer.from("z") },
      },
      { key: "d", value: "", partition: 0, headers: {} },
    ],
  });
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: context.name("timestamps"), maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const stamps = new Collected<string>();
  await consumer.run({
    eachMessage: async ({ message }) => {
      if (message.key?.toString() === "b") stamps.push(message.timestamp);
    },
  });
  await stamps.count(1);
  await consumer.disconnect();
  return { answers: answered(answers), stamps: stamps.items, contents: await contents(context, topic, 5) };
};

const severalTopicsAtOnce: Program = async (_library, context) => {
  const kafka = context.kafka();
  const [a, b] = [context.name("topic-a"), context.name("topic-b")];
  await createTopics(kafka, { [a]: 1, [b]: 3 });
  const producer = kafka.producer();
  await producer.connect();
  const answers = await producer.sendBatch({
    topicMessages: [
      { topic: a, messages: [{ key: "key", value: "hello topic-a" }] },
      { topic: b, messages: numbered(6, 3) },
      { topic: a, messages: [{ key: "key", value: "again" }] },
    ],
  });
  await producer.disconnect();
  return { answers: answered(answers), a: await contents(context, a, 2), b: await contents(context, b, 6) };
};

const keysAndPartitioners: Program = async (library, context) => {
  const kafka = context.kafka();
  const topics = {
    default: context.name("by-default"),
    legacy: context.name("by-legacy"),
    own: context.name("by-own"),
  };
  await createTopics(kafka, { [topics.default]: 7, [topics.legacy]: 7, [topics.own]: 3 });
  const messages = Array.from({ length: 40 }, (_, at) => ({ key: `key-${at * 7919}`, value: `${at}` }));
  const answers: unknown[] = [];
  for (const [createPartitioner, topic] of [
    [library.Partitioners.DefaultPartitioner, topics.default],
    [library.Partitioners.LegacyPartitioner, topics.legacy],
  ] as const) {
    const producer = kafka.producer({ createPartitioner });
    await producer.connect();
    answers.push(answered(await producer.send({ topic, messages })));
    await producer.disconnect();
  }
  const seen: unknown[] = [];
  const producer = kafka.producer({
    createPartitioner:
      () =>
      ({ topic, partitionMetadata, message }) => {
        const known = partitionMetadata.map(({ partitionId, partitionErrorCode }) => [partitionId, partitionErrorCode]);
        seen.push([topic, known.sort(), message.headers]);
        return message.key?.toString() === "last" ? 2 : 1;
      },
  });
  await producer.connect();
  // The partition that a message names is the partitioner's to heed.
  const own = await producer.send({
    topic: topics.own,
    messages: [
      { key: "last", value: "x", headers: { user: "42" } },
      { key: "other", value: "y", partition: 0 },
    ],
  });
  await producer.disconnect();
  const placed = await contents(context, topics.default, 40);
  const legacy = await contents(context, topics.legacy, 40);
  return { answers, seen, own: answered(own), placed, legacy };
};

const keylessMessagesGoRound: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("round");
  await createTopics(kafka, { [topic]: 4 });
  const producer = kafka.producer();
  await producer.connect();
  const answers = await producer.send({ topic, messages: Array.from({ length: 12 }, (_, at) => ({ value: `${at}` })) });
  await producer.disconnect();
  const admin = kafka.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const counts = answered(answers).map(({ partition, baseOffset }) => [partition, baseOffset]);
  return { counts, ends: offsets.map(({ high }) => high) };
};

const acknowledgements: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("acks");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer();
  await producer.connect();
  const answers: unknown[] = [];
  for (const acks of [-1, 1, 0])
    answers.push(await producer.send({ topic, acks, messages: [{ value: `acks ${acks}` }] }));
  await producer.disconnect();
  const counted = answers.map((each) => (each as unknown[]).length);
  return { counted, contents: await contents(context, topic, 3) };
};

const compressed: Program = async (library, context) => {
  const kafka = context.kafka();
  const topic = context.name("gzip");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer();
  await producer.connect();
  const value = "compress me ".repeat(1_000);
  for (const compression of [library.CompressionTypes.GZIP, library.CompressionTypes.None]) {
    await producer.send({ topic, compression, messages: [{ value }, { value: "short" }] });
  }
  await producer.disconnect();
  return await contents(context, topic, 4);
};

const idempotent: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("idempotent");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const answers = await producer.send({ topic, messages: numbered(3) });
  const refused = await errorOf(producer.send({ topic, acks: 1, messages: [{ value: "x" }] }));
  const isIdempotent = producer.isIdempotent();
  await producer.disconnect();
  return { answers: answered(answers), refused, isIdempotent, other: kafka.producer().isIdempotent() };
};

const whatIsRefused: Program = async (library, context) => {
  const kafka = context.kafka();
  const topic = context.name("refused");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer({ retry: { retries: 1, initialRetryTime: 10 } });
  const before = await errorOf(producer.send({ topic, messages: [{ value: "x" }] }));
  await producer.connect();
  const refusals = {
    before,
    noTopic: await errorOf(producer.send({ topic: "", messages: [] })),
    noMessages: await errorOf(producer.send({ topic, messages: undefined as never })),
    noValue: await errorOf(producer.send({ topic, messages: [{ key: "k" } as never] })),
    tooLarge: await errorOf(producer.send({ topic, messages: [{ value: Buffer.alloc(2_000_000) }] })),
    badTopic: await errorOf(producer.send({ topic: "bad name", messages: [{ value: "x" }] })),
    noTransactionalId: await errorOf(producer.transaction()),
    noSuchEvent: await errorOf(() => producer.on("producer.nothing" as never, () => undefined)),
    noRetries: await errorOf(() => kafka.producer({ idempotent: true, retry: { retries: 0 } })),
    none: await producer.send({ topic, messages: [] }),
  };
  await producer.disconnect();
  const after = await errorOf(producer.send({ topic, messages: [{ value: "x" }] }));
  const isClass = { error: library.KafkaJSNonRetriableError.prototype instanceof library.KafkaJSError };
  return { ...refusals, after, isClass };
};

const topicsThatAreNotThere: Program = async (_library, context) => {
  const kafka = context.kafka({ retry: { retries: 2, initialRetryTime: 50 } });
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  const refused = await errorOf(producer.send({ topic: context.name("absent"), messages: [{ value: "x" }] }));
  await producer.disconnect();
  const creating = kafka.producer();
  await creating.connect();
  const made = answered(await creating.send({ topic: context.name("made"), messages: [{ value: "x" }] }));
  await creating.disconnect();
  return { refused, made };
};

const brokersThatAreNotThere: Program = async (library) => {
  const { Kafka, logLevel } = library;
  const kafka = new Kafka({
    brokers: ["127.0.0.1:1"],
    logLevel: logLevel.NOTHING,
    retry: { retries: 1, initialRetryTime: 20 },
  });
  return {
    producer: await errorOf(kafka.producer().connect()),
    admin: await errorOf(kafka.admin().connect()),
    consumer: await errorOf(kafka.consumer({ groupId: "g" }).connect()),
  };
};

const brokersFromAFunction: Program = async (library, context) => {
  let calls = 0;
  const brokers = async (): Promise<string[]> => {
    calls++;
    return [context.broker];
  };
  const kafka = new library.Kafka({ brokers, logLevel: library.logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: context.name("discovered"), messages: [{ value: "x" }] });
  await producer.disconnect();
  return { wasAsked: calls > 0 };
};

export const producing: Readonly<Record<string, Program>> = {
  "the first steps": theFirstSteps,
  "all fields of messages": allFieldsOfMessages,
  "several topics at once": severalTopicsAtOnce,
  "keys and partitioners": keysAndPartitioners,
  "keyless messages go round": keylessMessagesGoRound,
  acknowledgements,
  compressed,
  idempotent,
  "what a producer refuses": whatIsRefused,
  "topics that are not there": topicsThatAreNotThere,
  "brokers that are not there": brokersThatAreNotThere,
  "brokers from a function": brokersFromAFunction,
};
