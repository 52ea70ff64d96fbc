import { AssertionFailure } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock, Disk, Random } from "@millrace/base/world";
import { DiskError } from "@millrace/base/world";
import { randomUuid } from "@millrace/storage/meta-properties";
import { BrokerConfigs } from "../config/broker-configs.ts";
import { ResourceType } from "../config/resources.ts";
import { alterConfigs } from "./controller/alter-configs.ts";
import type { ResourceChanges } from "./controller/alter-configs.ts";
import { registerBroker } from "./controller/brokers.ts";
import type { BrokerRegistration } from "./controller/brokers.ts";
import { checkTopicOverrides } from "./controller/check-configs.ts";
import { createPartitions } from "./controller/create-partitions.ts";
import type { PartitionsWish } from "./controller/create-partitions.ts";
import { createTopics } from "./controller/create-topics.ts";
import type { CreatedTopic, TopicWish } from "./controller/create-topics.ts";
import type { Decision, DecisionContext, ItemResult } from "./controller/decision.ts";
import { deleteTopics } from "./controller/delete-topics.ts";
import type { DeletedTopic, TopicReference } from "./controller/delete-topics.ts";
import { finaliseFeatures, unsupportedFeature } from "./controller/features.ts";
import { automaticWish, ensureInternalTopic } from "./controller/internal-topics.ts";
import { allocateProducerIds } from "./controller/producer-ids.ts";
import type { ProducerIdBlock } from "./controller/producer-ids.ts";
import { supportedFeatures } from "./features.ts";
import { ReplayedImage } from "./image.ts";
import type { MetadataDelta, MetadataImage } from "./image.ts";
import { MetadataLog } from "./metadata-log.ts";
import type { OpenFailure } from "./metadata-log.ts";
import type { InternalTopic } from "./topics.ts";

/** Told of each change, in order; the answer to whoever made the change waits until all listeners have settled. */
export type MetadataListener = (delta: MetadataDelta, image: MetadataImage) => void | Promise<void>;

export type StartFailure = OpenFailure | "unsupported-feature";

/** A change that could not be made: nothing of it happened, or the log has failed and nothing more will. */
export class MetadataUnavailable extends Error {
  override readonly name = "MetadataUnavailable";
}

export interface MetadataOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** `<data>/metadata`. */
  readonly directory: string;
  readonly nodeId: number;
  /** Settings that were given at start. */
  readonly texts: ReadonlyMap<string, string>;
  /** The log failed, or a bug showed itself: the broker stops. */
  fatal(error: unknown): void;
}

/**
 * The cluster's metadata: topics, settings, ids. A change is decided from the image, appended and synced, replayed into
 * the image, told to the listeners, and only then answered; one change at a time. Today the log is this node's own;
 * with a quorum of controllers the append becomes a proposal and the same replay runs on every node.
 */
