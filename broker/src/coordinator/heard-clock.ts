import type { Clock } from "@millrace/base/world";

/**
 * Time in which this process could hear its clients. When the process was stopped (SIGSTOP, a long GC, a suspended
 * machine) nobody could be heard, so that time does not count towards anyone's silence: the clock stands still for it.
 *
 * Read it at least every `tickMs` while anything depends on it: a longer pause between two reads is taken for a stall.
 */
export class HeardClock {
  readonly #clock: Clock;
  readonly #pauseMaxMs: number;
  #lastMs: number;
  #stalledMs = 0;

  constructor(clock: Clock, options: { readonly tickMs: number; readonly toleranceMs: number }) {
    this.#clock = clock;
    this.#pauseMaxMs = options.tickMs + options.toleranceMs;
    this.#lastMs = clock.monotonicMs();
  }

  nowMs(): number {
    const realMs = this.#clock.monotonicMs();
    const pauseMs = realMs - this.#lastMs;
    if (pauseMs > this.#pauseMaxMs) this.#stalledMs += pauseMs;
    this.#lastMs = realMs;
    return realMs - this.#stalledMs;
  }

  /** All the time that was taken out. */
  get stalledMs(): number {
    return this.#stalledMs;
  }
}
