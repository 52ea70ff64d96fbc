import { describe, expect, test } from "vitest";
import { produceHandler } from "@millrace/broker/apis/00-produce";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { batchesIn, BatchField } from "kafka-protocol-ts/records/batch";
import { CompressionCodec } from "kafka-protocol-ts/records/compression";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import { createTopic, fetchFrom, isKafka, offsetAt, produceTo, readBatches } from "./calls.ts";
import type { ProducedPartition } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { served } from "./served.ts";

/* What a producer sends and is told: traps T20 to T29. Proven against Apache Kafka, see served.ts. */

const orders = { topic: "orders", partition: 0 };
const [firstVersion, lastVersion] = isKafka ? [3, 13] : produceHandler.versions;
const versions = Array.from({ length: lastVersion - firstVersion + 1 }, (_, index) => firstVersion + index);
const unknownId = "AQIDBAUGBwgJCgsMDQ4PEA";

/** In any version: from 13 on a topic is named by its id. */
async function send(client: RawClient, version: number, topicId: string, records: Buffer): Promise<ProducedPartition> {
  const answer = await client.request(produce, version, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 10_000,
    topicData: [{ ...(version >= 13 ? { topicId } : { name: "orders" }), partitionData: [{ index: 0, records }] }],
  });
  const [topic] = answer.responses;
  expect(version >= 13 ? topic?.topicId : topic?.name).toBe(version >= 13 ? topicId : "orders");
  return topic!.partitionResponses[0]!;
}

/** Changes a batch and makes its checksum fit again. */
function changed(batch: Buffer, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(batch);
  change(bytes);
  bytes.writeUInt32BE(crc32c(bytes.subarray(BatchField.attributes)), BatchField.crc);
  return bytes;
}

test("T20: every version stores, and answers where; an id that is nobody's is told so", async () => {
  await using it = await served();
  await using client = await it.client();
  const topicId = await createTopic(client, "orders");
  for (const [count, version] of versions.entries()) {
    const answer = await send(client, version, topicId, batchOf([`v${version}`]));
    expect(answer).toMatchObject({
      index: 0,
      errorCode: 0,
      baseOffset: count,
      logAppendTimeMs: -1,
      errorMessage: null,
    });
    if (version >= 5) expect(answer.logStartOffset).toBe(0);
    expect(answer.recordErrors).toEqual([]);
  }
  if (lastVersion >= 13) {
    expect(await send(client, 13, unknownId, batchOf(["x"]))).toMatchObject({
      ...{ errorCode: ErrorCode.UNKNOWN_TOPIC_ID, baseOffset: -1, logStartOffset: -1 },
    });
  }
  const values = (await readBatches(client, orders, 0))
    .flatMap((batch) => readRecords(batch))
    .map(({ value }) => `${value}`);
  expect(values).toEqual(versions.map((version) => `v${version}`));
});

test("T21: acks other than -1, 0 and 1 refuse every partition", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders", 2);
  for (const acks of [2, -2, 7]) {
    const answer = await client.request(produce, 9, {
      transactionalId: null,
      acks,
      timeoutMs: 1_000,
      topicData: [{ name: "orders", partitionData: [0, 1].map((index) => ({ index, records: batchOf(["x"]) })) }],
    });
    const codes = answer.responses.flatMap(({ partitionResponses }) =>
      partitionResponses.map((each) => each.errorCode),
    );
    expect(codes).toEqual([ErrorCode.INVALID_REQUIRED_ACKS, ErrorCode.INVALID_REQUIRED_ACKS]);
  }
  expect((await offsetAt(client, orders, -1)).offset).toBe(0);
});

