import { describe, expect, test, vi } from "vitest";
import { PartitionLog } from "@millrace/storage/log";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchRequestInput, FetchResponse } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import { createTopic, deleteBefore, fetchFrom, isKafka, offsetAt, produceTo } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { served } from "./served.ts";
import { simulated } from "./simulated.ts";

/* What a consumer asks and is told: traps T31 to T38. Proven against Apache Kafka, see served.ts. */

const orders = { topic: "orders", partition: 0 };
const versionsOf = ({ versions: [first, last] }: { readonly versions: readonly [number, number] }): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

interface Wanted {
  readonly partition: number;
  readonly offset: number;
  readonly maxBytes?: number;
}

interface Asking extends Partial<FetchRequestInput> {
  readonly topic?: string;
  readonly topicId?: string;
  readonly forgotten?: readonly number[];
}

/** A fetch of some partitions of one topic, by its id where the version speaks ids. */
async function ask(client: RawClient, version: number, wanted: readonly Wanted[], asking: Asking) {
  const { topic = "orders", topicId, forgotten = [], ...rest } = asking;
  const name = version >= 13 ? { topicId: topicId! } : { topic };
  const partitions = wanted.map(({ partition, offset, maxBytes = 1_000_000 }) => ({
    ...{ partition, fetchOffset: offset, partitionMaxBytes: maxBytes },
  }));
  return client.request(fetch, version, {
    maxWaitMs: 0,
    minBytes: 0,
    ...(version >= 7 ? { sessionId: 0, sessionEpoch: -1 } : {}),
    topics: partitions.length === 0 ? [] : [{ ...name, partitions }],
    ...(forgotten.length === 0 ? {} : { forgottenTopicsData: [{ ...name, partitions: forgotten }] }),
    ...rest,
  });
}

/** Partition, first offset and count of records of all that was answered. */
function told({ responses }: FetchResponse): [partition: number, errorCode: number, offsets: number[]][] {
  return responses.flatMap(({ partitions }) =>
    partitions.map(({ partitionIndex, errorCode, records }): [number, number, number[]] => [
      partitionIndex,
      errorCode,
      [...batchesIn(records ?? Buffer.alloc(0))].map(({ baseOffset }) => baseOffset),
    ]),
  );
}

/** Eight records a batch. */
async function fill(client: RawClient, batches: number, at = orders): Promise<void> {
  for (let count = 0; count < batches; count++) {
    const values = Array.from({ length: 8 }, (_, index) => `record ${count * 8 + index}`);
    expect(await produceTo(client, batchOf(values), at)).toMatchObject({ errorCode: ErrorCode.NONE });
  }
}

