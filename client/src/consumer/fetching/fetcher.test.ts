import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchRequest, FetchResponseInput } from "kafka-protocol-ts/messages/01-fetch";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { expect, test } from "vitest";
import { FakeCluster } from "../../../test/fake-cluster.ts";
import type { FakePartition } from "../../../test/fake-cluster.ts";
import { storeRecords } from "../../../test/store.ts";
import type { ConsumerOptions, ReadOptions } from "../options.ts";

type PartitionAnswer = FetchResponseInput["responses"][number]["partitions"][number];

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from + index}`);

/** A batch of ten records under this leader epoch. */
function store(partition: FakePartition, epoch: number, count = 10): void {
  storeRecords(partition, numbers(partition.endOffset, count));
  for (const batch of batchesIn(partition.log.at(-1)!)) batch.stamp(batch.baseOffset, epoch);
}

/** Answers each partition of each Fetch to a broker; what this gives is said of it, null: nothing, after the wait. */
function serve(
  fake: FakeCluster,
  nodeId: number,
  answer: (fetchOffset: number, request: FetchRequest, partition: number) => Partial<PartitionAnswer> | null,
  about: (request: FetchRequest) => Partial<FetchResponseInput> = () => ({}),
): void {
  fake.brokers[nodeId]!.on(fetch, async ({ message }) => {
    const responses = message.topics.map(({ topicId, partitions }) => ({
      topicId,
      partitions: partitions.flatMap(({ partition, fetchOffset }): PartitionAnswer[] => {
        const said = answer(fetchOffset, message, partition);
        const silent = { highWatermark: 100, abortedTransactions: null, records: null };
        return said === null ? [] : [{ partitionIndex: partition, errorCode: 0, ...silent, ...said }];
      }),
    }));
    const top = about(message);
    const isNews = ({ records }: PartitionAnswer): boolean => !(records instanceof Uint8Array) || records.length > 0;
    const hasNews = top.errorCode !== undefined || responses.some(({ partitions }) => partitions.some(isNews));
    if (!hasNews) await new Promise<void>((resolve) => void fake.world.clock.schedule(message.maxWaitMs, resolve));
    return { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses, ...top };
  });
}

/** Reads into a list until the test ends. */
function follow(
  fake: FakeCluster,
  options: ConsumerOptions = {},
  read: ReadOptions = {},
): { readonly seen: number[]; readonly events: string[]; readonly ended: Promise<void>; failure: unknown } {
  const consumer = fake.client().consumer(options);
  const seen: number[] = [];
  const events: string[] = [];
  consumer.on("moved", ({ reason, before, now }) => void events.push(`${reason} ${before} ${now}`));
  const outcome = { seen, events, ended: Promise.resolve(), failure: null as unknown };
  outcome.ended = (async () => {
    try {
      for await (const { offset } of consumer.records("orders", read)) seen.push(offset);
    } catch (error) {
      outcome.failure = error;
    }
  })();
  return outcome;
}

const until = async (fake: FakeCluster, condition: () => boolean, withinMs = 30_000): Promise<void> =>
  fake.world.clock.runUntil(condition, { withinMs });

test("an answer that names the new leader is followed at once, without asking who leads (KIP-951)", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  const reader = follow(fake);
  await until(fake, () => reader.seen.length === 10);
  const before = fake.requests("Metadata");
  const currentLeader = { leaderId: 1, leaderEpoch: 1 };
  serve(
    fake,
    0,
    () => ({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, currentLeader }),
    () => ({ nodeEndpoints: [{ nodeId: 1, ...fake.brokers[1]!.address, rack: null }] }),
  );
  partition!.leaderId = 1;
  fake.brokers[1]!.on(offsetForLeaderEpoch, () => ({
    throttleTimeMs: 0,
    topics: [{ topic: "orders", partitions: [{ partition: 0, errorCode: 0, leaderEpoch: 0, endOffset: 20 }] }],
  }));
  store(partition!, 1);
  await until(fake, () => reader.seen.length === 20, 1_000);
  expect(fake.requests("Metadata")).toBe(before);
  expect(fake.requests("OffsetForLeaderEpoch")).toBe(1);
});

test.for(["a hint", "no hint", "a recommended replica"] as const)(
  "a partition that is served elsewhere from now on is read there, while its broker is asked for another one: %s",
  async (how) => {
    const fake = await FakeCluster.start({ brokers: 2 });
    const [idle, moving] = fake.create("orders", [0, 0]);
    store(idle!, 0);
    store(moving!, 0);
    const reader = follow(fake);
    await until(fake, () => reader.seen.length === 20);
    const hint = how === "a hint" ? { currentLeader: { leaderId: 1, leaderEpoch: 1 } } : {};
    const isMoved = how !== "a recommended replica";
    const news: Partial<PartitionAnswer> = isMoved
      ? { errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, ...hint }
      : { preferredReadReplica: 1 };
    const endpoint = { nodeId: 1, ...fake.brokers[1]!.address, rack: null };
    serve(
      fake,
      0,
      (_, __, partition) => (partition === 1 ? news : null),
      () => ({ nodeEndpoints: [endpoint] }),
    );
    fake.brokers[1]!.on(offsetForLeaderEpoch, () => ({
      throttleTimeMs: 0,
      topics: [{ topic: "orders", partitions: [{ partition: 1, errorCode: 0, leaderEpoch: 0, endOffset: 20 }] }],
    }));
    if (isMoved) Object.assign(moving!, { leaderId: 1, leaderEpoch: 1 });
    store(moving!, isMoved ? 1 : 0);
    const batch = moving!.log.at(-1)!;
    serve(fake, 1, (offset) => (offset < 20 ? { records: batch } : null));
    await until(fake, () => reader.seen.length === 30, 5_000);
  },
);

test("a replica that the leader recommends is read from; one that is behind sends back to the leader (KIP-392)", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  let isRecommended = true;
  const whole = partition!.log[0]!;
  serve(fake, 0, (offset) => {
    if (isRecommended) return { preferredReadReplica: 1 };
    return offset < 10 ? { records: whole } : null;
  });
  let isBehind = false;
  serve(fake, 1, (offset) => {
    if (isBehind) return { errorCode: ErrorCode.OFFSET_OUT_OF_RANGE };
    return offset < 10 ? { records: whole } : null;
  });
  const reader = follow(fake, { rack: "here" }, { outOfRange: "earliest" });
  await until(fake, () => reader.seen.length === 10);
  expect(fake.brokers[1]!.names).toContain("Fetch");
  isBehind = true;
  isRecommended = false;
  const asked = fake.brokers[0]!.names.filter((name) => name === "Fetch").length;
  await until(fake, () => fake.brokers[0]!.names.filter((name) => name === "Fetch").length > asked + 2);
  // Nothing was reset, and nothing read twice.
  expect(reader.events).toEqual([]);
  expect(reader.seen).toEqual(numbers(0, 10).map(Number));
});

test("a recommended replica that is not known, as when it has just come back, is asked for, and with pauses", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  const whole = partition!.log[0]!;
  let isKnown = false;
  for (const broker of fake.brokers) {
    const answer = broker.answerOf(metadata)!;
    broker.on(metadata, (asked) => {
      const said = answer(asked) as { readonly brokers: readonly { readonly nodeId: number }[] };
      return { ...said, brokers: said.brokers.filter(({ nodeId }) => isKnown || nodeId === 0) } as never;
    });
  }
  // Who asks without a pause would never end.
  serve(fake, 0, () => (fake.requests("Fetch") > 100 ? null : { preferredReadReplica: 1 }));
  serve(fake, 1, (offset) => (offset < 10 ? { records: whole } : null));
  const consumer = fake.client({ brokers: [fake.brokers[0]!.text] }).consumer({ rack: "here" });
  const seen: number[] = [];
  const troubles: string[] = [];
  consumer.on("trouble", ({ error }) => void troubles.push(error.code));
  void (async () => {
    for await (const { offset } of consumer.records("orders")) seen.push(offset);
  })();
  await fake.world.clock.advance(3_000);
  expect(fake.requests("Fetch")).toBeLessThan(10);
  expect(new Set(troubles)).toEqual(new Set(["REPLICA_NOT_AVAILABLE"]));
  isKnown = true;
  await until(fake, () => seen.length === 10, 2_000);
});

test("a session that the broker has evicted is begun anew at once; one that is always refused, with pauses", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  const whole = partition!.log[0]!;
  const epochs: number[] = [];
  let isRefusing = false;
  let isEvicted = false;
  serve(
    fake,
    0,
    (offset) => (offset < 10 ? { records: whole } : null),
    ({ sessionEpoch }) => {
      epochs.push(sessionEpoch);
      if (isRefusing) return { errorCode: ErrorCode.INVALID_FETCH_SESSION_EPOCH, responses: [] };
      if (!isEvicted || sessionEpoch === 0) return { sessionId: 7 };
      isEvicted = false;
      return { errorCode: ErrorCode.FETCH_SESSION_ID_NOT_FOUND, responses: [] };
    },
  );
  const reader = follow(fake, { maxWaitMs: 100 });
  await until(fake, () => epochs.length === 3);
  expect(epochs).toEqual([0, 1, 2]);
  isEvicted = true;
  await until(fake, () => epochs.includes(0, 3));
  expect(epochs.slice(3).slice(-2)[1]).toBe(0);
  isRefusing = true;
  const count = epochs.length;
  await fake.world.clock.advance(10_000);
  expect(epochs.length - count).toBeLessThan(40);
  isRefusing = false;
  store(partition!, 0);
  serve(fake, 0, (offset) => (offset < 20 ? { records: partition!.log[1]! } : null));
  await until(fake, () => reader.seen.length === 20, 5_000);
});

/** Reads ten records, holds two of them in hand, and gets another leader whose log ends there. */
async function truncated(
  endOffset: number,
  read: ReadOptions = {},
): Promise<{
  readonly fake: FakeCluster;
  readonly seen: number[];
  readonly events: string[];
  goOn: () => void;
  failure: () => unknown;
}> {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, 4, 3);
  store(partition!, 4, 4);
  store(partition!, 4, 3);
  partition!.leaderEpoch = 4;
  const consumer = fake.client().consumer();
  const seen: number[] = [];
  const events: string[] = [];
  consumer.on("moved", ({ reason, before, now }) => void events.push(`${reason} ${before} ${now}`));
  const hold = Promise.withResolvers<void>();
  let failure: unknown = null;
  void (async () => {
    for await (const { offset } of consumer.records("orders", read)) {
      seen.push(offset);
      if (offset === 5 && seen.length === 6) await hold.promise;
    }
  })().catch((error: unknown) => (failure = error));
  await until(fake, () => seen.length === 6);
  // What follows was fetched, too, and is in the buffer.
  await fake.world.clock.advance(1_000);
  partition!.leaderId = 1;
  partition!.leaderEpoch = 6;
  fake.brokers[1]!.on(offsetForLeaderEpoch, ({ message }) => {
    expect(message.topics[0]?.partitions).toMatchObject([{ currentLeaderEpoch: 6, leaderEpoch: 4 }]);
    const leaderEpoch = endOffset < 0 ? -1 : 4;
    return {
      throttleTimeMs: 0,
      topics: [{ topic: "orders", partitions: [{ partition: 0, errorCode: 0, leaderEpoch, endOffset }] }],
    };
  });
  // The new leader's log: what is common, then its own.
  const log = partition!.log.filter((bytes) => [...batchesIn(bytes)].every((batch) => batch.lastOffset < endOffset));
  partition!.log = log;
  partition!.endOffset =
    log.length === 0 ? 0 : Math.max(...log.map((bytes) => [...batchesIn(bytes)][0]!.lastOffset + 1));
  store(partition!, 6, 10);
  await fake.world.clock.advance(3_000);
  return { fake, seen, events, goOn: () => hold.resolve(), failure: () => failure };
}

test("a new leader that has all of what was read is read on from (KIP-320)", async () => {
  const { fake, seen, events, goOn } = await truncated(10);
  goOn();
  await until(fake, () => seen.length === 20);
  expect(seen).toEqual(numbers(0, 20).map(Number));
  expect(events).toEqual([]);
});

test("a new leader that lacks what was fetched and not seen: nothing is skipped, and nothing of it is seen", async () => {
  const { fake, seen, events, goOn } = await truncated(7);
  goOn();
  await until(fake, () => seen.includes(16));
  // 5 was in hand: it is handed out once more.
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, ...numbers(5, 12).map(Number)]);
  expect(events).toEqual([]);
});

test("a new leader that lacks what was seen: that is told, and reading goes on where the logs part", async () => {
  const { fake, seen, events, goOn } = await truncated(3);
  goOn();
  await until(fake, () => seen.includes(12));
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, ...numbers(3, 10).map(Number)]);
  expect(events).toEqual(["truncated 6 3"]);
});

test("a leader that has never heard of the epoch: told as `outOfRange` says, never passed over", async () => {
  const reset = await truncated(-1, { outOfRange: "earliest" });
  reset.goOn();
  await until(reset.fake, () => reset.seen.length === 16);
  expect(reset.seen.slice(6)).toEqual(numbers(0, 10).map(Number));
  expect(reset.events).toEqual(["truncated 10 0"]);
  const failing = await truncated(-1);
  failing.goOn();
  await until(failing.fake, () => failing.failure() !== null);
  expect(failing.failure()).toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
});

/** Until it is called a broker names itself as the leader in epoch 1, when there was nothing in the log yet: it was paused since. */
function lagBehind(fake: FakeCluster, nodeId: number): () => void {
  const broker = fake.brokers[nodeId]!;
  const told = broker.answerOf(metadata);
  let isBehind = true;
  broker.on(metadata, async (asked) => {
    const answer = (await told?.(asked)) as { readonly topics: readonly object[] };
    const leader = {
      leaderId: nodeId,
      leaderEpoch: 1,
      replicaNodes: [nodeId],
      isrNodes: [nodeId],
      offlineReplicas: [],
    };
    const partitions = [{ errorCode: 0, partitionIndex: 0, ...leader }];
    return (
      isBehind ? { ...answer, topics: answer.topics.map((topic) => ({ ...topic, partitions })) } : answer
    ) as never;
  });
  broker.on(offsetForLeaderEpoch, () => {
    const end = isBehind ? { leaderEpoch: -1, endOffset: -1 } : { leaderEpoch: 4, endOffset: 10 };
    const partitions = [{ partition: 0, errorCode: 0, ...end }];
    return { throttleTimeMs: 0, topics: [{ topic: "orders", partitions }] };
  });
  return () => (isBehind = false);
}

test("a former leader that was paused and names itself is asked for nothing: what it lacks is not lost", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, 4);
  partition!.leaderEpoch = 4;
  const reader = follow(fake, {}, { outOfRange: "earliest" });
  await until(fake, () => reader.seen.length === 10);
  const [leader, former] = fake.brokers;
  const hear = lagBehind(fake, 1);
  await leader!.stop();
  const before = former!.names.length;
  await fake.world.clock.advance(5_000);
  const asked = new Set(former!.names.slice(before));
  expect([...asked].filter((name) => name !== "ApiVersions")).toEqual(["Metadata"]);
  Object.assign(partition!, { leaderId: 1, leaderEpoch: 5 });
  hear();
  store(partition!, 5);
  await until(fake, () => reader.seen.length === 20);
  expect(reader.seen).toEqual(numbers(0, 20).map(Number));
  expect(reader.events).toEqual([]);
});

test("a marker that nobody sees counts for the epoch of what was read (KIP-320)", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, 4);
  const marker = { isCommit: false, producerId: 7, producerEpoch: 0, coordinatorEpoch: 0, timestamp: 0 };
  partition!.log.push(encodeEndTransactionMarker({ ...marker, baseOffset: 10, leaderEpoch: 5 }));
  partition!.endOffset = 11;
  partition!.leaderEpoch = 5;
  const reader = follow(fake);
  await until(fake, () => reader.seen.length === 10);
  await fake.world.clock.advance(1_000);
  partition!.leaderId = 1;
  partition!.leaderEpoch = 6;
  const asked: number[] = [];
  fake.brokers[1]!.on(offsetForLeaderEpoch, ({ message }) => {
    const { leaderEpoch } = message.topics[0]!.partitions[0]!;
    asked.push(leaderEpoch);
    const found = { partition: 0, errorCode: 0, leaderEpoch, endOffset: leaderEpoch === 4 ? 10 : 11 };
    return { throttleTimeMs: 0, topics: [{ topic: "orders", partitions: [found] }] };
  });
  store(partition!, 6);
  await until(fake, () => reader.seen.length === 20);
  expect(asked).toEqual([5]);
  expect(reader.events).toEqual([]);
  expect(reader.seen).toEqual([...numbers(0, 10), ...numbers(11, 10)].map(Number));
});

test("a broker that gives only what comes before is asked again with pauses", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  const whole = partition!.log[0]!;
  serve(fake, 0, () => ({ records: whole }));
  const reader = follow(fake);
  await until(fake, () => reader.seen.length === 10);
  const before = fake.requests("Fetch");
  await fake.world.clock.advance(10_000);
  expect(fake.requests("Fetch") - before).toBeLessThan(150);
});

test("a partition that is paused, or given up, leaves its room in the buffer to the others", async () => {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0]);
  storeRecords(partitions[0]!, numbers(0, 500));
  const consumer = fake.client().consumer({ bufferBytesMax: 1_000, partitionMaxBytes: 1_000 });
  const records = consumer.records("orders");
  expect((await fake.within(5_000, records.next())).value).toMatchObject({ partition: 0, offset: 0 });
  storeRecords(partitions[0]!, numbers(500, 500));
  // The buffer is full of partition 0 now.
  await fake.world.clock.advance(2_000);
  storeRecords(partitions[1]!, ["x"]);
  await fake.world.clock.advance(2_000);
  consumer.pause({ topic: "orders", partition: 0 });
  expect((await fake.within(2_000, records.next())).value).toMatchObject({ partition: 1, offset: 0 });
  const next = records.next();
  await fake.world.clock.advance(2_000);
  consumer.resume({ topic: "orders", partition: 0 });
  expect((await fake.within(2_000, next)).value).toMatchObject({ partition: 0, offset: 1 });
  for (let offset = 2; offset < 1_000; offset++) {
    expect((await fake.within(2_000, records.next())).value).toMatchObject({ partition: 0, offset });
  }
  await records.return();
});

test("who reads slowly is not sent more than fits the buffer, and one answer", async () => {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0, 0]);
  const whole = numbers(0, 100);
  for (const partition of partitions) for (let at = 0; at < 50; at++) storeRecords(partition, whole);
  let givenBytes = 0;
  const sizes = partitions.map(({ log }) => log.map(({ length }) => length));
  serve(fake, 0, (offset) => {
    const at = offset / 100;
    const records = partitions[0]!.log[at];
    if (records === undefined) return null;
    givenBytes += sizes[0]?.[at] ?? 0;
    return { records };
  });
  const batchBytes = sizes[0]?.[0] ?? 0;
  const records = fake
    .client()
    .consumer({ bufferBytesMax: 5 * batchBytes })
    .records("orders");
  await fake.within(5_000, records.next());
  await fake.world.clock.advance(30_000);
  expect(givenBytes / batchBytes).toBeLessThanOrEqual(5 + 3 + 1);
  for (let count = 1; count < 3 * 5_000; count++) await fake.within(5_000, records.next());
  expect(givenBytes / batchBytes).toBe(150);
  await records.return();
});

test("several that are asked for at once come one after the other, the end as well", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  const records = fake.client().consumer().records("orders", { untilEnd: true });
  const asked = Array.from({ length: 12 }, async () => records.next());
  const found = await fake.within(5_000, Promise.all(asked));
  expect(found.map(({ value }) => value?.offset ?? "end")).toEqual([...numbers(0, 10).map(Number), "end", "end"]);
  const batches = fake.client().consumer().batches("orders", { untilEnd: true, countMax: 4 });
  const some = await fake.within(5_000, Promise.all(Array.from({ length: 4 }, async () => batches.next())));
  expect(some.map(({ value }) => value?.length ?? "end")).toEqual([4, 4, 2, "end"]);
});

/** One that is always full, and one in which nothing is; how many requests were made for `count` records of the first. */
async function busyBesideIdle(
  count: number,
  eachMs: number,
): Promise<{ readonly tookMs: number; readonly asked: number }> {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0]);
  const batch = numbers(0, 100);
  for (let at = 0; at < count; at += 100) storeRecords(partitions[0]!, batch);
  const { log } = partitions[0]!;
  const partitionMaxBytes = 2 * log[0]!.length;
  fake.brokers[0]!.on(fetch, async ({ message }) => {
    const responses = message.topics.map(({ topicId, partitions: wanted }) => ({
      topicId,
      partitions: wanted.flatMap(({ partition, fetchOffset }): PartitionAnswer[] => {
        const from = fetchOffset / 100;
        if (partition === 1 || from >= log.length) return [];
        const records = Buffer.concat(log.slice(from, from + 2));
        const about = { highWatermark: count, abortedTransactions: null };
        return [{ partitionIndex: partition, errorCode: 0, ...about, records }];
      }),
    }));
    const hasNews = responses.some((each) => each.partitions.length > 0);
    if (!hasNews) await new Promise<void>((resolve) => void fake.world.clock.schedule(message.maxWaitMs, resolve));
    return { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses };
  });
  const { clock } = fake.world;
  const consumer = fake.client().consumer({ partitionMaxBytes, maxWaitMs: 500 });
  const beganMs = clock.monotonicMs();
  let seen = 0;
  const reading = (async () => {
    for await (const each of consumer.batches("orders", { countMax: 100 })) {
      seen += each.length;
      if (eachMs > 0) await new Promise<void>((resolve) => void clock.schedule(eachMs, resolve));
      if (seen >= count) break;
    }
  })();
  await fake.within(600_000, reading);
  return { tookMs: clock.monotonicMs() - beganMs, asked: fake.requests("Fetch") };
}

test("a partition in which nothing happens does not hold up the busy one beside it", async () => {
  // As fast as it comes, and each batch of a hundred in 5 ms.
  const { tookMs } = await busyBesideIdle(10_000, 0);
  expect(tookMs).toBeLessThan(1_500);
  const steady = await busyBesideIdle(10_000, 5);
  expect(steady.tookMs).toBeLessThan(1_500);
});

test("nor is the broker asked without end for the idle one, while whoever reads the busy one takes its time", async () => {
  const { asked, tookMs } = await busyBesideIdle(500, 20_000);
  expect(tookMs).toBeGreaterThan(80_000);
  expect(asked).toBeLessThan(300);
});

test("an end that a follower has not heard of yet is waited for; one that the leader has lost is not", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders", [0]);
  store(partition!, 0);
  store(partition!, 0);
  const [first, second] = partition!.log;
  // A new leader, or a replica nearby, hears of the end a moment later than of the records.
  let isBehind = true;
  let isLost = false;
  serve(fake, 0, (offset) => {
    if (offset === 0) return { records: first!, highWatermark: 10 };
    if (isBehind || isLost) return { highWatermark: 10, records: Buffer.alloc(0) };
    return offset === 10 ? { records: second!, highWatermark: 20 } : null;
  });
  const consumer = fake.client().consumer();
  const seen: number[] = [];
  const read = async (): Promise<void> => {
    for await (const { offset } of consumer.records("orders", { untilEnd: true })) seen.push(offset);
  };
  const reading = read();
  await until(fake, () => seen.length === 10);
  await fake.world.clock.advance(3_000);
  isBehind = false;
  await fake.within(5_000, reading);
  expect(seen).toEqual(numbers(0, 20).map(Number));

  isLost = true;
  seen.splice(0);
  const again = read();
  await until(fake, () => seen.length === 10);
  partition!.endOffset = 10;
  await fake.within(5_000, again);
  expect(seen).toEqual(numbers(0, 10).map(Number));
});
