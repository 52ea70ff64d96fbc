import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { beforeEach, expect, test } from "vitest";
import { TransactionGuards } from "./transaction-guards.ts";

let guards: TransactionGuards;
beforeEach(() => {
  guards = new TransactionGuards();
});

const batch = (baseSequence: number, producerId = 7): RecordBatchView =>
  new RecordBatchView(
    encodeBatch({
      records: [{ value: Buffer.from("v") }],
      ...{ producerId, producerEpoch: 0, baseSequence, isTransactional: true },
    }),
  );

test("without a guard, or with that of another producer, no transaction begins", () => {
  expect(guards.refuse(batch(0), null, false)).toBe("no-transaction");
  const guard = guards.take(7, 0);
  expect(guards.refuse(batch(0), guard, false)).toBeNull();
  expect(guards.refuse(batch(0, 8), guard, false)).toBe("no-transaction");
});

test("a marker voids what was asked for before it, and not what is asked for after", () => {
  const before = guards.take(7, 0);
  expect(guards.isOpen(before)).toBe(true);
  guards.void(7);
  expect(guards.isOpen(before)).toBe(false);
  expect(guards.refuse(batch(0), before, false)).toBe("no-transaction");
  const after = guards.take(7, 0);
  expect(guards.refuse(batch(0), after, false)).toBeNull();
  // The one before was released late: the other stays.
  guards.release(before);
  expect(guards.refuse(batch(0), after, false)).toBeNull();
});

test("of two that ask, the one with the later sequence is not let in first", () => {
  const first = guards.take(7, 0);
  const second = guards.take(7, 1);
  guards.release(first);
  expect(guards.refuse(batch(1), second, false)).toBe("sequence-gap");
  expect(guards.refuse(batch(1), second, true)).toBeNull();
  guards.release(second);
  expect(guards.refuse(batch(1), second, false)).toBe("no-transaction");
  const alone = guards.take(7, 1);
  expect(guards.refuse(batch(1), alone, false)).toBeNull();
});
