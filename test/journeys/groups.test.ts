import { describe, expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { deleteGroups } from "kafka-protocol-ts/messages/42-delete-groups";
import { offsetDelete } from "kafka-protocol-ts/messages/47-offset-delete";
import { createTopic } from "./calls.ts";
import { coordinatorOf, Member } from "./members.ts";
import type { JoinOptions } from "./members.ts";
import type { RawClient } from "./raw-client.ts";
import { served } from "./served.ts";
import type { Served } from "./served.ts";
import { simulated } from "./simulated.ts";

/* Classic groups over the wire: traps T39 to T46. Proven against Apache Kafka, see served.ts. */

const versionsOf = ({ versions: [first, last] }: { readonly versions: readonly [number, number] }): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

let groupCount = 0;
const newGroup = (): string => `group-${++groupCount}`;
const unknownTopicId = "AQIDBAUGBwgJCgsMDQ4PEA";

/** A member with a connection of its own, since a join holds its connection. */
async function member(it: Served, groupId: string, options: JoinOptions = {}, clientId = "app"): Promise<Member> {
  const client = await it.client(clientId);
  await coordinatorOf(client, groupId);
  return new Member(client, groupId, options);
}

/** Alone in a group, with its assignment. */
async function settled(it: Served, groupId: string, options: JoinOptions = {}): Promise<Member> {
  const alone = await member(it, groupId, options);
  expect(await alone.enter()).toMatchObject({ errorCode: ErrorCode.NONE });
  expect(await alone.sync({ [alone.memberId]: "all" })).toMatchObject({ errorCode: ErrorCode.NONE });
  return alone;
}

describe("T39: joining", () => {
  test("takes two steps from v4 on, and one before", async () => {
    await using it = await served();
    for (const version of versionsOf(joinGroup)) {
      const joining = await member(it, newGroup(), { version });
      const first = await joining.join();
      expect(first.memberId).toMatch(/^app-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
      if (version >= 4) {
        expect(first).toMatchObject({ errorCode: ErrorCode.MEMBER_ID_REQUIRED, generationId: -1, leader: "" });
        const { memberId } = first;
        expect(await joining.join()).toMatchObject({ errorCode: ErrorCode.NONE, memberId });
      } else expect(first).toMatchObject({ errorCode: ErrorCode.NONE });
      expect(joining.generation).toBe(1);
      await joining.client[Symbol.asyncDispose]();
    }
  });

  test("with a member id that nobody was given is refused", async () => {
    await using it = await served();
    const stranger = await member(it, newGroup());
    stranger.memberId = "app-00000000-0000-0000-0000-000000000000";
    expect(await stranger.join()).toMatchObject({ errorCode: ErrorCode.UNKNOWN_MEMBER_ID });
    await stranger.client[Symbol.asyncDispose]();
  });

  test("alone makes a leader, who is told of the members, and of what each version can say", async () => {
    await using it = await served();
    for (const version of versionsOf(joinGroup)) {
      const alone = await member(it, newGroup(), { version, protocols: { range: "\u0001\u0000\u00fe" } });
      const joined = await alone.enter();
      const { memberId } = alone;
      expect(joined).toMatchObject({ errorCode: 0, protocolName: "range", leader: memberId, skipAssignment: false });
      expect(joined.protocolType).toBe(version >= 7 ? "consumer" : null);
      expect(joined.members).toEqual([
        { memberId, groupInstanceId: null, metadata: Buffer.from("\u0001\u0000\u00fe") },
      ]);
      await alone.client[Symbol.asyncDispose]();
    }
  });
});

test("two members: each gets its own of the leader's assignments, untouched; a third round follows when one leaves", async () => {
  await using it = await served();
  const groupId = newGroup();
  const protocols = { range: "\u0001\u0000\u00fe", roundrobin: "rr" };
  const one = await settled(it, groupId, { protocols });
  expect(await one.beat()).toBe(ErrorCode.NONE);
  const two = await member(it, groupId, { protocols });
  const entering = two.enter();
  await one.beatUntilRebalance();
  const [first, second] = await Promise.all([one.join(), entering]);
  for (const joined of [first, second]) {
    expect(joined).toMatchObject({ errorCode: 0, generationId: 2, leader: one.memberId, protocolName: "range" });
  }
  // Only the leader is told who is there.
  expect(second.members).toEqual([]);
  expect(first.members.map(({ memberId }) => memberId).toSorted()).toEqual([one.memberId, two.memberId].toSorted());
  for (const { metadata } of first.members) expect(metadata).toEqual(Buffer.from(protocols.range));
  // The follower waits for the leader's decision.
  const waiting = two.sync();
  const assignments = { [one.memberId]: "\u0000one\u00ff", [two.memberId]: "\u0000two\u00ff" };
  expect((await one.sync(assignments)).assignment).toEqual(Buffer.from("\u0000one\u00ff"));
  expect(await waiting).toMatchObject({ errorCode: 0, assignment: Buffer.from("\u0000two\u00ff") });
  // Asked again it is told the same.
  expect((await two.sync()).assignment).toEqual(Buffer.from("\u0000two\u00ff"));
  expect([await one.beat(), await two.beat()]).toEqual([0, 0]);
  expect(await one.leave()).toMatchObject({ errorCode: 0, members: [{ memberId: one.memberId, errorCode: 0 }] });
  expect(await one.beat()).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
  await two.beatUntilRebalance();
  expect(await two.join()).toMatchObject({ errorCode: 0, generationId: 3, leader: two.memberId });
  expect((await two.sync({ [two.memberId]: "all" })).assignment).toEqual(Buffer.from("all"));
  for (const { client } of [one, two]) await client[Symbol.asyncDispose]();
});

test("sync, heartbeat and leave answer in every version", async () => {
  await using it = await served();
  for (const version of versionsOf(syncGroup)) {
    const alone = await member(it, newGroup());
    await alone.enter();
    const synced = await alone.sync({ [alone.memberId]: `v${version}` }, version);
    expect(synced).toMatchObject({ errorCode: ErrorCode.NONE, assignment: Buffer.from(`v${version}`) });
    if (version >= 5) expect(synced).toMatchObject({ protocolType: "consumer", protocolName: "range" });
    for (const beat of versionsOf(heartbeat)) expect(await alone.beat(beat)).toBe(ErrorCode.NONE);
    await alone.client[Symbol.asyncDispose]();
  }
  for (const version of versionsOf(leaveGroup)) {
    const alone = await settled(it, newGroup());
    const { memberId } = alone;
    const left = await alone.leave(version);
    expect(left.errorCode).toBe(ErrorCode.NONE);
    if (version >= 3) expect(left.members).toEqual([{ memberId, groupInstanceId: null, errorCode: ErrorCode.NONE }]);
    const again = await alone.leave(version);
    const told = version >= 3 ? [again.errorCode, again.members[0]?.errorCode] : [again.errorCode];
    expect(told).toEqual(version >= 3 ? [0, ErrorCode.UNKNOWN_MEMBER_ID] : [ErrorCode.UNKNOWN_MEMBER_ID]);
    await alone.client[Symbol.asyncDispose]();
  }
});

test("the protocol that all members know and most want is chosen", async () => {
  await using it = await served();
  const groupId = newGroup();
  const one = await settled(it, groupId, { protocols: { range: "1r", roundrobin: "1rr" } });
  const two = await member(it, groupId, { protocols: { roundrobin: "2rr", sticky: "2s" } });
  const entering = two.enter();
  await one.beatUntilRebalance();
  const [first] = await Promise.all([one.join(), entering]);
  expect(first.protocolName).toBe("roundrobin");
  expect(first.members.map(({ metadata }) => `${metadata}`).toSorted()).toEqual(["1rr", "2rr"]);
  for (const { client } of [one, two]) await client[Symbol.asyncDispose]();
});

test("T40: a refused join names no protocol: the empty name up to v6, null from v7 on", async () => {
  await using it = await served();
  for (const version of versionsOf(joinGroup)) {
    const refused = await member(it, newGroup(), { version, sessionTimeoutMs: 1 });
    const answer = await refused.join();
    expect(answer).toMatchObject({ errorCode: ErrorCode.INVALID_SESSION_TIMEOUT, generationId: -1, members: [] });
    expect(answer.protocolName).toBe(version >= 7 ? null : "");
    await refused.client[Symbol.asyncDispose]();
  }
});

describe("T41: is refused", () => {
  test("who has no protocol in common with the others, or another protocol type", async () => {
    await using it = await served();
    const groupId = newGroup();
    const one = await settled(it, groupId);
    for (const options of [{ protocols: { sticky: "" } }, { protocolType: "connect" }, { protocols: {} }]) {
      const other = await member(it, groupId, options);
      expect((await other.enter()).errorCode).toBe(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
      await other.client[Symbol.asyncDispose]();
    }
    expect(await one.beat()).toBe(ErrorCode.NONE);
    await one.client[Symbol.asyncDispose]();
  });

  test("a session timeout out of bounds, and a group without a name", async () => {
    await using it = await served({ "group.min.session.timeout.ms": "5000", "group.max.session.timeout.ms": "60000" });
    const one = await member(it, newGroup());
    for (const sessionTimeoutMs of [4_999, 60_001]) {
      expect(await one.join({ sessionTimeoutMs })).toMatchObject({ errorCode: ErrorCode.INVALID_SESSION_TIMEOUT });
    }
    for (const sessionTimeoutMs of [5_000, 60_000]) {
      expect(await one.join({ sessionTimeoutMs })).toMatchObject({ errorCode: ErrorCode.MEMBER_ID_REQUIRED });
      one.memberId = "";
    }
    const nameless = new Member(one.client, "");
    expect(await nameless.join()).toMatchObject({ errorCode: ErrorCode.INVALID_GROUP_ID });
    nameless.memberId = "x";
    nameless.generation = 1;
    nameless.protocolName = "range";
    expect(await nameless.beat()).toBe(ErrorCode.INVALID_GROUP_ID);
    expect((await nameless.sync()).errorCode).toBe(ErrorCode.INVALID_GROUP_ID);
    expect((await nameless.leave()).errorCode).toBe(ErrorCode.INVALID_GROUP_ID);
    await one.client[Symbol.asyncDispose]();
  });

  test("who speaks of another generation, or is no member", async () => {
    await using it = await served();
    const one = await settled(it, newGroup());
    const { memberId, generation, groupId } = one;
    const codes = async () => [await one.beat(), (await one.sync()).errorCode];
    one.generation = generation + 1;
    expect(await codes()).toEqual([ErrorCode.ILLEGAL_GENERATION, ErrorCode.ILLEGAL_GENERATION]);
    one.generation = generation;
    one.memberId = "stranger";
    expect(await codes()).toEqual([ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.UNKNOWN_MEMBER_ID]);
    const nobody = new Member(one.client, `${groupId}-unknown`);
    nobody.memberId = memberId;
    nobody.generation = 1;
    nobody.protocolName = "range";
    expect([await nobody.beat(), (await nobody.sync()).errorCode]).toEqual([25, 25]);
    await one.client[Symbol.asyncDispose]();
  });

  test("the deletion of a group that has members, and of one that is not there; an empty one goes", async () => {
    await using it = await served();
    await using client = await it.client();
    for (const version of versionsOf(deleteGroups)) {
      const one = await settled(it, newGroup());
      const remove = async (groupsNames: readonly string[]) => {
        const { results } = await client.request(deleteGroups, version, { groupsNames });
        return results.map(({ groupId, errorCode }) => [groupId, errorCode]).toSorted();
      };
      const { groupId } = one;
      const unknown = `unknown-${version}`;
      expect(await remove([groupId, unknown])).toEqual([
        [groupId, ErrorCode.NON_EMPTY_GROUP],
        [unknown, ErrorCode.GROUP_ID_NOT_FOUND],
      ]);
      await one.leave();
      expect(await remove([groupId])).toEqual([[groupId, ErrorCode.NONE]]);
      expect(await remove([groupId])).toEqual([[groupId, ErrorCode.GROUP_ID_NOT_FOUND]]);
      await one.client[Symbol.asyncDispose]();
    }
  });
});

describe("T42: a static member", () => {
  test("joins in one step, comes back into the same generation, and its old self is fenced", async () => {
    await using it = await served();
    const groupId = newGroup();
    const one = await member(it, groupId, { instanceId: "shelf-1", protocols: { range: "same" } });
    const joined = await one.join();
    expect(joined).toMatchObject({ errorCode: ErrorCode.NONE, generationId: 1, leader: one.memberId });
    expect(one.memberId).toMatch(/^shelf-1-[0-9a-f-]{36}$/);
    expect((await one.sync({ [one.memberId]: "all" })).errorCode).toBe(ErrorCode.NONE);
    const restarted = await member(it, groupId, { instanceId: "shelf-1", protocols: { range: "same" } });
    const back = await restarted.join();
    expect(back).toMatchObject({ errorCode: 0, generationId: 1, skipAssignment: true, leader: restarted.memberId });
    expect(restarted.memberId).toMatch(/^shelf-1-[0-9a-f-]{36}$/);
    expect(restarted.memberId).not.toBe(one.memberId);
    expect(back.members).toMatchObject([{ memberId: restarted.memberId, groupInstanceId: "shelf-1" }]);
    expect((await restarted.sync()).assignment).toEqual(Buffer.from("all"));
    expect(await one.beat()).toBe(ErrorCode.FENCED_INSTANCE_ID);
    expect((await one.sync()).errorCode).toBe(ErrorCode.FENCED_INSTANCE_ID);
    expect(await restarted.beat()).toBe(ErrorCode.NONE);
    for (const { client } of [one, restarted]) await client[Symbol.asyncDispose]();
  });

  test("before v9 is told of an earlier leader, so that it assigns nothing", async () => {
    await using it = await served();
    const groupId = newGroup();
    const one = await member(it, groupId, { instanceId: "shelf-1", version: 8 });
    await one.join();
    await one.sync({ [one.memberId]: "all" });
    const restarted = await member(it, groupId, { instanceId: "shelf-1", version: 8 });
    const back = await restarted.join();
    expect(back).toMatchObject({ errorCode: 0, generationId: 1, skipAssignment: false, leader: one.memberId });
    expect(back.members).toEqual([]);
    for (const { client } of [one, restarted]) await client[Symbol.asyncDispose]();
  });

  test("is removed by its instance id; each of a list is answered for itself", async () => {
    await using it = await served();
    const groupId = newGroup();
    const one = await member(it, groupId, { instanceId: "shelf-1" });
    await one.join();
    await one.sync({ [one.memberId]: "all" });
    const left = await one.client.request(leaveGroup, 5, {
      groupId,
      members: [
        { memberId: "", groupInstanceId: "shelf-9" },
        { memberId: "stranger" },
        { memberId: "stranger", groupInstanceId: "shelf-1" },
        { memberId: "", groupInstanceId: "shelf-1" },
      ],
    });
    expect(left.errorCode).toBe(ErrorCode.NONE);
    expect(
      left.members.map(({ memberId, groupInstanceId, errorCode }) => [memberId, groupInstanceId, errorCode]),
    ).toEqual([
      ["", "shelf-9", ErrorCode.UNKNOWN_MEMBER_ID],
      ["stranger", null, ErrorCode.UNKNOWN_MEMBER_ID],
      ["stranger", "shelf-1", ErrorCode.FENCED_INSTANCE_ID],
      ["", "shelf-1", ErrorCode.NONE],
    ]);
    const { groups } = await one.client.request(describeGroups, 5, { groups: [groupId] });
    expect(groups[0]).toMatchObject({ groupState: "Empty", members: [] });
    await one.client[Symbol.asyncDispose]();
  });
});

describe("time", () => {
  test("a member that is silent for longer than its session goes, and the others are told", async () => {
    await using it = await served({ "group.min.session.timeout.ms": "100" });
    const groupId = newGroup();
    const silent = await settled(it, groupId, { sessionTimeoutMs: 600, rebalanceTimeoutMs: 5_000 });
    const other = await member(it, groupId);
    // The silent one does not come back: its session is over before the rebalance is.
    expect(await other.enter()).toMatchObject({ errorCode: ErrorCode.NONE, generationId: 2, leader: other.memberId });
    expect(await silent.beat()).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    for (const { client } of [silent, other]) await client[Symbol.asyncDispose]();
  });

  test("a member that beats but does not rejoin is left behind when the rebalance timeout is over", async () => {
    await using it = await served({ "group.min.session.timeout.ms": "100" });
    const groupId = newGroup();
    const late = await settled(it, groupId, { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 500 });
    const other = await member(it, groupId, { rebalanceTimeoutMs: 500 });
    const entering = other.enter();
    await late.beatUntilRebalance();
    expect(await entering).toMatchObject({ errorCode: ErrorCode.NONE, generationId: 2, leader: other.memberId });
    expect(await late.beat()).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    for (const { client } of [late, other]) await client[Symbol.asyncDispose]();
  });

  test("R18: a wall clock that steps by a day ends no session", async () => {
    await using it = await simulated({ config: { "group.initial.rebalance.delay.ms": "0" } });
    const client = await it.client();
    await coordinatorOf(client, "billing");
    const one = new Member(client, "billing", { sessionTimeoutMs: 10_000 });
    let isIn = false;
    void one.enter().then(() => (isIn = true));
    await it.clock.runUntil(() => isIn, { withinMs: 1_000 });
    await one.sync({ [one.memberId]: "all" });
    for (const stepMs of [86_400_000, -2 * 86_400_000]) {
      it.clock.stepWallClock(stepMs);
      await it.clock.advance(5_000);
      expect(await one.beat()).toBe(ErrorCode.NONE);
      await it.clock.advance(9_000);
      expect(await one.beat()).toBe(ErrorCode.NONE);
    }
    await it.clock.advance(11_000);
    expect(await one.beat()).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    await client[Symbol.asyncDispose]();
  });
});

interface CommitOptions {
  readonly version?: number;
  readonly topic?: string;
  readonly topicId?: string;
  readonly partition?: number;
  readonly generation?: number;
  readonly memberId?: string;
  readonly metadata?: string | null;
  readonly leaderEpoch?: number;
}

async function commit(
  client: RawClient,
  groupId: string,
  offset: number,
  options: CommitOptions = {},
): Promise<number> {
  const { version = 9, topic = "orders", topicId = "", partition = 0 } = options;
  const answer = await client.request(offsetCommit, version, {
    groupId,
    generationIdOrMemberEpoch: options.generation ?? -1,
    memberId: options.memberId ?? "",
    topics: [
      {
        ...(version >= 10 ? { topicId } : { name: topic }),
        partitions: [
          {
            partitionIndex: partition,
            committedOffset: offset,
            ...(version >= 6 ? { committedLeaderEpoch: options.leaderEpoch ?? -1 } : {}),
            committedMetadata: options.metadata === undefined ? "" : options.metadata,
          },
        ],
      },
    ],
  });
  const [told] = answer.topics;
  expect(version >= 10 ? told?.topicId : told?.name).toBe(version >= 10 ? topicId : topic);
  return told!.partitions[0]!.errorCode;
}

/** Offset, epoch, metadata and code of the partitions of one topic, or of all where `partitions` is null. */
async function committed(
  client: RawClient,
  groupId: string,
  partitions: readonly number[] | null,
  { version = 8, topic = "orders", topicId = "" } = {},
) {
  const named = version >= 10 ? { topicId } : { name: topic };
  const topics = partitions === null ? null : [{ ...named, partitionIndexes: partitions }];
  if (version >= 8) {
    const answer = await client.request(offsetFetch, version, { groups: [{ groupId, topics }], requireStable: true });
    const [group] = answer.groups;
    return { errorCode: group!.errorCode, partitions: group!.topics.flatMap((each) => each.partitions) };
  }
  const answer = await client.request(offsetFetch, version, {
    groupId,
    topics: topics?.map(({ partitionIndexes }) => ({ name: topic, partitionIndexes })) ?? null,
    ...(version >= 7 ? { requireStable: true } : {}),
  });
  return { errorCode: answer.errorCode, partitions: answer.topics.flatMap((each) => each.partitions) };
}

describe("T43: offsets", () => {
  test("are committed and fetched in every version, also from outside of any group", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders", 3);
    const groupId = newGroup();
    await coordinatorOf(client, groupId);
    for (const version of versionsOf(offsetCommit)) {
      const metadata = `by v${version}`;
      expect(await commit(client, groupId, version * 10, { version, topicId, metadata, leaderEpoch: 0 })).toBe(0);
      for (const fetched of versionsOf(offsetFetch)) {
        const found = await committed(client, groupId, [0, 1], { version: fetched, topicId });
        expect([version, fetched, found.errorCode]).toEqual([version, fetched, ErrorCode.NONE]);
        expect(found.partitions).toEqual([
          {
            partitionIndex: 0,
            committedOffset: version * 10,
            committedLeaderEpoch: version >= 6 && fetched >= 5 ? 0 : -1,
            metadata,
            errorCode: ErrorCode.NONE,
          },
          // What is not there is no error.
          { partitionIndex: 1, committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: ErrorCode.NONE },
        ]);
        if (fetched < 2) continue;
        const all = await committed(client, groupId, null, { version: fetched });
        expect(all.partitions).toMatchObject([{ partitionIndex: 0, committedOffset: version * 10 }]);
      }
    }
    const { groups } = await client.request(describeGroups, 5, { groups: [groupId] });
    expect(groups[0]).toMatchObject({ errorCode: 0, groupState: "Empty", protocolType: "", members: [] });
  });

  test("of a group that nobody knows are none, and no error", async () => {
    await using it = await served();
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    const groupId = newGroup();
    await coordinatorOf(client, groupId);
    for (const version of versionsOf(offsetFetch)) {
      const found = await committed(client, groupId, [0, 7], { version, topicId });
      expect(found.errorCode).toBe(ErrorCode.NONE);
      expect(found.partitions).toEqual(
        [0, 7].map((partitionIndex) => ({
          ...{ partitionIndex, committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: ErrorCode.NONE },
        })),
      );
    }
  });

  test("of topics that are not there are refused, one by one; so is metadata that is too long", async () => {
    await using it = await served({ "offset.metadata.max.bytes": "10" });
    await using client = await it.client();
    const topicId = await createTopic(client, "orders");
    const groupId = newGroup();
    await coordinatorOf(client, groupId);
    expect(await commit(client, groupId, 1, { topic: "nowhere" })).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await commit(client, groupId, 1, { partition: 4 })).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await commit(client, groupId, 1, { version: 10, topicId: unknownTopicId })).toBe(ErrorCode.UNKNOWN_TOPIC_ID);
    const partition = { version: 10, topicId, partition: 4 };
    expect(await commit(client, groupId, 1, partition)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await commit(client, groupId, 1, { metadata: "x".repeat(11) })).toBe(ErrorCode.OFFSET_METADATA_TOO_LARGE);
    expect(await commit(client, groupId, 1, { metadata: "x".repeat(10) })).toBe(ErrorCode.NONE);
    expect(await commit(client, groupId, 2, { metadata: null })).toBe(ErrorCode.NONE);
    expect((await committed(client, groupId, [0])).partitions).toMatchObject([{ committedOffset: 2, metadata: "" }]);
  });

  test("wait for each other as long as the broker is told", async () => {
    await using it = await served({ "group.coordinator.append.linger.ms": "200" });
    await using client = await it.client();
    await createTopic(client, "orders");
    const groupId = newGroup();
    await coordinatorOf(client, groupId);
    const beganMs = performance.now();
    expect(await commit(client, groupId, 1)).toBe(ErrorCode.NONE);
    expect(performance.now() - beganMs).toBeGreaterThan(190);
  });

  test("of a group with members are the members': of this generation, and not while they are being assigned", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const one = await settled(it, newGroup());
    const { groupId, memberId, generation } = one;
    const by = async (who: CommitOptions) => commit(client, groupId, 5, who);
    expect(await by({ memberId, generation })).toBe(ErrorCode.NONE);
    expect(await by({ memberId, generation: generation + 1 })).toBe(ErrorCode.ILLEGAL_GENERATION);
    expect(await by({ memberId: "stranger", generation })).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    expect(await by({})).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    const two = await member(it, groupId);
    const entering = two.enter();
    await one.beatUntilRebalance();
    // While others come, what was done so far can still be committed.
    expect(await by({ memberId, generation })).toBe(ErrorCode.NONE);
    await Promise.all([one.join(), entering]);
    expect(await by({ memberId, generation: one.generation })).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
    await one.sync({ [one.memberId]: "1", [two.memberId]: "2" });
    expect(await by({ memberId, generation: one.generation })).toBe(ErrorCode.NONE);
    for (const each of [one, two]) {
      await each.leave();
      await each.client[Symbol.asyncDispose]();
    }
    // Nobody is there: anyone may.
    expect(await by({})).toBe(ErrorCode.NONE);
  });

  test("of many groups are fetched at once, each with its own code", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const [one, two] = [newGroup(), newGroup()];
    await coordinatorOf(client, one);
    await commit(client, one, 11);
    await commit(client, two, 22);
    const answer = await client.request(offsetFetch, 9, {
      groups: [
        { groupId: one, topics: [{ name: "orders", partitionIndexes: [0] }] },
        { groupId: two, topics: null },
        { groupId: "nobody", topics: null },
      ],
    });
    const told = answer.groups.map(({ groupId, errorCode, topics }) => [
      groupId,
      errorCode,
      topics.flatMap(({ partitions }) => partitions.map(({ committedOffset }) => committedOffset)),
    ]);
    expect(told).toEqual([
      [one, 0, [11]],
      [two, 0, [22]],
      ["nobody", 0, []],
    ]);
  });

  test("are deleted, but not those of a topic that a member reads; they go with their topic", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders", 2);
    const topicId = await createTopic(client, "returns");
    const groupId = newGroup();
    await coordinatorOf(client, groupId);
    for (const partition of [0, 1]) await commit(client, groupId, 5, { partition });
    await commit(client, groupId, 6, { topic: "returns" });
    const remove = async (topic: string, partitionIndex: number, group = groupId) => {
      const { errorCode, topics } = await client.request(offsetDelete, 0, {
        groupId: group,
        topics: [{ name: topic, partitions: [{ partitionIndex }] }],
      });
      return [errorCode, topics[0]?.partitions[0]?.errorCode];
    };
    expect(await remove("orders", 1)).toEqual([ErrorCode.NONE, ErrorCode.NONE]);
    expect((await committed(client, groupId, [0, 1])).partitions).toMatchObject([
      { committedOffset: 5 },
      { committedOffset: -1 },
    ]);
    expect(await remove("nowhere", 0)).toEqual([ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
    expect(await remove("orders", 0, "nobody")).toEqual([ErrorCode.GROUP_ID_NOT_FOUND, undefined]);
    // What a consumer says of itself: version 0, one topic, no user data.
    const subscription = "\u0000\u0000\u0000\u0000\u0000\u0001\u0000\u0006orders\u0000\u0000\u0000\u0000";
    const reader = await settled(it, groupId, { protocols: { range: subscription } });
    expect(await remove("orders", 0)).toEqual([ErrorCode.NONE, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC]);
    await reader.leave();
    await reader.client[Symbol.asyncDispose]();
    await client.request(deleteTopics, 6, { topics: [{ name: null, topicId }], timeoutMs: 10_000 });
    await expect
      .poll(async () => (await committed(client, groupId, [0], { topic: "returns" })).partitions[0]?.committedOffset)
      .toBe(-1);
  });

  test("survive a restart, and so does the group with its generation", async () => {
    await using it = await served();
    const groupId = newGroup();
    let before: Member;
    {
      await using client = await it.client();
      await createTopic(client, "orders");
      before = await settled(it, groupId);
      const { memberId, generation } = before;
      await commit(client, groupId, 42, { memberId, generation, metadata: "kept", leaderEpoch: 0 });
      await before.client[Symbol.asyncDispose]();
    }
    await it.restart();
    await using client = await it.client();
    await coordinatorOf(client, groupId);
    expect((await committed(client, groupId, [0])).partitions).toMatchObject([
      { committedOffset: 42, committedLeaderEpoch: 0, metadata: "kept" },
    ]);
    const after = new Member(client, groupId);
    after.memberId = before.memberId;
    after.generation = before.generation;
    after.protocolName = before.protocolName;
    expect(await after.beat()).toBe(ErrorCode.NONE);
    expect((await after.sync()).assignment).toEqual(Buffer.from("all"));
  });
});

