import { describe, expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { createTopic, fetchFrom, offsetAt, produceTo } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import { dataDirectory, simulated } from "./simulated.ts";
import type { SimulatedBroker } from "./simulated.ts";

/*
 * The wall clock steps, as when somebody sets it or a machine wakes up. It stamps records and decides what retention keeps;
 * no duration is measured by it. That no session ends is shown in groups.test.ts.
 */

const hours = 3_600_000;
const days = 24 * hours;

const steps: readonly [name: string, stepMs: number][] = [
  ["five hours back", -5 * hours],
  ["three days forward", 3 * days],
];

/** A batch of one record that its producer stamped with this time. */
function stamped(timestamp: number, options: Parameters<typeof batchOf>[1] = {}): Buffer {
  return batchOf([], { ...options, records: [{ key: null, value: Buffer.from("x"), timestamp }] });
}

/** Whether a promise has settled, for a test that moves the clock. */
function watch(work: Promise<unknown>): { isOver: boolean } {
  const seen = { isOver: false };
  void work.then(() => (seen.isOver = true));
  return seen;
}

async function filesOf({ platter }: SimulatedBroker, directory: string): Promise<string[]> {
  return (await platter.list(`${dataDirectory}/${directory}`)).map(({ name }) => name);
}

describe.for(steps)("a step of the wall clock by %s", ([, stepMs]) => {
  test("neither ends nor prolongs the wait of a fetch, or of a produce for its sync", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await using reader = await it.client();
    await createTopic(client, "orders");
    await produceTo(client, batchOf(["first"]));
    const release = it.disk.faults.holdSyncs();
    const fetching = fetchFrom(reader, { offset: 1, minBytes: 1, maxWaitMs: 10_000 });
    const producing = produceTo(client, batchOf(["second"]), { timeoutMs: 4_000 });
    const [fetched, produced] = [watch(fetching), watch(producing)];
    await it.clock.advance(1_000);
    it.clock.stepWallClock(stepMs);
    await it.clock.advance(2_900);
    expect([fetched.isOver, produced.isOver]).toEqual([false, false]);
    await it.clock.advance(200);
    expect([fetched.isOver, produced.isOver]).toEqual([false, true]);
    expect(await producing).toMatchObject({ errorCode: ErrorCode.REQUEST_TIMED_OUT });
    await it.clock.advance(5_800);
    expect(fetched.isOver).toBe(false);
    await it.clock.advance(200);
    expect(fetched.isOver).toBe(true);
    expect(await fetching).toMatchObject({ errorCode: ErrorCode.NONE, highWatermark: 1 });
    release();
    await it.settle();
  });

  test("leaves the files of a deleted topic for file.delete.delay.ms, and no longer", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders");
    await produceTo(client, batchOf(["first"]));
    await client.request(deleteTopics, 5, { topicNames: ["orders"], timeoutMs: 10_000 });
    await it.settle();
    const doomed = async (): Promise<boolean> => (await filesOf(it, ".")).some((name) => name.endsWith("-delete"));
    it.clock.stepWallClock(stepMs);
    await it.clock.advance(59_000);
    expect(await doomed()).toBe(true);
    await it.clock.advance(2_000);
    expect(await doomed()).toBe(false);
  });

  test("moves no background sync under durability os", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "millrace.durability": "os" });
    await produceTo(client, batchOf(["first"]));
    const position = it.disk.position;
    const hasSynced = (): boolean => it.disk.events.slice(position).some(({ kind }) => kind === "sync");
    it.clock.stepWallClock(stepMs);
    await it.clock.advance(900);
    expect(hasSynced()).toBe(false);
    await it.clock.advance(100);
    expect(hasSynced()).toBe(true);
  });

  test("closes no segment of records with their producers' times, and takes nothing that retention keeps", async () => {
    await using it = await simulated({ config: { "log.retention.check.interval.ms": "1000" } });
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "segment.ms": `${hours}`, "message.timestamp.after.max.ms": `${days}` });
    const startMs = it.clock.now();
    await produceTo(client, stamped(startMs));
    it.clock.stepWallClock(stepMs);
    await it.clock.advance(60_000);
    await produceTo(client, stamped(startMs + 60_000));
    await it.clock.advance(60_000);
    const segments = (await filesOf(it, "orders-0")).filter((name) => name.endsWith(".log"));
    expect(segments).toEqual(["00000000000000000000.log"]);
    expect((await offsetAt(client, { topic: "orders", partition: 0 }, -2)).offset).toBe(0);
  });

  test("lets no producer be forgotten: what it sends again is known", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "message.timestamp.after.max.ms": `${days}` });
    const batch = (sequence: number): Buffer =>
      stamped(it.clock.now(), { producerId: 7, producerEpoch: 0, baseSequence: sequence });
    const last = batch(1);
    await produceTo(client, batch(0));
    expect(await produceTo(client, last)).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
    it.clock.stepWallClock(stepMs);
    // Checkpoints, at which producers are forgotten.
    await it.clock.advance(180_000);
    expect(await produceTo(client, last)).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
    expect(await offsetAt(client, { topic: "orders", partition: 0 }, -1)).toMatchObject({ offset: 2 });
  });
});

describe("as in Kafka, the wall clock decides", () => {
  test("which records are too old: a step over retention.ms takes them, those in the active segment too", async () => {
    await using it = await simulated({ config: { "log.retention.check.interval.ms": "1000" } });
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "retention.ms": `${2 * days}`, "file.delete.delay.ms": "1000" });
    await produceTo(client, stamped(it.clock.now()));
    it.clock.stepWallClock(days);
    await it.clock.advance(5_000);
    expect((await offsetAt(client, { topic: "orders", partition: 0 }, -2)).offset).toBe(0);
    // Back in time: nothing is too old, and what came with a later time stays for so much longer.
    it.clock.stepWallClock(-30 * days);
    await it.clock.advance(5_000);
    expect((await offsetAt(client, { topic: "orders", partition: 0 }, -2)).offset).toBe(0);
    it.clock.stepWallClock(32 * days);
    await it.clock.advance(5_000);
    expect((await offsetAt(client, { topic: "orders", partition: 0 }, -2)).offset).toBe(1);
    // The log goes on where it was.
    expect(await produceTo(client, stamped(it.clock.now()))).toMatchObject({ errorCode: 0, baseOffset: 1 });
  });

  test("which times of records are taken: a clock that went back by hours refuses those of right clocks, by name", async () => {
    await using it = await simulated();
    await using client = await it.client();
    await createTopic(client, "orders");
    const rightMs = it.clock.now();
    it.clock.stepWallClock(-5 * hours);
    expect(await produceTo(client, stamped(rightMs))).toMatchObject({ errorCode: ErrorCode.INVALID_TIMESTAMP });
    it.clock.stepWallClock(5 * hours);
    expect(await produceTo(client, stamped(rightMs))).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 0 });
  });
});