export class MetadataService {
  readonly image: MetadataImage;
  /** Effective settings of this broker and of topics; they follow the image by themselves. */
  readonly configs: BrokerConfigs;
  readonly #image: ReplayedImage;
  readonly #log: MetadataLog;
  readonly #context: DecisionContext;
  readonly #options: MetadataOptions;
  readonly #listeners: MetadataListener[] = [];
  /** Bytes of the log at which the next snapshot is taken. */
  #snapshotAtBytes: number;
  #tail: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  private constructor(options: MetadataOptions, image: ReplayedImage, log: MetadataLog) {
    this.#options = options;
    this.#image = image;
    this.#log = log;
    this.image = image;
    this.configs = new BrokerConfigs({ nodeId: options.nodeId, texts: options.texts, overrides: image });
    this.#context = { image, configs: this.configs, newTopicId: () => randomUuid(options.random) };
    this.#snapshotAtBytes = this.#snapshotBytes;
  }

  /** Rebuilds the image from the disk. */
  static async open(options: MetadataOptions): Promise<Result<MetadataService, StartFailure>> {
    const image = new ReplayedImage();
    const opened = await MetadataLog.open({
      disk: options.disk,
      directory: options.directory,
      logger: options.logger,
      recovery: {
        restore: ({ records, offset }) => image.restore(records, offset),
        replay: (batch) => void image.replay(batch),
      },
    });
    if (!opened.ok) return opened;
    const unsupported = unsupportedFeature(image, supportedFeatures);
    if (unsupported !== null) {
      await opened.value.close();
      return failed(
        "unsupported-feature",
        `${options.directory} needs ${unsupported}, which this version cannot serve`,
      );
    }
    const service = new MetadataService(options, image, opened.value);
    service.#warnOfStaleConfigs();
    const finalised = await service.#decide(() => finaliseFeatures(image, supportedFeatures));
    if (finalised.ok) return ok(service);
    await service.close();
    return failed("disk-failed", finalised.message);
  }

  /** Called with each change from now on. */
  onChange(listener: MetadataListener): void {
    this.#listeners.push(listener);
  }

  /** Tells that this broker is up; its partitions get a new leader epoch. */
  async registerBroker(registration: BrokerRegistration): Promise<{ readonly brokerEpoch: number }> {
    return this.#orThrow(await this.#decide((context) => registerBroker(context, registration)));
  }

  async createTopics(
    wishes: readonly TopicWish[],
    options: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly ItemResult<CreatedTopic>[]> {
    return this.#decideItems(wishes, options, (context) => createTopics(context, wishes));
  }

  /** Topics that clients asked for by name, with the defaults; an internal one as it has to be. */
  async createMissingTopics(names: readonly string[]): Promise<readonly ItemResult<CreatedTopic>[]> {
    return this.#decideItems(names, {}, (context) =>
      createTopics(
        context,
        names.map((name) => automaticWish(context, name)),
      ),
    );
  }

  async ensureInternalTopic(name: InternalTopic): Promise<ItemResult<null>> {
    if (this.#image.topic(name) !== undefined) return ok(null);
    const decided = await this.#decide((context) => ensureInternalTopic(context, name));
    return decided.ok ? decided.value : decided;
  }

  async deleteTopics(references: readonly TopicReference[]): Promise<readonly ItemResult<DeletedTopic>[]> {
    return this.#decideItems(references, {}, (context) => deleteTopics(context, references));
  }

  async createPartitions(
    wishes: readonly PartitionsWish[],
    options: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly ItemResult<null>[]> {
    return this.#decideItems(wishes, options, (context) => createPartitions(context, wishes));
  }

  async alterConfigs(
    resources: readonly ResourceChanges[],
    options: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly ItemResult<null>[]> {
    return this.#decideItems(resources, options, (context) => alterConfigs(context, resources));
  }

  /** @throws MetadataUnavailable */
  async allocateProducerIds(): Promise<ProducerIdBlock> {
    return this.#orThrow(await this.#decide(allocateProducerIds));
  }

  /** Waits for the change that is under way; later ones are refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#tail;
    await this.#log.close();
  }

  get #snapshotBytes(): number {
    return this.configs.broker["metadata.log.max.record.bytes.between.snapshots"];
  }

  async #decideItems<T>(
    items: readonly unknown[],
    { validateOnly = false }: { readonly validateOnly?: boolean },
    decide: (context: DecisionContext) => Decision<readonly ItemResult<T>[]>,
  ): Promise<readonly ItemResult<T>[]> {
    const decided = await this.#decide((context) => {
      const { response, records } = decide(context);
      return { response, records: validateOnly ? [] : records };
    });
    return decided.ok ? decided.value : items.map(() => decided);
  }

  #orThrow<T>(decided: Result<T, "metadata-unavailable">): T {
    if (decided.ok) return decided.value;
    throw new MetadataUnavailable(decided.message);
  }

  /** One decision after the other: each is made from an image that holds the ones before. */
  async #decide<T>(decide: (context: DecisionContext) => Decision<T>): Promise<Result<T, "metadata-unavailable">> {
    if (this.#isClosed) return failed("metadata-unavailable", "the broker stops");
    const turn = this.#tail.then(async () => this.#run(decide));
    // A bug in one decision reaches its caller; the next one does not wait for it to be handled.
    this.#tail = turn.catch(() => {});
    return turn;
  }

  async #run<T>(decide: (context: DecisionContext) => Decision<T>): Promise<Result<T, "metadata-unavailable">> {
    const { response, records } = decide(this.#context);
    if (records.length === 0) return ok(response);
    const appended = await this.#log.append(records, this.#options.clock.now());
    if (!appended.ok) {
      if (appended.failure === "log-failed") this.#options.fatal(new MetadataUnavailable(appended.message));
      return failed("metadata-unavailable", appended.message);
    }
    await this.#tell(this.#image.replay(appended.value));
    await this.#takeSnapshotIfDue();
    return ok(response);
  }

  /** Settings that were valid when they were made and are not now: the next level counts instead. */
  #warnOfStaleConfigs(): void {
    for (const topic of this.#image.configuredResources(ResourceType.TOPIC)) {
      const checked = checkTopicOverrides(this.#context, this.#image.configsOf(ResourceType.TOPIC, topic));
      if (!checked.ok) this.#options.logger.warn("a setting of a topic is ignored", { topic, reason: checked.message });
    }
  }

  /** The change has happened; a listener that cannot follow it (a full disk) has to say so itself. */
  async #tell(delta: MetadataDelta): Promise<void> {
    for (const listener of this.#listeners) {
      try {
        await listener(delta, this.#image);
      } catch (error) {
        this.#options.logger.error("a metadata change could not be followed", { offset: this.#image.offset, error });
        if (error instanceof AssertionFailure) this.#options.fatal(error);
      }
    }
  }

  async #takeSnapshotIfDue(): Promise<void> {
    if (this.#log.bytesSinceSnapshot < this.#snapshotAtBytes) return;
    try {
      await this.#log.replaceBySnapshot([...this.#image.records()]);
      this.#snapshotAtBytes = this.#snapshotBytes;
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      // The log itself is whole: it is only longer than it should be. Tried again when it has grown as much once more.
      this.#snapshotAtBytes = this.#log.bytesSinceSnapshot + this.#snapshotBytes;
      this.#options.logger.warn("a snapshot of the metadata could not be written", { reason: error.message });
    }
  }
}
