import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import { describeProducers } from "kafka-protocol-ts/messages/61-describe-producers";
import { listTransactions } from "kafka-protocol-ts/messages/66-list-transactions";
import { describe, expect, test } from "vitest";
import { createTopic } from "./calls.ts";
import { coordinatorOf, Member } from "./members.ts";
import type { RawClient } from "./raw-client.ts";
import { served } from "./served.ts";
import { readValues, transactionCoordinatorOf, TransactionalProducer } from "./transactional.ts";

/* Transactions over the wire, in both versions. Proven against Apache Kafka, see served.ts. */

let idCount = 0;
const newId = (): string => `id-${++idCount}`;
const settings = { "transaction.state.log.num.partitions": "1" };
const { NONE } = ErrorCode;

async function started(it: { client(): Promise<RawClient> }, id = newId()): Promise<TransactionalProducer> {
  const producer = new TransactionalProducer(await it.client(), id);
  expect(await producer.init()).toBe(NONE);
  return producer;
}

describe("version 2: partitions are named by writing to them", () => {
  test("committed records are read in the order of their offsets, aborted ones by nobody who asks for committed ones", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders", 2);
    const epoch = producer.producerEpoch;
    expect(await producer.send(["a", "b"])).toMatchObject({ errorCode: NONE, baseOffset: 0 });
    expect(await producer.send(["c"])).toMatchObject({ errorCode: NONE, baseOffset: 2 });
    expect(await producer.send(["d"], { partition: 1 })).toMatchObject({ errorCode: NONE, baseOffset: 0 });
    expect(await readValues(producer.client)).toMatchObject({ values: [], lastStableOffset: 0, highWatermark: 3 });
    expect(await readValues(producer.client, { isCommitted: false })).toMatchObject({ values: ["a", "b", "c"] });
    expect(await producer.end("commit")).toBe(NONE);
    expect(producer.producerEpoch).toBe(epoch + 1);
    expect(await producer.settled()).toBe("CompleteCommit");
    expect(await readValues(producer.client)).toMatchObject({ values: ["a", "b", "c"], lastStableOffset: 4 });
    expect(await readValues(producer.client, { partition: 1 })).toMatchObject({ values: ["d"], lastStableOffset: 2 });

    expect(await producer.send(["x"])).toMatchObject({ errorCode: NONE, baseOffset: 4 });
    expect(await producer.end("abort")).toBe(NONE);
    expect(await producer.settled()).toBe("CompleteAbort");
    expect(await readValues(producer.client)).toMatchObject({ values: ["a", "b", "c"], lastStableOffset: 6 });
    expect((await readValues(producer.client, { isCommitted: false })).values).toEqual(["a", "b", "c", "x"]);
    expect(producer.producerEpoch).toBe(epoch + 2);
  });

  test("an open transaction holds readers of committed records back, also behind what others write", async () => {
    await using it = await served(settings);
    const [slow, fast] = [await started(it), await started(it)];
    await createTopic(slow.client, "orders");
    await slow.send(["slow"]);
    await fast.send(["fast"]);
    expect(await fast.end("commit")).toBe(NONE);
    await fast.settled();
    expect(await readValues(slow.client)).toMatchObject({ values: [], lastStableOffset: 0, highWatermark: 3 });
    expect(await slow.end("commit")).toBe(NONE);
    await slow.settled();
    expect((await readValues(slow.client)).values).toEqual(["slow", "fast"]);
  });

  test("an EndTxn whose answer was lost is asked again, and not the other way round", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders");
    await producer.send(["a"]);
    const { producerEpoch } = producer;
    expect(await producer.end("commit")).toBe(NONE);
    await producer.settled();
    producer.producerEpoch = producerEpoch;
    expect(await producer.end("abort")).toBe(ErrorCode.INVALID_TXN_STATE);
    expect(await producer.end("commit")).toBe(NONE);
    expect(producer.producerEpoch).toBe(producerEpoch + 1);
  });

  test("a write that comes too late is refused, and the next transaction begins with sequence 0", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders");
    await producer.send(["a"]);
    const late = new TransactionalProducer(producer.client, producer.transactionalId);
    late.producerId = producer.producerId;
    late.producerEpoch = producer.producerEpoch;
    expect(await producer.end("commit")).toBe(NONE);
    await producer.settled();
    expect((await late.send(["late"], { sequence: 1 })).errorCode).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
    expect((await producer.send(["b"])).errorCode).toBe(NONE);
    expect(await producer.end("commit")).toBe(NONE);
    await producer.settled();
    expect((await readValues(producer.client)).values).toEqual(["a", "b"]);
  });

  test("one that wrote nothing may be aborted, not committed", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    const { producerEpoch } = producer;
    expect(await producer.end("commit")).toBe(ErrorCode.INVALID_TXN_STATE);
    expect(await producer.end("abort")).toBe(NONE);
    expect(producer.producerEpoch).toBe(producerEpoch + 1);
  });
});

