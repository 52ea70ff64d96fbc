import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { MalformedMessage } from "../malformed.ts";
import { installNodeAccelerators } from "../node.ts";
import { batchAt, BatchField, RecordBatchView } from "./batch.ts";
import { BatchBuilder, encodeBatch, fieldsBytesMax, recordBytesMax, renumberBatch } from "./builder.ts";
import type { RecordInput } from "./builder.ts";
import type { CompressionName } from "./compression.ts";
import {
  ControlType,
  encodeControlBatch,
  readControlKey,
  readEndTransactionMarker,
  writeControlKey,
} from "./control.ts";
import { readRecords } from "./record.ts";
import { walkBatch } from "./walk.ts";

const T = 1_700_000_000_000;
const names: readonly CompressionName[] = ["none", "gzip", "snappy", "lz4", "zstd"];

beforeAll(() => {
  installNodeAccelerators();
});

const bytesOrNull = fc.option(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)));
const record: fc.Arbitrary<RecordInput> = fc.record(
  {
    key: bytesOrNull,
    value: bytesOrNull,
    timestamp: fc.oneof(fc.integer({ min: T - 10, max: T + 100_000 }), fc.maxSafeInteger(), fc.constant(-1)),
    headers: fc.array(fc.record({ key: fc.string({ unit: "grapheme", maxLength: 8 }), value: bytesOrNull }), {
      maxLength: 3,
    }),
  },
  { requiredKeys: [] },
);
const anyTimestampBig = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

test("add lays down what append does, and fieldsBytesMax is enough for it", () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 30 }), fc.nat(2_000), (records, memoryBytes) => {
      const appended = new BatchBuilder({ compression: "none" });
      const added = new BatchBuilder({ compression: "none" }, Buffer.alloc(memoryBytes));
      for (const each of records) {
        const { key = null, value = null, headers = [], timestamp = -1 } = each;
        appended.append(each);
        const before = added.sizeBytes;
        added.add(key, value, headers, timestamp);
        expect(added.sizeBytes - before).toBeLessThanOrEqual(fieldsBytesMax(key, value, headers));
      }
      expect(added.build().equals(appended.build())).toBe(true);
    }),
  );
});

test("a batch with other numbers is one that was built with them", () => {
  const numbers = { producerId: 2 ** 40, producerEpoch: 12, baseSequence: 345 };
  const records = [{ value: Buffer.from("a"), timestamp: T }];
  const batch = encodeBatch({ records, producerId: 1, producerEpoch: 0, baseSequence: 0 });
  renumberBatch(batch, numbers);
  expect(batch.equals(encodeBatch({ records, ...numbers }))).toBe(true);
});

describe("encodeBatch and readRecords", () => {
  test("give back what was written, in every codec", () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 30 }),
        fc.constantFrom(...names),
        fc.nat(2 ** 45),
        (records, compression, baseOffset) => {
          const batch = new RecordBatchView(encodeBatch({ records, compression, baseOffset }));
          expect(batch.isCrcValid()).toBe(true);
          expect(walkBatch(batch).fault).toBe(null);
          expect(readRecords(batch)).toEqual(
            records.map((one, index) => ({
              offset: baseOffset + index,
              timestamp: one.timestamp ?? -1,
              key: one.key ?? null,
              value: one.value ?? null,
              headers: one.headers ?? [],
            })),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  test("keep every int64 timestamp exactly", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(anyTimestampBig, fc.bigInt({ min: -3n, max: 3n })), { minLength: 1, maxLength: 5 }),
        (timestamps) => {
          const batch = new RecordBatchView(
            encodeBatch({ records: timestamps.map((timestampBig) => ({ timestampBig })) }),
          );
          const records = readRecords(batch);
          expect(records.map(({ timestamp, timestampBig }) => timestampBig ?? BigInt(timestamp))).toEqual(timestamps);
          for (const { timestamp, timestampBig } of records) {
            expect(Number.isSafeInteger(timestamp)).toBe(true);
            expect(timestampBig === undefined || !Number.isSafeInteger(Number(timestampBig))).toBe(true);
          }
          expect(walkBatch(batch)).toMatchObject({ fault: null, isMaxTimestampTrue: true });
        },
      ),
    );
  });

  test("key and value are views of the batch", () => {
    const bytes = encodeBatch({ records: [{ key: Buffer.from("key"), value: Buffer.from("value") }] });
    const [read] = readRecords(new RecordBatchView(bytes));
    expect(read?.value?.buffer).toBe(bytes.buffer);
  });

  test("a compressed batch gives no more than the caller allows", () => {
    for (const compression of ["gzip", "snappy", "lz4", "zstd"] as const) {
      const batch = new RecordBatchView(encodeBatch({ compression, records: [{ value: Buffer.alloc(100_000) }] }));
      expect(readRecords(batch, { maxBytes: 100_100 })).toHaveLength(1);
      expect(() => readRecords(batch, { maxBytes: 99_999 })).toThrow(MalformedMessage);
    }
  });

  test("mutated batches give records or a MalformedMessage, never anything else", () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(...names),
        fc.array(fc.record({ at: fc.nat(5000), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 }),
        (records, compression, changes) => {
          const bytes = encodeBatch({ records, compression });
          for (const { at, byte } of changes)
            bytes[BatchField.attributes + (at % (bytes.length - BatchField.attributes))] = byte;
          const batch = batchAt(bytes, 0) as RecordBatchView;
          const report = walkBatch(batch, { decompressedBytesMax: 1_000_000 });
          expect(report.fault === null || report.faultMessage !== "").toBe(true);
          try {
            readRecords(batch, { maxBytes: 1_000_000 });
          } catch (error) {
            refused += 1;
            expect(error).toBeInstanceOf(MalformedMessage);
          }
        },
      ),
      { numRuns: 3000 },
    );
    expect(refused).toBeGreaterThan(100);
  });
});

