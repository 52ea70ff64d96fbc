import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { installNodeAccelerators } from "../node.ts";
import { MalformedMessage } from "../malformed.ts";
import { BATCH_HEADER_BYTES, BatchField, RecordBatchView } from "./batch.ts";
import { encodeBatch } from "./builder.ts";
import type { BatchOptions, RecordInput } from "./builder.ts";
import { readRecords } from "./record.ts";
import { RECORD_FAULTS_MAX, walkBatch } from "./walk.ts";
import type { WalkFault } from "./walk.ts";

const T = 1_700_000_000_000;

beforeAll(() => {
  installNodeAccelerators();
});

function batchOf(records: readonly RecordInput[], options: BatchOptions = {}): RecordBatchView {
  return new RecordBatchView(encodeBatch({ ...options, records }));
}

/** A batch whose records are these very bytes. */
function batchOfBytes(records: readonly number[], count: number): RecordBatchView {
  const header = encodeBatch({ records: [] });
  header.writeInt32BE(count, BatchField.recordsCount);
  header.writeInt32BE(count - 1, BatchField.lastOffsetDelta);
  header.writeInt32BE(BATCH_HEADER_BYTES - 12 + records.length, BatchField.batchLength);
  return new RecordBatchView(Buffer.concat([header, Buffer.from(records)]));
}

