import { chmod, mkdir, readFile, rename, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { nodeWorld } from "@millrace/base/node/node-world";
import { silentLogger } from "@millrace/base/logger";
import { startBroker } from "@millrace/broker/broker";
import { readBatches } from "./calls.ts";
import { batchOf, createTopic, running, temporaryDirectory } from "./fixture.ts";
import type { Running } from "./fixture.ts";
import { encodeRequest } from "./raw-client.ts";
import type { RawClient } from "./raw-client.ts";

/* Where Kafka answers, its code; where it closes the connection, we close, and the log names peer and reason. */

async function produceRaw(
  client: RawClient,
  records: Buffer | null,
  options: { topic?: string; partition?: number; acks?: number; version?: number } = {},
) {
  const answer = await client.request(produce, options.version ?? 9, {
    transactionalId: null,
    acks: options.acks ?? -1,
    timeoutMs: 5_000,
    topicData: [{ name: options.topic ?? "orders", partitionData: [{ index: options.partition ?? 0, records }] }],
  });
  return answer.responses[0]!.partitionResponses[0]!;
}

async function isServing(it: Running): Promise<boolean> {
  await using client = await it.client();
  const answer = await client.request(apiVersions, 3, { clientSoftwareName: "test", clientSoftwareVersion: "1" });
  return answer.errorCode === ErrorCode.NONE;
}

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

test("what cannot be a request closes the connection, and the log says why", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  const unreadable = encodeRequest(metadata, 12, 1, { topics: [{ name: "orders" }] }).subarray(0, -3);
  unreadable.writeInt32BE(unreadable.length - 4);
  const unknownApi = Buffer.concat([int32(10), Buffer.from([0x01, 0xf4, 0, 0, 0, 0, 0, 1, 0xff, 0xff])]);
  const unsupported = encodeRequest(metadata, 12, 1, { topics: null });
  unsupported.writeInt16BE(99, 6);
  for (const [bytes, reason] of [
    [unreadable, /unreadable Metadata version 12/],
    [unknownApi, /API key 500 version 0, which this listener does not serve/],
    [unsupported, /Metadata version 99 is not served \(0 to 13 are\)/],
    [int32(200_000_000), /claims 200000000 bytes; socket.request.max.bytes is 104857600/],
    [int32(-5), /claims -5 bytes/],
  ] as const) {
    await using client = await it.client();
    client.write(bytes);
    await client.closed;
    expect(it.log.reasons.at(-1)).toMatch(reason);
    const closed = it.log.lines.findLast(({ message }) => message === "connection closed");
    expect(closed).toMatchObject({ level: "warn", fields: { peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) } });
  }
  expect(await isServing(it)).toBe(true);
});

test("ApiVersions at an unknown version is answered with version 0 and its own range", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  const request = encodeRequest(apiVersions, 3, 7, { clientSoftwareName: "x", clientSoftwareVersion: "1" });
  request.writeInt16BE(99, 6);
  const frame = await client.exchange(request);
  expect(frame.readInt32BE(0)).toBe(7);
  expect(frame.readInt16BE(4)).toBe(ErrorCode.UNSUPPORTED_VERSION);
  expect(frame.readInt32BE(6)).toBe(1);
  expect([frame.readInt16BE(10), frame.readInt16BE(12), frame.readInt16BE(14)]).toEqual([18, 0, 4]);
  const named = await client.request(apiVersions, 3, { clientSoftwareName: "", clientSoftwareVersion: "" });
  expect(named.errorCode).toBe(ErrorCode.INVALID_REQUEST);
});

