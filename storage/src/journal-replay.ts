import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { MiB } from "@millrace/base/units";
import type { DirectoryEntry, Disk, DiskFile } from "@millrace/base/world";
import { fileNames, segmentFileName } from "./file-names.ts";
import { findNewerFrame, FRAMES_UNDER_WAY_MAX, readFrames } from "./journal-frame.ts";
import type { FoundFrames, JournalEntry } from "./journal-frame.ts";
import type { Offset, Uuid } from "./types.ts";

/** Bytes that lie in the journal, and where in a segment they belong. */
export interface ReplayEntry extends JournalEntry {
  readonly journalPath: string;
  readonly journalPosition: number;
}

/** A log to which the journal is applied. */
export interface ReplayedLog {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly directory: string;
  readonly names: readonly DirectoryEntry[];
  /** Below it the segments themselves were synced. */
  readonly recoveryPoint: Offset;
}

/** In so large pieces it is read and written. */
const PIECE_BYTES = MiB;

/**
 * What a crash left in the journal: all batches that count and may be missing in their segments. They are written to their
 * places once more, in the order in which they came, before the logs are recovered.
 */
export class JournalReplay {
  readonly #disk: Disk;
  readonly #entries: ReadonlyMap<string, readonly ReplayEntry[]>;

  private constructor(disk: Disk, entries: ReadonlyMap<string, readonly ReplayEntry[]>) {
    this.#disk = disk;
    this.#entries = entries;
  }

  /** Refused where a frame is broken that is not the last one: then batches that were acknowledged may be gone. */
  static async read(disk: Disk, directory: string): Promise<Result<JournalReplay, "corrupt">> {
    const found: (FoundFrames & { readonly path: string })[] = [];
    for (const name of fileNames.journals) {
      const path = `${directory}/${name}`;
      if ((await disk.stat(path)) === null) continue;
      found.push({ path, ...(await using(disk, path, readFrames)) });
    }
    const whole = await checkWhole(disk, found);
    if (!whole.ok) return whole;
    const entries = new Map<string, ReplayEntry[]>();
    const inOrder = found.filter(({ frames }) => frames.length > 0).toSorted((a, b) => firstOf(a) - firstOf(b));
    for (const { path, frames } of inOrder) {
      for (const frame of frames) {
        for (const entry of frame.entries) {
          const ofLog = entries.get(keyOf(entry)) ?? [];
          ofLog.push({ ...entry, journalPath: path });
          entries.set(keyOf(entry), ofLog);
        }
      }
    }
    return ok(new JournalReplay(disk, entries));
  }

