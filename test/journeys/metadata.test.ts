import { describe, expect, test } from "vitest";
import { brokerHandlers } from "@millrace/broker/apis/registry";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import type { MetadataRequestInput } from "kafka-protocol-ts/messages/03-metadata";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import type { CreateTopicsRequestCreatableTopicInput } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import { alterConfigs } from "kafka-protocol-ts/messages/33-alter-configs";
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import { listConfigResources } from "kafka-protocol-ts/messages/74-list-config-resources";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { createTopic, describeTopics, fetchFrom, isKafka, offsetAt, produceTo } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import { encodeRequest } from "./raw-client.ts";
import type { RawClient } from "./raw-client.ts";
import { served } from "./served.ts";

/* Handshake, topics and settings over the wire: T1 to T5, T11 to T18, T61, T62. Proven against Apache Kafka, see served.ts. */

const versionsOf = ({ versions: [first, last] }: { readonly versions: readonly [number, number] }): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

const zeroId = "AAAAAAAAAAAAAAAAAAAAAA";
const unknownId = "AQIDBAUGBwgJCgsMDQ4PEA";
const notAsked = -2_147_483_648;

describe("the handshake", () => {
  test("T1: at an unknown version is answered in version 0, with the one range that helps", async () => {
    await using it = await served();
    await using client = await it.client();
    const request = encodeRequest(apiVersions, 4, 7, { clientSoftwareName: "x", clientSoftwareVersion: "1" });
    for (const version of [5, 99]) {
      request.writeInt16BE(version, 6);
      const frame = await client.exchange(request);
      expect(frame.toString("hex")).toBe("00000007" + "0023" + "00000001" + "0012" + "0000" + "0004");
    }
  });

  test("T2, T4, T5: tells what is served, Produce from 0; features from 0 on are for v4", async () => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(apiVersions)) {
      const answer = await client.request(
        apiVersions,
        version,
        version >= 3 ? { clientSoftwareName: "journey", clientSoftwareVersion: "1.0" } : {},
      );
      expect(answer).toMatchObject({ errorCode: ErrorCode.NONE, throttleTimeMs: 0, zkMigrationReady: false });
      const ranges = new Map(
        answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]),
      );
      expect(ranges.get(0)?.[0]).toBe(0);
      expect(ranges.get(22)).toEqual([0, 5]);
      expect(ranges.get(18)).toEqual([0, 4]);
      if (!isKafka) expect([...ranges.keys()].toSorted()).toEqual(brokerHandlers.map(({ api }) => api.key).toSorted());
      if (version < 3) continue;
      const names = answer.supportedFeatures.map(({ name }) => name);
      expect(names).toContain("metadata.version");
      const fromZero = answer.supportedFeatures.filter(({ minVersion }) => minVersion === 0);
      if (version < 4) expect(fromZero).toEqual([]);
      expect(answer.finalizedFeatures.find(({ name }) => name === "metadata.version")?.maxVersionLevel).toBe(30);
    }
  });

  test.for([
    ["", "1"],
    ["client", ""],
    ["no spaces", "1"],
    ["client", "-1"],
    ["client-", "1"],
  ] as const)(
    "T3: of software that calls itself %j %j is refused",
    async ([clientSoftwareName, clientSoftwareVersion]) => {
      await using it = await served();
      await using client = await it.client();
      const answer = await client.request(apiVersions, 3, { clientSoftwareName, clientSoftwareVersion });
      expect(answer.errorCode).toBe(ErrorCode.INVALID_REQUEST);
    },
  );
});

async function topicsOf(client: RawClient, version: number, request: MetadataRequestInput) {
  return (await client.request(metadata, version, request)).topics;
}

