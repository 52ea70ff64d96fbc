import { assert } from "@millrace/base/assert";
import { failed, ok } from "@millrace/base/result";
import type { Failed, Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { AppendFailure, AppendFailureKind } from "./append-failure.ts";
import { discardCleaned, swapSegments } from "./cleaner/swap.ts";
import type { CleanedSegment } from "./cleaner/swap.ts";
import type { LogConfig } from "./log-config.ts";
import type { LogEnvironment } from "./log-environment.ts";
import { LogReader } from "./log-reader.ts";
import type { LogRead, QuarantinedRange, ReadFailure, ReadOptions } from "./log-reader.ts";
import { LogWriter } from "./log-writer.ts";
import type { LogState } from "./log-writer.ts";
import { isOutOfSpace } from "./out-of-space.ts";
import { loadProducers } from "./producer-loading.ts";
import { markerOf } from "./producer-state.ts";
import type { ProducerEntry, ProducerView, SequenceVerdict } from "./producer-state.ts";
import { expiredCount } from "./retention.ts";
import { discardSegments } from "./segment-removal.ts";
import type { Segment } from "./segment.ts";
import type { Segments } from "./segments.ts";
import type { FoundRecord } from "./time-lookup.ts";
import { cutSegments, findCut, restartSegments } from "./truncation.ts";
import type { ExactTimestamp, LeaderEpoch, Offset, Uuid } from "./types.ts";
import type { AnalyzedBatches } from "./validation.ts";
export type { AppendFailure, AppendFailureKind } from "./append-failure.ts";
export type { LogRead, QuarantinedRange, ReadFailure, ReadOptions, SegmentSlice } from "./log-reader.ts";
export type { FoundRecord } from "./time-lookup.ts";

export interface AppendOptions {
  readonly leaderEpoch: LeaderEpoch;
  /** replication: the batches keep the offsets and epochs that the leader gave them. */
  readonly origin: "client" | "coordinator" | "replication";
  readonly nowMs: TimeMs;
}

export interface AppendInfo {
  readonly firstOffset: Offset;
  /** The batches count when the log's durable offset reaches it. */
  readonly nextOffset: Offset;
  /** −1 where the records keep the time at which they were created. */
  readonly logAppendTimeMs: number;
  readonly logStartOffset: Offset;
  /** It was here before: the answer is that of the first time. */
  readonly isDuplicate: boolean;
}

export interface LogFailure {
  readonly kind: "corrupt" | "disk-failed" | "closed";
  readonly message: string;
}

export interface LogPlace {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: Uuid;
  readonly directory: string;
}

const nothingUnderWay: Promise<void> = Promise.resolve();

/**
 * A partition's log.
 *
 *     logStartOffset ≤ durableOffset ≤ logEndOffset       flushedOffset ≤ writtenOffset ≤ logEndOffset
 *     logStartOffset ≤ highWatermark ≤ logEndOffset
 *
 * The start moves by retention and DeleteRecords, never back, also not by a restart. The end moves by append, and back by
 * truncation, or where the disk was full. Appends are ordered by their calls; reads give slices of files.
 */
export class PartitionLog {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: Uuid;
  readonly #environment: LogEnvironment;
  readonly #writer: LogWriter;
  readonly #reader: LogReader;
  #directory: string;
  #logStartOffset: Offset;
  /** Known to be durable; what retention moves it to is not counted. */
  #savedLogStartOffset: Offset;
  #failure: LogFailure | null = null;
  /** No appends until there is space again. */
  #isDiskFull = false;
  /** Nor while the tail is cut: nobody who leads does that. */
  #isCutting = false;
  #isClosing = false;
  #cuts = 0;
  /** Null: the durable offset is. */
  #highWatermark: Offset | null = null;
  /** Where a cut that is under way lets the log end. */
  #cutOffset: Offset | null = null;
  /** Truncation, retention and closing, one after the other. */
  #exclusive: Promise<unknown> = nothingUnderWay;
  /** Called whenever an offset has moved or the log has failed. Never by a call of its owner's. */
  onProgress: () => void = ignore;
  /** Called whenever more of it can be read from its files, durable or not: what replicas fetch. */
  onWritten: () => void = ignore;
  /** Called when the log's end went back: what was appended from there on is gone, and its waiters are to be told why. */
  onCut: (endOffset: Offset, why: "disk-full" | "truncated") => void = ignore;

  constructor(
    environment: LogEnvironment,
    { topic, partition, topicId, directory }: LogPlace,
    config: LogConfig,
    loaded: { readonly state: LogState; readonly logStartOffset: Offset },
  ) {
    this.topic = topic;
    this.partition = partition;
    this.topicId = topicId;
    this.#directory = directory;
    this.#environment = environment;
    this.#logStartOffset = loaded.logStartOffset;
    this.#savedLogStartOffset = this.#logStartOffset;
    this.#writer = new LogWriter(
      environment,
      this.#writerOwner(),
      { topicId, partition },
      {
        config,
        state: loaded.state,
      },
    );
    this.#reader = new LogReader(environment, this, this.#writer);
  }

  #writerOwner(): ConstructorParameters<typeof LogWriter>[1] {
    return {
      onProgress: () => this.onProgress(),
      onWritten: () => this.onWritten(),
      onDiskFull: (endOffset) => {
        this.#isDiskFull = true;
        this.#lowerHighWatermark(endOffset);
        this.onCut(endOffset, "disk-full");
      },
      repair: () => this.#repair(),
    };
  }

  // --- Where it stands ------------------------------------------------------------------------------------------------

  get directory(): string {
    return this.#directory;
  }
  get config(): LogConfig {
    return this.#writer.config;
  }
  /** No start brings back what lies below it. */
  get durableLogStartOffset(): Offset {
    return Math.min(this.#logStartOffset, this.#savedLogStartOffset) as Offset;
  }
  get logStartOffset(): Offset {
    return this.#logStartOffset;
  }
  /** The next offset to be given; includes what is only queued. */
  get logEndOffset(): Offset {
    return this.#writer.endOffset;
  }
  /** Exclusive: everything below is with the operating system. */
  get writtenOffset(): Offset {
    return this.#writer.queue.writtenOffset;
  }
  /** Exclusive: everything below is on the disk. */
  get flushedOffset(): Offset {
    return this.#writer.queue.flushedOffset;
  }
  /** Exclusive: everything below counts under the log's durability: it may be acknowledged and read. */
  get durableOffset(): Offset {
    return this.#writer.durableOffset;
  }
  /**
   * Exclusive: everything below is committed, so that no leader ever lacks it. Only what lies below may be removed by retention or
   * DeleteRecords, compacted, or found by its time. With one replica it is the durable offset.
   */
  get highWatermark(): Offset {
    return this.#highWatermark ?? this.durableOffset;
  }
  /** What its partition was told or knows of other replicas; null: there are none, and the durable offset is the high watermark. */
  get replicatedHighWatermark(): Offset | null {
    return this.#highWatermark;
  }
  set replicatedHighWatermark(offset: Offset | null) {
    this.#highWatermark = offset;
  }
  /**
   * What is saved of the high watermark: no more than is on the disk, and than a cut leaves. So whatever a crash tears, it is nothing
   * below it, and a recovery that misses something there knows that it was damaged. Of a log that is offline it stays as it was.
   */
  get savedHighWatermark(): Offset {
    if (this.#failure !== null) return this.highWatermark;
    return Math.min(this.highWatermark, this.flushedOffset, this.#cutOffset ?? Infinity) as Offset;
  }
  /** A recovery has to look at what comes after it only. */
  get recoveryPoint(): Offset {
    return this.#writer.recoveryPoint;
  }
  /** Exclusive: below it every transaction is decided, and its decision committed. */
  get lastStableOffset(): Offset {
    return this.lastStableOffsetBelow(this.highWatermark);
  }
  /** As a leader sees it whose high watermark is behind the log. The high watermark never goes back while it leads. */
  lastStableOffsetBelow(highWatermark: Offset): Offset {
    this.#writer.producers.forgetDecidedBelow(highWatermark);
    const unstable = this.#writer.producers.firstUnstableOffset(highWatermark);
    return unstable === null ? highWatermark : (Math.min(unstable, highWatermark) as Offset);
  }
  /** Bytes in the segment files. */
  get sizeBytes(): number {
    return this.#writer.segments.sizeBytes;
  }
  /** Bytes that were given offsets and are not written yet: a limit to what is taken in. */
  get queuedBytes(): number {
    return this.#writer.queue.queuedBytes;
  }
  /** Bytes that a recovery would have to read, about. */
  get uncheckedBytes(): number {
    return this.#writer.uncheckedBytes;
  }
  get segmentCount(): number {
    return this.#writer.segments.count;
  }
  get failure(): LogFailure | null {
    return this.#failure;
  }
  get isDiskFull(): boolean {
    return this.#isDiskFull;
  }
  get quarantined(): readonly QuarantinedRange[] {
    return this.#reader.quarantined;
  }

  /** How often the tail was cut: what somebody has read of the log may not be there any more. */
  get cuts(): number {
    return this.#cuts;
  }

  configure(config: LogConfig): void {
    this.#writer.configure(config);
  }

  // --- Append ---------------------------------------------------------------------------------------------------------

  /**
   * Gives the batches their offsets and puts them into the queue for the group commit: the order of calls is the order of
   * offsets. The bytes belong to the log from then on. `onProgress` tells when they count.
   */
  append(batches: AnalyzedBatches, options: AppendOptions): Result<AppendInfo, AppendFailure> {
    if (this.#failure !== null) return refused("log-failed", this.#failure.message);
    if (this.#isDiskFull) return refused("disk-full", `the disk of ${this.#directory} is full`);
    if (this.#isClosing) return refused("log-failed", `${this.#directory} is being closed`);
    if (this.#isCutting) return refused("log-failed", `${this.#directory} is being truncated`);
    if (options.origin === "replication") return this.#appendReplicated(batches.batches, options);
    const [batch] = batches.batches;
    assert(batch !== undefined && batches.batches.length === 1, "a leader appends one batch at a time");
    if (batch.hasProducerId) {
      const verdict = this.#judge(batch, options.origin);
      if (verdict.kind === "refused") return refused(verdict.failure, verdict.message);
      if (verdict.kind === "duplicate") return ok(this.#answerAgain(verdict.mark));
    }
    const isLogAppendTime = this.config["message.timestamp.type"] === "LogAppendTime";
    if (isLogAppendTime) batch.setLogAppendTime(options.nowMs);
    const firstOffset = this.logEndOffset;
    batch.stamp(firstOffset, options.leaderEpoch);
    this.#writer.append(batch, options.nowMs);
    return ok(this.#appended(firstOffset, isLogAppendTime ? options.nowMs : -1));
  }

  #judge(batch: RecordBatchView, origin: AppendOptions["origin"]): SequenceVerdict {
    const { producers } = this.#writer;
    // A coordinator that writes for a producer has no sequence of its own.
    if (!batch.isControl) return origin === "coordinator" ? producers.checkEpoch(batch) : producers.check(batch);
    const marker = markerOf(batch);
    return marker === null ? producers.check(batch) : producers.checkMarker(batch, marker.coordinatorEpoch);
  }

  #appended(firstOffset: Offset, logAppendTimeMs: number): AppendInfo {
    const nextOffset = this.logEndOffset;
    return { firstOffset, nextOffset, logAppendTimeMs, logStartOffset: this.#logStartOffset, isDuplicate: false };
  }

  #answerAgain(mark: {
    readonly lastOffset: Offset;
    readonly offsetDelta: number;
    readonly timestamp: number;
  }): AppendInfo {
    return {
      firstOffset: (mark.lastOffset - mark.offsetDelta) as Offset,
      nextOffset: (mark.lastOffset + 1) as Offset,
      logAppendTimeMs: this.config["message.timestamp.type"] === "LogAppendTime" ? mark.timestamp : -1,
      logStartOffset: this.#logStartOffset,
      isDuplicate: true,
    };
  }

  #appendReplicated(batches: readonly RecordBatchView[], { nowMs }: AppendOptions): Result<AppendInfo, AppendFailure> {
    const firstOffset = this.logEndOffset;
    for (const batch of batches) {
      // A fetch from the middle of a batch brings what is here already.
      if (batch.lastOffset < this.logEndOffset) continue;
      assert(batch.baseOffset >= this.logEndOffset, () => `offset ${batch.baseOffset} after ${this.logEndOffset}`);
      this.#writer.append(batch, nowMs);
    }
    return ok(this.#appended(firstOffset, -1));
  }

  // --- Read -----------------------------------------------------------------------------------------------------------

  /** See LogReader. */
  read(offset: Offset, options: ReadOptions): Result<LogRead, ReadFailure> | Promise<Result<LogRead, ReadFailure>> {
    return this.#reader.read(offset, options);
  }

  /** The first record at or after a time; null where there is none below the high watermark. */
  recordAtOrAfter(timestamp: ExactTimestamp): Promise<Result<FoundRecord | null, ReadFailure>> {
    return this.#reader.recordAtOrAfter(timestamp);
  }

  /** The first of the records with the largest timestamp. */
  maxTimestampRecord(): Promise<Result<FoundRecord | null, ReadFailure>> {
    return this.#reader.maxTimestampRecord();
  }

  /** The range is never served again: not by this log, not to anyone. Only a cut takes it away, with its records. */
  quarantine(range: QuarantinedRange): void {
    this.#reader.quarantine(range);
  }

  // --- Look up --------------------------------------------------------------------------------------------------------

  /** Where a leader epoch ended (KIP-101): −1 for one that is newer than any known. */
  endOffsetForEpoch(epoch: number): { readonly epoch: LeaderEpoch; readonly endOffset: Offset } {
    return this.#writer.epochs.endOffset(epoch as LeaderEpoch, this.logEndOffset);
  }

  /** −1 where no epoch is known for the offset. */
  epochAt(offset: Offset): LeaderEpoch {
    return this.#writer.epochs.epochAt(offset);
  }

  get latestEpoch(): LeaderEpoch {
    return this.#writer.epochs.latest;
  }

  /** A leadership begins at the log's end, also when it never writes anything. */
  beginEpoch(epoch: LeaderEpoch): void {
    this.#writer.epochs.assign(epoch, this.logEndOffset);
  }

  producers(): Iterable<ProducerEntry> {
    return this.#writer.producers.entries();
  }

  /** Null: nothing is remembered of it. */
  producer(producerId: number): ProducerView | null {
    return this.#writer.producers.get(producerId) ?? null;
  }

  segments(): Segments {
    return this.#writer.segments;
  }

  // --- Remove ---------------------------------------------------------------------------------------------------------

  /**
   * Moves the start up to `offset`: DeleteRecords, or the leader's start. Durable when it resolves; segments that lie before it go.
   * What is not durable here cannot go yet.
   */
  async deleteRecordsBefore(offset: Offset): Promise<Result<void, "out-of-range" | "log-failed">> {
    if (this.#failure !== null) return failed("log-failed", this.#failure.message);
    if (offset > Math.min(this.durableOffset, this.highWatermark)) return failed("out-of-range");
    if (offset <= Math.min(this.#logStartOffset, this.#savedLogStartOffset)) return ok(undefined);
    this.#logStartOffset = Math.max(this.#logStartOffset, offset) as Offset;
    try {
      await this.#saveLogStart();
      await this.#alone(() => this.#removeBelowStart());
      this.#environment.wipeJournalSoon();
    } catch (error) {
      // Asked again when there is space, it saves what it could not save now.
      if (isOutOfSpace(error)) return failed("log-failed", "there is no space to note the log start offset");
      this.#environment.failDirectory(error);
    }
    return this.#failure === null ? ok(undefined) : failed("log-failed", "the log directory has failed");
  }

  /**
   * Removes whole segments that are too old or too much, up to the high watermark. Gives how many went.
   * A segment's age is that of its newest record.
   */
  retain(nowMs: TimeMs, highWatermark: Offset = this.highWatermark): Promise<number> {
    return this.#alone(() => this.#retain(nowMs, highWatermark));
  }

  async #retain(nowMs: TimeMs, highWatermark: Offset): Promise<number> {
    if (this.#failure !== null) return 0;
    const { segments } = this.#writer;
    const expired = await expiredCount(this.#environment, segments, { config: this.config, nowMs, highWatermark });
    // On a full disk old segments go all the more; only a new one, to take the place of the last, has to wait.
    const count = this.#isDiskFull ? Math.min(expired, segments.count - 1) : expired;
    if (count === 0) return 0;
    if (count === segments.count) await this.#writer.roll();
    const start = segments.at(count)?.baseOffset;
    if (start === undefined || start > Math.min(this.durableOffset, highWatermark)) return 0;
    this.#logStartOffset = Math.max(this.#logStartOffset, start) as Offset;
    await this.#saveLogStart();
    return this.#removeBelowStart();
  }

  async #saveLogStart(): Promise<void> {
    const saved = this.#logStartOffset;
    await this.#environment.persistLogStarts();
    this.#savedLogStartOffset = Math.max(this.#savedLogStartOffset, saved) as Offset;
  }

  /** The start is durable already, so that a crash in the middle brings nothing back. */
  async #removeBelowStart(): Promise<number> {
    const { segments } = this.#writer;
    await this.#writer.settle();
    // Its directory is about to have another name, or is not to be touched.
    if (this.#failure !== null) return 0;
    const gone: Segment[] = [];
    for (let index = 0; index + 1 < segments.count; index++) {
      if ((segments.at(index + 1) as Segment).baseOffset > this.#logStartOffset) break;
      gone.push(segments.at(index) as Segment);
    }
    this.#writer.epochs.truncateFromStart(this.#logStartOffset);
    if (gone.length === 0) return 0;
    const delayMs = this.config["file.delete.delay.ms"];
    const discarded = { directory: this.#directory, segments: gone, delayMs };
    await discardSegments(this.#environment, discarded, () => segments.takeFirst(gone.length));
    return gone.length;
  }

  /** One removal, truncation or closing at a time. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#exclusive.then(work);
    this.#exclusive = done.catch(ignore);
    return done;
  }

  /**
   * A cleaned segment takes the place of those that it was made of. False, and the cleaned one is thrown away, where the log
   * was cut since `cuts`, or they were removed.
   */
  replaceSegments(run: readonly Segment[], cleaned: CleanedSegment, cuts: number): Promise<boolean> {
    const directory = this.#directory;
    return this.#alone(async () => {
      const { segments } = this.#writer;
      const isStill = this.#failure === null && !this.#isClosing && cuts === this.#cuts && segments.holdsClosed(run);
      if (!isStill) {
        if (this.#failure === null) await discardCleaned(this.#environment.disk, directory, cleaned.baseOffset);
        return false;
      }
      await swapSegments(this.#environment, directory, segments, { run, cleaned });
      return true;
    });
  }

  // --- Cut ------------------------------------------------------------------------------------------------------------

  /**
   * Cuts the tail, so that the next record gets `offset` or an earlier one.
   *
   *                      [0..9][10..30][31..100][101..103]
   *     truncateTo(31)   [0..9][10..30]
   *     truncateTo(35)   [0..9][10..30]          a batch is never cut in half
   *
   * Why: a follower may hold records that the new leader never had. Nobody was told that they are safe.
   */
  truncateTo(offset: Offset): Promise<Result<void, "log-failed">> {
    if (offset >= this.logEndOffset) return Promise.resolve(ok(undefined));
    return this.#cut(() => this.#cutTo(Math.min(offset, this.writtenOffset) as Offset));
  }

  /** Forgets everything, and begins with `offset`: the leader's log starts later than this one ends. */
  truncateFullyAndStartAt(offset: Offset): Promise<Result<void, "log-failed">> {
    return this.#cut(() => this.#startAt(offset));
  }

  async #cut(work: () => Promise<void>): Promise<Result<void, "log-failed">> {
    if (this.#failure !== null) return failed("log-failed", this.#failure.message);
    this.#isCutting = true;
    this.#cuts += 1;
    try {
      await this.#alone(async () => {
        await this.#writer.quiesce();
        this.#environment.committer.forget(this.#writer.queue.clear());
        await this.#environment.flushJournal();
        await work();
        await this.#environment.logWasCut(this);
        this.#writer.resume();
      });
    } catch (error) {
      this.#environment.failDirectory(error);
      return failed("log-failed", "the log directory has failed");
    } finally {
      this.#isCutting = false;
    }
    this.onCut(this.logEndOffset, "truncated");
    return ok(undefined);
  }

  /** Nothing is under way. What is saved goes back first: a recovery must not miss what was cut on purpose. */
  async #cutTo(offset: Offset): Promise<void> {
    const { segments } = this.#writer;
    const cut = await findCut(this.#environment, segments, offset);
    await this.#lowerSavedOffsets(cut.endOffset);
    await cutSegments(this.#environment, this.#directory, segments, cut);
    await this.#restartFrom(cut.endOffset);
    if (this.#logStartOffset <= this.logEndOffset) return;
    this.#logStartOffset = this.logEndOffset;
    await this.#saveLogStart();
  }

  /** The start moves first where it moves up, so that a recovery does not miss what went. */
  async #startAt(offset: Offset): Promise<void> {
    await this.#lowerSavedOffsets(0 as Offset);
    this.#logStartOffset = offset;
    await this.#saveLogStart();
    await restartSegments(this.#environment, this.#directory, this.#writer.segments, offset);
    await this.#restartFrom(offset);
  }

  async #lowerSavedOffsets(offset: Offset): Promise<void> {
    const isBelowSaved = offset < this.savedHighWatermark;
    this.#cutOffset = offset;
    if (isBelowSaved) await this.#environment.persistHighWatermarks();
    if (offset >= this.#writer.recoveryPoint) return;
    this.#writer.recoveryPoint = offset;
    await this.#environment.persistRecoveryPoints();
  }

  async #restartFrom(endOffset: Offset): Promise<void> {
    const writer = this.#writer;
    this.#cutOffset = null;
    this.#lowerHighWatermark(endOffset);
    this.#reader.forgetFrom(endOffset);
    writer.epochs.truncateFromEnd(endOffset);
    const loaded = await loadProducers({
      disk: this.#environment.disk,
      openSegments: this.#environment.openSegments,
      directory: this.#directory,
      segments: writer.segments,
      upTo: endOffset,
      isSnapshotRequired: true,
    });
    writer.producers.replaceBy(loaded.producers);
    writer.restart({ endOffset, snapshotOffset: loaded.snapshotOffset, rollTimestamp: null });
  }

  #lowerHighWatermark(endOffset: Offset): void {
    if (this.#highWatermark !== null && this.#highWatermark > endOffset) this.#highWatermark = endOffset;
  }

  /** After a write for which there was no space: the file ends again with its last whole batch, and producers with it. */
  async #repair(): Promise<void> {
    await this.#alone(async () => {
      await this.#writer.quiesce();
      await this.#environment.flushJournal();
      await this.#cutTo(this.writtenOffset);
    });
    this.#waitForSpace();
  }

  #waitForSpace(): void {
    this.#environment.whenThereIsSpace(() => {
      if (!this.#writer.isReservationDue) return this.#takeAppends();
      this.#alone(() => this.#writer.reserve()).then(
        () => this.#takeAppends(),
        (error: unknown) => {
          // There is space, but not for a whole segment.
          if (isOutOfSpace(error)) this.#waitForSpace();
          else this.#environment.failDirectory(error);
        },
      );
    });
  }

  #takeAppends(): void {
    this.#isDiskFull = false;
    this.#writer.resume();
    this.#environment.logger.info("there is space again: the log takes appends", { directory: this.#directory });
  }

  // --- Housekeeping and the end ---------------------------------------------------------------------------------------

  /** Producers that have been silent for so long are forgotten (`producer.id.expiration.ms`). */
  expireProducers(expirationMs: number): void {
    this.#writer.producers.expire({ clock: this.#environment.clock, expirationMs });
  }

  /** Closes the active segment, so that it can be removed or compacted. */
  roll(): Promise<void> {
    return this.#alone(() => this.#writer.roll());
  }

  /** Closes the active segment where its first record is older, and waits until it is finished. */
  async rollIfOlder(ageMs: number, nowMs: TimeMs): Promise<void> {
    await this.#alone(async () => {
      if (this.#failure === null && !this.#isClosing && this.#writer.isOlder(ageMs, nowMs)) await this.#writer.roll();
      await this.#writer.settle();
    });
  }

  /** When it resolves, a recovery has to look at nothing before the present end. */
  checkpoint(): Promise<void> {
    return this.#failure === null ? this.#writer.checkpoint() : Promise.resolve();
  }

  /** Gives back what only a busy log needs. */
  async forgetIdle(): Promise<void> {
    if (this.#writer.isRoomUnused()) {
      await this.#alone(async () => {
        if (this.#failure === null && !this.#isClosing) await this.#writer.giveBackRoom();
      });
    }
    if (this.uncheckedBytes === 0) this.#writer.forgetIdle();
  }

  /** Offline, and why. Waiters are told by `onProgress`. */
  fail(failure: LogFailure): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    this.#writer.fail();
    this.onProgress();
  }

  /** Everything to the disk; a start after this needs no recovery. What was appended before still counts, and is told. */
  async close(): Promise<void> {
    const isFailed = this.#failure !== null;
    this.#isClosing = true;
    await this.#exclusive;
    if (isFailed) this.#writer.closeFiles();
    else await this.#writer.close();
    this.#failure ??= { kind: "closed", message: `${this.#directory} is closed` };
  }

  /** The log's directory is about to have another name, and to go: when it resolves, nothing uses the old one any more. */
  async abandon(directory: string): Promise<Iterable<Segment>> {
    this.fail({ kind: "closed", message: `${this.#directory} was deleted` });
    await this.#exclusive;
    await this.#writer.abandon();
    this.#directory = directory;
    return this.#writer.segments.all();
  }
}

function ignore(): void {}

function refused(kind: AppendFailureKind, message: string): Failed<AppendFailure> {
  return failed({ kind, message });
}
