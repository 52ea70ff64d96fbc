import { assert } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { directoryOf, replaceFile } from "@millrace/base/replace-file";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { Disk, DiskFile } from "@millrace/base/world";
import { encodeFrame, frameAt, frameBytes, nextFrame } from "./frames.ts";
import { decodeBatch, encodeBatch, UnknownMetadataRecord } from "./records.ts";
import type { MetadataRecord, RecordBatch } from "./records.ts";

export type OpenFailure = "corrupt" | "unknown-record" | "disk-failed";
/** Nothing was written, and the log goes on; or nothing is known of what was written, and it does not (R16). */
export type AppendFailure = "not-written" | "log-failed";

/** What is kept of everything before the log: the fewest records that make the image, up to and with `offset`. */
export interface Snapshot {
  readonly offset: number;
  readonly records: readonly MetadataRecord[];
}

/** Who takes what was on the disk, in order: at most one snapshot, then batches without a gap. */
export interface Recovery {
  restore(snapshot: Snapshot): void;
  replay(batch: RecordBatch): void;
}

interface FoundLog {
  readonly disk: Disk;
  readonly directory: string;
  readonly logger: Logger;
  /** The last file, to which appends go. */
  readonly file: DiskFile;
  readonly sizeBytes: number;
  readonly bytesSinceSnapshot: number;
  readonly nextOffset: number;
}

const snapshotName = "snapshot";
const logName = /^(\d{20})\.log$/;
/** msgpack's byte for an array of three: what every batch begins with. */
const batchByte = 0x93;

/**
 * The log of a node's own decisions, in `<data>/metadata/`: the truth about topics, settings and ids.
 *
 *     00000000000000000000.log   frames, one a decision; named by the offset of its first record
 *     snapshot                   the same image in fewer records; the log files before it are gone
 *
 * A batch is on the disk before anyone hears of it. One append is under way at a time, so that only the last frame of
 * the last file can be torn: it is cut, as nobody was told of it. Damage before it was told of: it stops the start.
 */
export class MetadataLog {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #logger: Logger;
  #file: DiskFile;
  #sizeBytes: number;
  /** Bytes of batches since the last snapshot, over all files. */
  #bytesSinceSnapshot: number;
  #nextOffset: number;
  #isAppending = false;
  #hasFailed = false;

