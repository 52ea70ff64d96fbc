import { silentLogger } from "@millrace/base/logger";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type {
  ConsumerGroupHeartbeatRequestInput,
  ConsumerGroupHeartbeatResponse,
} from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { consumerGroupDescribe } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { beforeEach, expect, test } from "vitest";
import type { RequestContext } from "../../apis/handler.ts";
import { MemoryLog } from "../../coordinator/testing/memory-log.ts";
import { GroupCoordinator } from "../coordinator.ts";
import { defaultConsumerGroupSettings, defaultGroupSettings } from "../settings.ts";
import type { ConsumerGroupSettings } from "../settings.ts";
import { TestTopics } from "../testing/test-topics.ts";

/* From request bytes to response bytes, in every version. The codes are what Apache Kafka 4.3.1 answers to the same. */

let clock: VirtualClock;
let log: MemoryLog;
let topics: TestTopics;
let groups: GroupCoordinator;

async function begin(consumer: Partial<ConsumerGroupSettings> = {}): Promise<void> {
  clock = new VirtualClock();
  log = new MemoryLog();
  topics = new TestTopics({ t: 4, u: 2 });
  groups = new GroupCoordinator({
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    settings: { ...defaultGroupSettings, consumer: { ...defaultConsumerGroupSettings, ...consumer } },
    topics,
    partitionCount: () => 1,
    fatal: (error) => {
      throw error;
    },
  });
  groups.onLeader(0, log);
  await clock.settle();
}

beforeEach(async () => await begin());

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
  const context = { version, correlationId: 1, clientId: "app", connection };
  const answering = handle(api.request.read(new ByteReader(frame), version), context);
  // The connection's memory serves the next frame.
  frame.fill(0xff);
  const answer = new ByteWriter();
  api.response.write(answer, await answering, version);
  return api.response.read(new ByteReader(answer.toBuffer()), version);
}

const joining = { groupId: "g", memberId: "a", memberEpoch: 0, rebalanceTimeoutMs: 60_000, topicPartitions: [] };
const beat = async (
  request: Partial<ConsumerGroupHeartbeatRequestInput>,
  version = 1,
): Promise<ConsumerGroupHeartbeatResponse> =>
  await call(
    consumerGroupHeartbeat,
    version,
    { groupId: "g", memberId: "a", memberEpoch: 0, ...request },
    (one, context) => groups.consumerGroupHeartbeat(one, context),
  );
const join = async (
  request: Partial<ConsumerGroupHeartbeatRequestInput> = {},
  version = 1,
): Promise<ConsumerGroupHeartbeatResponse> =>
  await beat({ ...joining, subscribedTopicNames: ["t"], ...request }, version);

test("a first member is in epoch 2 and has everything; the next heartbeat says nothing new", async () => {
  const topicId = topics.byName("t")!.id;
  expect(await join()).toEqual({
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    memberId: "a",
    memberEpoch: 2,
    heartbeatIntervalMs: 5_000,
    assignment: { topicPartitions: [{ topicId, partitions: [0, 1, 2, 3] }] },
  });
  expect(await beat({ memberEpoch: 2 })).toMatchObject({ errorCode: 0, memberEpoch: 2, assignment: null });
  expect(await beat({ memberEpoch: -1 })).toMatchObject({
    errorCode: 0,
    memberId: "a",
    memberEpoch: -1,
    heartbeatIntervalMs: 0,
  });
});