describe("Metadata", () => {
  test("answers in every version", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders", 2);
    for (const version of versionsOf(metadata)) {
      const answer = await client.request(metadata, version, { topics: [{ name: "orders" }] });
      expect(answer.brokers).toMatchObject([{ nodeId: 1, host: "127.0.0.1", rack: null }]);
      if (version >= 1) expect(answer.controllerId).toBe(1);
      if (version >= 2) expect(answer.clusterId).toMatch(/^[\w-]{22}$/);
      expect(answer.errorCode).toBe(ErrorCode.NONE);
      const [topic] = answer.topics;
      expect(topic).toMatchObject({
        errorCode: 0,
        name: "orders",
        isInternal: false,
        topicAuthorizedOperations: notAsked,
      });
      expect(topic?.topicId).toBe(version >= 10 ? topicId : zeroId);
      const partitions = topic!.partitions.toSorted((a, b) => a.partitionIndex - b.partitionIndex);
      expect(partitions).toMatchObject(
        [0, 1].map((partitionIndex) => ({
          ...{ errorCode: 0, partitionIndex, leaderId: 1, replicaNodes: [1], isrNodes: [1], offlineReplicas: [] },
          leaderEpoch: version >= 7 ? 0 : -1,
        })),
      );
    }
  });

  test("T11: nothing asked is everything at v0, nothing later; null is everything", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await createTopic(client, "returns");
    const names = async (version: number, topics: MetadataRequestInput["topics"]) =>
      (await topicsOf(client, version, { topics }))
        .flatMap(({ name, isInternal }) => (isInternal ? [] : [name]))
        .toSorted();
    expect(await names(0, [])).toEqual(["orders", "returns"]);
    for (const version of versionsOf(metadata).slice(1)) {
      expect(await names(version, [])).toEqual([]);
      expect(await names(version, null)).toEqual(["orders", "returns"]);
    }
  });

  test("T12: by id from v12 on; before, the request is refused", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    for (const version of [10, 11]) {
      const refused = await client.request(metadata, version, { topics: [{ topicId, name: "orders" }] });
      expect(refused).toMatchObject({ brokers: [], clusterId: null, controllerId: -1 });
      expect(refused.topics).toMatchObject([{ errorCode: ErrorCode.INVALID_REQUEST }]);
    }
    for (const version of [12, 13]) {
      const found = await topicsOf(client, version, {
        topics: [
          { topicId, name: null },
          { topicId: unknownId, name: null },
        ],
      });
      expect(found.map(({ errorCode, name, topicId: id }) => [errorCode, name, id])).toEqual(
        expect.arrayContaining([
          [ErrorCode.NONE, "orders", topicId],
          [ErrorCode.UNKNOWN_TOPIC_ID, null, unknownId],
        ]),
      );
    }
  });

  test("T13: unknown and illegal names are told apart; what may be done is told when it is asked for", async () => {
    // Before v4 a client has no switch of its own.
    await using it = await served({ "auto.create.topics.enable": "false" });
    await using client = await it.client();
    await createTopic(client, "orders");
    const names = ["nowhere", "no spaces", "..", "", "x".repeat(250)];
    for (const version of versionsOf(metadata)) {
      const found = await topicsOf(client, version, {
        topics: names.map((name) => ({ name })),
        ...(version >= 4 ? { allowAutoTopicCreation: false } : {}),
      });
      expect(Object.fromEntries(found.map(({ name, errorCode }) => [name, errorCode]))).toEqual({
        nowhere: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "no spaces": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "..": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "": ErrorCode.INVALID_TOPIC_EXCEPTION,
        ["x".repeat(250)]: ErrorCode.INVALID_TOPIC_EXCEPTION,
      });
      if (version < 8) continue;
      const asked = await client.request(metadata, version, {
        topics: [{ name: "orders" }],
        includeTopicAuthorizedOperations: true,
        ...(version <= 10 ? { includeClusterAuthorizedOperations: true } : {}),
      });
      expect(asked.topics[0]?.topicAuthorizedOperations).toBe(3576);
      expect(asked.clusterAuthorizedOperations).toBe(version <= 10 ? 8096 : notAsked);
    }
  });

  test("creates a topic that is missing, where both want it", async () => {
    await using it = await served({ "num.partitions": "3" });
    await using client = await it.client();
    const names = [{ name: "made" }];
    await topicsOf(client, 12, { topics: names, allowAutoTopicCreation: false });
    expect((await topicsOf(client, 12, { topics: names, allowAutoTopicCreation: false }))[0]?.errorCode).toBe(3);
    await topicsOf(client, 12, { topics: names, allowAutoTopicCreation: true });
    await expect.poll(async () => (await topicsOf(client, 12, { topics: names }))[0]?.partitions).toHaveLength(3);
  });

  test("creates none where the broker does not want it", async () => {
    await using it = await served({ "auto.create.topics.enable": "false" });
    await using client = await it.client();
    const [topic] = await topicsOf(client, 12, { topics: [{ name: "made" }], allowAutoTopicCreation: true });
    expect(topic?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });
});

