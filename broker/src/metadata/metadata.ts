import { AssertionFailure } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock, Disk, Random } from "@millrace/base/world";
import { randomUuid } from "@millrace/storage/meta-properties";
import type { Uuid } from "@millrace/storage/types";
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
import { finaliseFeatures, foundFeatures, unsupportedFeature } from "./controller/features.ts";
import { automaticWish, ensureInternalTopic } from "./controller/internal-topics.ts";
import { allocateProducerIds } from "./controller/producer-ids.ts";
import type { ProducerIdBlock } from "./controller/producer-ids.ts";
import { servedFeatures, supportedFeatures } from "./features.ts";
import { raftIdOf } from "../quorum/node-ids.ts";
import { Quorum } from "../quorum/quorum.ts";
import type { ProposalFailure, QuorumOptions, QuorumRole } from "../quorum/quorum.ts";
import { ReplayedImage } from "./image.ts";
import type { MetadataDelta, MetadataImage } from "./image.ts";
import { openMetadataStore } from "./metadata-store.ts";
import type { OpenFailure } from "./metadata-store.ts";
import { decodeBatch, encodeBatch, UnknownMetadataRecord } from "./records.ts";
import { recordsOfSnapshot, snapshotFrames } from "./snapshot.ts";
import type { InternalTopic } from "./topics.ts";

/** Told of each change, in order; the answer to whoever made the change waits until all listeners have settled. */
export type MetadataListener = (delta: MetadataDelta, image: MetadataImage) => void | Promise<void>;

/** other-quorum: others have a vote, and the settings name nobody. */
export type StartFailure = OpenFailure | "unsupported-feature" | "other-quorum";

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
  /** Of the log directory in which it lies. */
  readonly directoryId: Uuid;
  /** Settings that were given at start. */
  readonly texts: ReadonlyMap<string, string>;
  /** To the other nodes. Default: there are none. */
  readonly transport?: NonNullable<QuorumOptions["transport"]>;
  /** The log failed, or a bug showed itself: the broker stops. */
  fatal(error: unknown): void;
}

/** Raft's clock. A leader is heard of each tick, and missed after ten to twenty of them. */
const tickMs = 50;

/**
 * The cluster's metadata: topics, settings, brokers, ids. Every node has the image, made of the same records in the same order.
 * The active controller decides a change from it, has it agreed on by the quorum, and answers when it has replayed it itself and
 * its listeners have followed; one change at a time. The other nodes hear of it by the log, and refuse to decide.
 */
export class MetadataService {
  readonly image: MetadataImage;
  /** Effective settings of this broker and of topics; they follow the image by themselves. */
  readonly configs: BrokerConfigs;
  readonly quorum: Quorum;
  readonly #image: ReplayedImage;
  readonly #context: DecisionContext;
  readonly #options: MetadataOptions;
  readonly #listeners: MetadataListener[] = [];
  readonly #roleListeners: ((role: QuorumRole) => void)[] = [];
  /** Decisions, one behind the other. */
  #tail: Promise<unknown> = Promise.resolve();
  /** Listeners are told of one change behind the other. */
  #telling: Promise<void> = Promise.resolve();
  #followedOffset = -1;
  #waiting: { readonly offset: number; resolve(): void }[] = [];
  #isClosed = false;