describe("a fetch", () => {
  test("answers in every version, with records that each version's reader understands", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders", 2);
    await fill(client, 2);
    for (const version of versionsOf(fetch)) {
      const wanted = [
        { partition: 0, offset: 8 },
        { partition: 1, offset: 0 },
      ];
      const answer = await ask(client, version, wanted, { topicId });
      expect([version, answer.errorCode, told(answer)]).toEqual([
        version,
        ErrorCode.NONE,
        [
          [0, ErrorCode.NONE, [8]],
          [1, ErrorCode.NONE, []],
        ],
      ]);
      const [topic] = answer.responses;
      expect(version >= 13 ? topic?.topicId : topic?.topic).toBe(version >= 13 ? topicId : "orders");
      const [first, second] = topic!.partitions;
      expect(first).toMatchObject({ highWatermark: 16, lastStableOffset: 16 });
      if (version >= 5) expect(first).toMatchObject({ logStartOffset: 0 });
      expect(first).toMatchObject({ abortedTransactions: null, preferredReadReplica: -1 });
      // Never null: some clients do not expect that.
      expect(second?.records).toHaveLength(0);
      const records = [...batchesIn(first!.records!)].flatMap((batch) => readRecords(batch));
      expect(records.map(({ value }) => `${value}`)).toEqual(
        Array.from({ length: 8 }, (_, index) => `record ${8 + index}`),
      );
    }
  });

  test("T31: from the middle of a batch is answered with the whole batch", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await fill(client, 4);
    const { records, errorCode } = await fetchFrom(client, { offset: 17 });
    expect(errorCode).toBe(ErrorCode.NONE);
    expect([...batchesIn(records!)].map(({ baseOffset }) => baseOffset)).toEqual([16, 24]);
  });

  test("T32: brings the first batch of the first partition that has one, however small the limits", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders", 3);
    await fill(client, 2, { topic: "orders", partition: 1 });
    await fill(client, 2, { topic: "orders", partition: 2 });
    const all = [0, 1, 2].map((partition) => ({ partition, offset: 0 }));
    const onlyFirst = [
      [0, ErrorCode.NONE, []],
      [1, ErrorCode.NONE, [0]],
      [2, ErrorCode.NONE, []],
    ];
    for (const version of [4, 12, 18]) {
      expect(told(await ask(client, version, all, { topicId, maxBytes: 1 }))).toEqual(onlyFirst);
      const tight = all.map((each) => ({ ...each, maxBytes: 1 }));
      expect(told(await ask(client, version, tight, { topicId }))).toEqual(onlyFirst);
      const none = all.map((each) => ({ ...each, maxBytes: 0 }));
      expect(told(await ask(client, version, none, { topicId, maxBytes: 0 }))).toEqual(onlyFirst);
    }
    const large = batchOf(["x".repeat(500_000)]);
    expect(await produceTo(client, large)).toMatchObject({ errorCode: ErrorCode.NONE });
    const { records } = await fetchFrom(client, { offset: 0, maxBytes: 1000, partitionMaxBytes: 1000 });
    expect(records).toHaveLength(large.length);
  });

  test("T33: out of range, also below zero, says so and nothing else", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await fill(client, 2);
    for (const offset of [17, 1_000_000, -1, -2, -1_000_000]) {
      expect(await fetchFrom(client, { offset })).toMatchObject({
        errorCode: ErrorCode.OFFSET_OUT_OF_RANGE,
        highWatermark: -1,
        lastStableOffset: -1,
        logStartOffset: -1,
        records: Buffer.alloc(0),
      });
    }
    // The end itself is no error: that is where a consumer waits.
    expect(await fetchFrom(client, { offset: 16 })).toMatchObject({ errorCode: ErrorCode.NONE, highWatermark: 16 });
    await deleteBefore(client, orders, 8);
    expect(await fetchFrom(client, { offset: 7 })).toMatchObject({ errorCode: ErrorCode.OFFSET_OUT_OF_RANGE });
    expect(await fetchFrom(client, { offset: 8 })).toMatchObject({ errorCode: ErrorCode.NONE, logStartOffset: 8 });
  });

  test("T33: with another leader epoch than the leader's is told which of the two is behind", async () => {
    await using it = await served();
    {
      await using client = await it.client();
      await createTopic(client, "orders");
      await fill(client, 1);
      const epoch = (await offsetAt(client, orders, -1)).leaderEpoch;
      const at = async (currentLeaderEpoch: number) =>
        (await fetchFrom(client, { offset: 0, currentLeaderEpoch })).errorCode;
      expect(await at(epoch)).toBe(ErrorCode.NONE);
      expect(await at(epoch + 1)).toBe(ErrorCode.UNKNOWN_LEADER_EPOCH);
    }
    await it.restart();
    await using client = await it.client();
    const epoch = (await offsetAt(client, orders, -1)).leaderEpoch;
    expect(epoch).toBeGreaterThan(0);
    const behind = await fetchFrom(client, { offset: 0, currentLeaderEpoch: epoch - 1 });
    expect(behind).toMatchObject({ errorCode: ErrorCode.FENCED_LEADER_EPOCH, highWatermark: -1 });
    expect((await fetchFrom(client, { offset: 0, currentLeaderEpoch: epoch })).errorCode).toBe(ErrorCode.NONE);
  });

  test("T33: of a topic or partition that is not there is told so, by name and by id", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    const unknown = "AQIDBAUGBwgJCgsMDQ4PEA";
    const code = (answer: FetchResponse) => told(answer)[0]?.[1];
    const first = [{ partition: 0, offset: 0 }];
    const missing = [{ partition: 5, offset: 0 }];
    expect(code(await ask(client, 12, first, { topic: "nowhere" }))).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(code(await ask(client, 12, missing, {}))).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    for (const version of [13, 18]) {
      const nowhere = await ask(client, version, first, { topicId: unknown });
      expect(code(nowhere)).toBe(ErrorCode.UNKNOWN_TOPIC_ID);
      expect(nowhere.responses[0]?.topicId).toBe(unknown);
      expect(code(await ask(client, version, missing, { topicId }))).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    }
  });

  test("T35: read_committed gets a list of aborted transactions, read_uncommitted none", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await fill(client, 1);
    expect(await fetchFrom(client, { offset: 0 })).toMatchObject({ abortedTransactions: null });
    const committed = await fetchFrom(client, { offset: 0, isolationLevel: 1 });
    expect(committed).toMatchObject({ abortedTransactions: [], lastStableOffset: 8, highWatermark: 8 });
    expect([...batchesIn(committed.records!)]).toHaveLength(1);
    expect((await offsetAt(client, orders, -1, { isolationLevel: 1 })).offset).toBe(8);
  });
});

