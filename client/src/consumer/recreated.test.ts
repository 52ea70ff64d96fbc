import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { describe, expect, test } from "vitest";
import { groupWorld, GroupReader } from "../../test/group-reader.ts";
import type { GroupWorld } from "../../test/group-reader.ts";
import { storeRecords } from "../../test/store.ts";

/** What a group knows of a topic is nothing that it knows of the next one of that name. */
const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from + index}`);

async function until({ fake }: GroupWorld, condition: () => boolean, withinMs = 60_000): Promise<void> {
  await fake.world.clock.runUntil(condition, { withinMs });
}

/** Deletes the topic, with what is committed of it, and makes it anew. The id of the first one is no other one's. */
function makeAgain(world: GroupWorld, count: number, partitions = 1): void {
  world.fake.topics.delete("orders");
  for (const key of world.offsets.committed.keys()) world.offsets.committed.delete(key);
  const leaders = Array.from({ length: partitions }, () => 0);
  for (const partition of world.fake.create("orders", leaders)) storeRecords(partition, numbers(0, count));
}

/** Answers to ListOffsets come so late from now on. */
function slowListOffsets({ fake }: GroupWorld, delayMs: number): void {
  for (const broker of fake.brokers) {
    const answer = broker.answerOf(listOffsets);
    broker.on(listOffsets, async (asked) => {
      await new Promise<void>((resolve) => void fake.world.clock.schedule(delayMs, resolve));
      return (await answer?.(asked)) as never;
    });
  }
}

const fromTheBeginning = (count: number): string[] => numbers(0, count).map((offset) => `orders-0@${offset}`);

describe.for(["classic", "consumer"] as const)("protocol %s", (protocol) => {
  test("while the beginning of the new topic is looked up, the position in the old one is committed for nobody", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 1_000 });
    // Read, and not committed yet.
    await until(world, () => reader.seen.length === 5);
    slowListOffsets(world, 4_000);
    makeAgain(world, 12);
    await until(world, () => reader.seen.length > 5, 30_000);
    await world.fake.within(20_000, reader.consumer.close());
    expect(reader.seen.slice(5)).toEqual(fromTheBeginning(12));
    expect(world.offsets.commits).not.toContain("orders-0@5");
    await reader.cluster.close();
  });

  test("a partition that is given up while that is looked up leaves nothing of the old topic behind", async () => {
    const world = await groupWorld();
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const reader = new GroupReader(world, { protocol, commitIntervalMs: 600_000 });
    await until(world, () => reader.seen.length === 5);
    slowListOffsets(world, 4_000);
    makeAgain(world, 12);
    const asked = world.fake.requests("ListOffsets");
    await until(world, () => world.fake.requests("ListOffsets") > asked, 5_000);
    await world.fake.within(20_000, reader.consumer.close());
    await reader.cluster.close();
    expect(world.offsets.committed.get("orders-0") ?? 0).toBe(0);
    const next = new GroupReader(world, { protocol });
    await until(world, () => next.seen.length === 12, 30_000);
    expect(next.seen).toEqual(fromTheBeginning(12));
    await next.cluster.close();
  });

  test.for([10, 9])(
    "a commit that was refused for the old topic is none of the new one: OffsetCommit v%d",
    async (version) => {
      const world = await groupWorld({ versions: { versions: { OffsetCommit: [2, version] } } });
      storeRecords(world.partitions[0]!, numbers(0, 5));
      const reader = new GroupReader(world, { protocol, commit: "manual" });
      await until(world, () => reader.seen.length === 5);
      // Nothing is fetched that could tell.
      reader.consumer.pause({ topic: "orders", partition: 0 });
      world.offsets.next("OffsetCommit", { code: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
      const committing = reader.consumer.commit();
      await until(world, () => world.fake.requests("OffsetCommit") === 1);
      makeAgain(world, 12);
      await expect(world.fake.within(60_000, committing)).rejects.toMatchObject({ code: "NOT_ASSIGNED" });
      expect(world.offsets.commits.filter((commit) => commit === "orders-0@5")).toEqual([]);
      await reader.cluster.close();
    },
  );
});

test("a follower that knows the old topic only asks what it is by now before it asks for what is committed", async () => {
  const world = await groupWorld({ leaders: [0, 0] });
  const leader = new GroupReader(world, { protocol: "classic" });
  await until(world, () => leader.story.length === 1);
  const follower = new GroupReader(world, { protocol: "classic" });
  // The leader of the group looks at the topics; who follows knows them from before.
  await world.fake.within(1_000, follower.cluster.wire.topic("orders"));
  makeAgain(world, 3, 2);
  await until(world, () => leader.seen.length + follower.seen.length === 6, 60_000);
  expect([...leader.seen, ...follower.seen].toSorted()).toEqual(
    [0, 1].flatMap((partition) => numbers(0, 3).map((offset) => `orders-${partition}@${offset}`)),
  );
  expect(follower.seen).toHaveLength(3);
  await leader.cluster.close();
  await follower.cluster.close();
});

test("a broker that has not heard of the new topic yet does not have it read twice", async () => {
  // Each is asked in its turn, where there is a connection to it.
  const world = await groupWorld({ brokers: 2, leaders: [0, 1] });
  storeRecords(world.partitions[0]!, numbers(0, 5));
  const reader = new GroupReader(world, { protocol: "classic", cluster: { metadataMaxAgeMs: 500 } });
  await until(world, () => reader.seen.length === 5);
  const old = world.fake.topics.get("orders")?.topicId ?? "";
  const lagging = world.fake.brokers[1]!;
  const answer = lagging.answerOf(metadata);
  lagging.on(metadata, async (asked) => {
    const told = (await answer?.(asked)) as { readonly topics: readonly { readonly name: string }[] };
    const topics = told.topics.map((topic) => (topic.name === "orders" ? { ...topic, topicId: old } : topic));
    return { ...told, topics } as never;
  });
  makeAgain(world, 12);
  await until(world, () => reader.seen.length >= 17, 30_000);
  await world.fake.world.clock.advance(20_000);
  expect(lagging.names.filter((name) => name === "Metadata").length).toBeGreaterThan(5);
  expect(reader.seen.slice(5)).toEqual(fromTheBeginning(12));
  await reader.cluster.close();
});

test.for([
  ["are of a time before topic ids", 12],
  ["know topic ids, and speak as those before them (inter.broker.protocol.version)", 17],
] as const)(
  "a topic that gets an id when its brokers have been upgraded is the one that it was: they %s",
  async ([, versionMax]) => {
    const world = await groupWorld({ versions: { versions: { OffsetCommit: [2, 9], OffsetFetch: [1, 9] } } });
    storeRecords(world.partitions[0]!, numbers(0, 5));
    const [broker] = world.fake.brokers;
    const answer = broker!.answerOf(metadata);
    let hasIds = false;
    broker!.on(metadata, async (asked) => {
      const told = (await answer?.(asked)) as { readonly topics: readonly object[] };
      return {
        ...told,
        topics: told.topics.map((topic) => (hasIds ? topic : { ...topic, topicId: zeroUuid })),
      } as never;
    });
    speakNames(world, versionMax);
    const reader = new GroupReader(world, { protocol: "classic", cluster: { metadataMaxAgeMs: 500 } });
    await until(world, () => reader.seen.length === 5);
    hasIds = true;
    await world.fake.world.clock.advance(3_000);
    hasIds = false;
    await world.fake.world.clock.advance(3_000);
    storeRecords(world.partitions[0]!, numbers(5, 2));
    await until(world, () => reader.seen.length >= 7, 10_000);
    expect(reader.seen).toEqual(fromTheBeginning(7));
    expect(reader.story).toEqual(["assigned orders-0"]);
    await reader.cluster.close();
  },
);

test("who led the old topic is no news about the new one", async () => {
  const world = await groupWorld();
  storeRecords(world.partitions[0]!, numbers(0, 5));
  const reader = new GroupReader(world, { protocol: "classic" });
  await until(world, () => reader.seen.length === 5);
  const [broker] = world.fake.brokers;
  const answer = broker!.answerOf(fetch);
  let isHeld = false;
  broker!.on(fetch, async (asked) => {
    isHeld = true;
    broker!.on(fetch, async (next) => (await answer?.(next)) as never);
    await new Promise<void>((resolve) => void world.fake.world.clock.schedule(2_000, resolve));
    const leader = { leaderId: 0, leaderEpoch: 7 };
    const errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER;
    const refused = {
      partitionIndex: 0,
      errorCode,
      currentLeader: leader,
      highWatermark: -1,
      abortedTransactions: null,
      records: null,
    };
    const { topicId } = asked.message.topics[0]!;
    return { throttleTimeMs: 0, responses: [{ topicId, partitions: [refused] }], errorCode: 0, sessionId: 0 };
  });
  await until(world, () => isHeld, 10_000);
  makeAgain(world, 12);
  await world.fake.within(1_000, reader.cluster.wire.refresh("orders"));
  await until(world, () => reader.seen.length === 17, 10_000);
  expect(reader.cluster.wire.metadata.topic("orders")?.partitions[0]?.leaderEpoch).toBe(0);
  await reader.cluster.close();
});

/** As a cluster whose brokers give topics no ids: whoever asks by an id asks for a topic that is not there. */
function speakNames({ fake }: GroupWorld, versionMax: number): void {
  for (const broker of fake.brokers) {
    const answer = broker.answerOf(fetch);
    broker.on(
      fetch,
      async (asked) => {
        const isByName = asked.version <= 12;
        const topics = asked.message.topics.map((each) =>
          isByName ? { ...each, topicId: fake.topics.get(each.topic)?.topicId ?? zeroUuid } : each,
        );
        const told = (await answer?.({ ...asked, message: { ...asked.message, topics } })) as {
          readonly responses: readonly object[];
        };
        const responses = told.responses.map((each, index) => ({ ...each, topic: topics[index]?.topic ?? "" }));
        return { ...told, responses } as never;
      },
      [4, versionMax],
    );
  }
}
