import { assert, must } from "@millrace/base/assert";
import type { Disk, DiskFile } from "@millrace/base/world";
import { segmentFileName } from "./file-names.ts";
import type { SegmentSuffix } from "./file-names.ts";
import type { ReadEnds } from "./read-ends.ts";
import { readAborted } from "./transaction-index.ts";
import { OFFSET_ENTRY_BYTES, OffsetIndex } from "./offset-index.ts";
import { SegmentRoom } from "./segment-room.ts";
import type { RoomLimits } from "./segment-room.ts";
import { TIME_ENTRY_BYTES, TimeIndex } from "./time-index.ts";
import type { AbortedTransaction } from "./transaction-index.ts";
import { NO_TIMESTAMP } from "./types.ts";
import type { ExactTimestamp, Offset } from "./types.ts";

/** The largest timestamp in a segment, and the last offset of the batch that has it. */
export interface MaxTimestamp {
  readonly timestamp: ExactTimestamp;
  readonly offset: Offset;
}

interface SegmentOptions {
  readonly sizeBytes: number;
  readonly isNew: boolean;
  readonly nameSuffix?: string;
}

/** A segment's files while they are open. */
interface OpenFiles {
  readonly log: DiskFile;
  readonly offsets: OffsetIndex;
  readonly times: TimeIndex;
}

/**
 * A run of batches in one `.log` file, with its indexes. All but the last of a log are closed: they never change again, and
 * cost a few words of memory while nobody reads them. Files are open only while someone needs them; who does holds a lease,
 * so that neither retention nor the bound on open files closes them under a reader.
 */
export class Segment {
  readonly directory: string;
  readonly baseOffset: Offset;
  /** Behind its files' names while it does not belong to a log yet. */
  readonly #nameSuffix: string;
  /** What the operating system has of the `.log`: whole batches, readable. */
  sizeBytes: number;
  /** Up to here the disk was told to begin writing. */
  writebackPosition: number;
  /** Null until somebody asked: closed segments are not opened for it at start-up. */
  maxTimestamp: MaxTimestamp | null = null;
  /** Null until somebody asked: the file of a closed segment is then read. */
  aborted: AbortedTransaction[] | null = null;
  /** Its batches were looked at anew, and its file does not say yet what they tell. */
  isAbortedUnsaved = false;
  /** Null until somebody read it beyond the newest batches. */
  readEnds: ReadEnds | null = null;
  /** What is behind its end while it grows: given back when it is closed for appends. Null where nothing is. */
  room: SegmentRoom | null = null;
  /** Its file is not there yet. */
  isNew: boolean;
  #loadingAborted: Promise<readonly AbortedTransaction[]> | null = null;
  #files: OpenFiles | null = null;
  #opening: Promise<void> | null = null;
  #leases = 0;
  #onIdle: (() => void)[] | null = null;

  constructor(directory: string, baseOffset: Offset, options: SegmentOptions) {
    this.directory = directory;
    this.baseOffset = baseOffset;
    this.#nameSuffix = options.nameSuffix ?? "";
    this.sizeBytes = options.sizeBytes;
    this.writebackPosition = options.sizeBytes;
    this.isNew = options.isNew;
  }

  path(suffix: SegmentSuffix): string {
    return `${this.directory}/${segmentFileName(this.baseOffset, suffix)}${this.#nameSuffix}`;
  }

