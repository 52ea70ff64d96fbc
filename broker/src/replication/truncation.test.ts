import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { trustBatch } from "@millrace/storage/validation";
import type { LeaderEpoch, Offset } from "@millrace/storage/types";
import { expect, test } from "vitest";
import { ends, expectSame, highWatermarks, produceTo, topic } from "../../test/replication-calls.ts";
import { ReplicationWorld } from "../../test/replication-world.ts";
import type { HalfBroker, WorldOptions } from "../../test/replication-world.ts";

const quick = { "replica.fetch.backoff.ms": "100" };

async function worldWith(
  options: WorldOptions = {},
  replicas: readonly number[] = [1, 2, 3],
): Promise<ReplicationWorld> {
  const world = await ReplicationWorld.open({ settings: quick, ...options });
  await world.createTopic(topic, { replicas });
  return world;
}

/** Nobody is told anything: a batch that stands in this leader's log alone, or comes to others only later. */
async function append(world: ReplicationWorld, broker: HalfBroker, ...values: readonly string[]): Promise<void> {
  for (const value of values) {
    const produced = broker
      .partition(topic)
      .append(
        trustBatch(encodeBatch({ records: [{ timestamp: world.clock.now(), value: Buffer.from(value) }] })),
        "client",
        world.clock.now(),
      );
    expect(produced.ok).toBe(true);
  }
  await world.clock.settle();
}

function epochEnd(world: ReplicationWorld, id: number, epoch: number): unknown {
  return world.broker(id).partition(topic).log.endOffsetForEpoch(epoch);
}

test("KIP-101, scenario 1: who has not heard yet that a record is committed keeps it, and leads with it", async () => {
  const world = await worldWith({ brokers: 2 }, [1, 2]);
  await world.run(produceTo(world.broker(1), topic, ["m1"]));
  await world.clock.advance(1_000);
  await world.run(produceTo(world.broker(1), topic, ["m2"]));
  // It has m2 on its disk, and knows of m1 that it is committed.
  expect([ends(world, [2]), highWatermarks(world, [2])]).toEqual([[2], [1]]);
  const disk = world.crash(2);
  const leader = world.crash(1);
  await world.run(world.start(2, disk));
  expect(ends(world, [2])).toEqual([2]);
  await world.run(world.change(topic, { leader: 2, isr: [2] }));
  await world.run(world.start(1, leader));
  await world.until(() => world.partitionOf(topic).isr.length === 2);
  await world.run(produceTo(world.broker(2), topic, ["m3"]));
  await world.clock.advance(1_000);
  expect([ends(world, [1, 2]), highWatermarks(world, [1, 2])]).toEqual([
    [3, 3],
    [3, 3],
  ]);
  await expectSame(world, [1, 2]);
});

test("KIP-101, scenario 2: after both crash, other records at the same offset take the place of those that were never committed", async () => {
  const world = await worldWith({ brokers: 2 }, [1, 2]);
  await world.run(produceTo(world.broker(1), topic, ["m1"]));
  world.cut(1, 2);
  await append(world, world.broker(1), "m2");
  await world.clock.advance(100);
  const [first, second] = [world.crash(1), world.crash(2)];
  world.heal();
  await world.run(world.start(2, second));
  await world.run(world.change(topic, { leader: 2, isr: [2] }));
  await append(world, world.broker(2), "m3");
  await world.run(world.start(1, first));
  await world.until(() => world.partitionOf(topic).isr.length === 2);
  await world.clock.advance(1_000);
  expect(ends(world, [1, 2])).toEqual([2, 2]);
  await expectSame(world, [1, 2]);
});

test("KIP-279: an epoch that the leader never heard of is gone back over, to where both agree", async () => {
  const world = await worldWith();
  await world.run(produceTo(world.broker(1), topic, ["0"]));
  await world.clock.advance(100);
  for (const [a, b] of [
    [1, 2],
    [1, 3],
    [2, 3],
  ] as const)
    world.cut(a, b);
  // Epoch 0 goes on at broker 1; 2 leads epoch 1 by itself; 1 leads epoch 2, and has none of epoch 1.
  await append(world, world.broker(1), "0'", "0''");
  await world.run(world.change(topic, { leader: 2, isr: [2, 1] }));
  await append(world, world.broker(2), "1", "1'", "1''");
  await world.run(world.change(topic, { leader: 1, isr: [1, 2] }));
  await append(world, world.broker(1), "2", "2'");
  expect([epochEnd(world, 1, 1), epochEnd(world, 2, 1)]).toEqual([
    { epoch: 0, endOffset: 3 },
    { epoch: 1, endOffset: 4 },
  ]);
  world.heal();
  await world.until(() => ends(world).every((end) => end === 5));
  await world.clock.advance(1_000);
  await expectSame(world);
  expect(epochEnd(world, 2, 1)).toEqual({ epoch: 0, endOffset: 3 });
  expect(world.broker(2).replicas.counts(1)?.truncations).toBe(1);
});