async function deleteByName(client: RawClient, name: string): Promise<void> {
  const found = (await describeTopics(client, [name]))[0];
  if (found?.errorCode !== ErrorCode.NONE) return;
  await client.request(deleteTopics, 6, { topics: [{ name: null, topicId: found.topicId }], timeoutMs: 10_000 });
  await expect.poll(async () => (await describeTopics(client, [name]))[0]?.errorCode).toBe(3);
}

interface Wish extends Partial<CreateTopicsRequestCreatableTopicInput> {
  readonly config?: Readonly<Record<string, string | null>>;
}

function wish(name: string, { config = {}, ...rest }: Wish = {}): CreateTopicsRequestCreatableTopicInput {
  const configs = Object.entries(config).map(([key, value]) => ({ name: key, value }));
  return { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs, ...rest };
}

async function create(
  client: RawClient,
  topics: readonly CreateTopicsRequestCreatableTopicInput[],
  version = 7,
  validateOnly = false,
) {
  return (await client.request(createTopics, version, { topics, timeoutMs: 10_000, validateOnly })).topics;
}

describe("CreateTopics", () => {
  test("answers in every version what that version can say", async () => {
    await using it = await served({ "num.partitions": "4" });
    await using client = await it.client();
    for (const version of versionsOf(createTopics)) {
      const name = `orders-${version}`;
      const defaults = version >= 4 ? { numPartitions: -1, replicationFactor: -1 } : { numPartitions: 4 };
      const [told] = await create(client, [wish(name, { ...defaults, config: { "retention.ms": "1000" } })], version);
      expect(told).toMatchObject({ name, errorCode: ErrorCode.NONE, errorMessage: null });
      if (version >= 5) {
        expect(told).toMatchObject({ numPartitions: 4, replicationFactor: 1, topicConfigErrorCode: 0 });
        const configs = new Map(told!.configs!.map((config) => [config.name, config]));
        expect(configs.get("retention.ms")).toMatchObject({ value: "1000", configSource: 1, readOnly: false });
        expect(configs.get("cleanup.policy")).toMatchObject({ value: "delete", configSource: 5 });
      }
      expect(told!.topicId === zeroId).toBe(version < 7);
      await expect.poll(async () => (await describeTopics(client, [name]))[0]?.partitions.length).toBe(4);
    }
  });

  test.for<[what: string, wishes: CreateTopicsRequestCreatableTopicInput[], code: number, message: RegExp]>([
    ["one that exists", [wish("there")], ErrorCode.TOPIC_ALREADY_EXISTS, /Topic 'there' already exists/],
    ["a bad name", [wish("no spaces")], ErrorCode.INVALID_TOPIC_EXCEPTION, /no spaces/],
    ["an empty name", [wish("")], ErrorCode.INVALID_TOPIC_EXCEPTION, /./],
    ["a long name", [wish("x".repeat(250))], ErrorCode.INVALID_TOPIC_EXCEPTION, /249/],
    ["no partitions", [wish("new", { numPartitions: 0 })], ErrorCode.INVALID_PARTITIONS, /./],
    ["fewer", [wish("new", { numPartitions: -2 })], ErrorCode.INVALID_PARTITIONS, /./],
    ["replicas that are not there", [wish("new", { replicationFactor: 3 })], ErrorCode.INVALID_REPLICATION_FACTOR, /./],
    ["none", [wish("new", { replicationFactor: 0 })], ErrorCode.INVALID_REPLICATION_FACTOR, /./],
    [
      "an unknown setting",
      [wish("new", { config: { "no.such": "1" } })],
      ErrorCode.INVALID_CONFIG,
      /^Unknown topic config name: no\.such$/,
    ],
    ["a bad value", [wish("new", { config: { "retention.ms": "soon" } })], ErrorCode.INVALID_CONFIG, /retention\.ms/],
    [
      "a value out of range",
      [wish("new", { config: { "segment.bytes": "1" } })],
      ErrorCode.INVALID_CONFIG,
      /segment\.bytes/,
    ],
    ["no value", [wish("new", { config: { "retention.ms": null } })], ErrorCode.INVALID_CONFIG, /retention\.ms/],
    [
      "partitions and assignments",
      [wish("new", { numPartitions: 1, assignments: [{ partitionIndex: 0, brokerIds: [1] }] })],
      ErrorCode.INVALID_REQUEST,
      /./,
    ],
    [
      "an assignment to nobody",
      [wish("new", { numPartitions: -1, replicationFactor: -1, assignments: [{ partitionIndex: 0, brokerIds: [9] }] })],
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      /./,
    ],
    ["a name that collides", [wish("a.b"), wish("a_b")], ErrorCode.INVALID_TOPIC_EXCEPTION, /collide/],
  ])("T14, T15: refuses %s", async ([, wishes, code, message]) => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "there");
    let refused;
    for (const each of wishes) [refused] = await create(client, [each]);
    expect(refused).toMatchObject({ errorCode: code, topicId: zeroId, numPartitions: -1, replicationFactor: -1 });
    expect(refused?.errorMessage).toMatch(message);
    // What is refused is not half there.
    if (wishes.some(({ name }) => name === "new"))
      expect((await describeTopics(client, ["new"]))[0]?.errorCode).toBe(3);
  });

  test("T14: a name that is sent twice is refused, the others are made", async () => {
    await using it = await served();
    await using client = await it.client();
    const told = await create(client, [wish("twice"), wish("once"), wish("twice")]);
    expect(told.map(({ name, errorCode }) => [name, errorCode]).toSorted()).toEqual([
      ["once", ErrorCode.NONE],
      ["twice", ErrorCode.INVALID_REQUEST],
    ]);
    const [twice] = await describeTopics(client, ["twice"]);
    expect(twice?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("T14: validateOnly tells everything, an id too, and makes nothing", async () => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(createTopics)) {
      const [told] = await create(client, [wish("dry", { numPartitions: 5 })], version, true);
      expect(told).toMatchObject({ errorCode: ErrorCode.NONE });
      if (version >= 5) expect(told).toMatchObject({ numPartitions: 5, replicationFactor: 1 });
      if (version >= 7) expect(told?.topicId).not.toBe(zeroId);
      expect((await describeTopics(client, ["dry"]))[0]?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    }
  });
});

