import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { isLong } from "./asked.ts";
import { clientNames, clients, whyClientMissing, type ClientName } from "./clients.ts";
import type { GroupMode } from "./contract.ts";
import { groupTimes, quickGroups, sessionTimeoutMs, skipWhenMissing, Workspace } from "./journey.ts";
import { GroupLog } from "./ownership.ts";
import { ClientProgram } from "./program.ts";
import { writeRecords } from "./records.ts";
import { Running, waitUntil } from "./running.ts";
import { Target } from "./target.ts";

const partitionCount = 8;
/** Far below the timeouts that would apply if the session's did not. */
const afterSessionMs = sessionTimeoutMs + 9_000;
const recordsPerRound = 40;
const roundMs = 40;

const cases = clientNames.flatMap((name) =>
  clients[name].groupModes.filter((one) => isLong || one.isLong !== true).map(({ mode }) => ({ name, mode })),
);

/** The groups of all clients at once, each with a topic of its own: most of the time they wait. */
describe.concurrent("members of a group come, go and are killed while records flow", () => {
  let target: Target;
  let producer: ClientProgram;
  beforeAll(async () => {
    target = await Target.start({ settings: { ...quickGroups, ...groupTimes } });
    producer = ClientProgram.start(clients.platformatic, target.address);
    for (const one of cases) await producer.createTopic({ topic: topicOf(one), partitions: partitionCount });
  });
  afterAll(async () => {
    await producer?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
  });

  describe.for(cases)("$name, $mode", ({ name, mode }) => {
    beforeEach((context) => skipWhenMissing(context, whyClientMissing(name)));

    test("each partition has one owner, and each record is processed", async () => {
      using workspace = new Workspace();
      await using group = Group.begin({ name, mode, workspace, address: target.address, producer });
      const isStatic = mode === "static";

      const first = group.start("A");
      await group.until("A owns all", { A: 8 });
      const killed = group.start("B");
      await group.until("A and B own four each", { A: 4, B: 4 });
      await killed.kill();
      const death = performance.now();
      group.log.tellDead("B");
      await group.until("A owns all of the killed member's", { A: 8 });
      expect(group.changedMs - death).toBeLessThan(afterSessionMs);

      let second = group.start("B");
      await group.until("B is back", { A: 4, B: 4 });
      // A static member that closes is expected back.
      if (!isStatic) {
        await second.finish();
        const parting = performance.now();
        await group.until("A owns all of the parted member's", { A: 8 });
        expect(group.changedMs - parting).toBeLessThan(sessionTimeoutMs - 1_000);
        second = group.start("B");
        await group.until("B is back again", { A: 4, B: 4 });
      }

      const others = ["C", "D", "E", "F", "G", "H", "I"];
      const rest = group.start(...others);
      await group.untilOwners("eight of nine own one each", (counts) => counts.size === 8);
      await rest.finish();
      await group.until("A and B own four each again", { A: 4, B: 4 });

      // A rolling restart.
      for (const [member, running] of [
        ["A", first],
        ["B", second],
      ] as const) {
        const owned = group.log.ownership.partitionsOf(member);
        await running.finish();
        group.start(member);
        await group.until(`${member} is restarted`, { A: 4, B: 4 });
        if (isStatic) expect(group.log.ownership.partitionsOf(member).toSorted()).toEqual(owned.toSorted());
      }
      await group.finish();
      expect(group.log.ownership.faults).toEqual([]);
    });
  });
});

function topicOf({ name, mode }: Pick<GroupOptions, "name" | "mode">): string {
  return `${name}-${mode}`;
}

interface GroupOptions {
  readonly name: ClientName;
  readonly mode: GroupMode;
  readonly workspace: Workspace;
  readonly address: string;
  readonly producer: ClientProgram;
}

/** A group with a topic into which records flow. */
class Group implements AsyncDisposable {
  readonly log: GroupLog;
  /** When the owners were last as wanted. */
  changedMs = 0;
  readonly #options: GroupOptions;
  readonly #name: string;
  readonly #members: Running[] = [];
  readonly #ends = new Map<number, number>();
  readonly #stopped = new AbortController();
  #flow: Promise<void> = Promise.resolve();
  #flowFailure: unknown = null;

