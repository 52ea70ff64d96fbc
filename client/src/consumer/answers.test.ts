import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { describe, expect, test } from "vitest";
import type { KafkaError } from "../errors.ts";
import { groupWorld, GroupReader } from "../../test/group-reader.ts";
import type { GroupWorld } from "../../test/group-reader.ts";
import { storeRecords } from "../../test/store.ts";

/**
 * Every code that a broker may give to a consumer's requests: it is tried again, with pauses, until it passes, or reading ends
 * with an error of that name. Never does it stop in silence, and never does it ask without a pause.
 */
const values = Array.from({ length: 10 }, (_, index) => `${index}`);
/** Requests in ten seconds of one and the same refusal: with pauses from 100 ms to a second there are a dozen or two. */
const requestsMax = 60;
const refusedMs = 10_000;

type Fate = "passes" | "ends";

/** While `isRefusing` the broker gives the code; then it does not. */
async function refused(
  world: GroupWorld,
  {
    api,
    code,
    fate,
    reader,
  }: { readonly api: string; readonly code: number; readonly fate: Fate; readonly reader: GroupReader },
  refusing: { isOn: boolean },
): Promise<void> {
  const { clock } = world.fake.world;
  await clock.runUntil(() => world.fake.requests(api) > 0 || reader.isEnded, { withinMs: 30_000 });
  const before = world.fake.requests(api);
  await clock.advance(refusedMs);
  expect(world.fake.requests(api) - before, "requests in ten seconds").toBeLessThan(requestsMax);
  if (fate === "ends") {
    await clock.runUntil(() => reader.isEnded, { withinMs: 60_000 });
    expect(reader.failure).toMatchObject({ code: errorName(code) });
    return;
  }
  expect(reader.failure).toBeNull();
  refusing.isOn = false;
  await clock.runUntil(() => reader.seen.length >= values.length, { withinMs: 60_000 });
  expect(new Set(reader.seen).size).toBe(values.length);
  expect(reader.failure).toBeNull();
}

async function withRecords(leaders: readonly number[] = [0], brokers = 1): Promise<GroupWorld> {
  const world = await groupWorld({ leaders, brokers });
  storeRecords(world.partitions[0]!, values);
  return world;
}

describe("Fetch", () => {
  test.for<[keyof typeof ErrorCode, Fate]>([
    ["NOT_LEADER_OR_FOLLOWER", "passes"],
    ["UNKNOWN_TOPIC_OR_PARTITION", "passes"],
    ["UNKNOWN_TOPIC_ID", "passes"],
    ["INCONSISTENT_TOPIC_ID", "passes"],
    ["FENCED_LEADER_EPOCH", "passes"],
    ["UNKNOWN_LEADER_EPOCH", "passes"],
    ["LEADER_NOT_AVAILABLE", "passes"],
    ["REPLICA_NOT_AVAILABLE", "passes"],
    ["KAFKA_STORAGE_ERROR", "passes"],
    ["OFFSET_NOT_AVAILABLE", "passes"],
    ["OFFSET_OUT_OF_RANGE", "passes"],
    ["THROTTLING_QUOTA_EXCEEDED", "passes"],
    ["UNKNOWN_SERVER_ERROR", "ends"],
    ["CORRUPT_MESSAGE", "ends"],
    ["UNSUPPORTED_COMPRESSION_TYPE", "ends"],
    ["TOPIC_AUTHORIZATION_FAILED", "ends"],
    ["INVALID_REQUEST", "ends"],
    ["UNSUPPORTED_VERSION", "ends"],
  ])("%s of a partition: %s", async ([name, fate]) => {
    const world = await withRecords();
    const refusing = { isOn: true };
    const whole = world.partitions[0]!.log[0]!;
    world.fake.brokers[0]!.on(fetch, async ({ message }) => {
      const responses = message.topics.map(({ topicId, partitions }) => ({
        topicId,
        partitions: partitions.flatMap(({ partition, fetchOffset }) => {
          const errorCode = refusing.isOn ? ErrorCode[name] : 0;
          if (errorCode === 0 && fetchOffset > 0) return [];
          const records = errorCode === 0 ? whole : null;
          return [{ partitionIndex: partition, errorCode, highWatermark: 10, abortedTransactions: null, records }];
        }),
      }));
      if (responses.every(({ partitions }) => partitions.length === 0))
        await new Promise<void>((resolve) => void world.fake.world.clock.schedule(message.maxWaitMs, resolve));
      return { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses };
    });
    const reader = new GroupReader(world);
    await refused(world, { api: "Fetch", code: ErrorCode[name], fate, reader }, refusing);
    await reader.cluster.close();
  });

  test.for<[keyof typeof ErrorCode, Fate]>([
    ["FETCH_SESSION_ID_NOT_FOUND", "passes"],
    ["INVALID_FETCH_SESSION_EPOCH", "passes"],
    ["FETCH_SESSION_TOPIC_ID_ERROR", "passes"],
    ["UNKNOWN_SERVER_ERROR", "ends"],
    ["CLUSTER_AUTHORIZATION_FAILED", "ends"],
  ])("%s of the whole request: %s", async ([name, fate]) => {
    const world = await withRecords();
    const refusing = { isOn: true };
    const whole = world.partitions[0]!.log[0]!;
    world.fake.brokers[0]!.on(fetch, async ({ message }) => {
      if (refusing.isOn) return { throttleTimeMs: 0, errorCode: ErrorCode[name], sessionId: 0, responses: [] };
      const [topic] = message.topics;
      const isNew = topic?.partitions[0]?.fetchOffset === 0;
      if (!isNew) await new Promise<void>((resolve) => void world.fake.world.clock.schedule(500, resolve));
      const partition = {
        partitionIndex: 0,
        errorCode: 0,
        highWatermark: 10,
        abortedTransactions: null,
        records: whole,
      };
      const responses = isNew && topic !== undefined ? [{ topicId: topic.topicId, partitions: [partition] }] : [];
      return { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses };
    });
    const reader = new GroupReader(world);
    await refused(world, { api: "Fetch", code: ErrorCode[name], fate, reader }, refusing);
    await reader.cluster.close();
  });
});

