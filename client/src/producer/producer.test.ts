import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import { partitionOfKey } from "./partitioner.ts";

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `value ${index}`);

test("an awaited send gives the record's place", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  expect(await producer.send("orders", { value: "a" })).toEqual({ partition: 0, offset: 0 });
  expect(await producer.send("orders", { value: null })).toEqual({ partition: 0, offset: 1 });
  expect(fake.values("orders")).toEqual(["a", null]);
});

test("a request may have all the time in the world", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client({ requestTimeoutMs: Number.POSITIVE_INFINITY });
  await using producer = cluster.producer();
  expect(await producer.send("orders", { value: "a" })).toEqual({ partition: 0, offset: 0 });
});

test("an awaited send waits for nothing but the broker", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await producer.send("orders", { value: "first" });
  const begunMs = fake.world.clock.monotonicMs();
  for (const value of numbered(100)) await producer.send("orders", { value });
  // Neither a poll nor a linger: the network of this world takes no time.
  expect(fake.world.clock.monotonicMs()).toBe(begunMs);
  expect(fake.attempts).toHaveLength(101);
});

test("what is sent in one turn is one batch, in the order of the calls, from the first record on", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  const delivered = await Promise.all(numbered(100).map(async (value) => producer.send("orders", { value })));
  expect(delivered.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, index) => index));
  expect(fake.values("orders")).toEqual(numbered(100));
  expect(fake.attempts).toHaveLength(1);
  expect(fake.requests("Metadata")).toBe(1);
});

test("records that come while their topic is looked up do not overtake those that wait for it", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  const sends: Promise<unknown>[] = [];
  // One in each microtask of the look-up, and some after it.
  for (let index = 0; index < 200; index++) {
    sends.push(producer.send("orders", { value: `value ${index}` }));
    await Promise.resolve();
  }
  await Promise.all(sends);
  expect(fake.values("orders")).toEqual(numbered(200));
});

test("sequences go on from batch to batch of a partition, each partition by itself", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  for (let round = 0; round < 3; round++) {
    await Promise.all([0, 0, 1].map(async (partition) => producer.send("orders", { partition, value: "x" })));
  }
  const sequences = (partition: string): number[] =>
    fake.attempts.filter((attempt) => attempt.partition === partition).map(({ sequence }) => sequence);
  expect(sequences("orders-0")).toEqual([0, 2, 4]);
  expect(sequences("orders-1")).toEqual([0, 1, 2]);
  expect(new Set(fake.attempts.map(({ producerId }) => producerId)).size).toBe(1);
  expect(fake.requests("InitProducerId")).toBe(1);
});

test("every send is settled within its time, also those that wait behind others", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ deliveryTimeoutMs: 10_000, batchBytesMax: 200 });
  await producer.send("orders", { value: "warm" });
  await fake.brokers[0]!.stop();
  const { clock } = fake.world;
  const settledMs: number[] = [];
  const sends = numbered(50).map(async (value) => {
    await producer.send("orders", { value }).catch(() => {});
    settledMs.push(clock.monotonicMs());
  });
  const begunMs = clock.monotonicMs();
  await fake.within(11_000, Promise.all(sends));
  expect(Math.max(...settledMs) - begunMs).toBeLessThanOrEqual(10_050);
});

test("a topic that does not come into being fails the sends that wait for it, each in its own time", async () => {
  const fake = await FakeCluster.start();
  fake.canCreate = false;
  await using cluster = fake.client();
  await using producer = cluster.producer({ deliveryTimeoutMs: 10_000 });
  const early = Promise.allSettled([producer.send("none", { value: "early" })]);
  await fake.world.clock.advance(6_000);
  const late = Promise.allSettled([producer.send("none", { value: "late" })]);
  const [failure] = await fake.within(4_100, early);
  expect(failure).toMatchObject({ reason: { code: "TIMED_OUT", cause: { code: "UNKNOWN_TOPIC_OR_PARTITION" } } });
  fake.create("none");
  expect((await fake.within(2_000, late))[0]).toMatchObject({ status: "fulfilled" });
  expect(fake.values("none")).toEqual(["late"]);
});

test("a partition that the topic does not have is refused at once", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await expect(producer.send("orders", { partition: 2, value: "x" })).rejects.toThrow(
    "partition orders-2: the topic has the partitions 0 to 1",
  );
  expect(fake.attempts).toEqual([]);
});

