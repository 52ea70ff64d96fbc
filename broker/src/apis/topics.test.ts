import { describe, expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { call, servicesOf } from "../../test/handler-call.ts";
import { metadataService, registration, wish } from "../../test/metadata-world.ts";
import { ReplayedImage } from "../metadata/image.ts";
import { noExtras } from "../metadata/records.ts";
import type { Services } from "../services.ts";
import { metadataHandler } from "./03-metadata.ts";
import { createTopicsHandler } from "./19-create-topics.ts";
import { deleteTopicsHandler } from "./20-delete-topics.ts";
import { createPartitionsHandler } from "./37-create-partitions.ts";
import { describeClusterHandler } from "./60-describe-cluster.ts";
import { describeTopicPartitionsHandler } from "./75-describe-topic-partitions.ts";
import { viewPartition } from "./cluster-view.ts";

const apis = {
  metadata: { api: metadata, handler: metadataHandler },
  createTopics: { api: createTopics, handler: createTopicsHandler },
  deleteTopics: { api: deleteTopics, handler: deleteTopicsHandler },
  createPartitions: { api: createPartitions, handler: createPartitionsHandler },
  describeCluster: { api: describeCluster, handler: describeClusterHandler },
  describeTopicPartitions: { api: describeTopicPartitions, handler: describeTopicPartitionsHandler },
};
const intMin = -(2 ** 31);
const unknownId = "AAECAwQFBgcICQoLDA0ODw";

async function services(settings: Readonly<Record<string, string>> = {}): Promise<Services> {
  const service = await metadataService({ settings });
  await service.createTopics([wish("b", { numPartitions: 3 }), wish("v2"), wish("c.d")]);
  return servicesOf(service);
}

function versions(name: keyof typeof apis): number[] {
  const [first, last] = apis[name].handler.versions;
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

describe("Metadata", () => {
  test("answers in every version", async () => {
    const given = await services();
    for (const version of versions("metadata")) {
      const answer = await call(given, apis.metadata, version, { topics: [{ name: "b" }] });
      expect(answer.brokers, `v${version}`).toEqual([{ nodeId: 1, host: "127.0.0.1", port: 9092, rack: null }]);
      expect(answer.topics).toHaveLength(1);
      expect(answer.topics[0]).toMatchObject({
        errorCode: 0,
        name: "b",
        topicId: version >= 10 ? given.metadata.image.topic("b")?.id : zeroUuid,
        isInternal: false,
        topicAuthorizedOperations: intMin,
      });
      expect(answer.topics[0]?.partitions.map(({ leaderId, isrNodes }) => [leaderId, isrNodes])).toEqual([
        [1, [1]],
        [1, [1]],
        [1, [1]],
      ]);
      if (version >= 2) expect(answer.clusterId).toBe("cluster-1");
      if (version >= 1) expect(answer.controllerId).toBe(1);
    }
  });

  test.for([
    [0, [], 3],
    [1, [], 0],
    [1, null, 3],
    [13, [], 0],
    [13, null, 3],
  ] as const)("T11: at v%i %j asks for %i topics", async ([version, topics, count]) => {
    expect((await call(await services(), apis.metadata, version, { topics })).topics).toHaveLength(count);
  });

  test("T12: by id from v12 on; before, the whole request is refused", async () => {
    const given = await services();
    const id = given.metadata.image.topic("b")!.id;
    for (const version of [10, 11]) {
      const refused = await call(given, apis.metadata, version, {
        topics: [{ topicId: id, name: "b" }, { name: "v2" }],
      });
      expect(refused).toMatchObject({ brokers: [], clusterId: null, controllerId: -1 });
      expect(refused.topics.map(({ errorCode }) => errorCode)).toEqual([42, 42]);
    }
    for (const version of [12, 13]) {
      const answer = await call(given, apis.metadata, version, {
        topics: [
          { topicId: id, name: null },
          { topicId: unknownId, name: null },
        ],
      });
      expect(answer.topics).toMatchObject([
        { errorCode: 0, name: "b", topicId: id },
        { errorCode: ErrorCode.UNKNOWN_TOPIC_ID, name: null, topicId: unknownId, partitions: [] },
      ]);
      const nothing = await call(given, apis.metadata, version, { topics: [{ topicId: zeroUuid, name: null }] });
      expect(nothing).toMatchObject({ brokers: [], topics: [{ errorCode: 42 }] });
    }
  });

  test("T13: unknown and illegal names; a name that is asked for twice is answered once", async () => {
    const answer = await call(await services(), apis.metadata, 9, {
      topics: [{ name: "b" }, { name: "b" }, { name: "" }, { name: "unknown" }],
      allowAutoTopicCreation: false,
    });
    expect(answer.topics.map(({ name, errorCode }) => [name, errorCode])).toEqual([
      ["b", 0],
      ["", ErrorCode.INVALID_TOPIC_EXCEPTION],
      ["unknown", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
  });

  test("rights are told when they are asked for: without an authorizer, all of them", async () => {
    const asked = { includeTopicAuthorizedOperations: true, includeClusterAuthorizedOperations: true };
    const answer = await call(await services(), apis.metadata, 9, { topics: [{ name: "b" }], ...asked });
    expect(answer.topics[0]?.topicAuthorizedOperations).toBe(3576);
    expect(answer.clusterAuthorizedOperations).toBe(8096);
  });

  test("creates what is missing, where broker and client allow it, and has it in the same answer", async () => {
    const given = await services({ "num.partitions": "2" });
    const ask = (version: number, name: string, allowAutoTopicCreation?: boolean) =>
      call(given, apis.metadata, version, {
        topics: [{ name }],
        ...(allowAutoTopicCreation === undefined ? {} : { allowAutoTopicCreation }),
      });
    expect((await ask(3, "before-the-switch")).topics[0]).toMatchObject({ errorCode: 0, partitions: [{}, {}] });
    expect((await ask(12, "no", false)).topics[0]).toMatchObject({ errorCode: 3 });
    expect((await ask(12, "yes", true)).topics[0]).toMatchObject({ errorCode: 0, partitions: [{}, {}] });
    const internal = (await ask(12, "__consumer_offsets", true)).topics[0];
    expect(internal).toMatchObject({ errorCode: 0, isInternal: true });
    expect(internal?.partitions).toHaveLength(50);
    expect((await ask(12, "c_d", true)).topics[0]).toMatchObject({ errorCode: ErrorCode.INVALID_TOPIC_EXCEPTION });
    const [twice, again] = await Promise.all([ask(12, "both", true), ask(12, "both", true)]);
    expect([twice.topics[0]?.errorCode, again.topics[0]?.errorCode]).toEqual([0, 0]);
    const forbidden = await services({ "auto.create.topics.enable": "false" });
    expect(
      (await call(forbidden, apis.metadata, 12, { topics: [{ name: "a" }], allowAutoTopicCreation: true })).topics[0],
    ).toMatchObject({ errorCode: 3 });
  });

  test("brokers are told as the listener reaches them", async () => {
    const service = await metadataService();
    await service.registerBroker(registration(2, "r2"));
    const given = servicesOf(service);
    const ask = (listenerName: string) => call(given, apis.metadata, 12, { topics: [] }, { listenerName });
    expect((await ask("PLAINTEXT")).brokers).toEqual([
      { nodeId: 1, host: "127.0.0.1", port: 9092, rack: null },
      { nodeId: 2, host: "host2", port: 9092, rack: "r2" },
    ]);
    expect((await ask("OTHER")).brokers).toEqual([]);
  });
});

test("a partition whose leader is fenced or unknown says so, and which replicas are offline", () => {
  const image = new ReplayedImage();
  const others = { isInControlledShutdown: false, directoryIds: [], cordonedDirectoryIds: [], features: [] };
  const brokers = [1, 2].map((id) => {
    return { type: "broker", ...registration(id), epoch: 0, isFenced: id === 2, ...others } as const;
  });
  image.replay({ offset: 0, timeMs: 0, records: brokers });
  const partition = { index: 0, replicas: [1, 2, 3], isr: [1], leaderEpoch: 4, partitionEpoch: 0, ...noExtras };
  expect(viewPartition(image, { ...partition, leader: 1 })).toMatchObject({
    errorCode: 0,
    leaderId: 1,
    leaderEpoch: 4,
    offlineReplicas: [2, 3],
  });
  for (const leader of [2, 3, -1]) {
    expect(viewPartition(image, { ...partition, leader })).toMatchObject({
      errorCode: ErrorCode.LEADER_NOT_AVAILABLE,
      leaderId: -1,
    });
  }
});

describe("CreateTopics", () => {
  test("answers in every version what that version can say", async () => {
    const given = await services();
    for (const version of versions("createTopics")) {
      const name = `t${version}`;
      const { topics } = await call(given, apis.createTopics, version, {
        topics: [
          {
            name,
            numPartitions: 2,
            replicationFactor: 1,
            assignments: [],
            configs: [{ name: "retention.ms", value: "5" }],
          },
          { name: "b", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] },
        ],
      });
      expect(topics).toMatchObject([
        { name, errorCode: 0, errorMessage: null },
        { name: "b", errorCode: ErrorCode.TOPIC_ALREADY_EXISTS, errorMessage: "Topic 'b' already exists." },
      ]);
      if (version < 5) continue;
      expect(topics).toMatchObject([
        { numPartitions: 2, replicationFactor: 1 },
        { numPartitions: -1, replicationFactor: -1, configs: [] },
      ]);
      expect(topics[0]?.configs?.find((config) => config.name === "retention.ms")).toEqual({
        name: "retention.ms",
        value: "5",
        readOnly: false,
        configSource: 1,
        isSensitive: false,
      });
      expect(topics[0]?.topicId).toBe(version < 7 ? zeroUuid : given.metadata.image.topic(name)?.id);
    }
  });

  test("T14: -1 takes the defaults; a name that is sent twice is answered once, with 42", async () => {
    const given = await services({ "num.partitions": "4" });
    const topic = { numPartitions: -1, replicationFactor: -1, assignments: [], configs: [] };
    const { topics } = await call(given, apis.createTopics, 7, {
      topics: [
        { name: "d", ...topic },
        { name: "twice", ...topic },
        { name: "twice", ...topic },
      ],
    });
    expect(topics).toMatchObject([
      { name: "d", errorCode: 0, numPartitions: 4, replicationFactor: 1 },
      { name: "twice", errorCode: 42, errorMessage: "Duplicate topic name." },
    ]);
    expect(given.metadata.image.topic("twice")).toBeUndefined();
  });

  test("validateOnly answers with an id and creates nothing", async () => {
    const given = await services();
    const topic = { name: "d", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
    const { topics } = await call(given, apis.createTopics, 7, { topics: [topic], validateOnly: true });
    expect(topics[0]).toMatchObject({ errorCode: 0, numPartitions: 1 });
    expect(topics[0]?.topicId).not.toBe(zeroUuid);
    expect(given.metadata.image.topic("d")).toBeUndefined();
  });

  test("a message never grows beyond what a string can hold", async () => {
    const topic = { numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
    const { topics } = await call(await services(), apis.createTopics, 7, {
      topics: [{ ...topic, name: "x".repeat(32_767) }],
    });
    expect(topics[0]?.errorCode).toBe(17);
    expect(topics[0]?.errorMessage?.length).toBeLessThan(2100);
  });
});

describe("DeleteTopics", () => {
  test("T16: by name in every version, by id from v6", async () => {
    for (const version of versions("deleteTopics")) {
      const given = await services();
      const request =
        version < 6
          ? { topicNames: ["v2", "nope"], timeoutMs: 1000 }
          : {
              topics: [
                { name: "v2", topicId: zeroUuid },
                { name: "nope", topicId: zeroUuid },
              ],
              timeoutMs: 1000,
            };
      const { responses } = await call(given, apis.deleteTopics, version, request);
      expect(responses, `v${version}`).toMatchObject([
        { name: "v2", errorCode: 0 },
        { name: "nope", errorCode: 3 },
      ]);
      expect(given.metadata.image.topic("v2")).toBeUndefined();
    }
    const given = await services();
    const id = given.metadata.image.topic("b")!.id;
    const { responses } = await call(given, apis.deleteTopics, 6, {
      topics: [
        { name: null, topicId: id },
        { name: null, topicId: unknownId },
        { name: null, topicId: zeroUuid },
        { name: "v2", topicId: unknownId },
      ],
      timeoutMs: 1000,
    });
    expect(responses).toMatchObject([
      { name: "b", topicId: id, errorCode: 0 },
      { name: null, topicId: unknownId, errorCode: 100 },
      { name: null, errorCode: 42, errorMessage: "Neither topic name nor id were specified." },
      { name: "v2", errorCode: 42, errorMessage: "You may not specify both topic name and topic id." },
    ]);
  });

  test("a topic that is named twice is answered once and stays", async () => {
    const given = await services();
    const { responses } = await call(given, apis.deleteTopics, 5, { topicNames: ["b", "b"], timeoutMs: 1000 });
    expect(responses).toMatchObject([{ name: "b", errorCode: 42, errorMessage: "Duplicate topic name." }]);
    expect(given.metadata.image.topic("b")).toBeDefined();
  });

  test.for([
    [2, ErrorCode.INVALID_REQUEST],
    [3, ErrorCode.TOPIC_DELETION_DISABLED],
  ] as const)("where it is switched off, v%i answers %i", async ([version, errorCode]) => {
    const given = await services({ "delete.topic.enable": "false" });
    const { responses } = await call(given, apis.deleteTopics, version, { topicNames: ["b"], timeoutMs: 1000 });
    expect(responses).toMatchObject([{ name: "b", errorCode }]);
  });

  test("T17: the same name again is another topic", async () => {
    const given = await services();
    const id = given.metadata.image.topic("b")!.id;
    await call(given, apis.deleteTopics, 6, { topics: [{ name: "b", topicId: zeroUuid }], timeoutMs: 1000 });
    await given.metadata.createTopics([wish("b")]);
    const answer = await call(given, apis.metadata, 12, { topics: [{ topicId: id, name: null }] });
    expect(answer.topics[0]?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_ID);
  });
});

test("CreatePartitions answers in every version", async () => {
  for (const version of versions("createPartitions")) {
    const given = await services();
    const { results } = await call(given, apis.createPartitions, version, {
      topics: [
        { name: "v2", count: 3, assignments: null },
        { name: "b", count: 3, assignments: null },
        { name: "nope", count: 3, assignments: null },
      ],
      timeoutMs: 1000,
      validateOnly: false,
    });
    expect(results, `v${version}`).toEqual([
      { name: "v2", errorCode: 0, errorMessage: null },
      { name: "b", errorCode: 37, errorMessage: "Topic already has 3 partition(s)." },
      { name: "nope", errorCode: 3, errorMessage: null },
    ]);
    expect(given.metadata.image.topic("v2")?.partitions).toHaveLength(3);
  }
});

describe("DescribeCluster", () => {
  test("tells the brokers, in every version", async () => {
    for (const version of versions("describeCluster")) {
      const answer = await call(await services(), apis.describeCluster, version, {
        includeClusterAuthorizedOperations: version > 0,
      });
      expect(answer, `v${version}`).toMatchObject({
        errorCode: 0,
        errorMessage: null,
        clusterId: "cluster-1",
        controllerId: 1,
        brokers: [{ brokerId: 1, host: "127.0.0.1", port: 9092, rack: null, isFenced: false }],
        clusterAuthorizedOperations: version > 0 ? 8096 : intMin,
      });
    }
  });

  test.for([
    [2, 114, "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"],
    [9, 115, "Unsupported endpoint type 9"],
  ] as const)("T18: endpoint type %i is refused with %i", async ([endpointType, errorCode, errorMessage]) => {
    const request = { includeClusterAuthorizedOperations: false, endpointType };
    expect(await call(await services(), apis.describeCluster, 2, request)).toMatchObject({
      errorCode,
      errorMessage,
      clusterId: "",
      controllerId: -1,
      brokers: [],
    });
  });
});

describe("DescribeTopicPartitions", () => {
  type Cursor = { readonly topicName: string; readonly partitionIndex: number };
  const ask = async (given: Services, names: readonly string[], limit: number, cursor: Cursor | null = null) => {
    const answer = await call(given, apis.describeTopicPartitions, 0, {
      topics: names.map((name) => ({ name })),
      responsePartitionLimit: limit,
      cursor,
    });
    const topics = answer.topics.map(({ name, errorCode, partitions }) =>
      `${name} ${errorCode} ${partitions.map(({ partitionIndex }) => partitionIndex).join(",")}`.trim(),
    );
    const { nextCursor } = answer;
    return { topics, next: nextCursor === null ? null : `${nextCursor.topicName} ${nextCursor.partitionIndex}` };
  };

  test.for<[readonly string[], number, Cursor | null, readonly string[], string | null]>([
    [["b", "nope", "x y", "b"], 2000, null, ["b 0 0,1,2", "nope 3", "x y 17"], null],
    [["b", "v2"], 2, null, ["b 0 0,1"], "b 2"],
    [["b", "v2"], 2, { topicName: "b", partitionIndex: 2 }, ["b 0 2", "v2 0 0"], null],
    [["b", "v2"], 3, null, ["b 0 0,1,2"], "v2 0"],
    [["b", "nope", "v2"], 3, null, ["b 0 0,1,2"], "nope 0"],
    [["b", "v2"], 2, { topicName: "b", partitionIndex: 9 }, ["b 0", "v2 0 0"], null],
    [["b", "v2"], 2, { topicName: "b", partitionIndex: -1 }, ["b 42", "v2 42"], null],
    [["b", "v2"], 2, { topicName: "c", partitionIndex: 0 }, ["b 42", "v2 42"], null],
    [[], 2, { topicName: "bb", partitionIndex: 0 }, ["c.d 0 0", "v2 0 0"], null],
    [[], 0, null, ["b 0 0"], "b 1"],
    [["", "zz"], 3, { topicName: "zz", partitionIndex: 0 }, ["zz 3"], null],
  ])("%j, %i at most, from %j", async ([names, limit, cursor, topics, next]) => {
    expect(await ask(await services(), names, limit, cursor)).toEqual({ topics, next });
  });

  test("going from cursor to cursor gives every partition once", async () => {
    const given = await services();
    for (const limit of [1, 2, 3, 4]) {
      const seen: string[] = [];
      let cursor: Cursor | null = null;
      do {
        const answer: Awaited<ReturnType<typeof describeAll>> = await describeAll(given, limit, cursor);
        for (const topic of answer.topics) {
          for (const { partitionIndex } of topic.partitions) seen.push(`${topic.name} ${partitionIndex}`);
        }
        cursor = answer.nextCursor;
      } while (cursor !== null);
      expect(seen, `limit ${limit}`).toEqual(["b 0", "b 1", "b 2", "c.d 0", "v2 0"]);
    }
  });

  function describeAll(given: Services, responsePartitionLimit: number, cursor: Cursor | null) {
    return call(given, apis.describeTopicPartitions, 0, { topics: [], responsePartitionLimit, cursor });
  }

  test("the broker's own limit counts too", async () => {
    const given = await services({ "max.request.partition.size.limit": "2" });
    expect(await ask(given, ["b"], 100)).toEqual({ topics: ["b 0 0,1"], next: "b 2" });
  });

  test("a partition tells its replicas and no eligible leaders", async () => {
    const answer = await describeAll(await services(), 1, null);
    expect(answer.topics[0]).toMatchObject({ topicAuthorizedOperations: 3576, isInternal: false });
    expect(answer.topics[0]?.partitions[0]).toMatchObject({
      leaderId: 1,
      leaderEpoch: 0,
      replicaNodes: [1],
      isrNodes: [1],
      eligibleLeaderReplicas: [],
      lastKnownElr: [],
      offlineReplicas: [],
    });
  });
});
