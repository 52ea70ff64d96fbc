import { assert } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { Clock, Disk, DiskLock, Random, Workers } from "@millrace/base/world";
import { BackgroundSync } from "./background-sync.ts";
import { CheckpointFiles } from "./checkpoint-files.ts";
import { partitionKey } from "./checkpoints.ts";
import type { OffsetsByPartition } from "./checkpoints.ts";
import { Cleaner } from "./cleaner/cleaner.ts";
import type { CleanerSettings, UncleanableLog } from "./cleaner/cleaner.ts";
import { Coalesced, forEachOf, JointSync } from "./concurrency.ts";
import { claimDirectory } from "./directory-claim.ts";
import type { Claim, DirectoryRefusal } from "./directory-claim.ts";
import { emptyLog } from "./empty-log.ts";
import { deletedDirectoryName, fileNames, parsePartitionDirectoryName, partitionDirectoryName } from "./file-names.ts";
import { Committer } from "./group-commit.ts";
import { Housekeeping } from "./housekeeping.ts";
import { JournalReplay } from "./journal-replay.ts";
import { Journal, removeJournal } from "./journal.ts";
import type { LogConfig } from "./log-config.ts";
import { holdsRecords, LogCreation } from "./log-creation.ts";
import type { NewLog } from "./log-creation.ts";
import { defaultLogDirectoryLimits, segmentBounds } from "./log-directory-limits.ts";
import type { LogDirectoryLimits } from "./log-directory-limits.ts";
import type { LogEnvironment } from "./log-environment.ts";
import { loadPartition } from "./log-loading.ts";
import { PartitionLog } from "./log.ts";
import type { LogFailure } from "./log.ts";
import type { MetaProperties } from "./meta-properties.ts";
import { OpenSegments } from "./open-segments.ts";
import { isDiskGone, isOutOfSpace } from "./out-of-space.ts";
import { Scrubber } from "./scrubber.ts";
import type { ScrubRules } from "./scrubber.ts";
import { SpaceWatch } from "./space-watch.ts";
import { Trash } from "./trash.ts";
import type { Offset, Uuid } from "./types.ts";

export interface LogDirectoryOptions {
  readonly path: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Null takes the id that is there, or makes one. */
  readonly clusterId: string | null;
  /** Of a directory that is new. Absent, it makes one. */
  readonly directoryId?: Uuid | null;
  readonly nodeId: number;
  readonly limits?: Partial<LogDirectoryLimits>;
  /** The disk has failed (R16): all logs are offline, and only a restart with recovery helps. */
  readonly onFailure?: (error: unknown) => void;
  /**
   * Logs have replicas elsewhere: until their partition knows better, each begins with the high watermark that was saved, not with
   * its end. Default: each log is alone.
   */
  readonly areReplicated?: boolean;
  /** `millrace.scrub.*`, asked again and again. Without it closed segments are not scrubbed. */
  readonly scrub?: () => ScrubRules;
  /** Without it logs are not compacted. */
  readonly cleaner?: { readonly workers: Workers; settings(): CleanerSettings };
}

/** What a start found. */
export interface LoadReport {
  readonly isClean: boolean;
  readonly logsCount: number;
  /** What the journal brought back to segments, and what recovery had to read, and cut off. */
  readonly replayedBytes: number;
  readonly recoveredBytes: number;
  readonly cutBytes: number;
  /** Logs that are not served, and why. */
  readonly offline: readonly { readonly topic: string; readonly partition: number; readonly message: string }[];
  /** Names that are nobody's. They are left alone. */
  readonly unknown: readonly string[];
}

const knownNames: ReadonlySet<string> = new Set(Object.values(fileNames).flat());
/**
 * All logs under one directory, and what they share: the lock, the group commit, open files, checkpoints, housekeeping.
 *
 *     open (lock, format, whose is it) → load (every partition, recovered where needed) → … → close (everything synced, marked clean)
 */
