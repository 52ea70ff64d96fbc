/** Smaller ones are cheaper to make anew. */
const reusedBytesMin = 16_384;

/**
 * Memory of batches that were answered, for those to come. A fresh megabyte for each would make the collector of garbage
 * run as often, whatever else the heap holds.
 */
export class BatchMemory {
  readonly #bytesMax: number;
  readonly #free: Buffer[] = [];
  #freeBytes = 0;

  /** @param bytesMax is what is kept. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  take(sizeBytes: number): Buffer {
    if (sizeBytes >= reusedBytesMin) {
      const at = this.#free.findLastIndex(({ length }) => length >= sizeBytes);
      const [found] = at < 0 ? [] : this.#free.splice(at, 1);
      if (found !== undefined) {
        this.#freeBytes -= found.length;
        return found;
      }
    }
    return Buffer.allocUnsafe(sizeBytes);
  }

  /** Nobody looks at it any more, neither a connection nor a reader. */
  give(memory: Buffer): void {
    const { length } = memory;
    if (length < reusedBytesMin || this.#freeBytes + length > this.#bytesMax) return;
    this.#free.push(memory);
    this.#freeBytes += length;
  }
}
