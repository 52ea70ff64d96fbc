import { ErrorCode } from "kafka-protocol-ts/errors";
import type { JoinGroupRequest } from "kafka-protocol-ts/messages/11-join-group";
import { describe, expect, test } from "vitest";
import { TestGroup } from "../../../test/group-members.ts";
import type { TestMember } from "../../../test/group-members.ts";
import { KafkaError } from "../../errors.ts";
import type { Assignor } from "../assignors/assignor.ts";
import { readSubscription } from "../assignors/embedded-protocol.ts";

const orders = (...partitions: readonly number[]): string => partitions.map((each) => `orders-${each}`).join(" ");

function counted(group: TestGroup, member: TestMember, api: string): number {
  return group.asked(member).filter((each) => each.api === api).length;
}

function joins(group: TestGroup, member: TestMember): readonly JoinGroupRequest[] {
  return group.asked(member).flatMap(({ api, message }) => (api === "JoinGroup" ? [message as JoinGroupRequest] : []));
}

/** Two members that share six partitions, and what has happened to them since. */
async function pair(options = {}, world = {}): Promise<{ group: TestGroup; a: TestMember; b: TestMember }> {
  const group = await TestGroup.start(options, world);
  const a = group.join("a");
  await group.settled([[a, 6]]);
  const b = group.join("b");
  await group.settled([
    [a, 3],
    [b, 3],
  ]);
  await group.clock.advance(10_000);
  for (const { owner } of [a, b]) owner.events.length = 0;
  return { group, a, b };
}

