import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";
import type { Admin, ConsumerOptions } from "@millrace/client";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { expect } from "vitest";
import { ConsumerProcess } from "./consumer-process.ts";
import { Target, whyTargetMissing, type TargetName } from "./target.ts";

/** A busy machine ends no session. */
const sessionMs = 15_000;
/** Of groups in which silence is to be noticed soon: see `ConsumerWorld.shorten`. */
export const shortSessionMs = 2_000;
const settings: Readonly<Record<string, string>> = {
  "group.initial.rebalance.delay.ms": "0",
  "group.min.session.timeout.ms": "1000",
  "group.consumer.min.session.timeout.ms": "1000",
  "group.consumer.session.timeout.ms": `${sessionMs}`,
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "200",
  "auto.create.topics.enable": "false",
};
const waitMsMax = 60_000;

export type Protocol = "classic" | "consumer";

export function member(group: string, protocol: Protocol, sessionTimeoutMs: number = sessionMs): ConsumerOptions {
  return { group, protocol, sessionTimeoutMs, heartbeatIntervalMs: 200, commitIntervalMs: 500, maxWaitMs: 100 };
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  withinMs: number = waitMsMax,
): Promise<void> {
  const limitMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > limitMs) {
      throw new Error(`not within ${withinMs} ms: ${typeof what === "string" ? what : what()}`);
    }
    await sleep(10);
  }
}

/** "orders-0@0", and so on: so many of each partition. */
export function offsets(topic: string, partitions: number, count: number): string[] {
  return Array.from({ length: partitions }, (_, partition) =>
    Array.from({ length: count }, (__, offset) => `${topic}-${partition}@${offset}`),
  ).flat();
}

/** Each of these once, and nothing else. */
export function expectOnce(found: readonly string[], expected: readonly string[]): void {
  expect(found.toSorted()).toEqual(expected.toSorted());
}

/** Each of these at least once, and nothing else. */
export function expectAll(found: readonly string[], expected: readonly string[]): void {
  expect([...new Set(found)].toSorted()).toEqual(expected.toSorted());
}

/** A broker, our client to it, and what tests of the consumer do again and again. */
export class ConsumerWorld implements AsyncDisposable {
  readonly #name: TargetName;
  #target: Target | null = null;
  #cluster: Cluster | null = null;
  #nextTopic = 1;

  constructor(name: TargetName) {
    this.#name = name;
  }

  /** Nothing where the broker cannot run: its tests are skipped. */
  async begin(): Promise<void> {
    if (whyTargetMissing(this.#name) !== null) return;
    this.#target = await Target.start({ name: this.#name, settings, isBrief: true });
    this.#cluster = new Cluster({ brokers: [this.#target.address], clientId: "test" });
  }

  get address(): string {
    return this.target.address;
  }

  get target(): Target {
    if (this.#target !== null) return this.#target;
    throw new Error(`${this.#name} does not run`);
  }

  get cluster(): Cluster {
    if (this.#cluster !== null) return this.#cluster;
    throw new Error(`${this.#name} does not run`);
  }

  get admin(): Admin {
    return this.cluster.admin();
  }

  async newTopic(partitions = 1, config: Readonly<Record<string, string>> = {}): Promise<string> {
    const name = `topic-${this.#nextTopic++}`;
    await this.admin.topics.create({ name, partitions, config });
    return name;
  }

  /** As options of a member of a group whose sessions are short: classic ones say it, the others are told by the broker. */
  async shorten(group: string, protocol: Protocol, timeoutMs: number = shortSessionMs): Promise<ConsumerOptions> {
    const set = { "consumer.session.timeout.ms": `${timeoutMs}` };
    if (protocol === "consumer") await this.admin.configs.alter({ type: "group", name: group, changes: { set } });
    return member(group, protocol, timeoutMs);
  }

  /** Sends so many to each partition, values "0", "1", … with these keys. */
  async fill(
    topic: string,
    {
      partitions = 1,
      count,
      from = 0,
      keyOf,
      valueAt = String,
    }: {
      readonly partitions?: number;
      readonly count: number;
      readonly from?: number;
      readonly keyOf?: (index: number) => string;
      readonly valueAt?: (index: number) => string | Buffer;
    },
  ): Promise<void> {
    await using producer = this.cluster.producer({ lingerMs: 5 });
    for (let index = from; index < from + count; index++) {
      for (let partition = 0; partition < partitions; partition++)
        producer.enqueue(topic, { value: valueAt(index), key: keyOf?.(index) ?? null, partition });
      await producer.ready();
    }
    await producer.flush();
  }

  /** -1: nothing. */
  async committed(group: string, topic: string, partition = 0): Promise<number> {
    const found = await this.cluster.consumer({ group }).committed([{ topic, partition }]);
    return found.get(`${topic}-${partition}`)?.offset ?? -1;
  }

  async deleteBefore(topic: string, offset: number, partition = 0): Promise<void> {
    const { wire } = this.cluster;
    const connection = await wire.leader(await wire.topic(topic), partition);
    const answer = await connection.request(deleteRecords, {
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
      timeoutMs: 10_000,
    });
    expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(0);
  }

  /** A consumer in a process of its own. */
  start(name: string, spec: Partial<ConstructorParameters<typeof ConsumerProcess>[0]>): ConsumerProcess {
    return new ConsumerProcess({ name, brokers: [this.address], consumer: {}, mode: "run", ...spec });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster?.close();
    await this.#target?.[Symbol.asyncDispose]();
  }
}