const offsetCodes: [keyof typeof ErrorCode, Fate][] = [
  ["NOT_LEADER_OR_FOLLOWER", "passes"],
  ["UNKNOWN_TOPIC_OR_PARTITION", "passes"],
  ["FENCED_LEADER_EPOCH", "passes"],
  ["UNKNOWN_LEADER_EPOCH", "passes"],
  ["LEADER_NOT_AVAILABLE", "passes"],
  ["KAFKA_STORAGE_ERROR", "passes"],
  ["OFFSET_NOT_AVAILABLE", "passes"],
  ["TOPIC_AUTHORIZATION_FAILED", "ends"],
  ["UNSUPPORTED_FOR_MESSAGE_FORMAT", "ends"],
  ["UNKNOWN_SERVER_ERROR", "ends"],
  ["INVALID_REQUEST", "ends"],
];

test.for(offsetCodes)("ListOffsets: %s %s", async ([name, fate]) => {
  const world = await withRecords();
  const refusing = { isOn: true };
  world.fake.brokers[0]!.on(listOffsets, ({ message }) => ({
    topics: message.topics.map(({ name: topic, partitions }) => ({
      name: topic,
      partitions: partitions.map(({ partitionIndex }) => ({
        partitionIndex,
        errorCode: refusing.isOn ? ErrorCode[name] : 0,
        timestamp: -1,
        offset: 0,
      })),
    })),
  }));
  const reader = new GroupReader(world);
  await refused(world, { api: "ListOffsets", code: ErrorCode[name], fate, reader }, refusing);
  await reader.cluster.close();
});

test.for(offsetCodes.filter(([name]) => name !== "UNSUPPORTED_FOR_MESSAGE_FORMAT"))(
  "OffsetForLeaderEpoch: %s %s",
  async ([name, fate]) => {
    const world = await withRecords();
    const refusing = { isOn: true };
    world.fake.brokers[0]!.on(offsetForLeaderEpoch, ({ message }) => ({
      throttleTimeMs: 0,
      topics: message.topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition }) => ({
          partition,
          errorCode: refusing.isOn ? ErrorCode[name] : 0,
          leaderEpoch: 0,
          endOffset: 5,
        })),
      })),
    }));
    const reader = new GroupReader(world);
    const { clock } = world.fake.world;
    // Five are there under epoch 0, and what follows comes under epoch 1.
    world.partitions[0]!.log = [];
    world.partitions[0]!.endOffset = 0;
    storeRecords(world.partitions[0]!, values.slice(0, 5));
    for (const batch of batchesIn(world.partitions[0]!.log[0]!)) batch.stamp(0, 0);
    await clock.runUntil(() => reader.seen.length === 5, { withinMs: 30_000 });
    world.partitions[0]!.leaderEpoch = 1;
    await world.fake.within(1_000, reader.cluster.wire.refresh("orders"));
    storeRecords(world.partitions[0]!, values.slice(5));
    await refused(world, { api: "OffsetForLeaderEpoch", code: ErrorCode[name], fate, reader }, refusing);
    await reader.cluster.close();
  },
);