describe("version 1: partitions are named before", () => {
  test("records of a named partition are committed, and those of another are refused", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders", 2);
    expect((await producer.send(["no"], { version: 11 })).errorCode).toBe(ErrorCode.TRANSACTION_ABORTABLE);
    expect((await producer.send(["no"], { version: 9 })).errorCode).toBe(ErrorCode.INVALID_TXN_STATE);
    expect(await producer.add([0])).toEqual([NONE]);
    expect((await producer.send(["a"], { version: 11 })).errorCode).toBe(NONE);
    expect((await producer.send(["b"], { version: 9 })).errorCode).toBe(NONE);
    expect((await producer.send(["no"], { version: 11, partition: 1 })).errorCode).toBe(
      ErrorCode.TRANSACTION_ABORTABLE,
    );
    expect(await producer.end("commit", 3)).toBe(NONE);
    await producer.settled();
    expect((await readValues(producer.client)).values).toEqual(["a", "b"]);
    const { producerEpoch } = producer;
    expect(await producer.end("commit", 3)).toBe(NONE);
    expect(producer.producerEpoch).toBe(producerEpoch);
  });

  test("a partition that does not exist keeps the others out", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders");
    expect(await producer.add([0, 7])).toEqual([
      ErrorCode.OPERATION_NOT_ATTEMPTED,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]);
    expect((await producer.describe()).transactionState).toBe("Empty");
  });
});

