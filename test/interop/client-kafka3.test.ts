import diagnostics from "node:diagnostics_channel";
import { channels, Cluster } from "@millrace/client";
import type { Admin, ConsumerOptions, RequestEnded } from "@millrace/client";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { compressions } from "./contract.ts";
import { until } from "./consumer-world.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

/**
 * Our client and Apache Kafka 3.9, whatever `--target` says: older versions of many requests, transactions of version 1, and
 * groups of the classic protocol only.
 */
const missing = whyMissing("kafka3");
const settings = { "group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false" };
const partitions = 3;

let target: Target;
let cluster: Cluster;
let admin: Admin;
/** The versions in which each API was spoken. */
const versions = new Map<string, Set<number>>();
const note = (message: unknown): void => {
  const { api, version, error } = message as RequestEnded;
  if (error === null) versions.set(api, (versions.get(api) ?? new Set()).add(version));
};

beforeAll(async () => {
  if (missing !== null) return;
  diagnostics.subscribe(channels.request, note);
  target = await Target.start({ name: "kafka", distribution: "3.9.2", isBrief: true, settings });
  cluster = new Cluster({ brokers: [target.address], clientId: "kafka3" });
  admin = cluster.admin();
});
afterAll(async () => {
  diagnostics.unsubscribe(channels.request, note);
  await cluster?.close();
  await target?.[Symbol.asyncDispose]();
});
beforeEach((context) => skipWhenMissing(context, missing));

function member(group: string): ConsumerOptions {
  return { group, sessionTimeoutMs: 15_000, heartbeatIntervalMs: 200, commitIntervalMs: 500, maxWaitMs: 100 };
}

/** Everything that is there, by partition. */
async function contents(topic: string, options: ConsumerOptions = {}): Promise<string[][]> {
  const found = Array.from({ length: partitions }, (): string[] => []);
  const records = cluster.consumer(options).records(topic, { from: "earliest", untilEnd: true });
  for await (const { partition, value } of records) found[partition]?.push(`${value?.toString()}`);
  return found;
}

test("each compression, many batches on their way, and a kill -9 in the middle: each record is there once and in order", async () => {
  await admin.topics.create({ name: "written", partitions });
  const countOfEach = 300;
  const sent: Promise<unknown>[] = [];
  const wanted: string[] = [];
  for (const [turn, compression] of compressions.entries()) {
    await using producer = cluster.producer({ compression, batchBytesMax: 5_000 });
    for (let number = 0; number < countOfEach; number++) {
      const value = `${compression} ${number} ${"x".repeat(100)}`;
      wanted.push(value);
      for (let partition = 0; partition < partitions; partition++)
        sent.push(producer.send("written", { partition, value, key: `${number}`, headers: { compression } }));
    }
    if (turn === 2) {
      await target.kill();
      await target.start();
    }
    await producer.flush();
  }
  await Promise.all(sent);
  expect(await contents("written")).toEqual(Array.from({ length: partitions }, () => wanted));
});

test("a classic group: two share, one leaves, the other one goes on from what is committed", async () => {
  await admin.topics.create({ name: "shared", partitions });
  await using producer = cluster.producer();
  const seen: string[] = [];
  const start = () => {
    const own = new Cluster({ brokers: [target.address], clientId: "kafka3" });
    const consumer = own.consumer(member("sharing"));
    const owned = new Set<number>();
    consumer.on("assigned", (assigned) => assigned.forEach(({ partition }) => owned.add(partition)));
    consumer.on("revoked", (revoked) => revoked.forEach(({ partition }) => owned.delete(partition)));
    const reading = consumer.run("shared", ({ value }) => void seen.push(`${value?.toString()}`), { from: "earliest" });
    const leave = async (): Promise<void> => {
      await consumer.close();
      await reading;
      await own.close();
    };
    return { owned, leave };
  };
  const first = start();
  const second = start();
  await until(
    () => first.owned.size > 0 && second.owned.size > 0 && first.owned.size + second.owned.size === 3,
    "all is shared",
  );
  const send = async (from: number): Promise<void> => {
    for (let number = from; number < from + 30; number++)
      await producer.send("shared", { partition: number % partitions, value: `${number}` });
  };
  await send(0);
  await until(() => seen.length === 30, "all is read");
  await second.leave();
  await until(() => first.owned.size === 3, "one has all");
  await send(30);
  await until(() => seen.length >= 60, "all is read by one");
  await first.leave();
  expect(seen.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, number) => number));
  const offsets = await admin.groups.offsets("sharing");
  expect(offsets.map((each) => each.ok && each.value.offset)).toEqual([20, 20, 20]);
});

