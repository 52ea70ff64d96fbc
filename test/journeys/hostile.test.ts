import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { MiB } from "@millrace/base/units";
import { brokerHandlers } from "@millrace/broker/apis/registry";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { createTopic, describeTopics, fetchFrom, offsetAt, produceTo } from "./calls.ts";
import { batchOf, running, temporaryDirectory } from "./fixture.ts";
import { encodeRequest, RawClient } from "./raw-client.ts";
import { seedOf } from "./seed.ts";
import { simulated } from "./simulated.ts";

async function residentBytes(): Promise<number> {
  const [, pages] = (await readFile("/proc/self/statm", "utf8")).split(" ");
  return Number(pages) * 4096;
}

test("200 connections that each claim a 100 MB frame and send nothing cost next to nothing and slow nobody", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  const before = await residentBytes();
  const claim = Buffer.alloc(4);
  claim.writeInt32BE(100 * 1024 * 1024);
  const idle = await Promise.all(Array.from({ length: 200 }, async () => RawClient.connect(it.broker.address)));
  for (const each of idle) each.write(claim);
  for (let index = 0; index < 50; index++) {
    const answer = await client.request(produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 5_000,
      topicData: [{ name: "orders", partitionData: [{ index: 0, records: batchOf(["x"]) }] }],
    });
    expect(answer.responses[0]?.partitionResponses[0]?.errorCode).toBe(0);
  }
  expect((await residentBytes()) - before).toBeLessThan(64 * 1024 * 1024);
  for (const each of idle) await each[Symbol.asyncDispose]();
});

test("halves of large frames cannot fill the memory for everybody: the limit holds and others are served", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path, {
    "queued.max.request.bytes": String(4 * 1024 * 1024),
    "millrace.request.stall.ms": "300",
  });
  const head = Buffer.alloc(4);
  head.writeInt32BE(3 * 1024 * 1024);
  const halves = await Promise.all(Array.from({ length: 8 }, async () => RawClient.connect(it.broker.address)));
  for (const each of halves) each.write(Buffer.concat([head, Buffer.alloc(2 * 1024 * 1024)]));
  await using client = await it.client();
  const answer = await client.request(apiVersions, 3, { clientSoftwareName: "test", clientSoftwareVersion: "1" });
  expect(answer.errorCode).toBe(0);
  // The one that may read past the limit stalls, and gives its place up.
  await Promise.any(halves.map(async (each) => each.closed));
  expect(it.log.reasons.some((reason) => /half-sent frame/.test(reason))).toBe(true);
  for (const each of halves) await each[Symbol.asyncDispose]();
});

test("a client that never reads its answers costs a bounded number of bytes, and keeps nobody waiting", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path, { "millrace.connection.unsent.bytes.max": String(4 * MiB) });
  await using client = await it.client();
  await createTopic(client, "orders", 1);
  const large = batchOf(["x".repeat(1_000_000)]);
  for (let count = 0; count < 4; count++) await produceTo(client, large);
  // Many topics, for answers that are made in memory.
  for (let count = 0; count < 20; count++) await createTopic(client, `topic-${"x".repeat(200)}-${count}`, 20);
  const fetches = 40;
  const questions = 1_500;
  await using deaf = await it.client();
  await using mute = await it.client();
  for (const each of [deaf, mute]) each.pause();
  const before = await residentBytes();
  const records = Array.from({ length: fetches }, async () => fetchFrom(deaf, { offset: 0, maxBytes: 4_000_000 }));
  const topics = Array.from({ length: questions }, async () => describeTopics(mute, null));
  for (let count = 0; count < 50; count++) {
    expect(await produceTo(client, batchOf(["meanwhile"]))).toMatchObject({ errorCode: 0 });
  }
  expect(deaf.unanswered).toBe(fetches);
  expect((await residentBytes()) - before).toBeLessThan(64 * MiB);
  // What they asked for is there when they do read, in order and whole.
  deaf.resume();
  for (const answer of records) {
    const batches = [...batchesIn((await answer).records!)].filter(({ sizeBytes }) => sizeBytes === large.length);
    expect(batches.map(({ baseOffset }) => baseOffset)).toEqual([0, 1, 2]);
    expect(batches.every((batch) => batch.isCrcValid())).toBe(true);
  }
  mute.resume();
  for (const answer of topics) expect(await answer).toHaveLength(21);
  expect(mute.answered).toEqual(Array.from({ length: questions }, (_, index) => index + 1));
});

