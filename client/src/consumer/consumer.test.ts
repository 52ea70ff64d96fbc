import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { FakePartition } from "../../test/fake-cluster.ts";
import { text } from "../serdes/basic.ts";
import { topic } from "../topic.ts";
import type { ConsumedRecord } from "./consumed-record.ts";

const dayMs = Date.UTC(2026, 0, 1);

/** A batch at the partition's end; the values' timestamps are a second apart. */
function store(
  partition: FakePartition,
  values: readonly (string | null)[],
  options: { readonly producerId?: number } = {},
): void {
  const baseOffset = partition.endOffset;
  const records = values.map((value, index) => ({
    key: null,
    value: value === null ? null : Buffer.from(value),
    timestamp: dayMs + (baseOffset + index) * 1000,
  }));
  const transaction =
    options.producerId === undefined
      ? {}
      : { producerId: options.producerId, producerEpoch: 0, baseSequence: 0, isTransactional: true };
  partition.log.push(encodeBatch({ baseOffset, records, ...transaction }));
  partition.endOffset += values.length;
}

function endTransaction(partition: FakePartition, producerId: number, isCommit: boolean): void {
  const marker = { isCommit, coordinatorEpoch: 0, producerId, producerEpoch: 0, timestamp: dayMs };
  partition.log.push(encodeEndTransactionMarker({ ...marker, baseOffset: partition.endOffset++ }));
}

async function all(records: AsyncIterable<ConsumedRecord>): Promise<string[]> {
  const found: string[] = [];
  for await (const { partition, offset, value } of records)
    found.push(`${partition}@${offset} ${value?.toString() ?? "null"}`);
  return found;
}

test("reads all partitions to the end that they had, each in its order", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const partitions = fake.create("orders", [0, 1, 0]);
  store(partitions[0]!, ["a", "b"]);
  store(partitions[1]!, ["c"]);
  store(partitions[0]!, [null]);
  await using cluster = fake.client();
  const found = await all(cluster.consumer().records("orders", { untilEnd: true }));
  expect(found.filter((each) => each.startsWith("0@"))).toEqual(["0@0 a", "0@1 b", "0@2 null"]);
  expect(found.filter((each) => each.startsWith("1@"))).toEqual(["1@0 c"]);
  expect(found).toHaveLength(4);
  // Each leader is asked once for the beginnings and once for the ends of all its partitions.
  expect(fake.requests("ListOffsets")).toBe(4);
});

test("a record shows all that was written, whether it is plain or not, and whether it is decoded or not", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  const exact = 2n ** 60n;
  const header = { key: "trace", value: Buffer.from("t1") };
  const records = [
    { key: Buffer.from("k0"), value: Buffer.from("v0"), timestamp: dayMs },
    { key: Buffer.from("k1"), value: Buffer.from("v1"), timestamp: dayMs, headers: [header] },
    { key: Buffer.from("k2"), value: Buffer.from("v2"), timestampBig: exact },
  ];
  partition!.log.push(encodeBatch({ baseOffset: 0, records }));
  partition!.endOffset = records.length;
  await using cluster = fake.client();
  for (const source of ["orders", topic("orders", { key: text(), value: text() })]) {
    const shown: string[] = [];
    for await (const record of cluster.consumer().records(source, { untilEnd: true })) {
      const { key, value, rawKey, rawValue, headers, timestamp, timestampBig } = record;
      const trace = headers.get("trace");
      const shownBytes = [key, value, rawKey, rawValue].map((each) => each?.toString());
      shown.push([...shownBytes, headers.size, trace, timestamp, timestampBig].map(String).join(" "));
    }
    expect(shown).toEqual([
      `k0 v0 k0 v0 0 undefined ${dayMs} undefined`,
      `k1 v1 k1 v1 1 t1 ${dayMs} undefined`,
      `k2 v2 k2 v2 0 undefined ${Number.MAX_SAFE_INTEGER} ${exact}`,
    ]);
  }
});

test("empty partitions have no end to wait for", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  await using cluster = fake.client();
  expect(await all(cluster.consumer().records("orders", { untilEnd: true }))).toEqual([]);
  expect(fake.requests("Fetch")).toBe(0);
});

test.for([
  ["earliest", ["0", "1", "2", "3", "4"]],
  [{ offset: 0 }, ["0", "1", "2", "3", "4"]],
  [{ offset: 3 }, ["3", "4"]],
  [{ offset: 5 }, []],
  [{ timestamp: dayMs + 1_500 }, ["2", "3", "4"]],
  [{ timestamp: dayMs + 60_000 }, []],
  ["latest", []],
] as const)("begins at %j, also within a batch", async ([from, expected]) => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  store(partition!, ["0", "1"]);
  store(partition!, ["2", "3", "4"]);
  await using cluster = fake.client();
  const found = await all(cluster.consumer().records("orders", { from, untilEnd: true }));
  expect(found.map((each) => each.split(" ")[1])).toEqual(expected);
});