describe("a long poll", () => {
  test("answers when its time is over, and not before", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await fill(client, 1);
    const startedMs = performance.now();
    const answer = await fetchFrom(client, { offset: 8, minBytes: 1, maxWaitMs: 300 });
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(295);
    expect(answer).toMatchObject({ errorCode: ErrorCode.NONE, highWatermark: 8, records: Buffer.alloc(0) });
    // Too little is answered with what there is.
    const little = await fetchFrom(client, { offset: 0, minBytes: 100_000, maxWaitMs: 50 });
    expect([...batchesIn(little.records!)]).toHaveLength(1);
  });

  test("is woken by data, and goes on waiting while that is less than it wants", async () => {
    await using it = await served();
    await using consumer = await it.client();
    await using producer = await it.client();
    await createTopic(producer, "orders");
    const waiting = fetchFrom(consumer, { offset: 0, minBytes: 1, maxWaitMs: 60_000 });
    await produceTo(producer, batchOf(["first"]));
    // An answer at all is proof: nobody waits for a minute here.
    expect([...batchesIn((await waiting).records!)]).toHaveLength(1);
    const batch = batchOf(["x".repeat(1000)]);
    let isAnswered = false;
    const patient = fetchFrom(consumer, { offset: 1, minBytes: batch.length * 3, maxWaitMs: 60_000 });
    void patient.then(() => (isAnswered = true));
    for (let count = 0; count < 2; count++) await produceTo(producer, batch);
    await offsetAt(producer, orders, -1);
    expect(isAnswered).toBe(false);
    await produceTo(producer, batch);
    expect([...batchesIn((await patient).records!)]).toHaveLength(3);
  });

  test("on many partitions is woken by any of them, and an error is told at once", async () => {
    await using it = await served();
    await using consumer = await it.client();
    await using producer = await it.client();
    const topicId = await createTopic(producer, "orders", 4);
    const all = [0, 1, 2, 3].map((partition) => ({ partition, offset: 0 }));
    const patience = { topicId, minBytes: 1, maxWaitMs: 60_000 };
    const waiting = ask(consumer, 18, all, patience);
    await produceTo(producer, batchOf(["first"]), { partition: 2 });
    expect(told(await waiting).filter(([, , offsets]) => offsets.length > 0)).toEqual([[2, ErrorCode.NONE, [0]]]);
    const beyond = [...all.slice(0, 3), { partition: 3, offset: 99 }].filter(({ partition }) => partition !== 2);
    expect(told(await ask(consumer, 18, beyond, patience))).toContainEqual([3, ErrorCode.OFFSET_OUT_OF_RANGE, []]);
    expect((await ask(consumer, 18, [], patience)).responses).toEqual([]);
  });

  test("costs nothing while it waits, and one look for each arrival", async () => {
    await using it = await simulated();
    await using producer = await it.client();
    await createTopic(producer, "orders");
    const consumers = await Promise.all(Array.from({ length: 20 }, async () => it.client()));
    const read = vi.spyOn(PartitionLog.prototype, "read");
    const waiting = consumers.map(async (client) =>
      fetchFrom(client, { offset: 0, minBytes: 2_000, maxWaitMs: 60_000 }),
    );
    await it.settle();
    expect(read).toHaveBeenCalledTimes(20);
    await it.clock.advance(50_000);
    expect(read).toHaveBeenCalledTimes(20);
    for (let count = 1; count <= 3; count++) {
      await produceTo(producer, batchOf(["x".repeat(100)]));
      await it.settle();
      expect(read).toHaveBeenCalledTimes(20 + 20 * count);
    }
    await it.clock.advance(10_000);
    const counts = (await Promise.all(waiting)).map(({ records }) => [...batchesIn(records!)].length);
    expect(counts).toEqual(consumers.map(() => 3));
    for (const client of consumers) await client[Symbol.asyncDispose]();
    read.mockRestore();
  });
});

