import { InlineWorkers } from "@millrace/base/inline-workers";
import { Prng } from "@millrace/base/prng";
import type { Network } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import type { Broker } from "@millrace/broker/broker";
import { Cluster } from "@millrace/client";
import { checkHistory } from "@millrace/simulator/histories/check";
import type { HistorySize } from "@millrace/simulator/histories/check";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { fieldsText, LogBook } from "../fixture.ts";
import { tapped } from "./commit-tap.ts";
import { Ledger } from "./ledger.ts";
import { frontNames, Member } from "./member.ts";
import type { MemberHost } from "./member.ts";

export interface RebalanceOptions {
  readonly seed: number;
  /** Which protocols the members of the group speak. */
  readonly kind: GroupKind;
  /** Of virtual time with mishaps; some minutes of calm follow. */
  readonly durationMs: number;
}

export const groupKinds = ["classic", "consumer", "both"] as const;
export type GroupKind = (typeof groupKinds)[number];

export interface RebalanceResult {
  /** Empty where every promise was kept. */
  readonly problems: readonly string[];
  /** What the members and the broker did last, for people. */
  readonly story: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  readonly size: HistorySize | null;
}

const topics = { orders: 6, bills: 3 } as const;
/** Where the broker is: elsewhere after a restart, so that the coordinator has moved. */
const ports = [9092, 9093] as const;
const membersMax = 5;
const sessionTimeoutMs = 6_000;
const calmMs = 40_000;

/** A whole broker, a producer and a group of consumers in virtual time, disturbed as the seed says; and then left in peace. */
export async function rebalances(options: RebalanceOptions): Promise<RebalanceResult> {
  installNodeAccelerators();
  const run = new Campaign(options);
  await run.begin();
  await run.disturb();
  await run.rest();
  return run.end();
}

class Campaign implements MemberHost {
  readonly clock: VirtualClock = new VirtualClock();
  readonly network: SimulatedNetwork;
  readonly random: SeededRandom;
  readonly prng: Prng;
  readonly ledger: Ledger;
  readonly story: string[] = [];
  readonly sessionTimeoutMs = sessionTimeoutMs;
  readonly #options: RebalanceOptions;
  readonly #disk: SimulatedDisk;
  readonly #workers: InlineWorkers;
  readonly #live = new Set<Member>();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #counts: Record<string, number> = {};
  readonly #topicNames = new Map<string, string>();
  #broker: Broker | null = null;
  #isRestarting = false;
  #port: number = ports[0];
  #writer: Cluster | null = null;
  #isWriting = false;
  #nextName = 1;
  #nextValue = 1;

