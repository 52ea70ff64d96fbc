import { describe, expect, test } from "vitest";
import { BrokerConfigs } from "../../config/broker-configs.ts";
import { allBrokers, ResourceType } from "../../config/resources.ts";
import { registration, wish } from "../../../test/metadata-world.ts";
import { ReplayedImage } from "../image.ts";
import { alterConfigs, ConfigOperation } from "./alter-configs.ts";
import type { ConfigChange, ResourceChanges } from "./alter-configs.ts";
import { registerBroker } from "./brokers.ts";
import { createTopics } from "./create-topics.ts";
import type { Decision, DecisionContext } from "./decision.ts";

const set = (name: string, value: string | null): ConfigChange => ({ name, operation: ConfigOperation.SET, value });
const unset = (name: string): ConfigChange => ({ name, operation: ConfigOperation.DELETE, value: null });
const append = (name: string, value: string): ConfigChange => ({ name, operation: ConfigOperation.APPEND, value });
const subtract = (name: string, value: string): ConfigChange => ({ name, operation: ConfigOperation.SUBTRACT, value });

function of(type: number, name: string, ...changes: readonly ConfigChange[]): ResourceChanges {
  return { type, name, changes, replacesAll: false };
}
const topic = (...changes: readonly ConfigChange[]): ResourceChanges => of(ResourceType.TOPIC, "b", ...changes);
const broker = (...changes: readonly ConfigChange[]): ResourceChanges => of(ResourceType.BROKER, "1", ...changes);
const cluster = (...changes: readonly ConfigChange[]): ResourceChanges =>
  of(ResourceType.BROKER, allBrokers, ...changes);
const group = (...changes: readonly ConfigChange[]): ResourceChanges => of(ResourceType.GROUP, "g", ...changes);
const metrics = (...changes: readonly ConfigChange[]): ResourceChanges =>
  of(ResourceType.CLIENT_METRICS, "m", ...changes);
const logger = (...changes: readonly ConfigChange[]): ResourceChanges =>
  of(ResourceType.BROKER_LOGGER, "1", ...changes);

class World {
  readonly image = new ReplayedImage();
  readonly configs = new BrokerConfigs({ nodeId: 1, texts: new Map(), overrides: this.image });
  readonly context: DecisionContext = {
    image: this.image,
    configs: this.configs,
    newTopicId: () => "AAECAwQFBgcICQoLDA0ODw",
  };

  constructor() {
    this.#follow(registerBroker(this.context, registration(1)));
    const configs = [{ name: "retention.ms", value: "1000" }];
    this.#follow(createTopics(this.context, [wish("b", { configs })]));
  }

  alter(...resources: readonly ResourceChanges[]): string[] {
    const results = this.#follow(alterConfigs(this.context, resources));
    return results.map((result) => (result.ok ? "ok" : `${result.failure}: ${result.message ?? ""}`));
  }

  overrides(type: ResourceType, name: string): Record<string, string> {
    return Object.fromEntries(this.image.configsOf(type, name));
  }

  #follow<T>({ response, records }: Decision<T>): T {
    if (records.length > 0) this.image.replay({ offset: this.image.offset + 1, timeMs: 0, records });
    return response;
  }
}

