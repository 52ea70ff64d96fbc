import { zeroUuid } from "kafka-protocol-ts/reader";
import { expect, test } from "vitest";
import { Metadata } from "./metadata.ts";

const first = "AAAAAAAAAAAAAAAAAAAAAQ";

/** Who leads "orders", as a broker says it: a leader and its epoch for each partition. */
function orders(topicId: string, ...leaders: readonly (readonly [leaderId: number, leaderEpoch: number])[]) {
  const partitions = leaders.map(([leaderId, leaderEpoch], partitionIndex) => ({
    ...{ errorCode: 0, partitionIndex, leaderId, leaderEpoch },
    ...{ replicaNodes: [], isrNodes: [], offlineReplicas: [] },
  }));
  const of = { errorCode: 0, name: "orders", topicId, isInternal: false, topicAuthorizedOperations: 0 };
  return { ...of, partitions } satisfies Parameters<Metadata["learnTopic"]>[0];
}

function leadersOf(metadata: Metadata): readonly (readonly number[])[] | undefined {
  return metadata.topic("orders")?.partitions.map(({ leaderId, leaderEpoch }) => [leaderId, leaderEpoch]);
}

test("leader epochs do not go back, whichever broker lags behind (KIP-320)", () => {
  const metadata = new Metadata();
  metadata.learnTopic(orders(first, [1, 3], [2, 5]), 0);
  metadata.learnTopic(orders(first, [2, 2], [1, 6]), 1);
  expect(leadersOf(metadata)).toEqual([
    [1, 3],
    [1, 6],
  ]);
});

test("nor do they where a topic was forgotten in between", () => {
  const metadata = new Metadata();
  metadata.learnTopic(orders(first, [1, 3], [2, 5]), 0);
  metadata.forget("orders");
  expect([metadata.topic("orders"), metadata.nameOf(first), metadata.names()]).toEqual([null, null, []]);
  // Another does not make it unknown what was seen.
  metadata.forget("orders");
  metadata.learnTopic(orders(first, [2, 2], [1, 6]), 1);
  expect(leadersOf(metadata)).toEqual([
    [1, 3],
    [1, 6],
  ]);
  expect(metadata.nameOf(first)).toBe("orders");
});

test("a topic that was made again begins anew, and so does one of which no broker tells the id", () => {
  const metadata = new Metadata();
  metadata.learnTopic(orders(first, [1, 3]), 0);
  metadata.forget("orders");
  metadata.learnTopic(orders("AAAAAAAAAAAAAAAAAAAAAg", [2, 0]), 1);
  expect(leadersOf(metadata)).toEqual([[2, 0]]);
  const nameless = new Metadata();
  nameless.learnTopic(orders(zeroUuid, [1, 3]), 0);
  nameless.forget("orders");
  nameless.learnTopic(orders(zeroUuid, [2, 0]), 1);
  expect(leadersOf(nameless)).toEqual([[2, 0]]);
});
