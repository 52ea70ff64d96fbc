import { ErrorCode } from "kafka-protocol-ts/errors";
import type { ConsumerGroupHeartbeatRequest } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { describe, expect, test } from "vitest";
import type { GroupMishap } from "../../../test/fake-group-coordinator.ts";
import { TestGroup } from "../../../test/group-members.ts";
import type { TestMember, TestMemberOptions } from "../../../test/group-members.ts";
import { KafkaError } from "../../errors.ts";

async function begin(options: TestMemberOptions = {}, world = {}): Promise<TestGroup> {
  return TestGroup.start({ protocol: "consumer", ...options }, world);
}

function heartbeats(group: TestGroup, member: TestMember): readonly ConsumerGroupHeartbeatRequest[] {
  return group
    .asked(member)
    .flatMap(({ api, message }) =>
      api === "ConsumerGroupHeartbeat" ? [message as ConsumerGroupHeartbeatRequest] : [],
    );
}

function last(group: TestGroup, member: TestMember): ConsumerGroupHeartbeatRequest {
  return heartbeats(group, member).at(-1) ?? expect.unreachable("no heartbeat");
}

/** Two members that share six partitions, and what has happened to them since. */
async function pair(
  options: TestMemberOptions = {},
  world = {},
): Promise<{ group: TestGroup; a: TestMember; b: TestMember }> {
  const group = await begin(options, world);
  const a = group.join("a");
  await group.settled([[a, 6]]);
  const b = group.join("b");
  await group.settled([
    [a, 3],
    [b, 3],
  ]);
  await group.clock.advance(12_000);
  for (const { owner } of [a, b]) owner.events.length = 0;
  return { group, a, b };
}

/** To the next heartbeat of this member. */
function happensTo(group: TestGroup, member: TestMember, mishap: GroupMishap, doAlso = (): void => {}): void {
  let isDue = true;
  group.coordinator.intercept = (api, message) => {
    const { memberId } = message as ConsumerGroupHeartbeatRequest;
    if (!isDue || api !== "ConsumerGroupHeartbeat" || memberId !== member.membership.identity?.memberId) return null;
    isDue = false;
    doAlso();
    return mishap;
  };
}

test.for(["timers", "input"] as const)(
  "a process that stood still for a session knows that it is out: %s first",
  async (first) => {
    const { group, a } = await pair({ sessionTimeoutMs: 10_000 });
    // Its answer is there, and is read after the standstill.
    group.coordinator.intercept = (api) => (api === "ConsumerGroupHeartbeat" ? { afterMs: 100 } : null);
    const before = heartbeats(group, a).length;
    await group.until(() => heartbeats(group, a).length > before);
    group.coordinator.intercept = null;
    a.world.stall();
    await group.clock.advance(11_000);
    expect(a.owner.events).toEqual([]);
    await a.world.goOn(first);
    expect(a.owner.events[0]).toMatch(/^lost orders-/);
  },
);

