import fc from "fast-check";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { expect, test } from "vitest";
import { decodeRecord, encodeRecord } from "../records.ts";
import type { ConsumerRecord } from "./records.ts";

/** What Apache Kafka 4.3.1 wrote into __consumer_offsets for these. */
const topicId = Buffer.from("f2c1116f642646fbac129017e0f57b4a", "hex").toString("base64url");
const written: readonly (readonly [what: string, record: ConsumerRecord, key: string, value: string | null])[] = [
  [
    "a group without topics: its hash is the default, which is left out",
    { kind: "consumer-group", groupId: "s", value: { epoch: 3, metadataHash: 0 } },
    "0003000173",
    "00000000000300",
  ],
  [
    "a static member",
    {
      kind: "consumer-member",
      groupId: "s",
      memberId: "s1",
      value: {
        instanceId: "i",
        rackId: null,
        clientId: "look",
        clientHost: "/127.0.0.1",
        topicNames: ["t"],
        topicRegex: "",
        rebalanceTimeoutMs: 60_000,
        serverAssignor: null,
        classic: null,
      },
    },
    "000500017300027331",
    "0000026900056c6f6f6b0b2f3132372e302e302e31020274010000ea600001000100",
  ],
  [
    "a member that speaks the classic protocol",
    {
      kind: "consumer-member",
      groupId: "s4",
      memberId: "c",
      value: {
        instanceId: null,
        rackId: null,
        clientId: "look",
        clientHost: "/127.0.0.1",
        topicNames: ["t"],
        topicRegex: "",
        rebalanceTimeoutMs: 60_000,
        serverAssignor: null,
        classic: {
          sessionTimeoutMs: 30_000,
          protocols: [{ name: "q", metadata: new Uint8Array(Buffer.from("000000000001000174ffffffff", "hex")) }],
        },
      },
    },
    "000500027334000163",
    "00000000056c6f6f6b0b2f3132372e302e302e31020274010000ea600001001801000075300202710e000000000001000174ffffffff0000",
  ],
  [
    "the epoch of a target",
    { kind: "consumer-target-epoch", groupId: "g", value: { epoch: 3, timestampMs: 1_796_010_006_368 } },
    "0006000167",
    "000000000003010008000001a22a89d760",
  ],
  [
    "the epoch of a target that nobody made",
    { kind: "consumer-target-epoch", groupId: "m", value: { epoch: 4, timestampMs: 0 } },
    "000600016d",
    "00000000000400",
  ],
  [
    "a member's target",
    { kind: "consumer-target", groupId: "g", memberId: "b", value: new Map([[topicId, [2, 3]]]) },
    "0007000167000162",
    "000002f2c1116f642646fbac129017e0f57b4a0300000002000000030000",
  ],
  [
    "what a member has and must give up",
    {
      kind: "consumer-current",
      groupId: "g",
      memberId: "a",
      value: {
        memberEpoch: 2,
        previousMemberEpoch: 2,
        state: "unrevoked",
        assigned: new Map([
          [
            topicId,
            new Map([
              [0, 2],
              [1, 2],
            ]),
          ],
        ]),
        pendingRevocation: new Map([
          [
            topicId,
            new Map([
              [2, 2],
              [3, 2],
            ]),
          ],
        ]),
      },
    },
    "0008000167000161",
    "000000000002000000020102f2c1116f642646fbac129017e0f57b4a030000000000000001010009030000000200000002" +
      "02f2c1116f642646fbac129017e0f57b4a03000000020000000301000903000000020000000200",
  ],
  [
    "a member that waits for others",
    {
      kind: "consumer-current",
      groupId: "g",
      memberId: "b",
      value: {
        memberEpoch: 3,
        previousMemberEpoch: 2,
        state: "unreleased",
        assigned: new Map(),
        pendingRevocation: new Map(),
      },
    },
    "0008000167000162",
    "0000000000030000000202010100",
  ],
  [
    "a resolved regular expression",
    {
      kind: "consumer-regex",
      groupId: "r",
      regex: "[tu_].*",
      value: { topics: new Set(["__consumer_offsets", "t", "u"]), version: 86, timestampMs: 1_796_010_007_611 },
    },
    "00100001720007" + Buffer.from("[tu_].*").toString("hex"),
    "000004135f5f636f6e73756d65725f6f666673657473027402750000000000000056000001a22a89dc3b00",
  ],
  ["a group that is gone", { kind: "consumer-group", groupId: "m", value: null }, "000300016d", null],
  [
    "its metadata of versions before 4.1",
    { kind: "consumer-partition-metadata", groupId: "m", value: null },
    "000400016d",
    null,
  ],
  [
    "a member that is gone",
    { kind: "consumer-member", groupId: "m", memberId: "a", value: null },
    "000500016d000161",
    null,
  ],
];

test.for(written)("%s is written as Kafka writes it, and read again", ([, record, key, value]) => {
  const encoded = encodeRecord(record);
  expect(Buffer.from(encoded.key).toString("hex")).toBe(key);
  expect(encoded.value === null ? null : Buffer.from(encoded.value).toString("hex")).toBe(value);
  expect(decodeRecord(encoded.key, encoded.value)).toEqual(record);
});

test("a member's partitions without epochs, as they were before 4.2, count as given by the member's epoch", () => {
  const key = Buffer.from("0008000167000161", "hex");
  const value = Buffer.from("000000000007000000060002f2c1116f642646fbac129017e0f57b4a030000000000000001000100", "hex");
  expect(decodeRecord(key, value)).toMatchObject({
    value: {
      memberEpoch: 7,
      assigned: new Map([
        [
          topicId,
          new Map([
            [0, 7],
            [1, 7],
          ]),
        ],
      ]),
    },
  });
});

test("what cannot be read is not passed over", () => {
  const current = encodeRecord({ kind: "consumer-current", groupId: "g", memberId: "a", value: null }).key;
  expect(() => decodeRecord(current, Buffer.from("0000000000010000000109010100", "hex"))).toThrow(MalformedMessage);
  expect(() => decodeRecord(current, Buffer.from("0001", "hex"))).toThrow(MalformedMessage);
  expect(() => decodeRecord(current, Buffer.from("000000", "hex"))).toThrow(MalformedMessage);
});

test("any target is read as it was written", () => {
  const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("base64url"));
  const target = fc
    .array(fc.tuple(id, fc.array(fc.nat(), { maxLength: 5 })), { maxLength: 5 })
    .map((all) => new Map(all));
  fc.assert(
    fc.property(target, fc.string({ maxLength: 20 }), (value, memberId) => {
      const record: ConsumerRecord = { kind: "consumer-target", groupId: "g", memberId, value };
      const { key, value: bytes } = encodeRecord(record);
      expect(decodeRecord(key, bytes)).toEqual(record);
    }),
  );
});