test("transactions of version 1: records and offsets are committed together, or not at all", async () => {
  for (const name of ["taken", "given"]) await admin.topics.create({ name, partitions });
  await using plain = cluster.producer();
  for (let number = 0; number < 10; number++) await plain.send("taken", { partition: 0, value: `${number}` });
  await using producer = cluster.producer({ transactionalId: "exactly-once" });
  const failure = new Error("on purpose");
  const copied: string[] = [];
  let attempts = 0;
  await using own = new Cluster({ brokers: [target.address], clientId: "kafka3" });
  const consumer = own.consumer({ ...member("copying"), commit: "manual", isolation: "read_committed" });
  for await (const batch of consumer.batches("taken", { from: "earliest", countMax: 5 })) {
    const copy = async (isAborted: boolean): Promise<void> =>
      producer.transaction(async (transaction) => {
        attempts++;
        for (const { value } of batch)
          await transaction.send("given", {
            partition: 1,
            value: `${value?.toString()}${isAborted ? " aborted" : ""}`,
          });
        await transaction.commitOffsets(batch);
        if (isAborted) throw failure;
      });
    await expect(copy(true)).rejects.toBe(failure);
    await copy(false);
    for (const { value } of batch) copied.push(`${value?.toString()}`);
    if (copied.length === 10) break;
  }
  await consumer.close();
  expect(attempts).toBeGreaterThanOrEqual(4);
  expect((await contents("given", { isolation: "read_committed" }))[1]).toEqual(copied);
  expect((await contents("given"))[1]).toHaveLength(20);
  const [offset] = await admin.groups.offsets("copying");
  expect(offset).toMatchObject({ ok: true, item: { topic: "taken", partition: 0 }, value: { offset: 10 } });
  // An id that begins again fences the one before.
  await using successor = cluster.producer({ transactionalId: "exactly-once" });
  await successor.transaction(async (transaction) => transaction.send("given", { partition: 2, value: "later" }));
  const late = producer.transaction(async (transaction) =>
    transaction.send("given", { partition: 2, value: "too late" }),
  );
  await expect(late).rejects.toMatchObject({ code: "PRODUCER_FENCED" });
  expect((await contents("given", { isolation: "read_committed" }))[2]).toEqual(["later"]);
  expect(versions.get("AddPartitionsToTxn")).toEqual(new Set([3]));
  expect(versions.get("EndTxn")).toEqual(new Set([4]));
});

test("what administrators do every day", async () => {
  await admin.topics.create({ name: "administered", partitions: 1, config: { "retention.ms": "1000000" } });
  await admin.topics.createPartitions({ topic: "administered", count: 2 });
  await until(async () => (await admin.topics.describe("administered")).partitions.length === 2, "two partitions");
  await admin.configs.alter({ type: "topic", name: "administered", changes: { set: { "cleanup.policy": "compact" } } });
  await until(async () => {
    const config = await admin.configs.describe({ type: "topic", name: "administered" });
    expect(config.get("retention.ms")?.value).toBe("1000000");
    return config.get("cleanup.policy")?.value === "compact";
  }, "the setting is there");
  await using producer = cluster.producer();
  await producer.send("administered", { partition: 0, key: "a", value: "1" });
  const ends = await admin.topics.offsets("administered", "latest");
  expect(ends.map((each) => each.ok && each.value.offset)).toEqual([1, 0]);
  const names: string[] = [];
  for await (const { name } of admin.topics.list()) names.push(name);
  expect(names).toContain("administered");
  const groups: string[] = [];
  for await (const { groupId } of admin.groups.list()) groups.push(groupId);
  expect(groups).toContain("sharing");
  expect(await admin.groups.describe("sharing")).toMatchObject({ type: "classic", members: [] });
  expect((await admin.cluster.describe()).brokers).toHaveLength(1);
  expect((await admin.quorum.describe()).voters).toHaveLength(1);
  expect((await admin.features.describe()).features.get("metadata.version")?.finalizedLevel).toBeGreaterThan(0);
  const [directory] = await admin.logDirs.describe();
  expect(directory?.ok).toBe(true);
  await admin.groups.delete("sharing");
  await admin.topics.delete("administered");
  await until(async () => {
    const left: string[] = [];
    for await (const { name } of admin.topics.list()) left.push(name);
    return !left.includes("administered");
  }, "it is gone");
});

test("each request goes in the last version that both know; what 3.9 does not serve is refused by its name", async () => {
  expect(Object.fromEntries([...versions].map(([api, spoken]) => [api, [...spoken]]))).toMatchObject({
    ...{ Produce: [11], Fetch: [17], Metadata: [12], ListOffsets: [9], FindCoordinator: [6] },
    ...{ JoinGroup: [9], SyncGroup: [5], Heartbeat: [4], OffsetCommit: [9], OffsetFetch: [9], InitProducerId: [5] },
  });
  await using consumer = cluster.consumer({ group: "newer", protocol: "consumer" });
  const reading = consumer.run("shared", () => {}, { from: "earliest" });
  await expect(reading).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
  await expect(admin.shareGroups.offsets("any")).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
});