describe("heartbeats", () => {
  test("say everything at first, then what is new, at the broker's interval", async () => {
    const group = await begin({ rack: "north", serverAssignor: "uniform", rebalanceTimeoutMs: 20_000 });
    group.coordinator.consumer().heartbeatIntervalMs = 2_000;
    const a = group.join("a");
    await group.settled([[a, 6]]);
    await group.clock.advance(21_000);
    const [first, told, ...rest] = heartbeats(group, a);
    expect(first).toMatchObject({
      memberEpoch: 0,
      memberId: expect.stringMatching(/^[\w-]{22}$/),
      rackId: "north",
      serverAssignor: "uniform",
      rebalanceTimeoutMs: 20_000,
      subscribedTopicNames: ["orders"],
      subscribedTopicRegex: null,
      topicPartitions: [],
    });
    const { topicId } = group.fake.topics.get("orders")!;
    const nothing = { rackId: null, serverAssignor: null, rebalanceTimeoutMs: -1, subscribedTopicNames: null };
    expect(told).toMatchObject({
      ...nothing,
      memberEpoch: 1,
      topicPartitions: [{ topicId, partitions: [0, 1, 2, 3, 4, 5] }],
    });
    expect(rest).toHaveLength(10);
    for (const each of rest)
      expect(each).toMatchObject({ ...nothing, topicPartitions: null, memberId: first?.memberId });
    expect(a.membership.identity).toMatchObject({ epoch: 1, memberId: first?.memberId });
  });

  test("go on while partitions are given up, and what is free is told after it", async () => {
    const { group, a, b } = await pair();
    a.owner.revokeMs = 20_000;
    const before = heartbeats(group, a).length;
    const c = group.join("c");
    await group.until(() => a.owner.events.some((event) => event.startsWith("revoke ")), 30_000);
    await group.until(() => a.owner.events.some((event) => event.startsWith("revoked ")), 30_000);
    const during = heartbeats(group, a).slice(before);
    expect(during.length).toBeGreaterThanOrEqual(4);
    for (const each of during.slice(0, -1)) expect(each.topicPartitions).toBeNull();
    await group.settled([
      [a, 2],
      [b, 2],
      [c, 2],
    ]);
    expect(a.owner.events.filter((event) => event.startsWith("lost"))).toEqual([]);
  });

  test("a member that never gives up loses what it had before the group loses patience", async () => {
    const { group, a } = await pair({ rebalanceTimeoutMs: 20_000 });
    a.owner.revokeMs = 10_000_000;
    const members = group.coordinator.consumer().members;
    const { memberId } = a.membership.identity!;
    const c = group.join("c");
    await group.settled([[c, 2]]);
    expect(members.has(memberId)).toBe(true);
    expect(a.owner.events).toContainEqual(expect.stringMatching(/^lost/));
  });

  test.for([
    [{ code: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS }, []],
    [{ code: ErrorCode.COORDINATOR_NOT_AVAILABLE }, []],
    [{ code: ErrorCode.NOT_COORDINATOR }, []],
    ["cut", []],
    ["answer lost", []],
    ["no answer", []],
    [{ code: ErrorCode.FENCED_MEMBER_EPOCH }, [/^lost/, /^assign/]],
    [{ code: ErrorCode.UNKNOWN_MEMBER_ID }, [/^lost/, /^assign/]],
    [{ code: ErrorCode.GROUP_ID_NOT_FOUND }, [/^lost/, /^assign/]],
    [{ code: ErrorCode.FENCED_INSTANCE_ID }, [/^lost/, /^failed FENCED_INSTANCE_ID/]],
    [{ code: ErrorCode.GROUP_AUTHORIZATION_FAILED }, [/^lost/, /^failed/]],
  ] as const)("%j", async ([mishap, events]) => {
    const { group, b } = await pair();
    const id = b.membership.identity!.memberId;
    const isOut = typeof mishap === "object" && events.length > 0;
    happensTo(group, b, mishap, () => {
      if (isOut) group.coordinator.consumer().expel(id);
    });
    await group.clock.advance(40_000);
    expect(b.owner.events).toHaveLength(events.length);
    for (const [index, event] of events.entries()) expect(b.owner.events[index]).toMatch(event);
    // Joining anew, it is told nothing of before.
    if (events.length > 0 && b.owner.failure === null)
      expect(heartbeats(group, b)).toContainEqual(expect.objectContaining({ memberEpoch: 0, topicPartitions: [] }));
    expect(b.owner.held.size).toBe(b.owner.failure === null ? 3 : 0);
  });

  test("after an answer that was lost, all is said again", async () => {
    const { group, b } = await pair();
    happensTo(group, b, "answer lost");
    const before = heartbeats(group, b).length;
    await group.until(() => heartbeats(group, b).length >= before + 2, 10_000);
    expect(last(group, b)).toMatchObject({
      subscribedTopicNames: ["orders"],
      rebalanceTimeoutMs: 60_000,
      topicPartitions: [{ partitions: expect.any(Array) }],
    });
  });

  test("a member that rejoins waits until its owner is through with what it lost", async () => {
    const { group, a } = await pair();
    const { promise, resolve } = Promise.withResolvers<void>();
    a.owner.lost = async () => promise;
    group.coordinator.consumer().expel(a.membership.identity!.memberId);
    await group.until(() => a.membership.identity === null, 10_000);
    const before = heartbeats(group, a).length;
    await group.clock.advance(30_000);
    expect(heartbeats(group, a).length).toBe(before);
    resolve();
    await group.until(() => a.membership.identity !== null, 1_000);
  });

  test("without an answer for a session, and after a sleep as long, what it had is lost", async () => {
    const { group, a, b } = await pair({ sessionTimeoutMs: 15_000 });
    group.coordinator.consumer().sessionTimeoutMs = 15_000;
    a.world.stall();
    await group.clock.advance(16_000);
    void a.world.goOn();
    expect(a.owner.events).toEqual([expect.stringMatching(/^lost/)]);
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    group.coordinator.intercept = () => "no answer";
    await group.until(() => a.owner.held.size + b.owner.held.size === 0, 15_500);
    group.coordinator.intercept = null;
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
  });
});

