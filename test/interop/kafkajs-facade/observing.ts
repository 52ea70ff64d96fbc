import type { LogEntry } from "kafkajs";
import { Collected, createTopics, errorOf, numbered } from "./story.ts";
import type { Program } from "./story.ts";

/** The kinds of a payload's fields, by name. */
function shape(payload: unknown): unknown {
  if (typeof payload !== "object" || payload === null) return payload === null ? null : typeof payload;
  return Object.fromEntries(
    Object.entries(payload)
      // Against its types, KafkaJS gives the id of a node as text.
      .map(([name, value]) => [name, Array.isArray(value) ? "array" : name === "nodeId" ? "an id" : typeof value])
      .sort(),
  );
}

const eventsOfProducers: Program = async (library, context) => {
  const kafka = context.kafka();
  const topic = context.name("watched");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer();
  const seen: unknown[] = [];
  const requests = new Set<string>();
  let request: unknown = null;
  producer.on(producer.events.CONNECT, ({ type, payload, timestamp }) =>
    seen.push([type, shape(payload ?? null), typeof timestamp]),
  );
  producer.on("producer.disconnect", ({ type, payload }) => seen.push([type, shape(payload ?? null)]));
  producer.on(producer.events.REQUEST, ({ type, payload }) => {
    requests.add(payload.apiName);
    if (payload.apiName === "Produce")
      request = [type, shape(payload), payload.broker === context.broker, payload.apiKey];
  });
  const removed = producer.on(producer.events.CONNECT, () => seen.push("not removed"));
  removed();
  // A listener that fails keeps nobody from anything.
  // oxlint-disable-next-line typescript/no-misused-promises -- it is what programs do
  producer.on(producer.events.CONNECT, async () => Promise.reject(new Error("of the program")));
  await producer.connect();
  await producer.send({ topic, messages: [{ value: "x" }] });
  await producer.disconnect();
  return {
    seen,
    request,
    hasAsked: ["Produce", "Metadata"].map((name) => requests.has(name)),
    events: producer.events,
    library: typeof library,
  };
};

const eventsOfConsumers: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("watched");
  await createTopics(kafka, { [topic]: 1 });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: numbered(3) });
  await producer.disconnect();
  const consumer = kafka.consumer({
    groupId: context.name("watching"),
    maxWaitTimeInMs: 50,
    heartbeatInterval: 100,
    sessionTimeout: 6_000,
  });
  const shapes: Record<string, unknown> = {};
  const order: string[] = [];
  const once = new Set<string>();
  const heartbeats = new Collected<null>();
  for (const [key, name] of Object.entries(consumer.events)) {
    if (key.startsWith("REQUEST")) continue;
    consumer.on(name as typeof consumer.events.FETCH, ({ type, payload }) => {
      shapes[type] = shape(payload ?? null);
      if (once.has(type)) return;
      once.add(type);
      // Those whose place is by chance.
      if (!["consumer.heartbeat", "consumer.fetch", "consumer.fetch_start"].includes(type)) order.push(type);
    });
  }
  consumer.on(consumer.events.HEARTBEAT, () => heartbeats.push(null));
  let join: unknown = null;
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const { isLeader, leaderId, memberId, memberAssignment, groupProtocol } = payload;
    join = { isLeader, isOwnLeader: leaderId === memberId, memberAssignment, groupProtocol };
  });
  let batch: unknown = null;
  consumer.on(consumer.events.START_BATCH_PROCESS, ({ payload }) => (batch = payload));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async () => undefined });
  await heartbeats.count(1);
  await consumer.disconnect();
  return { shapes, order, join, batch, events: consumer.events };
};

const eventsOfAdmins: Program = async (_library, context) => {
  const admin = context.kafka().admin();
  const seen: string[] = [];
  admin.on(admin.events.CONNECT, ({ type }) => void seen.push(type));
  admin.on(admin.events.DISCONNECT, ({ type }) => void seen.push(type));
  const requests = new Collected<string>();
  admin.on(admin.events.REQUEST, ({ payload }) => requests.push(payload.apiName));
  await admin.connect();
  await admin.listTopics();
  await admin.disconnect();
  return {
    seen,
    hasAsked: requests.items.includes("Metadata"),
    refused: await errorOf(() => admin.on("admin.x" as never, () => undefined)),
  };
};

const aLogCreator: Program = async (library, context) => {
  const { logLevel } = library;
  const entries: LogEntry[] = [];
  const levels: unknown[] = [];
  const kafka = new library.Kafka({
    brokers: [context.broker],
    logLevel: logLevel.INFO,
    logCreator: (level) => {
      levels.push(level);
      return (entry) => void entries.push(entry);
    },
  });
  const logger = kafka.logger();
  logger.info("hello", { a: 1 });
  logger.debug("not shown");
  logger.namespace("Mine").warn("careful");
  logger.namespace("Loud", logLevel.DEBUG).debug("shown");
  logger.setLogLevel(logLevel.ERROR);
  logger.info("not shown either");
  logger.error("wrong");
  kafka.producer().logger().error("of the producer");
  kafka.consumer({ groupId: "g" }).logger().error("of the consumer");
  kafka.admin().logger().error("of the admin");
  const told = entries
    .filter(({ log }) => !log.message.includes("partitioner"))
    .map(({ namespace, level, label, log: { timestamp, logger: name, ...rest } }) => ({
      namespace,
      level,
      label,
      isTimestamp: !Number.isNaN(Date.parse(timestamp)),
      name,
      rest,
    }));
  return { levels, told };
};

export const observing: Readonly<Record<string, Program>> = {
  "events of producers": eventsOfProducers,
  "events of consumers": eventsOfConsumers,
  "events of admins": eventsOfAdmins,
  "a log creator": aLogCreator,
};
