import type { Clock, Timer } from "@millrace/base/world";

/** Who holds request bytes and can be told to stop reading. */
export interface BudgetHolder {
  resumeReading(): void;
  /** Holds the beginning of a frame and nothing that is being served: only more reading can free what it holds. */
  readonly isHalfFrame: boolean;
  closeStalled(reason: string): void;
}

/**
 * The bytes of requests that all connections hold together. Full means: stop reading. If everything that fills it were
 * halves of frames, nobody could go on, so one holder at a time may read past the limit until its frame is whole; it is
 * closed when nothing arrives for `stallMs`.
 */
export class MemoryBudget {
  readonly #limitBytes: number;
  readonly #stallMs: number;
  readonly #clock: Clock;
  readonly #waiting = new Set<BudgetHolder>();
  #usedBytes = 0;
  #privileged: BudgetHolder | null = null;
  #stallTimer: Timer | null = null;

  constructor(options: { readonly limitBytes: number; readonly stallMs: number; readonly clock: Clock }) {
    this.#limitBytes = options.limitBytes;
    this.#stallMs = options.stallMs;
    this.#clock = options.clock;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Counts bytes that arrived. False: the holder must stop reading until `resumeReading`. */
  take(holder: BudgetHolder, countBytes: number): boolean {
    this.#usedBytes += countBytes;
    if (this.#usedBytes <= this.#limitBytes) return true;
    if (this.#privileged === holder) {
      if (holder.isHalfFrame) {
        this.#watchStall(holder);
        return true;
      }
      this.#passOn();
    } else if (this.#privileged === null && holder.isHalfFrame) {
      this.#privileged = holder;
      this.#watchStall(holder);
      return true;
    }
    this.#waiting.add(holder);
    return false;
  }

  release(countBytes: number): void {
    this.#usedBytes -= countBytes;
    if (this.#waiting.size === 0 || this.#usedBytes > this.#limitBytes) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const holder of waiting) holder.resumeReading();
  }

  /** The holder's connection is gone; its bytes are released apart. */
  forget(holder: BudgetHolder): void {
    this.#waiting.delete(holder);
    if (this.#privileged === holder) this.#passOn();
  }

  #passOn(): void {
    this.#stallTimer?.cancel();
    this.#stallTimer = null;
    this.#privileged = null;
    if (this.#usedBytes <= this.#limitBytes) return;
    for (const holder of this.#waiting) {
      if (!holder.isHalfFrame) continue;
      this.#waiting.delete(holder);
      this.#privileged = holder;
      this.#watchStall(holder);
      holder.resumeReading();
      return;
    }
  }

  #watchStall(holder: BudgetHolder): void {
    this.#stallTimer?.cancel();
    this.#stallTimer = this.#clock.schedule(this.#stallMs, () => {
      if (this.#usedBytes > this.#limitBytes) {
        holder.closeStalled(`no byte of a half-sent frame came for ${this.#stallMs} ms while request memory is full`);
      } else this.#passOn();
    });
  }
}
