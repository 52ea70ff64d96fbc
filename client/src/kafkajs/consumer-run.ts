import type { NextOffset } from "../consumer/consumed-offsets.ts";
import { Consumption } from "../consumer/consumption.ts";
import type { Taken } from "../consumer/consumption.ts";
import { Reading } from "../consumer/delivery/reading.ts";
import { Listeners } from "../consumer/listeners.ts";
import { createMembership } from "../consumer/membership/create-membership.ts";
import type { GroupIdentity, GroupPlace, Owner } from "../consumer/membership/membership.ts";
import { resolveOptions } from "../consumer/options.ts";
import type { PartitionReading } from "../consumer/partition-reading.ts";
import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { BatchWork } from "./batch-work.ts";
import { FacadeBatch, partOf } from "./consumed-batch.ts";
import type { Part } from "./consumed-batch.ts";
import type { IMemberAssignment } from "./consumer-types.ts";
import { asKafkaJSError } from "./error-mapping.ts";
import { consumerEvents as events } from "./events.ts";
import { Handlers } from "./handlers.ts";
import type { HandlersHost } from "./handlers.ts";
import { asBaseLogger } from "./logger.ts";
import type { TopicPartitions } from "./message-types.ts";
import { Pauses } from "./pauses.ts";
import { ResolvedOffsets } from "./resolved-offsets.ts";
import { pause } from "./retry.ts";
import { RunCommits } from "./run-commits.ts";
import type { RunParts } from "./run-parts.ts";
import { Troubles } from "./troubles.ts";

/** From `run` to `stop`, or to a crash: a member of the group whose partitions are handed to the program's handler. */
export class ConsumerRun implements HandlersHost {
  readonly #parts: RunParts;
  readonly #consumption: Consumption;
  readonly #life: Reading;
  readonly #offsets = new ResolvedOffsets();
  readonly #pauses = new Pauses();
  /** Sought before the partition was assigned. */
  readonly #seeks = new Map<string, TopicPartition & { readonly offset: number }>();
  readonly #troubles: Troubles;
  readonly #commits: RunCommits;
  readonly #handlers: Handlers;
  readonly #joined = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #working = new Set<Promise<void>>();
  /** By partition. */
  readonly #batches = new Map<string, BatchWork>();
  #progress = Promise.withResolvers<void>();
  #news: Promise<boolean> | null = null;
  #inWorkCount = 0;
  #joinBeganMs: number;
  #hasCrashed = false;
  #pump: Promise<void> = Promise.resolve();

  constructor(parts: RunParts) {
    this.#parts = parts;
    const { wire, clock, topics, options, logger } = parts;
    this.#joinBeganMs = clock.monotonicMs();
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
    this.#troubles = new Troubles(parts);
    this.#commits = new RunCommits(parts, { consumption: this.#consumption, offsets: this.#offsets });
    this.#handlers = new Handlers(parts, { offsets: this.#offsets, commits: this.#commits, host: this });
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

  async goesOn(): Promise<boolean> {
    return this.#life.goesOn();
  }

  wentWell(reading: PartitionReading): void {
    this.#troubles.forget(reading);
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
  async commit(offsets?: readonly NextOffset[]): Promise<void> {
    await this.#commits.commit(offsets);
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
      this.#troubles.forget(partition);
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
        failure = await this.#handlers.handle(work);
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

  /** The partition waits, then its batch comes again from what was resolved; the others go on meanwhile. */
  async #afterFailure(reading: PartitionReading, failure: unknown): Promise<void> {
    const outcome = this.#troubles.after(reading, failure);
    if ("end" in outcome) this.#crash(outcome.end);
    else {
      const signal = AbortSignal.any([this.#stopping.signal, reading.lease.signal]);
      await pause(this.#parts.clock, outcome.pauseMs, signal);
    }
  }

  #crash(error: Error): void {
    if (this.#hasCrashed || !this.isRunning) return;
    this.#hasCrashed = true;
    this.#joined.resolve();
    this.#parts.onCrash(error);
  }
}