describe("T22: is refused, and leaves nothing behind:", () => {
  const good = batchOf(["a", "b"]);
  test.for<[what: string, records: Buffer, code: number]>([
    ["a wrong checksum", Buffer.from(good).fill(0xff, good.length - 1), ErrorCode.CORRUPT_MESSAGE],
    ["an old format", changed(good, (bytes) => bytes.writeInt8(1, BatchField.magic)), ErrorCode.INVALID_RECORD],
    [
      "a format that there is not",
      changed(good, (bytes) => bytes.writeInt8(3, BatchField.magic)),
      ErrorCode.CORRUPT_MESSAGE,
    ],
    ...[-5, 0, 13, 14, 48, 49, good.length - 13].map((length): [string, Buffer, number] => [
      `a length of ${length}`,
      changed(good, (bytes) => bytes.writeInt32BE(length, BatchField.batchLength)),
      ErrorCode.CORRUPT_MESSAGE,
    ]),
    [
      "a length that is too large",
      changed(good, (bytes) => bytes.writeInt32BE(good.length - 11, BatchField.batchLength)),
      ErrorCode.INVALID_RECORD,
    ],
    ["a batch and zeros", Buffer.concat([good, Buffer.alloc(80)]), ErrorCode.CORRUPT_MESSAGE],
    ["ten bytes", good.subarray(0, 10), ErrorCode.INVALID_RECORD],
    ["nothing", Buffer.alloc(0), ErrorCode.INVALID_RECORD],
    ["half a batch", good.subarray(0, good.length - 5), ErrorCode.INVALID_RECORD],
    ["two batches", Buffer.concat([good, good]), ErrorCode.INVALID_RECORD],
    [
      "a control batch",
      changed(good, (bytes) => bytes.writeInt16BE(0x20, BatchField.attributes)),
      ErrorCode.INVALID_RECORD,
    ],
    ["a base offset", changed(good, (bytes) => bytes.writeInt32BE(7, 4)), ErrorCode.INVALID_RECORD],
    [
      "a count that lies",
      changed(good, (bytes) => bytes.writeInt32BE(3, BatchField.recordsCount)),
      ErrorCode.INVALID_RECORD,
    ],
    [
      "a last offset that lies",
      changed(good, (bytes) => bytes.writeInt32BE(5, BatchField.lastOffsetDelta)),
      ErrorCode.INVALID_RECORD,
    ],
    ["a batch that is too large", batchOf(["x".repeat(1_100_000)]), ErrorCode.MESSAGE_TOO_LARGE],
  ])("%s", async ([, records, code]) => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    for (const version of [3, 9, Math.min(12, lastVersion)]) {
      expect(await produceTo(client, records, { version })).toMatchObject({ errorCode: code, baseOffset: -1 });
    }
    expect(await produceTo(client, good)).toMatchObject({ errorCode: 0, baseOffset: 0 });
  });
});

test("T23: zstd is for those who know it", async () => {
  await using it = await served();
  await using client = await it.client();
  const topicId = await createTopic(client, "orders");
  const packed = (): Buffer =>
    encodeBatch({ records: [{ value: Buffer.from("x".repeat(500)), timestamp: 1 }], compression: "zstd" });
  for (const version of versions.filter((each) => each < 7)) {
    expect(await send(client, version, topicId, packed())).toMatchObject({
      errorCode: ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    });
  }
  expect(await send(client, 7, topicId, packed())).toMatchObject({ errorCode: 0, baseOffset: 0 });
  for (const version of [4, 9, 10, 12]) {
    const answer = await client.request(fetch, version, {
      maxWaitMs: 0,
      minBytes: 0,
      ...(version >= 7 ? { sessionId: 0, sessionEpoch: -1 } : {}),
      topics: [{ topic: "orders", partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000_000 }] }],
    });
    const [told] = answer.responses[0]!.partitions;
    // Records are not converted for a reader, whatever it knows.
    expect([version, told?.errorCode, told?.highWatermark]).toEqual([version, ErrorCode.NONE, 1]);
    expect([...batchesIn(told!.records!)].map(({ codec }) => codec)).toEqual([CompressionCodec.zstd]);
  }
});

test.for(["gzip", "snappy", "lz4", "zstd"] as const)(
  "records in %s come back as they were sent",
  async (compression) => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const records = Array.from({ length: 50 }, (_, index) => ({
      key: index % 3 === 0 ? null : Buffer.from(`key ${index}`),
      value: index % 5 === 0 ? null : Buffer.from(`value ${index}`.repeat(index)),
      headers: [{ key: "h", value: index % 2 === 0 ? null : Buffer.from(`${index}`) }],
      timestamp: 1_700_000_000_000 + index,
    }));
    const sent = encodeBatch({ records, compression });
    expect(await produceTo(client, sent)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    const [batch] = await readBatches(client, orders, 0);
    expect(batch!.wholeBytes.subarray(BatchField.attributes).equals(sent.subarray(BatchField.attributes))).toBe(true);
    expect(readRecords(batch!)).toEqual(records.map((record, offset) => ({ ...record, offset })));
  },
);

test("T24: a time too far from the broker's is refused by record", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders", 1, { "message.timestamp.before.max.ms": "3600000" });
  const now = Date.now();
  const at = (...timestamps: number[]) =>
    encodeBatch({ records: timestamps.map((timestamp) => ({ value: Buffer.from("x"), timestamp })) });
  for (const [batch, index] of [
    [at(now, now + 2 * 3_600_000), 1],
    [at(now - 2 * 3_600_000, now), 0],
  ] as const) {
    const answer = await produceTo(client, batch);
    expect(answer).toMatchObject({ errorCode: ErrorCode.INVALID_TIMESTAMP, baseOffset: -1 });
    expect(answer.recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([index]);
    expect(answer.recordErrors[0]?.batchIndexErrorMessage).toMatch(/./);
    // Before v8 there is no room to say which.
    expect((await produceTo(client, batch, { version: 7 })).errorCode).toBe(ErrorCode.INVALID_TIMESTAMP);
  }
  expect(await produceTo(client, at(now))).toMatchObject({ errorCode: 0, baseOffset: 0 });
});

