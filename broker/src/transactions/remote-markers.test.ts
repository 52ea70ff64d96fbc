import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type {
  WriteTxnMarkersRequestInput,
  WriteTxnMarkersResponse,
} from "kafka-protocol-ts/messages/27-write-txn-markers";
import { beforeEach, expect, test } from "vitest";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import type { InterBroker } from "../inter-broker.ts";
import type { MarkerFailure } from "./marker-writer.ts";
import { RemoteMarkers } from "./remote-markers.ts";

interface Sent {
  readonly to: number;
  readonly request: WriteTxnMarkersRequestInput;
  answer(result: Result<WriteTxnMarkersResponse, "unreachable">): void;
}

let clock: VirtualClock;
let sent: Sent[];
let leaders: Map<string, number>;
let markers: RemoteMarkers;

beforeEach(() => {
  clock = new VirtualClock();
  sent = [];
  leaders = new Map();
  const interBroker: InterBroker = {
    leaderOf: (topic, partition) => leaders.get(`${topic}-${partition}`) ?? 2,
    request: (to, _api, message) =>
      new Promise((answer) => {
        sent.push({ to, request: message as WriteTxnMarkersRequestInput, answer: answer as Sent["answer"] });
      }),
  };
  const fatal = (error: unknown): void => {
    throw error;
  };
  markers = new RemoteMarkers({ clock, interBroker, timeoutMs: 30_000, fatal });
});

const marker = (producerId: number, given: Partial<TransactionMarker> = {}): TransactionMarker => ({
  producerId,
  producerEpoch: 1,
  outcome: "commit",
  coordinatorEpoch: 5,
  isEpochRaised: true,
  ...given,
});

/** What becomes of each marker, by "producer/partition". */
function write(
  to: number,
  partition: number,
  one: TransactionMarker,
  isCurrent: () => boolean = () => true,
): { value: Result<void, MarkerFailure> | null } {
  const box: { value: Result<void, MarkerFailure> | null } = { value: null };
  void markers.write(to, "orders", partition, one, isCurrent).then((result) => (box.value = result));
  return box;
}

/** Each partition of a request has this code. */
function answerAll(at: number, code: number): void {
  const { request, answer } = sent[at]!;
  answer(
    ok({
      markers: request.markers.map(({ producerId, topics }) => ({
        producerId,
        topics: topics.map(({ name, partitionIndexes }) => ({
          name,
          partitions: partitionIndexes.map((partitionIndex) => ({ partitionIndex, errorCode: code })),
        })),
      })),
    }),
  );
}

const named = (at: number): readonly (readonly [number, readonly number[]])[] =>
  sent[at]!.request.markers.map(({ producerId, topics }) => [
    producerId,
    topics.flatMap(({ partitionIndexes }) => partitionIndexes),
  ]);

test("what comes in a turn goes in one request, and what comes while it is under way in the next", async () => {
  const first = [write(2, 0, marker(7)), write(2, 1, marker(7)), write(2, 0, marker(8))];
  await clock.settle();
  write(2, 2, marker(9));
  write(2, 3, marker(10));
  write(3, 4, marker(11));
  leaders.set("orders-4", 3);
  await clock.settle();
  expect(sent.map(({ to }) => to)).toEqual([2, 3]);
  expect(named(0)).toEqual([
    [7, [0, 1]],
    [8, [0]],
  ]);
  answerAll(0, ErrorCode.NONE);
  await clock.settle();
  expect(first.map(({ value }) => value)).toEqual([ok(undefined), ok(undefined), ok(undefined)]);
  expect(named(2)).toEqual([
    [9, [2]],
    [10, [3]],
  ]);
});

test("a marker says which outcome, whose, and by which version of transactions", async () => {
  write(2, 0, marker(7));
  write(2, 0, marker(8, { outcome: "abort", producerEpoch: 3, isEpochRaised: false }));
  await clock.settle();
  const topics = [{ name: "orders", partitionIndexes: [0] }];
  expect(sent[0]!.request.markers).toEqual([
    { producerId: 7, producerEpoch: 1, transactionResult: true, coordinatorEpoch: 5, transactionVersion: 2, topics },
    { producerId: 8, producerEpoch: 3, transactionResult: false, coordinatorEpoch: 5, transactionVersion: 0, topics },
  ]);
});

