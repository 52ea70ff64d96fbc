import type { WorkerHost, WorkerTask } from "@millrace/base/world";
import { DiskError } from "@millrace/base/world";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { batchAt, BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { decompress, releaseDecompressed } from "kafka-protocol-ts/records/compression";
import { RecordCursor } from "kafka-protocol-ts/records/cursor";
import { CLEANED_SUFFIX } from "../file-names.ts";
import { FileWindow } from "../file-window.ts";
import { SegmentIndexer } from "../segment-indexer.ts";
import { Segment } from "../segment.ts";
import { encodeAborted } from "../transaction-index.ts";
import type { AbortedTransaction } from "../transaction-index.ts";
import type { ExactTimestamp, FilePosition, Offset } from "../types.ts";
import { BatchCleaner } from "./batch-cleaning.ts";
import type { BatchRules, LastOfProducer } from "./batch-cleaning.ts";
import { CleanedTransactions } from "./cleaned-transactions.ts";
import type { CleanedTransactionsState } from "./cleaned-transactions.ts";
import { CleaningControl } from "./cleaning-control.ts";
import { KeyOffsets } from "./key-offsets.ts";
import { SupersededOffsets } from "./superseded-offsets.ts";

/*
 * The work of the cleaner that reads and writes much, for a thread of its own. What it is given and what it gives can be
 * cloned; the memory of the keys and the control are shared.
 */

/** A closed segment, as it is read by its path. */
export interface SegmentSource {
  readonly path: string;
  readonly baseOffset: Offset;
  readonly sizeBytes: number;
}

/**
 * Why a task ended without a result.
 * - cancelled: somebody asked for it
 * - corrupt: a batch is not what was written; nothing may be made of it
 * - read-failed, write-failed: the disk; `code` is the system's
 */
export type CleaningFailure =
  | { readonly kind: "cancelled" }
  | { readonly kind: "corrupt"; readonly message: string }
  | { readonly kind: "read-failed" | "write-failed"; readonly code: string; readonly message: string };

export type CleaningOutcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: CleaningFailure };

export interface Shared {
  readonly control: SharedArrayBuffer;
  readonly keys: SharedArrayBuffer;
  readonly superseded: SharedArrayBuffer;
  /** Of what is noted in both. */
  readonly firstDirtyOffset: Offset;
  readonly loadFactor: number;
  readonly ioBufferBytes: number;
  readonly decompressedBytesMax: number;
}

export interface NoteKeysInput extends Shared {
  /** From the one on that holds `firstDirtyOffset`. */
  readonly segments: readonly SegmentSource[];
  /** Exclusive. */
  readonly upTo: Offset;
  readonly aborted: readonly AbortedTransaction[];
}

export interface NotedKeys {
  /** Exclusive: the keys of all records below it are noted. Less than was asked for where the memory is full. */
  readonly endOffset: Offset;
  readonly keysCount: number;
  readonly readBytes: number;
}

export interface CleanGroupInput extends Shared {
  readonly directory: string;
  /** In order; the cleaned segment begins with the first of them. */
  readonly segments: readonly SegmentSource[];
  readonly keysEndOffset: Offset;
  readonly groupEndOffset: Offset;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  readonly indexIntervalBytes: number;
  readonly transactions: CleanedTransactionsState;
  readonly lastOfProducers: readonly LastOfProducer[];
}

export interface CleanedGroup {
  readonly baseOffset: Offset;
  readonly sizeBytes: number;
  readonly maxTimestamp: { readonly timestamp: ExactTimestamp; readonly offset: Offset } | null;
  readonly transactions: CleanedTransactionsState;
  /** The earliest time at which a tombstone or marker that stayed may go; null without any. */
  readonly nextHorizonMs: number | null;
  readonly readBytes: number;
  readonly recordsRead: number;
  readonly recordsKept: number;
  /** False where it is the same as what it was made of. */
  readonly isChanged: boolean;
}