describe("T16: DeleteTopics", () => {
  test("by name in every version, by id from v6 on; what is not there is told so", async () => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(deleteTopics)) {
      const topicId = await createTopic(client, "orders");
      const remove = async (name: string) =>
        version >= 6
          ? client.request(deleteTopics, version, { topics: [{ name, topicId: zeroId }], timeoutMs: 10_000 })
          : client.request(deleteTopics, version, { topicNames: [name], timeoutMs: 10_000 });
      const gone = await remove("orders");
      expect(gone.responses).toMatchObject([{ name: "orders", errorCode: ErrorCode.NONE }]);
      if (version >= 6) expect(gone.responses[0]?.topicId).toBe(topicId);
      await expect.poll(async () => (await describeTopics(client, ["orders"]))[0]?.errorCode).toBe(3);
      const unknown = await remove("nowhere");
      expect(unknown.responses).toMatchObject([{ name: "nowhere", errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION }]);
    }
    const byId = async (topicId: string) =>
      (await client.request(deleteTopics, 6, { topics: [{ name: null, topicId }], timeoutMs: 10_000 })).responses[0];
    expect(await byId(unknownId)).toMatchObject({
      name: null,
      topicId: unknownId,
      errorCode: ErrorCode.UNKNOWN_TOPIC_ID,
    });
    const topicId = await createTopic(client, "orders");
    expect(await byId(topicId)).toMatchObject({ name: "orders", topicId, errorCode: ErrorCode.NONE });
  });

  test("T17: made anew, a topic has another id and nothing of the old one", async () => {
    await using it = await served();
    await using client = await it.client();
    const before = await createTopic(client, "orders");
    await produceTo(client, batchOf(["old"]));
    await deleteByName(client, "orders");
    const after = await createTopic(client, "orders");
    expect(after).not.toBe(before);
    expect((await offsetAt(client, { topic: "orders", partition: 0 }, -1)).offset).toBe(0);
    const [old] = await topicsOf(client, 12, { topics: [{ topicId: before, name: null }] });
    expect(old).toMatchObject({ errorCode: ErrorCode.UNKNOWN_TOPIC_ID, name: null });
    expect(await produceTo(client, batchOf(["new"]))).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 0 });
    expect(await fetchFrom(client, { offset: 0 })).toMatchObject({ errorCode: ErrorCode.NONE, highWatermark: 1 });
  });

  test("is refused where the broker does not allow it", async () => {
    await using it = await served({ "delete.topic.enable": "false" });
    await using client = await it.client();
    await createTopic(client, "orders");
    for (const version of versionsOf(deleteTopics)) {
      const { responses } = await client.request(deleteTopics, version, {
        ...(version >= 6 ? { topics: [{ name: "orders", topicId: zeroId }] } : { topicNames: ["orders"] }),
        timeoutMs: 10_000,
      });
      const code = version >= 3 ? ErrorCode.TOPIC_DELETION_DISABLED : ErrorCode.INVALID_REQUEST;
      expect([version, responses[0]?.errorCode]).toEqual([version, code]);
    }
  });
});

