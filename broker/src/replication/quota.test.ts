import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { ends, expectSame, produceTo, topic } from "../../test/replication-calls.ts";
import { ReplicationWorld } from "../../test/replication-world.ts";
import { isThrottled, ReplicationQuota } from "./quota.ts";

test("what was moved beyond the rate is waited for", async () => {
  const clock = new VirtualClock();
  let rate = 1_000;
  const quota = new ReplicationQuota(clock, () => rate);
  expect(quota.waitMs).toBe(0);
  quota.record(2_500);
  expect(quota.waitMs).toBe(2_500);
  await clock.advance(1_000);
  expect(quota.waitMs).toBe(1_500);
  rate = 3_000;
  expect(quota.waitMs).toBe(500);
  await clock.advance(500);
  expect(quota.waitMs).toBe(0);
});

test("a list names replicas, or all", () => {
  expect([isThrottled(["0:1", "1:2"], 1, 2), isThrottled(["0:1"], 1, 1), isThrottled(["*"], 5, 5)]).toEqual([
    ...[true, false, true],
  ]);
  expect(isThrottled([], 0, 1)).toBe(false);
});

test.each([
  ["leader", "0:1"],
  ["follower", "0:3"],
  ["follower", "*"],
] as const)("who catches up is throttled at the %s (%s), and who keeps up is not", async (role, replicas) => {
  const world = await ReplicationWorld.open({
    settings: {
      [`${role}.replication.throttled.rate`]: "20000",
      "replica.fetch.max.bytes": "10000",
      "replica.lag.time.max.ms": "2000",
    },
  });
  await world.createTopic(topic, { configs: { [`${role}.replication.throttled.replicas`]: replicas } });
  world.cut(1, 3);
  world.cut(2, 3);
  await world.run(produceTo(world.broker(1), topic, ["first"]));
  const value = Buffer.alloc(5_000, 0x78).toString();
  for (let round = 0; round < 40; round++) await world.run(produceTo(world.broker(1), topic, [value]));
  expect(world.partitionOf(topic).isr).toEqual([1, 2]);
  // What went to those in sync counts as well, and is over by then.
  await world.clock.advance(20_000);
  world.heal();
  await world.until(() => ends(world, [3])[0]! > 1);
  const beganMs = world.clock.monotonicMs();
  // Meanwhile the others go on as before.
  const askedMs = world.clock.monotonicMs();
  await world.run(produceTo(world.broker(1), topic, ["in time"]));
  expect(world.clock.monotonicMs() - askedMs).toBeLessThan(30);
  await world.until(() => world.partitionOf(topic).isr.length === 3, 60_000);
  const tookMs = world.clock.monotonicMs() - beganMs;
  expect(tookMs).toBeGreaterThan(7_000);
  expect(tookMs).toBeLessThan(15_000);
  await world.clock.advance(1_000);
  await expectSame(world);
});