describe("what is refused, and how Kafka says it", () => {
  test.for<[ResourceChanges, string]>([
    [topic(set("nope", "1")), "invalid-config: Unknown topic config name: nope"],
    [
      topic(set("retention.ms", "xx")),
      "invalid-config: Invalid value xx for configuration retention.ms: Not a number of type LONG",
    ],
    [topic(set("retention.ms", null)), "bad-request: Null value not supported for : retention.ms"],
    [topic(set("retention.ms", "1"), set("retention.ms", "2")), "bad-request: Error due to duplicate config keys"],
    [
      topic(append("retention.ms", "1")),
      "invalid-config: Can't APPEND to key retention.ms because its type is not LIST.",
    ],
    [topic(append("nope", "1")), "invalid-config: Can't APPEND to key nope because its type is not LIST."],
    [
      topic(append("cleanup.policy", "foo")),
      "invalid-config: Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
    ],
    [topic({ name: "retention.ms", operation: 9, value: "1" }), "bad-request: Unknown operation type 9"],
    [topic(unset("nope")), "ok"],
    [topic(), "ok"],
    [of(ResourceType.TOPIC, "zz", set("retention.ms", "1")), "unknown-topic: The topic 'zz' does not exist."],
    [of(ResourceType.TOPIC, "", set("retention.ms", "1")), "bad-request: Default topic resources are not allowed."],
    [of(99, "b", set("retention.ms", "1")), "bad-request: Unknown resource type 99"],
    [
      broker(set("num.partitions", "3"), set("log.dirs", "3")),
      "bad-request: Cannot update these configs dynamically: [num.partitions, log.dirs]",
    ],
    [
      broker(set("message.max.bytes", "abc")),
      "bad-request: Invalid value abc for configuration message.max.bytes: Not a number of type INT",
    ],
    [
      broker(set("message.max.bytes", "-5")),
      "bad-request: Invalid value -5 for configuration message.max.bytes: Value must be at least 0",
    ],
    [
      broker(set("max.connections", "0")),
      "bad-request: Invalid value 0 for configuration max.connections: Value must be at least 1",
    ],
    [
      broker(set("max.connection.creation.rate", "0")),
      "bad-request: Invalid value 0 for configuration max.connection.creation.rate: Value must be at least 1",
    ],
    [broker(set("max.connections.per.ip", "0")), "ok"],
    [
      broker(set("producer.id.expiration.ms", "0")),
      "bad-request: Invalid value 0 for configuration producer.id.expiration.ms: Value must be at least 1",
    ],
    [
      broker(append("message.max.bytes", "1")),
      "invalid-config: Config value append is not allowed for config key: message.max.bytes",
    ],
    [broker(unset("num.partitions")), "ok"],
    [broker(set("no.such.key", "x")), "ok"],
    [
      of(ResourceType.BROKER, "7", set("message.max.bytes", "1")),
      "bad-request: Unexpected broker id, expected 1, but received 7",
    ],
    [
      of(ResourceType.BROKER, "abc", set("message.max.bytes", "1")),
      "bad-request: Node id must be an integer, but it is: abc",
    ],
    [
      group(set("consumer.session.timeout.ms", "1")),
      "invalid-config: consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
    ],
    [
      group(set("consumer.heartbeat.interval.ms", "60000")),
      "invalid-config: consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
    ],
    [
      group(set("streams.num.standby.replicas", "3")),
      "invalid-config: streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
    ],
    [
      group(set("share.delivery.count.limit", "1")),
      "invalid-config: Invalid value 1 for configuration share.delivery.count.limit: Value must be at least 2",
    ],
    [group(set("nope", "1")), "invalid-config: Unknown group config name: nope"],
    [of(ResourceType.GROUP, ""), "bad-request: Default group resources are not allowed."],
    [
      metrics(set("interval.ms", "1")),
      "bad-request: Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
    ],
    [
      metrics(set("interval.ms", "x")),
      "invalid-config: Invalid value x for configuration interval.ms: Not a number of type INT",
    ],
    [metrics(set("match", "foo=b")), "invalid-config: Illegal client matching pattern: foo=b"],
    [metrics(set("nope", "1")), "bad-request: Unknown client metrics configuration: nope"],
    [of(ResourceType.CLIENT_METRICS, ""), "bad-request: Subscription name can't be empty"],
    [logger(set("kafka.foo", "INFO")), "invalid-config: Logger kafka.foo does not exist!"],
    [
      logger(set("root", "NOPE")),
      "invalid-config: Cannot set the log level of root to NOPE as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
    ],
    [
      logger(set("root", "DEBUG")),
      "bad-request: The log level is set at start and cannot be changed while the broker runs",
    ],
    [logger(append("root", "INFO")), "bad-request: APPEND operation is not allowed for the BROKER_LOGGER resource"],
    [logger(unset("root")), "bad-request: Removing the log level of the root logger is not allowed"],
    [
      of(ResourceType.BROKER_LOGGER, "7", set("root", "INFO")),
      "bad-request: Unexpected node id. Expected 1, but received 7",
    ],
  ])("%j", ([resource, outcome]) => {
    expect(new World().alter(resource)).toEqual([outcome]);
  });

  test("a resource that appears twice is refused both times, the others are not", () => {
    expect(new World().alter(topic(set("retention.ms", "1")), topic(), broker())).toEqual([
      "bad-request: Each resource must appear at most once.",
      "bad-request: Each resource must appear at most once.",
      "ok",
    ]);
  });

  test("of a resource with one wrong change nothing is changed", () => {
    const world = new World();
    world.alter(topic(set("segment.ms", "5"), set("nope", "1")));
    expect(world.overrides(ResourceType.TOPIC, "b")).toEqual({ "retention.ms": "1000" });
  });
});

