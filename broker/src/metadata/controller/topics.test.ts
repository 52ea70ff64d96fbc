import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import { describe, expect, test } from "vitest";
import { BrokerConfigs } from "../../config/broker-configs.ts";
import { ReplayedImage } from "../image.ts";
import type { MetadataRecord } from "../records.ts";
import { registration, wish } from "../../../test/metadata-world.ts";
import { registerBroker } from "./brokers.ts";
import { createPartitions } from "./create-partitions.ts";
import type { PartitionsWish } from "./create-partitions.ts";
import { createTopics } from "./create-topics.ts";
import type { TopicWish } from "./create-topics.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { deleteTopics } from "./delete-topics.ts";
import type { TopicReference } from "./delete-topics.ts";
import { ensureInternalTopic } from "./internal-topics.ts";
import { allocateProducerIds } from "./producer-ids.ts";
import { placeReplicas } from "./replicas.ts";

interface World {
  readonly context: DecisionContext;
  readonly image: ReplayedImage;
  /** Replays what was decided. */
  follow<T>(decision: Decision<T>): T;
}

function world(settings: Readonly<Record<string, string>> = {}, brokers: readonly number[] = [1]): World {
  const image = new ReplayedImage();
  let ids = 0;
  const context: DecisionContext = {
    image,
    configs: new BrokerConfigs({ nodeId: 1, texts: new Map(Object.entries(settings)), overrides: image }),
    newTopicId: () => Buffer.from([0, 0, 0, ids++, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).toString("base64url"),
  };
  const follow = <T>({ response, records }: Decision<T>): T => {
    if (records.length > 0) image.replay({ offset: image.offset + 1, timeMs: 0, records });
    return response;
  };
  for (const id of brokers) follow(registerBroker(context, registration(id)));
  return { context, image, follow };
}

/** "ok", or the failure and its message. */
function outcomes(results: readonly ItemResult<unknown>[]): string[] {
  return results.map((result) => (result.ok ? "ok" : `${result.failure}: ${result.message ?? ""}`));
}

describe("CreateTopics", () => {
  const create = (...wishes: readonly TopicWish[]): string[] => {
    const { context, follow } = world();
    follow(createTopics(context, [wish("there"), wish("c.d")]));
    return outcomes(createTopics(context, wishes).response);
  };

  test.for<[string, TopicWish, string]>([
    ["there already", wish("there"), "topic-exists: Topic 'there' already exists."],
    ["no name", wish(""), "invalid-topic-name: Topic name is invalid: the empty string is not allowed"],
    ["colliding", wish("c_d"), "invalid-topic-name: Topic 'c_d' collides with existing topic: c.d"],
    [
      "the metadata's own name",
      wish("__cluster_metadata"),
      "bad-request: Creation of internal topic __cluster_metadata is prohibited.",
    ],
    [
      "no partitions",
      wish("a", { numPartitions: 0 }),
      "invalid-partitions: Number of partitions was set to an invalid non-positive value.",
    ],
    [
      "less than the default",
      wish("a", { numPartitions: -2 }),
      "invalid-partitions: Number of partitions was set to an invalid non-positive value.",
    ],
    [
      "no replicas",
      wish("a", { replicationFactor: 0 }),
      "invalid-replication-factor: Replication factor must be larger than 0, or -1 to use the default value.",
    ],
    [
      "more replicas than brokers",
      wish("a", { replicationFactor: 3 }),
      "invalid-replication-factor: Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 broker(s) are registered.",
    ],
    [
      "an unknown setting",
      wish("a", { configs: [{ name: "nope", value: "1" }] }),
      "invalid-config: Unknown topic config name: nope",
    ],
    [
      "a setting without a value",
      wish("a", { configs: [{ name: "retention.ms", value: null }] }),
      "invalid-config: Null value not supported for topic configs: retention.ms",
    ],
    [
      "a setting that is no number",
      wish("a", { configs: [{ name: "retention.ms", value: "abc" }] }),
      "invalid-config: Invalid value abc for configuration retention.ms: Not a number of type LONG",
    ],
    [
      "settings at odds",
      wish("a", {
        configs: [
          { name: "min.compaction.lag.ms", value: "100" },
          { name: "max.compaction.lag.ms", value: "50" },
        ],
      }),
      "invalid-config: conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)",
    ],
    [
      "tiering",
      wish("a", { configs: [{ name: "remote.storage.enable", value: "true" }] }),
      "invalid-config: Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    ],
    ["an empty cleanup.policy", wish("a", { configs: [{ name: "cleanup.policy", value: "" }] }), "ok"],
    ["the defaults", wish("a"), "ok"],
  ])("%s", ([, wanted, outcome]) => {
    expect(create(wanted)).toEqual([outcome]);
  });

  test("the first fault is told: name, then settings, then replicas, then partitions", () => {
    const bad = { numPartitions: 0, replicationFactor: 0, configs: [{ name: "nope", value: "1" }] };
    const faults = create(
      wish("x y", bad),
      wish("there", bad),
      wish("a", bad),
      wish("b", { ...bad, configs: [] }),
      wish("c", { numPartitions: 0 }),
    );
    expect(faults.map((fault) => fault.split(":")[0])).toEqual([
      "invalid-topic-name",
      "topic-exists",
      "invalid-config",
      "invalid-replication-factor",
      "invalid-partitions",
    ]);
  });

  test("one name twice in a request refuses both; two that collide refuse the later", () => {
    expect(create(wish("a"), wish("a"), wish("b"))).toEqual([
      "bad-request: Duplicate topic name.",
      "bad-request: Duplicate topic name.",
      "ok",
    ]);
    expect(create(wish("x.y"), wish("x_y"))).toEqual([
      "ok",
      "invalid-topic-name: Topic 'x_y' collides with existing topic: x.y",
    ]);
  });

  const assigned = (...brokerIds: (readonly number[])[]): Partial<TopicWish> => ({
    assignments: brokerIds.map((ids, partitionIndex) => ({ partitionIndex, brokerIds: ids })),
  });
  test.for<[Partial<TopicWish>, string]>([
    [assigned([1], [1]), "ok"],
    [
      { ...assigned([1]), numPartitions: 2 },
      "bad-request: A manual partition assignment was specified, but numPartitions was not set to -1.",
    ],
    [
      { ...assigned([1]), replicationFactor: 1, numPartitions: 2 },
      "bad-request: A manual partition assignment was specified, but replication factor was not set to -1.",
    ],
    [
      { assignments: [{ partitionIndex: 1, brokerIds: [1] }] },
      "invalid-assignment: partitions should be a consecutive 0-based integer sequence",
    ],
    [
      {
        assignments: [
          { partitionIndex: 0, brokerIds: [1] },
          { partitionIndex: 0, brokerIds: [1] },
        ],
      },
      "invalid-assignment: Found multiple manual partition assignments for partition 0",
    ],
    [assigned([]), "invalid-assignment: The manual partition assignment includes an empty replica list."],
    [
      assigned([7]),
      "invalid-assignment: The manual partition assignment includes broker 7, but no such broker is registered.",
    ],
    [assigned([1, 1]), "invalid-assignment: The manual partition assignment includes the broker 1 more than once."],
  ])("replicas that the client chose: %j", ([given, outcome]) => {
    expect(create(wish("a", given))).toEqual([outcome]);
  });

  test("all partitions of a topic have as many replicas", () => {
    const { context } = world({}, [1, 2]);
    expect(outcomes(createTopics(context, [wish("a", assigned([1], [1, 2]))]).response)).toEqual([
      "invalid-assignment: The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).",
    ]);
  });

  test("too many partitions in one request refuse all of it", () => {
    const { context } = world({ "millrace.partitions.per.request.max": "10", "num.partitions": "4" });
    const refused = "too-many-partitions: Excessively large number of partitions per request.";
    expect(outcomes(createTopics(context, [wish("a", { numPartitions: 7 }), wish("b")]).response)).toEqual([
      refused,
      refused,
    ]);
    expect(outcomes(createTopics(context, [wish("a", { numPartitions: 6 }), wish("b")]).response)).toEqual([
      "ok",
      "ok",
    ]);
  });

  test("the records of a topic: itself, its partitions, its settings", () => {
    const { context } = world({ "num.partitions": "2" });
    const decision = createTopics(context, [
      wish("a", { configs: [{ name: "retention.ms", value: "5" }] }),
      wish("bad name"),
    ]);
    const [result] = decision.response;
    expect(result).toMatchObject({
      ok: true,
      value: { numPartitions: 2, replicationFactor: 1, overrides: new Map([["retention.ms", "5"]]) },
    });
    expect(decision.records).toMatchObject([
      { type: "topic", name: "a" },
      { type: "partition", index: 0, replicas: [1], isr: [1], leader: 1, leaderEpoch: 0 },
      { type: "partition", index: 1 },
      { type: "config", resourceType: 2, resourceName: "a", name: "retention.ms", value: "5" },
    ] satisfies Partial<MetadataRecord>[]);
  });
});

describe("DeleteTopics", () => {
  const by = (name: string | null, id: string | null = null): TopicReference => ({ name, id });

  test("each reference has its result", () => {
    const { context, image, follow } = world();
    follow(createTopics(context, [wish("a"), wish("b"), wish("c")]));
    const [a, b] = [image.topic("a")!.id, image.topic("b")!.id];
    const decision = deleteTopics(context, [
      by("nope"),
      by(null, "AAECAwQFBgcICQoLDA0ODw"),
      by(null),
      by("a", a),
      by("c"),
      by("c"),
      by(null, b),
      by("a"),
    ]);
    expect(outcomes(decision.response)).toEqual([
      `unknown-topic: ${errorMessage(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)}`,
      `unknown-topic-id: ${errorMessage(ErrorCode.UNKNOWN_TOPIC_ID)}`,
      "bad-request: Neither topic name nor id were specified.",
      "bad-request: You may not specify both topic name and topic id.",
      "bad-request: Duplicate topic name.",
      "bad-request: Duplicate topic name.",
      "ok",
      "ok",
    ]);
    follow(decision);
    expect([...image.topics()].map(({ name }) => name)).toEqual(["c"]);
  });

  test("a topic that is named and meant by its id goes once", () => {
    const { context, image, follow } = world();
    follow(createTopics(context, [wish("a")]));
    expect(outcomes(deleteTopics(context, [by("a"), by(null, image.topic("a")!.id)]).response)).toEqual([
      "ok",
      "bad-request: The provided topic name maps to an ID that was already supplied.",
    ]);
  });

  test("topics may be kept from being deleted", () => {
    const { context, follow } = world({ "delete.topic.enable": "false" });
    follow(createTopics(context, [wish("a")]));
    expect(outcomes(deleteTopics(context, [by("a")]).response)[0]).toContain("deletion-disabled");
  });

  test("the same name again is another topic", () => {
    const { context, image, follow } = world();
    follow(createTopics(context, [wish("a", { configs: [{ name: "retention.ms", value: "5" }] })]));
    const before = image.topic("a")!.id;
    follow(deleteTopics(context, [by("a")]));
    follow(createTopics(context, [wish("a")]));
    expect(image.topic("a")!.id).not.toBe(before);
    expect(context.configs.topic("a")["retention.ms"]).toBe(604_800_000);
  });
});

describe("CreatePartitions", () => {
  const more = (given: Partial<PartitionsWish>): PartitionsWish => ({
    name: "b",
    count: 3,
    assignments: null,
    ...given,
  });

  test.for<[Partial<PartitionsWish>, string]>([
    [{}, "ok"],
    [{ name: "nope" }, "unknown-topic: "],
    [{ count: 1 }, "invalid-partitions: Topic already has 1 partition(s)."],
    [{ count: 0 }, "invalid-partitions: The topic b currently has 1 partition(s); 0 would not be an increase."],
    [{ count: 20_000 }, "too-many-partitions: Excessively large number of partitions per request."],
    [
      { assignments: [{ brokerIds: [1] }] },
      "invalid-assignment: Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
    ],
    [
      { assignments: [{ brokerIds: [1] }, { brokerIds: [7] }] },
      "invalid-assignment: The manual partition assignment includes broker 7, but no such broker is registered.",
    ],
    [
      { assignments: [{ brokerIds: [] }, { brokerIds: [1] }] },
      "invalid-assignment: The manual partition assignment includes an empty replica list.",
    ],
    [{ assignments: [{ brokerIds: [1] }, { brokerIds: [1] }] }, "ok"],
  ])("%j", ([given, outcome]) => {
    const { context, follow } = world();
    follow(createTopics(context, [wish("b")]));
    expect(outcomes(createPartitions(context, [more(given)]).response)).toEqual([outcome]);
  });

  test("the new partitions follow the old ones; a name twice refuses both", () => {
    const { context, image, follow } = world();
    follow(createTopics(context, [wish("b")]));
    expect(outcomes(createPartitions(context, [more({}), more({ count: 4 })]).response)).toEqual([
      "bad-request: Duplicate topic name.",
      "bad-request: Duplicate topic name.",
    ]);
    follow(createPartitions(context, [more({})]));
    expect(image.topic("b")!.partitions.map(({ index, leader }) => [index, leader])).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
  });
});

describe("replicas", () => {
  const placed = (count: number, replicationFactor: number, racks: readonly (string | null)[]): number[][] => {
    const brokers = racks.map((rack, index) => ({ ...registration(index + 1, rack), epoch: 0, isFenced: false }));
    const result = placeReplicas({ brokers, count, replicationFactor, start: 0 });
    return result.ok ? result.value : [];
  };

  test("are spread over brokers, and no broker has two of a partition", () => {
    expect(placed(4, 2, [null, null, null])).toEqual([
      [1, 2],
      [2, 3],
      [3, 1],
      [1, 3],
    ]);
    const many = placed(60, 3, [null, null, null, null, null]);
    for (const replicas of many) expect(new Set(replicas).size).toBe(3);
    const counts = [1, 2, 3, 4, 5].map((id) => many.filter((replicas) => replicas.includes(id)).length);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(6);
  });

  test("stand in different racks while there are as many", () => {
    const racks = ["x", "x", "y", "y"];
    for (const replicas of placed(4, 2, racks)) {
      expect(new Set(replicas.map((id) => racks[id - 1])).size).toBe(2);
    }
  });
});

describe("internal topics", () => {
  test("take what they need, with as many replicas as there are brokers, at most three", () => {
    for (const [brokers, replicas] of [
      [[1], 1],
      [[1, 2], 2],
      [[1, 2, 3, 4], 3],
    ] as const) {
      const { context, image, follow } = world({ "min.insync.replicas": "3" }, brokers);
      expect(follow(ensureInternalTopic(context, "__consumer_offsets"))).toMatchObject({ ok: true });
      const topic = image.topic("__consumer_offsets")!;
      expect(topic.partitions).toHaveLength(50);
      expect(topic.partitions[0]!.replicas).toHaveLength(replicas);
      expect(context.configs.topic("__consumer_offsets")).toMatchObject({
        "cleanup.policy": ["compact"],
        "compression.type": "producer",
        "segment.bytes": 104_857_600,
        "min.insync.replicas": Math.min(2, replicas),
      });
      expect(ensureInternalTopic(context, "__consumer_offsets").records).toEqual([]);
    }
  });

  test("the others have shapes of their own", () => {
    const { context, follow } = world({ "transaction.state.log.segment.bytes": "1" });
    follow(ensureInternalTopic(context, "__transaction_state"));
    follow(ensureInternalTopic(context, "__share_group_state"));
    expect(context.configs.topic("__transaction_state")).toMatchObject({
      "compression.type": "uncompressed",
      "segment.bytes": 1_048_576,
    });
    expect(context.configs.topic("__share_group_state")).toMatchObject({
      "cleanup.policy": ["delete"],
      "retention.ms": -1,
    });
  });
});

test("a broker that comes up again leads what it led, under new leader epochs", () => {
  const { context, image, follow } = world();
  follow(createTopics(context, [wish("a", { numPartitions: 2 })]));
  const { brokerEpoch } = follow(registerBroker(context, registration(1)));
  expect(brokerEpoch).toBe(image.brokers.get(1)!.epoch);
  expect(image.topic("a")!.partitions.map(({ leader, leaderEpoch }) => [leader, leaderEpoch])).toEqual([
    [1, 1],
    [1, 1],
  ]);
  expect(follow(registerBroker(context, registration(1))).brokerEpoch).toBeGreaterThan(brokerEpoch);
});

test("blocks of producer ids follow one another", () => {
  const { context, follow } = world();
  expect(follow(allocateProducerIds(context))).toEqual({ firstId: 0, count: 1000 });
  expect(follow(allocateProducerIds(context))).toEqual({ firstId: 1000, count: 1000 });
});
