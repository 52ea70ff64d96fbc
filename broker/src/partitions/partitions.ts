import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock, Timer, Workers } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { LogDirectories } from "@millrace/storage/log-directories";
import type { ValidationRules } from "@millrace/storage/validation";
import { compressionTarget } from "kafka-protocol-ts/records/recompress";
import type { BrokerConfigs } from "../config/broker-configs.ts";
import type { MetadataDelta, MetadataImage, PartitionImage, TopicImage } from "../metadata/image.ts";
import { ReplicationQuota } from "../replication/quota.ts";
import { Deadlines } from "./deadlines.ts";
import { ExpectedFollowers } from "./expected-followers.ts";
import { noPeers } from "./isr-changes.ts";
import type { Peers } from "./isr-changes.ts";
import { Partition } from "./partition.ts";
import type { PartitionConfig, PartitionContext } from "./partition.ts";

/** A partition whose log was found nowhere, while a log directory in which it may lie could not be read. */
const unreachable = Symbol("in an offline log directory");
/** A partition that has no replica on this broker. */
const elsewhere = Symbol("on other brokers");
type Held = Partition | typeof unreachable | typeof elsewhere;

/** Names in one line of the log. */
const NAMED_MAX = 20;

/** The partitions this broker holds, each in the role that the metadata gives it. */
export class Partitions {
  readonly deadlines: Deadlines;
  readonly expectedFollowers: ExpectedFollowers;
  /** Of what is sent to followers. */
  readonly leaderQuota: ReplicationQuota;
  readonly #logs: LogDirectories;
  readonly #configs: BrokerConfigs;
  readonly #workers: Workers;
  readonly #logger: Logger;
  readonly #context: PartitionContext;
  /** While partitions with other replicas are led here, these are looked after from time to time. */
  #isrTimer: Timer | null = null;
  #isClosed = false;
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
    /** Default: there are none. */
    readonly peers?: Peers;
  }) {
    this.#logs = options.logs;
    this.#configs = options.configs;
    this.#workers = options.workers;
    this.#logger = options.logger;
    this.deadlines = new Deadlines(options.clock);
    this.expectedFollowers = new ExpectedFollowers(options.clock);
    const { configs, clock, logger, peers = noPeers } = options;
    this.leaderQuota = new ReplicationQuota(clock, () => configs.broker["leader.replication.throttled.rate"]);
    this.#context = { nodeId: configs.nodeId, clock, logger, peers };
  }

  /** One that this broker leads. */
  leading(topic: string, index: number): Result<Partition, ErrorCode> {
    const held = this.#byName.get(topic)?.[index];
    return held === undefined ? failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) : this.#led(held);
  }

  leadingById(topicId: string, index: number): Result<Partition, ErrorCode> {
    const ofTopic = this.#byId.get(topicId);
    if (ofTopic === undefined) return failed(ErrorCode.UNKNOWN_TOPIC_ID);
    const held = ofTopic[index];
    return held === undefined ? failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) : this.#led(held);
  }

  /** One that a consumer may read here: led, or followed (KIP-392). */
  readable(topic: string, index: number): Result<Partition, ErrorCode> {
    const held = this.#byName.get(topic)?.[index];
    if (held === undefined) return failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const found = this.#usable(held);
    const isRead = !found.ok || found.value.isLeading || found.value.followedLeader !== null;
    return isRead ? found : failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  /** The replica that lies here, whatever its role; undefined where none does. */
  replica(topicId: string, index: number): Partition | undefined {
    const held = this.#byId.get(topicId)?.[index];
    return held instanceof Partition ? held : undefined;
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
    return held === unreachable || (held instanceof Partition && held.log.failure !== null);
  }

  /**
   * Takes over what was loaded from the disk, and creates what the image has and the disk does not. While a log directory is
   * offline nothing is created: the records may lie there, and must not be found beside those of a second log.
   */
  async start(image: MetadataImage): Promise<void> {
    const isCreating = this.#logs.offline.length === 0;
    const missing: string[] = [];
    for (const topic of image.topics()) {
      for (const { index, replicas } of topic.partitions) {
        if (!replicas.includes(this.#context.nodeId)) continue;
        if (this.#logs.find(topic.name, index, topic.id) === undefined) missing.push(`${topic.name}-${index}`);
      }
      await this.#open(topic, isCreating);
    }
    if (missing.length > 0) {
      const fields = { count: missing.length, partitions: missing.slice(0, NAMED_MAX).join(" ") };
      if (isCreating) this.#logger.warn("partitions were found in no log directory, and begin anew", fields);
      else this.#logger.error("partitions are offline: no log directory that works has them", fields);
    }
    // By what was opened, not by the image: that goes on meanwhile, and what it has deleted since is about to be deleted here.
    for (const log of [...this.#logs.logs()])
      if (this.replica(log.topicId, log.partition) === undefined) await this.#logs.setAside(log);
  }

  /** Nothing of other replicas is looked at any more. */
  close(): void {
    this.#isClosed = true;
    this.#isrTimer?.cancel();
  }

  /** Applies a change of the image; settled when new partitions can take records. */
  async apply(delta: MetadataDelta): Promise<void> {
    for (const topic of delta.deletedTopics) await this.#delete(topic);
    for (const topic of delta.changedTopics) await this.#open(topic, true);
    for (const topic of delta.reconfiguredTopics) this.#reconfigure(topic);
    if (delta.isBrokerReconfigured) for (const topic of this.#byName.keys()) this.#reconfigure(topic);
  }

  /** What can be opened or created is, and has its role, whatever becomes of the rest. */
  async #open(topic: TopicImage, isCreating: boolean): Promise<void> {
    const held = this.#byName.get(topic.name) ?? [];
    const changed = topic.partitions.filter((image) => !this.#isInPlace(held[image.index], image));
    const opened = await Promise.allSettled(changed.map((image) => this.#give(topic, image, held, isCreating)));
    this.#byName.set(topic.name, held);
    this.#byId.set(topic.id, held);
    throwFirst(opened);
  }

  #isInPlace(held: Held | undefined, { replicas, leader, leaderEpoch, partitionEpoch }: PartitionImage): boolean {
    if (held === undefined) return false;
    if (!(held instanceof Partition)) return (held === elsewhere) !== replicas.includes(this.#context.nodeId);
    const { leadership, followedLeader } = held;
    if (held.leaderEpoch !== leaderEpoch || !replicas.includes(this.#context.nodeId)) return false;
    return leadership === null ? followedLeader === leader : leadership.partitionEpoch >= partitionEpoch;
  }

  /** One partition has the role that the image gives it. */
  async #give(
    topic: TopicImage,
    image: PartitionImage,
    held: (Held | undefined)[],
    isCreating: boolean,
  ): Promise<void> {
    const { index } = image;
    const before = held[index];
    const { nodeId } = this.#context;
    if (!image.replicas.includes(nodeId)) {
      held[index] = elsewhere;
      if (!(before instanceof Partition)) return;
      before.resign();
      return this.#logs.deleteLog(before.log);
    }
    let partition = before;
    if (!(partition instanceof Partition)) {
      const config = this.rulesOf(topic.name).log;
      let log = this.#logs.find(topic.name, index, topic.id);
      if (log === undefined && !isCreating) return void (held[index] = unreachable);
      log ??= await this.#logs.createLog({ topic: topic.name, partition: index, topicId: topic.id, config });
      partition = new Partition(log, config, this.#context);
      held[index] = partition;
    }
    await this.#place(partition, image);
  }

  async #place(partition: Partition, image: PartitionImage): Promise<void> {
    await partition.stopFollowing();
    if (image.leader !== this.#context.nodeId) return partition.follow(image);
    const { leadership } = partition;
    partition.lead(image);
    if (image.replicas.length === 1) return;
    if (partition.leadership !== leadership) this.expectedFollowers.expect(partition);
    this.#watchIsr();
  }

  /** As often as in Kafka: who lags for `replica.lag.time.max.ms` is noticed in the half of it. */
  #watchIsr(): void {
    if (this.#isrTimer !== null || this.#isClosed) return;
    const lagMaxMs = this.#configs.broker["replica.lag.time.max.ms"];
    this.#isrTimer = this.#context.clock.schedule(Math.max(1, lagMaxMs / 2), () => {
      this.#isrTimer = null;
      let isReplicated = false;
      for (const partition of this.all()) {
        if (partition.leadership === null || partition.leadership.isAlone) continue;
        isReplicated = true;
        partition.checkIsr(lagMaxMs);
      }
      if (isReplicated) this.#watchIsr();
    });
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
    for (const held of this.#byName.get(topic) ?? []) if (held instanceof Partition) held.configure(log);
    this.#logs.wakeCleaner();
  }

  #led(held: Held): Result<Partition, ErrorCode> {
    const found = this.#usable(held);
    return !found.ok || found.value.isLeading ? found : failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  #usable(held: Held): Result<Partition, ErrorCode> {
    if (held === elsewhere) return failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
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
  readonly log: PartitionConfig;
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
