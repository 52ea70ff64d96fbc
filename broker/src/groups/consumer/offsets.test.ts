import { expect, test } from "vitest";
import { TestTopics } from "../testing/test-topics.ts";
import { ConsumerGroup } from "./group.ts";
import { newMember, subscriptionOf } from "./member.ts";
import { refuseConsumerCommit } from "./offsets.ts";
import type { CommitterOfConsumerGroup } from "./offsets.ts";

const topics = new TestTopics({ t: 4 });
const topicId = topics.byName("t")!.id;

/** a has t-0 since epoch 2 and must give up t-1; c is classic. Both are in epoch 4. */
function group(): ConsumerGroup {
  const made = new ConsumerGroup("g");
  for (const memberId of ["a", "c"]) {
    const classic = memberId === "c" ? { sessionTimeoutMs: 1, protocols: [] } : null;
    made.replay({
      kind: "consumer-member",
      groupId: "g",
      memberId,
      value: { ...subscriptionOf(newMember(memberId)), classic },
    });
  }
  const owned = (partition: number, epoch: number) => new Map([[topicId, new Map([[partition, epoch]])]]);
  const epochs = { memberEpoch: 4, previousMemberEpoch: 3 };
  const a = { ...epochs, state: "unrevoked" as const, assigned: owned(0, 2), pendingRevocation: owned(1, 3) };
  made.replay({ kind: "consumer-current", groupId: "g", memberId: "a", value: a });
  const c = { ...epochs, state: "stable" as const, assigned: owned(2, 2), pendingRevocation: new Map() };
  made.replay({ kind: "consumer-current", groupId: "g", memberId: "c", value: c });
  return made;
}

function refuse(committer: Partial<CommitterOfConsumerGroup>, partition = 0): string | null {
  const offsets = [{ topic: "t", topicId: null, partition }];
  const usual = {
    memberId: "a",
    instanceId: null,
    generation: 4,
    isTransactional: false,
    knowsMemberEpochs: true,
    offsets,
  };
  return refuseConsumerCommit(group(), { ...usual, ...committer }, topics);
}

test("an older epoch is good for what the member had by then and has not given up", () => {
  expect(refuse({ generation: 2 })).toBeNull();
  expect(refuse({ generation: 1 })).toBe("stale-member-epoch");
  expect(refuse({ generation: 3 }, 1)).toBeNull();
  expect(refuse({ generation: 2 }, 1)).toBe("stale-member-epoch");
  expect(refuse({ generation: 3 }, 2)).toBe("stale-member-epoch");
  expect(refuse({ generation: 4 }, 2)).toBeNull();
  expect(refuse({ generation: 5 })).toBe("stale-member-epoch");
  expect(refuse({ memberId: "c", generation: 3 }, 2)).toBeNull();
  expect(refuse({ memberId: "c", generation: 1 }, 2)).toBe("illegal-generation");
});

test("a transaction commits for a member, or from outside without saying more", () => {
  const isTransactional = true;
  expect(refuse({ isTransactional, knowsMemberEpochs: false })).toBeNull();
  expect(refuse({ isTransactional, generation: 1 })).toBe("stale-member-epoch");
  expect(refuse({ isTransactional, memberId: "", generation: -1 })).toBeNull();
  expect(refuse({ isTransactional, memberId: "b", generation: -1 })).toBe("unknown-member-id");
  expect(refuse({ memberId: "", generation: -1 })).toBe("unknown-member-id");
  expect(refuse({ knowsMemberEpochs: false })).toBe("unsupported-version");
  expect(refuse({ memberId: "c", knowsMemberEpochs: false })).toBeNull();
});