describe("IncrementalAlterConfigs", () => {
  test("changes what is named and leaves the rest", () => {
    const world = new World();
    expect(world.alter(topic(set("segment.ms", "5"), set("flush.ms", "9223372036854775807")))).toEqual(["ok"]);
    expect(world.overrides(ResourceType.TOPIC, "b")).toEqual({
      "retention.ms": "1000",
      "segment.ms": "5",
      "flush.ms": "9223372036854775807",
    });
    world.alter(topic(unset("retention.ms"), unset("segment.ms")));
    expect(world.overrides(ResourceType.TOPIC, "b")).toEqual({ "flush.ms": "9223372036854775807" });
    expect(world.configs.topic("b")["retention.ms"]).toBe(604_800_000);
  });

  test("appends to what counts now, subtracts, and may leave a list empty", () => {
    const world = new World();
    const policy = (): string | undefined => world.overrides(ResourceType.TOPIC, "b")["cleanup.policy"];
    world.alter(topic(append("cleanup.policy", "compact")));
    expect(policy()).toBe("delete,compact");
    world.alter(topic(append("cleanup.policy", "compact")));
    expect(policy()).toBe("delete,compact");
    world.alter(topic(subtract("cleanup.policy", "delete,foo")));
    expect(policy()).toBe("compact");
    world.alter(topic(subtract("cleanup.policy", "compact")));
    expect(policy()).toBe("");
    expect(world.configs.topic("b")["cleanup.policy"]).toEqual([]);
    world.alter(cluster(append("log.cleanup.policy", "compact")));
    expect(world.overrides(ResourceType.BROKER, "")).toEqual({ "log.cleanup.policy": "delete,compact" });
  });

  test("a broker's value counts before the one for all brokers", () => {
    const world = new World();
    world.alter(cluster(set("message.max.bytes", "3000")), broker(set("message.max.bytes", "2000")));
    expect(world.configs.topic("b")["max.message.bytes"]).toBe(2000);
    world.alter(broker(unset("message.max.bytes")));
    expect(world.configs.topic("b")["max.message.bytes"]).toBe(3000);
    world.alter(cluster(unset("message.max.bytes")));
    expect(world.configs.topic("b")["max.message.bytes"]).toBe(1_048_588);
  });

  test("what is as it was makes no record", () => {
    const { context } = new World();
    expect(alterConfigs(context, [topic(set("retention.ms", "1000"), unset("segment.ms"))]).records).toEqual([]);
  });
});

test("a list that grows until no answer could show it is refused", () => {
  const world = new World();
  const many = Array.from({ length: 4000 }, (_, index) => `${index}:1`).join(",");
  expect(world.alter(topic(set("leader.replication.throttled.replicas", many)))).toEqual(["ok"]);
  const more = Array.from({ length: 2000 }, (_, index) => `${index}:2`).join(",");
  expect(world.alter(topic(append("leader.replication.throttled.replicas", more)))[0]).toMatch(
    /^invalid-config: A name or value is longer than 32767 bytes/,
  );
});

test("AlterConfigs takes away what it does not name", () => {
  const world = new World();
  world.alter(topic(set("segment.ms", "5")));
  expect(world.alter({ ...topic(set("flush.ms", "7")), replacesAll: true })).toEqual(["ok"]);
  expect(world.overrides(ResourceType.TOPIC, "b")).toEqual({ "flush.ms": "7" });
  expect(world.alter({ ...logger(), replacesAll: true })).toEqual(["bad-request: Unknown resource type 8"]);
});
