import { ErrorCode } from "kafka-protocol-ts/errors";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { expect, test, vi } from "vitest";
import { FakeBroker, silence } from "../../test/fake-broker.ts";
import { FakeCluster } from "../../test/fake-cluster.ts";
import { Cluster } from "../cluster.ts";

test("one address that answers is enough, wherever it stands in the list", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client({ brokers: ["gone:1", "gone:2", "broker:9000"] });
  expect((await cluster.wire.topics()).map(({ name }) => name)).toEqual(["orders"]);
});

test("when nobody answers, every address is named with its reason", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client({ brokers: ["gone:1", "gone:2"] });
  await expect(cluster.wire.topics()).rejects.toMatchObject({
    code: "NOT_CONNECTED",
    retriable: true,
    message:
      "no broker can be reached: gone:1 refused the connection: nothing listens there; gone:2 refused the connection: nothing listens there",
  });
  await using alone = fake.client({ brokers: ["gone:1"] });
  await expect(alone.connect()).rejects.toThrow(/^gone:1 refused the connection: nothing listens there$/);
});

test("an address that takes connections and never answers holds nobody up for longer than the time it has", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  fake.brokers[0]!.on(apiVersions, () => silence);
  await using cluster = fake.client({ requestTimeoutMs: 2_000 });
  await fake.within(2_000, cluster.connect());
  expect(fake.brokers[1]!.connections.size).toBe(1);
});

test.for(["nonsense", "host:", "host:0", "host:65536", ":9092", "http://host:9092"])(
  "%s is not an address",
  (address) => {
    expect(() => new Cluster({ brokers: [address] })).toThrow(`"${address}" is not a broker address (host:port)`);
  },
);

test("no address at all is refused, and an IPv6 address stands in brackets", async () => {
  expect(() => new Cluster({ brokers: [] })).toThrow("no broker address was given");
  const fake = await FakeCluster.start();
  await using cluster = fake.client({ brokers: ["[::1]:9092"] });
  await expect(cluster.connect()).rejects.toThrow("refused the connection");
});

test("a topic is asked for once, however many wait for it, and then known", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  await using cluster = fake.client();
  expect(cluster.wire.metadata.topic("orders")).toBeNull();
  const found = await Promise.all([1, 2, 3].map(async () => cluster.wire.topic("orders")));
  expect(new Set(found).size).toBe(1);
  expect(await cluster.wire.topic("orders")).toBe(found[0]);
  expect(fake.requests("Metadata")).toBe(1);
  cluster.wire.metadata.forget("orders");
  await cluster.wire.topic("orders");
  expect(fake.requests("Metadata")).toBe(2);
  expect(fake.brokers[0]!.connectionsCount).toBe(1);
});

test("an old topic that cannot be looked at any more is not asked for with each batch", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  const [broker] = fake.brokers;
  await using cluster = fake.client({ metadataMaxAgeMs: 10_000 });
  await using producer = cluster.producer();
  await producer.send("orders", { value: "a" });
  await fake.world.clock.advance(10_000);
  const answer = broker!.answerOf(metadata)!;
  broker!.on(metadata, ({ message }) => ({
    brokers: [{ nodeId: 0, ...broker!.address }],
    clusterId: "fake",
    controllerId: 0,
    topics: message.topics!.map(({ name }) => ({
      errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED,
      name,
      isInternal: false,
      partitions: [],
    })),
  }));
  const before = fake.requests("Metadata");
  for (let count = 0; count < 50; count++) await producer.send("orders", { value: "b" });
  expect(fake.requests("Metadata") - before).toBe(1);
  // It is tried again, and then known for as long as ever.
  broker!.on(metadata, answer as never);
  await fake.world.clock.advance(1_000);
  for (let count = 0; count < 50; count++) await producer.send("orders", { value: "c" });
  expect(fake.requests("Metadata") - before).toBe(2);
  await fake.world.clock.advance(10_000);
  for (let count = 0; count < 50; count++) await producer.send("orders", { value: "d" });
  expect(fake.requests("Metadata") - before).toBe(3);
});

test("looking at a topic does not create it; whoever may create it does", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  await expect(cluster.wire.topic("new")).rejects.toMatchObject({
    code: "UNKNOWN_TOPIC_OR_PARTITION",
    retriable: true,
  });
  await expect(cluster.admin().topics.describe("new")).rejects.toThrow("topic new");
  expect(fake.topics.size).toBe(0);
  expect((await cluster.wire.topic("new", { mayCreate: true })).partitions).toHaveLength(1);
});

