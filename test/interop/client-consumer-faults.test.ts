import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { isLong } from "./asked.ts";
import type { ConsumerProcess } from "./consumer-process.ts";
import { ConsumerWorld, member, offsets, shortSessionMs } from "./consumer-world.ts";
import type { Protocol } from "./consumer-world.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyTargetMissing } from "./target.ts";

/**
 * The consumer of our own client while brokers are killed, stand still and are away; and how a process that uses it ends. With
 * `--long` on both brokers what one of them shows otherwise.
 */
const partitionCount = 4;
const protocols: readonly Protocol[] = ["classic", "consumer"];

/** A broker that is killed and frozen, and processes that read from it. */
class FaultyWorld extends ConsumerWorld {
  async filled(count: number, valueBytes = 1): Promise<string> {
    const topic = await this.newTopic(partitionCount);
    await this.more(topic, count, valueBytes);
    return topic;
  }

  async more(topic: string, count: number, valueBytes = 1): Promise<void> {
    const value = Buffer.alloc(valueBytes, "x");
    await this.fill(topic, { partitions: partitionCount, count, valueAt: () => value });
  }

  /** Reads the topic from its beginning; its group begins with the topic's name. */
  read(topic: string, spec: Parameters<ConsumerWorld["start"]>[1] = {}): ConsumerProcess {
    return this.start(spec.name ?? "consumer", { topics: [topic], read: { from: "earliest" }, ...spec });
  }
}