test("a produce request that cannot be stored gets its own code, and the others are stored", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  const good = batchOf(["kept"]);
  const flipped = Buffer.from(good);
  flipped[flipped.length - 1]! ^= 1;
  const legacy = Buffer.from(good);
  legacy[16] = 1;
  const lying = batchOf(["a", "b"]);
  lying.writeInt32BE(1000, 57);
  const withCrc = (bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes);
    copy.writeUInt32BE(crc32cOf(copy), 17);
    return copy;
  };
  const badCompression = batchOf(["a".repeat(100)]);
  badCompression.writeInt16BE(3, 21);
  const unknownCodec = batchOf(["a"]);
  unknownCodec.writeInt16BE(7, 21);
  for (const [what, records, code, message] of [
    ["wrong CRC", flipped, ErrorCode.CORRUPT_MESSAGE, /checksum/],
    ["legacy format", legacy, ErrorCode.INVALID_RECORD, /legacy/],
    ["a count that lies", withCrc(lying), ErrorCode.INVALID_RECORD, /1000 records cannot lie in 16 bytes/],
    ["unreadable lz4", withCrc(badCompression), ErrorCode.CORRUPT_MESSAGE, /LZ4/],
    ["an unknown codec", withCrc(unknownCodec), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, /compression 7/],
    ["nothing", null, ErrorCode.INVALID_RECORD, /no records/],
    ["no batch", Buffer.alloc(0), ErrorCode.INVALID_RECORD, /empty/],
    ["an unknown format", Buffer.from(good).fill(3, 16, 17), ErrorCode.CORRUPT_MESSAGE, /no format 3/],
    ["a length that lies", Buffer.from(good).fill(0, 8, 12), ErrorCode.CORRUPT_MESSAGE, /length is 0/],
    ["a batch and the half of one", Buffer.concat([good, good.subarray(0, 30)]), ErrorCode.INVALID_RECORD, /30 bytes/],
    ["half a batch", good.subarray(0, good.length - 5), ErrorCode.INVALID_RECORD, /truncated/],
    ["two batches", Buffer.concat([good, good]), ErrorCode.INVALID_RECORD, /one batch a request/],
    [
      "more than max.message.bytes",
      batchOf(["x".repeat(1_100_000)]),
      ErrorCode.MESSAGE_TOO_LARGE,
      /max.message.bytes is 1048588/,
    ],
  ] as const) {
    const answer = await produceRaw(client, records === null ? null : Buffer.from(records));
    expect([what, answer.errorCode, answer.baseOffset]).toEqual([what, code, -1]);
    expect(answer.errorMessage).toMatch(message);
  }
  expect(await produceRaw(client, good, { topic: "nowhere" })).toMatchObject({
    errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  });
  expect(await produceRaw(client, good, { partition: 5 })).toMatchObject({
    errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  });
  expect(await produceRaw(client, good, { acks: 7 })).toMatchObject({ errorCode: ErrorCode.INVALID_REQUIRED_ACKS });
  expect(await produceRaw(client, good)).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 0 });
  const kept = await readBatches(client, { topic: "orders", partition: 0 }, 0);
  expect(kept.map((batch) => batch.wholeBytes.subarray(16))).toEqual([good.subarray(16)]);
});

test("acks=0 has no answer in which to name a failure: the connection closes and the log names it", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  const records = batchOf(["x"]);
  records[records.length - 1]! ^= 1;
  const topicData = [{ name: "orders", partitionData: [{ index: 0, records }] }];
  client.write(encodeRequest(produce, 9, 2, { transactionalId: null, acks: 0, timeoutMs: 1000, topicData }));
  await client.closed;
  expect(it.log.reasons.at(-1)).toMatch(
    /^Produce.*: acks=0 and orders-0 failed: CORRUPT_MESSAGE: the batch has a wrong checksum$/,
  );
});

test("bad topics and settings are refused by name", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  const create = async (name: string, configs: Record<string, string> = {}) => {
    const answer = await client.request(createTopics, 7, {
      topics: [
        {
          name,
          numPartitions: 1,
          replicationFactor: 1,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        },
      ],
      timeoutMs: 1000,
      validateOnly: false,
    });
    return answer.topics[0]!;
  };
  expect(await create("no spaces")).toMatchObject({
    errorCode: ErrorCode.INVALID_TOPIC_EXCEPTION,
    errorMessage: expect.stringContaining("no spaces"),
  });
  expect(await create("fine", { "retention.ms": "soon" })).toMatchObject({
    errorCode: ErrorCode.INVALID_CONFIG,
    errorMessage: expect.stringContaining("retention.ms"),
  });
  expect(await create("fine", { "no.such.key": "1" })).toMatchObject({
    errorCode: ErrorCode.INVALID_CONFIG,
    errorMessage: "Unknown topic config name: no.such.key",
  });
});