test("an answer that comes when the session is over is of a membership that is over", async () => {
  const { group, a } = await pair({ sessionTimeoutMs: 15_000 });
  a.owner.lost = async () => new Promise<never>(() => {});
  const { memberId } = a.membership.identity!;
  const before = heartbeats(group, a).length;
  await group.until(() => heartbeats(group, a).length > before, 10_000);
  const heardMs = group.clock.monotonicMs();
  let isLate = false;
  group.coordinator.intercept = (api, message) => {
    if (api !== "ConsumerGroupHeartbeat") return null;
    const isOfA = (message as ConsumerGroupHeartbeatRequest).memberId === memberId;
    if (isLate || !isOfA || group.clock.monotonicMs() < heardMs + 11_000) return "cut";
    isLate = true;
    return { afterMs: 4_800 };
  };
  await group.until(() => a.membership.identity === null, 16_000);
  expect(isLate).toBe(true);
  await group.clock.advance(3_000);
  expect(a.membership.identity).toBeNull();
});

test("what is taken away is given up before anything is taken, where one answer says both", async () => {
  const group = await begin();
  const a = group.join("a");
  await group.settled([[a, 6]]);
  await group.clock.advance(10_000);
  const consumer = group.coordinator.consumer();
  const heartbeat = consumer.heartbeat.bind(consumer);
  const { topicId } = group.fake.topics.get("orders")!;
  consumer.heartbeat = (request) => ({
    ...heartbeat(request),
    assignment: { topicPartitions: [{ topicId, partitions: [0, 1, 7] }] },
  });
  await group.until(() => a.owner.held.size === 3, 10_000);
  expect(a.owner.events.slice(1).map((event) => event.split(" ")[0])).toEqual(["revoke", "revoked", "assign"]);
});

describe("joining", () => {
  test.for([
    [{ code: ErrorCode.UNSUPPORTED_ASSIGNOR, message: "no such assignor" }, "serverAssignor is uniform"],
    [{ code: ErrorCode.INVALID_REGULAR_EXPRESSION, message: "missing )" }, "RE2"],
    [{ code: ErrorCode.GROUP_ID_NOT_FOUND, message: "is a classic group" }, "classic"],
    [{ code: ErrorCode.GROUP_MAX_SIZE_REACHED, message: "" }, "group.consumer.max.size"],
    [{ code: ErrorCode.INVALID_REQUEST, message: "rebalanceTimeoutMs" }, "rebalanceTimeoutMs"],
  ] as const)("%j ends it", async ([mishap, text]) => {
    const group = await begin({ serverAssignor: "uniform" });
    group.coordinator.next("ConsumerGroupHeartbeat", mishap);
    const a = group.join("a");
    await group.until(() => a.owner.failure !== null, 1_000);
    expect(a.owner.failure?.fatal).toBe(true);
    expect(a.owner.failure?.message).toContain(mishap.message);
    expect(a.owner.failure?.message).toContain(text);
    await group.fake.within(6_000, a.membership.leave());
    expect(group.clock.pendingTimers).toBe(0);
  });

  test("brokers that do not serve it are named as such", async () => {
    const group = await begin({}, { consumerVersions: [7, 7] });
    const a = group.join("a");
    await group.until(() => a.owner.failure !== null, 1_000);
    expect(a.owner.failure).toMatchObject({
      code: "UNSUPPORTED_VERSION",
      message: expect.stringContaining('"classic"'),
    });
  });

  test("what is refused again and again is not asked without a pause", async () => {
    const group = await begin();
    group.coordinator.intercept = (api) =>
      api === "ConsumerGroupHeartbeat" ? { code: ErrorCode.UNKNOWN_MEMBER_ID } : null;
    const a = group.join("a");
    await group.clock.advance(10_000);
    expect(heartbeats(group, a).length).toBeLessThan(20);
    group.coordinator.intercept = null;
    await group.settled([[a, 6]]);
  });
});

