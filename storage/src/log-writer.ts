import { assert } from "@millrace/base/assert";
import type { TimeMs } from "@millrace/base/units";
import { DiskError } from "@millrace/base/world";
import { BATCH_OVERHEAD_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { readInt64, readInt64Exact } from "kafka-protocol-ts/records/int64";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { LogConfig } from "./log-config.ts";
import type { LogEnvironment } from "./log-environment.ts";
import { LogPersistence } from "./log-persistence.ts";
import { OFFSET_ENTRY_BYTES } from "./offset-index.ts";
import { encodeSnapshot } from "./producer-snapshot.ts";
import type { ProducerStates } from "./producer-state.ts";
import { isOutOfSpace } from "./out-of-space.ts";
import { RecentBatches } from "./recent-batches.ts";
import { SegmentIndexer } from "./segment-indexer.ts";
import { Segment } from "./segment.ts";
import type { Segments } from "./segments.ts";
import type { ExactTimestamp, FilePosition, LeaderEpoch, Offset } from "./types.ts";
import { WriteQueue } from "./write-queue.ts";
import type { Portion, WriteQueueOwner } from "./write-queue.ts";

/** What a log is made of, as it was loaded or created. */
export interface LogState {
  readonly directory: string;
  readonly segments: Segments;
  readonly producers: ProducerStates;
  readonly epochs: LeaderEpochs;
  readonly endOffset: Offset;
  readonly recoveryPoint: Offset;
  /** Of the newest snapshot of the producers' state; null without one. */
  readonly snapshotOffset: Offset | null;
  /** The largest timestamp of the active segment's first batch. */
  readonly rollTimestamp: ExactTimestamp | null;
  /** What the next recovery would have to read again. */
  readonly uncheckedBytes: number;
}

/** Told when offsets move, or when the log's end went back. */
interface RolledSegment {
  readonly segment: Segment;
  /** Exclusive. */
  readonly endOffset: Offset;
  /** Of the producers as they were there. */
  readonly snapshot: Buffer;
}

export interface LogWriterOwner {
  onProgress(): void;
  /** More of the log can be read from its files. */
  onWritten(): void;
  /** The disk is full: appends from `endOffset` on are not in the log and never will be. */
  onDiskFull(endOffset: Offset): void;
  /** The file is cut behind what is in it, and the state of producers is to be built again. */
  repair(): Promise<void>;
}

/** So many index entries wait for a write together. */
const INDEX_ENTRIES_PENDING = 64;
const INT32_MAX = 0x7fff_ffff;
const nothingUnderWay: Promise<void> = Promise.resolve();

/**
 * The growing end of a log: gives offsets, queues for the group commit, writes indexes, rolls segments, and brings what only
 * lies in memory to the disk, so that a recovery has little to do.
 */
export class LogWriter implements WriteQueueOwner {
  readonly #environment: LogEnvironment;
  readonly #owner: LogWriterOwner;
  readonly #directory: string;
  readonly segments: Segments;
  readonly producers: ProducerStates;
  readonly epochs: LeaderEpochs;
  readonly queue: WriteQueue;
  config: LogConfig;
  endOffset: Offset;
  recoveryPoint: Offset;
  #durableOffset: Offset;
  /** Where the newest batches lie, and in which segment; null while the log is idle. */
  #recent: RecentBatches | null = null;
  #recentSegment: Segment | null = null;
  /** Under durability `os`: a sync that `flush.messages` asked for has not ended, and nothing counts before. */
  #flushWantedOffset: Offset | null = null;
  /** Exclusive: where the newest of what is to be synced ends. */
  #flushWantedUpTo: Offset = 0 as Offset;
  #appendPosition: number;
  readonly #persistence: LogPersistence;
  readonly #indexer: SegmentIndexer = new SegmentIndexer();
  /** The active segment's time index ends with its largest timestamp. */
  #isSealed = true;
  /** Of the active segment's first batch: from it on `segment.ms` counts. */
  #rollTimestamp: ExactTimestamp | null = null;
  #rollJitterMs = 0;
  /** Appended since the last checkpoint. */
  uncheckedBytes: number;
  #isFailed = false;
  /** When `isRoomUnused` was asked last. */
  #endOffsetBefore: Offset | null = null;
  #messagesSinceFlush = 0;
  /** Closed for appends, and their files not finished yet; oldest first. */
  readonly #rolled: RolledSegment[] = [];
  /** Finishing of rolled segments and checkpoints, one after the other. */
  #background: Promise<void> = nothingUnderWay;
  readonly #flushWaiters: { readonly offset: Offset; readonly resolve: (isFlushed: boolean) => void }[] = [];

  constructor(
    environment: LogEnvironment,
    owner: LogWriterOwner,
    identity: WriteQueue["identity"],
    { config, state }: { readonly config: LogConfig; readonly state: LogState },
  ) {
    this.#environment = environment;
    this.#owner = owner;
    this.#directory = state.directory;
    this.segments = state.segments;
    this.producers = state.producers;
    this.epochs = state.epochs;
    this.endOffset = state.endOffset;
    this.recoveryPoint = state.recoveryPoint;
    this.#durableOffset = state.endOffset;
    this.#persistence = new LogPersistence(environment, state);
    this.#rollTimestamp = state.rollTimestamp;
    this.uncheckedBytes = state.uncheckedBytes;
    this.#appendPosition = state.segments.active.sizeBytes;
    this.queue = new WriteQueue(this, identity, state.endOffset);
    this.config = config;
    this.configure(config);
  }

  /** Everything below counts: it may be acknowledged and read. Does not go back when the durability is raised. */
  get durableOffset(): Offset {
    return this.#durableOffset;
  }

  #progress(): void {
    const { isSyncWanted, flushedOffset, writtenOffset } = this.queue;
    let counted = isSyncWanted ? flushedOffset : writtenOffset;
    if (this.#flushWantedOffset !== null) counted = Math.min(counted, this.#flushWantedOffset) as Offset;
    const durableOffset = Math.max(this.#durableOffset, flushedOffset, counted) as Offset;
    if (durableOffset === this.#durableOffset) return;
    this.#durableOffset = durableOffset;
    this.#owner.onProgress();
  }

  configure(config: LogConfig): void {
    this.config = config;
    this.queue.isSyncWanted = config["millrace.durability"] === "fsync";
    this.#drawRollJitter();
    if (this.queue.isSyncWanted) this.#environment.committer.syncSoon(this.queue);
  }

  /** Each segment has its own: logs that began together do not roll together. */
  #drawRollJitter(): void {
    const { "segment.jitter.ms": jitterMs, "segment.ms": segmentMs } = this.config;
    this.#rollJitterMs = Math.floor(this.#environment.random.fraction() * Math.min(jitterMs, segmentMs));
  }

  // --- Append --------------------------------------------------------------------------------------------------------

  /** The batch has its offsets and its epoch. */
  append(batch: RecordBatchView, nowMs: TimeMs): void {
    const { baseOffset, lastOffsetDelta, sizeBytes } = batch;
    const nextOffset = (baseOffset + lastOffsetDelta + 1) as Offset;
    if (this.#isRollDue(batch, nowMs)) this.#roll(baseOffset as Offset);
    const segment = this.segments.active;
    this.#rollTimestamp ??= batch.maxTimestampExact;
    if (batch.producerId >= 0) {
      const completed = this.producers.replay(batch, baseOffset as Offset, this.#environment.clock.monotonicMs());
      if (completed?.isAborted === true) {
        const lastStableOffset = this.producers.lastStableOffsetAfter(completed);
        (segment.aborted ??= []).push({ ...completed, lastStableOffset });
      }
    }
    this.epochs.append(batch.partitionLeaderEpoch as LeaderEpoch, baseOffset as Offset);
    this.queue.push(segment, this.#appendPosition, batch.wholeBytes, nextOffset);
    this.#appendPosition += sizeBytes;
    this.uncheckedBytes += sizeBytes;
    this.endOffset = nextOffset;
    this.#environment.committer.submit(this.queue, sizeBytes);
  }

  #isRollDue(batch: RecordBatchView, nowMs: TimeMs): boolean {
    if (this.#appendPosition === 0) return false;
    const { config } = this;
    const segment = this.segments.active;
    if (this.#appendPosition + batch.sizeBytes > config["segment.bytes"]) return true;
    if (batch.lastOffset - segment.baseOffset > INT32_MAX) return true;
    const waitingEntries = Math.ceil(this.queue.queuedBytes / Math.max(1, config["index.interval.bytes"])) + 1;
    const indexBytes = segment.isOpen ? segment.offsets.sizeBytes + waitingEntries * OFFSET_ENTRY_BYTES : 0;
    if (indexBytes > config["segment.index.bytes"]) return true;
    // Record time where there is one, so that a topic filled with old data rolls as it would have then.
    const time = batch.maxTimestampExact < 0 ? nowMs : batch.maxTimestampExact;
    const since = this.#rollTimestamp ?? time;
    return since >= 0 && Number(time) - Number(since) > config["segment.ms"] - this.#rollJitterMs;
  }

  /** Whether the active segment holds something, and its first batch is from so long ago. */
  isOlder(ageMs: number, nowMs: TimeMs): boolean {
    if (this.#appendPosition === 0) return false;
    const since = this.#rollTimestamp ?? nowMs;
    return ageMs <= 0 || (since >= 0 && nowMs - Number(since) > ageMs);
  }

  /** Closes the active segment for appends; the next one begins with `baseOffset`. */
  #roll(baseOffset: Offset): void {
    const closing = this.segments.active;
    // The state as it is before the first batch of the new segment: that is what the name of the snapshot says.
    const snapshot = encodeSnapshot(this.producers);
    this.segments.add(new Segment(this.#directory, baseOffset, { sizeBytes: 0, isNew: true }));
    this.segments.active.aborted = [];
    this.#appendPosition = 0;
    this.#rollTimestamp = null;
    this.#drawRollJitter();
    this.#rolled.push({ segment: closing, endOffset: baseOffset, snapshot });
    this.#inBackground(() => this.#finishRolled());
  }

  /** What a full disk kept from being finished is still to be, before anything behind it: the recovery point passes none. */
  async #finishRolled(): Promise<void> {
    for (let [rolled] = this.#rolled; rolled !== undefined; [rolled] = this.#rolled) {
      const { segment, endOffset, snapshot } = rolled;
      // Its files are finished when its last byte is durable.
      if (this.segments.all().includes(segment)) {
        if (!(await this.#flushed(endOffset))) return;
        await this.#environment.openSegments.use(segment);
        try {
          segment.sealIndexes();
          await segment.giveBackRoom();
          await this.#persistence.persist(segment, endOffset, snapshot);
        } finally {
          segment.release();
        }
        this.recoveryPoint = Math.max(this.recoveryPoint, endOffset) as Offset;
      }
      this.#rolled.splice(this.#rolled.indexOf(rolled), 1);
    }
  }

  /** A new, empty segment at the log's end, with its name on the disk: so that all before it can go. */
  async roll(): Promise<void> {
    if (this.#appendPosition === 0) return;
    if (!(await this.#flushed(this.endOffset))) return;
    await this.queue.pause();
    try {
      if (this.#appendPosition > 0 && this.queue.flushedOffset === this.endOffset) {
        this.#roll(this.endOffset);
        const { openSegments } = this.#environment;
        const { active } = this.segments;
        await openSegments.use(active);
        active.release();
        // The next write opens it, and sets its blocks aside: a roll may be what makes room on a full disk.
        if (this.config.preallocate) openSegments.closeSoon(active);
        await this.#environment.disk.syncDirectory(this.#directory);
      }
    } finally {
      this.resume();
    }
  }

  // --- The committer's calls ------------------------------------------------------------------------------------------

  async open(segment: Segment): Promise<void> {
    await this.#environment.openSegments.use(segment);
    try {
      if (this.#isReservationDue(segment)) await segment.reserve(this.config["segment.bytes"]);
    } finally {
      // The committer has a lease of its own.
      segment.release();
    }
  }

  #isReservationDue(segment: Segment): boolean {
    return this.config.preallocate && segment.sizeBytes === 0 && segment.room === null;
  }

  /** True where the active segment begins, and its blocks are not set aside yet. */
  get isReservationDue(): boolean {
    return this.#isReservationDue(this.segments.active);
  }

  /** Sets them aside before an append does; ENOSPC as long as there are not so many. */
  async reserve(): Promise<void> {
    if (this.isReservationDue) await this.open(this.segments.active);
  }

  onWritten(portion: Portion): void {
    this.#index(portion);
    if (!this.queue.isSyncWanted) this.#countTowardsFlush(portion);
    if (this.#flushWaiters.length > 0) this.#environment.committer.syncSoon(this.queue);
    this.#progress();
    this.#owner.onWritten();
  }

  onFlushed(): void {
    if (this.#flushWantedOffset !== null) {
      // What was written during the sync waits for the next one.
      const { flushedOffset } = this.queue;
      const isDone = flushedOffset >= this.#flushWantedUpTo;
      this.#flushWantedOffset = isDone ? null : (Math.max(this.#flushWantedOffset, flushedOffset) as Offset);
    }
    while (this.#flushWaiters.length > 0) {
      const [waiter] = this.#flushWaiters;
      if (waiter === undefined || waiter.offset > this.queue.flushedOffset) break;
      this.#flushWaiters.shift();
      waiter.resolve(true);
    }
    this.#progress();
  }

  onWriteFailed(portion: Portion, error: unknown): void {
    if (!isOutOfSpace(error)) return this.#environment.failDirectory(error);
    this.#environment.logger.error("the disk is full: the log takes no appends until there is space", {
      path: portion.segment.path(".log"),
      position: portion.position,
      offset: this.queue.writtenOffset,
    });
    this.#environment.committer.forget(this.queue.clear());
    const { writtenOffset } = this.queue;
    // Nobody was told that these are safe: their offsets are given again.
    this.endOffset = writtenOffset;
    this.#failFlushWaiters(writtenOffset);
    this.#owner.onDiskFull(writtenOffset);
    this.#owner.repair().catch((failure: unknown) => this.#environment.failDirectory(failure));
  }

  /** Index entries and the map of the newest batches, for batches that are in the file now. */
  #index(portion: Portion): void {
    const { segment } = portion;
    const intervalBytes = this.config["index.interval.bytes"];
    const recent = (this.#recent ??= new RecentBatches());
    this.#isSealed = false;
    if (this.#recentSegment !== segment) {
      this.#recentSegment = segment;
      recent.clear();
      this.#indexer.restart();
    }
    let position = portion.position;
    for (const bytes of portion.buffers) {
      const sizeBytes = bytes.readInt32BE(BatchField.batchLength) + BATCH_OVERHEAD_BYTES;
      assert(sizeBytes === bytes.length, "a batch a buffer");
      const baseOffset = readInt64(bytes, BatchField.baseOffset) as Offset;
      const lastOffset = (baseOffset + bytes.readInt32BE(BatchField.lastOffsetDelta)) as Offset;
      const maxTimestamp = readInt64Exact(bytes, BatchField.maxTimestamp);
      this.#indexer.add(segment, { lastOffset, maxTimestamp, sizeBytes }, position as FilePosition, intervalBytes);
      recent.add(baseOffset, (lastOffset + 1) as Offset, position as FilePosition, sizeBytes);
      position += sizeBytes;
    }
    if (segment.offsets.entries.pendingCount >= INDEX_ENTRIES_PENDING) this.#flushIndexes(segment);
  }

  /** On a full disk the entries wait in memory: the indexes can be made again at any time. */
  #flushIndexes(segment: Segment): void {
    try {
      segment.flushIndexes();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#environment.logger.warn("index entries could not be written", { error });
    }
  }

  // --- Durability `os` ------------------------------------------------------------------------------------------------

  #countTowardsFlush(portion: Portion): void {
    this.#environment.backgroundSync.onWritten(this.queue, this.config["flush.ms"]);
    const limit = this.config["flush.messages"];
    if (limit >= Number.MAX_SAFE_INTEGER) return;
    const firstOffset = readInt64(portion.buffers[0] as Buffer, BatchField.baseOffset) as Offset;
    this.#messagesSinceFlush += portion.nextOffset - firstOffset;
    if (this.#messagesSinceFlush < limit) return;
    this.#messagesSinceFlush = 0;
    this.#flushWantedOffset ??= firstOffset;
    this.#flushWantedUpTo = portion.nextOffset;
    this.#environment.committer.syncSoon(this.queue);
  }

  /** True when everything below `offset` is durable; false when it never will be. */
  #flushed(offset: Offset): Promise<boolean> {
    if (this.queue.flushedOffset >= offset) return Promise.resolve(true);
    if (offset > this.endOffset || this.#isFailed) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#flushWaiters.push({ offset, resolve });
      this.#environment.committer.syncSoon(this.queue);
    });
  }

  #failFlushWaiters(above: Offset): void {
    const failed = this.#flushWaiters.filter(({ offset }) => offset > above);
    const kept = this.#flushWaiters.filter(({ offset }) => offset <= above);
    this.#flushWaiters.splice(0, this.#flushWaiters.length, ...kept);
    for (const waiter of failed) waiter.resolve(false);
  }

  // --- Background -----------------------------------------------------------------------------------------------------

  #inBackground(work: () => Promise<void>): void {
    this.#background = this.#background.then(work).catch((error: unknown) => {
      // What was not written is made again by the next checkpoint, or by a recovery.
      if (isOutOfSpace(error)) this.#environment.logger.warn("no space for a checkpoint", { error });
      else this.#environment.failDirectory(error);
    });
  }

  /**
   * Brings all that a recovery would have to find out again up to the present end: indexes, producers, epochs. When it
   * resolves, a recovery need only look at what comes after `recoveryPoint`.
   */
  checkpoint(): Promise<void> {
    this.#inBackground(() => this.#checkpoint());
    return this.#background;
  }

  async #checkpoint(): Promise<void> {
    await this.#finishRolled();
    const target = this.endOffset;
    const { uncheckedBytes } = this;
    // After a cut there may be no snapshot for an end that is durable already.
    const isSnapshotThere = this.#persistence.snapshotOffset === target || this.producers.size === 0;
    const isSaved = isSnapshotThere && !this.segments.all().some(({ isAbortedUnsaved }) => isAbortedUnsaved);
    if (target === this.recoveryPoint && !this.epochs.isChanged && isSaved) return;
    const segment = this.segments.active;
    const snapshot = encodeSnapshot(this.producers);
    if (!(await this.#flushed(target))) return;
    await this.#environment.openSegments.use(segment);
    try {
      segment.flushIndexes();
      await this.#persistence.persist(segment, target, snapshot);
    } finally {
      segment.release();
    }
    this.recoveryPoint = Math.max(this.recoveryPoint, target) as Offset;
    this.uncheckedBytes -= uncheckedBytes;
  }

  // --- Cutting and closing --------------------------------------------------------------------------------------------

  /** Waits until all is durable, and nothing is written, synced or finished in the background any more. */
  async quiesce(): Promise<void> {
    await this.#flushed(this.endOffset);
    await this.queue.pause();
    // Who still waits for a flush waits for what came after.
    this.#failFlushWaiters(this.queue.flushedOffset);
    await this.#background;
  }

  /**
   * After a failure: waits until what is under way has ended, also in the background, where files are written by their names. A
   * directory of the same name may be another log's soon.
   */
  async abandon(): Promise<void> {
    await this.queue.pause();
    await this.#background;
    this.closeFiles();
  }

  resume(): void {
    this.queue.isPaused = false;
    if (this.queue.queuedBytes > 0) this.#environment.committer.submit(this.queue, 0);
  }

  /** The files and the catalogue were cut: the log now ends here, and all of it is durable. */
  restart({
    endOffset,
    snapshotOffset,
    rollTimestamp,
  }: Pick<LogState, "endOffset" | "snapshotOffset" | "rollTimestamp">): void {
    this.endOffset = endOffset;
    this.#persistence.restart(snapshotOffset);
    this.#rollTimestamp = rollTimestamp;
    this.#appendPosition = this.segments.active.sizeBytes;
    this.#isSealed = false;
    // One that the cut made the active one again is not to be finished.
    const isWhole = (rolled: RolledSegment): boolean => rolled.endOffset <= this.segments.active.baseOffset;
    this.#rolled.splice(0, this.#rolled.length, ...this.#rolled.filter(isWhole));
    this.#indexer.restart();
    this.#flushWantedOffset = null;
    this.#messagesSinceFlush = 0;
    this.#forgetRecent();
    this.queue.reset(endOffset);
    this.#durableOffset = Math.min(this.#durableOffset, endOffset) as Offset;
    this.recoveryPoint = Math.min(this.recoveryPoint, endOffset) as Offset;
  }

  /** Everything to the disk; then the log is as a start without recovery finds it. */
  async close(): Promise<void> {
    if (!this.#isSealed && (await this.#flushed(this.endOffset))) {
      const { active } = this.segments;
      await this.#environment.openSegments.use(active);
      active.sealIndexes();
      active.release();
    }
    await this.checkpoint();
    await this.quiesce();
    this.#inBackground(() => this.#giveBack());
    await this.#background;
    this.closeFiles();
  }

  /** Durably: a start after a clean stop does not look for it. Nothing is written meanwhile. */
  async #giveBack(): Promise<void> {
    const { active } = this.segments;
    if (active.room === null || this.#isFailed) return;
    const { openSegments, jointSync } = this.#environment;
    await openSegments.use(active);
    try {
      if (await active.giveBackRoom()) await jointSync.sync([active.log]);
    } finally {
      active.release();
    }
  }

  /** Whether there is room behind its end that its topic did not ask for, and nothing was appended since this was asked last. */
  isRoomUnused(): boolean {
    const isAtRest = this.#endOffsetBefore === this.endOffset;
    this.#endOffsetBefore = this.endOffset;
    return isAtRest && this.segments.active.room !== null && !this.config.preallocate;
  }

  async giveBackRoom(): Promise<void> {
    await this.queue.pause();
    try {
      await this.#giveBack();
    } finally {
      this.resume();
    }
  }

  /** A reader may hold a lease for as long as its peer is slow; nobody waits for that. */
  closeFiles(): void {
    for (const segment of this.segments.all()) if (segment.isOpen) this.#environment.openSegments.closeSoon(segment);
  }

  /** Nothing will be written any more: the directory has failed. */
  fail(): void {
    this.#isFailed = true;
    this.#environment.committer.forget(this.queue.clear());
    this.#failFlushWaiters(-1 as Offset);
  }

  /** Gives back what only a busy log needs. */
  forgetIdle(): void {
    if (!this.queue.isIdle || this.queue.queuedBytes > 0) return;
    this.#forgetRecent();
    const { active } = this.segments;
    if (active.isOpen && active.leases === 0) this.#environment.openSegments.closeSoon(active);
  }

  #forgetRecent(): void {
    this.#recent = null;
    this.#recentSegment = null;
  }

  recentOf(segment: Segment): RecentBatches | null {
    return segment === this.#recentSegment ? this.#recent : null;
  }

  /** Waits for the work on closed segments: they may go then. */
  settle(): Promise<void> {
    return this.#background;
  }
}
