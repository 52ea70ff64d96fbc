import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, type TestContext } from "vitest";
import { clients, whyClientMissing, type ClientName } from "./clients.ts";
import type { Compression, ConsumeArgs, DumpArgs, HelloAnswer } from "./contract.ts";
import { ExpectedTopic } from "./expected.ts";
import { partitionOfKey } from "./murmur2.ts";
import { ClientProgram } from "./program.ts";
import { readConsumed, sampleRecords, writeRecords, type ConsumedRecord, type SampleRecord } from "./records.ts";
import { Target } from "./target.ts";

/** Not a power of two, so that a partitioner that differs from Java's only in a sign is found. */
export const partitionCount = 6;
/** Of the pure Python client fewer, since it takes some seconds for each ten thousand. */
const recordsPerCompression = (name: ClientName): number => (name === "kafka-python" ? 2_000 : 10_000);

/** Both brokers would wait some seconds for more members when a group is new; nobody else comes in these tests. */
export const quickGroups: Readonly<Record<string, string>> = { "group.initial.rebalance.delay.ms": "0" };

/** The shortest that a broker allows a member of a classic group to ask for. */
export const sessionTimeoutMs = 6_000;

/** Groups of the consumer protocol get their times from the broker; the classic ones ask for theirs. */
export const groupTimes: Readonly<Record<string, string>> = {
  "group.consumer.session.timeout.ms": `${sessionTimeoutMs}`,
  "group.consumer.min.session.timeout.ms": `${sessionTimeoutMs}`,
  "group.consumer.heartbeat.interval.ms": "500",
  "group.consumer.min.heartbeat.interval.ms": "500",
};

const consumeTimeoutMs = 60_000;

