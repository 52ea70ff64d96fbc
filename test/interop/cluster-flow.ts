import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";
import type { Consumer, ConsumerOptions, KafkaError, Producer, ProducerOptions } from "@millrace/client";
import { expect } from "vitest";

/** Nothing waits so long but what has stopped for good. */
const progressMsMax = 60_000;
/** Records of a partition that are without an answer: enough for several requests, too few to fill memory. */
const underWayMax = 50;
/** Between two records of a partition: as fast as it goes they would crowd out the brokers beside them. */
const betweenMs = 8;

/** Waits for what happens in this process. */
export async function until(condition: () => boolean, what: () => string): Promise<void> {
  const limitMs = performance.now() + progressMsMax;
  while (!condition()) {
    if (performance.now() > limitMs) throw new Error(`not within ${progressMsMax} ms: ${what()}`);
    await sleep(10);
  }
}

/**
 * A producer that goes on and on: "0", "1", … go to each partition of a topic, and what is answered is noted. It owns its
 * cluster, so that nobody else learns anything for it.
 */
export class NumberedFlow implements AsyncDisposable {
  readonly topic: string;
  readonly clientId: string;
  /** By partition: the offsets of the numbers. */
  readonly delivered: (number | undefined)[][];
  readonly failures: KafkaError[] = [];
  readonly #cluster: Cluster;
  readonly #producer: Producer;
  readonly #sending: Promise<unknown>;
  #isOver = false;

  constructor(
    brokers: readonly string[],
    options: { readonly topic: string; readonly partitions: number; readonly producer?: ProducerOptions },
  ) {
    this.topic = options.topic;
    this.clientId = `${options.topic}-flow`;
    this.delivered = Array.from({ length: options.partitions }, () => []);
    this.#cluster = new Cluster({ brokers, clientId: this.clientId });
    this.#producer = this.#cluster.producer(options.producer ?? {});
    this.#sending = Promise.all(this.delivered.map(async (_, partition) => this.#send(partition)));
  }

  get counts(): readonly number[] {
    return this.delivered.map((offsets) => offsets.length);
  }

  /** Until so many more of each partition are acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged.map((acknowledged) => acknowledged + count);
    await until(
      () => this.failures.length > 0 || wanted.every((number, index) => (this.acknowledged[index] ?? 0) >= number),
      () => `${this.topic}: ${count} more are acknowledged: ${String(this.acknowledged)} of ${String(wanted)}`,
    );
    expect(this.failures).toEqual([]);
  }

  /** Sends no more; all that was sent is acknowledged, in its order. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#sending;
    expect(this.failures).toEqual([]);
    for (const offsets of this.delivered) {
      const known = offsets.filter((offset) => offset !== undefined && offset >= 0) as number[];
      expect(known).toEqual([...new Set(known)].toSorted((a, b) => a - b));
    }
  }

  /** By partition: so many from the first on. */
  get acknowledged(): readonly number[] {
    return this.delivered.map((offsets) => {
      const open = offsets.indexOf(undefined);
      return open < 0 ? offsets.length : open;
    });
  }

  async #send(partition: number): Promise<void> {
    const offsets = this.delivered[partition] ?? [];
    const underWay = new Set<Promise<void>>();
    for (let number = 0; !this.#isOver; number++) {
      offsets[number] = undefined;
      const sent = this.#producer.send(this.topic, { value: `${number}`, partition }).then(
        ({ offset }) => {
          offsets[number] = offset;
        },
        (error: unknown) => void this.failures.push(error as KafkaError),
      );
      underWay.add(sent);
      void sent.finally(() => underWay.delete(sent));
      if (underWay.size >= underWayMax) await Promise.race(underWay);
      await sleep(betweenMs);
    }
    await Promise.all(underWay);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#cluster.close();
    await this.#sending;
  }
}

