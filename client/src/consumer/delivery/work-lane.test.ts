import type { Clock } from "@millrace/base/world";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../../test/fake-cluster.ts";
import type { FakePartition } from "../../../test/fake-cluster.ts";
import { storeRecords } from "../../../test/store.ts";

/** A broker that gives a batch of each partition at a time, and notes the offsets that are asked for. */
function serveBatches(fake: FakeCluster, partitions: readonly FakePartition[], batchCount: number): number[] {
  const asked: number[] = [];
  fake.brokers[0]!.on(fetch, ({ message }) => {
    const responses = message.topics.map(({ topicId, partitions: wanted }) => ({
      topicId,
      partitions: wanted.map(({ partition, fetchOffset }) => {
        asked.push(fetchOffset);
        const { log, endOffset: highWatermark } = partitions[partition]!;
        const records = log[fetchOffset / batchCount] ?? null;
        return { partitionIndex: partition, errorCode: 0, highWatermark, abortedTransactions: null, records };
      }),
    }));
    return { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses };
  });
  return asked;
}

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from + index}`);

test.for(["partition", "key", "none"] as const)(
  "a partition whose handlers block keeps no other waiting, however much it has: order %s",
  async (order) => {
    const fake = await FakeCluster.start();
    const partitions = fake.create("orders", [0, 0, 0]);
    // More than is looked at ahead; all of one key.
    for (let batch = 0; batch < 5; batch++)
      storeRecords(
        partitions[0]!,
        numbers(batch * 1_000, 1_000).map((value) => `hot=${value}`),
      );
    for (const partition of partitions.slice(1))
      for (let at = 0; at < 300; at += 10) storeRecords(partition, numbers(at, 10));
    const concurrency = 4;
    let blockedCount = 0;
    const seen = new Map<number, number[]>([
      [1, []],
      [2, []],
    ]);
    const stop = new AbortController();
    const running = fake
      .client()
      .consumer()
      .run(
        "orders",
        async ({ partition, offset }, { signal }) => {
          if (partition === 0 && (order !== "none" || blockedCount < concurrency - 1)) {
            blockedCount++;
            await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
          } else seen.get(partition)?.push(offset);
        },
        { concurrency, order, signal: stop.signal },
      );
    await fake.world.clock.runUntil(() => seen.get(1)?.length === 300 && seen.get(2)?.length === 300, {
      withinMs: 20_000,
    });
    if (order === "partition") expect(seen.get(1)).toEqual(numbers(0, 300).map(Number));
    expect(blockedCount).toBe(order === "none" ? 3 : 1);
    stop.abort();
    await fake.within(1_000, running);
  },
);

test.for(["partition", "key", "none"] as const)(
  "what waits for handlers holds no more bytes than its share, however few its records are: order %s",
  async (order) => {
    const fake = await FakeCluster.start();
    const partitions = fake.create("orders", [0, 0]);
    const text = "x".repeat(10_000);
    // Two hundred times a hundred kilobytes.
    for (const partition of partitions)
      for (let at = 0; at < 100; at++)
        storeRecords(
          partition,
          Array.from({ length: 10 }, (_, key) => `${key}=${text}`),
        );
    const asked = serveBatches(fake, partitions, 10);
    let begunCount = 0;
    const stop = new AbortController();
    // Each that ends lets the runner look ahead.
    const handle = async (_: unknown, { signal }: { readonly signal: AbortSignal }): Promise<void> => {
      if (begunCount++ < 60) await new Promise<void>((resolve) => void fake.world.clock.schedule(10, resolve));
      else await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    };
    const consumer = fake.client().consumer({ bufferBytesMax: 1_000_000, partitionMaxBytes: 100_000 });
    const running = consumer.run("orders", handle, { concurrency: 2, order, signal: stop.signal });
    await fake.world.clock.advance(10_000);
    expect(begunCount).toBe(62);
    // Of each partition three batches are worked on; one or two are in hand and fetched ahead.
    expect(Math.max(...asked) / 10).toBeLessThanOrEqual(3 + 5);
    stop.abort();
    await fake.within(1_000, running);
  },
);

test("nothing of a paused partition is begun, wherever it waits, until it is resumed; then all of it, once", async () => {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0]);
  for (const partition of partitions) storeRecords(partition, numbers(0, 200));
  const consumer = fake.client().consumer();
  const seen: string[] = [];
  const stop = new AbortController();
  const running = consumer.run(
    "orders",
    async ({ partition, offset }) => {
      seen.push(`${partition}@${offset}`);
      if (seen.length === 20) consumer.pause({ topic: "orders", partition: 0 });
      await new Promise<void>((resolve) => void fake.world.clock.schedule(1, resolve));
    },
    { concurrency: 2, signal: stop.signal },
  );
  await fake.world.clock.runUntil(() => seen.filter((each) => each.startsWith("1")).length === 200, {
    withinMs: 5_000,
  });
  await fake.world.clock.advance(2_000);
  const before = seen.filter((each) => each.startsWith("0")).length;
  expect(before).toBeLessThanOrEqual(20);
  consumer.resume({ topic: "orders", partition: 0 });
  await fake.world.clock.runUntil(() => seen.length >= 400, { withinMs: 5_000 });
  await fake.world.clock.advance(2_000);
  expect(seen.filter((each) => each.startsWith("0"))).toEqual(numbers(0, 200).map((offset) => `0@${offset}`));
  stop.abort();
  await fake.within(1_000, running);
});

test("a seek drops what waits, and reading goes on there; each record is handed out once more at most", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(partition!, numbers(0, 100));
  const consumer = fake.client().consumer();
  const seen: number[] = [];
  const running = consumer.run(
    "orders",
    async ({ offset }) => {
      seen.push(offset);
      if (seen.length === 5) await consumer.seek({ topic: "orders", partition: 0 }, { offset: 90 });
      await new Promise<void>((resolve) => void fake.world.clock.schedule(1, resolve));
    },
    { untilEnd: true },
  );
  await fake.within(5_000, running);
  expect(seen).toEqual([0, 1, 2, 3, 4, ...numbers(90, 10).map(Number)]);
});

test("a run whose handler does not end settles all the same, revokeTimeoutMs after the end", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(partition!, numbers(0, 10));
  const consumer = fake.client().consumer({ revokeTimeoutMs: 2_000 });
  let isBegun = false;
  const running = consumer.run("orders", async () => {
    isBegun = true;
    await new Promise<never>(() => {});
  });
  await fake.world.clock.runUntil(() => isBegun, { withinMs: 5_000 });
  const closing = consumer.close();
  await fake.within(2_100, Promise.all([running, closing]));
});

describe("work that computes for a second each record leaves others their turns", () => {
  async function turnsOf(
    read: (consumer: ReturnType<ReturnType<FakeCluster["client"]>["consumer"]>, work: () => void) => Promise<void>,
  ): Promise<number> {
    const fake = await FakeCluster.start();
    const [partition] = fake.create("orders");
    storeRecords(partition!, numbers(0, 100));
    const { clock, network, random } = fake.world;
    let computedMs = 0;
    let turnsCount = 0;
    const busy: Clock = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs() + computedMs,
      schedule: (delayMs, callback) => clock.schedule(delayMs, callback),
      afterTurn: (callback) => {
        turnsCount++;
        clock.afterTurn(callback);
      },
    };
    await using cluster = fake.client({ world: { clock: busy, network, random } });
    await read(cluster.consumer(), () => void (computedMs += 1_000));
    return turnsCount;
  }

  test("in run", async () => {
    const turnsCount = await turnsOf(async (consumer, work) => consumer.run("orders", work, { untilEnd: true }));
    expect(turnsCount).toBeGreaterThan(90);
  });

  test("in a loop over records", async () => {
    const turnsCount = await turnsOf(async (consumer, work) => {
      for await (const record of consumer.records("orders", { untilEnd: true })) {
        expect(record.offset).toBeLessThan(100);
        work();
      }
    });
    expect(turnsCount).toBeGreaterThan(90);
  });

  test("in a deserializer, in a loop over batches", async () => {
    const turnsCount = await turnsOf(async (consumer, work) => {
      const value = {
        serialize: () => Buffer.alloc(0),
        deserialize: (bytes: Buffer | null) => {
          work();
          return bytes;
        },
      };
      const key = { serialize: () => Buffer.alloc(0), deserialize: (bytes: Buffer | null) => bytes };
      for await (const batch of consumer.batches({ name: "orders", key, value } as never, { untilEnd: true }))
        expect(batch.length).toBe(100);
    });
    expect(turnsCount).toBeGreaterThan(90);
  });
});
