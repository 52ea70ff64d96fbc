import { getEventListeners } from "node:events";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { StallingWorld } from "../../test/group-members.ts";
import { describe, expect, test } from "vitest";
import { groupWorld, GroupReader } from "../../test/group-reader.ts";
import type { GroupWorld } from "../../test/group-reader.ts";
import { storeRecords } from "../../test/store.ts";

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from + index}`);

async function until({ fake }: GroupWorld, condition: () => boolean, withinMs = 60_000): Promise<void> {
  await fake.world.clock.runUntil(condition, { withinMs });
}

describe.for(["classic", "consumer"] as const)("protocol %s", (protocol) => {
  test("a member reads from the committed offset, and commits what is done", async () => {
    const world = await groupWorld({ leaders: [0, 0] });
    storeRecords(world.partitions[0]!, numbers(0, 10));
    storeRecords(world.partitions[1]!, numbers(0, 3));
    world.offsets.committed.set("orders-0", 7);
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 1_000 });
    await until(world, () => reader.seen.length === 6);
    expect(reader.seen.toSorted()).toEqual([
      "orders-0@7",
      "orders-0@8",
      "orders-0@9",
      "orders-1@0",
      "orders-1@1",
      "orders-1@2",
    ]);
    await until(world, () => world.offsets.committed.get("orders-0") === 10, 3_000);
    await world.fake.within(1_000, reader.consumer.close());
    expect([...world.offsets.committed]).toEqual([
      ["orders-0", 10],
      ["orders-1", 3],
    ]);
    expect(reader.story).toEqual(["assigned orders-0 orders-1", "revoked orders-0 orders-1"]);
    await reader.cluster.close();
  });

  test("where a broker knows only leaders of before what was committed, the position is not asked of them", async () => {
    const world = await groupWorld();
    const [partition] = world.partitions;
    storeRecords(partition!, numbers(0, 10));
    world.offsets.committed.set("orders-0", 7);
    world.offsets.committedEpochs.set("orders-0", 3);
    const asked: number[] = [];
    world.fake.brokers[0]!.on(offsetForLeaderEpoch, ({ message }) => {
      asked.push(message.topics[0]!.partitions[0]!.currentLeaderEpoch);
      const found = { partition: 0, errorCode: 0, leaderEpoch: 3, endOffset: 10 };
      return { throttleTimeMs: 0, topics: [{ topic: "orders", partitions: [found] }] };
    });
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 1_000 });
    await until(world, () => reader.events.includes("trouble LEADER_NOT_AVAILABLE"));
    await world.fake.world.clock.advance(5_000);
    expect([reader.seen, asked, world.offsets.committed.get("orders-0")]).toEqual([[], [], 7]);
    partition!.leaderEpoch = 4;
    await until(world, () => reader.seen.length === 3, 5_000);
    expect([reader.seen, asked]).toEqual([["orders-0@7", "orders-0@8", "orders-0@9"], [4]]);
    expect(reader.story).toEqual(["assigned orders-0"]);
    await reader.cluster.close();
  });

  test("where nothing is committed the first position is, at once: the end may be another one later", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, read: { from: "latest" } });
    await until(world, () => world.offsets.committed.get("orders-0") === 5, 5_000);
    // Killed before anything was read.
    await reader.cluster.close();
    storeRecords(world.partitions[0]!, numbers(5, 2));
    const next = new GroupReader(world, { protocol, read: { from: "latest" } });
    await until(world, () => next.seen.length === 2, 120_000);
    expect(next.seen).toEqual(["orders-0@5", "orders-0@6"]);
    await next.cluster.close();
  });

  test("an expelled member comes back and goes on from what was committed, whatever `from` says", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, read: { from: "latest" }, commitIntervalMs: 600_000 });
    await until(world, () => world.offsets.committed.has("orders-0"));
    storeRecords(world.partitions[0]!, numbers(5, 3));
    await until(world, () => reader.seen.length === 3);
    const group = protocol === "classic" ? world.coordinator.classic() : world.coordinator.consumer();
    for (const id of group.members.keys()) group.expel(id);
    storeRecords(world.partitions[0]!, numbers(8, 1));
    await until(world, () => reader.events.filter((event) => event.startsWith("assigned")).length === 2);
    await until(world, () => reader.seen.length >= 8);
    // It had not heard of it when it read 8.
    expect(reader.seen).toEqual(["5", "6", "7", "8", "5", "6", "7", "8"].map((offset) => `orders-0@${offset}`));
    expect(reader.story.slice(0, 3)).toEqual(["assigned orders-0", "lost orders-0", "assigned orders-0"]);
    await reader.cluster.close();
  });

  test("a revoke awaits the record in hand, aborts its signal, and commits it when it is done", async () => {
    const world = await groupWorld({ leaders: [0, 0] });
    for (const partition of world.partitions) storeRecords(partition, numbers(0, 10));
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 600_000 });
    const hold = Promise.withResolvers<void>();
    let signal: AbortSignal | null = null;
    reader.handle = async (record) => {
      signal = record.signal;
      await hold.promise;
    };
    await until(world, () => signal !== null);
    const [held = ""] = reader.seen;
    const closing = reader.consumer.close();
    await world.fake.world.clock.advance(10_000);
    expect((signal as AbortSignal | null)?.aborted).toBe(true);
    expect(reader.story.filter((event) => event.startsWith("revoked"))).toEqual([]);
    hold.resolve();
    await world.fake.within(1_000, closing);
    expect(world.offsets.committed.get(held.split("@")[0] ?? "")).toBe(1);
    expect(reader.seen).toEqual([held]);
    await reader.cluster.close();
  });

  test("a batch that is committed while its partition is given up is committed before it is gone", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    const cluster = world.fake.client();
    const consumer = cluster.consumer({ group: "group", protocol, commit: "manual" });
    const batches = consumer.batches("orders", { from: "earliest" });
    const batch = (await world.fake.within(10_000, batches.next())).value!;
    const closing = consumer.close();
    await until(world, () => batch.signal.aborted);
    world.offsets.next("OffsetCommit", { code: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS });
    await world.fake.within(5_000, Promise.all([batch.commit(), closing]));
    expect(world.offsets.commits).toEqual(["orders-0@4"]);
    await cluster.close();
  });

  test("work that does not end holds a revoke up for revokeTimeoutMs and no longer; it is not committed", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 10));
    const reader = new GroupReader(world, { protocol, revokeTimeoutMs: 4_000 });
    reader.handle = async () => new Promise<never>(() => {});
    await until(world, () => reader.seen.length === 1);
    const beganMs = world.fake.world.clock.monotonicMs();
    await world.fake.within(20_000, reader.consumer.close());
    const tookMs = world.fake.world.clock.monotonicMs() - beganMs;
    expect(tookMs).toBeGreaterThanOrEqual(3_900);
    expect(tookMs).toBeLessThan(5_000);
    expect(world.offsets.committed.get("orders-0")).toBe(0);
    await reader.cluster.close();
  });

  test("who says done() and leaves the loop does not wait for anything", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 10));
    const cluster = world.fake.client();
    const consumer = cluster.consumer({ group: "group", protocol });
    const beganMs = world.fake.world.clock.monotonicMs();
    const reading = (async () => {
      for await (const record of consumer.records("orders", { from: "earliest" })) {
        record.done();
        break;
      }
    })();
    await world.fake.within(20_000, reading);
    expect(world.fake.world.clock.monotonicMs() - beganMs).toBeLessThan(3_000);
    expect(world.offsets.committed.get("orders-0")).toBe(1);
    const batches = (async () => {
      for await (const batch of consumer.batches("orders")) {
        await batch.commit();
        break;
      }
    })();
    await world.fake.within(3_000, batches);
    expect(world.offsets.committed.get("orders-0")).toBe(10);
    await cluster.close();
  });

  test("a value that cannot be read ends the reading at once, and is not committed", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, ["1", "x"]);
    const value = {
      serialize: () => Buffer.alloc(0),
      deserialize: (bytes: Buffer | null) => {
        if (bytes?.toString() === "x") throw new Error("no number");
        return bytes;
      },
    };
    const source = { name: "orders", key: value, value } as never;
    const reader = new GroupReader(world, { protocol, source });
    await world.fake.within(5_000, reader.ended);
    expect(reader.failure).toMatchObject({ code: "DESERIALIZATION_FAILED" });
    expect(world.offsets.committed.get("orders-0")).toBe(1);
    await reader.cluster.close();
  });

  test("a seek is not overtaken by the committed offset that is being asked for", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 10));
    world.offsets.committed.set("orders-0", 3);
    world.offsets.next("OffsetFetch", { code: ErrorCode.UNSTABLE_OFFSET_COMMIT });
    const reader = new GroupReader(world, { protocol });
    await until(world, () => reader.consumer.assignment().length === 1 && world.fake.requests("OffsetFetch") === 1);
    await reader.consumer.seek({ topic: "orders", partition: 0 }, { offset: 8 });
    await until(world, () => reader.seen.length === 2);
    await world.fake.world.clock.advance(5_000);
    expect(reader.seen).toEqual(["orders-0@8", "orders-0@9"]);
    await reader.cluster.close();
  });

  test("a seek in a listener of `assigned` decides where reading begins", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 10));
    world.offsets.committed.set("orders-0", 3);
    const reader = new GroupReader(world, { protocol });
    reader.consumer.on("assigned", async (partitions) => {
      for (const partition of partitions) await reader.consumer.seek(partition, "earliest");
    });
    await until(world, () => reader.seen.length === 10);
    expect(reader.seen[0]).toBe("orders-0@0");
    await reader.cluster.close();
  });

  test("nothing of a topic that was deleted is in the way of others' positions and commits", async () => {
    const world = await groupWorld();
    const [other] = world.fake.create("bills");
    storeRecords(world.partitions[0]!, numbers(0, 3));
    storeRecords(other!, numbers(0, 3));
    const reader = new GroupReader(world, { protocol, source: ["orders", "bills"], commitIntervalMs: 1_000 });
    await until(world, () => reader.seen.length === 6);
    world.fake.topics.delete("bills");
    storeRecords(world.partitions[0]!, numbers(3, 3));
    await until(world, () => world.offsets.committed.get("orders-0") === 6, 10_000);
    const beganMs = world.fake.world.clock.monotonicMs();
    await world.fake.within(20_000, reader.consumer.close());
    expect(world.fake.world.clock.monotonicMs() - beganMs).toBeLessThan(3_000);
    await reader.cluster.close();
  });

  test("a partition without a leader, or with unstable offsets, keeps no other from beginning", async () => {
    const world = await groupWorld({ leaders: [0, -1, 0] });
    for (const partition of world.partitions) storeRecords(partition, numbers(0, 2));
    world.offsets.codeFor = ({ key }) => (key === "orders-2" ? ErrorCode.UNSTABLE_OFFSET_COMMIT : 0);
    const reader = new GroupReader(world, { protocol });
    await until(world, () => reader.seen.length === 2, 10_000);
    expect(reader.seen).toEqual(["orders-0@0", "orders-0@1"]);
    world.offsets.codeFor = () => 0;
    await until(world, () => reader.seen.length === 4, 10_000);
    expect(reader.seen.slice(2)).toEqual(["orders-2@0", "orders-2@1"]);
    world.partitions[1]!.leaderId = 0;
    await until(world, () => reader.seen.length === 6, 10_000);
    await reader.cluster.close();
  });

  test("a topic that was made again under its name begins at its beginning, whoever has learned of it first", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 300 });
    await until(world, () => world.offsets.committed.get("orders-0") === 5);
    world.fake.topics.delete("orders");
    const filler = world.fake.create("filler");
    storeRecords(filler[0]!, ["x"]);
    world.offsets.committed.delete("orders-0");
    const again = world.fake.create("orders")[0]!;
    storeRecords(again, numbers(0, 8));
    world.coordinator.consumer().topicsChanged();
    // As a producer of the same cluster would.
    await world.fake.within(1_000, reader.cluster.wire.refresh("orders"));
    await until(world, () => reader.seen.length >= 13, 30_000);
    expect(reader.seen.slice(5)).toEqual(numbers(0, 8).map((offset) => `orders-0@${offset}`));
    await until(world, () => world.offsets.committed.get("orders-0") === 8, 5_000);
    // The position of the topic that is gone was committed for nobody.
    expect(world.offsets.commits.slice(world.offsets.commits.lastIndexOf("orders-0@5") + 1)).not.toContain(
      "orders-0@5",
    );
    await reader.cluster.close();
  });

  test("a commit whose answer is lost is sent again, and what is committed stays", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    world.offsets.committed.set("orders-0", 0);
    const reader = new GroupReader(world, { protocol, commit: "manual" });
    await until(world, () => reader.seen.length === 4);
    world.offsets.next("OffsetCommit", "answer lost", "cut", { code: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS });
    await world.fake.within(10_000, reader.consumer.commit());
    expect(world.offsets.commits).toEqual(["orders-0@4", "orders-0@4"]);
    await reader.cluster.close();
  });

  test("a commit that was given up does not leave later, behind one that is newer", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    world.offsets.committed.set("orders-0", 0);
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 1_000 });
    world.offsets.next("OffsetCommit", { code: ErrorCode.NOT_COORDINATOR });
    await until(world, () => world.fake.requests("OffsetCommit") === 1);
    // The coordinator is looked for, for longer than a commit in the background is tried.
    world.coordinator.next("FindCoordinator", { afterMs: 6_000 });
    await until(world, () => reader.seen.length === 4);
    storeRecords(world.partitions[0]!, numbers(4, 3));
    await until(world, () => world.offsets.committed.get("orders-0") === 7);
    expect(world.offsets.commits).toEqual(["orders-0@7"]);
    await reader.cluster.close();
  });

  test("offsets of a partition that is not ours are refused, never silently left out", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    const reader = new GroupReader(world, { protocol, commit: "manual" });
    await until(world, () => reader.seen.length === 4);
    const offsets = [{ topic: "orders", partition: 7, offset: 1, leaderEpoch: -1 }];
    await expect(reader.consumer.commit(offsets)).rejects.toMatchObject({ code: "NOT_ASSIGNED" });
    await reader.cluster.close();
  });

  test("a batch that was lost is not committed, and says so", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    const cluster = world.fake.client();
    const consumer = cluster.consumer({ group: "group", protocol, commit: "manual" });
    const batches = consumer.batches("orders", { from: "earliest" });
    const first = (await world.fake.within(10_000, batches.next())).value!;
    const group = protocol === "classic" ? world.coordinator.classic() : world.coordinator.consumer();
    for (const id of group.members.keys()) group.expel(id);
    await until(world, () => first.signal.aborted);
    await expect(world.fake.within(40_000, first.commit())).rejects.toMatchObject({ code: "NOT_ASSIGNED" });
    expect(world.offsets.commits).toEqual([]);
    const again = (await world.fake.within(60_000, batches.next())).value!;
    expect(again.records[0]?.offset).toBe(0);
    await world.fake.within(10_000, again.commit());
    expect(world.offsets.commits).toEqual(["orders-0@4"]);
    await cluster.close();
  });

  test("lost in the middle of a revoke, and assigned again: told once, read from the committed offset", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 600_000, revokeTimeoutMs: 20_000 });
    const hold = Promise.withResolvers<void>();
    reader.handle = async () => hold.promise;
    await until(world, () => reader.seen.length === 1);
    const group = protocol === "classic" ? world.coordinator.classic() : world.coordinator.consumer();
    if (protocol === "classic") world.coordinator.classic().rebalance();
    await world.fake.world.clock.advance(4_000);
    for (const id of group.members.keys()) group.expel(id);
    await until(world, () => reader.events.filter((event) => event.startsWith("assigned")).length === 2);
    hold.resolve();
    await until(world, () => reader.seen.length >= 5);
    await world.fake.world.clock.advance(30_000);
    expect(reader.seen).toEqual(["0", "0", "1", "2", "3"].map((offset) => `orders-0@${offset}`));
    expect(reader.story).toEqual(["assigned orders-0", "lost orders-0", "assigned orders-0"]);
    await world.fake.within(20_000, reader.consumer.close());
    expect(world.offsets.committed.get("orders-0")).toBe(4);
    await reader.cluster.close();
  });

  test("a listener of `revoked` may commit, at the end of the reading as well", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    const reader = new GroupReader(world, { protocol, commit: "manual" });
    const positions: number[] = [];
    reader.consumer.on("revoked", async ([partition]) => {
      positions.push(reader.consumer.position(partition!));
      expect(reader.consumer.consumedOffsets().offsets).toMatchObject([{ offset: 4 }]);
      await reader.consumer.commit();
    });
    await until(world, () => reader.seen.length === 4);
    await world.fake.world.clock.advance(100);
    await world.fake.within(10_000, reader.consumer.close());
    expect(positions).toEqual([4]);
    expect(world.offsets.committed.get("orders-0")).toBe(4);
    expect(() => reader.consumer.position({ topic: "orders", partition: 0 })).toThrow("reads nothing at present");
    await reader.cluster.close();
  });

  test("who has committed nothing and loses its partition goes on where it began, not at the end", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, read: { from: "latest" }, commit: "manual" });
    await until(world, () => reader.consumer.assignment().length === 1 && world.fake.requests("Fetch") > 0);
    storeRecords(world.partitions[0]!, numbers(5, 2));
    await until(world, () => reader.seen.length === 2);
    const group = protocol === "classic" ? world.coordinator.classic() : world.coordinator.consumer();
    for (const id of group.members.keys()) group.expel(id);
    storeRecords(world.partitions[0]!, numbers(7, 1));
    await until(world, () => reader.events.filter((event) => event.startsWith("assigned")).length === 2);
    await until(world, () => reader.seen.length >= 6, 20_000);
    expect(reader.seen.slice(-3)).toEqual(["orders-0@5", "orders-0@6", "orders-0@7"]);
    expect(world.offsets.commits).toEqual([]);
    await reader.cluster.close();
  });

  test("the offset of a topic that is gone is not taken for one of the topic that has its name", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 300 });
    await until(world, () => world.offsets.committed.get("orders-0") === 5);
    world.fake.topics.delete("orders");
    storeRecords(world.fake.create("filler")[0]!, ["x"]);
    world.offsets.committed.delete("orders-0");
    storeRecords(world.fake.create("orders")[0]!, numbers(0, 5));
    world.coordinator.consumer().topicsChanged();
    await world.fake.within(1_000, reader.cluster.wire.refresh("orders"));
    await until(world, () => reader.seen.length === 10, 30_000);
    // As many records as the one before it had when it was committed last.
    await until(world, () => world.offsets.committed.get("orders-0") === 5, 5_000);
    await reader.cluster.close();
  });

  test("a cluster keeps nothing of the readings that have ended", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 4));
    const cluster = world.fake.client();
    const listening = (): number => getEventListeners(cluster.wire.closed, "abort").length;
    const before = listening();
    for (let round = 0; round < 3; round++) {
      const records = cluster.consumer({ group: "group", protocol }).records("orders", { from: "earliest" });
      await world.fake.within(60_000, records.next());
      expect(listening()).toBeGreaterThan(before);
      await world.fake.within(10_000, records.return());
    }
    expect(listening()).toBe(before);
    await cluster.close();
  });

  test("the coordinator away: nobody asks it without pauses, and close() settles in bounded time", async () => {
    const world = await groupWorld({ brokers: 2 });
    storeRecords(world.partitions[0]!, numbers(0, 4));
    world.coordinator.nodeId = 1;
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 500 });
    await until(world, () => reader.seen.length === 4);
    await world.fake.brokers[1]!.stop();
    const before = world.fake.requests("FindCoordinator");
    await world.fake.world.clock.advance(30_000);
    expect(world.fake.requests("FindCoordinator") - before).toBeLessThan(200);
    const beganMs = world.fake.world.clock.monotonicMs();
    await world.fake.within(60_000, reader.consumer.close());
    expect(world.fake.world.clock.monotonicMs() - beganMs).toBeLessThan(25_000);
    await reader.cluster.close();
  });
});

test.for(["classic", "consumer"] as const)(
  "what came during a standstill that took a session is not handed out: protocol %s",
  async (protocol) => {
    const world = await groupWorld();
    const [partition] = world.partitions;
    storeRecords(partition!, ["a", "b"]);
    const stalling = new StallingWorld(world.fake.world);
    const options = {
      protocol,
      sessionTimeoutMs: 10_000,
      commitIntervalMs: 500,
      cluster: { world: stalling },
    } as const;
    const sleeper = new GroupReader(world, options);
    await world.fake.world.clock.runUntil(() => world.offsets.committed.get("orders-0") === 2, { withinMs: 10_000 });
    const before = world.fake.requests("Fetch");
    await world.fake.world.clock.runUntil(() => world.fake.requests("Fetch") > before, { withinMs: 10_000 });
    stalling.stall();
    // The broker answers to the Fetch that was under way.
    storeRecords(partition!, ["c", "d"]);
    const other = new GroupReader(world, { ...options, cluster: {} });
    await world.fake.world.clock.runUntil(() => other.seen.length === 2, { withinMs: 60_000 });
    await stalling.goOn("input");
    expect(sleeper.story.at(-1)).toBe("lost orders-0");
    expect(sleeper.seen).toEqual(["orders-0@0", "orders-0@1"]);
    expect(other.seen).toEqual(["orders-0@2", "orders-0@3"]);
    await other.cluster.close();
    await sleeper.cluster.close();
  },
);