test("KIP-279: where neither knows the other's epochs, it takes several steps back", async () => {
  const world = await worldWith();
  await world.run(produceTo(world.broker(1), topic, ["0"]));
  await world.clock.advance(100);
  for (const [a, b] of [
    [1, 2],
    [1, 3],
    [2, 3],
  ] as const)
    world.cut(a, b);
  // Broker 2 has the epochs 0, 1 and 3; broker 1 has 0, 2 and 4.
  for (const [leader, values] of [
    [2, ["1", "1'"]],
    [1, ["2"]],
    [2, ["3", "3'"]],
    [1, ["4", "4'", "4''", "4'''", "4''''"]],
  ] as const) {
    await world.run(world.change(topic, { leader, isr: [1, 2, 3] }));
    await append(world, world.broker(leader), ...values);
  }
  expect(ends(world)).toEqual([7, 5, 1]);
  world.heal();
  await world.until(() => ends(world).every((end) => end === 7));
  await world.clock.advance(1_000);
  await expectSame(world);
  expect(world.broker(2).replicas.counts(1)?.truncations).toBe(2);
  expect(world.broker(3).replicas.counts(1)?.truncations ?? 0).toBe(0);
});

test("a leader that led an epoch without a record follows in the next one", async () => {
  const world = await worldWith();
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  await world.clock.advance(100);
  await world.run(world.change(topic, { leader: 2 }));
  expect(epochEnd(world, 2, 1)).toEqual({ epoch: 1, endOffset: 1 });
  await world.run(world.change(topic, { leader: 3 }));
  await world.run(world.change(topic, { leader: 1 }));
  expect((await world.run(produceTo(world.broker(1), topic, ["b"]))).errorCode).toBe(0);
  await world.clock.advance(1_000);
  await expectSame(world);
});

test("a leader that loses what it had not synced takes it away from those who had fetched it, and nothing that was acknowledged", async () => {
  const world = await worldWith();
  await world.run(produceTo(world.broker(1), topic, ["acknowledged"]));
  const release = world.broker(1).disk.faults.holdSyncs();
  const lost = produceTo(world.broker(1), topic, ["lost"], { timeoutMs: 1_000 });
  await world.clock.advance(200);
  // The followers have it on their disks, and it is not committed.
  expect([2, 3].map((id) => world.broker(id).partition(topic).log.flushedOffset)).toEqual([2, 2]);
  expect(highWatermarks(world)).toEqual([1, 1, 1]);
  const disk = world.crash(1);
  release();
  await world.run(world.start(1, disk));
  await world.run(world.change(topic, { leader: 1, isr: [1, 2, 3] }));
  expect(ends(world, [1])[0]).toBeGreaterThanOrEqual(1);
  await world.run(produceTo(world.broker(1), topic, ["after"]));
  await world.clock.advance(2_000);
  await expectSame(world);
  void lost;
});

test("a follower that loses what it had not synced had not said that it has it", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const world = await worldWith({ brokers: 2, seed }, [1, 2]);
    await world.run(produceTo(world.broker(1), topic, ["first"]));
    const releases = [1, 2].map((id) => world.broker(id).disk.faults.holdSyncs());
    let isAnswered = false;
    void produceTo(world.broker(1), topic, ["second"]).then(() => (isAnswered = true));
    await world.clock.advance(1_200);
    releases[0]?.();
    await world.clock.advance(1_200);
    // On the leader's disk, and in the follower's files: nobody counts that.
    expect(isAnswered, `seed ${seed}`).toBe(false);
    const [first, second] = [world.crash(1), world.crash(2)];
    await world.run(world.start(2, second));
    await world.run(world.change(topic, { leader: 2, isr: [2, 1] }));
    await world.run(world.start(1, first));
    await world.until(() => ends(world, [1])[0] === ends(world, [2])[0]);
    await world.clock.advance(1_000);
    await expectSame(world, [1, 2]);
  }
});

test("a cut below the high watermark is refused: the replica keeps what was committed, and says so", async () => {
  const errors: string[] = [];
  const logger: WorldOptions["logger"] = {
    debug() {},
    info() {},
    warn() {},
    error: (message) => errors.push(message),
    with: () => logger as NonNullable<typeof logger>,
  };
  const world = await worldWith({ logger });
  for (const value of ["a", "b", "c"]) await world.run(produceTo(world.broker(1), topic, [value]));
  await world.clock.advance(1_000);
  // A leader whose disk was lost, and that nobody should have elected.
  expect(
    await world
      .broker(3)
      .partition(topic)
      .log.truncateTo(1 as Offset),
  ).toEqual({ ok: true, value: undefined });
  await world.run(world.change(topic, { leader: 3, isr: [3] }));
  await world.clock.advance(3_000);
  expect(ends(world)).toEqual([3, 3, 1]);
  expect(errors.filter((text) => text.includes("this replica keeps them"))).toHaveLength(2);
  world.check();
});

