import fc from "fast-check";
import { expect, test } from "vitest";
import { assignmentBytes, assignmentOf } from "../consumer-protocol.ts";
import type { CommitAnswer, DeleteGroupsAnswer } from "../answers.ts";
import { defaultGroupSettings } from "../settings.ts";
import { subscription, TestClient } from "../testing/client.ts";
import { ConsumerClient } from "../testing/consumer-client.ts";
import { GroupHost } from "../testing/group-host.ts";
import { TestTopics } from "../testing/test-topics.ts";
import type { ConsumerGroup } from "./group.ts";

/*
 * Members of both protocols, static ones among them, lost answers, failovers, topics that come and go: anything may happen
 * in any order. The host checks the invariants of SPEC.md after every step; here are those that need to know what clients
 * really have, and the promise that a group comes to rest once its clients behave.
 */

const consumerCount = 4;
const classicCount = 2;
const who = fc.nat(consumerCount - 1);
const classic = fc.nat(classicCount - 1);
const topicNames = ["t", "u", "w"];
const subscriptions = fc.constantFrom<{ readonly topics?: readonly string[]; readonly regex?: string }>(
  { topics: ["t"] },
  { topics: ["t", "u"] },
  { topics: ["u", "w"] },
  { topics: [] },
  { regex: "[tw]" },
  { regex: ".*" },
  { topics: ["u"], regex: "t+" },
);

