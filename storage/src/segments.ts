import { assert, must } from "@millrace/base/assert";
import type { Segment } from "./segment.ts";
import type { Offset } from "./types.ts";

const RELATIVE_OFFSETS = 2 ** 31;

/** The catalogue of a log's segments, in the order of their first offsets. The last one is active: it alone grows. */
export class Segments {
  readonly #list: Segment[] = [];
  /** Rises whenever segments leave: whoever went through them and waited in between looks again. */
  departures = 0;

  get count(): number {
    return this.#list.length;
  }
  get first(): Segment {
    return must(this.#list[0], "a log's first segment");
  }
  get active(): Segment {
    return must(this.#list.at(-1), "a log's active segment");
  }
  get sizeBytes(): number {
    let sizeBytes = 0;
    for (const segment of this.#list) sizeBytes += segment.sizeBytes;
    return sizeBytes;
  }

  all(): readonly Segment[] {
    return this.#list;
  }
  at(index: number): Segment | undefined {
    return this.#list[index];
  }

  add(segment: Segment): void {
    const last = this.#list.at(-1);
    assert(last === undefined || last.baseOffset < segment.baseOffset, "segments rise");
    this.#list.push(segment);
  }

  /** Which segment may hold `offset`: the last that begins at it or before it; the first one for an offset below all. */
  indexOf(offset: Offset): number {
    const last = this.#list.length - 1;
    if (last >= 0 && this.active.baseOffset <= offset) return last;
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#list[middle] as Segment).baseOffset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** No record of the segment has it or a later one: its indexes name offsets with 31 bits, and the next segment has its own. */
  endOffsetMaxOf(segment: Segment): number {
    const next = this.#list[this.#list.indexOf(segment) + 1];
    return Math.min(segment.baseOffset + RELATIVE_OFFSETS, next?.baseOffset ?? Infinity);
  }

  /** Takes out the first `count`; the active one stays. */
  takeFirst(count: number): Segment[] {
    assert(count < this.#list.length, "a log keeps its active segment");
    this.departures += 1;
    return this.#list.splice(0, count);
  }

  /** Whether these stand here one after the other, and all of them are closed. */
  holdsClosed(run: readonly Segment[]): boolean {
    const first = this.#list.indexOf(must(run[0], "a run of segments"));
    const isRun = first >= 0 && run.every((segment, index) => this.#list[first + index] === segment);
    return isRun && run.at(-1) !== this.active;
  }

  /** One segment takes the place of a run of closed ones. */
  replace(run: readonly Segment[], by: Segment): void {
    assert(this.holdsClosed(run) && run[0]?.baseOffset === by.baseOffset, "a run of closed segments is replaced");
    this.departures += 1;
    this.#list.splice(this.#list.indexOf(must(run[0], "a run of segments")), run.length, by);
  }

  /** Takes out all from `index` on. */
  takeFrom(index: number): Segment[] {
    this.departures += 1;
    return this.#list.splice(index);
  }
}