describe("T44: a group", () => {
  test("is described in every version; one that is not there is Dead, and from v6 on also an error", async () => {
    await using it = await served();
    const one = await settled(it, newGroup(), { protocols: { range: "me" } });
    const { groupId, memberId, client } = one;
    for (const version of versionsOf(describeGroups)) {
      const { groups } = await client.request(describeGroups, version, { groups: [groupId, "nobody"] });
      const [found, unknown] = groups;
      expect(found).toMatchObject({ errorCode: 0, groupId, groupState: "Stable", protocolType: "consumer" });
      expect(found).toMatchObject({ protocolData: "range", authorizedOperations: -2_147_483_648 });
      expect(found?.members).toEqual([
        {
          memberId,
          groupInstanceId: null,
          clientId: "app",
          clientHost: "/127.0.0.1",
          memberMetadata: Buffer.from("me"),
          memberAssignment: Buffer.from("all"),
        },
      ]);
      const code = version >= 6 ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.NONE;
      expect(unknown).toMatchObject({ errorCode: code, groupId: "nobody", groupState: "Dead", members: [] });
    }
    const { groups } = await client.request(describeGroups, 5, {
      groups: [groupId],
      includeAuthorizedOperations: true,
    });
    // Read, describe, delete, and the two of configurations.
    expect(groups[0]?.authorizedOperations).not.toBe(-2_147_483_648);
    await client[Symbol.asyncDispose]();
  });

  test("goes through its states", async () => {
    await using it = await served();
    await using client = await it.client();
    const groupId = newGroup();
    const stateOf = async () => {
      const { groups } = await client.request(describeGroups, 5, { groups: [groupId] });
      return groups[0]?.groupState;
    };
    const one = await member(it, groupId);
    await one.enter();
    expect(await stateOf()).toBe("CompletingRebalance");
    await one.sync({ [one.memberId]: "all" });
    expect(await stateOf()).toBe("Stable");
    const two = await member(it, groupId);
    const entering = two.enter();
    await one.beatUntilRebalance();
    expect(await stateOf()).toBe("PreparingRebalance");
    await one.leave();
    await entering;
    await two.leave();
    expect(await stateOf()).toBe("Empty");
    for (const each of [one, two]) await each.client[Symbol.asyncDispose]();
  });

  test("is listed in every version, by state and by type", async () => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders");
    const one = await settled(it, newGroup());
    const simple = newGroup();
    await commit(client, simple, 1);
    const listed = async (version: number, filter: object = {}) => {
      const { groups, errorCode } = await client.request(listGroups, version, filter);
      expect(errorCode).toBe(ErrorCode.NONE);
      // Those of the tests before may still be there.
      return new Map(groups.map((group) => [group.groupId, group]));
    };
    for (const version of versionsOf(listGroups)) {
      const groups = await listed(version);
      expect(groups.get(one.groupId)).toEqual({
        groupId: one.groupId,
        protocolType: "consumer",
        groupState: version >= 4 ? "Stable" : "",
        groupType: version >= 5 ? "classic" : "",
      });
      expect(groups.get(simple)).toMatchObject({ protocolType: "", groupState: version >= 4 ? "Empty" : "" });
    }
    const both = [one.groupId, simple];
    const present = async (filter: object): Promise<string[]> => {
      const groups = await listed(5, filter);
      return both.filter((groupId) => groups.has(groupId));
    };
    expect(await present({ statesFilter: ["Stable"] })).toEqual([one.groupId]);
    expect(await present({ statesFilter: ["stable", "EMPTY"] })).toEqual(both);
    expect(await present({ statesFilter: ["NoSuchState"] })).toEqual([]);
    expect(await present({ typesFilter: ["Classic"] })).toEqual(both);
    expect(await present({ typesFilter: ["consumer"] })).toEqual([]);
    await one.client[Symbol.asyncDispose]();
  });
});

