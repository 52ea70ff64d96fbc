import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { targetsOr } from "./asked.ts";
import { clientNames, clients, whyClientMissing, type Client } from "./clients.ts";
import { ExpectedTopic } from "./expected.ts";
import { consume, partitionCount, produce, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { generator, type ConsumedRecord, type SampleRecord } from "./records.ts";
import { Target, whyTargetMissing } from "./target.ts";

/** A small application as its users write them: restarted in the middle, with the broker, it goes on as if nothing was. */
const summing = clientNames.filter((name) => clients[name].keySums !== undefined);
// Ours is to work with every broker; of the others it is known that they work with Apache Kafka.
const cases = summing.flatMap((name) =>
  targetsOr(name === "millrace" ? ["millrace", "kafka"] : ["millrace"]).map((broker) => [name, broker] as const),
);

test.for(cases)("%s on %s: sums by key are exact over a restart", async ([name, broker], context) => {
  skipWhenMissing(context, whyClientMissing(name) ?? whyTargetMissing(broker));
  const client = clients[name];
  using workspace = new Workspace();
  await using target = await Target.start({ name: broker, settings: quickGroups, isBrief: true });
  await using program = ClientProgram.start(client, target.address);
  for (const topic of ["input_topic", "key_sums"]) await program.createTopic({ topic, partitions: partitionCount });
  const configs = { "cleanup.policy": "compact" };
  await program.createTopic({ topic: "key_sums_state", partitions: 2, configs });

  const random = generator(17);
  const numbers = Array.from({ length: 3_000 }, () => ({
    key: `key-${Math.floor(random() * 60)}`,
    value: Math.floor(random() * 100),
  }));
  const records = numbers.map(({ key, value }): SampleRecord => ({
    key: Buffer.from(key),
    value: Buffer.from(`${value}`),
    headers: [],
    timestamp: Date.now(),
  }));
  await produce(workspace, program, { topic: new ExpectedTopic("input_topic"), compression: "none", records });

  await runKeySums(client, target.address, 1_234);
  await target.stop();
  await target.start();
  await runKeySums(client, target.address, numbers.length - 1_234);

  const expected = sumsAbove1000(numbers);
  const count = [...expected.values()].reduce((sum, sums) => sum + sums.length, 0);
  const sums = await consume(workspace, program, { topics: ["key_sums"], group: "check", count });
  expect(byKey(sums)).toEqual(expected);
});

async function runKeySums({ keySums, environment }: Client, address: string, count: number): Promise<void> {
  const [executable, ...args] = keySums?.() ?? expect.unreachable();
  const child = spawn(executable, [...args, address, `${count}`], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [log] = await Promise.all([text(child.stderr), once(child, "close")]);
  clearTimeout(timer);
  expect(child.exitCode, log).toBe(0);
}

function sumsAbove1000(numbers: readonly { readonly key: string; readonly value: number }[]): Map<string, number[]> {
  const sums = new Map<string, number>();
  const sent = new Map<string, number[]>();
  for (const { key, value } of numbers) {
    const sum = (sums.get(key) ?? 0) + value;
    sums.set(key, sum);
    if (sum > 1_000) sent.set(key, [...(sent.get(key) ?? []), sum]);
  }
  return sent;
}

function byKey(records: readonly ConsumedRecord[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const { key, value } of records) {
    const sent = JSON.parse(value?.toString() ?? "null") as { readonly key: string; readonly total_sum: number };
    expect(key?.toString()).toBe(sent.key);
    found.set(sent.key, [...(found.get(sent.key) ?? []), sent.total_sum]);
  }
  return found;
}
