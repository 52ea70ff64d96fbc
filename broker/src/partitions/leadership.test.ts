import type { Offset } from "@millrace/storage/types";
import { expect, test } from "vitest";
import { Leadership } from "./leadership.ts";
import type { FollowerReport, PartitionState, RemoteReplica } from "./leadership.ts";

const state: PartitionState = { replicas: [1, 2, 3], isr: [1, 2, 3], leader: 1, leaderEpoch: 4, partitionEpoch: 10 };
const at = (offset: number): Offset => offset as Offset;

function leading(change: Partial<PartitionState> = {}, startOffset = 100): Leadership {
  return new Leadership(1, { ...state, ...change }, at(startOffset), 0);
}

function report(brokerId: number, logEndOffset: number, given: Partial<FollowerReport> = {}): FollowerReport {
  return { brokerId, brokerEpoch: 7, logEndOffset, flushedOffset: logEndOffset, logStartOffset: 0, ...given };
}

function fetchBy(leadership: Leadership, told: FollowerReport, readableEnd: number, nowMs: number): RemoteReplica {
  const remote = leadership.noteFetch(told, readableEnd, true, nowMs);
  if (remote === null || remote === "stale") throw new Error(`it is ${remote}`);
  return remote;
}

test("the least of what all in sync have on their disks counts; of who has not come yet, nothing", () => {
  const leadership = leading();
  fetchBy(leadership, report(2, 120), 130, 1);
  expect(leadership.leastOffset(at(130), true)).toBe(-1);
  fetchBy(leadership, report(3, 125, { flushedOffset: 110 }), 130, 1);
  expect([leadership.leastOffset(at(130), true), leadership.leastOffset(at(130), false)]).toEqual([110, 120]);
  expect(leadership.leastOffset(at(105), true)).toBe(105);
});

test("a replica that does not say what it has flushed has flushed nothing, and none more than it has", () => {
  const leadership = leading({ isr: [1, 2] });
  fetchBy(leadership, report(2, 120, { flushedOffset: -1 }), 120, 1);
  expect(leadership.leastOffset(at(120), true)).toBe(-1);
  fetchBy(leadership, report(2, 120, { flushedOffset: 500 }), 120, 1);
  expect(leadership.leastOffset(at(600), true)).toBe(120);
});

test("while a change of the ISR is under way the old and the new members count", () => {
  const leadership = leading({ isr: [1, 2] });
  fetchBy(leadership, report(2, 120), 120, 1);
  fetchBy(leadership, report(3, 115), 120, 1);
  expect(leadership.leastOffset(at(120), true)).toBe(120);
  const expansion = leadership.propose([1, 2, 3]);
  expect([leadership.leastOffset(at(120), true), leadership.isr, leadership.maximalIsr]).toEqual([
    115,
    [1, 2],
    [1, 2, 3],
  ]);
  leadership.withdraw(expansion);
  expect(leadership.leastOffset(at(120), true)).toBe(120);
  const shrinking = leadership.propose([1]);
  expect([leadership.leastOffset(at(130), true), leadership.maximalIsr]).toEqual([120, [1, 2]]);
  leadership.settle(shrinking, { leaderEpoch: 4, partitionEpoch: 11, isr: [1] });
  expect([leadership.leastOffset(at(130), true), leadership.isr, leadership.partitionEpoch]).toEqual([130, [1], 11]);
});

test("the answer or the image settles a change, whichever is newer", () => {
  const leadership = leading();
  const proposal = leadership.propose([1, 2]);
  expect(leadership.update({ ...state, isr: [1, 3], partitionEpoch: 12 }, 0)).toBe(true);
  leadership.settle(proposal, { leaderEpoch: 4, partitionEpoch: 11, isr: [1, 2] });
  leadership.withdraw(proposal);
  expect([leadership.isr, leadership.partitionEpoch, leadership.proposal]).toEqual([[1, 3], 12, null]);
  expect(leadership.update({ ...state, isr: [1, 2], partitionEpoch: 11 }, 0)).toBe(false);
  const other = leadership.propose([1]);
  leadership.settle(other, { leaderEpoch: 5, partitionEpoch: 13, isr: [2] });
  expect([leadership.isr, leadership.proposal]).toEqual([[1, 3], other]);
});

test("a follower lags when it has not had what there was for too long, whatever has come since", () => {
  const leadership = leading();
  fetchBy(leadership, report(2, 100), 100, 0);
  fetchBy(leadership, report(3, 100), 100, 0);
  // 2 is always one fetch behind a fast producer: it keeps up.
  for (let ms = 100; ms <= 2_000; ms += 100) fetchBy(leadership, report(2, 100 + ms - 100), 100 + ms, ms);
  // 3 comes as often, and gets ever less of it.
  for (let ms = 100; ms <= 2_000; ms += 100) fetchBy(leadership, report(3, 100 + ms / 10), 100 + ms, ms);
  expect(leadership.shrunk(2_100, 1_000, true, 2_000)).toEqual([1, 2]);
  expect(leadership.shrunk(2_100, 5_000, true, 2_000)).toBeNull();
  // Who has all that there is may be silent for as long as nothing comes.
  fetchBy(leadership, report(3, 2_100), 2_100, 2_100);
  expect(leadership.shrunk(2_100, 1_000, true, 90_000)).toEqual([1, 3]);
});

test("in sync comes who has the high watermark, is past the leader's start, and is registered as it says", () => {
  const leadership = leading({ isr: [1] });
  const eligible = { isFlushCounted: true, eligibleEpoch: 7 };
  const remote = fetchBy(leadership, report(2, 99), 130, 1);
  expect(leadership.expanded(remote, at(90), eligible)).toBeNull();
  fetchBy(leadership, report(2, 110), 130, 1);
  expect(leadership.expanded(remote, at(111), eligible)).toBeNull();
  expect(leadership.expanded(remote, at(110), { ...eligible, eligibleEpoch: 8 })).toBeNull();
  expect(leadership.expanded(remote, at(110), { ...eligible, eligibleEpoch: null })).toBeNull();
  expect(leadership.expanded(remote, at(110), eligible)).toEqual([1, 2]);
  fetchBy(leadership, report(2, 110, { flushedOffset: 105 }), 130, 1);
  expect(leadership.expanded(remote, at(110), eligible)).toBeNull();
});

test("a request of a broker's earlier registration says nothing, nor that of a broker that is no replica", () => {
  const leadership = leading();
  fetchBy(leadership, report(2, 120, { brokerEpoch: 8 }), 130, 1);
  expect(leadership.noteFetch(report(2, 130), 130, true, 2)).toBe("stale");
  expect(leadership.remote(2)?.logEndOffset).toBe(120);
  expect(leadership.noteFetch(report(4, 130), 130, true, 2)).toBeNull();
});

test("replicas come and go with the metadata", () => {
  const leadership = leading();
  fetchBy(leadership, report(2, 120), 130, 1);
  leadership.update({ ...state, replicas: [1, 2, 4], isr: [1, 2], partitionEpoch: 11 }, 5);
  expect([...leadership.remotes()].map(({ brokerId, logEndOffset }) => [brokerId, logEndOffset])).toEqual([
    [2, 120],
    [4, -1],
  ]);
  expect(leadership.isUnderMinIsr(2)).toBe(false);
  expect(leadership.isUnderMinIsr(3)).toBe(true);
  leadership.update({ ...state, replicas: [1], isr: [1], partitionEpoch: 12 }, 5);
  expect([leadership.isAlone, leadership.isUnderMinIsr(3)]).toEqual([true, false]);
});
