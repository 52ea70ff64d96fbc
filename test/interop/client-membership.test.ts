import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Cluster } from "@millrace/client";
import { createMembership } from "@millrace/client/consumer/membership/create-membership";
import type { Membership, Owner } from "@millrace/client/consumer/membership/membership";
import { partitionKey } from "@millrace/client/topic-partition";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { isLong } from "./asked.ts";
import { clients } from "./clients.ts";
import type { Command } from "./clients.ts";
import { groupTimes, quickGroups, sessionTimeoutMs, skipWhenMissing, Workspace } from "./journey.ts";
import { GroupLog } from "./ownership.ts";
import { interopDirectory, whyMissing } from "./runtimes.ts";
import { Running, waitUntil } from "./running.ts";
import { chosenTarget, Target, whyTargetMissing } from "./target.ts";
import type { TargetName } from "./target.ts";

/**
 * Members of our own client in one group with those of Apache Kafka's Java consumer; with `--long` in all ways, on Millrace
 * and on Apache Kafka. All append to one log what they are given and what is taken from them, so that two owners of a
 * partition would show.
 */
const partitionCount = 12;
const targets: readonly TargetName[] = isLong ? ["millrace", "kafka"] : [chosenTarget()];

interface Way {
  readonly name: string;
  readonly ours: string;
  readonly java: string;
  /** Before the name of each of our members. */
  readonly prefix?: string;
  readonly isLong?: boolean;
}

const all: readonly Way[] = [
  { name: "defaults", ours: "default", java: "default" },
  { name: "default-and-range", ours: "default", java: "eager" },
  { name: "cooperative", ours: "cooperative", java: "cooperative" },
  { name: "range", ours: "eager", java: "eager", isLong: true },
  { name: "range-and-both", ours: "mixed", java: "eager", isLong: true },
  { name: "static-range", ours: "static", java: "static", prefix: "static-", isLong: true },
  { name: "consumer", ours: "consumer", java: "consumer" },
  { name: "consumer-and-classic", ours: "consumer", java: "cooperative" },
  { name: "classic-and-consumer", ours: "cooperative", java: "consumer", isLong: true },
];
const ways = all.filter((way) => isLong || way.isLong !== true);

