import { afterEach, describe, expect, test } from "vitest";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import { describeQuorum } from "kafka-protocol-ts/messages/55-describe-quorum";
import { addRaftVoter } from "kafka-protocol-ts/messages/80-add-raft-voter";
import { removeRaftVoter } from "kafka-protocol-ts/messages/81-remove-raft-voter";
import { updateRaftVoter } from "kafka-protocol-ts/messages/82-update-raft-voter";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { call } from "../../test/handler-call.ts";
import { directoryIdOf, QuorumWorld } from "../../test/quorum-world.ts";
import type { QuorumNode } from "../../test/quorum-world.ts";
import { wish } from "../../test/metadata-world.ts";
import { allBrokers, ResourceType } from "../config/resources.ts";
import { apiVersionsHandler } from "./18-api-versions.ts";
import { registerQuorumNode } from "../metadata/controller/quorum-nodes.ts";
import type { ControllerImage } from "../metadata/image.ts";
import { describeQuorumHandler } from "./55-describe-quorum.ts";
import { describeControllersHandler } from "./60-describe-cluster.ts";
import { addRaftVoterHandler } from "./80-add-raft-voter.ts";
import { removeRaftVoterHandler } from "./81-remove-raft-voter.ts";
import { updateRaftVoterHandler } from "./82-update-raft-voter.ts";

const apis = {
  describe: { api: describeQuorum, handler: describeQuorumHandler },
  add: { api: addRaftVoter, handler: addRaftVoterHandler },
  remove: { api: removeRaftVoter, handler: removeRaftVoterHandler },
  update: { api: updateRaftVoter, handler: updateRaftVoterHandler },
  versions: { api: apiVersions, handler: apiVersionsHandler },
  cluster: { api: describeCluster, handler: describeControllersHandler },
};
const asked = [{ topicName: "__cluster_metadata", partitions: [{ partitionIndex: 0 }] }];
const software = { clientSoftwareName: "test", clientSoftwareVersion: "1" };
const onController = { kind: "controller", listenerName: "CONTROLLER" } as const;

let world: QuorumWorld;
afterEach(() => world.close());

function endpointsOf(nodeId: number): { name: string; host: string; port: number }[] {
  return [{ name: "CONTROLLER", host: `host${nodeId}`, port: 9000 + nodeId }];
}

function imageOf(nodeId: number): ControllerImage {
  const endpoints = [{ listener: "CONTROLLER", host: `host${nodeId}`, port: 9000 + nodeId }];
  return { id: nodeId, directoryId: directoryIdOf(nodeId), endpoints };
}

async function add(node: QuorumNode, nodeId: number, given: object = {}) {
  const request = {
    ...{ clusterId: "cluster-1", timeoutMs: 1_000, voterId: nodeId, voterDirectoryId: directoryIdOf(nodeId) },
    ...{ listeners: endpointsOf(nodeId), ackWhenCommitted: true, ...given },
  };
  const { errorCode, errorMessage } = await world.finish(call(node.services, apis.add, 1, request));
  return [errorCode, errorMessage];
}

async function remove(node: QuorumNode, nodeId: number, given: object = {}) {
  const request = { clusterId: null, voterId: nodeId, voterDirectoryId: directoryIdOf(nodeId), ...given };
  const { errorCode, errorMessage } = await world.finish(call(node.services, apis.remove, 0, request));
  return [errorCode, errorMessage];
}

async function quorumOf({ services }: QuorumNode) {
  const { topics, nodes, errorCode } = await call(services, apis.describe, 2, { topics: asked });
  return { errorCode, nodes, partition: topics[0]?.partitions[0] };
}

function others(node: QuorumNode): number[] {
  return [1, 2, 3].filter((nodeId) => nodeId !== node.nodeId);
}

