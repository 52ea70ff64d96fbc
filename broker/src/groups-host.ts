import type { Logger } from "@millrace/base/logger";
import type { Clock, Random } from "@millrace/base/world";
import type { BrokerConfigs } from "./config/broker-configs.ts";
import { GroupCoordinator } from "./groups/coordinator.ts";
import { defaultGroupSettings, knownAssignors } from "./groups/settings.ts";
import type { ConsumerGroupSettings } from "./groups/settings.ts";
import type { KnownTopic } from "./groups/topic-lookup.ts";
import type { MetadataDelta, MetadataImage, TopicImage } from "./metadata/image.ts";
import { CoordinatorLog } from "./partitions/coordinator-log.ts";
import type { Partitions } from "./partitions/partitions.ts";

export const offsetsTopic = "__consumer_offsets";
/** What a batch adds to its records: the largest record must fit with it below max.message.bytes. */
const batchOverheadBytes = 256;

export interface GroupsHostOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly configs: BrokerConfigs;
  readonly partitions: Partitions;
  image(): MetadataImage;
  fatal(error: unknown): void;
}

/** Sets the group coordinator upon the partitions of `__consumer_offsets` that this broker leads. */
export class GroupsHost {
  readonly coordinator: GroupCoordinator;
  readonly #partitions: Partitions;
  /** By index: the leader epoch in which its state was loaded. */
  readonly #hosted = new Map<number, number>();

  constructor(options: GroupsHostOptions) {
    const { configs, clock, random, logger } = options;
    const { broker } = configs;
    this.#partitions = options.partitions;
    this.coordinator = new GroupCoordinator({
      clock,
      random,
      logger,
      settings: {
        ...defaultGroupSettings,
        sessionTimeoutMinMs: broker["group.min.session.timeout.ms"],
        sessionTimeoutMaxMs: broker["group.max.session.timeout.ms"],
        initialRebalanceDelayMs: broker["group.initial.rebalance.delay.ms"],
        groupSizeMax: broker["group.max.size"],
        offsetMetadataMax: broker["offset.metadata.max.bytes"],
        offsetsRetentionMs: broker["offsets.retention.minutes"] * 60_000,
        offsetsRetentionCheckMs: broker["offsets.retention.check.interval.ms"],
        commitTimeoutMs: broker["offsets.commit.timeout.ms"],
        appendLingerMs: broker["group.coordinator.append.linger.ms"],
        consumer: consumerSettings(configs),
        recordBytesMax: configs.topic(offsetsTopic)["max.message.bytes"] - batchOverheadBytes,
      },
      topics: {
        byName: (name) => known(options.image().topic(name)),
        byId: (id) => known(options.image().topicById(id)),
        names: () => namesOf(options.image()),
        get version() {
          return options.image().offset;
        },
      },
      partitionCount: () =>
        options.image().topic(offsetsTopic)?.partitions.length ?? broker["offsets.topic.num.partitions"],
      fatal: (error) => options.fatal(error),
    });
  }

  /**
   * After the partitions were opened and have their roles. A partition of the offsets topic is hosted while it is led here; in a new leader
   * epoch it is loaded anew, since others may have written to it meanwhile.
   */
  apply(delta: Pick<MetadataDelta, "changedTopics" | "deletedTopics">): void {
    for (const topic of delta.deletedTopics) {
      if (topic.name !== offsetsTopic) continue;
      for (const index of [...this.#hosted.keys()]) this.#resign(index);
    }
    const deleted = delta.deletedTopics.map(({ name }) => name);
    if (deleted.length > 0) this.coordinator.onTopicsDeleted(deleted);
    if (deleted.length > 0 || delta.changedTopics.length > 0) this.coordinator.onTopicsChanged();
    for (const topic of delta.changedTopics) {
      if (topic.name !== offsetsTopic) continue;
      for (const { index } of topic.partitions) this.#host(index);
    }
  }

  /**
   * Groups whose partition is offline have no coordinator until a restart, or until another broker leads it: members are told, and look for
   * one.
   */
  partitionsWentOffline(): void {
    for (const index of [...this.#hosted.keys()])
      if (!this.#partitions.leading(offsetsTopic, index).ok) this.#resign(index);
  }

  #host(index: number): void {
    const found = this.#partitions.leading(offsetsTopic, index);
    if (!found.ok) return this.#resign(index);
    const { leaderEpoch } = found.value;
    if (this.#hosted.get(index) === leaderEpoch) return;
    this.#hosted.set(index, leaderEpoch);
    this.coordinator.onLeader(index, new CoordinatorLog(found.value, this.#partitions));
  }

  #resign(index: number): void {
    if (this.#hosted.delete(index)) this.coordinator.onResigned(index);
  }
}

/** Groups of the consumer protocol: what is read-only is read once, what a group may have of its own at each use. */
function consumerSettings(configs: BrokerConfigs): ConsumerGroupSettings {
  const { broker } = configs;
  const policy = broker["group.consumer.migration.policy"].toLowerCase();
  const names = broker["group.consumer.assignors"];
  const assignors = names.flatMap((name) => knownAssignors.find((one) => one.name === name) ?? []);
  return {
    ...defaultGroupSettings.consumer,
    isServed: broker["group.coordinator.rebalance.protocols"].includes("consumer"),
    sizeMax: broker["group.consumer.max.size"],
    assignors: assignors.length > 0 ? assignors : knownAssignors,
    canUpgrade: policy === "bidirectional" || policy === "upgrade",
    canDowngrade: policy === "bidirectional" || policy === "downgrade",
    isMigrationDisabled: policy === "disabled",
    ofGroup: (groupId) => {
      const group = configs.group(groupId);
      return {
        sessionTimeoutMs: group["consumer.session.timeout.ms"],
        heartbeatIntervalMs: group["consumer.heartbeat.interval.ms"],
        assignmentIntervalMs: group["consumer.assignment.interval.ms"],
      };
    },
  };
}

function* namesOf(image: MetadataImage): Iterable<string> {
  for (const { name } of image.topics()) yield name;
}

function known(topic: TopicImage | undefined): KnownTopic | null {
  return topic === undefined ? null : { name: topic.name, id: topic.id, partitionCount: topic.partitions.length };
}
