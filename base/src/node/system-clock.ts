import type { Clock, Timer } from "../world.ts";
import type { TimeMs } from "../units.ts";

/** The longest delay that a timer of the platform takes; a longer one would fire at once. */
const delayMsMax = 2 ** 31 - 1;

class SystemTimer implements Timer {
  readonly #timeout: NodeJS.Timeout;
  constructor(timeout: NodeJS.Timeout) {
    this.#timeout = timeout;
  }
  cancel(): void {
    clearTimeout(this.#timeout);
  }
}

export const systemClock: Clock = {
  now: () => Date.now() as TimeMs,
  monotonicMs: () => performance.now(),
  schedule(delayMs, callback, options) {
    const timeout = setTimeout(callback, Math.min(Math.max(delayMs, 0), delayMsMax));
    if (options?.isAwaited !== true) timeout.unref();
    return new SystemTimer(timeout);
  },
  // The check phase of the event loop follows its poll phase, in which every socket with input has been read.
  afterTurn(callback) {
    setImmediate(callback);
  },
};