const module = import.meta.url;
export const noteKeysTask: WorkerTask<NoteKeysInput, CleaningOutcome<NotedKeys>> = {
  module,
  name: "noteKeys",
  isLong: true,
};
export const cleanGroupTask: WorkerTask<CleanGroupInput, CleaningOutcome<CleanedGroup>> = {
  module,
  name: "cleanGroup",
  isLong: true,
};

/** Notes the last offset of each key in a part of a log, up to where the memory is full. */
export function noteKeys(input: NoteKeysInput, host: WorkerHost): Promise<CleaningOutcome<NotedKeys>> {
  return settle(async () => {
    const control = new CleaningControl(input.control, host.clock);
    const { firstDirtyOffset: from } = input;
    const keys = new KeyOffsets(input.keys, input.loadFactor, new SupersededOffsets(input.superseded, from));
    const transactions = new CleanedTransactions(CleanedTransactions.before(input.aborted));
    let endOffset = from;
    let isFull = false;
    let readBytes = 0;
    const visit = (batch: RecordBatchView): boolean => {
      readBytes += batch.sizeBytes;
      const nextOffset = (batch.lastOffset + 1) as Offset;
      if (batch.baseOffset >= input.upTo) return false;
      if (batch.isControl) transactions.end(batch);
      else if (!transactions.isAborted(batch) && nextOffset > from)
        isFull = !noteBatch(keys, batch, from, input.decompressedBytesMax);
      if (!isFull) endOffset = Math.max(endOffset, nextOffset) as Offset;
      return !isFull;
    };
    for (const [index, segment] of input.segments.entries()) {
      await eachBatch(segment, { ...input, control, host, visit });
      if (isFull) break;
      const next = input.segments[index + 1];
      // Compaction may have taken what came last in a segment.
      if (next !== undefined) endOffset = Math.max(endOffset, Math.min(next.baseOffset, input.upTo)) as Offset;
    }
    if (!isFull) endOffset = input.upTo;
    return { endOffset, keysCount: keys.count, readBytes };
  });
}

const cursor: RecordCursor = new RecordCursor();

/** False where there was no room for one of them. */
function noteBatch(keys: KeyOffsets, batch: RecordBatchView, from: Offset, maxBytes: number): boolean {
  const { baseOffset } = batch;
  const packed = batch.isCompressed;
  const bytes = packed ? decompress(batch.codec, batch.recordsBytes, maxBytes) : batch.bytes;
  try {
    cursor.attach(
      bytes,
      packed ? 0 : batch.position + BATCH_HEADER_BYTES,
      packed ? bytes.length : batch.end,
      batch.recordsCount,
    );
    while (cursor.next()) {
      const offset = (baseOffset + cursor.offsetDelta) as Offset;
      if (!cursor.hasKey || offset < from) continue;
      if (!keys.put(bytes, cursor.keyStart, cursor.keyEnd, offset)) return false;
    }
    return true;
  } finally {
    if (packed) releaseDecompressed(bytes, batch.bytes);
  }
}

/** Writes what is still wanted of some segments into one, with its indexes; synced, under names that a start takes away. */
export function cleanGroup(input: CleanGroupInput, host: WorkerHost): Promise<CleaningOutcome<CleanedGroup>> {
  return settle(() => new GroupCleaning(input, host).run());
}

class GroupCleaning {
  readonly #input: CleanGroupInput;
  readonly #host: WorkerHost;
  readonly #control: CleaningControl;
  readonly #transactions: CleanedTransactions;
  readonly #cleaner: BatchCleaner;
  readonly #target: Segment;
  readonly #indexer: SegmentIndexer = new SegmentIndexer();
  readonly #aborted: AbortedTransaction[] = [];
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #nextHorizonMs = Number.POSITIVE_INFINITY;
  #readBytes = 0;
  #recordsRead = 0;
  #recordsKept = 0;
  #isChanged = false;

