import type { DiskFile } from "@millrace/base/world";
import { BATCH_OVERHEAD_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { readInt64, writeInt64 } from "kafka-protocol-ts/records/int64";
import { batchCrcOf, FileWindow } from "./file-window.ts";
import type { Offset, Uuid } from "./types.ts";

/*
 * A frame of the journal holds the bytes of one commit group, and for each run of them where in which segment they belong.
 *
 *     at  bytes                          at  bytes   of each entry
 *      0      4  magic                    0     16   topic id
 *      4      4  CRC-32C of the header   16      4   partition
 *                from `session` on       20      8   first offset of the segment
 *      8      8  session                 28      8   position in its `.log`
 *     16      8  sequence number         36      8   offset after the last record
 *     24      4  bytes of the frame      44      4   bytes
 *     28      4  entries
 *     32      4  bytes of batches        The batches of all entries follow, and zeros to a whole page.
 *     36      4  CRC-32C of the first 21 bytes
 *                of all batches
 *
 * The rest of a batch has its own checksum, which was made or checked when the batch came.
 * A frame is whole pages: overwriting them, the system has to read nothing, and the disk tears no other frame.
 */

export const FRAME_PAGE_BYTES = 4096;
/** Frames that are written at a time: a crash may leave the later one and not the earlier one. */
export const FRAMES_UNDER_WAY_MAX = 4;
const MAGIC = 0x4d4a_4631;
const HEADER_BYTES = 40;
const ENTRY_BYTES = 48;
export const SESSION_BYTES = 8;
/** Smaller frames are copied into one buffer: one chunk costs the system less than many. */
const COPIED_BYTES_MAX = 64 * 1024;
const WINDOW_BYTES = 1024 * 1024;

/** A run of batches of one log, which lie one after the other in one segment. */
export interface JournalEntry {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly segmentBase: Offset;
  readonly position: number;
  /** Exclusive: how far the log reaches with it. */
  readonly nextOffset: Offset;
  readonly sizeBytes: number;
}

export interface FrameInput extends JournalEntry {
  /** A batch each. */
  readonly buffers: readonly Buffer[];
}

/** Builds frames. Whoever takes one gives its buffers back. */
export class FrameWriter {
  readonly #session: Buffer;
  readonly #zeros: Buffer = Buffer.alloc(FRAME_PAGE_BYTES);
  readonly #free: Buffer[] = [];

  constructor(session: Buffer) {
    this.#session = session;
  }

  /** What `frame` will take. */
  sizeOf(inputs: readonly FrameInput[]): number {
    let sizeBytes = HEADER_BYTES + inputs.length * ENTRY_BYTES;
    for (const input of inputs) sizeBytes += input.sizeBytes;
    return Math.ceil(sizeBytes / FRAME_PAGE_BYTES) * FRAME_PAGE_BYTES;
  }

  frame(inputs: readonly FrameInput[], sequence: number): readonly Buffer[] {
    const frameBytes = this.sizeOf(inputs);
    const headerBytes = HEADER_BYTES + inputs.length * ENTRY_BYTES;
    const buffers = inputs.length === 1 ? (inputs[0]?.buffers ?? []) : inputs.flatMap((input) => input.buffers);
    const isCopied = frameBytes <= COPIED_BYTES_MAX;
    const isSpareEnough = headerBytes <= COPIED_BYTES_MAX;
    const header = isSpareEnough
      ? (this.#free.pop() ?? Buffer.allocUnsafe(COPIED_BYTES_MAX))
      : Buffer.alloc(headerBytes);
    let at = HEADER_BYTES;
    for (const input of inputs) at = writeEntry(header, at, input);
    let payloadBytes = 0;
    let prefixCrc = 0;
    for (const bytes of buffers) {
      prefixCrc = crc32c(bytes.subarray(0, BatchField.attributes), prefixCrc);
      if (isCopied) header.set(bytes, headerBytes + payloadBytes);
      payloadBytes += bytes.length;
    }
    if (isCopied) header.fill(0, headerBytes + payloadBytes, frameBytes);
    header.writeUInt32BE(MAGIC, 0);
    this.#session.copy(header, 8);
    writeInt64(header, 16, sequence);
    header.writeUInt32BE(frameBytes, 24);
    header.writeUInt32BE(inputs.length, 28);
    header.writeUInt32BE(payloadBytes, 32);
    header.writeUInt32BE(prefixCrc, 36);
    header.writeUInt32BE(crc32c(header.subarray(8, headerBytes)), 4);
    if (isCopied) return [header.subarray(0, frameBytes)];
    const padding = this.#zeros.subarray(0, frameBytes - headerBytes - payloadBytes);
    return [header.subarray(0, headerBytes), ...buffers, padding];
  }

  /** They were written. */
  giveBack([header]: readonly Buffer[]): void {
    if (header?.buffer.byteLength === COPIED_BYTES_MAX) this.#free.push(Buffer.from(header.buffer));
  }
}

function writeEntry(into: Buffer, at: number, entry: JournalEntry): number {
  into.write(entry.topicId, at, 16, "base64url");
  into.writeInt32BE(entry.partition, at + 16);
  writeInt64(into, at + 20, entry.segmentBase);
  writeInt64(into, at + 28, entry.position);
  writeInt64(into, at + 36, entry.nextOffset);
  into.writeUInt32BE(entry.sizeBytes, at + 44);
  return at + ENTRY_BYTES;
}

/** A frame that was found, with the places of its entries' bytes in the journal. */
export interface FoundFrame {
  readonly sequence: number;
  readonly entries: readonly (JournalEntry & { readonly journalPosition: number })[];
}

/** What one file of the journal holds. */
export interface FoundFrames {
  /** Null for a file that begins with no frame. */
  readonly session: string | null;
  readonly frames: readonly FoundFrame[];
  /** Where the last of them ends. */
  readonly endPosition: number;
}

/**
 * The frames of a file: one after the other from its start, all of the first one's session, numbered without a gap. What
 * comes after them is older, or was torn by a crash. Each is checked with all its bytes.
 */
export async function readFrames(file: DiskFile): Promise<FoundFrames> {
  const window = new FileWindow(file, await file.sizeBytes(), WINDOW_BYTES);
  const frames: FoundFrame[] = [];
  let session: string | null = null;
  let endPosition = 0;
  for (;;) {
    const header = await readHeader(window, endPosition);
    if (header === null) break;
    const last = frames.at(-1);
    const isNext = last === undefined || (header.session === session && header.sequence === last.sequence + 1);
    if (!isNext || !(await isPayloadWhole(window, header))) break;
    session = header.session;
    frames.push({ sequence: header.sequence, entries: header.entries });
    endPosition += header.frameBytes;
  }
  return { session, frames, endPosition };
}

/** The sequence with which a file begins; −1 where no frame is. */
export async function firstSequenceIn(file: DiskFile): Promise<number> {
  const header = await readHeader(new FileWindow(file, await file.sizeBytes(), FRAME_PAGE_BYTES), 0);
  return header?.sequence ?? -1;
}

/** Where behind `from` a frame of the session lies that is newer than `sequence`; null where there is none. */
export async function findNewerFrame(
  file: DiskFile,
  { from, session, sequence }: { readonly from: number; readonly session: string; readonly sequence: number },
): Promise<number | null> {
  const window = new FileWindow(file, await file.sizeBytes(), WINDOW_BYTES);
  for (let position = from; position < window.end; position += FRAME_PAGE_BYTES) {
    const header = await readHeader(window, position);
    if (header !== null && header.session === session && header.sequence > sequence) return position;
  }
  return null;
}

interface FrameHeader {
  readonly session: string;
  readonly sequence: number;
  readonly frameBytes: number;
  readonly payloadPosition: number;
  readonly payloadBytes: number;
  readonly prefixCrc: number;
  readonly entries: FoundFrame["entries"];
}

/** Null where no header is. */
async function readHeader(window: FileWindow, position: number): Promise<FrameHeader | null> {
  const fixed = await window.at(position, HEADER_BYTES);
  if (fixed.length < HEADER_BYTES || fixed.readUInt32BE(0) !== MAGIC) return null;
  const crc = fixed.readUInt32BE(4);
  const frameBytes = fixed.readUInt32BE(24);
  const count = fixed.readUInt32BE(28);
  const payloadBytes = fixed.readUInt32BE(32);
  const headerBytes = HEADER_BYTES + count * ENTRY_BYTES;
  const isPossible = frameBytes <= window.end - position && headerBytes + payloadBytes <= frameBytes;
  if (!isPossible) return null;
  const header = await window.at(position, headerBytes);
  if (crc32c(header.subarray(8)) !== crc) return null;
  const entries: FoundFrame["entries"][number][] = [];
  let journalPosition = position + headerBytes;
  for (let at = HEADER_BYTES; at < headerBytes; at += ENTRY_BYTES) {
    const sizeBytes = header.readUInt32BE(at + 44);
    entries.push({
      topicId: header.toString("base64url", at, at + 16),
      partition: header.readInt32BE(at + 16),
      segmentBase: readInt64(header, at + 20) as Offset,
      position: readInt64(header, at + 28),
      nextOffset: readInt64(header, at + 36) as Offset,
      sizeBytes,
      journalPosition,
    });
    journalPosition += sizeBytes;
  }
  return {
    session: header.toString("hex", 8, 8 + SESSION_BYTES),
    sequence: readInt64(header, 16),
    frameBytes,
    payloadPosition: position + headerBytes,
    payloadBytes,
    prefixCrc: header.readUInt32BE(36),
    entries,
  };
}

async function isPayloadWhole(window: FileWindow, header: FrameHeader): Promise<boolean> {
  let prefixCrc = 0;
  const end = header.payloadPosition + header.payloadBytes;
  for (let position = header.payloadPosition; position < end;) {
    const prefix = await window.at(position, Math.min(BatchField.attributes, end - position));
    if (prefix.length < BatchField.attributes) return false;
    prefixCrc = crc32c(prefix, prefixCrc);
    const sizeBytes = prefix.readInt32BE(BatchField.batchLength) + BATCH_OVERHEAD_BYTES;
    const crc = prefix.readUInt32BE(BatchField.crc);
    if (sizeBytes < BatchField.attributes || position + sizeBytes > end) return false;
    if ((await batchCrcOf(window, position, sizeBytes)) !== crc) return false;
    position += sizeBytes;
  }
  return prefixCrc === header.prefixCrc;
}
