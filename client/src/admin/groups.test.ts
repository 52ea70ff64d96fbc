import { ErrorCode } from "kafka-protocol-ts/errors";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { consumerGroupDescribe } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import { expect, test } from "vitest";
import type { FakeBroker } from "../../test/fake-broker.ts";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { ListedGroup } from "./groups.ts";
import type { ResetTarget } from "./offset-reset.ts";

async function started({ brokers = 1 } = {}): Promise<{ readonly fake: FakeCluster; readonly broker: FakeBroker }> {
  const fake = await FakeCluster.start({ brokers });
  for (const each of fake.brokers) {
    each.on(findCoordinator, ({ message }) => ({
      coordinators: message.coordinatorKeys.map((key) => ({
        ...{ key, nodeId: 0, host: "broker", port: 9000, errorCode: 0, errorMessage: null },
      })),
    }));
  }
  return { fake, broker: fake.brokers[0]! };
}

async function all(listing: AsyncIterable<ListedGroup>): Promise<readonly ListedGroup[]> {
  const found: ListedGroup[] = [];
  for await (const group of listing) found.push(group);
  return found;
}

test("a list has the groups of all brokers, each once; an older broker has classic ones only", async () => {
  const { fake } = await started({ brokers: 2 });
  const group = (groupId: string, groupType: string) => ({ groupId, protocolType: "", groupState: "Empty", groupType });
  const answer = { throttleTimeMs: 0, errorCode: 0 };
  fake.brokers[0]!.on(listGroups, () => ({ ...answer, groups: [group("a", "Consumer"), group("moves", "Classic")] }));
  fake.brokers[1]!.on(listGroups, () => ({ ...answer, groups: [group("moves", "Classic"), group("new", "Odd")] }));
  await using cluster = fake.client();
  const { groups } = cluster.admin();
  const types = (await all(groups.list())).map(({ groupId, type }) => [groupId, type]);
  expect(types).toEqual([
    ["a", "consumer"],
    ["moves", "classic"],
    ["new", "unknown"],
  ]);
  for (const broker of fake.brokers)
    broker.on(listGroups, () => ({ ...answer, groups: [{ groupId: "old", protocolType: "consumer" }] }), [0, 3]);
  await using older = fake.client();
  expect(await all(older.admin().groups.list({ types: ["classic"] }))).toEqual([
    { groupId: "old", type: "classic", state: null, protocolType: "consumer" },
  ]);
  expect(await all(older.admin().groups.list({ types: ["share"] }))).toEqual([]);
  await expect(all(older.admin().groups.list({ states: ["Empty"] }))).rejects.toMatchObject({
    code: "UNSUPPORTED_VERSION",
  });
});

const described = (groupId: string, groupState: string, errorCode = 0) => ({
  ...{ errorCode, groupId, groupState, protocolType: "consumer", protocolData: "range" },
});

test("whichever API knows a group describes it; one that none knows is not found, also where that is no error", async () => {
  const { fake, broker } = await started();
  const member = { memberId: "m", clientId: "c", clientHost: "/h", memberAssignment: Buffer.alloc(0) };
  const subscription = Buffer.from([
    0, 9, 0, 0, 0, 1, 0, 1, 65, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 7,
  ]);
  broker.on(
    describeGroups,
    ({ message }) => ({
      groups: message.groups.map((id) => ({
        ...described(id, id === "old" ? "Stable" : "Dead"),
        members:
          id === "old"
            ? [
                { ...member, memberMetadata: subscription },
                { ...member, memberMetadata: Buffer.from([0, 0, 9]) },
              ]
            : [],
      })),
    }),
    [0, 5],
  );
  broker.on(consumerGroupDescribe, ({ message }) => ({
    throttleTimeMs: 0,
    groups: message.groupIds.map((groupId) => ({
      ...{ errorCode: groupId === "new" ? 0 : ErrorCode.GROUP_ID_NOT_FOUND, groupId, groupState: "Stable" },
      ...{ groupEpoch: 7, assignmentEpoch: 6, assignorName: "uniform", members: [] },
    })),
  }));
  await using cluster = fake.client();
  const outcomes = await cluster.admin().groups.describe(["old", "new", "none"]);
  expect(outcomes).toMatchObject([
    // A later version of the bytes is read as far as it is known; what is no such bytes is null.
    {
      value: { type: "classic", members: [{ subscribedTopics: ["A"], assignment: null }, { subscribedTopics: null }] },
    },
    { value: { type: "consumer", epoch: 7, coordinator: "broker:9000" } },
    { error: { code: "GROUP_ID_NOT_FOUND" } },
  ]);
  expect(fake.requests("DescribeGroups") + fake.requests("ConsumerGroupDescribe")).toBe(2);
});