describe("T34: a fetch session", () => {
  test.for([7, 12, 13, 18])("tells what is new and nothing else, v%i", async (version) => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders", 3);
    await fill(client, 1);
    const all = [0, 1, 2].map((partition) => ({ partition, offset: 0 }));
    const opened = await ask(client, version, all, { topicId, sessionId: 0, sessionEpoch: 0 });
    const { sessionId } = opened;
    expect(sessionId).toBeGreaterThan(0);
    expect(told(opened)).toEqual([
      [0, ErrorCode.NONE, [0]],
      [1, ErrorCode.NONE, []],
      [2, ErrorCode.NONE, []],
    ]);
    let sessionEpoch = 1;
    const next = async (wanted: readonly Wanted[] = [], asking: Asking = {}) => {
      const answer = await ask(client, version, wanted, {
        topicId,
        sessionId,
        sessionEpoch: sessionEpoch++,
        ...asking,
      });
      expect(answer).toMatchObject({ errorCode: ErrorCode.NONE, sessionId });
      return told(answer);
    };
    // The position moves: there is nothing new anywhere, and nothing is told.
    expect(await next([{ partition: 0, offset: 8 }])).toEqual([]);
    expect(await next()).toEqual([]);
    await produceTo(client, batchOf(["news"]), { partition: 1 });
    expect(await next()).toEqual([[1, ErrorCode.NONE, [0]]]);
    // What was not taken is brought again.
    expect(await next()).toEqual([[1, ErrorCode.NONE, [0]]]);
    expect(await next([{ partition: 1, offset: 1 }])).toEqual([]);
    // A partition that is forgotten is not spoken of any more.
    await produceTo(client, batchOf(["unheard"]), { partition: 1 });
    await produceTo(client, batchOf(["heard"]), { partition: 2 });
    expect(await next([{ partition: 2, offset: 1 }], { forgotten: [1] })).toEqual([[2, ErrorCode.NONE, []]]);
    // And heard of again when it is named again.
    expect(await next([{ partition: 1, offset: 1 }])).toEqual([[1, ErrorCode.NONE, [1]]]);
    // A start of the log that moved is news, without records.
    await next([{ partition: 1, offset: 2 }]);
    await deleteBefore(client, orders, 4);
    expect(await next()).toEqual([[0, ErrorCode.NONE, []]]);
    expect(await next()).toEqual([]);
    // An error is told each time, and after it everything.
    expect(await next([{ partition: 0, offset: 99 }])).toEqual([[0, ErrorCode.OFFSET_OUT_OF_RANGE, []]]);
    expect(await next()).toEqual([[0, ErrorCode.OFFSET_OUT_OF_RANGE, []]]);
    expect(await next([{ partition: 0, offset: 8 }])).toEqual([[0, ErrorCode.NONE, []]]);
    expect(await next()).toEqual([]);
  });

  test("waits like any other fetch, and is woken by a partition that it has from before", async () => {
    await using it = await served();
    await using client = await it.client();
    await using producer = await it.client();
    const topicId = await createTopic(client, "orders", 2);
    const both = [0, 1].map((partition) => ({ partition, offset: 0 }));
    const { sessionId } = await ask(client, 18, both, { topicId, sessionId: 0, sessionEpoch: 0 });
    const waiting = ask(client, 18, [], { sessionId, sessionEpoch: 1, minBytes: 1, maxWaitMs: 60_000 });
    await produceTo(producer, batchOf(["news"]), { partition: 1 });
    expect(told(await waiting)).toEqual([[1, ErrorCode.NONE, [0]]]);
  });

  test("that is not known is 70, with another epoch 71, and closed with -1", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    await fill(client, 1);
    const first = [{ partition: 0, offset: 0 }];
    for (const version of [7, 12, 13, 18]) {
      const unknown = await ask(client, version, first, { topicId, sessionId: 12345, sessionEpoch: 1 });
      expect(unknown).toMatchObject({ errorCode: ErrorCode.FETCH_SESSION_ID_NOT_FOUND, sessionId: 0, responses: [] });
      const opened = await ask(client, version, first, { topicId, sessionId: 0, sessionEpoch: 0 });
      const { sessionId } = opened;
      const wrong = await ask(client, version, first, { topicId, sessionId, sessionEpoch: 7 });
      expect(wrong).toMatchObject({ errorCode: ErrorCode.INVALID_FETCH_SESSION_EPOCH, sessionId: 0, responses: [] });
      // That was no end of it.
      const again = await ask(client, version, [], { topicId, sessionId, sessionEpoch: 1 });
      expect(again).toMatchObject({ errorCode: ErrorCode.NONE, sessionId });
      const closed = await ask(client, version, first, { topicId, sessionId, sessionEpoch: -1 });
      expect(closed).toMatchObject({ errorCode: ErrorCode.NONE, sessionId: 0 });
      expect(told(closed)).toEqual([[0, ErrorCode.NONE, [0]]]);
      const gone = await ask(client, version, [], { topicId, sessionId, sessionEpoch: 2 });
      expect(gone.errorCode).toBe(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
      // With epoch 0 an old session is left and a new one opened.
      const other = await ask(client, version, first, { topicId, sessionId: 0, sessionEpoch: 0 });
      const third = await ask(client, version, first, { topicId, sessionId: other.sessionId, sessionEpoch: 0 });
      expect(third.sessionId).not.toBe(other.sessionId);
      const left = await ask(client, version, [], { topicId, sessionId: other.sessionId, sessionEpoch: 1 });
      expect(left.errorCode).toBe(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    }
  });

  test("does not go on when the broker has restarted", async () => {
    await using it = await served();
    let sessionId: number;
    let topicId: string;
    {
      await using client = await it.client();
      topicId = await createTopic(client, "orders");
      const first = [{ partition: 0, offset: 0 }];
      sessionId = (await ask(client, 18, first, { topicId, sessionId: 0, sessionEpoch: 0 })).sessionId;
    }
    await it.restart();
    await using client = await it.client();
    const answer = await ask(client, 18, [], { topicId, sessionId, sessionEpoch: 1 });
    expect(answer.errorCode).toBe(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
  });

  test("T17: whose topic was made anew is told that its id is another's", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    const first = [{ partition: 0, offset: 0 }];
    const { sessionId } = await ask(client, 18, first, { topicId, sessionId: 0, sessionEpoch: 0 });
    const deleted = await client.request(deleteTopics, 6, { topics: [{ name: null, topicId }], timeoutMs: 10_000 });
    expect(deleted.responses[0]?.errorCode).toBe(ErrorCode.NONE);
    await createTopic(client, "orders");
    const answer = await ask(client, 18, [], { sessionId, sessionEpoch: 1 });
    expect(answer.errorCode).toBe(ErrorCode.NONE);
    expect(told(answer)).toEqual([[0, ErrorCode.INCONSISTENT_TOPIC_ID, []]]);
    expect(answer.responses[0]?.topicId).toBe(topicId);
  });

  // Apache Kafka divides its slots among eight caches, so that two are none.
  test.skipIf(isKafka)("beyond the number of slots is none: every partition is told each time", async () => {
    await using it = await served({ "max.incremental.fetch.session.cache.slots": "2" });
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    const first = [{ partition: 0, offset: 0 }];
    const open = async () => (await ask(client, 18, first, { topicId, sessionId: 0, sessionEpoch: 0 })).sessionId;
    const [one, two] = [await open(), await open()];
    expect(one).toBeGreaterThan(0);
    expect(two).toBeGreaterThan(0);
    expect(await open()).toBe(0);
    await ask(client, 18, [], { topicId, sessionId: one, sessionEpoch: -1 });
    expect(await open()).toBeGreaterThan(0);
  });
});

