import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { brokerHandlers } from "@millrace/broker/apis/registry";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { batchOf, createTopic, running, temporaryDirectory } from "./fixture.ts";
import { encodeRequest, RawClient } from "./raw-client.ts";

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

test("random and mutated requests never bring the broker down", async () => {
  const seed = Number(process.env["MILLRACE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`hostile requests: seed ${seed} (MILLRACE_SEED=${seed} npx vitest run --project journeys hostile)`);
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
