import { getEventListeners } from "node:events";
import { must } from "@millrace/base/assert";
import type { Clock } from "@millrace/base/world";
import { expect, test } from "vitest";
import { FakeCluster } from "../../../test/fake-cluster.ts";
import { storeRecords } from "../../../test/store.ts";
import { deadLetterHeaders } from "../dead-letters.ts";
import type { ConsumedRecord } from "../consumed-record.ts";
import { text } from "../../serdes/basic.ts";
import { topic } from "../../topic.ts";

const valueOf = ({ value }: ConsumedRecord): string => must(value, "a value").toString();

/** Handlers that end when a test says so. */
class Desk {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, PromiseWithResolvers<void>>();

  readonly handle = async (record: ConsumedRecord): Promise<void> => {
    const value = valueOf(record);
    this.begun.push(value);
    const end = Promise.withResolvers<void>();
    this.#ends.set(value, end);
    await end.promise;
  };

  end(value: string): void {
    must(this.#ends.get(value), `work on ${value}`).resolve();
  }

  fail(value: string): void {
    must(this.#ends.get(value), `work on ${value}`).reject(new Error(`${value} does not work`));
  }
}

async function deskAt(
  records: readonly string[],
  options: { readonly concurrency: number; readonly order: "key" | "partition" | "none" },
): Promise<{ readonly desk: Desk; readonly fake: FakeCluster; readonly running: Promise<void> }> {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), records);
  const desk = new Desk();
  const running = fake
    .client()
    .consumer()
    .run("orders", desk.handle, { ...options, untilEnd: true });
  await fake.world.clock.settle();
  return { desk, fake, running };
}

test("records of a key are worked on one after the other, those of different keys at the same time", async () => {
  const { desk, fake, running } = await deskAt(["a=a1", "a=a2", "b=b1", "n1", "n2", "b=b2"], {
    concurrency: 4,
    order: "key",
  });
  expect(desk.begun).toEqual(["a1", "b1", "n1", "n2"]);
  desk.end("n2");
  desk.end("n1");
  await fake.world.clock.settle();
  expect(desk.begun).toHaveLength(4);
  desk.end("b1");
  await fake.world.clock.settle();
  expect(desk.begun.slice(4)).toEqual(["b2"]);
  desk.end("a1");
  await fake.world.clock.settle();
  expect(desk.begun.slice(4)).toEqual(["b2", "a2"]);
  desk.end("a2");
  desk.end("b2");
  await running;
});

test("the order of a partition lets one at a time work, whatever the concurrency", async () => {
  const { desk, fake, running } = await deskAt(["1", "2", "3"], { concurrency: 8, order: "partition" });
  for (const value of ["1", "2", "3"]) {
    expect(desk.begun.at(-1)).toBe(value);
    desk.end(value);
    await fake.world.clock.settle();
  }
  await running;
});

test("partitions do not wait for each other", async () => {
  const fake = await FakeCluster.start();
  for (const [index, partition] of fake.create("orders", [0, 0]).entries()) {
    storeRecords(partition, [`${index}/1`, `${index}/2`]);
  }
  const desk = new Desk();
  const running = fake.client().consumer().run("orders", desk.handle, { concurrency: 8, untilEnd: true });
  await fake.world.clock.settle();
  expect(desk.begun.toSorted()).toEqual(["0/1", "1/1"]);
  desk.end("1/1");
  await fake.world.clock.settle();
  expect(desk.begun.toSorted()).toEqual(["0/1", "1/1", "1/2"]);
  for (const value of ["1/2", "0/1"]) desk.end(value);
  await fake.world.clock.settle();
  desk.end("0/2");
  await running;
});

test("the longer it runs the same listens to the end of a partition", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  for (const value of ["1", "2", "3", "4"]) storeRecords(must(partition, "a partition"), [value]);
  const counts: number[] = [];
  const count = ({ signal }: ConsumedRecord): unknown => counts.push(getEventListeners(signal, "abort").length);
  await fake.client().consumer().run("orders", count, { untilEnd: true });
  expect(counts).toEqual([1, 1, 1, 1]);
});

test("what waits is dropped when somebody seeks, each time", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["1", "2", "3", "4"]);
  const consumer = fake.client().consumer();
  const seen: string[] = [];
  const seeks = new Map([
    ["1", 2],
    ["3", 1],
  ]);
  const handle = async (record: ConsumedRecord): Promise<void> => {
    const value = valueOf(record);
    seen.push(value);
    const offset = seeks.get(value);
    seeks.delete(value);
    if (offset !== undefined) await consumer.seek({ topic: "orders", partition: 0 }, { offset });
  };
  await consumer.run("orders", handle, { untilEnd: true });
  expect(seen).toEqual(["1", "3", "2", "3", "4"]);
});

test("without an order as many work as may, and no more", async () => {
  const { desk, fake, running } = await deskAt(["a=1", "a=2", "a=3", "a=4"], { concurrency: 2, order: "none" });
  expect(desk.begun).toEqual(["1", "2"]);
  desk.end("2");
  await fake.world.clock.settle();
  expect(desk.begun).toEqual(["1", "2", "3"]);
  for (const value of ["1", "3"]) desk.end(value);
  await fake.world.clock.settle();
  desk.end("4");
  await running;
});