test("a slow reader of a topic that is deleted gets its records whole, or no more of them", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path, { "log.segment.delete.delay.ms": "0" });
  await using client = await it.client();
  const topicId = await createTopic(client, "orders");
  const large = batchOf(["x".repeat(1_000_000)]);
  for (let count = 0; count < 20; count++) await produceTo(client, large);
  await using slow = await it.client();
  slow.pause();
  const reading = fetchFrom(slow, { offset: 0, maxBytes: 50_000_000 }).catch(() => null);
  await describeTopics(client, null);
  const deleted = await client.request(deleteTopics, 6, { topics: [{ name: null, topicId }], timeoutMs: 10_000 });
  expect(deleted.responses[0]?.errorCode).toBe(0);
  await createTopic(client, "orders");
  for (let count = 0; count < 20; count++) await produceTo(client, batchOf(["y".repeat(1_000_000)]));
  slow.resume();
  const read = await reading;
  for (const batch of batchesIn(read?.records ?? Buffer.alloc(0))) {
    expect(batch.wholeBytes.subarray(16).equals(large.subarray(16))).toBe(true);
  }
});

test("5,000 requests in one go are answered in order, and others are answered meanwhile", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders", 4);
  await using eager = await it.client();
  const requests = 5_000;
  const answers = Array.from({ length: requests }, async (_, index) =>
    index % 10 === 0
      ? produceTo(eager, batchOf([`${index}`]), { partition: index % 4 })
      : offsetAt(eager, { topic: "orders", partition: index % 4 }, -1),
  );
  let rounds = 0;
  while (eager.unanswered > 0) {
    await describeTopics(client, ["orders"]);
    rounds++;
  }
  // It was served again and again while the other had thousands of requests waiting.
  expect(rounds).toBeGreaterThan(10);
  for (const answer of await Promise.all(answers)) expect(answer.errorCode).toBe(0);
  expect(eager.answered).toEqual(Array.from({ length: requests }, (_, index) => index + 1));
});

test("producers that wait for no answer are held up by a disk that stalls", async () => {
  const limitBytes = 4 * MiB;
  await using it = await simulated({
    config: {
      "queued.max.request.bytes": String(limitBytes),
      "millrace.connection.in.flight.bytes.max": String(MiB),
      "millrace.unsynced.bytes.max": String(2 * MiB),
    },
  });
  await using client = await it.client();
  await createTopic(client, "orders", 4);
  const topicData = (index: number) => [
    { name: "orders", partitionData: [{ index: index % 4, records: batchOf(["x".repeat(200_000)]) }] },
  ];
  const release = it.disk.faults.holdSyncs();
  const requests = 300;
  for (const acks of [0, 1]) {
    await using flood = await it.client();
    // The answer to acks=1 comes at once and says that the time is over: the batch is in the queue all the same.
    for (let index = 0; index < requests; index++) {
      flood.write(encodeRequest(produce, 9, index, { acks, timeoutMs: 0, topicData: topicData(index) }));
    }
    await it.clock.advance(10_000);
    expect(flood.unsentBytes).toBeGreaterThan(requests * 200_000 - 3 * limitBytes);
    expect((await describeTopics(client, ["orders"]))[0]?.errorCode).toBe(0);
  }
  release();
  await it.clock.advance(1_000);
  expect(await produceTo(client, batchOf(["after"]))).toMatchObject({ errorCode: 0 });
});

test("what is sent behind a request that waits is read up to a limit", async () => {
  const limitBytes = 2 * MiB;
  await using it = await simulated({ config: { "millrace.connection.in.flight.bytes.max": String(limitBytes) } });
  await using client = await it.client();
  await createTopic(client, "orders");
  await using waiting = await it.client();
  const parked = fetchFrom(waiting, { offset: 0, minBytes: 1, maxWaitMs: 60_000 });
  const frames = 100;
  const answers = Array.from({ length: frames }, async () => produceTo(waiting, batchOf(["x".repeat(200_000)])));
  await it.settle();
  expect(waiting.unsentBytes).toBeGreaterThan(frames * 200_000 - 2 * limitBytes);
  await produceTo(client, batchOf(["news"]));
  expect((await parked).errorCode).toBe(0);
  for (const answer of answers) expect((await answer).errorCode).toBe(0);
});

