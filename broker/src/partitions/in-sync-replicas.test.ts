import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { PartitionLog } from "@millrace/storage/log";
import type { Offset } from "@millrace/storage/types";
import { expect, test } from "vitest";
import { InSyncReplicas } from "./in-sync-replicas.ts";
import type { IsrChangeFailure, IsrProposal, IsrState } from "./isr-changes.ts";
import { Leadership } from "./leadership.ts";
import type { RemoteReplica } from "./leadership.ts";

const at = (offset: number): Offset => offset as Offset;

function leader(answers: Result<IsrState, IsrChangeFailure>[]): {
  readonly leadership: Leadership;
  readonly isrs: InSyncReplicas;
  readonly proposals: IsrProposal[];
  readonly remote: RemoteReplica;
} {
  const state = { replicas: [1, 2, 3], isr: [1, 2], leader: 1, leaderEpoch: 4, partitionEpoch: 10 };
  const leadership = new Leadership(1, state, at(0), 0);
  const proposals: IsrProposal[] = [];
  const log = { topicId: "t", partition: 0, writtenOffset: at(50) } as PartitionLog;
  const isrChanges = {
    propose: (proposal: IsrProposal) => {
      proposals.push(proposal);
      return Promise.resolve(answers.shift() ?? failed("refused" as const));
    },
  };
  const peers = { isrChanges, brokerEpoch: () => 100, eligibleEpoch: () => 103 };
  const isrs = new InSyncReplicas(log, leadership, peers, () => {});
  const report = { brokerId: 3, brokerEpoch: 103, logEndOffset: 50, flushedOffset: 50, logStartOffset: 0 };
  return { leadership, isrs, proposals, remote: leadership.noteFetch(report, 50, true, 0) as RemoteReplica };
}

const proposal: IsrProposal = {
  ...{ topicId: "t", index: 0, leaderEpoch: 4, partitionEpoch: 10 },
  isr: [
    { brokerId: 1, brokerEpoch: 100 },
    { brokerId: 2, brokerEpoch: -1 },
    { brokerId: 3, brokerEpoch: 103 },
  ],
};

test("a replica that has caught up is proposed once, with the broker epochs that are known", async () => {
  const { isrs, leadership, proposals, remote } = leader([ok({ leaderEpoch: 4, partitionEpoch: 11, isr: [1, 2, 3] })]);
  isrs.expandBy(remote, at(50), true);
  isrs.expandBy(remote, at(50), true);
  expect([proposals, leadership.isr]).toEqual([[proposal], [1, 2]]);
  await Promise.resolve();
  expect([leadership.isr, leadership.partitionEpoch, leadership.proposal]).toEqual([[1, 2, 3], 11, null]);
});

test("what got no answer may have been done: it counts, and is proposed again as it was", async () => {
  const { isrs, leadership, proposals, remote } = leader([failed("unknown"), failed("unknown")]);
  isrs.expandBy(remote, at(50), true);
  await Promise.resolve();
  expect(leadership.maximalIsr).toEqual([1, 2, 3]);
  isrs.check(1_000, true, 0);
  await Promise.resolve();
  isrs.check(1_000, true, 0);
  expect([proposals, leadership.maximalIsr]).toEqual([
    [proposal, proposal, proposal],
    [1, 2, 3],
  ]);
});

test("of a newer state the leader hears by the metadata, and proposes nothing until then", async () => {
  const { isrs, leadership, proposals, remote } = leader([failed("stale")]);
  isrs.expandBy(remote, at(50), true);
  await Promise.resolve();
  isrs.expandBy(remote, at(50), true);
  isrs.check(1_000, true, 60_000);
  expect([proposals.length, leadership.maximalIsr]).toEqual([1, [1, 2, 3]]);
  leadership.update({ replicas: [1, 2, 3], isr: [1], leader: 1, leaderEpoch: 4, partitionEpoch: 12 }, 0);
  isrs.expandBy(remote, at(50), true);
  expect(proposals.at(-1)).toMatchObject({ partitionEpoch: 12, isr: [{ brokerId: 1 }, { brokerId: 3 }] });
});

test("what was refused has changed nothing, and may be proposed again", async () => {
  const { isrs, leadership, proposals, remote } = leader([failed("refused")]);
  isrs.expandBy(remote, at(50), true);
  await Promise.resolve();
  expect([leadership.maximalIsr, leadership.proposal]).toEqual([[1, 2], null]);
  isrs.expandBy(remote, at(50), true);
  expect(proposals).toHaveLength(2);
});