describe("joining", () => {
  test("takes two steps, and tells why", async () => {
    const group = await TestGroup.start();
    const a = group.join("a", { rack: "north" });
    await group.settled([[a, 6]]);
    expect(joins(group, a)).toMatchObject([
      { memberId: "", reason: null, protocolType: "consumer" },
      { memberId: "member-1", sessionTimeoutMs: 45_000, rebalanceTimeoutMs: 60_000 },
    ]);
    const [protocol] = joins(group, a)[1]!.protocols;
    expect(protocol?.name).toBe("cooperative-sticky");
    expect(readSubscription(protocol!.metadata)).toMatchObject({
      topics: ["orders"],
      owned: [],
      generation: -1,
      rack: "north",
    });
    expect(a.membership.identity).toEqual({ groupId: "group", memberId: "member-1", epoch: 1, instanceId: null });
    group.coordinator.classic().rebalance();
    await group.until(() => joins(group, a).length === 3);
    expect(joins(group, a)[2]?.reason).toBe("the group is rebalancing");
    const told = readSubscription(joins(group, a)[2]!.protocols[0]!.metadata);
    expect(told).toMatchObject({ generation: 1 });
    expect(told.owned).toHaveLength(6);
  });

  test("cooperative members go on with what does not move", async () => {
    const group = await TestGroup.start();
    const a = group.join("a");
    await group.settled([[a, 6]]);
    const b = group.join("b");
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    expect(a.owner.events).toEqual([
      `assign ${orders(0, 1, 2, 3, 4, 5)}`,
      `revoke ${orders(3, 4, 5)}`,
      `revoked ${orders(3, 4, 5)}`,
    ]);
    expect(b.owner.events).toEqual([`assign ${orders(3, 4, 5)}`]);
    await group.clock.advance(60_000);
    expect(group.coordinator.classic().rebalancesCount).toBe(3);
    expect(a.owner.events).toHaveLength(3);
  });

  describe("a group of members with the defaults", () => {
    /** Whether anybody was given what another one had. */
    function watch(...members: readonly TestMember[]): string[] {
      const faults: string[] = [];
      for (const member of members) {
        member.owner.onAssign = (partitions) => {
          for (const other of members) {
            const both = other === member ? [] : partitions.filter((each) => other.owner.held.has(each));
            if (both.length > 0) faults.push(`${member.name} was given ${both.join(" ")}, which ${other.name} has`);
          }
        };
      }
      return faults;
    }

    test("moves only what must move, as long as all can", async () => {
      const group = await TestGroup.start();
      const a = group.join("a");
      await group.settled([[a, 6]]);
      const b = group.join("b", { assignors: ["range", "cooperative-sticky"] });
      const c = group.join("c");
      await group.settled([
        [a, 2],
        [b, 2],
        [c, 2],
      ]);
      expect(group.coordinator.classic().protocol).toBe("cooperative-sticky");
      expect(a.owner.events.filter((event) => event.startsWith("lost"))).toEqual([]);
    });

    test("takes in members that know range alone: what it has is lost once, and nothing has two owners", async () => {
      const group = await TestGroup.start();
      const [a, b] = [group.make("a"), group.make("b")];
      const other = group.make("other", { assignors: ["range"] });
      const late = group.make("late");
      const faults = watch(a, b, other, late);
      a.membership.start();
      b.membership.start();
      await group.settled([
        [a, 3],
        [b, 3],
      ]);
      other.membership.start();
      await group.settled([
        [a, 2],
        [b, 2],
        [other, 2],
      ]);
      expect(group.coordinator.classic().protocol).toBe("range");
      const lost = (): string[] => [...a.owner.events, ...b.owner.events].filter((event) => event.startsWith("lost"));
      expect(lost()).toHaveLength(2);
      // From now on in order, and no member that comes makes it change to and fro.
      await group.fake.within(5_000, other.membership.leave());
      await group.settled([
        [a, 3],
        [b, 3],
      ]);
      late.membership.start();
      await group.settled([
        [a, 2],
        [b, 2],
        [late, 2],
      ]);
      expect(group.coordinator.classic().protocol).toBe("range");
      expect(lost()).toHaveLength(2);
      expect(faults).toEqual([]);
    });
  });

  test("eager members come with nothing", async () => {
    const group = await TestGroup.start({ assignors: ["range", "cooperative-sticky"] });
    const a = group.join("a");
    await group.settled([[a, 6]]);
    const b = group.join("b");
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    expect(a.owner.events.slice(1)).toEqual([
      `revoke ${orders(0, 1, 2, 3, 4, 5)}`,
      `revoked ${orders(0, 1, 2, 3, 4, 5)}`,
      `assign ${orders(0, 1, 2)}`,
    ]);
    expect(group.coordinator.classic().rebalancesCount).toBe(2);
  });

  test.for([
    [ErrorCode.GROUP_AUTHORIZATION_FAILED, "JoinGroup of group group"],
    [ErrorCode.GROUP_MAX_SIZE_REACHED, "group.max.size"],
    [ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "offers the assignors cooperative-sticky"],
    [ErrorCode.INVALID_SESSION_TIMEOUT, "sessionTimeoutMs 45000"],
    [ErrorCode.FENCED_INSTANCE_ID, "instanceId"],
    [ErrorCode.INVALID_GROUP_ID, "group"],
  ] as const)("an answer %i ends it", async ([code, text]) => {
    const group = await TestGroup.start();
    group.coordinator.next("JoinGroup", { code });
    const a = group.join("a");
    await group.until(() => a.owner.failure !== null, 1_000);
    expect(a.owner.failure).toMatchObject({ fatal: true, retriable: false });
    expect(a.owner.failure?.message).toContain(text);
    await group.clock.advance(60_000);
    expect(counted(group, a, "JoinGroup")).toBe(1);
    await group.fake.within(1_000, a.membership.leave());
    expect(group.clock.pendingTimers).toBe(0);
  });

  test.for(["no answer", "cut", "answer lost"] as const)(
    "a JoinGroup or SyncGroup with %s is tried again",
    async (mishap) => {
      const group = await TestGroup.start({ rebalanceTimeoutMs: 5_000 });
      group.coordinator.next("FindCoordinator", { code: ErrorCode.COORDINATOR_NOT_AVAILABLE });
      group.coordinator.next("JoinGroup", mishap, { code: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS }, mishap);
      group.coordinator.next("SyncGroup", mishap, { code: ErrorCode.REBALANCE_IN_PROGRESS });
      const a = group.join("a");
      await group.settled([[a, 6]], 60_000);
      expect(a.owner.events).toHaveLength(1);
    },
  );

  test("a member that the coordinator forgot between its two steps begins anew", async () => {
    const group = await TestGroup.start();
    const answers = [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION];
    group.coordinator.intercept = (api, message) => {
      const code = api === "SyncGroup" ? answers.shift() : undefined;
      if (code === ErrorCode.UNKNOWN_MEMBER_ID)
        group.coordinator.classic().expel((message as { memberId: string }).memberId);
      return code === undefined ? null : { code };
    };
    const a = group.join("a");
    await group.settled([[a, 6]], 5_000);
    expect(joins(group, a).map(({ memberId }) => memberId)).toEqual(["", "member-1", "", "member-2", "member-2"]);
  });
});

