import { assert } from "@millrace/base/assert";
import type { Disk, DiskFile, Random } from "@millrace/base/world";
import { fileNames } from "./file-names.ts";
import {
  firstSequenceIn,
  FRAME_PAGE_BYTES,
  FRAMES_UNDER_WAY_MAX,
  FrameWriter,
  SESSION_BYTES,
} from "./journal-frame.ts";
import type { FrameInput } from "./journal-frame.ts";
import { isOutOfSpace } from "./out-of-space.ts";
import type { Segment } from "./segment.ts";
import type { Writeback } from "./writeback.ts";

export interface JournalOptions {
  readonly disk: Disk;
  readonly random: Random;
  /** The log directory. */
  readonly directory: string;
  /** Of each of the two files; of a small disk they take less. */
  readonly fileBytesMax: number;
  /** Segments that rely on one file: each of them is open meanwhile. */
  readonly segmentsMax: number;
  readonly writeback: Writeback;
  /** A sync failed: nothing is known about the directory any more (R16). */
  onFailed(error: unknown): void;
}

/** A file grows by so much, filled with zeros and synced: a frame then overwrites blocks that the file system knows already. */
const GROWTH_BYTES = 4 * 1024 * 1024;
/** So much is overwritten at a time while a load goes on: 100 MB/s, with the pause between. */
const BUSY_WIPE_BYTES = 1024 * 1024;

/** A file takes no larger share of the disk than one of so many, unless it is small. */
const FILES_IN_DISK = 64;
const SMALL_FILE_BYTES = 64 * 1024 * 1024;
/** Of a file: the rest of it is filled while the segments of the other file are synced. */
const WRITEBACK_LAG = 0.75;

interface JournalFile {
  readonly file: DiskFile;
  /** Frames may be written up to here without making the file longer. */
  sizeBytes: number;
  /** Up to here frames may stand, also those that count no more. */
  usedBytes: number;
  growing: Promise<void> | null;
  /** The frames that were written to it since it was taken last; and the time before. */
  pass: Pass;
  passBefore: Pass;
}

interface Pass {
  /** No frame of it is older. */
  readonly firstSequence: number;
  sizeBytes: number;
}

