import { Deque } from "@millrace/base/deque";
import type { TimeMs } from "@millrace/base/units";

export interface RecentEvent<Event> {
  readonly atMs: TimeMs;
  readonly event: Event;
}

const RECENT_EVENTS_MAX = 2_000;

/** What happened lately, oldest first and bounded: for people who ask why. */
export class RecentEvents<Event> {
  readonly #events = new Deque<RecentEvent<Event>>();

  add(atMs: TimeMs, event: Event): void {
    this.#events.push({ atMs, event });
    if (this.#events.length > RECENT_EVENTS_MAX) this.#events.shift();
  }

  filter(isWanted: (event: Event) => boolean): readonly RecentEvent<Event>[] {
    return [...this.#events].filter(({ event }) => isWanted(event));
  }
}
