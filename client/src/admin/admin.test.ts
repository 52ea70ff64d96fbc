import { ErrorCode } from "kafka-protocol-ts/errors";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { explain } from "kafka-protocol-ts/messages/10000-explain";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";

test("a topic is created with what was given, and the broker's defaults for the rest", async () => {
  const fake = await FakeCluster.start();
  const errors = [ErrorCode.NONE, ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS];
  const asked: unknown[] = [];
  fake.brokers[0]!.on(createTopics, ({ message }) => {
    asked.push(message.topics[0]);
    return {
      throttleTimeMs: 0,
      topics: [{ name: message.topics[0]!.name, errorCode: errors.shift()!, errorMessage: null }],
    };
  });
  await using cluster = fake.client();
  const { topics } = cluster.admin();
  await topics.create({ name: "plain" });
  await topics.create({ name: "full", partitions: 6, replicationFactor: 3, config: { "cleanup.policy": "compact" } });
  expect(asked).toMatchObject([
    { name: "plain", numPartitions: -1, replicationFactor: -1, configs: [] },
    { numPartitions: 6, replicationFactor: 3, configs: [{ name: "cleanup.policy", value: "compact" }] },
  ]);
  await expect(topics.create({ name: "plain" })).rejects.toMatchObject({
    code: "TOPIC_ALREADY_EXISTS",
    message: expect.stringMatching(/^topic plain: /) as string,
  });
});

test.for([
  [6, { topics: [{ name: "orders" }] }],
  [5, { topicNames: ["orders"] }],
] as const)("a topic is deleted in version %i and forgotten", async ([version, request]) => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  fake.brokers[0]!.on(
    deleteTopics,
    ({ message }) => {
      expect(message).toMatchObject(request);
      return { throttleTimeMs: 0, responses: [{ name: "orders", errorCode: fake.topics.delete("orders") ? 0 : 3 }] };
    },
    [1, version],
  );
  await using cluster = fake.client();
  await cluster.wire.topic("orders");
  const { topics } = cluster.admin();
  await topics.delete("orders");
  expect(cluster.wire.metadata.topic("orders")).toBeNull();
  await expect(topics.delete("orders")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC_OR_PARTITION" });
});

test("an explanation is what the broker says; an error names the thing; a cluster that is not ours does not explain", async () => {
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  await expect(cluster.admin().explain("group", "readers")).rejects.toMatchObject({
    code: "UNSUPPORTED_VERSION",
    message: "this cluster does not explain: it is not Millrace, or an older one",
  });
  const said = { kind: "group", name: "readers", summary: "Empty", facts: [], reasons: ["Nobody."], events: [] };
  const ours = await FakeCluster.start();
  ours.brokers[0]!.on(explain, ({ message: { kind, name } }) =>
    name === "readers"
      ? { throttleTimeMs: 0, errorCode: 0, explanation: JSON.stringify({ ...said, kind }) }
      : { throttleTimeMs: 0, errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage: "no such", explanation: "" },
  );
  await using millrace = ours.client();
  expect(await millrace.admin().explain("group", "readers")).toEqual(said);
  await expect(millrace.admin().explain("group", "others")).rejects.toMatchObject({
    code: "GROUP_ID_NOT_FOUND",
    message: "group others: no such",
  });
});