test("T45: FindCoordinator answers one key before v4, and each of many from then on", async () => {
  await using it = await served();
  await using client = await it.client();
  const groupId = newGroup();
  await coordinatorOf(client, groupId);
  for (const version of versionsOf(findCoordinator)) {
    if (version < 4) {
      const found = await client.request(findCoordinator, version, {
        key: groupId,
        ...(version >= 1 ? { keyType: 0 } : {}),
      });
      expect(found).toMatchObject({ errorCode: 0, nodeId: 1, host: "127.0.0.1" });
      expect(found.port).toBeGreaterThan(0);
      if (version >= 1) expect(found.errorMessage).toBe("NONE");
      continue;
    }
    const { coordinators } = await client.request(findCoordinator, version, {
      keyType: 0,
      coordinatorKeys: [groupId, "another"],
    });
    expect(
      coordinators.map(({ key, errorCode, errorMessage, nodeId }) => [key, errorCode, errorMessage, nodeId]),
    ).toEqual([
      [groupId, 0, "", 1],
      ["another", 0, "", 1],
    ]);
    const unknown = await client.request(findCoordinator, version, { keyType: 9, coordinatorKeys: ["x"] });
    expect(unknown.coordinators[0]).toMatchObject({ key: "x", errorCode: ErrorCode.INVALID_REQUEST, nodeId: -1 });
    if (version < 6) continue;
    const badShare = await client.request(findCoordinator, version, { keyType: 2, coordinatorKeys: ["group"] });
    expect(badShare.coordinators[0]).toMatchObject({ key: "group", errorCode: ErrorCode.INVALID_REQUEST });
  }
});
