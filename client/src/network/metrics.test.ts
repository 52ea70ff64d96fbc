import diagnostics from "node:diagnostics_channel";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { expect, onTestFinished, test } from "vitest";
import { silence } from "../../test/fake-broker.ts";
import { FakeCluster } from "../../test/fake-cluster.ts";
import { channels } from "./diagnostics.ts";
import { clientMetrics, latencyBoundsMs } from "./metrics.ts";

test("what a client does is counted: connections, requests with their latencies and sizes, pauses, failures", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  const broker = fake.brokers[0]!;
  using metrics = clientMetrics({ clientId: "billing" });
  using all = clientMetrics();
  await using cluster = fake.client({ clientId: "billing", brokers: ["gone:1", broker.text], requestTimeoutMs: 3_000 });
  await using other = fake.client({ clientId: "other" });
  await cluster.producer().send("orders", { value: "a" });
  await other.connect();
  const connection = await cluster.wire.any();
  broker.on(listOffsets, async () => {
    await new Promise<void>((resolve) => void fake.world.clock.schedule(40, resolve));
    return { throttleTimeMs: 250, topics: [] };
  });
  await fake.within(1_000, connection.request(listOffsets, { replicaId: -1, topics: [] }));
  broker.on(metadata, () => silence);
  await fake.within(
    10_000,
    connection.request(metadata, { topics: [] }).catch(() => null),
  );
  const { requests, errors, ...counts } = metrics.snapshot();
  expect(counts).toEqual({
    connectionsOpened: 1,
    connectionsClosed: 1,
    connectionsFailed: 1,
    throttleMsSum: 250,
    throttlesCount: 1,
    reauthenticationsCount: 0,
    metadataCount: 1,
  });
  expect(errors).toEqual({ NOT_CONNECTED: 1, REQUEST_TIMED_OUT: 1 });
  const listed = requests.find(({ api }) => api === "ListOffsets");
  expect(listed).toMatchObject({ broker: broker.text, count: 1, errorsCount: 0, latencyMsSum: 40, latencyMsMax: 40 });
  expect(listed?.requestBytes).toBeGreaterThan(10);
  expect(listed?.answerBytes).toBeGreaterThan(8);
  expect(listed?.latencyCounts[latencyBoundsMs.indexOf(50)]).toBe(1);
  expect(requests.find(({ api }) => api === "Produce")?.count).toBe(1);
  expect(requests.find(({ api, broker: at }) => api === "Metadata" && at === broker.text)).toMatchObject({
    count: 2,
    errorsCount: 1,
  });
  expect(all.snapshot().connectionsOpened).toBe(2);
  metrics.reset();
  expect(metrics.snapshot().requests).toEqual([]);
});

test("every event tells whose it is and of which broker; after the end nothing is heard", async () => {
  const fake = await FakeCluster.start();
  const events: Record<string, unknown>[] = [];
  for (const name of Object.values(channels)) {
    const note = (event: unknown): void => void events.push(event as Record<string, unknown>);
    diagnostics.subscribe(name, note);
    onTestFinished(() => void diagnostics.unsubscribe(name, note));
  }
  const metrics = clientMetrics();
  await using cluster = fake.client({ clientId: "billing", brokers: ["gone:1", fake.brokers[0]!.text] });
  await cluster.wire.topics();
  metrics[Symbol.dispose]();
  const before = metrics.snapshot();
  await cluster.wire.topics();
  await cluster.close();
  expect(metrics.snapshot()).toEqual(before);
  expect(events.length).toBeGreaterThan(5);
  for (const event of events)
    expect(event).toMatchObject({ clientId: "billing", broker: expect.stringMatching(/:\d+$/) });
});
