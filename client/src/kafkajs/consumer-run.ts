import type { Clock, Random } from "@millrace/base/world";
import type { NextOffset } from "../consumer/consumed-offsets.ts";
import { Consumption } from "../consumer/consumption.ts";
import type { Taken } from "../consumer/consumption.ts";
import { Reading } from "../consumer/delivery/reading.ts";
import { Listeners } from "../consumer/listeners.ts";
import { createMembership } from "../consumer/membership/create-membership.ts";
import type { GroupIdentity, GroupPlace, Owner } from "../consumer/membership/membership.ts";
import { resolveOptions } from "../consumer/options.ts";
import type { ConsumerOptions } from "../consumer/options.ts";
import type { PartitionReading } from "../consumer/partition-reading.ts";
import type { Wire } from "../network/wire.ts";
import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { FacadeBatch, partOf } from "./consumed-batch.ts";
import type { Part } from "./consumed-batch.ts";
import type { ConsumerRunConfig, IMemberAssignment } from "./consumer-types.ts";
import { asKafkaJSError, protocolSource } from "./error-mapping.ts";
import {
  KafkaJSError,
  KafkaJSNonRetriableError,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
} from "./errors.ts";
import { consumerEvents as events } from "./events.ts";
import type { Instrumentation } from "./events.ts";
import { asBaseLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";
import type { PartitionOffset, TopicPartitions } from "./message-types.ts";
import { Pauses } from "./pauses.ts";
import { ResolvedOffsets, topicOffsets } from "./resolved-offsets.ts";
import { pause, RetryPauses } from "./retry.ts";
import type { RetrySettings } from "./retry.ts";

export interface RunParts {
  readonly wire: Wire;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly instrumentation: Instrumentation;
  readonly groupId: string;
  /** By topic: whether reading begins at the beginning where nothing is committed. */
  readonly topics: ReadonlyMap<string, boolean>;
  readonly options: ConsumerOptions;
  readonly retry: RetrySettings;
  readonly config: ConsumerRunConfig;
  /** It cannot go on. Called once, and never after `stop`. */
  readonly onCrash: (error: Error) => void;
}

interface Trouble {
  readonly pauses: RetryPauses;
  count: number;
}

const rebalanceInProgress = 27;
const brokenPrograms: ReadonlySet<string> = new Set(["RangeError", "ReferenceError", "SyntaxError", "TypeError"]);

/** From `run` to `stop`, or to a crash: a member of the group whose partitions are handed to the program's handler. */
export class ConsumerRun {
  readonly #parts: RunParts;
  readonly #consumption: Consumption;
  readonly #life: Reading;
  readonly #offsets = new ResolvedOffsets();
  readonly #pauses = new Pauses();
  /** Sought before the partition was assigned. */
  readonly #seeks = new Map<string, TopicPartition & { readonly offset: number }>();
  readonly #troubles = new Map<string, Trouble>();
  readonly #joined = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #working = new Set<Promise<void>>();
  /** By partition. */
  readonly #batches = new Map<string, BatchWork>();
  #progress = Promise.withResolvers<void>();
  #news: Promise<boolean> | null = null;
  #inWorkCount = 0;
  #lastCommitMs: number;
  #joinBeganMs: number;
  #hasCrashed = false;
  #pump: Promise<void> = Promise.resolve();

  constructor(parts: RunParts) {
    this.#parts = parts;
    const { wire, clock, topics, options, logger } = parts;
    this.#lastCommitMs = clock.monotonicMs();
    this.#joinBeganMs = this.#lastCommitMs;
    const listeners = new Listeners(asBaseLogger(logger));
    this.#consumption = new Consumption({
      wire,
      options: resolveOptions(options),
      read: { from: (topic) => (topics.get(topic) === true ? "earliest" : "latest") },
      subscription: { topics: [...topics.keys()], pattern: null },
      listeners,
      createMembership: (membership, owner) => createMembership(wire, membership, this.#watched(owner)),
    });
    this.#life = new Reading({ consumption: this.#consumption, clock });
    listeners.on("assigned", (partitions) => this.#onAssigned(partitions));
    listeners.on("revoked", async (partitions) => this.#onRevoked(partitions));
    listeners.on("lost", (partitions) => this.#forget(partitions));
  }

  get isRunning(): boolean {
    return !this.#stopping.signal.aborted;
  }

  /** Null while it is no member. */
  get identity(): GroupIdentity | null {
    try {
      return this.#consumption.identity();
    } catch {
      return null;
    }
  }

  /** Settles when it is a member of the group, or will never be. */
  async start(): Promise<void> {
    this.#pump = this.#run().catch((error: unknown) => this.#crash(asKafkaJSError(error) as Error));
    await Promise.race([this.#joined.promise, this.#pump]);
  }

  /** What is in work is awaited, however long it takes, and committed; then the group is left. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#tell();
    while (this.#working.size > 0) await Promise.allSettled(this.#working);
    await this.#life.end();
    await this.#pump;
  }

  // --- Positions --------------------------------------------------------------------------------------------------------

  owned(): readonly TopicPartition[] {
    return this.#consumption.owned();
  }

  setPaused(
    topics: readonly { readonly topic: string; readonly partitions?: readonly number[] }[],
    isPaused: boolean,
  ): void {
    this.#pauses.set(topics, isPaused);
    this.#applyPauses();
  }

  paused(): TopicPartitions[] {
    return this.#pauses.of(this.owned());
  }

  /** -1 is the end, -2 the beginning. */
  seek(partition: TopicPartition, offset: number): void {
    const isOwned = this.owned().some((each) => partitionKey(each) === partitionKey(partition));
    if (isOwned) this.#seekNow(partition, offset);
    else this.#seeks.set(partitionKey(partition), { ...partition, offset });
  }

  /** @param offsets absent: what is resolved. @throws KafkaError */
  async commit(offsets: readonly NextOffset[] = this.#offsets.uncommitted()): Promise<void> {
    const { clock, instrumentation, groupId } = this.#parts;
    if (offsets.length > 0) {
      const { memberId, epoch } = this.#consumption.identity();
      await this.#consumption.commit(offsets);
      this.#offsets.committed(offsets);
      instrumentation.emit(events.COMMIT_OFFSETS, {
        groupId,
        memberId,
        groupGenerationId: epoch,
        topics: topicOffsets(offsets),
      });
    }
    this.#lastCommitMs = clock.monotonicMs();
  }

  /** Somebody else has committed these for the group. */
  noteCommitted(offsets: readonly (TopicPartition & { readonly offset: number })[]): void {
    this.#offsets.committed(offsets);
  }

  #seekNow(partition: TopicPartition, offset: number): void {
    this.#offsets.forget(partition);
    if (offset < 0) {
      void this.#seekEnd(this.#consumption.reading(partition), offset === -2 ? "earliest" : "latest");
      return;
    }
    this.#consumption.seek(partition, offset);
    if (this.#parts.config.autoCommit === false) return;
    // A member that comes later begins where this one was told to.
    this.commit([{ ...partition, offset, leaderEpoch: -1 }]).catch((error: unknown) =>
      this.#parts.logger.warn("the offset that was sought could not be committed", { ...partition, error }),
    );
  }

  async #seekEnd(reading: PartitionReading, end: "earliest" | "latest"): Promise<void> {
    // Nothing is handed out until the offset is known.
    reading.moveTo(-1);
    const { lease } = reading;
    while (this.isRunning && reading.isOwned && reading.lease === lease) {
      try {
        await this.#consumption.seekTo(reading, end);
      } catch (error) {
        this.#parts.logger.warn("an end of a partition cannot be found yet", { partition: reading.key, error });
      }
    }
  }

  // --- The group --------------------------------------------------------------------------------------------------------

  /** Sees what the membership asks of its owner. */
  #watched(owner: Owner): Owner {
    const { instrumentation, groupId, logger, clock } = this.#parts;
    return {
      owned: () => owner.owned(),
      revoke: async (partitions) => owner.revoke(partitions),
      lost: async (partitions) => owner.lost(partitions),
      assign: async (partitions) => owner.assign(partitions),
      failed: (error) => owner.failed(error),
      joined: (place) => this.#onJoined(place),
      rejoins: (reason) => {
        this.#joinBeganMs = clock.monotonicMs();
        const memberId = this.identity?.memberId ?? "";
        logger.warn("the group is rebalancing, joining again", { groupId, memberId, reason });
        instrumentation.emit(events.REBALANCING, { groupId, memberId });
      },
    };
  }

  #onJoined({ identity, leaderId, assignor, partitions }: GroupPlace): void {
    const { instrumentation, groupId, logger, clock } = this.#parts;
    const memberAssignment: IMemberAssignment = {};
    for (const { topic, partition } of partitions) (memberAssignment[topic] ??= []).push(partition);
    const payload = {
      groupId,
      memberId: identity.memberId,
      leaderId,
      isLeader: leaderId === identity.memberId,
      memberAssignment,
      groupProtocol: assignor,
      duration: Math.round(clock.monotonicMs() - this.#joinBeganMs),
    };
    logger.info("the consumer is a member of its group", payload);
    instrumentation.emit(events.GROUP_JOIN, payload);
    this.#joined.resolve();
  }

  #onAssigned(partitions: readonly TopicPartition[]): void {
    this.#applyPauses();
    for (const partition of partitions) {
      const key = partitionKey(partition);
      const sought = this.#seeks.get(key);
      this.#seeks.delete(key);
      if (sought !== undefined) this.#seekNow(partition, sought.offset);
    }
  }

  async #onRevoked(partitions: readonly TopicPartition[]): Promise<void> {
    const { autoCommit = true } = this.#parts.config;
    try {
      const offsets = this.#offsets.uncommitted(partitions);
      if (autoCommit && offsets.length > 0) await this.commit(offsets);
    } finally {
      this.#forget(partitions);
    }
  }

  #forget(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) {
      const key = partitionKey(partition);
      this.#offsets.forget(partition);
      this.#troubles.delete(key);
      this.#batches.get(key)?.end();
    }
  }

  #applyPauses(): void {
    for (const reading of this.#consumption.readings()) {
      const isWanted = this.#pauses.isPaused(reading);
      if (isWanted === reading.isPaused) continue;
      if (isWanted) this.#consumption.pause(reading);
      else this.#consumption.resume(reading);
    }
  }

  // --- Work -------------------------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    const { partitionsConsumedConcurrently = 1 } = this.#parts.config;
    const concurrency = Math.max(1, partitionsConsumedConcurrently);
    while (this.isRunning && (await this.#life.goesOn())) {
      if (this.#inWorkCount >= concurrency) {
        await this.#progress.promise;
        continue;
      }
      const taken = this.#consumption.take();
      if (taken === null) await this.#untilNewsOrProgress();
      else this.#begin(taken);
    }
  }

  /** @throws what reading failed with. */
  async #untilNewsOrProgress(): Promise<void> {
    this.#news ??= this.#life.untilNews().finally(() => (this.#news = null));
    this.#news.catch(() => {});
    await Promise.race([this.#news, this.#progress.promise]);
  }

  #tell(): void {
    this.#progress.resolve();
    this.#progress = Promise.withResolvers();
  }

  #begin(taken: Taken): void {
    this.#consumption.hold(taken.reading);
    this.#inWorkCount++;
    const work = this.#work(taken)
      .catch((error: unknown) => this.#crash(asKafkaJSError(error) as Error))
      .finally(() => {
        this.#working.delete(work);
        this.#consumption.release(taken.reading);
        this.#tell();
      });
    this.#working.add(work);
  }

  /** One batch, from its handler to where reading goes on. */
  async #work(taken: Taken): Promise<void> {
    const { reading } = taken;
    const { lease } = reading;
    let failure: unknown = null;
    try {
      const batch = this.#gather(taken);
      this.#offsets.begin(reading, { offset: batch.startOffset, committed: reading.committedOffset });
      const ticket = lease.begin(batch.nextOffset);
      const work = new BatchWork(reading, batch);
      this.#batches.set(reading.key, work);
      try {
        failure = await this.#handle(work);
      } finally {
        if (this.#batches.get(reading.key) === work) this.#batches.delete(reading.key);
        lease.done(ticket);
      }
      if (!work.isVoid) this.#goOnFrom(work);
    } finally {
      this.#inWorkCount--;
      this.#tell();
    }
    if (failure !== null) await this.#afterFailure(reading, failure);
  }

  /** All that is there of the partition, up to a fetch's worth. */
  #gather({ reading, chunk: first }: Taken): FacadeBatch {
    const { partitionMaxBytes = 1_048_576 } = this.#parts.options;
    const parts: Part[] = [];
    let bytes = 0;
    for (let chunk: Taken["chunk"] | null = first; chunk !== null;) {
      parts.push(partOf(reading, chunk));
      bytes += chunk.sizeBytes;
      chunk = bytes < partitionMaxBytes ? this.#consumption.takeOf(reading) : null;
    }
    return new FacadeBatch(reading, parts);
  }

  /** What the handler failed with; null: it went well, or its failure is of no interest. */
  async #handle(work: BatchWork): Promise<unknown> {
    const { instrumentation, clock } = this.#parts;
    const { batch, reading } = work;
    const startedMs = clock.monotonicMs();
    const about = aboutBatch(batch);
    instrumentation.emit(events.START_BATCH_PROCESS, about);
    try {
      if (batch.isEmpty()) this.#resolve(work, batch.nextOffset);
      else if (this.#parts.config.eachMessage !== undefined) await this.#eachMessage(work);
      else if (this.#parts.config.eachBatch !== undefined) await this.#eachBatch(work);
      else this.#resolve(work, batch.nextOffset);
    } catch (error) {
      const isLost = work.isVoid;
      this.#logFailure(work, error, isLost);
      await this.#autoCommit();
      return isLost ? null : error;
    }
    const duration = Math.round(clock.monotonicMs() - startedMs);
    instrumentation.emit(events.END_BATCH_PROCESS, { ...about, duration });
    if (!work.isVoid) this.#troubles.delete(reading.key);
    await this.#autoCommit();
    return null;
  }

  async #eachMessage(work: BatchWork): Promise<void> {
    const { batch, reading } = work;
    const { topic, partition } = batch;
    const handler = this.#parts.config.eachMessage;
    for (const message of batch.messages) {
      if (!this.isRunning || work.isVoid) return;
      await handler?.({
        topic,
        partition,
        message,
        heartbeat: async () => this.#heartbeat(work),
        pause: this.#pauser(batch),
      });
      this.#resolve(work, batch.nextOffsetBehind(Number(message.offset)));
      if (work.isVoid) return;
      this.#troubles.delete(reading.key);
      if (this.#parts.config.autoCommit !== false) await this.#commitIfNecessary();
      if (reading.isPaused) return;
      if (!(await this.#life.goesOn())) return;
    }
  }

  async #eachBatch(work: BatchWork): Promise<void> {
    const { batch } = work;
    const { eachBatch, eachBatchAutoResolve = true } = this.#parts.config;
    await eachBatch?.({
      batch,
      resolveOffset: (offset) => this.#resolve(work, batch.nextOffsetBehind(Number(offset))),
      heartbeat: async () => this.#heartbeat(work),
      pause: this.#pauser(batch),
      commitOffsetsIfNecessary: async (offsets) => {
        try {
          if (offsets === undefined) await this.#commitIfNecessary();
          else await this.commit(nextOffsetsOf(offsets.topics));
        } catch (error) {
          throw asKafkaJSError(error);
        }
      },
      uncommittedOffsets: () => ({ topics: topicOffsets(this.#offsets.uncommitted()) }),
      isRunning: () => this.isRunning,
      isStale: () => work.isVoid,
    });
    if (eachBatchAutoResolve) this.#resolve(work, batch.nextOffset);
  }

  #pauser({ topic, partition }: TopicPartition): () => () => void {
    return () => {
      const topics = [{ topic, partitions: [partition] }];
      this.setPaused(topics, true);
      return () => {
        if (this.isRunning) this.setPaused(topics, false);
      };
    };
  }

  /** The group's own are sent beside it; what it is good for is a turn for them, and word of a partition that is gone. */
  async #heartbeat(work: BatchWork): Promise<void> {
    await this.#life.goesOn();
    if (!work.isRevoked) return;
    const sentence = `${work.reading.key} was taken away from this member: the rest of its batch is another's`;
    throw new KafkaJSProtocolError(protocolSource(rebalanceInProgress, sentence), { retriable: true });
  }

  #resolve(work: BatchWork, nextOffset: number): void {
    if (!work.mayResolve) return;
    this.#offsets.resolve(work.reading, { nextOffset, epoch: work.batch.epochBefore(nextOffset) });
  }

  /** Behind what was resolved; with nothing resolved, the same batch comes again. */
  #goOnFrom({ reading, batch }: BatchWork): void {
    const resolved = this.#offsets.nextOffset(reading);
    const next = resolved < 0 ? batch.startOffset : resolved;
    if (next > batch.nextOffset || next < batch.startOffset) {
      this.#consumption.seek(reading, next);
      return;
    }
    for (const chunk of batch.chunksFrom(next)) this.#consumption.giveBack({ reading, chunk });
  }

  // --- Commits ----------------------------------------------------------------------------------------------------------

  /** What cannot be committed now is committed with what follows it. */
  async #autoCommit(): Promise<void> {
    if (this.#parts.config.autoCommit === false) return;
    try {
      await this.commit();
    } catch (error) {
      this.#parts.logger.warn("offsets could not be committed", { groupId: this.#parts.groupId, error });
    }
  }

  async #commitIfNecessary(): Promise<void> {
    const { autoCommitInterval, autoCommitThreshold } = this.#parts.config;
    const sinceMs = this.#parts.clock.monotonicMs() - this.#lastCommitMs;
    const isLate = typeof autoCommitInterval === "number" && sinceMs >= autoCommitInterval;
    const isMuch = typeof autoCommitThreshold === "number" && this.#offsets.uncommittedCount >= autoCommitThreshold;
    if (isLate || isMuch) await this.#autoCommitOrAsked();
  }

  async #autoCommitOrAsked(): Promise<void> {
    if (this.#parts.config.autoCommit === false) await this.commit();
    else await this.#autoCommit();
  }

  // --- Failures ---------------------------------------------------------------------------------------------------------

  #logFailure({ batch }: BatchWork, error: unknown, isLost: boolean): void {
    const { logger } = this.#parts;
    const { topic, partition } = batch;
    const about = { topic, partition, offset: batch.firstOffset(), error, stack: (error as Partial<Error>)?.stack };
    if (isLost) logger.debug("a handler ended with an error after its partition was taken away", about);
    else if (!(error instanceof KafkaJSError)) logger.error("the handler has failed", about);
  }

  /** The partition waits, then its batch comes again from what was resolved; the others go on meanwhile. */
  async #afterFailure(reading: PartitionReading, failure: unknown): Promise<void> {
    const { retry, random, clock, logger } = this.#parts;
    const error = failure instanceof Error ? failure : new Error(String(failure));
    const { retriable } = error as { readonly retriable?: boolean };
    if (retriable === false || brokenPrograms.has(error.name)) {
      this.#crash(new KafkaJSNonRetriableError(error, { cause: error.cause ?? error }));
      return;
    }
    const trouble = this.#troubles.get(reading.key) ?? { pauses: new RetryPauses(retry, random), count: 0 };
    this.#troubles.set(reading.key, trouble);
    const retryTime = trouble.pauses.next();
    if (trouble.count >= retry.retries) {
      this.#troubles.delete(reading.key);
      this.#crash(new KafkaJSNumberOfRetriesExceeded(error, { retryCount: trouble.count, retryTime }));
      return;
    }
    trouble.count++;
    const { topic, partition } = reading;
    logger.debug("the batch comes again", { topic, partition, retryCount: trouble.count, retryTime, error });
    await pause(clock, retryTime, AbortSignal.any([this.#stopping.signal, reading.lease.signal]));
  }

  #crash(error: Error): void {
    if (this.#hasCrashed || !this.isRunning) return;
    this.#hasCrashed = true;
    this.#joined.resolve();
    this.#parts.onCrash(error);
  }
}

/** A batch in work, under the right to its partition that it was taken with. */
class BatchWork {
  readonly reading: PartitionReading;
  readonly batch: FacadeBatch;
  readonly #lease: PartitionReading["lease"];
  #isOver = false;

  constructor(reading: PartitionReading, batch: FacadeBatch) {
    this.reading = reading;
    this.batch = batch;
    this.#lease = reading.lease;
  }

  /** Sought elsewhere, or given up: there is no sense in going on. */
  get isVoid(): boolean {
    return this.isRevoked || this.reading.lease !== this.#lease;
  }

  /** What is done while the partition is being given up counts, until it is another's. */
  get mayResolve(): boolean {
    return !this.#isOver && this.reading.lease === this.#lease;
  }

  end(): void {
    this.#isOver = true;
  }

  get isRevoked(): boolean {
    return !this.reading.isOwned;
  }
}

function aboutBatch(batch: FacadeBatch) {
  const { topic, partition, highWatermark, messages } = batch;
  return {
    topic,
    partition,
    highWatermark,
    offsetLag: batch.offsetLag(),
    offsetLagLow: batch.offsetLagLow(),
    batchSize: messages.length,
    firstOffset: batch.firstOffset(),
    lastOffset: batch.lastOffset(),
  };
}

function nextOffsetsOf(
  topics: readonly { readonly topic: string; readonly partitions: readonly PartitionOffset[] }[],
): readonly NextOffset[] {
  return topics.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset), leaderEpoch: -1 })),
  );
}