test("a partition without a leader spoils nothing but itself", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, -1]);
  await using cluster = fake.client();
  const topic = await cluster.wire.topic("orders");
  expect(topic.partitions.map(({ leaderId }) => leaderId)).toEqual([0, -1]);
  expect((await cluster.wire.leader(topic, 0)).address.port).toBe(9000);
  await expect(cluster.wire.leader(topic, 1)).rejects.toMatchObject({ code: "LEADER_NOT_AVAILABLE", retriable: true });
  await expect(cluster.wire.leader(topic, 2)).rejects.toMatchObject({ code: "UNKNOWN_TOPIC_OR_PARTITION" });
});

test("metadata that leave a partition out are not believed", async () => {
  const fake = await FakeCluster.start();
  const partition = { errorCode: 0, leaderId: 0, replicaNodes: [], isrNodes: [], offlineReplicas: [] };
  const partitions = [0, 2].map((partitionIndex) => ({ ...partition, partitionIndex }));
  fake.brokers[0]!.on(metadata, () => ({
    brokers: [],
    topics: [{ errorCode: 0, name: "orders", isInternal: false, partitions }],
  }));
  await using cluster = fake.client();
  await expect(cluster.wire.topic("orders")).rejects.toMatchObject({ code: "CORRUPT_MESSAGE" });
});

test("a broken connection is opened again at the next call", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  await cluster.wire.topics();
  fake.brokers[0]!.cut();
  await fake.world.clock.settle();
  await cluster.wire.topics();
  expect(fake.brokers[0]!.connectionsCount).toBe(2);
});

test("after all brokers that were learned are gone, the addresses that were given are tried again", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  await using cluster = fake.client({ brokers: ["broker:9000"] });
  // The first knows the second only, as after a move to other machines.
  fake.brokers[0]!.on(metadata, () => ({ brokers: [{ nodeId: 1, host: "broker", port: 9001 }], topics: [] }));
  await cluster.wire.topics();
  await cluster.wire.broker(1);
  await fake.brokers[1]!.stop();
  fake.brokers[0]!.cut();
  await fake.world.clock.settle();
  await cluster.wire.topics();
  expect(fake.brokers[0]!.connectionsCount).toBe(2);
});

test("a broker that is not in the metadata is asked for once, and then named", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  await expect(cluster.wire.broker(7)).rejects.toMatchObject({ code: "BROKER_NOT_AVAILABLE", retriable: true });
  expect(fake.brokers[0]!.asked.map(({ message }) => (message as { topics: unknown }).topics)).toEqual([[]]);
});

test("closing fails what waits and what comes later, and leaves no connection and no timer", async () => {
  const fake = await FakeCluster.start();
  const broker = fake.brokers[0]!;
  broker.on(metadata, () => silence);
  const cluster = fake.client();
  const waiting = cluster.wire.topics();
  const retrying = cluster.wire.retrying({ what: "a try", timeoutMs: 60_000 }, async () =>
    cluster.wire.topic("orders"),
  );
  const outcomes = Promise.allSettled([waiting, retrying]);
  await fake.world.clock.settle();
  await cluster.close();
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: "CLOSED" } });
  await expect(cluster.wire.topics()).rejects.toMatchObject({ code: "CLOSED" });
  await expect(cluster.wire.retrying({ what: "a try", timeoutMs: 1 }, async () => 1)).rejects.toMatchObject({
    code: "CLOSED",
  });
  await fake.world.clock.settle();
  expect(broker.connections.size).toBe(0);
  expect(fake.world.clock.pendingTimers).toBe(0);
});

test("closing does not wait for a connection that is being opened", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(apiVersions, () => silence);
  const cluster = fake.client();
  const connecting = Promise.allSettled([cluster.connect()]);
  await fake.world.clock.settle();
  await cluster.close();
  expect((await connecting)[0]).toMatchObject({ reason: { code: "CLOSED" } });
});