describe("T36: ListOffsets", () => {
  const at = (timestamp: number, value: string) => ({ value: Buffer.from(value), timestamp });
  const timestamps = {
    ...{ latest: -1, earliest: -2, maxTimestamp: -3, earliestLocal: -4, latestTiered: -5, earliestPending: -6 },
  };

  async function prepared(client: RawClient): Promise<void> {
    await createTopic(client, "orders");
    await produceTo(client, encodeBatch({ records: [at(1000, "a"), at(3000, "b"), at(2000, "c")] }));
    const packed = encodeBatch({ records: [at(2500, "d"), at(4000, "e"), at(4000, "f")], compression: "gzip" });
    await produceTo(client, packed);
    await produceTo(client, encodeBatch({ records: [at(3500, "g")] }));
  }

  test("finds ends, starts and times in every version", async () => {
    await using it = await served();
    await using client = await it.client();
    await prepared(client);
    const epoch = (await offsetAt(client, orders, timestamps.latest)).leaderEpoch;
    for (const version of versionsOf(listOffsets)) {
      const find = async (timestamp: number) => {
        const {
          errorCode,
          offset,
          timestamp: time,
          leaderEpoch,
        } = await offsetAt(client, orders, timestamp, { version });
        expect([version, timestamp, errorCode]).toEqual([version, timestamp, ErrorCode.NONE]);
        if (version >= 4 && offset >= 0) expect(leaderEpoch).toBe(epoch);
        return [offset, time];
      };
      expect(await find(timestamps.latest)).toEqual([7, -1]);
      expect(await find(timestamps.earliest)).toEqual([0, -1]);
      expect(await find(0)).toEqual([0, 1000]);
      expect(await find(1000)).toEqual([0, 1000]);
      expect(await find(1001)).toEqual([1, 3000]);
      expect(await find(3001)).toEqual([4, 4000]);
      expect(await find(4000)).toEqual([4, 4000]);
      // A time beyond the end is no error: there is nothing.
      expect(await find(4001)).toEqual([-1, -1]);
      expect(await find(Number.MAX_SAFE_INTEGER)).toEqual([-1, -1]);
      if (version >= 7) expect(await find(timestamps.maxTimestamp)).toEqual([4, 4000]);
      if (version >= 8) expect(await find(timestamps.earliestLocal)).toEqual([0, -1]);
      if (version >= 9) expect(await find(timestamps.latestTiered)).toEqual([-1, -1]);
      if (version >= 11) expect(await find(timestamps.earliestPending)).toEqual([-1, -1]);
    }
  });

  test("knows no special time before its version, and no unknown one", async () => {
    await using it = await served();
    await using client = await it.client();
    await prepared(client);
    for (const [timestamp, version] of [
      [timestamps.maxTimestamp, 6],
      [timestamps.earliestLocal, 7],
      [timestamps.latestTiered, 8],
      [timestamps.earliestPending, 10],
      [-7, 11],
    ] as const) {
      const { errorCode, offset } = await offsetAt(client, orders, timestamp, { version });
      expect([timestamp, errorCode, offset]).toEqual([timestamp, ErrorCode.UNSUPPORTED_VERSION, -1]);
    }
  });

  test("of an empty partition, of one that lost its beginning, and of none", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "empty");
    const empty = { topic: "empty", partition: 0 };
    expect(await offsetAt(client, empty, timestamps.latest)).toMatchObject({ errorCode: 0, offset: 0 });
    expect(await offsetAt(client, empty, timestamps.earliest)).toMatchObject({ errorCode: 0, offset: 0 });
    for (const timestamp of [timestamps.maxTimestamp, 0]) {
      expect(await offsetAt(client, empty, timestamp)).toMatchObject({ errorCode: 0, offset: -1, timestamp: -1 });
    }
    await prepared(client);
    await deleteBefore(client, orders, 2);
    expect(await offsetAt(client, orders, timestamps.earliest)).toMatchObject({ offset: 2 });
    expect(await offsetAt(client, orders, 0)).toMatchObject({ offset: 2, timestamp: 2000 });
    await deleteBefore(client, orders, 7);
    expect(await offsetAt(client, orders, timestamps.earliest)).toMatchObject({ offset: 7 });
    expect(await offsetAt(client, orders, 0)).toMatchObject({ errorCode: 0, offset: -1 });
    const nowhere = await offsetAt(client, { topic: "nowhere", partition: 0 }, timestamps.latest);
    expect(nowhere).toMatchObject({ errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, offset: -1 });
  });

  test("asked twice for one partition refuses that partition", async () => {
    await using it = await served();
    await using client = await it.client();
    await prepared(client);
    const answer = await client.request(listOffsets, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: "orders", partitions: [-1, -2].map((timestamp) => ({ partitionIndex: 0, timestamp })) }],
    });
    const codes = answer.topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode));
    expect(new Set(codes)).toEqual(new Set([ErrorCode.INVALID_REQUEST]));
  });
});

