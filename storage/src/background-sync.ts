import type { Clock, Timer } from "@millrace/base/world";
import type { Committer } from "./group-commit.ts";
import type { WriteQueue } from "./write-queue.ts";

/**
 * Durability `os`: what was written and not synced is never older than a bound when its sync is asked for.
 *
 *     a    write ──────────────── due        one timer, for the log that is due first; logs that are
 *     b            write ────────── ┤        due soon go with it, so that they share a group
 *     c                      write  ┊ ─────────────── due
 *
 * It takes no turn with the housekeeping, since a compaction or retention that is under way must not widen the bound.
 */
export class BackgroundSync {
  readonly #clock: Clock;
  readonly #committer: Pick<Committer, "syncSoon">;
  readonly #intervalMs: number;
  /** When the sync of each log that was written is due; monotonic. */
  readonly #dueMs = new Map<WriteQueue, number>();
  #timer: Timer | null = null;
  #timerDueMs = Infinity;
  #isStopped = false;

  constructor(options: {
    readonly clock: Clock;
    readonly committer: Pick<Committer, "syncSoon">;
    readonly intervalMs: number;
  }) {
    this.#clock = options.clock;
    this.#committer = options.committer;
    this.#intervalMs = options.intervalMs;
  }

  /** Something of this log was written without a sync; the log's own limit is `flush.ms`. */
  onWritten(queue: WriteQueue, limitMs: number): void {
    if (this.#isStopped || this.#dueMs.has(queue)) return;
    const dueMs = this.#clock.monotonicMs() + Math.min(this.#intervalMs, limitMs);
    this.#dueMs.set(queue, dueMs);
    this.#wakeAt(dueMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#dueMs.clear();
  }

  #wakeAt(dueMs: number): void {
    if (dueMs >= this.#timerDueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    this.#timer = this.#clock.schedule(dueMs - this.#clock.monotonicMs(), () => this.#onWake());
  }

  #onWake(): void {
    this.#timer = null;
    this.#timerDueMs = Infinity;
    const soonMs = this.#clock.monotonicMs() + this.#intervalMs / 2;
    let nextMs = Infinity;
    for (const [queue, dueMs] of this.#dueMs) {
      if (dueMs > soonMs) nextMs = Math.min(nextMs, dueMs);
      else {
        // What is written from now on is noted anew.
        this.#dueMs.delete(queue);
        this.#committer.syncSoon(queue);
      }
    }
    if (nextMs < Infinity) this.#wakeAt(nextMs);
  }
}
