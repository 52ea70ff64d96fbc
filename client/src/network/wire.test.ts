import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { expect, test } from "vitest";
import { silence } from "../../test/fake-broker.ts";
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