describe.for(["classic", "consumer"] as const)("OffsetFetch, protocol %s", (protocol) => {
  test.for<[keyof typeof ErrorCode, Fate]>([
    ["COORDINATOR_LOAD_IN_PROGRESS", "passes"],
    ["COORDINATOR_NOT_AVAILABLE", "passes"],
    ["NOT_COORDINATOR", "passes"],
    ["UNSTABLE_OFFSET_COMMIT", "passes"],
    ["UNKNOWN_TOPIC_OR_PARTITION", "passes"],
    ["UNKNOWN_TOPIC_ID", "passes"],
    ["REQUEST_TIMED_OUT", "passes"],
    ["GROUP_AUTHORIZATION_FAILED", "ends"],
    ["TOPIC_AUTHORIZATION_FAILED", "ends"],
    ["INVALID_GROUP_ID", "ends"],
    ["UNKNOWN_SERVER_ERROR", "ends"],
    // The membership finds out: a member that is in truth one stays so, and the next attempt passes.
    ["STALE_MEMBER_EPOCH", "passes"],
    ["FENCED_MEMBER_EPOCH", "passes"],
    ["UNKNOWN_MEMBER_ID", "passes"],
    ["ILLEGAL_GENERATION", "passes"],
    ["GROUP_ID_NOT_FOUND", "passes"],
  ])("%s of the group or a partition: %s", async ([name, fate]) => {
    for (const isOfPartition of [true, false]) {
      const world = await withRecords();
      const refusing = { isOn: true };
      if (isOfPartition)
        world.offsets.codeFor = ({ api }) => (refusing.isOn && api === "OffsetFetch" ? ErrorCode[name] : 0);
      else world.offsets.groupCode = (api) => (refusing.isOn && api === "OffsetFetch" ? ErrorCode[name] : 0);
      const reader = new GroupReader(world, { protocol });
      await refused(world, { api: "OffsetFetch", code: ErrorCode[name], fate, reader }, refusing);
      await reader.cluster.close();
    }
  });

  // The membership finds out what it is: a classic member joins anew, and another one hears that it is one.
  const ofMembers = protocol === "classic" ? "is lost" : "passes";
  test.for<[keyof typeof ErrorCode, "passes" | "is told" | "is lost"]>([
    ["COORDINATOR_LOAD_IN_PROGRESS", "passes"],
    ["COORDINATOR_NOT_AVAILABLE", "passes"],
    ["NOT_COORDINATOR", "passes"],
    ["REBALANCE_IN_PROGRESS", "passes"],
    ["STALE_MEMBER_EPOCH", "passes"],
    ["REQUEST_TIMED_OUT", "passes"],
    ["UNKNOWN_TOPIC_OR_PARTITION", "passes"],
    ["UNKNOWN_TOPIC_ID", "passes"],
    ["GROUP_AUTHORIZATION_FAILED", "is told"],
    ["TOPIC_AUTHORIZATION_FAILED", "is told"],
    ["OFFSET_METADATA_TOO_LARGE", "is told"],
    ["INVALID_COMMIT_OFFSET_SIZE", "is told"],
    ["INVALID_GROUP_ID", "is told"],
    ["UNKNOWN_SERVER_ERROR", "is told"],
    ["GROUP_ID_NOT_FOUND", "is told"],
    // Of the consumer protocol alone: a classic member has no such epoch to be judged by.
    ["FENCED_MEMBER_EPOCH", "passes"],
    ["ILLEGAL_GENERATION", ofMembers],
    ["UNKNOWN_MEMBER_ID", ofMembers],
    ["FENCED_INSTANCE_ID", "is told"],
  ])("OffsetCommit: %s %s", async ([name, fate]) => {
    const world = await withRecords();
    world.offsets.committed.set("orders-0", 0);
    const reader = new GroupReader(world, { protocol, commit: "manual" });
    const { clock } = world.fake.world;
    await clock.runUntil(() => reader.seen.length === values.length, { withinMs: 30_000 });
    const refusing = { isOn: true };
    world.offsets.codeFor = ({ api }) => (refusing.isOn && api === "OffsetCommit" ? ErrorCode[name] : 0);
    const commit = reader.consumer.commit();
    const outcome = commit.then(
      () => "done",
      ({ code, cause }: KafkaError) => (code === "NOT_ASSIGNED" ? `lost by ${(cause as KafkaError).code}` : code),
    );
    await clock.advance(5_000);
    expect(world.fake.requests("OffsetCommit")).toBeLessThan(30);
    refusing.isOn = false;
    const settled = await world.fake.within(40_000, outcome);
    expect(settled).toBe({ passes: "done", "is told": name, "is lost": `lost by ${name}` }[fate]);
    expect(world.offsets.committed.get("orders-0")).toBe(fate === "passes" ? 10 : 0);
    await reader.cluster.close();
  });
});
