import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { describeLogDirs } from "kafka-protocol-ts/messages/35-describe-log-dirs";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { describe, expect, test } from "vitest";
import { createTopic, fetchFrom, offsetAt, produceTo, readBatches } from "./calls.ts";
import { batchOf, running, temporaryDirectory } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { simulated } from "./simulated.ts";

/* Several log directories: one that fails, or is full, takes its own partitions with it, and nothing else. */

const config = { "log.dirs": "/data/a,/data/b" };
const onB = (path: string): boolean => path.startsWith("/data/b/");
/** Partitions of the first topic go to the directories in turn. */
const lost = [1, 3];
const kept = [0, 2];

async function start(platter?: SimulatedDisk) {
  return simulated({ config, ...(platter === undefined ? {} : { platter }) });
}

async function codes(client: RawClient, topic: string, count: number): Promise<readonly number[]> {
  const answered: number[] = [];
  for (let partition = 0; partition < count; partition++) {
    answered.push((await produceTo(client, batchOf(["more"]), { topic, partition })).errorCode);
  }
  return answered;
}

async function valuesOf(client: RawClient, topic: string, partition: number): Promise<number> {
  const batches = await readBatches(client, { topic, partition }, 0);
  return batches.reduce((count, batch) => count + batch.recordsCount, 0);
}

async function remove(client: RawClient, name: string): Promise<number | undefined> {
  const answer = await client.request(deleteTopics, 6, { topics: [{ name, topicId: zeroUuid }], timeoutMs: 10_000 });
  return answer.responses[0]?.errorCode;
}

const storageError = ErrorCode.KAFKA_STORAGE_ERROR;

