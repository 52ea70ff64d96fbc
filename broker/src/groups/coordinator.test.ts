import { silentLogger } from "@millrace/base/logger";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { Api } from "kafka-protocol-ts/api";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import type { JoinGroupRequestInput, JoinGroupResponse } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { deleteGroups } from "kafka-protocol-ts/messages/42-delete-groups";
import { offsetDelete } from "kafka-protocol-ts/messages/47-offset-delete";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { beforeEach, describe, expect, test } from "vitest";
import type { RequestContext } from "../apis/handler.ts";
import { MemoryLog } from "../coordinator/testing/memory-log.ts";
import { GroupCoordinator } from "./coordinator.ts";
import { defaultGroupSettings } from "./settings.ts";
import type { GroupSettings } from "./settings.ts";
import { subscription } from "./testing/client.ts";
import type { KnownTopic } from "./topic-lookup.ts";

/*
 * From request bytes to response bytes, in every version: what clients of all ages see. The numbers are Kafka's error
 * codes, since those are the contract.
 */

const topics: KnownTopic[] = [
  { name: "t", id: "AAAAAAAAAAAAAAAAAAAAAQ", partitionCount: 3 },
  { name: "u", id: "AAAAAAAAAAAAAAAAAAAAAg", partitionCount: 1 },
];
const unknownId = "AAAAAAAAAAAAAAAAAAAACQ";

let clock: VirtualClock;
let log: MemoryLog;
let groups: GroupCoordinator;

function coordinator(settings: Partial<GroupSettings> = {}): GroupCoordinator {
  return new GroupCoordinator({
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    settings: { ...defaultGroupSettings, initialRebalanceDelayMs: 0, ...settings },
    topics: {
      byName: (name) => topics.find((one) => one.name === name) ?? null,
      byId: (id) => topics.find((one) => one.id === id) ?? null,
      names: () => topics.map(({ name }) => name),
      version: 0,
    },
    partitionCount: () => 1,
    fatal: (error) => {
      throw error;
    },
  });
}

beforeEach(async () => {
  clock = new VirtualClock();
  log = new MemoryLog();
  groups = coordinator();
  groups.onLeader(0, log);
  await clock.settle();
});