  /** Of a log's segment, as `apply` would make it; null where it changes nothing of it. */
  view(file: DiskFile, log: Omit<ReplayedLog, "directory" | "names">, segmentBase: Offset): ReplayedFile | null {
    const entries = this.entriesOf(log.topicId, log.partition).filter(
      (entry) => entry.segmentBase === segmentBase && entry.nextOffset > log.recoveryPoint,
    );
    return entries.length === 0 ? null : new ReplayedFile(this.#disk, file, entries);
  }

  static nothing(disk: Disk): JournalReplay {
    return new JournalReplay(disk, new Map());
  }

  /** What belongs to a log, in the order in which it was written. */
  entriesOf(topicId: Uuid, partition: number): readonly ReplayEntry[] {
    return this.#entries.get(keyOf({ topicId, partition })) ?? [];
  }

  /**
   * Writes what belongs to a log to its segments, durably. A segment that is not there was removed since, or its name was
   * never durable, and then nobody was told of what it held.
   */
  async apply(log: ReplayedLog): Promise<number> {
    const present = new Set(log.names.map(({ name }) => name));
    const isWanted = ({ segmentBase, nextOffset }: ReplayEntry): boolean =>
      nextOffset > log.recoveryPoint && present.has(segmentFileName(segmentBase, ".log"));
    const wanted = this.entriesOf(log.topicId, log.partition).filter(isWanted);
    if (wanted.length === 0) return 0;
    const files = new Map<string, DiskFile>();
    const open = async (path: string, mode: "read" | "write"): Promise<DiskFile> => {
      const file = files.get(path) ?? (await this.#disk.open(path, mode));
      files.set(path, file);
      return file;
    };
    let appliedBytes = 0;
    try {
      const segments = new Set<DiskFile>();
      for (const entry of wanted) {
        const journal = await open(entry.journalPath, "read");
        const segment = await open(`${log.directory}/${segmentFileName(entry.segmentBase, ".log")}`, "write");
        segments.add(segment);
        await copy(journal, segment, entry);
        appliedBytes += entry.sizeBytes;
      }
      await this.#disk.syncFiles([...segments]);
    } finally {
      for (const file of files.values()) await file.close();
    }
    return appliedBytes;
  }
}

/** Reads a segment as it will be once the journal is applied. */
export class ReplayedFile implements Pick<DiskFile, "sizeBytes" | "read" | "close"> {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #entries: readonly ReplayEntry[];

  constructor(disk: Disk, file: DiskFile, entries: readonly ReplayEntry[]) {
    this.#disk = disk;
    this.#file = file;
    this.#entries = entries;
  }

  async sizeBytes(): Promise<number> {
    return Math.max(
      await this.#file.sizeBytes(),
      ...this.#entries.map(({ position, sizeBytes }) => position + sizeBytes),
    );
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let count = await this.#file.read(into, position);
    into.fill(0, count);
    for (const entry of this.#entries) {
      const from = Math.max(entry.position, position);
      const to = Math.min(entry.position + entry.sizeBytes, position + into.length);
      if (from >= to) continue;
      const piece = into.subarray(from - position, to - position);
      const journalPosition = entry.journalPosition + from - entry.position;
      await using(this.#disk, entry.journalPath, (journal) => journal.read(piece, journalPosition));
      count = Math.max(count, to - position);
    }
    return count;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

async function copy(journal: DiskFile, segment: DiskFile, entry: ReplayEntry): Promise<void> {
  for (let done = 0; done < entry.sizeBytes;) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, entry.sizeBytes - done));
    await journal.read(piece, entry.journalPosition + done);
    await segment.write([piece], entry.position + done);
    done += piece.length;
  }
}

/** The newest frames are missing only where a crash can have torn them. */
async function checkWhole(
  disk: Disk,
  found: readonly (FoundFrames & { readonly path: string })[],
): Promise<Result<void, "corrupt">> {
  const newest = found.toSorted((a, b) => firstOf(b) - firstOf(a))[0];
  if (newest === undefined || newest.session === null) return ok(undefined);
  const { session } = newest;
  const sequence = lastOf(newest) + FRAMES_UNDER_WAY_MAX;
  for (const each of found) {
    const isSameSession = each.session === session;
    const isGap = isSameSession && each !== newest && lastOf(each) + 1 !== firstOf(newest);
    const from = isSameSession ? each.endPosition : 0;
    const newer = isGap
      ? each.endPosition
      : await using(disk, each.path, (file) => findNewerFrame(file, { from, session, sequence }));
    if (newer !== null) {
      return failed(
        "corrupt",
        `${each.path} position ${each.endPosition}: a frame of the journal is broken, and newer ones follow: ` +
          "acknowledged records may be missing",
      );
    }
  }
  return ok(undefined);
}

function firstOf({ frames }: FoundFrames): number {
  return frames[0]?.sequence ?? -1;
}

function lastOf({ frames }: FoundFrames): number {
  return frames.at(-1)?.sequence ?? -1;
}

function keyOf({ topicId, partition }: Pick<JournalEntry, "topicId" | "partition">): string {
  return `${topicId}-${partition}`;
}

async function using<T>(disk: Disk, path: string, work: (file: DiskFile) => Promise<T>): Promise<T> {
  const file = await disk.open(path, "read");
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}
