import fc from "fast-check";
import { expect, test } from "vitest";
import type { ClassicGroup } from "./classic-group.ts";
import type { DeleteGroupsAnswer, FetchAnswer, LeaveAnswer } from "./answers.ts";
import { defaultGroupSettings } from "./settings.ts";
import type { GroupSettings } from "./settings.ts";
import { subscription, TestClient } from "./testing/client.ts";
import { GroupHost } from "./testing/group-host.ts";

/*
 * Anything may happen in any order: the invariants of SPEC.md are checked by the host after every step. Here are those
 * that need a memory of what clients were told, and the promise that a group comes to rest once its clients behave.
 */

const clientCount = 5;
const who = fc.nat(clientCount - 1);
const protocols = fc.constantFrom(["range"], ["range", "sticky"], ["sticky", "range"], ["sticky"]);

const producer = fc.integer({ min: 100, max: 102 });
const outcome = fc.constantFrom("commit" as const, "abort" as const);

const step = fc.oneof(
  // Without clients that mostly behave, a group would hardly ever be stable.
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("proceed" as const), who }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("round" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("join" as const),
      who,
      protocols,
      isMemberIdRequired: fc.boolean(),
      canSkip: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("sync" as const), who }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("beat" as const), who }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("commit" as const), who, offset: fc.nat(1000) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("transact" as const), who, producer, offset: fc.nat(1000) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("end" as const), producer, outcome }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart" as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("evict" as const), who }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("confuse" as const), who, as: who, by: fc.integer({ min: -2, max: 1 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(0, 1, 1_000, 3_000, 9_999, 10_000, 40_000, 600_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("failover" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("outside" as const), offset: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const), topic: fc.constantFrom("t", "u") }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

class World {
  readonly host: GroupHost;
  readonly clients: TestClient[];
  /** By generation: the mark of the assignment that a member of it was given. */
  readonly #marks = new Map<number, string>();
  #assignmentsMade = 0;
  /** Commits that were accepted, in order: by producer the last one of its transaction, and which one counts. */
  readonly #inTransaction = new Map<number, { readonly offset: number; readonly order: number }>();
  #commits = 0;
  #orderOfCommitted = 0;

  constructor(settings: Partial<GroupSettings>) {
    this.host = new GroupHost({
      ...defaultGroupSettings,
      offsetsRetentionMs: 1_800_000,
      pendingMembersMax: 8,
      ...settings,
    });
    this.clients = Array.from({ length: clientCount }, (_, index) => {
      const instanceId = index >= 3 ? `instance-${index}` : null;
      return new TestClient(this.host, { name: `c${index}`, groupId: "g", instanceId });
    });
  }

  run(one: Step): void {
    this.#run(one);
    // A group that is made anew begins to count anew.
    if (!this.host.shard.groups.has("g")) this.#marks.clear();
  }

