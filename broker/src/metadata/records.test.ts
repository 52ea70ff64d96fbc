import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { decodeBatch, encodeBatch, noExtras, UnknownMetadataRecord } from "./records.ts";
import type { MetadataRecord } from "./records.ts";

const topicId = "AAECAwQFBgcICQoLDA0ODw";

/**
 * The bytes of every record that was ever released: a line is added, none is changed or removed. A record that reads
 * differently than it was written would be another history.
 */
const golden: readonly {
  readonly record: MetadataRecord;
  readonly hex: string;
  /** Of a version that is read and not written any more. */
  readonly version?: number;
}[] = [
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
      ...noExtras,
    },
    version: 0,
    hex: "99a9706172746974696f6e00b641414543417751464267634943516f4c4441304f4477019201029101010304",
  },
  {
    record: {
      type: "partition-change",
      topicId,
      index: 1,
      isr: [2],
      leader: -1,
      leaderEpoch: 4,
      partitionEpoch: 5,
      replicas: null,
      ...noExtras,
    },
    version: 0,
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
      isInControlledShutdown: false,
      directoryIds: [],
      cordonedDirectoryIds: [],
      features: [],
    },
    version: 0,
    hex: "98a662726f6b65720001cd012cb641414543417751464267634943516f4c4441304f4477c09183a86c697374656e6572a9504c41494e54455854a4686f7374a168a4706f7274cd2384c2",
  },
  {
    record: {
      type: "partition",
      topicId,
      index: 1,
      replicas: [1, 2, 3],
      isr: [],
      leader: -1,
      leaderEpoch: 3,
      partitionEpoch: 4,
      addingReplicas: [2],
      removingReplicas: [3],
      elr: [1],
      lastKnownElr: [300],
    },
    hex: "9da9706172746974696f6e01b641414543417751464267634943516f4c4441304f4477019301020390ff030491029103910191cd012c",
  },
  {
    record: {
      type: "partition-change",
      topicId,
      index: 1,
      isr: [2],
      leader: 2,
      leaderEpoch: 4,
      partitionEpoch: 5,
      replicas: [2, 1],
      addingReplicas: [2],
      removingReplicas: [1],
      elr: [1],
      lastKnownElr: [3],
    },
    hex: "9db0706172746974696f6e2d6368616e676501b641414543417751464267634943516f4c4441304f44770191020204059202019102910191019103",
  },
  {
    record: {
      type: "partition-change",
      topicId,
      index: 0,
      isr: [1],
      leader: 1,
      leaderEpoch: 1,
      partitionEpoch: 2,
      replicas: null,
      ...noExtras,
    },
    hex: "9db0706172746974696f6e2d6368616e676501b641414543417751464267634943516f4c4441304f4477009101010102c090909090",
  },
  {
    record: {
      type: "broker",
      id: 1,
      epoch: 300,
      incarnationId: topicId,
      rack: "r",
      endpoints: [{ listener: "PLAINTEXT", host: "h", port: 9092 }],
      isFenced: true,
      isInControlledShutdown: true,
      directoryIds: [topicId],
      cordonedDirectoryIds: [topicId],
      features: [{ name: "kraft.version", minVersion: 0, maxVersion: 1 }],
    },
    hex: "9ca662726f6b65720101cd012cb641414543417751464267634943516f4c4441304f4477a1729183a86c697374656e6572a9504c41494e54455854a4686f7374a168a4706f7274cd2384c3c391b641414543417751464267634943516f4c4441304f447791b641414543417751464267634943516f4c4441304f44779183a46e616d65ad6b726166742e76657273696f6eaa6d696e56657273696f6e00aa6d617856657273696f6e01",
  },
  { record: { type: "broker-removed", id: 1, epoch: 300 }, hex: "94ae62726f6b65722d72656d6f7665640001cd012c" },
  {
    record: {
      type: "controller",
      id: 1,
      directoryId: topicId,
      endpoints: [{ listener: "CONTROLLER", host: "h", port: 9093 }],
    },
    hex: "95aa636f6e74726f6c6c65720001b641414543417751464267634943516f4c4441304f44779183a86c697374656e6572aa434f4e54524f4c4c4552a4686f7374a168a4706f7274cd2385",
  },
  { record: { type: "controller-removed", id: 1 }, hex: "93b2636f6e74726f6c6c65722d72656d6f7665640001" },
];

test.for(golden)("$record.type $version is read as it was written", ({ record, hex, version }) => {
  const bytes = Buffer.from(`93050191${hex}`, "hex");
  expect(decodeBatch(bytes)).toEqual({ offset: 5, timeMs: 1, records: [record] });
  if (version !== undefined) return;
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
    [
      ["broker", 2],
      'version 2 of metadata record "broker" is unknown to this version of Millrace, which knows version 0 and 1',
    ],
  ] as const)("%j", ([array, message]) => {
    expect(() => read(...array)).toThrow(new UnknownMetadataRecord(message));
  });
});