  constructor(options: RebalanceOptions) {
    this.#options = options;
    this.#disk = new SimulatedDisk({ clock: this.clock });
    this.#workers = new InlineWorkers({ disk: this.#disk, clock: this.clock });
    this.network = new SimulatedNetwork({ clock: this.clock, latencyMs: 1 });
    this.random = new SeededRandom(options.seed);
    this.prng = new Prng(options.seed);
    this.ledger = new Ledger(this.clock, () => this.#live);
  }

  get brokers(): readonly string[] {
    return ports.map((port) => `127.0.0.1:${port}`);
  }

  // --- Its course -------------------------------------------------------------------------------------------------------

  async begin(): Promise<void> {
    // Real time must not pass in a simulation for it.
    await this.#workers.load(import.meta.resolve("@millrace/storage/cleaner/clean-task"));
    await this.#await(this.#startBroker());
    this.#writer = this.client("writer");
    const admin = this.#writer.admin();
    for (const [name, partitions] of Object.entries(topics)) {
      await this.#await(admin.topics.create({ name, partitions }));
      const { topicId } = await this.#await(this.#writer.wire.topicSoon(name));
      this.#topicNames.set(topicId, name);
    }
    this.#write();
  }

  async disturb(): Promise<void> {
    this.#join();
    const endMs = this.clock.monotonicMs() + this.#options.durationMs;
    while (this.clock.monotonicMs() < endMs && this.ledger.problems.length === 0) {
      await this.clock.advance(this.prng.between(50, 2_500));
      this.#step();
    }
  }

  async rest(): Promise<void> {
    this.#isWriting = false;
    this.tell("it is calm");
    for (const member of this.#live) member.calm();
    await this.#until("what was begun has ended", 180_000, () => this.#underWay.size === 0);
    if (this.#live.size === 0) this.#join();
    const ends = await this.#await(this.#readToEnd());
    await this.#until("all is handled and committed", 240_000, () => this.ledger.isThrough(ends));
    // All may be handled before the last of those that came has anything.
    await this.clock.advance(calmMs);
    const changes = this.ledger.changesCount;
    await this.clock.advance(calmMs);
    if (this.ledger.changesCount !== changes) this.ledger.fault("the group does not come to rest");
    const owned = [...this.#live].flatMap((member) => [...member.owned]);
    if (new Set(owned).size !== 9 || owned.length !== 9)
      this.ledger.fault(`in the end these partitions are owned: ${owned.toSorted().join(" ")}`);
    await this.#await(Promise.all([...this.#live].map(async (member) => member.leave())));
    await this.#writer?.close();
    await this.#await(this.#broker?.stop() ?? Promise.resolve());
  }

  end(): RebalanceResult {
    const { problems, history } = this.ledger;
    const all = [...problems];
    // A commit keeps a classic member's session alive, and no other's.
    const provenMs = this.#options.kind === "classic" ? sessionTimeoutMs : 0;
    const checked = checkHistory(history, { sessionTimeoutMs: provenMs });
    if (!checked.ok) all.push(checked.message ?? checked.failure);
    else all.push(...checked.value.findings.map(({ text }) => text));
    const counts = { ...this.#counts, ...this.ledger.counts };
    return { problems: all, story: this.story.slice(-400), counts, size: checked.ok ? checked.value.size : null };
  }

  // --- What happens -----------------------------------------------------------------------------------------------------

  #step(): void {
    const members = [...this.#live].filter(({ isLeaving }) => !isLeaving);
    const member = members.length === 0 ? null : this.prng.pick(members);
    const mishaps: readonly (readonly [string, () => void])[] = [
      ["join", () => this.#live.size < membersMax && this.#join()],
      ["join", () => this.#live.size < membersMax && this.#join()],
      ["leave", () => member !== null && this.#leave(member)],
      ["crash", () => member !== null && this.#crash(member)],
      [
        "stall",
        () => member?.stall(this.prng.between(500, 2 * sessionTimeoutMs), this.prng.chance(0.5) ? "timers" : "input"),
      ],
      ["pause", () => member?.pause(this.prng.between(500, 5_000))],
      ["slow", () => member?.beSlow(this.prng.pick([0, 0, 200, 3_000, 9_000]))],
      ["cut", () => this.#cut()],
      ["cut of a member", () => member !== null && this.#cut(member)],
      ["restart", () => this.prng.chance(0.2) && this.#restart()],
      ["nothing", () => {}],
    ];
    const [name, happen] = this.prng.pick(mishaps);
    this.#counts[name] = (this.#counts[name] ?? 0) + 1;
    happen();
  }

  #join(): void {
    const { kind } = this.#options;
    const protocol = kind === "both" ? this.prng.pick(["classic", "consumer"] as const) : kind;
    const name = `m${this.#nextName++}`;
    const taken = new Set([...this.#live].map(({ instanceId }) => instanceId));
    const free = ["i1", "i2"].filter((each) => !taken.has(each));
    const isStatic = free.length > 0 && this.prng.chance(0.25);
    const member = new Member(this, {
      name,
      protocol,
      front: this.prng.pick(frontNames),
      commit: this.prng.chance(0.3) ? "manual" : "auto",
      instanceId: isStatic ? this.prng.pick(free) : null,
    });
    this.#live.add(member);
    member.ended.then(
      () => this.#live.delete(member),
      (error: unknown) => {
        this.#live.delete(member);
        if (!member.isGone) this.ledger.fault(`${name} ended by itself: ${textOf(error)}`);
      },
    );
  }

  #leave(member: Member): void {
    this.#own(member.leave().finally(() => this.#live.delete(member)));
  }

  #crash(member: Member): void {
    this.#live.delete(member);
    member.crash();
  }

  #cut(member: Member | null = null): void {
    this.tell(member === null ? "all connections break" : `the connections of ${member.name} break`);
    if (member === null) this.network.cut();
    else member.cut();
  }

  #restart(): void {
    if (this.#isRestarting) return;
    this.#isRestarting = true;
    this.#own(this.#startAnew().finally(() => (this.#isRestarting = false)));
  }

  async #startAnew(): Promise<void> {
    this.tell("the broker stops");
    await this.#broker?.stop();
    this.network.cut();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.clock.schedule(this.prng.pick([0, 500, 4_000, 9_000]), resolve);
    await promise;
    this.#port = this.prng.pick(ports);
    await this.#startBroker();
    this.tell(`the broker is there again, at ${this.#port}`);
  }

  async #startBroker(): Promise<void> {
    const log = new LogBook();
    this.#broker = await startBroker({
      config: {
        listeners: `PLAINTEXT://127.0.0.1:${this.#port}`,
        "log.dirs": "/data",
        "group.initial.rebalance.delay.ms": "500",
        "group.consumer.session.timeout.ms": `${sessionTimeoutMs}`,
        "group.consumer.min.session.timeout.ms": `${sessionTimeoutMs}`,
        "group.consumer.heartbeat.interval.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "1000",
        "offsets.topic.num.partitions": "2",
      },
      world: {
        ...{ clock: this.clock, disk: this.#disk, random: this.random, workers: this.#workers },
        network: this.#tapped(),
      },
      logger: log,
      onFatal: (error) => this.ledger.fault(`the broker fails: ${textOf(error)}`),
    });
  }

  #tapped(): Network {
    return tapped(this.network, {
      nameOf: (topicId) => this.#topicNames.get(topicId) ?? topicId,
      onAsked: (commit) => this.ledger.commitAsked(commit),
      onAnswered: (commit, stored) => this.ledger.commitAnswered(commit, stored),
    });
  }

  // --- Writing, and reading it all in the end ---------------------------------------------------------------------------

  #write(): void {
    const producer = this.#writer?.producer({ deliveryTimeoutMs: 60_000 });
    this.#isWriting = true;
    const next = (): void => {
      if (!this.#isWriting || producer === undefined) return;
      for (let left = this.prng.between(1, 3); left > 0; left--) {
        const topic = this.prng.pick(Object.keys(topics) as (keyof typeof topics)[]);
        const partition = this.prng.between(0, topics[topic] - 1);
        const value = `v${this.#nextValue++}`;
        const settled = this.ledger.sent("writer", { topic, partition, value });
        const key = `k${this.prng.between(0, 9)}`;
        this.#own(
          producer.send(topic, { key, value, partition }).then(
            ({ offset }) => settled(offset),
            (error: unknown) => settled(textOf(error)),
          ),
        );
      }
      this.clock.schedule(this.prng.between(20, 400), next);
    };
    next();
  }

  /** By topic-partition, where each ends. */
  async #readToEnd(): Promise<ReadonlyMap<string, number>> {
    await using cluster = this.client("reader");
    const consumer = cluster.consumer();
    const ends = new Map<string, number>();
    for (const name of Object.keys(topics)) {
      for await (const record of consumer.records(name, { untilEnd: true })) {
        const { partition, offset, value } = record;
        this.ledger.polled("reader", { topic: name, partition, offset, value: value?.toString() ?? "" });
        ends.set(`${name}-${partition}`, offset + 1);
      }
    }
    return ends;
  }

  client(name: string, network: Network = this.network, world: Partial<MemberHost> = {}): Cluster {
    const { clock, random } = { clock: world.clock ?? this.clock, random: this.random };
    const times = { requestTimeoutMs: 4_000, connectTimeoutMs: 4_000, metadataMaxAgeMs: 30_000 };
    return new Cluster({ brokers: this.brokers, clientId: name, world: { clock, network, random }, ...times });
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  tell(line: string): void {
    this.story.push(`${(this.clock.monotonicMs() / 1_000).toFixed(3)} ${line}`);
    if (this.story.length > 2_000) this.story.splice(0, 1_000);
  }

  #own(work: Promise<unknown>): void {
    const owned: Promise<unknown> = work
      .catch((error: unknown) => this.ledger.fault(textOf(error)))
      .finally(() => this.#underWay.delete(owned));
    this.#underWay.add(owned);
  }

  /** The outcome, as soon as virtual time has brought it about. */
  async #await<T>(work: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    work.then(settle, settle);
    await this.clock.runUntil(() => isSettled, { withinMs: 600_000 });
    return work;
  }

  async #until(what: string, withinMs: number, condition: () => boolean): Promise<void> {
    try {
      await this.clock.runUntil(condition, { withinMs });
    } catch (error) {
      this.ledger.fault(`not within ${withinMs} ms: ${what} (${textOf(error)}); ${this.ledger.whatIsLeft()}`);
    }
  }
}

function textOf(error: unknown): string {
  const { code, message, stack } = error as {
    readonly code?: string;
    readonly message?: string;
    readonly stack?: string;
  };
  return code === undefined ? (stack ?? String(error)) : `${code}: ${message ?? fieldsText({ error })}`;
}
