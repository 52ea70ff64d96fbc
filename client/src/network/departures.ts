import type { Clock, Timer } from "@millrace/base/world";

/** A request that may not leave yet. */
interface Held {
  readonly leave: () => void;
  timer: Timer | null;
}

/**
 * Decides when a request may leave its connection: at once, or in order when nothing holds it back any more. What holds back
 * is a broker that throttles (KIP-219), or that hears again who we are (KIP-368).
 */
export class Departures {
  readonly #clock: Clock;
  readonly #beforeLeaving: () => void;
  readonly #held = new Set<Held>();
  #holds = 0;
  #throttledUntilMs = 0;
  #throttle: Timer | null = null;

  /** @param beforeLeaving may begin what holds requests back. */
  constructor(clock: Clock, beforeLeaving: () => void) {
    this.#clock = clock;
    this.#beforeLeaving = beforeLeaving;
  }

  get isHolding(): boolean {
    return this.#holds > 0;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  get isThrottled(): boolean {
    return this.#throttledUntilMs > this.#clock.monotonicMs();
  }

  /**
   * Calls one of the two once: `leave` now or later, or `giveUp` after so long. No request waits without end, whatever a
   * broker says of pauses.
   */
  depart(leave: () => void, timeoutMs: number, giveUp: () => void): void {
    if (this.#holds === 0) this.#beforeLeaving();
    if (this.#holds === 0) {
      leave();
      return;
    }
    const held: Held = { leave, timer: null };
    this.#held.add(held);
    held.timer = this.#clock.schedule(timeoutMs, () => {
      this.#held.delete(held);
      giveUp();
    });
  }

  hold(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    if (this.#holds === 0) this.releaseAll();
  }

  /** The connection has ended, too: then each finds that out for itself. */
  releaseAll(): void {
    const due = [...this.#held];
    this.#held.clear();
    for (const { leave, timer } of due) {
      timer?.cancel();
      leave();
    }
  }

  /** KIP-219: the broker has answered, and reads nothing of us for so long. */
  throttle(throttleTimeMs: number): void {
    const wasThrottled = this.#throttle !== null;
    this.#throttledUntilMs = Math.max(this.#throttledUntilMs, this.#clock.monotonicMs() + throttleTimeMs);
    if (wasThrottled) return;
    this.hold();
    this.#look();
  }

  /** No timer is left behind. */
  stop(): void {
    this.#throttle?.cancel();
    this.#throttle = null;
    this.releaseAll();
  }

  #look(): void {
    const restMs = this.#throttledUntilMs - this.#clock.monotonicMs();
    if (restMs > 0) {
      this.#throttle = this.#clock.schedule(restMs, () => this.#look(), { isAwaited: true });
      return;
    }
    this.#throttle = null;
    // A session may have ended meanwhile.
    if (this.#holds === 1) this.#beforeLeaving();
    this.release();
  }
}
