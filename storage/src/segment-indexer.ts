import type { Segment } from "./segment.ts";
import type { ExactTimestamp, FilePosition, Offset } from "./types.ts";

/** Decides which batches of a segment get index entries: the same at append and at recovery. */
export class SegmentIndexer {
  #bytesSinceEntry = 0;

  /** The next batch begins a segment, or comes after one that was entered. */
  restart(bytesSinceEntry = 0): void {
    this.#bytesSinceEntry = bytesSinceEntry;
  }

  add(
    segment: Segment,
    batch: { readonly lastOffset: Offset; readonly maxTimestamp: ExactTimestamp; readonly sizeBytes: number },
    position: FilePosition,
    intervalBytes: number,
  ): void {
    segment.observe(batch.maxTimestamp, batch.lastOffset);
    if (this.#bytesSinceEntry > intervalBytes) {
      segment.offsets.add(batch.lastOffset, position);
      const max = segment.maxTimestamp;
      if (max !== null) segment.times.add(max.timestamp, max.offset);
      this.#bytesSinceEntry = 0;
    }
    this.#bytesSinceEntry += batch.sizeBytes;
  }
}