test("what fails for good is not tried again; what may pass is, with growing pauses, until the time is over", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  const { clock } = fake.world;
  const attempts: number[] = [];
  const attempt = async (): Promise<never> => {
    attempts.push(clock.monotonicMs());
    return cluster.wire.topic("none") as never;
  };
  const failure = fake.within(5_000, cluster.wire.retrying({ what: "topic none", timeoutMs: 5_000 }, attempt));
  await expect(failure).rejects.toMatchObject({
    code: "TIMED_OUT",
    message: "topic none: no success within 5000 ms: topic none: This broker has no such topic or partition.",
    cause: { code: "UNKNOWN_TOPIC_OR_PARTITION" },
  });
  const pauses = attempts.slice(1).map((at, index) => at - attempts[index]!);
  expect(pauses.length).toBeGreaterThan(4);
  expect(pauses.length).toBeLessThan(12);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(1_200);
  expect(pauses[0]!).toBeLessThanOrEqual(120);

  let count = 0;
  const hopeless = async (): Promise<never> => {
    count++;
    throw new TypeError("a bug");
  };
  await expect(cluster.wire.retrying({ what: "it", timeoutMs: 5_000 }, hopeless)).rejects.toThrow("a bug");
  expect(count).toBe(1);
});

// --- Brokers that come and go -------------------------------------------------------------------------------------------

test("a request for anybody never waits behind a Fetch or a JoinGroup of another purpose", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await cluster.wire.topics();
  const group = await cluster.wire.broker(0, "group-1");
  fake.brokers[0]!.connections.values().next().value?.destroy();
  await fake.world.clock.settle();
  expect(group.isOpen).toBe(true);
  expect(await cluster.wire.any()).not.toBe(group);
  expect((await cluster.wire.broker(0, "group-1")).isOpen).toBe(true);
});

test("a throttled connection does not keep metadata waiting, while another broker can be asked", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  fake.create("orders");
  await using cluster = fake.client();
  await cluster.wire.topics();
  fake.brokers[0]!.on(listOffsets, () => ({ throttleTimeMs: 30_000, topics: [] }));
  const throttled = await cluster.wire.broker(0);
  await throttled.request(listOffsets, { replicaId: -1, topics: [] });
  expect(throttled.isThrottled).toBe(true);
  await cluster.wire.topics();
  expect(fake.brokers[1]!.names).toEqual(["Metadata"]);
  // Nobody else is there: then the throttled one, later.
  await fake.brokers[1]!.stop();
  await fake.world.clock.settle();
  expect(await cluster.wire.any()).toBe(throttled);
  const late = cluster.wire.topics();
  await fake.world.clock.advance(30_000);
  expect(await late).toHaveLength(1);
});

test("many addresses that swallow everything do not add up: the one that answers is found soon", async () => {
  const fake = await FakeCluster.start({ brokers: 6 });
  for (const broker of fake.brokers.slice(0, 5)) broker.on(apiVersions, () => silence);
  await using cluster = fake.client({ requestTimeoutMs: 30_000 });
  await fake.within(5_000, cluster.connect());
  expect(fake.brokers[5]!.connections.size).toBe(1);
});

test("who could not be reached is asked last", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  await using cluster = fake.client();
  await fake.brokers[0]!.stop();
  await cluster.connect();
  fake.brokers[1]!.cut();
  await fake.world.clock.settle();
  const [begun, connects] = [fake.world.clock.monotonicMs(), fake.brokers[1]!.connectionsCount];
  await cluster.connect();
  // Without the pause that the first one has.
  expect(fake.world.clock.monotonicMs()).toBe(begun);
  expect(fake.brokers[1]!.connectionsCount).toBe(connects + 1);
});

test("P#232: after all brokers were away and came back elsewhere, work goes on", async () => {
  const fake = await FakeCluster.start({ brokers: 3 });
  fake.create("orders", [1]);
  await using cluster = fake.client({ brokers: ["broker:9000"] });
  // What is learned at first are other addresses than the one that was given.
  const elsewhere = (base: number) => [0, 1, 2].map((nodeId) => ({ nodeId, host: "broker", port: base + nodeId }));
  const partition = {
    errorCode: 0,
    partitionIndex: 0,
    leaderEpoch: 0,
    replicaNodes: [],
    isrNodes: [],
    offlineReplicas: [],
  };
  const orders = { errorCode: 0, name: "orders", isInternal: false, partitions: [{ ...partition, leaderId: 1 }] };
  fake.brokers[0]!.on(metadata, () => ({ brokers: elsewhere(9100), topics: [orders] }));
  await cluster.wire.topic("orders");
  for (const broker of fake.brokers) await broker.stop();
  await fake.world.clock.advance(600_000);
  const reached = cluster.wire.retrying({ what: "orders", timeoutMs: 120_000 }, async () => {
    const topic = await cluster.wire.refresh("orders");
    return cluster.wire.leader(topic, 0);
  });
  await fake.world.clock.advance(60_000);
  const [first, second] = [9000, 9201].map((port) => FakeBroker.start(fake.world.network, port));
  (await first)!.on(metadata, () => ({ brokers: elsewhere(9200), topics: [orders] }));
  expect((await fake.within(10_000, reached)).address).toMatchObject({ host: "broker", port: 9201 });
  await second;
});

