import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { compressions } from "./contract.ts";
import { partitionCount, quickGroups, skipWhenMissing, stepsOf, Workspace } from "./journey.ts";
import { runKcat } from "./kcat.ts";
import { partitionOfKey } from "./murmur2.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

const linesPerCompression = 10_000;

/** One message as `kcat -J` prints it. */
interface Message {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly payload: string | null;
  readonly headers?: readonly (string | null)[];
}

describe("kcat: the journey", () => {
  const missing = whyMissing("kcat");
  const workspace = new Workspace();
  const written: { readonly key: string | null; readonly payload: string | null }[] = [];
  const read: Message[] = [];
  let target: Target;

  beforeAll(async () => {
    // kcat makes no topics: the broker does, when one is first named.
    const settings = { ...quickGroups, "num.partitions": `${partitionCount}` };
    if (missing === null) target = await Target.start({ settings });
  });
  afterAll(async () => {
    await target?.[Symbol.asyncDispose]();
    workspace[Symbol.dispose]();
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  const kcat = async (...args: readonly string[]): Promise<string> => await runKcat(target.address, args);
  const readGroup = async (count: number): Promise<void> => {
    const reset = ["-X", "auto.offset.reset=earliest"];
    const output = await kcat("-J", "-q", "-c", `${count}`, ...reset, "-G", "readers", "orders");
    const messages = output.trim().split("\n");
    expect(messages.length).toBe(count);
    read.push(...messages.map((line) => JSON.parse(line) as Message));
  };

  const step = stepsOf("kcat");

  step("writes keys, headers and nulls in each compression", async () => {
    for (const compression of compressions) {
      const batch = Array.from({ length: linesPerCompression }, (_, index) => ({
        key: index % 10 === 0 ? null : `key-${index % 700}`,
        payload: index % 7 === 0 ? null : `${compression} ${index} mañana`,
      }));
      const file = workspace.path("lines.txt");
      writeFileSync(file, batch.map(({ key, payload }) => `${key ?? ""}\t${payload ?? ""}\n`).join(""));
      const headers = ["-H", "custom_field_1=didáctica", "-H", "nothing"];
      const options = ["-X", "partitioner=murmur2_random", "-X", "enable.idempotence=true", "-K", "\t", "-Z"];
      await kcat("-P", "-t", "orders", "-z", compression, ...headers, ...options, "-l", file);
      written.push(...batch);
    }
  });

  step("shows the topic with its partitions", async () => {
    const metadata = JSON.parse(await kcat("-L", "-J", "-t", "orders")) as {
      readonly topics: readonly { readonly partitions: readonly { readonly leader: number }[] }[];
    };
    expect(metadata.topics[0]?.partitions.length).toBe(partitionCount);
  });

  step("reads in a group, commits, and goes on after a restart of the broker", async () => {
    const half = Math.floor(written.length / 2);
    await readGroup(half);
    await target.stop();
    await target.start();
    await readGroup(written.length - half);
  });

  step("reads what was written: all of it, once, in order", () => {
    const next = new Map<number, number>();
    for (const { partition, offset, key, headers } of read) {
      const isDue = offset === (next.get(partition) ?? 0);
      const isPlaced = key === null || partition === partitionOfKey(Buffer.from(key), partitionCount);
      const hasHeaders = JSON.stringify(headers) === '["custom_field_1","didáctica","nothing",null]';
      if (!isDue || !isPlaced || !hasHeaders) expect.fail(JSON.stringify({ partition, offset, key, headers }));
      next.set(partition, offset + 1);
    }
    // Within a key the order is that of writing; without keys only the multiset is known.
    const byKey = (messages: readonly { readonly key: string | null; readonly payload: string | null }[]) =>
      Map.groupBy(messages, ({ key }) => key);
    const expected = byKey(written);
    for (const [key, messages] of byKey(read)) {
      const payloads = (list: typeof written | undefined) => (list ?? []).map(({ payload }) => payload ?? "null");
      const [found, wanted] = [payloads(messages), payloads(expected.get(key))];
      if (key === null) expect(found.toSorted()).toEqual(wanted.toSorted());
      else expect(found, key).toEqual(wanted);
    }
    expect(read.length).toBe(written.length);
  });
});