describe("heartbeats", () => {
  test("go on while the owner takes its time to give up, and nobody is made to wait again", async () => {
    const { group, a, b } = await pair();
    a.owner.revokeMs = 20_000;
    const before = counted(group, a, "Heartbeat");
    const rebalances = group.coordinator.classic().rebalancesCount;
    const c = group.join("c");
    await group.until(() => a.owner.events.some((event) => event.startsWith("revoked")));
    expect(counted(group, a, "Heartbeat") - before).toBeGreaterThanOrEqual(6);
    await group.settled([
      [a, 2],
      [b, 2],
      [c, 2],
    ]);
    await group.clock.advance(60_000);
    expect(group.coordinator.classic().rebalancesCount - rebalances).toBeLessThanOrEqual(3);
    expect([...a.owner.events, ...b.owner.events].filter((event) => event.startsWith("lost"))).toEqual([]);
  });

  test.for([["range"], ["cooperative-sticky"]] as const)(
    "%s: a member that never gives up loses what it had before the group loses patience",
    async (assignors) => {
      const { group, a, b } = await pair({ assignors, rebalanceTimeoutMs: 20_000 });
      a.owner.revokeMs = 10_000_000;
      const ids = [...group.coordinator.classic().members.keys()];
      const c = group.join("c");
      await group.until(() => c.owner.held.size === 2, 60_000);
      await group.settled([
        [a, 2],
        [b, 2],
      ]);
      expect(a.owner.events.filter((event) => /^(revoked|lost)/.test(event))).toEqual([expect.stringMatching(/^lost/)]);
      expect([...group.coordinator.classic().members.keys()]).toEqual(expect.arrayContaining(ids));
      const { rebalancesCount } = group.coordinator.classic();
      await group.clock.advance(120_000);
      expect(group.coordinator.classic().rebalancesCount).toBe(rebalancesCount);
    },
  );

  test.for([
    // What it has stays.
    [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, [], 0],
    [ErrorCode.COORDINATOR_NOT_AVAILABLE, [], 0],
    [ErrorCode.NOT_COORDINATOR, [], 0],
    [ErrorCode.REBALANCE_IN_PROGRESS, [], 1],
    ["cut", [], 0],
    ["no answer", [], 0],
    ["answer lost", [], 0],
    // Others may have it.
    [ErrorCode.ILLEGAL_GENERATION, [`lost ${orders(3, 4, 5)}`, `assign ${orders(3, 4, 5)}`], 1],
    [ErrorCode.UNKNOWN_MEMBER_ID, [`lost ${orders(3, 4, 5)}`, expect.stringMatching(/^assign/)], 2],
    [ErrorCode.FENCED_INSTANCE_ID, [`lost ${orders(3, 4, 5)}`, "failed FENCED_INSTANCE_ID"], 0],
    [ErrorCode.GROUP_AUTHORIZATION_FAILED, [`lost ${orders(3, 4, 5)}`, "failed GROUP_AUTHORIZATION_FAILED"], 0],
  ] as const)("%s", async ([mishap, events, joinsCount]) => {
    const { group, b } = await pair({ sessionTimeoutMs: 30_000 });
    const before = counted(group, b, "JoinGroup");
    let isDue = true;
    group.coordinator.intercept = (api, message) => {
      const isOfB = (message as { memberId?: string }).memberId === b.membership.identity?.memberId;
      if (!isDue || api !== "Heartbeat" || !isOfB) return null;
      isDue = false;
      if (mishap === ErrorCode.UNKNOWN_MEMBER_ID) group.coordinator.classic().expel(b.membership.identity!.memberId);
      return typeof mishap === "string" ? mishap : { code: mishap };
    };
    await group.clock.advance(20_000);
    expect(isDue).toBe(false);
    expect(b.owner.events.slice(0, events.length)).toEqual(events);
    if (events.length === 0) expect(b.owner.events).toEqual([]);
    if (joinsCount > 0) expect(counted(group, b, "JoinGroup") - before).toBeGreaterThanOrEqual(joinsCount);
    else expect(counted(group, b, "JoinGroup")).toBe(before);
  });

  test("a coordinator that moves is followed, and what it had stays", async () => {
    const { group, a, b } = await pair({}, { brokers: 2 });
    group.coordinator.nodeId = 1;
    await group.clock.advance(20_000);
    expect([...a.owner.events, ...b.owner.events]).toEqual([]);
    expect(group.fake.brokers[1]!.names.filter((name) => name === "Heartbeat").length).toBeGreaterThan(4);
  });

  test("without an answer for a session, what it had is lost by its own clock; it comes back when it can", async () => {
    const { group, a, b } = await pair({ sessionTimeoutMs: 10_000 });
    group.coordinator.intercept = () => "no answer";
    const beganMs = group.clock.monotonicMs();
    await group.until(() => a.owner.held.size === 0 && b.owner.held.size === 0, 10_500);
    expect(group.clock.monotonicMs() - beganMs).toBeGreaterThan(5_000);
    expect(a.membership.identity).toBeNull();
    await group.clock.advance(60_000);
    group.coordinator.intercept = null;
    await group.until(() => a.owner.held.size + b.owner.held.size === 6, 120_000);
  });

  test.for(["timers", "input"] as const)(
    "a process that stood still for a session knows that it is out: %s first",
    async (first) => {
      const { group, a } = await pair({ sessionTimeoutMs: 10_000 });
      // An answer of before comes after it.
      group.coordinator.intercept = (api) => (api === "Heartbeat" ? { afterMs: 100 } : null);
      const before = counted(group, a, "Heartbeat");
      await group.until(() => counted(group, a, "Heartbeat") > before);
      group.coordinator.intercept = null;
      a.world.stall();
      await group.clock.advance(11_000);
      expect(a.owner.events).toEqual([]);
      await a.world.goOn(first);
      expect(a.owner.events[0]).toBe(`lost ${orders(0, 1, 2)}`);
      await group.until(() => a.owner.held.size === 3);
    },
  );

  test.for(["timers", "input"] as const)(
    "an assignment that came while the process stood still is not taken: %s first",
    async (first) => {
      const { group, a, b } = await pair({ sessionTimeoutMs: 6_000, assignors: ["range"] });
      group.coordinator.intercept = (api, message) => {
        const isOfLeader = (message as { memberId?: string }).memberId === a.membership.identity?.memberId;
        return api === "SyncGroup" && isOfLeader ? { afterMs: 3_000 } : null;
      };
      group.coordinator.classic().rebalance();
      const before = counted(group, b, "SyncGroup");
      await group.until(() => counted(group, b, "SyncGroup") > before);
      group.coordinator.intercept = null;
      b.world.stall();
      await group.clock.advance(12_000);
      expect(a.owner.held.size).toBe(6);
      const taken: string[] = [];
      b.owner.onAssign = (partitions) => taken.push(...partitions.filter((each) => a.owner.held.has(each)));
      void b.world.goOn(first);
      await group.settled([
        [a, 3],
        [b, 3],
      ]);
      expect(taken).toEqual([]);
      expect(group.coordinator.classic().members.size).toBe(2);
    },
  );

  test("the generation that a member claims is that of what it has, not of its last JoinGroup", async () => {
    const group = await TestGroup.start();
    const a = group.join("a");
    await group.settled([[a, 6]]);
    group.coordinator.classic().rebalance();
    group.coordinator.next("SyncGroup", { code: ErrorCode.REBALANCE_IN_PROGRESS });
    await group.until(() => joins(group, a).length === 4);
    const told = joins(group, a).map(({ protocols }) => readSubscription(protocols[0]!.metadata).generation);
    expect(told).toEqual([-1, -1, 1, 1]);
    await group.clock.advance(20_000);
    expect(a.owner.events).toHaveLength(1);
  });

  test("what is lost while it is being given up is not waited for", async () => {
    const { group, a } = await pair();
    // Even where the owner hangs.
    let isRevoking = false;
    a.owner.revoke = async () => {
      isRevoking = true;
      return new Promise<never>(() => {});
    };
    group.join("c");
    await group.until(() => isRevoking);
    group.coordinator.classic().expel(a.membership.identity!.memberId);
    await group.until(() => a.owner.events.some((event) => event.startsWith("lost")), 3_500);
    await group.until(() => a.owner.held.size === 2, 20_000);
  });

  test("an owner that takes long to begin holds nobody up", async () => {
    const group = await TestGroup.start({ assignors: ["range"], rebalanceTimeoutMs: 20_000 });
    const a = group.make("a");
    a.owner.assignMs = 10_000_000;
    a.membership.start();
    await group.settled([[a, 6]]);
    const b = group.join("b");
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    expect(a.owner.events.filter((event) => event.startsWith("lost"))).toEqual([]);
  });
});