describe("T38: DeleteRecords", () => {
  test("moves the start in every version, never back, and not beyond the end", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await fill(client, 4);
    let start = 0;
    for (const version of versionsOf(deleteRecords)) {
      const remove = async (offset: number, topic = "orders", partition = 0) => {
        const answer = await client.request(deleteRecords, version, {
          topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
          timeoutMs: 10_000,
        });
        const { errorCode, lowWatermark } = answer.topics[0]!.partitions[0]!;
        return [errorCode, lowWatermark];
      };
      start += 5;
      expect(await remove(start)).toEqual([ErrorCode.NONE, start]);
      expect(await remove(start - 3)).toEqual([ErrorCode.NONE, start]);
      expect(await remove(33)).toEqual([ErrorCode.OFFSET_OUT_OF_RANGE, -1]);
      expect(await remove(-2)).toEqual([ErrorCode.OFFSET_OUT_OF_RANGE, -1]);
      expect(await remove(1, "nowhere")).toEqual([ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1]);
      expect(await remove(1, "orders", 9)).toEqual([ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1]);
      expect((await offsetAt(client, orders, -2)).offset).toBe(start);
    }
    expect(await deleteBefore(client, orders, -1)).toMatchObject({ errorCode: ErrorCode.NONE, lowWatermark: 32 });
    expect(await fetchFrom(client, { offset: 32 })).toMatchObject({ errorCode: ErrorCode.NONE, logStartOffset: 32 });
    await produceTo(client, batchOf(["after"]));
    expect((await offsetAt(client, orders, -1)).offset).toBe(33);
  });

  test("is refused where records go by compaction only", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "compacted", 1, { "cleanup.policy": "compact" });
    const keyed = encodeBatch({ records: [{ key: Buffer.from("k"), value: Buffer.from("v"), timestamp: 1 }] });
    await produceTo(client, keyed, { topic: "compacted" });
    expect(await deleteBefore(client, { topic: "compacted", partition: 0 }, 1)).toMatchObject({
      errorCode: ErrorCode.POLICY_VIOLATION,
    });
  });
});

