import fc from "fast-check";
import { groupMetadata, legacyOffsetCommit, offsetCommit } from "kafka-protocol-ts/internal/group-records";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { expect, test } from "vitest";
import { decodeRecord, encodeRecord, groupRecordBytesMax } from "./records.ts";
import type { GroupRecord, GroupValue } from "./records.ts";

const hex = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString("hex");
const text = (value: string): string =>
  Buffer.from([value.length >> 8, value.length & 0xff, ...Buffer.from(value)]).toString("hex");
const int32 = (value: number): string => (value >>> 0).toString(16).padStart(8, "0");
const int64 = (value: number): string => BigInt.asUintN(64, BigInt(value)).toString(16).padStart(16, "0");

const offset: GroupRecord = {
  kind: "offset",
  groupId: "orders",
  topic: "t",
  partition: 3,
  value: { offset: 42, leaderEpoch: 7, metadata: "m", commitTimestampMs: 1_000, expireTimestampMs: -1, topicId: null },
};

test("an offset is written as Kafka writes it: key 1, value 3", () => {
  const { key, value } = encodeRecord(offset);
  expect(hex(key)).toBe("0001" + text("orders") + text("t") + int32(3));
  expect(hex(value)).toBe("0003" + int64(42) + int32(7) + text("m") + int64(1_000));
});

test("an offset with an expiry of its own is value 1, one with a topic id value 4, a deleted one no value", () => {
  const withExpiry: GroupRecord = { ...offset, value: { ...offset.value!, expireTimestampMs: 5_000 } };
  expect(hex(encodeRecord(withExpiry).value)).toBe("0001" + int64(42) + text("m") + int64(1_000) + int64(5_000));
  const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
  const withTopic: GroupRecord = { ...offset, value: { ...offset.value!, topicId } };
  const id = "00".repeat(15) + "01";
  expect(hex(encodeRecord(withTopic).value)).toBe(
    "0004" + int64(42) + int32(7) + "026d" + int64(1_000) + "010010" + id,
  );
  expect(encodeRecord({ ...offset, value: null }).value).toBeNull();
});

const group: GroupValue = {
  protocolType: "consumer",
  generation: 5,
  protocolName: "range",
  leaderId: "a",
  stateTimestampMs: 99,
  members: [
    {
      memberId: "a",
      instanceId: null,
      clientId: "c",
      clientHost: "/h",
      rebalanceTimeoutMs: 60_000,
      sessionTimeoutMs: 10_000,
      subscription: Buffer.from([1]),
      assignment: Buffer.from([2, 3]),
    },
  ],
};

test("a group is written as Kafka writes it: key 2, value 3", () => {
  const { key, value } = encodeRecord({ kind: "group", groupId: "orders", value: group });
  expect(hex(key)).toBe("0002" + text("orders"));
  const member =
    text("a") + "ffff" + text("c") + text("/h") + int32(60_000) + int32(10_000) + int32(1) + "01" + int32(2) + "0203";
  expect(hex(value)).toBe(
    "0003" + text("consumer") + int32(5) + text("range") + text("a") + int64(99) + int32(1) + member,
  );
});

test("records of every version are read, and the key of the first Kafka too", () => {
  for (let version = 0; version <= 4; version++) {
    const writer = new ByteWriter();
    writer.int16(version);
    offsetCommit.value.write(writer, { offset: 42, metadata: "m", commitTimestamp: 1 }, version);
    expect(decodeRecord(encodeRecord(offset).key, writer.toBuffer())).toMatchObject({
      value: { offset: 42, leaderEpoch: -1, expireTimestampMs: -1, topicId: null },
    });
  }
  for (let version = 0; version <= 4; version++) {
    const writer = new ByteWriter();
    writer.int16(version);
    const member = {
      memberId: "a",
      clientId: "c",
      clientHost: "/h",
      sessionTimeout: 9_000,
      subscription: Buffer.alloc(0),
      assignment: Buffer.alloc(0),
    };
    groupMetadata.value.write(
      writer,
      { protocolType: "", generation: 5, protocol: null, leader: null, members: [member] },
      version,
    );
    const read = decodeRecord(encodeRecord({ kind: "group", groupId: "g", value: null }).key, writer.toBuffer());
    expect(read).toMatchObject({
      groupId: "g",
      value: { protocolType: null, stateTimestampMs: -1, members: [{ instanceId: null, rebalanceTimeoutMs: 9_000 }] },
    });
  }
  const legacyKey = new ByteWriter();
  legacyKey.int16(legacyOffsetCommit.type);
  legacyOffsetCommit.key.write(legacyKey, { group: "g", topic: "t", partition: 1 }, 0);
  expect(decodeRecord(legacyKey.toBuffer(), null)).toEqual({
    kind: "offset",
    groupId: "g",
    topic: "t",
    partition: 1,
    value: null,
  });
});

test("records of other kinds of group are left alone; those that cannot be read are not passed over", () => {
  expect(decodeRecord(Buffer.from("000b" + text("g"), "hex"), Buffer.from("0000", "hex"))).toBeNull();
  const { key } = encodeRecord(offset);
  expect(() => decodeRecord(key, Buffer.from("0005", "hex"))).toThrow(MalformedMessage);
  expect(() => decodeRecord(key, Buffer.from("0003ff", "hex"))).toThrow(MalformedMessage);
  expect(() => decodeRecord(Buffer.from("00", "hex"), null)).toThrow(MalformedMessage);
});

test("what is written is read again, and is no larger than was reckoned", () => {
  const bytes = fc.uint8Array({ maxLength: 40 });
  const name = fc.string({ maxLength: 20, unit: "grapheme" });
  const member = fc.record({
    memberId: name,
    instanceId: fc.option(name),
    clientId: name,
    clientHost: name,
    rebalanceTimeoutMs: fc.nat(),
    sessionTimeoutMs: fc.nat(),
    subscription: bytes,
    assignment: bytes,
  });
  const value = fc.record({
    protocolType: fc.option(name.filter((one) => one !== "")),
    generation: fc.nat(),
    protocolName: fc.option(name),
    leaderId: fc.option(name),
    stateTimestampMs: fc.nat(),
    members: fc.array(member, { maxLength: 4 }),
  });
  fc.assert(
    fc.property(name, value, (groupId, one) => {
      const { key, value: written } = encodeRecord({ kind: "group", groupId, value: one });
      expect(decodeRecord(key, written)).toEqual({ kind: "group", groupId, value: one });
      expect(key.length + written!.length).toBeLessThanOrEqual(groupRecordBytesMax(groupId, one));
    }),
  );
});