test("what an API says that could know the group is not hidden by those that do not", async () => {
  const { fake, broker } = await started();
  const unknown = described("mine", "", ErrorCode.GROUP_ID_NOT_FOUND);
  broker.on(describeGroups, () => ({ groups: [{ ...unknown, members: [] }] }));
  const refusal = { errorCode: ErrorCode.GROUP_AUTHORIZATION_FAILED, groupId: "mine", groupState: "" };
  broker.on(consumerGroupDescribe, () => ({
    throttleTimeMs: 0,
    groups: [{ ...refusal, groupEpoch: 0, assignmentEpoch: 0, assignorName: "", members: [] }],
  }));
  await using cluster = fake.client();
  await expect(cluster.admin().groups.describe("mine")).rejects.toMatchObject({ code: "GROUP_AUTHORIZATION_FAILED" });
});

test("before v3 members leave one by one, and only by their ids", async () => {
  const { fake, broker } = await started();
  broker.on(
    leaveGroup,
    ({ message }) => ({ errorCode: message.memberId === "gone" ? ErrorCode.UNKNOWN_MEMBER_ID : 0 }),
    [0, 2],
  );
  await using cluster = fake.client();
  const { groups } = cluster.admin();
  const outcomes = await groups.removeMembers("g", [{ memberId: "here" }, { memberId: "gone" }]);
  expect(outcomes).toMatchObject([{ ok: true }, { error: { code: "UNKNOWN_MEMBER_ID" } }]);
  expect(await groups.removeMembers("g", [{ instanceId: "one" }])).toMatchObject([
    { error: { code: "UNSUPPORTED_VERSION" } },
  ]);
});

/** A group with offsets, in whichever version it is asked for them. */
function serveOffsets(
  broker: FakeBroker,
  offsets: Record<string, readonly number[]>,
  versions: readonly [number, number],
): void {
  const topicsOf = (groupId: string) => [
    {
      name: "orders",
      partitions: (offsets[groupId] ?? []).map((committedOffset, partitionIndex) => ({
        ...{ partitionIndex, committedOffset, metadata: null, errorCode: 0 },
      })),
    },
  ];
  broker.on(
    offsetFetch,
    ({ message, version }) =>
      version < 8
        ? { errorCode: 0, topics: topicsOf(message.groupId) }
        : { groups: message.groups.map(({ groupId }) => ({ groupId, errorCode: 0, topics: topicsOf(groupId) })) },
    versions,
  );
}

test.for([
  [2, 7, 2],
  [1, 10, 1],
] as const)("offsets of many groups in versions %i to %i take %i requests", async ([first, last, count]) => {
  const { fake, broker } = await started();
  serveOffsets(broker, { a: [5, -1], b: [7] }, [first, last]);
  await using cluster = fake.client();
  const outcomes = await cluster.admin().groups.offsets(["a", "b"]);
  expect(outcomes.map((each) => each.ok && each.value.map((offset) => offset.ok && offset.value.offset))).toEqual([
    [5, null],
    [7],
  ]);
  expect(fake.requests("OffsetFetch")).toBe(count);
});