export class LogDirectory {
  readonly path: string;
  readonly meta: MetaProperties;
  readonly #options: LogDirectoryOptions;
  readonly #limits: LogDirectoryLimits;
  readonly #claim: Claim;
  readonly #environment: LogEnvironment;
  /** What a crash left in the journal; applied by `load`. */
  #replay: JournalReplay;
  #journal: Journal | null = null;
  readonly #cleaner: Cleaner | null;
  readonly #logs = new Map<string, PartitionLog>();
  #highWatermarks: OffsetsByPartition = new Map();
  /** Of the logs with replicas elsewhere, as the file has them. */
  readonly #savedHighWatermarks = new Map<PartitionLog, Offset>();
  readonly #checkpoints: CheckpointFiles;
  readonly #creation: LogCreation;
  readonly #housekeeping: Housekeeping;
  readonly #spaceWatch: SpaceWatch;
  readonly #scrubber: Scrubber | null;
  #failure: LogFailure | null = null;
  #isLoaded = false;
  #isClosed = false;
  readonly #recoveryPoints: Coalesced;
  readonly #logStarts: Coalesced;
  readonly #highWatermarkWrites: Coalesced;

  /** Takes hold of a directory. Its identity is known then; no log is. */
  static async open(options: LogDirectoryOptions): Promise<Result<LogDirectory, DirectoryRefusal>> {
    const limits = { ...defaultLogDirectoryLimits, ...options.limits };
    let lock: DiskLock | null = null;
    try {
      const claimed = await claimDirectory({ ...options, unsyncedBytesMax: limits.unsyncedBytesMax });
      if (!claimed.ok) return claimed;
      const { isClean } = claimed.value;
      ({ lock } = claimed.value);
      const replay = isClean
        ? ok(JournalReplay.nothing(options.disk))
        : await JournalReplay.read(options.disk, options.path);
      if (replay.ok) return ok(new LogDirectory(options, limits, claimed.value, replay.value));
      await lock.release();
      return failed("broken-journal", replay.message);
    } catch (error) {
      await lock?.release();
      if (error instanceof DiskError) return failed("unreadable", error.message);
      throw error;
    }
  }