test("where unclean elections are allowed it is cut all the same", async () => {
  const world = await ReplicationWorld.open({ settings: quick });
  await world.createTopic(topic, { configs: { "unclean.leader.election.enable": "true" } });
  for (const value of ["a", "b", "c"]) await world.run(produceTo(world.broker(1), topic, [value]));
  await world.clock.advance(1_000);
  await world
    .broker(3)
    .partition(topic)
    .log.truncateTo(1 as Offset);
  await world.run(world.change(topic, { leader: 3, isr: [3] }));
  await world.run(produceTo(world.broker(3), topic, ["d"]));
  await world.clock.advance(3_000);
  expect(ends(world)).toEqual([2, 2, 2]);
  await expectSame(world);
});

test("the leader's start is followed; who has fallen behind it begins anew there", async () => {
  const world = await worldWith({ settings: { ...quick, "replica.lag.time.max.ms": "2000" } });
  for (const value of ["a", "b", "c"]) await world.run(produceTo(world.broker(1), topic, [value]));
  await world.clock.advance(100);
  await world.run(
    world
      .broker(1)
      .partition(topic)
      .log.deleteRecordsBefore(2 as Offset),
  );
  await world.clock.advance(1_000);
  expect([1, 2, 3].map((id) => world.broker(id).partition(topic).logStartOffset)).toEqual([2, 2, 2]);
  world.cut(1, 3);
  await world.run(produceTo(world.broker(1), topic, ["d"]));
  await world.run(produceTo(world.broker(1), topic, ["e"]));
  await world.run(
    world
      .broker(1)
      .partition(topic)
      .log.deleteRecordsBefore(5 as Offset),
  );
  world.heal();
  await world.until(() => [1, 2, 3].every((id) => world.broker(id).partition(topic).logStartOffset === 5));
  expect(ends(world)).toEqual([5, 5, 5]);
  await world.until(() => world.partitionOf(topic).isr.length === 3);
  await world.run(produceTo(world.broker(1), topic, ["f"]));
  await world.clock.advance(1_000);
  await expectSame(world);
});

test("producers and aborted transactions are the same on all replicas, also after a cut and a restart", async () => {
  const world = await worldWith();
  const transactional = (producerId: number, baseSequence: number, value: string): Buffer =>
    encodeBatch({
      records: [{ timestamp: world.clock.now(), value: Buffer.from(value) }],
      ...{ producerId, producerEpoch: 3, baseSequence, isTransactional: true },
    });
  const marker = (producerId: number, isCommit: boolean): Buffer =>
    encodeEndTransactionMarker({
      isCommit,
      coordinatorEpoch: 7,
      producerId,
      producerEpoch: 3,
      timestamp: world.clock.now(),
    });
  const put = (id: number, bytes: Buffer): void => {
    const { log } = world.broker(id).partition(topic);
    const leaderEpoch = world.partitionOf(topic).leaderEpoch as LeaderEpoch;
    const origin = bytes.readInt16BE(21) & 0x20 ? "coordinator" : "client";
    expect(log.append(trustBatch(bytes), { origin, leaderEpoch, nowMs: world.clock.now() }).ok).toBe(true);
  };
  for (let round = 0; round < 4; round++) {
    for (const producerId of [7, 8, 9]) put(1, transactional(producerId, round, `${round}`));
    for (const producerId of [7, 8]) put(1, marker(producerId, producerId === 7));
    await world.clock.advance(round * 50);
  }
  await world.clock.advance(1_000);
  await expectSame(world);
  world.cut(1, 2);
  world.cut(1, 3);
  put(1, transactional(7, 4, "never committed"));
  put(1, marker(9, false));
  await world.clock.advance(100);
  await world.run(world.change(topic, { leader: 2 }));
  put(2, transactional(8, 4, "instead"));
  put(2, marker(8, false));
  world.heal();
  await world.clock.advance(3_000);
  await expectSame(world);
  const disk = world.crash(3);
  await world.run(world.start(3, disk));
  await world.until(() => highWatermarks(world).every((offset) => offset === 22));
  // What is remembered of producers is loaded from the log: as values it is what the others have.
  await expectSame(world);
});

test("a restart begins with the high watermark that was saved", async () => {
  const world = await worldWith();
  for (const value of ["a", "b", "c"]) await world.run(produceTo(world.broker(1), topic, [value]));
  await world.clock.advance(6_000);
  for (const value of ["d", "e"]) await world.run(produceTo(world.broker(1), topic, [value]));
  await world.clock.advance(100);
  const disks = [1, 2, 3].map((id) => [id, world.crash(id)] as const);
  const [id, disk] = disks[1]!;
  await world.run(world.start(id, disk));
  expect([ends(world, [2]), highWatermarks(world, [2])]).toEqual([[5], [3]]);
  for (const [other, its] of [disks[0]!, disks[2]!]) await world.run(world.start(other, its));
  await world.run(world.change(topic, { leader: 1, isr: [1, 2, 3] }));
  await world.until(() => highWatermarks(world).every((offset) => offset === 5));
  const stopped = await world.run(world.broker(2).stop());
  await world.run(world.start(2, stopped));
  expect(highWatermarks(world, [2])).toEqual([5]);
});