test("T37: OffsetForLeaderEpoch tells where an epoch ended; one that is newer than all is -1, without an error", async () => {
  await using it = await served();
  {
    await using client = await it.client();
    await createTopic(client, "orders");
    await fill(client, 1);
  }
  await it.restart();
  await using client = await it.client();
  await fill(client, 1);
  const epoch = (await offsetAt(client, orders, -1)).leaderEpoch;
  for (const version of versionsOf(offsetForLeaderEpoch)) {
    const end = async (leaderEpoch: number, currentLeaderEpoch = -1, topic = "orders") => {
      const answer = await client.request(offsetForLeaderEpoch, version, {
        ...(version >= 3 ? { replicaId: -1 } : {}),
        topics: [{ topic, partitions: [{ partition: 0, currentLeaderEpoch, leaderEpoch }] }],
      });
      const { errorCode, leaderEpoch: found, endOffset } = answer.topics[0]!.partitions[0]!;
      return [errorCode, found, endOffset];
    };
    expect(await end(0)).toEqual([ErrorCode.NONE, 0, 8]);
    expect(await end(epoch)).toEqual([ErrorCode.NONE, epoch, 16]);
    expect(await end(epoch + 1)).toEqual([ErrorCode.NONE, -1, -1]);
    expect(await end(0, epoch)).toEqual([ErrorCode.NONE, 0, 8]);
    expect(await end(0, epoch + 1)).toEqual([ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1]);
    expect(await end(0, epoch - 1)).toEqual([ErrorCode.FENCED_LEADER_EPOCH, -1, -1]);
    expect(await end(0, -1, "nowhere")).toEqual([ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1]);
  }
});
