import { must } from "@millrace/base/assert";
import type { TimeMs } from "@millrace/base/units";
import { trustBatch } from "@millrace/storage/validation";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { expect, test } from "vitest";
import { ReplicationWorld } from "../../test/replication-world.ts";
import type { CommitFailure } from "./commit-waiters.ts";
import { appendMarker } from "./markers.ts";
import type { Partition } from "./partition.ts";

const nowMs = 1_700_000_000_000 as TimeMs;
const producer = { producerId: 7, producerEpoch: 0 };

interface Pair {
  readonly world: ReplicationWorld;
  /** What names the partitions of transactions, and what is written in one. */
  readonly state: Partition;
  readonly data: Partition;
}

async function pair(): Promise<Pair> {
  const world = await ReplicationWorld.open({ brokers: 1, isJournaled: false });
  await world.createTopic("state", { replicas: [1] });
  await world.createTopic("data", { replicas: [1] });
  const broker = world.broker(1);
  return { world, state: broker.partition("state"), data: broker.partition("data") };
}

function append(partition: Partition, sizeBytes: number): number {
  const bytes = encodeBatch({ records: [{ value: Buffer.alloc(sizeBytes, 1) }] });
  const appended = partition.append(trustBatch(bytes), "coordinator", nowMs);
  if (!appended.ok) throw new Error(JSON.stringify(appended.failure));
  return appended.value.nextOffset;
}

function outcome(partition: Partition, nextOffset: number): { failure: CommitFailure | null | undefined } {
  const settled: { failure: CommitFailure | null | undefined } = { failure: undefined };
  partition.whenCommitted(nextOffset as never, (failure) => (settled.failure = failure));
  return settled;
}

/** Half of what may be unsynced is under way, and half of it comes next: the state's last record comes a group later than what follows it. */
async function overtaken({ world, state, data }: Pair, isOrdered: boolean): Promise<void> {
  const { clock } = world;
  world.broker(1).disk.faults.slowDown(clock, (operation) => (operation === "sync" ? 10 : 0));
  for (let count = 0; count < 3; count++) {
    append(state, 120_000);
    await clock.settle();
  }
  if (isOrdered) data.commitAfter(state, producer.producerId);
  append(data, 100);
  await world.until(() => data.log.durableOffset === 1);
}

test("a log whose turn comes later is overtaken by another of its directory", async () => {
  const found = await pair();
  await overtaken(found, false);
  expect([found.state.highWatermark, found.data.highWatermark]).toEqual([2, 1]);
});

test("what must not overtake it is durable and not committed, until it is", async () => {
  const found = await pair();
  const { world, state, data } = found;
  await overtaken(found, true);
  const first = outcome(data, 1);
  expect([state.highWatermark, data.log.durableOffset, data.highWatermark, first.failure]).toEqual([
    2,
    1,
    0,
    undefined,
  ]);
  await world.until(() => state.highWatermark === 3);
  expect([data.highWatermark, first.failure]).toEqual([1, null]);
});

test("nothing waits where what it would wait for is committed", async () => {
  const { world, state, data } = await pair();
  append(state, 100);
  await world.until(() => state.highWatermark === 1);
  data.commitAfter(state, producer.producerId);
  append(data, 100);
  await world.until(() => data.highWatermark === 1);
});

test("where that is lost, it is not acknowledged, nor as a duplicate, until the transaction was aborted", async () => {
  const { world, state, data } = await pair();
  await world.run(new Promise<void>((resolve) => data.whenCommitted(append(data, 100) as never, () => resolve())));
  const guard = data.guards.take(producer.producerId, 0);
  append(state, 100);
  data.commitAfter(state, producer.producerId);
  const bytes = encodeBatch({
    records: [{ value: Buffer.from("v") }],
    ...producer,
    baseSequence: 0,
    isTransactional: true,
  });
  expect(data.append(trustBatch(bytes), "client", nowMs, guard)).toMatchObject({ ok: true });
  const first = outcome(data, 2);
  // As a full disk does, and a leader that takes another's place.
  must(state.log.onCut, "a partition listens to its log")(0 as never, "disk-full");
  await world.until(() => data.log.durableOffset === 2);
  expect([first.failure, outcome(data, 2).failure, data.highWatermark]).toEqual(["disk-full", "disk-full", 1]);
  appendMarker(data, { ...producer, producerEpoch: 1, outcome: "abort", coordinatorEpoch: 0 } as never, nowMs);
  await world.until(() => data.highWatermark === 3);
});
