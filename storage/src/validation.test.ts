import type { TimeMs } from "@millrace/base/units";
import type { Workers } from "@millrace/base/world";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { CompressionCodec } from "kafka-protocol-ts/records/compression";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { describe, expect, test } from "vitest";
import { analyzeBatches, analyzeReplicated } from "./validation.ts";
import type { ValidationRules } from "./validation.ts";

const now = Date.UTC(2026, 0, 1) as TimeMs;
const hour = 3_600_000;
const rules: ValidationRules = {
  nowMs: now,
  sizeBytesMax: 1000,
  isKeyRequired: false,
  timestampType: "CreateTime",
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: hour,
  produceVersion: 11,
};

installNodeAccelerators();

const good = (): Buffer =>
  encodeBatch({ records: [{ timestamp: now, key: Buffer.from("k"), value: Buffer.from("v") }] });

/** A batch with a change that the checksum then covers. */
function changed(change: (batch: Buffer) => void, batch: Buffer = good()): Buffer {
  change(batch);
  batch.writeUInt32BE(new RecordBatchView(batch).computeCrc(), 17);
  return batch;
}

async function judge(bytes: Buffer, asked: Partial<ValidationRules> = {}): Promise<string> {
  const result = await analyzeBatches(bytes, { ...rules, ...asked });
  return result.ok ? "taken" : result.failure.kind;
}

describe("what a producer may send", () => {
  test.for<[string, Buffer, Partial<ValidationRules>, string]>([
    ["one batch", good(), {}, "taken"],
    ["a wrong checksum", Buffer.from(good()).fill(1, 65, 66), {}, "bad-crc"],
    ["magic 1", changed((batch) => batch.writeInt8(1, 16)), {}, "legacy-format"],
    ["magic 3", changed((batch) => batch.writeInt8(3, 16)), {}, "corrupt-batch"],
    ["nothing", Buffer.alloc(0), {}, "no-batch"],
    ["a batch without its end", good().subarray(0, -1), {}, "truncated-batch"],
    ["less than a header", good().subarray(0, 30), {}, "truncated-batch"],
    ["two batches", Buffer.concat([good(), good()]), {}, "several-batches"],
    [
      "a control batch",
      encodeEndTransactionMarker({
        isCommit: true,
        coordinatorEpoch: 0,
        producerId: 1,
        producerEpoch: 0,
        timestamp: now,
      }),
      {},
      "control-batch",
    ],
    ["a base offset that is not 0", changed((batch) => batch.writeInt32BE(5, 4)), {}, "base-offset"],
    [
      "more than max.message.bytes",
      encodeBatch({ records: [{ timestamp: now, value: Buffer.alloc(1000) }] }),
      {},
      "too-large",
    ],
    ["exactly max.message.bytes", good(), { sizeBytesMax: good().length }, "taken"],
    ["a time in the future", encodeBatch({ records: [{ timestamp: now + hour + 1 }] }), {}, "bad-timestamp"],
    ["a time at the very limit", encodeBatch({ records: [{ timestamp: now + hour }] }), {}, "taken"],
    [
      "a time too long ago",
      encodeBatch({ records: [{ timestamp: now - 1001 }] }),
      { timestampBeforeMaxMs: 1000 },
      "bad-timestamp",
    ],
    ["a very old time, by default", encodeBatch({ records: [{ timestamp: 1 }] }), {}, "taken"],
    [
      "no time at all",
      encodeBatch({ records: [{ value: Buffer.from("v") }] }),
      { timestampBeforeMaxMs: 1000 },
      "taken",
    ],
    [
      "any time, where the broker sets it",
      encodeBatch({ records: [{ timestamp: now + 9 * hour }] }),
      { timestampType: "LogAppendTime" },
      "taken",
    ],
    [
      "the type of timestamp that only a broker sets",
      changed((batch) => batch.writeInt16BE(8, 21)),
      {},
      "bad-timestamp",
    ],
    [
      "no key on a compacted topic",
      encodeBatch({ records: [{ timestamp: now, value: Buffer.from("v") }] }),
      { isKeyRequired: true },
      "null-key",
    ],
    ["a key on a compacted topic", good(), { isKeyRequired: true }, "taken"],
    ["a lying count", changed((batch) => batch.writeInt32BE(2, 57)), {}, "bad-records"],
    ["a wrong last offset delta", changed((batch) => batch.writeInt32BE(3, 23)), {}, "bad-records"],
    ["zstd", encodeBatch({ records: [{ timestamp: now, value: Buffer.from("v") }], compression: "zstd" }), {}, "taken"],
    [
      "zstd with an old Produce",
      encodeBatch({ records: [{ timestamp: now, value: Buffer.from("v") }], compression: "zstd" }),
      { produceVersion: 6 },
      "unsupported-compression",
    ],
    ["a codec that does not exist", changed((batch) => batch.writeInt16BE(5, 21)), {}, "unsupported-compression"],
    ["a block that is not gzip", changed((batch) => batch.writeInt16BE(1, 21)), {}, "bad-compression"],
    [
      "a block that holds too much",
      encodeBatch({ records: [{ timestamp: now, value: Buffer.alloc(90_000) }], compression: "gzip" }),
      { decompressedBytesMax: 50_000 },
      "too-large",
    ],
    ["a sequence without a number", changed((batch) => batch.writeBigInt64BE(5n, 43)), {}, "bad-records"],
    ["a transaction without a producer", changed((batch) => batch.writeInt16BE(0x10, 21)), {}, "transactional"],
    [
      "a transaction where none is taken",
      encodeBatch({
        records: [{ timestamp: now }],
        producerId: 1,
        producerEpoch: 0,
        baseSequence: 0,
        isTransactional: true,
      }),
      { isTransactionalAllowed: false },
      "transactional",
    ],
  ])("%s", async ([, bytes, asked, expected]) => {
    expect(await judge(bytes, asked)).toBe(expected);
  });
});

