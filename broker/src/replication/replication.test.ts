import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { ends, expectSame, highWatermarks, produceTo, topic } from "../../test/replication-calls.ts";
import { ReplicationWorld } from "../../test/replication-world.ts";
import type { Produced } from "../../test/replication-calls.ts";

const isOk = (baseOffset: number): Produced => ({ errorCode: ErrorCode.NONE, baseOffset });

test("what is produced is on all replicas, byte for byte, and followers learn what is committed", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic);
  const answers: Produced[] = [];
  for (const value of ["a", "b", "c"]) answers.push(await world.run(produceTo(world.broker(1), topic, [value, value])));
  expect(answers).toEqual([isOk(0), isOk(2), isOk(4)]);
  expect(highWatermarks(world, [1])).toEqual([6]);
  await world.until(() => highWatermarks(world).every((offset) => offset === 6), 200);
  await expectSame(world);
});

test("acks=all waits until the in-sync replicas have it on their disks, acks=1 for the leader's", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic);
  await world.run(produceTo(world.broker(1), topic, ["first"]));
  const release = world.broker(3).disk.faults.holdSyncs();
  let answer: Produced | null = null;
  const asked = produceTo(world.broker(1), topic, ["all"]).then((produced) => (answer = produced));
  await world.until(() => ends(world).every((offset) => offset === 2));
  await world.clock.advance(3_000);
  // All three have it in their files, and one of them not on its disk.
  expect(world.broker(3).partition(topic).log.writtenOffset).toBe(2);
  expect(answer).toBeNull();
  expect(highWatermarks(world)).toEqual([1, 1, 1]);
  expect(await world.run(produceTo(world.broker(1), topic, ["one"], { acks: 1 }))).toEqual(isOk(2));
  expect(answer).toBeNull();
  release();
  expect(await world.run(asked, 100)).toEqual(isOk(1));
});

test("under durability os a follower counts as far as it has written", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic, { configs: { "millrace.durability": "os" } });
  const releases = [1, 2, 3].map((id) => world.broker(id).disk.faults.holdSyncs());
  expect(await world.run(produceTo(world.broker(1), topic, ["os"]), 100)).toEqual(isOk(0));
  for (const release of releases) release();
});

test("an acknowledgement takes a few round trips, not the time of a long poll", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic);
  for (const id of [1, 2, 3])
    world.broker(id).disk.faults.slowDown(world.clock, (operation) => (operation === "sync" ? 3 : 0));
  await world.clock.advance(2_000);
  for (let round = 0; round < 20; round++) {
    const beganMs = world.clock.monotonicMs();
    await world.run(produceTo(world.broker(1), topic, [Buffer.alloc(round % 2 === 0 ? 10 : 100_000, 0x78).toString()]));
    expect(world.clock.monotonicMs() - beganMs).toBeLessThan(30);
    await world.clock.advance(round * 37);
  }
  await world.clock.advance(1_000);
  expect(highWatermarks(world)).toEqual([20, 20, 20]);
});

test("an idle follower asks twice a second, and no more", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic);
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  await world.clock.advance(1_000);
  const { fetches } = world.broker(2).replicas.counts(1)!;
  await world.clock.advance(10_000);
  const later = world.broker(2).replicas.counts(1)!.fetches;
  expect(later - fetches).toBeLessThanOrEqual(21);
  expect(later - fetches).toBeGreaterThan(15);
});

test("too few in-sync replicas: acks=all is refused, and told so where it waits; nothing more is committed", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic, { configs: { "min.insync.replicas": "2" } });
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  const releases = [2, 3].map((id) => world.broker(id).disk.faults.holdSyncs());
  const waiting = produceTo(world.broker(1), topic, ["b"]);
  await world.clock.advance(100);
  await world.run(world.fence(2));
  await world.run(world.fence(3));
  expect((await world.run(waiting)).errorCode).toBe(ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND);
  expect((await world.run(produceTo(world.broker(1), topic, ["c"]))).errorCode).toBe(ErrorCode.NOT_ENOUGH_REPLICAS);
  expect((await world.run(produceTo(world.broker(1), topic, ["d"], { acks: 1 }))).errorCode).toBe(ErrorCode.NONE);
  await world.clock.advance(1_000);
  expect(highWatermarks(world, [1])).toEqual([1]);
  for (const release of releases) release();
  const disk = world.crash(2);
  await world.run(world.start(2, disk));
  await world.until(() => highWatermarks(world, [1])[0] === 3);
  expect(world.partitionOf(topic).isr).toEqual([1, 2]);
  expect((await world.run(produceTo(world.broker(1), topic, ["e"]))).errorCode).toBe(ErrorCode.NONE);
});

test("who lags leaves the ISR and is not waited for; who has caught up comes back", async () => {
  const world = await ReplicationWorld.open({ settings: { "replica.lag.time.max.ms": "2000" } });
  await world.createTopic(topic);
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  world.cut(1, 3);
  await world.clock.advance(10_000);
  // There was nothing that it could have missed.
  expect(world.partitionOf(topic).isr).toEqual([1, 2, 3]);
  const waiting = produceTo(world.broker(1), topic, ["b"]);
  await world.clock.advance(900);
  expect(highWatermarks(world, [1])).toEqual([1]);
  expect(await world.run(waiting)).toEqual(isOk(1));
  expect(world.partitionOf(topic).isr).toEqual([1, 2]);
  world.heal();
  await world.until(() => world.partitionOf(topic).isr.length === 3);
  await world.clock.advance(100);
  await expectSame(world);
});

