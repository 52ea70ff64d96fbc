import { metadata as metadataApi } from "kafka-protocol-ts/messages/03-metadata";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import { createPartitions } from "kafka-protocol-ts/messages/37-create-partitions";
import { describeTopicPartitions } from "kafka-protocol-ts/messages/75-describe-topic-partitions";
import { zeroUuid } from "kafka-protocol-ts/reader";
import type { BrokerConnection } from "../network/broker-connection.ts";
import { KafkaError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { Batch, CallOptions, Calls, Reply, ValidatingCallOptions } from "./calls.ts";
import { reply, leaderNewsMsMax, unsupported } from "./calls.ts";
import { listedOffsets } from "./offsets.ts";
import type { ListedOffset, OffsetOptions, OffsetQuery, OffsetSpec } from "./offsets.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { anyBroker, askMetadata, controller, leaderOf } from "./routes.ts";
import { fromMetadata, pagedTopics, servesPages } from "./topic-descriptions.ts";
import type { DescribedTopic, TopicDescription } from "./topic-descriptions.ts";

/** A topic to be made. */
export interface NewTopic {
  /** Letters, digits, ".", "_" and "-", up to 249. */
  readonly name: string;
  /** Absent: the broker's num.partitions. */
  readonly partitions?: number;
  /** Absent: the broker's default.replication.factor. */
  readonly replicationFactor?: number;
  /** Instead of `partitions` and `replicationFactor`: the brokers of each partition, the preferred leader first. */
  readonly assignments?: readonly (readonly number[])[];
  /** Settings by Kafka's names, as text: `{ "retention.ms": "3600000" }`. */
  readonly config?: Readonly<Record<string, string>>;
}

/** What was made; -1, and zeros as the id, where the broker is too old to say it. */
export interface CreatedTopic {
  /** Base64. */
  readonly topicId: string;
  /** As the broker has made it. */
  readonly partitionsCount: number;
  /** As the broker has made it. */
  readonly replicationFactor: number;
}

/** A topic by its name, or by the id that no other topic ever has. */
export type TopicReference = string | { readonly topicId: string };

/** More partitions for a topic. */
export interface MorePartitions {
  /** Which topic. */
  readonly topic: string;
  /** All partitions, not only the new ones. */
  readonly count: number;
  /** The brokers of each new partition. Absent: the controller chooses. */
  readonly assignments?: readonly (readonly number[])[];
}

/** Records to be deleted. */
export interface RecordsToDelete extends TopicPartition {
  /** The first offset that stays; "latest" keeps none. */
  readonly before: number | "latest";
}

/** What is left of a partition. */
export interface DeletedRecords {
  /** The new start of the log. */
  readonly logStartOffset: number;
}

/** Which topics to list. */
export interface ListTopicsOptions extends CallOptions {
  /** `__consumer_offsets` and the like. Default false. */
  readonly includeInternal?: boolean;
}

const highWatermark = -1;
/** The topic may be made after the broker has given up waiting for it. */
const finalOfChanges: readonly string[] = ["REQUEST_TIMED_OUT"];

const topicName = (topic: TopicReference): string =>
  typeof topic === "string" ? `topic ${topic}` : `topic with id ${topic.topicId}`;

/**
 * Topics, their partitions and records.
 *
 * @example
 *     await admin.topics.create({ name: "orders", partitions: 6, config: { "cleanup.policy": "compact" } });
 *     for await (const { name } of admin.topics.list()) console.log(name);
 */
export class TopicsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Makes topics. A topic is usable when its partitions have leaders, which may be a moment later.
   *
   *     await admin.topics.create({ name: "orders", partitions: 6, config: { "cleanup.policy": "compact" } });
   *
   * @throws KafkaError of a single topic: TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_CONFIG, POLICY_VIOLATION ...
   */
  create(topic: NewTopic, options?: ValidatingCallOptions): Promise<CreatedTopic>;
  create(
    topics: readonly NewTopic[],
    options?: ValidatingCallOptions,
  ): Promise<readonly Outcome<NewTopic, CreatedTopic>[]>;
  async create(
    topics: NewTopic | readonly NewTopic[],
    options: ValidatingCallOptions = {},
  ): Promise<CreatedTopic | readonly Outcome<NewTopic, CreatedTopic>[]> {
    const batch = this.#creation(isMany(topics) ? topics : [topics], options);
    return isMany(topics) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Deletes topics by name or id. Their records go in the background.
   *
   * @throws KafkaError of a single topic: UNKNOWN_TOPIC_OR_PARTITION, TOPIC_DELETION_DISABLED; UNSUPPORTED_VERSION for an
   * id where the broker is older than 2.8.
   */
  delete(topic: TopicReference, options?: CallOptions): Promise<void>;
  delete(topics: readonly TopicReference[], options?: CallOptions): Promise<readonly Outcome<TopicReference>[]>;
  async delete(
    topics: TopicReference | readonly TopicReference[],
    options: CallOptions = {},
  ): Promise<void | readonly Outcome<TopicReference>[]> {
    const { wire } = this.#calls;
    const batch: Batch<TopicReference, void> = {
      call: "topics.delete",
      items: isMany(topics) ? topics : [topics],
      name: topicName,
      route: controller(wire),
      final: finalOfChanges,
      send: async (connection, items) => {
        const hasIds = items.some((item) => typeof item !== "string");
        if (hasIds && connection.versionOf(deleteTopics) < 6)
          throw unsupported(connection, "DeleteTopics", "name a topic by its id");
        const timeoutMs = this.#calls.brokerTimeoutMs(options);
        const answer = await connection.request(deleteTopics, (version) =>
          version >= 6
            ? { topics: items.map(asReference), timeoutMs }
            : { topicNames: items.filter((item) => typeof item === "string"), timeoutMs },
        );
        return items.map((item) => {
          const found = answer.responses.find(({ name, topicId }) =>
            typeof item === "string" ? name === item : topicId === item.topicId,
          );
          return reply(found, ({ name }) => {
            if (name === null) return;
            wire.metadata.forget(name);
            this.#calls.topicGone(name);
          });
        });
      },
    };
    return isMany(topics) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * All topics, by name. They come in pages where the broker has them (KIP-966), so that a large cluster never has to be
   * in memory at once.
   *
   *     for await (const { name, partitions } of admin.topics.list()) console.log(name, partitions.length);
   */
  async *list(options: ListTopicsOptions = {}): AsyncGenerator<TopicDescription, void> {
    const { includeInternal = false } = options;
    const isWanted = ({ errorCode, description }: DescribedTopic): boolean =>
      errorCode === 0 && (includeInternal || !description.isInternal);
    const { wire } = this.#calls;
    const call = { call: "topics.list", route: anyBroker(wire) };
    const arePaged = await this.#calls.ask(call, options, async (connection) => servesPages(connection));
    if (arePaged) {
      const ask = (message: Parameters<typeof describeTopicPartitions.request.write>[1]) =>
        this.#calls.ask(call, options, (connection) => connection.request(describeTopicPartitions, message));
      for await (const topic of pagedTopics(ask, [])) if (isWanted(topic)) yield topic.description;
      return;
    }
    const { topics } = await this.#calls.ask(call, options, (connection) =>
      askMetadata(wire, connection, { topics: null, allowAutoTopicCreation: false }),
    );
    const found = topics.map(fromMetadata).filter(isWanted);
    for (const { description } of found.sort((a, b) => ((a.name ?? "") < (b.name ?? "") ? -1 : 1))) yield description;
  }

  /**
   * Topics by name or id, with the state of each partition. Settings are told by `configs.describe`.
   *
   * @throws KafkaError of a single topic: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID; UNSUPPORTED_VERSION for an id
   * where the broker is older than 3.1.
   */
  describe(topic: TopicReference, options?: CallOptions): Promise<TopicDescription>;
  describe(
    topics: readonly TopicReference[],
    options?: CallOptions,
  ): Promise<readonly Outcome<TopicReference, TopicDescription>[]>;
  async describe(
    topics: TopicReference | readonly TopicReference[],
    options: CallOptions = {},
  ): Promise<TopicDescription | readonly Outcome<TopicReference, TopicDescription>[]> {
    const batch: Batch<TopicReference, TopicDescription> = {
      call: "topics.describe",
      items: isMany(topics) ? topics : [topics],
      name: topicName,
      topicOf: (topic) => (typeof topic === "string" ? topic : null),
      route: anyBroker(this.#calls.wire),
      send: (connection, items) => this.#describe(connection, items),
    };
    return isMany(topics) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Adds partitions. Records with keys go to other partitions from then on.
   *
   * @throws KafkaError of a single topic: INVALID_PARTITIONS where it has that many already.
   */
  createPartitions(topic: MorePartitions, options?: ValidatingCallOptions): Promise<void>;
  createPartitions(
    topics: readonly MorePartitions[],
    options?: ValidatingCallOptions,
  ): Promise<readonly Outcome<MorePartitions>[]>;
  async createPartitions(
    topics: MorePartitions | readonly MorePartitions[],
    options: ValidatingCallOptions = {},
  ): Promise<void | readonly Outcome<MorePartitions>[]> {
    const { validateOnly = false } = options;
    const { wire } = this.#calls;
    const batch: Batch<MorePartitions, void> = {
      call: "topics.createPartitions",
      items: isMany(topics) ? topics : [topics],
      name: ({ topic }) => `topic ${topic}`,
      topicOf: ({ topic }) => topic,
      route: controller(wire),
      final: finalOfChanges,
      send: async (connection, items) => {
        const answer = await connection.request(createPartitions, {
          topics: items.map(({ topic, count, assignments }) => ({
            name: topic,
            count,
            assignments: assignments?.map((brokerIds) => ({ brokerIds })) ?? null,
          })),
          timeoutMs: this.#calls.brokerTimeoutMs(options),
          validateOnly,
        });
        const said = new Map(answer.results.map((result) => [result.name, result]));
        return items.map(({ topic }) => reply(said.get(topic), () => wire.metadata.forget(topic)));
      },
    };
    return isMany(topics) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Deletes the oldest records of partitions, whatever the retention. What lies below `before` is gone for every reader.
   *
   * Outcomes fail with OFFSET_OUT_OF_RANGE where `before` lies beyond the high watermark.
   */
  async deleteRecords(
    partitions: readonly RecordsToDelete[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<RecordsToDelete, DeletedRecords>[]> {
    const batch: Batch<RecordsToDelete, DeletedRecords> = {
      call: "topics.deleteRecords",
      items: partitions,
      name: partitionName,
      route: leaderOf(this.#calls.wire),
      topicOf: ({ topic }) => topic,
      unknownTopicMsMax: leaderNewsMsMax,
      send: async (connection, items) => {
        const answer = await connection.request(deleteRecords, {
          topics: byTopic(
            items,
            (name, each: { readonly partitionIndex: number; readonly offset: number }[]) => ({
              name,
              partitions: each,
            }),
            ({ partition, before }) => ({
              partitionIndex: partition,
              offset: before === "latest" ? highWatermark : before,
            }),
          ),
          timeoutMs: this.#calls.brokerTimeoutMs(options),
        });
        const said = byPartition(
          answer.topics,
          ({ name }) => name,
          (topic) => topic.partitions.map((each) => [each.partitionIndex, each]),
        );
        return items.map((item) =>
          reply(said.get(partitionKey(item)), ({ lowWatermark }) => ({ logStartOffset: lowWatermark })),
        );
      },
    };
    return this.#calls.each(batch, options);
  }

  /**
   * Where a topic's partitions begin, end, or stood at some time: of all partitions, or of those that are asked for.
   *
   *     const ends = valuesOf(await admin.topics.offsets("orders", "latest"));
   *     await admin.topics.offsets([{ topic: "orders", partition: 0, at: { timestamp: Date.parse("2026-01-01") } }]);
   */
  offsets(
    topic: string,
    at: OffsetSpec,
    options?: OffsetOptions,
  ): Promise<readonly Outcome<TopicPartition, ListedOffset>[]>;
  offsets(
    queries: readonly OffsetQuery[],
    options?: OffsetOptions,
  ): Promise<readonly Outcome<OffsetQuery, ListedOffset>[]>;
  async offsets(
    topicOrQueries: string | readonly OffsetQuery[],
    atOrOptions: OffsetSpec | OffsetOptions = {},
    options: OffsetOptions = {},
  ): Promise<readonly Outcome<OffsetQuery, ListedOffset>[]> {
    if (typeof topicOrQueries !== "string")
      return listedOffsets(this.#calls, "topics.offsets", topicOrQueries, atOrOptions as OffsetOptions);
    const { partitions } = await this.describe(topicOrQueries, options);
    const at = atOrOptions as OffsetSpec;
    const queries = partitions.map(({ index }) => ({ topic: topicOrQueries, partition: index, at }));
    return listedOffsets(this.#calls, "topics.offsets", queries, options);
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  #creation(topics: readonly NewTopic[], options: ValidatingCallOptions): Batch<NewTopic, CreatedTopic> {
    const { validateOnly = false } = options;
    const { wire } = this.#calls;
    return {
      call: "topics.create",
      items: topics,
      name: ({ name }) => `topic ${name}`,
      route: controller(wire),
      final: finalOfChanges,
      send: async (connection, items) => {
        const answer = await connection.request(createTopics, {
          topics: items.map(creatable),
          timeoutMs: this.#calls.brokerTimeoutMs(options),
          validateOnly,
        });
        const said = new Map(answer.topics.map((topic) => [topic.name, topic]));
        return items.map(({ name }) =>
          reply(said.get(name), ({ topicId, numPartitions, replicationFactor }) => {
            if (!validateOnly) {
              wire.metadata.forget(name);
              this.#calls.topicMade(name);
            }
            return { topicId, partitionsCount: numPartitions, replicationFactor };
          }),
        );
      },
    };
  }

  async #describe(
    connection: BrokerConnection,
    items: readonly TopicReference[],
  ): Promise<readonly Reply<TopicDescription>[]> {
    const names = items.filter((item) => typeof item === "string");
    const ids = items.filter((item) => typeof item !== "string");
    const found: DescribedTopic[] = [];
    if (names.length > 0 && servesPages(connection)) {
      const pages = pagedTopics((message) => connection.request(describeTopicPartitions, message), names);
      for await (const topic of pages) found.push(topic);
    } else if (names.length > 0) {
      found.push(...(await this.#ask(connection, { topics: names.map((name) => ({ name })) })));
    }
    if (ids.length > 0) {
      if (connection.versionOf(metadataApi) < 12)
        throw unsupported(connection, "Metadata", "describe a topic by its id");
      found.push(...(await this.#ask(connection, { topics: ids.map(({ topicId }) => ({ topicId, name: null })) })));
    }
    return items.map((item) => {
      const topic = found.find(({ name, topicId }) =>
        typeof item === "string" ? name === item : topicId === item.topicId,
      );
      return reply(topic, ({ description }) => description);
    });
  }

  async #ask(
    connection: BrokerConnection,
    { topics }: { readonly topics: readonly { readonly name: string | null; readonly topicId?: string }[] },
  ): Promise<readonly DescribedTopic[]> {
    const includeTopicAuthorizedOperations = connection.versionOf(metadataApi) >= 8;
    const answer = await askMetadata(this.#calls.wire, connection, {
      topics,
      allowAutoTopicCreation: false,
      includeTopicAuthorizedOperations,
    });
    return answer.topics.map(fromMetadata);
  }
}

function creatable({ name, partitions, replicationFactor, assignments = [], config = {} }: NewTopic) {
  if (assignments.length > 0 && (partitions !== undefined || replicationFactor !== undefined)) {
    const sentence = `topic ${name}: assignments say how many partitions and replicas it has; leave out the other two`;
    throw new KafkaError("INVALID_CONFIG", sentence);
  }
  return {
    name,
    numPartitions: partitions ?? -1,
    replicationFactor: replicationFactor ?? -1,
    assignments: assignments.map((brokerIds, partitionIndex) => ({ partitionIndex, brokerIds })),
    configs: Object.entries(config).map(([key, value]) => ({ name: key, value })),
  };
}

function asReference(topic: TopicReference): { readonly name: string | null; readonly topicId: string } {
  return typeof topic === "string" ? { name: topic, topicId: zeroUuid } : { name: null, topicId: topic.topicId };
}