  #run(one: Step): void {
    const client = "who" in one ? this.clients[one.who]! : this.clients[0]!;
    switch (one.kind) {
      case "proceed":
        return this.#proceed(client);
      case "round":
        for (let times = 0; times < 3; times++) for (const each of this.clients) this.#proceed(each);
        return this.host.advance(3_000);
      case "join":
        return this.join(client, one);
      case "sync":
        return this.sync(client);
      case "beat":
        return void client.heartbeat();
      case "commit":
        return this.#commit(client, one.offset);
      case "transact":
        return this.#transact(client, one);
      case "end":
        return this.#end(one.producer, one.outcome);
      case "leave":
        return void client.leave();
      case "restart":
        return client.restart();
      case "evict": {
        const { instanceId } = client;
        return this.host.ask<LeaveAnswer>(
          (shard, ticket) =>
            shard.decideLeave(
              { ticket, groupId: "g", members: [{ memberId: "", instanceId, reason: null }] },
              this.host.nowMs,
            ),
          () => {},
        );
      }
      case "confuse":
        client.memberId = this.clients[one.as]!.memberId;
        client.generation = Math.max(-1, client.generation + one.by);
        return;
      case "advance":
        return this.host.advance(one.ms);
      case "failover":
        return this.host.failover();
      case "delete":
        return this.host.ask<DeleteGroupsAnswer>(
          (shard, ticket) => shard.decideDeleteGroups({ ticket, groupIds: ["g", "g"] }),
          () => {},
        );
      case "outside":
        return this.#commit(new TestClient(this.host, { name: "outside", groupId: "g" }), one.offset);
      case "forget":
        return this.host.tell((shard) => shard.decideTopicsDeleted(new Set([one.topic])));
    }
  }

  #group(): ClassicGroup | undefined {
    const group = this.host.shard.groups.get("g");
    return group?.type === "classic" ? group : undefined;
  }

  join(
    client: TestClient,
    options: { readonly protocols: readonly string[]; readonly isMemberIdRequired: boolean; readonly canSkip: boolean },
  ): void {
    client.join({
      protocols: options.protocols.map((name) => ({ name, metadata: subscription(["t"]) })),
      isMemberIdRequired: options.isMemberIdRequired,
      canSkipAssignment: options.canSkip,
    });
  }

  sync(client: TestClient): void {
    const mark = `#${++this.#assignmentsMade}`;
    const { generation } = client;
    const groupGeneration = this.#group()?.generation;
    client.sync(new Map(client.members.map((memberId) => [memberId, `${memberId} ${mark}`])), (answer) => {
      const text = Buffer.from(answer.assignment).toString();
      // I17: who does not know the generation is not told its assignment.
      if (answer.failure === null) expect(generation).toBe(groupGeneration);
      if (answer.failure !== null || text === "") return;
      // I14: all assignments of a generation come from one SyncGroup of its leader.
      const told = text.slice(text.indexOf("#"));
      expect(this.#marks.get(generation) ?? told).toBe(told);
      this.#marks.set(generation, told);
    });
  }

  /** I15: who may commit, said once more in other words. */
  #commit(client: TestClient, offset: number): void {
    const group = this.#group();
    const isInside =
      group?.members.has(client.memberId) === true &&
      client.generation === group.generation &&
      group.state !== "CompletingRebalance";
    const isOutside = client.generation === -1 && (group === undefined || group.state === "Empty");
    const before = this.host.shard.offsets.get("g", "t", 0)?.offset ?? -1;
    const failure = client.commit([{ topic: "t", partition: 0, offset }]);
    const after = this.host.shard.offsets.get("g", "t", 0)?.offset ?? -1;
    expect(after).toBe(failure === null ? offset : before);
    if (failure === null) this.#orderOfCommitted = ++this.#commits;
    if (failure === null) expect(isInside || isOutside).toBe(true);
  }

  /** I15: what a transaction commits counts with its marker, if it is the newest by then. */
  #transact(
    client: TestClient,
    { producer: id, offset }: { readonly producer: number; readonly offset: number },
  ): void {
    const before = this.#committed();
    const failure = client.commit([{ topic: "t", partition: 0, offset }], id);
    expect(this.#committed()).toEqual(before);
    if (failure !== null) return;
    this.#commits += 1;
    this.#inTransaction.set(id, { offset, order: this.#commits });
    const isStable = this.#fetchStable() === "told";
    expect(isStable).toBe(false);
  }

  #end(id: number, end: "commit" | "abort"): void {
    const before = this.#committed();
    const pending = [...this.host.shard.offsets.pendingOf("g")].some(({ producerId }) => producerId === id);
    const last = this.#inTransaction.get(id);
    this.#inTransaction.delete(id);
    this.host.endTransaction(id, end);
    const after = this.#committed();
    // A deletion meanwhile has ended what was pending, too.
    if (!pending || end === "abort" || last === undefined) return expect(after).toBe(before);
    const isNewest = last.order > this.#orderOfCommitted;
    expect(after).toBe(isNewest || before === null ? last.offset : before);
    if (isNewest) this.#orderOfCommitted = last.order;
  }

  #committed(): number | null {
    return this.host.shard.offsets.get("g", "t", 0)?.offset ?? null;
  }

  #fetchStable(): "told" | "unstable" {
    let told: "told" | "unstable" = "told";
    this.host.ask<FetchAnswer>(
      (shard, ticket) =>
        shard.decideFetch({
          ...{ ticket, groupId: "g", memberId: null, memberEpoch: -1, isStableRequired: true },
          topics: [{ topic: "t", topicId: null, partitions: [0] }],
        }),
      (answer) => {
        if (answer?.topics[0]?.partitions[0]?.failure === "unstable-offset-commit") told = "unstable";
      },
    );
    return told;
  }

  /** Every client does what its protocol says, until they agree. False: they did not. */
  heal(): boolean {
    for (let round = 0; round < 300; round++) {
      for (const client of this.clients) this.#proceed(client);
      if (this.#isAtRest()) return true;
      this.host.advance(2_000);
    }
    return false;
  }

  #proceed(client: TestClient): void {
    if (client.isWaiting) return;
    const isJoined = client.memberId !== "" && client.generation !== -1;
    const mustJoin =
      client.failure === "rebalance-in-progress" ||
      client.failure === "lost" ||
      client.failure === "illegal-generation";
    if (!isJoined || mustJoin) this.#joinWell(client);
    else if (client.assignment === null) this.sync(client);
    else if (client.heartbeat() === "fenced-instance-id") client.restart();
  }

  #joinWell(client: TestClient): void {
    const isConfused = client.failure === "fenced-instance-id";
    if (isConfused) client.restart();
    client.assignment = null;
    client.failure = null;
    this.join(client, { protocols: ["range", "sticky"], isMemberIdRequired: true, canSkip: true });
  }

  #isAtRest(): boolean {
    const group = this.#group();
    const isSettled =
      group?.state === "Stable" && group.members.size === this.clients.length && group.pendingSync.size === 0;
    return (
      isSettled &&
      this.clients.every(
        (one) => one.generation === group.generation && one.assignment !== null && group.members.has(one.memberId),
      )
    );
  }
}

test("whatever happens, the invariants hold", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60, size: "max" }),
      fc.constantFrom(3, 100),
      fc.constantFrom(0, 3_000),
      (steps, groupSizeMax, initialRebalanceDelayMs) => {
        const world = new World({ groupSizeMax, initialRebalanceDelayMs });
        for (const one of steps) world.run(one);
      },
    ),
    { numRuns: 400 },
  );
});

test("whatever has happened, a group comes to rest once its clients behave", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
      const world = new World({});
      for (const one of steps) world.run(one);
      // A protocol of its own that nobody else has would keep the others out for ever: those clients go first.
      for (const client of world.clients) client.restart();
      expect(world.heal()).toBe(true);
    }),
    { numRuns: 60 },
  );
});
