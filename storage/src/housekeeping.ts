import type { Clock, Timer } from "@millrace/base/world";

/** Works that are done again and again, one at a time. */
export class Housekeeping {
  readonly #clock: Clock;
  readonly #onFailed: (error: unknown) => void;
  readonly #timers = new Set<Timer>();
  #last: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: { readonly clock: Clock; readonly onFailed: (error: unknown) => void }) {
    this.#clock = options.clock;
    this.#onFailed = options.onFailed;
  }

  /** The interval begins when the work has ended. */
  every(intervalMs: number, work: () => Promise<void>): void {
    if (this.#isStopped) return;
    const timer = this.#clock.schedule(intervalMs, () => {
      this.#timers.delete(timer);
      this.inTurn(work).then(
        () => this.every(intervalMs, work),
        (error: unknown) => {
          this.#onFailed(error);
          this.every(intervalMs, work);
        },
      );
    });
    this.#timers.add(timer);
  }

  /** After all work that was asked for before. */
  inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(() => (this.#isStopped ? undefined : work()));
    this.#last = done.catch(() => {});
    return done;
  }

  /** No work begins any more. */
  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  /** Settled when the work that was under way has ended. */
  async close(): Promise<void> {
    this.stop();
    await this.#last;
  }
}
