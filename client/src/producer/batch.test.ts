import { expect, test } from "vitest";
import { Batch } from "./batch.ts";
import { BatchMemory } from "./batch-memory.ts";
import { Tally } from "./tally.ts";

const identity = { producerId: 1, producerEpoch: 0 };

function sealed(memory: Buffer): Batch {
  const batch = Batch.begin({}, { memory, deadlineMs: 0, tally: new Tally() });
  batch.add(null, Buffer.from("value"), [], 1_000, null);
  batch.seal(identity, 0);
  return batch;
}

test("memory that an earlier attempt may still hold is not used again", () => {
  const memory = Buffer.alloc(100_000);
  expect(sealed(memory).freeMemory).toBe(memory);
  const uncertain = sealed(memory);
  uncertain.isUncertain = true;
  expect(uncertain.freeMemory).toBeNull();
  uncertain.renumber({ ...identity, producerEpoch: 1 }, 0);
  expect(uncertain.freeMemory).toBeNull();
});

test("other numbers go into other bytes: what was sent before stays as it was", () => {
  const batch = sealed(Buffer.alloc(1_000));
  const before = batch.bytes;
  const copy = Buffer.from(before);
  batch.renumber({ producerId: 1, producerEpoch: 7 }, 9);
  expect(before.equals(copy)).toBe(true);
  expect(batch.bytes.equals(copy)).toBe(false);
});

test("memory is kept up to a limit, and only what is worth it", () => {
  const memory = new BatchMemory(100_000);
  const large = Buffer.alloc(60_000);
  memory.give(large);
  memory.give(Buffer.alloc(60_000));
  memory.give(Buffer.alloc(1_000));
  expect(memory.take(1_000)).not.toBe(large);
  expect(memory.take(70_000)).not.toBe(large);
  expect(memory.take(50_000)).toBe(large);
  expect(memory.take(50_000)).not.toBe(large);
});
