import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { registration, wish } from "../../../test/metadata-world.ts";
import { beginShutdown, fenceBroker, unfenceBroker } from "./brokers.ts";
import { createPartitions } from "./create-partitions.ts";
import { createTopics } from "./create-topics.ts";
import type { TopicWish } from "./create-topics.ts";
import { alterPartitions } from "./alter-partition.ts";
import { rebalanceLeaders } from "./elect-leaders.ts";
import { ensureInternalTopic, raiseInternalTopics } from "./internal-topics.ts";
import { allocateProducerIds, allocateProducerIdsFor } from "./producer-ids.ts";
import { listReassignments } from "./reassignments.ts";
import { registerBroker } from "./registration.ts";
import { placeReplicas } from "./replicas.ts";

function create(world: ControllerWorld, given: Partial<TopicWish>): string {
  const [result] = world.follow(createTopics(world.context, [wish("a", given)]));
  return outcome(result);
}

const sorted = (ids: readonly number[]): number[] => ids.toSorted((a, b) => a - b);

const partitions = (world: ControllerWorld): string[] =>
  (world.image.topic("a")?.partitions ?? []).map(({ index }) => world.shown("a", index));

describe("new partitions", () => {
  test("go to fenced brokers only where the others are too few, never as their leaders, and not into the ISR", () => {
    const world = new ControllerWorld([1, 2, 3, 4]);
    world.follow(fenceBroker(world.context, 4));
    expect(create(world, { numPartitions: 12, replicationFactor: 3 })).toBe("ok");
    for (const { replicas, isr } of world.image.topic("a")!.partitions) {
      expect(sorted(replicas)).toEqual([1, 2, 3]);
      expect(isr).toEqual(replicas);
    }
    world.follow(fenceBroker(world.context, 3));
    const [result] = world.follow(createTopics(world.context, [wish("b", { numPartitions: 6, replicationFactor: 4 })]));
    expect(outcome(result)).toBe("ok");
    for (const { replicas, isr, leader } of world.image.topic("b")!.partitions) {
      expect(sorted(replicas)).toEqual([1, 2, 3, 4]);
      expect(sorted(isr)).toEqual([1, 2]);
      expect(leader).toBe(replicas[0]);
    }
  });

  test("never go to brokers that are about to be gone, or whose directories are all cordoned", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.follow(beginShutdown(world.context, 2));
    const refused =
      "invalid-replication-factor: Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 2 broker(s) are registered.";
    expect(create(world, { numPartitions: 1, replicationFactor: 3 })).toBe(refused);
    const cordoned = { directoryIds: ["x", "y"], cordonedDirectoryIds: ["y", "x"] };
    world.follow(registerBroker(world.context, { ...registration(2), ...cordoned }, { isAlive: () => false }));
    world.follow(unfenceBroker(world.context, 2));
    expect(create(world, { numPartitions: 1, replicationFactor: 3 })).toBe(refused);
    const half = { ...cordoned, cordonedDirectoryIds: ["x"] };
    world.follow(registerBroker(world.context, { ...registration(2), ...half }, { isAlive: () => false }));
    expect(create(world, { numPartitions: 1, replicationFactor: 3 })).toBe("ok");
  });

  test("need a broker that lives", () => {
    const world = new ControllerWorld([1, 2]);
    world.topic("b", [1]);
    for (const id of [1, 2]) world.follow(fenceBroker(world.context, id));
    expect(create(world, { numPartitions: 1, replicationFactor: 1 })).toBe(
      "invalid-replication-factor: Unable to replicate the partition 1 time(s): All brokers are currently fenced.",
    );
    const assignments = [{ partitionIndex: 0, brokerIds: [1, 2] }];
    expect(create(world, { assignments })).toBe(
      "invalid-assignment: All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown.",
    );
    const more = createPartitions(world.context, [{ name: "b", count: 2, assignments: [{ brokerIds: [2] }] }]);
    expect(more.response.map(outcome)).toEqual([
      "invalid-assignment: All brokers specified in the manual partition assignment for partition 1 are fenced or in controlled shutdown.",
    ]);
  });

  test("that a client placed are led by the first of their brokers that lives", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.follow(fenceBroker(world.context, 1));
    expect(create(world, { assignments: [{ partitionIndex: 0, brokerIds: [1, 2, 3] }] })).toBe("ok");
    expect(partitions(world)).toEqual(["(1) 2* 3 @0"]);
  });

  test("added to a topic that moves have as many replicas as its others will have", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2]);
    const [partition] = world.image.topic("a")!.partitions;
    const moving = { ...partition!, replicas: [1, 2, 3], addingReplicas: [3], removingReplicas: [1, 2] };
    const topicId = world.image.topic("a")!.id;
    world.follow({
      response: null,
      records: [{ ...moving, type: "partition-change", topicId, partitionEpoch: 1 }],
    });
    world.follow(createPartitions(world.context, [{ name: "a", count: 2, assignments: null }]));
    expect(world.image.topic("a")!.partitions[1]!.replicas).toHaveLength(1);
  });
});

