import type { FilePosition, Offset } from "./types.ts";

const CAPACITY_FIRST = 16;
const CAPACITY_MAX = 256;

/**
 * Where the newest batches of the active segment lie, so that who reads at the tail costs no look at the disk.
 * A ring of numbers: the oldest are forgotten first.
 */
export class RecentBatches {
  #capacity: number = CAPACITY_FIRST;
  #positions: Float64Array = new Float64Array(CAPACITY_FIRST);
  #baseOffsets: Float64Array = new Float64Array(CAPACITY_FIRST);
  #nextOffsets: Float64Array = new Float64Array(CAPACITY_FIRST);
  /** Batch n, counted from the segment's first that was seen, lies in slot n % capacity. */
  #first = 0;
  #next = 0;
  /** Where the batch after the newest will start. */
  #end = 0;

  add(baseOffset: Offset, nextOffset: Offset, position: FilePosition, sizeBytes: number): void {
    if (this.#next - this.#first === this.#capacity) {
      if (this.#capacity < CAPACITY_MAX) this.#grow();
      else this.#first += 1;
    }
    const slot = this.#next % this.#capacity;
    this.#positions[slot] = position;
    this.#baseOffsets[slot] = baseOffset;
    this.#nextOffsets[slot] = nextOffset;
    this.#next += 1;
    this.#end = position + sizeBytes;
  }

  clear(): void {
    this.#first = 0;
    this.#next = 0;
  }

  /** Forgets batches that start at `position` or after it. */
  truncateTo(position: number): void {
    while (this.#next > this.#first && this.#position(this.#next - 1) >= position) {
      this.#next -= 1;
      this.#end = this.#position(this.#next);
    }
  }

  /** Which batch holds `offset` or is the first after it; −1 where that may be one that is forgotten, or is not there yet. */
  find(offset: Offset): number {
    if (this.#next === this.#first || offset < this.#baseOffset(this.#first)) return -1;
    if (offset >= this.#nextOffset(this.#next - 1)) return -1;
    let low = this.#first;
    let high = this.#next - 1;
    // The first batch whose end lies past the offset.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#nextOffset(middle) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The last batch that ends at `position` in the file or before it, not before batch `from`; −1 where not even that one does. */
  lastEndingBy(position: number, from: number): number {
    let low = from;
    let high = this.#next - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (this.endOf(middle) <= position) low = middle + 1;
      else high = middle - 1;
    }
    return high < from ? -1 : high;
  }

  /** The last batch whose records all lie below `offset`, not before batch `from`; −1 where not even that one's do. */
  lastBelow(offset: Offset, from: number): number {
    let low = from;
    let high = this.#next - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (this.#nextOffset(middle) <= offset) low = middle + 1;
      else high = middle - 1;
    }
    return high < from ? -1 : high;
  }

  startOf(batch: number): FilePosition {
    return this.#position(batch) as FilePosition;
  }
  endOf(batch: number): FilePosition {
    return (batch === this.#next - 1 ? this.#end : this.#position(batch + 1)) as FilePosition;
  }
  baseOffsetOf(batch: number): Offset {
    return this.#baseOffset(batch) as Offset;
  }
  nextOffsetOf(batch: number): Offset {
    return this.#nextOffset(batch) as Offset;
  }

  #position(batch: number): number {
    return this.#positions[batch % this.#capacity] as number;
  }
  #baseOffset(batch: number): number {
    return this.#baseOffsets[batch % this.#capacity] as number;
  }
  #nextOffset(batch: number): number {
    return this.#nextOffsets[batch % this.#capacity] as number;
  }

  #grow(): void {
    const capacity = this.#capacity * 4;
    const moved = (ring: Float64Array): Float64Array => {
      const grown = new Float64Array(capacity);
      for (let batch = this.#first; batch < this.#next; batch++) {
        grown[batch % capacity] = ring[batch % this.#capacity] as number;
      }
      return grown;
    };
    this.#positions = moved(this.#positions);
    this.#baseOffsets = moved(this.#baseOffsets);
    this.#nextOffsets = moved(this.#nextOffsets);
    this.#capacity = capacity;
  }
}
