import type { GroupIdentity } from "../consumer/membership/membership.ts";
import type { ConsumerOptions } from "../consumer/options.ts";
import type { RequestObserver } from "../network/diagnostics.ts";
import { addressText } from "../network/address.ts";
import type { Wire } from "../network/wire.ts";
import { partitionKey } from "../topic-partition.ts";
import { tried } from "./asking.ts";
import { PartitionAssigners, assignorOf } from "./assigners.ts";
import type { ConsumerConfig } from "./config-types.ts";
import { ConsumerRun } from "./consumer-run.ts";
import type { Consumer, ConsumerRunConfig } from "./consumer-types.ts";
import { asKafkaJSError, finalError } from "./error-mapping.ts";
import { KafkaJSError, KafkaJSNonRetriableError } from "./errors.ts";
import { consumerEvents, Instrumentation } from "./events.ts";
import { describedGroups } from "./group-descriptions.ts";
import { Link } from "./link.ts";
import type { Shared } from "./link.ts";
import type { Logger } from "./logger.ts";
import type { TopicOffsets } from "./message-types.ts";
import { pause, retrySettings } from "./retry.ts";

const knownOptions: readonly (keyof ConsumerConfig)[] = [
  "groupId",
  "partitionAssigners",
  "metadataMaxAge",
  "sessionTimeout",
  "rebalanceTimeout",
  "heartbeatInterval",
  "maxBytesPerPartition",
  "minBytes",
  "maxBytes",
  "maxWaitTimeInMs",
  "retry",
  "allowAutoTopicCreation",
  "maxInFlightRequests",
  "readUncommitted",
  "rackId",
];

const knownRunOptions: readonly (keyof ConsumerRunConfig)[] = [
  "autoCommit",
  "autoCommitInterval",
  "autoCommitThreshold",
  "eachBatchAutoResolve",
  "partitionsConsumedConcurrently",
  "eachBatch",
  "eachMessage",
];

/** KafkaJS's consumer: what it is told, and its life from `connect` to `disconnect`. */
export class FacadeConsumer implements Consumer {
  readonly events: Consumer["events"] = consumerEvents;
  readonly groupId: string;
  readonly #config: ConsumerConfig;
  readonly #shared: Shared;
  readonly #link: Link;
  readonly #logger: Logger;
  readonly #instrumentation: Instrumentation;
  /** By topic, in the order of the calls: whether it is read from the beginning. */
  readonly #topics = new Map<string, boolean>();
  #run: ConsumerRun | null = null;
  /** Ends the wait for a restart. */
  #restart: AbortController | null = null;

