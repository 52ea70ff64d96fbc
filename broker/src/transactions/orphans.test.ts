import type { TimeMs } from "@millrace/base/units";
import { expect, test } from "vitest";
import { orphansOf } from "./orphans.ts";
import type { OpenTransaction } from "./orphans.ts";
import type { Transaction } from "./transaction.ts";

function transaction(changes: Partial<Transaction>): Transaction {
  return {
    transactionalId: "t",
    producerId: 7,
    previousProducerId: -1,
    nextProducerId: -1,
    producerEpoch: 3,
    timeoutMs: 60_000,
    state: "Ongoing",
    partitions: new Map([["orders", [0, 1]]]),
    updateMs: 0 as TimeMs,
    startMs: 0 as TimeMs,
    clientVersion: 2,
    ...changes,
  };
}

const open = (changes: Partial<OpenTransaction> = {}): OpenTransaction => ({
  topic: "orders",
  partition: 0,
  producerId: 7,
  producerEpoch: 3,
  hasSequences: true,
  ...changes,
});

const none = new Map<string, readonly number[]>();

test.for<[string, Partial<Transaction>, Partial<OpenTransaction>, number | null]>([
  ["a partition of the open transaction", {}, {}, null],
  ["another partition", {}, { partition: 2 }, 4],
  ["another topic", {}, { topic: "other" }, 4],
  ["of a producer that is coordinated elsewhere", {}, { producerId: 8, partition: 2 }, null],
  ["of an id without a transaction", { state: "CompleteCommit", partitions: none }, {}, 4],
  ["of an epoch before", { state: "CompleteCommit", partitions: none, producerEpoch: 6 }, {}, 6],
  ["what was decided, before its marker", { state: "PrepareCommit", producerEpoch: 4 }, {}, null],
  ["the transaction after what was decided", { state: "PrepareCommit", producerEpoch: 3 }, {}, 4],
  ["what was decided in version 1, whose epoch stays", { state: "PrepareCommit", clientVersion: 0 }, {}, null],
  ["offsets, which have no sequences", {}, { topic: "__consumer_offsets", hasSequences: false }, 3],
  ["the last epoch", {}, { partition: 2, producerEpoch: 0x7fff }, 0x7fff],
])("%s", ([, coordinated, inPartition, markerEpoch]) => {
  const found = open(inPartition);
  const orphans = orphansOf([transaction(coordinated)], [found]);
  if (markerEpoch === null) expect(orphans).toEqual([]);
  else
    expect(orphans).toEqual([
      {
        transactionalId: "t",
        producerId: 7,
        producerEpoch: markerEpoch,
        outcome: "abort",
        isEpochRaised: false,
        topics: [{ topic: found.topic, partitions: [found.partition] }],
      },
    ]);
});