test("T16: CreatePartitions adds partitions in every version, and takes none away", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders", 2);
  let count = 2;
  for (const version of versionsOf(createPartitions)) {
    const grow = async (
      name: string,
      to: number,
      validateOnly = false,
      assignments: { brokerIds: number[] }[] | null = null,
    ) => {
      const { results } = await client.request(createPartitions, version, {
        topics: [{ name, count: to, assignments }],
        timeoutMs: 10_000,
        validateOnly,
      });
      return results[0]!.errorCode;
    };
    expect(await grow("orders", count)).toBe(ErrorCode.INVALID_PARTITIONS);
    expect(await grow("orders", count - 1)).toBe(ErrorCode.INVALID_PARTITIONS);
    expect(await grow("orders", 0)).toBe(ErrorCode.INVALID_PARTITIONS);
    expect(await grow("nowhere", 5)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await grow("orders", count + 1, true)).toBe(ErrorCode.NONE);
    expect(await grow("orders", count + 1, false, [{ brokerIds: [9] }])).toBe(ErrorCode.INVALID_REPLICA_ASSIGNMENT);
    expect((await describeTopics(client, ["orders"]))[0]?.partitions).toHaveLength(count);
    count += 1;
    expect(await grow("orders", count)).toBe(ErrorCode.NONE);
    await expect
      .poll(async () => (await produceTo(client, batchOf(["x"]), { partition: count - 1 })).errorCode)
      .toBe(0);
  }
});

describe("T18: DescribeCluster", () => {
  test("tells the brokers in every version, and no controllers on this listener", async () => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(describeCluster)) {
      const answer = await client.request(describeCluster, version, { includeClusterAuthorizedOperations: true });
      expect(answer).toMatchObject({
        errorCode: 0,
        errorMessage: null,
        controllerId: 1,
        clusterAuthorizedOperations: 8096,
      });
      expect(answer.brokers).toMatchObject([{ brokerId: 1, host: "127.0.0.1", rack: null, isFenced: false }]);
      if (version < 1) continue;
      const wrong = await client.request(describeCluster, version, {
        includeClusterAuthorizedOperations: false,
        endpointType: 2,
      });
      expect(wrong).toMatchObject({ errorCode: ErrorCode.MISMATCHED_ENDPOINT_TYPE, brokers: [] });
      const unknown = await client.request(describeCluster, version, {
        includeClusterAuthorizedOperations: false,
        endpointType: 7,
      });
      expect(unknown.errorCode).toBe(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE);
    }
  });
});