test("a handler that fails for good ends the run with its error, and the others are told to stop", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["1", "2"]);
  await using cluster = fake.client();
  const signals: AbortSignal[] = [];
  const running = cluster.consumer().run(
    "orders",
    async (record, { signal }) => {
      signals.push(signal);
      if (valueOf(record) === "2") throw new Error("no");
      await new Promise<never>(() => {});
    },
    { concurrency: 2, order: "none" },
  );
  await expect(running).rejects.toThrow("no");
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
});

test("a handler is tried again with growing pauses, as often as asked, and knows which attempt it is", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["1"]);
  await using cluster = fake.client();
  const { clock } = fake.world;
  const attempts: [number, number][] = [];
  const running = cluster.consumer().run(
    "orders",
    (_, { attempt }) => {
      attempts.push([attempt, clock.monotonicMs()]);
      if (attempt < 4) throw new Error("not yet");
    },
    { untilEnd: true, retry: { attempts: 4, backoffMsMin: 100, backoffMsMax: 300 } },
  );
  await fake.within(2_000, running);
  expect(attempts.map(([attempt]) => attempt)).toEqual([1, 2, 3, 4]);
  const pauses = attempts.slice(1).map(([, at], index) => at - attempts[index]![1]);
  for (const [index, least] of [80, 160, 240].entries()) {
    expect(pauses[index]).toBeGreaterThanOrEqual(least);
    expect(pauses[index]).toBeLessThanOrEqual(least * 1.5);
  }
});

test("an attempt that takes too long has failed, and its signal says so", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["1"]);
  await using cluster = fake.client();
  const reasons: unknown[] = [];
  const running = cluster.consumer().run(
    "orders",
    async (_, { signal }) => {
      await new Promise<never>(() => signal.addEventListener("abort", () => reasons.push(signal.reason)));
    },
    { timeoutMs: 500 },
  );
  await expect(fake.within(600, running)).rejects.toMatchObject({
    code: "HANDLER_TIMED_OUT",
    message: "the handler of orders-0 at offset 0 did not end within 500 ms",
  });
  expect(reasons).toMatchObject([{ code: "HANDLER_TIMED_OUT" }]);
});

test("what no attempt brings to an end is buried with its bytes, its headers, the reason and its place", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  fake.create("orders.dead");
  storeRecords(must(partition, "a partition"), ["k=bad", "k=good"]);
  await using cluster = fake.client();
  const seen: string[] = [];
  const running = cluster.consumer().run(
    topic("orders", { key: text(), value: text() }),
    ({ value }, { attempt }) => {
      seen.push(`${value} ${attempt}`);
      if (value === "bad") throw new TypeError("it is bad");
    },
    { untilEnd: true, retry: { attempts: 2 }, deadLetters: "orders.dead" },
  );
  await fake.within(5_000, running);
  expect(seen).toEqual(["bad 1", "bad 2", "good 1"]);
  const dead: ConsumedRecord[] = [];
  for await (const record of cluster.consumer().records("orders.dead", { untilEnd: true })) dead.push(record);
  expect(dead.map(({ key, value }) => [key?.toString(), value?.toString()])).toEqual([["k", "bad"]]);
  const headers = must(dead[0], "a dead letter").headers;
  expect(Object.values(deadLetterHeaders).map((name) => headers.get(name))).toEqual([
    "orders",
    "0",
    "0",
    "1700000000000",
    "TypeError",
    "it is bad",
  ]);
});

test("a value that cannot be read goes the same way, without any handler", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  fake.create("orders.dead");
  storeRecords(must(partition, "a partition"), ["1", "x", "2"]);
  await using cluster = fake.client();
  const numbers = topic("orders", {
    value: {
      serialize: (value: number) => Buffer.from(`${value}`),
      deserialize: (bytes) => {
        const digits = bytes?.toString() ?? "";
        if (!/^\d+$/.test(digits)) throw new Error("no number");
        return Number(digits);
      },
    },
  });
  const seen: number[] = [];
  await cluster.consumer().run(numbers, ({ value }) => void seen.push(value), {
    untilEnd: true,
    deadLetters: "orders.dead",
  });
  expect(seen).toEqual([1, 2]);
  expect(fake.values("orders.dead")).toEqual(["x"]);
  await expect(cluster.consumer().run(numbers, () => {}, { untilEnd: true })).rejects.toMatchObject({
    code: "DESERIALIZATION_FAILED",
    message: "orders-0 at offset 1: no number",
  });
  await cluster.consumer().run(numbers, ({ value }) => void seen.push(value), { untilEnd: true, badRecords: "skip" });
  expect(seen).toEqual([1, 2, 1, 2]);
});

test("handlers that are no async functions do not keep others from the event loop", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  for (let batch = 0; batch < 40; batch++)
    storeRecords(
      must(partition, "a partition"),
      Array.from({ length: 50 }, (_, index) => `${batch * 50 + index}`),
    );
  const { clock, network, random } = fake.world;
  let turnsCount = 0;
  let elapsedMs = 0;
  // Each look at this clock finds a millisecond gone, as handlers that compute would have it.
  const busy: Clock = {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs() + elapsedMs++,
    schedule: (delayMs, callback) => clock.schedule(delayMs, callback),
    afterTurn: (callback) => {
      turnsCount++;
      clock.afterTurn(callback);
    },
  };
  await using cluster = fake.client({ world: { clock: busy, network, random } });
  let count = 0;
  await cluster.consumer().run("orders", () => void count++, { untilEnd: true });
  expect(count).toBe(2_000);
  expect(turnsCount).toBeGreaterThan(2);
});
