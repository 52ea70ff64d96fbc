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

/** Name, type, default and valid values, as the `LogConfig` of Apache Kafka 4.3.1 defines them. */
const kafkasTopicSettings = `
cleanup.policy | LIST | delete | [compact, delete]
compression.gzip.level | INT | -1 | [1,...,9] or -1
compression.lz4.level | INT | 9 | [1,...,17]
compression.type | STRING | producer | [uncompressed, zstd, lz4, snappy, gzip, producer]
compression.zstd.level | INT | 3 | [-131072,...,22]
delete.retention.ms | LONG | 86400000 | [0,...]
file.delete.delay.ms | LONG | 60000 | [0,...]
flush.messages | LONG | 9223372036854775807 | [1,...]
flush.ms | LONG | 9223372036854775807 | [0,...]
follower.replication.throttled.replicas | LIST |  | [partitionId]:[brokerId],[partitionId]:[brokerId],...
index.interval.bytes | INT | 4096 | [0,...]
leader.replication.throttled.replicas | LIST |  | [partitionId]:[brokerId],[partitionId]:[brokerId],...
local.retention.bytes | LONG | -2 | [-2,...]
local.retention.ms | LONG | -2 | [-2,...]
max.compaction.lag.ms | LONG | 9223372036854775807 | [1,...]
max.message.bytes | INT | 1048588 | [0,...]
message.timestamp.after.max.ms | LONG | 3600000 | [0,...]
message.timestamp.before.max.ms | LONG | 9223372036854775807 | [0,...]
message.timestamp.type | STRING | CreateTime | [CreateTime, LogAppendTime]
min.cleanable.dirty.ratio | DOUBLE | 0.5 | [0,...,1]
min.compaction.lag.ms | LONG | 0 | [0,...]
min.insync.replicas | INT | 1 | [1,...]
preallocate | BOOLEAN | false | null
remote.log.copy.disable | BOOLEAN | false | null
remote.log.delete.on.disable | BOOLEAN | false | null
remote.storage.enable | BOOLEAN | false | null
retention.bytes | LONG | -1 | null
retention.ms | LONG | 604800000 | [-1,...]
segment.bytes | INT | 1073741824 | [1048576,...]
segment.index.bytes | INT | 10485760 | [4,...]
segment.jitter.ms | LONG | 0 | [0,...]
segment.ms | LONG | 604800000 | [1,...]
unclean.leader.election.enable | BOOLEAN | false | null
`;

/** In Kafka's words. */
function validValues({ form, oneOf, min, max, orEqual }: TopicKey): string {
  if (form === "throttled-replicas") return "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
  if (oneOf !== undefined) return `[${oneOf.join(", ")}]`;
  if (min === undefined) return "null";
  return `[${min},...${max === undefined ? "" : `,${max}`}]${orEqual === undefined ? "" : ` or ${orEqual}`}`;
}

test("every topic setting of Apache Kafka 4.3 is there with its type, default and bounds, and two of our own", () => {
  const ours = Object.entries(topicTable).filter(([, key]) => key.differs?.kafka !== null);
  const lines = ours.map(([name, key]) =>
    [name, key.kind.toUpperCase(), defaultOf(name, key).text, validValues(key)].join(" | "),
  );
  expect(lines.toSorted()).toEqual(kafkasTopicSettings.trim().split("\n"));
  const own = Object.keys(topicTable).filter((name) => topicTable[name]?.differs?.kafka === null);
  expect(own).toEqual(["millrace.compact.request", "millrace.durability"]);
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
