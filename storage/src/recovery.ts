import { assert } from "@millrace/base/assert";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { DirectoryEntry, Disk } from "@millrace/base/world";
import { readInt64Exact } from "kafka-protocol-ts/records/int64";
import { BATCH_HEADER_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { findBatchAfter, scanBatches } from "./batch-scan.ts";
import type { ScanEnd } from "./batch-scan.ts";
import type { JointSync } from "./concurrency.ts";
import { DELETED_SUFFIX, fileNames, parseSegmentFileName, segmentFileName } from "./file-names.ts";
import { BrokenChain, HeaderWalk } from "./header-walk.ts";
import { lastTime, positionAtOrBefore, walkNear } from "./index-lookup.ts";
import { decodeEpochs, LeaderEpochs } from "./leader-epochs.ts";
import { isCompacted } from "./log-config.ts";
import type { LogConfig } from "./log-config.ts";
import type { LogState } from "./log-writer.ts";
import { OFFSET_ENTRY_BYTES } from "./offset-index.ts";
import type { OpenSegments } from "./open-segments.ts";
import { loadProducers } from "./producer-loading.ts";
import { removeSegments } from "./segment-removal.ts";
import { SegmentIndexer } from "./segment-indexer.ts";
import { readTail } from "./segment-tail.ts";
import { Segment } from "./segment.ts";
import { isRoom } from "./segment-room.ts";
import { Segments } from "./segments.ts";
import { TIME_ENTRY_BYTES } from "./time-index.ts";
import { restartSegments } from "./truncation.ts";
import type { ExactTimestamp, FilePosition, LeaderEpoch, Offset } from "./types.ts";

export interface Loading {
  readonly disk: Disk;
  readonly openSegments: OpenSegments;
  /** For what was found and is not yet durable; shared by all logs that are loaded. */
  readonly jointSync: JointSync;
  readonly directory: string;
  readonly names: readonly DirectoryEntry[];
  readonly config: LogConfig;
  /** From its checkpoint; 0 where that does not name the partition. */
  readonly recoveryPoint: Offset;
  /** From its checkpoint: what was committed, and on this disk. 0 where that does not name the partition. */
  readonly savedHighWatermark: Offset;
  /** From its checkpoint; null where that could not be read: then it is where the first segment begins. */
  readonly logStartOffset: Offset | null;
  /** Compaction went so far: below it there may be a hole between two segments, also where the log is not compacted any more. */
  readonly cleanedOffset: Offset;
  readonly isClean: boolean;
  /** The largest bound under which the log may have been written. */
  readonly unsyncedBytesMax: number;
}

export interface LoadedLog {
  readonly state: LogState;
  readonly logStartOffset: Offset;
  /** What recovery had to read, and what it cut off. */
  readonly scannedBytes: number;
  readonly cutBytes: number;
}

/** Something that was durable is not there any more. Nothing is cut; an operator must see it. */
export type Corruption = "corrupt";

/**
 * Opens a log as it lies on the disk.
 *
 * After a clean stop the last batches are looked at and no more. Otherwise (R15):
 *
 *     0 ─────────────── recovery point ──────────── flushed ────── torn ───── end
 *       durable, with      durable, not yet           at most `unsyncedBytesMax`
 *       its indexes        noted anywhere             that nobody was told of
 *
 * Everything from the recovery point on is read and its checksums are made again, and one bound's worth before it. The first
 * bad batch begins the tail, which is cut. But below the recovery point or the saved high watermark, or where a whole batch follows
 * further away than could have been unsynced, it is no tail: then the log is refused, with file, position and offset, and nothing is
 * changed. (A log that has not grown by much since the last recovery point gets no new one: the high watermark is all that is noted.)
 */
export async function loadLog(loading: Loading): Promise<Result<LoadedLog, Corruption>> {
  return new Recovery(loading).run();
}

class Recovery {
  readonly #loading: Loading;
  readonly #segments: Segments = new Segments();
  readonly #epochs: LeaderEpochs = new LeaderEpochs();
  #scannedBytes = 0;
  #cutBytes = 0;
  /** There was room behind a segment. */
  #isTrimmed = false;
  #hasEpochs = false;

  constructor(loading: Loading) {
    this.#loading = loading;
  }

  async run(): Promise<Result<LoadedLog, Corruption>> {
    const { recoveryPoint, isClean } = this.#loading;
    await this.#collect();
    await this.#loadEpochs();
    const missing = this.#missingStart();
    if (missing !== null) return missing;
    const ended = isClean ? await this.#readTail() : await this.#recover();
    if (!ended.ok) return ended;
    const endOffset = await this.#notBelowStart(ended.value);
    if (endOffset < recoveryPoint) return this.#endsTooEarly(endOffset);
    if (!this.#hasEpochs) await this.#findEpochs();
    this.#epochs.truncateFromEnd(endOffset);
    const loaded = await loadProducers({
      ...this.#loading,
      segments: this.#segments,
      upTo: endOffset,
      isSnapshotRequired: !isClean,
    });
    if (loaded.fault !== null) {
      const { path, position, nextOffset, why } = loaded.fault;
      return failed("corrupt", `${path} position ${position} offset ${nextOffset}: ${why}`);
    }
    const { active } = this.#segments;
    active.aborted ??= [];
    return ok({
      state: {
        directory: this.#loading.directory,
        segments: this.#segments,
        producers: loaded.producers,
        epochs: this.#epochs,
        endOffset,
        recoveryPoint: isClean ? endOffset : recoveryPoint,
        snapshotOffset: loaded.snapshotOffset,
        rollTimestamp: await this.#firstTimestamp(active),
        uncheckedBytes: endOffset > recoveryPoint ? this.#scannedBytes : 0,
      },
      logStartOffset: Math.max(this.#segments.first.baseOffset, this.#loading.logStartOffset ?? 0) as Offset,
      scannedBytes: this.#scannedBytes,
      cutBytes: this.#cutBytes,
    });
  }

  // --- What is there --------------------------------------------------------------------------------------------------

  /** Segments in order; leftovers of an interrupted removal or replacement go. */
  async #collect(): Promise<void> {
    const { disk, directory, names } = this.#loading;
    const logStartOffset = this.#loading.logStartOffset ?? (0 as Offset);
    const bases: Offset[] = [];
    for (const { name } of names) {
      const parsed = parseSegmentFileName(name);
      if (parsed?.suffix === ".log") bases.push(parsed.baseOffset);
      if (name.endsWith(DELETED_SUFFIX) || name.endsWith(".tmp")) await disk.removeFile(`${directory}/${name}`);
    }
    bases.sort((a, b) => a - b);
    // Retention had noted the new start of the log, but not yet removed what lies before it.
    while ((bases[1] ?? Number.POSITIVE_INFINITY) <= logStartOffset) {
      await disk.removeFile(`${directory}/${segmentFileName(bases.shift() as Offset, ".log")}`);
    }
    const kept = new Set(bases);
    for (const { name } of names) {
      const parsed = parseSegmentFileName(name);
      if (parsed === null || parsed.suffix === ".snapshot" || kept.has(parsed.baseOffset)) continue;
      await disk.removeFile(`${directory}/${name}`);
    }
    const sizes = await Promise.all(bases.map((base) => disk.stat(`${directory}/${segmentFileName(base, ".log")}`)));
    for (const [index, base] of bases.entries()) {
      this.#segments.add(new Segment(directory, base, { sizeBytes: sizes[index]?.sizeBytes ?? 0, isNew: false }));
    }
    if (bases.length === 0) this.#segments.add(new Segment(directory, logStartOffset, { sizeBytes: 0, isNew: true }));
  }

  async #loadEpochs(): Promise<void> {
    const { disk, directory, names } = this.#loading;
    if (names.every(({ name }) => name !== fileNames.leaderEpochs)) return;
    const decoded = decodeEpochs((await disk.readFile(`${directory}/${fileNames.leaderEpochs}`)).toString());
    if (!decoded.ok) return;
    this.#epochs.restore(decoded.value);
    this.#hasEpochs = true;
  }

  /** Retention notes the new start of a log before it removes anything. */
  #missingStart(): Result<never, Corruption> | null {
    const { logStartOffset, directory } = this.#loading;
    const { baseOffset } = this.#segments.first;
    if (logStartOffset === null || baseOffset <= logStartOffset) return null;
    return failed(
      "corrupt",
      `${directory}: the log starts at offset ${logStartOffset}, but its first segment at ${baseOffset}`,
    );
  }

  /** A follower that was far behind was about to begin anew with a later offset: nothing of what is here counts. */
  async #notBelowStart(endOffset: Offset): Promise<Offset> {
    const { logStartOffset, directory } = this.#loading;
    if (logStartOffset === null || endOffset >= logStartOffset) return endOffset;
    await restartSegments(this.#loading, directory, this.#segments, logStartOffset);
    return logStartOffset;
  }

  async #firstTimestamp(segment: Segment): Promise<ExactTimestamp | null> {
    if (segment.sizeBytes < BATCH_HEADER_BYTES) return null;
    return this.#using(segment, () => {
      const header = Buffer.alloc(BATCH_HEADER_BYTES);
      segment.log.readNow(header, 0);
      return readInt64Exact(header, BatchField.maxTimestamp);
    });
  }

  // --- After a clean stop ---------------------------------------------------------------------------------------------

  /** From the last index entry on the headers must lead to the file's end. */
  async #readTail(): Promise<Result<Offset, Corruption>> {
    const { active } = this.#segments;
    if (active.sizeBytes === 0) return ok(active.baseOffset);
    return this.#using(active, () =>
      this.#areIndexesThere(active) && areIndexesSane(active, Number.MAX_SAFE_INTEGER as Offset)
        ? this.#walkTail(active, Number.MAX_SAFE_INTEGER as Offset)
        : this.#scanSegment(active, { from: 0, isCrcChecked: false }),
    );
  }

  /** Where the segment ends, by its headers from the last index entry on. */
  #walkTail(segment: Segment, below: Offset): Result<Offset, Corruption> {
    try {
      return ok(readTail(segment, below));
    } catch (error) {
      if (!(error instanceof BrokenChain)) throw error;
      return this.#corrupt(segment, error.position, segment.baseOffset, error.message);
    }
  }

  // --- After an unclean one -------------------------------------------------------------------------------------------

  async #recover(): Promise<Result<Offset, Corruption>> {
    const { recoveryPoint } = this.#loading;
    // A checkpoint may have been made at the end of a segment that grew still: then it was not finished.
    const first = this.#segments.indexOf(Math.max(0, recoveryPoint - 1) as Offset);
    for (let index = 0; index < first; index++) {
      const checked = await this.#checkClosed(index);
      if (!checked.ok) return checked;
    }
    const held: Segment[] = [];
    try {
      const ended = await this.#recoverFrom(first, held);
      // The process that died may have had blocks set aside that no segment will use.
      if (ended.ok) for (const segment of held) await segment.cutLog(segment.sizeBytes);
      // Without a recovery point it is not even known whether the creation of this log had ended.
      const isNews =
        recoveryPoint === 0 || this.#cutBytes > 0 || this.#isTrimmed || (ended.ok && ended.value > recoveryPoint);
      if (ended.ok && isNews) await this.#syncFound(held);
      return ended;
    } finally {
      for (const segment of held) segment.release();
    }
  }

  /** What was found may so far lie only in the system's memory, names included; from now on it counts. */
  async #syncFound(segments: readonly Segment[]): Promise<void> {
    const { disk, directory, recoveryPoint, jointSync } = this.#loading;
    const files = segments.map((segment) => segment.log);
    const metadata = recoveryPoint > 0 ? null : await disk.open(`${directory}/${fileNames.partitionMetadata}`, "write");
    if (metadata !== null) files.push(metadata);
    try {
      await jointSync.sync(files);
    } finally {
      await metadata?.close();
    }
    await disk.syncDirectory(directory);
  }

  async #recoverFrom(first: number, held: Segment[]): Promise<Result<Offset, Corruption>> {
    const { recoveryPoint, openSegments } = this.#loading;
    let before: Segment | null = null;
    let endOffset = (this.#segments.at(first) as Segment).baseOffset;
    for (let index = first; index < this.#segments.count; index++) {
      const segment = this.#segments.at(index) as Segment;
      if (segment.isNew) break;
      if (before !== null && segment.baseOffset > endOffset && !this.#mayHaveHole(segment.baseOffset)) {
        const why = `the log ends here, but there is a segment from ${segment.baseOffset} on`;
        const isTail = await this.#judgeTail(before, before.sizeBytes, endOffset, why);
        if (!isTail.ok) return isTail;
        await this.#cut(index - 1, before.sizeBytes);
        break;
      }
      await openSegments.use(segment);
      held.push(segment);
      const from = this.#startOf(segment);
      // A cut may not be in the file of the epochs yet; what is found from here on tells its epoch itself.
      if (index === first) this.#epochs.truncateFromEnd(from.nextOffset);
      const scanned = await this.#scan(segment, {
        from: from.position,
        nextOffset: from.nextOffset,
        isCrcChecked: true,
      });
      endOffset = Math.max(endOffset, scanned.nextOffset) as Offset;
      if (scanned.fault !== null && (await isRoom(segment.log, scanned.position, segment.sizeBytes))) {
        // A file that ends there: the process that died had made room behind what it wrote. Cut when all is known to be well.
        segment.sizeBytes = scanned.position;
        this.#isTrimmed = true;
      } else if (scanned.fault !== null) {
        const isTail = await this.#judgeTail(segment, scanned.position, endOffset, scanned.fault);
        if (!isTail.ok) return isTail;
        await this.#cut(index, scanned.position);
        break;
      }
      before = segment;
    }
    return endOffset < Math.max(recoveryPoint, this.#committedOffset) ? this.#endsTooEarly(endOffset) : ok(endOffset);
  }

  /**
   * Up to where a crash can have torn nothing, by the saved high watermark. Under `os` that counts what was not synced; and of a
   * log that was about to begin anew past it, nothing is missed.
   */
  get #committedOffset(): Offset {
    const { savedHighWatermark, logStartOffset, config } = this.#loading;
    const isOfUse = config["millrace.durability"] !== "os" && savedHighWatermark > (logStartOffset ?? 0);
    return isOfUse ? savedHighWatermark : (0 as Offset);
  }

  /** Whether what comes after `position` may be cut; else the corruption that it is. */
  async #judgeTail(
    segment: Segment,
    position: number,
    endOffset: Offset,
    why: string,
  ): Promise<Result<void, Corruption>> {
    const { recoveryPoint } = this.#loading;
    if (endOffset < recoveryPoint) {
      return this.#corrupt(segment, position, endOffset, `${why}, below the recovery point ${recoveryPoint}`);
    }
    const committedOffset = this.#committedOffset;
    if (endOffset < committedOffset) {
      return this.#corrupt(segment, position, endOffset, `${why}, below the high watermark ${committedOffset}`);
    }
    const follows = await this.#followsTooFar(segment, position, endOffset);
    return follows === null ? ok(undefined) : this.#corrupt(segment, position, endOffset, `${why}, but ${follows}`);
  }

  /** One bound's worth before the recovery point, by the index, which was synced before the point was noted; or the start. */
  #startOf(segment: Segment): { readonly position: number; readonly nextOffset: Offset } {
    const { recoveryPoint, unsyncedBytesMax } = this.#loading;
    const start = { position: 0, nextOffset: segment.baseOffset };
    const isBelow = recoveryPoint > segment.baseOffset;
    trimIndexes(segment, this.#areIndexesThere(segment) ? recoveryPoint : segment.baseOffset);
    if (!isBelow) return start;
    const point = positionAtOrBefore(segment, (recoveryPoint - 1) as Offset);
    const position = walkNear(segment, { position: point - unsyncedBytesMax })?.position ?? (0 as FilePosition);
    if (position === 0) return start;
    const walk = new HeaderWalk(segment.log, position, segment.sizeBytes);
    try {
      return walk.next() ? { position, nextOffset: walk.baseOffset } : start;
    } catch (error) {
      if (error instanceof BrokenChain) return start;
      throw error;
    }
  }

  /** What shows that a bad batch is no torn tail; null where nothing does. */
  async #followsTooFar(segment: Segment, position: number, nextOffset: Offset): Promise<string | null> {
    const { unsyncedBytesMax, config } = this.#loading;
    // Under `os` nothing bounds what was unsynced, and the system writes in any order.
    if (config["millrace.durability"] === "os") return null;
    const from = position + unsyncedBytesMax;
    const found = await findBatchAfter(segment.log, { from, to: segment.sizeBytes, nextOffset });
    if (found !== null) {
      return `a whole batch with offset ${found.baseOffset} follows at position ${found.position}, further away than could be unsynced`;
    }
    // A segment begins only when the one before it is durable.
    for (const later of this.#segments.all()) {
      if (later.baseOffset <= segment.baseOffset || later.sizeBytes === 0) continue;
      const batch = await this.#using(later, () =>
        findBatchAfter(later.log, { from: 0, to: later.sizeBytes, nextOffset }),
      );
      if (batch !== null) return `a whole batch with offset ${batch.baseOffset} follows in ${later.path(".log")}`;
    }
    return null;
  }

  async #cut(index: number, position: number): Promise<void> {
    const { disk } = this.#loading;
    const segment = this.#segments.at(index) as Segment;
    const later = this.#segments.takeFrom(index + 1);
    for (const { sizeBytes } of later) this.#cutBytes += sizeBytes;
    await removeSegments(this.#loading, later);
    this.#cutBytes += segment.sizeBytes - position;
    await this.#using(segment, () => segment.cutLog(position));
    await disk.syncDirectory(this.#loading.directory);
  }

  /** A segment that was durable long ago: its headers must lead to its end, and its end to the next segment. */
  async #checkClosed(index: number): Promise<Result<void, Corruption>> {
    const segment = this.#segments.at(index) as Segment;
    const next = this.#segments.at(index + 1);
    assert(next !== undefined, "a closed segment has a next one");
    const ended = await this.#using(segment, () =>
      this.#areIndexesThere(segment) && areIndexesSane(segment, next.baseOffset)
        ? this.#walkTail(segment, next.baseOffset)
        : this.#scanSegment(segment, { from: 0, isCrcChecked: false }),
    );
    if (!ended.ok) return ended;
    const isChained = ended.value === next.baseOffset;
    if (isChained || (ended.value < next.baseOffset && this.#mayHaveHole(next.baseOffset))) return ok(undefined);
    const name = segmentFileName(segment.baseOffset, ".log");
    return this.#corrupt(next, 0, ended.value, `the segment before it, ${name}, ends at offset ${ended.value}`);
  }

  /** Whether compaction may have taken what came before the segment that begins there. */
  #mayHaveHole(baseOffset: Offset): boolean {
    const { config, cleanedOffset } = this.#loading;
    return isCompacted(config) || baseOffset <= cleanedOffset;
  }

  // --- Scans ----------------------------------------------------------------------------------------------------------

  /** Makes the indexes anew. A fault is corruption: the segment was known to be whole. */
  async #scanSegment(
    segment: Segment,
    { from, isCrcChecked }: { readonly from: number; readonly isCrcChecked: boolean },
  ): Promise<Result<Offset, Corruption>> {
    const end = await this.#scan(segment, { from, nextOffset: segment.baseOffset, isCrcChecked });
    return end.fault === null ? ok(end.nextOffset) : this.#corrupt(segment, end.position, end.nextOffset, end.fault);
  }

  /** Indexes from `from` on are made anew, and epochs noted. */
  async #scan(
    segment: Segment,
    {
      from,
      nextOffset,
      isCrcChecked,
    }: { readonly from: number; readonly nextOffset: Offset; readonly isCrcChecked: boolean },
  ): Promise<ScanEnd> {
    const { config } = this.#loading;
    const indexer = new SegmentIndexer();
    segment.offsets.truncateTo(from);
    segment.times.truncateTo(nextOffset);
    const last = lastTime(segment);
    if (last !== null) segment.observe(last.timestamp, last.offset);
    const entries = segment.offsets.entries.count;
    if (entries > 0) indexer.restart(from - segment.offsets.entry(entries - 1).position);
    const end = await scanBatches(segment.log, {
      from,
      to: segment.sizeBytes,
      nextOffset,
      endOffsetMax: this.#segments.endOffsetMaxOf(segment),
      isCrcChecked,
      visit: (batch, position) => {
        const baseOffset = batch.baseOffset as Offset;
        this.#epochs.assign(batch.partitionLeaderEpoch as LeaderEpoch, baseOffset);
        const lastOffset = batch.lastOffset as Offset;
        const { maxTimestampExact: maxTimestamp, sizeBytes } = batch;
        indexer.add(segment, { lastOffset, maxTimestamp, sizeBytes }, position, config["index.interval.bytes"]);
      },
    });
    this.#scannedBytes += end.position - from;
    await this.#finishIndexes(segment);
    return end;
  }

  /** The files hold the entries and nothing else. */
  async #finishIndexes(segment: Segment): Promise<void> {
    if (segment !== this.#segments.active) segment.sealIndexes();
    else segment.flushIndexes();
    const [index, timeIndex] = segment.indexFiles();
    await index?.truncate(segment.offsets.entries.count * OFFSET_ENTRY_BYTES);
    await timeIndex?.truncate(segment.times.entries.count * TIME_ENTRY_BYTES);
    await this.#loading.disk.syncFiles(segment.indexFiles());
  }

  /** The checkpoint of the epochs is missing or unreadable: every batch has its epoch. */
  async #findEpochs(): Promise<void> {
    // Recovery has noted those of the end alone.
    this.#epochs.restore([]);
    for (const segment of this.#segments.all()) {
      if (segment.isNew || segment.sizeBytes === 0) continue;
      await this.#using(segment, () =>
        scanBatches(segment.log, {
          from: 0,
          to: segment.sizeBytes,
          nextOffset: segment.baseOffset,
          isCrcChecked: false,
          visit: (batch) => this.#epochs.assign(batch.partitionLeaderEpoch as LeaderEpoch, batch.baseOffset as Offset),
        }),
      );
    }
  }

  #areIndexesThere(segment: Segment): boolean {
    const has = (suffix: ".index" | ".timeindex"): boolean =>
      this.#loading.names.some(({ name }) => name === segmentFileName(segment.baseOffset, suffix));
    return has(".index") && has(".timeindex");
  }

  async #using<T>(segment: Segment, work: () => T | Promise<T>): Promise<T> {
    await this.#loading.openSegments.use(segment);
    try {
      return await work();
    } finally {
      segment.release();
    }
  }

  #endsTooEarly(endOffset: Offset): Result<never, Corruption> {
    const { active } = this.#segments;
    const { recoveryPoint } = this.#loading;
    const [name, durableOffset] =
      endOffset < recoveryPoint
        ? [fileNames.recoveryPoints, recoveryPoint]
        : [fileNames.highWatermarks, this.#committedOffset];
    return this.#corrupt(
      active,
      active.sizeBytes,
      endOffset,
      `the log ends here, but by ${name} it was durable up to ${durableOffset}`,
    );
  }

  #corrupt(segment: Segment, position: number, offset: Offset, why: string): Result<never, Corruption> {
    return failed("corrupt", `${segment.path(".log")} position ${position} offset ${offset}: ${why}`);
  }
}

