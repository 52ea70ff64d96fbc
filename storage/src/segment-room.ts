import { KiB } from "@millrace/base/units";
import type { DiskFile } from "@millrace/base/world";
import { areZeros } from "./batch-scan.ts";
import type { Readable } from "./file-window.ts";
import { isOutOfSpace } from "./out-of-space.ts";

/** No room has more zeros: a start after a crash takes so many for room, so it may grow and not shrink. */
export const ZEROED_BYTES_MAX: number = 256 * KiB;

/** What is made ready behind the end of a segment that grows fast. */
export interface RoomLimits {
  /** From a write of so many bytes on. */
  readonly fromBytes: number;
  /** The file reaches up to the next multiple of it, with zeros behind its last batch. At most ZEROED_BYTES_MAX. */
  readonly zeroedBytes: number;
  /** Blocks of the disk are set aside for so much more, or for as much as there is already where that is less. */
  readonly reservedBytes: number;
  /** But not where less than this would be left to others. */
  readonly spareBytes: number;
}

/**
 * The room behind a segment's end, until the segment is closed for appends, or at rest.
 *
 *     ── batches ──┤ zeros, in memory ┤ blocks that are set aside ┤
 *             sizeBytes          zeroedTo                    reservedTo
 *
 * Why: a file system that is given 60 KB at a time, beginning anywhere, spends ten times as long on pages and blocks as on the copy. Pages that
 * are there already, made in large pieces, and blocks that need not be looked for, leave little but the copy.
 *
 * After a crash the zeros are found behind the last batch, and cut (recovery.ts).
 */
export class SegmentRoom {
  #zeroedTo = 0;
  #reservedTo = 0;
  #reserving: Promise<void> | null = null;

  /** Blocks for all that the segment may come to hold (`preallocate`); ENOSPC where so much is not free. */
  async reserveWhole(file: DiskFile, sizeBytes: number): Promise<void> {
    await file.reserve?.(sizeBytes);
    this.#reservedTo = sizeBytes;
  }

  /** Writes on the calling thread, and makes room where the bytes go past what there is. */
  write(file: DiskFile, bytes: Uint8Array, { position, limits }: { position: number; limits: RoomLimits }): void {
    const end = position + bytes.length;
    if (end <= this.#zeroedTo || bytes.length < limits.fromBytes) return file.writeNow(bytes, position);
    const to = Math.ceil(end / limits.zeroedBytes) * limits.zeroedBytes;
    file.writeNow(bytes, position, to - end);
    this.#zeroedTo = to;
  }

  /**
   * Sets blocks aside for what comes next, where half of what there was is used up; null where nothing is to be done. Rejects when
   * the disk has failed; that it has too little room is none of the log's concern yet.
   */
  reserveAhead(file: DiskFile, sizeBytes: number, { reservedBytes, spareBytes }: RoomLimits): Promise<void> | null {
    const aheadBytes = Math.min(reservedBytes, sizeBytes);
    if (this.#reserving !== null || this.#reservedTo - sizeBytes > aheadBytes / 2) return null;
    // Where it is refused, it is asked for again when so much was written without it.
    this.#reservedTo = sizeBytes + aheadBytes;
    this.#reserving = (file.reserve?.(this.#reservedTo, spareBytes) ?? Promise.resolve())
      .catch((error: unknown) => {
        if (!isOutOfSpace(error)) throw error;
      })
      .finally(() => {
        this.#reserving = null;
      });
    return this.#reserving;
  }

  /** No reservation is on its way; whoever asked for it was told if it failed. */
  async settled(): Promise<void> {
    await this.#reserving?.catch(() => undefined);
  }
}

/** Whether what lies behind a file's last batch is room that was made, and nothing else. */
export async function isRoom(file: Readable, from: number, to: number): Promise<boolean> {
  return to - from < ZEROED_BYTES_MAX && (await areZeros(file, from, to));
}