  get isOpen(): boolean {
    return this.#files !== null;
  }
  get log(): DiskFile {
    return must(this.#files, "an open segment").log;
  }
  get offsets(): OffsetIndex {
    return must(this.#files, "an open segment").offsets;
  }
  get times(): TimeIndex {
    return must(this.#files, "an open segment").times;
  }
  get leases(): number {
    return this.#leases;
  }

  retain(): void {
    this.#leases += 1;
  }

  release(): void {
    assert(this.#leases > 0, "a lease is given back once");
    this.#leases -= 1;
    if (this.#leases > 0 || this.#onIdle === null) return;
    const callbacks = this.#onIdle;
    this.#onIdle = null;
    for (const callback of callbacks) callback();
  }

  /** Calls back when nobody holds a lease. */
  whenIdle(callback: () => void): void {
    if (this.#leases === 0) callback();
    else (this.#onIdle ??= []).push(callback);
  }

  /** Read once, whoever asks: another segment's index may soon stand under its name. */
  loadAborted(disk: Disk): Promise<readonly AbortedTransaction[]> {
    if (this.aborted !== null) return Promise.resolve(this.aborted);
    this.#loadingAborted ??= readAborted(disk, this.path(".txnindex"))
      .then((found) => (this.aborted ??= found))
      .finally(() => {
        this.#loadingAborted = null;
      });
    return this.#loadingAborted;
  }

  /** Opens the three files; indexes that are missing are made, and a `.log` only where the segment is new. */
  open(disk: Disk): Promise<void> {
    assert(this.#leases > 0, "who opens a segment holds a lease");
    if (this.#files !== null) return Promise.resolve();
    this.#opening ??= this.#open(disk).finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #open(disk: Disk): Promise<void> {
    const opened = await Promise.allSettled([
      disk.open(this.path(".log"), this.isNew ? "create" : "write"),
      disk.open(this.path(".index"), "create"),
      disk.open(this.path(".timeindex"), "create"),
    ]);
    const files = opened.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const [log, index, timeIndex] = files;
    if (log === undefined || index === undefined || timeIndex === undefined) {
      await Promise.all(files.map((file) => file.close()));
      throw opened.find((each) => each.status === "rejected")?.reason;
    }
    const [indexBytes, timeIndexBytes] = await Promise.all([index.sizeBytes(), timeIndex.sizeBytes()]);
    const offsets = new OffsetIndex(this.baseOffset);
    offsets.entries.attach(index, Math.floor(indexBytes / OFFSET_ENTRY_BYTES));
    const times = new TimeIndex(this.baseOffset);
    times.entries.attach(timeIndex, Math.floor(timeIndexBytes / TIME_ENTRY_BYTES));
    times.resume();
    this.#files = { log, offsets, times };
    this.isNew = false;
  }

  /** Hands index entries that wait in memory to their files. */
  flushIndexes(): void {
    if (this.#files === null) return;
    this.#files.offsets.entries.flush();
    this.#files.times.entries.flush();
  }

  indexFiles(): readonly DiskFile[] {
    const { offsets, times } = must(this.#files, "an open segment");
    return [must(offsets.entries.file, "an open index"), must(times.entries.file, "an open index")];
  }

  /** The last thing that is written to a segment's indexes: its time index always ends with its largest timestamp. */
  sealIndexes(): void {
    const max = this.maxTimestamp;
    if (max !== null && max.timestamp !== NO_TIMESTAMP) this.times.add(max.timestamp, max.offset);
    this.flushIndexes();
  }

  /** Sets aside what the segment may come to hold; ENOSPC where that is not free. */
  async reserve(sizeBytes: number): Promise<void> {
    if (this.room !== null) return;
    const room = new SegmentRoom();
    try {
      await room.reserveWhole(this.log, sizeBytes);
    } catch (error) {
      await this.log.truncate(this.sizeBytes);
      throw error;
    }
    this.room = room;
  }

  /** Batches, on the calling thread. `limits` tell when room is made behind them. */
  writeNow(bytes: Uint8Array, position: number, limits: RoomLimits): void {
    if (this.room === null && bytes.length < limits.fromBytes) return this.log.writeNow(bytes, position);
    this.room ??= new SegmentRoom();
    this.room.write(this.log, bytes, { position, limits });
  }

  /** Whether there was room to give back; it is not synced. Nothing is appended meanwhile. */
  async giveBackRoom(): Promise<boolean> {
    if (this.room === null) return false;
    await this.cutLog(this.sizeBytes);
    return true;
  }

  /** The `.log` ends there, and nothing lies behind it. Nothing is appended meanwhile. */
  async cutLog(position: number): Promise<void> {
    await this.room?.settled();
    await this.log.truncate(position);
    this.room = null;
    this.sizeBytes = position;
    this.writebackPosition = Math.min(this.writebackPosition, position);
  }

  /** Nobody may hold a lease. */
  async close(): Promise<void> {
    assert(this.#leases === 0, "a segment is closed when nobody holds a lease");
    const files = this.#files;
    if (files === null) return;
    this.flushIndexes();
    this.#files = null;
    const indexFiles = [files.offsets.entries.file, files.times.entries.file];
    files.offsets.entries.detach();
    files.times.entries.detach();
    await Promise.all([files.log.close(), ...indexFiles.map((file) => file?.close())]);
  }

  /** Remembers a batch's largest timestamp. */
  observe(timestamp: ExactTimestamp, lastOffset: Offset): void {
    if (this.maxTimestamp === null || timestamp > this.maxTimestamp.timestamp) {
      this.maxTimestamp = { timestamp, offset: lastOffset };
    }
  }
}