/** Through the codecs both ways, as a connection does it; time passes a little, for what has to wait. */
async function call<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  version: number,
  request: ReqInput,
  handle: (request: Req, context: RequestContext) => Promise<ResInput>,
): Promise<Res> {
  const written = new ByteWriter();
  api.request.write(written, request, version);
  const frame = written.toBuffer();
  const connection = { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker" as const };
  const answering = handle(api.request.read(new ByteReader(frame), version), {
    version,
    correlationId: 1,
    clientId: "app",
    connection,
  });
  // The connection's memory serves the next frame.
  frame.fill(0xff);
  const response = await answering;
  const answer = new ByteWriter();
  api.response.write(answer, response, version);
  return api.response.read(new ByteReader(answer.toBuffer()), version);
}

const metadata = Buffer.from(subscription(["t"]));
const range = [{ name: "range", metadata }];
const joinRequest: JoinGroupRequestInput = {
  groupId: "g",
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 60_000,
  memberId: "",
  protocolType: "consumer",
  protocols: range,
};

async function join(version: number, request: Partial<JoinGroupRequestInput> = {}): Promise<JoinGroupResponse> {
  const answering = call(joinGroup, version, { ...joinRequest, ...request }, (one, context) =>
    groups.joinGroup(one, context),
  );
  await clock.advance(1);
  return answering;
}
async function sync(
  version: number,
  request: {
    memberId: string;
    generationId: number;
    groupInstanceId?: string;
    assignments?: { memberId: string; assignment: Buffer }[];
  },
) {
  const protocol = version >= 5 ? { protocolType: "consumer", protocolName: "range" } : {};
  return call(syncGroup, version, { groupId: "g", assignments: [], ...protocol, ...request }, (one, context) =>
    groups.syncGroup(one, context),
  );
}
/** A group of one, stable. */
async function stable(version = 9): Promise<JoinGroupResponse> {
  const first = await join(version);
  const joined = version >= 4 ? await join(version, { memberId: first.memberId }) : first;
  const { memberId, generationId } = joined;
  await sync(3, { memberId, generationId, assignments: [{ memberId, assignment: Buffer.from("all") }] });
  return joined;
}
const commit = (
  version: number,
  request: Partial<Parameters<typeof offsetCommit.request.write>[1]> & { topics?: unknown } = {},
) =>
  call(
    offsetCommit,
    version,
    {
      groupId: "g",
      memberId: "",
      topics: [
        {
          name: "t",
          topicId: topics[0]!.id,
          partitions: [{ partitionIndex: 0, committedOffset: 5, committedMetadata: "m" }],
        },
      ],
      ...request,
    },
    (one, context) => groups.offsetCommit(one, context),
  );
const describeGroup = (version: number, groupId = "g") =>
  call(describeGroups, version, { groups: [groupId], includeAuthorizedOperations: false }, (one, context) =>
    groups.describeGroups(one, context),
  );

test("decisions wait for each other as long as the settings say", async () => {
  groups = coordinator({ appendLingerMs: 10 });
  groups.onLeader(0, log);
  await clock.settle();
  const committing = Promise.all([commit(9, { groupId: "a" }), commit(9, { groupId: "b" })]);
  await clock.advance(9);
  expect(log.batchCount).toBe(0);
  await clock.advance(1);
  await committing;
  expect(log.batchCount).toBe(1);
});

describe("joining", () => {
  test("from v4 on needs two steps: 79 and a member id of client id and uuid, then the group", async () => {
    for (let version = 4; version <= 9; version++) {
      const first = await join(version, { groupId: `v${version}` });
      expect(first).toMatchObject({ errorCode: 79, generationId: -1, leader: "", protocolType: null, members: [] });
      expect(first.memberId).toMatch(/^app-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      const second = await join(version, { groupId: `v${version}`, memberId: first.memberId });
      const { memberId } = first;
      expect(second).toMatchObject({
        errorCode: 0,
        generationId: 1,
        leader: memberId,
        memberId,
        protocolName: "range",
      });
      expect(second.protocolType).toBe(version >= 7 ? "consumer" : null);
      expect(second.members).toEqual([{ memberId, groupInstanceId: null, metadata }]);
    }
  });

  test("below v4 is done at once", async () => {
    for (let version = 0; version <= 3; version++) {
      expect(await join(version, { groupId: `v${version}` })).toMatchObject({ errorCode: 0, generationId: 1 });
    }
  });

  test("that fails names no protocol: the empty name up to v6, null from v7 on", async () => {
    for (let version = 0; version <= 9; version++) {
      const refused = await join(version, { groupId: "" });
      expect(refused).toMatchObject({ errorCode: 24, generationId: -1, protocolName: version < 7 ? "" : null });
    }
  });

  test("is refused for what does not fit", async () => {
    await stable();
    expect(await join(9, { protocols: [{ name: "sticky", metadata }] })).toMatchObject({ errorCode: 23, memberId: "" });
    expect(await join(9, { protocolType: "connect" })).toMatchObject({ errorCode: 23 });
    expect(await join(9, { groupId: "new", protocolType: "" })).toMatchObject({ errorCode: 23 });
    expect(await join(9, { groupId: "new", protocols: [] })).toMatchObject({ errorCode: 23 });
    expect(await join(9, { sessionTimeoutMs: 5_999 })).toMatchObject({ errorCode: 26 });
    expect(await join(9, { sessionTimeoutMs: 1_800_001 })).toMatchObject({ errorCode: 26 });
    expect(await join(9, { memberId: "nobody" })).toMatchObject({ errorCode: 25, memberId: "nobody" });
    expect(await join(9, { groupId: "new", memberId: "nobody" })).toMatchObject({ errorCode: 25 });
  });

  test("is bounded by group.max.size", async () => {
    groups = coordinator({ groupSizeMax: 1 });
    groups.onLeader(0, log);
    await clock.settle();
    await stable();
    expect(await join(9)).toMatchObject({ errorCode: 81, memberId: "" });
  });

  test("as a static member needs one step; a restart keeps the generation, and the old process is fenced", async () => {
    const first = await join(9, { groupInstanceId: "one" });
    expect(first.memberId).toMatch(/^one-/);
    expect(first).toMatchObject({ errorCode: 0, generationId: 1, leader: first.memberId, skipAssignment: false });
    const assignments = [{ memberId: first.memberId, assignment: Buffer.from("all") }];
    await sync(5, { memberId: first.memberId, generationId: 1, groupInstanceId: "one", assignments });
    const second = await join(9, { groupInstanceId: "one" });
    expect(second).toMatchObject({ errorCode: 0, generationId: 1, leader: second.memberId, skipAssignment: true });
    expect(second.memberId).not.toBe(first.memberId);
    expect(await sync(5, { memberId: second.memberId, generationId: 1, groupInstanceId: "one" })).toMatchObject({
      assignment: Buffer.from("all"),
    });
    const beat = { groupId: "g", generationId: 1, memberId: first.memberId, groupInstanceId: "one" };
    expect(await call(heartbeat, 4, beat, (one) => groups.heartbeat(one))).toMatchObject({ errorCode: 82 });
    expect(await join(9, { groupInstanceId: "one", memberId: first.memberId })).toMatchObject({ errorCode: 82 });
  });

  test("with the longest client id there is still gives a member id that can be sent", async () => {
    const connection = { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker" as const };
    const context: RequestContext = { version: 9, correlationId: 1, clientId: "é".repeat(16_383), connection };
    const request = {
      groupInstanceId: null,
      reason: null,
      ...joinRequest,
      rebalanceTimeoutMs: 1_000,
      protocols: range,
    };
    const response = await groups.joinGroup(request, context);
    joinGroup.response.write(new ByteWriter(), response, 9);
    expect(response.errorCode).toBe(79);
  });
});

describe("a member", () => {
  test("gets its assignment untouched, in every version", async () => {
    const { memberId, generationId } = await stable();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    await join(9, { memberId });
    for (let version = 0; version <= 5; version++) {
      const answer = await sync(version, {
        memberId,
        generationId: generationId + 1,
        assignments: [{ memberId, assignment: bytes }],
      });
      expect(answer).toMatchObject({ errorCode: 0, assignment: bytes, protocolName: version >= 5 ? "range" : null });
    }
    const described = await describeGroup(6);
    expect(described.groups[0]).toMatchObject({
      groupState: "Stable",
      protocolData: "range",
      members: [
        { memberId, clientId: "app", clientHost: "/127.0.0.1", memberMetadata: metadata, memberAssignment: bytes },
      ],
    });
  });

  test("is refused when it is not who it says", async () => {
    const { memberId } = await stable();
    expect(await sync(5, { memberId, generationId: 9 })).toMatchObject({ errorCode: 22 });
    expect(await sync(5, { memberId: "nobody", generationId: 1 })).toMatchObject({ errorCode: 25 });
    const unsaid = { groupId: "g", memberId, generationId: 1, assignments: [] };
    expect(await call(syncGroup, 5, unsaid, (one, context) => groups.syncGroup(one, context))).toMatchObject({
      errorCode: 23,
    });
    const other = { ...unsaid, protocolType: "consumer", protocolName: "sticky" };
    expect(await call(syncGroup, 5, other, (one, context) => groups.syncGroup(one, context))).toMatchObject({
      errorCode: 23,
    });
    for (let version = 0; version <= 4; version++) {
      const beat = (request: object) =>
        call(heartbeat, version, { groupId: "g", generationId: 1, memberId, ...request }, (one) =>
          groups.heartbeat(one),
        );
      expect(await beat({})).toMatchObject({ errorCode: 0 });
      expect(await beat({ generationId: 2 })).toMatchObject({ errorCode: 22 });
      expect(await beat({ memberId: "nobody" })).toMatchObject({ errorCode: 25 });
      expect(await beat({ groupId: "nothing" })).toMatchObject({ errorCode: 25 });
      expect(await beat({ groupId: "" })).toMatchObject({ errorCode: 24 });
    }
  });

  test("leaves: alone up to v2, with others from v3 on", async () => {
    for (let version = 0; version <= 2; version++) {
      const { memberId } = await stable();
      const leave = (one: string) =>
        call(leaveGroup, version, { groupId: "g", memberId: one }, (request, context) =>
          groups.leaveGroup(request, context),
        );
      expect(await leave("nobody")).toMatchObject({ errorCode: 25 });
      expect(await leave(memberId)).toMatchObject({ errorCode: 0 });
    }
    for (let version = 3; version <= 5; version++) {
      const { memberId } = await stable();
      const members = [{ memberId }, { memberId: "nobody" }, { memberId: "", groupInstanceId: "one" }];
      const left = await call(leaveGroup, version, { groupId: "g", members }, (request, context) =>
        groups.leaveGroup(request, context),
      );
      expect(left.errorCode).toBe(0);
      expect(left.members.map(({ errorCode }) => errorCode)).toEqual([0, 25, 25]);
      expect((await describeGroup(5)).groups[0]).toMatchObject({ groupState: "Empty", members: [] });
    }
    const nothing = { groupId: "nothing", members: [{ memberId: "a" }] };
    expect(await call(leaveGroup, 5, nothing, (request, context) => groups.leaveGroup(request, context))).toMatchObject(
      { errorCode: 0, members: [{ errorCode: 25 }] },
    );
  });
});

describe("offsets", () => {
  const fetchOne = (version: number, request: object = {}) =>
    call(
      offsetFetch,
      version,
      version >= 8
        ? {
            groups: [{ groupId: "g", topics: [{ name: "t", topicId: topics[0]!.id, partitionIndexes: [0, 1] }] }],
            ...request,
          }
        : { groupId: "g", topics: [{ name: "t", partitionIndexes: [0, 1] }], ...request },
      (one, context) => groups.offsetFetch(one, context),
    );

  test("are committed from outside and fetched in every version; what is not there is −1 and no error", async () => {
    for (let version = 2; version <= 10; version++) {
      const answer = await commit(version);
      const place = version >= 10 ? { topicId: topics[0]!.id } : { name: "t" };
      expect(answer.topics).toMatchObject([{ ...place, partitions: [{ partitionIndex: 0, errorCode: 0 }] }]);
    }
    const there = { partitionIndex: 0, committedOffset: 5, committedLeaderEpoch: -1, metadata: "m", errorCode: 0 };
    const missing = { partitionIndex: 1, committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: 0 };
    for (let version = 1; version <= 10; version++) {
      const answer = await fetchOne(version);
      const place = version >= 10 ? { topicId: topics[0]!.id } : { name: "t" };
      const expected = [{ ...place, partitions: [there, missing] }];
      if (version >= 8) expect(answer.groups).toMatchObject([{ groupId: "g", errorCode: 0, topics: expected }]);
      else expect(answer).toMatchObject({ errorCode: 0, topics: expected });
      if (version >= 2) {
        const all = await fetchOne(
          version,
          version >= 8 ? { groups: [{ groupId: "g", topics: null }] } : { topics: null },
        );
        expect(version >= 8 ? all.groups[0]!.topics : all.topics).toMatchObject([{ ...place, partitions: [there] }]);
      }
    }
  });

  test("of several groups are fetched at once", async () => {
    await commit(9);
    const answer = await fetchOne(9, {
      groups: [
        { groupId: "nothing", topics: null },
        { groupId: "g", topics: null },
      ],
    });
    expect(answer.groups).toMatchObject([
      { groupId: "nothing", topics: [], errorCode: 0 },
      { groupId: "g", topics: [{ name: "t" }], errorCode: 0 },
    ]);
  });

  test("of topics that are not there are refused, one by one", async () => {
    const partition = (partitionIndex: number, committedMetadata: string | null = null) => ({
      partitionIndex,
      committedOffset: 1,
      committedMetadata,
    });
    const request = {
      topics: [
        { name: "nothing", partitions: [partition(0)] },
        { name: "t", partitions: [partition(0), partition(3), partition(1, "x".repeat(4_097))] },
      ],
    };
    const answer = await commit(9, request);
    expect(answer.topics.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode))).toEqual([
      [3],
      [0, 3, 12],
    ]);
    const byId = await commit(10, {
      topics: [
        { topicId: unknownId, partitions: [partition(0)] },
        { topicId: topics[0]!.id, partitions: [partition(2)] },
      ],
    });
    expect(byId.topics.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode))).toEqual([[100], [0]]);
    const fetched = await fetchOne(10, {
      groups: [
        {
          groupId: "g",
          topics: [
            { topicId: unknownId, partitionIndexes: [0] },
            { topicId: topics[0]!.id, partitionIndexes: [2] },
          ],
        },
      ],
    });
    expect(fetched.groups[0]!.topics).toMatchObject([
      { topicId: unknownId, partitions: [{ errorCode: 100, committedOffset: -1 }] },
      { topicId: topics[0]!.id, partitions: [{ errorCode: 0, committedOffset: 1 }] },
    ]);
  });

  test("are refused to who is not in the group as it is now", async () => {
    const code = async (version: number, request: object): Promise<number> =>
      (await commit(version, request)).topics[0]!.partitions[0]!.errorCode;
    expect(await code(9, { generationIdOrMemberEpoch: 3, memberId: "a" })).toBe(69);
    expect(await code(8, { generationIdOrMemberEpoch: 3, memberId: "a" })).toBe(22);
    const { memberId } = await stable();
    expect(await code(9, {})).toBe(25);
    expect(await code(9, { generationIdOrMemberEpoch: 1, memberId: "nobody" })).toBe(25);
    expect(await code(9, { generationIdOrMemberEpoch: 2, memberId })).toBe(22);
    expect(await code(9, { generationIdOrMemberEpoch: 1, memberId, groupInstanceId: "one" })).toBe(25);
    expect(await code(9, { generationIdOrMemberEpoch: 1, memberId })).toBe(0);
    await join(9, { memberId });
    expect(await code(9, { generationIdOrMemberEpoch: 2, memberId })).toBe(27);
  });

  test("that do not fit a batch are refused with 28, and nothing of them is kept", async () => {
    log.refuseNext = "too-large";
    expect((await commit(9)).topics[0]!.partitions[0]!.errorCode).toBe(28);
    expect((await fetchOne(9)).groups[0]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: -1 });
  });

  test("of an earlier topic of the same name are none", async () => {
    await commit(10);
    const [was] = topics;
    topics[0] = { ...was!, id: unknownId };
    expect((await fetchOne(9)).groups[0]!.topics[0]!.partitions[0]).toMatchObject({
      committedOffset: -1,
      errorCode: 0,
    });
    topics[0] = was!;
    expect((await fetchOne(9)).groups[0]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: 5 });
    groups.onTopicsDeleted(["t"]);
    expect((await fetchOne(9)).groups[0]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: -1 });
  });

  test("with a retention of their own (v2 to v4) go by that", async () => {
    await commit(4, { retentionTimeMs: 60_000 });
    await clock.advance(600_000);
    expect((await fetchOne(9)).groups[0]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: -1 });
  });

  test("are deleted, but not under a reader", async () => {
    const remove = (groupId: string, names: string[]) =>
      call(
        offsetDelete,
        0,
        { groupId, topics: names.map((name) => ({ name, partitions: [{ partitionIndex: 0 }] })) },
        (one) => groups.offsetDelete(one),
      );
    expect(await remove("", ["t"])).toMatchObject({ errorCode: 24 });
    expect(await remove("g", ["t"])).toMatchObject({ errorCode: 69, topics: [] });
    await commit(9);
    expect(await remove("g", ["t", "nothing"])).toMatchObject({
      errorCode: 0,
      topics: [{ partitions: [{ errorCode: 0 }] }, { partitions: [{ errorCode: 3 }] }],
    });
    expect(await remove("g", ["t"])).toMatchObject({ errorCode: 69 });
    await stable();
    expect(await remove("g", ["t", "u"])).toMatchObject({
      errorCode: 0,
      topics: [{ partitions: [{ errorCode: 86 }] }, { partitions: [{ errorCode: 0 }] }],
    });
  });
});

