import { DiskError } from "@millrace/base/world";
import type { Disk } from "@millrace/base/world";
import { scanBatches } from "./batch-scan.ts";
import { decodeOffsets } from "./checkpoints.ts";
import type { OffsetsByPartition } from "./checkpoints.ts";
import {
  fileNames,
  parsePartitionDirectoryName,
  parseSegmentFileName,
  segmentFileName,
  SWAP_SUFFIX,
} from "./file-names.ts";
import type { SegmentSuffix } from "./file-names.ts";
import { decodeFormat, FORMAT_VERSION } from "./format-version.ts";
import { decodeEpochs, LeaderEpochs } from "./leader-epochs.ts";
import { decodeMetaProperties } from "./meta-properties.ts";
import { JournalReplay } from "./journal-replay.ts";
import { OFFSET_ENTRY_BYTES } from "./offset-index.ts";
import { decodePartitionMetadata } from "./partition-metadata.ts";
import { decodeSnapshot } from "./producer-snapshot.ts";
import { markerOf, ProducerStates } from "./producer-state.ts";
import { isRoom } from "./segment-room.ts";
import { TIME_ENTRY_BYTES } from "./time-index.ts";
import { decodeAborted, TRANSACTION_ENTRY_BYTES } from "./transaction-index.ts";
import type { AbortedTransaction } from "./transaction-index.ts";
import type { ExactTimestamp, FilePosition, Offset, Uuid } from "./types.ts";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { readInt64Exact } from "kafka-protocol-ts/records/int64";

/** What is wrong in a file, and where. */
export interface Problem {
  readonly path: string;
  /** Null where it is the file as a whole. */
  readonly position: number | null;
  readonly offset: number | null;
  readonly message: string;
  /** tail: what a crash leaves and the next start cuts; corrupt: what it refuses; repairable: what it makes anew. */
  readonly kind: "tail" | "corrupt" | "repairable";
}

export interface VerifiedLog {
  readonly topic: string;
  readonly partition: number;
  readonly directory: string;
  readonly segments: number;
  readonly batches: number;
  readonly bytes: number;
  readonly firstOffset: number;
  readonly endOffset: number;
}

export interface Verification {
  readonly logs: readonly VerifiedLog[];
  readonly problems: readonly Problem[];
  /** Names that are nobody's. */
  readonly unknown: readonly string[];
}

/**
 * Reads a whole log directory that no broker has open: every batch's checksum, every index entry against its batch, and
 * every other file. Changes nothing, takes no lock.
 */
export async function verifyDirectory(
  disk: Disk,
  path: string,
  onLog?: (log: VerifiedLog) => void,
): Promise<Verification> {
  return new Verifier(disk, path, onLog ?? (() => {})).run();
}

/** An index that is read beside its segment: every entry is judged when its batch comes by. */
interface IndexReading {
  readonly path: string;
  readonly bytes: Buffer;
  readonly entryBytes: number;
  at: number;
  isDone: boolean;
}

/** What the batches of a log up to here have shown. */
interface Seen {
  /** The first batch that was found of each transaction under way, by producer. */
  readonly transactions: Map<number, number>;
  /** From the log's very beginning, without a gap: then compaction and retention have taken nothing of it. */
  isWhole: boolean;
  nextOffset: number;
}

/**
 * Why the index of aborted transactions would mislead a reader of committed records; null where it does not. After a
 * compaction a transaction may begin later in the log than the index says, and a marker may be all that is left of it.
 */
function judgeTransaction(
  { transactions: under, isWhole }: Seen,
  batch: RecordBatchView,
  entry: AbortedTransaction | null,
): string | null {
  if (!batch.isTransactional) return null;
  const { producerId } = batch;
  const firstOffset = under.get(producerId);
  if (!batch.isControl) {
    if (firstOffset === undefined) under.set(producerId, batch.baseOffset);
    return null;
  }
  const marker = batch.recordsCount === 0 ? null : markerOf(batch);
  if (marker === null) return null;
  under.delete(producerId);
  if (marker.isCommit)
    return entry === null ? null : `names the transaction of producer ${producerId}, which was committed`;
  if (firstOffset === undefined) return null;
  if (entry === null) return `lacks the transaction of producer ${producerId}, which was aborted`;
  const isCovered = entry.producerId === producerId && entry.firstOffset <= firstOffset;
  if (!isCovered)
    return `does not cover the aborted transaction of producer ${producerId} from offset ${firstOffset} on`;
  if (!isWhole) return null;
  if (entry.firstOffset < firstOffset)
    return `lets the aborted transaction of producer ${producerId} begin at offset ${entry.firstOffset}, not ${firstOffset}`;
  const lastStableOffset = Math.min(batch.lastOffset + 1, ...under.values());
  return entry.lastStableOffset === lastStableOffset
    ? null
    : `has a last stable offset of ${entry.lastStableOffset}, not ${lastStableOffset}`;
}

