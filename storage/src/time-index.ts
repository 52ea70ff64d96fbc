import { readInt64Exact, writeInt64 } from "kafka-protocol-ts/records/int64";
import { EntryFile } from "./entry-file.ts";
import type { ExactTimestamp, Offset } from "./types.ts";

export const TIME_ENTRY_BYTES = 12;

/**
 * `.timeindex`: from which offset on there may be records at or after a time. An entry is the largest timestamp so far in the
 * segment and the last offset of the batch that has it, relative to the segment's first. Timestamps only rise, and so do offsets.
 */
export class TimeIndex {
  readonly baseOffset: Offset;
  readonly entries: EntryFile = new EntryFile(TIME_ENTRY_BYTES);
  #lastTimestamp: ExactTimestamp = Number.NEGATIVE_INFINITY;

  constructor(baseOffset: Offset) {
    this.baseOffset = baseOffset;
  }

  /** Adds nothing where the time has not moved on. */
  add(timestamp: ExactTimestamp, offset: Offset): void {
    if (timestamp <= this.#lastTimestamp || timestamp < 0) return;
    const bytes = this.entries.add();
    writeInt64(bytes, this.entries.at, timestamp);
    bytes.writeInt32BE(offset - this.baseOffset, this.entries.at + 8);
    this.#lastTimestamp = timestamp;
  }

  last(): TimeEntry | null {
    return this.entries.count === 0 ? null : this.entry(this.entries.count - 1);
  }

  entry(index: number): TimeEntry {
    const bytes = this.entries.seek(index);
    const at = this.entries.at;
    return { timestamp: readInt64Exact(bytes, at), offset: (this.baseOffset + bytes.readInt32BE(at + 8)) as Offset };
  }

  /** The last entry with an earlier time; −1 where there is none. */
  floor(timestamp: ExactTimestamp): number {
    return this.entries.floor((bytes, at) => readInt64Exact(bytes, at) < timestamp);
  }

  /** Forgets entries of batches that end at `offset` or after it. */
  truncateTo(offset: Offset): void {
    const relative = offset - this.baseOffset;
    this.entries.truncate(this.entries.floor((bytes, at) => bytes.readInt32BE(at + 8) < relative) + 1);
    this.resume();
  }

  /** After the file was attached or cut: goes on from what is there. */
  resume(): void {
    this.#lastTimestamp = this.last()?.timestamp ?? Number.NEGATIVE_INFINITY;
  }
}

export interface TimeEntry {
  readonly timestamp: ExactTimestamp;
  readonly offset: Offset;
}
