import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { installNodeAccelerators } from "../node.ts";
import { BATCH_HEADER_BYTES, batchesIn } from "./batch.ts";
import type { RecordBatchView } from "./batch.ts";
import { encodeBatch } from "./builder.ts";
import type { BatchOptions, RecordInput } from "./builder.ts";
import { CompressionCodec, decompress } from "./compression.ts";
import type { CompressionName } from "./compression.ts";
import { encodeEndTransactionMarker, readEndTransactionMarker } from "./control.ts";
import { readRecords } from "./record.ts";
import { walkBatch } from "./walk.ts";

/** Bytes that other implementations wrote; golden/records/README.md says what each file is. */
function golden(name: string): Buffer {
  const path = join(import.meta.dirname, "../../golden/records", `${name}.hex`);
  return Buffer.from(readFileSync(path, "utf8").replaceAll("\n", ""), "hex");
}

function onlyBatch(name: string): RecordBatchView {
  const batches = [...batchesIn(golden(name))];
  expect(batches).toHaveLength(1);
  expect(batches[0]!.isCrcValid()).toBe(true);
  return batches[0]!;
}

const T = 1_700_000_000_000;
const fourRecords: readonly RecordInput[] = [
  { timestamp: T, key: Buffer.from("key-0"), value: Buffer.from("value-0") },
  { timestamp: T + 1, key: null, value: Buffer.from("value without a key") },
  { timestamp: T + 300, key: Buffer.from("tombstone"), value: null },
  {
    timestamp: T - 5,
    key: Buffer.alloc(0),
    value: Buffer.alloc(0),
    headers: [
      { key: "h", value: Buffer.from("1") },
      { key: "h", value: null },
      { key: "größe", value: Buffer.alloc(0) },
    ],
  },
];
const codecs = ["gzip", "snappy", "lz4", "zstd"] as const satisfies readonly CompressionName[];

function expectFourRecords(batch: RecordBatchView, appendTime?: number): void {
  const expected = fourRecords.map((record, index) => ({
    headers: [],
    ...record,
    offset: batch.baseOffset + index,
    timestamp: appendTime ?? record.timestamp,
  }));
  expect(readRecords(batch)).toEqual(expected);
}

