import type { Offset } from "@millrace/storage/types";
import { expect, test } from "vitest";
import { produceTo, topic } from "../../test/replication-calls.ts";
import { ReplicationWorld } from "../../test/replication-world.ts";
import type { Partition } from "./partition.ts";

async function three(): Promise<{ readonly world: ReplicationWorld; readonly leader: Partition }> {
  const world = await ReplicationWorld.open();
  await world.createTopic(topic);
  expect((await world.run(produceTo(world.broker(1), topic, ["a", "b", "c"]))).errorCode).toBe(0);
  return { world, leader: world.broker(1).partition(topic) };
}

async function deletedBefore(
  world: ReplicationWorld,
  leader: Partition,
  offset: number,
): Promise<{ answer?: boolean }> {
  await world.run(leader.log.deleteRecordsBefore(offset as Offset));
  const told: { answer?: boolean } = {};
  leader.whenLowWatermark(offset as Offset, (isThere) => (told.answer = isThere));
  return told;
}

test("records are deleted when they are on every replica that is in sync or alive, durably", async () => {
  const { world, leader } = await three();
  const told = await deletedBefore(world, leader, 2);
  expect([told.answer, leader.lowWatermark]).toEqual([undefined, 0]);
  await world.until(() => told.answer === true);
  const starts = [2, 3].map((id) => world.broker(id).partition(topic).log.durableLogStartOffset);
  expect([leader.lowWatermark, ...starts]).toEqual([2, 2, 2]);
});

test("one that is cut off keeps the answer back, until it is neither in sync nor alive", async () => {
  const { world, leader } = await three();
  world.cut(1, 3);
  const told = await deletedBefore(world, leader, 1);
  await world.clock.advance(3_000);
  expect(told.answer).toBeUndefined();
  await world.run(world.fence(3));
  await world.until(() => told.answer === true);
});

test("who waits is told that another leads", async () => {
  const { world, leader } = await three();
  world.cut(1, 3);
  const told = await deletedBefore(world, leader, 1);
  await world.run(world.change(topic, { leader: 2 }));
  expect(told.answer).toBe(false);
});

test("a wait that has ended hears nothing", async () => {
  const { world, leader } = await three();
  await world.run(leader.log.deleteRecordsBefore(1 as Offset));
  const told: boolean[] = [];
  leader.whenLowWatermark(1 as Offset, (isThere) => told.push(isThere))();
  await world.until(() => leader.lowWatermark === 1);
  expect(told).toEqual([]);
});