describe("a commit that is refused", () => {
  test.for([
    [ErrorCode.ILLEGAL_GENERATION, "ILLEGAL_GENERATION", 1],
    [ErrorCode.UNKNOWN_MEMBER_ID, "UNKNOWN_MEMBER_ID", 1],
    [ErrorCode.REBALANCE_IN_PROGRESS, "REBALANCE_IN_PROGRESS", 0],
  ] as const)("%i", async ([, code, lostCount]) => {
    const { group, a } = await pair();
    const identity = a.membership.identity!;
    const before = counted(group, a, "JoinGroup");
    a.membership.onCommitRefused({ ...identity }, new KafkaError(code, "of an earlier generation"));
    await group.clock.advance(1_000);
    expect(counted(group, a, "JoinGroup")).toBe(before);
    if (code === "UNKNOWN_MEMBER_ID") group.coordinator.classic().expel(identity.memberId);
    a.membership.onCommitRefused(identity, new KafkaError(code, "a commit"));
    await group.clock.advance(10_000);
    expect(a.owner.events.filter((event) => event.startsWith("lost"))).toHaveLength(lostCount);
    expect(counted(group, a, "JoinGroup")).toBeGreaterThan(before);
    expect(a.owner.held.size).toBe(3);
  });
});

test("a commit that is refused while the group rebalances anyway causes no other rebalance", async () => {
  const { group, a, b } = await pair();
  group.coordinator.intercept = (api, message) => {
    const isOfLeader = (message as { memberId?: string }).memberId === a.membership.identity?.memberId;
    return api === "SyncGroup" && isOfLeader ? { afterMs: 2_000 } : null;
  };
  group.coordinator.classic().rebalance();
  const before = counted(group, b, "SyncGroup");
  await group.until(() => counted(group, b, "SyncGroup") > before);
  const { rebalancesCount } = group.coordinator.classic();
  b.membership.onCommitRefused(b.membership.identity!, new KafkaError("REBALANCE_IN_PROGRESS", "a commit"));
  await group.clock.advance(30_000);
  expect(group.coordinator.classic().rebalancesCount).toBe(rebalancesCount);
});