  /** Of what was found on the disk: by `open`. */
  constructor(options: FoundLog) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#logger = options.logger;
    this.#file = options.file;
    this.#sizeBytes = options.sizeBytes;
    this.#bytesSinceSnapshot = options.bytesSinceSnapshot;
    this.#nextOffset = options.nextOffset;
  }

  /** Reads what is there into `recovery`, cuts a torn tail, and stands ready for the next append. */
  static async open(options: {
    readonly disk: Disk;
    readonly directory: string;
    readonly logger: Logger;
    readonly recovery: Recovery;
  }): Promise<Result<MetadataLog, OpenFailure>> {
    try {
      return ok(await openLog(options));
    } catch (error) {
      if (error instanceof CorruptLog) return failed("corrupt", error.message);
      if (error instanceof UnknownMetadataRecord) return failed("unknown-record", error.message);
      if (error instanceof DiskError) return failed("disk-failed", error.message);
      throw error;
    }
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  get bytesSinceSnapshot(): number {
    return this.#bytesSinceSnapshot;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Durable when it resolves to the batch. The caller waits for one append before it begins the next. */
  async append(records: readonly MetadataRecord[], timeMs: number): Promise<Result<RecordBatch, AppendFailure>> {
    if (this.#hasFailed) return failed("log-failed", "the metadata log has failed before");
    assert(!this.#isAppending, "appends to the metadata log follow one another");
    assert(records.length > 0, "a batch holds records");
    this.#isAppending = true;
    try {
      const batch = { offset: this.#nextOffset, timeMs, records };
      const payload = encodeBatch(batch);
      const written = await this.#write(payload);
      if (!written.ok) return written;
      this.#sizeBytes += frameBytes(payload);
      this.#bytesSinceSnapshot += frameBytes(payload);
      this.#nextOffset += records.length;
      return ok(batch);
    } finally {
      this.#isAppending = false;
    }
  }

  /**
   * Puts a snapshot in the place of everything so far: the next log file first, then the snapshot, then the old files
   * go. After a crash at any point what is there is enough, and what is too much is removed at the next start.
   */
  async replaceBySnapshot(records: readonly MetadataRecord[]): Promise<void> {
    assert(!this.#isAppending, "a snapshot waits for the append before it");
    if (this.#hasFailed || this.#nextOffset === 0) return;
    const path = logPath(this.#directory, this.#nextOffset);
    if (this.#file.path !== path) {
      const file = await this.#disk.open(path, "create");
      await this.#disk.syncDirectory(this.#directory);
      const before = this.#file;
      this.#file = file;
      this.#sizeBytes = 0;
      await before.close();
    }
    await replaceFile(
      this.#disk,
      `${this.#directory}/${snapshotName}`,
      encodeSnapshot({ offset: this.#nextOffset - 1, records }),
    );
    this.#bytesSinceSnapshot = 0;
    await removeLogsBefore(this.#disk, this.#directory, this.#nextOffset);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #write(payload: Buffer): Promise<Result<null, AppendFailure>> {
    try {
      await this.#file.write(encodeFrame(payload), this.#sizeBytes);
    } catch (error) {
      return this.#takeBack(error);
    }
    try {
      await this.#file.sync();
    } catch (error) {
      return this.#fail(error);
    }
    return ok(null);
  }

  /** A write that failed (a full disk) may have left half a frame: it is cut again, and the log goes on. */
  async #takeBack(cause: unknown): Promise<Result<null, AppendFailure>> {
    try {
      await this.#file.truncate(this.#sizeBytes);
      await this.#file.sync();
    } catch (error) {
      return this.#fail(error);
    }
    this.#logger.warn("a metadata change could not be written and was given up", { reason: reasonOf(cause) });
    return failed("not-written", reasonOf(cause));
  }

  /** After a failed sync nobody knows what the disk holds: the log takes nothing more. */
  #fail(cause: unknown): Result<null, AppendFailure> {
    this.#hasFailed = true;
    this.#logger.error("the metadata log has failed", { path: this.#file.path, reason: reasonOf(cause) });
    return failed("log-failed", reasonOf(cause));
  }
}

/** Damage that someone was told of before: the file and the position are in the message. */
class CorruptLog extends Error {
  override readonly name = "CorruptLog";
}

function logPath(directory: string, offset: number): string {
  return `${directory}/${String(offset).padStart(20, "0")}.log`;
}

async function openLog({
  disk,
  directory,
  logger,
  recovery,
}: Parameters<typeof MetadataLog.open>[0]): Promise<MetadataLog> {
  await makeDurably(disk, directory);
  const snapshot = await readSnapshot(disk, directory);
  if (snapshot !== null) recovery.restore(snapshot);
  let expected = snapshot === null ? 0 : snapshot.offset + 1;
  const firstNeeded = expected;
  const bases = await logBases(disk, directory);
  // Files before the snapshot that a crash kept from being removed. The last file is always needed: appends go there.
  const needed = bases.filter((base, index) => (bases[index + 1] ?? Number.POSITIVE_INFINITY) > firstNeeded);
  let bytesSinceSnapshot = 0;
  let sizeBytes = 0;
  for (const [index, base] of needed.entries()) {
    const path = logPath(directory, base);
    if (base > expected) throw new CorruptLog(`${path} begins at record ${base}, but record ${expected} is missing`);
    const bytes = await disk.readFile(path);
    const { batches, endPosition } = readFrames(path, bytes, index === needed.length - 1);
    for (const batch of batches) {
      const next = batch.offset + batch.records.length;
      if (next <= expected) continue;
      if (batch.offset !== expected)
        throw new CorruptLog(`${path} holds record ${batch.offset} where ${expected} belongs`);
      recovery.replay(batch);
      expected = next;
    }
    sizeBytes = endPosition;
    bytesSinceSnapshot += endPosition;
    if (endPosition < bytes.length) await cutTail(disk, path, endPosition, bytes.length, logger);
  }
  const base = needed.at(-1) ?? expected;
  const file = await disk.open(logPath(directory, base), "create");
  await disk.syncDirectory(directory);
  // The first needed, not the last: a crash between the next log file and its snapshot leaves both needed.
  if (snapshot !== null) await removeLogsBefore(disk, directory, needed[0] ?? expected);
  return new MetadataLog({ disk, directory, logger, file, sizeBytes, bytesSinceSnapshot, nextOffset: expected });
}

/** The directory and those of its parents that are missing: each is an entry in the one above, which is synced. */
async function makeDurably(disk: Disk, directory: string): Promise<void> {
  const above = [directoryOf(directory)];
  let parent = directoryOf(directory);
  while (parent !== directoryOf(parent) && (await disk.stat(parent)) === null)
    above.push((parent = directoryOf(parent)));
  await disk.makeDirectory(directory);
  for (const path of above) await disk.syncDirectory(path);
}

function readFrames(
  path: string,
  bytes: Buffer,
  isLast: boolean,
): { readonly batches: readonly RecordBatch[]; readonly endPosition: number } {
  const batches: RecordBatch[] = [];
  let position = 0;
  while (position < bytes.length) {
    const payload = frameAt(bytes, position);
    if (payload === null) {
      const beyond = nextFrame(bytes, position, (firstByte) => firstByte === batchByte);
      if (beyond !== -1 || !isLast) {
        const what = beyond === -1 ? "but is not the last file" : `while a whole record follows at ${beyond}`;
        throw new CorruptLog(`${path} is damaged at position ${position} ${what}; nothing was changed`);
      }
      break;
    }
    batches.push(decodeBatch(payload));
    position += frameBytes(payload);
  }
  return { batches, endPosition: position };
}

async function cutTail(
  disk: Disk,
  path: string,
  endPosition: number,
  sizeBytes: number,
  logger: Logger,
): Promise<void> {
  logger.warn("the metadata log ends in a change that was not completed; it is cut", {
    path,
    position: endPosition,
    bytes: sizeBytes - endPosition,
  });
  const file = await disk.open(path, "write");
  try {
    await file.truncate(endPosition);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function logBases(disk: Disk, directory: string): Promise<number[]> {
  const bases: number[] = [];
  for (const { name } of await disk.list(directory)) {
    const match = logName.exec(name);
    if (match !== null) bases.push(Number(match[1]));
  }
  return bases.sort((a, b) => a - b);
}

async function removeLogsBefore(disk: Disk, directory: string, offset: number): Promise<void> {
  const old = (await logBases(disk, directory)).filter((base) => base < offset);
  for (const base of old) await disk.removeFile(logPath(directory, base));
  if (old.length > 0) await disk.syncDirectory(directory);
}

/** A frame that says up to where and how many, then frames of records: a short file is seen to be short. */
function encodeSnapshot({ offset, records }: Snapshot): Buffer {
  const parts: Buffer[] = [...encodeFrame(encodeBatch({ offset, timeMs: records.length, records: [] }))];
  for (let from = 0; from < records.length; from += snapshotFrameRecords) {
    const some = records.slice(from, from + snapshotFrameRecords);
    parts.push(...encodeFrame(encodeBatch({ offset: from, timeMs: 0, records: some })));
  }
  return Buffer.concat(parts);
}

const snapshotFrameRecords = 1000;

async function readSnapshot(disk: Disk, directory: string): Promise<Snapshot | null> {
  const path = `${directory}/${snapshotName}`;
  if ((await disk.stat(path)) === null) return null;
  const bytes = await disk.readFile(path);
  const head = frameAt(bytes, 0);
  if (head === null) throw new CorruptLog(`${path} is damaged at position 0; nothing was changed`);
  const { offset, timeMs: count } = decodeBatch(head);
  const records: MetadataRecord[] = [];
  let position = frameBytes(head);
  while (records.length < count) {
    const payload = frameAt(bytes, position);
    if (payload === null) throw new CorruptLog(`${path} is damaged at position ${position}; nothing was changed`);
    records.push(...decodeBatch(payload).records);
    position += frameBytes(payload);
  }
  return { offset, records };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
