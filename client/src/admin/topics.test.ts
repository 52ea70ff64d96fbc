import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { TopicDescription } from "./topic-descriptions.ts";

async function all(listing: AsyncIterable<TopicDescription>): Promise<[string, number[]][]> {
  const found: [string, number[]][] = [];
  for await (const { name, partitions } of listing) found.push([name, partitions.map(({ index }) => index)]);
  return found;
}

const page = (
  topics: readonly (readonly [name: string, partitions: readonly number[], isInternal?: boolean])[],
  next: readonly [topicName: string, partitionIndex: number] | null,
) => ({
  throttleTimeMs: 0,
  topics: topics.map(([name, partitions, isInternal = false]) => ({
    ...{ errorCode: 0, name, topicId: zeroUuid, isInternal, topicAuthorizedOperations: (1 << 3) | (1 << 8) },
    partitions: partitions.map((partitionIndex) => ({
      ...{ errorCode: 0, partitionIndex, leaderId: 1, leaderEpoch: 4 },
      ...{ replicaNodes: [1, 2], isrNodes: [1], offlineReplicas: [2] },
      ...{ eligibleLeaderReplicas: [2], lastKnownElr: null },
    })),
  })),
  nextCursor: next === null ? null : { topicName: next[0], partitionIndex: next[1] },
});

test("a list comes in pages, and a topic whose partitions lie in two of them comes once", async () => {
  const fake = await FakeCluster.start();
  const cursors: unknown[] = [];
  const pages = [
    page(
      [
        ["a", [0, 1]],
        ["b", [0]],
      ],
      ["b", 1],
    ),
    page([["b", [2, 1]]], ["c", 0]),
    page(
      [
        ["c", [0], true],
        ["d", [0]],
      ],
      null,
    ),
  ];
  fake.brokers[0]!.on(describeTopicPartitions, ({ message: { topics, cursor } }) => {
    expect(topics).toEqual([]);
    return pages[cursors.push(cursor) - 1]!;
  });
  await using cluster = fake.client();
  const { topics } = cluster.admin();
  expect(await all(topics.list())).toEqual([
    ["a", [0, 1]],
    ["b", [0, 1, 2]],
    ["d", [0]],
  ]);
  expect(cursors).toEqual([null, { topicName: "b", partitionIndex: 1 }, { topicName: "c", partitionIndex: 0 }]);
  cursors.length = 0;
  expect(await all(topics.list({ includeInternal: true }))).toHaveLength(4);
});

test("a description says what only it knows; without pages, Metadata says the rest", async () => {
  const fake = await FakeCluster.start();
  fake.create("bills");
  fake.create("__offsets");
  const { topicId } = fake.topics.get("bills")!;
  await using older = fake.client();
  expect(await older.admin().topics.describe("bills")).toMatchObject({
    ...{ topicId, authorizedOperations: null },
    partitions: [{ index: 0, eligibleLeaderReplicas: null }],
  });
  await expect(older.admin().topics.describe("nowhere")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC_OR_PARTITION" });
  expect(await all(older.admin().topics.list())).toEqual([
    ["__offsets", [0]],
    ["bills", [0]],
  ]);
  expect(fake.requests("DescribeTopicPartitions")).toBe(0);
  fake.brokers[0]!.on(describeTopicPartitions, () => page([["bills", [0]]], null));
  await using newer = fake.client();
  const described = await newer.admin().topics.describe("bills");
  expect(described.partitions).toEqual([
    {
      ...{ index: 0, leaderId: 1, leaderEpoch: 4, replicas: [1, 2], inSyncReplicas: [1], offlineReplicas: [2] },
      ...{ eligibleLeaderReplicas: [2], lastKnownEligibleLeaderReplicas: null },
    },
  ]);
  expect([...described.authorizedOperations!]).toEqual(["read", "describe"]);
});

test("a topic by its id: described and deleted where the broker can, refused where it cannot", async () => {
  const fake = await FakeCluster.start();
  const [broker] = fake.brokers;
  const topicId = Buffer.alloc(16, 7).toString("base64url");
  broker!.on(metadata, ({ message }) => ({
    ...{ clusterId: "fake", controllerId: 0, brokers: [{ nodeId: 0, ...broker!.address }] },
    topics: (message.topics ?? []).map((topic) => ({
      ...{ errorCode: ErrorCode.UNKNOWN_TOPIC_ID, name: topic.name, topicId: topic.topicId },
      ...{ isInternal: false, partitions: [] },
    })),
  }));
  broker!.on(deleteTopics, ({ message }) => ({
    throttleTimeMs: 0,
    responses: message.topics.map((topic) => ({ ...topic, errorCode: 0 })),
  }));
  await using cluster = fake.client();
  const { topics } = cluster.admin();
  await expect(topics.describe({ topicId })).rejects.toMatchObject({
    code: "UNKNOWN_TOPIC_ID",
    message: expect.stringContaining(topicId) as string,
  });
  await topics.delete({ topicId });
  broker!.on(metadata, broker!.answerOf(metadata) as never, [9, 11]);
  broker!.on(deleteTopics, () => expect.fail("it was asked"), [1, 5]);
  await using older = fake.client();
  const refused = { code: "UNSUPPORTED_VERSION", broker: broker!.text };
  await expect(older.admin().topics.describe({ topicId })).rejects.toMatchObject(refused);
  await expect(older.admin().topics.delete({ topicId })).rejects.toMatchObject(refused);
});

test("assignments and counts exclude each other; `latest` deletes up to the high watermark", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders", [0, 0]);
  fake.brokers[0]!.on(deleteRecords, ({ message }) => ({
    throttleTimeMs: 0,
    topics: message.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex, offset }) => ({
        ...{ partitionIndex, errorCode: 0, lowWatermark: offset === -1 ? 100 : offset },
      })),
    })),
  }));
  await using cluster = fake.client();
  const { topics } = cluster.admin();
  const both = { name: "new", partitions: 1, assignments: [[0]] };
  await expect(topics.create(both)).rejects.toMatchObject({
    code: "INVALID_CONFIG",
    message: expect.stringMatching(/^topic new: assignments/) as string,
  });
  const deleted = await topics.deleteRecords([
    { topic: "orders", partition: 0, before: "latest" },
    { topic: "orders", partition: 1, before: 5 },
  ]);
  expect(deleted).toMatchObject([{ value: { logStartOffset: 100 } }, { value: { logStartOffset: 5 } }]);
});
