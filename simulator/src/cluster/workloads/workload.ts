import type { Prng } from "@millrace/base/prng";
import type { Clock } from "@millrace/base/world";
import { KafkaError } from "@millrace/client";
import type { Cluster } from "@millrace/client";
import type { Drawn } from "../drawn.ts";
import type { Process } from "../process.ts";
import { textOf } from "../story.ts";
import type { Story } from "../story.ts";

/** A client's machine, and the client on it. */
export interface ClientSeat {
  readonly process: Process;
  readonly clock: Clock;
  readonly cluster: Cluster;
}

/** What a workload stands in. */
export interface Bench {
  readonly drawn: Drawn;
  readonly story: Story;
  readonly prng: Prng;
  client(name: string): ClientSeat;
}

/** A record, as a reader is given it in the end. */
export interface ReadRecord {
  readonly partition: number;
  readonly offset: number;
  readonly key: string;
  readonly value: string;
  /** Of the header of that name; 0 without one. */
  readonly number: number;
}

/** A topic that is read to its end when all is over, by a reader of committed records. */
export interface LastReading {
  readonly topic: string;
  /** @param begunMs when the reader began, by a clock that is right. */
  check(records: readonly ReadRecord[], begunMs: number): void;
}

/** What clients do as long as the run lasts. */
export interface Workload {
  readonly name: string;
  /** By client: how many of its calls have succeeded. */
  readonly progress: ReadonlyMap<string, number>;
  /** Settles when all that it needs is there. */
  prepare(): Promise<void>;
  start(): void;
  /** Begins nothing more; settles when what it had begun has ended. */
  stop(): Promise<void>;
  readonly lastReading?: LastReading;
}

/** Counts what has succeeded, client by client, and knows what is under way. */
export class Doings {
  readonly progress: Map<string, number> = new Map();
  isStopping = false;
  readonly #story: Story;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(story: Story) {
    this.#story = story;
  }

  did(client: string): void {
    this.progress.set(client, (this.progress.get(client) ?? 0) + 1);
  }

  /** From now on the client is to get on; what its work rejects with is a problem. */
  own(client: string, work: Promise<unknown>): void {
    this.progress.set(client, 0);
    const owned: Promise<unknown> = work
      .catch((error: unknown) => this.#story.complain(`${client} failed: ${textOf(error)}`))
      .finally(() => this.#underWay.delete(owned));
    this.#underWay.add(owned);
  }

  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}

/** Tries again until it succeeds: for what a test needs and does not test. */
export async function untilDone<T>(clock: Clock, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch {
      await pause(clock, 200);
    }
  }
}

/** A topic with as many replicas as the seed has drawn, and as many partitions where nothing else is said. */
export async function makeTopic(
  bench: Bench,
  name: string,
  config: Readonly<Record<string, string>>,
  partitions: number = bench.drawn.partitions,
): Promise<void> {
  const { replicas } = bench.drawn;
  const { cluster, clock } = bench.client(`maker of ${name}`);
  await untilDone(clock, async () => {
    try {
      await cluster.admin().topics.create({ name, partitions, replicationFactor: replicas, config });
    } catch (error) {
      if ((error as { readonly code?: string }).code !== "TOPIC_ALREADY_EXISTS") throw error;
    }
  });
  await cluster.close();
}

export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.schedule(ms, resolve));
}

/** Whoever begins while no broker can be reached is told so, and begins again. */
export function isRetriable(error: unknown): boolean {
  return error instanceof KafkaError && (error.retriable || error.code === "TIMED_OUT");
}