describe("DescribeQuorum", () => {
  test("tells who leads, and how far each is", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { active } = world;
    await world.finish(active.metadata.createTopics([wish("a")]));
    await world.finish(active.metadata.decide((context) => registerQuorumNode(context, imageOf(2))));
    await world.clock.advance(200);
    const { partition, nodes } = await quorumOf(active);
    const { lastIndex, term } = active.metadata.quorum.status;
    expect(partition).toMatchObject({ errorCode: 0, leaderId: active.nodeId, leaderEpoch: term });
    expect(partition?.highWatermark).toBe(lastIndex + 1);
    expect(
      partition?.currentVoters.map((each) => [each.replicaId, each.replicaDirectoryId, each.logEndOffset]),
    ).toEqual([1, 2, 3].map((nodeId) => [nodeId, directoryIdOf(nodeId), lastIndex + 1]));
    const nowMs = world.clock.now();
    for (const { lastFetchTimestamp, lastCaughtUpTimestamp } of partition?.currentVoters ?? []) {
      expect(nowMs - lastFetchTimestamp).toBeLessThan(100);
      expect(nowMs - lastCaughtUpTimestamp).toBeLessThan(100);
    }
    expect(nodes).toEqual([{ nodeId: 2, listeners: endpointsOf(2) }]);
  });

  test("one that is away falls behind, and one that follows is an observer", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { active } = world;
    const away = others(active)[0] ?? 0;
    await world.add(4, { voters: [1, 2, 3] });
    await world.until(() => active.metadata.quorum.status.others.some(({ id }) => id.startsWith("4:")));
    world.cutOff(away);
    const cutOffMs = world.clock.now();
    await world.clock.advance(100);
    await world.finish(active.metadata.decide((context) => registerQuorumNode(context, imageOf(1))));
    await world.clock.advance(1_000);
    const { partition } = await quorumOf(active);
    const behind = partition?.currentVoters.find(({ replicaId }) => replicaId === away);
    expect(behind?.logEndOffset).toBe((partition?.highWatermark ?? 0) - 1);
    expect(behind?.lastFetchTimestamp).toBeLessThanOrEqual(cutOffMs + 1);
    expect(behind?.lastCaughtUpTimestamp).toBeLessThanOrEqual(cutOffMs + 1);
    expect(partition?.observers).toMatchObject([
      { replicaId: 4, replicaDirectoryId: directoryIdOf(4), logEndOffset: partition?.highWatermark },
    ]);
  });

  test("asks for one who leads, and for the one topic there is", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { active } = world;
    const follower = world.node(others(active)[0] ?? 0);
    expect(await quorumOf(follower)).toMatchObject({ errorCode: ErrorCode.NOT_CONTROLLER, partition: undefined });
    const topics = [{ topicName: "a", partitions: [{ partitionIndex: 0 }] }];
    const answer = await call(active.services, apis.describe, 0, { topics });
    expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });
});

describe("a new cluster", () => {
  test("keeps eligible leaders, by one min.insync.replicas, and its voters may change", async () => {
    for (const voters of [[1], [1, 2, 3]]) {
      world = await QuorumWorld.start({ voters });
      const { features } = world.image;
      expect([features.get("kraft.version"), features.get("eligible.leader.replicas.version")]).toEqual([1, 1]);
      expect(world.image.configsOf(ResourceType.BROKER, allBrokers).get("min.insync.replicas")).toBe("1");
      const answer = await call(world.active.services, apis.versions, 4, software);
      expect(answer.finalizedFeatures.map(({ name }) => name)).toContain("kraft.version");
      expect(answer.supportedFeatures).toContainEqual({ name: "kraft.version", minVersion: 0, maxVersion: 1 });
      if (voters.length === 1) await world.close();
    }
  });
});

