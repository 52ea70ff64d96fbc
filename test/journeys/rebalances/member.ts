import type { Prng } from "@millrace/base/prng";
import type { Connection, Network } from "@millrace/base/world";
import type { Cluster, ConsumedRecord, Consumer } from "@millrace/client";
import type { SeededRandom } from "@millrace/simulator/seeded-random";
import type { VirtualClock } from "@millrace/simulator/virtual-clock";
import { StallingWorld } from "../../../client/test/group-members.ts";
import type { Ledger, Reader, SeenRecord } from "./ledger.ts";

export const frontNames = ["records", "batches", "run", "run by key"] as const;

export interface MemberOptions {
  readonly name: string;
  readonly protocol: "classic" | "consumer";
  readonly front: (typeof frontNames)[number];
  readonly commit: "auto" | "manual";
  readonly instanceId: string | null;
}

/** What a member stands in. */
export interface MemberHost {
  readonly clock: VirtualClock;
  readonly network: Network;
  readonly random: SeededRandom;
  readonly prng: Prng;
  readonly ledger: Ledger;
  readonly sessionTimeoutMs: number;
  tell(line: string): void;
  client(name: string, network: Network, world: { readonly clock: VirtualClock }): Cluster;
}

const topics = ["orders", "bills"];
/** Work on what is given up is awaited for so long. */
const revokeTimeoutMs = 4_000;

/** One life of one process that reads as a member of the group, in one of the ways that there are. */
export class Member implements Reader {
  readonly name: string;
  readonly instanceId: string | null;
  readonly owned = new Set<string>();
  isStalled = false;
  isLeaving = false;
  /** Whatever happens to it from now on counts no more. */
  isGone = false;
  /** Settles when its reading has ended; rejects with what it ended with. */
  readonly ended: Promise<void>;
  readonly #host: MemberHost;
  readonly #options: MemberOptions;
  readonly #world: StallingWorld;
  readonly #cluster: Cluster;
  readonly #consumer: Consumer;
  readonly #connections = new Set<Connection>();
  /** Of partitions whose first record is not seen yet. */
  readonly #positions = new Map<string, (first: SeenRecord) => void>();
  /** Where each partition goes on, for the order in which records are told; and those that were seen before their turn. */
  readonly #next = new Map<string, { offset: number; readonly early: Map<number, SeenRecord> }>();
  /** What is worked on, with the signal by which it is told to come to an end; and when each of them was aborted. */
  readonly #working = new Map<SeenRecord, AbortSignal>();
  readonly #toldMs = new Map<AbortSignal, number | null>();
  /** Of which partition the batch in hand is, as long as that is not gone: batches that take too long are given up. */
  #batchOf: string | null = null;
  #slowMs = 0;