  private constructor(options: GroupOptions) {
    this.#options = options;
    this.#name = topicOf(options);
    this.log = new GroupLog(options.workspace.path("group.log"));
  }

  static begin(options: GroupOptions): Group {
    const group = new Group(options);
    group.#flow = group.#write();
    group.#flow.catch((error: unknown) => {
      group.#flowFailure = error;
    });
    return group;
  }

  /** One process, with a member for each name. */
  start(...names: readonly string[]): Running {
    const { name, mode, address } = this.#options;
    const { member, environment } = clients[name];
    const command = [...member(), address, this.log.path, this.#name, this.#name, mode, ...names] as const;
    const running = Running.start(`${this.#name} ${names.join(", ")}`, command, environment);
    this.#members.push(running);
    return running;
  }

  async until(what: string, owners: Readonly<Record<string, number>>): Promise<void> {
    const isSo = (counts: ReadonlyMap<string, number>): boolean =>
      counts.size === Object.keys(owners).length && [...counts].every(([member, count]) => owners[member] === count);
    await this.untilOwners(what, isSo);
  }

  /** Waits for the owners, and then until they have processed and committed all that lies there now. */
  async untilOwners(what: string, isSo: (counts: ReadonlyMap<string, number>) => boolean): Promise<void> {
    await this.#wait(what, () => isSo(this.log.ownership.counts));
    this.changedMs = performance.now();
    // A member may be there before the first record.
    await this.#wait("records lie in each partition", () => this.#ends.size === partitionCount);
    const ends = new Map(this.#ends);
    await this.#wait(`${what}, and commit`, () => this.#areCommitted(ends));
  }

  /** No more records; each one is processed and committed, and the members that are left leave. */
  async finish(): Promise<void> {
    this.#stopped.abort();
    await this.#flow;
    await this.#wait("all is committed", () => this.#areCommitted(this.#ends));
    for (const running of this.#members) if (!running.hasEnded) await running.finish();
    for (const [partition, end] of this.#ends) expect(this.log.ownership.processed(partition)).toBe(end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    for (const running of this.#members) await running[Symbol.asyncDispose]();
    await this.#flow.catch(() => undefined);
    this.log[Symbol.dispose]();
  }

  #areCommitted(ends: ReadonlyMap<number, number>): boolean {
    const { ownership } = this.log;
    return [...ends].every(([partition, end]) => ownership.committed(partition) >= end);
  }

  async #wait(what: string, condition: () => boolean): Promise<void> {
    const isOver = (): boolean => {
      if (this.#flowFailure !== null) throw this.#flowFailure;
      return this.log.ownership.faults.length > 0 || condition();
    };
    await waitUntil(`${this.#name}: ${what}`, isOver, () => this.#story);
    if (this.log.ownership.faults.length > 0) {
      throw new Error(`${this.#name}: ${this.log.ownership.faults.join("\n")}\n${this.#story}`);
    }
  }

  get #story(): string {
    const events = readFileSync(this.log.path, "utf8").split("\n");
    const told = events.filter((line) => !/"(records|committing|committed)"/.test(line)).slice(-40);
    return [...told, ...this.#members.map((running) => running.log)].join("\n");
  }

  /** A steady flow to all partitions: a load, not a wait. */
  async #write(): Promise<void> {
    const { workspace, producer } = this.#options;
    const file = workspace.path("flow.jsonl");
    const value = Buffer.from("flow");
    writeRecords(
      file,
      Array.from({ length: recordsPerRound }, (_, index) => ({
        key: Buffer.from(`key-${index}`),
        value,
        headers: [],
        timestamp: Date.now(),
      })),
    );
    while (!this.#stopped.signal.aborted) {
      const args = { topic: this.#name, partitions: partitionCount, compression: "none", file } as const;
      const { acks } = await producer.produce(args);
      for (const [partition, offset] of acks) this.#ends.set(partition, offset + 1);
      await sleep(roundMs);
    }
  }
}
