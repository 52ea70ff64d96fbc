import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { alterPartitions } from "./alter-partition.ts";
import { fenceBroker } from "./brokers.ts";
import { alterReassignments, listReassignments } from "./reassignments.ts";

function move(world: ControllerWorld, replicas: readonly number[] | null, keepsFactor = false): string {
  const options = { allowReplicationFactorChange: !keepsFactor };
  const wish = { topic: "a", partitionIndex: 0, replicas };
  const [result] = world.follow(alterReassignments(world.context, [wish], options));
  return outcome(result);
}

/** The leader says who is in sync. */
function inSync(world: ControllerWorld, ...ids: readonly number[]): void {
  const { id, partitions } = world.image.topic("a")!;
  const { leader, leaderEpoch, partitionEpoch } = partitions[0]!;
  const newIsr = ids.map((brokerId) => ({ brokerId, brokerEpoch: -1 }));
  const sender = { brokerId: leader, brokerEpoch: world.image.brokers.get(leader)!.epoch };
  const proposal = { topicId: id, partitionIndex: 0, leaderEpoch, partitionEpoch, newIsr };
  world.follow(alterPartitions(world.context, sender, [proposal]));
}

function world(replicas: readonly number[] = [1, 2, 3]): ControllerWorld {
  const given = new ControllerWorld([1, 2, 3, 4, 5]);
  given.topic("a", replicas);
  return given;
}

describe("a move", () => {
  test("adds replicas, waits for them, and takes the others away", () => {
    const given = world();
    expect(move(given, [3, 4, 5])).toBe("ok");
    expect(given.shown("a")).toBe("3 (+4) (+5) -1* -2 @0");
    inSync(given, 1, 2, 3, 4);
    expect(given.shown("a")).toBe("3 +4 (+5) -1* -2 @0");
    inSync(given, 1, 2, 3, 4, 5);
    expect(given.shown("a")).toBe("3* 4 5 @1");
  });

  test("that needs nothing new ends at once", () => {
    const given = world();
    expect(move(given, [3, 1, 2])).toBe("ok");
    expect(given.shown("a")).toBe("3 1* 2 @0");
    expect(move(given, [1, 3])).toBe("ok");
    expect(given.shown("a")).toBe("1* 3 @1");
    expect(move(given, [3])).toBe("ok");
    expect(given.shown("a")).toBe("3* @2");
  });

  test("waits where what shall stay is not in sync", () => {
    const given = world();
    given.follow(fenceBroker(given.context, 3));
    move(given, [1, 3]);
    expect(given.shown("a")).toBe("1* (3) -2 @0");
  });

  test("is taken back", () => {
    const given = world();
    expect(move(given, null)).toBe("no-reassignment-in-progress: No partition reassignment is in progress.");
    move(given, [4, 5]);
    inSync(given, 1, 2, 3, 4);
    expect(move(given, null)).toBe("ok");
    expect(given.shown("a")).toBe("1* 2 3 @1");
  });

  test("is not taken back where only new replicas have everything", () => {
    const given = world([1]);
    move(given, [4, 5]);
    inSync(given, 1, 4);
    given.follow(fenceBroker(given.context, 1));
    expect(given.shown("a")).toBe("+4* (+5) (-1) @1");
    expect(move(given, null)).toBe(
      "invalid-assignment: Unable to revert partition assignment for a:0 because it would require an unclean leader election.",
    );
    expect(given.shown("a")).toBe("+4* (+5) (-1) @1");
  });

  test("is changed: what nobody wants any more goes at once, or at the end if it has what others lack", () => {
    const given = world([1]);
    move(given, [4, 5]);
    inSync(given, 1, 4);
    move(given, [2, 3]);
    expect(given.shown("a")).toBe("(+2) (+3) -1* +-4 @1");
    expect(move(given, null)).toBe("ok");
    expect(given.shown("a")).toBe("1* @2");
    move(given, [4, 5]);
    move(given, [2]);
    expect(given.shown("a")).toBe("(+2) -1* @3");
    inSync(given, 1, 2);
    expect(given.shown("a")).toBe("2* @4");
  });

  test.for<[readonly number[], string]>([
    [[], "invalid-assignment: The manual partition assignment includes an empty replica list."],
    [
      [1, 7],
      "invalid-assignment: The manual partition assignment includes broker 7, but no such broker is registered.",
    ],
    [[1, 1], "invalid-assignment: The manual partition assignment includes the broker 1 more than once."],
  ])("to %j is refused", ([replicas, refusal]) => {
    expect(move(world(), replicas)).toBe(refusal);
  });

  test("may be kept from changing how many replicas there are (KIP-860)", () => {
    const given = world();
    const refused = "invalid-replication-factor: The replication factor is changed from";
    expect(move(given, [1, 2], true)).toBe(`${refused} 3 to 2`);
    expect(move(given, [4, 5, 1], true)).toBe("ok");
    expect(move(given, [1, 2], true)).toBe(`${refused} 3 to 2`);
    expect(move(given, [1, 2, 4], true)).toBe("ok");
  });

  test("of what is not there, or twice in a request, is refused", () => {
    const given = world();
    const wish = { topic: "a", partitionIndex: 0, replicas: [1] };
    const results = alterReassignments(given.context, [
      wish,
      wish,
      { ...wish, partitionIndex: 3 },
      { ...wish, topic: "b" },
    ]).response;
    expect(results.map(outcome)).toEqual([
      "bad-request: Each partition must appear at most once.",
      "bad-request: Each partition must appear at most once.",
      "unknown-topic: Unable to find partition a:3.",
      "unknown-topic: Unable to find a topic named b.",
    ]);
  });
});

test("moves that are under way are listed", () => {
  const given = world();
  given.topic("b", [1], [2]);
  move(given, [4, 5]);
  const listed = (topics: Parameters<typeof listReassignments>[1]): string[] =>
    listReassignments(given.context, topics).map(({ topic, partition }) => {
      const { index, replicas, addingReplicas, removingReplicas } = partition;
      return `${topic}-${index} ${replicas.join(" ")} +${addingReplicas.join(" ")} -${removingReplicas.join(" ")}`;
    });
  expect(listed(null)).toEqual(["a-0 4 5 1 2 3 +4 5 -1 2 3"]);
  expect(listed([{ name: "a", partitionIndexes: [0, 9] }])).toEqual(listed(null));
  expect(listed([{ name: "b", partitionIndexes: [0, 1] }])).toEqual([]);
  expect(listed([{ name: "nope", partitionIndexes: [0] }])).toEqual([]);
});
