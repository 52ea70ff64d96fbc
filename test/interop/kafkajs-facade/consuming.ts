import type { Consumer, EachBatchPayload, TopicOffsets } from "kafkajs";
import { Collected, committed, createTopics, errorOf, numbered, shown, text } from "./story.ts";
import type { Context, Program } from "./story.ts";

/** A topic with messages `v0`, `v1` ... in its partitions in turns. */
async function filled(context: Context, name: string, { count = 6, partitions = 1 } = {}): Promise<string> {
  const kafka = context.kafka();
  const topic = context.name(name);
  await createTopics(kafka, { [topic]: partitions });
  await produce(context, topic, numbered(count, partitions));
  return topic;
}

async function produce(
  context: Context,
  topic: string,
  messages: { value: string; partition?: number }[],
): Promise<void> {
  const producer = context.kafka().producer();
  await producer.connect();
  await producer.send({ topic, messages });
  await producer.disconnect();
}

/** Against its types, KafkaJS gives partitions as text here. */
function plain(topics: readonly TopicOffsets[]): TopicOffsets[] {
  return topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, offset }) => ({ partition: Number(`${partition}`), offset })),
  }));
}

function consumerOf(context: Context, group: string, options: object = {}): Consumer {
  return context.kafka().consumer({ groupId: context.name(group), maxWaitTimeInMs: 200, ...options });
}