describe("walkBatch", () => {
  test("reports the timestamps of a good batch", () => {
    const report = walkBatch(
      batchOf([{ timestamp: T }, { timestamp: T + 70_000 }, { timestamp: T - 3 }, { timestamp: T + 70_000 }]),
    );
    expect(report).toEqual({
      fault: null,
      faultIndex: -1,
      faultMessage: "",
      recordFaults: [],
      recordsCount: 4,
      minTimestamp: T - 3,
      maxTimestamp: T + 70_000,
      maxTimestampExact: T + 70_000,
      maxTimestampOffsetDelta: 1,
      isMaxTimestampTrue: true,
    });
  });

  test("a producer's wrong maximum is seen", () => {
    const batch = batchOf([{ timestamp: T }, { timestamp: T + 1 }]);
    batch.setMaxTimestamp(T + 99);
    const report = walkBatch(batch);
    expect(report).toMatchObject({ fault: null, isMaxTimestampTrue: false, maxTimestampExact: T + 1 });
    batch.setMaxTimestamp(report.maxTimestampExact);
    expect(walkBatch(batch).isMaxTimestampTrue).toBe(true);
  });

  test("names the records that the rules refuse", () => {
    const key = Buffer.from("k");
    const batch = batchOf([
      { key, timestamp: T },
      { timestamp: T },
      { key, timestamp: T - 11 },
      { key, timestamp: T + 11 },
      { key },
    ]);
    const rules = { isKeyRequired: true, timestampMin: T - 10, timestampMax: T + 10 };
    expect(walkBatch(batch, rules)).toMatchObject({
      fault: null,
      recordFaults: [
        { index: 1, fault: "null-key", timestamp: T },
        { index: 2, fault: "timestamp", timestamp: T - 11 },
        { index: 3, fault: "timestamp", timestamp: T + 11 },
      ],
    });
    expect(walkBatch(batch).recordFaults).toEqual([]);
  });

  test("names a hundred of them at most", () => {
    const report = walkBatch(batchOf(Array.from({ length: 500 }, () => ({}))), { isKeyRequired: true });
    expect(report.recordFaults).toHaveLength(RECORD_FAULTS_MAX);
    expect(report.recordFaults.at(-1)?.index).toBe(RECORD_FAULTS_MAX - 1);
  });

  test("an empty key is a key", () => {
    expect(walkBatch(batchOf([{ key: Buffer.alloc(0) }]), { isKeyRequired: true }).recordFaults).toEqual([]);
  });

  // length 6 (zigzag 12), attributes, timestamp delta, offset delta, key -1, value -1, no headers
  const good = [12, 0, 0, 0, 1, 1, 0];
  const faults: [string, number[], number, WalkFault, number][] = [
    ["no records", [], 0, "empty", -1],
    ["a negative count", good, -1, "empty", -1],
    ["a count that cannot be", good, 1_000_000, "records-count", -1],
    ["the greatest count", good, 2_147_483_647, "records-count", -1],
    ["bytes after the last record", [...good, 0], 1, "records-count", 1],
    ["one record more than the count", [...good, ...good], 1, "records-count", 1],
    [
      "one record less than the count",
      [26, 0, 0, 0, 1, 15, 1, 2, 3, 4, 5, 6, 7, 0].map((byte, index) => (index === 5 ? 14 : byte)),
      2,
      "records-count",
      1,
    ],
    ["a record that runs past the batch", [14, 0, 0, 0, 1, 1, 0], 1, "truncated", 0],
    ["a negative record length", [11, 0, 0, 0, 1, 1, 0], 1, "bad-length", 0],
    ["a record that holds less than its length", [14, 0, 0, 0, 1, 1, 0, 0], 1, "record-length", 0],
    ["a record of no bytes", [0, 0, 0, 0, 0, 0, 0], 1, "record-length", 0],
    ["an offset delta that is not the index", [12, 0, 0, 2, 1, 1, 0], 1, "offset-delta", 0],
    ["a key length of −2", [12, 0, 0, 0, 3, 1, 0], 1, "bad-length", 0],
    ["a key past its record", [12, 0, 0, 0, 40, 1, 0], 1, "bad-length", 0],
    ["a value length of −2", [12, 0, 0, 0, 1, 3, 0], 1, "bad-length", 0],
    ["a value past its record", [12, 0, 0, 0, 1, 80, 0], 1, "bad-length", 0],
    ["a negative header count", [12, 0, 0, 0, 1, 1, 1], 1, "bad-length", 0],
    ["a lying header count", [12, 0, 0, 0, 1, 1, 20], 1, "bad-length", 0],
    ["a header without a key", [16, 0, 0, 0, 1, 1, 2, 1, 1], 1, "bad-length", 0],
    ["a varint of six bytes", [0x80, 0x80, 0x80, 0x80, 0x80, 0, 0], 1, "bad-length", 0],
    ["a varint that does not end", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1, "bad-length", 0],
    [
      "a varlong of eleven bytes",
      [32, 0, ...Array.from({ length: 10 }, () => 0x80), 0, 0, 1, 1, 0],
      1,
      "bad-length",
      0,
    ],
  ];
  test.for(faults)("%s", ([, bytes, count, fault, faultIndex]) => {
    const report = walkBatch(batchOfBytes(bytes, count));
    expect(report).toMatchObject({ fault, faultIndex });
    expect(report.faultMessage).not.toBe("");
    if (fault !== "empty" && fault !== "offset-delta")
      expect(() => readRecords(batchOfBytes(bytes, count))).toThrow(MalformedMessage);
  });

  test("the last offset delta must be the count − 1", () => {
    const batch = batchOf([{}, {}], { lastOffset: 7 });
    expect(walkBatch(batch)).toMatchObject({ fault: "last-offset-delta" });
    expect(walkBatch(batch, { areOffsetsDense: false })).toMatchObject({ fault: null });
  });

  test("rising offsets with gaps are good only in a log", () => {
    const batch = batchOf([{ offset: 2 }, { offset: 5 }], { lastOffset: 9 });
    expect(walkBatch(batch, { areOffsetsDense: false })).toMatchObject({ fault: null, recordsCount: 2 });
    const beyond = batchOf([{ offset: 2 }, { offset: 5 }], { lastOffset: 4 });
    expect(walkBatch(beyond, { areOffsetsDense: false })).toMatchObject({ fault: "offset-delta", faultIndex: 1 });
  });

  test("a codec that does not exist, or broken data, is a word too", () => {
    const unknown = batchOf([{}]);
    unknown.bytes.writeInt16BE(7, BatchField.attributes);
    expect(walkBatch(unknown)).toMatchObject({ fault: "unknown-codec" });
    for (const codec of [1, 2, 3, 4]) {
      const broken = batchOf([{ value: Buffer.from("not compressed") }]);
      broken.bytes.writeInt16BE(codec, BatchField.attributes);
      expect(walkBatch(broken)).toMatchObject({ fault: "bad-compression", faultIndex: -1 });
    }
  });

  test("walking and reading agree on any bytes: both refuse, or both find the same", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(recordBytes, { minLength: 1, maxLength: 4 }), mutations, (records, changes) => {
        const batch = batchOf(records);
        for (const { at, byte } of changes) {
          const span = batch.sizeBytes - BATCH_HEADER_BYTES;
          batch.bytes[BATCH_HEADER_BYTES + (at % span)] = byte;
        }
        const report = walkBatch(batch);
        if (report.fault === null) {
          accepted += 1;
          const read = readRecords(batch);
          const exact = read.map(({ timestamp, timestampBig }) => timestampBig ?? BigInt(timestamp));
          expect(BigInt(report.maxTimestampExact)).toBe(exact.reduce((max, one) => (one > max ? one : max)));
          expect(read[report.maxTimestampOffsetDelta]).toBeDefined();
        } else if (report.fault !== "offset-delta") {
          expect(() => readRecords(batch)).toThrow(MalformedMessage);
        }
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });
});

const bytesOrNull = fc.option(fc.uint8Array({ maxLength: 20 }));
const recordBytes: fc.Arbitrary<RecordInput> = fc.record({
  key: bytesOrNull,
  value: bytesOrNull,
  timestamp: fc.integer({ min: -1000, max: 2_000_000_000 }),
  headers: fc.array(fc.record({ key: fc.string({ maxLength: 4 }), value: bytesOrNull }), { maxLength: 2 }),
});
const mutations = fc.array(fc.record({ at: fc.nat(1000), byte: fc.nat(255) }), { maxLength: 3 });
