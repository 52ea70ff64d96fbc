import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";
import type { ConsumedRecord, Consumer, PositionMoved } from "@millrace/client";
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ConsumerWorld, expectAll, expectOnce, member, offsets, shortSessionMs, until } from "./consumer-world.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyTargetMissing } from "./target.ts";

/**
 * The consumer of our own client in groups, against Millrace and against Apache Kafka: the same cases, the same outcomes.
 * What needs a broker that breaks is in client-consumer-faults.test.ts.
 */
// Most of the time they wait.
vi.setConfig({ maxConcurrency: 8 });

describe.for(["millrace", "kafka"] as const)("%s", (name) => {
  const world = new ConsumerWorld(name);
  beforeAll(async () => world.begin());
  afterAll(async () => world[Symbol.asyncDispose]());
  beforeEach((context) => skipWhenMissing(context, whyTargetMissing(name)));

  describe.concurrent.for(["classic", "consumer"] as const)("protocol %s", (protocol) => {
    const label = (what: string): string => `${what}-${protocol}`;

    test.concurrent.for([
      ["run", "auto"],
      ["records", "auto"],
      ["batches", "auto"],
      ["batches", "manual"],
    ] as const)("an orderly handover loses and doubles nothing: %s, commits %s", async ([mode, commit]) => {
      const into = await world.newTopic(6);
      const group = `${label("handover")}-${mode}-${commit}`;
      const seen: string[] = [];
      const failures: unknown[] = [];
      const losses: string[] = [];
      const start = (): { readonly consumer: Consumer; readonly own: Cluster; readonly done: Promise<void> } => {
        const own = new Cluster({ brokers: [world.address], metadataMaxAgeMs: 1_000 });
        const consumer = own.consumer({ ...member(group, protocol), commit });
        consumer.on("lost", (partitions) => void losses.push(...partitions.map(({ partition }) => `${partition}`)));
        const see = async (record: ConsumedRecord): Promise<void> => {
          await sleep(1);
          seen.push(`${record.topic}-${record.partition}@${record.offset}`);
        };
        const read = { from: "earliest" } as const;
        const work = async (): Promise<void> => {
          if (mode === "run") await consumer.run(into, see, { ...read, concurrency: 4 });
          else if (mode === "records") for await (const record of consumer.records(into, read)) await see(record);
          else {
            for await (const batch of consumer.batches(into, { ...read, countMax: 20 })) {
              for (const record of batch) await see(record);
              if (commit === "manual") await batch.commit();
            }
          }
        };
        return { consumer, own, done: work().catch((error: unknown) => void failures.push(error)) };
      };
      const feeding = (async () => {
        for (let from = 0; from < 400; from += 50) {
          await world.fill(into, { partitions: 6, from, count: 50 });
          await sleep(200);
        }
      })();
      const members = [start()];
      await until(() => seen.length > 100, "the first reads");
      members.push(start());
      await sleep(800);
      members.push(start());
      await sleep(800);
      for (const gone of members.splice(0, 2)) {
        await gone.consumer.close();
        await gone.own.close();
        await gone.done;
        await sleep(500);
      }
      await feeding;
      await until(() => seen.length >= 2_400 || failures.length > 0, `all are seen: ${seen.length}`);
      for (const left of members) {
        await left.consumer.close();
        await left.own.close();
        await left.done;
      }
      expect(failures).toEqual([]);
      expect(losses).toEqual([]);
      expectOnce(seen, offsets(into, 6, 400));
      for (let partition = 0; partition < 6; partition++)
        expect(await world.committed(group, into, partition)).toBe(400);
    });

    test.concurrent("a handler that takes longer than a session costs nobody the membership", async () => {
      const into = await world.newTopic(2);
      await world.fill(into, { partitions: 2, count: 1 });
      const group = label("slow");
      await using own = new Cluster({ brokers: [world.address] });
      const sessionMs = 4_000;
      const consumer = own.consumer(await world.shorten(group, protocol, sessionMs));
      const events: string[] = [];
      for (const what of ["assigned", "revoked", "lost"] as const) consumer.on(what, () => void events.push(what));
      const seen: string[] = [];
      const running = consumer.run(
        into,
        async ({ partition, offset }) => {
          await sleep(1.5 * sessionMs);
          seen.push(`${into}-${partition}@${offset}`);
        },
        { from: "earliest", concurrency: 2 },
      );
      await until(() => seen.length === 2, "both are handled");
      await consumer.close();
      await running;
      expectOnce(seen, offsets(into, 2, 1));
      expect(events.filter((event) => event === "lost")).toEqual([]);
      expect(await world.committed(group, into, 1)).toBe(1);
    });

    test.concurrent("who comes gets a partition when the work on it is done and committed, its signal told", async () => {
      const into = await world.newTopic(2);
      await world.fill(into, { partitions: 2, count: 3 });
      const group = label("revoke");
      await using own = new Cluster({ brokers: [world.address] });
      const first = own.consumer({ ...member(group, protocol), commitIntervalMs: 600_000 });
      const hold = Promise.withResolvers<void>();
      const seen: string[] = [];
      const aborted = new Set<number>();
      const running = first.run(
        into,
        async ({ partition, offset, signal }) => {
          signal.addEventListener("abort", () => aborted.add(partition), { once: true });
          if (offset === 1) await hold.promise;
          seen.push(`${into}-${partition}@${offset}`);
        },
        { from: "earliest", concurrency: 2 },
      );
      await until(() => seen.length === 2, "the first ones are handled");
      const second = own.consumer(member(group, protocol));
      const others: string[] = [];
      const also = second.run(into, ({ partition, offset }) => void others.push(`${into}-${partition}@${offset}`));
      await until(() => aborted.size === 1, "one partition is to be given up");
      await sleep(1_000);
      expect(others).toEqual([]);
      hold.resolve();
      await until(() => seen.length + others.length >= 6, "all are handled");
      await sleep(300);
      const [moved] = aborted;
      expect(others).toEqual([`${into}-${moved}@2`]);
      expectOnce([...seen, ...others], offsets(into, 2, 3));
      await Promise.all([first.close(), second.close(), running, also]);
    });

    test.concurrent("what is not done within revokeTimeoutMs goes to others, and is not committed", async () => {
      const into = await world.newTopic(1);
      await world.fill(into, { count: 3 });
      const group = label("revoke-late");
      await using own = new Cluster({ brokers: [world.address] });
      const first = own.consumer({ ...member(group, protocol), revokeTimeoutMs: 1_000 });
      let isBegun = false;
      const running = first.run(
        into,
        async () => {
          isBegun = true;
          await new Promise<never>(() => {});
        },
        { from: "earliest" },
      );
      await until(() => isBegun, "the first one is begun");
      const beganMs = performance.now();
      await first.close();
      expect(performance.now() - beganMs).toBeLessThan(10_000);
      await running;
      const others: string[] = [];
      const second = own.consumer(member(group, protocol));
      const also = second.run(into, ({ partition, offset }) => void others.push(`${into}-${partition}@${offset}`));
      await until(() => others.length === 3, "the next one reads all");
      expectOnce(others, offsets(into, 1, 3));
      await Promise.all([second.close(), also]);
    });

    test.concurrent("a process that is killed: the others go on from what it had committed", async () => {
      const into = await world.newTopic(4);
      const group = label("killed");
      await world.fill(into, { partitions: 4, count: 100 });
      const consumer = await world.shorten(group, protocol);
      const spec = { consumer, read: { from: "earliest" as const }, topics: [into] };
      await using first = world.start("first", { ...spec, mode: "records", commitEach: true, workMs: 2 });
      await using second = world.start("second", { ...spec, workMs: 2 });
      await first.until(({ assignment }) => assignment.length === 2, "it has half");
      await first.until(({ handled }) => handled.length > 20, "it works");
      await first.kill();
      const fromFirst = first.handled;
      await world.fill(into, { partitions: 4, from: 100, count: 20 });
      await second.until(
        ({ handled }) => new Set([...fromFirst, ...handled]).size === 480,
        "the other one has the rest",
      );
      expectAll([...fromFirst, ...second.handled], offsets(into, 4, 120));
      // Each was committed before the next was asked for: at most the last one of each turn comes again.
      const again = second.handled.filter((each) => fromFirst.includes(each));
      expect(again.length).toBeLessThanOrEqual(4 + 1);
      second.tell("close");
      await second.ends();
    });

    test.concurrent("a process that stood still for longer than a session comes back, and begins where it had committed", async () => {
      const into = await world.newTopic(1);
      const group = label("frozen");
      await world.fill(into, { count: 5 });
      // From the end, and with nothing committed before: the first position is committed at once.
      await using frozen = world.start("frozen", {
        consumer: await world.shorten(group, protocol),
        read: { from: "latest" },
        topics: [into],
      });
      await frozen.until(({ assignment }) => assignment.length === 1, "it has the partition");
      await until(async () => (await world.committed(group, into)) === 5, "the first position is committed");
      frozen.freeze();
      await world.fill(into, { from: 5, count: 20 });
      await sleep(2.5 * shortSessionMs);
      frozen.thaw();
      await frozen.until(({ handled }) => new Set(handled).size === 20, "it reads what came meanwhile");
      expectAll(frozen.handled, offsets(into, 1, 25).slice(5));
      // What it handled before it knew that its place was lost is not committed, and comes again.
      await until(async () => (await world.committed(group, into)) === 25, "all is committed");
      frozen.tell("close");
      await frozen.ends();
    });

    test.concurrent("a member that was replaced while it stood still takes nothing from the other, and both go on", async () => {
      const into = await world.newTopic(2);
      const group = label("replaced");
      await world.fill(into, { partitions: 2, count: 10 });
      const consumer = await world.shorten(group, protocol);
      const spec = { consumer, read: { from: "earliest" as const }, topics: [into] };
      await using frozen = world.start("frozen", spec);
      await frozen.until(({ handled }) => handled.length === 20, "it reads all");
      await until(async () => (await world.committed(group, into, 1)) === 10, "all is committed");
      frozen.freeze();
      await using other = world.start("other", spec);
      await other.until(({ assignment }) => assignment.length === 2, "the other one has all");
      await world.fill(into, { partitions: 2, from: 10, count: 10 });
      await other.until(({ handled }) => handled.length === 20, "and reads on");
      await until(async () => (await world.committed(group, into, 0)) === 20, "which is committed");
      frozen.thaw();
      await frozen.until(
        ({ of, assignment }) => of.call(frozen, "lost").length === 1 && assignment.length === 1,
        "it is back",
      );
      await world.fill(into, { partitions: 2, from: 20, count: 10 });
      await until(() => new Set([...frozen.handled, ...other.handled]).size === 60, "all is read");
      expectAll([...frozen.handled, ...other.handled], offsets(into, 2, 30));
      // What the other had read and committed was not read again.
      expect(frozen.handled.filter((each) => other.handled.includes(each))).toEqual([]);
      for (const each of [frozen, other]) each.tell("close");
      await Promise.all([frozen.ends(), other.ends()]);
    });

    test.concurrent("10,000 records, one after the other within each key, while members come and go", async () => {
      const into = await world.newTopic(4);
      const group = label("keys");
      const keyOf = (index: number): string => `key-${index % 50}`;
      const feeding = world.fill(into, { partitions: 4, count: 2_500, keyOf });
      const inWork = new Set<string>();
      const seen: string[] = [];
      const faults: string[] = [];
      const start = (): { readonly consumer: Consumer; readonly own: Cluster; readonly done: Promise<void> } => {
        const own = new Cluster({ brokers: [world.address] });
        const consumer = own.consumer(member(group, protocol));
        const lastOf = new Map<string, number>();
        consumer.on("assigned", () => lastOf.clear());
        const done = consumer.run(
          into,
          async (record) => {
            const { partition, offset, key } = record;
            const line = `${partition} ${key?.toString()}`;
            if (inWork.has(line)) faults.push(`two at a time: ${line} at ${offset}`);
            if (offset <= (lastOf.get(line) ?? -1)) faults.push(`out of order: ${line} at ${offset}`);
            lastOf.set(line, offset);
            inWork.add(line);
            await sleep(offset % 3);
            inWork.delete(line);
            seen.push(`${into}-${partition}@${offset}`);
          },
          { from: "earliest", order: "key", concurrency: 16 },
        );
        return { consumer, own, done };
      };
      const members = [start()];
      await until(() => seen.length > 500, "the first reads");
      members.push(start());
      await until(() => seen.length > 3_000, "two read");
      members.push(start());
      const gone = members.shift();
      await until(() => seen.length > 5_000, "three read");
      await gone?.consumer.close();
      await gone?.done;
      await gone?.own.close();
      await until(() => new Set(seen).size === 10_000, "all are handled");
      await feeding;
      for (const left of members) {
        await left.consumer.close();
        await left.done;
        await left.own.close();
      }
      expect(faults).toEqual([]);
      expectAll(seen, offsets(into, 4, 2_500));
      // What was done while an earlier one still waited for its key comes again, and no more than that.
      expect(seen.length - 10_000).toBeLessThan(500);
    });

    test.concurrent("a topic that is deleted and made again is read from its beginning", async () => {
      const into = await world.newTopic(1);
      await world.fill(into, { count: 5 });
      await using own = new Cluster({ brokers: [world.address], metadataMaxAgeMs: 1_000 });
      const consumer = own.consumer(member(label("recreated"), protocol));
      const seen: string[] = [];
      const running = consumer.run(into, ({ value }) => void seen.push(`${value?.toString()}`), { from: "earliest" });
      await until(() => seen.length === 5, "the first topic is read");
      const { wire } = world.cluster;
      const { topicId } = await wire.topic(into);
      await world.admin.topics.delete(into);
      await until(async () => {
        try {
          await world.admin.topics.create({ name: into, partitions: 1 });
          return true;
        } catch {
          return false;
        }
      }, "the topic is made again");
      // What is written for the topic that is gone is not written into another one.
      const topicIdNow = async (): Promise<string> => (await wire.refresh(into)).topicId;
      await until(async () => (await topicIdNow().catch(() => topicId)) !== topicId, "the broker has heard of it");
      // More than was read of the other: where that ended would be in the middle of this.
      await world.fill(into, { from: 100, count: 12 });
      await until(
        () => seen.length >= 17,
        () => `the second topic is read: ${seen.join(" ")}`,
      );
      await consumer.close();
      await running;
      expect(seen.slice(5)).toEqual(Array.from({ length: 12 }, (_, index) => `${100 + index}`));
    });

    test.concurrent("partitions that are added are read, from their beginning", async () => {
      const into = await world.newTopic(1);
      await using own = new Cluster({ brokers: [world.address], metadataMaxAgeMs: 500 });
      const consumer = own.consumer(member(label("added"), protocol));
      const seen: string[] = [];
      const running = consumer.run(into, ({ partition, offset }) => void seen.push(`${into}-${partition}@${offset}`), {
        from: "earliest",
      });
      await world.fill(into, { count: 3 });
      await until(() => seen.length === 3, "the first partition is read");
      const answer = await world.cluster.wire.request(createPartitions, {
        topics: [{ name: into, count: 3, assignments: null }],
        timeoutMs: 10_000,
        validateOnly: false,
      });
      expect(answer.results[0]?.errorCode).toBe(0);
      world.cluster.wire.metadata.forget(into);
      await until(async () => (await world.cluster.wire.refresh(into)).partitions.length === 3, "they are there");
      await world.fill(into, { partitions: 3, from: 3, count: 4 });
      await until(() => seen.length >= 3 + 12, `all are read: ${seen.join(" ")}`);
      await consumer.close();
      await running;
      expect(seen.filter((each) => each.includes(`${into}-2@`))).toEqual(offsets(into, 3, 4).slice(8));
    });

    test.concurrent("topics that match a pattern are read, those that come later as well", async () => {
      const prefix = `${label("pattern")}-`;
      await world.admin.topics.create({ name: `${prefix}a`, partitions: 1 });
      await world.admin.topics.create({ name: `other-${prefix}x`, partitions: 1 });
      await world.fill(`${prefix}a`, { count: 2 });
      await using own = new Cluster({ brokers: [world.address], metadataMaxAgeMs: 500 });
      const consumer = own.consumer(member(label("pattern"), protocol));
      const seen: string[] = [];
      const running = consumer.run(
        new RegExp(`^${prefix}[ab]$`),
        ({ topic: from, offset }) => void seen.push(`${from}@${offset}`),
        { from: "earliest" },
      );
      await until(() => seen.length === 2, "the first topic is read");
      await world.admin.topics.create({ name: `${prefix}b`, partitions: 1 });
      await world.admin.topics.create({ name: `${prefix}c`, partitions: 1 });
      for (const last of "bc") await world.fill(`${prefix}${last}`, { count: 2 });
      await until(
        () => seen.length === 4,
        () => `the second topic is read: ${seen.join(" ")}`,
      );
      await consumer.close();
      await running;
      expect(seen).toEqual([`${prefix}a@0`, `${prefix}a@1`, `${prefix}b@0`, `${prefix}b@1`]);
    });

    test.concurrent("a position that retention has passed is changed for the beginning, and that is told", async () => {
      const into = await world.newTopic(1);
      await world.fill(into, { count: 30 });
      const group = label("retention");
      await using own = new Cluster({ brokers: [world.address] });
      const consumer = own.consumer({ ...member(group, protocol), partitionMaxBytes: 1 });
      const moves: PositionMoved[] = [];
      consumer.on("moved", (moved) => void moves.push(moved));
      const seen: number[] = [];
      const hold = Promise.withResolvers<void>();
      const running = consumer.run(
        into,
        async ({ offset }) => {
          seen.push(offset);
          if (offset === 29) await hold.promise;
        },
        { from: "earliest" },
      );
      await until(() => seen.length === 30, "the first ones are read");
      const partition = { topic: into, partition: 0 };
      consumer.pause(partition);
      hold.resolve();
      // The fetch that is on its way gets nothing.
      await sleep(1_000);
      await world.fill(into, { from: 30, count: 30 });
      await world.deleteBefore(into, 50);
      consumer.resume(partition);
      await until(() => seen.length >= 40, "the rest is read");
      expect(seen.slice(30)).toEqual(Array.from({ length: 10 }, (_, index) => 50 + index));
      expect(moves).toEqual([{ ...partition, reason: "out-of-range", before: 30, now: 50 }]);
      await consumer.close();
      await running;
      expect(await world.committed(group, into)).toBe(60);
    });

    test.concurrent("pause, resume, seek, and a seek to a time", async () => {
      const into = await world.newTopic(2);
      const baseMs = 1_700_000_000_000;
      await using producer = world.cluster.producer();
      for (let index = 0; index < 10; index++) {
        const timestamp = baseMs + index * 1_000;
        for (const partition of [0, 1]) await producer.send(into, { value: `${index}`, partition, timestamp });
      }
      await using own = new Cluster({ brokers: [world.address] });
      const group = label("seek");
      const consumer = own.consumer(member(group, protocol));
      const records = consumer.records(into, { from: "earliest" });
      const seen: string[] = [];
      const take = async (count: number): Promise<void> => {
        for (let taken = 0; taken < count; taken++) {
          const { value } = await records.next();
          if (value !== undefined) seen.push(`${value.partition}@${value.offset}`);
        }
      };
      await take(20);
      const [zero, one] = [0, 1].map((partition) => ({ topic: into, partition })) as [never, never];
      consumer.pause(zero);
      await consumer.seek(zero, { offset: 8 });
      await consumer.seek(one, { timestamp: baseMs + 6_500 });
      seen.length = 0;
      await take(3);
      expect(seen).toEqual(["1@7", "1@8", "1@9"]);
      consumer.resume(zero);
      await take(2);
      expect(seen.slice(3)).toEqual(["0@8", "0@9"]);
      await consumer.seek(one, "earliest");
      await take(1);
      expect(seen.at(-1)).toBe("1@0");
      expect(consumer.position(one)).toBe(0);
      await records.return();
      expect(await world.committed(group, into, 0)).toBe(10);
      expect(await world.committed(group, into, 1)).toBe(0);
    });
  });
});