test("T25: a record without a key is refused where records are compacted, and its batch with it", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "compacted", 1, { "cleanup.policy": "compact" });
  const keyed = (...keys: (string | null)[]) =>
    encodeBatch({
      records: keys.map((key) => ({
        key: key === null ? null : Buffer.from(key),
        value: Buffer.from("v"),
        timestamp: 1,
      })),
    });
  const refused = await produceTo(client, keyed("a", null, "c", null), { topic: "compacted" });
  expect(refused).toMatchObject({ errorCode: ErrorCode.INVALID_RECORD, baseOffset: -1 });
  expect(refused.recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([1, 3]);
  expect(await produceTo(client, keyed("a", "b"), { topic: "compacted" })).toMatchObject({
    errorCode: 0,
    baseOffset: 0,
  });
});

test("T26: LogAppendTime is the broker's, the rest of the batch stays the producer's", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders", 1, { "message.timestamp.type": "LogAppendTime" });
  const before = Date.now();
  const sent = batchOf(["a", "b"]);
  const answer = await produceTo(client, Buffer.from(sent));
  expect(answer.errorCode).toBe(ErrorCode.NONE);
  expect(answer.logAppendTimeMs).toBeGreaterThanOrEqual(before);
  const [batch] = [...batchesIn((await fetchFrom(client, { offset: 0 })).records!)];
  expect(batch!.attributes).toBe(0x0008);
  expect(batch!.maxTimestamp).toBe(answer.logAppendTimeMs);
  expect(batch!.baseTimestamp).toBe(1_700_000_000_000);
  expect(batch!.isCrcValid()).toBe(true);
  expect(batch!.wholeBytes.subarray(BatchField.producerId).equals(sent.subarray(BatchField.producerId))).toBe(true);
  expect(readRecords(batch!).map(({ timestamp }) => timestamp)).toEqual([
    answer.logAppendTimeMs,
    answer.logAppendTimeMs,
  ]);
  expect((await offsetAt(client, orders, -3)).timestamp).toBe(answer.logAppendTimeMs);
});

test("T27: what a plain client cannot write to: internal topics, and what is not there", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders");
  await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["billing"] });
  // The topic is there as soon as somebody has committed.
  const commit = async () => {
    const { topics } = await client.request(offsetCommit, 8, {
      groupId: "billing",
      memberId: "",
      topics: [{ name: "orders", partitions: [{ partitionIndex: 0, committedOffset: 1, committedMetadata: "" }] }],
    });
    return topics[0]!.partitions[0]!.errorCode;
  };
  await expect.poll(commit, { timeout: 30_000 }).toBe(ErrorCode.NONE);
  const internal = { topic: "__consumer_offsets" };
  expect((await produceTo(client, batchOf(["x"]), internal)).errorCode).toBe(ErrorCode.INVALID_TOPIC_EXCEPTION);
  for (const nowhere of [{ topic: "nowhere" }, { partition: 9 }, { partition: -1 }]) {
    expect(await produceTo(client, batchOf(["x"]), nowhere)).toMatchObject({
      errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      baseOffset: -1,
      logStartOffset: -1,
    });
  }
});

