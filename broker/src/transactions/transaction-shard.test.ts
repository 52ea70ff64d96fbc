import type { TimeMs } from "@millrace/base/units";
import { describe, expect, test } from "vitest";
import type { Producer, ProducerAnswer } from "./commands.ts";
import { decodeRecord, encodeRecord } from "./records.ts";
import { TransactionHost } from "./testing/transaction-host.ts";
import { EPOCH_MAX } from "./transaction.ts";
import type { Transaction, TransactionState } from "./transaction.ts";

/* What SPEC.md says beside its table. */

function producerOf(answer: ProducerAnswer): Producer {
  if (answer.kind !== "granted") throw new Error(`answered ${JSON.stringify(answer)}`);
  return answer.producer;
}

/** A host whose id "t" has a producer in this epoch. */
function inEpoch(producerEpoch: number): { readonly host: TransactionHost; readonly producer: Producer } {
  const host = new TransactionHost();
  const { producerId } = producerOf(host.init());
  const transaction = { ...(host.transaction() as Transaction), producerEpoch };
  host.log.push(encodeRecord({ transactionalId: "t", transaction }));
  host.failover();
  return { host, producer: { producerId, producerEpoch } };
}

describe("epochs that are used up", () => {
  test("InitProducerId gives a new producer id, and the producer of the old one may ask for it", () => {
    expect(producerOf(inEpoch(EPOCH_MAX - 2).host.init()).producerEpoch).toBe(EPOCH_MAX - 1);
    const { host, producer } = inEpoch(EPOCH_MAX - 1);
    const next = producerOf(host.init({ expected: producer }));
    expect([next.producerId !== producer.producerId, next.producerEpoch]).toEqual([true, 0]);
    expect(host.transaction()).toMatchObject({ ...next, previousProducerId: producer.producerId });
    expect(host.add(producer, [0])).toEqual({ failure: "invalid-producer-id-mapping" });
    // It has not heard of the new one.
    expect(producerOf(host.init({ expected: producer }))).toEqual({ ...next, producerEpoch: 1 });
  });

  test("the end of a transaction of version 2 gives it; the marker has the last epoch, and the end may be asked for again", () => {
    const { host, producer } = inEpoch(EPOCH_MAX - 1);
    expect(host.add(producer, [0], { clientVersion: 2 }).failure).toBeNull();
    const next = producerOf(host.end(producer, "commit", { clientVersion: 2 }));
    expect([next.producerId !== producer.producerId, next.producerEpoch]).toEqual([true, 0]);
    expect(host.markers).toMatchObject([{ producerId: producer.producerId, producerEpoch: EPOCH_MAX }]);
    // Its client goes on with the new id at once: it is asked to wait, as any is while markers are written.
    const wait = "concurrent-transactions";
    expect(host.add(next, [1], { clientVersion: 2 })).toEqual({ failure: wait });
    expect(host.verify(next, 1)).toBe(wait);
    expect(host.end(next, "abort", { clientVersion: 2 })).toEqual({ kind: "refused", failure: wait });
    expect(host.init({ expected: next })).toEqual({ kind: "refused", failure: wait });
    host.failover();
    host.writeMarkers();
    expect(host.transaction()).toMatchObject({ ...next, state: "CompleteCommit", nextProducerId: -1 });
    expect(producerOf(host.end(producer, "commit", { clientVersion: 2 }))).toEqual(next);
    expect(host.end(producer, "abort", { clientVersion: 2 })).toEqual({ kind: "refused", failure: "invalid-state" });
    expect(host.add(next, [1], { clientVersion: 2 }).failure).toBeNull();
  });

  test("what is open in the last one is aborted with the epoch behind it", () => {
    const { host, producer } = inEpoch(EPOCH_MAX - 1);
    host.add(producer, [0]);
    host.advance(60_000);
    expect(host.markers).toMatchObject([{ producerEpoch: EPOCH_MAX, outcome: "abort" }]);
    host.writeMarkers();
    expect(producerOf(host.init()).producerId).not.toBe(producer.producerId);
  });
});

