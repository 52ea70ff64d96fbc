import type { Clock, Random } from "@millrace/base/world";

const firstMs = 50;
const lastMs = 1_000;
/** Nodes that failed together do not come back together. */
const jitter = 0.2;

/** How long to wait before the next try: 50 ms, doubled with each failure, up to a second; each a fifth more or less. */
export class Backoff {
  readonly #random: Random;
  #failures = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Of the failure that has just been. */
  nextMs(): number {
    const wholeMs = Math.min(lastMs, firstMs * 2 ** this.#failures++);
    return wholeMs * (1 - jitter + 2 * jitter * this.#random.fraction());
  }

  reset(): void {
    this.#failures = 0;
  }
}

/** Over after so long, or as soon as the signal is given. */
export async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.schedule(delayMs, end);
    signal.addEventListener("abort", end);
  });
}