test("KIP-1102: a broker that sends us away is forgotten with all that it told", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  await using cluster = fake.client({ brokers: ["broker:9001"] });
  fake.brokers[1]!.on(metadata, () => ({ brokers: [{ nodeId: 0, host: "broker", port: 9000 }], topics: [] }));
  await cluster.wire.topics();
  fake.brokers[0]!.on(metadata, () => ({ errorCode: ErrorCode.REBOOTSTRAP_REQUIRED, brokers: [], topics: [] }));
  fake.brokers[1]!.cut();
  await fake.world.clock.settle();
  await expect(cluster.wire.topics()).rejects.toMatchObject({ code: "REBOOTSTRAP_REQUIRED", retriable: true });
  expect(cluster.wire.metadata.brokers.size).toBe(0);
  await cluster.wire.topics();
  expect(fake.brokers[1]!.names).toEqual(["Metadata", "Metadata"]);
});

test("the pauses before a broker is tried again grow, differ, and end", async () => {
  const fake = await FakeCluster.start();
  await fake.brokers[0]!.stop();
  const connect = vi.spyOn(fake.world.network, "connect");
  const { clock } = fake.world;
  await using cluster = fake.client();
  const at: number[] = [];
  for (let count = 0; count < 12; count++) {
    await fake.within(
      10_000,
      cluster.connect().catch(() => at.push(clock.monotonicMs())),
    );
  }
  const pauses = at.slice(1).map((ms, index) => ms - at[index]!);
  expect(connect).toHaveBeenCalledTimes(12);
  expect(pauses[0]).toBeGreaterThanOrEqual(80);
  expect(pauses[0]).toBeLessThanOrEqual(120);
  expect(Math.min(...pauses.slice(4))).toBeGreaterThanOrEqual(800);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(1_200);
  expect(new Set(pauses).size).toBe(pauses.length);
});

test("a connection that the broker closed while it was idle is no error for the next request", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  await cluster.connect();
  for (let round = 0; round < 5; round++) {
    for (const connection of fake.brokers[0]!.connections) connection.end();
    await fake.world.clock.advance(600_000);
    await cluster.wire.topics();
  }
  expect(fake.brokers[0]!.connectionsCount).toBe(6);
});

test("a request that met the close may be sent again, and says so", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await cluster.wire.topics();
  const connection = await cluster.wire.any();
  const request = connection.request(metadata, { topics: [] });
  for (const each of fake.brokers[0]!.connections) each.destroy();
  await expect(request).rejects.toMatchObject({ code: "NETWORK_EXCEPTION", retriable: true });
  await cluster.wire.topics();
});

test("kafkajs#1751: no timer is set into the past, whatever is late", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  const delays: number[] = [];
  const schedule = fake.world.clock.schedule.bind(fake.world.clock);
  vi.spyOn(fake.world.clock, "schedule").mockImplementation((delayMs, callback) => {
    delays.push(delayMs);
    return schedule(delayMs, callback);
  });
  await using cluster = fake.client();
  await cluster.wire.topics();
  await fake.brokers[0]!.stop();
  const lost = Array.from({ length: 5 }, async () => {
    const retry = { what: "it", timeoutMs: 3_000 };
    return cluster.wire.retrying(retry, async () => cluster.wire.refresh("orders")).catch(() => "given up");
  });
  fake.world.clock.stepWallClock(-3_600_000);
  await fake.world.clock.advance(1_000);
  fake.world.clock.stepWallClock(7_200_000);
  await fake.world.clock.advance(10_000);
  expect(await Promise.all(lost)).toEqual(lost.map(() => "given up"));
  expect(delays.length).toBeGreaterThan(10);
  expect(delays.filter((ms) => !(ms >= 0))).toEqual([]);
});
