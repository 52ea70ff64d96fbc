import { Prng } from "@millrace/base/prng";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { describe, expect, test } from "vitest";
import type { GroupMishap } from "../../../test/fake-group-coordinator.ts";
import { TestGroup } from "../../../test/group-members.ts";
import type { TestMember, TestMemberOptions } from "../../../test/group-members.ts";

const seeds = Number(process.env["MILLRACE_MEMBERSHIP_RUNS"] ?? 12);
const firstSeed = Number(process.env["SEED"] ?? 1);
const times = { sessionTimeoutMs: 6_000, heartbeatIntervalMs: 1_000, rebalanceTimeoutMs: 10_000 } as const;

const kinds: Readonly<Record<string, readonly TestMemberOptions[]>> = {
  cooperative: [{ assignors: ["cooperative-sticky"] }],
  eager: [{ assignors: ["range"] }],
  // As in a rolling change from the one to the other (KIP-429).
  mixed: [{ assignors: ["cooperative-sticky"] }, { assignors: ["cooperative-sticky", "range"] }],
  consumer: [{ protocol: "consumer" }],
};

describe.for(Object.entries(kinds))("%s members that come, go, crash, stall and lose answers", ([kind, options]) => {
  test.for(Array.from({ length: seeds }, (_, index) => firstSeed + index))(
    "SEED=%i: never two owners, and in the end each partition has one, and rests",
    async (seed) => {
      const run = await Run.start(kind === "consumer", options, seed);
      await run.disturb();
      await run.rest();
    },
  );
});

/** One random history. */
class Run {
  readonly #group: TestGroup;
  readonly #prng: Prng;
  readonly #isConsumer: boolean;
  readonly #options: readonly TestMemberOptions[];
  readonly #live = new Set<TestMember>();
  readonly #faults: string[] = [];
  readonly #story: string[] = [];
  readonly #leaving: Promise<void>[] = [];
  #nextName = 1;
  #mishapChance = 0;

  private constructor(group: TestGroup, isConsumer: boolean, options: readonly TestMemberOptions[], seed: number) {
    this.#group = group;
    this.#isConsumer = isConsumer;
    this.#options = options;
    this.#prng = new Prng(seed);
  }

