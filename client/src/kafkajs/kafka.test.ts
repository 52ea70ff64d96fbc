import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import { FakeGroupCoordinator } from "../../test/fake-group-coordinator.ts";
import { FakeOffsets } from "../../test/fake-group-offsets.ts";
import { FakeTransactions } from "../../test/fake-transactions.ts";
import { storeRecords } from "../../test/store.ts";
import type { ConsumerConfig, KafkaConfig } from "./config-types.ts";
import type { Consumer, ConsumerRunConfig } from "./consumer-types.ts";
import { logLevel } from "./enums.ts";
import { KafkaJSNonRetriableError, KafkaJSNumberOfRetriesExceeded } from "./errors.ts";
import { Kafka } from "./kafka.ts";
import type { LogEntry } from "./logger.ts";

/** A fake cluster with "orders", a coordinator and what it keeps, and KafkaJS's interface to it. */
class Scene {
  readonly fake: FakeCluster;
  readonly coordinator: FakeGroupCoordinator;
  readonly offsets: FakeOffsets;
  readonly log: LogEntry[] = [];

  private constructor(fake: FakeCluster) {
    this.fake = fake;
    this.coordinator = new FakeGroupCoordinator(fake);
    this.offsets = new FakeOffsets(fake);
  }

  static async start({ partitions = 1 } = {}): Promise<Scene> {
    const fake = await FakeCluster.start();
    fake.create(
      "orders",
      Array.from({ length: partitions }, () => 0),
    );
    return new Scene(fake);
  }

  kafka(config: Partial<KafkaConfig> & Record<string, unknown> = {}): Kafka {
    return new Kafka({
      brokers: this.fake.brokers.map(({ text }) => text),
      world: this.fake.world,
      logLevel: logLevel.WARN,
      logCreator: () => (entry) => void this.log.push(entry),
      ...config,
    });
  }

  store(partition: number, ...values: string[]): void {
    const found = this.fake.topics.get("orders")?.partitions[partition];
    if (found === undefined) throw new Error(`orders has no partition ${partition}`);
    storeRecords(found, values);
  }

  /** A consumer of "orders" that runs, and what its handler saw. */
  async run(
    config: ConsumerRunConfig,
    options: Partial<ConsumerConfig> & { readonly fromBeginning?: boolean } = {},
  ): Promise<Consumer> {
    const { fromBeginning = true, ...rest } = options;
    const consumer = this.kafka().consumer({ groupId: "group", maxWaitTimeInMs: 100, ...rest });
    await this.within(consumer.subscribe({ topic: "orders", fromBeginning }));
    await this.within(consumer.run(config));
    return consumer;
  }

  async within<T>(work: Promise<T>, ms = 60_000): Promise<T> {
    return this.fake.within(ms, work);
  }

  async until(isSo: () => boolean, withinMs = 60_000): Promise<void> {
    await this.fake.world.clock.runUntil(isSo, { withinMs });
  }

  get nowMs(): number {
    return this.fake.world.clock.monotonicMs();
  }
}

const values = (seen: readonly string[], partition: number): readonly string[] =>
  seen.filter((each) => each.startsWith(`${partition}:`)).map((each) => each.slice(2));

test("an option that nobody knows is said once, and changes nothing", async () => {
  const scene = await Scene.start();
  const kafka = scene.kafka({ brokerz: 1, socketFactory: () => null, authenticationTimeout: 1 });
  for (let at = 0; at < 3; at++) kafka.producer({ lingerMs: 5 } as never);
  kafka.consumer({ groupId: "g", maxWaitTimeInMs: 1, sessionTimeoutMs: 6_000 } as never);
  const said = scene.log.map(({ log: { message } }) => message);
  expect(said.filter((each) => each.includes('"brokerz"'))).toHaveLength(1);
  expect(said.filter((each) => each.includes('"lingerMs"'))).toHaveLength(1);
  expect(said.filter((each) => each.includes('"sessionTimeoutMs"'))).toHaveLength(1);
  expect(said.filter((each) => each.includes("socketFactory is not used"))).toHaveLength(1);
  expect(said.filter((each) => each.includes('"authenticationTimeout"'))).toHaveLength(0);
});