test("two markers of one producer are told apart: the second goes with the next request, and keeps its place", async () => {
  const abort = marker(7, { outcome: "abort", producerEpoch: 2 });
  const [one, two, three] = [write(2, 0, marker(7)), write(2, 0, abort), write(2, 1, marker(7))];
  await clock.settle();
  expect(named(0)).toEqual([[7, [0]]]);
  expect(sent[0]!.request.markers[0]).toMatchObject({ transactionResult: true });
  answerAll(0, ErrorCode.INVALID_PRODUCER_EPOCH);
  await clock.settle();
  expect(one.value).toMatchObject({ failure: "stale-producer-epoch" });
  expect(two.value).toBeNull();
  expect(sent[1]!.request.markers).toMatchObject([{ transactionResult: false, producerEpoch: 2 }]);
  answerAll(1, ErrorCode.NONE);
  await clock.settle();
  expect(two.value).toEqual(ok(undefined));
  expect(sent[2]!.request.markers).toMatchObject([{ transactionResult: true, producerEpoch: 1 }]);
  answerAll(2, ErrorCode.NONE);
  await clock.settle();
  expect(three.value).toEqual(ok(undefined));
});

test.for<readonly [string, MarkerFailure]>([
  ["INVALID_PRODUCER_EPOCH", "stale-producer-epoch"],
  ["TRANSACTION_COORDINATOR_FENCED", "stale-coordinator-epoch"],
  ["NOT_LEADER_OR_FOLLOWER", "not-leader"],
  ["UNKNOWN_TOPIC_OR_PARTITION", "not-leader"],
  ["NOT_ENOUGH_REPLICAS", "not-enough-replicas"],
  ["NOT_ENOUGH_REPLICAS_AFTER_APPEND", "not-enough-replicas"],
  ["REQUEST_TIMED_OUT", "timed-out"],
  ["KAFKA_STORAGE_ERROR", "not-ready"],
  ["UNKNOWN_SERVER_ERROR", "not-ready"],
])("%s is %s", async ([code, failure]) => {
  const written = write(2, 0, marker(7));
  await clock.settle();
  answerAll(0, ErrorCode[code as keyof typeof ErrorCode]);
  await clock.settle();
  expect(written.value).toMatchObject({ ok: false, failure });
});

test("no answer, and an answer that does not name the partition, are nothing that anybody knows of", async () => {
  const [lost, unnamed] = [write(2, 0, marker(7)), write(3, 1, marker(8))];
  leaders.set("orders-1", 3);
  await clock.settle();
  sent[0]!.answer(failed("unreachable"));
  sent[1]!.answer(ok({ markers: [{ producerId: 8, topics: [] }] }));
  await clock.settle();
  expect(lost.value).toMatchObject({ failure: "unreachable", message: "broker 2 gave no answer" });
  expect(unnamed.value).toMatchObject({ failure: "unreachable" });
});

test("what waits behind a request is not sent where it is of no use any more", async () => {
  let isCurrent = true;
  write(2, 0, marker(6));
  await clock.settle();
  const gone = write(2, 0, marker(7), () => isCurrent);
  const moved = write(2, 1, marker(8));
  const stays = write(2, 2, marker(9));
  isCurrent = false;
  leaders.set("orders-1", 3);
  answerAll(0, ErrorCode.NONE);
  await clock.settle();
  expect([gone.value, moved.value, stays.value]).toEqual([failed("not-leader"), failed("not-leader"), null]);
  expect(named(1)).toEqual([[9, [2]]]);
});

test("a request has an end: more goes with the next one", async () => {
  for (let producerId = 0; producerId < 1_500; producerId++) write(2, 0, marker(producerId));
  await clock.settle();
  expect(named(0)).toHaveLength(1_000);
  answerAll(0, ErrorCode.NONE);
  await clock.settle();
  expect(named(1)).toHaveLength(500);
});