describe("topics", () => {
  test("an assignment of a topic whose name is not known waits for it; the others go on", async () => {
    const group = await begin({ subscription: { topics: ["bills", "orders"], pattern: null } });
    const [bills, theirs] = [group.fake.create("bills", [0]), group.fake.topics.get("bills")!];
    const a = group.make("a");
    // The brokers' metadata lags behind their coordinator.
    const describe = group.fake.topics;
    a.membership.start();
    describe.delete("bills");
    group.coordinator.consumer().topicsChanged();
    await group.settled([[a, 6]]);
    describe.set("bills", { ...theirs, partitions: bills });
    group.coordinator.consumer().topicsChanged();
    await group.settled([[a, 7]], 20_000);
  });

  test("a topic that was made again is another one", async () => {
    const { group, a, b } = await pair();
    const { partitions } = group.fake.topics.get("orders")!;
    group.fake.topics.set("orders", { topicId: Buffer.alloc(16, 99).toString("base64url"), partitions });
    group.coordinator.consumer().topicsChanged();
    await group.until(
      () => [a, b].every(({ owner }) => owner.events.some((event) => event.startsWith("assign"))),
      30_000,
    );
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    for (const { owner } of [a, b])
      expect(owner.events.map((event) => event.split(" ")[0])).toEqual(["revoke", "revoked", "assign"]);
  });

  test("the broker resolves a pattern, as RegExp means it", async () => {
    const group = await begin({ subscription: { topics: [], pattern: /^ord|ills$/i } });
    group.fake.create("bills", [0]);
    group.fake.create("billions", [0]);
    const a = group.join("a");
    await group.until(() => heartbeats(group, a).length > 0);
    expect(heartbeats(group, a)[0]).toMatchObject({
      subscribedTopicRegex: "(?i:.*(?:^ord|ills$).*)",
      subscribedTopicNames: [],
    });
    await group.settled([[a, 7]]);
    a.membership.subscribe({ topics: ["billions"], pattern: null });
    await group.settled([[a, 1]]);
    expect(heartbeats(group, a).find((each) => each.subscribedTopicRegex === "")).toBeDefined();
    await group.clock.advance(10_000);
    expect(last(group, a).subscribedTopicRegex).toBeNull();
  });

  test("an older broker is told the names that match, and told again when others do", async () => {
    const group = await begin({ subscription: { topics: ["more"], pattern: /^orders/ } }, { consumerVersions: [0, 0] });
    const a = group.join("a");
    await group.settled([[a, 6]]);
    expect(heartbeats(group, a)[0]?.subscribedTopicNames).toEqual(["more", "orders"]);
    group.fake.create("orders-of-today", [0]);
    await group.settled([[a, 7]], 80_000);
  });
});

describe("a commit that is refused", () => {
  test.for(["STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID"])(
    "%s: the next heartbeat comes at once, and finds out",
    async (code) => {
      const { group, a } = await pair();
      const identity = a.membership.identity!;
      const before = heartbeats(group, a).length;
      a.membership.onCommitRefused({ ...identity }, new KafkaError(code, "of an earlier epoch"));
      await group.clock.settle();
      expect(heartbeats(group, a).length).toBe(before);
      a.membership.onCommitRefused(identity, new KafkaError(code, "a commit"));
      await group.clock.advance(1);
      expect(heartbeats(group, a).length).toBe(before + 1);
      expect(a.owner.events).toEqual([]);
      expect(a.membership.identity).not.toBeNull();
    },
  );
});

