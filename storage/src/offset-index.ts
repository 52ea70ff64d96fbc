import { EntryFile } from "./entry-file.ts";
import type { FilePosition, Offset } from "./types.ts";

export const OFFSET_ENTRY_BYTES = 8;

/**
 * `.index`: where in the segment an offset lies, roughly. An entry is the **last** offset of a batch, relative to the segment's
 * first, and the position at which that batch **starts**; there is one every `index.interval.bytes`. A reader goes to the entry
 * at or before its offset, and from there from header to header (index-lookup.ts).
 */
export class OffsetIndex {
  readonly baseOffset: Offset;
  readonly entries: EntryFile = new EntryFile(OFFSET_ENTRY_BYTES);

  constructor(baseOffset: Offset) {
    this.baseOffset = baseOffset;
  }

  get sizeBytes(): number {
    return this.entries.count * OFFSET_ENTRY_BYTES;
  }

  add(lastOffset: Offset, position: FilePosition): void {
    const bytes = this.entries.add();
    bytes.writeInt32BE(lastOffset - this.baseOffset, this.entries.at);
    bytes.writeInt32BE(position, this.entries.at + 4);
  }

  /** The last entry of a batch that ends at `offset` or before it; −1 where there is none. */
  floor(offset: Offset): number {
    const relative = offset - this.baseOffset;
    return this.entries.floor((bytes, at) => bytes.readInt32BE(at) <= relative);
  }

  /** The last entry of a batch that starts at `position` or before it; −1 where there is none. */
  floorByStart(position: number): number {
    return this.entries.floor((bytes, at) => bytes.readInt32BE(at + 4) <= position);
  }

  entry(index: number): { readonly lastOffset: Offset; readonly position: FilePosition } {
    const bytes = this.entries.seek(index);
    const lastOffset = (this.baseOffset + bytes.readInt32BE(this.entries.at)) as Offset;
    return { lastOffset, position: bytes.readInt32BE(this.entries.at + 4) as FilePosition };
  }

  /** Forgets batches that start at `position` or after it. */
  truncateTo(position: number): void {
    this.entries.truncate(this.entries.floor((bytes, at) => bytes.readInt32BE(at + 4) < position) + 1);
  }
}
