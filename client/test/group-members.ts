import type { Clock, Network, Random } from "@millrace/base/world";
import type { Cluster, ClusterOptions } from "../src/cluster.ts";
import { createMembership } from "../src/consumer/membership/create-membership.ts";
import type { Membership, Owner } from "../src/consumer/membership/membership.ts";
import type { MembershipOptions } from "../src/consumer/membership/options.ts";
import type { KafkaError } from "../src/errors.ts";
import type { ClientWorld } from "../src/network/wire.ts";
import { partitionKey } from "../src/topic-partition.ts";
import type { TopicPartition } from "../src/topic-partition.ts";
import { FakeCluster } from "./fake-cluster.ts";
import { FakeGroupCoordinator } from "./fake-group-coordinator.ts";

/** An owner that reads nothing, writes down what it is told, and takes as long as a test wants. */
export class FakeOwner implements Owner {
  readonly events: string[] = [];
  readonly held = new Map<string, TopicPartition>();
  failure: KafkaError | null = null;
  revokeMs = 0;
  assignMs = 0;
  onAssign: (partitions: readonly string[]) => void = () => {};
  onGone: (partitions: readonly string[], how: "revoked" | "lost") => void = () => {};
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  owned(): readonly TopicPartition[] {
    return [...this.held.values()];
  }

  get keys(): readonly string[] {
    return [...this.held.keys()].sort();
  }

  async revoke(partitions: readonly TopicPartition[]): Promise<void> {
    this.#note("revoke", partitions);
    const isOver = await this.#work(this.revokeMs);
    const left = partitions.filter((partition) => this.held.has(partitionKey(partition)));
    // Lost meanwhile.
    if (!isOver || left.length === 0) return;
    for (const partition of left) this.held.delete(partitionKey(partition));
    this.#note("revoked", left);
    this.onGone(left.map(partitionKey), "revoked");
  }

  async lost(partitions: readonly TopicPartition[]): Promise<void> {
    for (const partition of partitions) this.held.delete(partitionKey(partition));
    this.#note("lost", partitions);
    this.onGone(partitions.map(partitionKey), "lost");
    for (const end of this.#waiting) end();
  }

  async assign(partitions: readonly TopicPartition[]): Promise<void> {
    for (const partition of partitions) this.held.set(partitionKey(partition), partition);
    this.#note("assign", partitions);
    this.onAssign(partitions.map(partitionKey));
    await this.#work(this.assignMs);
  }

  failed(error: KafkaError): void {
    this.failure = error;
    this.events.push(`failed ${error.code}`);
  }

  #note(what: string, partitions: readonly TopicPartition[]): void {
    this.events.push(`${what} ${partitions.map(partitionKey).sort().join(" ")}`);
  }

  async #work(ms: number): Promise<boolean> {
    if (ms === 0) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const end = (): void => resolve(false);
    this.#waiting.add(end);
    const timer = this.#clock.schedule(ms, () => resolve(true));
    const isOver = await promise;
    timer.cancel();
    this.#waiting.delete(end);
    return isOver;
  }
}

/** A process that may stand still, as one that is busy or asleep: what is due meanwhile comes late, all at once. */
export class StallingWorld implements ClientWorld {
  readonly clock: Clock;
  readonly network: Network;
  readonly random: Random;
  #isStalled = false;
  #lateTimers: (() => void)[] = [];
  #lateInput: (() => void)[] = [];

  constructor({ clock, network, random }: ClientWorld) {
    this.random = random;
    this.clock = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      afterTurn: (callback) => clock.afterTurn(callback),
      schedule: (delayMs, callback) => {
        const state = { isCancelled: false };
        const call = (): void => {
          if (!state.isCancelled) callback();
        };
        const timer = clock.schedule(delayMs, () => this.#do(this.#lateTimers, call));
        const cancel = (): void => {
          state.isCancelled = true;
          timer.cancel();
        };
        return { cancel };
      },
    };
    this.network = {
      listen: async (...args) => network.listen(...args),
      connect: async (address, options) => {
        const connection = await network.connect(address, options);
        const start = connection.start.bind(connection);
        connection.start = (handlers) =>
          start({
            onData: (chunk) => {
              const copy = Buffer.from(chunk);
              this.#do(this.#lateInput, () => handlers.onData(copy));
            },
            onEnd: () => this.#do(this.#lateInput, () => handlers.onEnd()),
            onClose: (error) => this.#do(this.#lateInput, () => handlers.onClose(error)),
          });
        return connection;
      },
    };
  }