test("records that are refused are named by their index, those of one kind", async () => {
  const records = [
    { timestamp: now },
    { timestamp: now + 2 * hour },
    { timestamp: now },
    { timestamp: now + 3 * hour },
  ];
  const result = await analyzeBatches(encodeBatch({ records }), rules);
  expect(result).toMatchObject({
    ok: false,
    failure: { kind: "bad-timestamp", recordErrors: [{ batchIndex: 1 }, { batchIndex: 3 }] },
  });
});

test("a largest timestamp that the producer got wrong is put right", async () => {
  const bytes = changed((batch) => batch.writeBigInt64BE(1n, 35));
  expect(await judge(bytes)).toBe("taken");
  const batch = new RecordBatchView(bytes);
  expect(batch.maxTimestamp).toBe(now);
  expect(batch.isCrcValid()).toBe(true);
});

describe("in the topic's codec", () => {
  const toGzip = { compression: { codec: CompressionCodec.gzip } };

  test("the largest timestamp is put right there, and the bytes that came stay as they were", async () => {
    const bytes = changed((batch) => batch.writeBigInt64BE(1n, 35));
    const before = Buffer.from(bytes);
    const result = await analyzeBatches(bytes, { ...rules, ...toGzip });
    const [batch] = result.ok ? result.value.batches : [];
    expect(batch).toMatchObject({ codec: CompressionCodec.gzip, maxTimestamp: now });
    expect(batch?.isCrcValid()).toBe(true);
    expect(bytes).toEqual(before);
  });
  test("records are looked at, also with record.validation=header", async () => {
    const broken = changed((batch) => batch.writeInt8(99, 61));
    expect(await judge(broken, { ...toGzip, recordValidation: "header" })).toBe("bad-records");
    expect(await judge(good(), { ...toGzip, isKeyRequired: true })).toBe("taken");
    expect(await judge(encodeBatch({ records: [{ timestamp: now }] }), { ...toGzip, isKeyRequired: true })).toBe(
      "null-key",
    );
  });
  test("a batch that came packed, however small, is packed off the loop", async () => {
    const asked: string[] = [];
    const workers: Workers = {
      run: (task) => {
        asked.push(task.name);
        return Promise.reject(new Error("not here"));
      },
      close: () => Promise.resolve(),
    };
    const small = { records: [{ timestamp: now, value: Buffer.alloc(900) }] };
    const ask = async (bytes: Buffer) => analyzeBatches(bytes, { ...rules, ...toGzip, workers });
    await expect(ask(encodeBatch({ ...small, compression: "zstd" }))).rejects.toThrow("not here");
    expect(await ask(encodeBatch(small))).toMatchObject({ ok: true });
    expect(asked).toEqual(["recompressBytes"]);
  });
  test("what a batch may hold has a limit", async () => {
    const bytes = encodeBatch({ records: [{ timestamp: now, value: Buffer.alloc(5_000) }], compression: "zstd" });
    expect(await judge(bytes, { ...toGzip, decompressedBytesMax: 4_000 })).toBe("too-large");
  });
});

test("with record.validation=header the records are not looked at", async () => {
  expect(
    await judge(
      changed((batch) => batch.writeInt8(99, 61)),
      { recordValidation: "header" },
    ),
  ).toBe("taken");
});

describe("what a leader sends", () => {
  test("whole batches; the cut-off end of a fetch is left out", () => {
    const result = analyzeReplicated(Buffer.concat([good(), good(), good().subarray(0, 50)]));
    expect(result.ok && result.value.batches.length).toBe(2);
  });
  test("a wrong checksum is refused", () => {
    expect(analyzeReplicated(Buffer.concat([good(), good().fill(1, 65, 66)]))).toMatchObject({
      failure: { kind: "bad-crc" },
    });
  });
});