/** Members of a group in this process, each with its own connections. What goes wrong with their partitions is noted. */
export class WatchedGroup implements AsyncDisposable {
  readonly group: string;
  /** By partition: the numbers in the order in which they came, whoever got them. */
  readonly seen: number[][];
  /** Two owners, records of partitions that one does not own, what was lost or moved, a member that ended. */
  readonly faults: string[] = [];
  readonly troubles: string[] = [];
  readonly #owners = new Map<number, string>();
  readonly #stack = new AsyncDisposableStack();
  #isOver = false;

  constructor(
    brokers: readonly string[],
    options: {
      readonly topic: string;
      readonly partitions: number;
      readonly membersCount: number;
      readonly consumer: ConsumerOptions & { readonly group: string };
    },
  ) {
    const { topic, partitions, membersCount, consumer } = options;
    this.group = consumer.group;
    this.seen = Array.from({ length: partitions }, () => []);
    for (let index = 0; index < membersCount; index++) {
      const name = `${consumer.group}-${index + 1}`;
      const cluster = this.#stack.use(new Cluster({ brokers, clientId: name }));
      const member = this.#stack.use(cluster.consumer(consumer));
      this.#watch(name, member);
      void this.#read(name, member, topic);
    }
  }

  /** Until somebody owns each partition, and each member one. */
  async settled(membersCount: number): Promise<void> {
    await until(
      () => this.#owners.size === this.seen.length && new Set(this.#owners.values()).size === membersCount,
      () => `group ${this.group} is settled: ${JSON.stringify([...this.#owners])} ${this.faults.join("; ")}`,
    );
  }

  /** Until all that was delivered is read; each once and in its order. */
  async reads(counts: readonly number[]): Promise<void> {
    await until(
      () => this.faults.length > 0 || counts.every((count, partition) => (this.seen[partition]?.length ?? 0) >= count),
      () =>
        `group ${this.group} reads ${String(counts)}: ${this.seen.map(({ length }) => length).join()} ${this.story}`,
    );
    expect(this.faults, this.story).toEqual([]);
    for (const [partition, count] of counts.entries()) {
      const wanted = Array.from({ length: count }, (_, number) => number);
      expect(this.seen[partition]?.slice(0, count), `${this.group}: partition ${partition}`).toEqual(wanted);
    }
  }

  get story(): string {
    return `faults: ${this.faults.join("; ")}\ntroubles: ${this.troubles.slice(-20).join("\n")}`;
  }

  #watch(name: string, member: Consumer): void {
    member.on("assigned", (partitions) => {
      for (const { partition } of partitions) {
        const owner = this.#owners.get(partition);
        if (owner !== undefined) this.faults.push(`${partition} was assigned to ${name} while ${owner} had it`);
        this.#owners.set(partition, name);
      }
    });
    member.on("revoked", (partitions) => {
      for (const { partition } of partitions) this.#owners.delete(partition);
    });
    member.on("lost", (partitions) => {
      for (const { partition } of partitions) {
        this.#owners.delete(partition);
        this.faults.push(`${name} lost ${partition}`);
      }
    });
    member.on("moved", (moved) => void this.faults.push(`${name} was moved: ${JSON.stringify(moved)}`));
    member.on("trouble", ({ partition, error }) => {
      this.troubles.push(`${name} ${partition}: ${error.code} ${error.message}`);
    });
  }

  async #read(name: string, member: Consumer, topic: string): Promise<void> {
    try {
      const see = ({ partition, value }: { readonly partition: number; readonly value: Buffer | null }): void => {
        const owner = this.#owners.get(partition);
        if (owner !== name) this.faults.push(`${name} got a record of ${partition}, which ${owner} owns`);
        this.seen[partition]?.push(Number(value?.toString()));
      };
      await member.run(topic, see, { from: "earliest" });
      if (!this.#isOver) this.faults.push(`${name} has ended`);
    } catch (error) {
      if (!this.#isOver) this.faults.push(`${name} failed: ${(error as Error).message}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#stack.disposeAsync();
  }
}
