import { expect, test } from "vitest";
import { ResourceType } from "../config/resources.ts";
import { ReplayedImage } from "./image.ts";
import { noExtras } from "./records.ts";
import type { BrokerRecord, MetadataRecord, PartitionRecord } from "./records.ts";

const id = (text: string): string => text.padEnd(22, "A");

function partition(topicId: string, index: number): PartitionRecord {
  const first = { replicas: [1], isr: [1], leader: 1, leaderEpoch: 0, partitionEpoch: 0 };
  return { type: "partition", topicId, index, ...first, ...noExtras };
}

function replayed(...records: readonly MetadataRecord[]): ReplayedImage {
  const image = new ReplayedImage();
  image.replay({ offset: 0, timeMs: 0, records });
  return image;
}

const orders: readonly MetadataRecord[] = [
  { type: "topic", name: "orders", id: id("o") },
  partition(id("o"), 0),
  partition(id("o"), 1),
  {
    type: "config",
    resourceType: ResourceType.TOPIC,
    resourceName: "orders",
    name: "retention.ms",
    value: "5",
  },
];

const broker: BrokerRecord = {
  type: "broker",
  id: 1,
  epoch: 6,
  incarnationId: id("i"),
  rack: "r",
  endpoints: [],
  isFenced: false,
  isInControlledShutdown: true,
  directoryIds: [id("d")],
  cordonedDirectoryIds: [id("d")],
  features: [{ name: "kraft.version", minVersion: 0, maxVersion: 1 }],
};

test("topics are found by name and by id", () => {
  const image = replayed(...orders);
  expect(image.topic("orders")).toBe(image.topicById(id("o")));
  expect(image.topic("orders")?.partitions.map(({ index }) => index)).toEqual([0, 1]);
  expect([image.topicCount, image.partitionCount, image.offset]).toEqual([1, 2, 3]);
  expect(image.topic("nope")).toBeUndefined();
});

test("names that differ in . and _ only collide; a name does not collide with itself", () => {
  const image = replayed({ type: "topic", name: "a.b_c", id: id("x") });
  expect(image.collidingTopic("a_b.c")).toBe("a.b_c");
  expect(image.collidingTopic("a.b_c")).toBeUndefined();
  image.replay({ offset: 1, timeMs: 0, records: [{ type: "topic-removed", id: id("x") }] });
  expect(image.collidingTopic("a_b.c")).toBeUndefined();
});

test("a topic goes with its partitions and settings", () => {
  const image = replayed(...orders);
  const { configVersion } = image;
  const delta = image.replay({ offset: 4, timeMs: 0, records: [{ type: "topic-removed", id: id("o") }] });
  expect(delta.deletedTopics.map(({ name }) => name)).toEqual(["orders"]);
  expect([image.topicCount, image.partitionCount]).toEqual([0, 0]);
  expect(image.configsOf(ResourceType.TOPIC, "orders").size).toBe(0);
  expect(image.configVersion).toBeGreaterThan(configVersion);
});

test("a topic that was handed out does not change in its holder's hands", () => {
  const image = replayed(...orders);
  const before = image.topic("orders");
  const delta = image.replay({ offset: 4, timeMs: 0, records: [partition(id("o"), 2)] });
  expect(before?.partitions).toHaveLength(2);
  expect(delta.changedTopics).toEqual([image.topic("orders")]);
  expect(image.topic("orders")?.partitions).toHaveLength(3);
});

test("a delta tells new topics from those with other settings", () => {
  const image = new ReplayedImage();
  expect(image.replay({ offset: 0, timeMs: 0, records: orders })).toMatchObject({
    changedTopics: [{ name: "orders" }],
    reconfiguredTopics: [],
    isBrokerReconfigured: false,
  });
  const config = { type: "config", name: "x", value: "1" } as const;
  const records: MetadataRecord[] = [
    { ...config, resourceType: ResourceType.TOPIC, resourceName: "orders" },
    { ...config, resourceType: ResourceType.BROKER, resourceName: "" },
  ];
  expect(image.replay({ offset: 4, timeMs: 0, records })).toEqual({
    deletedTopics: [],
    changedTopics: [],
    reconfiguredTopics: ["orders"],
    isBrokerReconfigured: true,
    changedBrokers: [],
  });
});