describe.for(["millrace", "kafka"] as const)("%s", (name) => {
  const world = new FaultyWorld(name);
  beforeAll(async () => world.begin());
  afterAll(async () => world[Symbol.asyncDispose]());
  beforeEach((context) => skipWhenMissing(context, whyTargetMissing(name)));

  test("who reads slowly holds what fits its buffer, however much there is", async () => {
    // A hundred megabytes.
    const topic = await world.filled(2_500, 10_000);
    await using slow = world.read(topic, {
      consumer: { ...member(`${topic}-slow`, "classic"), bufferBytesMax: 4 * 1024 * 1024 },
      run: { concurrency: 4 },
      workMs: 10,
    });
    await slow.until(({ handled }) => handled.length > 200, "it reads");
    slow.tell("memory");
    await slow.until(({ of }) => of.call(slow, "memory").length === 1, "it says how much it holds");
    await slow.until(({ handled }) => handled.length > 600, "it reads on");
    slow.tell("memory");
    await slow.until(({ of }) => of.call(slow, "memory").length === 2, "it says so again");
    for (const { arrayBuffers } of slow.of("memory")) {
      // The buffer, the answer that is on its way, and what a chunk is cut out of.
      expect(arrayBuffers).toBeLessThan(20 * 1024 * 1024);
    }
    slow.tell("close");
    await slow.ends();
  });

  test("a broker that stands still, with its connections open, is waited for; a program that waits does not end", async () => {
    const topic = await world.filled(5);
    await using stack = new AsyncDisposableStack();
    const members: ConsumerProcess[] = [];
    for (const protocol of protocols) {
      const consumer = await world.shorten(`${topic}-${protocol}`, protocol);
      const cluster = { requestTimeoutMs: 2_000, connectTimeoutMs: 2_000 };
      members.push(stack.use(world.read(topic, { name: protocol, consumer, cluster })));
    }
    const cluster = { requestTimeoutMs: 2_000 };
    members.push(stack.use(world.read(topic, { name: "alone", consumer: { maxWaitMs: 100 }, cluster })));
    for (const one of members) await one.until(({ handled }) => handled.length === 20, "all is read");
    {
      using _frozen = world.target.freeze();
      await sleep(2.5 * shortSessionMs);
    }
    await world.more(topic, 5);
    for (const one of members) {
      await one.until(({ handled }) => new Set(handled).size === 40, "what came later is read");
      one.tell("close");
      await one.ends();
    }
  });

  const killsCount = isLong || name === "millrace" ? 2 : 1;
  test(`a broker that is killed and comes back, times ${killsCount}: members of both protocols go on, and nothing is left out`, async () => {
    const topic = await world.filled(50);
    await using stack = new AsyncDisposableStack();
    const members = new Map<Protocol, ConsumerProcess[]>();
    for (const protocol of protocols) {
      const consumer = await world.shorten(`${topic}-${protocol}`, protocol);
      const both = [1, 2].map((number) =>
        stack.use(world.read(topic, { name: `${protocol}-${number}`, consumer, workMs: 2 })),
      );
      members.set(protocol, both);
    }
    for (let round = 1; round <= killsCount + 1; round++) {
      for (const [protocol, both] of members) {
        const seen = (): Set<string> => new Set(both.flatMap(({ handled }) => handled));
        const expected = offsets(topic, partitionCount, 50 * round);
        await both[0]?.until(() => seen().size >= expected.length, `${protocol}: round ${round}`);
        expect([...seen()].toSorted()).toEqual(expected.toSorted());
      }
      if (round > killsCount) break;
      await world.target.kill();
      await sleep(1_500);
      await world.target.start();
      await world.more(topic, 50);
    }
    const all = [...members.values()].flat();
    for (const one of all) one.tell("close");
    for (const one of all) {
      await one.ends();
      expect(one.of("ended")).toEqual([{ event: "ended", error: null }]);
    }
  });

  const closing = isLong ? protocols : name === "millrace" ? (["classic"] as const) : (["consumer"] as const);
  test.for(closing)("close() ends a process in bounded time, whatever it is doing: %s", async (protocol) => {
    const topic = await world.filled(200);
    const boundMs = 30_000;
    await using stack = new AsyncDisposableStack();
    const start = (what: string, spec: Parameters<ConsumerWorld["start"]>[1] = {}): ConsumerProcess => {
      const consumer = { ...member(`${topic}-${what}`, protocol), revokeTimeoutMs: 2_000 };
      return stack.use(world.read(topic, { name: what, consumer, ...spec }));
    };
    const cases: readonly (readonly [ConsumerProcess, (one: ConsumerProcess) => boolean])[] = [
      [start("joining"), () => true],
      [start("assigned"), (one) => one.assignment.length > 0],
      [start("in a handler that takes longer than it may", { workMs: 5_000 }), (one) => one.of("begun").length > 0],
      [start("in the body of a loop", { mode: "records", workMs: 500 }), (one) => one.of("begun").length > 0],
      [start("between commits", { mode: "records", commitEach: true }), (one) => one.handled.length > 10],
      [start("idle", { mode: "batches" }), (one) => one.handled.length === 800],
      [start("without a group", { consumer: {} }), (one) => one.handled.length > 10],
    ];
    for (const [one, isThere] of cases) {
      await one.until((self) => self.of("started").length > 0 && isThere(self), "it is where it is to be closed");
      one.tell(one.name === "idle" ? "abort" : "close");
    }
    for (const [one] of cases) {
      await one.until((self) => self.of("ended").length > 0, "it ends", boundMs);
      expect(one.of("ended"), one.name).toEqual([{ event: "ended", error: null }]);
      await one.ends(boundMs);
    }
  });

  // Last: nothing brings the broker back. Which broker is away makes no difference.
  if (!isLong && name === "kafka") return;
  test("close() ends a process whose broker is away", async () => {
    const topic = await world.filled(200);
    await using stack = new AsyncDisposableStack();
    const cluster = isLong ? {} : { requestTimeoutMs: 3_000, connectTimeoutMs: 3_000 };
    const away = protocols.map((protocol) => {
      const consumer = member(`${topic}-${protocol}`, protocol);
      return stack.use(world.read(topic, { name: protocol, consumer, cluster, workMs: 1 }));
    });
    away.push(stack.use(world.read(topic, { name: "alone", cluster })));
    for (const one of away) await one.until(({ handled }) => handled.length > 50, "it reads");
    await world.target.kill();
    await sleep(1_000);
    for (const one of away) one.tell("close");
    // What they try in vain has an end.
    for (const one of away) await one.ends(45_000);
  });
});
