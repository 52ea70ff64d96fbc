/** What was in memory is taken for being there so long. */
export const warmMs = 1_000;

interface Span {
  from: number;
  until: number;
  sinceMs: number;
}

/**
 * What of a file is in memory, since it was written or found there a moment ago: consumers near the end of a log, each after
 * the other, need not ask the kernel again. One range, of the last second: what is read or written grows at its end.
 */
export class WarmRange {
  #recent: Span = emptySpan();
  /** Begun earlier: so the range never ends all at once. */
  #earlier: Span = emptySpan();

  note(from: number, until: number, nowMs: number): void {
    const recent = this.#recent;
    if (nowMs - recent.sinceMs > warmMs / 2) {
      this.#recent = this.#earlier;
      this.#earlier = recent;
      restart(this.#recent, from, until, nowMs);
    } else if (from <= recent.until && until >= recent.from) {
      recent.from = Math.min(recent.from, from);
      recent.until = Math.max(recent.until, until);
    } else restart(recent, from, until, nowMs);
  }

  /** Up to where all bytes from `position` on are in memory; `position` where nothing is known of them. */
  untilFrom(position: number, nowMs: number): number {
    const inEarlier = endWithin(this.#earlier, position, nowMs);
    return Math.max(inEarlier, endWithin(this.#recent, inEarlier, nowMs));
  }
}

function endWithin(span: Span, position: number, nowMs: number): number {
  const isInside = position >= span.from && position < span.until;
  return isInside && nowMs - span.sinceMs <= warmMs ? span.until : position;
}

function restart(span: Span, from: number, until: number, nowMs: number): void {
  span.from = from;
  span.until = until;
  span.sinceMs = nowMs;
}

function emptySpan(): Span {
  return { from: 0, until: 0, sinceMs: -Infinity };
}