test("offsets that a transaction holds are waited for, where that is asked for", async () => {
  const { fake, broker } = await started();
  const answers = [ErrorCode.UNSTABLE_OFFSET_COMMIT, ErrorCode.NONE];
  broker.on(offsetFetch, ({ message }) => {
    expect(message.requireStable).toBe(true);
    const partition = { partitionIndex: 0, committedOffset: 3, metadata: "", errorCode: answers.shift()! };
    return { groups: [{ groupId: "g", errorCode: 0, topics: [{ name: "orders", partitions: [partition] }] }] };
  });
  await using cluster = fake.client();
  const offsets = await fake.within(1_000, cluster.admin().groups.offsets("g", { requireStable: true }));
  expect(offsets).toMatchObject([{ ok: true, value: { offset: 3 } }]);
});

const targets: readonly (readonly [ResetTarget, readonly (number | string)[]])[] = [
  ["earliest", [10, 20]],
  ["latest", [100, 200]],
  [{ offset: 150 }, [100, 150]],
  [{ offset: 0 }, [10, 20]],
  [{ shiftBy: -30 }, [20, "INVALID_REQUEST"]],
  [{ shiftBy: -300 }, [10, "INVALID_REQUEST"]],
  [{ timestamp: 1_000 }, [42, 200]],
  [{ ageMs: 5_000 }, [42, 200]],
];

test.for(targets)("a group is moved to %o: within the log, and only when it is meant", async ([to, expected]) => {
  const { fake, broker } = await started();
  fake.create("orders", [0, 0]);
  serveOffsets(broker, { g: [50, -1] }, [1, 10]);
  const times: number[] = [];
  broker.on(listOffsets, ({ message }) => ({
    topics: message.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex, timestamp }) => {
        if (timestamp >= 0) times.push(timestamp);
        const [start, end, found] = [
          [10, 100, 42],
          [20, 200, -1],
        ][partitionIndex]!;
        const offset = timestamp === -2 ? start! : timestamp === -1 ? end! : found!;
        return { partitionIndex, errorCode: 0, timestamp: -1, offset };
      }),
    })),
  }));
  const committed: unknown[] = [];
  broker.on(offsetCommit, ({ message }) => {
    expect(message).toMatchObject({ groupId: "g", generationIdOrMemberEpoch: -1, memberId: "" });
    return {
      topics: message.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, committedOffset }) => {
          committed.push(committedOffset);
          return { partitionIndex, errorCode: 0 };
        }),
      })),
    };
  });
  await using cluster = fake.client();
  const { groups } = cluster.admin();
  const plan = await groups.resetOffsets("g", { to, topics: ["orders"], dryRun: true });
  expect(plan.map((each) => (each.ok ? each.value.to : each.error.code))).toEqual(expected);
  expect(plan[0]).toMatchObject({ item: { topic: "orders", partition: 0 }, value: { from: 50 } });
  expect(committed).toEqual([]);
  expect(await groups.resetOffsets("g", { to, topics: ["orders"] })).toEqual(plan);
  expect(committed).toEqual(expected.filter((each) => typeof each === "number"));
  if (typeof to === "object" && "ageMs" in to) expect(times[0]).toBe(fake.world.clock.now() - 5_000);
});

test("without topics or partitions, those are moved in which the group stands; a refused commit is the partition's error", async () => {
  const { fake, broker } = await started();
  fake.create("orders", [0, 0]);
  serveOffsets(broker, { g: [5, -1] }, [1, 10]);
  broker.on(offsetCommit, () => ({
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, errorCode: ErrorCode.UNKNOWN_MEMBER_ID }] }],
  }));
  await using cluster = fake.client();
  expect(await cluster.admin().groups.resetOffsets("g", { to: "earliest" })).toMatchObject([
    {
      ok: false,
      item: { partition: 0 },
      error: { code: "UNKNOWN_MEMBER_ID", message: expect.stringMatching(/stop them first/) as string },
    },
  ]);
});