test("DescribeTopicPartitions goes from page to page", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "a", 2);
  await createTopic(client, "b", 3);
  const seen: string[] = [];
  let cursor: { topicName: string; partitionIndex: number } | null = null;
  for (let page = 0; page < 10; page++) {
    const { topics, nextCursor }: Awaited<ReturnType<typeof ask>> = await ask(cursor);
    for (const { name, partitions } of topics) seen.push(...partitions.map((each) => `${name}-${each.partitionIndex}`));
    cursor = nextCursor;
    if (cursor === null) break;
  }
  expect(seen).toEqual(["a-0", "a-1", "b-0", "b-1", "b-2"]);
  async function ask(from: typeof cursor) {
    return client.request(describeTopicPartitions, 0, {
      topics: [{ name: "b" }, { name: "a" }],
      responsePartitionLimit: 2,
      cursor: from,
    });
  }
});

const resource = { topic: 2, broker: 4, logger: 8, clientMetrics: 16, group: 32 } as const;

describe("T61: DescribeConfigs", () => {
  const ask = async (
    client: RawClient,
    version: number,
    resourceType: number,
    resourceName: string,
    keys: string[] | null = null,
  ) => {
    const { results } = await client.request(describeConfigs, version, {
      resources: [{ resourceType, resourceName, configurationKeys: keys }],
    });
    return results[0]!;
  };

  test("tells values and where they come from, in every version", async () => {
    await using it = await served({ "log.retention.ms": "777777", "num.partitions": "3" });
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "max.message.bytes": "100000" });
    for (const version of versionsOf(describeConfigs)) {
      const topic = await ask(client, version, resource.topic, "orders");
      expect(topic).toMatchObject({ errorCode: 0, resourceType: resource.topic, resourceName: "orders" });
      const configs = new Map(topic.configs.map((config) => [config.name, config]));
      expect(configs.get("max.message.bytes")).toMatchObject({ value: "100000", configSource: 1, readOnly: false });
      expect(configs.get("retention.ms")).toMatchObject({ value: "777777", configSource: 4 });
      expect(configs.get("cleanup.policy")).toMatchObject({ value: "delete", configSource: 5 });
      const some = await ask(client, version, resource.topic, "orders", ["retention.ms", "no.such.key"]);
      expect(some.configs.map(({ name }) => name)).toEqual(["retention.ms"]);
      const broker = await ask(client, version, resource.broker, "1", ["num.partitions", "node.id"]);
      expect(broker.configs.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toMatchObject([
        { name: "node.id", value: "1", readOnly: true },
        { name: "num.partitions", value: "3", configSource: 4, readOnly: true },
      ]);
    }
  });

  test.for<[what: string, type: number, name: string, code: number]>([
    ["an unknown topic", resource.topic, "nowhere", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    ["a topic with an illegal name", resource.topic, "no spaces", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["another broker", resource.broker, "2", ErrorCode.INVALID_REQUEST],
    ["a broker without a number", resource.broker, "one", ErrorCode.INVALID_REQUEST],
    ["an unknown type", 99, "x", ErrorCode.INVALID_REQUEST],
    ["all brokers", resource.broker, "", ErrorCode.NONE],
    ["an unknown group", resource.group, "nobody", ErrorCode.NONE],
    ["an unknown subscription", resource.clientMetrics, "nothing", ErrorCode.NONE],
  ])("of %s", async ([, type, name, code]) => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(describeConfigs)) {
      const { errorCode, configs } = await ask(client, version, type, name);
      expect([version, errorCode]).toEqual([version, code]);
      // Only what was set for all brokers together: Apache Kafka sets one value by itself.
      if (type === resource.broker) for (const { configSource } of configs) expect(configSource).toBe(3);
      if (type === resource.group) expect(configs.map((each) => each.name)).toContain("consumer.session.timeout.ms");
      if (type === resource.clientMetrics) expect(configs.map((each) => each.name)).toContain("interval.ms");
    }
  });
});