const step = fc.oneof(
  // Without clients that mostly behave, nothing would ever be settled.
  {
    weight: 10,
    arbitrary: fc.record({ kind: fc.constant("round" as const), advanceMs: fc.constantFrom(0, 500, 1_000, 5_000) }),
  },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("proceed" as const), who }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("proceed-classic" as const), classic }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("join" as const), who, subscription: subscriptions }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("resubscribe" as const), who, subscription: subscriptions }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("lost" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("full" as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("epoch" as const), who, epoch: fc.integer({ min: -3, max: 8 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("stubborn" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("quit" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("away" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart" as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave-classic" as const), classic }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart-classic" as const), classic }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("commit" as const), who, by: fc.integer({ min: -2, max: 1 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("topic" as const),
      name: fc.constantFrom(...topicNames),
      partitionCount: fc.nat(5),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(0, 1, 100, 1_000, 30_000, 45_000, 60_000, 600_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("failover" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

interface WorldOptions {
  readonly policy: "bidirectional" | "upgrade" | "downgrade" | "disabled";
  readonly assignmentIntervalMs: number;
}

class World {
  readonly host: GroupHost;
  readonly topics = new TestTopics({ t: 4, u: 2 });
  readonly consumers: ConsumerClient[];
  readonly classics: TestClient[];
  /** What classic clients read from: `topic-partition`. */
  readonly #classicOwned = new Map<TestClient, ReadonlySet<string>>();

  constructor({ policy, assignmentIntervalMs }: WorldOptions) {
    const { consumer } = defaultGroupSettings;
    this.host = new GroupHost(
      {
        ...defaultGroupSettings,
        initialRebalanceDelayMs: 0,
        consumer: {
          ...consumer,
          canUpgrade: policy === "bidirectional" || policy === "upgrade",
          canDowngrade: policy === "bidirectional" || policy === "downgrade",
          isMigrationDisabled: policy === "disabled",
          ofGroup: () => ({ ...consumer.ofGroup("g"), assignmentIntervalMs }),
        },
      },
      this.topics,
    );
    this.consumers = Array.from({ length: consumerCount }, (_, index) => {
      const instanceId = index >= 2 ? `instance-${index}` : null;
      return new ConsumerClient(this.host, { name: `k${index}`, groupId: "g", instanceId });
    });
    this.classics = Array.from({ length: classicCount }, (_, index) => {
      // One of them is the static member that a client of the other protocol may also be.
      const instanceId = index === 1 ? "instance-3" : null;
      return new TestClient(this.host, { name: `c${index}`, groupId: "g", instanceId });
    });
  }

  get group(): ConsumerGroup | null {
    const group = this.host.shard.groups.get("g");
    return group?.type === "consumer" ? group : null;
  }

  run(one: Step): void {
    this.#run(one);
    this.#checkExclusive();
  }

  #run(one: Step): void {
    const consumer = "who" in one ? this.consumers[one.who]! : this.consumers[0]!;
    const classicClient = "classic" in one ? this.classics[one.classic]! : this.classics[0]!;
    switch (one.kind) {
      case "round":
        for (const each of this.consumers) this.#proceed(each);
        for (const each of this.classics) if (each.memberId !== "") this.#proceedClassic(each);
        return this.host.advance(one.advanceMs);
      case "proceed":
        return this.#proceed(consumer);
      case "proceed-classic":
        return this.#proceedClassic(classicClient);
      case "join":
        return consumer.join(one.subscription);
      case "resubscribe":
        if (!consumer.isIn) return;
        return consumer.beat({ topics: one.subscription.topics ?? [], regex: one.subscription.regex ?? "" });
      case "lost":
        return consumer.isIn ? consumer.beat({ isLost: true }) : undefined;
      case "full":
        return consumer.isIn ? consumer.beat({ isFull: true }) : undefined;
      case "epoch":
        // What is no epoch of a member is refused before it comes to the machine.
        return one.epoch > 0 ? consumer.beat({ epoch: one.epoch }) : undefined;
      case "stubborn":
        consumer.isStubborn = !consumer.isStubborn;
        return;
      case "quit":
        return consumer.leave(-1);
      case "away":
        return consumer.instanceId === null ? undefined : consumer.leave(-2);
      case "restart":
        return consumer.restart();
      case "leave-classic":
        this.#classicOwned.delete(classicClient);
        return void classicClient.leave();
      case "restart-classic":
        this.#classicOwned.delete(classicClient);
        return classicClient.restart();
      case "commit":
        return this.#commit(consumer, consumer.epoch + one.by);
      case "topic":
        return this.#changeTopic(one.name, one.partitionCount);
      case "advance":
        return this.host.advance(one.ms);
      case "failover":
        return this.host.failover();
      case "delete":
        return this.host.ask<DeleteGroupsAnswer>(
          (shard, ticket) => shard.decideDeleteGroups({ ticket, groupIds: ["g"] }),
          () => {},
        );
    }
  }

  /** Partitions are added or the topic goes; it never gets fewer. */
  #changeTopic(name: string, partitionCount: number): void {
    if (partitionCount === 0) {
      this.topics.remove(name);
      this.host.tell((shard) => shard.decideTopicsDeleted(new Set([name])));
    } else if (partitionCount > (this.topics.byName(name)?.partitionCount ?? 0)) this.topics.set(name, partitionCount);
    this.host.tell((shard) => shard.decideTopicsChanged());
  }

  #proceed(client: ConsumerClient): void {
    if (client.isIn) client.beat();
    else if (client.failure === "fenced-instance-id" || client.failure === "unreleased-instance-id") client.restart();
    else if (client.failure !== null) client.join(client.options);
    if (client.failure === "fenced-instance-id") client.restart();
  }

  #proceedClassic(client: TestClient): void {
    if (client.isWaiting) return;
    if (client.failure === "fenced-instance-id") client.restart();
    const isJoined = client.memberId !== "" && client.generation !== -1;
    const mustJoin = ["rebalance-in-progress", "lost", "illegal-generation", "unknown-member-id"].includes(
      client.failure ?? "",
    );
    if (!isJoined || mustJoin) {
      // It gives up everything before it joins.
      this.#classicOwned.delete(client);
      client.assignment = null;
      client.failure = null;
      client.join({ protocols: [{ name: "range", metadata: subscription(["t", "u"]) }], sessionTimeoutMs: 30_000 });
    } else if (client.assignment === null) this.#syncClassic(client);
    else client.heartbeat();
  }

  #syncClassic(client: TestClient): void {
    const assignments = client.members.map((memberId, index): readonly [string, Uint8Array] => {
      const partitions = ["t", "u"].map((topic) => ({
        topic,
        partitions: Array.from(
          { length: this.topics.byName(topic)?.partitionCount ?? 0 },
          (_, partition) => partition,
        ).filter((partition) => partition % client.members.length === index),
      }));
      return [memberId, assignmentBytes(partitions, subscription([]))];
    });
    client.sync(new Map(assignments), (answer) => {
      if (answer.failure !== null) return;
      const owned = new Set<string>();
      for (const { topic, partitions } of assignmentOf(answer.assignment)?.assignedPartitions ?? [])
        for (const partition of partitions) owned.add(`${this.topics.byName(topic)?.id}-${partition}`);
      this.#classicOwned.set(client, owned);
    });
  }

  /** C13: said once more in other words. */
  #commit(client: ConsumerClient, generation: number): void {
    const { group } = this;
    if (group === null || generation < 0) return;
    const topicId = this.topics.byName("t")?.id ?? null;
    const member = group.member(client.memberId);
    const since =
      topicId === null
        ? undefined
        : (member?.assigned.get(topicId)?.get(0) ?? member?.pendingRevocation.get(topicId)?.get(0));
    const mayCommit =
      member !== null &&
      (generation === member.memberEpoch ||
        (generation < member.memberEpoch && since !== undefined && generation >= since));
    this.host.ask<CommitAnswer>(
      (shard, ticket) =>
        shard.decideCommit(
          {
            ticket,
            groupId: "g",
            memberId: client.memberId,
            instanceId: client.instanceId,
            generation,
            producer: null,
            knowsGroupIdNotFound: true,
            expireAfterMs: null,
            offsets: [{ topic: "t", topicId, partition: 0, offset: 1, leaderEpoch: -1, metadata: "" }],
          },
          this.host.nowMs,
        ),
      (answer) => expect(answer?.failure === null).toBe(mayCommit),
    );
  }

  /** C12: what clients really have, as far as they are members. */
  #checkExclusive(): void {
    const { group } = this;
    if (group === null) return;
    const owners = new Map<string, string>();
    const take = (key: string, name: string): void => {
      expect(owners.get(key) ?? name, `${key} is read by two`).toBe(name);
      owners.set(key, name);
    };
    for (const client of this.consumers) {
      const isMember = group.member(client.memberId)?.classic === null && client.isIn;
      if (!isMember) continue;
      for (const [topicId, partitions] of client.owned)
        for (const partition of partitions) take(`${topicId}-${partition}`, client.name);
    }
    for (const client of this.classics) {
      const isMember = (group.member(client.memberId)?.classic ?? null) !== null;
      if (isMember) for (const key of this.#classicOwned.get(client) ?? []) take(key, client.name);
    }
  }

  /** Every client does what its protocol says, until they agree. */
  heal(): boolean {
    for (const client of this.consumers) client.isStubborn = false;
    for (const client of this.classics) {
      client.leave();
      this.#classicOwned.delete(client);
    }
    for (let round = 0; round < 80; round++) {
      for (const client of this.consumers) {
        if (!client.isIn && client.failure === null) client.join({ topics: ["t", "u"] });
        else this.#proceed(client);
        this.#checkExclusive();
      }
      if (this.#isAtRest()) return true;
      this.host.advance(2_000);
    }
    return false;
  }

  /** Everyone is in, and each partition that somebody reads is read by one. */
  #isAtRest(): boolean {
    const { group } = this;
    if (group === null || group.state !== "Stable") return false;
    const isIn = this.consumers.every((client) => client.isIn && client.epoch === group.groupEpoch);
    const isExact = this.consumers.every((client) => {
      const member = group.member(client.memberId);
      const own = [...client.owned].flatMap(([topicId, partitions]) =>
        partitions.map((partition) => `${topicId}-${partition}`),
      );
      const given = [...(member?.assigned ?? [])].flatMap(([topicId, partitions]) =>
        [...partitions.keys()].map((partition) => `${topicId}-${partition}`),
      );
      return JSON.stringify(own.sort()) === JSON.stringify(given.sort());
    });
    return group.memberCount === this.consumers.length && isIn && isExact;
  }
}

const options = fc.record({
  policy: fc.constantFrom<WorldOptions["policy"]>(
    "bidirectional",
    "bidirectional",
    "bidirectional",
    "upgrade",
    "downgrade",
    "disabled",
  ),
  assignmentIntervalMs: fc.constantFrom(0, 1_000),
});

test("whatever happens, the invariants hold", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), options, (steps, worldOptions) => {
      const world = new World(worldOptions);
      for (const one of steps) world.run(one);
    }),
    { numRuns: 150 },
  );
});

test("whatever has happened, a group comes to rest once its clients behave", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: "max" }), options, (steps, worldOptions) => {
      const world = new World({
        ...worldOptions,
        policy: worldOptions.policy === "disabled" ? "disabled" : "bidirectional",
      });
      for (const one of steps) world.run(one);
      expect(world.heal()).toBe(true);
    }),
    { numRuns: 60 },
  );
});
