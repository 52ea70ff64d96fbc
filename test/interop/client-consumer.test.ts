import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setTimeout as sleep } from "node:timers/promises";
import { channels, Cluster, deadLetterHeaders, text, topic } from "@millrace/client";
import type { ConsumedRecord, Consumer, ConsumerOptions, PositionMoved, RequestEnded } from "@millrace/client";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { clients, whyClientMissing } from "./clients.ts";
import { ConsumerProcess } from "./consumer-process.ts";
import { skipWhenMissing } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { Target, whyTargetMissing } from "./target.ts";

/**
 * The consumer of our own client against Millrace and against Apache Kafka: the same cases, the same outcomes. What needs a
 * broker that breaks is in client-consumer-faults.test.ts.
 */
const sessionMs = 2_000;
export const consumerSettings: Readonly<Record<string, string>> = {
  "group.initial.rebalance.delay.ms": "0",
  "group.min.session.timeout.ms": "1000",
  "group.consumer.min.session.timeout.ms": "1000",
  "group.consumer.session.timeout.ms": `${sessionMs}`,
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "200",
  "auto.create.topics.enable": "false",
};
const member = (group: string, protocol: "classic" | "consumer"): ConsumerOptions => ({
  group,
  protocol,
  sessionTimeoutMs: sessionMs,
  heartbeatIntervalMs: 200,
  commitIntervalMs: 500,
  maxWaitMs: 100,
});
const waitMsMax = 60_000;