describe("AddRaftVoter", () => {
  test("one that follows votes, and all know where it is", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    await world.add(4, { voters: [1, 2, 3] });
    expect(await add(world.active, 4)).toEqual([ErrorCode.NONE, null]);
    expect(world.voters).toEqual([1, 2, 3, 4]);
    await world.clock.advance(500);
    for (const nodeId of [1, 2, 3, 4]) {
      expect(world.node(nodeId).metadata.image.controllers.get(4)).toMatchObject(imageOf(4));
    }
    expect(await add(world.active, 4)).toEqual([
      ErrorCode.DUPLICATE_VOTER,
      expect.stringContaining(`The voter id for ReplicaKey(id=4, directoryId=${directoryIdOf(4)}) is already part of`),
    ]);
  });

  test("of one that does not follow nothing remains", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const [code, message] = await add(world.active, 4);
    expect(code).toBe(ErrorCode.REQUEST_TIMED_OUT);
    expect(message).toContain("it does not follow the leader");
    expect(world.voters).toEqual([1, 2, 3]);
    expect(world.image.controllers.has(4)).toBe(false);
  });

  test("of one that fell silent before it had all nothing remains", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { active } = world;
    await world.add(4, { voters: [1, 2, 3] });
    await world.until(() => active.metadata.quorum.status.others.some(({ id }) => id.startsWith("4:")));
    world.cutOff(4);
    const wishes = Array.from({ length: 150 }, (_, index) => index);
    for (const index of wishes) {
      await world.finish(active.metadata.decide((context) => registerQuorumNode(context, imageOf(100 + index))));
    }
    const [code, message] = await add(active, 4, { timeoutMs: 300 });
    expect(code).toBe(ErrorCode.REQUEST_TIMED_OUT);
    expect(message).toMatch(/lagging behind|does not follow/);
    expect(world.voters).toEqual([1, 2, 3]);
    await world.clock.advance(100);
    expect(world.image.controllers.has(4)).toBe(false);
  });

  test.for<[object, number, RegExp]>([
    [{ clusterId: "another" }, ErrorCode.INCONSISTENT_CLUSTER_ID, /cluster-1/],
    [{ voterId: -1 }, ErrorCode.INVALID_REQUEST, /valid voter/],
    [{ voterDirectoryId: zeroUuid }, ErrorCode.INVALID_REQUEST, /valid voter/],
    [{ listeners: [] }, ErrorCode.INVALID_REQUEST, /listener/],
  ])("%j is refused", async ([given, code, message]) => {
    world = await QuorumWorld.start({ voters: [1] });
    await world.add(4, { voters: [1] });
    expect(await add(world.active, 4, given)).toEqual([code, expect.stringMatching(message)]);
    expect(world.voters).toEqual([1]);
  });

  test("needs voters that may change, and the active controller", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const follower = world.node(others(world.active)[0] ?? 0);
    expect((await add(follower, 4))[0]).toBe(ErrorCode.NOT_CONTROLLER);
    expect((await remove(follower, 1))[0]).toBe(ErrorCode.NOT_CONTROLLER);
    await world.finish(
      world.active.metadata.decide(() => ({
        response: null,
        records: [{ type: "feature", name: "kraft.version", level: 0 }],
      })),
    );
    const text = "Cluster doesn't support adding voter because the kraft.version feature is 0";
    expect(await add(world.active, 4)).toEqual([ErrorCode.UNSUPPORTED_VERSION, text]);
    expect((await remove(world.active, 1))[0]).toBe(ErrorCode.UNSUPPORTED_VERSION);
  });
});

