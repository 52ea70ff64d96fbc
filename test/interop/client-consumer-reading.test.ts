import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setTimeout as sleep } from "node:timers/promises";
import { channels, Cluster, deadLetterHeaders, text, topic } from "@millrace/client";
import type { ConsumedRecord, RequestEnded } from "@millrace/client";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { clients, whyClientMissing } from "./clients.ts";
import { ConsumerWorld, member, until } from "./consumer-world.ts";
import { skipWhenMissing } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { whyTargetMissing } from "./target.ts";

/** What our own client reads, whatever its group: transactions, large and bad records, busy and idle partitions. */
describe.for(["millrace", "kafka"] as const)("%s", (name) => {
  const world = new ConsumerWorld(name);
  beforeAll(async () => world.begin());
  afterAll(async () => world[Symbol.asyncDispose]());
  beforeEach((context) => skipWhenMissing(context, whyTargetMissing(name)));

  test.concurrent("one busy partition keeps no other waiting", async () => {
    const into = await world.newTopic(2);
    await using producer = world.cluster.producer({ lingerMs: 5 });
    const large = Buffer.alloc(10_000, "x");
    await Promise.all(Array.from({ length: 3_000 }, async () => producer.send(into, { value: large, partition: 0 })));
    await Promise.all(Array.from({ length: 5 }, async () => producer.send(into, { value: "small", partition: 1 })));
    let before = 0;
    let smallCount = 0;
    for await (const { partition } of world.cluster.consumer().records(into, { untilEnd: true })) {
      if (partition === 1) smallCount++;
      else if (smallCount < 5) before++;
    }
    expect(smallCount).toBe(5);
    // Of the thirty megabytes there were at most a few answers before it.
    expect(before).toBeLessThan(1_000);
  });

  test.concurrent("records larger than partitionMaxBytes, maxBytes and the buffer come all the same", async () => {
    const into = await world.newTopic(2, { "max.message.bytes": "5000000" });
    await using producer = world.cluster.producer({ batchBytesMax: 4_500_000 });
    for (let index = 0; index < 4; index++)
      for (const partition of [0, 1]) await producer.send(into, { value: Buffer.alloc(2_000_000, index), partition });
    const sizes: number[] = [];
    const consumer = world.cluster.consumer({ partitionMaxBytes: 1_000, maxBytes: 1_000, bufferBytesMax: 1_000 });
    for await (const { value } of consumer.records(into, { untilEnd: true })) sizes.push(value?.length ?? 0);
    expect(sizes).toEqual(Array.from({ length: 8 }, () => 2_000_000));
  });

  test.concurrent("records that cannot be read: the reading ends, or they are left out, or sent to dead letters", async () => {
    const into = await world.newTopic(1);
    const dead = await world.newTopic(1);
    await using producer = world.cluster.producer();
    for (const value of ["1", "x", "2"]) await producer.send(into, { key: "k", value, partition: 0 });
    const numbers = topic(into, {
      key: text(),
      value: {
        serialize: (value: number) => Buffer.from(`${value}`),
        deserialize: (bytes) => {
          if (!/^\d+$/.test(bytes?.toString() ?? "")) throw new Error("no number");
          return Number(bytes?.toString());
        },
      },
    });
    const read = async (
      group: string,
      badRecords: "fail" | "skip" | { readonly deadLetters: string },
    ): Promise<number[]> => {
      const seen: number[] = [];
      const consumer = world.cluster.consumer(member(group, "classic"));
      for await (const { value } of consumer.records(numbers, { from: "earliest", badRecords })) {
        seen.push(value);
        if (value === 2) break;
      }
      return seen;
    };
    await expect(read("bad-fail", "fail")).rejects.toMatchObject({ code: "DESERIALIZATION_FAILED" });
    // What stands before it is done, and it is the next one for whoever can read it.
    expect(await world.committed("bad-fail", into)).toBe(1);
    expect(await read("bad-skip", "skip")).toEqual([1, 2]);
    expect(await read("bad-dead", { deadLetters: dead })).toEqual([1, 2]);
    const letters: ConsumedRecord[] = [];
    for await (const letter of world.cluster.consumer().records(dead, { untilEnd: true })) letters.push(letter);
    expect(letters.map(({ key, value }) => [key?.toString(), value?.toString()])).toEqual([["k", "x"]]);
    expect(letters[0]?.headers.get(deadLetterHeaders.topic)).toBe(into);
    expect(letters[0]?.headers.get(deadLetterHeaders.offset)).toBe("1");
  });

  test.concurrent("transactions: aborted and open ones are not seen, and nothing stalls on what nobody sees", async (context) => {
    skipWhenMissing(context, whyClientMissing("librdkafka"));
    const into = await world.newTopic(1);
    const group = "transactional-reader";
    await using program = ClientProgram.start(clients.librdkafka, world.address);
    const transact = async (
      producer: string,
      end: "commit" | "abort" | "open",
      values: readonly string[],
    ): Promise<void> => {
      const records = values.map((value) => [0, value] as const);
      await program.transact({ producer, transactionalId: `${into}-${producer}`, topic: into, records, end });
    };
    await using own = new Cluster({ brokers: [world.address] });
    const consumer = own.consumer({ ...member(group, "classic"), isolation: "read_committed" });
    const seen: string[] = [];
    const running = consumer.run(into, ({ value }) => void seen.push(`${value?.toString()}`), { from: "earliest" });
    await transact("one", "commit", ["a1", "a2"]);
    await transact("one", "abort", ["b1", "b2"]);
    await transact("one", "abort", ["c1"]);
    await transact("one", "commit", ["d1"]);
    await until(() => seen.length === 3, `the committed ones: ${seen.join(" ")}`);
    // a1 a2 marker b1 b2 marker c1 marker d1 marker: the position passes what is of no reader.
    await until(async () => (await world.committed(group, into)) === 10, "the end is committed, markers included");
    await transact("one", "abort", ["e1"]);
    await until(async () => (await world.committed(group, into)) === 12, "a stretch that holds nothing is passed");
    await transact("two", "open", ["f1"]);
    await transact("one", "commit", ["g1"]);
    const uncommitted: string[] = [];
    for await (const { value } of own.consumer().records(into, { untilEnd: true }))
      uncommitted.push(`${value?.toString()}`);
    expect(uncommitted).toEqual(["a1", "a2", "b1", "b2", "c1", "d1", "e1", "f1", "g1"]);
    const stable: string[] = [];
    const reader = own.consumer({ isolation: "read_committed" });
    for await (const { value } of reader.records(into, { untilEnd: true })) stable.push(`${value?.toString()}`);
    expect(stable).toEqual(["a1", "a2", "d1"]);
    await sleep(500);
    expect(seen).toEqual(["a1", "a2", "d1"]);
    await program.end({ producer: "two", end: "abort" });
    await until(() => seen.length === 4, "what was behind the open transaction");
    expect(seen.at(-1)).toBe("g1");
    await consumer.close();
    await running;
  });

  test.concurrent("an aborted signal ends the reading at each point", async () => {
    const into = await world.newTopic(1);
    await world.fill(into, { count: 5 });
    await using own = new Cluster({ brokers: [world.address] });
    for (const group of [undefined, "aborting"]) {
      for (const afterMs of [0, 1, 5, 20, 100, 400]) {
        const consumer = own.consumer(
          group === undefined ? {} : member(group, afterMs % 2 === 0 ? "classic" : "consumer"),
        );
        if (group !== undefined && afterMs % 2 !== 0) continue;
        const signal = AbortSignal.timeout(afterMs);
        const beganMs = performance.now();
        for await (const record of consumer.records(into, { from: "earliest", signal }))
          expect(record.offset).toBeLessThan(5);
        expect(performance.now() - beganMs).toBeLessThan(afterMs + 10_000);
        await consumer.run(into, async () => sleep(10), { signal: AbortSignal.timeout(afterMs), from: "earliest" });
        await consumer.close();
      }
    }
  });

  // Alone: it counts what this process asks.
  test("an idle consumer asks as often as maxWaitMs says, and waits for minBytes", async () => {
    const into = await world.newTopic(3);
    await using own = new Cluster({ brokers: [world.address] });
    const records = own.consumer({ maxWaitMs: 1_000, minBytes: 1_000_000 }).records(into);
    const next = records.next();
    await sleep(500);
    let fetchesCount = 0;
    const onRequest = (event: unknown): void => {
      if ((event as RequestEnded).api === "Fetch") fetchesCount++;
    };
    subscribe(channels.request, onRequest);
    await sleep(5_000);
    // Less than minBytes: it comes when the wait is over.
    await world.fill(into, { count: 1 });
    expect((await next).value?.offset).toBe(0);
    unsubscribe(channels.request, onRequest);
    await records.return();
    expect(fetchesCount).toBeGreaterThanOrEqual(4);
    expect(fetchesCount).toBeLessThanOrEqual(9);
  });
});