test("a mechanism that is not served says which are", async () => {
  const scene = await Scene.start();
  const kafka = scene.kafka({ sasl: { mechanism: "aws" } as never });
  await expect(kafka.producer().connect()).rejects.toThrow(/oauthbearer/);
  await expect(kafka.producer().connect()).rejects.toThrow(KafkaJSNonRetriableError);
});

test("a handler that fails keeps its own partition waiting, and no other", async () => {
  const scene = await Scene.start({ partitions: 2 });
  scene.store(0, "a", "bad", "c");
  const seen: string[] = [];
  const triedMs: number[] = [];
  const consumer = await scene.run(
    {
      eachMessage: async ({ partition, message }) => {
        const value = message.value?.toString() ?? "";
        if (value === "bad") {
          triedMs.push(scene.nowMs);
          if (triedMs.length <= 3) throw new Error("not yet");
        }
        seen.push(`${partition}:${value}`);
      },
    },
    { retry: { initialRetryTime: 1_000, factor: 0 } },
  );
  await scene.until(() => triedMs.length === 1);
  scene.store(1, "x");
  await scene.until(() => seen.includes("1:x"));
  expect(values(seen, 0)).toEqual(["a"]);
  // What was resolved is committed although the batch has failed.
  expect(scene.offsets.committed("orders", 0)).toBe(1);
  await scene.until(() => seen.includes("0:c"));
  expect(values(seen, 0)).toEqual(["a", "bad", "c"]);
  const pauses = triedMs.slice(1).map((ms, at) => Math.round((ms - (triedMs[at] ?? 0)) / 1_000));
  expect(pauses).toEqual([1, 2, 4]);
  await scene.within(consumer.disconnect());
});

test("failures with progress between them do not add up", async () => {
  const scene = await Scene.start();
  scene.store(0, ...Array.from({ length: 12 }, (_, at) => `${at}`));
  const seen: string[] = [];
  const failed = new Set<string>();
  const crashes: unknown[] = [];
  const consumer = await scene.run(
    {
      eachMessage: async ({ message }) => {
        const value = message.value?.toString() ?? "";
        if (!failed.has(value)) {
          failed.add(value);
          throw new Error("each fails once");
        }
        seen.push(value);
      },
    },
    { retry: { retries: 2, initialRetryTime: 10 } },
  );
  consumer.on(consumer.events.CRASH, ({ payload }) => crashes.push(payload));
  await scene.until(() => seen.length === 12);
  expect(crashes).toEqual([]);
  await scene.within(consumer.disconnect());
});

test("a handler that is slow for longer than a session keeps its partitions", async () => {
  const scene = await Scene.start();
  scene.store(0, "slow", "next");
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const consumer = await scene.run(
    {
      eachMessage: async ({ message }) => {
        if ((message.value?.toString() ?? "") === "slow") await gate.promise;
        seen.push(message.value?.toString() ?? "");
      },
    },
    { sessionTimeout: 10_000 },
  );
  const rebalances = scene.coordinator.classic().rebalancesCount;
  await scene.fake.world.clock.advance(300_000);
  gate.resolve();
  await scene.until(() => seen.length === 2);
  expect(scene.coordinator.classic().rebalancesCount).toBe(rebalances);
  await scene.within(consumer.disconnect());
});

test("a rebalance waits for the message in work, commits it, and ends the batch", async () => {
  const scene = await Scene.start();
  scene.store(0, "a", "b", "c");
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const consumer = await scene.run({
    eachMessage: async ({ message }) => {
      seen.push(message.value?.toString() ?? "");
      if (seen.length === 2) await gate.promise;
    },
  });
  await scene.until(() => seen.length === 2);
  const [broker] = scene.fake.brokers;
  const before = broker?.asked.length ?? 0;
  scene.coordinator.classic().rebalance();
  await scene.fake.world.clock.advance(5_000);
  gate.resolve();
  await scene.until(() => seen.length === 3);
  const asked = (broker?.names ?? []).slice(before).filter((name) => ["OffsetCommit", "JoinGroup"].includes(name));
  expect(asked.slice(0, 2)).toEqual(["OffsetCommit", "JoinGroup"]);
  expect(seen).toEqual(["a", "b", "c"]);
  expect(scene.offsets.commits[0]?.topics[0]?.partitions[0]?.committedOffset).toBe(2);
  await scene.within(consumer.disconnect());
});