test("clients that come and go in the middle of everything leave nothing behind", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  await produceTo(client, batchOf(["x".repeat(500_000)]));
  const descriptors = async (): Promise<number> => (await readdir("/proc/self/fd")).length;
  const before = await descriptors();
  const half = encodeRequest(produce, 9, 1, { acks: 1, timeoutMs: 1_000, topicData: [] }).subarray(0, 20);
  for (let round = 0; round < 300; round++) {
    const passing = await it.client();
    if (round % 3 === 0) passing.write(half);
    else if (round % 3 === 1) void fetchFrom(passing, { offset: 0 }).catch(() => {});
    else void fetchFrom(passing, { offset: 1, minBytes: 1, maxWaitMs: 500 }).catch(() => {});
    if (round % 2 === 0) await describeTopics(client, ["orders"]);
    await passing[Symbol.asyncDispose]();
  }
  await expect.poll(descriptors, { timeout: 10_000 }).toBeLessThan(before + 5);
  expect((await describeTopics(client, ["orders"]))[0]?.errorCode).toBe(0);
});

test("a client that has ended its side and waits for news is not waited for", async () => {
  await using it = await simulated();
  await using client = await it.client();
  await createTopic(client, "orders");
  const gone = await it.client();
  const parked = fetchFrom(gone, { offset: 0, minBytes: 1, maxWaitMs: 2 ** 31 - 1 }).catch(() => {});
  await it.settle();
  gone.end();
  await it.clock.advance(10_000);
  await gone.closed;
  await parked;
  expect(it.log.reasons).toEqual(["the peer has ended its side"]);
});

test("a frame may come byte by byte, and a client may end its side before the answer", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  await using slow = await it.client();
  const frame = encodeRequest(produce, 9, 5, {
    acks: 1,
    timeoutMs: 5_000,
    topicData: [{ name: "orders", partitionData: [{ index: 0, records: batchOf(["drip"]) }] }],
  });
  const answer = slow.exchange(frame.subarray(0, 1));
  for (const byte of frame.subarray(1)) {
    slow.write(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect((await answer).readInt32BE(0)).toBe(5);
  const leaving = connect({ ...it.broker.address, allowHalfOpen: true });
  leaving.end(encodeRequest(apiVersions, 0, 6, {}));
  const answered = Buffer.concat(await leaving.toArray());
  expect([answered.readInt32BE(0), answered.readInt32BE(4)]).toEqual([answered.length - 4, 6]);
});

test("random and mutated requests never bring the broker down", async () => {
  const seed = seedOf("hostile requests");
  const prng = new Prng(seed);
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  {
    await using client = await it.client();
    await createTopic(client, "orders");
  }
  const seedFrame = encodeRequest(produce, 9, 1, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 1_000,
    topicData: [{ name: "orders", partitionData: [{ index: 0, records: batchOf(["a", "b", "c"]) }] }],
  });
  for (let round = 0; round < 400; round++) {
    await using client = await it.client();
    const frames: Buffer[] = [];
    for (let count = 0; count < 5; count++) frames.push(mutated(prng, seedFrame));
    client.write(Buffer.concat(frames));
    // The broker answers or closes; what matters is that it serves the next one.
    const probe = client.exchange(encodeRequest(apiVersions, 0, 99, {}));
    await Promise.race([probe.catch(() => {}), client.closed]);
  }
  expect(it.log.lines.filter(({ message }) => message.startsWith("a request failed"))).toEqual([]);
  await using client = await it.client();
  expect(
    (await client.request(apiVersions, 3, { clientSoftwareName: "t", clientSoftwareVersion: "1" })).errorCode,
  ).toBe(0);
});

function mutated(prng: Prng, seedFrame: Buffer): Buffer {
  if (prng.between(0, 2 - 1) === 0) {
    const frame = Buffer.from(seedFrame);
    for (let count = 1 + prng.between(0, 4 - 1); count > 0; count--)
      frame[4 + prng.between(0, frame.length - 4 - 1)] = prng.between(0, 256 - 1);
    return frame;
  }
  const { api, versions } = brokerHandlers[prng.between(0, brokerHandlers.length - 1)]!;
  const body = Buffer.from(Array.from({ length: prng.between(0, 60 - 1) }, () => prng.between(0, 256 - 1)));
  const head = Buffer.alloc(14);
  head.writeInt32BE(10 + body.length, 0);
  head.writeInt16BE(api.key, 4);
  head.writeInt16BE(versions[0] + prng.between(0, versions[1] - versions[0] + 1 - 1), 6);
  head.writeInt32BE(7, 8);
  head.writeInt16BE(-1, 12);
  return Buffer.concat([head, body]);
}
