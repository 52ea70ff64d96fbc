import { Deque } from "@millrace/base/deque";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerError, KafkaError } from "../errors.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { committable, Commits } from "./commits.ts";
import { CommittedOffsets } from "./committed-offsets.ts";
import type { NextOffset } from "./consumed-offsets.ts";
import type { Listeners } from "./listeners.ts";
import { Fetcher } from "./fetching/fetcher.ts";
import { checkOffset, Locator } from "./locator.ts";
import type { LocatorListener } from "./locator.ts";
import type { FetchListener } from "./fetching/fetcher.ts";
import type { GroupIdentity, Membership, Owner, Subscription } from "./membership/membership.ts";
import type { MembershipOptions } from "./membership/options.ts";
import type { PositionMoved, ReadOptions, ResolvedOptions } from "./options.ts";
import type { Lease } from "./lease.ts";
import { PartitionReading } from "./partition-reading.ts";
import type { Chunk, FetchBuffer } from "./partition-reading.ts";
import type { StartAt } from "./positions.ts";

export type MembershipFactory = (options: MembershipOptions, owner: Owner) => Membership;

export interface ConsumptionOptions {
  readonly wire: Wire;
  readonly options: ResolvedOptions;
  readonly read: ReadOptions;
  readonly subscription: Subscription;
  readonly listeners: Listeners;
  /** For consumers of a group. */
  readonly createMembership: MembershipFactory;
}

/** A chunk with the partition it is of: what a front takes and hands out. */
export interface Taken {
  readonly reading: PartitionReading;
  readonly chunk: Chunk;
}

/**
 * Reading, from its beginning to its end: which partitions are owned, where each stands, what is fetched and waits to be
 * handed out, what is done and committed. Its front takes chunks; its membership (if any) gives and takes partitions.
 */
export class Consumption implements Owner, FetchListener, LocatorListener {
  readonly #wire: Wire;
  readonly #options: ResolvedOptions;
  readonly #read: ReadOptions;
  readonly #listeners: Listeners;
  readonly #locator: Locator;
  readonly #fetcher: Fetcher;
  readonly #membership: Membership | null;
  /** Of a group. */
  readonly #offsets: CommittedOffsets | null;
  readonly #commits: Commits | null;
  readonly #subscription: Subscription;
  readonly #readings = new Map<string, PartitionReading>();
  readonly #buffer: FetchBuffer = { bytes: 0 };
  /** Those that have chunks, in the order in which they are served. */
  readonly #queue = new Deque<PartitionReading>();
  readonly #waiters: (() => void)[] = [];
  /** The last trouble of those that are watched. */
  readonly #troubles = new Map<PartitionReading, KafkaError>();
  #failure: KafkaError | null = null;
  #isStarted = false;
  #isEnding = false;
  #isGone = false;
  #ended: Promise<void> | null = null;

  constructor(given: ConsumptionOptions) {
    const { wire, options, read, subscription, listeners } = given;
    this.#wire = wire;
    this.#options = options;
    this.#read = read;
    this.#listeners = listeners;
    this.#subscription = subscription;
    this.#locator = new Locator(wire, { options, read, listener: this });
    this.#fetcher = new Fetcher(wire, options, { listener: this, buffer: this.#buffer });
    this.#offsets = options.group === null ? null : new CommittedOffsets(wire, options.group);
    this.#membership =
      options.membership === null ? null : given.createMembership({ ...options.membership, subscription }, this);
    this.#commits = this.#newCommits();
  }

  #newCommits(): Commits | null {
    const { commit, commitIntervalMs } = this.#options;
    if (this.#membership === null || this.#offsets === null) return null;
    return new Commits({
      wire: this.#wire,
      offsets: this.#offsets,
      membership: this.#membership,
      readings: this.#readings,
      intervalMs: commit === "auto" ? commitIntervalMs : null,
    });
  }

  /** @throws KafkaError NO_GROUP, or NOT_A_MEMBER while the group comes together. */
  identity(): GroupIdentity {
    return this.#ofGroup().identity();
  }

  #ofGroup(): Commits {
    if (this.#commits !== null) return this.#commits;
    throw new KafkaError("NO_GROUP", "only a consumer of a group can commit: give it the option group");
  }