  constructor(host: MemberHost, options: MemberOptions) {
    const { name, protocol, commit, instanceId } = options;
    this.#host = host;
    this.#options = options;
    this.name = name;
    this.instanceId = instanceId;
    const { clock, random } = host;
    this.#world = new StallingWorld({ clock, random, network: this.#watched(host.network) });
    this.#cluster = host.client(name, this.#world.network, { clock: this.#world.clock as VirtualClock });
    this.#consumer = this.#cluster.consumer({
      ...{ group: "group", protocol, commit },
      ...(instanceId === null ? {} : { instanceId }),
      sessionTimeoutMs: host.sessionTimeoutMs,
      heartbeatIntervalMs: 1_000,
      rebalanceTimeoutMs: 10_000,
      revokeTimeoutMs,
      commitIntervalMs: 1_000,
    });
    for (const type of ["assigned", "revoked", "lost"] as const)
      this.#consumer.on(type, (partitions) => this.#changed(type, partitions));
    host.tell(`${name} joins: ${protocol}, ${options.front}, ${commit}${instanceId === null ? "" : `, ${instanceId}`}`);
    this.ended = this.#read();
  }

  // --- What happens to it -----------------------------------------------------------------------------------------------

  async leave(): Promise<void> {
    this.isLeaving = true;
    this.#goOn();
    this.#host.tell(`${this.name} leaves`);
    await this.#consumer.close();
    this.isGone = true;
    await this.#cluster.close();
    this.#host.tell(`${this.name} has left`);
    if (this.owned.size > 0) this.#host.ledger.fault(`${this.name} has left and has ${[...this.owned].join(" ")}`);
  }

  crash(): void {
    this.isGone = true;
    this.owned.clear();
    this.#host.tell(`${this.name} crashes`);
    this.#host.ledger.crashed(this);
    void this.#cluster.close();
  }

  /** @param first is what it sees first when it goes on. */
  stall(ms: number, first: "timers" | "input"): void {
    if (this.isStalled) return;
    this.isStalled = true;
    this.#world.stall();
    this.#host.tell(`${this.name} stands still for ${ms} ms, ${first} first`);
    this.#host.clock.schedule(ms, () => this.#goOn(first));
  }

  #goOn(first: "timers" | "input" = "timers"): void {
    if (!this.isStalled) return;
    void this.#world.goOn(first);
    this.isStalled = false;
  }

  pause(ms: number): void {
    const partitions = this.#consumer.assignment().slice(0, 2);
    this.#consumer.pause(...partitions);
    this.#host.clock.schedule(ms, () => {
      const left = this.#consumer.assignment().map(({ topic, partition }) => `${topic}-${partition}`);
      for (const each of partitions) if (left.includes(`${each.topic}-${each.partition}`)) this.#consumer.resume(each);
    });
  }

  beSlow(ms: number): void {
    this.#slowMs = ms;
  }

  cut(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  calm(): void {
    this.#goOn();
    this.#slowMs = 0;
  }

  #watched(network: Network): Network {
    return {
      listen: async (...args) => network.listen(...args),
      connect: async (address, options) => {
        const connection = await network.connect(address, options);
        this.#connections.add(connection);
        return connection;
      },
    };
  }

  // --- What it does -----------------------------------------------------------------------------------------------------

  async #read(): Promise<void> {
    const { front, commit } = this.#options;
    const consumer = this.#consumer;
    const from = "earliest";
    if (commit === "manual" && front !== "batches") this.#commitByItself();
    if (front === "records") {
      for await (const record of consumer.records(topics, { from, done: commit === "auto" ? "next" : "called" })) {
        await this.#handle(record);
        if (commit === "manual") record.done();
      }
    } else if (front === "batches") {
      for await (const batch of consumer.batches(topics, { from, countMax: 20, waitMs: 100 })) {
        this.#batchOf = `${batch.topic}-${batch.partition}`;
        for (const record of batch) {
          // The rest of what is gone is another's, who may be this one again.
          if (this.#batchOf === null) break;
          await this.#handle(record);
        }
        if (commit === "manual") await this.#commit(async () => batch.commit());
      }
    } else {
      const order = front === "run" ? "partition" : "key";
      await consumer.run(topics, async (record) => this.#handle(record), { from, concurrency: 4, order });
    }
  }

  /** Every second, and when partitions are given up. */
  #commitByItself(): void {
    const consumer = this.#consumer;
    const commit = async (): Promise<void> => this.#commit(async () => consumer.commit());
    consumer.on("revoked", commit);
    const later = (): void =>
      void this.#world.clock.schedule(1_000, () => {
        if (this.isGone || this.isLeaving) return;
        void commit().then(later);
      });
    later();
  }

  /** What a program does that goes on when its commit was refused: the next owner reads it again. */
  async #commit(commit: () => Promise<void>): Promise<void> {
    try {
      await commit();
    } catch (error) {
      this.#host.tell(`${this.name} cannot commit: ${(error as { readonly code?: string }).code}`);
    }
  }

  async #handle(record: ConsumedRecord): Promise<void> {
    if (this.isGone) return new Promise<never>(() => {});
    const { topic, partition, offset, value } = record;
    const seen = { topic, partition, offset, value: value?.toString() ?? "" };
    const { ledger, prng } = this.#host;
    ledger.begun(this, seen);
    this.#saw(seen);
    const ms = prng.chance(0.02) ? this.#slowMs + prng.between(0, 2_000) : prng.between(0, 40);
    const isObedient = prng.chance(0.5);
    const { signal } = record;
    this.#working.set(seen, signal);
    if (!this.#toldMs.has(signal)) {
      this.#toldMs.set(signal, null);
      signal.addEventListener("abort", () => this.#toldMs.set(signal, this.#host.clock.monotonicMs()), { once: true });
    }
    if (ms > 2) await this.#work(ms, isObedient ? signal : null);
    this.#working.delete(seen);
    if (!this.isGone) ledger.done(seen);
  }

  async #work(ms: number, signal: AbortSignal | null): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#world.clock.schedule(ms, resolve);
    const end = (): void => resolve();
    signal?.addEventListener("abort", end);
    await promise;
    timer.cancel();
    signal?.removeEventListener("abort", end);
  }

  #changed(
    type: "assigned" | "revoked" | "lost",
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): void {
    if (this.isGone) return;
    const keys = partitions.map(({ topic, partition }) => `${topic}-${partition}`);
    this.#host.tell(`${this.name} ${type} ${keys.toSorted().join(" ")}`);
    if (type === "revoked") this.#lookForWork(keys);
    for (const key of keys) {
      this.#next.delete(key);
      this.#positions.delete(key);
      if (type !== "assigned" && key === this.#batchOf) this.#batchOf = null;
      if (type === "assigned") this.owned.add(key);
      else this.owned.delete(key);
    }
    this.#host.ledger.changed(
      this,
      type,
      partitions.map(({ topic, partition }) => [topic, partition] as const),
    );
    if (type !== "assigned") return;
    for (const key of keys) this.#positions.set(key, this.#host.ledger.positionAsked(this.name));
  }

  /** What is given up in order is not worked on any more, or was told to come to an end and had its time. */
  #lookForWork(keys: readonly string[]): void {
    const { clock, ledger } = this.#host;
    for (const [{ topic, partition, offset }, signal] of this.#working) {
      if (!keys.includes(`${topic}-${partition}`)) continue;
      const toldMs = this.#toldMs.get(signal) ?? null;
      const hadMs = toldMs === null ? 0 : clock.monotonicMs() - toldMs;
      if (hadMs < revokeTimeoutMs - 1)
        ledger.fault(`${this.name} gives ${topic}-${partition} up, works on ${offset}, and gave it ${hadMs} ms`);
    }
  }

  /** Told in the order of the partition, whatever the order in which they are worked on. */
  #saw(record: SeenRecord): void {
    const { ledger } = this.#host;
    const key = `${record.topic}-${record.partition}`;
    const isOrdered = this.#options.front !== "run by key";
    if (isOrdered) {
      this.#positions.get(key)?.(record);
      this.#positions.delete(key);
      ledger.polled(this.name, record);
      return;
    }
    // The first that is worked on is the first of its partition: nothing is in work before it.
    this.#positions.get(key)?.(record);
    this.#positions.delete(key);
    let next = this.#next.get(key);
    if (next === undefined) this.#next.set(key, (next = { offset: record.offset, early: new Map() }));
    next.early.set(record.offset, record);
    for (let turn = next.early.get(next.offset); turn !== undefined; turn = next.early.get(next.offset)) {
      next.early.delete(next.offset++);
      ledger.polled(this.name, turn);
    }
  }
}