test("v0 gives a member its id, from v1 on it brings one", async () => {
  const answer = await join({ memberId: "" }, 0);
  expect(answer.memberId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  expect(await join({ memberId: "" }, 1)).toMatchObject({
    errorCode: ErrorCode.INVALID_REQUEST,
    memberId: null,
    memberEpoch: 0,
  });
});

const invalid: readonly (readonly [what: string, request: Partial<ConsumerGroupHeartbeatRequestInput>])[] = [
  ["an empty group id", { ...joining, subscribedTopicNames: ["t"], groupId: "" }],
  ["an empty instance id", { ...joining, subscribedTopicNames: ["t"], instanceId: "" }],
  ["an empty rack id", { ...joining, subscribedTopicNames: ["t"], rackId: "" }],
  ["joining without a rebalance timeout", { ...joining, subscribedTopicNames: ["t"], rebalanceTimeoutMs: -1 }],
  [
    "joining with partitions",
    {
      ...joining,
      subscribedTopicNames: ["t"],
      topicPartitions: [{ topicId: "AAAAAAAAAAAAAAAAAAAAAQ", partitions: [0] }],
    },
  ],
  ["joining without saying what it has", { ...joining, subscribedTopicNames: ["t"], topicPartitions: null }],
  ["joining without a subscription", joining],
  ["an epoch below −2", { memberEpoch: -3 }],
  ["−2 of a member that is not static", { memberEpoch: -2 }],
];
test.for(invalid)("%s is an invalid request", async ([, request]) => {
  const answer = await beat(request);
  expect(answer.errorCode).toBe(ErrorCode.INVALID_REQUEST);
  expect(answer.errorMessage).toMatch(/\w/);
});

test("an assignor or a pattern that there is not is refused, and told", async () => {
  expect(await join({ serverAssignor: "magic" })).toMatchObject({
    errorCode: ErrorCode.UNSUPPORTED_ASSIGNOR,
    errorMessage: "there is no assignor magic: choose from uniform, range",
  });
  expect(await join({ subscribedTopicNames: null, subscribedTopicRegex: "(t" })).toMatchObject({
    errorCode: ErrorCode.INVALID_REGULAR_EXPRESSION,
    errorMessage: "`(t` is no regular expression: missing closing )",
  });
  const long = await join({ subscribedTopicNames: null, subscribedTopicRegex: "t".repeat(5_000) });
  expect(long).toMatchObject({ errorCode: ErrorCode.INVALID_REGULAR_EXPRESSION });
});

test("a broker that does not serve the protocol says so", async () => {
  await begin({ isServed: false });
  expect(await join()).toMatchObject({ errorCode: ErrorCode.UNSUPPORTED_VERSION });
  const described = await call(
    consumerGroupDescribe,
    1,
    { groupIds: ["g"], includeAuthorizedOperations: false },
    (one) => groups.consumerGroupDescribe(one),
  );
  expect(described.groups[0]?.errorCode).toBe(ErrorCode.UNSUPPORTED_VERSION);
});

test("a group's own times count", async () => {
  await begin({
    ofGroup: (groupId) => ({
      sessionTimeoutMs: 45_000,
      assignmentIntervalMs: 0,
      heartbeatIntervalMs: groupId === "g" ? 700 : 5_000,
    }),
  });
  expect((await join()).heartbeatIntervalMs).toBe(700);
  expect((await join({ groupId: "h" })).heartbeatIntervalMs).toBe(5_000);
});

test("groups are listed and described as what they are", async () => {
  await join({ instanceId: "i", rackId: "r" });
  const topicId = topics.byName("t")!.id;
  const described = await call(
    consumerGroupDescribe,
    1,
    { groupIds: ["g", "h", ""], includeAuthorizedOperations: true },
    (one) => groups.consumerGroupDescribe(one),
  );
  const partitions = { topicPartitions: [{ topicId, topicName: "t", partitions: [0, 1, 2, 3] }] };
  expect(described.groups[0]).toMatchObject({
    errorCode: 0,
    groupState: "Stable",
    groupEpoch: 2,
    assignmentEpoch: 2,
    assignorName: "uniform",
    authorizedOperations: 3400,
    members: [
      {
        memberId: "a",
        instanceId: "i",
        rackId: "r",
        memberEpoch: 2,
        clientId: "app",
        clientHost: "/127.0.0.1",
        subscribedTopicNames: ["t"],
        assignment: partitions,
        targetAssignment: partitions,
        memberType: 1,
      },
    ],
  });
  expect(described.groups.slice(1).map(({ errorCode }) => errorCode)).toEqual([
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.INVALID_GROUP_ID,
  ]);

  const list = (typesFilter: string[], statesFilter: string[] = []) =>
    call(listGroups, 5, { statesFilter, typesFilter }, (one) => groups.listGroups(one));
  const listed = { groupId: "g", protocolType: "consumer", groupState: "Stable", groupType: "consumer" };
  expect((await list(["Consumer"])).groups).toEqual([listed]);
  expect((await list([], ["stable"])).groups).toEqual([listed]);
  expect((await list(["classic"])).groups).toEqual([]);

  const classic = async (version: number) =>
    (await call(describeGroups, version, { groups: ["g"] }, (one, context) => groups.describeGroups(one, context)))
      .groups[0];
  expect(await classic(6)).toMatchObject({
    errorCode: ErrorCode.GROUP_ID_NOT_FOUND,
    groupState: "Dead",
    errorMessage: "group g is not a classic group",
  });
  expect(await classic(5)).toMatchObject({ errorCode: 0, groupState: "Dead" });
});

test("offsets are committed and read with the member's epoch", async () => {
  await join();
  const commit = async (version: number, memberEpoch: number) => {
    const partitions = [{ partitionIndex: 0, committedOffset: 5, committedMetadata: "" }];
    const topic = version >= 10 ? { topicId: topics.byName("t")!.id } : { name: "t" };
    const request = {
      groupId: "g",
      memberId: "a",
      generationIdOrMemberEpoch: memberEpoch,
      topics: [{ ...topic, partitions }],
    };
    const answer = await call(offsetCommit, version, request, (one, context) => groups.offsetCommit(one, context));
    return answer.topics[0]?.partitions[0]?.errorCode;
  };
  expect(await commit(8, 2)).toBe(ErrorCode.UNSUPPORTED_VERSION);
  for (const version of [9, 10]) {
    expect(await commit(version, 2)).toBe(ErrorCode.NONE);
    expect(await commit(version, 1)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
    expect(await commit(version, 3)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
  }
  const fetch = async (memberId: string | null, memberEpoch: number) => {
    const request = {
      groups: [{ groupId: "g", memberId, memberEpoch, topics: [{ name: "t", partitionIndexes: [0] }] }],
      requireStable: false,
    };
    const answer = await call(offsetFetch, 9, request, (one, context) => groups.offsetFetch(one, context));
    return answer.groups[0]!;
  };
  expect((await fetch("a", 2)).topics[0]?.partitions[0]?.committedOffset).toBe(5);
  expect((await fetch(null, -1)).topics[0]?.partitions[0]?.committedOffset).toBe(5);
  expect(await fetch("a", 1)).toMatchObject({ errorCode: ErrorCode.STALE_MEMBER_EPOCH, topics: [] });
  expect(await fetch("b", 2)).toMatchObject({ errorCode: ErrorCode.UNKNOWN_MEMBER_ID, topics: [] });
});

test("a new coordinator knows the group from the log, and has a look at the topics", async () => {
  await join();
  groups.onResigned(0);
  topics.set("t", 5);
  groups.onLeader(0, log);
  await clock.settle();
  await clock.advance(1);
  await clock.advance(1_000);
  const answer = await beat({ memberEpoch: 2 });
  expect(answer).toMatchObject({ errorCode: 0, memberEpoch: 3 });
  expect(answer.assignment?.topicPartitions[0]?.partitions).toEqual([0, 1, 2, 3, 4]);
  expect(groups.recentEvents("g").map(({ event }) => event.kind)).toContain("epoch-bumped");
});
