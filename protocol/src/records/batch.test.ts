import { describe, expect, test } from "vitest";
import { BATCH_HEADER_BYTES, batchAt, batchesIn, BatchField, RecordBatchView } from "./batch.ts";
import { encodeBatch } from "./builder.ts";

const T = 1_700_000_000_000;
const two = (): Buffer =>
  encodeBatch({
    records: [
      { value: Buffer.from("one"), timestamp: T },
      { value: Buffer.from("two"), timestamp: T + 5 },
    ],
  });

describe("RecordBatchView", () => {
  test("reads every field in place, at any position", () => {
    const bytes = Buffer.concat([
      Buffer.from("before"),
      encodeBatch({
        baseOffset: 5_000_000_000,
        leaderEpoch: 12,
        producerId: 77,
        producerEpoch: 2,
        baseSequence: 40,
        isTransactional: true,
        records: [{ timestamp: T }, { timestamp: T + 9 }, { timestamp: T + 3 }],
      }),
    ]);
    const batch = new RecordBatchView(bytes, 6);
    expect(batch).toMatchObject({
      baseOffset: 5_000_000_000,
      lastOffset: 5_000_000_002,
      batchLength: bytes.length - 6 - 12,
      sizeBytes: bytes.length - 6,
      end: bytes.length,
      partitionLeaderEpoch: 12,
      magic: 2,
      attributes: 0x10,
      codec: 0,
      isCompressed: false,
      timestampType: "CreateTime",
      isTransactional: true,
      isControl: false,
      hasDeleteHorizon: false,
      lastOffsetDelta: 2,
      baseTimestamp: T,
      maxTimestamp: T + 9,
      producerId: 77,
      hasProducerId: true,
      producerEpoch: 2,
      baseSequence: 40,
      lastSequence: 42,
      recordsCount: 3,
    });
    expect(batch.isCrcValid()).toBe(true);
    expect(batch.wholeBytes.buffer).toBe(bytes.buffer);
    expect(batch.recordsBytes.length).toBe(batch.sizeBytes - BATCH_HEADER_BYTES);
  });

  test("a stamp leaves the CRC true", () => {
    const batch = new RecordBatchView(two());
    const crc = batch.crc;
    batch.stamp(Number.MAX_SAFE_INTEGER - 1, 2_147_483_647);
    expect(batch).toMatchObject({
      baseOffset: Number.MAX_SAFE_INTEGER - 1,
      lastOffset: Number.MAX_SAFE_INTEGER,
      partitionLeaderEpoch: 2_147_483_647,
      crc,
    });
    expect(batch.isCrcValid()).toBe(true);
  });

  test("LogAppendTime changes the type bit and the maximum; the base stays the client's", () => {
    const batch = new RecordBatchView(two());
    batch.setLogAppendTime(T + 1000);
    expect(batch).toMatchObject({
      attributes: 0x0008,
      timestampType: "LogAppendTime",
      baseTimestamp: T,
      maxTimestamp: T + 1000,
    });
    expect(batch.isCrcValid()).toBe(true);
  });

  test("a corrected maximum and a new producer make the CRC anew", () => {
    const batch = new RecordBatchView(two());
    batch.setMaxTimestamp(9_223_372_036_854_775_807n);
    expect(batch.maxTimestampExact).toBe(9_223_372_036_854_775_807n);
    expect(batch.maxTimestamp).toBe(Number.MAX_SAFE_INTEGER);
    expect(batch.isCrcValid()).toBe(true);
    batch.setProducer({ producerId: 1, producerEpoch: 2, baseSequence: 3 });
    expect(batch).toMatchObject({ producerId: 1, producerEpoch: 2, baseSequence: 3 });
    expect(batch.isCrcValid()).toBe(true);
  });

  test("int64 beyond ±2^53 saturates", () => {
    const batch = new RecordBatchView(two());
    batch.bytes.writeBigInt64BE(-9_223_372_036_854_775_808n, BatchField.baseTimestamp);
    batch.bytes.writeBigInt64BE(9_007_199_254_740_993n, BatchField.producerId);
    expect(batch.baseTimestamp).toBe(Number.MIN_SAFE_INTEGER);
    expect(batch.baseTimestampExact).toBe(-9_223_372_036_854_775_808n);
    expect(batch.producerId).toBe(Number.MAX_SAFE_INTEGER);
    batch.bytes.writeBigInt64BE(-2n, BatchField.baseOffset);
    expect(batch.baseOffset).toBe(-2);
  });

  test("any flipped bit after the CRC is found", () => {
    const batch = new RecordBatchView(two());
    for (let at = BatchField.crc; at < batch.sizeBytes; at++) {
      batch.bytes[at]! ^= 0x10;
      expect(batch.isCrcValid()).toBe(false);
      batch.bytes[at]! ^= 0x10;
    }
  });
});

describe("batchesIn", () => {
  const withLength = (length: number): Buffer => {
    const bytes = two();
    bytes.writeInt32BE(length, BatchField.batchLength);
    return bytes;
  };
  const withMagic = (magic: number): Buffer => {
    const bytes = two();
    bytes.writeInt8(magic, BatchField.magic);
    return bytes;
  };
  const whole = two().length;

  test("goes from batch to batch", () => {
    const bytes = Buffer.concat([two(), two(), two()]);
    const batches = batchesIn(bytes);
    expect([...batches].map(({ position }) => position)).toEqual([0, whole, 2 * whole]);
    expect(batches).toMatchObject({ fault: null, position: bytes.length });
  });

  test.for([
    ["nothing of a length", two().subarray(0, 11), "truncated"],
    ["no magic yet", two().subarray(0, 16), "truncated"],
    ["half a header", two().subarray(0, 40), "truncated"],
    ["a byte less", two().subarray(0, whole - 1), "truncated"],
    ["the length is a byte too much", withLength(whole - 11), "truncated"],
    ["the greatest length", withLength(2_147_483_647), "truncated"],
    ["zeros", Buffer.alloc(100), "too-short"],
    ["negative length", withLength(-1), "too-short"],
    ["the least length", withLength(-2_147_483_648), "too-short"],
    ["shorter than a header", withLength(48), "too-short"],
    ["magic 0", withMagic(0), "legacy-magic"],
    ["magic 1", withMagic(1), "legacy-magic"],
    ["magic 3", withMagic(3), "unknown-magic"],
    ["magic -1", withMagic(-1), "unknown-magic"],
  ] as const)("%s", ([, bytes, fault]) => {
    expect(batchAt(bytes, 0)).toBe(fault);
    const batches = batchesIn(Buffer.concat([two(), bytes]));
    expect([...batches]).toHaveLength(1);
    expect(batches).toMatchObject({ fault, position: whole });
  });

  test("an end before the buffer's end is kept", () => {
    const batches = batchesIn(Buffer.concat([two(), two()]), 0, whole + 20);
    expect([...batches]).toHaveLength(1);
    expect(batches).toMatchObject({ fault: "truncated", position: whole });
  });
});