describe("static members", () => {
  test("leave for a moment, and come back to what they had", async () => {
    const group = await begin();
    const a = group.join("a", { instanceId: "one" });
    await group.settled([[a, 6]]);
    await group.fake.within(5_000, a.membership.leave());
    expect(last(group, a)).toMatchObject({ memberEpoch: -2, instanceId: "one" });
    const again = group.join("again", { instanceId: "one" });
    await group.settled([[again, 6]], 5_000);
  });

  test("whose process was killed come back when its session is over", async () => {
    const group = await begin({ sessionTimeoutMs: 20_000 });
    group.coordinator.consumer().sessionTimeoutMs = 20_000;
    const a = group.join("a", { instanceId: "one" });
    await group.settled([[a, 6]]);
    await a.cluster.close();
    const again = group.join("again", { instanceId: "one" });
    await group.settled([[again, 6]], 25_000);
    // One that lives keeps its id.
    const third = group.join("third", { instanceId: "one" });
    await group.until(() => third.owner.failure !== null, 40_000);
    expect(third.owner.failure).toMatchObject({ code: "UNRELEASED_INSTANCE_ID" });
    expect(again.owner.held.size).toBe(6);
  });
});

test("a coordinator that was away between two heartbeats is one that was away", async () => {
  const group = await begin({ sessionTimeoutMs: 20_000, instanceId: "one" });
  const beganMs = group.clock.monotonicMs();
  group.coordinator.intercept = (api) => {
    const isOver = group.clock.monotonicMs() - beganMs > 45_000;
    return api === "ConsumerGroupHeartbeat" && !isOver ? { code: ErrorCode.UNRELEASED_INSTANCE_ID } : null;
  };
  const a = group.join("a");
  await group.clock.advance(22_000);
  // Only the connection tells of it.
  for (const broker of group.fake.brokers) broker.cut();
  await group.settled([[a, 6]], 60_000);
  expect(a.owner.failure).toBeNull();
});

test("behind a coordinator that was away, the session of a process that was killed begins anew", async () => {
  const group = await begin({ sessionTimeoutMs: 20_000, instanceId: "one" });
  const beganMs = group.clock.monotonicMs();
  group.coordinator.intercept = (api) => {
    const sinceMs = group.clock.monotonicMs() - beganMs;
    if (api !== "ConsumerGroupHeartbeat" || sinceMs > 45_000) return null;
    const isAway = sinceMs > 20_000 && sinceMs < 24_000;
    return { code: isAway ? ErrorCode.COORDINATOR_LOAD_IN_PROGRESS : ErrorCode.UNRELEASED_INSTANCE_ID };
  };
  const a = group.join("a");
  await group.settled([[a, 6]], 60_000);
  expect(a.owner.failure).toBeNull();
});

describe("leaving", () => {
  test("gives up what is owned, tells the group, and ends every timer", async () => {
    const { group, a, b } = await pair();
    a.owner.revokeMs = 12_000;
    const before = heartbeats(group, a).length;
    await group.fake.within(13_000, a.membership.leave());
    expect(a.owner.events.map((event) => event.split(" ")[0])).toEqual(["revoke", "revoked"]);
    expect(heartbeats(group, a).length - before).toBeGreaterThanOrEqual(3);
    expect(last(group, a)).toMatchObject({ memberEpoch: -1, topicPartitions: null });
    await group.settled([[b, 6]], 10_000);
    await group.fake.within(1_000, b.membership.leave());
    expect(group.coordinator.consumer().members.size).toBe(0);
    expect(group.clock.pendingTimers).toBe(0);
  });

  test.for(["no answer", "cut"] as const)("takes bounded time where the brokers give %s", async (mishap) => {
    const { group, a } = await pair();
    group.coordinator.intercept = () => mishap;
    await group.fake.within(6_000, a.membership.leave());
    expect(a.owner.keys).toEqual([]);
  });

  test("in the middle of giving up waits for that, and not for more", async () => {
    const { group, a } = await pair();
    a.owner.revokeMs = 10_000;
    group.join("c");
    await group.until(() => a.owner.events.length > 0, 20_000);
    await group.fake.within(21_000, a.membership.leave());
    expect(a.owner.events.filter((event) => event.startsWith("revoked")).join(" ")).toMatch(/orders.*orders.*orders/);
    expect(a.owner.events.filter((event) => event.startsWith("lost"))).toEqual([]);
  });
});