/**
 * Makes commit groups durable with one write to one file, however many logs they touch.
 *
 *     file 0   frame 41 │ frame 42 │ frame 43 │ …            frames are written here, one after the other
 *     file 1   (drained)                                     free: what its frames hold was synced in the segments
 *
 * The segments have the same bytes, written and not yet synced. When a file is full the other one is taken, and the segments
 * that rely on the full one are synced behind the back of producers; then its frames are of no use any more, and its first page
 * is cleared. After a crash the frames of both files are written to the segments once more (journal-replay.ts).
 *
 * Why: appending to N files and syncing them costs N journal commits of the file system, overwriting part of one file that is
 * there costs none.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #frames: FrameWriter;
  readonly #files: readonly [JournalFile, JournalFile];
  #active: 0 | 1 = 0;
  #position = 0;
  #sequence = 0;
  /** See `wipeSoon`. Of what earlier sessions left nobody knows whether it was given up. */
  #wipedBelow = 0;
  /** Each with a lease: what was written to them is durable in the active file only. */
  #relying = new Set<Segment>();
  #rotating: Promise<void> | null = null;
  #draining: Promise<void> | null = null;
  /** A file was full since the last `tidy`. */
  #hasFilled = false;
  /** Somebody waits for the drain. */
  #isHurried = false;
  /** Frames that are being written, or whose group is not settled: meanwhile the files do not change places. */
  #unsettled = 0;
  #onSettled: (() => void) | null = null;
  /** Whether the frame before was written. What comes behind a gap would not be found after a crash. */
  #last: Promise<boolean> = Promise.resolve(true);
  #hasGap = false;
  /** Of the first frame that is missing. */
  #gapSequence = 0;
  #isFailed = false;

  /** Begins a session: what the files held before is of no use any more. */
  static async open(options: JournalOptions): Promise<Journal> {
    const { disk, directory } = options;
    const { totalBytes } = await disk.space(directory);
    const share = Math.max(SMALL_FILE_BYTES, Math.floor(totalBytes / FILES_IN_DISK));
    const fileBytesMax = Math.min(options.fileBytesMax, share);
    options.writeback.lagBytes = WRITEBACK_LAG * Math.min(fileBytesMax, disk.dirtyBytesMax ?? Infinity);
    const files: JournalFile[] = [];
    for (const name of fileNames.journals) {
      const file = await disk.open(`${directory}/${name}`, "durable");
      const sizeBytes = await file.sizeBytes();
      const journal: JournalFile = {
        file,
        sizeBytes: wholePages(sizeBytes),
        usedBytes: wholePages(sizeBytes),
        growing: null,
        pass: { firstSequence: 0, sizeBytes: 0 },
        passBefore: { firstSequence: -1, sizeBytes: 0 },
      };
      files.push(journal);
    }
    await clearAll(files);
    await disk.syncDirectory(directory);
    const [first, second] = files;
    assert(first !== undefined && second !== undefined, "a journal has two files");
    return new Journal({ ...options, fileBytesMax }, [first, second]);
  }

  private constructor(options: JournalOptions, files: readonly [JournalFile, JournalFile]) {
    this.#options = options;
    this.#files = files;
    this.#frames = new FrameWriter(options.random.bytes(SESSION_BYTES));
  }

  /**
   * Durable when it resolves to true, and all frames before it are; `settle` must follow when the bytes stand in the segments
   * too. False where the journal cannot take it, since it is too large for a file or the disk is full: then the segments
   * themselves are to be synced. At most FRAMES_UNDER_WAY_MAX at a time.
   */
  async append(inputs: readonly FrameInput[]): Promise<boolean> {
    const frameBytes = this.#frames.sizeOf(inputs);
    if (frameBytes > this.#options.fileBytesMax) return false;
    while (this.#rotating !== null || this.#mustRotate(frameBytes)) await this.#rotateFull();
    if (this.#isFailed) return false;
    assert(this.#unsettled < FRAMES_UNDER_WAY_MAX, "so many frames are under way at most");
    this.#unsettled += 1;
    const active = this.#files[this.#active];
    const position = this.#position;
    this.#position += frameBytes;
    const sequence = this.#sequence++;
    const buffers = this.#frames.frame(inputs, sequence);
    this.#last = Promise.all([this.#last, this.#write(active, { buffers, position, sequence })]).then(
      ([isWhole, isWritten]) => isWhole && isWritten,
    );
    const isDurable = await this.#last;
    if (!isDurable) this.#settled();
    return isDurable;
  }

  async #write(
    active: JournalFile,
    { buffers, position, sequence }: { readonly buffers: readonly Buffer[]; position: number; sequence: number },
  ): Promise<boolean> {
    const end = this.#position;
    try {
      if (active.growing !== null && end > active.sizeBytes) await active.growing;
      // The file grows behind what is on its way, never over it.
      active.sizeBytes = Math.max(active.sizeBytes, end);
      active.usedBytes = Math.max(active.usedBytes, end);
      active.pass.sizeBytes = Math.max(active.pass.sizeBytes, end);
      await active.file.write(buffers, position);
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      this.#gapSequence = this.#hasGap ? Math.min(this.#gapSequence, sequence) : sequence;
      this.#hasGap = true;
      return false;
    } finally {
      this.#frames.giveBack(buffers);
    }
    this.#growAhead(active);
    return true;
  }

  /** The group of a frame is written to its segments. Takes over a lease on each. */
  settle(segments: Iterable<Segment>): void {
    for (const segment of segments) {
      if (this.#isFailed || this.#relying.has(segment)) segment.release();
      else this.#relying.add(segment);
    }
    this.#settled();
  }

  /** It is gone for good, durably: nothing of it needs to be synced, and its file is closed as soon as nobody else holds it. */
  giveUp(segment: Segment): void {
    if (this.#relying.delete(segment)) segment.release();
  }

  #settled(): void {
    this.#unsettled -= 1;
    if (this.#unsettled === 0) this.#onSettled?.();
  }

  /** When it resolves, the segments are synced up to what was settled at the call, and no frame of it is left. */
  async flush(): Promise<void> {
    if (this.#position > 0 || this.#rotating !== null) await this.#rotate();
    await this.#drained();
  }

  /** As `flush`, unless the journal is busy and fills its files anyway. So a quiet one uses the same pages again and again. */
  async tidy(): Promise<void> {
    const isBusy = this.#hasFilled;
    this.#hasFilled = false;
    if (!isBusy) await this.flush();
  }

  /** A burst is over: the next one finds a file that has room for it. */
  async rest(): Promise<void> {
    if (this.#position > this.#options.fileBytesMax / 8) await this.flush();
  }

  /** What is in the journal now is not to be found in it any more after the next `wipe`: a log has given it up for good. */
  wipeSoon(): void {
    this.#wipedBelow = this.#sequence;
  }

  /**
   * Overwrites what `wipeSoon` spoke of. What could not be overwritten, since the file was needed, waits for the next call: a load
   * that needs it has overwritten a part itself by then.
   */
  async wipe(): Promise<void> {
    const sequence = this.#wipedBelow;
    const isOld = (file: JournalFile): boolean => !this.#isFailed && oldFrom(file, sequence) < file.usedBytes;
    for (let count = 0; count < this.#files.length && !this.#options.writeback.isStopped; count++) {
      if (!isOld(this.#resting) && !isOld(this.#files[this.#active])) return;
      if (!isOld(this.#resting)) await this.#rotate();
      await this.#drained();
      const wiped = this.#resting;
      if (!isOld(wiped)) continue;
      this.#isHurried = false;
      const wiping = this.#overwrite(wiped, oldFrom(wiped, sequence)).catch((error: unknown) => {
        if (!isOutOfSpace(error)) this.#options.onFailed(error);
      });
      // Meanwhile it is not taken.
      const draining = wiping.then(() => {
        if (this.#draining === draining) this.#draining = null;
      });
      this.#draining = draining;
      await draining;
    }
  }

  /** Ends early where the file is needed, or the directory is closed. */
  async #overwrite(file: JournalFile, from: number): Promise<void> {
    await file.growing;
    const { writeback } = this.#options;
    for (let end = file.usedBytes; end > from && !this.#isHurried && !writeback.isStopped; end = file.usedBytes) {
      const position = Math.max(from, end - (writeback.isBusy ? BUSY_WIPE_BYTES : GROWTH_BYTES));
      await file.file.write([zerosOf(end - position)], position);
      file.usedBytes = position;
      await writeback.giveWay();
    }
  }

  get #resting(): JournalFile {
    return this.#files[this.#active === 0 ? 1 : 0];
  }

  /** Nothing is written any more; leases are given back. */
  fail(): void {
    this.#isFailed = true;
    for (const segment of this.#relying) segment.release();
    this.#relying = new Set();
    this.#onSettled?.();
  }

  /** Everything that relies on the journal is synced. */
  async close(): Promise<void> {
    if (!this.#isFailed) await this.flush();
    for (const { file, growing } of this.#files) {
      await growing;
      await file.close();
    }
  }

  #mustRotate(frameBytes: number): boolean {
    if (this.#isFailed) return false;
    const { fileBytesMax, segmentsMax } = this.#options;
    const isFull = this.#position + frameBytes > fileBytesMax || this.#relying.size >= segmentsMax;
    return isFull || this.#hasGap;
  }

  #rotateFull(): Promise<void> {
    this.#hasFilled = true;
    return this.#rotate();
  }

  #rotate(): Promise<void> {
    this.#rotating ??= this.#changePlaces().finally(() => {
      this.#rotating = null;
    });
    return this.#rotating;
  }

  /** The other file is taken; it is free when what relied on it is synced. */
  async #changePlaces(): Promise<void> {
    while (this.#unsettled > 0 && !this.#isFailed) await new Promise<void>((resolve) => (this.#onSettled = resolve));
    await this.#drained();
    this.#isHurried = false;
    if (this.#isFailed) return;
    const drained = this.#files[this.#active];
    const segments = this.#relying;
    this.#relying = new Set();
    this.#active = this.#active === 0 ? 1 : 0;
    this.#position = 0;
    // What came behind a gap counts in no file: a recovery that finds a number missing would take it for damage.
    if (this.#hasGap) this.#sequence = this.#gapSequence;
    const taken = this.#files[this.#active];
    taken.passBefore = taken.pass;
    taken.pass = { firstSequence: this.#sequence, sizeBytes: 0 };
    this.#hasGap = false;
    const draining = this.#drain(drained, segments).catch((error: unknown) => this.#options.onFailed(error));
    this.#draining = draining.then(() => {
      this.#draining = null;
    });
  }

  /** The file that is not written to is wanted now. */
  #drained(): Promise<void> | null {
    if (this.#draining !== null) {
      this.#isHurried = true;
      this.#options.writeback.hurry();
    }
    return this.#draining;
  }

  /** In its own time, while the other file fills, unless somebody waits for it. */
  async #drain(drained: JournalFile, segments: ReadonlySet<Segment>): Promise<void> {
    if (!this.#isHurried) await this.#options.writeback.caughtUp();
    if (this.#isFailed) return;
    const files: DiskFile[] = [];
    for (const segment of segments) if (segment.isOpen) files.push(segment.log);
    try {
      await this.#options.disk.syncFiles(files);
    } finally {
      for (const segment of segments) segment.release();
    }
    // A log that is cut must not get back what it had here.
    await clear(drained);
  }

  #growAhead(grown: JournalFile): void {
    const { sizeBytes } = grown;
    const isFarEnough = this.#position + GROWTH_BYTES / 2 <= sizeBytes || sizeBytes >= this.#options.fileBytesMax;
    if (isFarEnough || grown.growing !== null) return;
    const growthBytes = Math.min(GROWTH_BYTES, wholePages(this.#options.fileBytesMax) - sizeBytes);
    if (growthBytes <= 0) return;
    grown.growing = grown.file.write([zerosOf(growthBytes)], sizeBytes).then(
      () => {
        grown.sizeBytes = sizeBytes + growthBytes;
        grown.growing = null;
      },
      (error: unknown) => {
        grown.growing = null;
        if (!isOutOfSpace(error)) this.#options.onFailed(error);
      },
    );
  }
}

/** Takes away what earlier sessions left, where no journal is wanted. */
export async function removeJournal(disk: Disk, directory: string): Promise<void> {
  for (const name of fileNames.journals) await disk.removeFile(`${directory}/${name}`);
  await disk.syncDirectory(directory);
}

/**
 * The older file first: were the newer one cleared alone, and then the power lost, what is left of it would look like frames that are
 * missing behind the older ones.
 */
async function clearAll(files: readonly JournalFile[]): Promise<void> {
  const used = files.filter(({ usedBytes }) => usedBytes > 0);
  const begun = await Promise.all(used.map(async (each) => ({ each, first: await firstSequenceIn(each.file) })));
  for (const { each } of begun.toSorted((a, b) => a.first - b.first)) await clear(each);
}

/** Its frames are found no more. On a full disk the file system may refuse to overwrite, but not to cut. */
async function clear(journal: JournalFile): Promise<void> {
  try {
    await journal.file.write([clearedPage], 0);
  } catch (error) {
    if (!isOutOfSpace(error)) throw error;
    await journal.growing;
    await journal.file.truncate(0);
    await journal.file.sync();
    journal.sizeBytes = 0;
  }
}

/** From where on frames may stand that are older than `sequence`. */
function oldFrom({ pass, passBefore, usedBytes }: JournalFile, sequence: number): number {
  if (pass.firstSequence < sequence) return 0;
  const isAllNew = passBefore.firstSequence >= sequence && passBefore.sizeBytes >= usedBytes;
  return isAllNew ? usedBytes : pass.sizeBytes;
}

const clearedPage: Buffer = Buffer.alloc(FRAME_PAGE_BYTES);
let zeros: Buffer = Buffer.alloc(0);

function zerosOf(sizeBytes: number): Buffer {
  if (zeros.length < sizeBytes) zeros = Buffer.alloc(GROWTH_BYTES);
  return zeros.subarray(0, sizeBytes);
}

function wholePages(sizeBytes: number): number {
  return Math.floor(sizeBytes / FRAME_PAGE_BYTES) * FRAME_PAGE_BYTES;
}