test("a follower sees what comes later, and an end that moves does not", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  store(partition!, ["before"]);
  await using cluster = fake.client();
  const records = cluster.consumer().records("orders", { from: "latest" });
  const next = records.next();
  await fake.world.clock.advance(700);
  store(partition!, ["after"]);
  expect((await fake.within(1_000, next)).value).toMatchObject({ topic: "orders", partition: 0, offset: 1 });
  await records.return();

  const bounded = cluster.consumer().records("orders", { untilEnd: true });
  expect((await bounded.next()).value).toMatchObject({ offset: 0 });
  store(partition!, ["too late"]);
  expect((await bounded.next()).value).toMatchObject({ offset: 1 });
  expect(await bounded.next()).toEqual({ done: true, value: undefined });
});

test("only the partitions that were asked for; one that is not there is named", async () => {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0]);
  for (const partition of partitions) store(partition, ["x"]);
  await using cluster = fake.client();
  const consumer = cluster.consumer();
  expect(await all(consumer.records("orders", { partitions: [1, 1], untilEnd: true }))).toEqual(["1@0 x"]);
  await expect(all(consumer.records("orders", { partitions: [0, 2] }))).rejects.toThrow(
    "partition orders-2: the topic has the partitions 0 to 1",
  );
  await expect(fake.within(3_000, all(consumer.records("none")))).rejects.toMatchObject({
    code: "UNKNOWN_TOPIC_OR_PARTITION",
  });
});

test("a topic that was made a moment ago is read as soon as its broker has heard of it", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  const read = all(cluster.consumer().records("orders", { partitions: [0], untilEnd: true }));
  await fake.world.clock.advance(500);
  const [partition] = fake.create("orders", [0]);
  store(partition!, ["x"]);
  expect(await fake.within(1_000, read)).toEqual(["0@0 x"]);
});

test.for([
  ["read_uncommitted", ["0@0 plain", "0@1 aborted", "0@2 committed", "0@5 aborted again", "0@7 open"]],
  ["read_committed", ["0@0 plain", "0@2 committed"]],
] as const)(
  "%s: control batches are never seen, aborted and open transactions as asked",
  async ([isolation, expected]) => {
    const fake = await FakeCluster.start();
    const [partition] = fake.create("orders");
    store(partition!, ["plain"]);
    store(partition!, ["aborted"], { producerId: 7 });
    store(partition!, ["committed"], { producerId: 8 });
    endTransaction(partition!, 7, false);
    endTransaction(partition!, 8, true);
    store(partition!, ["aborted again"], { producerId: 7 });
    endTransaction(partition!, 7, false);
    partition!.stableOffset = partition!.endOffset;
    store(partition!, ["open"], { producerId: 9 });
    partition!.aborted = [
      { producerId: 7, firstOffset: 5 },
      { producerId: 7, firstOffset: 1 },
    ];
    await using cluster = fake.client();
    expect(await all(cluster.consumer({ isolation }).records("orders", { untilEnd: true }))).toEqual(expected);
  },
);

test("the end is reached where only control records stand before it", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  store(partition!, ["aborted"], { producerId: 7 });
  endTransaction(partition!, 7, false);
  endTransaction(partition!, 8, false);
  partition!.aborted = [{ producerId: 7, firstOffset: 0 }];
  await using cluster = fake.client();
  const consumer = cluster.consumer({ isolation: "read_committed" });
  expect(await all(consumer.records("orders", { untilEnd: true }))).toEqual([]);
  expect(await all(consumer.records("orders", { from: { offset: 2 }, untilEnd: true }))).toEqual([]);
});

test("a batch that compaction emptied is passed", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  partition!.log.push(encodeBatch({ baseOffset: 0, records: [], lastOffset: 9 }));
  partition!.endOffset = 10;
  store(partition!, ["x"]);
  await using cluster = fake.client();
  expect(await all(cluster.consumer().records("orders", { untilEnd: true }))).toEqual(["0@10 x"]);
});

