import type { Clock, Timer } from "@millrace/base/world";

interface Deadline {
  readonly atMs: number;
  expire(): void;
}

/**
 * Many deadlines and one timer: those who wait are nearly always served long before, so their deadlines are looked at
 * only every `tickMs`, and adding or forgetting one costs a set operation.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #pending = new Set<Deadline>();
  #timer: Timer | null = null;

  constructor(clock: Clock, tickMs = 100) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  /** Returns what forgets the deadline; harmless after it expired. */
  add(afterMs: number, expire: () => void): () => void {
    const deadline: Deadline = { atMs: this.#clock.monotonicMs() + afterMs, expire };
    this.#pending.add(deadline);
    if (this.#timer === null) {
      this.#timer = this.#clock.schedule(Math.max(1, Math.min(this.#tickMs, afterMs)), () => this.#tick());
    }
    return () => {
      this.#pending.delete(deadline);
    };
  }

  #tick(): void {
    this.#timer = null;
    const nowMs = this.#clock.monotonicMs();
    for (const deadline of this.#pending) {
      if (deadline.atMs > nowMs) continue;
      this.#pending.delete(deadline);
      deadline.expire();
    }
    if (this.#pending.size > 0) this.#timer = this.#clock.schedule(this.#tickMs, () => this.#tick());
  }
}
