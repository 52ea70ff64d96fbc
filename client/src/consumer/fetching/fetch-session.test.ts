import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { FetchSession } from "./fetch-session.ts";
import type { WantedPartition } from "./fetch-session.ts";

const wanted = (partition: number, fetchOffset: number): WantedPartition => ({
  topic: "",
  topicId: "orders-id",
  partition,
  currentLeaderEpoch: 3,
  fetchOffset,
  partitionMaxBytes: 1000,
});
const partitions = (some: readonly WantedPartition[]): number[] => some.map(({ partition }) => partition);

test("a session is told of everything once, then of what has changed", () => {
  const session = new FetchSession();
  const first = session.next([wanted(0, 10), wanted(1, 20)]);
  expect(first).toMatchObject({ sessionId: 0, sessionEpoch: 0, forgotten: [] });
  expect(partitions(first.changed)).toEqual([0, 1]);
  session.answered(77);

  const second = session.next([wanted(0, 11), wanted(1, 20), wanted(2, 0)]);
  expect(second).toMatchObject({ sessionId: 77, sessionEpoch: 1 });
  expect(partitions(second.changed)).toEqual([0, 2]);
  session.answered(77);

  const third = session.next([wanted(2, 0)]);
  expect(third.sessionEpoch).toBe(2);
  expect(third.changed).toEqual([]);
  expect(partitions(third.forgotten)).toEqual([0, 1]);
});

test.for([
  [ErrorCode.FETCH_SESSION_ID_NOT_FOUND, true],
  [ErrorCode.INVALID_FETCH_SESSION_EPOCH, true],
  [ErrorCode.UNKNOWN_SERVER_ERROR, false],
] as const)("after error %i all is told anew; worth trying at once: %s", ([code, isWorthTrying]) => {
  const session = new FetchSession();
  session.next([wanted(0, 10)]);
  session.answered(77);
  session.next([wanted(0, 10)]);
  expect(session.refused(code)).toBe(isWorthTrying);
  const next = session.next([wanted(0, 10)]);
  expect([next.sessionEpoch, partitions(next.changed)]).toEqual([0, [0]]);
});

test("a broker without room for sessions is told everything each time", () => {
  const session = new FetchSession();
  session.next([wanted(0, 10)]);
  session.answered(0);
  const next = session.next([wanted(0, 10)]);
  expect([next.sessionId, next.sessionEpoch, partitions(next.changed)]).toEqual([0, 0, [0]]);
});

test("a session that speaks of topics by ids is not continued by names, nor the other way round", () => {
  const byName = (partition: number): WantedPartition => ({ ...wanted(partition, 0), topic: "orders", topicId: "" });
  const session = new FetchSession();
  session.next([wanted(0, 10)]);
  session.answered(77);
  const renamed = session.next([byName(0)]);
  expect(renamed).toMatchObject({ sessionId: 0, sessionEpoch: 0, forgotten: [] });
  expect(partitions(renamed.changed)).toEqual([0]);
  session.answered(78);
  expect(session.next([])).toMatchObject({ sessionId: 78, sessionEpoch: 1 });
  session.answered(78);
  expect(session.next([byName(0)])).toMatchObject({ sessionId: 78, sessionEpoch: 2 });
  session.answered(78);
  expect(session.next([wanted(0, 10)])).toMatchObject({ sessionId: 0, sessionEpoch: 0, forgotten: [] });
});