test("bytes that fail their checksum are named by topic, partition and offset; what came before them is given", async () => {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0]);
  store(partitions[1]!, ["good"]);
  store(partitions[1]!, ["bad", "bad"]);
  partitions[1]!.log[1]![70]! ^= 1;
  await using cluster = fake.client();
  const found: string[] = [];
  const reading = async (): Promise<void> => {
    for await (const { value } of cluster.consumer().records("orders", { untilEnd: true })) found.push(String(value));
  };
  await expect(reading()).rejects.toMatchObject({
    code: "CORRUPT_MESSAGE",
    message: "orders-1 at offset 1: the batch fails its CRC",
  });
  expect(found).toEqual(["good"]);
});

/** Answers to Fetch with these bytes, whatever is asked. */
async function servedWith(bytes: Buffer): Promise<FakeCluster> {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  partition!.endOffset = 100;
  fake.brokers[0]!.on(fetch, ({ message }) => ({
    throttleTimeMs: 0,
    errorCode: 0,
    sessionId: 0,
    responses: message.topics.map(({ topicId, partitions }) => ({
      topicId,
      partitions: partitions.map(({ partition: partitionIndex }) => ({
        partitionIndex,
        errorCode: 0,
        highWatermark: 100,
        abortedTransactions: null,
        records: bytes,
      })),
    })),
  }));
  return fake;
}

const whole = encodeBatch({ records: [{ value: Buffer.from("x"), timestamp: 0 }] });
const lying = encodeBatch({ records: [{ value: Buffer.from("x"), timestamp: 0 }] });
lying.writeInt32BE(1_000_000, 57);
const legacy = Buffer.from(whole);
legacy[16] = 1;

test.for([
  ["a batch that is cut off, with nothing before it", whole.subarray(0, 40), "no readable batch (truncated)"],
  ["an old format", legacy, "no readable batch (legacy-magic)"],
  ["zeros", Buffer.alloc(100), "no readable batch (too-short)"],
] as const)(
  "bytes that are no batch end the reading, and do not make it turn in a circle: %s",
  async ([, bytes, message]) => {
    const fake = await servedWith(bytes);
    await using cluster = fake.client();
    await expect(all(cluster.consumer().records("orders"))).rejects.toThrow(`orders-0 at offset 0: ${message}`);
  },
);

test("a record count that lies is named", async () => {
  const { RecordBatchView } = await import("kafka-protocol-ts/records/batch");
  const batch = new RecordBatchView(lying);
  lying.writeUInt32BE(batch.computeCrc(), 17);
  const fake = await servedWith(lying);
  await using cluster = fake.client();
  await expect(all(cluster.consumer().records("orders"))).rejects.toThrow(
    /^orders-0 at offset 0: 1000000 records cannot lie in \d+ bytes$/,
  );
});

test("a last batch that is cut off is read with the next answer", async () => {
  const second = encodeBatch({ baseOffset: 1, records: [{ value: Buffer.from("y"), timestamp: 0 }] });
  const fake = await servedWith(Buffer.concat([whole, second.subarray(0, 50)]));
  fake.topics.get("orders")!.partitions[0]!.endOffset = 1;
  await using cluster = fake.client();
  expect(await all(cluster.consumer().records("orders", { untilEnd: true }))).toEqual(["0@0 x"]);
});

test("an offset that the log does not have is an error, never skipped", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  store(partition!, ["x"]);
  await using cluster = fake.client();
  await expect(all(cluster.consumer().records("orders", { from: { offset: 50 } }))).rejects.toMatchObject({
    code: "OFFSET_OUT_OF_RANGE",
    message: expect.stringMatching(/^orders-0 at offset 50: /) as string,
  });
});

test("reading goes on where the leader has moved to, and behind a broken connection", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [0]);
  store(partition!, ["a"]);
  await using cluster = fake.client();
  const records = cluster.consumer().records("orders");
  expect((await records.next()).value).toMatchObject({ offset: 0 });
  partition!.leaderId = 1;
  store(partition!, ["b"]);
  expect((await fake.within(5_000, records.next())).value).toMatchObject({ offset: 1 });
  const third = records.next();
  await fake.world.clock.advance(100);
  fake.brokers[1]!.cut();
  await fake.world.clock.settle();
  store(partition!, ["c"]);
  expect((await fake.within(5_000, third)).value).toMatchObject({ offset: 2 });
  await records.return();
});

test("while the leader is away it is asked with pauses, and after its time reading fails", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [1]);
  store(partition!, ["a"]);
  await using cluster = fake.client();
  const records = cluster.consumer({ outageMsMax: 20_000 }).records("orders");
  await records.next();
  await fake.brokers[1]!.stop();
  const before = fake.requests("Metadata");
  await expect(fake.within(20_000, records.next())).rejects.toMatchObject({
    code: "TIMED_OUT",
    message: expect.stringMatching(/^reading orders: no success within 20000 ms: /) as string,
  });
  expect(fake.requests("Metadata") - before).toBeLessThan(40);
});