describe("a log directory whose sync fails", () => {
  test("takes its partitions offline as Kafka does; acknowledgements of the others keep flowing; a restart brings all back", async () => {
    const it = await start();
    const acknowledged = [0, 0, 0, 0];
    {
      await using client = await it.client();
      await createTopic(client, "orders", 4);
      const producing = async (partition: number): Promise<number[]> => {
        await using producer = await it.client();
        const answers: number[] = [];
        for (let count = 0; count < 20; count++) {
          if (count === 10 && partition === 1) it.disk.faults.failNextSync({ matches: onB });
          const { errorCode } = await produceTo(producer, batchOf([`${count}`]), { partition });
          answers.push(errorCode);
          if (errorCode === 0) acknowledged[partition]!++;
        }
        return answers;
      };
      const answers = await Promise.all([0, 1, 2, 3].map(producing));
      for (const partition of kept) expect(answers[partition]).toEqual(Array.from({ length: 20 }, () => 0));
      for (const partition of lost) {
        const first = answers[partition]!.indexOf(storageError);
        // Once refused, always refused: nothing is retried as if it were clean.
        expect(new Set(answers[partition]!.slice(first))).toEqual(new Set([storageError]));
        expect(first).toBeGreaterThan(0);
        expect(await fetchFrom(client, { partition, offset: 0 })).toMatchObject({ errorCode: storageError });
        expect(await offsetAt(client, { topic: "orders", partition }, -1)).toMatchObject({ errorCode: storageError });
      }
      expect(it.fatal).toEqual([]);
      expect(it.log.text(40)).toMatch(/error .*"path":"\/data\/b".*EIO/);

      const told = await client.request(metadata, 12, { topics: [{ name: "orders", topicId: zeroUuid }] });
      const online = { errorCode: ErrorCode.NONE, leaderId: 1, isrNodes: [1], offlineReplicas: [] };
      const offline = { errorCode: ErrorCode.LEADER_NOT_AVAILABLE, leaderId: -1, isrNodes: [], offlineReplicas: [1] };
      const byIndex = told.topics[0]!.partitions.toSorted((x, y) => x.partitionIndex - y.partitionIndex);
      expect(byIndex).toMatchObject([online, offline, online, offline]);
      const described = await client.request(describeTopicPartitions, 0, {
        topics: [{ name: "orders" }],
        cursor: null,
      });
      expect(described.topics[0]!.partitions).toMatchObject([online, offline, online, offline]);

      // What is new goes to the directory that works.
      await createTopic(client, "late", 2);
      expect(await codes(client, "late", 2)).toEqual([0, 0]);
      const { results } = await client.request(describeLogDirs, 4, { topics: null });
      expect(results).toMatchObject([
        { logDir: "/data/a", errorCode: ErrorCode.NONE },
        { logDir: "/data/b", errorCode: storageError, topics: [] },
      ]);
      expect(results[0]!.topics.map(({ name, partitions }) => [name, partitions.length])).toEqual([
        ["orders", 2],
        ["late", 2],
      ]);
    }
    await it.broker.stop();
    await using again = await start(it.platter);
    await using client = await again.client();
    for (const partition of [0, 1, 2, 3]) {
      expect(await valuesOf(client, "orders", partition)).toBeGreaterThanOrEqual(acknowledged[partition]!);
    }
    expect(await codes(client, "orders", 4)).toEqual([0, 0, 0, 0]);
  });

  test("wakes readers that wait there", async () => {
    await using it = await start();
    await using client = await it.client();
    await using reader = await it.client();
    await createTopic(client, "orders", 2);
    const parked = fetchFrom(reader, { partition: 1, offset: 0, minBytes: 1, maxWaitMs: 600_000 });
    await it.settle();
    it.disk.faults.failNextSync({ matches: onB });
    await produceTo(client, batchOf(["lost"]), { partition: 1 });
    // No time has passed.
    expect(await parked).toMatchObject({ errorCode: storageError });
  });

  test("takes the coordinators of its groups along; other groups keep theirs", async () => {
    await using it = await simulated({ config: { ...config, "offsets.topic.num.partitions": "2" } });
    await using client = await it.client();
    const find = async (): Promise<readonly number[]> => {
      const answer = await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["a", "b"] });
      return answer.coordinators.map(({ errorCode }) => errorCode);
    };
    const beat = async (groupId: string): Promise<number> =>
      (await client.request(heartbeat, 4, { groupId, generationId: 1, memberId: "m" })).errorCode;
    await find();
    await createTopic(client, "orders", 2);
    await it.settle();
    expect(await find()).toEqual([0, 0]);
    // One of the two names lies on each of the two partitions.
    expect([await beat("a"), await beat("b")]).toEqual([ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.UNKNOWN_MEMBER_ID]);
    it.disk.faults.failNextSync({ matches: onB });
    await produceTo(client, batchOf(["lost"]), { partition: 1 });
    await it.settle();
    expect((await find()).toSorted()).toEqual([0, ErrorCode.COORDINATOR_NOT_AVAILABLE]);
    expect([await beat("a"), await beat("b")].toSorted((x, y) => x - y)).toEqual([
      ErrorCode.NOT_COORDINATOR,
      ErrorCode.UNKNOWN_MEMBER_ID,
    ]);
    expect(it.fatal).toEqual([]);
  });

  test("keeps what lies there of a deleted topic, which the next start puts away; the name is free at once", async () => {
    const it = await start();
    {
      await using client = await it.client();
      await createTopic(client, "orders", 2);
      await codes(client, "orders", 2);
      it.disk.faults.failNextSync({ matches: onB });
      await produceTo(client, batchOf(["lost"]), { partition: 1 });
      expect(await remove(client, "orders")).toBe(ErrorCode.NONE);
      await createTopic(client, "orders", 2);
      expect(await codes(client, "orders", 2)).toEqual([0, 0]);
    }
    await it.broker.stop();
    await using again = await start(it.platter);
    await using client = await again.client();
    expect(await codes(client, "orders", 2)).toEqual([0, 0]);
    for (const partition of [0, 1]) expect(await valuesOf(client, "orders", partition)).toBe(2);
    const names = (await it.platter.list("/data/b")).map(({ name }) => name).filter((name) => name.includes("orders"));
    expect(names).toEqual([expect.stringMatching(/^orders-1\.[0-9a-f]{32}-stray$/)]);
    expect(again.log.text(40)).toContain(names[0]);
  });
});