describe("groups", () => {
  test("that do not exist are Dead; from v6 on that is also an error", async () => {
    for (let version = 0; version <= 6; version++) {
      const { groups: described } = await describeGroup(version, "nothing");
      expect(described[0]).toMatchObject({
        errorCode: version >= 6 ? 69 : 0,
        groupState: "Dead",
        authorizedOperations: -2147483648,
      });
    }
  });

  test("are described in every state", async () => {
    const state = async (): Promise<string> => (await describeGroup(6)).groups[0]!.groupState;
    const { memberId } = await join(9);
    expect(await state()).toBe("Empty");
    const joining = call(joinGroup, 9, { ...joinRequest, memberId }, (one, context) => groups.joinGroup(one, context));
    expect(await state()).toBe("PreparingRebalance");
    await clock.advance(1);
    await joining;
    expect(await state()).toBe("CompletingRebalance");
    await sync(5, { memberId, generationId: 1 });
    expect(await state()).toBe("Stable");
    const operations = await call(
      describeGroups,
      6,
      { groups: ["g"], includeAuthorizedOperations: true },
      (one, context) => groups.describeGroups(one, context),
    );
    expect(operations.groups[0]!.authorizedOperations).toBe(3400);
  });

  test("are listed by state and type", async () => {
    await stable();
    await commit(9, { groupId: "offsets-only" });
    const list = async (version: number, filter: object = {}): Promise<string[]> =>
      (
        await call(listGroups, version, { statesFilter: [], typesFilter: [], ...filter }, (one) =>
          groups.listGroups(one),
        )
      ).groups.map(
        ({ groupId, protocolType, groupState, groupType }) => `${groupId} ${protocolType} ${groupState} ${groupType}`,
      );
    for (let version = 0; version <= 3; version++)
      expect(await list(version)).toEqual(["g consumer  ", "offsets-only   "]);
    expect(await list(4)).toEqual(["g consumer Stable ", "offsets-only  Empty "]);
    expect(await list(5)).toEqual(["g consumer Stable classic", "offsets-only  Empty classic"]);
    expect(await list(5, { statesFilter: ["sTABLE"] })).toHaveLength(1);
    expect(await list(5, { statesFilter: ["nonsense"] })).toEqual([]);
    expect(await list(5, { typesFilter: ["Classic"] })).toHaveLength(2);
    expect(await list(5, { typesFilter: ["consumer"] })).toEqual([]);
  });

  test("are deleted without members: 68 with, 69 without a group", async () => {
    const remove = async (version: number, groupsNames: string[]): Promise<number[]> =>
      (await call(deleteGroups, version, { groupsNames }, (one) => groups.deleteGroups(one))).results.map(
        ({ errorCode }) => errorCode,
      );
    for (let version = 0; version <= 2; version++) {
      const { memberId } = await stable();
      await commit(9, { groupId: "offsets-only" });
      expect(await remove(version, ["g", "nothing", "offsets-only"])).toEqual([68, 69, 0]);
      await call(leaveGroup, 3, { groupId: "g", members: [{ memberId }] }, (request, context) =>
        groups.leaveGroup(request, context),
      );
      expect(await remove(version, ["g", "g"])).toEqual([0, 69]);
    }
  });
});