  /**
   * Without a group it settles when all positions are known, and rejects when a topic, a partition or all brokers are not
   * there; in a group it settles at once.
   */
  async start(): Promise<void> {
    this.#isStarted = true;
    if (this.#membership === null) {
      const newReading = (topic: string, partition: number): PartitionReading =>
        new PartitionReading(topic, partition, this.#buffer);
      for (const topic of this.#subscription.topics) {
        for (const reading of await this.#locator.begin(topic, newReading)) this.#readings.set(reading.key, reading);
      }
      this.#fetcher.wake();
      return;
    }
    this.#membership.start();
    this.#commits?.start();
  }

  // --- What a front does ------------------------------------------------------------------------------------------------

  /** To be called before anything is handed out that was taken some time ago: see `Membership.look`. */
  look(): void {
    this.#membership?.look();
  }

  /** The next chunk, of the partitions that have one in turns; null: there is none at present, or there will be none any more. */
  take(): Taken | null {
    this.look();
    for (let reading = this.#queue.shift(); reading !== undefined; reading = this.#queue.shift()) {
      reading.isQueued = false;
      if (!reading.isOwned || reading.isPaused || reading.isHeld) continue;
      const wasFull = reading.bufferedBytes >= this.#options.partitionMaxBytes;
      const chunk = reading.take();
      if (chunk === undefined) continue;
      this.#enqueue(reading);
      if (wasFull || !reading.hasChunk) this.#fetcher.wakeFor(reading);
      return { reading, chunk };
    }
    return null;
  }

  /** The next chunk of this partition, whosever turn it is. */
  takeOf(reading: PartitionReading): Chunk | null {
    this.look();
    if (!reading.isOwned || reading.isPaused) return null;
    const chunk = reading.take() ?? null;
    if (chunk !== null && !reading.hasChunk) this.#fetcher.wakeFor(reading);
    return chunk;
  }

  /** Until `release` it is not offered by `take`: whoever took of it has enough in hand, or takes more by `takeOf` alone. */
  hold(reading: PartitionReading): void {
    reading.isHeld = true;
  }

  release(reading: PartitionReading): void {
    reading.isHeld = false;
    this.#enqueue(reading);
    this.#tell();
  }

  giveBack({ reading, chunk }: Taken): void {
    if (!reading.isOwned) return;
    reading.giveBack(chunk);
    this.#enqueue(reading);
  }

  /** `take` may give something at once. */
  get hasReady(): boolean {
    return !this.#queue.isEmpty;
  }

  /** Settles when `take` may give something, or reading is over. */
  async untilNews(): Promise<void> {
    if (!this.#queue.isEmpty || this.isOver || this.#failure !== null) return;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** Nothing more comes: it was ended, or all was read that was to be read. */
  get isOver(): boolean {
    if (this.#isEnding) return true;
    if (this.#membership !== null || !this.#isStarted) return false;
    for (const reading of this.#readings.values()) if (!reading.isAtEnd) return false;
    return true;
  }

  get isEnded(): boolean {
    return this.#isEnding;
  }

  /** And nothing is left of it: what was in work is committed or given up. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Of how many partitions it reads. */
  get readingsCount(): number {
    return this.#readings.size;
  }

  /** Why reading ended by itself. */
  get failure(): KafkaError | null {
    return this.#failure;
  }

  /** Nothing more is handed out; what is in work is awaited and committed; the group is left. */
  async end(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  // --- Positions --------------------------------------------------------------------------------------------------------

  readings(): Iterable<PartitionReading> {
    return this.#readings.values();
  }

  reading(partition: TopicPartition): PartitionReading {
    const found = this.#readings.get(partitionKey(partition));
    if (found !== undefined) return found;
    throw new KafkaError("NOT_ASSIGNED", `${partitionKey(partition)} is not assigned to this consumer`);
  }

  pause(partition: TopicPartition): void {
    const reading = this.reading(partition);
    reading.isPaused = true;
    // What nobody takes would keep room from the others.
    reading.fetchAgain();
    this.#fetcher.wake();
  }

  resume(partition: TopicPartition): void {
    const reading = this.reading(partition);
    reading.isPaused = false;
    this.#enqueue(reading);
    this.#tell();
    this.#fetcher.wake();
  }

  seek(partition: TopicPartition, offset: number): void {
    const reading = this.reading(partition);
    checkOffset(reading.key, offset);
    reading.moveTo(offset);
    reading.committedOffset = -1;
    this.#fetcher.wake();
  }

  async seekTo(partition: TopicPartition, at: StartAt): Promise<void> {
    const reading = this.reading(partition);
    const offset = await this.#locator.find(reading, at);
    if (offset !== null && reading.isOwned) this.seek(partition, offset);
  }

  // --- Commits ----------------------------------------------------------------------------------------------------------

  /** What is done and not committed yet. */
  committable(): readonly NextOffset[] {
    return committable(this.#readings.values());
  }

  /** Commits what is done, or these offsets; settles when the coordinator has them. */
  async commit(offsets?: readonly NextOffset[]): Promise<void> {
    await this.#ofGroup().commit(offsets);
  }

  /**
   * Commits what is done, of the reading under this lease among it.
   *
   * @throws KafkaError NOT_ASSIGNED where that was given up before.
   */
  async commitUnder(lease: Lease, partition: TopicPartition): Promise<void> {
    const commits = this.#ofGroup();
    const reading = this.#readings.get(partitionKey(partition));
    if (reading?.lease === lease) return commits.commitOf(reading);
    const sentence = "was given up, or sought elsewhere, before the commit: it is read again by its owner";
    throw new KafkaError("NOT_ASSIGNED", `${partitionKey(partition)} ${sentence}`);
  }

  // --- Owner ------------------------------------------------------------------------------------------------------------

  owned(): readonly TopicPartition[] {
    return [...this.#readings.values()].map(({ topic, partition }) => ({ topic, partition }));
  }

  async assign(partitions: readonly TopicPartition[]): Promise<void> {
    const fresh: PartitionReading[] = [];
    for (const { topic, partition } of partitions) {
      const reading = new PartitionReading(topic, partition, this.#buffer);
      if (this.#readings.get(reading.key)?.isOwned === true) continue;
      this.#readings.set(reading.key, reading);
      fresh.push(reading);
    }
    await this.#listeners.tell("assigned", partitions);
    const offsets = this.#offsets;
    const membership = this.#membership;
    if (offsets === null || membership === null) return;
    void this.#locator.locate(fresh, {
      offsets,
      identity: () => membership.identity,
      // Only coordinators of consumer groups ask who reads offsets; what else is said is no reason to join anew.
      onRefused: (identity, error) => {
        const isOfMember = this.#options.membership?.protocol === "consumer" && refusalsOfReaders.has(error.code);
        if (isOfMember) membership.onCommitRefused(identity, error);
      },
    });
  }

  async revoke(partitions: readonly TopicPartition[]): Promise<void> {
    const readings = this.#give(partitions);
    await this.#settled(readings);
    // What was lost meanwhile was told as that.
    const left = readings.filter((reading) => this.#readings.get(reading.key) === reading);
    if (left.length === 0) return;
    await this.#listeners.tell(
      "revoked",
      left.map(({ topic, partition }) => ({ topic, partition })),
    );
    try {
      if (this.#options.commit === "auto") await this.#commits?.commitLast(left);
      // Whoever said "done" and "commit" in one breath has the second one under way.
      else await this.#commits?.underWay();
    } catch (error) {
      this.#wire.logger.warn("offsets could not be committed before their partitions were given up", { error });
    }
    this.#drop(left);
  }

  async lost(partitions: readonly TopicPartition[]): Promise<void> {
    this.#drop(this.#give(partitions));
    await this.#listeners.tell("lost", partitions);
  }

  failed(error: KafkaError): void {
    this.#failure ??= error;
    this.#fetcher.stop();
    this.#tell();
  }

  /** A partition may have been lost and assigned anew meanwhile: then it is another reading's. */
  #drop(readings: readonly PartitionReading[]): void {
    for (const reading of readings) {
      if (this.#readings.get(reading.key) === reading) this.#readings.delete(reading.key);
    }
  }

  /** Nothing more of them is handed out, and whoever works on them is told. */
  #give(partitions: readonly TopicPartition[]): readonly PartitionReading[] {
    const readings: PartitionReading[] = [];
    for (const partition of partitions) {
      const reading = this.#readings.get(partitionKey(partition));
      if (reading === undefined) continue;
      reading.isOwned = false;
      reading.dropBuffer();
      reading.lease.revoke();
      readings.push(reading);
    }
    this.#tell();
    // There is room for what others have.
    this.#fetcher.wake();
    return readings;
  }

  /** Until nothing of them is in work, or the time is over. */
  async #settled(readings: readonly PartitionReading[]): Promise<void> {
    if (readings.every(({ lease }) => lease.outstanding === 0)) return;
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = this.#wire.world.clock.schedule(this.#options.revokeTimeoutMs, () => {
      const slow = readings.filter(({ lease }) => lease.outstanding > 0).map(({ key }) => key);
      this.#wire.logger.warn("partitions are given up although work on them has not ended", { partitions: slow });
      resolve();
    });
    await Promise.race([Promise.all(readings.map(async ({ lease }) => lease.idle())), over]);
    timer.cancel();
  }

  // --- What the locator and the fetcher tell ----------------------------------------------------------------------------------------------------

  onLocated(readings: readonly PartitionReading[]): void {
    for (const reading of readings) this.#fetcher.wakeFor(reading);
    // Where the group had no offset, it has one from now on: whoever comes next begins there, and not where the end is then.
    const isNews = readings.some(({ committedOffset }) => committedOffset < 0);
    if (isNews && this.#options.commit === "auto") this.#commits?.inBackground();
  }

  onMoved(moved: PositionMoved): void {
    this.#wire.logger.warn("a position was not in the log", { ...moved });
    void this.#listeners.tell("moved", moved);
  }

  onUnmoved(reading: PartitionReading): void {
    const sentence = `${reading.key} at offset ${reading.fetchOffset}: the leader refuses the position that it gives`;
    this.#fetcher.retryLater(reading, new KafkaError("OFFSET_OUT_OF_RANGE", sentence, { retriable: true }));
  }

  onFetched(reading: PartitionReading): void {
    this.#enqueue(reading);
    this.#tell();
  }

  onNewLeader(reading: PartitionReading, topic: TopicMetadata): void {
    const goOn = (): void => {
      reading.isChecking = false;
      this.#fetcher.wakeFor(reading);
    };
    void this.#locator
      .check(reading, topic)
      .then((outcome) => {
        if (outcome === "lost") this.#reset(reading, "truncated");
      })
      .catch((error: unknown) => {
        // Who leads now is asked for anew, too.
        this.#wire.metadata.forget(topic.name);
        this.#fetcher.retryLater(reading, error);
      })
      .finally(goOn);
  }

  onShortOfEnd(reading: PartitionReading): void {
    void this.#locator.findEnd(reading).then((hasMoved) => {
      if (hasMoved) this.onFetched(reading);
    });
  }

  onOutOfRange(reading: PartitionReading): void {
    this.#reset(reading, "out-of-range");
  }

  #reset(reading: PartitionReading, reason: PositionMoved["reason"]): void {
    const { outOfRange = this.#options.group === null ? "fail" : "earliest" } = this.#read;
    if (outOfRange !== "fail") {
      void this.#locator.move(reading, reason, outOfRange);
      return;
    }
    this.failed(brokerError(ErrorCode.OFFSET_OUT_OF_RANGE, `${reading.key} at offset ${reading.fetchOffset}`));
  }

  onRecreated(reading: PartitionReading): void {
    // The new topic was never read: from its beginning nothing is missed.
    void this.#locator.move(reading, "recreated", "earliest");
  }

  onTrouble(reading: PartitionReading, error: KafkaError): void {
    const { topic, partition } = reading;
    const { outageMsMax } = this.#options;
    const isNew = !this.#troubles.has(reading);
    this.#troubles.set(reading, error);
    if (isNew && Number.isFinite(outageMsMax)) {
      this.#wire.world.clock.schedule(outageMsMax, () => this.#lookAtTrouble(reading));
    }
    void this.#listeners.tell("trouble", { topic, partition, error });
  }

  /** Some time after it began. */
  #lookAtTrouble(reading: PartitionReading): void {
    const { clock } = this.#wire.world;
    const { outageMsMax } = this.#options;
    const error = this.#troubles.get(reading);
    this.#troubles.delete(reading);
    const sinceMs = reading.troubledSinceMs;
    if (error === undefined || sinceMs === null || !reading.isOwned || this.#isEnding) return;
    const restMs = sinceMs + outageMsMax - clock.monotonicMs();
    if (restMs > 0) {
      // It went well for a while, and this is another trouble.
      this.#troubles.set(reading, error);
      clock.schedule(restMs, () => this.#lookAtTrouble(reading));
      return;
    }
    const sentence = `reading ${reading.topic}: no success within ${outageMsMax} ms: ${error.message}`;
    this.failed(new KafkaError("TIMED_OUT", sentence, { retriable: true, cause: error }));
  }

  onFailure(_reading: PartitionReading, error: KafkaError): void {
    this.failed(error);
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  #enqueue(reading: PartitionReading): void {
    const { isQueued, hasChunk, isOwned, isPaused, isHeld } = reading;
    if (isQueued || !hasChunk || !isOwned || isPaused || isHeld) return;
    reading.isQueued = true;
    this.#queue.push(reading);
  }

  #tell(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  async #end(): Promise<void> {
    this.#isEnding = true;
    this.#commits?.end();
    this.#tell();
    if (this.#membership === null) {
      this.#give(this.owned());
      this.#readings.clear();
    } else await this.#membership.leave();
    this.#isGone = true;
    this.#fetcher.stop();
  }
}

const refusalsOfReaders: ReadonlySet<string> = new Set([
  "UNKNOWN_MEMBER_ID",
  "STALE_MEMBER_EPOCH",
  "FENCED_MEMBER_EPOCH",
]);
