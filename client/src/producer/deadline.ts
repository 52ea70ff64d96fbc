import type { Clock, Timer } from "@millrace/base/world";

/** One timer for many that may run out of time: it goes off when the first of them is due. Times are monotonic milliseconds. */
export class Deadline {
  readonly #clock: Clock;
  readonly #onDue: (nowMs: number) => number;
  #timer: Timer | null = null;
  #atMs = Number.POSITIVE_INFINITY;

  /** @param onDue settles what is due, and says when the next of those that are left is; infinity: none is left. */
  constructor(clock: Clock, onDue: (nowMs: number) => number) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** Something is due then, if nothing is before. */
  noLaterThan(atMs: number): void {
    if (!(atMs < this.#atMs)) return;
    this.#timer?.cancel();
    this.#atMs = atMs;
    this.#timer = this.#clock.schedule(atMs - this.#clock.monotonicMs(), () => {
      this.#timer = null;
      this.#atMs = Number.POSITIVE_INFINITY;
      this.noLaterThan(this.#onDue(this.#clock.monotonicMs()));
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