  stall(): void {
    this.#isStalled = true;
  }

  /** @param first what comes of it is through before the other comes: it depends on where in its event loop the process stood still. */
  async goOn(first: "timers" | "input" = "timers"): Promise<void> {
    this.#isStalled = false;
    const [timers, input] = [this.#lateTimers, this.#lateInput];
    this.#lateTimers = [];
    this.#lateInput = [];
    for (const call of first === "timers" ? timers : input) call();
    await new Promise<void>((resolve) => this.clock.afterTurn(resolve));
    for (const call of first === "timers" ? input : timers) call();
  }

  #do(late: (() => void)[], call: () => void): void {
    if (this.#isStalled) late.push(call);
    else call();
  }
}

export interface TestMember {
  readonly name: string;
  readonly cluster: Cluster;
  readonly owner: FakeOwner;
  readonly membership: Membership;
  readonly world: StallingWorld;
}

export type TestMemberOptions = Partial<MembershipOptions> & { readonly cluster?: Partial<ClusterOptions> };

/** A fake cluster with a topic "orders" of six partitions, its coordinator, and members each with a client of its own. */
export class TestGroup {
  readonly fake: FakeCluster;
  readonly coordinator: FakeGroupCoordinator;
  readonly members: TestMember[] = [];
  readonly #defaults: TestMemberOptions;

  private constructor(fake: FakeCluster, coordinator: FakeGroupCoordinator, defaults: TestMemberOptions) {
    this.fake = fake;
    this.coordinator = coordinator;
    this.#defaults = defaults;
  }

  static async start(
    defaults: TestMemberOptions = {},
    {
      brokers = 1,
      seed = 1,
      consumerVersions = [0, 1],
    }: {
      readonly brokers?: number;
      readonly seed?: number;
      readonly consumerVersions?: readonly [number, number];
    } = {},
  ): Promise<TestGroup> {
    const fake = await FakeCluster.start({ brokers, seed });
    fake.create("orders", [0, 0, 0, 0, 0, 0]);
    return new TestGroup(fake, new FakeGroupCoordinator(fake, { consumerVersions }), defaults);
  }

  get clock(): FakeCluster["world"]["clock"] {
    return this.fake.world.clock;
  }

  join(name: string, options: TestMemberOptions = {}): TestMember {
    const member = this.make(name, options);
    member.membership.start();
    return member;
  }

  make(name: string, options: TestMemberOptions = {}): TestMember {
    const { cluster: clusterOptions, ...rest } = { ...this.#defaults, ...options };
    const world = new StallingWorld(this.fake.world);
    const cluster = this.fake.client({ clientId: name, metadataMaxAgeMs: 60_000, world, ...clusterOptions });
    const owner = new FakeOwner(world.clock);
    const membership = createMembership(
      cluster.wire,
      { groupId: "group", subscription: { topics: ["orders"], pattern: null }, ...rest },
      owner,
    );
    const member = { name, cluster, owner, membership, world };
    this.members.push(member);
    return member;
  }

  async until(condition: () => boolean, withinMs = 60_000): Promise<void> {
    await this.clock.runUntil(condition, { withinMs });
  }

  /** Until the members have so many partitions, and nothing is joined any more. */
  async settled(counts: readonly (readonly [TestMember, number])[], withinMs = 60_000): Promise<void> {
    const isSettled = (): boolean => counts.every(([{ owner }, count]) => owner.held.size === count);
    try {
      await this.until(isSettled, withinMs);
    } catch (error) {
      const texts = this.members.map(
        ({ name, owner }) => `${name}: ${owner.keys.join(" ")} | ${owner.events.join("; ")}`,
      );
      throw new Error(`${(error as Error).message}\n${texts.join("\n")}`, { cause: error });
    }
  }

  /** Names of what a member has asked the brokers, but for metadata. */
  asked({ name }: TestMember): readonly { readonly api: string; readonly message: never }[] {
    return this.fake.brokers
      .flatMap(({ asked }) => asked)
      .filter(({ clientId, api }) => clientId === name && api !== "Metadata" && api !== "FindCoordinator")
      .map(({ api, message }) => ({ api, message: message as never }));
  }
}