test("a log directory that is full refuses its own partitions, and recovers by itself", async () => {
  await using it = await start();
  await using client = await it.client();
  await createTopic(client, "orders", 4);
  expect(await codes(client, "orders", 4)).toEqual([0, 0, 0, 0]);
  const volume = { matches: onB, spaceBytes: 0 };
  it.disk.faults.volumes.push(volume);
  const large = async (partition: number) =>
    (await produceTo(client, batchOf(["x".repeat(50_000)]), { partition })).errorCode;
  expect([await large(0), await large(1), await large(2), await large(3)]).toEqual([0, storageError, 0, storageError]);
  for (const partition of lost) expect(await valuesOf(client, "orders", partition)).toBe(1);
  await createTopic(client, "late", 3);
  expect(await codes(client, "late", 3)).toEqual([0, 0, 0]);
  volume.spaceBytes = Infinity;
  await it.clock.advance(5_000);
  expect([await large(0), await large(1), await large(2), await large(3)]).toEqual([0, 0, 0, 0]);
  expect(it.fatal).toEqual([]);
});

test("a directory that is no directory at the start is offline; the others serve; when it is back, so is all in it", async () => {
  await using parent = await temporaryDirectory();
  const [a, b, away] = [join(parent.path, "a"), join(parent.path, "b"), join(parent.path, "away")];
  const settings = { "log.dirs": `${a},${b}` };
  {
    await using it = await running(a, settings);
    await using client = await it.client();
    await createTopic(client, "orders", 4);
    expect(await codes(client, "orders", 4)).toEqual([0, 0, 0, 0]);
  }
  await rename(b, away);
  await writeFile(b, "not a directory");
  {
    await using it = await running(a, settings);
    await using client = await it.client();
    expect(await codes(client, "orders", 4)).toEqual([0, storageError, 0, storageError]);
    expect(it.log.text(60)).toMatch(/error a log directory is offline.*EEXIST/);
    expect(it.log.text(60)).toMatch(/error partitions are offline.*orders-1 orders-3/);
    const told = await client.request(metadata, 12, { topics: [{ name: "orders", topicId: zeroUuid }] });
    expect(told.topics[0]!.partitions.filter(({ leaderId }) => leaderId === -1)).toHaveLength(2);
    expect((await readdir(a)).filter((name) => name.startsWith("orders")).sort()).toEqual(["orders-0", "orders-2"]);
  }
  await rm(b);
  await rename(away, b);
  await using it = await running(a, settings);
  await using client = await it.client();
  expect(await codes(client, "orders", 4)).toEqual([0, 0, 0, 0]);
  expect(await Promise.all([0, 1, 2, 3].map((partition) => valuesOf(client, "orders", partition)))).toEqual([
    3, 2, 3, 2,
  ]);
});

test("DescribeLogDirs tells of the partitions that it is asked for, with the size of the volume since version 4", async () => {
  await using parent = await temporaryDirectory();
  const [a, b] = [join(parent.path, "a"), join(parent.path, "b")];
  await mkdir(a);
  await using it = await running(a, { "log.dirs": `${a},${b}` });
  await using client = await it.client();
  await createTopic(client, "orders", 3);
  const batch = batchOf(["x".repeat(1_000)]);
  for (const partition of [0, 1, 2]) await produceTo(client, batch, { partition });
  const topics = [
    { topic: "orders", partitions: [0, 1, 9] },
    { topic: "nowhere", partitions: [0] },
  ];
  const whole = { partitionSize: batch.length, offsetLag: 0, isFutureKey: false };
  for (const version of [1, 2, 3, 4, 5]) {
    const { results, errorCode } = await client.request(describeLogDirs, version, { topics });
    expect(errorCode).toBe(ErrorCode.NONE);
    expect(results.map(({ logDir, errorCode: code, topics: told }) => [logDir, code, told])).toEqual([
      [a, 0, [{ name: "orders", partitions: [{ partitionIndex: 0, ...whole }] }]],
      [b, 0, [{ name: "orders", partitions: [{ partitionIndex: 1, ...whole }] }]],
    ]);
    for (const { totalBytes, usableBytes, isCordoned } of results) {
      expect(isCordoned).toBe(false);
      if (version < 4) expect([totalBytes, usableBytes]).toEqual([-1, -1]);
      else expect(totalBytes).toBeGreaterThanOrEqual(usableBytes);
      if (version >= 4) expect(usableBytes).toBeGreaterThan(0);
    }
  }
  const none = await client.request(describeLogDirs, 5, { topics: [] });
  expect(none.results.map(({ topics: told }) => told)).toEqual([[], []]);
});
