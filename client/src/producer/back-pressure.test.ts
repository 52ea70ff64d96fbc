import { getEventListeners } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `value ${index}`);
const kilobyte = "x".repeat(1_000);

/** A cluster whose answers to Produce wait until they are let go. */
async function held(options: { readonly bufferBytesMax: number }) {
  const fake = await FakeCluster.start();
  fake.create("orders");
  const cluster = fake.client();
  await cluster.wire.topic("orders");
  const gate = Promise.withResolvers<void>();
  fake.beforeAnswer = async () => gate.promise;
  return { fake, cluster, producer: cluster.producer(options), letGo: gate.resolve };
}

test("ready waits while more is buffered than may be, and what nobody waited for is refused at twice as much", async () => {
  const { fake, cluster, producer, letGo } = await held({ bufferBytesMax: 10_000 });
  let isReady = false;
  for (let count = 0; count < 9; count++) {
    producer.enqueue("orders", { value: kilobyte });
    await producer.ready();
  }
  producer.enqueue("orders", [{ value: kilobyte }, { value: kilobyte }]);
  const ready = producer.ready().then(() => void (isReady = true));
  await fake.world.clock.advance(60_000);
  expect(isReady).toBe(false);
  // A send waits, and counts.
  const sends = Array.from({ length: 9 }, async () => producer.send("orders", { value: kilobyte }));
  expect(() => producer.enqueue("orders", { value: kilobyte })).toThrow(/bytes of records are not answered yet/);
  await expect(producer.send("orders", { value: kilobyte })).rejects.toMatchObject({
    code: "BUFFER_EXHAUSTED",
    retriable: true,
  });
  letGo();
  await ready;
  await Promise.all(sends);
  expect(fake.values("orders")).toHaveLength(20);
  await producer.send("orders", { value: "room again" });
  await cluster.close();
});

test("who fills in a loop does not keep the event loop from sending", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  await cluster.wire.topic("orders");
  const turn = new AbortController();
  fake.world.clock.afterTurn(() => turn.abort());
  let count = 0;
  while (!turn.signal.aborted && count < 10_000) {
    producer.enqueue("orders", { value: kilobyte });
    await producer.ready();
    count++;
  }
  expect(count).toBeLessThan(5_000);
});

test("records that wait for their topic count as well", async () => {
  const fake = await FakeCluster.start();
  fake.canCreate = false;
  await using cluster = fake.client();
  const producer = cluster.producer({ bufferBytesMax: 10_000, deliveryTimeoutMs: 5_000 });
  const refuse = (): void => {
    for (let count = 0; count < 30; count++) producer.enqueue("none", { value: kilobyte });
  };
  expect(refuse).toThrow(/bytes of records are not answered yet/);
  await expect(fake.within(6_000, producer.flush())).rejects.toMatchObject({ code: "TIMED_OUT" });
  expect(() => producer.enqueue("none", { value: "room again" })).not.toThrow();
});

test("a stream of records waits for room, and its end for the last answer", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ bufferBytesMax: 5_000, batchBytesMax: 1_000 });
  let pulled = 0;
  const source = function* () {
    for (const value of numbered(2_000)) {
      pulled++;
      yield { value };
    }
  };
  const gate = Promise.withResolvers<void>();
  fake.beforeAnswer = async () => gate.promise;
  const done = pipeline(Readable.from(source()), producer.writable("orders"));
  await fake.world.clock.advance(10);
  expect(pulled).toBeLessThan(1_000);
  gate.resolve();
  await fake.within(60_000, done);
  expect(fake.values("orders")).toEqual(numbered(2_000));
  const web = ReadableStream.from([{ value: "web" }]);
  await web.pipeTo(producer.writable("orders"));
  expect(fake.values("orders").at(-1)).toBe("web");
});

test("a signal ends the waiting for room, for a flush and for many records, and loses nothing", async () => {
  const { fake, cluster, producer, letGo } = await held({ bufferBytesMax: 1_000 });
  const controller = new AbortController();
  const { signal } = controller;
  const sent = producer.sendAll("orders", [{ value: "a".repeat(700) }, { value: "b".repeat(700) }], { signal });
  const waiting = Promise.allSettled([sent, producer.ready({ signal }), producer.flush({ signal })]);
  await fake.world.clock.advance(1);
  controller.abort(new Error("enough"));
  for (const outcome of await fake.within(1, waiting))
    expect(outcome).toMatchObject({ reason: { code: "ABORTED", cause: { message: "enough" } } });
  for (const late of [
    producer.ready({ signal }),
    producer.flush({ signal }),
    producer.sendAll("orders", [], { signal }),
  ])
    await expect(late).rejects.toMatchObject({ code: "ABORTED" });
  expect(getEventListeners(signal, "abort")).toEqual([]);
  letGo();
  await producer.flush({ signal: new AbortController().signal });
  expect(fake.values("orders")).toHaveLength(2);
  await cluster.close();
});