describe("topics", () => {
  test("the leader sees a topic grow, and another one come", async () => {
    const group = await TestGroup.start({ subscription: { topics: ["orders", "bills"], pattern: null } });
    const a = group.join("a", { cluster: { metadataMaxAgeMs: 30_000 } });
    const b = group.join("b");
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    group.fake.create("bills", [0, 0]);
    await group.settled(
      [
        [a, 4],
        [b, 4],
      ],
      20_000,
    );
    const { partitions } = group.fake.topics.get("orders")!;
    partitions.push(partitions[0]!, partitions[1]!);
    await group.settled(
      [
        [a, 5],
        [b, 5],
      ],
      60_000,
    );
    const reasons = joins(group, a).map(({ reason }) => reason);
    expect(reasons).toContain("topic orders has 8 partitions, not 6");
  });

  test("a pattern is followed, and does not match internal topics", async () => {
    const group = await TestGroup.start({ subscription: { topics: [], pattern: /^(orders|__)/g } });
    group.fake.create("__consumer_offsets", [0]);
    const a = group.join("a");
    await group.until(() => a.owner.held.size > 0);
    group.fake.create("orders-of-today", [0]);
    group.fake.create("bills", [0]);
    await group.until(() => a.owner.held.has("orders-of-today-0"), 70_000);
    expect(a.owner.held.has("bills-0")).toBe(false);
  });

  test("another subscription takes effect at once, also while it joins", async () => {
    const group = await TestGroup.start();
    group.fake.create("bills", [0, 0]);
    const a = group.join("a");
    await group.settled([[a, 6]]);
    a.membership.subscribe({ topics: ["bills"], pattern: null });
    await group.settled([[a, 2]], 1_000);
    expect(a.owner.keys).toEqual(["bills-0", "bills-1"]);
    a.membership.subscribe({ topics: ["orders"], pattern: null });
    a.membership.subscribe({ topics: ["orders", "bills"], pattern: null });
    await group.settled([[a, 8]], 1_000);
    await group.clock.advance(30_000);
    expect(joins(group, a).length).toBeLessThanOrEqual(5);
  });
});