/**
 * Forgets the index entries from the first on that is not possible or not below `below`: after a crash the end of an index is
 * whatever the disk had. What stays is a smaller index, never a wrong one.
 */
function trimIndexes(segment: Segment, below: Offset): void {
  const { offsets, times } = segment;
  let lastOffset = segment.baseOffset - 1;
  let position = -1;
  let count = 0;
  for (; count < offsets.entries.count; count++) {
    const entry = offsets.entry(count);
    const isPossible = entry.lastOffset > lastOffset && entry.position > position && entry.position < segment.sizeBytes;
    if (!isPossible || entry.lastOffset >= below) break;
    lastOffset = entry.lastOffset;
    position = entry.position;
  }
  offsets.entries.truncate(count);

  let timeOffset = segment.baseOffset - 1;
  let timestamp: ExactTimestamp = -1;
  for (count = 0; count < times.entries.count; count++) {
    const entry = times.entry(count);
    const isPossible = entry.timestamp > timestamp && entry.offset >= timeOffset && entry.offset >= segment.baseOffset;
    if (!isPossible || entry.offset >= below) break;
    timeOffset = entry.offset;
    timestamp = entry.timestamp;
  }
  times.entries.truncate(count);
  times.resume();
}

/** Whether nothing had to be forgotten. */
function areIndexesSane(segment: Segment, below: Offset): boolean {
  const { offsets, times } = segment;
  const before = [offsets.entries.count, times.entries.count];
  trimIndexes(segment, below);
  return offsets.entries.count === before[0] && times.entries.count === before[1];
}
