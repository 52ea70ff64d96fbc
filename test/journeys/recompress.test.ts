import { expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { CompressionCodec } from "kafka-protocol-ts/records/compression";
import type { CompressionName } from "kafka-protocol-ts/records/compression";
import { readRecords } from "kafka-protocol-ts/records/record";
import { createTopic, produceTo, readBatches } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { served } from "./served.ts";

/* A topic's `compression.type`: batches are kept in that codec, whatever their producers sent. See served.ts. */

const names = Object.keys(CompressionCodec) as readonly CompressionName[];
const orders = { topic: "orders", partition: 0 };
/** Those that come packed, and the larger ones, are packed off the loop; the others on it. */
const sizes = [40, 4_000];

const batchIn = (compression: CompressionName, sizeBytes: number): Buffer =>
  batchOf(
    Array.from({ length: 10 }, (_, index) => `${index} `.repeat(sizeBytes / 2)),
    { compression },
  );

async function alter(client: RawClient, resourceType: number, resourceName: string, value: string | null) {
  const configs = [{ name: "compression.type", configOperation: value === null ? 1 : 0, value }];
  const answer = await client.request(incrementalAlterConfigs, 1, {
    resources: [{ resourceType, resourceName, configs }],
    validateOnly: false,
  });
  expect(answer.responses).toMatchObject([{ errorCode: 0 }]);
}

async function codecsOf(client: RawClient): Promise<number[]> {
  return (await readBatches(client, orders, 0)).map(({ codec }) => codec);
}

test.for(["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])(
  "under compression.type=%s every codec is taken, and the records stay what they were",
  async (type) => {
    await using it = await served();
    await using client = await it.client();
    await createTopic(client, "orders", 1, { "compression.type": type });
    const sent = sizes.flatMap((sizeBytes) => names.map((name) => ({ name, batch: batchIn(name, sizeBytes) })));
    for (const [index, { batch }] of sent.entries()) {
      expect(await produceTo(client, Buffer.from(batch))).toMatchObject({ errorCode: 0, baseOffset: index * 10 });
    }
    const batches = await readBatches(client, orders, 0);
    expect(batches).toHaveLength(sent.length);
    for (const [index, batch] of batches.entries()) {
      const { name } = sent[index]!;
      const kept = type === "producer" ? name : type === "uncompressed" ? "none" : (type as CompressionName);
      expect(batch.codec).toBe(CompressionCodec[kept]);
      expect(batch.isCrcValid()).toBe(true);
      const values = readRecords(batch).map(({ offset, timestamp, value }) => ({ offset, timestamp, value }));
      expect(values).toEqual(
        Array.from({ length: 10 }, (_, at) => ({
          offset: index * 10 + at,
          timestamp: 1_700_000_000_000,
          value: Buffer.from(`${at} `.repeat(sizes[index < names.length ? 0 : 1]! / 2)),
        })),
      );
    }
  },
);

test("it changes while the broker runs, for a topic and for all", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders");
  /** Apache Kafka applies a change some time after it has answered. */
  const keptIn = async (): Promise<number | undefined> => {
    await produceTo(client, batchIn("gzip", 40));
    return (await codecsOf(client)).at(-1);
  };
  const { gzip, lz4, zstd, none } = CompressionCodec;
  expect(await keptIn()).toBe(gzip);
  await alter(client, 4, "", "lz4");
  await expect.poll(keptIn, { timeout: 10_000 }).toBe(lz4);
  await alter(client, 2, "orders", "zstd");
  await expect.poll(keptIn, { timeout: 10_000 }).toBe(zstd);
  await alter(client, 2, "orders", "uncompressed");
  await expect.poll(keptIn, { timeout: 10_000 }).toBe(none);
  await alter(client, 2, "orders", null);
  await expect.poll(keptIn, { timeout: 10_000 }).toBe(lz4);
  await alter(client, 4, "", null);
  await expect.poll(keptIn, { timeout: 10_000 }).toBe(gzip);
});

test("a batch that is too large in the topic's codec is refused; a retry of one that was taken is known", async () => {
  await using it = await served();
  await using client = await it.client();
  await createTopic(client, "orders", 1, { "compression.type": "uncompressed", "max.message.bytes": "1000" });
  const large = batchOf(["a".repeat(2_000)], { compression: "gzip" });
  expect(large.length).toBeLessThan(1_000);
  expect(await produceTo(client, large)).toMatchObject({ errorCode: ErrorCode.MESSAGE_TOO_LARGE });
  const producer = { producerId: 4_711, producerEpoch: 0, baseSequence: 0 };
  const small = (): Buffer => batchOf(["a".repeat(200)], { compression: "gzip", ...producer });
  expect(await produceTo(client, small())).toMatchObject({ errorCode: 0, baseOffset: 0 });
  expect(await produceTo(client, small())).toMatchObject({ errorCode: 0, baseOffset: 0 });
  expect(await codecsOf(client)).toEqual([CompressionCodec.none]);
});

test("a level changes what a batch takes", async () => {
  await using it = await served();
  await using client = await it.client();
  // Words that come back, but never in the same order.
  const text = Array.from({ length: 5_000 }, (_, index) => names[((index * index * 7_919) % 10_007) % 5]).join(" ");
  for (const [type, least, most] of [
    ["gzip", "1", "9"],
    ["zstd", "-50", "19"],
  ] as const) {
    const bytes: number[] = [];
    for (const level of [least, most]) {
      const topic = `${type}${level}`;
      await createTopic(client, topic, 1, { "compression.type": type, [`compression.${type}.level`]: level });
      await produceTo(client, batchOf([text]), { topic });
      bytes.push((await readBatches(client, { topic, partition: 0 }, 0))[0]!.sizeBytes);
    }
    expect(bytes[1]).toBeLessThan(bytes[0]!);
  }
});