describe("BatchBuilder", () => {
  test("knows its size, and a record's greatest size, at any time", () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), (records) => {
        const builder = new BatchBuilder();
        for (const one of records) {
          const before = builder.sizeBytes;
          builder.append(one);
          expect(builder.sizeBytes - before).toBeLessThanOrEqual(recordBytesMax(one));
        }
        const size = builder.sizeBytes;
        expect(builder.estimatedSizeBytes(1)).toBe(size);
        expect(builder.build()).toHaveLength(size);
      }),
    );
  });

  test("takes the producer's numbers as late as when it is sent", () => {
    const builder = new BatchBuilder({ compression: "lz4" });
    for (let index = 0; index < 100; index++) builder.append({ value: Buffer.from(`value ${index}`), timestamp: T });
    const batch = new RecordBatchView(builder.build({ producerId: 9, producerEpoch: 1, baseSequence: 300 }));
    expect(batch).toMatchObject({
      producerId: 9,
      producerEpoch: 1,
      baseSequence: 300,
      lastSequence: 399,
      recordsCount: 100,
    });
    expect(batch.isCrcValid()).toBe(true);
  });

  test("what compression makes longer still fits", () => {
    for (const compression of names) {
      const batch = new RecordBatchView(encodeBatch({ compression, records: [{ value: Buffer.from("x") }] }));
      expect(readRecords(batch)[0]?.value?.toString()).toBe("x");
    }
  });

  test("offsets must rise", () => {
    const builder = new BatchBuilder({ baseOffset: 10 });
    builder.append({ offset: 12 });
    expect(() => builder.append({ offset: 12 })).toThrow(RangeError);
    expect(() => builder.append({ offset: 10 + 2 ** 31 })).toThrow(RangeError);
  });
});

describe("control records", () => {
  test("a type of later days is kept, and is no marker", () => {
    const key = writeControlKey(ControlType.KRAFT_VERSION);
    expect(readControlKey(key)).toEqual({ version: 0, type: 5 });
    expect(readEndTransactionMarker({ key, value: null })).toBe(null);
    expect(readControlKey(Buffer.from([0, 3, 0, 99, 1, 2]))).toEqual({ version: 3, type: 99 });
  });

  test("unreadable ones are refused", () => {
    expect(() => readControlKey(null)).toThrow(MalformedMessage);
    expect(() => readControlKey(Buffer.from([0, 0, 0]))).toThrow(MalformedMessage);
    expect(() => readControlKey(Buffer.from([0xff, 0xff, 0, 0]))).toThrow(MalformedMessage);
    const key = writeControlKey(ControlType.ABORT);
    expect(() => readEndTransactionMarker({ key, value: null })).toThrow(MalformedMessage);
    expect(() => readEndTransactionMarker({ key, value: Buffer.alloc(5) })).toThrow(MalformedMessage);
    expect(() => readEndTransactionMarker({ key, value: Buffer.from([0x80, 0, 0, 0, 0, 0]) })).toThrow(
      MalformedMessage,
    );
  });

  test("a control batch outside a transaction has the control bit alone", () => {
    const batch = new RecordBatchView(
      encodeControlBatch({ type: ControlType.SNAPSHOT_FOOTER, value: Buffer.from([0, 0]), timestamp: T }),
    );
    expect(batch).toMatchObject({ attributes: 0x20, producerId: -1, recordsCount: 1 });
  });
});