test("a busy partition does not starve the others: who was served is asked for last", async () => {
  const fake = await FakeCluster.start();
  const partitions = fake.create("orders", [0, 0, 0]);
  await using cluster = fake.client();
  const records = cluster.consumer().records("orders");
  store(partitions[0]!, ["x"]);
  await records.next();
  store(partitions[2]!, ["y"]);
  await fake.within(1_000, records.next());
  const asked = fake.brokers[0]!.asked.filter(({ api }) => api === "Fetch").map(({ message }) =>
    (message as { topics: { partitions: { partition: number }[] }[] }).topics[0]!.partitions.map(
      ({ partition }) => partition,
    ),
  );
  expect(asked.slice(0, 2)).toEqual([
    [0, 1, 2],
    [1, 2, 0],
  ]);
  await records.return();
});

test("an aborted signal ends the reading at once, in the middle of a wait and between two records", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  store(partition!, ["a", "b", "c"]);
  await using cluster = fake.client();
  const stop = new AbortController();
  const found: number[] = [];
  for await (const { offset } of cluster.consumer().records("orders", { signal: stop.signal })) {
    found.push(offset);
    if (offset === 1) stop.abort();
  }
  expect(found).toEqual([0, 1]);

  const later = new AbortController();
  const waiting = cluster.consumer().records("orders", { from: "latest", signal: later.signal }).next();
  await fake.world.clock.advance(100);
  const beforeMs = fake.world.clock.monotonicMs();
  later.abort();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(fake.world.clock.monotonicMs()).toBe(beforeMs);
  expect(await all(cluster.consumer().records("orders", { signal: AbortSignal.abort() }))).toEqual([]);
});

test("an answer that leaves a partition out is named", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  const { listOffsets } = await import("kafka-protocol-ts/messages/02-list-offsets");
  fake.brokers[0]!.on(listOffsets, ({ message }) => ({
    topics: message.topics.map(({ name }) => ({
      name,
      partitions: [{ partitionIndex: 0, errorCode: ErrorCode.NONE, timestamp: -1, offset: 0 }],
    })),
  }));
  await using cluster = fake.client();
  await expect(all(cluster.consumer().records("orders"))).rejects.toThrow(
    "the answer to ListOffsets does not mention orders-1",
  );
});

test("a leader that is not there when reading begins is told soon", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  fake.create("orders", [1]);
  await fake.brokers[1]!.stop();
  await using cluster = fake.client();
  await expect(fake.within(10_000, all(cluster.consumer().records("orders")))).rejects.toMatchObject({
    code: "TIMED_OUT",
    message: expect.stringContaining("broker:9001 refused the connection") as string,
  });
});

test("an offset that is none is refused where it is given: a partition without a position would never be read", async () => {
  const fake = await FakeCluster.start();
  const [partition] = fake.create("orders");
  store(partition!, ["a", "b"]);
  await using cluster = fake.client();
  const consumer = cluster.consumer();
  const records = consumer.records("orders");
  await fake.within(1_000, records.next());
  for (const offset of [-1, 1.5, Number.NaN, 2 ** 60]) {
    const sought = consumer.seek({ topic: "orders", partition: 0 }, { offset });
    await expect(sought).rejects.toMatchObject({
      code: "INVALID_CONFIG",
      message: expect.stringContaining(`${offset}`),
    });
  }
  expect((await fake.within(1_000, records.next())).value).toMatchObject({ offset: 1 });
  await records.return();
  const begun = cluster.consumer().records("orders", { from: { offset: -5 } });
  await expect(fake.within(1_000, begun.next())).rejects.toMatchObject({ code: "INVALID_CONFIG" });
});

test.for(["concurrency", "timeoutMs", "attempts", "countMax", "waitMs"] as const)(
  "%s that is no number above 0 is refused, where it would keep reading still",
  async (option) => {
    const fake = await FakeCluster.start();
    fake.create("orders");
    await using cluster = fake.client();
    for (const value of [-1, Number.NaN]) {
      const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(option) };
      const consumer = cluster.consumer();
      if (option === "countMax" || option === "waitMs") {
        expect(() => consumer.batches("orders", { [option]: value })).toThrow(expect.objectContaining(refusal));
        continue;
      }
      const options = option === "attempts" ? { retry: { attempts: value } } : { [option]: value };
      await expect(consumer.run("orders", () => {}, options)).rejects.toMatchObject(refusal);
    }
  },
);
