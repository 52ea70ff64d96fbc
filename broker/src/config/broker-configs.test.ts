import { expect, test } from "vitest";
import { BrokerConfigs } from "./broker-configs.ts";
import type { ConfigEntry } from "./broker-configs.ts";
import { allBrokers, ResourceType } from "./resources.ts";

interface Levels {
  readonly texts?: Readonly<Record<string, string>>;
  readonly broker?: Readonly<Record<string, string>>;
  readonly cluster?: Readonly<Record<string, string>>;
  readonly topic?: Readonly<Record<string, string>>;
  readonly group?: Readonly<Record<string, string>>;
}

function configsWith({ texts = {}, broker = {}, cluster = {}, topic = {}, group = {} }: Levels): BrokerConfigs {
  const of = new Map([
    [`${ResourceType.BROKER} 1`, broker],
    [`${ResourceType.BROKER} ${allBrokers}`, cluster],
    [`${ResourceType.TOPIC} orders`, topic],
    [`${ResourceType.GROUP} g`, group],
  ]);
  return new BrokerConfigs({
    nodeId: 1,
    texts: new Map(Object.entries(texts)),
    overrides: {
      configVersion: 0,
      configsOf: (type, name) => new Map(Object.entries(of.get(`${type} ${name}`) ?? {})),
    },
  });
}

function described(
  configs: BrokerConfigs,
  name: string,
  overrides: Readonly<Record<string, string>> = {},
): ConfigEntry {
  return configs.describeTopic(new Map(Object.entries(overrides))).find((entry) => entry.name === name)!;
}

test("topic override, broker, all brokers, given at start, default: the first that is there counts", () => {
  const levels: Levels = {
    texts: { "message.max.bytes": "4" },
    cluster: { "message.max.bytes": "3" },
    broker: { "message.max.bytes": "2" },
    topic: { "max.message.bytes": "1" },
  };
  const size = (given: Levels): number => configsWith(given).topic("orders")["max.message.bytes"];
  expect(size(levels)).toBe(1);
  expect(size({ ...levels, topic: {} })).toBe(2);
  expect(size({ ...levels, topic: {}, broker: {} })).toBe(3);
  expect(size({ ...levels, topic: {}, broker: {}, cluster: {} })).toBe(4);
  expect(size({})).toBe(1_048_588);
});

test("the coarser units of a broker setting count while the fine one has no value", () => {
  const retention = (texts: Readonly<Record<string, string>>): number =>
    configsWith({ texts }).topic("orders")["retention.ms"];
  expect(retention({})).toBe(604_800_000);
  expect(retention({ "log.retention.hours": "1" })).toBe(3_600_000);
  expect(retention({ "log.retention.hours": "1", "log.retention.minutes": "2" })).toBe(120_000);
  expect(retention({ "log.retention.hours": "1", "log.retention.minutes": "2", "log.retention.ms": "3" })).toBe(3);
  expect(retention({ "log.retention.hours": "-1" })).toBe(-1);
  expect(configsWith({ texts: { "log.roll.hours": "2" } }).topic("orders")["segment.ms"]).toBe(7_200_000);
  expect(configsWith({}).broker["log.dirs"]).toEqual(["./data"]);
  expect(configsWith({ texts: { "log.dir": "/d" } }).broker["log.dirs"]).toEqual(["/d"]);
});

test("a long beyond 2^53 saturates in the program and keeps its text for people", () => {
  const configs = configsWith({});
  expect(configs.topic("orders")["flush.messages"]).toBe(Number.MAX_SAFE_INTEGER);
  expect(described(configs, "flush.messages").value).toBe("9223372036854775807");
  expect(described(configs, "retention.ms", { "retention.ms": "9223372036854775807" }).value).toBe(
    "9223372036854775807",
  );
});

test("DescribeConfigs lists every value that was given, the one that counts first", () => {
  const configs = configsWith({ texts: { "message.max.bytes": "4" }, cluster: { "message.max.bytes": " 3" } });
  expect(described(configs, "max.message.bytes", { "max.message.bytes": "0100" })).toMatchObject({
    value: "100",
    source: 1,
    type: 3,
    isReadOnly: false,
    synonyms: [
      { name: "max.message.bytes", value: "100", source: 1 },
      { name: "message.max.bytes", value: "3", source: 3 },
      { name: "message.max.bytes", value: "4", source: 4 },
      { name: "message.max.bytes", value: "1048588", source: 5 },
    ],
  });
});