describe("T62: IncrementalAlterConfigs", () => {
  const operation = { set: 0, delete: 1, append: 2, subtract: 3 } as const;
  type Change = readonly [name: string, operation: number, value: string | null];

  const alter = async (
    client: RawClient,
    version: number,
    type: number,
    name: string,
    changes: readonly Change[],
    validateOnly = false,
  ) => {
    const { responses } = await client.request(incrementalAlterConfigs, version, {
      resources: [
        {
          resourceType: type,
          resourceName: name,
          configs: changes.map(([key, configOperation, value]) => ({ name: key, configOperation, value })),
        },
      ],
      validateOnly,
    });
    return responses[0]!;
  };
  const valueOf = async (client: RawClient, key: string) => {
    const { results } = await client.request(describeConfigs, 4, {
      resources: [{ resourceType: resource.topic, resourceName: "orders", configurationKeys: [key] }],
    });
    return results[0]?.configs[0]?.value;
  };

  test("sets, adds to, takes from and takes back, in every version, and a restart keeps it", async () => {
    await using it = await served();
    {
      await using client = await it.client();
      await createTopic(client, "orders");
      for (const version of versionsOf(incrementalAlterConfigs)) {
        const change = async (...changes: Change[]) => {
          const { errorCode } = await alter(client, version, resource.topic, "orders", changes);
          expect(errorCode).toBe(ErrorCode.NONE);
        };
        await change(["retention.ms", operation.set, "5000"], ["cleanup.policy", operation.append, "compact"]);
        await expect.poll(async () => valueOf(client, "retention.ms")).toBe("5000");
        await expect.poll(async () => valueOf(client, "cleanup.policy")).toBe("delete,compact");
        await change(["cleanup.policy", operation.subtract, "delete"]);
        await expect.poll(async () => valueOf(client, "cleanup.policy")).toBe("compact");
        await change(["retention.ms", operation.delete, null], ["cleanup.policy", operation.delete, null]);
        await expect.poll(async () => valueOf(client, "retention.ms")).toBe("604800000");
        const dry = await alter(client, version, resource.topic, "orders", [["retention.ms", 0, "1"]], true);
        expect(dry.errorCode).toBe(ErrorCode.NONE);
        await change(["max.message.bytes", operation.set, `${100_000 + version}`]);
        await expect.poll(async () => valueOf(client, "max.message.bytes")).toBe(`${100_000 + version}`);
        expect(await valueOf(client, "retention.ms")).toBe("604800000");
      }
    }
    await it.restart();
    await using client = await it.client();
    await expect.poll(async () => valueOf(client, "max.message.bytes")).toBe("100001");
  });

  test.for<[what: string, type: number, name: string, changes: Change[], code: number, message: RegExp]>([
    ["an unknown setting", resource.topic, "orders", [["no.such", 0, "1"]], ErrorCode.INVALID_CONFIG, /no\.such/],
    [
      "a bad number",
      resource.topic,
      "orders",
      [["retention.ms", 0, "x"]],
      ErrorCode.INVALID_CONFIG,
      /Not a number of type LONG/,
    ],
    ["adding to what is no list", resource.topic, "orders", [["retention.ms", 2, "1"]], ErrorCode.INVALID_CONFIG, /./],
    [
      "taking from what is no list",
      resource.topic,
      "orders",
      [["retention.ms", 3, "1"]],
      ErrorCode.INVALID_CONFIG,
      /./,
    ],
    [
      "an unknown topic",
      resource.topic,
      "nowhere",
      [["retention.ms", 0, "1"]],
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      /./,
    ],
    [
      "one setting twice",
      resource.topic,
      "orders",
      [
        ["retention.ms", 0, "1"],
        ["retention.ms", 0, "2"],
      ],
      ErrorCode.INVALID_REQUEST,
      /./,
    ],
    [
      "a setting that is fixed at start",
      resource.broker,
      "1",
      [["broker.rack", 0, "a"]],
      ErrorCode.INVALID_REQUEST,
      /Cannot update these configs dynamically/,
    ],
    ["another broker's", resource.broker, "7", [["log.retention.ms", 0, "1"]], ErrorCode.INVALID_REQUEST, /./],
    [
      "a subscription's interval below its least",
      resource.clientMetrics,
      "s",
      [["interval.ms", 0, "99"]],
      ErrorCode.INVALID_REQUEST,
      /./,
    ],
    [
      "a subscription's interval above its most",
      resource.clientMetrics,
      "s",
      [["interval.ms", 0, "3600001"]],
      ErrorCode.INVALID_REQUEST,
      /./,
    ],
    [
      "a group's timeout below the broker's least",
      resource.group,
      "g",
      [["consumer.session.timeout.ms", 0, "1"]],
      ErrorCode.INVALID_CONFIG,
      /./,
    ],
  ])("refuses %s", async ([, type, name, changes, code, message]) => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    for (const version of versionsOf(incrementalAlterConfigs)) {
      const { errorCode, errorMessage } = await alter(client, version, type, name, changes);
      expect([version, errorCode, errorMessage]).toEqual([version, code, expect.stringMatching(message)]);
    }
  });

  test("takes an empty cleanup.policy, and limits that hold at once", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const set = async (key: string, value: string) => alter(client, 1, resource.topic, "orders", [[key, 0, value]]);
    expect((await set("cleanup.policy", "")).errorCode).toBe(ErrorCode.NONE);
    await expect.poll(async () => valueOf(client, "cleanup.policy")).toBe("");
    expect((await set("max.message.bytes", "200")).errorCode).toBe(ErrorCode.NONE);
    const large = async () => (await produceTo(client, batchOf(["x".repeat(300)]))).errorCode;
    await expect.poll(large).toBe(ErrorCode.MESSAGE_TOO_LARGE);
    expect((await set("max.message.bytes", "1000")).errorCode).toBe(ErrorCode.NONE);
    await expect.poll(large).toBe(ErrorCode.NONE);
  });

  test("AlterConfigs puts what it names in the place of everything, in every version", async () => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(alterConfigs)) {
      const name = `orders-${version}`;
      await createTopic(client, name, 1, { "retention.ms": "1000", "segment.bytes": "2000000" });
      const { responses } = await client.request(alterConfigs, version, {
        resources: [
          { resourceType: resource.topic, resourceName: name, configs: [{ name: "retention.ms", value: "2000" }] },
        ],
        validateOnly: false,
      });
      expect(responses).toMatchObject([
        { errorCode: ErrorCode.NONE, resourceType: resource.topic, resourceName: name },
      ]);
      const values = async () => {
        const { results } = await client.request(describeConfigs, 4, {
          resources: [
            { resourceType: resource.topic, resourceName: name, configurationKeys: ["retention.ms", "segment.bytes"] },
          ],
        });
        return Object.fromEntries(results[0]!.configs.map((each) => [each.name, each.value]));
      };
      await expect.poll(values).toEqual({ "retention.ms": "2000", "segment.bytes": "1073741824" });
    }
  });

  test("what has settings is listed", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    await alter(client, 1, resource.clientMetrics, "watch", [["interval.ms", 0, "5000"]]);
    const subscriptions = async () => {
      const { configResources } = await client.request(listConfigResources, 0, {});
      return configResources.map(({ resourceName }) => resourceName);
    };
    await expect.poll(subscriptions).toContain("watch");
    const { configResources } = await client.request(listConfigResources, 1, { resourceTypes: [resource.topic] });
    expect(configResources).toContainEqual({ resourceName: "orders", resourceType: resource.topic });
  });
});