/** Twice: with the native packages, where they are, and as it runs without them. */
describe.for([true, false])("native %s", (mayBeNative) => {
  beforeAll(() => {
    const found = installNodeAccelerators({ mayBeNative });
    if (!mayBeNative) expect(found).toEqual({ crc32c: "pure", snappy: "pure", lz4: "pure" });
  });

  describe("uncompressed batches of kafka-clients: read, and written again byte for byte", () => {
    const cases: [string, BatchOptions][] = [
      ["none", {}],
      [
        "idempotent",
        {
          baseOffset: 123_456_789_012,
          leaderEpoch: 7,
          producerId: 4711,
          producerEpoch: 3,
          baseSequence: 2_147_483_646,
        },
      ],
      ["transactional", { producerId: 4711, producerEpoch: 3, baseSequence: 0, isTransactional: true }],
      ["log-append-time", { baseOffset: 10, leaderEpoch: 5, timestampType: "LogAppendTime", appendTime: T + 999 }],
    ];
    test.for(cases)("%s", ([name, options]) => {
      const batch = onlyBatch(name);
      const isAppendTime = options.timestampType === "LogAppendTime";
      expectFourRecords(batch, isAppendTime ? T + 999 : undefined);
      expect(batch.timestampType).toBe(options.timestampType ?? "CreateTime");
      expect(batch.isTransactional).toBe(options.isTransactional ?? false);
      expect(batch.isControl).toBe(false);
      expect(batch.partitionLeaderEpoch).toBe(options.leaderEpoch ?? -1);
      expect([batch.producerId, batch.producerEpoch, batch.baseSequence]).toEqual([
        options.producerId ?? -1,
        options.producerEpoch ?? -1,
        options.baseSequence ?? -1,
      ]);
      const report = walkBatch(batch);
      expect(report).toMatchObject({
        fault: null,
        recordsCount: 4,
        minTimestamp: T - 5,
        maxTimestamp: T + 300,
        maxTimestampOffsetDelta: 2,
      });
      expect(report.isMaxTimestampTrue).toBe(!isAppendTime);
      expect(encodeBatch({ ...options, records: fourRecords }).toString("hex")).toBe(batch.wholeBytes.toString("hex"));
    });

    test("a sequence wraps from 2^31 − 1 to 0", () => {
      expect(onlyBatch("idempotent").lastSequence).toBe(1);
    });
  });

  describe.for(codecs)("%s", (codec) => {
    test("the four records of kafka-clients", () => {
      const batch = onlyBatch(codec);
      expect(batch.codec).toBe(CompressionCodec[codec]);
      expectFourRecords(batch);
      expect(walkBatch(batch)).toMatchObject({ fault: null, maxTimestamp: T + 300, isMaxTimestampTrue: true });
    });

    test("200 records of kafka-clients, in more than one block", () => {
      const batch = onlyBatch(`${codec}-200-records`);
      const records = readRecords(batch);
      expect(records).toHaveLength(200);
      for (const [index, record] of records.entries()) {
        expect(record.offset).toBe(1000 + index);
        expect(record.timestamp).toBe(T + index);
        expect(record.key?.toString()).toBe(`key-${index}`);
        expect(record.value?.toString()).toBe(`value ${index} `.repeat(200).slice(0, 1000));
      }
      expect(walkBatch(batch, { isKeyRequired: true })).toMatchObject({
        fault: null,
        recordFaults: [],
        minTimestamp: T,
      });
      const plainBytes = decompress(batch.codec, batch.recordsBytes, 1_000_000).length;
      expect(walkBatch(batch, { decompressedBytesMax: plainBytes })).toMatchObject({ fault: null });
      expect(walkBatch(batch, { decompressedBytesMax: plainBytes - 1 })).toMatchObject({
        fault: "decompressed-too-large",
        faultIndex: -1,
      });
    });

    test("a block of franz-go", () => {
      let expected = "";
      for (let line = 0; expected.length < 100_000; line++) expected += `line ${line} of what franz-go compresses\n`;
      const plain = decompress(CompressionCodec[codec], golden(`franz-go-${codec}.block`), 1_000_000);
      expect(plain.toString()).toBe(expected);
    });
  });

  test.for(["lz4-tool-linked", "lz4-tool-block-checksums"])("a frame of the lz4 tool: %s", (name) => {
    let expected = "";
    for (let line = 0; line < 1500; line++) expected += `line ${line} of what the reference tool compresses\n`;
    expect(decompress(CompressionCodec.lz4, golden(`${name}.block`), 1_000_000).toString()).toBe(expected);
  });

  test.for([
    ["abort-marker", 50, false],
    ["commit-marker", 51, true],
  ] as const)("%s", ([name, baseOffset, isCommit]) => {
    const batch = onlyBatch(name);
    expect(batch.sizeBytes).toBe(78);
    expect(batch).toMatchObject({
      isControl: true,
      isTransactional: true,
      baseSequence: -1,
      producerEpoch: 4,
      baseOffset,
    });
    const [record] = readRecords(batch);
    expect(readEndTransactionMarker(record!)).toEqual({ version: 0, isCommit, coordinatorEpoch: 12 });
    const ours = encodeEndTransactionMarker({
      isCommit,
      baseOffset,
      leaderEpoch: 9,
      timestamp: T,
      producerId: 4711,
      producerEpoch: 4,
      coordinatorEpoch: 12,
    });
    expect(ours.toString("hex")).toBe(batch.wholeBytes.toString("hex"));
  });

  test("timestamps beyond ±2^53 are read, walked and written exactly", () => {
    const batch = onlyBatch("extreme-timestamps");
    const records = readRecords(batch);
    expect(records.map(({ timestamp, timestampBig }) => [timestamp, timestampBig])).toEqual([
      [0, undefined],
      [Number.MAX_SAFE_INTEGER, 9_007_199_254_740_993n],
      [Number.MAX_SAFE_INTEGER, 9_223_372_036_854_775_807n],
    ]);
    expect(walkBatch(batch)).toMatchObject({
      fault: null,
      minTimestamp: 0,
      maxTimestamp: Number.MAX_SAFE_INTEGER,
      maxTimestampExact: 9_223_372_036_854_775_807n,
      maxTimestampOffsetDelta: 2,
      isMaxTimestampTrue: true,
    });
    expect(walkBatch(batch, { timestampMax: T }).recordFaults.map(({ index }) => index)).toEqual([1, 2]);
    expect(encodeBatch({ records }).toString("hex")).toBe(batch.wholeBytes.toString("hex"));
  });

  test("what the cleaner leaves: offsets with gaps", () => {
    const batch = onlyBatch("compacted");
    expect(batch).toMatchObject({ baseOffset: 20, lastOffset: 24, recordsCount: 2 });
    const records = readRecords(batch);
    expect(records.map(({ offset }) => offset)).toEqual([21, 23]);
    expect(walkBatch(batch, { areOffsetsDense: false })).toMatchObject({ fault: null });
    expect(walkBatch(batch)).toMatchObject({ fault: "last-offset-delta" });
    const ours = encodeBatch({ baseOffset: 20, leaderEpoch: 1, lastOffset: 24, records });
    expect(ours.toString("hex")).toBe(batch.wholeBytes.toString("hex"));
  });

  test("what the cleaner leaves of a producer's last batch: no records", () => {
    const batch = onlyBatch("emptied");
    expect(batch).toMatchObject({
      baseOffset: 30,
      lastOffset: 34,
      recordsCount: 0,
      sizeBytes: BATCH_HEADER_BYTES,
      baseSequence: 9,
      lastSequence: 13,
    });
    expect(readRecords(batch)).toEqual([]);
    expect(walkBatch(batch, { areOffsetsDense: false })).toMatchObject({ fault: null, recordsCount: 0 });
    expect(walkBatch(batch)).toMatchObject({ fault: "empty" });
  });

  test("a delete horizon stands where the base timestamp was", () => {
    const batch = onlyBatch("delete-horizon");
    expect(batch).toMatchObject({ hasDeleteHorizon: true, baseTimestamp: T + 86_400_000, maxTimestamp: T });
    expect(readRecords(batch)[0]?.timestamp).toBe(T);
    const records = readRecords(batch);
    const ours = encodeBatch({ baseOffset: 60, leaderEpoch: 3, deleteHorizonMs: T + 86_400_000, records });
    expect(ours.toString("hex")).toBe(batch.wholeBytes.toString("hex"));
  });
});