test("a value under the name of a coarser unit is no synonym, as in Kafka", () => {
  const configs = configsWith({ texts: { "log.retention.hours": "1" } });
  expect(described(configs, "retention.ms")).toMatchObject({ value: "3600000", source: 5, synonyms: [] });
  const both = configsWith({ texts: { "log.retention.hours": "1", "log.retention.ms": "7" } });
  expect(described(both, "retention.ms")).toMatchObject({
    value: "7",
    source: 4,
    synonyms: [
      { name: "log.retention.ms", value: "7", source: 4 },
      { name: "log.retention.hours", value: "1", source: 4 },
      { name: "log.retention.hours", value: "168", source: 5 },
    ],
  });
});

test("topics and the broker show settings of several units as Apache Kafka 4.3.1 shows them", () => {
  const shown = ({ value, source, synonyms }: ConfigEntry): string =>
    [`${value} from ${source}`, ...synonyms.map((each) => `${each.name}=${each.value} from ${each.source}`)].join(", ");
  const topic = (levels: Levels, name: string): string => shown(described(configsWith(levels), name));
  const broker = (levels: Levels, name: string): string =>
    shown(
      configsWith(levels)
        .describeBroker()
        .find((entry) => entry.name === name)!,
    );
  const coarse = {
    "log.retention.hours": "1",
    "log.roll.hours": "2",
    "log.roll.jitter.hours": "1",
    "log.flush.scheduler.interval.ms": "5000",
  };
  expect(topic({ texts: coarse }, "retention.ms")).toBe("3600000 from 5");
  expect(topic({ texts: coarse }, "segment.ms")).toBe("7200000 from 5");
  expect(topic({ texts: coarse }, "segment.jitter.ms")).toBe("3600000 from 5");
  expect(topic({ texts: coarse }, "flush.ms")).toBe("5000 from 5");
  expect(broker({ texts: coarse }, "log.retention.ms")).toBe("null from 5");
  expect(broker({ texts: coarse }, "log.retention.minutes")).toBe("null from 5");
  expect(broker({ texts: coarse }, "log.retention.hours")).toBe(
    "1 from 4, log.retention.hours=1 from 4, log.retention.hours=168 from 5",
  );

  const minutes = { "log.retention.hours": "1", "log.retention.minutes": "2" };
  expect(topic({ texts: minutes }, "retention.ms")).toBe("120000 from 5");
  expect(topic({ texts: { "log.retention.minutes": "-1" } }, "retention.ms")).toBe("-1 from 5");
  expect(broker({ texts: minutes }, "log.retention.minutes")).toBe(
    "2 from 4, log.retention.minutes=2 from 4, log.retention.hours=1 from 4, log.retention.hours=168 from 5",
  );

  const changed = { texts: minutes, cluster: { "log.retention.ms": "77", "log.roll.ms": "78000" } };
  const all =
    "77 from 3, log.retention.ms=77 from 3, log.retention.minutes=2 from 4, log.retention.hours=1 from 4, log.retention.hours=168 from 5";
  expect(topic(changed, "retention.ms")).toBe(all);
  expect(broker(changed, "log.retention.ms")).toBe(all);
  expect(topic(changed, "segment.ms")).toBe("78000 from 3, log.roll.ms=78000 from 3, log.roll.hours=168 from 5");

  const fine = { "log.roll.hours": "3", "log.roll.ms": "9000000" };
  expect(topic({ texts: fine }, "segment.ms")).toBe(
    "9000000 from 4, log.roll.ms=9000000 from 4, log.roll.hours=3 from 4, log.roll.hours=168 from 5",
  );
});

test("a setting that takes its value from a coarser unit has it in its own", () => {
  const { broker } = configsWith({ texts: { "log.retention.hours": "2" } });
  expect(broker["log.retention.minutes"]).toBe(120);
  expect(broker["log.retention.ms"]).toBe(7_200_000);
});