describe("static members", () => {
  test("leave nothing, and come back to what they had, without a rebalance", async () => {
    const group = await TestGroup.start({ assignors: ["range"] });
    const a = group.join("a", { instanceId: "one" });
    await group.until(() => a.owner.held.size === 6);
    const b = group.join("b", { instanceId: "two" });
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
    await group.clock.advance(10_000);
    const { rebalancesCount } = group.coordinator.classic();
    for (const member of [a, b]) {
      const had = member.owner.keys;
      await group.fake.within(5_000, member.membership.leave());
      expect(counted(group, member, "LeaveGroup")).toBe(0);
      const again = group.join(`${member.name}2`, { instanceId: member === a ? "one" : "two" });
      await group.settled([[again, 3]], 3_000);
      expect(again.owner.keys).toEqual(had);
    }
    await group.clock.advance(20_000);
    expect(group.coordinator.classic().rebalancesCount).toBe(rebalancesCount);
  });

  test("two of one instance id: the later one goes on, and the other is told which", async () => {
    const group = await TestGroup.start();
    const a = group.join("a", { instanceId: "one" });
    await group.settled([[a, 6]]);
    const b = group.join("b", { instanceId: "one" });
    await group.until(() => a.owner.failure !== null, 10_000);
    expect(a.owner.failure).toMatchObject({ code: "FENCED_INSTANCE_ID", fatal: true });
    expect(a.owner.failure?.message).toContain("instance one");
    expect(a.owner.events.at(-2)).toMatch(/^lost/);
    await group.settled([[b, 6]]);
  });
});