test("a follower whose disk does not sync lags, however much it has written", async () => {
  const world = await ReplicationWorld.open({ settings: { "replica.lag.time.max.ms": "2000" } });
  await world.createTopic(topic);
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  const release = world.broker(2).disk.faults.holdSyncs();
  const beganMs = world.clock.monotonicMs();
  expect(await world.run(produceTo(world.broker(1), topic, ["b"]))).toEqual(isOk(1));
  expect(world.clock.monotonicMs() - beganMs).toBeGreaterThan(1_500);
  expect(world.partitionOf(topic).isr).toEqual([1, 3]);
  release();
  await world.until(() => world.partitionOf(topic).isr.length === 3);
});

test("until the controller has answered both ISRs count", async () => {
  const world = await ReplicationWorld.open({ settings: { "replica.lag.time.max.ms": "2000" } });
  await world.createTopic(topic);
  world.proposalFailure = "unknown";
  world.cut(1, 3);
  const waiting = produceTo(world.broker(1), topic, ["a"], { timeoutMs: 60_000 });
  await world.clock.advance(8_000);
  // It is proposed again and again, and always the same.
  expect(world.proposals.length).toBeGreaterThan(3);
  expect(new Set(world.proposals.map((proposal) => JSON.stringify(proposal))).size).toBe(1);
  expect(highWatermarks(world, [1])).toEqual([0]);
  world.proposalFailure = null;
  expect(await world.run(waiting)).toEqual(isOk(0));
});

test("a replica of a fenced broker, or of an earlier registration, does not come into the ISR", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic);
  await world.run(world.fence(2));
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  await world.clock.advance(5_000);
  expect(ends(world)).toEqual([1, 1, 1]);
  expect(world.partitionOf(topic).isr).toEqual([1, 3]);
  expect(world.proposals).toEqual([]);
});

test("batches that were broken on their way are dropped and fetched again", async () => {
  const world = await ReplicationWorld.open({ settings: { "replica.fetch.backoff.ms": "100" } });
  await world.createTopic(topic);
  let broken = 0;
  world.onResponse = (response, follower) => {
    const records = response.responses[0]?.partitions[0]?.records ?? null;
    if (follower !== 2 || records === null || records.length === 0 || broken === 3) return response;
    broken += 1;
    records[records.length - 1]! ^= 1;
    return response;
  };
  expect(await world.run(produceTo(world.broker(1), topic, ["a"]))).toEqual(isOk(0));
  expect([broken, world.broker(2).replicas.counts(1)?.badBatches]).toEqual([3, 3]);
  await world.clock.advance(100);
  await expectSame(world);
});

test("one partition that cannot be followed does not keep the others", async () => {
  const world = await ReplicationWorld.open({ settings: { "replica.lag.time.max.ms": "3000" } });
  await world.createTopic(topic, { partitions: 2 });
  world.onResponse = (response, follower) => {
    const partitions = response.responses.flatMap((each) => each.partitions);
    for (const { partitionIndex, records } of partitions)
      if (follower === 2 && partitionIndex === 0 && records !== null && records.length > 0)
        records[records.length - 1]! ^= 1;
    return response;
  };
  const stuck = produceTo(world.broker(1), topic, ["a"]);
  expect(await world.run(produceTo(world.broker(1), topic, ["b"], { index: 1 }), 200)).toEqual(isOk(0));
  expect(await world.run(stuck)).toEqual(isOk(0));
  expect([world.partitionOf(topic, 0).isr, world.partitionOf(topic, 1).isr]).toEqual([
    [1, 3],
    [1, 2, 3],
  ]);
});

test("partitions of several leaders, of several replicas, and their changes", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic("two", { replicas: [2, 3] });
  await world.createTopic(topic);
  expect([1, 2, 3].map((id) => world.broker(id).replicas.leaders.toSorted((a, b) => a - b))).toEqual([[], [1], [1, 2]]);
  const { partitions } = world.broker(1);
  const failureOf = (name: string): unknown => {
    const found = partitions.leading(name, 0);
    return found.ok ? null : found.failure;
  };
  expect(failureOf("two")).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  expect(failureOf("nobody's")).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  expect(failureOf(topic)).toBeNull();
  const waiting = produceTo(world.broker(1), topic, ["a"]);
  await world.run(world.change(topic, { leader: 2 }));
  expect((await world.run(waiting)).errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  expect(failureOf(topic)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  expect((await world.run(produceTo(world.broker(1), topic, ["b"]))).errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  expect((await world.run(produceTo(world.broker(2), topic, ["c"]))).errorCode).toBe(ErrorCode.NONE);
  expect([1, 2, 3].map((id) => world.broker(id).replicas.leaders.toSorted((a, b) => a - b))).toEqual([[2], [], [2]]);
  await world.clock.advance(100);
  await expectSame(world);
});

test("a follower that has a fetch parked comes with a new partition at once", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic("before", { partitions: 3 });
  for (const leader of [1, 2, 3]) await world.run(world.change("before", { leader }, leader - 1));
  await world.clock.advance(3_000);
  for (const name of ["new", topic]) {
    await world.run(world.createTopic(name));
    const beganMs = world.clock.monotonicMs();
    expect(await world.run(produceTo(world.broker(1), name, ["a"]))).toEqual(isOk(0));
    expect(world.clock.monotonicMs() - beganMs).toBeLessThan(40);
    await world.clock.advance(1_234);
  }
  // The follower hears of it a little later than its new leader.
  const hearAgain = world.broker(3).deafen();
  await world.run(world.change(topic, { leader: 2 }));
  const waiting = produceTo(world.broker(2), topic, ["b"]);
  await world.clock.advance(300);
  hearAgain();
  const beganMs = world.clock.monotonicMs();
  expect(await world.run(waiting)).toEqual(isOk(1));
  expect(world.clock.monotonicMs() - beganMs).toBeLessThan(40);
});