describe.for(targets)("our members and Java's, on %s", (targetName) => {
  const missing = whyMissing("java") ?? whyTargetMissing(targetName);
  let target: Target;
  beforeAll(async () => {
    if (missing !== null) return;
    const migrating = { "group.consumer.migration.policy": "bidirectional" };
    target = await Target.start({ name: targetName, settings: { ...quickGroups, ...groupTimes, ...migrating } });
    await using cluster = new Cluster({ brokers: [target.address] });
    for (const { name } of ways) await cluster.admin().topics.create({ name, partitions: partitionCount });
  });
  afterAll(async () => target?.[Symbol.asyncDispose]());
  beforeEach((context) => skipWhenMissing(context, missing));

  describe.concurrent("each partition has one owner, whoever comes, goes and is killed", () => {
    test.for(ways.map((way) => [way.name, way] as const))("%s", async ([, way]) => {
      using workspace = new Workspace();
      await using group = new Group(way, target.address, workspace.path("group.log"));
      const { prefix = "" } = way;
      const [a, b, j] = [`${prefix}a`, `${prefix}b`, "j"];
      const isStatic = prefix !== "";

      await group.start(a);
      await group.until({ [a]: 12 });
      await group.start(j);
      await group.until({ [a]: 6, [j]: 6 });
      await group.start(b);
      await group.until({ [a]: 4, [b]: 4, [j]: 4 });

      await group.kill(a);
      const death = performance.now();
      await group.until({ [b]: 6, [j]: 6 });
      expect(performance.now() - death).toBeLessThan(sessionTimeoutMs + 9_000);
      await group.start(a);
      await group.until({ [a]: 4, [b]: 4, [j]: 4 });

      // A rolling restart.
      for (const member of [a, b, j]) {
        const had = group.log.ownership.partitionsOf(member).toSorted();
        await group.finish(member);
        if (!isStatic)
          await group.until(Object.fromEntries([a, b, j].filter((each) => each !== member).map((each) => [each, 6])));
        await group.start(member);
        await group.until({ [a]: 4, [b]: 4, [j]: 4 });
        if (isStatic) expect(group.log.ownership.partitionsOf(member).toSorted()).toEqual(had);
      }
      for (const member of [j, a, b]) await group.finish(member);
      expect(group.log.ownership.faults).toEqual([]);
    });
  });

  test("a broker resolves a pattern; one that it cannot read is named", async () => {
    await using cluster = new Cluster({ brokers: [target.address] });
    const owned = new Set<string>();
    const failures: string[] = [];
    const owner: Owner = {
      owned: () => [],
      assign: async (partitions) => {
        for (const each of partitions) owned.add(partitionKey(each));
      },
      revoke: async () => {},
      lost: async () => {},
      failed: ({ code, message }) => failures.push(`${code} ${message}`),
    };
    const join = (groupId: string, pattern: RegExp): Membership => {
      const subscription = { topics: [], pattern };
      const membership = createMembership(cluster.wire, { groupId, protocol: "consumer", subscription }, owner);
      membership.start();
      return membership;
    };
    const reader = join("pattern", /^OPERATIVE|perative$/i);
    const isSo = (): boolean => owned.size === partitionCount;
    await waitUntil("all that match", isSo, () => [...owned, ...failures].join(" "));
    expect([...owned].every((each) => each.startsWith("cooperative-"))).toBe(true);
    await reader.leave();
    const refused = join("bad-pattern", /^(?=cooperative)/);
    await waitUntil(
      "the refusal",
      () => failures.length > 0,
      () => "",
    );
    expect(failures[0]).toMatch(/^INVALID_REGULAR_EXPRESSION .*RE2/);
    await refused.leave();
  });

  test("they ride out a restart of the broker", async () => {
    using workspace = new Workspace();
    const way = { name: "cooperative", ours: "cooperative", java: "cooperative" };
    const consumer = { name: "consumer", ours: "consumer", java: "consumer" };
    await using classic = new Group(way, target.address, workspace.path("classic.log"), "restart-classic");
    await using modern = new Group(consumer, target.address, workspace.path("consumer.log"), "restart-consumer");
    for (const group of [classic, modern]) {
      await group.start("a");
      await group.start("b");
      await group.until({ a: 6, b: 6 });
    }
    await target.stop();
    await target.start();
    for (const group of [classic, modern]) {
      await group.start("c");
      await group.until({ a: 4, b: 4, c: 4 });
      for (const member of ["a", "b", "c"]) await group.finish(member);
      expect(group.log.ownership.faults).toEqual([]);
    }
  });
});

/** The members of one group, each a process of its own. The name of a Java member begins with j. */
class Group implements AsyncDisposable {
  readonly log: GroupLog;
  readonly #way: Way;
  readonly #address: string;
  readonly #groupId: string;
  readonly #running = new Map<string, Running>();

  constructor(way: Way, address: string, logPath: string, groupId: string = way.name) {
    this.#way = way;
    this.#address = address;
    this.#groupId = groupId;
    this.log = new GroupLog(logPath);
  }

  async start(name: string): Promise<void> {
    const isJava = name.startsWith("j");
    const own: Command = [
      process.execPath,
      "--conditions=source",
      join(interopDirectory, "clients", "millrace-member.ts"),
    ];
    const [executable, ...args] = isJava ? clients.java.member() : own;
    const mode = isJava ? this.#way.java : this.#way.ours;
    const told = [this.#address, this.log.path, this.#way.name, this.#groupId, mode, name];
    this.#running.set(name, Running.start(`${this.#way.name} ${name}`, [executable, ...args, ...told]));
  }

  async finish(name: string): Promise<void> {
    await this.#running.get(name)?.finish();
    this.#running.delete(name);
  }

  async kill(name: string): Promise<void> {
    await this.#running.get(name)?.kill();
    this.#running.delete(name);
    this.log.tellDead(name);
  }

  async until(owners: Readonly<Record<string, number>>): Promise<void> {
    const isSo = (): boolean => {
      const { counts, faults } = this.log.ownership;
      if (faults.length > 0) throw new Error(`${faults.join("\n")}\n${this.#story}`);
      return (
        counts.size === Object.keys(owners).length && [...counts].every(([member, count]) => owners[member] === count)
      );
    };
    await waitUntil(`${this.#groupId}: ${JSON.stringify(owners)}`, isSo, () => this.#story);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running.values()) await running[Symbol.asyncDispose]();
    this.log[Symbol.dispose]();
  }

  get #story(): string {
    const events = readFileSync(this.log.path, "utf8").split("\n").slice(-40);
    return [...events, ...[...this.#running.values()].map((running) => running.log)].join("\n");
  }
}
