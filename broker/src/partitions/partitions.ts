import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock, Workers } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { LogDirectory } from "@millrace/storage/log-directory";
import type { LogConfig } from "@millrace/storage/log-config";
import type { LeaderEpoch } from "@millrace/storage/types";
import type { ValidationRules } from "@millrace/storage/validation";
import { compressionTarget } from "kafka-protocol-ts/records/recompress";
import type { BrokerConfigs } from "../config/broker-configs.ts";
import type { MetadataDelta, MetadataImage, TopicImage } from "../metadata/image.ts";
import { Deadlines } from "./deadlines.ts";
import { Partition } from "./partition.ts";

/** The partitions this broker holds, kept in step with the metadata image. */
export class Partitions {
  readonly deadlines: Deadlines;
  readonly #logs: LogDirectory;
  readonly #configs: BrokerConfigs;
  readonly #workers: Workers;
  readonly #logger: Logger;
  readonly #byName = new Map<string, (Partition | undefined)[]>();
  readonly #byId = new Map<string, (Partition | undefined)[]>();
  /** Effective settings, computed once a change instead of once a request. */
  readonly #rules = new Map<string, PartitionRules>();

  constructor(options: {
    readonly logs: LogDirectory;
    readonly configs: BrokerConfigs;
    readonly clock: Clock;
    readonly workers: Workers;
    readonly logger: Logger;
  }) {
    this.#logs = options.logs;
    this.#configs = options.configs;
    this.#workers = options.workers;
    this.#logger = options.logger;
    this.deadlines = new Deadlines(options.clock);
  }

  leading(topic: string, index: number): Result<Partition, ErrorCode> {
    const partition = this.#byName.get(topic)?.[index];
    return partition === undefined ? failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) : this.#usable(partition);
  }

  leadingById(topicId: string, index: number): Result<Partition, ErrorCode> {
    const ofTopic = this.#byId.get(topicId);
    if (ofTopic === undefined) return failed(ErrorCode.UNKNOWN_TOPIC_ID);
    const partition = ofTopic[index];
    return partition === undefined ? failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) : this.#usable(partition);
  }

  /** Bytes of batches that were given offsets and still wait to be written. */
  get queuedBytes(): number {
    return this.#logs.queuedBytes;
  }

  *all(): Iterable<Partition> {
    for (const ofTopic of this.#byName.values())
      for (const partition of ofTopic) if (partition !== undefined) yield partition;
  }

  rulesOf(topic: string): PartitionRules {
    let rules = this.#rules.get(topic);
    if (rules === undefined) this.#rules.set(topic, (rules = rulesFrom(this.#configs, topic, this.#workers)));
    return rules;
  }

  /** Takes over what was loaded from the disk, and creates what the image has and the disk does not. */
  async start(image: MetadataImage): Promise<void> {
    for (const topic of image.topics()) await this.#open(topic);
    for (const log of this.#logs.logs()) {
      if (image.topicById(log.topicId) !== undefined) continue;
      this.#logger.warn("a directory belongs to no topic the metadata knows; it is left alone", {
        topic: log.topic,
        partition: log.partition,
        topicId: log.topicId,
      });
    }
  }

  /** Applies a change of the image; settled when new partitions can take records. */
  async apply(delta: MetadataDelta): Promise<void> {
    for (const topic of delta.deletedTopics) await this.#delete(topic);
    for (const topic of delta.changedTopics) await this.#open(topic);
    for (const topic of delta.reconfiguredTopics) this.#reconfigure(topic);
    if (delta.isBrokerReconfigured) for (const topic of this.#byName.keys()) this.#reconfigure(topic);
  }

  async #open(topic: TopicImage): Promise<void> {
    const held = this.#byName.get(topic.name) ?? [];
    const missing = topic.partitions.filter(({ index }) => held[index] === undefined);
    const config = this.rulesOf(topic.name).log;
    const opened = await Promise.all(
      missing.map(async ({ index, leaderEpoch }) => {
        const log =
          this.#logs.find(topic.name, index, topic.id) ??
          (await this.#logs.createLog({ topic: topic.name, partition: index, topicId: topic.id, config }));
        log.configure(config);
        return new Partition(log, leaderEpoch as LeaderEpoch);
      }),
    );
    for (const partition of opened) held[partition.index] = partition;
    this.#byName.set(topic.name, held);
    this.#byId.set(topic.id, held);
  }

  async #delete(topic: TopicImage): Promise<void> {
    const held = this.#byId.get(topic.id) ?? [];
    this.#byId.delete(topic.id);
    if (this.#byName.get(topic.name) === held) this.#byName.delete(topic.name);
    this.#rules.delete(topic.name);
    for (const partition of held) partition?.resign();
    for (const partition of held) if (partition !== undefined) await this.#logs.deleteLog(partition.log);
  }

  #reconfigure(topic: string): void {
    this.#rules.delete(topic);
    const { log } = this.rulesOf(topic);
    for (const partition of this.#byName.get(topic) ?? []) partition?.log.configure(log);
    this.#logs.wakeCleaner();
  }

  #usable(partition: Partition): Result<Partition, ErrorCode> {
    return partition.log.failure === null
      ? ok(partition)
      : failed(ErrorCode.KAFKA_STORAGE_ERROR, partition.log.failure.message);
  }
}

export interface PartitionRules {
  readonly log: LogConfig;
  readonly validation: Omit<ValidationRules, "nowMs" | "produceVersion">;
}

function rulesFrom(configs: BrokerConfigs, topic: string, workers: Workers): PartitionRules {
  const config = configs.topic(topic);
  return {
    log: config,
    validation: {
      sizeBytesMax: config["max.message.bytes"],
      isKeyRequired: config["cleanup.policy"].includes("compact"),
      timestampType: config["message.timestamp.type"],
      timestampBeforeMaxMs: config["message.timestamp.before.max.ms"],
      timestampAfterMaxMs: config["message.timestamp.after.max.ms"],
      compression: compressionTarget(config["compression.type"], {
        // The library's own choice is −1 for gzip too.
        gzip: config["compression.gzip.level"],
        zstd: config["compression.zstd.level"],
      }),
      recordValidation: configs.broker["record.validation"],
      workers,
    },
  };
}
