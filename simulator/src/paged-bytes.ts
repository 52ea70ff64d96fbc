import { assert } from "@millrace/base/assert";

/** What a disk writes whole: a crash keeps such a page as it was at some moment, old or new. */
export const pageBytes: number = 4096;

interface Page {
  /** Whose page it is: the others that share it copy it before they write. */
  readonly owner: symbol;
  readonly bytes: Uint8Array;
}

/** The content of a file in pages. Copies share pages until one of them writes, so that hundreds of images cost little. */
export class PagedBytes {
  #owner = Symbol();
  /** A missing page reads as zeros. */
  #pages: (Page | undefined)[] = [];
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  copy(): PagedBytes {
    const copy = new PagedBytes();
    copy.#pages = [...this.#pages];
    copy.#sizeBytes = this.#sizeBytes;
    // From here on the pages belong to neither of the two.
    this.#owner = Symbol();
    return copy;
  }

  read(into: Uint8Array, position: number): number {
    assert(position >= 0, "a file is read from its beginning on");
    const count = Math.max(0, Math.min(into.length, this.#sizeBytes - position));
    forEachPage(position, count, ({ page, inPage, from, length }) => {
      const bytes = this.#pages[page]?.bytes;
      if (bytes === undefined) into.fill(0, from, from + length);
      else into.set(bytes.subarray(inPage, inPage + length), from);
    });
    return count;
  }

  write(bytes: Uint8Array, position: number): void {
    assert(position >= 0, "a file is written from its beginning on");
    if (bytes.length === 0) return;
    forEachPage(position, bytes.length, ({ page, inPage, from, length }) => {
      this.#writable(page).set(bytes.subarray(from, from + length), inPage);
    });
    this.#sizeBytes = Math.max(this.#sizeBytes, position + bytes.length);
  }

  truncate(sizeBytes: number): void {
    assert(sizeBytes >= 0, "a file has no negative size");
    if (sizeBytes < this.#sizeBytes) {
      const kept = Math.ceil(sizeBytes / pageBytes);
      this.#pages.length = Math.min(this.#pages.length, kept);
      const inLastPage = sizeBytes % pageBytes;
      // What was cut must not come back when the file grows again.
      if (inLastPage > 0 && this.#pages[kept - 1] !== undefined) this.#writable(kept - 1).fill(0, inLastPage);
    }
    this.#sizeBytes = sizeBytes;
  }

  /** Bits are counted from the beginning, the lowest of a byte first. There is none past the end. */
  flipBit(bit: number): void {
    const position = Math.floor(bit / 8);
    const byte = new Uint8Array(1);
    if (this.read(byte, position) === 0) return;
    byte[0] = (byte[0] ?? 0) ^ (1 << (bit % 8));
    this.write(byte, position);
  }

  toBuffer(): Buffer {
    const buffer = Buffer.alloc(this.#sizeBytes);
    this.read(buffer, 0);
    return buffer;
  }

  #writable(index: number): Uint8Array {
    const page = this.#pages[index];
    if (page?.owner === this.#owner) return page.bytes;
    const bytes = page === undefined ? new Uint8Array(pageBytes) : page.bytes.slice();
    while (this.#pages.length < index) this.#pages.push(undefined);
    this.#pages[index] = { owner: this.#owner, bytes };
    return bytes;
  }
}

/** A piece of a range that lies in one page. */
export interface PagePiece {
  readonly page: number;
  readonly inPage: number;
  /** Distance from the beginning of the range. */
  readonly from: number;
  readonly length: number;
}

export function forEachPage(position: number, count: number, visit: (piece: PagePiece) => void): void {
  for (let from = 0; from < count;) {
    const page = Math.floor((position + from) / pageBytes);
    const inPage = (position + from) % pageBytes;
    const length = Math.min(count - from, pageBytes - inPage);
    visit({ page, inPage, from, length });
    from += length;
  }
}