test("records that are enqueued together are taken together, or not at all", async () => {
  const { fake, cluster, producer, letGo } = await held({ bufferBytesMax: 1_000 });
  const records = numbered(5).map((value) => ({ value: value.padEnd(1_000) }));
  producer.enqueue("orders", records);
  expect(() => producer.enqueue("orders", records)).toThrow("are not answered yet");
  letGo();
  await producer.flush();
  expect(fake.values("orders")).toEqual(records.map(({ value }) => value));
  await cluster.close();
});

test("a stream waits for room also where others have filled the buffer", async () => {
  const { fake, cluster, producer, letGo } = await held({ bufferBytesMax: 1_000 });
  const writer = producer.writable("orders").getWriter();
  await writer.write({ value: "first" });
  const sends = Promise.allSettled(
    numbered(10).map(async (value) => producer.send("orders", { value: value.padEnd(500) })),
  );
  await fake.world.clock.advance(1);
  const written = writer.write({ value: "second" });
  await fake.world.clock.advance(1);
  letGo();
  await fake.within(1_000, written);
  await fake.within(1_000, writer.close());
  expect(fake.values("orders")).toEqual(expect.arrayContaining(["first", "second"]));
  expect((await sends).filter(({ status }) => status === "rejected").length).toBeGreaterThan(0);
  await cluster.close();
});

test("a stream fails with the first record that is lost, and only the stream", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer();
  fake.refuse = () => ErrorCode.INVALID_RECORD;
  const stream = ReadableStream.from([{ value: "a" }, { value: "b" }]).pipeTo(producer.writable("orders"));
  await expect(stream).rejects.toMatchObject({ code: "INVALID_RECORD" });
  await producer.flush();
});

test("closing within a time fails what is left when it is over", async () => {
  const { fake, cluster, producer, letGo } = await held({ bufferBytesMax: 10_000_000 });
  const sends = Promise.allSettled(numbered(10_000).map(async (value) => producer.send("orders", { value })));
  await fake.within(2_000, producer.close({ timeoutMs: 1_000 }));
  const outcomes = await sends;
  for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "TIMED_OUT" } });
  await expect(producer.send("orders", { value: "x" })).rejects.toMatchObject({ code: "CLOSED" });
  expect(() => producer.enqueue("orders", { value: "x" })).toThrow("the producer was closed");
  letGo();
  await cluster.close();
  expect(fake.world.clock.pendingTimers).toBe(0);
});

test("closing with 10,000 enqueued records and a broker that comes and goes delivers each", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0, 0]);
  await using cluster = fake.client();
  const producer = cluster.producer({ batchBytesMax: 5_000 });
  fake.mishaps.push("the connection breaks", "none", "stored, and the connection breaks", "none", { code: 7 });
  producer.enqueue(
    "orders",
    numbered(10_000).map((value) => ({ key: value, value })),
  );
  await fake.within(60_000, producer.close());
  const values = [0, 1, 2].flatMap((partition) => fake.values("orders", partition));
  expect(values).toHaveLength(10_000);
  expect(new Set(values)).toEqual(new Set(numbered(10_000)));
});

test.for([
  [{ inFlightMax: 6 }, "inFlightMax: 6 is not 1 to 5"],
  [{ acks: 1, idempotent: true }, 'idempotent: needs acks "all", not 1'],
  [{ acks: 0, transactionalId: "x" }, 'transactionalId: a transaction needs acks "all" and idempotence'],
  [{ lingerMs: -1 }, "lingerMs: -1 is not at least 0"],
  [{ compression: "brotli" as "gzip" }, 'compression: "brotli" is not one of none, gzip, snappy, lz4, zstd'],
  [{ compression: "gzip", compressionLevel: 42 }, "compressionLevel: 42 is not 0 to 9"],
  [{ acks: -1 as 1 }, 'acks: -1 is not "all", 1 or 0'],
  [{ transactionalId: "x", transactionTimeoutMs: 2 ** 31 }, "transactionTimeoutMs: 2147483648 is not 1 to 2147483647"],
  [{ bufferBytesMax: Number.NaN }, "bufferBytesMax: NaN is not at least 1"],
] as const)("options that cannot be are named: %o", async ([options, message]) => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  expect(() => cluster.producer(options)).toThrow(message);
});

test("records that bring their own time do not leave whoever waits for ready waiting for good", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  await using producer = cluster.producer({ lingerMs: 50, batchBytesMax: 8_000_000 });
  await cluster.wire.topic("orders");
  const { clock } = fake.world;
  const value = "x".repeat(300_000);
  const filling = async (): Promise<void> => {
    for (let count = 0; count < 10; count++) {
      producer.enqueue("orders", { value, timestamp: 1_000 + count });
      await producer.ready();
      // In a turn of its own each, and all in the batch that lingers.
      await new Promise<void>((resolve) => void clock.schedule(1, resolve));
    }
  };
  await fake.within(1_000, filling());
  await fake.within(1_000, producer.flush());
  expect(fake.values("orders")).toHaveLength(10);
});