const eachMessage: Program = async (_library, context) => {
  const topic = await filled(context, "each-message", { count: 9, partitions: 3 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const seen = new Collected<object>();
  await consumer.run({
    eachMessage: async ({ topic: of, partition, message, heartbeat }) => {
      await heartbeat();
      seen.push({ of, partition, ...shown(message), attributes: message.attributes });
    },
  });
  await seen.count(9);
  await consumer.disconnect();
  const offsets = await committed(context.kafka(), context.name("group"), topic);
  const byPartition = Map.groupBy(seen.items, (item) => (item as { readonly partition: number }).partition);
  return { seen: [...byPartition].sort(([a], [b]) => a - b), offsets };
};

const newMessagesOnly: Program = async (_library, context) => {
  const topic = await filled(context, "latest", { count: 3 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic });
  const seen = new Collected<string | null>();
  const fetched = new Collected<null>();
  consumer.on(consumer.events.FETCH, () => fetched.push(null));
  await consumer.run({ eachMessage: async ({ message }) => seen.push(text(message.value)) });
  // Where the end is has been found out before the first answer.
  await fetched.count(1);
  await produce(context, topic, [{ value: "new", partition: 0 }]);
  await seen.count(1);
  await consumer.disconnect();
  return { seen: seen.items, offsets: await committed(context.kafka(), context.name("group"), topic) };
};

const eachBatch: Program = async (_library, context) => {
  const topic = await filled(context, "each-batch", { count: 5 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<object>();
  await consumer.run({
    eachBatch: async ({ batch, heartbeat, isRunning, isStale, uncommittedOffsets, commitOffsetsIfNecessary }) => {
      await heartbeat();
      await commitOffsetsIfNecessary();
      seen.push({
        topic: batch.topic,
        partition: batch.partition,
        highWatermark: batch.highWatermark,
        messages: batch.messages.map(shown),
        isEmpty: batch.isEmpty(),
        first: batch.firstOffset(),
        last: batch.lastOffset(),
        lag: batch.offsetLag(),
        lagLow: batch.offsetLagLow(),
        uncommitted: uncommittedOffsets(),
        isRunning: isRunning(),
        isStale: isStale(),
      });
    },
  });
  await seen.count(1);
  await consumer.disconnect();
  return { seen: seen.items, offsets: await committed(context.kafka(), context.name("group"), topic) };
};

const resolvingByHand: Program = async (_library, context) => {
  const topic = await filled(context, "resolving", { count: 5 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<object>();
  await consumer.run({
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, uncommittedOffsets, commitOffsetsIfNecessary }) => {
      const first = batch.messages[0];
      if (first !== undefined) resolveOffset(first.offset);
      const before = plain(uncommittedOffsets().topics);
      // Without an argument nothing is due, as no interval and no threshold is set.
      await commitOffsetsIfNecessary();
      const still = plain(uncommittedOffsets().topics);
      await commitOffsetsIfNecessary({ topics: still });
      const after = plain(uncommittedOffsets().topics);
      seen.push({ values: batch.messages.map(({ value }) => text(value)), before, still, after });
    },
  });
  // The rest comes again until all is resolved.
  await seen.count(5);
  await consumer.disconnect();
  return { seen: seen.items.slice(0, 5), offsets: await committed(context.kafka(), context.name("group"), topic) };
};

const stoppingInTheMiddle: Program = async (_library, context) => {
  const topic = await filled(context, "stopping", { count: 6 });
  const seen: (string | null)[][] = [];
  for (const limit of [2, 6]) {
    const consumer = consumerOf(context, "group");
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    const values = new Collected<string | null>();
    const { promise: enough, resolve } = Promise.withResolvers<void>();
    await consumer.run({
      eachBatchAutoResolve: false,
      eachBatch: async ({ batch, resolveOffset, isRunning }: EachBatchPayload) => {
        for (const message of batch.messages) {
          if (!isRunning() || values.items.length === limit) break;
          values.push(text(message.value));
          resolveOffset(message.offset);
        }
        if (values.items.length === limit || batch.messages.at(-1)?.offset === "5") resolve();
      },
    });
    await enough;
    await consumer.disconnect();
    seen.push([...values.items]);
  }
  return { seen, offsets: await committed(context.kafka(), context.name("group"), topic) };
};

const committingByHand: Program = async (_library, context) => {
  const topic = await filled(context, "by-hand", { count: 4 });
  const kafka = context.kafka();
  const run = async (count: number, commitAt: string | null): Promise<readonly (string | null)[]> => {
    const consumer = consumerOf(context, "group");
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    const seen = new Collected<string | null>();
    await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => seen.push(text(message.value)) });
    await seen.count(count);
    if (commitAt !== null)
      await consumer.commitOffsets([{ topic, partition: 0, offset: commitAt, metadata: "by hand" }]);
    await consumer.disconnect();
    return seen.items;
  };
  const first = await run(4, null);
  const nothing = await committed(kafka, context.name("group"), topic);
  const second = await run(4, "3");
  const three = await committed(kafka, context.name("group"), topic);
  const third = await run(1, "4");
  return { first, nothing, second, three, third, end: await committed(kafka, context.name("group"), topic) };
};

const committingByThreshold: Program = async (_library, context) => {
  const topic = await filled(context, "threshold", { count: 10 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const commits = new Collected<object>();
  const seen = new Collected<null>();
  consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload: { groupId, topics } }) =>
    commits.push({ groupId, topics: plain(topics) }),
  );
  await consumer.run({ autoCommitThreshold: 4, eachMessage: async () => seen.push(null) });
  await commits.count(3);
  await consumer.disconnect();
  return { commits: commits.items, messages: seen.items.length };
};

const pausingAndResuming: Program = async (_library, context) => {
  const topic = await filled(context, "pausing", { count: 4, partitions: 2 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<string>();
  const paused: unknown[] = [consumer.paused()];
  const refused = await errorOf(() => consumer.pause([{ topic }]));
  let resume: (() => void) | null = null;
  const { promise: hasPaused, resolve } = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ partition, message, pause }) => {
      seen.push(`${partition} ${text(message.value)}`);
      if (partition === 0 && resume === null) {
        resume = pause();
        resolve();
      }
    },
  });
  await hasPaused;
  await seen.count(3);
  paused.push(consumer.paused());
  const whilePaused = [...seen.items].sort();
  (resume as (() => void) | null)?.();
  await seen.count(4);
  consumer.pause([{ topic }]);
  paused.push(consumer.paused());
  consumer.resume([{ topic, partitions: [1] }]);
  paused.push(consumer.paused());
  await produce(context, topic, [{ value: "in 1", partition: 1 }]);
  await seen.count(5);
  consumer.resume([{ topic }]);
  paused.push(consumer.paused());
  await produce(context, topic, [{ value: "in 0", partition: 0 }]);
  await seen.count(6);
  await consumer.disconnect();
  return { refused, whilePaused, paused, seen: [...seen.items].sort() };
};