test("settings come and go; a resource without any is gone", () => {
  const image = replayed(...orders);
  const change = (offset: number, value: string | null): void => {
    const record = { type: "config", resourceType: ResourceType.GROUP, resourceName: "g", name: "n", value } as const;
    image.replay({ offset, timeMs: 0, records: [record] });
  };
  change(4, "1");
  expect(image.configsOf(ResourceType.GROUP, "g")).toEqual(new Map([["n", "1"]]));
  expect([...image.configuredResources(ResourceType.GROUP)]).toEqual(["g"]);
  change(5, null);
  expect([...image.configuredResources(ResourceType.GROUP)]).toEqual([]);
  change(6, null);
});

test("what does not fit is a bug", () => {
  expect(() => replayed(partition(id("?"), 0))).toThrow("the topic with id");
  expect(() => replayed({ type: "topic", name: "a", id: id("a") }, partition(id("a"), 1))).toThrow("is the next one");
  expect(() => replayed(orders[0]!, orders[0]!)).toThrow("is new");
  expect(() => new ReplayedImage().replay({ offset: 1, timeMs: 0, records: [] })).toThrow("follows -1");
  const down: MetadataRecord = {
    type: "partition-change",
    topicId: id("o"),
    index: 0,
    isr: [1],
    leader: 1,
    leaderEpoch: -1,
    partitionEpoch: 1,
    replicas: null,
    ...noExtras,
  };
  expect(() => replayed(...orders, down)).toThrow("never goes back");
});

test("brokers and controllers come and go, and the delta names the brokers", () => {
  const image = new ReplayedImage();
  const endpoints = [{ listener: "CONTROLLER", host: "h", port: 1 }];
  const controller: MetadataRecord = { type: "controller", id: 7, directoryId: id("d"), endpoints };
  const follow = (...records: readonly MetadataRecord[]): readonly number[] =>
    image.replay({ offset: image.offset + 1, timeMs: 0, records }).changedBrokers;
  expect(follow(broker, controller, { ...broker, isFenced: true })).toEqual([1]);
  expect(image.brokers.get(1)?.isFenced).toBe(true);
  expect(image.controllers.get(7)?.endpoints).toEqual(endpoints);
  expect(() => follow({ type: "broker-removed", id: 1, epoch: 5 })).toThrow("broker 1 is the one removed");
});

test("a broker and a controller that were removed are gone", () => {
  const image = replayed(broker, { type: "controller", id: 7, directoryId: id("d"), endpoints: [] });
  const records: MetadataRecord[] = [
    { type: "broker-removed", id: 1, epoch: 6 },
    { type: "controller-removed", id: 7 },
  ];
  expect(image.replay({ offset: 2, timeMs: 0, records }).changedBrokers).toEqual([1]);
  expect([image.brokers.size, image.controllers.size]).toEqual([0, 0]);
});

test("the partitions of a broker are those of which it has a replica", () => {
  const image = replayed(...orders, { type: "topic", name: "other", id: id("x") }, partition(id("x"), 0));
  const names = (broker: number): string[] =>
    [...image.partitionsOf(broker)].map((at) => `${at.topic.name}-${at.partition.index}`);
  expect(names(1)).toEqual(["orders-0", "orders-1", "other-0"]);
  expect(names(2)).toEqual([]);
  const moved = { isr: [2], leader: 2, leaderEpoch: 1, partitionEpoch: 1, replicas: [2], ...noExtras };
  const records: MetadataRecord[] = [
    { type: "partition-change", topicId: id("o"), index: 1, ...moved },
    { type: "topic-removed", id: id("x") },
  ];
  image.replay({ offset: image.offset + 1, timeMs: 0, records });
  expect([names(1), names(2)]).toEqual([["orders-0"], ["orders-1"]]);
});

test("its own records make the same image again", () => {
  const image = replayed(
    ...orders,
    { type: "feature", name: "metadata.version", level: 30 },
    { type: "producer-ids", brokerId: 1, nextId: 1000 },
    broker,
    { type: "controller", id: 1, directoryId: id("d"), endpoints: [] },
    {
      type: "partition-change",
      topicId: id("o"),
      index: 1,
      isr: [1],
      leader: -1,
      leaderEpoch: 4,
      partitionEpoch: 9,
      replicas: [1, 2],
      addingReplicas: [2],
      removingReplicas: [1],
      elr: [2],
      lastKnownElr: [1],
    },
  );
  const again = new ReplayedImage();
  again.restore([...image.records()], image.offset);
  expect(again.offset).toBe(image.offset);
  expect([...again.records()]).toEqual([...image.records()]);
  expect([...again.topics()]).toEqual([...image.topics()]);
  expect(again.brokers).toEqual(image.brokers);
  expect(again.nextProducerId).toBe(1000);
});