describe("RemoveRaftVoter", () => {
  test("a voter becomes one that follows", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { active } = world;
    const gone = others(active)[0] ?? 0;
    await world.finish(active.metadata.decide((context) => registerQuorumNode(context, imageOf(gone))));
    expect(await remove(active, gone)).toEqual([ErrorCode.NONE, null]);
    expect(world.voters).toEqual([1, 2, 3].filter((nodeId) => nodeId !== gone));
    await world.until(() => !world.image.controllers.has(gone));
    expect(await remove(world.active, gone)).toEqual([
      ErrorCode.VOTER_NOT_FOUND,
      expect.stringContaining(`Cannot remove voter ReplicaKey(id=${gone}, directoryId=${directoryIdOf(gone)}) from`),
    ]);
    const { partition } = await quorumOf(world.active);
    expect(partition?.observers.map(({ replicaId }) => replicaId)).toEqual([gone]);
  });

  test("a leader gives the lead away first, and is removed by the next one", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { nodeId } = world.active;
    const beforeMs = world.clock.monotonicMs();
    expect((await remove(world.active, nodeId))[0]).toBe(ErrorCode.NOT_CONTROLLER);
    await world.until(() => world.leader !== null);
    // Nobody had to miss it.
    expect(world.clock.monotonicMs() - beforeMs).toBeLessThan(400);
    expect(world.active.nodeId).not.toBe(nodeId);
    expect(await remove(world.active, nodeId)).toEqual([ErrorCode.NONE, null]);
    expect(world.voters).toEqual([1, 2, 3].filter((voter) => voter !== nodeId));
  });

  test("the last one stays", async () => {
    world = await QuorumWorld.start({ voters: [1] });
    expect(await remove(world.active, 1)).toEqual([
      ErrorCode.INVALID_REQUEST,
      expect.stringContaining("nobody would be left to vote"),
    ]);
    expect((await remove(world.active, 1, { clusterId: "another" }))[0]).toBe(ErrorCode.INCONSISTENT_CLUSTER_ID);
    expect((await remove(world.active, -1))[0]).toBe(ErrorCode.INVALID_REQUEST);
    const another = { voterDirectoryId: directoryIdOf(9) };
    expect((await remove(world.active, 1, another))[0]).toBe(ErrorCode.VOTER_NOT_FOUND);
  });
});

describe("UpdateRaftVoter", () => {
  async function update(given: object = {}): Promise<number> {
    const request = {
      ...{ clusterId: "cluster-1", currentLeaderEpoch: world.active.metadata.quorum.status.term, voterId: 2 },
      ...{ voterDirectoryId: directoryIdOf(2), listeners: endpointsOf(2) },
      kRaftVersionFeature: { minSupportedVersion: 0, maxSupportedVersion: 1 },
      ...given,
    };
    return (await world.finish(call(world.active.services, apis.update, 0, request))).errorCode;
  }

  test("a voter says where it is, and controllers are told to whom asks for them", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    expect(await update()).toBe(ErrorCode.NONE);
    const { offset } = world.image;
    expect(await update()).toBe(ErrorCode.NONE);
    expect(world.image.offset).toBe(offset);
    const { active } = world;
    const answer = await call(active.services, apis.cluster, 2, { endpointType: 2 } as never, onController);
    expect(answer).toMatchObject({
      errorCode: 0,
      endpointType: 2,
      clusterId: "cluster-1",
      controllerId: active.nodeId,
    });
    expect(answer.brokers).toEqual([{ brokerId: 2, host: "host2", port: 9002, rack: null, isFenced: false }]);
    const wrong = await call(active.services, apis.cluster, 2, { endpointType: 1 } as never, onController);
    expect(wrong.errorCode).toBe(ErrorCode.MISMATCHED_ENDPOINT_TYPE);
  });

  test("who does not vote, or is late, or cannot serve what is finalised, is refused", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const { term } = world.active.metadata.quorum.status;
    expect(await update({ clusterId: "another" })).toBe(ErrorCode.INCONSISTENT_CLUSTER_ID);
    expect(await update({ voterDirectoryId: directoryIdOf(9) })).toBe(ErrorCode.VOTER_NOT_FOUND);
    expect(await update({ currentLeaderEpoch: term - 1 })).toBe(ErrorCode.FENCED_LEADER_EPOCH);
    expect(await update({ currentLeaderEpoch: term + 1 })).toBe(ErrorCode.UNKNOWN_LEADER_EPOCH);
    expect(await update({ listeners: [] })).toBe(ErrorCode.INVALID_REQUEST);
    const tooOld = { kRaftVersionFeature: { minSupportedVersion: 0, maxSupportedVersion: 0 } };
    expect(await update(tooOld)).toBe(ErrorCode.INVALID_REQUEST);
    expect(world.image.controllers.size).toBe(0);
  });
});
