import { beforeEach, describe, expect, test } from "vitest";
import { clients, javaProgram } from "./clients.ts";
import { ExpectedTopic } from "./expected.ts";
import { dump, partitionCount, produce, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { generator, type ConsumedRecord, type SampleRecord } from "./records.ts";
import { Running } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

const numbersPerPart = 5_000;

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

    const topic = new ExpectedTopic("numbers");
    const expected = new Map<string, Sum>();
    const write = async (seed: number): Promise<void> => {
      const numbers = someNumbers(seed);
      for (const number of numbers) {
        const digit = `${number % 10}`;
        const known = expected.get(digit) ?? { count: 0, sum: 0 };
        expected.set(digit, { count: known.count + 1, sum: known.sum + number });
      }
      await produce(workspace, program, { topic, compression: "none", records: numbers.map(recordOf) });
    };
    /** Of each digit so many numbers are summed: all that were written, but for `missing` in each hundred. */
    const areSummed = async (percent: number): Promise<boolean> => {
      const found = await sums();
      return [...expected].every(
        ([digit, { count }]) => (found.get(digit)?.at(-1)?.count ?? 0) >= (count * percent) / 100,
      );
    };

    await using first = start("first");
    await using second = start("second");
    await write(1);
    for (const one of [first, second]) await one.until("it runs", () => one.lines.includes("RUNNING"));
    await first.until("the first part is summed", async () => await areSummed(100));

    await write(2);
    await first.until("some of the second part is summed", async () => await areSummed(55));
    await second.kill();
    await write(3);
    await first.until("what the living instance has is summed in part", async () => await areSummed(40));
    await target.kill();
    await target.start();
    await using third = start("third");
    await third.until("it runs", () => third.lines.includes("RUNNING"));
    await write(4);
    await third.until("all is summed", async () => await areSummed(100));
    for (const one of [first, third]) await one.finish();

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

function someNumbers(seed: number): number[] {
  const random = generator(seed);
  return Array.from({ length: numbersPerPart }, () => Math.floor(random() * 10_000));
}

function recordOf(number: number, index: number): SampleRecord {
  return { key: Buffer.from(`key-${index % 50}`), value: Buffer.from(`${number}`), headers: [], timestamp: Date.now() };
}

function byDigit(records: readonly ConsumedRecord[]): Map<string, Sum[]> {
  const found = new Map<string, Sum[]>();
  for (const { key, value } of records) {
    const [count = Number.NaN, sum = Number.NaN] = `${value?.toString()}`.split(" ").map(Number);
    const digit = `${key?.toString()}`;
    found.set(digit, [...(found.get(digit) ?? []), { count, sum }]);
  }
  return found;
}