test("records with a key go where the Java client sends them; those without stay together for a batch", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0, 0, 0]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  const keyed = await Promise.all(numbered(40).map(async (key) => producer.send("orders", { key, value: "x" })));
  expect(keyed.map(({ partition }) => partition)).toEqual(
    numbered(40).map((key) => partitionOfKey(Buffer.from(key), 4)),
  );
  const rounds: number[] = [];
  for (let round = 0; round < 40; round++) {
    const delivered = await Promise.all(numbered(5).map(async (value) => producer.send("orders", { value })));
    const partitions = new Set(delivered.map(({ partition }) => partition));
    expect(partitions.size).toBe(1);
    rounds.push(...partitions);
  }
  expect(new Set(rounds)).toEqual(new Set([0, 1, 2, 3]));
});

test("records without a key avoid a partition that has no leader", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [-1, 0, -1]);
  await using cluster = fake.client();
  await using producer = cluster.producer();
  for (let round = 0; round < 10; round++) {
    expect((await producer.send("orders", { value: "x" })).partition).toBe(1);
  }
});

test("a batch ends where the next record has no room, and records without a key move on", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ batchBytesMax: 1_000 });
  await Promise.all(numbered(200).map(async (value) => producer.send("orders", { value })));
  expect(fake.values("orders")).toEqual(numbered(200));
  expect(fake.attempts.length).toBeGreaterThan(3);
  expect(fake.attempts.length).toBeLessThan(8);
  // One that is larger than that goes alone; whether it is too large, the broker says.
  await producer.send("orders", { value: "x".repeat(5_000) });
  expect(fake.attempts.at(-1)?.values).toHaveLength(1);
});

test("lingering puts records of several turns together, and a flush does not wait for its end", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ lingerMs: 50 });
  await cluster.wire.topic("orders");
  const sends: Promise<unknown>[] = [];
  for (let turn = 0; turn < 4; turn++) {
    sends.push(producer.send("orders", { value: `turn ${turn}` }));
    await fake.world.clock.advance(10);
  }
  expect(fake.attempts).toEqual([]);
  await fake.within(15, Promise.all(sends));
  expect(fake.attempts.map(({ values }) => values.length)).toEqual([4]);
  const beforeMs = fake.world.clock.monotonicMs();
  const late = producer.send("orders", { value: "late" });
  await producer.flush();
  await late;
  expect(fake.world.clock.monotonicMs()).toBe(beforeMs);
});

test("closing settles 10,000 sends, in a few requests, and takes no more", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0, 0]);
  await using cluster = fake.client();
  const producer = cluster.producer();
  const sends = numbered(10_000).map(async (value) => producer.send("orders", { key: value, value }));
  await producer.close();
  const outcomes = await Promise.allSettled(sends);
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(10_000);
  expect(fake.attempts.length).toBeLessThanOrEqual(6);
  await expect(producer.send("orders", { value: "x" })).rejects.toMatchObject({ code: "CLOSED" });
});

test("a flush waits for what was sent before it, not for what comes after", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  await using cluster = fake.client();
  const producer = cluster.producer();
  await cluster.wire.topic("orders");
  fake.mishaps.push("none", "no answer");
  const before = producer.send("orders", { partition: 0, value: "before" });
  const flushed = producer.flush();
  const after = Promise.allSettled([producer.send("orders", { partition: 1, value: "after" })]);
  await flushed;
  expect(await before).toEqual({ partition: 0, offset: 0 });
  await cluster.close();
  expect((await after)[0]).toMatchObject({ status: "rejected" });
});

test("when the cluster is closed, what was not delivered fails", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  const cluster = fake.client();
  const producer = cluster.producer();
  await producer.send("orders", { value: "first" });
  fake.mishaps.push("no answer");
  const sends = Promise.allSettled([producer.send("orders", { value: "a" }), producer.send("other", { value: "b" })]);
  await fake.world.clock.settle();
  await cluster.close();
  for (const outcome of await sends) expect(outcome.status).toBe("rejected");
  await producer.close();
  expect(fake.world.clock.pendingTimers).toBe(0);
});

test.for([0, 1] as const)("acks %i: no producer id, no numbers", async (acks) => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ acks });
  const delivered = await producer.send("orders", { value: "x" });
  expect(delivered).toEqual({ partition: 0, offset: acks === 0 ? -1 : 0 });
  await fake.world.clock.settle();
  expect(fake.attempts).toMatchObject([{ producerId: -1, sequence: -1, acks }]);
  expect(fake.requests("InitProducerId")).toBe(0);
  expect(fake.values("orders")).toEqual(["x"]);
});

test.for(["gzip", "snappy", "lz4", "zstd"] as const)("batches are compressed with %s", async (compression) => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ compression });
  await Promise.all(numbered(100).map(async (value) => producer.send("orders", { value })));
  expect(fake.values("orders")).toEqual(numbered(100));
  expect(fake.topics.get("orders")!.partitions[0]!.log[0]!.length).toBeLessThan(1_400);
});
