import type { TimeMs } from "@millrace/base/units";
import { trustBatch } from "@millrace/storage/validation";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { expect, test } from "vitest";
import { ends, produceTo, topic } from "../../test/replication-calls.ts";
import { ReplicationWorld } from "../../test/replication-world.ts";
import type { Following } from "./following.ts";

const nowMs = 0 as TimeMs;

function batch(baseOffset: number, leaderEpoch = 0, count = 1): Buffer {
  const records = Array.from({ length: count }, (_, index) => ({ value: Buffer.from(`${index}`) }));
  return encodeBatch({ records, baseOffset, leaderEpoch });
}

/** A follower whose leader sends nothing: what it gets comes from the test. */
async function follower(configs: Readonly<Record<string, string>> = {}): Promise<{
  readonly world: ReplicationWorld;
  readonly following: Following;
}> {
  const world = await ReplicationWorld.open({ brokers: 2 });
  world.cut(1, 2);
  await world.createTopic(topic, { replicas: [1, 2], configs });
  await world.run(world.change(topic, { leader: 1 }));
  await world.run(world.change(topic, { leader: 1 }));
  return { world, following: world.broker(2).partition(topic).followingIn(2)! };
}

const failureOf = (following: Following, ...batches: readonly Buffer[]): string | null => {
  const appended = following.append(Buffer.concat(batches), nowMs);
  return appended.ok ? null : (appended.message ?? appended.failure);
};

test("sound batches are taken up to the first that is not", async () => {
  const { world, following } = await follower();
  expect(failureOf(following, batch(0), batch(1, 1, 3), batch(4, 2))).toBeNull();
  expect(ends(world, [2])).toEqual([5]);
  const broken = batch(6, 2);
  broken[broken.length - 1]! ^= 1;
  expect(failureOf(following, batch(5, 2), broken, batch(7, 2))).toBe("the batch at offset 6 has a wrong checksum");
  expect(ends(world, [2])).toEqual([6]);
  // What is here already is passed over, and what is cut off at the end as well.
  expect(failureOf(following, batch(5, 2), batch(6, 2), batch(7, 2).subarray(0, 40))).toBeNull();
  expect(ends(world, [2])).toEqual([7]);
  expect(failureOf(following, batch(7, 2).subarray(0, 40))).toBe("no batch follows offset 7: truncated");
  expect(failureOf(following, batch(5, 2, 4))).toBe("a batch begins at offset 5, and the log ends at 7");
});

test("epochs do not go back, nor past that of the leader", async () => {
  const { world, following } = await follower();
  expect(failureOf(following, batch(0, 1))).toBeNull();
  expect(failureOf(following, batch(1, 0))).toMatch("is of epoch 0, and the one before of 1");
  expect(failureOf(following, batch(1, 3))).toMatch("is of epoch 3, and its leader of 2");
  expect(ends(world, [2])).toEqual([1]);
});

test("a gap between offsets is believed when it comes twice, and at once where the topic is compacted", async () => {
  const { world, following } = await follower();
  expect(failureOf(following, batch(0), batch(8))).toBe("between the offsets 1 and 8 there is nothing");
  expect(failureOf(following, batch(9))).toBe("between the offsets 1 and 9 there is nothing");
  expect(failureOf(following, batch(8))).toBe("between the offsets 1 and 8 there is nothing");
  expect(ends(world, [2])).toEqual([1]);
  expect(failureOf(following, batch(8))).toBeNull();
  expect(ends(world, [2])).toEqual([9]);
  const compacted = await follower({ "cleanup.policy": "compact" });
  expect(failureOf(compacted.following, batch(0), batch(8))).toBeNull();
});

test("nothing of a leader is taken when its epoch is over", async () => {
  const { world, following } = await follower();
  await world.run(world.change(topic, { leader: 1 }));
  expect(following.append(batch(0), nowMs)).toMatchObject({ failure: "ended" });
  expect(await following.truncate(0, 0)).toMatchObject({ failure: "ended" });
  following.learn(5, 0);
  expect([world.broker(2).partition(topic).highWatermark, ends(world, [2])]).toEqual([0, [0]]);
});

test("a replica leads when the cut that is under way has ended", async () => {
  const world = await ReplicationWorld.open({ brokers: 2 });
  await world.createTopic(topic, { replicas: [1, 2] });
  await world.run(produceTo(world.broker(1), topic, ["a"]));
  await world.clock.advance(100);
  world.cut(1, 2);
  await world.run(world.change(topic, { leader: 2 }));
  const release = world.broker(2).disk.faults.holdSyncs();
  for (const value of ["x", "y"]) void produceTo(world.broker(2), topic, [value]);
  await world.run(world.change(topic, { leader: 1 }));
  world.heal();
  // A cut waits for what is on its way to the disk.
  await world.until(() => world.broker(2).replicas.counts(1)?.truncations === 1);
  let isLeading = false;
  const changed = world.change(topic, { leader: 2 }).then(() => (isLeading = true));
  await world.clock.advance(1_000);
  expect([isLeading, world.broker(2).partition(topic).isLeading]).toEqual([false, false]);
  release();
  await world.run(changed);
  const { leadership, log } = world.broker(2).partition(topic);
  expect([leadership?.startOffset, log.logEndOffset, log.endOffsetForEpoch(3)]).toEqual([
    ...[1, 1, { epoch: 3, endOffset: 1 }],
  ]);
  expect((await world.run(produceTo(world.broker(2), topic, ["b"]))).errorCode).toBe(0);
});

test("who has asked to begin a transaction asks anew after another leader", async () => {
  const { world } = await follower();
  const partition = world.broker(1).partition(topic);
  const guard = partition.guards.take(7, 0);
  await world.run(world.change(topic, { leader: 2 }));
  await world.run(world.change(topic, { leader: 1 }));
  const bytes = encodeBatch({
    records: [{ value: Buffer.from("v") }],
    ...{ producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true },
  });
  expect(partition.append(trustBatch(bytes), "client", nowMs, guard)).toMatchObject({
    failure: { kind: "no-transaction" },
  });
});