test("KIP-360: who asks for its next epoch may ask again, until something else happens; after a failover it is fenced", () => {
  const host = new TransactionHost();
  const producer = producerOf(host.init());
  const next = producerOf(host.init({ expected: producer }));
  expect(next.producerEpoch).toBe(producer.producerEpoch + 1);
  expect(producerOf(host.init({ expected: producer }))).toEqual(next);
  host.failover();
  expect(host.init({ expected: producer })).toEqual({ kind: "refused", failure: "producer-fenced" });
  const after = producerOf(host.init({ expected: next }));
  host.add(after, [0]);
  expect(host.init({ expected: next })).toEqual({ kind: "refused", failure: "producer-fenced" });
  expect(host.state()).toBe("Ongoing");
});

test("a new process may not ask again, or the one that it fenced could", () => {
  const host = new TransactionHost();
  const old = producerOf(host.init());
  host.init();
  expect(host.init({ expected: old })).toEqual({ kind: "refused", failure: "producer-fenced" });
});

test.for([0, -1, 900_001])("a timeout of %i ms is refused, and changes nothing", (timeoutMs) => {
  const host = new TransactionHost();
  expect(host.init({ timeoutMs })).toEqual({ kind: "refused", failure: "invalid-timeout" });
  expect(host.state()).toBe("no id");
});

test.for([
  [20_000, 40_000],
  [-3_600_000, 60_000],
  [120_000, 0],
])("over a failover with the wall clock %i ms later a transaction is open for %i ms more", ([laterMs, leftMs]) => {
  const host = new TransactionHost();
  host.add(producerOf(host.init({ timeoutMs: 60_000 })), [0]);
  host.nowMs += laterMs as number;
  host.failover();
  expect((host.timers.get("timeout:t")?.dueMs ?? 0) - host.nowMs).toBe(leftMs);
});

test("what is described and listed is what there is, by state, producer, age and name", () => {
  const host = new TransactionHost();
  const open = producerOf(host.init({ id: "open" }));
  host.add(open, [2, 0], { id: "open" });
  host.advance(10_000);
  const rest = producerOf(host.init({ id: "at-rest" }));
  const [described, unknown] = host.describe(["open", "nobody"]);
  expect(described).toMatchObject({ ...open, state: "Ongoing", timeoutMs: 60_000, startMs: host.nowMs - 10_000 });
  expect([...(described?.partitions ?? [])]).toEqual([["orders", [0, 2]]]);
  expect(unknown).toBeNull();
  const names = (filter: Parameters<TransactionHost["list"]>[0]) =>
    host.list(filter).map((each) => each.transactionalId);
  expect(names({})).toEqual(["open", "at-rest"]);
  expect(names({ states: new Set<TransactionState>(["Empty"]) })).toEqual(["at-rest"]);
  expect(names({ producerIds: new Set([rest.producerId]) })).toEqual(["at-rest"]);
  expect(names({ openForMs: 9_999 })).toEqual(["open", "at-rest"]);
  // One that never had a transaction is in it, too.
  expect(names({ openForMs: 10_000 })).toEqual(["at-rest"]);
  expect(names({ pattern: { matches: (id) => id.startsWith("at-") } })).toEqual(["at-rest"]);
});

test("a record of the log that cannot be read is named; one of another kind is left alone", () => {
  const transaction: Transaction = {
    transactionalId: "t",
    producerId: 2 ** 40,
    previousProducerId: 7,
    nextProducerId: 8,
    producerEpoch: 3,
    timeoutMs: 1000,
    state: "PrepareCommit",
    partitions: new Map([["orders", [0, 5]]]),
    updateMs: 20 as TimeMs,
    startMs: 10 as TimeMs,
    clientVersion: 2,
  };
  const { key, value } = encodeRecord({ transactionalId: "t", transaction });
  expect(decodeRecord(key, value)).toEqual({ transactionalId: "t", transaction });
  expect(decodeRecord(key, null)).toEqual({ transactionalId: "t", transaction: null });
  const broken = Buffer.from(value as Uint8Array);
  broken.writeInt16BE(2, 0);
  expect(() => decodeRecord(key, broken)).toThrow("TransactionLogValue has version 2; 0 to 1 are known here");
  const dead = Buffer.from(value as Uint8Array);
  // Version, producer id, epoch and timeout come before the status.
  dead.writeInt8(6, 2 + 8 + 2 + 4);
  expect(() => decodeRecord(key, dead)).toThrow("transactional id t has the status 6");
  const other = Buffer.from(key);
  other.writeInt16BE(1, 0);
  expect(decodeRecord(other, value)).toBeNull();
});
