import { expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import { batchOf, createTopic, running, temporaryDirectory } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";

async function send(client: RawClient, records: Buffer) {
  const answer = await client.request(produce, 9, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 5_000,
    topicData: [{ name: "orders", partitionData: [{ index: 0, records }] }],
  });
  return answer.responses[0]!.partitionResponses[0]!;
}

async function offsetAt(client: RawClient, timestamp: number): Promise<number> {
  const answer = await client.request(listOffsets, 5, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, timestamp }] }],
  });
  return answer.topics[0]!.partitions[0]!.offset;
}

test("topics, settings, records, log start, commits and producer state survive a restart", async () => {
  await using directory = await temporaryDirectory();
  const sequenced = (baseSequence: number) =>
    batchOf(["a", "b", "c"], { producerId: 7, producerEpoch: 0, baseSequence });
  const first = await running(directory.path);
  {
    await using client = await first.client();
    await createTopic(client, "orders", 1, { "retention.ms": "123456789" });
    for (const [sequence, offset] of [
      [0, 0],
      [3, 3],
      [6, 6],
    ] as const) {
      expect(await send(client, sequenced(sequence))).toMatchObject({ errorCode: 0, baseOffset: offset });
    }
    expect(await send(client, sequenced(3))).toMatchObject({ errorCode: 0, baseOffset: 3 });
    expect(await send(client, sequenced(12))).toMatchObject({ errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER });
    const deleted = await client.request(deleteRecords, 2, {
      topics: [{ name: "orders", partitions: [{ partitionIndex: 0, offset: 4 }] }],
      timeoutMs: 1000,
    });
    expect(deleted.topics[0]?.partitions[0]).toMatchObject({ errorCode: 0, lowWatermark: 4 });
    await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["billing"] });
    const commit = await client.request(offsetCommit, 8, {
      groupId: "billing",
      generationIdOrMemberEpoch: -1,
      memberId: "",
      topics: [{ name: "orders", partitions: [{ partitionIndex: 0, committedOffset: 5, committedMetadata: "m" }] }],
    });
    expect(commit.topics[0]?.partitions[0]?.errorCode).toBe(0);
  }
  await first.broker.stop();

  await using second = await running(directory.path);
  await using client = await second.client();
  expect([await offsetAt(client, -2), await offsetAt(client, -1)]).toEqual([4, 9]);
  expect(await send(client, sequenced(6))).toMatchObject({ errorCode: 0, baseOffset: 6 });
  expect(await send(client, sequenced(9))).toMatchObject({ errorCode: 0, baseOffset: 9 });
  const configs = await client.request(describeConfigs, 4, {
    resources: [{ resourceType: 2, resourceName: "orders", configurationKeys: ["retention.ms"] }],
  });
  expect(configs.results[0]?.configs[0]).toMatchObject({ name: "retention.ms", value: "123456789", configSource: 1 });
  const fetched = await client.request(offsetFetch, 7, {
    groupId: "billing",
    topics: [{ name: "orders", partitionIndexes: [0] }],
    requireStable: true,
  });
  expect(fetched.topics[0]?.partitions[0]).toMatchObject({ committedOffset: 5, metadata: "m" });
});

test("no producer id is ever given twice", async () => {
  await using directory = await temporaryDirectory();
  const given: number[] = [];
  for (let start = 0; start < 3; start++) {
    await using it = await running(directory.path);
    await using client = await it.client();
    for (let count = 0; count < 3; count++) {
      const answer = await client.request(initProducerId, 4, {
        transactionalId: null,
        transactionTimeoutMs: 1000,
        producerId: -1,
        producerEpoch: -1,
      });
      expect(answer).toMatchObject({ errorCode: 0, producerEpoch: 0 });
      given.push(answer.producerId);
    }
  }
  expect(new Set(given).size).toBe(given.length);
});