describe("who may write", () => {
  test("a new process fences the one before: its transaction is aborted, and nothing of it counts", async () => {
    await using it = await served(settings);
    const old = await started(it);
    await createTopic(old.client, "orders");
    await old.send(["zombie"]);
    const next = await started(it, old.transactionalId);
    expect(next.producerEpoch).toBeGreaterThan(old.producerEpoch);
    expect((await old.send(["later"])).errorCode).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
    expect(await old.end("commit")).not.toBe(NONE);
    expect((await next.send(["good"])).errorCode).toBe(NONE);
    expect(await next.end("commit")).toBe(NONE);
    await next.settled();
    expect((await readValues(next.client)).values).toEqual(["good"]);
    expect(await old.init({ isExpected: true })).toBe(ErrorCode.PRODUCER_FENCED);
  });

  test("transactional records without a transactional id, and others while a transaction is open, are refused", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders");
    expect((await producer.send(["a"], { transactionalId: null })).errorCode).toBe(
      ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    );
    expect((await producer.send(["a"])).errorCode).toBe(NONE);
    expect((await producer.send(["b"], { isTransactional: false })).errorCode).toBe(ErrorCode.INVALID_TXN_STATE);
    expect((await producer.send(["b"], { transactionalId: "another" })).errorCode).toBe(NONE);
  });

  test("a producer id that is not the transactional id's own is refused", async () => {
    await using it = await served(settings);
    const [one, other] = [await started(it), await started(it)];
    await createTopic(one.client, "orders");
    expect((await one.send(["a"], { transactionalId: other.transactionalId })).errorCode).toBe(
      ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    );
    expect((await one.send(["a"], { transactionalId: "nobody" })).errorCode).toBe(
      ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    );
  });

  test("what is asked for must make sense", async () => {
    await using it = await served(settings);
    const client = await it.client();
    const init = (id: string, timeoutMs: number): Promise<number> =>
      new TransactionalProducer(client, id).init({ timeoutMs });
    expect(await init(newId(), 900_001)).toBe(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    expect(await init(newId(), 0)).toBe(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    const half = new TransactionalProducer(client, newId());
    half.producerId = 7;
    expect(await half.init({ isExpected: true })).toBe(ErrorCode.INVALID_REQUEST);
  });
});

describe("offsets in a transaction", () => {
  async function committed(client: RawClient, groupId: string, requireStable = false): Promise<number | string> {
    const { groups } = await client.request(offsetFetch, 8, {
      groups: [{ groupId, topics: [{ name: "orders", partitionIndexes: [0] }] }],
      requireStable,
    });
    const { committedOffset, errorCode } = groups[0]!.topics[0]!.partitions[0]!;
    return errorCode === ErrorCode.UNSTABLE_OFFSET_COMMIT ? "unstable" : committedOffset;
  }

  test.for([5, 4, 3, 2])("count when it is committed (v%i)", async (version) => {
    await using it = await served(settings);
    const producer = await started(it);
    const { client } = producer;
    await createTopic(client, "orders");
    const group = newId();
    await coordinatorOf(client, group);
    const endVersion = version >= 5 ? 5 : 3;
    if (version < 5) expect(await producer.addOffsets(group)).toBe(NONE);
    expect(await producer.commitOffset(group, 7, { version })).toBe(NONE);
    expect(await committed(client, group)).toBe(-1);
    expect(await committed(client, group, true)).toBe("unstable");
    expect(await producer.end("commit", endVersion)).toBe(NONE);
    await producer.settled();
    expect(await committed(client, group, true)).toBe(7);

    if (version < 5) expect(await producer.addOffsets(group)).toBe(NONE);
    expect(await producer.commitOffset(group, 9, { version })).toBe(NONE);
    expect(await producer.end("abort", endVersion)).toBe(NONE);
    await producer.settled();
    expect(await committed(client, group, true)).toBe(7);
    await it.restart();
    const again = await it.client();
    await coordinatorOf(again, group);
    expect(await committed(again, group, true)).toBe(7);
  });

  test("of a member are refused once its generation is over", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders");
    const client = await it.client("app");
    const group = newId();
    await coordinatorOf(client, group);
    const member = new Member(client, group, {});
    await member.enter();
    await member.sync({ [member.memberId]: "all" });
    const { memberId, generation: generationId } = member;
    expect(await producer.commitOffset(group, 3, { memberId, generationId })).toBe(NONE);
    expect(await producer.commitOffset(group, 3)).toBe(NONE);
    const stale = { memberId, generationId: generationId - 1 };
    expect(await producer.commitOffset(group, 4, stale)).toBe(ErrorCode.ILLEGAL_GENERATION);
    const unknown = { memberId: "nobody", generationId };
    expect(await producer.commitOffset(group, 4, unknown)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    const tooLong = { metadata: "x".repeat(4_097) };
    expect(await producer.commitOffset(group, 4, tooLong)).toBe(ErrorCode.OFFSET_METADATA_TOO_LARGE);
    expect(await producer.commitOffset(group, 4, { topic: "none" })).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await producer.commitOffset("", 4)).toBe(ErrorCode.INVALID_GROUP_ID);
    expect(await producer.commitOffset(group, 4, { version: 4 })).toBe(NONE);
    expect(await producer.end("commit")).toBe(NONE);
  });

  test("need their group to be part of the transaction", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    await createTopic(producer.client, "orders");
    const group = newId();
    await coordinatorOf(producer.client, group);
    expect(await producer.commitOffset(group, 3, { version: 4 })).toBe(ErrorCode.TRANSACTION_ABORTABLE);
    expect(await producer.commitOffset(group, 3, { version: 3 })).toBe(ErrorCode.INVALID_TXN_STATE);
  });
});

test("a transaction that is open for too long is aborted, and its producer fenced", async () => {
  await using it = await served({
    ...settings,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
  });
  const producer = new TransactionalProducer(await it.client(), newId());
  await producer.init({ timeoutMs: 200 });
  await createTopic(producer.client, "orders");
  expect((await producer.send(["a"])).errorCode).toBe(NONE);
  while ((await producer.describe()).transactionState !== "CompleteAbort");
  expect(await readValues(producer.client)).toMatchObject({ values: [], lastStableOffset: 2 });
  expect((await producer.send(["b"])).errorCode).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(await producer.end("commit")).toBe(ErrorCode.INVALID_TXN_STATE);
});

test("a decided transaction and an open one outlive a restart", async () => {
  await using it = await served(settings);
  const [decided, open] = [await started(it), await started(it)];
  await createTopic(decided.client, "orders");
  await decided.send(["a"]);
  await open.send(["b"]);
  expect(await decided.end("commit")).toBe(NONE);
  await it.restart();
  const after = new TransactionalProducer(await it.client(), open.transactionalId);
  Object.assign(after, { producerId: open.producerId, producerEpoch: open.producerEpoch });
  await transactionCoordinatorOf(after.client, decided.transactionalId);
  expect(await new TransactionalProducer(after.client, decided.transactionalId).settled()).toBe("CompleteCommit");
  expect((await after.describe()).transactionState).toBe("Ongoing");
  expect((await after.send(["c"], { sequence: 1 })).errorCode).toBe(NONE);
  expect(await after.end("commit")).toBe(NONE);
  await after.settled();
  expect((await readValues(after.client)).values).toEqual(["a", "b", "c"]);
});