test("a fetch out of range names the range's end, and an unknown partition is said", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  await using client = await it.client();
  await createTopic(client, "orders");
  const read = async (topic: string, partition: number, fetchOffset: number) => {
    const answer = await client.request(fetch, 12, {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1_000_000,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: 1_000_000 }] }],
      forgottenTopicsData: [],
    });
    return answer.responses[0]!.partitions[0]!;
  };
  expect(await read("orders", 0, 1)).toMatchObject({ errorCode: ErrorCode.OFFSET_OUT_OF_RANGE, highWatermark: -1 });
  expect(await read("orders", 0, -1)).toMatchObject({ errorCode: ErrorCode.OFFSET_OUT_OF_RANGE });
  expect(await read("orders", 9, 0)).toMatchObject({ errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
  expect(await read("nowhere", 0, 0)).toMatchObject({ errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
});

test("a port in use, a locked directory and another cluster's directory stop the start by name", async () => {
  await using directory = await temporaryDirectory();
  await using other = await temporaryDirectory();
  await using it = await running(directory.path);
  const starting = async (config: Record<string, string>) =>
    startBroker({ config, world: nodeWorld(), logger: silentLogger }).then(async (broker) => {
      await broker.stop();
      return "started";
    });
  const { port } = it.broker.address;
  await expect(starting({ listeners: `PLAINTEXT://127.0.0.1:${port}`, "log.dirs": other.path })).rejects.toThrow(
    new RegExp(`127\\.0\\.0\\.1.*${port}|${port}.*127\\.0\\.0\\.1`),
  );
  await expect(starting({ listeners: "PLAINTEXT://127.0.0.1:0", "log.dirs": directory.path })).rejects.toThrow(
    directory.path,
  );
  const foreign = join(other.path, "foreign");
  expect(await starting({ listeners: "PLAINTEXT://127.0.0.1:0", "log.dirs": foreign, "node.id": "77" })).toBe(
    "started",
  );
  await expect(starting({ listeners: "PLAINTEXT://127.0.0.1:0", "log.dirs": foreign, "node.id": "1" })).rejects.toThrow(
    /77/,
  );
  const kafkas = join(other.path, "kafkas");
  await mkdir(kafkas);
  await writeFile(
    join(kafkas, "meta.properties"),
    "version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAg\n",
  );
  await expect(starting({ listeners: "PLAINTEXT://127.0.0.1:0", "log.dirs": kafkas })).rejects.toThrow(
    /kafkas.*another broker's/,
  );
  expect(await isServing(it)).toBe(true);
});

test("a newer format is refused by its version", async () => {
  await using directory = await temporaryDirectory();
  await (await running(directory.path)).broker.stop();
  await writeFile(join(directory.path, "millrace.format"), "format.version=999\n");
  await expect(running(directory.path)).rejects.toThrow(/999/);
});

test("a partition with a file that cannot be read is offline, by the file's name; the others are served", async () => {
  await using directory = await temporaryDirectory();
  {
    await using it = await running(directory.path);
    await using client = await it.client();
    for (const topic of ["orders", "other"]) {
      await createTopic(client, topic);
      await produceRaw(client, batchOf(["kept"]), { topic });
    }
  }
  // A directory in the place of a file: nobody can read that, also not a user who may do everything.
  const log = join(directory.path, "orders-0", "00000000000000000000.log");
  await rename(log, `${directory.path}/aside`);
  await mkdir(log);
  {
    await using it = await running(directory.path);
    await using client = await it.client();
    expect(await produceRaw(client, batchOf(["x"]))).toMatchObject({
      errorCode: ErrorCode.KAFKA_STORAGE_ERROR,
      errorMessage: expect.stringContaining("orders-0/00000000000000000000.log"),
    });
    expect(it.log.lines.find(({ message }) => message === "a partition is offline")?.fields).toMatchObject({
      topic: "orders",
      partition: 0,
      message: expect.stringContaining("orders-0/00000000000000000000.log"),
    });
    expect(await produceRaw(client, batchOf(["x"]), { topic: "other" })).toMatchObject({ baseOffset: 1 });
  }
  await rmdir(log);
  await rename(`${directory.path}/aside`, log);
  await using it = await running(directory.path);
  await using client = await it.client();
  expect(await produceRaw(client, batchOf(["x"]))).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: 1 });
});

test("a file of the data directory without which nothing can be read stops the start by its name", async () => {
  await using directory = await temporaryDirectory();
  await (await running(directory.path)).broker.stop();
  for (const name of ["meta.properties", "millrace.format"]) {
    const path = join(directory.path, name);
    const sound = await readFile(path);
    await writeFile(path, "?");
    await expect(running(directory.path)).rejects.toThrow(`${directory.path}: ${name}`);
    expect((await readFile(path)).toString()).toBe("?");
    await writeFile(path, sound);
  }
  await using it = await running(directory.path);
  expect(await isServing(it)).toBe(true);
});

test.skipIf(process.getuid?.() === 0)("a file that this user may not read is named", async () => {
  await using directory = await temporaryDirectory();
  const first = await running(directory.path);
  {
    await using client = await first.client();
    await createTopic(client, "orders");
    await produceRaw(client, batchOf(["x"]));
  }
  await first.broker.stop();
  await chmod(join(directory.path, "orders-0", "00000000000000000000.log"), 0);
  await using it = await running(directory.path);
  await using client = await it.client();
  expect(await produceRaw(client, batchOf(["x"]))).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR });
  expect(JSON.stringify(it.log.lines)).toContain("orders-0/00000000000000000000.log");
});

function crc32cOf(batch: Buffer): number {
  let crc = ~0;
  for (let at = 21; at < batch.length; at++) {
    crc ^= batch[at]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
