import { must } from "@millrace/base/assert";
import { expect, test } from "vitest";
import { FakeCluster } from "../../../test/fake-cluster.ts";
import { storeRecords } from "../../../test/store.ts";
import type { Serde } from "../../serdes/serde.ts";
import { topic } from "../../topic.ts";

/** Values are known when the test says so, as those whose schema is still looked for. */
class SlowSerde implements Serde<string> {
  readonly asked: string[] = [];
  readonly #answers = new Map<string, PromiseWithResolvers<string>>();

  serialize(value: string): Uint8Array {
    return Buffer.from(value);
  }

  async deserialize(bytes: Buffer | null): Promise<string> {
    const value = must(bytes, "a value").toString();
    this.asked.push(value);
    const answer = Promise.withResolvers<string>();
    this.#answers.set(value, answer);
    return answer.promise;
  }

  know(value: string): void {
    this.#answer(value).resolve(value);
  }

  fail(value: string): void {
    this.#answer(value).reject(new Error(`${value} has no schema`));
  }

  #answer(value: string): PromiseWithResolvers<string> {
    return must(this.#answers.get(value), `the question for ${value}`);
  }
}

const settle = async ({ world }: FakeCluster): Promise<void> => world.clock.settle();

async function slowWorld(partitions: readonly (readonly string[])[]) {
  const fake = await FakeCluster.start();
  const created = fake.create(
    "slow",
    partitions.map(() => 0),
  );
  for (const [index, values] of partitions.entries()) storeRecords(must(created[index], "a partition"), values);
  const serde = new SlowSerde();
  return { fake, serde, slow: topic("slow", { value: serde }), consumer: fake.client().consumer() };
}

test("a topic whose serde takes its time keeps no other waiting, and its own records in order", async () => {
  const { fake, serde, slow, consumer } = await slowWorld([["s1", "s2"]]);
  storeRecords(fake.create("quick")[0]!, ["q1", "q2", "q3"]);
  const seen: string[] = [];
  const running = consumer.run([slow, "quick"], ({ value }) => void seen.push(String(value)), { untilEnd: true });
  await fake.world.clock.runUntil(() => seen.length === 3, { withinMs: 5_000 });
  expect(seen).toEqual(["q1", "q2", "q3"]);
  // One at a time: what is behind it cannot overtake it.
  expect(serde.asked).toEqual(["s1"]);
  serde.know("s1");
  await settle(fake);
  expect(seen).toEqual(["q1", "q2", "q3", "s1"]);
  expect(serde.asked).toEqual(["s1", "s2"]);
  serde.know("s2");
  // It does not end before what it has fetched is handled.
  await fake.within(5_000, running);
  expect(seen).toEqual(["q1", "q2", "q3", "s1", "s2"]);
});

test.for([1, 8])("partitions do not wait for each other's values: concurrency %d", async (concurrency) => {
  const { fake, serde, slow, consumer } = await slowWorld([["a1", "a2"], ["b1", "b2"], ["c1"]]);
  const seen: string[] = [];
  const running = consumer.run(slow, ({ value }) => void seen.push(value), { untilEnd: true, concurrency });
  await settle(fake);
  expect(serde.asked.toSorted()).toEqual(["a1", "b1", "c1"]);
  for (const value of ["b1", "c1"]) {
    serde.know(value);
    await settle(fake);
  }
  expect(seen).toEqual(["b1", "c1"]);
  serde.know("b2");
  await settle(fake);
  expect(seen).toEqual(["b1", "c1", "b2"]);
  for (const value of ["a1", "a2"]) {
    serde.know(value);
    await settle(fake);
  }
  await fake.within(5_000, running);
  expect(seen).toEqual(["b1", "c1", "b2", "a1", "a2"]);
});

test("a pause gives nothing back that stands behind a value which is not known yet", async () => {
  const { fake, serde, slow, consumer } = await slowWorld([["a1", "a2", "a3"], ["b1"]]);
  const paused = { topic: "slow", partition: 0 };
  const seen: string[] = [];
  const running = consumer.run(slow, ({ value }) => void seen.push(value), { untilEnd: true, concurrency: 4 });
  await settle(fake);
  consumer.pause(paused);
  // Something happens, so that the pause is noticed.
  serde.know("b1");
  await settle(fake);
  consumer.resume(paused);
  await fake.world.clock.advance(2_000);
  expect(serde.asked.toSorted()).toEqual(["a1", "b1"]);
  consumer.pause(paused);
  serde.know("a1");
  await fake.world.clock.advance(2_000);
  expect(seen).toEqual(["b1"]);
  consumer.resume(paused);
  for (const value of ["a2", "a3"]) {
    await fake.world.clock.runUntil(() => serde.asked.includes(value), { withinMs: 5_000 });
    serde.know(value);
  }
  await fake.within(5_000, running);
  expect(seen).toEqual(["b1", "a1", "a2", "a3"]);
});

test("whoever seeks away does not wait for a value, and never gets it", async () => {
  const { fake, serde, slow, consumer } = await slowWorld([["a1", "a2", "a3"]]);
  const seen: string[] = [];
  const running = consumer.run(slow, ({ value }) => void seen.push(value), { untilEnd: true });
  await settle(fake);
  await consumer.seek({ topic: "slow", partition: 0 }, { offset: 2 });
  await fake.world.clock.runUntil(() => serde.asked.includes("a3"), { withinMs: 5_000 });
  serde.know("a3");
  await settle(fake);
  serde.know("a1");
  await fake.within(5_000, running);
  expect(seen).toEqual(["a3"]);
});

test("a value that cannot be known ends the run, whatever the others wait for", async () => {
  const { fake, serde, slow, consumer } = await slowWorld([["a1"], ["b1"]]);
  const running = consumer.run(slow, () => {}, { untilEnd: true });
  await settle(fake);
  serde.fail("b1");
  await expect(fake.within(5_000, running)).rejects.toMatchObject({
    message: /slow-1 at offset 0: .*b1 has no schema/,
  });
});

test("whoever closes does not wait for a value for ever, and nobody is given it then", async () => {
  const { fake, serde, slow, consumer } = await slowWorld([["a1", "a2"]]);
  const seen: string[] = [];
  const running = consumer.run(slow, ({ value }) => void seen.push(value));
  await settle(fake);
  await fake.within(60_000, consumer.close());
  await fake.within(1_000, running);
  serde.know("a1");
  await settle(fake);
  expect(seen).toEqual([]);
  expect(serde.asked).toEqual(["a1"]);
});