describe("tools", () => {
  test("list and describe transactional ids, and the producers of a partition", async () => {
    await using it = await served(settings);
    const [open, done] = [await started(it), await started(it)];
    const { client } = open;
    await createTopic(client, "orders");
    await open.send(["a", "b"]);
    await done.send(["c"]);
    await done.end("commit");
    await done.settled();
    expect(await open.describe()).toMatchObject({
      transactionState: "Ongoing",
      producerId: open.producerId,
      producerEpoch: open.producerEpoch,
      transactionTimeoutMs: 60_000,
      topics: [{ topic: "orders", partitions: [0] }],
    });
    expect(await done.describe()).toMatchObject({ transactionState: "CompleteCommit", topics: [] });
    const unknown = await new TransactionalProducer(client, "nobody").describe();
    expect(unknown.errorCode).toBe(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);

    const list = async (stateFilters: string[], producerIdFilters: number[] = [], durationFilter = -1) => {
      const answer = await client.request(listTransactions, 1, { stateFilters, producerIdFilters, durationFilter });
      const ids = answer.transactionStates.map(({ transactionalId }) => transactionalId);
      return { ids: ids.filter((id) => [open.transactionalId, done.transactionalId].includes(id)), answer };
    };
    expect((await list([])).ids.toSorted()).toEqual([open.transactionalId, done.transactionalId].toSorted());
    expect((await list(["Ongoing"])).ids).toEqual([open.transactionalId]);
    expect((await list([], [done.producerId])).ids).toEqual([done.transactionalId]);
    expect((await list([], [], 3_600_000)).ids).toEqual([]);
    const matching = async (transactionalIdPattern: string) =>
      client.request(listTransactions, 2, { stateFilters: [], producerIdFilters: [], transactionalIdPattern });
    const { transactionStates } = await matching(`${open.transactionalId}|none.*`);
    expect(transactionStates.map(({ transactionalId }) => transactionalId)).toEqual([open.transactionalId]);
    expect((await matching("(unclosed")).errorCode).toBe(ErrorCode.INVALID_REGULAR_EXPRESSION);
    const strange = await list(["Ongoing", "Strange"]);
    expect(strange).toMatchObject({ ids: [open.transactionalId], answer: { unknownStateFilters: ["Strange"] } });
    expect((await list(["Strange"])).answer).toMatchObject({ errorCode: NONE, unknownStateFilters: ["Strange"] });

    const { topics } = await client.request(describeProducers, 0, {
      topics: [{ name: "orders", partitionIndexes: [0, 9] }],
    });
    const [partition, none] = topics[0]!.partitions;
    const producers = partition!.activeProducers.toSorted((a, b) => a.producerId - b.producerId);
    expect(producers).toMatchObject([
      { producerId: open.producerId, producerEpoch: open.producerEpoch, lastSequence: 1, currentTxnStartOffset: 0 },
      { producerId: done.producerId, producerEpoch: done.producerEpoch, currentTxnStartOffset: -1 },
    ]);
    expect(none!.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("end a hanging transaction", async () => {
    await using it = await served(settings);
    const producer = await started(it);
    const { client, producerId, producerEpoch } = producer;
    await createTopic(client, "orders");
    await producer.send(["a"]);
    const abort = async (partition: number, epoch = producerEpoch) => {
      const { markers } = await client.request(writeTxnMarkers, 1, {
        markers: [
          {
            producerId,
            producerEpoch: epoch,
            transactionResult: false,
            topics: [{ name: "orders", partitionIndexes: [partition] }],
            coordinatorEpoch: 0,
          },
        ],
      });
      return markers[0]!.topics[0]!.partitions[0]!.errorCode;
    };
    expect(await abort(5)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    if (producerEpoch > 0) expect(await abort(0, producerEpoch - 1)).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
    expect(await readValues(client)).toMatchObject({ lastStableOffset: 0 });
    expect(await abort(0)).toBe(NONE);
    expect(await abort(0)).toBe(NONE);
    expect(await readValues(client)).toMatchObject({ values: [], lastStableOffset: 3 });
  });
});
