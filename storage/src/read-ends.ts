import type { FilePosition, Offset } from "./types.ts";

/** So many readers of one segment are followed. */
const READERS_MAX = 8;

/** Where the slices of a segment ended that readers got: each goes on from there, and needs no index to find it. */
export class ReadEnds {
  readonly #offsets: Offset[] = [];
  readonly #positions: FilePosition[] = [];
  /** Whose place a new reader takes. */
  #oldest = 0;

  /** A reader that came to `from` has read up to `offset`, whose batch will start at `position`. */
  note(from: Offset, offset: Offset, position: FilePosition): void {
    let slot = this.#offsets.indexOf(from);
    if (slot < 0) {
      slot = this.#oldest;
      this.#oldest = (this.#oldest + 1) % READERS_MAX;
    }
    this.#offsets[slot] = offset;
    this.#positions[slot] = position;
  }

  /** Where the first batch starts that ends past `offset`; null where nobody has read up to it. */
  positionOf(offset: Offset): FilePosition | null {
    const slot = this.#offsets.indexOf(offset);
    return slot < 0 ? null : (this.#positions[slot] ?? null);
  }
}
