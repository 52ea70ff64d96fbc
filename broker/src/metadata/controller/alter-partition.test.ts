import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { alterPartitions } from "./alter-partition.ts";
import type { IsrProposal } from "./alter-partition.ts";
import { beginShutdown, fenceBroker, unfenceBroker } from "./brokers.ts";
import { alterReassignments } from "./reassignments.ts";

const unknownEpoch = -1;

interface Proposed extends Partial<Omit<IsrProposal, "newIsr">> {
  readonly isr: readonly number[];
  readonly sender?: number;
  readonly brokerEpoch?: number;
  readonly epochOfMember?: number;
}

/** Of partition 0 of topic a, based on what it is. */
function propose(world: ControllerWorld, { isr, sender, brokerEpoch, epochOfMember, ...given }: Proposed): string {
  const topic = world.image.topic("a");
  const partition = topic?.partitions[0];
  if (topic === undefined || partition === undefined) throw new Error("no topic a");
  const brokerId = sender ?? partition.leader;
  const decision = alterPartitions(
    world.context,
    { brokerId, brokerEpoch: brokerEpoch ?? world.image.brokers.get(brokerId)?.epoch ?? 0 },
    [
      {
        topicId: topic.id,
        partitionIndex: 0,
        leaderEpoch: partition.leaderEpoch,
        partitionEpoch: partition.partitionEpoch,
        newIsr: isr.map((id) => ({ brokerId: id, brokerEpoch: epochOfMember ?? unknownEpoch })),
        ...given,
      },
    ],
  );
  const all = world.follow(decision);
  return all.ok ? outcome(all.value[0]) : outcome(all);
}

describe("AlterPartition", () => {
  test("shrinks and expands the ISR; the leader epoch stays, the partition epoch grows", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2, 3]);
    expect(propose(world, { isr: [1, 3] })).toBe("ok");
    expect(world.shown("a")).toBe("1* (2) 3 @0");
    expect(propose(world, { isr: [1, 2, 3] })).toBe("ok");
    expect(world.image.topic("a")!.partitions[0]).toMatchObject({ isr: [1, 2, 3], leaderEpoch: 0, partitionEpoch: 2 });
    const { offset } = world.image;
    expect(propose(world, { isr: [1, 2, 3] })).toBe("ok");
    expect(world.image.offset).toBe(offset);
  });

  test.for<[string, Proposed, string]>([
    ["an unknown topic", { isr: [1], topicId: "AAECAwQFBgcICQoLDA0ODw" }, "unknown-topic-id"],
    ["an unknown partition", { isr: [1], partitionIndex: 1 }, "unknown-topic"],
    ["a leader that is ahead of this controller", { isr: [1], leaderEpoch: 9 }, "not-controller"],
    ["a state that is ahead of this controller", { isr: [1], partitionEpoch: 9 }, "not-controller"],
    ["an earlier term", { isr: [1], leaderEpoch: 0 }, "fenced-leader-epoch"],
    ["somebody else", { isr: [3], sender: 3 }, "bad-request"],
    ["an old state", { isr: [2], partitionEpoch: 0 }, "invalid-update-version"],
    ["a stranger in the ISR", { isr: [2, 4] }, "bad-request"],
    ["one twice", { isr: [2, 3, 3] }, "bad-request"],
    ["an ISR without the leader", { isr: [3] }, "bad-request"],
    ["nobody", { isr: [] }, "bad-request"],
    ["a fenced broker", { isr: [2, 1] }, "ineligible-replica"],
    ["an earlier life of a broker", { isr: [2, 3], epochOfMember: 0 }, "ineligible-replica"],
    [
      "a sender of an earlier life",
      { isr: [2, 3], brokerEpoch: 0 },
      "stale-broker-epoch: Expected broker epoch 2, but got broker epoch 0",
    ],
  ])("%s is refused", ([, proposed, refusal]) => {
    const world = new ControllerWorld([1, 2, 3, 4]);
    world.topic("a", [1, 2, 3]);
    world.follow(fenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("(1) 2* 3 @1");
    expect(propose(world, proposed)).toBe(refusal);
    expect(world.shown("a")).toBe("(1) 2* 3 @1");
  });

  test("a broker that stops may not come into an ISR", () => {
    const world = new ControllerWorld([1, 2]);
    world.topic("a", [1, 2]);
    world.follow(beginShutdown(world.context, 2));
    expect(propose(world, { isr: [1, 2] })).toBe("ineligible-replica");
  });

  test("one partition twice in a request is changed once", () => {
    const world = new ControllerWorld([1, 2]);
    world.topic("a", [1, 2]);
    const { id } = world.image.topic("a")!;
    const proposal = { topicId: id, partitionIndex: 0, leaderEpoch: 0, partitionEpoch: 0 };
    const newIsr = [{ brokerId: 1, brokerEpoch: unknownEpoch }];
    const sender = { brokerId: 1, brokerEpoch: world.image.brokers.get(1)!.epoch };
    const both = [
      { ...proposal, newIsr },
      { ...proposal, newIsr },
    ];
    const result = world.follow(alterPartitions(world.context, sender, both));
    expect(result.ok ? result.value.map(outcome) : []).toEqual(["ok", "bad-request"]);
  });

  test("ends a move that has all it needs, and the sender hears if it has lost the leadership by it", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2]);
    const move = (replicas: readonly number[]): unknown =>
      world.follow(alterReassignments(world.context, [{ topic: "a", partitionIndex: 0, replicas }]));
    move([3, 1]);
    expect(world.shown("a")).toBe("(+3) 1* -2 @0");
    expect(propose(world, { isr: [1, 2, 3] })).toBe("ok");
    expect(world.shown("a")).toBe("3 1* @1");
    move([3, 2]);
    expect(propose(world, { isr: [3, 1, 2] })).toBe("new-leader-elected");
    expect(world.shown("a")).toBe("3* 2 @2");
  });

  test("with enough in sync nobody else is eligible", () => {
    const world = new ControllerWorld([1, 2, 3], { "min.insync.replicas": "2" });
    world.keepEligibleLeaders();
    world.topic("a", [1, 2, 3]);
    expect(propose(world, { isr: [1] })).toBe("ok");
    expect(world.shown("a")).toBe("1* (2) (3) @0 elr 2 3");
    expect(propose(world, { isr: [1, 3] })).toBe("ok");
    expect(world.shown("a")).toBe("1* (2) 3 @0");
    world.follow(fenceBroker(world.context, 1));
    world.follow(unfenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("(1) (2) 3* @1 elr 1");
  });
});
