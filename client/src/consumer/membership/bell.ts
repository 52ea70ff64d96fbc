import type { Clock } from "@millrace/base/world";

/** What waits looks again whenever something may have changed. */
export class Bell {
  readonly #clock: Clock;
  #next = Promise.withResolvers<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers<void>();
    resolve();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#next.promise;
  }

  /** As `until`, but for so long at most. Whether the condition holds. */
  async within(timeoutMs: number, condition: () => boolean): Promise<boolean> {
    let isOver = false;
    const onTimeout = (): void => {
      isOver = true;
      this.ring();
    };
    const timer = this.#clock.schedule(timeoutMs, onTimeout, { isAwaited: true });
    await this.until(() => isOver || condition());
    timer.cancel();
    return condition();
  }

  /** Whether the work, which never rejects, is done before the time is over or the condition holds. */
  async done(work: Promise<void>, timeoutMs: number, isGivenUp: () => boolean): Promise<boolean> {
    let isDone = false;
    void work.then(() => {
      isDone = true;
      this.ring();
    });
    await this.within(timeoutMs, () => isDone || isGivenUp());
    return isDone;
  }
}