  constructor(input: CleanGroupInput, host: WorkerHost) {
    this.#input = input;
    this.#host = host;
    this.#control = new CleaningControl(input.control, host.clock);
    this.#transactions = new CleanedTransactions(input.transactions);
    const rules: BatchRules = {
      ...input,
      keys: new KeyOffsets(input.keys, input.loadFactor),
      superseded: new SupersededOffsets(input.superseded, input.firstDirtyOffset),
    };
    this.#cleaner = new BatchCleaner(rules, this.#transactions, input.lastOfProducers);
    const [first] = input.segments as readonly [SegmentSource, ...SegmentSource[]];
    const options = { sizeBytes: 0, isNew: true, nameSuffix: CLEANED_SUFFIX };
    this.#target = new Segment(input.directory, first.baseOffset, options);
  }

  async run(): Promise<CleanedGroup> {
    const { disk } = this.#host;
    const target = this.#target;
    await writing(() => this.#removeLeftovers());
    target.retain();
    await writing(() => target.open(disk));
    try {
      for (const segment of this.#input.segments) {
        await eachBatch(segment, {
          ...this.#input,
          control: this.#control,
          host: this.#host,
          visit: (batch) => this.#take(batch),
          afterChunk: () => this.#write(),
        });
      }
      await this.#write();
      await writing(() => this.#finish());
    } finally {
      target.release();
      await target.close();
    }
    return {
      baseOffset: target.baseOffset,
      sizeBytes: target.sizeBytes,
      maxTimestamp: target.maxTimestamp,
      transactions: this.#transactions.state,
      nextHorizonMs: Number.isFinite(this.#nextHorizonMs) ? this.#nextHorizonMs : null,
      readBytes: this.#readBytes,
      recordsRead: this.#recordsRead,
      recordsKept: this.#recordsKept,
      isChanged: this.#isChanged,
    };
  }

  /** Of a round that was cancelled. */
  async #removeLeftovers(): Promise<void> {
    for (const suffix of [".log", ".index", ".timeindex", ".txnindex"] as const)
      await this.#host.disk.removeFile(this.#target.path(suffix));
  }

  #take(batch: RecordBatchView): boolean {
    const cleaned = this.#cleaner.clean(batch);
    this.#readBytes += batch.sizeBytes;
    this.#recordsRead += cleaned.recordsRead;
    this.#recordsKept += cleaned.recordsKept;
    this.#isChanged ||= cleaned.isChanged;
    if (cleaned.aborted !== null) this.#aborted.push(cleaned.aborted);
    const { bytes } = cleaned;
    if (bytes === null) return true;
    const kept = new RecordBatchView(bytes);
    const position = (this.#target.sizeBytes + this.#waitingBytes) as FilePosition;
    const { sizeBytes, maxTimestampExact: maxTimestamp } = kept;
    const lastOffset = kept.lastOffset as Offset;
    this.#indexer.add(this.#target, { lastOffset, maxTimestamp, sizeBytes }, position, this.#input.indexIntervalBytes);
    this.#nextHorizonMs = Math.min(this.#nextHorizonMs, cleaned.horizonMs ?? Number.POSITIVE_INFINITY);
    // What was not made anew lies in memory that the next read writes over: `#write` comes before that.
    this.#waiting.push(bytes);
    this.#waitingBytes += sizeBytes;
    return true;
  }

  async #write(): Promise<void> {
    if (this.#waitingBytes === 0) return;
    const target = this.#target;
    const buffers = this.#waiting;
    const sizeBytes = this.#waitingBytes;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await writing(() => target.log.write(buffers, target.sizeBytes));
    target.sizeBytes += sizeBytes;
    await this.#control.use(sizeBytes);
  }

  async #finish(): Promise<void> {
    const { disk } = this.#host;
    const target = this.#target;
    target.sealIndexes();
    const transactionIndex = await disk.open(target.path(".txnindex"), "create");
    try {
      if (this.#aborted.length > 0) await transactionIndex.write([Buffer.concat(this.#aborted.map(encodeAborted))], 0);
      await disk.syncFiles([target.log, ...target.indexFiles(), transactionIndex]);
    } finally {
      await transactionIndex.close();
    }
  }
}

interface EachBatchOptions {
  readonly control: CleaningControl;
  readonly host: WorkerHost;
  readonly ioBufferBytes: number;
  /** The view is of memory that the next chunk takes. False ends it. */
  visit(batch: RecordBatchView): boolean;
  /** Before that memory is taken. */
  afterChunk?(): Promise<void>;
}

/** Whole batches of a segment, one after the other, each with its checksum looked at: nothing is made of a bad one. */
async function eachBatch(segment: SegmentSource, options: EachBatchOptions): Promise<void> {
  const { control, host, visit } = options;
  if (segment.sizeBytes === 0) return;
  const file = await host.disk.open(segment.path, "read");
  try {
    const window = new FileWindow(file, segment.sizeBytes, Math.max(BATCH_HEADER_BYTES, options.ioBufferBytes));
    let position = 0;
    let loadedPosition = 0;
    let lastOffset = segment.baseOffset - 1;
    while (position < segment.sizeBytes) {
      let bytes = window.here(position, Math.min(BATCH_OVERHEAD_BYTES, segment.sizeBytes - position));
      const sizeBytes = bytes === null ? null : sizeOf(bytes);
      if (bytes === null || (bytes = window.here(position, sizeBytes ?? 0)) === null) {
        await options.afterChunk?.();
        await control.use(position - loadedPosition);
        if (control.isCancelled) throw new Cancelled();
        loadedPosition = position;
        bytes = await load(window, position, segment.sizeBytes);
      }
      const batch = batchAt(bytes, 0);
      if (typeof batch === "string") throw corrupt(segment, position, `no batch begins here (${batch})`);
      if (!batch.isCrcValid()) throw corrupt(segment, position, `the checksum of batch ${batch.baseOffset} is wrong`);
      if (batch.baseOffset <= lastOffset || batch.lastOffsetDelta < 0)
        throw corrupt(segment, position, `batch ${batch.baseOffset} comes after offset ${lastOffset}`);
      lastOffset = batch.lastOffset;
      try {
        if (!visit(batch)) break;
      } catch (error) {
        if (!(error instanceof MalformedMessage)) throw error;
        throw corrupt(segment, position, `batch ${batch.baseOffset}: ${error.message}`);
      }
      position += batch.sizeBytes;
    }
    await control.use(position - loadedPosition);
  } finally {
    await file.close();
  }
}

/** A batch at `position`, whole, with as much behind it as the window holds. */
async function load(window: FileWindow, position: number, end: number): Promise<Buffer> {
  const head = await window.at(position, Math.min(BATCH_HEADER_BYTES, end - position));
  const sizeBytes = sizeOf(head);
  return window.at(position, Math.max(0, Math.min(sizeBytes, end - position)));
}

/** What a header says; `batchAt` finds out whether that can be. */
function sizeOf(head: Buffer): number {
  return head.length < BATCH_OVERHEAD_BYTES
    ? head.length
    : Math.max(head.length, head.readInt32BE(BatchField.batchLength) + BATCH_OVERHEAD_BYTES);
}

class Cancelled extends Error {}
class Corrupt extends Error {}
class WriteFailed extends Error {
  override readonly cause: DiskError;
  constructor(cause: DiskError) {
    super(cause.message);
    this.cause = cause;
  }
}

function corrupt(segment: SegmentSource, position: number, why: string): Corrupt {
  return new Corrupt(`${segment.path} position ${position}: ${why}`);
}

/** A write that fails says of the disk what a read that fails does not. */
async function writing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DiskError ? new WriteFailed(error) : error;
  }
}

/** Errors lose their class on the way between threads. */
async function settle<T>(work: () => Promise<T>): Promise<CleaningOutcome<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, failure: failureOf(error) };
  }
}

function failureOf(error: unknown): CleaningFailure {
  if (error instanceof Cancelled) return { kind: "cancelled" };
  if (error instanceof Corrupt) return { kind: "corrupt", message: error.message };
  if (error instanceof WriteFailed) return { kind: "write-failed", code: error.cause.code, message: error.message };
  if (error instanceof DiskError) return { kind: "read-failed", code: error.code, message: error.message };
  throw error;
}