test("a batch whose partition was taken away is stale, and its heartbeat says so", async () => {
  const scene = await Scene.start();
  scene.store(0, "a", "b", "c");
  const gate = Promise.withResolvers<void>();
  const states: unknown[] = [];
  const batches: number[] = [];
  const consumer = await scene.run({
    eachBatch: async ({ batch, isStale, heartbeat, resolveOffset }) => {
      batches.push(batch.messages.length);
      if (batches.length > 1) return;
      resolveOffset("0");
      await heartbeat();
      states.push(isStale());
      await gate.promise;
      states.push(isStale());
      await heartbeat();
    },
  });
  await scene.until(() => states.length === 1);
  scene.coordinator.classic().rebalance();
  await scene.fake.world.clock.advance(5_000);
  gate.resolve();
  await scene.until(() => batches.length === 2);
  expect(states).toEqual([false, true]);
  // What was resolved is done, and the rest comes again.
  expect(batches).toEqual([3, 2]);
  await scene.until(() => scene.offsets.committed("orders") === 3);
  await scene.within(consumer.disconnect());
});

test("a pause outlives a rebalance, and so does a seek that came before the partition", async () => {
  const scene = await Scene.start({ partitions: 2 });
  scene.store(0, "a", "b", "c");
  scene.store(1, "x");
  const seen: string[] = [];
  const consumer = scene.kafka().consumer({ groupId: "group", maxWaitTimeInMs: 100 });
  await scene.within(consumer.subscribe({ topic: "orders", fromBeginning: true }));
  const running = consumer.run({
    eachMessage: async ({ partition, message }) => void seen.push(`${partition}:${message.value?.toString()}`),
  });
  consumer.pause([{ topic: "orders", partitions: [1] }]);
  consumer.seek({ topic: "orders", partition: 0, offset: "2" });
  await scene.within(running);
  await scene.until(() => seen.length === 1);
  scene.coordinator.classic().rebalance();
  await scene.fake.world.clock.advance(20_000);
  scene.store(0, "d");
  await scene.until(() => seen.length === 2);
  expect(seen).toEqual(["0:c", "0:d"]);
  expect(consumer.paused()).toEqual([{ topic: "orders", partitions: [1] }]);
  consumer.resume([{ topic: "orders" }]);
  await scene.until(() => seen.length === 3);
  expect(seen[2]).toBe("1:x");
  await scene.within(consumer.disconnect());
});

test("where the log has been cut off nothing that is still there is missed", async () => {
  const scene = await Scene.start();
  scene.store(0, "old", "young");
  scene.offsets.offsets.set("group orders-0", 9);
  const seen: string[] = [];
  const consumer = await scene.run(
    { eachMessage: async ({ message }) => void seen.push(message.value?.toString() ?? "") },
    { fromBeginning: false },
  );
  await scene.until(() => seen.length === 2);
  expect(seen).toEqual(["old", "young"]);
  await scene.within(consumer.disconnect());
});

test("a crash stops, tells, and begins anew after the pause", async () => {
  const scene = await Scene.start();
  scene.store(0, "bad");
  let attempts = 0;
  const events: string[] = [];
  const consumer = scene.kafka().consumer({
    groupId: "group",
    maxWaitTimeInMs: 100,
    retry: { retries: 1, initialRetryTime: 1_000, factor: 0 },
  });
  for (const name of ["CONNECT", "STOP", "DISCONNECT", "CRASH"] as const)
    consumer.on(consumer.events[name], () => void events.push(name));
  consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
    expect(error).toBeInstanceOf(KafkaJSNumberOfRetriesExceeded);
    expect(restart).toBe(true);
  });
  await scene.within(consumer.subscribe({ topic: "orders", fromBeginning: true }));
  const run = consumer.run({
    eachMessage: async () => {
      attempts++;
      if (attempts <= 2) throw new Error("twice");
    },
  });
  await scene.within(run);
  await scene.until(() => attempts === 3);
  expect(events).toEqual(["CONNECT", "STOP", "DISCONNECT", "CRASH", "CONNECT"]);
  await scene.within(consumer.disconnect());
});