class Verifier {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #onLog: (log: VerifiedLog) => void;
  readonly #problems: Problem[] = [];
  readonly #unknown: string[] = [];
  /** After an unclean stop the journal belongs to the segments: what it holds is not missing in them. */
  #replay: JournalReplay;
  #batches = 0;
  #bytes = 0;

  constructor(disk: Disk, path: string, onLog: (log: VerifiedLog) => void) {
    this.#disk = disk;
    this.#path = path;
    this.#replay = JournalReplay.nothing(disk);
    this.#onLog = onLog;
  }

  async run(): Promise<Verification> {
    await this.#verifyRoot();
    await this.#verifyJournal();
    const recoveryPoints = await this.#offsets(fileNames.recoveryPoints);
    const logStarts = await this.#offsets(fileNames.logStartOffsets);
    const highWatermarks = await this.#offsets(fileNames.highWatermarks);
    // Apache Kafka's speak of records that its disk need not have.
    const isOurs = (await this.#text(fileNames.format)) !== null;
    const logs: VerifiedLog[] = [];
    const known = new Set<string>(Object.values(fileNames).flat());
    for (const { name, kind } of await this.#disk.list(this.#path)) {
      const parsed = kind === "directory" ? parsePartitionDirectoryName(name) : null;
      if (parsed?.state === "delete" || known.has(name)) continue;
      const directory = `${this.#path}/${name}`;
      const isPartition =
        parsed?.state === "live" && (await this.#disk.stat(`${directory}/${fileNames.partitionMetadata}`)) !== null;
      if (parsed === null || !isPartition) {
        this.#unknown.push(name);
        continue;
      }
      const log = await this.#verifyLog(parsed.topic, parsed.partition, directory, {
        recoveryPoint: recoveryPoints?.get(name)?.offset ?? (0 as Offset),
        highWatermark: (isOurs ? highWatermarks?.get(name)?.offset : undefined) ?? (0 as Offset),
        logStartOffset: logStarts?.get(name)?.offset ?? null,
      });
      logs.push(log);
      this.#onLog(log);
    }
    return { logs, problems: this.#problems, unknown: this.#unknown };
  }

  // --- The directory --------------------------------------------------------------------------------------------------

  async #verifyRoot(): Promise<void> {
    const format = await this.#text(fileNames.format);
    if (format !== null) {
      const decoded = decodeFormat(format);
      if (!decoded.ok) this.#corrupt(fileNames.format, decoded.message ?? decoded.failure);
      else if (decoded.value.version > FORMAT_VERSION) {
        this.#corrupt(fileNames.format, `format version ${decoded.value.version} is newer than ${FORMAT_VERSION}`);
      }
    }
    const meta = await this.#text(fileNames.metaProperties);
    if (meta === null) return this.#corrupt(fileNames.metaProperties, "is missing: this is no log directory");
    const decoded = decodeMetaProperties(meta);
    if (!decoded.ok) this.#corrupt(fileNames.metaProperties, decoded.message ?? decoded.failure);
  }

  async #verifyJournal(): Promise<void> {
    if ((await this.#disk.stat(`${this.#path}/${fileNames.cleanShutdown}`)) !== null) return;
    const read = await this.#readable(this.#path, () => JournalReplay.read(this.#disk, this.#path));
    if (read?.ok === true) this.#replay = read.value;
    else if (read !== null) this.#note({ path: this.#path, message: read.message ?? read.failure, kind: "corrupt" });
  }

  async #offsets(name: string): Promise<OffsetsByPartition | null> {
    const text = await this.#text(name);
    if (text === null) return null;
    const decoded = decodeOffsets(text);
    if (decoded.ok) return decoded.value;
    this.#note({ path: `${this.#path}/${name}`, message: decoded.message ?? decoded.failure, kind: "repairable" });
    return null;
  }