describe("assignors", () => {
  test("may be anybody's; of a cooperative one that forgets the rule nobody suffers", async () => {
    const lastTakesAll: Assignor = {
      name: "last",
      protocol: "cooperative",
      assign: (members, topics) => {
        const all = [...topics].flatMap(([topic, { partitionCount }]) =>
          Array.from({ length: partitionCount }, (_, partition) => ({ topic, partition })),
        );
        const last = members
          .map(({ memberId }) => memberId)
          .sort()
          .at(-1);
        return new Map(members.map(({ memberId }) => [memberId, memberId === last ? all : []]));
      },
    };
    const group = await TestGroup.start({ assignors: [lastTakesAll] });
    const a = group.join("a");
    await group.settled([[a, 6]]);
    const b = group.make("b");
    const both: string[] = [];
    b.owner.onAssign = (partitions) => both.push(...partitions.filter((each) => a.owner.held.has(each)));
    a.owner.revokeMs = 5_000;
    b.membership.start();
    await group.settled([
      [a, 0],
      [b, 6],
    ]);
    expect(both).toEqual([]);
  });

  test("that throw end the leader's membership, and only that", async () => {
    const broken: Assignor = {
      name: "broken",
      protocol: "eager",
      assign: () => {
        throw new Error("no idea");
      },
    };
    const group = await TestGroup.start();
    const a = group.join("a", { assignors: [broken] });
    await group.until(() => a.owner.failure !== null, 1_000);
    expect(a.owner.failure).toMatchObject({ code: "ASSIGNOR_FAILED", message: "assignor broken: no idea" });
    await group.fake.within(10_000, a.membership.leave());
    expect(group.coordinator.classic().members.size).toBe(0);
  });
});

describe("leaving", () => {
  test("gives up what is owned, tells the group, and ends every timer", async () => {
    const { group, a, b } = await pair();
    a.owner.revokeMs = 5_000;
    await group.fake.within(6_000, a.membership.leave());
    expect(a.owner.events).toEqual([`revoke ${orders(0, 1, 2)}`, `revoked ${orders(0, 1, 2)}`]);
    expect(group.asked(a).at(-1)).toMatchObject({
      api: "LeaveGroup",
      message: { members: [{ reason: "the consumer was closed" }] },
    });
    await group.until(() => b.owner.held.size === 6, 5_000);
    await group.fake.within(1_000, b.membership.leave());
    expect(group.clock.pendingTimers).toBe(0);
    expect(a.membership.identity).toBeNull();
  });

  test("does not stand behind a JoinGroup that waits", async () => {
    const { group, a, b } = await pair({ assignors: ["range"] });
    a.owner.revokeMs = 40_000;
    const c = group.join("c");
    await group.clock.advance(5_000);
    expect(counted(group, c, "JoinGroup")).toBe(2);
    const { connections } = group.fake.brokers[0]!;
    const connectionsCount = connections.size;
    await group.fake.within(1_000, c.membership.leave());
    await group.clock.settle();
    expect(connections.size).toBe(connectionsCount - 1);
    expect(counted(group, c, "LeaveGroup")).toBe(1);
    await group.clock.advance(60_000);
    expect([...group.coordinator.classic().members.keys()]).toHaveLength(2);
    await group.settled([
      [a, 3],
      [b, 3],
    ]);
  });

  test.for(["no answer", "cut"] as const)("takes bounded time where the brokers give %s", async (mishap) => {
    const { group, a } = await pair();
    group.coordinator.intercept = () => mishap;
    await group.fake.within(6_000, a.membership.leave());
    expect(a.owner.keys).toEqual([]);
  });

  test("of one that never joined asks nobody", async () => {
    const group = await TestGroup.start();
    const a = group.make("a");
    await a.membership.leave();
    a.membership.start();
    await group.clock.advance(1_000);
    expect(group.asked(a)).toEqual([]);
  });

  test("a cluster that is closed ends it", async () => {
    const { group, a } = await pair();
    await a.cluster.close();
    expect(a.owner.events).toEqual([`lost ${orders(0, 1, 2)}`]);
    await group.fake.within(1_000, a.membership.leave());
    expect(a.owner.failure).toBeNull();
  });
});
