import { must } from "@millrace/base/assert";
import { silentLogger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { beforeEach, describe, expect, test } from "vitest";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import { MemoryLog } from "../coordinator/testing/memory-log.ts";
import { TransactionCoordinator } from "./coordinator.ts";
import type { Producer } from "./commands.ts";
import type { MarkerFailure } from "./marker-writer.ts";
import type { OpenTransaction } from "./orphans.ts";

interface Asked {
  readonly place: string;
  readonly marker: TransactionMarker;
  settle(result: Result<void, MarkerFailure>): void;
}

let clock: VirtualClock;
let log: MemoryLog;
let asked: Asked[];
let open: OpenTransaction[];
let coordinator: TransactionCoordinator;
let fatal: unknown[];

beforeEach(async () => {
  clock = new VirtualClock();
  log = new MemoryLog();
  asked = [];
  open = [];
  fatal = [];
  let producerIds = 100;
  coordinator = new TransactionCoordinator({
    clock,
    logger: silentLogger,
    settings: {
      timeoutMaxMs: 900_000,
      idExpirationMs: 604_800_000,
      idExpirationCheckMs: 3_600_000,
      commitTimeoutMs: 30_000,
      concurrentWaitMs: 100,
    },
    partitionCount: () => 1,
    coordinatorEpoch: () => 5,
    newProducerId: async () => ok(producerIds++),
    end: (topic, partition, marker) =>
      new Promise((settle) => {
        asked.push({ place: `${topic}-${partition}`, marker, settle });
      }),
    openTransactions: () => open,
    fatal: (error) => fatal.push(error),
  });
  await lead();
});

async function lead(): Promise<void> {
  coordinator.onLeader(0, log);
  await clock.settle();
}

async function began(transactionalId = "t"): Promise<Producer> {
  const given = await coordinator.init({ transactionalId, timeoutMs: 60_000, expected: null });
  if (!given.ok) throw new Error(given.failure);
  return given.value;
}

const add = (producer: Producer, partitions: readonly number[] = [0]) =>
  coordinator.add({
    ...producer,
    transactionalId: "t",
    topics: [{ topic: "orders", partitions }],
    clientVersion: 2,
    when: "committed",
  });
const end = (producer: Producer, outcome: "commit" | "abort" = "commit") =>
  coordinator.end({ ...producer, transactionalId: "t", outcome, clientVersion: 2 });

async function state(): Promise<string | undefined> {
  const described = await coordinator.describe("t");
  return described.ok ? described.value?.state : described.failure;
}

const answered = (place: string, result: Result<void, MarkerFailure>): void =>
  must(
    asked.findLast((each) => each.place === place),
    `${place} was asked for a marker`,
  ).settle(result);

describe("markers", () => {
  test("go to every partition when the decision is committed, with its epoch and the coordinator's", async () => {
    const producer = await began();
    await add(producer, [0, 1]);
    log.isAutoCommit = false;
    const ended = end(producer);
    await clock.settle();
    expect(asked).toEqual([]);
    log.commit();
    expect(await ended).toEqual(ok({ ...producer, producerEpoch: producer.producerEpoch + 1 }));
    expect(asked.map(({ place, marker }) => ({ place, ...marker }))).toEqual(
      ["orders-0", "orders-1"].map((place) => ({
        place,
        producerId: producer.producerId,
        producerEpoch: producer.producerEpoch + 1,
        outcome: "commit",
        coordinatorEpoch: 5,
        isEpochRaised: true,
      })),
    );
    log.isAutoCommit = true;
    log.commit();
    answered("orders-0", ok(undefined));
    await clock.settle();
    expect(await state()).toBe("PrepareCommit");
    answered("orders-1", ok(undefined));
    await clock.settle();
    expect(await state()).toBe("CompleteCommit");
  });

  test.for<MarkerFailure>(["not-ready", "loading", "not-leader", "not-enough-replicas", "timed-out", "unreachable"])(
    "are tried again where a partition is %s",
    async (failure) => {
      const producer = await began();
      await add(producer);
      await end(producer);
      for (let tries = 1; tries <= 5; tries++) {
        expect(asked).toHaveLength(tries);
        answered("orders-0", failed(failure));
        await clock.advance(1_000);
      }
      expect(await state()).toBe("PrepareCommit");
      expect(coordinator.pendingMarkers("t")).toMatchObject([{ topic: "orders", partition: 0, attempts: 5, failure }]);
      answered("orders-0", ok(undefined));
      await clock.settle();
      expect(coordinator.pendingMarkers("t")).toEqual([]);
      expect(await state()).toBe("CompleteCommit");
    },
  );

  test.for<MarkerFailure>(["gone", "stale-producer-epoch"])(
    "are done with where a partition is, or says, %s",
    async (failure) => {
      const producer = await began();
      await add(producer);
      await end(producer);
      answered("orders-0", failed(failure));
      await clock.settle();
      expect(await state()).toBe("CompleteCommit");
    },
  );

  test("that another coordinator has come before are not tried again, and complete nothing", async () => {
    const producer = await began();
    await add(producer, [0, 1]);
    await end(producer);
    answered("orders-0", failed("stale-coordinator-epoch"));
    answered("orders-1", ok(undefined));
    await clock.advance(60_000);
    expect(asked).toHaveLength(2);
    expect(await state()).toBe("PrepareCommit");
    expect(coordinator.pendingMarkers("t")).toMatchObject([{ partition: 0, failure: "stale-coordinator-epoch" }]);
    coordinator.onResigned(0);
    await clock.advance(1_000);
    expect(coordinator.pendingMarkers("t")).toEqual([]);
  });

  test("of a coordinator that has resigned are left to the next one", async () => {
    const producer = await began();
    await add(producer);
    await end(producer);
    coordinator.onResigned(0);
    answered("orders-0", failed("not-ready"));
    await clock.advance(60_000);
    expect(asked).toHaveLength(1);
    await lead();
    expect(asked).toHaveLength(2);
    answered("orders-0", ok(undefined));
    await clock.settle();
    expect(await state()).toBe("CompleteCommit");
  });
});

describe("a request while the markers are written", () => {
  test("is let in when they are", async () => {
    const producer = await began();
    await add(producer);
    const next = await end(producer);
    if (!next.ok) throw new Error(next.failure);
    const adding = add(next.value);
    await clock.advance(99);
    answered("orders-0", ok(undefined));
    expect(await adding).toEqual(ok(undefined));
    expect(await state()).toBe("Ongoing");
  });

  test("is told to come again when it has waited for long", async () => {
    const producer = await began();
    await add(producer);
    const adding = began("t").catch((error: unknown) => String(error));
    await clock.advance(101);
    expect(await adding).toBe("Error: concurrent-transactions");
  });
});

test("a used-up epoch gets a producer id that was never given", async () => {
  let producer = await began();
  while (producer.producerEpoch < 0x7ffe) producer = await began();
  const next = await began();
  expect(next).toEqual({ producerId: producer.producerId + 1, producerEpoch: 0 });
});

test("what is open in a partition and is not part of the id's transaction is aborted when its coordinator has loaded", async () => {
  const producer = await began();
  await add(producer, [0]);
  coordinator.onResigned(0);
  const inPartition = { topic: "orders", ...producer, hasSequences: true };
  open = [
    { ...inPartition, partition: 0 },
    { ...inPartition, partition: 3 },
    { ...inPartition, partition: 4, producerId: 999 },
  ];
  await lead();
  expect(asked.map(({ place, marker }) => [place, marker.outcome, marker.producerEpoch])).toEqual([
    ["orders-3", "abort", producer.producerEpoch + 1],
  ]);
  expect(await state()).toBe("Ongoing");
});

test("a list that would lack what is still loading is none", async () => {
  await began();
  const all = { states: new Set<never>(), producerIds: new Set<number>(), openForMs: null, pattern: null };
  expect(await coordinator.list(all)).toMatchObject({ ok: true, value: [{ transactionalId: "t" }] });
  log.gate = new Promise(() => {});
  coordinator.onLeader(0, log);
  expect(await coordinator.list(all)).toEqual(failed("loading"));
  expect(fatal).toEqual([]);
});
