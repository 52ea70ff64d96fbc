import type { Logger } from "@millrace/base/logger";
import type { Clock, Random } from "@millrace/base/world";
import type { BrokerConfigs } from "./config/broker-configs.ts";
import { GroupCoordinator } from "./groups/coordinator.ts";
import { defaultGroupSettings } from "./groups/settings.ts";
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
  readonly #hosted = new Set<number>();

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
        recordBytesMax: configs.topic(offsetsTopic)["max.message.bytes"] - batchOverheadBytes,
      },
      topics: {
        byName: (name) => known(options.image().topic(name)),
        byId: (id) => known(options.image().topicById(id)),
      },
      partitionCount: () =>
        options.image().topic(offsetsTopic)?.partitions.length ?? broker["offsets.topic.num.partitions"],
      fatal: (error) => options.fatal(error),
    });
  }

  /** After the partitions were opened: those of the offsets topic begin to load. */
  apply(delta: Pick<MetadataDelta, "changedTopics" | "deletedTopics">): void {
    for (const topic of delta.deletedTopics) {
      if (topic.name !== offsetsTopic) continue;
      for (const index of this.#hosted) this.coordinator.onResigned(index);
      this.#hosted.clear();
    }
    const deleted = delta.deletedTopics.map(({ name }) => name);
    if (deleted.length > 0) this.coordinator.onTopicsDeleted(deleted);
    for (const topic of delta.changedTopics) if (topic.name === offsetsTopic) this.#host(topic);
  }

  /** Groups whose partition is offline have no coordinator until a restart: members are told, and look for one. */
  partitionsWentOffline(): void {
    for (const index of this.#hosted) {
      if (this.#partitions.leading(offsetsTopic, index).ok) continue;
      this.#hosted.delete(index);
      this.coordinator.onResigned(index);
    }
  }

  #host(topic: TopicImage): void {
    for (const { index } of topic.partitions) {
      const partition = this.#partitions.leading(offsetsTopic, index);
      if (!partition.ok || this.#hosted.has(index)) continue;
      this.#hosted.add(index);
      this.coordinator.onLeader(index, new CoordinatorLog(partition.value, this.#partitions));
    }
  }
}

function known(topic: TopicImage | undefined): KnownTopic | null {
  return topic === undefined ? null : { name: topic.name, id: topic.id, partitionCount: topic.partitions.length };
}
