import { expect, test } from "vitest";
import { ConsumerGroup } from "./group.ts";
import type { ConsumerRecord } from "./records.ts";

function has(memberId: string, partitions: readonly number[], epoch = 1): ConsumerRecord {
  const assigned =
    partitions.length === 0 ? new Map() : new Map([["t", new Map(partitions.map((one) => [one, epoch]))]]);
  const value = {
    memberEpoch: epoch,
    previousMemberEpoch: 0,
    state: "stable" as const,
    assigned,
    pendingRevocation: new Map(),
  };
  return { kind: "consumer-current", groupId: "g", memberId, value };
}

test("a partition stays its new owner's when what the old one had is taken back later", () => {
  const group = new ConsumerGroup("g");
  for (const record of [has("a", [0, 1]), has("b", [1], 2), has("a", [0], 2)]) group.replay(record);
  expect(group.ownerOf("t", 1)).toBe("b");
  group.replay({ kind: "consumer-member", groupId: "g", memberId: "b", value: null });
  expect(group.ownerOf("t", 1)).toBeNull();
  expect(group.ownerOf("t", 0)).toBe("a");
});

test("tombstones of a member that is not there mean nothing", () => {
  const group = new ConsumerGroup("g");
  group.replay({ kind: "consumer-current", groupId: "g", memberId: "a", value: null });
  group.replay({ kind: "consumer-target", groupId: "g", memberId: "a", value: null });
  group.replay({ kind: "consumer-member", groupId: "g", memberId: "a", value: null });
  expect([...group.members()]).toEqual([]);
  expect(group.state).toBe("Empty");
});
