import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { decodeBatch, encodeBatch, UnknownMetadataRecord } from "./records.ts";
import type { MetadataRecord } from "./records.ts";

const topicId = "AAECAwQFBgcICQoLDA0ODw";

/**
 * The bytes of every record that was ever released: a line is added, none is changed or removed. A record that reads
 * differently than it was written would be another history.
 */
const golden: readonly { readonly record: MetadataRecord; readonly hex: string }[] = [
  {
    record: { type: "topic", name: "orders", id: topicId },
    hex: "94a5746f70696300a66f7264657273b641414543417751464267634943516f4c4441304f4477",
  },
  {
    record: {
      type: "partition",
      topicId,
      index: 1,
      replicas: [1, 2],
      isr: [1],
      leader: 1,
      leaderEpoch: 3,
      partitionEpoch: 4,
    },
    hex: "99a9706172746974696f6e00b641414543417751464267634943516f4c4441304f4477019201029101010304",
  },
  {
    record: { type: "partition-change", topicId, index: 1, isr: [2], leader: -1, leaderEpoch: 4, partitionEpoch: 5 },
    hex: "98b0706172746974696f6e2d6368616e676500b641414543417751464267634943516f4c4441304f4477019102ff0405",
  },
  {
    record: { type: "topic-removed", id: topicId },
    hex: "93ad746f7069632d72656d6f76656400b641414543417751464267634943516f4c4441304f4477",
  },
  {
    record: { type: "config", resourceType: 2, resourceName: "orders", name: "retention.ms", value: "1000" },
    hex: "96a6636f6e6669670002a66f7264657273ac726574656e74696f6e2e6d73a431303030",
  },
  {
    record: { type: "config", resourceType: 4, resourceName: "", name: "message.max.bytes", value: null },
    hex: "96a6636f6e6669670004a0b16d6573736167652e6d61782e6279746573c0",
  },
  {
    record: { type: "producer-ids", brokerId: 1, nextId: 9_007_199_254_740_000 },
    hex: "94ac70726f64756365722d6964730001cb433ffffffffffc20",
  },
  {
    record: { type: "feature", name: "metadata.version", level: 30 },
    hex: "94a76665617475726500b06d657461646174612e76657273696f6e1e",
  },
  {
    record: {
      type: "broker",
      id: 1,
      epoch: 300,
      incarnationId: topicId,
      rack: null,
      endpoints: [{ listener: "PLAINTEXT", host: "h", port: 9092 }],
      isFenced: false,
    },
    hex: "98a662726f6b65720001cd012cb641414543417751464267634943516f4c4441304f4477c09183a86c697374656e6572a9504c41494e54455854a4686f7374a168a4706f7274cd2384c2",
  },
];

test.for(golden)("$record.type is read as it was written", ({ record, hex }) => {
  const bytes = Buffer.from(`93050191${hex}`, "hex");
  expect(decodeBatch(bytes)).toEqual({ offset: 5, timeMs: 1, records: [record] });
  expect(encodeBatch({ offset: 5, timeMs: 1, records: [record] }).toString("hex")).toBe(bytes.toString("hex"));
});

describe("a record of a newer version stops the reading by name", () => {
  const packr = new Packr({ useRecords: false });
  const read = (...array: unknown[]) => decodeBatch(packr.pack([0, 0, [array]]));

  test.for([
    [["quota", 0, "x"], 'metadata record "quota" is unknown to this version of Millrace'],
    [["toString", 0], 'metadata record "toString" is unknown to this version of Millrace'],
    [
      ["topic", 1, "a", topicId],
      'version 1 of metadata record "topic" is unknown to this version of Millrace, which knows version 0',
    ],
    [
      ["topic", 0, "a", topicId, true],
      'version 0 of metadata record "topic" is unknown to this version of Millrace, which knows version 0',
    ],
  ] as const)("%j", ([array, message]) => {
    expect(() => read(...array)).toThrow(new UnknownMetadataRecord(message));
  });
});
