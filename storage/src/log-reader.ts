import { failed, ok } from "@millrace/base/result";
import type { Failed, Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { DiskFile, FileSlice } from "@millrace/base/world";
import { BrokenChain, ColdRead } from "./header-walk.ts";
import type { LogEnvironment } from "./log-environment.ts";
import type { LogWriter } from "./log-writer.ts";
import type { LogFailure } from "./log.ts";
import { locate, offsetAfterBreak } from "./read.ts";
import type { Extent, ReadLimits } from "./read.ts";
import type { Segment } from "./segment.ts";
import { findByTime, findMaxTimestamp } from "./time-lookup.ts";
import type { FoundRecord } from "./time-lookup.ts";
import type { AbortedTransaction } from "./transaction-index.ts";
import type { ExactTimestamp, FilePosition, Offset } from "./types.ts";

/**
 * - out-of-range: below the log's start or past its end
 * - corrupt: a range that is known to be broken; the rest of the log is served
 * - log-failed: the log is offline, or the disk does not read
 */
export type ReadFailure = "out-of-range" | "corrupt" | "log-failed";

/** A run of whole batches inside one segment file: what a fetch sends. Nothing of it is in memory. */
export interface SegmentSlice extends FileSlice {
  /** Of the first batch: the reader drops the records before the one it asked for. */
  readonly firstOffset: Offset;
  /** Exclusive: where the following fetch begins. */
  readonly nextOffset: Offset;
}

export interface LogRead {
  /** Null where there is nothing to send (yet). Whoever gets it releases it. */
  readonly slice: SegmentSlice | null;
  /** Whose records a reader of committed records drops; null where it was not asked for. */
  readonly abortedTransactions: readonly AbortedTransaction[] | null;
}

export interface ReadOptions extends ReadLimits {
  readonly areAbortedTransactionsWanted?: boolean;
}

/** A range that is known to be broken. */
export interface QuarantinedRange {
  readonly firstOffset: Offset;
  readonly nextOffset: Offset;
  readonly why: string;
}

/** What a reader has to know of the log. */
interface ReadableLog {
  readonly failure: LogFailure | null;
  readonly logStartOffset: Offset;
  readonly logEndOffset: Offset;
  readonly writtenOffset: Offset;
  readonly highWatermark: Offset;
}

/** In so large pieces what is looked at is brought into memory: what follows a header is mostly sent next. */
const WARMED_BYTES = 128 * 1024;
/** So far from its log's end a reader is behind: one that keeps up with a fast producer is nearer. */
const BEHIND_BYTES = 8 * 1024 * 1024;
/** A look takes a handful; more of them are pages that leave memory as fast as they come. */
const WARMINGS_MAX = 32;

const nothingRead: Result<LogRead, ReadFailure> = ok({ slice: null, abortedTransactions: null });
const nothingCommitted: Result<LogRead, ReadFailure> = ok({ slice: null, abortedTransactions: [] });

function nothing({ areAbortedTransactionsWanted = false }: ReadOptions): Result<LogRead, ReadFailure> {
  return areAbortedTransactionsWanted ? nothingCommitted : nothingRead;
}

const noneQuarantined: readonly QuarantinedRange[] = [];

/**
 * The reading end of a log: where batches lie, and records by their time. It gives slices of files. A segment that is not open is
 * opened, and headers and indexes that are not in memory are brought there, by other threads.
 */
export class LogReader {
  readonly #environment: LogEnvironment;
  readonly #log: ReadableLog;
  readonly #writer: LogWriter;
  #quarantined: readonly QuarantinedRange[] = noneQuarantined;

  constructor(environment: LogEnvironment, log: ReadableLog, writer: LogWriter) {
    this.#environment = environment;
    this.#log = log;
    this.#writer = writer;
  }

  get quarantined(): readonly QuarantinedRange[] {
    return this.#quarantined;
  }

  // --- Batches --------------------------------------------------------------------------------------------------------

  /**
   * Where the batches lie that hold `offset` and what follows, up to the limits. Answers at once while the segment is open, and
   * what must be looked at is in memory; a promise is one of them being seen to first.
   */
  read(offset: Offset, options: ReadOptions): Result<LogRead, ReadFailure> | Promise<Result<LogRead, ReadFailure>> {
    return this.#read(offset, options, 0);
  }

  #read(
    offset: Offset,
    options: ReadOptions,
    warmings: number,
  ): Result<LogRead, ReadFailure> | Promise<Result<LogRead, ReadFailure>> {
    if (this.#log.failure !== null) return failed("log-failed", this.#log.failure.message);
    if (offset < this.#log.logStartOffset || offset > this.#log.logEndOffset) return failed("out-of-range");
    const upTo = Math.min(options.upTo, this.#log.writtenOffset) as Offset;
    if (offset >= upTo) return nothing(options);
    const limits = { ...options, upTo, mayWait: warmings >= WARMINGS_MAX };
    for (const range of this.#quarantined) {
      if (offset < range.firstOffset) limits.upTo = Math.min(limits.upTo, range.firstOffset) as Offset;
      else if (offset < range.nextOffset) return failed("corrupt", range.why);
    }
    const segments = this.#writer.segments;
    for (let index = segments.indexOf(offset); index < segments.count; index++) {
      const segment = segments.at(index) as Segment;
      if (segment.sizeBytes === 0) continue;
      if (!segment.isOpen) {
        // A reader of many logs that has something already takes this one the next time.
        const isNecessary = options.isWholeBatchGuaranteed || this.#environment.openSegments.hasRoom;
        return isNecessary ? this.#openAndRead(segment, offset, options) : nothing(options);
      }
      const isActive = index === segments.count - 1;
      const segmentEnd = isActive ? this.#log.writtenOffset : (segments.at(index + 1) as Segment).baseOffset;
      try {
        const writtenEnd = Math.min(segmentEnd, this.#log.writtenOffset) as Offset;
        const located = locate(segment, this.#writer.recentOf(segment), offset, limits, writtenEnd);
        if (located === "beyond") continue;
        if (located === "nothing") return nothing(options);
        this.#environment.openSegments.touch(segment);
        return this.#answer(segment, located, offset, options);
      } catch (error) {
        if (error instanceof ColdRead) return this.#warmAndRead(segment, error.position, offset, options, warmings + 1);
        return this.#readFailed(segment, offset, segmentEnd, error);
      }
    }
    return nothing(options);
  }

  async #openAndRead(segment: Segment, offset: Offset, options: ReadOptions): Promise<Result<LogRead, ReadFailure>> {
    try {
      await this.#environment.openSegments.use(segment);
    } catch (error) {
      return this.#readFailed(segment, offset, offset, error);
    }
    try {
      // Much may have happened meanwhile: it is looked up anew, with the lease still held.
      return await this.read(offset, options);
    } finally {
      segment.release();
    }
  }

  /** A thread waits for the disk, so that the loop need not. */
  async #warmAndRead(
    segment: Segment,
    position: FilePosition | null,
    offset: Offset,
    options: ReadOptions,
    warmings: number,
  ): Promise<Result<LogRead, ReadFailure>> {
    segment.retain();
    try {
      if (position === null) await segment.offsets.entries.warm();
      else {
        const sizeBytes = Math.min(WARMED_BYTES, segment.sizeBytes - position);
        await (segment.log.warm?.(position, sizeBytes) ?? segment.log.read(Buffer.allocUnsafe(sizeBytes), position));
      }
      return await this.#read(offset, options, warmings);
    } catch (error) {
      return this.#readFailed(segment, offset, offset, error);
    } finally {
      segment.release();
    }
  }

  #answer(
    segment: Segment,
    extent: Extent,
    offset: Offset,
    options: ReadOptions,
  ): Result<LogRead, ReadFailure> | Promise<Result<LogRead, ReadFailure>> {
    segment.retain();
    const slice = new LeasedSlice(segment, extent, this.#isBehind(segment, extent));
    if (options.areAbortedTransactionsWanted !== true) return ok({ slice, abortedTransactions: null });
    return this.#abortedBetween(offset, extent.nextOffset).then(
      (abortedTransactions) => ok({ slice, abortedTransactions }),
      (error: unknown) => {
        slice.release();
        return this.#readFailed(segment, offset, offset, error);
      },
    );
  }

  #isBehind(segment: Segment, { position, sizeBytes }: Extent): boolean {
    const { segments } = this.#writer;
    let restBytes = segment.sizeBytes - position - sizeBytes;
    for (let index = segments.count - 1; restBytes <= BEHIND_BYTES && segments.at(index) !== segment; index--) {
      const later = segments.at(index);
      if (later === undefined) break;
      restBytes += later.sizeBytes;
    }
    return restBytes > BEHIND_BYTES;
  }

  async #abortedBetween(from: Offset, upTo: Offset): Promise<readonly AbortedTransaction[]> {
    const found: AbortedTransaction[] = [];
    const segments = this.#writer.segments.all();
    for (const segment of segments.slice(this.#writer.segments.indexOf(from))) {
      for (const each of await segment.loadAborted(this.#environment.disk)) {
        if (each.lastOffset >= from && each.firstOffset < upTo) found.push(each);
        if (each.lastStableOffset >= upTo) return found;
      }
    }
    return found;
  }

  #readFailed(segment: Segment, offset: Offset, segmentEnd: Offset, error: unknown): Failed<ReadFailure> {
    if (error instanceof BrokenChain) {
      const why = `${segment.path(".log")} position ${error.position}: ${error.message}`;
      const nextOffset = offsetAfterBreak(segment, error.position, segmentEnd);
      this.quarantine({ firstOffset: offset, nextOffset, why });
      return failed("corrupt", why);
    }
    if (!(error instanceof DiskError)) throw error;
    this.#environment.logger.error("a segment could not be read", { path: segment.path(".log"), offset, error });
    return failed("log-failed", error.message);
  }

  /** The range is never served again: not by this log, not to anyone. Only a cut takes it away, with its records. */
  quarantine(range: QuarantinedRange): void {
    if (range.nextOffset <= range.firstOffset || this.#isQuarantined(range)) return;
    this.#environment.logger.error("a range of a log is broken and is not served", { ...range });
    this.#quarantined = [...this.#quarantined, range];
  }

  #isQuarantined({ firstOffset, nextOffset }: QuarantinedRange): boolean {
    return this.#quarantined.some((known) => known.firstOffset <= firstOffset && nextOffset <= known.nextOffset);
  }

  /** What will be written from there on is sound. */
  forgetFrom(endOffset: Offset): void {
    this.#quarantined = this.#quarantined
      .filter(({ firstOffset }) => firstOffset < endOffset)
      .map((range) => ({ ...range, nextOffset: Math.min(range.nextOffset, endOffset) as Offset }));
  }

  // --- Records by time ------------------------------------------------------------------------------------------------

  /** The first record at or after a time; null where there is none below the high watermark. */
  recordAtOrAfter(timestamp: ExactTimestamp): Promise<Result<FoundRecord | null, ReadFailure>> {
    return this.#lookUp(() => findByTime(this.#environment, this.#writer.segments, { timestamp, ...this.#bounds() }));
  }

  /** The first of the records with the largest timestamp. */
  maxTimestampRecord(): Promise<Result<FoundRecord | null, ReadFailure>> {
    return this.#lookUp(() => findMaxTimestamp(this.#environment, this.#writer.segments, this.#bounds()));
  }

  #bounds(): { readonly from: Offset; readonly upTo: Offset } {
    return { from: this.#log.logStartOffset, upTo: this.#log.highWatermark };
  }

  async #lookUp(look: () => Promise<FoundRecord | null>): Promise<Result<FoundRecord | null, ReadFailure>> {
    if (this.#log.failure !== null) return failed("log-failed", this.#log.failure.message);
    const { departures } = this.#writer.segments;
    try {
      return ok(await look());
    } catch (error) {
      // Segments that it was to look into are gone or replaced: there are others.
      if (departures !== this.#writer.segments.departures) return this.#lookUp(look);
      if (error instanceof BrokenChain) return failed("corrupt", error.message);
      if (!(error instanceof DiskError)) throw error;
      return failed("log-failed", error.message);
    }
  }
}

class LeasedSlice implements SegmentSlice {
  readonly file: DiskFile;
  readonly position: FilePosition;
  readonly sizeBytes: number;
  readonly firstOffset: Offset;
  readonly nextOffset: Offset;
  readonly isCatchUp: boolean;
  readonly #segment: Segment;

  constructor(segment: Segment, { position, sizeBytes, firstOffset, nextOffset }: Extent, isCatchUp: boolean) {
    this.isCatchUp = isCatchUp;
    this.#segment = segment;
    this.file = segment.log;
    this.position = position;
    this.sizeBytes = sizeBytes;
    this.firstOffset = firstOffset;
    this.nextOffset = nextOffset;
  }

  release(): void {
    this.#segment.release();
  }
}