describe("T28: an idempotent producer", () => {
  async function newProducer(client: RawClient): Promise<number> {
    for (;;) {
      const { producerId, errorCode } = await client.request(initProducerId, 4, {
        transactionalId: null,
        transactionTimeoutMs: 60_000,
        producerId: -1,
        producerEpoch: -1,
      });
      if (errorCode === ErrorCode.NONE) return producerId;
    }
  }

  const sequenced = (producerId: number, baseSequence: number, { epoch = 0, count = 1 } = {}): Buffer =>
    batchOf(
      Array.from({ length: count }, (_, index) => `${baseSequence + index}`),
      { producerId, producerEpoch: epoch, baseSequence },
    );

  test("is told the first offset of what it sends again, among the last five; else its sequence is out of order", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const producerId = await newProducer(client);
    for (let sequence = 0; sequence < 7; sequence++) {
      expect(await produceTo(client, sequenced(producerId, sequence * 2, { count: 2 }))).toMatchObject({
        errorCode: ErrorCode.NONE,
        baseOffset: sequence * 2,
      });
    }
    for (let sequence = 2; sequence < 7; sequence++) {
      expect(await produceTo(client, sequenced(producerId, sequence * 2, { count: 2 }))).toMatchObject({
        errorCode: ErrorCode.NONE,
        baseOffset: sequence * 2,
      });
    }
    const outOfOrder = { errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, baseOffset: -1 };
    // Older than five, the half of one, a gap.
    expect(await produceTo(client, sequenced(producerId, 2, { count: 2 }))).toMatchObject(outOfOrder);
    expect(await produceTo(client, sequenced(producerId, 12, { count: 1 }))).toMatchObject(outOfOrder);
    expect(await produceTo(client, sequenced(producerId, 15))).toMatchObject(outOfOrder);
    expect(await produceTo(client, sequenced(producerId, 14))).toMatchObject({ errorCode: 0, baseOffset: 14 });
    expect((await offsetAt(client, orders, -1)).offset).toBe(15);
  });

  test("is fenced by a later epoch, which begins at 0", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const producerId = await newProducer(client);
    expect(await produceTo(client, sequenced(producerId, 0))).toMatchObject({ errorCode: 0 });
    expect(await produceTo(client, sequenced(producerId, 1, { epoch: 3 }))).toMatchObject({
      errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    });
    expect(await produceTo(client, sequenced(producerId, 0, { epoch: 3 }))).toMatchObject({
      errorCode: 0,
      baseOffset: 1,
    });
    expect(await produceTo(client, sequenced(producerId, 1, { epoch: 2 }))).toMatchObject({
      errorCode: ErrorCode.INVALID_PRODUCER_EPOCH,
    });
    expect(await produceTo(client, sequenced(producerId, 1, { epoch: 3 }))).toMatchObject({
      errorCode: 0,
      baseOffset: 2,
    });
  });

  test("that is unknown to a partition begins anywhere there; a sequence goes round", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders", 2);
    const producerId = await newProducer(client);
    const last = 2 ** 31 - 1;
    expect(await produceTo(client, sequenced(producerId, last - 1))).toMatchObject({ errorCode: 0, baseOffset: 0 });
    // Two records, the second of which has sequence 0.
    expect(await produceTo(client, sequenced(producerId, last, { count: 2 }))).toMatchObject({
      errorCode: 0,
      baseOffset: 1,
    });
    expect(await produceTo(client, sequenced(producerId, 1))).toMatchObject({ errorCode: 0, baseOffset: 3 });
    expect(await produceTo(client, sequenced(producerId, last, { count: 2 }))).toMatchObject({
      errorCode: 0,
      baseOffset: 1,
    });
    const other = { partition: 1 };
    expect(await produceTo(client, sequenced(producerId, 500), other)).toMatchObject({ errorCode: 0, baseOffset: 0 });
  });

  test("with five requests in flight is answered in order, and the gap behind a refused one is refused too", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const producerId = await newProducer(client);
    const broken = sequenced(producerId, 2);
    broken[broken.length - 1]! ^= 1;
    const sent = [0, 1, 2, 3, 4].map(async (sequence) =>
      produceTo(client, sequence === 2 ? broken : sequenced(producerId, sequence)),
    );
    const codes = (await Promise.all(sent)).map(({ errorCode }) => errorCode);
    const gap = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
    expect(codes).toEqual([0, 0, ErrorCode.CORRUPT_MESSAGE, gap, gap]);
    for (const sequence of [2, 3, 4]) {
      expect(await produceTo(client, sequenced(producerId, sequence))).toMatchObject({
        errorCode: 0,
        baseOffset: sequence,
      });
    }
  });

  test("remains known over a restart, with the last of its batches", async () => {
    await using it = await served();
    // Apache Kafka forgets a producer by the time of its records.
    const fresh = (producerId: number, baseSequence: number): Buffer =>
      encodeBatch({
        records: [{ value: Buffer.from(`${baseSequence}`), timestamp: Date.now() }],
        ...{ producerId, producerEpoch: 0, baseSequence },
      });
    let producerId: number;
    {
      await using client = await it.client();
      await createTopic(client, "orders");
      producerId = await newProducer(client);
      for (let sequence = 0; sequence < 3; sequence++) await produceTo(client, fresh(producerId, sequence));
    }
    await it.restart();
    await using client = await it.client();
    await expect.poll(async () => (await offsetAt(client, orders, -1)).errorCode, { timeout: 30_000 }).toBe(0);
    expect(await produceTo(client, fresh(producerId, 2))).toMatchObject({ errorCode: 0, baseOffset: 2 });
    expect(await produceTo(client, fresh(producerId, 4))).toMatchObject({
      errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    });
    expect(await produceTo(client, fresh(producerId, 3))).toMatchObject({ errorCode: 0, baseOffset: 3 });
    expect(await newProducer(client)).not.toBe(producerId);
  });
});

test.skipIf(isKafka)("T22: null records are answered, where Apache Kafka says nothing for ever", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders");
  expect(await produceTo(client, null)).toMatchObject({ errorCode: ErrorCode.INVALID_RECORD });
});