describe("a coordinator", () => {
  test("that has not loaded says so: 14; heartbeats go on", async () => {
    log.gate = new Promise(() => {});
    groups.onLeader(0, log);
    expect(await join(9)).toMatchObject({ errorCode: 14 });
    expect((await commit(9)).topics[0]!.partitions[0]!.errorCode).toBe(14);
    expect((await describeGroup(6)).groups[0]).toMatchObject({ errorCode: 14 });
    expect(await call(listGroups, 5, {}, (one) => groups.listGroups(one))).toMatchObject({ errorCode: 14, groups: [] });
    expect(
      await call(heartbeat, 4, { groupId: "g", generationId: 1, memberId: "a" }, (one) => groups.heartbeat(one)),
    ).toMatchObject({ errorCode: 0 });
    const fetch = (version: number, request: object) =>
      call(offsetFetch, version, request, (one, context) => groups.offsetFetch(one, context));
    expect(await fetch(1, { groupId: "g", topics: [{ name: "t", partitionIndexes: [0] }] })).toMatchObject({
      topics: [{ partitions: [{ errorCode: 14 }] }],
    });
    expect(await fetch(7, { groupId: "g", topics: [] })).toMatchObject({ errorCode: 14 });
    expect(await fetch(9, { groups: [{ groupId: "g", topics: [] }] })).toMatchObject({ groups: [{ errorCode: 14 }] });
  });

  test("that is elsewhere says so: 16, also to those who wait", async () => {
    const { memberId } = await join(9);
    const joining = call(joinGroup, 9, { ...joinRequest, memberId }, (one, context) => groups.joinGroup(one, context));
    groups.onResigned(0);
    expect(await joining).toMatchObject({ errorCode: 16 });
    expect(await join(9)).toMatchObject({ errorCode: 16 });
    expect(await call(listGroups, 5, {}, (one) => groups.listGroups(one))).toMatchObject({ errorCode: 0, groups: [] });
  });

  test("finds everything again in the log", async () => {
    const { memberId } = await stable();
    await commit(9, { generationIdOrMemberEpoch: 1, memberId });
    const before = await describeGroup(6);
    groups.close();
    groups = coordinator();
    groups.onLeader(0, log);
    await clock.settle();
    expect(await describeGroup(6)).toEqual(before);
    expect(
      await call(heartbeat, 4, { groupId: "g", generationId: 1, memberId }, (one) => groups.heartbeat(one)),
    ).toMatchObject({ errorCode: 0 });
  });

  test("does not let a slow log delay heartbeats, and tells no assignment before it is safe", async () => {
    const { memberId } = await stable();
    log.isAutoCommit = false;
    await join(9, { memberId });
    let isAssigned = false;
    void sync(5, { memberId, generationId: 2, assignments: [{ memberId, assignment: Buffer.from("x") }] }).then(
      () => (isAssigned = true),
    );
    await clock.settle();
    const beat = { groupId: "g", generationId: 2, memberId };
    expect(await call(heartbeat, 4, beat, (one) => groups.heartbeat(one))).toMatchObject({ errorCode: 0 });
    expect(isAssigned).toBe(false);
    log.commit();
    await clock.settle();
    expect(isAssigned).toBe(true);
  });

  test("remembers why a group rebalanced", async () => {
    const { memberId } = await stable();
    await clock.advance(10_000);
    const kinds = groups.recentEvents("g").map(({ event }) => event.kind);
    expect(kinds).toEqual([
      "rebalance-began",
      "generation-joined",
      "stabilized",
      "member-removed",
      "rebalance-began",
      "emptied",
    ]);
    expect(groups.recentEvents("g")[3]!.event).toMatchObject({ memberId, reason: "was silent for 10000 ms" });
  });
});