  constructor(shared: Shared, config: ConsumerConfig) {
    const { groupId, sessionTimeout = 30_000, heartbeatInterval = 3_000 } = config;
    if (!groupId) throw new KafkaJSNonRetriableError("groupId: a consumer needs the name of its group");
    if (heartbeatInterval >= sessionTimeout)
      throw new KafkaJSNonRetriableError(
        `heartbeatInterval: ${heartbeatInterval} must be below sessionTimeout, which is ${sessionTimeout}; a third of it is usual`,
      );
    shared.warnings.unknownOptions("kafka.consumer", config, knownOptions);
    this.groupId = groupId;
    this.#shared = shared;
    this.#config = config;
    this.#logger = shared.logger.namespace("Consumer");
    this.#instrumentation = new Instrumentation(consumerEvents, { clock: shared.world.clock, logger: this.#logger });
    this.#link = new Link(shared, {
      retry: config.retry,
      metadataMaxAgeMs: config.metadataMaxAge ?? 300_000,
      instrumentation: this.#instrumentation,
      events: consumerEvents,
      observer: this.#observer(),
    });
  }

  get isRunning(): boolean {
    return this.#run?.isRunning === true;
  }

  /** Who it is in its group; null while it is no member. */
  get identity(): GroupIdentity | null {
    return this.#run?.identity ?? null;
  }

  /** @param key "topic-partition" */
  owns(key: string): boolean {
    return this.#run?.owned().some((partition) => partitionKey(partition) === key) === true;
  }

  /** A transaction of the program has committed these for the group. */
  noteCommitted(topics: readonly TopicOffsets[]): void {
    this.#run?.noteCommitted(
      topics.flatMap(({ topic, partitions }) =>
        partitions.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset) })),
      ),
    );
  }

  // Programs take these out of the object: they are bound to it.

  readonly connect: Consumer["connect"] = async () => {
    await this.#link.connect();
    this.#instrumentation.emit(consumerEvents.CONNECT);
  };

  readonly disconnect: Consumer["disconnect"] = async () => {
    await this.stop();
    await this.#link.disconnect();
    this.#instrumentation.emit(consumerEvents.DISCONNECT);
  };

  readonly stop: Consumer["stop"] = async () => {
    this.#restart?.abort();
    this.#restart = null;
    const run = this.#run;
    if (run === null) return;
    await run.stop();
    if (this.#run !== run) return;
    this.#run = null;
    this.#instrumentation.emit(consumerEvents.STOP);
    this.#logger.info("Stopped", { groupId: this.groupId });
  };

  readonly subscribe: Consumer["subscribe"] = async (subscription) => {
    if (this.#run !== null) throw new KafkaJSNonRetriableError("subscribe: the consumer runs already; stop it first");
    const { fromBeginning = false } = subscription;
    const wanted = wantedTopics(subscription);
    const wire = await this.#link.connect();
    const mayCreate = this.#config.allowAutoTopicCreation ?? true;
    try {
      for (const one of wanted) {
        const names = typeof one === "string" ? [one] : await matching(wire, one);
        for (const name of names) this.#topics.set(name, fromBeginning);
      }
      for (const name of this.#topics.keys())
        await tried(wire, this.#link.retry, async () =>
          wire.topic(name, { mayCreate }).catch((error: unknown) => {
            throw settled(error);
          }),
        );
    } catch (error) {
      throw error instanceof KafkaJSError ? error : finalError(error, this.#link.retry);
    }
  };

  readonly run: Consumer["run"] = async (config = {}) => {
    this.#shared.warnings.unknownOptions("consumer.run", config, knownRunOptions);
    if (this.#run !== null) {
      this.#logger.warn("run was called, but the consumer runs already", { groupId: this.groupId });
      return;
    }
    await this.#start(config);
  };

  readonly commitOffsets: Consumer["commitOffsets"] = async (topicPartitions) => {
    const offsets = topicPartitions.map(({ topic, partition, offset, metadata = null }) => {
      if (metadata !== null && typeof metadata !== "string")
        throw new KafkaJSNonRetriableError(`metadata: ${String(metadata)} is neither text nor null`);
      return {
        ...checkedPartition({ topic, partition }),
        offset: checkedOffset(offset, 0),
        leaderEpoch: -1,
        ...(metadata === null ? {} : { metadata }),
      };
    });
    try {
      await this.#running("commitOffsets").commit(offsets);
    } catch (error) {
      throw finalError(error, this.#link.retry);
    }
  };

  readonly seek: Consumer["seek"] = ({ topic, partition, offset }) => {
    const where = checkedPartition({ topic, partition });
    this.#running("seek").seek(where, checkedOffset(offset, -2));
  };

  readonly describeGroup: Consumer["describeGroup"] = async () => {
    const wire = await this.#link.connect();
    const groups = await describedGroups(wire, [this.groupId], this.#link.retry);
    const [group] = groups;
    if (group === undefined) throw new KafkaJSNonRetriableError(`group ${this.groupId} was not described`);
    return group;
  };

  readonly pause: Consumer["pause"] = (topics = []) => {
    checkPauses(topics);
    this.#running("pause").setPaused(topics, true);
  };

  readonly resume: Consumer["resume"] = (topics = []) => {
    checkPauses(topics);
    this.#running("resume").setPaused(topics, false);
  };

  readonly paused: Consumer["paused"] = () => this.#run?.paused() ?? [];

  readonly on: Consumer["on"] = (name, listener) => this.#instrumentation.on(name, listener);

  readonly logger: Consumer["logger"] = () => this.#logger;

  // --- Its runs ---------------------------------------------------------------------------------------------------------

  #running(call: string): ConsumerRun {
    if (this.#run !== null) return this.#run;
    throw new KafkaJSNonRetriableError(`${call}: the consumer does not run; call run() first`);
  }

  async #start(config: ConsumerRunConfig): Promise<void> {
    const { groupId } = this;
    this.#logger.info("Starting", { groupId });
    // Programs seek and pause right after they have called run: where it is connected there is no wait before that.
    let { wire } = this.#link;
    try {
      wire ??= await this.#link.connect();
    } catch (error) {
      await this.#crashed(error as Error, config);
      return;
    }
    this.#instrumentation.emit(consumerEvents.CONNECT);
    const { clock, random } = this.#shared.world;
    const run = new ConsumerRun({
      wire,
      clock,
      random,
      logger: this.#logger,
      instrumentation: this.#instrumentation,
      groupId,
      topics: new Map(this.#topics),
      options: this.#options(wire),
      retry: this.#link.retry,
      config,
      onCrash: (error) => void this.#crashed(error, config),
    });
    this.#run = run;
    await run.start();
  }

  #options(wire: Wire): ConsumerOptions {
    const config = this.#config;
    const { groupId } = this;
    const { partitionAssigners = [PartitionAssigners.roundRobin], rebalanceTimeout = 60_000 } = config;
    const context = { groupId, logger: this.#logger, wire, topics: [...this.#topics.keys()] };
    return {
      group: groupId,
      protocol: "classic",
      assignors: partitionAssigners.map((each) => assignorOf(each, context)),
      sessionTimeoutMs: config.sessionTimeout ?? 30_000,
      heartbeatIntervalMs: config.heartbeatInterval ?? 3_000,
      rebalanceTimeoutMs: rebalanceTimeout,
      revokeTimeoutMs: rebalanceTimeout,
      isolation: config.readUncommitted === true ? "read_uncommitted" : "read_committed",
      minBytes: config.minBytes ?? 1,
      maxWaitMs: config.maxWaitTimeInMs ?? 5_000,
      maxBytes: config.maxBytes ?? 10_485_760,
      partitionMaxBytes: config.maxBytesPerPartition ?? 1_048_576,
      commit: "manual",
      ...(config.rackId === undefined || config.rackId === "" ? {} : { rack: config.rackId }),
    };
  }

  /** Ends the run, and begins another one where that may help. */
  async #crashed(error: Error, config: ConsumerRunConfig): Promise<void> {
    const { groupId } = this;
    const { retryCount, retryTime } = error as { readonly retryCount?: number; readonly retryTime?: number };
    this.#logger.error(`Crash: ${error.name}: ${error.message}`, { groupId, retryCount, stack: error.stack });
    await this.disconnect().catch((failure: unknown) =>
      this.#logger.error("disconnecting failed", { groupId, error: failure }),
    );
    const isRetriable = error.name === "KafkaJSNumberOfRetriesExceeded" || isRetriableAtRoot(error);
    const restart = isRetriable && (await this.#mayRestart(error));
    // Who disconnects when it hears of the crash wants no restart.
    const restarting = new AbortController();
    this.#restart = restart ? restarting : null;
    this.#instrumentation.emit(consumerEvents.CRASH, { error, groupId, restart });
    if (!restart) return;
    const { initialRetryTime } = retrySettings(this.#shared.config.retry, this.#config.retry);
    const pauseMs = retryTime ?? initialRetryTime;
    this.#logger.error(`Restarting the consumer in ${pauseMs} ms`, { groupId, retryCount });
    await pause(this.#shared.world.clock, pauseMs, restarting.signal);
    if (restarting.signal.aborted) return;
    this.#restart = null;
    await this.#start(config).catch((failure: unknown) =>
      this.#logger.error("restarting failed", { groupId, error: failure }),
    );
  }

  async #mayRestart(error: Error): Promise<boolean> {
    const ask = this.#config.retry?.restartOnFailure ?? this.#shared.config.retry?.restartOnFailure;
    if (ask === undefined) return true;
    try {
      return await ask(error);
    } catch (failure) {
      this.#logger.error("restartOnFailure has failed; the consumer begins anew", { error: failure });
      return true;
    }
  }

  // --- Events -----------------------------------------------------------------------------------------------------------

  #observer(): RequestObserver {
    const { FETCH, FETCH_START, HEARTBEAT } = consumerEvents;
    return {
      sent: ({ api, broker }) => {
        if (api === "Fetch") this.#instrumentation.emit(FETCH_START, { nodeId: this.#nodeIdOf(broker) });
      },
      ended: ({ api, broker, latencyMs, error }) => {
        if (error !== null) return;
        if (api === "Fetch") {
          const duration = Math.round(latencyMs);
          this.#instrumentation.emit(FETCH, { numberOfBatches: 0, duration, nodeId: this.#nodeIdOf(broker) });
        }
        const identity = api === "Heartbeat" && this.#instrumentation.isHeard(HEARTBEAT) ? this.#run?.identity : null;
        if (identity === null || identity === undefined) return;
        const { memberId, epoch: groupGenerationId } = identity;
        this.#instrumentation.emit(HEARTBEAT, { groupId: this.groupId, memberId, groupGenerationId });
      },
    };
  }

  #nodeIdOf(broker: string): number {
    for (const [nodeId, address] of this.#link.wire?.metadata.brokers ?? [])
      if (addressText(address) === broker) return nodeId;
    return -1;
  }
}

/** What a wait does not mend fails at once: a topic that is not there, most of all. */
function settled(error: unknown): unknown {
  const { code } = error as { readonly code?: string };
  return code === "UNKNOWN_TOPIC_OR_PARTITION" ? asKafkaJSError(error) : error;
}

function isRetriableAtRoot(error: Error): boolean {
  let root: { readonly cause?: unknown; readonly retriable?: boolean } = error;
  while (root.cause !== undefined && root.cause !== null) root = root.cause;
  return root.retriable === true;
}

function wantedTopics(subscription: Parameters<Consumer["subscribe"]>[0]): readonly (string | RegExp)[] {
  const { topic, topics } = subscription as { readonly topic?: unknown; readonly topics?: unknown };
  if (topics === undefined && topic === undefined)
    throw new KafkaJSNonRetriableError("subscribe: topics is missing: names, or patterns");
  if (topics !== undefined && topics !== null && !Array.isArray(topics))
    throw new KafkaJSNonRetriableError("subscribe: topics is no array");
  const wanted = (topics ?? [topic]) as readonly unknown[];
  const wrong = wanted.find((each) => typeof each !== "string" && !(each instanceof RegExp));
  if (wrong !== undefined)
    throw new KafkaJSNonRetriableError(`subscribe: a topic is text or a RegExp, and not ${typeof wrong}`);
  return wanted as readonly (string | RegExp)[];
}

async function matching(wire: Wire, pattern: RegExp): Promise<readonly string[]> {
  const topics = await wire.topics();
  return topics.map(({ name }) => name).filter((name) => new RegExp(pattern.source, pattern.flags).test(name));
}

/** Partitions that are text are numbers, too: KafkaJS itself gives some as text. */
function checkedPartition({ topic, partition }: { readonly topic: string; readonly partition: unknown }) {
  if (!topic) throw new KafkaJSNonRetriableError(`Invalid topic: ${JSON.stringify(topic)}`);
  if (Number.isNaN(Number(partition)))
    throw new KafkaJSNonRetriableError(`Invalid partition of ${topic}: ${String(partition)} is no number`);
  return { topic, partition: Number(partition) };
}

function checkedOffset(offset: string | number, min: number): number {
  const number = Number(offset);
  if (!Number.isSafeInteger(number) || `${offset}`.trim() === "")
    throw new KafkaJSNonRetriableError(`Invalid offset: ${JSON.stringify(offset)} is no whole number`);
  if (number < min) throw new KafkaJSNonRetriableError(`Invalid offset: ${offset} is below ${min}`);
  return number;
}

function checkPauses(topics: readonly { readonly topic: string; readonly partitions?: unknown }[]): void {
  for (const each of topics) {
    if (!each?.topic) throw new KafkaJSNonRetriableError(`Invalid topic: ${JSON.stringify(each?.topic ?? each)}`);
    const { partitions } = each;
    const isWrong = Array.isArray(partitions)
      ? partitions.some((one) => Number.isNaN(Number(one)))
      : partitions !== undefined;
    if (isWrong)
      throw new KafkaJSNonRetriableError(`Invalid partitions of ${each.topic}: an array of numbers is needed`);
  }
}
