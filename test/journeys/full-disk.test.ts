import { describe, expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { ErrorCode, isRetriable } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { createTopic, describeTopics, produceTo, readBatches } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { simulated } from "./simulated.ts";

/*
 * A disk without space is no failed one: what does not fit is refused, what is there is served, and when there is space it goes on.
 */

const orders = { topic: "orders", partition: 0 };

async function readValues(client: RawClient): Promise<number> {
  return (await readBatches(client, orders, 0)).reduce((count, batch) => count + batch.recordsCount, 0);
}

describe("a full disk", () => {
  test("refuses what does not fit, serves readers, and takes appends again when there is space", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders");
    expect(await produceTo(client, batchOf(["kept"]))).toMatchObject({ baseOffset: 0 });
    it.disk.faults.spaceBytes = 10_000;
    const large = batchOf(["x".repeat(50_000)]);
    expect(await produceTo(client, large)).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, baseOffset: -1 });
    expect(await produceTo(client, batchOf(["small"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    expect(await readValues(client)).toBe(1);
    expect(it.log.text(50)).toMatch(/error the disk is full.*orders-0.*offset":1/);
    expect(it.fatal).toEqual([]);
    await it.clock.advance(5_000);
    expect(await produceTo(client, batchOf(["small"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
    it.disk.faults.spaceBytes = Infinity;
    await it.clock.advance(5_000);
    // No offset was given away: nobody has seen one.
    expect(await produceTo(client, large)).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
    expect(await readValues(client)).toBe(2);
    await client[Symbol.asyncDispose]();
    await it.broker.stop();
    await using again = await simulated({ platter: it.platter });
    await using reader = await again.client();
    expect(await readValues(reader)).toBe(2);
  });

  test("in the middle of a pipeline: what was acknowledged stays, what was refused is sent again, each once", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders");
    const sequenced = (sequence: number) =>
      batchOf([`record ${sequence} ${"x".repeat(4_000)}`], { producerId: 7, producerEpoch: 0, baseSequence: sequence });
    for (let sequence = 0; sequence < 3; sequence++) {
      expect(await produceTo(client, sequenced(sequence))).toMatchObject({ errorCode: 0, baseOffset: sequence });
    }
    it.disk.faults.spaceBytes = 10_000;
    const told = await Promise.all(
      Array.from({ length: 9 }, async (_, index) => produceTo(client, sequenced(3 + index))),
    );
    const accepted = 3 + told.filter(({ errorCode }) => errorCode === ErrorCode.NONE).length;
    expect(told.map(({ errorCode }) => errorCode)).toEqual([
      ...Array.from({ length: accepted - 3 }, () => ErrorCode.NONE),
      ...Array.from({ length: 12 - accepted }, () => ErrorCode.KAFKA_STORAGE_ERROR),
    ]);
    expect(accepted).toBeLessThan(12);
    it.disk.faults.spaceBytes = Infinity;
    await it.clock.advance(5_000);
    // The broker has forgotten the sequence numbers of what it refused: a gap is one, and the next is expected.
    expect(await produceTo(client, sequenced(accepted + 1))).toMatchObject({
      errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    });
    for (let sequence = accepted; sequence < 12; sequence++) {
      expect(await produceTo(client, sequenced(sequence))).toMatchObject({ errorCode: 0, baseOffset: sequence });
    }
    const batches = await readBatches(client, orders, 0);
    expect(batches.map(({ baseSequence, baseOffset }) => [baseSequence, baseOffset])).toEqual(
      Array.from({ length: 12 }, (_, index) => [index, index]),
    );
  });

  test("does not keep the broker from stopping, and the next start recovers", async () => {
    const it = await simulated();
    {
      await using client = await it.client();
      await createTopic(client, "orders");
      await produceTo(client, batchOf(["kept"]));
    }
    it.disk.faults.spaceBytes = 0;
    await it.broker.stop();
    await using again = await simulated({ platter: it.platter });
    await using client = await again.client();
    expect(again.log.lines.find(({ message }) => message === "logs loaded")?.fields).toMatchObject({ isClean: false });
    expect(await readValues(client)).toBe(1);
  });

  test("takes no new topic and no commit, and takes them when there is space", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders");
    await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["billing"] });
    expect(await commit(client, 1)).toBe(ErrorCode.NONE);
    it.disk.faults.spaceBytes = 0;
    await expect(createTopic(client, "more")).rejects.toThrow(/creating more: (?!UNKNOWN_SERVER_ERROR)/);
    const refused = await commit(client, 2);
    expect([ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR]).toContain(refused);
    it.disk.faults.spaceBytes = Infinity;
    await it.clock.advance(10_000);
    expect(it.fatal).toEqual([]);
    expect(await committed(client)).toBe(1);
    expect(await commit(client, 3)).toBe(ErrorCode.NONE);
    expect(await committed(client)).toBe(3);
    await createTopic(client, "more");
    expect(await produceTo(client, batchOf(["x"]), { topic: "more" })).toMatchObject({ errorCode: ErrorCode.NONE });
  });

  test("between a topic's metadata and its directory: the operator is told, others go on, a restart completes it", async () => {
    const it = await simulated();
    {
      await using client = await it.client();
      await createTopic(client, "orders");
      it.disk.faults.failNextWrite({ code: "ENOSPC", matches: (path) => path.includes("/late-0/") });
      await client.request(createTopics, 7, {
        topics: [{ name: "late", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
        timeoutMs: 10_000,
        validateOnly: false,
      });
      expect(isRetriable((await produceTo(client, batchOf(["x"]), { topic: "late" })).errorCode)).toBe(true);
      expect(await produceTo(client, batchOf(["x"]))).toMatchObject({ errorCode: ErrorCode.NONE });
      expect(it.log.text(10)).toMatch(/error .*late-0.*ENOSPC/);
    }
    await it.broker.stop();
    await using again = await simulated({ platter: it.platter });
    await using client = await again.client();
    expect(await produceTo(client, batchOf(["x"]), { topic: "late" })).toMatchObject({ errorCode: ErrorCode.NONE });
  });

  /** Whatever is being written when it fills up, wherever in it. */
  test.for(Array.from({ length: 24 }, (_, index) => index + 1))(
    "in the middle of anything: refused by name, read on, taken again by itself, and all that was told is there (seed %i)",
    async (seed) => {
      const prng = new Prng(seed);
      const it = await simulated({
        config: { "offsets.topic.num.partitions": "1", ...(prng.chance(0.3) ? { "millrace.journal.bytes": "0" } : {}) },
      });
      const client = await it.client();
      await createTopic(client, "orders", 1, { "millrace.durability": prng.pick(["fsync", "os"]) });
      await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["billing"] });
      expect(await commit(client, 1)).toBe(ErrorCode.NONE);
      const told = { records: 0, commit: 1, topics: ["orders"] };
      const produced = async (): Promise<number> => {
        const { errorCode, baseOffset } = await produceTo(client, batchOf(["x".repeat(prng.between(1, 3_000))]));
        if (errorCode === ErrorCode.NONE) expect(baseOffset).toBe(told.records++);
        return errorCode;
      };
      const committing = async (): Promise<number> => {
        const errorCode = await commit(client, told.commit + 1);
        if (errorCode === ErrorCode.NONE) told.commit += 1;
        return errorCode;
      };
      const creating = async (): Promise<number> => {
        const name = `topic-${told.topics.length}`;
        const { topics } = await client.request(createTopics, 7, {
          topics: [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
          timeoutMs: 10_000,
          validateOnly: false,
        });
        const { errorCode = -1 } = topics[0] ?? {};
        if (errorCode === ErrorCode.NONE) told.topics.push(name);
        return errorCode;
      };
      // What fits may be little of anything, or the half of one record of one kind.
      it.disk.faults.spaceBytes = prng.pick([prng.between(0, 300), prng.between(0, 20_000)]);
      const refusals = new Map<string, Set<number>>();
      for (let round = 0; round < 40 || refusals.size === 0; round++) {
        const [what, work] = prng.pick([
          ["produce", produced] as const,
          ["commit", committing] as const,
          ["create", creating] as const,
        ]);
        const errorCode = await work();
        if (errorCode !== ErrorCode.NONE) refusals.set(what, (refusals.get(what) ?? new Set()).add(errorCode));
        expect(await readValues(client)).toBe(told.records);
      }
      const clear = {
        produce: [ErrorCode.KAFKA_STORAGE_ERROR],
        commit: [
          ErrorCode.COORDINATOR_NOT_AVAILABLE,
          ErrorCode.NOT_COORDINATOR,
          ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ],
        create: [ErrorCode.KAFKA_STORAGE_ERROR],
      };
      for (const [what, codes] of refusals) {
        for (const code of codes) expect(clear[what as keyof typeof clear], what).toContain(code);
      }
      // However long it lasts, what was told can be read.
      await it.clock.advance(200_000);
      expect([await readValues(client), await committed(client)]).toEqual([told.records, told.commit]);
      expect(it.fatal).toEqual([]);
      it.disk.faults.spaceBytes = Infinity;
      await it.clock.advance(10_000);
      expect([await produced(), await committing(), await creating()]).toEqual([0, 0, 0]);
      // The process dies, so that the next one has to find it all on the disk.
      const platter = it.platter.afterProcessDeath();
      await client[Symbol.asyncDispose]();
      await it.broker.stop();
      await using again = await simulated({ platter });
      await using reader = await again.client();
      expect(await readValues(reader)).toBe(told.records);
      expect(await committed(reader)).toBe(told.commit);
      const names = (await describeTopics(reader, null)).flatMap(({ name, isInternal }) => (isInternal ? [] : [name]));
      expect(names.toSorted()).toEqual(told.topics.toSorted());
    },
  );
});

async function commit(client: RawClient, offset: number): Promise<number> {
  const answer = await client.request(offsetCommit, 8, {
    groupId: "billing",
    memberId: "",
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: "" }] }],
  });
  return answer.topics[0]!.partitions[0]!.errorCode;
}

/** A coordinator that has just begun, or begins anew, says for a moment that it loads. */
async function committed(client: RawClient): Promise<number> {
  for (;;) {
    const answer = await client.request(offsetFetch, 7, {
      groupId: "billing",
      topics: [{ name: "orders", partitionIndexes: [0] }],
      requireStable: true,
    });
    if (answer.errorCode === ErrorCode.NONE) return answer.topics[0]!.partitions[0]!.committedOffset;
    expect(answer.errorCode).toBe(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  }
}
