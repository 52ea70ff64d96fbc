import { Deque } from "@millrace/base/deque";
import type { TimeMs } from "@millrace/base/units";

export interface RecentEvent<Event> {
  readonly atMs: TimeMs;
  readonly event: Event;
}

const RECENT_EVENTS_MAX = 2_000;

interface Numbered<Event> extends RecentEvent<Event> {
  readonly number: number;
}

/**
 * What happened lately, oldest first and bounded: for people who ask why. Events that come by the thousand while all is well, or
 * while one client does the same thing wrong again and again, have a bound of their own: they do not drive out the others.
 */
export class RecentEvents<Event> {
  readonly #rare = new Deque<Numbered<Event>>();
  readonly #frequent = new Deque<Numbered<Event>>();
  #count = 0;

  add(atMs: TimeMs, event: Event, { isFrequent = false }: { readonly isFrequent?: boolean } = {}): void {
    const events = isFrequent ? this.#frequent : this.#rare;
    events.push({ atMs, event, number: this.#count++ });
    if (events.length > RECENT_EVENTS_MAX) events.shift();
  }

  filter(isWanted: (event: Event) => boolean): readonly RecentEvent<Event>[] {
    return [...this.#rare, ...this.#frequent]
      .filter(({ event }) => isWanted(event))
      .toSorted((a, b) => a.number - b.number)
      .map(({ atMs, event }) => ({ atMs, event }));
  }
}