  static async start(isConsumer: boolean, options: readonly TestMemberOptions[], seed: number): Promise<Run> {
    const group = await TestGroup.start(
      { ...times, cluster: { requestTimeoutMs: 4_000, metadataMaxAgeMs: 5_000 } },
      { brokers: 2, seed },
    );
    group.fake.create("bills", [0, 0, 0]);
    const consumer = group.coordinator.consumer();
    consumer.sessionTimeoutMs = times.sessionTimeoutMs;
    consumer.heartbeatIntervalMs = times.heartbeatIntervalMs;
    const run = new Run(group, isConsumer, options, seed);
    group.coordinator.intercept = (api) => (api === "FindCoordinator" ? null : run.#mishap());
    return run;
  }

  async disturb(): Promise<void> {
    this.#join();
    for (let step = 0; step < 60; step++) {
      await this.#group.clock.advance(this.#prng.between(50, 2_500));
      this.#mishapChance = this.#prng.chance(0.3) ? 0.15 : 0.02;
      this.#step();
      expect(this.#faults, this.#text).toEqual([]);
    }
  }

  async rest(): Promise<void> {
    this.#mishapChance = 0;
    for (const { owner, world } of this.#live) {
      owner.revokeMs = 0;
      void world.goOn();
    }
    await this.#group.fake.within(60_000, Promise.all(this.#leaving));
    if (this.#live.size === 0) this.#join();
    // Work that is being given up, sessions and rebalances that are under way.
    await this.#group.clock.advance(45_000);
    try {
      await this.#group.until(() => this.#isAtRest, 30_000);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#text}`, { cause: error });
    }
    const story = this.#story.length;
    const { rebalancesCount } = this.#group.coordinator.classic();
    await this.#group.clock.advance(40_000);
    expect(this.#faults, this.#text).toEqual([]);
    expect(this.#story.slice(story), this.#text).toEqual([]);
    expect(this.#group.coordinator.classic().rebalancesCount, this.#text).toBe(rebalancesCount);
    for (const { cluster } of this.#live) await cluster.close();
  }

  get #isAtRest(): boolean {
    const all = [...this.#live].flatMap(({ owner }) => owner.keys);
    const isOwned = all.length === this.#partitionCount && new Set(all).size === all.length;
    const { coordinator } = this.#group;
    const isStill = this.#isConsumer ? coordinator.consumer().isAtRest : coordinator.classic().state === "Stable";
    const count = this.#isConsumer ? coordinator.consumer().members.size : coordinator.classic().members.size;
    return isOwned && isStill && count === this.#live.size;
  }

  get #partitionCount(): number {
    return [...this.#group.fake.topics.values()].reduce((sum, { partitions }) => sum + partitions.length, 0);
  }

  get #text(): string {
    return this.#story.slice(-60).join("\n");
  }

  #step(): void {
    const members = [...this.#live];
    const { fake, coordinator } = this.#group;
    const member = members.length === 0 ? null : this.#prng.pick(members);
    const actions: (() => void)[] = [
      () => this.#live.size < 5 && this.#join(),
      () => this.#live.size < 5 && this.#join(),
      () => member !== null && this.#leave(member),
      () => member !== null && this.#crash(member),
      () => member !== null && this.#stall(member),
      () => {
        if (member !== null) member.owner.revokeMs = this.#prng.pick([0, 0, 500, 3_000, 9_000, 15_000]);
      },
      () => {
        if (member !== null) member.owner.assignMs = this.#prng.pick([0, 0, 500, 8_000]);
      },
      () => {
        this.#tell("all connections break");
        for (const broker of fake.brokers) broker.cut();
      },
      () => {
        coordinator.nodeId = 1 - coordinator.nodeId;
        this.#tell(`broker ${coordinator.nodeId} coordinates`);
      },
      () => {
        const id = member?.membership.identity?.memberId;
        if (id === undefined) return;
        this.#tell(`${member?.name} is expelled`);
        if (this.#isConsumer) coordinator.consumer().expel(id);
        else coordinator.classic().expel(id);
      },
      () => {
        if (this.#partitionCount > 12) return;
        const { partitions } = fake.topics.get("bills")!;
        partitions.push({ ...partitions[0]!, log: [], producers: new Map() });
        if (this.#isConsumer) coordinator.consumer().topicsChanged();
        this.#tell("bills grows");
      },
    ];
    this.#prng.pick(actions)();
  }

  #join(): void {
    const name = `m${this.#nextName++}`;
    const member = this.#group.make(name, {
      ...this.#prng.pick(this.#options),
      subscription: { topics: ["orders", "bills"], pattern: null },
    });
    const { owner } = member;
    owner.onAssign = (partitions) => {
      this.#tell(`${name} has ${partitions.join(" ")}`);
      for (const other of this.#live) if (other !== member) this.#compare(member, other, partitions);
    };
    owner.onGone = (partitions, how) => this.#tell(`${name} has ${how} ${partitions.join(" ")}`);
    this.#live.add(member);
    this.#tell(`${name} joins`);
    member.membership.start();
  }

  /** Who has it and is no member any more may not know it yet: that is for `lost` to end. */
  #compare(member: TestMember, other: TestMember, partitions: readonly string[]): void {
    const both = partitions.filter((partition) => other.owner.held.has(partition));
    if (both.length === 0 || !this.#isMember(other)) return;
    this.#faults.push(`${member.name} was given ${both.join(" ")} while ${other.name}, a member, had it`);
  }

  #isMember({ membership }: TestMember): boolean {
    const id = membership.identity?.memberId ?? "";
    const { coordinator } = this.#group;
    return this.#isConsumer ? coordinator.consumer().members.has(id) : coordinator.classic().members.has(id);
  }

  #leave(member: TestMember): void {
    this.#tell(`${member.name} leaves`);
    void member.world.goOn();
    const gone = member.membership.leave().then(async () => {
      expect(member.owner.keys).toEqual([]);
      this.#live.delete(member);
      await member.cluster.close();
    });
    this.#leaving.push(gone);
  }

  #crash(member: TestMember): void {
    this.#tell(`${member.name} crashes`);
    this.#live.delete(member);
    void member.cluster.close();
  }

  #stall(member: TestMember): void {
    const ms = this.#prng.between(500, 12_000);
    this.#tell(`${member.name} stands still for ${ms} ms`);
    member.world.stall();
    const first = this.#prng.chance(0.5) ? "timers" : "input";
    this.#group.clock.schedule(ms, () => void member.world.goOn(first));
  }

  #mishap(): GroupMishap | null {
    if (!this.#prng.chance(this.#mishapChance)) return null;
    const codes = [
      ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
      ErrorCode.NOT_COORDINATOR,
      ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ];
    return this.#prng.pick<GroupMishap>(["no answer", "cut", "answer lost", { code: this.#prng.pick(codes) }]);
  }

  #tell(line: string): void {
    this.#story.push(`${(this.#group.clock.monotonicMs() / 1_000).toFixed(3)} ${line}`);
  }
}