  async #text(name: string): Promise<string | null> {
    const path = name.startsWith("/") ? name : `${this.#path}/${name}`;
    return (await this.#disk.stat(path)) === null ? null : (await this.#disk.readFile(path)).toString();
  }

  // --- A log ----------------------------------------------------------------------------------------------------------

  async #verifyLog(
    topic: string,
    partition: number,
    directory: string,
    {
      recoveryPoint,
      highWatermark,
      logStartOffset,
    }: { readonly recoveryPoint: Offset; readonly highWatermark: Offset; readonly logStartOffset: Offset | null },
  ): Promise<VerifiedLog> {
    // As recovery has it.
    const durableOffset = Math.max(recoveryPoint, highWatermark > (logStartOffset ?? 0) ? highWatermark : 0) as Offset;
    const bases: Offset[] = [];
    let isSwapping = false;
    for (const { name } of await this.#disk.list(directory)) {
      if (name.endsWith(SWAP_SUFFIX)) isSwapping = true;
      const parsed = parseSegmentFileName(name);
      if (parsed?.suffix === ".log") bases.push(parsed.baseOffset);
      else if (parsed?.suffix === ".snapshot") await this.#verifySnapshot(`${directory}/${name}`);
    }
    bases.sort((a, b) => a - b);
    const { topicId, epochs } = await this.#verifySmallFiles(directory);
    const [batchesBefore, bytesBefore] = [this.#batches, this.#bytes];
    const firstOffset = bases[0] ?? (0 as Offset);
    if (logStartOffset !== null && firstOffset > logStartOffset) {
      const message = `the log starts at offset ${logStartOffset}, but its first segment at ${firstOffset}`;
      this.#note({ path: directory, offset: logStartOffset, message, kind: "corrupt" });
    }
    let endOffset = firstOffset;
    // A start ends the swap first: the files of the segments that it replaces go one by one.
    const seen: Seen | null = isSwapping
      ? null
      : { transactions: new Map(), isWhole: firstOffset === 0, nextOffset: firstOffset };
    for (const [index, baseOffset] of bases.entries()) {
      const path = `${directory}/${segmentFileName(baseOffset, ".log")}`;
      // Compaction leaves gaps inside segments, and so between their ends and the next ones; never an overlap.
      if (baseOffset < endOffset)
        this.#note({ path, offset: baseOffset, message: `overlaps with what ends at ${endOffset}`, kind: "corrupt" });
      const isLast = index === bases.length - 1;
      const ended = await this.#readable(path, () =>
        this.#verifySegment(directory, baseOffset, {
          topicId,
          partition,
          recoveryPoint,
          durableOffset,
          endOffsetMax: isSwapping ? Infinity : (bases[index + 1] ?? Infinity),
          isLast,
          seen,
          epochs: epochs === null ? null : { epochs, logStartOffset: logStartOffset ?? firstOffset },
        }),
      );
      endOffset = Math.max(endOffset, ended ?? baseOffset) as Offset;
    }
    if (endOffset < durableOffset) {
      const message = `the log ends at offset ${endOffset}, but it was durable up to ${durableOffset}`;
      this.#note({ path: directory, offset: endOffset, message, kind: "corrupt" });
    }
    return {
      topic,
      partition,
      directory,
      segments: bases.length,
      batches: this.#batches - batchesBefore,
      bytes: this.#bytes - bytesBefore,
      firstOffset,
      endOffset,
    };
  }

  /** The topic's id is empty, and the epochs are null, where they cannot be read. */
  async #verifySmallFiles(
    directory: string,
  ): Promise<{ readonly topicId: Uuid; readonly epochs: LeaderEpochs | null }> {
    const metadata = decodePartitionMetadata((await this.#text(`${directory}/${fileNames.partitionMetadata}`)) ?? "");
    if (!metadata.ok)
      this.#corrupt(`${directory}/${fileNames.partitionMetadata}`, metadata.message ?? metadata.failure);
    const epochs = await this.#text(`${directory}/${fileNames.leaderEpochs}`);
    const decoded = epochs === null ? null : decodeEpochs(epochs);
    if (decoded !== null && !decoded.ok) {
      const message = decoded.message ?? decoded.failure;
      this.#note({ path: `${directory}/${fileNames.leaderEpochs}`, message, kind: "repairable" });
    }
    const found = decoded?.ok === true ? new LeaderEpochs() : null;
    if (decoded?.ok === true) found?.restore(decoded.value);
    return { topicId: metadata.ok ? metadata.value : "", epochs: found };
  }

  async #verifySnapshot(path: string): Promise<void> {
    await this.#readable(path, async () => {
      const decoded = decodeSnapshot(await this.#disk.readFile(path), new ProducerStates());
      if (!decoded.ok) this.#note({ path, message: decoded.message ?? decoded.failure, kind: "repairable" });
    });
  }

  /** Gives where the segment ends. */
  async #verifySegment(
    directory: string,
    baseOffset: Offset,
    {
      endOffsetMax,
      isLast,
      seen,
      epochs,
      ...log
    }: {
      readonly endOffsetMax: number;
      readonly topicId: Uuid;
      readonly partition: number;
      readonly recoveryPoint: Offset;
      /** Below it nothing can be a torn tail. */
      readonly durableOffset: Offset;
      readonly isLast: boolean;
      readonly seen: Seen | null;
      readonly epochs: { readonly epochs: LeaderEpochs; readonly logStartOffset: Offset } | null;
    },
  ): Promise<Offset> {
    const pathOf = (suffix: SegmentSuffix): string => `${directory}/${segmentFileName(baseOffset, suffix)}`;
    const path = pathOf(".log");
    // An empty segment has no indexes yet.
    const isIndexed = ((await this.#disk.stat(path))?.sizeBytes ?? 0) > 0;
    const offsets = await this.#openIndex(pathOf(".index"), OFFSET_ENTRY_BYTES, isIndexed);
    const times = await this.#openIndex(pathOf(".timeindex"), TIME_ENTRY_BYTES, isIndexed);
    const aborted = await this.#readAborted(pathOf(".txnindex"));
    const markers = new Map<number, AbortedTransaction>(aborted.map((each) => [each.lastOffset, each]));
    const onDisk = await this.#disk.open(path, "read");
    const file = this.#replay.view(onDisk, log, baseOffset) ?? onDisk;
    let isEpochWrong = false;
    try {
      const sizeBytes = await file.sizeBytes();
      const end = await scanBatches(file, {
        from: 0,
        to: sizeBytes,
        nextOffset: baseOffset,
        endOffsetMax,
        isCrcChecked: true,
        visit: (batch, position) => {
          this.#batches += 1;
          this.#judgeOffset(offsets, baseOffset, batch.lastOffset, position);
          this.#judgeTime(times, baseOffset, batch.lastOffset, batch.maxTimestampExact);
          const entry = markers.get(batch.lastOffset) ?? null;
          const wrong = seen === null ? null : judgeTransaction(seen, batch, entry);
          if (seen !== null) {
            seen.isWhole &&= batch.baseOffset === seen.nextOffset;
            seen.nextOffset = batch.lastOffset + 1;
          }
          // What is not durable yet is in the index with the next checkpoint.
          if (wrong !== null && batch.lastOffset < log.recoveryPoint)
            this.#note({ path: pathOf(".txnindex"), offset: batch.lastOffset, message: wrong, kind: "corrupt" });
          markers.delete(batch.lastOffset);
          if (epochs !== null && !isEpochWrong) {
            isEpochWrong = this.#judgeEpoch(directory, batch, { ...epochs, recoveryPoint: log.recoveryPoint });
          }
        },
      });
      this.#bytes += end.position;
      if (end.fault === null) {
        for (const index of [offsets, times]) this.#judgeRest(index);
        for (const marker of markers.keys()) {
          this.#note({
            path: pathOf(".txnindex"),
            offset: marker,
            message: "names a marker that is not there",
            kind: "repairable",
          });
        }
        return end.nextOffset;
      }
      const isTail = end.nextOffset >= log.durableOffset && (isLast || (await isRoom(file, end.position, sizeBytes)));
      const message = isTail ? `${end.fault}: the last stop was not clean` : end.fault;
      this.#note({ path, position: end.position, offset: end.nextOffset, message, kind: isTail ? "tail" : "corrupt" });
      return end.nextOffset;
    } finally {
      await file.close();
    }
  }

  /** A batch's leader epoch and the checkpoint say the same; neither has a checksum. Tells whether they do not. */
  #judgeEpoch(
    directory: string,
    { baseOffset, partitionLeaderEpoch }: RecordBatchView,
    known: { readonly epochs: LeaderEpochs; readonly logStartOffset: Offset; readonly recoveryPoint: Offset },
  ): boolean {
    // What is not durable yet is in the checkpoint with the next one.
    if (partitionLeaderEpoch < 0 || baseOffset < known.logStartOffset || baseOffset >= known.recoveryPoint)
      return false;
    const epoch = known.epochs.epochAt(baseOffset as Offset);
    if (epoch === partitionLeaderEpoch) return false;
    const message = `says leader epoch ${epoch} for offset ${baseOffset}, whose batch says ${partitionLeaderEpoch}`;
    this.#note({ path: `${directory}/${fileNames.leaderEpochs}`, offset: baseOffset, message, kind: "repairable" });
    return true;
  }

  // --- Indexes --------------------------------------------------------------------------------------------------------

  async #openIndex(path: string, entryBytes: number, isIndexed: boolean): Promise<IndexReading> {
    if ((await this.#disk.stat(path)) === null) {
      if (isIndexed) this.#note({ path, message: "is missing", kind: "repairable" });
      return { path, bytes: Buffer.alloc(0), entryBytes, at: 0, isDone: true };
    }
    const bytes = await this.#disk.readFile(path);
    return { path, bytes, entryBytes, at: 0, isDone: bytes.length < entryBytes };
  }

  #judgeOffset(index: IndexReading, baseOffset: Offset, lastOffset: number, position: FilePosition): void {
    if (index.isDone) return;
    const entryOffset = baseOffset + index.bytes.readInt32BE(index.at);
    if (entryOffset > lastOffset) return;
    const entryPosition = index.bytes.readInt32BE(index.at + 4);
    if (entryOffset === lastOffset && entryPosition === position) return this.#nextEntry(index);
    this.#judgeWrong(index, `says that a batch ending with ${entryOffset} starts at ${entryPosition}`);
  }

  #judgeTime(index: IndexReading, baseOffset: Offset, lastOffset: number, timestamp: ExactTimestamp): void {
    if (index.isDone) return;
    const entryOffset = baseOffset + index.bytes.readInt32BE(index.at + 8);
    if (entryOffset > lastOffset) return;
    const entryTimestamp = readInt64Exact(index.bytes, index.at);
    if (entryOffset === lastOffset && entryTimestamp === timestamp) return this.#nextEntry(index);
    this.#judgeWrong(index, `says that the batch ending with ${entryOffset} has the time ${entryTimestamp}`);
  }

  #nextEntry(index: IndexReading): void {
    index.at += index.entryBytes;
    index.isDone = index.at + index.entryBytes > index.bytes.length;
  }

  /** The active index that Apache Kafka leaves behind is filled up with zeros. */
  #judgeWrong(index: IndexReading, message: string): void {
    index.isDone = true;
    const isFilling = index.at > 0 && index.bytes.subarray(index.at).every((byte) => byte === 0);
    if (!isFilling) this.#note({ path: index.path, position: index.at, message, kind: "repairable" });
  }

  #judgeRest(index: IndexReading): void {
    if (!index.isDone) this.#judgeWrong(index, "has entries for what is not in the segment");
  }

  async #readAborted(path: string): Promise<readonly AbortedTransaction[]> {
    if ((await this.#disk.stat(path)) === null) return [];
    const bytes = await this.#disk.readFile(path);
    const aborted = decodeAborted(bytes);
    const position = aborted.length * TRANSACTION_ENTRY_BYTES;
    if (position !== bytes.length) this.#note({ path, position, message: "is no entry", kind: "repairable" });
    return aborted;
  }

  // --- Notes ----------------------------------------------------------------------------------------------------------

  async #readable<T>(path: string, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#corrupt(path, error.message);
      return null;
    }
  }

  #corrupt(path: string, message: string): void {
    this.#note({ path: path.includes("/") ? path : `${this.#path}/${path}`, message, kind: "corrupt" });
  }

  #note(problem: Pick<Problem, "path" | "message" | "kind"> & Partial<Problem>): void {
    this.#problems.push({ position: null, offset: null, ...problem });
  }
}
