import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type {
  AddPartitionsToTxnRequestInput,
  AddPartitionsToTxnResponse,
} from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { beforeEach, expect, test } from "vitest";
import type { InterBroker } from "../inter-broker.ts";
import type { TransactionRequestFailure } from "./coordinator.ts";
import { RemoteCoordinator } from "./remote-coordinator.ts";
import type { RemoteAnswer } from "./remote-coordinator.ts";

interface Sent {
  readonly to: number;
  readonly request: AddPartitionsToTxnRequestInput;
  answer(result: Result<AddPartitionsToTxnResponse, "unreachable">): void;
}

let clock: VirtualClock;
let sent: Sent[];
let coordinatorId: number | null;
let remote: RemoteCoordinator;

beforeEach(() => {
  clock = new VirtualClock();
  sent = [];
  coordinatorId = 2;
  const interBroker: InterBroker = {
    leaderOf: () => null,
    request: (to, api, message) =>
      new Promise((answer) => {
        type Build = (version: number) => AddPartitionsToTxnRequestInput;
        sent.push({ to, request: (message as Build)(api.versions[1]), answer: answer as Sent["answer"] });
      }),
  };
  const fatal = (error: unknown): void => {
    throw error;
  };
  const coordinatorOf = (): number | null => coordinatorId;
  remote = new RemoteCoordinator({
    clock,
    interBroker,
    timeoutMs: 30_000,
    concurrentWaitMs: 100,
    coordinatorOf,
    fatal,
  });
});

interface Box {
  value: Result<RemoteAnswer, TransactionRequestFailure> | null;
}

function ask(
  transactionalId: string,
  partitions: readonly number[],
  {
    producerEpoch = 1,
    isVerifyOnly = false,
  }: { readonly producerEpoch?: number; readonly isVerifyOnly?: boolean } = {},
): Box {
  const box: Box = { value: null };
  const topics = [{ topic: "orders", partitions }];
  void remote
    .ask({ transactionalId, producerId: 7, producerEpoch, topics, isVerifyOnly })
    .then((result) => (box.value = result));
  return box;
}

/** Each partition has the code of its number, or the one for all. */
function answer(at: number, codes: number | Readonly<Record<number, number>>): void {
  const { request, answer: settle } = sent[at]!;
  const resultsByTransaction = (request.transactions ?? []).map(({ transactionalId, topics }) => ({
    transactionalId,
    topicResults: topics.map(({ name, partitions }) => ({
      name,
      resultsByPartition: partitions.map((partitionIndex) => ({
        partitionIndex,
        partitionErrorCode: typeof codes === "number" ? codes : (codes[partitionIndex] ?? ErrorCode.NONE),
      })),
    })),
  }));
  settle(ok({ throttleTimeMs: 0, errorCode: ErrorCode.NONE, resultsByTransaction, resultsByTopicV3AndBelow: [] }));
}

const of = ({ value }: Box, partition: number): unknown =>
  value === null ? "asking" : value.ok ? value.value("orders", partition) : value.failure;
const named = (at: number): readonly unknown[] =>
  (sent[at]!.request.transactions ?? []).map(({ transactionalId, verifyOnly, topics }) => [
    transactionalId,
    verifyOnly,
    topics.flatMap(({ partitions }) => partitions),
  ]);

test("transactions share a request, and each partition has its own answer", async () => {
  const [one, two] = [ask("a", [0, 1]), ask("b", [2], { isVerifyOnly: true })];
  await clock.settle();
  const three = ask("c", [3]);
  await clock.settle();
  expect(sent.map(({ to }) => to)).toEqual([2]);
  expect(named(0)).toEqual([
    ["a", false, [0, 1]],
    ["b", true, [2]],
  ]);
  answer(0, { 1: ErrorCode.TRANSACTION_ABORTABLE });
  await clock.settle();
  expect([of(one, 0), of(one, 1), of(two, 2), of(three, 3)]).toEqual([null, "abortable", null, "asking"]);
  expect(named(1)).toEqual([["c", false, [3]]]);
});

test("questions about one transaction are one, unless another epoch asks", async () => {
  const boxes = [ask("a", [0]), ask("a", [1]), ask("a", [2], { producerEpoch: 2 }), ask("a", [3])];
  await clock.settle();
  expect(named(0)).toEqual([["a", false, [0, 1]]]);
  answer(0, ErrorCode.PRODUCER_FENCED);
  await clock.settle();
  expect(named(1)).toEqual([["a", false, [2]]]);
  answer(1, ErrorCode.NONE);
  await clock.settle();
  answer(2, ErrorCode.PRODUCER_FENCED);
  await clock.settle();
  expect(boxes.map((box, at) => of(box, at))).toEqual(["producer-fenced", "producer-fenced", null, "producer-fenced"]);
});

test.for<readonly [keyof typeof ErrorCode, TransactionRequestFailure]>([
  ["PRODUCER_FENCED", "producer-fenced"],
  ["INVALID_PRODUCER_EPOCH", "producer-fenced"],
  ["TRANSACTION_ABORTABLE", "abortable"],
  ["INVALID_PRODUCER_ID_MAPPING", "invalid-producer-id-mapping"],
  ["INVALID_TXN_STATE", "invalid-state"],
  ["COORDINATOR_LOAD_IN_PROGRESS", "loading"],
  ["NOT_COORDINATOR", "not-coordinator"],
  ["COORDINATOR_NOT_AVAILABLE", "not-available"],
  ["UNKNOWN_TOPIC_OR_PARTITION", "not-available"],
  ["OPERATION_NOT_ATTEMPTED", "not-available"],
])("%s is %s", async ([code, failure]) => {
  const asked = ask("a", [0]);
  await clock.settle();
  answer(0, ErrorCode[code]);
  await clock.settle();
  expect(of(asked, 0)).toBe(failure);
});

test("what nobody answers is asked again by the producer, wherever the coordinator is then", async () => {
  const lost = ask("a", [0]);
  await clock.settle();
  const moved = ask("b", [0]);
  coordinatorId = 3;
  sent[0]!.answer(failed("unreachable"));
  await clock.settle();
  expect([of(lost, 0), of(moved, 0)]).toEqual(["not-available", "not-coordinator"]);
  coordinatorId = null;
  const nobody = ask("c", [0]);
  await clock.settle();
  expect(of(nobody, 0)).toBe("not-available");
  expect(sent).toHaveLength(1);
});

test("while the transaction before is being ended it is asked again for a while, and does not hold up others", async () => {
  const waiting = ask("a", [0]);
  await clock.settle();
  answer(0, ErrorCode.CONCURRENT_TRANSACTIONS);
  await clock.settle();
  const other = ask("b", [0]);
  await clock.settle();
  answer(1, ErrorCode.NONE);
  await clock.advance(20);
  expect([of(waiting, 0), of(other, 0)]).toEqual(["asking", null]);
  answer(2, ErrorCode.NONE);
  await clock.settle();
  expect(of(waiting, 0)).toBeNull();

  const late = ask("a", [1]);
  await clock.settle();
  for (let at = 3; at < sent.length; at++) {
    answer(at, ErrorCode.CONCURRENT_TRANSACTIONS);
    await clock.advance(20);
  }
  expect(of(late, 1)).toBe("concurrent-transactions");
  expect(sent).toHaveLength(3 + 6);
});