  private constructor(options: LogDirectoryOptions, limits: LogDirectoryLimits, claim: Claim, replay: JournalReplay) {
    const { disk, clock, random, logger, path } = options;
    this.path = path;
    this.meta = claim.meta;
    this.#options = options;
    this.#limits = limits;
    this.#claim = claim;
    this.#replay = replay;
    this.#checkpoints = new CheckpointFiles({ disk, directory: path, logger });
    this.#recoveryPoints = new Coalesced(() =>
      this.#writeOffsets(fileNames.recoveryPoints, (log) => log.recoveryPoint),
    );
    this.#logStarts = new Coalesced(() => this.#writeOffsets(fileNames.logStartOffsets, (log) => log.logStartOffset));
    this.#highWatermarkWrites = new Coalesced(() => this.#writeHighWatermarks());
    const failDirectory = (error: unknown): void => this.fail(error);
    this.#housekeeping = new Housekeeping({ clock, onFailed: (error) => this.#housekeepingFailed(error) });
    this.#spaceWatch = new SpaceWatch({ disk, clock, path, onFailed: failDirectory });
    this.#scrubber =
      options.scrub === undefined
        ? null
        : new Scrubber({ disk, clock, logger, logs: () => this.#logs.values(), rules: options.scrub });
    this.#creation = new LogCreation({
      disk,
      path,
      atOnce: limits.loadingMax,
      createdTogether: segmentBounds(limits).createdTogether,
      makeRoom: (wanted) => this.#makeRoom(wanted),
      forgetNamesakes: (wanted) => this.#forgetNamesakes(wanted),
      diskFailed: failDirectory,
      adopt: (created) => this.#adopt(created),
    });
    const committer = new Committer({
      disk,
      clock,
      unsyncedBytesMax: limits.unsyncedBytesMax,
      eagerBytes: limits.eagerBytes,
      groupSegmentsMax: segmentBounds(limits).ofGroup,
      room: limits.room,
      onDiskFailed: failDirectory,
    });
    this.#environment = {
      disk,
      clock,
      random,
      logger,
      committer,
      backgroundSync: new BackgroundSync({ clock, committer, intervalMs: limits.osSyncIntervalMs }),
      openSegments: new OpenSegments(disk, limits.openSegmentsMax),
      trash: new Trash({ disk, clock }),
      jointSync: new JointSync(disk),
      flushJournal: async () => this.#journal?.flush(),
      segmentIsGone: (segment) => this.#journal?.giveUp(segment),
      logWasCut: async (log) => this.#cleaner?.logWasCut(log),
      wipeJournalSoon: () => this.#journal?.wipeSoon(),
      persistLogStarts: () => this.#logStarts.run(),
      persistRecoveryPoints: () => this.#recoveryPoints.run(),
      persistHighWatermarks: () => this.#highWatermarkWrites.run(),
      whenThereIsSpace: (callback) => this.#spaceWatch.wait(callback),
      failDirectory,
    };
    const environment = this.#environment;
    this.#cleaner =
      options.cleaner === undefined
        ? null
        : new Cleaner({
            environment,
            path,
            checkpoints: this.#checkpoints,
            ...options.cleaner,
            logs: () => this.#logs.values(),
          });
  }

  get failure(): LogFailure | null {
    return this.#failure;
  }
  /** Bytes that were given offsets and are not written yet, over all logs: a limit to what is taken in. */
  get queuedBytes(): number {
    return this.#environment.committer.queuedBytes;
  }
  /** Segments whose files are open. */
  get openSegments(): number {
    return this.#environment.openSegments.count;
  }
  /** Logs that are to be compacted and cannot be. */
  uncleanable(): Iterable<UncleanableLog> {
    return this.#cleaner?.uncleanable() ?? [];
  }
  /** Up to where a log was compacted. */
  compactedOffset({ topic, partition }: PartitionLog): Offset {
    return this.#cleaner?.firstDirtyOffsetOf(topic, partition) ?? (0 as Offset);
  }
  /** The newest value of `millrace.compact.request` that was done for a log. */
  compactedRequest(log: PartitionLog): number {
    return this.#cleaner?.doneRequestOf(log) ?? 0;
  }
  /** A setting of the cleaner or of a compacted topic has changed. */
  wakeCleaner(): void {
    this.#cleaner?.wake();
  }
  /** As they were at the last checkpoint. */
  get highWatermarks(): OffsetsByPartition {
    return this.#highWatermarks;
  }

  get logsCount(): number {
    return this.#logs.size;
  }

  logs(): IterableIterator<PartitionLog> {
    return this.#logs.values();
  }

  /** Undefined also where the directory holds another topic of that name. */
  find(topic: string, partition: number, topicId: Uuid): PartitionLog | undefined {
    const log = this.#logs.get(partitionKey(topic, partition));
    return log?.topicId === topicId ? log : undefined;
  }

  // --- Load -----------------------------------------------------------------------------------------------------------

  /** Opens every log there is; recovers them after an unclean stop. Then the housekeeping begins. */
  async load(configOf: (topic: string, topicId: Uuid) => LogConfig): Promise<LoadReport> {
    const { disk } = this.#options;
    const recoveryPoints = (await this.#checkpoints.read(fileNames.recoveryPoints)) ?? new Map();
    const logStarts = await this.#checkpoints.read(fileNames.logStartOffsets);
    await this.#cleaner?.load();
    this.#highWatermarks = (await this.#checkpoints.read(fileNames.highWatermarks)) ?? new Map();
    const found = {
      replayedBytes: 0,
      recoveredBytes: 0,
      cutBytes: 0,
      offline: [] as LoadReport["offline"][number][],
      unknown: [] as string[],
    };
    await forEachOf(await disk.list(this.path), this.#limits.loadingMax, async ({ name, kind }) => {
      const parsed = kind === "directory" ? parsePartitionDirectoryName(name) : null;
      if (parsed === null || parsed.state === "future" || parsed.state === "stray") {
        if (!knownNames.has(name) && !name.endsWith(".tmp")) found.unknown.push(name);
        return;
      }
      if (parsed.state === "delete")
        return this.#environment.trash.addDirectory(`${this.path}/${name}`, 0, Promise.resolve());
      const { topic, partition } = parsed;
      const key = partitionKey(topic, partition);
      const loaded = await loadPartition({
        environment: this.#environment,
        logger: this.#options.logger,
        topic,
        partition,
        directory: `${this.path}/${name}`,
        recoveryPoint: recoveryPoints.get(key)?.offset ?? (0 as Offset),
        savedHighWatermark: this.#highWatermarks.get(key)?.offset ?? (0 as Offset),
        logStartOffset: logStarts === null ? null : (logStarts.get(key)?.offset ?? (0 as Offset)),
        replay: this.#replay,
        cleanedOffset: this.#cleaner?.firstDirtyOffsetOf(topic, partition) ?? (0 as Offset),
        isClean: this.#claim.isClean,
        unsyncedBytesMax: this.#claim.unsyncedBytesMax,
        configOf,
      });
      if (loaded === null) return void found.unknown.push(name);
      found.replayedBytes += loaded.replayedBytes;
      found.recoveredBytes += loaded.scannedBytes;
      found.cutBytes += loaded.cutBytes;
      this.#restoreHighWatermark(loaded.log);
      const { failure } = loaded.log;
      if (failure !== null) found.offline.push({ topic, partition, message: failure.message });
      this.#logs.set(key, loaded.log);
    });
    await this.#environment.openSegments.closeUnheld();
    await this.#removeCleanMark();
    // A process that died may have left names that only the system knew.
    if (!this.#claim.isClean) await disk.syncDirectory(this.path);
    await this.#recoveryPoints.run();
    await this.#logStarts.run();
    if (this.#areHighWatermarksStale()) await this.#highWatermarkWrites.run();
    await this.#startJournal();
    this.#isLoaded = true;
    this.#startHousekeeping();
    await this.#cleaner?.start();
    this.#scrubber?.start();
    return { isClean: this.#claim.isClean, logsCount: this.#logs.size, ...found };
  }

  /** What was saved may be older or newer than the log; a log that is offline keeps it as it was. */
  #restoreHighWatermark(log: PartitionLog): void {
    const saved = this.#highWatermarks.get(partitionKey(log.topic, log.partition))?.offset ?? (0 as Offset);
    const { logStartOffset, logEndOffset, failure } = log;
    const possible = Math.min(Math.max(saved, logStartOffset), logEndOffset) as Offset;
    if (failure !== null) log.replicatedHighWatermark = saved;
    else if (this.#options.areReplicated === true) log.replicatedHighWatermark = possible;
  }

  /** What a log does not reach, or a log that is not here did, must not be held against what comes. */
  #areHighWatermarksStale(): boolean {
    for (const [key, { offset }] of this.#highWatermarks) {
      const log = this.#logs.get(key);
      if (log === undefined || offset > log.savedHighWatermark) return true;
    }
    return false;
  }

  /** From here on a crash is one. A start that fails before leaves the directory as clean, or as unclean, as it was. */
  async #removeCleanMark(): Promise<void> {
    if (!this.#claim.isClean) return;
    const { disk } = this.#options;
    await disk.removeFile(`${this.path}/${fileNames.cleanShutdown}`);
    await disk.syncDirectory(this.path);
  }

  /** All that it held is in the segments now, and synced. */
  async #startJournal(): Promise<void> {
    const { disk, random } = this.#options;
    this.#replay = JournalReplay.nothing(disk);
    const { journalBytes: fileBytesMax } = this.#limits;
    const directory = this.path;
    if (fileBytesMax === 0) return removeJournal(disk, directory);
    const segmentsMax = segmentBounds(this.#limits).ofJournalFile;
    const onFailed = (error: unknown): void => this.fail(error);
    const { committer } = this.#environment;
    const { writeback } = committer;
    this.#journal = await Journal.open({
      disk,
      random,
      directory,
      fileBytesMax,
      segmentsMax,
      writeback,
      onFailed,
    });
    writeback.onIdle = () => {
      const resting = this.#housekeeping.inTurn(async () => {
        await this.#journal?.rest();
        await this.#journal?.wipe();
      });
      resting.catch((error: unknown) => this.#housekeepingFailed(error));
    };
    committer.useJournal(this.#journal);
  }

  // --- Create and delete ----------------------------------------------------------------------------------------------

  /** Makes a partition's directory, durably. Calls of one turn are made together: a topic of many partitions costs one sync. */
  createLog(wanted: NewLog): Promise<PartitionLog> {
    return this.#creation.create(wanted);
  }

  #directoryOf({ topic, partition }: Pick<NewLog, "topic" | "partition">): string {
    return `${this.path}/${partitionDirectoryName(topic, partition)}`;
  }

  async #makeRoom(wanted: NewLog): Promise<void> {
    assert(!this.#isClosed, "logs are created in a directory that is open");
    if (this.#failure !== null) throw new DiskError("EIO", this.path, "create a log in the failed directory");
    const present = this.#logs.get(partitionKey(wanted.topic, wanted.partition));
    const isTaken = present !== undefined || (await holdsRecords(this.#options.disk, this.#directoryOf(wanted)));
    if (isTaken) await this.#putAway(wanted, present);
  }

  async #forgetNamesakes(wanted: readonly NewLog[]): Promise<void> {
    if (!wanted.some(({ topic, partition }) => this.#checkpoints.names(topic, partition))) return;
    await this.#recoveryPoints.run();
    await this.#logStarts.run();
    await this.#highWatermarkWrites.run();
    await this.#cleaner?.checkpoint();
  }

  /** The metadata does not know its topic: it stays, under a name that no topic has. */
  setAside(log: PartitionLog): Promise<void> {
    return this.#putAway(log, log);
  }

  async #putAway(wanted: Pick<NewLog, "topic" | "partition">, present: PartitionLog | undefined): Promise<void> {
    const { logger } = this.#options;
    const name = deletedDirectoryName(wanted.topic, wanted.partition, this.#unique()).replace(/-delete$/, "-stray");
    const path = `${this.path}/${name}`;
    this.#logs.delete(partitionKey(wanted.topic, wanted.partition));
    if (present !== undefined) this.#cleaner?.forget(present);
    await present?.abandon(path);
    await this.#rename(this.#directoryOf(wanted), path);
    logger.warn("a directory of a topic that is unknown was set aside", { path });
  }

  #adopt({ topic, partition, topicId, config }: NewLog): PartitionLog {
    const directory = this.#directoryOf({ topic, partition });
    const log = new PartitionLog(
      this.#environment,
      { topic, partition, topicId, directory },
      config,
      emptyLog(directory),
    );
    this.#logs.set(partitionKey(topic, partition), log);
    return log;
  }

  /** Durably gone when it resolves; its bytes go after `file.delete.delay.ms`. Readers that have a slice read on. */
  async deleteLog(log: PartitionLog): Promise<void> {
    const from = log.directory;
    const path = `${this.path}/${deletedDirectoryName(log.topic, log.partition, this.#unique())}`;
    if (this.#logs.get(partitionKey(log.topic, log.partition)) === log)
      this.#logs.delete(partitionKey(log.topic, log.partition));
    this.#cleaner?.forget(log);
    const segments = await log.abandon(path);
    await this.#rename(from, path);
    for (const segment of segments) this.#journal?.giveUp(segment);
    this.#environment.wipeJournalSoon();
    this.#environment.trash.addDirectory(path, log.config["file.delete.delay.ms"], Promise.resolve());
  }

  async #rename(from: string, to: string): Promise<void> {
    const { disk } = this.#options;
    try {
      await disk.rename(from, to);
      await disk.syncDirectory(this.path);
    } catch (error) {
      if (isDiskGone(error)) this.fail(error);
      throw error;
    }
  }

  #unique(): string {
    return this.#options.random.bytes(16).toString("hex");
  }

  // --- Housekeeping ---------------------------------------------------------------------------------------------------

  #startHousekeeping(): void {
    const { checkpointIntervalMs, retentionIntervalMs, highWatermarkIntervalMs } = this.#limits;
    const housekeeping = this.#housekeeping;
    housekeeping.every(checkpointIntervalMs, () => this.#checkpointLogs());
    housekeeping.every(retentionIntervalMs, () => this.#retainLogs());
    if (this.#options.areReplicated === true)
      housekeeping.every(highWatermarkIntervalMs, () => this.#saveHighWatermarks());
  }

  #housekeepingFailed(error: unknown): void {
    if (isOutOfSpace(error)) this.#options.logger.warn("no space for housekeeping", { path: this.path, error });
    else this.fail(error);
  }

  /** Brings what recovery would have to find out to the disk, for the logs that have grown. */
  checkpoint(): Promise<void> {
    return this.#housekeeping.inTurn(() => this.#checkpointLogs());
  }

  async #checkpointLogs(): Promise<void> {
    const { checkpointBytesMin } = this.#limits;
    // Asked each time: it may change while the directory is open.
    const { producerExpirationMs } = { ...this.#limits, ...this.#options.limits };
    for (const log of this.#logs.values()) log.expireProducers(producerExpirationMs);
    const { syncedTogether } = segmentBounds(this.#limits);
    await forEachOf([...this.#logs.values()], syncedTogether, (log) => log.forgetIdle());
    const grown = [...this.#logs.values()].filter((log) => log.uncheckedBytes >= checkpointBytesMin);
    await this.#environment.committer.writeback.spreadAfterBurst();
    await forEachOf(grown, syncedTogether, (log) => log.checkpoint());
    // So that a start after a crash has little to replay.
    await this.#journal?.tidy();
    await this.#journal?.wipe();
    await this.#recoveryPoints.run();
    await this.#logStarts.run();
    await this.#highWatermarkWrites.run();
  }

  /** Removes what the topics' settings do not keep. */
  retain(): Promise<void> {
    return this.#housekeeping.inTurn(() => this.#retainLogs());
  }

  async #retainLogs(): Promise<void> {
    const nowMs = this.#options.clock.now();
    await forEachOf([...this.#logs.values()], 4, async (log) => {
      const count = await log.retain(nowMs);
      if (count > 0) this.#options.logger.info("old segments were removed", { directory: log.directory, count });
    });
  }

  /** Takes it offline: its logs take and give nothing until a restart has found out what is there (R16). */
  fail(error: unknown): void {
    if (this.#failure !== null) return;
    const message = error instanceof Error ? error.message : String(error);
    this.#failure = { kind: "disk-failed", message: `the log directory ${this.path} has failed: ${message}` };
    this.#options.logger.error("the log directory has failed: all its logs are offline until a restart", {
      path: this.path,
      error,
    });
    this.#housekeeping.stop();
    this.#environment.backgroundSync.stop();
    this.#spaceWatch.stop();
    void this.#scrubber?.stop();
    this.#environment.committer.fail();
    void this.#cleaner?.close();
    for (const log of this.#logs.values()) log.fail(this.#failure);
    this.#options.onFailure?.(error);
  }

  #writeOffsets(name: string, offsetOf: (log: PartitionLog) => Offset): Promise<void> {
    const offsets = Array.from(this.#logs.values(), (log) => ({
      topic: log.topic,
      partition: log.partition,
      offset: offsetOf(log),
    }));
    return this.#checkpoints.write(name, offsets);
  }

  #writeHighWatermarks(): Promise<void> {
    this.#savedHighWatermarks.clear();
    for (const log of this.#logs.values()) {
      if (log.replicatedHighWatermark !== null) this.#savedHighWatermarks.set(log, log.savedHighWatermark);
    }
    return this.#writeOffsets(fileNames.highWatermarks, (log) => log.savedHighWatermark);
  }

  /** A replica begins with it after a crash: nobody waits for long to read what was committed. Those of logs that are alone can wait. */
  async #saveHighWatermarks(): Promise<void> {
    for (const log of this.#logs.values()) {
      const { replicatedHighWatermark, savedHighWatermark } = log;
      if (replicatedHighWatermark === null || this.#savedHighWatermarks.get(log) === savedHighWatermark) continue;
      return this.#highWatermarkWrites.run();
    }
  }

  // --- The end --------------------------------------------------------------------------------------------------------

  /** Everything to the disk; the next start finds a clean directory. After a failure, or before `load`, it only lets go. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#spaceWatch.stop();
    this.#environment.backgroundSync.stop();
    // Else a checkpoint may wait for a burst to be over, and the stop for that.
    this.#environment.committer.writeback.stop();
    await this.#cleaner?.close();
    await this.#scrubber?.stop();
    await this.#housekeeping.close();
    const { disk } = this.#options;
    let isClean = this.#failure === null;
    for (const log of this.#logs.values()) if (log.failure !== null) isClean = false;
    try {
      // Logs to which a failed start has not come yet are in the checkpoints, and stay there.
      if (this.#isLoaded)
        await forEachOf([...this.#logs.values()], segmentBounds(this.#limits).syncedTogether, (log) => log.close());
      await this.#journal?.close();
      if (this.#isLoaded && this.#failure === null) {
        await this.#recoveryPoints.run();
        await this.#logStarts.run();
        await this.#highWatermarkWrites.run();
        if (isClean) {
          await disk.writeFile(
            `${this.path}/${fileNames.cleanShutdown}`,
            Buffer.from('{"version":0,"brokerEpoch":-1}'),
          );
          await disk.syncDirectory(this.path);
        }
      }
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      // What only the journal has stays there.
      this.#environment.committer.fail();
      await this.#journal?.close();
      this.#options.logger.warn("no space to note a clean stop: the next start recovers", { path: this.path, error });
    } finally {
      await this.#environment.openSegments.closeAll();
      this.#environment.trash.close();
      await this.#claim.lock.release();
    }
  }
}
