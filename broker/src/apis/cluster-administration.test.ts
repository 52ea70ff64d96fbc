import { describe, expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { electLeaders } from "kafka-protocol-ts/messages/43-elect-leaders";
import { alterPartitionReassignments } from "kafka-protocol-ts/messages/45-alter-partition-reassignments";
import { listPartitionReassignments } from "kafka-protocol-ts/messages/46-list-partition-reassignments";
import { updateFeatures } from "kafka-protocol-ts/messages/57-update-features";
import { unregisterBroker } from "kafka-protocol-ts/messages/64-unregister-broker";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { call, servicesOf } from "../../test/handler-call.ts";
import { metadataService, registration, wish } from "../../test/metadata-world.ts";
import type { Controller } from "../controller/controller.ts";
import { fenceBroker, unfenceBroker } from "../metadata/controller/brokers.ts";
import { registerBroker } from "../metadata/controller/registration.ts";
import type { MetadataService } from "../metadata/metadata.ts";
import type { Services } from "../services.ts";
import { metadataHandler } from "./03-metadata.ts";
import { electLeadersHandler } from "./43-elect-leaders.ts";
import { alterPartitionReassignmentsHandler } from "./45-alter-partition-reassignments.ts";
import { listPartitionReassignmentsHandler } from "./46-list-partition-reassignments.ts";
import { updateFeaturesHandler } from "./57-update-features.ts";
import { unregisterBrokerHandler } from "./64-unregister-broker.ts";
import { describeTopicPartitionsHandler } from "./75-describe-topic-partitions.ts";
import { forwarded } from "./forwarded.ts";

const apis = {
  elect: { api: electLeaders, handler: forwarded(electLeadersHandler) },
  move: { api: alterPartitionReassignments, handler: forwarded(alterPartitionReassignmentsHandler) },
  moves: { api: listPartitionReassignments, handler: forwarded(listPartitionReassignmentsHandler) },
  features: { api: updateFeatures, handler: forwarded(updateFeaturesHandler) },
  unregister: { api: unregisterBroker, handler: forwarded(unregisterBrokerHandler) },
  describe: { api: describeTopicPartitions, handler: describeTopicPartitionsHandler },
  metadata: { api: metadata, handler: metadataHandler },
};
const elr = "eligible.leader.replicas.version";
const { NONE } = ErrorCode;

interface World {
  readonly service: MetadataService;
  readonly services: Services;
}

/** Brokers 1, 2 and 3, and a topic "a" of two partitions that 1 and 2 are to lead. */
async function world(settings: Readonly<Record<string, string>> = {}): Promise<World> {
  const service = await metadataService({ settings });
  for (const id of [2, 3]) {
    await service.decide((context) => registerBroker(context, registration(id), { isAlive: () => false }));
    await service.decide((context) => unfenceBroker(context, id));
  }
  const assignments = [
    { partitionIndex: 0, brokerIds: [1, 2] },
    { partitionIndex: 1, brokerIds: [2, 1] },
  ];
  await service.createTopics([wish("a", { assignments })]);
  const controller = { decide: service.decide.bind(service) } as unknown as Controller;
  return { service, services: { ...servicesOf(service), controller } };
}

/** It is away for a moment: others lead what it led. */
async function bounce({ service }: World, brokerId: number): Promise<void> {
  await service.decide((context) => fenceBroker(context, brokerId));
  await service.decide((context) => unfenceBroker(context, brokerId));
}

function leaders({ service }: World): (number | undefined)[] {
  return [0, 1].map((index) => service.image.topic("a")?.partitions[index]?.leader);
}

async function elect({ services }: World, version: number, given: object) {
  const answer = await call(services, apis.elect, version, { topicPartitions: null, timeoutMs: 1_000, ...given });
  return {
    errorCode: answer.errorCode,
    results: answer.replicaElectionResults.flatMap(({ topic, partitionResult }) =>
      partitionResult.map(({ partitionId, errorCode }) => [topic, partitionId, errorCode]),
    ),
  };
}

describe("ElectLeaders", () => {
  test("preferred replicas lead again once they are in sync, in every version", async () => {
    for (const version of [0, 1, 2]) {
      const given = await world();
      await given.service.decide((context) => fenceBroker(context, 2));
      expect(leaders(given)).toEqual([1, 1]);
      const away = { topicPartitions: [{ topic: "a", partitions: [1] }] };
      expect(await elect(given, version, away)).toEqual({
        errorCode: NONE,
        results: [["a", 1, ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE]],
      });
      const named = { topicPartitions: [{ topic: "a", partitions: [0, 7] }] };
      expect((await elect(given, version, named)).results).toEqual([
        ["a", 0, ErrorCode.ELECTION_NOT_NEEDED],
        ["a", 7, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      ]);
    }
  });

  test("all of them: only those that were in need are named", async () => {
    const given = await world();
    const move = [{ name: "a", partitions: [{ partitionIndex: 0, replicas: [2, 1] }] }];
    await call(given.services, apis.move, 1, { topics: move });
    expect(leaders(given)).toEqual([1, 2]);
    expect(await elect(given, 2, {})).toEqual({ errorCode: NONE, results: [["a", 0, NONE]] });
    expect(leaders(given)).toEqual([2, 2]);
    expect(await elect(given, 2, {})).toEqual({ errorCode: NONE, results: [] });
  });

  test("unclean elections are for those whom nobody leads; other kinds are none", async () => {
    const given = await world();
    const named = { topicPartitions: [{ topic: "a", partitions: [0] }] };
    expect((await elect(given, 2, { electionType: 1, ...named })).results).toEqual([
      ["a", 0, ErrorCode.ELECTION_NOT_NEEDED],
    ]);
    expect(await elect(given, 2, { electionType: 2, ...named })).toEqual({
      errorCode: ErrorCode.INVALID_REQUEST,
      results: [["a", 0, ErrorCode.INVALID_REQUEST]],
    });
  });
});

describe("a move of replicas", () => {
  async function moves({ services }: World) {
    const { topics, errorCode } = await call(services, apis.moves, 0, {});
    expect(errorCode).toBe(NONE);
    return topics;
  }
  async function move({ services }: World, replicas: readonly number[] | null, given: object = {}) {
    const topics = [{ name: "a", partitions: [{ partitionIndex: 0, replicas }] }];
    const answer = await call(services, apis.move, 1, { topics, ...given });
    return answer.responses[0]?.partitions[0];
  }

  test("begins, is listed, and is taken back", async () => {
    const given = await world();
    expect(await moves(given)).toEqual([]);
    expect(await move(given, [3, 2])).toEqual({ partitionIndex: 0, errorCode: NONE, errorMessage: null });
    expect(await moves(given)).toEqual([
      {
        name: "a",
        partitions: [{ partitionIndex: 0, replicas: [3, 2, 1], addingReplicas: [3], removingReplicas: [1] }],
      },
    ]);
    const ofOther = await call(given.services, apis.moves, 0, { topics: [{ name: "a", partitionIndexes: [1] }] });
    expect(ofOther.topics).toEqual([]);
    expect(await move(given, null)).toMatchObject({ errorCode: NONE });
    expect(await moves(given)).toEqual([]);
    expect(await move(given, null)).toEqual({
      partitionIndex: 0,
      errorCode: ErrorCode.NO_REASSIGNMENT_IN_PROGRESS,
      errorMessage: "No partition reassignment is in progress.",
    });
  });

  test("what cannot be is told for each partition", async () => {
    const given = await world();
    expect(await move(given, [9])).toMatchObject({ errorCode: ErrorCode.INVALID_REPLICA_ASSIGNMENT });
    expect(await move(given, [1, 2, 3], { allowReplicationFactorChange: false })).toMatchObject({
      errorCode: ErrorCode.INVALID_REPLICATION_FACTOR,
    });
    const topics = [
      {
        name: "a",
        partitions: [
          { partitionIndex: 5, replicas: [1] },
          { partitionIndex: 1, replicas: [3, 1] },
        ],
      },
      { name: "none", partitions: [{ partitionIndex: 0, replicas: [1] }] },
    ];
    const { responses } = await call(given.services, apis.move, 0, { topics });
    expect(responses.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode))).toEqual([
      [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, NONE],
      [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
  });
});

describe("UpdateFeatures", () => {
  const update = async ({ services }: World, version: number, given: object, validateOnly = false) => {
    const featureUpdates = [{ feature: elr, maxVersionLevel: 1, allowDowngrade: false, ...given }];
    return call(services, apis.features, version, { featureUpdates, ...(version > 0 ? { validateOnly } : {}) });
  };

  test("levels go up and down, and a question changes nothing", async () => {
    const given = await world();
    const { features } = given.service.image;
    expect((await update(given, 2, { upgradeType: 1 }, true)).errorCode).toBe(NONE);
    expect(features.get(elr)).toBeUndefined();
    const up = await update(given, 1, { upgradeType: 1 });
    expect(up.results).toEqual([{ feature: elr, errorCode: NONE, errorMessage: null }]);
    expect(features.get(elr)).toBe(1);
    expect((await update(given, 2, { maxVersionLevel: 0, upgradeType: 2 })).results).toEqual([]);
    expect(features.get(elr)).toBeUndefined();
  });

  test("version 0 may take a level back where it says so", async () => {
    const given = await world();
    await update(given, 0, {});
    expect(given.service.image.features.get(elr)).toBe(1);
    const refused = await update(given, 0, { maxVersionLevel: 0 });
    const { errorMessage } = refused.results[0] ?? {};
    expect(refused.results).toMatchObject([{ errorCode: ErrorCode.INVALID_UPDATE_VERSION }]);
    expect(errorMessage).toMatch(/^Invalid update version 0 for feature/);
    expect(refused).toMatchObject({
      errorCode: ErrorCode.INVALID_UPDATE_VERSION,
      errorMessage: `The update failed for all features since the following feature had an error: ${errorMessage}`,
    });
    expect((await update(given, 0, { maxVersionLevel: 0, allowDowngrade: true })).errorCode).toBe(NONE);
    expect(given.service.image.features.get(elr)).toBeUndefined();
  });
});

describe("UnregisterBroker", () => {
  test("a broker is forgotten, and its replicas are not", async () => {
    const given = await world();
    const { services, service } = given;
    expect(await call(services, apis.unregister, 0, { brokerId: 2 })).toMatchObject({ errorCode: NONE });
    expect([...service.image.brokers.keys()]).toEqual([1, 3]);
    expect(service.image.topic("a")?.partitions[1]).toMatchObject({ replicas: [2, 1], leader: 1, isr: [1] });
    expect(await call(services, apis.unregister, 0, { brokerId: 2 })).toMatchObject({
      errorCode: ErrorCode.BROKER_ID_NOT_REGISTERED,
      errorMessage: "Broker ID 2 is not currently registered",
    });
  });
});

describe("what readers are told of replicas", () => {
  test("who may lead though it is not in sync", async () => {
    const given = await world({ "min.insync.replicas": "2" });
    await call(given.services, apis.features, 2, {
      featureUpdates: [{ feature: elr, maxVersionLevel: 1, allowDowngrade: false }],
    });
    await given.service.decide((context) => fenceBroker(context, 2));
    const { topics } = await call(given.services, apis.describe, 0, {
      topics: [{ name: "a" }],
      responsePartitionLimit: 2,
    });
    expect(topics[0]?.partitions).toMatchObject([
      { isrNodes: [1], eligibleLeaderReplicas: [2], lastKnownElr: [], offlineReplicas: [2] },
      { isrNodes: [1], eligibleLeaderReplicas: [2], lastKnownElr: [], offlineReplicas: [2], leaderId: 1 },
    ]);
    await bounce(given, 1);
    const cursor = { topicName: "a", partitionIndex: 1 };
    const rest = await call(given.services, apis.describe, 0, {
      ...{ topics: [{ name: "a" }], responsePartitionLimit: 2, cursor },
    });
    expect(rest.topics[0]?.partitions).toMatchObject([{ partitionIndex: 1, leaderId: 1, eligibleLeaderReplicas: [2] }]);
  });

  test("a leader that this listener's clients cannot reach is none for them", async () => {
    const given = await world();
    const leaders = async (listenerName: string) => {
      const answer = await call(given.services, apis.metadata, 13, { topics: [{ name: "a" }] }, { listenerName });
      return answer.topics[0]?.partitions.map(({ errorCode, leaderId }) => [errorCode, leaderId]);
    };
    expect(await leaders("PLAINTEXT")).toEqual([
      [NONE, 1],
      [NONE, 2],
    ]);
    expect(await leaders("INSIDE")).toEqual([
      [ErrorCode.LISTENER_NOT_FOUND, -1],
      [ErrorCode.LISTENER_NOT_FOUND, -1],
    ]);
  });

  test("the controller is the broker that decides, while it lives", async () => {
    const { services, service } = await world();
    const role = { isActive: false, term: 3, leader: "3:AAAAAAAAAAAAAAAAAAAAAQ" };
    const elsewhere = {
      ...services,
      metadata: { image: service.image, configs: service.configs, quorum: { role } } as never,
    };
    expect((await call(elsewhere, apis.metadata, 13, { topics: [] })).controllerId).toBe(3);
    await service.decide((context) => fenceBroker(context, 3));
    expect((await call(elsewhere, apis.metadata, 13, { topics: [] })).controllerId).toBe(1);
    await service.close();
  });
});
