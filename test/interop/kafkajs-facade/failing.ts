import { Collected, committed, createTopics, numbered, text } from "./story.ts";
import type { Context, Program } from "./story.ts";

async function filled(context: Context, name: string, count: number): Promise<string> {
  const kafka = context.kafka();
  const topic = context.name(name);
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: numbered(count) });
  await producer.disconnect();
  return topic;
}

const quick = { retries: 3, initialRetryTime: 30, maxRetryTime: 100 };

const aHandlerThatFailsOnce: Program = async (_library, context) => {
  const topic = await filled(context, "fails-once", 4);
  const consumer = context.kafka().consumer({ groupId: context.name("g"), maxWaitTimeInMs: 100, retry: quick });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<string>();
  const crashes: unknown[] = [];
  consumer.on(consumer.events.CRASH, ({ payload }) => crashes.push(payload.error.name));
  let hasFailed = false;
  await consumer.run({
    eachMessage: async ({ message }) => {
      const value = text(message.value);
      if (value === "v2" && !hasFailed) {
        hasFailed = true;
        seen.push("failed at v2");
        throw new Error("something passed by");
      }
      seen.push(`${value}`);
    },
  });
  await seen.count(5);
  await consumer.disconnect();
  return { seen: seen.items, crashes, offsets: await committed(context.kafka(), context.name("g"), topic) };
};

const aBatchHandlerThatFails: Program = async (_library, context) => {
  const topic = await filled(context, "batch-fails", 4);
  const consumer = context.kafka().consumer({ groupId: context.name("g"), maxWaitTimeInMs: 100, retry: quick });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<readonly (string | null)[]>();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  await consumer.run({
    eachBatch: async ({ batch, resolveOffset }) => {
      seen.push(batch.messages.map(({ value }) => text(value)));
      // The second is done, and what follows fails once.
      if (seen.items.length === 1) {
        resolveOffset("1");
        throw new Error("half way");
      }
      resolve();
    },
  });
  await done;
  await consumer.disconnect();
  return { seen: seen.items, offsets: await committed(context.kafka(), context.name("g"), topic) };
};

/** A consumer that crashes, and what it tells of that. */
async function crashing(
  context: Context,
  { name, error, restartOnFailure }: { name: string; error: () => Error; restartOnFailure?: () => Promise<boolean> },
): Promise<unknown> {
  const topic = await filled(context, name, 3);
  const consumer = context.kafka().consumer({
    groupId: context.name("g"),
    maxWaitTimeInMs: 100,
    retry: { ...quick, ...(restartOnFailure === undefined ? {} : { restartOnFailure }) },
  });
  const events: string[] = [];
  for (const event of ["CONNECT", "STOP", "DISCONNECT"] as const)
    consumer.on(consumer.events[event], () => void events.push(event));
  const crashed = Promise.withResolvers<object>();
  consumer.on(consumer.events.CRASH, ({ payload: { error: crash, groupId, restart } }) => {
    events.push("CRASH");
    const { name: className, retriable, retryCount } = crash as Error & Record<string, unknown>;
    const { message: because } = (crash.cause ?? crash) as Error;
    crashed.resolve({ className, retriable, retryCount, because, groupId, restart });
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let attempts = 0;
  const recovered = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ message }) => {
      if (text(message.value) !== "v1") return;
      attempts++;
      if (attempts <= 4) throw error();
      recovered.resolve();
    },
  });
  const crash = (await crashed.promise) as { readonly restart: boolean };
  const after = [...events];
  if (crash.restart) await recovered.promise;
  const seen = attempts;
  await consumer.disconnect();
  return { crash, after, seen, offsets: await committed(context.kafka(), context.name("g"), topic) };
}

const retriesThatAreUsedUp: Program = async (_library, context) =>
  crashing(context, { name: "used-up", error: () => new Error("it does not pass") });

const noRestart: Program = async (_library, context) => {
  let asked = 0;
  const restartOnFailure = async (): Promise<boolean> => {
    asked++;
    return false;
  };
  const crash = await crashing(context, { name: "no-restart", error: () => new Error("for good"), restartOnFailure });
  return { crash, asked };
};

const aBrokenProgram: Program = async (_library, context) =>
  crashing(context, { name: "broken", error: () => new TypeError("undefined is not a function") });

const anErrorThatIsNotRetriable: Program = async (library, context) =>
  crashing(context, { name: "final", error: () => new library.KafkaJSNonRetriableError("never again") });

export const failing: Readonly<Record<string, Program>> = {
  "a handler that fails once": aHandlerThatFailsOnce,
  "a batch handler that fails": aBatchHandlerThatFails,
  "retries that are used up": retriesThatAreUsedUp,
  "no restart": noRestart,
  "a broken program": aBrokenProgram,
  "an error that is not retriable": anErrorThatIsNotRetriable,
};