/** A directory for the files through which programs hand over records; gone after the test. */
export class Workspace implements Disposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "interop-files-"));
  #nextFile = 1;

  path(name: string): string {
    return join(this.directory, `${this.#nextFile++}-${name}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Writes records with a client, and adds them to what the topic must hold. */
export async function produce(
  workspace: Workspace,
  program: ClientProgram,
  into: { readonly topic: ExpectedTopic; readonly compression: Compression; readonly records: readonly SampleRecord[] },
): Promise<void> {
  const file = workspace.path("records.jsonl");
  writeRecords(file, into.records);
  const { topic, compression, records } = into;
  topic.add(records, await program.produce({ topic: topic.name, partitions: partitionCount, compression, file }));
}

/** Reads just so many records with a client in a group, and commits them. */
export async function consume(
  workspace: Workspace,
  program: ClientProgram,
  args: Pick<ConsumeArgs, "topics" | "group" | "count" | "keep" | "protocol">,
): Promise<ConsumedRecord[]> {
  const output = workspace.path("consumed.jsonl");
  await program.consume({ ...args, output, timeoutMs: consumeTimeoutMs });
  return readConsumed(output);
}

/** All of a topic for an isolation level, up to where it then ends, with the Java program. */
export async function dump(
  workspace: Workspace,
  program: ClientProgram,
  args: Pick<DumpArgs, "topic" | "isolation">,
): Promise<ConsumedRecord[]> {
  const output = workspace.path("dump.jsonl");
  await program.dump({ ...args, output, timeoutMs: consumeTimeoutMs });
  return readConsumed(output);
}

/**
 * What every client must be able to do with the broker, as tests in the order of the story: a step that fails fails
 * those that need it. Two groups read: the member of one leaves and a new one goes on from its commit, the member of
 * the other stays, and so rides out the restart of the broker. The producer stays open too.
 */
export function clientJourney(name: ClientName): void {
  describe(`${name}: the journey`, () => {
    const missing = whyClientMissing(name);
    let story: Story;
    beforeAll(async () => {
      if (missing === null) story = await Story.begin(name);
    });
    afterAll(async () => await story?.end());
    beforeEach((context) => skipWhenMissing(context, missing));

    const step = stepsOf(name);
    step("creates a topic", async () => await story.createTopic());
    step(`writes ${recordsPerCompression(name)} records in each compression`, async () => await story.writeAll());
    step("puts each key where every other client does", () => story.checkPlacement());
    step("reads in a group, and commits in the middle", async () => await story.readFirstPart());
    step("goes on from the commit after a restart of the broker", async () => {
      await story.restartBroker();
      await story.writeAfterRestart();
      await story.readRest("left");
    });
    step("rides out the restart as a member of its group", async () => await story.readRest("stayed"));
  });
}

/** Tests that build on each other: after the first that fails, the others say so instead of failing in odd ways. */
export function stepsOf(story: string): (name: string, run: () => Promise<void> | void) => void {
  let failed: string | null = null;
  return (name, run) =>
    test(name, async () => {
      if (failed !== null) throw new Error(`${story}: not reached, since "${failed}" failed`);
      failed = name;
      await run();
      failed = null;
    });
}

/** The same key lands in the same partition, whoever wrote it: consumers that join topics rely on it. */
export function checkPlacement(topic: ExpectedTopic): void {
  const found = topic.partitionsOfKeys();
  expect(found.size).toBeGreaterThan(500);
  for (const [key, partitions] of found) {
    const place = partitionOfKey(Buffer.from(key, "latin1"), partitionCount);
    expect([...partitions], `${topic.name}: key ${key}`).toEqual([place]);
  }
}

export function skipWhenMissing(context: TestContext, reason: string | null): void {
  if (reason !== null) context.skip(`skipped: ${reason}`);
}

type Group = "left" | "stayed";

class Story {
  readonly #workspace = new Workspace();
  readonly #target: Target;
  readonly #program: ClientProgram;
  readonly #client: HelloAnswer;
  readonly #topic: ExpectedTopic;
  readonly #recordsPerCompression: number;
  readonly #positions = new Map<Group, Map<number, number>>();

  private constructor(name: ClientName, target: Target, program: ClientProgram, client: HelloAnswer) {
    this.#topic = new ExpectedTopic(`orders-of-${name}`);
    this.#recordsPerCompression = recordsPerCompression(name);
    this.#target = target;
    this.#program = program;
    this.#client = client;
  }

  static async begin(name: ClientName): Promise<Story> {
    const target = await Target.start({ settings: quickGroups });
    const program = ClientProgram.start(clients[name], target.address);
    return new Story(name, target, program, await program.hello());
  }

  async end(): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await this.#target[Symbol.asyncDispose]();
    this.#workspace[Symbol.dispose]();
  }

  async createTopic(): Promise<void> {
    await this.#program.createTopic({ topic: this.#topic.name, partitions: partitionCount });
  }

  async writeAll(): Promise<void> {
    for (const compression of this.#client.compressions) await this.#write(compression);
  }

  /** With a producer that was open before: its connection is gone, its sequence numbers go on. */
  async writeAfterRestart(): Promise<void> {
    await this.#write(this.#client.compressions[0] ?? "none");
  }

  async #write(compression: Compression): Promise<void> {
    const [count, seed] = [this.#recordsPerCompression, this.#topic.count + 1];
    const records = sampleRecords({ count, seed, without: this.#client.cannot });
    await produce(this.#workspace, this.#program, { topic: this.#topic, compression, records });
  }

  checkPlacement(): void {
    checkPlacement(this.#topic);
  }

  async readFirstPart(): Promise<void> {
    const count = Math.floor(this.#topic.count * 0.6);
    for (const group of ["left", "stayed"] as const) await this.#read(group, count);
  }

  async restartBroker(): Promise<void> {
    await this.#target.stop();
    await this.#target.start();
  }

  async readRest(group: Group): Promise<void> {
    const read = [...(this.#positions.get(group)?.values() ?? [])].reduce((sum, offset) => sum + offset, 0);
    const position = await this.#read(group, this.#topic.count - read);
    this.#topic.checkComplete(position);
  }

  async #read(group: Group, count: number): Promise<Map<number, number>> {
    const args = { topics: [this.#topic.name], group, count, keep: group === "stayed" };
    const consumed = await consume(this.#workspace, this.#program, args);
    expect(consumed.length).toBe(count);
    const position = this.#topic.check(consumed, this.#positions.get(group));
    this.#positions.set(group, position);
    return position;
  }
}