test("disconnecting ends the wait for a restart", async () => {
  const scene = await Scene.start();
  scene.store(0, "bad");
  let attempts = 0;
  const consumer = scene.kafka().consumer({
    groupId: "group",
    retry: { retries: 0, initialRetryTime: 30_000, factor: 0 },
  });
  const crashed = Promise.withResolvers<void>();
  consumer.on(consumer.events.CRASH, () => crashed.resolve());
  await scene.within(consumer.subscribe({ topic: "orders", fromBeginning: true }));
  const eachMessage = async (): Promise<void> => {
    attempts++;
    throw new Error("always");
  };
  await scene.within(consumer.run({ eachMessage }));
  await scene.within(crashed.promise);
  await scene.within(consumer.disconnect());
  await scene.fake.world.clock.advance(120_000);
  expect(attempts).toBe(1);
});

test("stopping waits for the handler, however long it takes", async () => {
  const scene = await Scene.start();
  scene.store(0, "a", "b");
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const consumer = await scene.run({
    eachMessage: async ({ message }) => {
      seen.push(message.value?.toString() ?? "");
      await gate.promise;
    },
  });
  await scene.until(() => seen.length === 1);
  let isStopped = false;
  const stopping = consumer.stop().then(() => (isStopped = true));
  await scene.fake.world.clock.advance(600_000);
  expect(isStopped).toBe(false);
  gate.resolve();
  await scene.within(stopping);
  expect(seen).toEqual(["a"]);
  expect(scene.offsets.committed("orders")).toBe(1);
});

test("sends that are not awaited keep their order, and are stored once, through a lost answer", async () => {
  const scene = await Scene.start();
  const producer = scene.kafka().producer();
  await scene.within(producer.connect());
  await scene.within(producer.send({ topic: "orders", messages: [{ value: "first" }] }));
  scene.fake.mishaps.push("stored, and the connection breaks");
  const sends = ["a", "b", "c", "d"].map(async (value) => producer.send({ topic: "orders", messages: [{ value }] }));
  await scene.within(Promise.all(sends));
  expect(scene.fake.values("orders")).toEqual(["first", "a", "b", "c", "d"]);
  await scene.within(producer.disconnect());
});

test("disconnecting delivers what was sent before", async () => {
  const scene = await Scene.start();
  const producer = scene.kafka().producer();
  await scene.within(producer.connect());
  const sent = producer.send({ topic: "orders", messages: [{ value: "late" }] });
  await scene.within(producer.disconnect());
  expect(await sent).toMatchObject([{ topicName: "orders", partition: 0, baseOffset: "0" }]);
});

test("a transaction in which a record has failed is not committed, and its abort that follows has nothing to do", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  const transactions = new FakeTransactions(fake, 2);
  const kafka = new Kafka({
    brokers: fake.brokers.map(({ text }) => text),
    world: fake.world,
    logLevel: logLevel.NOTHING,
    retry: { retries: 1, initialRetryTime: 10 },
  });
  const producer = kafka.producer({ transactionalId: "t" });
  await fake.within(60_000, producer.connect());
  const transaction = await fake.within(60_000, producer.transaction());
  await fake.within(60_000, transaction.send({ topic: "orders", messages: [{ value: "good" }] }));
  fake.mishaps.push({ code: 10 });
  const failing = transaction.send({ topic: "orders", messages: [{ value: "bad" }] });
  await expect(fake.within(60_000, failing)).rejects.toMatchObject({ type: "MESSAGE_TOO_LARGE", code: 10 });
  await expect(fake.within(60_000, transaction.commit())).rejects.toBeInstanceOf(Error);
  expect(transaction.isActive()).toBe(false);
  await fake.within(60_000, transaction.abort());
  expect(transactions.committed("orders")).toEqual([]);
  const next = await fake.within(60_000, producer.transaction());
  await fake.within(60_000, next.send({ topic: "orders", messages: [{ value: "later" }] }));
  await fake.within(60_000, next.commit());
  expect(transactions.committed("orders")).toEqual(["later"]);
  await fake.within(60_000, producer.disconnect());
});
