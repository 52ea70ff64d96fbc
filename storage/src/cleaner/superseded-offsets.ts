import type { Offset } from "../types.ts";

const OFFSETS_IN_WORD = 32;

/**
 * Which records have a later one with their key, a bit for each offset of a part of a log: so that who reads it a second time need not
 * look their keys up again, and passes over a batch of which nothing is left. Threads share the memory.
 */
export class SupersededOffsets {
  readonly #words: Int32Array;
  readonly #from: Offset;
  /** Exclusive: nothing is known of what comes after. */
  readonly #end: number;

  /** For the offsets from `from` on: all below `upTo` (exclusive), or as many as `bytesMax` holds. */
  static allocate(options: {
    readonly from: Offset;
    readonly upTo: Offset;
    readonly bytesMax: number;
  }): SharedArrayBuffer {
    const { from, upTo, bytesMax } = options;
    const words = Math.min(Math.ceil(Math.max(0, upTo - from) / OFFSETS_IN_WORD), Math.floor(bytesMax / 4));
    return new SharedArrayBuffer(4 * words);
  }

  constructor(memory: SharedArrayBuffer, from: Offset) {
    this.#words = new Int32Array(memory);
    this.#from = from;
    this.#end = from + this.#words.length * OFFSETS_IN_WORD;
  }

  covers(offset: number): boolean {
    return offset >= this.#from && offset < this.#end;
  }

  mark(offset: number): void {
    if (!this.covers(offset)) return;
    const bit = offset - this.#from;
    const word = Math.floor(bit / OFFSETS_IN_WORD);
    this.#words[word] = (this.#words[word] as number) | (1 << (bit % OFFSETS_IN_WORD));
  }

  /** Of an offset that is covered. */
  has(offset: number): boolean {
    const bit = offset - this.#from;
    return ((this.#words[Math.floor(bit / OFFSETS_IN_WORD)] as number) & (1 << (bit % OFFSETS_IN_WORD))) !== 0;
  }

  /** Whether all the records of a batch are, of which there are `count` between these offsets (inclusive). */
  areAll(first: number, last: number, count: number): boolean {
    if (!this.covers(first) || !this.covers(last)) return false;
    let marked = 0;
    for (let offset = first; offset <= last; offset++) if (this.has(offset)) marked += 1;
    return marked === count;
  }
}
