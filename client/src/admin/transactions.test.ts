import { ErrorCode } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import { describeProducers } from "kafka-protocol-ts/messages/61-describe-producers";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { listTransactions } from "kafka-protocol-ts/messages/66-list-transactions";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";

const hourMs = 3_600_000;

/** Of orders: 0 hangs, 1 is counted, 2 is young, 3 has none open; the leader of 0 is broker 0, of the others broker 1. */
async function started(): Promise<FakeCluster> {
  const fake = await FakeCluster.start({ brokers: 2 });
  fake.create("orders", [0, 1, 1, 1]);
  const now = fake.world.clock.now();
  const producers = [
    [11, now - hourMs, 5],
    [12, now - hourMs, 6],
    [13, now - 1_000, 7],
    [14, now - hourMs, -1],
  ] as const;
  for (const [id, broker] of fake.brokers.entries()) {
    broker.on(findCoordinator, ({ message }) => ({
      coordinators: message.coordinatorKeys.map((key) => ({
        ...{ key, nodeId: 1, host: "broker", port: 9001, errorCode: 0, errorMessage: null },
      })),
    }));
    broker.on(describeProducers, ({ message }) => ({
      throttleTimeMs: 0,
      topics: message.topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((partitionIndex) => {
          const [producerId, lastTimestamp, currentTxnStartOffset] = producers[partitionIndex]!;
          const isLed = (partitionIndex === 0) === (id === 0);
          const producer = { producerId, producerEpoch: 3, lastSequence: 0, lastTimestamp, coordinatorEpoch: -1 };
          return {
            ...{ partitionIndex, errorCode: isLed ? 0 : ErrorCode.NOT_LEADER_OR_FOLLOWER },
            activeProducers: isLed ? [{ ...producer, currentTxnStartOffset }] : [],
          };
        }),
      })),
    }));
    broker.on(listTransactions, ({ message }) => {
      expect(message.producerIdFilters).toEqual([11, 12]);
      const found = { transactionalId: "counted", producerId: 12, transactionState: "Ongoing" };
      return { throttleTimeMs: 0, errorCode: 0, unknownStateFilters: [], transactionStates: id === 1 ? [found] : [] };
    });
  }
  fake.brokers[1]!.on(describeTransactions, ({ message }) => ({
    throttleTimeMs: 0,
    transactionStates: message.transactionalIds.map((transactionalId) => ({
      ...{ errorCode: 0, transactionalId, transactionState: "Ongoing", transactionTimeoutMs: 1 },
      ...{
        transactionStartTimeMs: 1,
        producerId: 12,
        producerEpoch: 3,
        topics: [{ topic: "orders", partitions: [1] }],
      },
    })),
  }));
  return fake;
}

test("what hangs is open, old, and counted by no coordinator; it is ended at its leader", async () => {
  const fake = await started();
  const markers: unknown[] = [];
  fake.brokers[0]!.on(writeTxnMarkers, ({ message }) => {
    markers.push(message.markers);
    const [{ producerId } = { producerId: -1 }] = message.markers;
    return {
      markers: [{ producerId, topics: [{ name: "orders", partitions: [{ partitionIndex: 0, errorCode: 0 }] }] }],
    };
  });
  await using cluster = fake.client();
  const { transactions } = cluster.admin();
  const hanging = await transactions.findHanging();
  expect(hanging).toMatchObject([
    { topic: "orders", partition: 0, producerId: 11, producerEpoch: 3, coordinatorEpoch: 0, startOffset: 5 },
  ]);
  expect(await transactions.abort(hanging)).toMatchObject([{ ok: true }]);
  await transactions.abort({ topic: "orders", partition: 0, startOffset: 5 });
  const marker = { producerId: 11, producerEpoch: 3, coordinatorEpoch: 0, transactionResult: false };
  expect(markers).toMatchObject([[marker], [marker]]);
  await expect(transactions.abort({ topic: "orders", partition: 0, startOffset: 6 })).rejects.toMatchObject({
    code: "INVALID_REQUEST",
    message: "partition orders-0: no open transaction begins at offset 6",
  });
});

test("one replica is asked where that is wanted, and not again where it is none", async () => {
  const fake = await started();
  await using cluster = fake.client();
  const partitions = [0, 1].map((partition) => ({ topic: "orders", partition }));
  expect(await cluster.admin().transactions.describeProducers(partitions, { brokerId: 1 })).toMatchObject([
    { error: { code: "NOT_LEADER_OR_FOLLOWER", broker: "broker:9001" } },
    { value: [{ producerId: 12, coordinatorEpoch: null, transactionStartOffset: 6 }] },
  ]);
  expect(fake.requests("DescribeProducers")).toBe(1);
});

test("producers are fenced at their coordinator, which may have to end something first", async () => {
  const fake = await started();
  const errors = [ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.NONE];
  fake.brokers[1]!.on(initProducerId, ({ message }) => {
    expect(message).toMatchObject({ transactionalId: "pay", producerId: -1, producerEpoch: -1 });
    return { throttleTimeMs: 0, errorCode: errors.shift()!, producerId: 7, producerEpoch: 4 };
  });
  await using cluster = fake.client();
  const fencing = cluster.admin().transactions.fenceProducers("pay");
  expect(await fake.within(1_000, fencing)).toEqual({ producerId: 7, producerEpoch: 4 });
});

test("filters that a broker does not know are refused, and states that nobody knows", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(
    listTransactions,
    ({ message }) => ({
      throttleTimeMs: 0,
      errorCode: 0,
      unknownStateFilters: message.stateFilters,
      transactionStates: [],
    }),
    [0, 0],
  );
  await using cluster = fake.client();
  const { transactions } = cluster.admin();
  for (const filter of [{ pattern: "a.*" }, { longerThanMs: 5 }])
    await expect(transactions.list(filter).next()).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
  await expect(transactions.list({ states: ["Odd"] }).next()).rejects.toMatchObject({
    code: "INVALID_REQUEST",
    message: "states: broker:9000 knows no Odd",
  });
});
