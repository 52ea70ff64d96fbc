import { expect, test } from "vitest";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { batchOf, createTopic, running, temporaryDirectory } from "./fixture.ts";

/*
 * Kafka's order on one connection: a request begins when the one before has been answered; only Produce overlaps with a
 * following Produce. All requests of a test are sent before the first answer is read.
 */

test("Metadata sent behind CreateTopics sees the topic", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  const created = client.request(createTopics, 7, {
    topics: [{ name: "fresh", numPartitions: 3, replicationFactor: 1, assignments: [], configs: [] }],
    timeoutMs: 10_000,
    validateOnly: false,
  });
  const seen = client.request(metadata, 12, { topics: [{ name: "fresh" }], allowAutoTopicCreation: false });
  expect((await created).topics[0]?.errorCode).toBe(0);
  expect((await seen).topics[0]).toMatchObject({ errorCode: 0, name: "fresh" });
  expect((await seen).topics[0]?.partitions).toHaveLength(3);
});

test("OffsetFetch sent behind OffsetCommit sees the commit", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["billing"] });
  const committed = client.request(offsetCommit, 8, {
    groupId: "billing",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, committedOffset: 42, committedMetadata: "here" }] }],
  });
  const fetched = client.request(offsetFetch, 7, {
    groupId: "billing",
    topics: [{ name: "orders", partitionIndexes: [0] }],
    requireStable: true,
  });
  expect((await committed).topics[0]?.partitions[0]?.errorCode).toBe(0);
  expect((await fetched).topics[0]?.partitions[0]).toMatchObject({
    committedOffset: 42,
    metadata: "here",
    errorCode: 0,
  });
});

test("ListOffsets sent behind five Produce requests sees all of them, and answers come in order", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  const produced = Array.from({ length: 5 }, async (_, index) =>
    client.request(produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 10_000,
      topicData: [{ name: "orders", partitionData: [{ index: 0, records: batchOf([`${index}a`, `${index}b`]) }] }],
    }),
  );
  const end = client.request(listOffsets, 5, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
  });
  const offsets = (await Promise.all(produced)).map((answer) => answer.responses[0]?.partitionResponses[0]?.baseOffset);
  expect(offsets).toEqual([0, 2, 4, 6, 8]);
  expect((await end).topics[0]?.partitions[0]?.offset).toBe(10);
  expect(client.answered).toEqual([1, 2, 3, 4, 5, 6, 7]);
});

test("a Produce without acks is followed by the next request's answer and none of its own", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  const { encodeRequest } = await import("./raw-client.ts");
  client.write(
    encodeRequest(produce, 9, 1000, {
      transactionalId: null,
      acks: 0,
      timeoutMs: 10_000,
      topicData: [{ name: "orders", partitionData: [{ index: 0, records: batchOf(["x"]) }] }],
    }),
  );
  const end = await client.request(listOffsets, 5, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, timestamp: -2 }] }],
  });
  expect(end.topics[0]?.partitions[0]?.offset).toBe(0);
  expect(client.answered).toEqual([1, 2]);
});