describe("racks", () => {
  const placed = (racks: readonly (string | null)[], count: number, replicationFactor: number): number[][] => {
    const brokers = racks.map((rack, index) => ({ id: index + 1, rack, isFenced: false }));
    const result = placeReplicas({ brokers, count, replicationFactor, start: 7 });
    return result.ok ? result.value : [];
  };

  test.for([
    [["x", "x", "x", "y"], 2],
    [["x", "x", "x", "x", "y", "z"], 3],
    [["x", "y", "y", "z", "z", "z"], 3],
    [["x", "y", null, null], 4],
  ] as const)("%j: %i replicas stand in as many racks", ([racks, replicationFactor]) => {
    for (const replicas of placed(racks, 48, replicationFactor)) {
      const used = replicas.map((id) => racks[id - 1] ?? `broker ${id}`);
      expect(new Set(used).size).toBe(replicationFactor);
    }
  });

  test("more replicas than racks: no rack has two more than another that has room", () => {
    for (const replicas of placed(["x", "x", "x", "y", "y", "y"], 48, 4)) {
      expect(replicas.filter((id) => id <= 3)).toHaveLength(2);
    }
  });

  test("brokers of racks of one size have the same share of leaders and of replicas", () => {
    const many = placed(["x", "x", "y", "y", "z", "z"], 60, 3);
    for (const id of [1, 2, 3, 4, 5, 6]) {
      expect(many.filter(([leader]) => leader === id)).toHaveLength(10);
      const share = many.filter((replicas) => replicas.includes(id)).length;
      expect(share).toBeGreaterThanOrEqual(24);
      expect(share).toBeLessThanOrEqual(36);
    }
  });
});

describe("internal topics that were made while there were fewer brokers", () => {
  const name = "__consumer_offsets";
  const settings = { "offsets.topic.num.partitions": "6" };
  const minInSync = (world: ControllerWorld): string | undefined =>
    world.image.configsOf(2, name).get("min.insync.replicas");

  /** Leaders say that all replicas are in sync. */
  function catchUp(world: ControllerWorld): void {
    const { id, partitions: all } = world.image.topic(name)!;
    for (const { index, leader, leaderEpoch, partitionEpoch, replicas } of all) {
      const newIsr = replicas.map((brokerId) => ({ brokerId, brokerEpoch: -1 }));
      const sender = { brokerId: leader, brokerEpoch: world.image.brokers.get(leader)!.epoch };
      const proposal = { topicId: id, partitionIndex: index, leaderEpoch, partitionEpoch, newIsr };
      world.follow(alterPartitions(world.context, sender, [proposal]));
    }
  }

  function join(world: ControllerWorld, id: number): void {
    world.register(id);
    world.follow(unfenceBroker(world.context, id));
    world.follow(raiseInternalTopics(world.context));
  }

  test("get the replicas that they lack, are led by all, and need two in sync when two are", () => {
    const world = new ControllerWorld([1], settings);
    world.follow(ensureInternalTopic(world.context, name));
    expect(raiseInternalTopics(world.context).records).toEqual([]);
    join(world, 2);
    expect(listReassignments(world.context, null)).toHaveLength(6);
    expect(raiseInternalTopics(world.context).records).toEqual([]);
    expect(minInSync(world)).toBe("1");
    catchUp(world);
    world.follow(raiseInternalTopics(world.context));
    expect(minInSync(world)).toBe("2");
    for (const id of [3, 4]) {
      join(world, id);
      catchUp(world);
    }
    world.follow(rebalanceLeaders(world.context));
    const all = world.image.topic(name)!.partitions;
    expect(all.every(({ replicas, isr }) => replicas.length === 3 && isr.length === 3)).toBe(true);
    expect(new Set(all.map(({ leader }) => leader)).size).toBeGreaterThanOrEqual(3);
    expect(raiseInternalTopics(world.context).records).toEqual([]);
    expect(minInSync(world)).toBe("2");
  });

  test("keep what somebody has set, and what they have", () => {
    const world = new ControllerWorld([1, 2], { ...settings, "offsets.topic.replication.factor": "1" });
    world.follow(ensureInternalTopic(world.context, name));
    expect(raiseInternalTopics(world.context).records).toEqual([]);
    const two = new ControllerWorld([1, 2], settings);
    two.follow(ensureInternalTopic(two.context, name));
    const value = {
      type: "config",
      resourceType: 2,
      resourceName: name,
      name: "min.insync.replicas",
      value: "3",
    } as const;
    two.follow({ response: null, records: [value] });
    expect(raiseInternalTopics(two.context).records).toEqual([]);
  });
});

test("producer ids are given to brokers that are registered", () => {
  const world = new ControllerWorld([1, 2]);
  const { epoch } = world.image.brokers.get(2)!;
  world.follow(allocateProducerIds(world.context));
  const result = world.follow(allocateProducerIdsFor(world.context, { brokerId: 2, brokerEpoch: epoch }));
  expect(result).toMatchObject({ ok: true, value: { firstId: 1000, count: 1000 } });
  const stale = allocateProducerIdsFor(world.context, { brokerId: 2, brokerEpoch: epoch - 1 });
  expect(outcome(stale.response)).toMatch(/^stale-broker-epoch/);
  expect(stale.records).toEqual([]);
});
