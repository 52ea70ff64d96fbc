import {
  Attribute,
  BATCH_HEADER_BYTES,
  BATCH_OVERHEAD_BYTES,
  BatchField,
  RecordBatchView,
} from "kafka-protocol-ts/records/batch";
import { batchAt } from "kafka-protocol-ts/records/batch";
import type { BatchFault } from "kafka-protocol-ts/records/batch";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { isSafeInt64 } from "kafka-protocol-ts/records/int64";
import { batchCrcOf, FileWindow } from "./file-window.ts";
import type { Readable } from "./file-window.ts";
import type { FilePosition, Offset } from "./types.ts";

/**
 * Why a scan stopped before the end.
 * - bad-crc: the bytes are not those that were written
 * - bad-offset: the offsets do not go on where the batch before ended, or cannot be
 */
export type ScanFault = BatchFault | "bad-crc" | "bad-offset";

export interface ScanOptions {
  /** Where a batch begins. */
  readonly from: number;
  /** The file's end, or where to stop. */
  readonly to: number;
  /** A batch below it is a fault. */
  readonly nextOffset: Offset;
  /** A batch that reaches past it is a fault: the next segment's first offset, or what an index can name. */
  readonly endOffsetMax?: number;
  readonly isCrcChecked: boolean;
  /** How much is read, and looked at in one turn. */
  readonly chunkBytes?: number;
  /**
   * Is given each batch. Its header is there; its records only where it is a control batch. The view is not to be kept.
   * False stops the scan before this batch.
   */
  visit(batch: RecordBatchView, position: FilePosition): boolean | void;
}

export interface ScanEnd {
  /** After the last good batch. */
  readonly position: FilePosition;
  readonly nextOffset: Offset;
  readonly fault: ScanFault | null;
}

const CHUNK_BYTES = 1024 * 1024;

/**
 * Goes through a file from batch to batch, with large reads where all bytes are looked at and small ones where only headers are.
 * Spends one chunk of memory, however large a batch is.
 */
export async function scanBatches(file: Readable, options: ScanOptions): Promise<ScanEnd> {
  const { to, isCrcChecked, endOffsetMax = Number.MAX_SAFE_INTEGER } = options;
  const window = new FileWindow(file, to, isCrcChecked ? (options.chunkBytes ?? CHUNK_BYTES) : 16 * 1024);
  let position = options.from;
  let nextOffset = options.nextOffset;
  const end = (fault: ScanFault | null): ScanEnd => ({ position: position as FilePosition, nextOffset, fault });
  while (position < to) {
    const headerBytes = Math.min(BATCH_HEADER_BYTES, to - position);
    // Awaiting what is there already would cost more than all the rest.
    const header = window.here(position, headerBytes) ?? (await window.at(position, headerBytes));
    const fault = headerFault(header, to - position);
    if (fault !== null) return end(fault);
    const view = new RecordBatchView(header);
    const { sizeBytes, baseOffset, lastOffsetDelta } = view;
    const isPossible = isSafeInt64(header, BatchField.baseOffset) && baseOffset >= nextOffset && lastOffsetDelta >= 0;
    if (!isPossible || baseOffset + lastOffsetDelta >= endOffsetMax) return end("bad-offset");
    const { crc } = view;
    const isControl = (view.attributes & Attribute.control) !== 0 && sizeBytes <= CHUNK_BYTES;
    const whole = window.here(position, sizeBytes);
    if (isCrcChecked) {
      const found =
        whole === null ? await batchCrcOf(window, position, sizeBytes) : crc32c(whole.subarray(BatchField.attributes));
      if (found !== crc) return end("bad-crc");
    }
    const neededBytes = isControl ? sizeBytes : BATCH_HEADER_BYTES;
    const visited = whole ?? window.here(position, neededBytes) ?? (await window.at(position, neededBytes));
    if (options.visit(new RecordBatchView(visited), position as FilePosition) === false) return end(null);
    position += sizeBytes;
    nextOffset = (baseOffset + lastOffsetDelta + 1) as Offset;
  }
  return end(null);
}

/** Whether nothing but zeros lies there. */
export async function areZeros(file: Readable, from: number, to: number): Promise<boolean> {
  const window = new FileWindow(file, to, CHUNK_BYTES);
  for (let position = from; position < to;) {
    const bytes = await window.upTo(position, CHUNK_BYTES);
    if (bytes.some((byte) => byte !== 0)) return false;
    position += bytes.length;
  }
  return true;
}

/** As `batchAt`, with a header in memory and the rest of the batch in the file. */
function headerFault(header: Buffer, remainingBytes: number): BatchFault | null {
  const found = batchAt(header, 0);
  if (typeof found !== "string") return null;
  if (found !== "truncated" || header.length < BATCH_HEADER_BYTES) return found;
  const sizeBytes = header.readInt32BE(BatchField.batchLength) + BATCH_OVERHEAD_BYTES;
  return sizeBytes <= remainingBytes ? null : "truncated";
}

/**
 * A whole batch that begins anywhere at `from` or after it, or null. Only used where the chain of batches is broken: a batch
 * is believed when its checksum is right and its offsets are possible.
 */
export async function findBatchAfter(
  file: Readable,
  options: { readonly from: number; readonly to: number; readonly nextOffset: Offset },
): Promise<{ readonly position: FilePosition; readonly baseOffset: Offset } | null> {
  const { to, nextOffset } = options;
  const window = new FileWindow(file, to, CHUNK_BYTES);
  for (let position = options.from; position + BATCH_HEADER_BYTES <= to; position++) {
    const header = window.here(position, BATCH_HEADER_BYTES) ?? (await window.at(position, BATCH_HEADER_BYTES));
    // Nearly all bytes fail here.
    if (header[BatchField.magic] !== 2 || headerFault(header, to - position) !== null) continue;
    const view = new RecordBatchView(header);
    const { baseOffset, sizeBytes, crc } = view;
    const isPossible = isSafeInt64(header, 0) && baseOffset >= nextOffset && view.lastOffsetDelta >= 0;
    if (isPossible && (await batchCrcOf(window, position, sizeBytes)) === crc) {
      return { position: position as FilePosition, baseOffset: baseOffset as Offset };
    }
  }
  return null;
}
