import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { alterConfigs } from "./alter-configs.ts";
import { fenceBroker, unfenceBroker } from "./brokers.ts";
import { electionKindOf, electLeaders, electMissingLeaders, rebalanceLeaders } from "./elect-leaders.ts";
import type { ElectionKind, PartitionName } from "./elect-leaders.ts";

function elect(world: ControllerWorld, kind: ElectionKind, names: readonly PartitionName[] | null): string[] {
  const results = world.follow(electLeaders(world.context, kind, names));
  return results.map(({ topic, partitionIndex, result }) => `${topic}-${partitionIndex} ${outcome(result)}`);
}

const a = (partitionIndex: number): PartitionName => ({ topic: "a", partitionIndex });

/** Partition 0 is led by its second replica; 1 by its first; 2 by nobody, and broker 1 lacks records. */
function world(settings: Readonly<Record<string, string>> = {}): ControllerWorld {
  const given = new ControllerWorld([1, 2, 3], settings);
  given.topic("a", [1, 2], [2, 3], [3]);
  given.follow(fenceBroker(given.context, 1));
  given.follow(fenceBroker(given.context, 3));
  expect([0, 1, 2].map((index) => given.shown("a", index))).toEqual(["(1) 2* @1", "2* (3) @0", "3 @1"]);
  return given;
}

describe("ElectLeaders", () => {
  test("the preferred replica leads where it is in sync", () => {
    const given = world();
    expect(elect(given, "preferred", [a(0), a(1), a(2), a(7), { topic: "b", partitionIndex: 0 }])).toEqual([
      "a-0 preferred-leader-not-available",
      "a-1 election-not-needed",
      "a-2 preferred-leader-not-available",
      "a-7 unknown-topic: No such partition as a-7",
      "b-0 unknown-topic: No such topic as b",
    ]);
  });

  test("without names all partitions are meant, and those in no need are not named", () => {
    const given = new ControllerWorld([1, 2]);
    given.topic("a", [1, 2], [2, 1]);
    given.follow(fenceBroker(given.context, 1));
    given.follow(unfenceBroker(given.context, 1));
    expect(elect(given, "preferred", null)).toEqual(["a-0 preferred-leader-not-available"]);
    expect(elect(given, "unclean", null)).toEqual([]);
  });

  test("unclean: anybody who lives leads what nobody leads, whatever the settings say", () => {
    const given = new ControllerWorld([1, 2]);
    given.topic("a", [1, 2]);
    given.follow(fenceBroker(given.context, 1));
    expect(elect(given, "unclean", [a(0)])).toEqual(["a-0 election-not-needed"]);
    given.follow(fenceBroker(given.context, 2));
    expect(elect(given, "unclean", [a(0)])).toEqual(["a-0 eligible-leaders-not-available"]);
    given.follow(unfenceBroker(given.context, 1));
    expect(elect(given, "unclean", [a(0), a(0)])).toEqual(["a-0 ok", "a-0 election-not-needed"]);
    expect(given.shown("a")).toBe("1* (2) @3");
  });

  test("there are two kinds", () => {
    expect([0, 1, 2].map((code) => outcome(electionKindOf(code)))).toEqual([
      "ok",
      "ok",
      "bad-request: Unknown election type 2",
    ]);
  });
});

describe("from time to time", () => {
  test("leadership goes back to the first replicas that are in sync, a thousand at a time", () => {
    const given = new ControllerWorld([1, 2]);
    given.topic("a", ...Array.from({ length: 1200 }, () => [1, 2]));
    given.follow(fenceBroker(given.context, 1));
    given.follow(unfenceBroker(given.context, 1));
    expect(rebalanceLeaders(given.context).records).toEqual([]);
    const partitions = given.image.topic("a")!.partitions;
    const records = partitions.map((partition) => ({
      ...partition,
      type: "partition-change" as const,
      topicId: given.image.topic("a")!.id,
      isr: [1, 2],
      replicas: null,
      partitionEpoch: partition.partitionEpoch + 1,
    }));
    given.follow({ response: null, records });
    expect(given.follow(rebalanceLeaders(given.context))).toEqual({ hasMore: true });
    expect(given.follow(rebalanceLeaders(given.context))).toEqual({ hasMore: false });
    expect(
      given.image.topic("a")!.partitions.every(({ leader, leaderEpoch }) => leader === 1 && leaderEpoch === 2),
    ).toBe(true);
  });

  test("a partition that nobody leads is led uncleanly once the topic allows it", () => {
    const given = new ControllerWorld([1, 2]);
    given.topic("a", [1, 2]);
    given.follow(fenceBroker(given.context, 1));
    given.follow(fenceBroker(given.context, 2));
    given.follow(unfenceBroker(given.context, 1));
    expect(electMissingLeaders(given.context).records).toEqual([]);
    const changes = [{ name: "unclean.leader.election.enable", operation: 0, value: "true" }];
    given.follow(alterConfigs(given.context, [{ type: 2, name: "a", changes, replacesAll: false }]));
    given.follow(electMissingLeaders(given.context));
    expect(given.shown("a")).toBe("1* (2) @3");
  });
});