describe.for(["millrace", "kafka"] as const)("%s", (name) => {
  let target: Target;
  let cluster: Cluster;
  let admin: ReturnType<Cluster["admin"]>;
  let nextTopic = 1;

  beforeAll(async () => {
    if (whyTargetMissing(name) !== null) return;
    target = await Target.start({ name, settings: consumerSettings });
    cluster = new Cluster({ brokers: [target.address], clientId: "test" });
    admin = cluster.admin();
  });
  afterAll(async () => {
    await cluster?.close();
    await target?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => skipWhenMissing(context, whyTargetMissing(name)));

  async function newTopic(partitions = 1, config: Readonly<Record<string, string>> = {}): Promise<string> {
    const made = `topic-${nextTopic++}`;
    await admin.topics.create({ name: made, partitions, config });
    return made;
  }

  /** Sends so many to each partition, values "0", "1", … with these keys. */
  async function fill(
    into: string,
    {
      partitions = 1,
      count,
      from = 0,
      keyOf,
    }: { partitions?: number; count: number; from?: number; keyOf?: (index: number) => string },
  ): Promise<void> {
    await using producer = cluster.producer({ lingerMs: 5 });
    const sends: Promise<unknown>[] = [];
    for (let index = from; index < from + count; index++) {
      for (let partition = 0; partition < partitions; partition++) {
        sends.push(producer.send(into, { value: `${index}`, key: keyOf?.(index) ?? null, partition }));
      }
    }
    await Promise.all(sends);
  }

  const offsets = (into: string, partitions: number, count: number): string[] =>
    Array.from({ length: partitions }, (_, partition) =>
      Array.from({ length: count }, (__, offset) => `${into}-${partition}@${offset}`),
    ).flat();

  async function until(condition: () => boolean | Promise<boolean>, what: string, withinMs = waitMsMax): Promise<void> {
    const limitMs = performance.now() + withinMs;
    while (!(await condition())) {
      if (performance.now() > limitMs) throw new Error(`not within ${withinMs} ms: ${what}`);
      await sleep(10);
    }
  }

  async function committed(group: string, into: string, partition = 0): Promise<number> {
    const found = await cluster.consumer({ group }).committed([{ topic: into, partition }]);
    return found.get(`${into}-${partition}`)?.offset ?? -1;
  }

  async function deleteBefore(into: string, offset: number, partition = 0): Promise<void> {
    const connection = await cluster.wire.leader(await cluster.wire.topic(into), partition);
    const answer = await connection.request(deleteRecords, {
      topics: [{ name: into, partitions: [{ partitionIndex: partition, offset }] }],
      timeoutMs: 10_000,
    });
    expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(0);
  }

  /** Each of these once, and nothing else. */
  function expectOnce(found: readonly string[], expected: readonly string[]): void {
    expect(found.toSorted()).toEqual(expected.toSorted());
  }

  /** Each of these at least once, and nothing else. */
  function expectAll(found: readonly string[], expected: readonly string[]): void {
    expect([...new Set(found)].toSorted()).toEqual(expected.toSorted());
  }

  const process = (label: string, spec: Partial<ConstructorParameters<typeof ConsumerProcess>[0]>): ConsumerProcess =>
    new ConsumerProcess({ name: label, brokers: [target.address], consumer: {}, mode: "run", ...spec });

  describe.for(["classic", "consumer"] as const)("protocol %s", (protocol) => {
    const label = (what: string): string => `${what}-${protocol}`;

    test.concurrent.for([
      ["run", "auto"],
      ["records", "auto"],
      ["batches", "auto"],
      ["batches", "manual"],
    ] as const)("an orderly handover loses and doubles nothing: %s, commits %s", async ([mode, commit]) => {
      const into = await newTopic(6);
      const group = `${label("handover")}-${mode}-${commit}`;
      const seen: string[] = [];
      const failures: unknown[] = [];
      const losses: string[] = [];
      const start = (): { readonly consumer: Consumer; readonly own: Cluster; readonly done: Promise<void> } => {
        const own = new Cluster({ brokers: [target.address], metadataMaxAgeMs: 1_000 });
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
          await fill(into, { partitions: 6, from, count: 50 });
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
      for (let partition = 0; partition < 6; partition++) expect(await committed(group, into, partition)).toBe(400);
    });

    test.concurrent("a handler that takes longer than a session costs nobody the membership", async () => {
      const into = await newTopic(2);
      await fill(into, { partitions: 2, count: 1 });
      const group = label("slow");
      await using own = new Cluster({ brokers: [target.address] });
      const consumer = own.consumer(member(group, protocol));
      const events: string[] = [];
      for (const what of ["assigned", "revoked", "lost"] as const) consumer.on(what, () => void events.push(what));
      const seen: string[] = [];
      const running = consumer.run(
        into,
        async ({ partition, offset }) => {
          await sleep(2.5 * sessionMs);
          seen.push(`${into}-${partition}@${offset}`);
        },
        { from: "earliest", concurrency: 2 },
      );
      await until(() => seen.length === 2, "both are handled");
      await consumer.close();
      await running;
      expectOnce(seen, offsets(into, 2, 1));
      expect(events.filter((event) => event === "lost")).toEqual([]);
      expect(await committed(group, into, 1)).toBe(1);
    });

    test.concurrent("who comes gets a partition when the work on it is done and committed, its signal told", async () => {
      const into = await newTopic(2);
      await fill(into, { partitions: 2, count: 3 });
      const group = label("revoke");
      await using own = new Cluster({ brokers: [target.address] });
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
      const into = await newTopic(1);
      await fill(into, { count: 3 });
      const group = label("revoke-late");
      await using own = new Cluster({ brokers: [target.address] });
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
      const into = await newTopic(4);
      const group = label("killed");
      await fill(into, { partitions: 4, count: 100 });
      const spec = { consumer: member(group, protocol), read: { from: "earliest" as const }, topics: [into] };
      await using first = process("first", { ...spec, mode: "records", commitEach: true, workMs: 2 });
      await using second = process("second", { ...spec, workMs: 2 });
      await first.until(({ assignment }) => assignment.length === 2, "it has half");
      await first.until(({ handled }) => handled.length > 20, "it works");
      await first.kill();
      const fromFirst = first.handled;
      await fill(into, { partitions: 4, from: 100, count: 20 });
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
      const into = await newTopic(1);
      const group = label("frozen");
      await fill(into, { count: 5 });
      // From the end, and with nothing committed before: the first position is committed at once.
      await using frozen = process("frozen", {
        consumer: member(group, protocol),
        read: { from: "latest" },
        topics: [into],
      });
      await frozen.until(({ assignment }) => assignment.length === 1, "it has the partition");
      await until(async () => (await committed(group, into)) === 5, "the first position is committed");
      frozen.freeze();
      await fill(into, { from: 5, count: 20 });
      await sleep(2.5 * sessionMs);
      frozen.thaw();
      await frozen.until(({ handled }) => new Set(handled).size === 20, "it reads what came meanwhile");
      expectAll(frozen.handled, offsets(into, 1, 25).slice(5));
      frozen.tell("close");
      await frozen.ends();
      expect(await committed(group, into)).toBe(25);
    });

    test.concurrent("a member that was replaced while it stood still takes nothing from the other, and both go on", async () => {
      const into = await newTopic(2);
      const group = label("replaced");
      await fill(into, { partitions: 2, count: 10 });
      const spec = { consumer: member(group, protocol), read: { from: "earliest" as const }, topics: [into] };
      await using frozen = process("frozen", spec);
      await frozen.until(({ handled }) => handled.length === 20, "it reads all");
      await until(async () => (await committed(group, into, 1)) === 10, "all is committed");
      frozen.freeze();
      await using other = process("other", spec);
      await other.until(({ assignment }) => assignment.length === 2, "the other one has all");
      await fill(into, { partitions: 2, from: 10, count: 10 });
      await other.until(({ handled }) => handled.length === 20, "and reads on");
      await until(async () => (await committed(group, into, 0)) === 20, "which is committed");
      frozen.thaw();
      await frozen.until(
        ({ of, assignment }) => of.call(frozen, "lost").length === 1 && assignment.length === 1,
        "it is back",
      );
      await fill(into, { partitions: 2, from: 20, count: 10 });
      await until(() => new Set([...frozen.handled, ...other.handled]).size === 60, "all is read");
      expectAll([...frozen.handled, ...other.handled], offsets(into, 2, 30));
      // What the other had read and committed was not read again.
      expect(frozen.handled.filter((each) => other.handled.includes(each))).toEqual([]);
      for (const each of [frozen, other]) each.tell("close");
      await Promise.all([frozen.ends(), other.ends()]);
    });

    test.concurrent("10,000 records, one after the other within each key, while members come and go", async () => {
      const into = await newTopic(4);
      const group = label("keys");
      const keyOf = (index: number): string => `key-${index % 50}`;
      const feeding = fill(into, { partitions: 4, count: 2_500, keyOf });
      const inWork = new Set<string>();
      const seen: string[] = [];
      const faults: string[] = [];
      const start = (): { readonly consumer: Consumer; readonly own: Cluster; readonly done: Promise<void> } => {
        const own = new Cluster({ brokers: [target.address] });
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
      const into = await newTopic(1);
      await fill(into, { count: 5 });
      await using own = new Cluster({ brokers: [target.address], metadataMaxAgeMs: 1_000 });
      const consumer = own.consumer(member(label("recreated"), protocol));
      const seen: string[] = [];
      const running = consumer.run(into, ({ value }) => void seen.push(`${value?.toString()}`), { from: "earliest" });
      await until(() => seen.length === 5, "the first topic is read");
      await admin.topics.delete(into);
      await until(async () => {
        try {
          await admin.topics.create({ name: into, partitions: 1 });
          return true;
        } catch {
          return false;
        }
      }, "the topic is made again");
      // More than was read of the other: where that ended would be in the middle of this.
      await fill(into, { from: 100, count: 12 });
      await until(() => seen.length >= 17, `the second topic is read: ${seen.join(" ")}`);
      await consumer.close();
      await running;
      expect(seen.slice(5)).toEqual(Array.from({ length: 12 }, (_, index) => `${100 + index}`));
    });

    test.concurrent("partitions that are added are read, from their beginning", async () => {
      const into = await newTopic(1);
      await using own = new Cluster({ brokers: [target.address], metadataMaxAgeMs: 500 });
      const consumer = own.consumer(member(label("added"), protocol));
      const seen: string[] = [];
      const running = consumer.run(into, ({ partition, offset }) => void seen.push(`${into}-${partition}@${offset}`), {
        from: "earliest",
      });
      await fill(into, { count: 3 });
      await until(() => seen.length === 3, "the first partition is read");
      const answer = await cluster.wire.request(createPartitions, {
        topics: [{ name: into, count: 3, assignments: null }],
        timeoutMs: 10_000,
        validateOnly: false,
      });
      expect(answer.results[0]?.errorCode).toBe(0);
      cluster.wire.metadata.forget(into);
      await until(async () => (await cluster.wire.refresh(into)).partitions.length === 3, "they are there");
      await fill(into, { partitions: 3, from: 3, count: 4 });
      await until(() => seen.length >= 3 + 12, `all are read: ${seen.join(" ")}`);
      await consumer.close();
      await running;
      expect(seen.filter((each) => each.includes(`${into}-2@`))).toEqual(offsets(into, 3, 4).slice(8));
    });

    test.concurrent("topics that match a pattern are read, those that come later as well", async () => {
      const prefix = `${label("pattern")}-`;
      await admin.topics.create({ name: `${prefix}a`, partitions: 1 });
      await admin.topics.create({ name: `other-${prefix}x`, partitions: 1 });
      await fill(`${prefix}a`, { count: 2 });
      await using own = new Cluster({ brokers: [target.address], metadataMaxAgeMs: 500 });
      const consumer = own.consumer(member(label("pattern"), protocol));
      const seen: string[] = [];
      const running = consumer.run(
        new RegExp(`^${prefix}[ab]$`),
        ({ topic: from, offset }) => void seen.push(`${from}@${offset}`),
        { from: "earliest" },
      );
      await until(() => seen.length === 2, "the first topic is read");
      await admin.topics.create({ name: `${prefix}b`, partitions: 1 });
      await admin.topics.create({ name: `${prefix}c`, partitions: 1 });
      for (const last of "bc") await fill(`${prefix}${last}`, { count: 2 });
      await until(() => seen.length === 4, `the second topic is read: ${seen.join(" ")}`);
      await consumer.close();
      await running;
      expect(seen).toEqual([`${prefix}a@0`, `${prefix}a@1`, `${prefix}b@0`, `${prefix}b@1`]);
    });

    test.concurrent("a position that retention has passed is changed for the beginning, and that is told", async () => {
      const into = await newTopic(1);
      await fill(into, { count: 30 });
      const group = label("retention");
      await using own = new Cluster({ brokers: [target.address] });
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
      await fill(into, { from: 30, count: 30 });
      await deleteBefore(into, 50);
      consumer.resume(partition);
      await until(() => seen.length >= 40, "the rest is read");
      expect(seen.slice(30)).toEqual(Array.from({ length: 10 }, (_, index) => 50 + index));
      expect(moves).toEqual([{ ...partition, reason: "out-of-range", before: 30, now: 50 }]);
      await consumer.close();
      await running;
      expect(await committed(group, into)).toBe(60);
    });

    test.concurrent("pause, resume, seek, and a seek to a time", async () => {
      const into = await newTopic(2);
      const baseMs = 1_700_000_000_000;
      await using producer = cluster.producer();
      for (let index = 0; index < 10; index++) {
        const timestamp = baseMs + index * 1_000;
        for (const partition of [0, 1]) await producer.send(into, { value: `${index}`, partition, timestamp });
      }
      await using own = new Cluster({ brokers: [target.address] });
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
      expect(await committed(group, into, 0)).toBe(10);
      expect(await committed(group, into, 1)).toBe(0);
    });
  });

  test.concurrent("one busy partition keeps no other waiting", async () => {
    const into = await newTopic(2);
    await using producer = cluster.producer({ lingerMs: 5 });
    const large = Buffer.alloc(10_000, "x");
    await Promise.all(Array.from({ length: 3_000 }, async () => producer.send(into, { value: large, partition: 0 })));
    await fill(into, { count: 0 });
    await Promise.all(Array.from({ length: 5 }, async () => producer.send(into, { value: "small", partition: 1 })));
    let before = 0;
    let smallCount = 0;
    for await (const { partition } of cluster.consumer().records(into, { untilEnd: true })) {
      if (partition === 1) smallCount++;
      else if (smallCount < 5) before++;
    }
    expect(smallCount).toBe(5);
    // Of the thirty megabytes there were at most a few answers before it.
    expect(before).toBeLessThan(1_000);
  });

  test.concurrent("records larger than partitionMaxBytes, maxBytes and the buffer come all the same", async () => {
    const into = await newTopic(2, { "max.message.bytes": "5000000" });
    await using producer = cluster.producer({ batchBytesMax: 4_500_000 });
    for (let index = 0; index < 4; index++)
      for (const partition of [0, 1]) await producer.send(into, { value: Buffer.alloc(2_000_000, index), partition });
    const sizes: number[] = [];
    const consumer = cluster.consumer({ partitionMaxBytes: 1_000, maxBytes: 1_000, bufferBytesMax: 1_000 });
    for await (const { value } of consumer.records(into, { untilEnd: true })) sizes.push(value?.length ?? 0);
    expect(sizes).toEqual(Array.from({ length: 8 }, () => 2_000_000));
  });

  test.concurrent("records that cannot be read: the reading ends, or they are left out, or sent to dead letters", async () => {
    const into = await newTopic(1);
    const dead = await newTopic(1);
    await using producer = cluster.producer();
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
      const consumer = cluster.consumer(member(group, "classic"));
      for await (const { value } of consumer.records(numbers, { from: "earliest", badRecords })) {
        seen.push(value);
        if (value === 2) break;
      }
      return seen;
    };
    await expect(read("bad-fail", "fail")).rejects.toMatchObject({ code: "DESERIALIZATION_FAILED" });
    // What stands before it is done, and it is the next one for whoever can read it.
    expect(await committed("bad-fail", into)).toBe(1);
    expect(await read("bad-skip", "skip")).toEqual([1, 2]);
    expect(await read("bad-dead", { deadLetters: dead })).toEqual([1, 2]);
    const letters: ConsumedRecord[] = [];
    for await (const letter of cluster.consumer().records(dead, { untilEnd: true })) letters.push(letter);
    expect(letters.map(({ key, value }) => [key?.toString(), value?.toString()])).toEqual([["k", "x"]]);
    expect(letters[0]?.headers.get(deadLetterHeaders.topic)).toBe(into);
    expect(letters[0]?.headers.get(deadLetterHeaders.offset)).toBe("1");
  });

  test.concurrent("transactions: aborted and open ones are not seen, and nothing stalls on what nobody sees", async (context) => {
    skipWhenMissing(context, whyClientMissing("librdkafka"));
    const into = await newTopic(1);
    const group = "transactional-reader";
    await using program = ClientProgram.start(clients.librdkafka, target.address);
    const transact = async (
      producer: string,
      end: "commit" | "abort" | "open",
      values: readonly string[],
    ): Promise<void> => {
      const records = values.map((value) => [0, value] as const);
      await program.transact({ producer, transactionalId: `${into}-${producer}`, topic: into, records, end });
    };
    await using own = new Cluster({ brokers: [target.address] });
    const consumer = own.consumer({ ...member(group, "classic"), isolation: "read_committed" });
    const seen: string[] = [];
    const running = consumer.run(into, ({ value }) => void seen.push(`${value?.toString()}`), { from: "earliest" });
    await transact("one", "commit", ["a1", "a2"]);
    await transact("one", "abort", ["b1", "b2"]);
    await transact("one", "abort", ["c1"]);
    await transact("one", "commit", ["d1"]);
    await until(() => seen.length === 3, `the committed ones: ${seen.join(" ")}`);
    // a1 a2 marker b1 b2 marker c1 marker d1 marker: the position passes what is of no reader.
    await until(async () => (await committed(group, into)) === 10, "the end is committed, markers included");
    await transact("one", "abort", ["e1"]);
    await until(async () => (await committed(group, into)) === 12, "a stretch that holds nothing is passed");
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
    const into = await newTopic(1);
    await fill(into, { count: 5 });
    await using own = new Cluster({ brokers: [target.address] });
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

  /** AE-49 */
  test.concurrent("request and reply over two topics: ten requesters, and nobody gets another's answer", async () => {
    const requests = await newTopic(3);
    const replies = await newTopic(3);
    await using own = new Cluster({ brokers: [target.address] });
    const server = own.consumer(member("reply-server", "classic"));
    await using answering = own.producer();
    const serving = server.run(
      requests,
      async ({ value, headers }) => {
        const body = `${value?.toString()}`;
        if (body.startsWith("never")) return;
        if (body.startsWith("late")) await sleep(1_500);
        const id = headers.get("correlation") ?? "";
        await answering.send(headers.get("reply-to") ?? "", {
          value: `answer to ${body}`,
          headers: { correlation: id },
        });
      },
      { from: "earliest", concurrency: 20, order: "none" },
    );

    class Requester implements AsyncDisposable {
      readonly #name: string;
      readonly #waiting = new Map<string, (answer: string) => void>();
      readonly #stop = new AbortController();
      readonly #listening: Promise<void>;
      readonly #ready = Promise.withResolvers<void>();
      #nextId = 0;
      strayCount = 0;

      constructor(requester: string) {
        this.#name = requester;
        this.#listening = this.#listen();
      }

      async #listen(): Promise<void> {
        const consumer = own.consumer({ maxWaitMs: 100 });
        const records = consumer.records(replies, { from: "earliest", signal: this.#stop.signal });
        this.#ready.resolve();
        for await (const { headers, value } of records) {
          const id = headers.get("correlation") ?? "";
          if (!id.startsWith(`${this.#name}/`)) continue;
          const settle = this.#waiting.get(id);
          this.#waiting.delete(id);
          if (settle === undefined) this.strayCount++;
          else settle(`${value?.toString()}`);
        }
      }

      async ask(body: string, timeoutMs: number): Promise<string> {
        await this.#ready.promise;
        const id = `${this.#name}/${this.#nextId++}`;
        const { promise, resolve } = Promise.withResolvers<string>();
        this.#waiting.set(id, resolve);
        await answering.send(requests, {
          value: body,
          headers: { correlation: id, "reply-to": replies },
        });
        const late = sleep(timeoutMs).then(() => {
          this.#waiting.delete(id);
          return "timed out";
        });
        return Promise.race([promise, late]);
      }

      async [Symbol.asyncDispose](): Promise<void> {
        this.#stop.abort();
        await this.#listening;
      }
    }

    const requesters = Array.from({ length: 10 }, (_, index) => new Requester(`requester-${index}`));
    const asked = requesters.flatMap((requester, index) =>
      Array.from({ length: 20 }, async (__, turn) => {
        const body = `${index}.${turn}`;
        expect(await requester.ask(body, 30_000)).toBe(`answer to ${body}`);
      }),
    );
    await Promise.all(asked);
    const [first] = requesters;
    expect(await first?.ask("never", 500)).toBe("timed out");
    expect(await first?.ask("late", 500)).toBe("timed out");
    await until(() => first?.strayCount === 1, "the late answer comes and is ignored");
    expect(await first?.ask("again", 30_000)).toBe("answer to again");
    for (const requester of requesters) await requester[Symbol.asyncDispose]();
    await server.close();
    await serving;
  });

  // Alone: it counts what this process asks.
  test("an idle consumer asks as often as maxWaitMs says, and waits for minBytes", async () => {
    const into = await newTopic(3);
    await using own = new Cluster({ brokers: [target.address] });
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
    await fill(into, { count: 1 });
    expect((await next).value?.offset).toBe(0);
    unsubscribe(channels.request, onRequest);
    await records.return();
    expect(fetchesCount).toBeGreaterThanOrEqual(4);
    expect(fetchesCount).toBeLessThanOrEqual(9);
  });
});
