import { must } from "@millrace/base/assert";
import { expect, test } from "vitest";
import { FakeCluster } from "../../../test/fake-cluster.ts";
import { storeRecords } from "../../../test/store.ts";
import type { RawTopic } from "../../topic.ts";

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from + index}`);

test("batches are of one partition, in order, and as large as what is there and may be", async () => {
  const fake = await FakeCluster.start();
  const [first, second] = fake.create("orders", [0, 0]);
  for (const at of [0, 10, 20]) storeRecords(must(first, "a partition"), numbers(at, 10));
  storeRecords(must(second, "a partition"), numbers(100, 5));
  await using cluster = fake.client();
  const found: string[] = [];
  for await (const batch of cluster.consumer().batches("orders", { untilEnd: true, countMax: 16 })) {
    const [from, to] = [batch.records[0], batch.records.at(-1)];
    found.push(
      `${batch.partition}: ${batch.length} ${from?.value?.toString()}-${to?.value?.toString()} next ${batch.nextOffset}`,
    );
  }
  expect(found.filter((line) => line.startsWith("0"))).toEqual(["0: 16 0-15 next 16", "0: 14 16-29 next 30"]);
  expect(found.filter((line) => line.startsWith("1"))).toEqual(["1: 5 100-104 next 5"]);
});

test("a batch that is not full waits for more, for so long and no longer", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["0"]);
  await using cluster = fake.client();
  const batches = cluster.consumer({ maxWaitMs: 20 }).batches("orders", { waitMs: 200, countMax: 3 });
  const next = batches.next();
  await fake.world.clock.advance(100);
  storeRecords(must(partition, "a partition"), ["1"]);
  const first = await fake.within(150, next);
  expect(first.value?.length).toBe(2);
  storeRecords(must(partition, "a partition"), numbers(2, 5));
  expect((await fake.within(50, batches.next())).value?.length).toBe(3);
  await batches.return();
});

test("leaving the loop ends the reading", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["0"]);
  await using cluster = fake.client();
  const consumer = cluster.consumer();
  for await (const batch of consumer.batches("orders")) {
    expect(consumer.assignment()).toEqual([{ topic: "orders", partition: 0 }]);
    expect(batch.signal.aborted).toBe(false);
    break;
  }
  expect(consumer.assignment()).toEqual([]);
  expect(fake.brokers[0]?.connections.size).toBe(1);
});

test("what comes before a record that cannot be read is given, and then the error", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  storeRecords(must(partition, "a partition"), ["0", "1"]);
  storeRecords(must(partition, "a partition"), ["2", "x", "4"]);
  const value = {
    serialize: () => Buffer.alloc(0),
    deserialize: (bytes: Buffer | null) => {
      if (bytes?.toString() === "x") throw new Error("no number");
      return bytes;
    },
  };
  const topic = { name: "orders", key: value, value } as unknown as RawTopic;
  await using cluster = fake.client();
  const consumer = cluster.consumer();
  const batches = consumer.batches(topic);
  const first = (await fake.within(1_000, batches.next())).value;
  expect(first?.records.map(({ offset }) => offset)).toEqual([0, 1, 2]);
  expect(first?.nextOffset).toBe(3);
  const failure = fake.within(1_000, batches.next());
  await expect(failure).rejects.toMatchObject({ code: "DESERIALIZATION_FAILED" });
  await expect(failure).rejects.toThrow("orders-0 at offset 3");
  expect(await batches.next()).toEqual({ done: true, value: undefined });
});
