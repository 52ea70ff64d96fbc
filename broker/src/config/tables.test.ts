import { describe, expect, test } from "vitest";
import { BrokerConfigs } from "./broker-configs.ts";
import { brokerKeys } from "./broker-keys.ts";
import type { BrokerConfig } from "./broker-keys.ts";
import { clientMetricsKeys } from "./client-metrics-keys.ts";
import { groupKeys } from "./group-keys.ts";
import type { BrokerKey, ConfigTable, GroupKey, TopicKey } from "./key.ts";
import { environmentName } from "./static-config.ts";
import { topicKeys } from "./topic-keys.ts";
import { defaultOf } from "./value.ts";

const topicTable: ConfigTable<TopicKey> = topicKeys;
const brokerTable: ConfigTable<BrokerKey> = brokerKeys;
const groupTable: ConfigTable<GroupKey> = groupKeys;
const tables: Readonly<Record<string, ConfigTable>> = {
  topic: topicTable,
  broker: brokerTable,
  group: groupTable,
  "client metrics": clientMetricsKeys,
};

describe.for(Object.entries(tables))("the %s table", ([, table]) => {
  test("has a valid default and a sentence in each row", () => {
    for (const [name, key] of Object.entries(table)) {
      expect(() => defaultOf(name, key), name).not.toThrow();
      expect(key.doc, name).toMatch(/^\S.*\.$/);
      if (key.differs !== undefined) expect(key.differs.why, name).toMatch(/^\S.*\.$/);
    }
  });
});

test("every topic setting of Apache Kafka 4.3 is there, and two of our own", () => {
  expect(Object.keys(topicKeys).sort()).toEqual(
    `cleanup.policy compression.gzip.level compression.lz4.level compression.type compression.zstd.level
    delete.retention.ms file.delete.delay.ms flush.messages flush.ms follower.replication.throttled.replicas
    index.interval.bytes leader.replication.throttled.replicas local.retention.bytes local.retention.ms
    max.compaction.lag.ms max.message.bytes message.timestamp.after.max.ms message.timestamp.before.max.ms
    message.timestamp.type millrace.compact.request millrace.durability min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas
    preallocate remote.log.copy.disable remote.log.delete.on.disable remote.storage.enable retention.bytes retention.ms
    segment.bytes segment.index.bytes segment.jitter.ms segment.ms unclean.leader.election.enable`.split(/\s+/),
  );
});

test("what one table says of another is there, and agrees", () => {
  const configs = new BrokerConfigs({
    nodeId: 1,
    texts: new Map(),
    overrides: { configVersion: 0, configsOf: () => new Map() },
  });
  for (const [name, key] of Object.entries(topicTable)) {
    if (key.fallback === undefined) continue;
    expect(brokerTable, name).toHaveProperty([key.fallback]);
    expect(configs.broker[key.fallback as keyof BrokerConfig], name).toEqual(defaultOf(name, key).value);
  }
  for (const [name, key] of Object.entries(groupTable)) {
    const { fallback, within } = key;
    for (const other of [fallback, within?.min, within?.max]) {
      if (other !== undefined) expect(brokerTable, name).toHaveProperty([other]);
    }
    if (fallback !== undefined) {
      expect(defaultOf(fallback, brokerTable[fallback]!).text, name).toBe(defaultOf(name, key).text);
    }
  }
  for (const [name, key] of Object.entries(brokerTable)) {
    for (const other of key.otherwise ?? []) expect(brokerTable, name).toHaveProperty([other]);
  }
});

test("two settings never share an environment variable", () => {
  const names = Object.keys(brokerTable).map(environmentName);
  expect(new Set(names).size).toBe(names.length);
  expect(environmentName("num.partitions")).toBe("MILLRACE_NUM_PARTITIONS");
  expect(environmentName("millrace.durability")).toBe("MILLRACE_DURABILITY");
});

test("a setting that only Millrace has says so", () => {
  const own = Object.entries(tables).flatMap(([, table]) =>
    Object.entries(table).filter(([name]) => name.startsWith("millrace.") || name === "record.validation"),
  );
  expect(own.length).toBeGreaterThan(5);
  for (const [name, key] of own) expect(key.differs?.kafka, name).toBeNull();
});
