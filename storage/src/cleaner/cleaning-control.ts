import type { Clock } from "@millrace/base/world";

const CANCELLED = 0;
const BYTES = 16;
const PAUSE_MS_MIN = 5;
/** So soon a pause sees that it was cancelled. */
const PAUSE_MS_MAX = 200;

/** What a round of cleaning is told while it is under way, in another thread: to end, and how fast it may go. */
export class CleaningControl {
  readonly #flags: Int32Array;
  readonly #rate: Float64Array;
  readonly #clock: Clock;
  /** When the bytes that were used so far may have been used. */
  #allowedMs: number;

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(BYTES);
  }

  constructor(memory: SharedArrayBuffer, clock: Clock) {
    this.#flags = new Int32Array(memory, 0, 1);
    this.#rate = new Float64Array(memory, 8, 1);
    this.#clock = clock;
    this.#allowedMs = clock.monotonicMs();
  }

  get isCancelled(): boolean {
    return Atomics.load(this.#flags, 0) !== CANCELLED;
  }

  cancel(): void {
    Atomics.store(this.#flags, 0, CANCELLED + 1);
  }

  /** `log.cleaner.io.max.bytes.per.second`: read and written together. */
  set bytesPerSecond(rate: number) {
    this.#rate[0] = rate;
  }

  /** So many bytes were read or written; resolves when more may be. */
  async use(sizeBytes: number): Promise<void> {
    const rate = this.#rate[0] as number;
    const nowMs = this.#clock.monotonicMs();
    this.#allowedMs = Math.max(this.#allowedMs, nowMs) + (sizeBytes / rate) * 1000;
    // A shorter pause is made good with the next.
    if (this.#allowedMs - nowMs < PAUSE_MS_MIN) return;
    for (let restMs = this.#allowedMs - nowMs; restMs > 0 && !this.isCancelled;) {
      const pauseMs = Math.min(restMs, PAUSE_MS_MAX);
      await new Promise<void>((resolve) => this.#clock.schedule(pauseMs, resolve, { isAwaited: true }));
      restMs = this.#allowedMs - this.#clock.monotonicMs();
    }
  }
}
