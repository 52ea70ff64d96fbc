import { assert } from "@millrace/base/assert";
import type { DiskFile } from "@millrace/base/world";

const PAGE_BYTES = 4096;
/** Brought into memory at a time. */
const WARMED_BYTES = 256 * 1024;

/** One page for all files: every use reads what it needs before the turn ends. */
const page: Buffer = Buffer.allocUnsafe(PAGE_BYTES);
let pageOwner = 0;
let pageNumber = -1;
let filesMade = 0;

const nothing: Buffer = Buffer.alloc(0);

/**
 * The entries of an index: those written lie in the file and are read by page when they are asked for; the last few wait in
 * memory until there are enough for a write. So an index costs the same memory whatever its length.
 */
export class EntryFile {
  readonly entryBytes: number;
  /** Whose page it is that is in memory. */
  readonly #id: number = ++filesMade;
  readonly #entriesPerPage: number;
  #file: DiskFile | null = null;
  #writtenCount = 0;
  #pending: Buffer = nothing;
  #pendingCount = 0;
  /** Where the entry lies in what `seek` returned. */
  at = 0;

  constructor(entryBytes: number) {
    this.entryBytes = entryBytes;
    this.#entriesPerPage = Math.floor(PAGE_BYTES / entryBytes);
  }

  get count(): number {
    return this.#writtenCount + this.#pendingCount;
  }
  get writtenCount(): number {
    return this.#writtenCount;
  }
  get pendingCount(): number {
    return this.#pendingCount;
  }
  get file(): DiskFile | null {
    return this.#file;
  }

  /** The file now holds `count` entries, as it did when it was closed; what follows them in it is not looked at. */
  attach(file: DiskFile, count: number): void {
    assert(this.#pendingCount === 0 || this.#writtenCount === count, "an index is reopened as it was closed");
    this.#file = file;
    this.#writtenCount = count;
  }

  detach(): void {
    this.#file = null;
    this.#forgetPage();
  }

  /** The bytes that hold entry `index`, from `this.at` on; valid until the next call. */
  seek(index: number): Buffer {
    assert(index >= 0 && index < this.count, () => `entry ${index} of ${this.count}`);
    if (index >= this.#writtenCount) {
      this.at = (index - this.#writtenCount) * this.entryBytes;
      return this.#pending;
    }
    const wanted = Math.floor(index / this.#entriesPerPage);
    if (pageOwner !== this.#id || pageNumber !== wanted) this.#readPage(wanted);
    this.at = (index - wanted * this.#entriesPerPage) * this.entryBytes;
    return page;
  }

  /** Whether the written entries would be read without waiting for the disk. */
  get isInMemory(): boolean {
    return this.#writtenCount === 0 || (this.#file?.isInMemory?.(0, this.#writtenCount * this.entryBytes) ?? true);
  }

  /** Another thread brings the written entries into memory. */
  async warm(): Promise<void> {
    const file = this.#file;
    if (file === null) return;
    const sizeBytes = this.#writtenCount * this.entryBytes;
    for (let position = 0; position < sizeBytes; position += WARMED_BYTES) {
      const pieceBytes = Math.min(WARMED_BYTES, sizeBytes - position);
      await (file.warm?.(position, pieceBytes) ?? file.read(Buffer.allocUnsafe(pieceBytes), position));
    }
  }

  /** Room for one more entry, from `this.at` on, for the caller to fill. */
  add(): Buffer {
    const end = (this.#pendingCount + 1) * this.entryBytes;
    if (end > this.#pending.length) {
      const grown = Buffer.alloc(Math.max(8 * this.entryBytes, this.#pending.length * 2));
      this.#pending.copy(grown, 0, 0, this.#pendingCount * this.entryBytes);
      this.#pending = grown;
    }
    this.at = end - this.entryBytes;
    this.#pendingCount += 1;
    return this.#pending;
  }

  /** Hands what waits to the file; a few hundred bytes, so on the calling thread. */
  flush(): void {
    if (this.#pendingCount === 0) return;
    assert(this.#file !== null, "an index is open when it is flushed");
    const bytes = this.#pending.subarray(0, this.#pendingCount * this.entryBytes);
    this.#file.writeNow(bytes, this.#writtenCount * this.entryBytes);
    this.#forgetPage();
    this.#writtenCount += this.#pendingCount;
    this.#pendingCount = 0;
    this.#pending = nothing;
  }

  /** Keeps the first `count` entries. The file itself is cut where it is closed or recovered. */
  truncate(count: number): void {
    assert(count >= 0 && count <= this.count, "an index only becomes shorter");
    this.#pendingCount = Math.max(0, count - this.#writtenCount);
    if (count < this.#writtenCount) {
      this.#writtenCount = count;
      this.#forgetPage();
    }
  }

  /** The last entry of which `isAtMost` is true, or −1. The entries are in order, so it is true up to some entry and false after. */
  floor(isAtMost: (bytes: Buffer, at: number) => boolean): number {
    let low = 0;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const bytes = this.seek(middle);
      if (isAtMost(bytes, this.at)) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  #readPage(number: number): void {
    assert(this.#file !== null, "an index is open when it is read");
    pageOwner = 0;
    const pageEntries = Math.min(this.#entriesPerPage, this.#writtenCount - number * this.#entriesPerPage);
    const wantedBytes = pageEntries * this.entryBytes;
    const position = number * this.#entriesPerPage * this.entryBytes;
    const readBytes = this.#file.readNow(page.subarray(0, wantedBytes), position);
    // A file that was cut by someone else reads as zeros: entries that lead to the segment's start, which is slow and not wrong.
    if (readBytes < wantedBytes) page.fill(0, readBytes, wantedBytes);
    pageOwner = this.#id;
    pageNumber = number;
  }

  #forgetPage(): void {
    if (pageOwner === this.#id) pageOwner = 0;
  }
}