test("a broker shows all its settings; read-only ones say so, and unknown ones show nothing", () => {
  const entries = configsWith({ texts: { "num.partitions": "3" }, broker: { "no.such.key": "x" } }).describeBroker();
  const entry = (name: string): ConfigEntry => entries.find((candidate) => candidate.name === name)!;
  expect(entry("num.partitions")).toMatchObject({ value: "3", source: 4, isReadOnly: true });
  expect(entry("message.max.bytes")).toMatchObject({ value: "1048588", source: 5, isReadOnly: false });
  expect(entry("log.retention.ms")).toMatchObject({ value: null, source: 5, synonyms: [] });
  expect(entry("delegation.token.secret.key")).toMatchObject({ value: null, isSensitive: true, type: 9 });
  expect(entry("no.such.key")).toMatchObject({
    value: null,
    isSensitive: true,
    isReadOnly: true,
    source: 2,
    type: 0,
    synonyms: [{ name: "no.such.key", value: null, source: 2 }],
  });
});

test("all brokers together show what was set for all of them, and nothing else", () => {
  expect(configsWith({}).describeAllBrokers()).toEqual([]);
  const entries = configsWith({
    cluster: { "log.retention.ms": "99" },
    broker: { "message.max.bytes": "5" },
  }).describeAllBrokers();
  expect(entries).toMatchObject([
    {
      name: "log.retention.ms",
      value: "99",
      source: 3,
      synonyms: [{ name: "log.retention.ms", value: "99", source: 3 }],
    },
  ]);
});

test("a group shows its own value, or the broker's", () => {
  const entries = configsWith({ group: { "consumer.session.timeout.ms": "50000" } }).describeGroup("g");
  expect(entries).toHaveLength(17);
  expect(entries.find(({ name }) => name === "consumer.session.timeout.ms")).toMatchObject({
    value: "50000",
    source: 8,
    synonyms: [
      { name: "consumer.session.timeout.ms", value: "50000", source: 8 },
      { name: "group.consumer.session.timeout.ms", value: "45000", source: 5 },
    ],
  });
  expect(entries.find(({ name }) => name === "share.auto.offset.reset")).toMatchObject({
    value: "latest",
    source: 5,
    synonyms: [{ name: "share.auto.offset.reset", value: "latest", source: 5 }],
  });
});

test("typed values are computed once a change", () => {
  let configVersion = 0;
  const overrides = new Map([["num.partitions", "5"]]);
  const configs = new BrokerConfigs({
    nodeId: 1,
    texts: new Map(),
    overrides: {
      get configVersion() {
        return configVersion;
      },
      configsOf: (type, name) => (type === ResourceType.TOPIC && name === "orders" ? overrides : new Map()),
    },
  });
  const before = configs.topic("orders");
  expect(configs.topic("orders")).toBe(before);
  expect(configs.topic("a")).toBe(configs.topic("b"));
  overrides.set("retention.ms", "5");
  expect(configs.topic("orders")).toBe(before);
  configVersion++;
  expect(configs.topic("orders")["retention.ms"]).toBe(5);
  expect(before["retention.ms"]).toBe(604_800_000);
});

test("a stored value that is not valid any more gives way to the next level", () => {
  const configs = configsWith({ topic: { "segment.bytes": "1" }, broker: { "message.max.bytes": "x" } });
  expect(configs.topic("orders")["segment.bytes"]).toBe(1_073_741_824);
  expect(configs.broker["message.max.bytes"]).toBe(1_048_588);
});

test("a group has its own value within the broker's bounds, or the broker's", () => {
  const texts = { "group.consumer.heartbeat.interval.ms": "7000", "group.consumer.max.session.timeout.ms": "50000" };
  const group = { "consumer.session.timeout.ms": "60000", "consumer.assignment.interval.ms": "0" };
  const configs = configsWith({ texts, group });
  expect(configs.group("g")["consumer.heartbeat.interval.ms"]).toBe(7_000);
  // It was allowed when it was set; the broker was started with a lower bound since.
  expect(configs.group("g")["consumer.session.timeout.ms"]).toBe(50_000);
  expect(configs.group("g")["consumer.assignment.interval.ms"]).toBe(0);
  expect(configs.group("other")["consumer.session.timeout.ms"]).toBe(45_000);
  expect(configs.group("other")).toBe(configs.group("another"));
});
