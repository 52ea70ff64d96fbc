import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { Cluster } from "@millrace/client";
import { clients, javaProgram } from "./clients.ts";
import { skipWhenMissing, stepsOf, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { sampleRecords, writeRecords } from "./records.ts";
import { whyMissing } from "./runtimes.ts";
import { chosenTarget, Target } from "./target.ts";

/**
 * Apache Kafka's Java consumer, unchanged, in groups of the consumer protocol (KIP-848) and in groups that change between
 * it and the classic one. Each member is a process, so that it can be killed.
 */
const partitionCount = 6;
/** Silence is noticed in seconds, on both brokers. */
const quick = {
  "group.initial.rebalance.delay.ms": "0",
  "group.consumer.min.session.timeout.ms": "6000",
  "group.consumer.session.timeout.ms": "6000",
  "group.consumer.min.heartbeat.interval.ms": "500",
  "group.consumer.heartbeat.interval.ms": "500",
};
const settleTimeoutMs = 60_000;
/** More than a Java process needs to come, whatever else the machine does. */
const awaySessionMs = 60_000;
/** The time that a member may be silent is 6 seconds. */
const frozenMs = 9_000;

interface MemberState {
  readonly failure: string | null;
  readonly assigned: readonly string[];
  readonly lost: number;
  readonly rebalances: number;
}

interface GroupDescription {
  readonly type: string;
  readonly state: string;
  readonly members: readonly {
    readonly clientId: string;
    readonly instanceId: string | null;
    readonly partitions: readonly string[];
  }[];
}

class Member implements AsyncDisposable {
  readonly name: string;
  readonly #program: ClientProgram;
  #isGone = false;

  constructor(name: string, target: Target) {
    this.name = name;
    this.#program = ClientProgram.start(
      { ...clients.java, name: "java", command: () => javaProgram("GroupMember") },
      target.address,
    );
  }

  async join(args: object): Promise<void> {
    await this.#program.call("join", args);
  }

  async state(): Promise<MemberState> {
    return (await this.#program.call("state", {})) as MemberState;
  }

  async describe(group: string): Promise<GroupDescription> {
    return (await this.#program.call("describe", { group })) as GroupDescription;
  }

  async leave(): Promise<void> {
    const { failure } = (await this.#program.call("leave", {})) as { failure: string | null };
    expect(failure).toBeNull();
    await this[Symbol.asyncDispose]();
  }

  async kill(): Promise<void> {
    this.#isGone = true;
    await this.#program.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isGone) await this.#program[Symbol.asyncDispose]();
    this.#isGone = true;
  }
}

describe("groups of the consumer protocol with Apache Kafka's Java consumer", () => {
  const missing = whyMissing("java");
  const workspace = new Workspace();
  const live = new Set<Member>();
  const outputs = new Map<string, string[]>();
  let target: Target;
  let program: ClientProgram;
  let watcher: Member;
  let seed = 1;

  beforeAll(async () => {
    if (missing !== null) return;
    target = await Target.start({ settings: quick });
    program = ClientProgram.start(clients.java, target.address);
    watcher = new Member("watcher", target);
  });
  afterAll(async () => {
    for (const member of live) await member[Symbol.asyncDispose]();
    await watcher?.[Symbol.asyncDispose]();
    await program?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
    workspace[Symbol.dispose]();
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  const start = async (
    name: string,
    {
      group,
      topic,
      pattern,
      protocol = "consumer",
      settings = {},
    }: {
      readonly group: string;
      readonly topic?: string;
      readonly pattern?: string;
      readonly protocol?: "classic" | "consumer";
      readonly settings?: Readonly<Record<string, string>>;
    },
  ): Promise<Member> => {
    const member = new Member(name, target);
    live.add(member);
    const output = workspace.path(`${name}.txt`);
    outputs.set(group, [...(outputs.get(group) ?? []), output]);
    const classic = protocol === "classic" ? { "session.timeout.ms": "6000", "heartbeat.interval.ms": "500" } : {};
    await member.join({
      output,
      ...(topic === undefined ? { pattern } : { topic }),
      settings: { "group.id": group, "client.id": name, "group.protocol": protocol, ...classic, ...settings },
    });
    return member;
  };
  const stop = async (member: Member, how: "leave" | "kill"): Promise<void> => {
    live.delete(member);
    await member[how]();
  };

  /** Waits until every member has so many partitions and all of them are assigned to one, and gives what each has. */
  const settled = async (
    counts: ReadonlyMap<Member, number>,
    total = partitionCount,
  ): Promise<Map<Member, readonly string[]>> => {
    const deadline = performance.now() + settleTimeoutMs;
    for (;;) {
      const has = new Map<Member, readonly string[]>();
      for (const member of counts.keys()) {
        const state = await member.state();
        expect(state.failure, member.name).toBeNull();
        has.set(member, state.assigned);
      }
      const all = [...has.values()].flat();
      const isSettled =
        [...counts].every(([member, count]) => has.get(member)?.length === count) &&
        new Set(all).size === total &&
        all.length === total;
      if (isSettled) return has;
      if (performance.now() > deadline) {
        const texts = Array.from(has, ([{ name }, partitions]) => `${name}: ${partitions.join(" ")}`);
        throw new Error(`not settled in ${settleTimeoutMs} ms: ${texts.join("; ")}\n${target.output}`);
      }
      await sleep(100);
    }
  };
  const produced = new Map<string, Set<string>>();
  const produce = async (topic: string, count: number): Promise<void> => {
    const file = workspace.path("records.jsonl");
    writeRecords(file, sampleRecords({ count, seed: seed++ }));
    const { acks } = await program.produce({ topic, partitions: partitionCount, compression: "none", file });
    const places = produced.get(topic) ?? new Set<string>();
    for (const [partition, offset] of acks) places.add(`${topic}-${partition} ${offset}`);
    produced.set(topic, places);
  };
  /** Waits until every record was read by some member of the group. Gives how many were read twice. */
  const allRead = async (group: string, topic: string): Promise<number> => {
    const deadline = performance.now() + settleTimeoutMs;
    const wanted = produced.get(topic) ?? new Set();
    for (;;) {
      const lines = (outputs.get(group) ?? []).flatMap((path) =>
        existsSync(path) ? readFileSync(path, "utf8").split("\n") : [],
      );
      const read = lines.filter((line) => line.startsWith(`${topic}-`));
      const seen = new Set(read);
      const left = [...wanted].filter((place) => !seen.has(place));
      if (left.length === 0) return read.length - seen.size;
      if (performance.now() > deadline)
        throw new Error(`${left.length} records are not read, such as ${left[0]}\n${target.output}`);
      await sleep(100);
    }
  };
  const typeBecomes = async (group: string, type: string): Promise<void> => {
    const deadline = performance.now() + settleTimeoutMs;
    for (;;) {
      const description = await watcher.describe(group);
      if (description.type === type && description.state === "Stable") return;
      if (performance.now() > deadline) throw new Error(`${group} is ${JSON.stringify(description)}, not ${type}`);
      await sleep(100);
    }
  };

  const step = stepsOf("consumer groups");
  let members: Member[] = [];

  step("two members share the partitions", async () => {
    await program.createTopic({ topic: "orders", partitions: partitionCount });
    await produce("orders", 600);
    const shared = { group: "sharers", topic: "orders" };
    members = [await start("a", shared), await start("b", shared)];
    await settled(new Map(members.map((member) => [member, 3])));
    expect(await allRead("sharers", "orders")).toBe(0);
  });

  step("a third one gets its share, while the others keep what is theirs", async () => {
    const before = await settled(new Map(members.map((member) => [member, 3])));
    const third = await start("c", { group: "sharers", topic: "orders" });
    const all = [...members, third];
    const after = await settled(new Map(all.map((member) => [member, 2])));
    for (const member of members) {
      const kept = after.get(member) ?? [];
      expect(
        kept.every((partition) => before.get(member)?.includes(partition) === true),
        `${member.name} was given others`,
      ).toBe(true);
      expect((await member.state()).lost).toBe(0);
    }
    members = all;
    await produce("orders", 600);
    expect(await allRead("sharers", "orders")).toBe(0);
  });

  step("what a killed member had is given to the others", async () => {
    const [killed, ...others] = members;
    await stop(killed!, "kill");
    await produce("orders", 600);
    await settled(new Map(others.map((member) => [member, 3])));
    await allRead("sharers", "orders");
    members = others;
  });

  step("members ride out a restart of the broker", async () => {
    const before = await settled(new Map(members.map((member) => [member, 3])));
    await target.stop();
    await target.start();
    await produce("orders", 600);
    await allRead("sharers", "orders");
    expect(await settled(new Map(members.map((member) => [member, 3])))).toEqual(before);
    for (const member of members) expect((await member.state()).lost, member.name).toBe(0);
  });

  step("a rolling restart of all members loses nothing and repeats nothing", async () => {
    const before = await allRead("sharers", "orders");
    for (const old of members) {
      await stop(old, "leave");
      await produce("orders", 200);
      const next = await start(`${old.name}-next`, { group: "sharers", topic: "orders" });
      members = [...members.filter((member) => member !== old), next];
      await settled(new Map(members.map((member) => [member, 3])));
    }
    expect(await allRead("sharers", "orders")).toBe(before);
    await Promise.all(members.map((member) => stop(member, "leave")));
  });

  step("a static member that is away keeps its partitions", async () => {
    const group = "static";
    // Whose session ends while the next process begins is not away, but gone.
    const set = { "consumer.session.timeout.ms": `${awaySessionMs}` };
    await using cluster = new Cluster({ brokers: [target.address] });
    await cluster.admin().configs.alter({ type: "group", name: group, changes: { set } });
    const first = await start("s1", { group, topic: "orders", settings: { "group.instance.id": "one" } });
    const other = await start("s2", { group, topic: "orders", settings: { "group.instance.id": "two" } });
    const before = await settled(new Map([first, other].map((member) => [member, 3])));
    const { rebalances } = await other.state();
    await stop(first, "leave");
    const back = await start("s1-next", { group, topic: "orders", settings: { "group.instance.id": "one" } });
    const after = await settled(new Map([back, other].map((member) => [member, 3])));
    expect(after.get(back)).toEqual(before.get(first));
    expect((await other.state()).rebalances).toBe(rebalances);
    await Promise.all([back, other].map((member) => stop(member, "leave")));
  });

  // Apache Kafka takes its own sleep for the members' silence, and drops some of them.
  const stepOfMillrace = chosenTarget() === "kafka" ? () => undefined : step;
  stepOfMillrace("a broker that is stopped for longer than a session loses no member of either protocol", async () => {
    const groups = { classic: new Map<Member, number>(), consumer: new Map<Member, number>() };
    for (const protocol of ["classic", "consumer"] as const) {
      for (const name of ["a", "b"]) {
        const args = { group: `frozen-${protocol}`, topic: "orders", protocol };
        groups[protocol].set(await start(`frozen-${protocol}-${name}`, args), 3);
      }
    }
    const stateOfAll = async () => {
      const states = [];
      for (const counts of Object.values(groups)) {
        await settled(counts);
        for (const member of counts.keys()) states.push({ name: member.name, ...(await member.state()) });
      }
      return states;
    };
    const before = await stateOfAll();
    {
      using _frozen = target.freeze();
      await sleep(frozenMs);
    }
    // What was sent meanwhile is read, and committed, by those who had the partitions before.
    await produce("orders", 600);
    for (const protocol of ["classic", "consumer"]) await allRead(`frozen-${protocol}`, "orders");
    expect(await stateOfAll()).toEqual(before);
    for (const counts of Object.values(groups)) for (const member of counts.keys()) await stop(member, "leave");
  });

  step("a pattern finds topics that come later", async () => {
    const group = "patterns";
    const member = await start("p", { group, pattern: "bills-.*" });
    await program.createTopic({ topic: "bills-1", partitions: 2 });
    await settled(new Map([[member, 2]]), 2);
    await program.createTopic({ topic: "bills-2", partitions: 3 });
    await program.createTopic({ topic: "not-bills-2", partitions: 3 });
    const has = await settled(new Map([[member, 5]]), 5);
    expect(has.get(member)).toEqual(["bills-1-0", "bills-1-1", "bills-2-0", "bills-2-1", "bills-2-2"]);
    await produce("bills-2", 100);
    await allRead(group, "bills-2");
    await stop(member, "leave");
  });

  step("a classic group is upgraded and downgraded, member by member", async () => {
    const group = "migrants";
    await program.createTopic({ topic: "moves", partitions: partitionCount });
    const roll = async (
      protocol: "classic" | "consumer",
      settings: Readonly<Record<string, string>>,
    ): Promise<void> => {
      for (const old of members) {
        await produce("moves", 200);
        await stop(old, "leave");
        const next = await start(`${protocol}-${old.name}`, { group, topic: "moves", protocol, settings });
        members = [...members.filter((member) => member !== old), next];
        await settled(new Map(members.map((member) => [member, 3])));
        await typeBecomes(group, members.every((member) => member.name.startsWith("classic")) ? "Classic" : "Consumer");
        await allRead(group, "moves");
      }
    };
    const eager = { "partition.assignment.strategy": "org.apache.kafka.clients.consumer.RangeAssignor" };
    const cooperative = {
      "partition.assignment.strategy": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
    };
    const classic = { group, topic: "moves", protocol: "classic" as const, settings: cooperative };
    members = [await start("classic-a", classic), await start("classic-b", classic)];
    await settled(new Map(members.map((member) => [member, 3])));
    await typeBecomes(group, "Classic");
    await roll("consumer", {});
    await roll("classic", eager);
    expect(await allRead(group, "moves")).toBe(0);
    await Promise.all(members.map((member) => stop(member, "leave")));
  });
});