  private constructor(
    options: MetadataOptions,
    image: ReplayedImage,
    { store, state }: Pick<QuorumOptions, "store" | "state">,
  ) {
    const { nodeId, directoryId, texts, clock, random, logger } = options;
    this.#options = options;
    this.#image = image;
    this.image = image;
    this.configs = new BrokerConfigs({ nodeId, texts, overrides: image });
    this.#context = { image, configs: this.configs, newTopicId: () => randomUuid(random) };
    this.quorum = new Quorum({
      id: raftIdOf({ nodeId, directoryId }),
      store,
      state,
      machine: {
        apply: (data) => this.#replay(data),
        snapshot: () => snapshotFrames(image),
        install: (frames) => this.#install(frames),
      },
      transport: options.transport ?? null,
      clock,
      random,
      logger,
      tickMs,
      snapshotBytes: () => this.configs.broker["metadata.log.max.record.bytes.between.snapshots"],
      onRole: (role) => {
        for (const listener of this.#roleListeners) listener(role);
      },
      fatal: (error) => options.fatal(error),
    });
  }

  /** Rebuilds the image from the disk: where this node alone votes, all of it; else what the last snapshot holds. */
  static async open(options: MetadataOptions): Promise<Result<MetadataService, StartFailure>> {
    const image = new ReplayedImage();
    const { directory, nodeId, directoryId, disk, logger } = options;
    const own = raftIdOf({ nodeId, directoryId });
    const opened = await openMetadataStore({ disk, directory, logger, own, image });
    if (!opened.ok) return opened;
    const { store } = opened.value;
    const { voters } = opened.value.state.snapshot.configuration;
    const service = new MetadataService(options, image, opened.value);
    if (options.transport === undefined && !service.quorum.isAlone) {
      await store.close();
      const whose = `the metadata in ${directory} is that of controllers ${voters.join(", ")}`;
      return failed("other-quorum", `${whose}, and this node, ${own}, is set up to be alone`);
    }
    try {
      service.quorum.start();
    } catch (error) {
      await store.close();
      if (error instanceof UnknownMetadataRecord) return failed("unknown-record", error.message);
      throw error;
    }
    const unsupported = unsupportedFeature(image, servedFeatures);
    if (unsupported !== null) {
      await service.close();
      return failed("unsupported-feature", `${directory} needs ${unsupported}, which this version cannot serve`);
    }
    service.#warnOfStaleConfigs();
    if (!service.quorum.isAlone) return ok(service);
    const foundsCluster = options.transport !== undefined && image.features.size === 0;
    const finalised = await service.decide((context) =>
      foundsCluster ? foundFeatures(context, servedFeatures) : finaliseFeatures(image, supportedFeatures),
    );
    if (finalised.ok) return ok(service);
    await service.close();
    return failed("disk-failed", finalised.message);
  }

  /** Called with each change from now on. */
  onChange(listener: MetadataListener): void {
    this.#listeners.push(listener);
  }

  /** Called when this node becomes the active controller, or is it no more, or another one leads. */
  onRole(listener: (role: QuorumRole) => void): void {
    this.#roleListeners.push(listener);
  }

  /** Of the last record that all listeners have followed. */
  get followedOffset(): number {
    return this.#followedOffset;
  }

  /** Settles when the image has the record of this offset. */
  whenAt(offset: number): Promise<void> {
    if (this.#image.offset >= offset) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ offset, resolve }));
  }

  /** Tells that this broker is up; its partitions get a new leader epoch. */
  async registerBroker(registration: BrokerRegistration): Promise<{ readonly brokerEpoch: number }> {
    return this.#orThrow(await this.decide((context) => registerBroker(context, registration)));
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

  /** What is asked of the active controller for such topics where that is another node. */
  automaticWishes(names: readonly string[]): readonly TopicWish[] {
    return names.map((name) => automaticWish(this.#context, name));
  }

  async ensureInternalTopic(name: InternalTopic): Promise<ItemResult<null>> {
    if (this.#image.topic(name) !== undefined) return ok(null);
    const decided = await this.decide((context) => ensureInternalTopic(context, name));
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
    return this.#orThrow(await this.decide(allocateProducerIds));
  }

  /** Waits for the change that is under way; later ones are refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#tail;
    await this.quorum.close();
    await this.#telling;
  }

  async #decideItems<T>(
    items: readonly unknown[],
    { validateOnly = false }: { readonly validateOnly?: boolean },
    decide: (context: DecisionContext) => Decision<readonly ItemResult<T>[]>,
  ): Promise<readonly ItemResult<T>[]> {
    const decided = await this.decide((context) => {
      const { response, records } = decide(context);
      return { response, records: validateOnly ? [] : records };
    });
    return decided.ok ? decided.value : items.map(() => decided);
  }

  #orThrow<T>(decided: Result<T, DecisionFailure>): T {
    if (decided.ok) return decided.value;
    throw new MetadataUnavailable(decided.message);
  }

  /** One decision after the other: each is made from an image that holds the ones before. */
  async decide<T>(decide: (context: DecisionContext) => Decision<T>): Promise<Result<T, DecisionFailure>> {
    if (this.#isClosed) return failed("metadata-unavailable", "the broker stops");
    const turn = this.#tail.then(async () => this.#run(decide));
    // A bug in one decision reaches its caller; the next one does not wait for it to be handled.
    this.#tail = turn.catch(() => {});
    const decided = await turn;
    // The next decision need not wait for the listeners, which may have logs to create.
    if (decided.ok) await this.#telling;
    return decided;
  }

  async #run<T>(decide: (context: DecisionContext) => Decision<T>): Promise<Result<T, DecisionFailure>> {
    if (!(await this.quorum.activate())) return this.#notActive();
    const { response, records } = decide(this.#context);
    if (records.length === 0) return ok(response);
    const batch = { offset: this.#image.offset + 1, timeMs: this.#options.clock.now(), records };
    const proposed = await this.quorum.propose(encodeBatch(batch));
    if (proposed.ok) return ok(response);
    return failed(failureOfProposal[proposed.failure], proposed.message);
  }

  #notActive(): Result<never, DecisionFailure> {
    const { isAlone } = this.quorum;
    return isAlone
      ? failed("metadata-unavailable", "the metadata log takes no changes")
      : failed("not-controller", "this node is not the active controller");
  }

  #replay(data: Uint8Array): void {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    this.#tellSoon(this.#image.replay(decodeBatch(bytes)));
  }

  #install(frames: readonly Buffer[]): void {
    const { records, offset } = recordsOfSnapshot(frames);
    this.#tellSoon(this.#image.replaceBy(records, offset));
  }

  /** Settings that were valid when they were made and are not now: the next level counts instead. */
  #warnOfStaleConfigs(): void {
    for (const topic of this.#image.configuredResources(ResourceType.TOPIC)) {
      const checked = checkTopicOverrides(this.#context, this.#image.configsOf(ResourceType.TOPIC, topic));
      if (!checked.ok) this.#options.logger.warn("a setting of a topic is ignored", { topic, reason: checked.message });
    }
  }

  #tellSoon(delta: MetadataDelta): void {
    const { offset } = this.#image;
    this.#telling = this.#telling.then(async () => {
      await this.#tell(delta);
      this.#followedOffset = offset;
    });
    const reached = this.#waiting.filter((each) => each.offset <= offset);
    if (reached.length === 0) return;
    this.#waiting = this.#waiting.filter((each) => each.offset > offset);
    for (const { resolve } of reached) resolve();
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
}

/** Why nothing was decided, or why it is not known whether it holds. */
export type DecisionFailure = "metadata-unavailable" | "not-controller";

const failureOfProposal: Readonly<Record<ProposalFailure, DecisionFailure>> = {
  "not-leader": "not-controller",
  lost: "not-controller",
  full: "metadata-unavailable",
  "not-written": "metadata-unavailable",
  failed: "metadata-unavailable",
};
