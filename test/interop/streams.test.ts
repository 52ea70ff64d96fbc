import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { clients, javaProgram } from "./clients.ts";
import { dump, partitionCount, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { generator, writeRecords, type ConsumedRecord, type SampleRecord } from "./records.ts";
import { Running } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

const numbersPerRound = 40;
const roundMs = 30;

/** What the program says of a digit after each number: how many there were, and their sum. */
interface Sum {
  readonly count: number;
  readonly sum: number;
}

/**
 * A topology of Kafka Streams with a repartition topic and a changelog (java/src/StreamsSums.java) in two processes.
 * Each number leads to one record, so with exactly-once the counts of a digit are 1, 2, 3 and so on, whatever dies
 * between; at-least-once may add a number again, and must leave none out.
 */
describe.concurrent("Kafka Streams: an instance is killed, and the broker is", () => {
  const missing = whyMissing("java");
  beforeEach((context) => skipWhenMissing(context, missing));

  test.for(["at_least_once", "exactly_once_v2"] as const)("%s", async (guarantee) => {
    const isExact = guarantee === "exactly_once_v2";
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using program = ClientProgram.start(clients.java, target.address);
    for (const topic of ["numbers", "sums"]) await program.createTopic({ topic, partitions: partitionCount });
    const start = (name: string): Running => {
      const args = [target.address, "app", guarantee, workspace.path(`state-${name}`), "numbers", "sums"];
      return Running.start(name, javaProgram("StreamsSums", args));
    };
    const isolation = isExact ? "read_committed" : "read_uncommitted";
    const sums = async (): Promise<Map<string, Sum[]>> =>
      byDigit(await dump(workspace, program, { topic: "sums", isolation }));

    await using writer = ClientProgram.start(clients.java, target.address);
    await using flow = new Flow(workspace, writer);
    /** All that is written by now, or more, is summed. */
    const catchUp = async (one: Running, when: string): Promise<void> => {
      const written = new Map(flow.written);
      await one.until(`all that was written ${when} is summed`, async () => {
        const found = await sums();
        return [...written].every(([digit, { count }]) => (found.get(digit)?.at(-1)?.count ?? 0) >= count);
      });
    };

    await using first = start("first");
    await using second = start("second");
    for (const one of [first, second]) await one.until("it has tasks that sum", () => /1_\d/.test(tasksOf(one)));
    await catchUp(second, "before anything died");
    await second.kill();
    await catchUp(first, "before an instance was killed");
    await target.kill();
    await target.start();
    await using third = start("third");
    await third.until("it has tasks that sum", () => /1_\d/.test(tasksOf(third)));
    await flow.stop();
    await catchUp(third, "at all");
    for (const one of [first, third]) await one.finish();

    const expected = flow.written;
    const found = await sums();
    expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
    for (const [digit, { count, sum }] of expected) {
      const counts = found.get(digit)?.map((one) => one.count) ?? [];
      const last = found.get(digit)?.at(-1) ?? { count: 0, sum: 0 };
      if (isExact) {
        expect(counts, `the counts of ${digit}`).toEqual(Array.from({ length: count }, (_, index) => index + 1));
        expect(last.sum, `the sum of ${digit}`).toBe(sum);
      } else {
        expect(last.count, `the count of ${digit}`).toBeGreaterThanOrEqual(count);
        expect(last.sum, `the sum of ${digit}`).toBeGreaterThanOrEqual(sum);
      }
    }
  });
});

function tasksOf(running: Running): string {
  return running.lines.findLast((line) => line.startsWith("TASKS")) ?? "";
}

/** A steady flow of numbers, so that whatever is killed is in the middle of something: a load, not a wait. */
class Flow implements AsyncDisposable {
  /** What was acknowledged, by last digit. */
  readonly written = new Map<string, Sum>();
  readonly #random = generator(17);
  readonly #stopped = new AbortController();
  readonly #flow: Promise<void>;

  constructor(workspace: Workspace, program: ClientProgram) {
    this.#flow = this.#write(workspace, program);
    // Who stops it hears of its failure.
    this.#flow.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#flow;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }

  async #write(workspace: Workspace, program: ClientProgram): Promise<void> {
    const file = workspace.path("numbers.jsonl");
    while (!this.#stopped.signal.aborted) {
      const numbers = Array.from({ length: numbersPerRound }, () => Math.floor(this.#random() * 10_000));
      writeRecords(file, numbers.map(recordOf));
      await program.produce({ topic: "numbers", partitions: partitionCount, compression: "none", file });
      for (const number of numbers) {
        const digit = `${number % 10}`;
        const known = this.written.get(digit) ?? { count: 0, sum: 0 };
        this.written.set(digit, { count: known.count + 1, sum: known.sum + number });
      }
      await sleep(roundMs);
    }
  }
}

function recordOf(number: number): SampleRecord {
  return {
    key: Buffer.from(`key-${number % 50}`),
    value: Buffer.from(`${number}`),
    headers: [],
    timestamp: Date.now(),
  };
}

function byDigit(records: readonly ConsumedRecord[]): Map<string, Sum[]> {
  const found = new Map<string, Sum[]>();
  for (const { key, value } of records) {
    const [count = Number.NaN, sum = Number.NaN] = `${value?.toString()}`.split(" ").map(Number);
    const digit = `${key?.toString()}`;
    const sums = found.get(digit) ?? [];
    found.set(digit, sums);
    sums.push({ count, sum });
  }
  return found;
}
