import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock, Workers } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { LogDirectories } from "@millrace/storage/log-directories";
import type { LogConfig } from "@millrace/storage/log-config";
import type { LeaderEpoch } from "@millrace/storage/types";
import type { ValidationRules } from "@millrace/storage/validation";
import { compressionTarget } from "kafka-protocol-ts/records/recompress";
import type { BrokerConfigs } from "../config/broker-configs.ts";
import type { MetadataDelta, MetadataImage, TopicImage } from "../metadata/image.ts";
import { Deadlines } from "./deadlines.ts";
import { Partition } from "./partition.ts";

/** A partition whose log was found nowhere, while a log directory in which it may lie could not be read. */
const unreachable = Symbol("in an offline log directory");
type Held = Partition | typeof unreachable;

/** Names in one line of the log. */
const NAMED_MAX = 20;

/** The partitions this broker holds, kept in step with the metadata image. */
export class Partitions {
  readonly deadlines: Deadlines;
  readonly #logs: LogDirectories;
  readonly #configs: BrokerConfigs;
  readonly #workers: Workers;
  readonly #logger: Logger;
  readonly #byName = new Map<string, (Held | undefined)[]>();
  readonly #byId = new Map<string, (Held | undefined)[]>();
  /** Effective settings, computed once a change instead of once a request. */
  readonly #rules = new Map<string, PartitionRules>();

  constructor(options: {
    readonly logs: LogDirectories;
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
    for (const ofTopic of this.#byName.values()) for (const held of ofTopic) if (held instanceof Partition) yield held;
  }

  rulesOf(topic: string): PartitionRules {
    let rules = this.#rules.get(topic);
    if (rules === undefined) this.#rules.set(topic, (rules = rulesFrom(this.#configs, topic, this.#workers)));
    return rules;
  }

  /** Whether it has no leader: its log, or the log directory in which it lies, has failed. */
  isOffline(topicId: string, index: number): boolean {
    const held = this.#byId.get(topicId)?.[index];
    return held === unreachable || (held !== undefined && held.log.failure !== null);
  }

  /**
   * Takes over what was loaded from the disk, and creates what the image has and the disk does not. While a log directory is
   * offline nothing is created: the records may lie there, and must not be found beside those of a second log.
   */
  async start(image: MetadataImage): Promise<void> {
    const isCreating = this.#logs.offline.length === 0;
    const missing: string[] = [];
    for (const topic of image.topics()) {
      for (const { index } of topic.partitions) {
        if (this.#logs.find(topic.name, index, topic.id) === undefined) missing.push(`${topic.name}-${index}`);
      }
      await this.#open(topic, isCreating);
    }
    if (missing.length > 0) {
      const fields = { count: missing.length, partitions: missing.slice(0, NAMED_MAX).join(" ") };
      if (isCreating) this.#logger.warn("partitions were found in no log directory, and begin anew", fields);
      else this.#logger.error("partitions are offline: no log directory that works has them", fields);
    }
    for (const log of this.#logs.logs()) {
      if (image.topicById(log.topicId) === undefined) await this.#logs.setAside(log);
    }
  }

  /** Applies a change of the image; settled when new partitions can take records. */
  async apply(delta: MetadataDelta): Promise<void> {
    for (const topic of delta.deletedTopics) await this.#delete(topic);
    for (const topic of delta.changedTopics) await this.#open(topic, true);
    for (const topic of delta.reconfiguredTopics) this.#reconfigure(topic);
    if (delta.isBrokerReconfigured) for (const topic of this.#byName.keys()) this.#reconfigure(topic);
  }

  /** What can be opened or created is, whatever becomes of the rest. */
  async #open(topic: TopicImage, isCreating: boolean): Promise<void> {
    const held = this.#byName.get(topic.name) ?? [];
    const missing = topic.partitions.filter(({ index }) => held[index] === undefined);
    const config = this.rulesOf(topic.name).log;
    const opened = await Promise.allSettled(
      missing.map(async ({ index, leaderEpoch }) => {
        let log = this.#logs.find(topic.name, index, topic.id);
        if (log === undefined && !isCreating) return void (held[index] = unreachable);
        log ??= await this.#logs.createLog({ topic: topic.name, partition: index, topicId: topic.id, config });
        log.configure(config);
        held[index] = new Partition(log, leaderEpoch as LeaderEpoch);
      }),
    );
    this.#byName.set(topic.name, held);
    this.#byId.set(topic.id, held);
    throwFirst(opened);
  }

  async #delete(topic: TopicImage): Promise<void> {
    const held = this.#byId.get(topic.id) ?? [];
    this.#byId.delete(topic.id);
    if (this.#byName.get(topic.name) === held) this.#byName.delete(topic.name);
    this.#rules.delete(topic.name);
    const partitions = held.filter((each) => each instanceof Partition);
    for (const partition of partitions) partition.resign();
    const deleted: PromiseSettledResult<void>[] = [];
    for (const { log } of partitions) deleted.push(...(await Promise.allSettled([this.#logs.deleteLog(log)])));
    throwFirst(deleted);
  }

  #reconfigure(topic: string): void {
    this.#rules.delete(topic);
    const { log } = this.rulesOf(topic);
    for (const held of this.#byName.get(topic) ?? []) if (held instanceof Partition) held.log.configure(log);
    this.#logs.wakeCleaner();
  }

  #usable(held: Held): Result<Partition, ErrorCode> {
    if (held === unreachable) {
      const directories = this.#logs.offline.map(({ path }) => path).join(" and ");
      return failed(ErrorCode.KAFKA_STORAGE_ERROR, `it may lie in ${directories}, which cannot be read`);
    }
    const { failure } = held.log;
    return failure === null ? ok(held) : failed(ErrorCode.KAFKA_STORAGE_ERROR, failure.message);
  }
}

function throwFirst(results: readonly PromiseSettledResult<unknown>[]): void {
  for (const result of results) if (result.status === "rejected") throw result.reason;
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