const seeking: Program = async (_library, context) => {
  const topic = await filled(context, "seeking", { count: 6 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const refused = {
    early: await errorOf(() => consumer.seek({ topic, partition: 0, offset: "0" })),
    noTopic: await errorOf(() => consumer.seek({ topic: "", partition: 0, offset: "0" })),
    noOffset: await errorOf(() => consumer.seek({ topic, partition: 0, offset: "-5" })),
  };
  const seen = new Collected<string | null>();
  const running = consumer.run({ eachMessage: async ({ message }) => seen.push(text(message.value)) });
  // As the documentation has it: after run, before the group is there.
  consumer.seek({ topic, partition: 0, offset: "4" });
  await running;
  await seen.count(2);
  consumer.seek({ topic, partition: 0, offset: "2" });
  await seen.count(6);
  await consumer.disconnect();
  return {
    refused,
    seen: seen.items,
    offsets: await committed(context.kafka(), context.name("group"), topic),
  };
};

const seekingFromAHandler: Program = async (_library, context) => {
  const topic = await filled(context, "seek-in-handler", { count: 5 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<string | null>();
  let hasSought = false;
  await consumer.run({
    eachBatch: async ({ batch, isStale, resolveOffset }) => {
      for (const message of batch.messages) {
        if (isStale()) {
          seen.push("stale");
          break;
        }
        seen.push(text(message.value));
        resolveOffset(message.offset);
        if (message.offset === "1" && !hasSought) {
          hasSought = true;
          consumer.seek({ topic, partition: 0, offset: "3" });
        }
      }
    },
  });
  await seen.count(5);
  await consumer.disconnect();
  return { seen: seen.items, offsets: await committed(context.kafka(), context.name("group"), topic) };
};

const topicsByPattern: Program = async (_library, context) => {
  const kafka = context.kafka();
  const names = ["pattern-one", "pattern-two", "other"].map((name) => context.name(name));
  await createTopics(kafka, Object.fromEntries(names.map((name) => [name, 1])));
  for (const name of names) await produce(context, name, [{ value: `of ${name}`, partition: 0 }]);
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  // Not those of other runs.
  const suffix = context.name("");
  await consumer.subscribe({ topic: new RegExp(`^pattern-.*${suffix}$`, "i"), fromBeginning: true });
  const seen = new Collected<string>();
  await consumer.run({ eachMessage: async ({ topic, message }) => seen.push(`${topic}: ${text(message.value)}`) });
  await seen.count(2);
  await consumer.disconnect();
  return [...seen.items].sort();
};

const someFromTheBeginning: Program = async (_library, context) => {
  const [all, news] = [await filled(context, "all", { count: 2 }), await filled(context, "news", { count: 2 })];
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic: all, fromBeginning: true });
  await consumer.subscribe({ topic: news });
  const seen = new Collected<string>();
  const fetched = new Collected<null>();
  consumer.on(consumer.events.FETCH, () => fetched.push(null));
  await consumer.run({ eachMessage: async ({ topic, message }) => seen.push(`${topic}: ${text(message.value)}`) });
  await seen.count(2);
  await fetched.count(2);
  await produce(context, news, [{ value: "fresh", partition: 0 }]);
  await seen.count(3);
  await consumer.disconnect();
  return [...seen.items].sort();
};

const partitionsAtOnce: Program = async (_library, context) => {
  const topic = await filled(context, "at-once", { count: 9, partitions: 3 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<null>();
  const busy = new Set<number>();
  let mostAtOnce = 0;
  let isAlone = true;
  const gate = Promise.withResolvers<void>();
  await consumer.run({
    partitionsConsumedConcurrently: 3,
    eachMessage: async ({ partition }) => {
      isAlone &&= !busy.has(partition);
      busy.add(partition);
      mostAtOnce = Math.max(mostAtOnce, busy.size);
      if (busy.size === 3) gate.resolve();
      await gate.promise;
      busy.delete(partition);
      seen.push(null);
    },
  });
  await seen.count(9);
  await consumer.disconnect();
  return { mostAtOnce, isAlone, offsets: await committed(context.kafka(), context.name("group"), topic) };
};

const stopAndRunAgain: Program = async (_library, context) => {
  const topic = await filled(context, "again", { count: 2 });
  const consumer = consumerOf(context, "group");
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<string | null>();
  const eachMessageOf = async ({ message }: { message: { value: Buffer | null } }) => seen.push(text(message.value));
  await consumer.run({ eachMessage: eachMessageOf });
  await seen.count(2);
  const refused = await errorOf(consumer.subscribe({ topic }));
  await consumer.stop();
  await produce(context, topic, [{ value: "later", partition: 0 }]);
  await consumer.run({ eachMessage: eachMessageOf });
  await seen.count(3);
  await consumer.disconnect();
  return { seen: seen.items, refused };
};

const whatIsRefused: Program = async (_library, context) => {
  const kafka = context.kafka({ retry: { retries: 1, initialRetryTime: 20 } });
  const consumer = kafka.consumer({ groupId: context.name("group") });
  const topic = context.name("refused");
  await createTopics(kafka, { [topic]: 1 });
  await consumer.connect();
  const strict = kafka.consumer({ groupId: context.name("strict"), allowAutoTopicCreation: false });
  await strict.connect();
  const refusals = {
    noGroup: await errorOf(() => kafka.consumer({ groupId: "" })),
    heartbeat: await errorOf(() => kafka.consumer({ groupId: "g", sessionTimeout: 10, heartbeatInterval: 10 })),
    noTopics: await errorOf(consumer.subscribe({} as never)),
    wrongTopic: await errorOf(consumer.subscribe({ topic: 7 as never })),
    wrongTopics: await errorOf(consumer.subscribe({ topics: "x" as never })),
    absent: await errorOf(strict.subscribe({ topic: context.name("absent") })),
    commit: await errorOf(consumer.commitOffsets([{ topic, partition: 0, offset: "1" }])),
    badCommit: await errorOf(consumer.commitOffsets([{ topic, partition: 0, offset: "-1" }])),
    badPause: await errorOf(() => consumer.pause([{ topic: "" }])),
    badPartitions: await errorOf(() => consumer.pause([{ topic, partitions: ["x"] as never }])),
    noSuchEvent: await errorOf(() => consumer.on("consumer.nothing" as never, () => undefined)),
  };
  await consumer.disconnect();
  await strict.disconnect();
  return refusals;
};

export const consuming: Readonly<Record<string, Program>> = {
  "each message": eachMessage,
  "new messages only": newMessagesOnly,
  "each batch": eachBatch,
  "resolving by hand": resolvingByHand,
  "stopping in the middle of a batch": stoppingInTheMiddle,
  "committing by hand": committingByHand,
  "committing by a threshold": committingByThreshold,
  "pausing and resuming": pausingAndResuming,
  seeking,
  "seeking from a handler": seekingFromAHandler,
  "topics by a pattern": topicsByPattern,
  "some topics from the beginning": someFromTheBeginning,
  "partitions at once": partitionsAtOnce,
  "stop and run again": stopAndRunAgain,
  "what a consumer refuses": whatIsRefused,
};
