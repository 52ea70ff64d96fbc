import type { Clock, Random } from "@millrace/base/world";
import type { RetryOptions } from "./config-types.ts";

export interface RetrySettings {
  readonly maxRetryTime: number;
  readonly initialRetryTime: number;
  readonly factor: number;
  readonly multiplier: number;
  readonly retries: number;
}

const defaults: RetrySettings = { maxRetryTime: 30_000, initialRetryTime: 300, factor: 0.2, multiplier: 2, retries: 5 };

/** Later ones win; what is left out, or undefined, is the default. */
export function retrySettings(...options: readonly (RetryOptions | undefined)[]): RetrySettings {
  const settings: Record<keyof RetrySettings, number> = { ...defaults };
  for (const each of options) {
    for (const name of Object.keys(defaults) as (keyof RetrySettings)[]) {
      const value = each?.[name];
      if (value !== undefined) settings[name] = value;
    }
  }
  return settings;
}

/** The pauses between tries, one after the other: each is a chance around twice the one before. */
export class RetryPauses {
  readonly #settings: RetrySettings;
  readonly #random: Random;
  #nextMs: number;

  constructor(settings: RetrySettings, random: Random) {
    this.#settings = settings;
    this.#random = random;
    this.#nextMs = this.#around(settings.initialRetryTime);
  }

  next(): number {
    const { multiplier, maxRetryTime } = this.#settings;
    const pauseMs = Math.min(this.#nextMs, maxRetryTime);
    this.#nextMs = Math.min(this.#around(pauseMs) * multiplier, maxRetryTime);
    return pauseMs;
  }

  #around(ms: number): number {
    const delta = this.#settings.factor * ms;
    return Math.ceil(ms - delta + 2 * delta * this.#random.fraction());
  }
}

/** A timer's longest time, which stands for "for ever". */
const foreverMs = 2_147_483_647;

/** All pauses together, without chance. */
export function pausesMsSum({ maxRetryTime, initialRetryTime, multiplier, retries }: RetrySettings): number {
  let sumMs = 0;
  let pauseMs = initialRetryTime;
  for (let at = 0; at < retries && sumMs < foreverMs; at++) {
    if (pauseMs >= maxRetryTime) return Math.min(foreverMs, sumMs + (retries - at) * maxRetryTime);
    sumMs += pauseMs;
    pauseMs *= multiplier;
  }
  return Math.min(foreverMs, sumMs);
}

/** The last of them. */
export function lastPauseMs({ maxRetryTime, initialRetryTime, multiplier, retries }: RetrySettings): number {
  return Math.min(maxRetryTime, initialRetryTime * multiplier ** Math.max(0, retries - 1));
}

export async function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = (): void => resolve();
  const timer = clock.schedule(ms, end, { isAwaited: true });
  signal?.addEventListener("abort", end, { once: true });
  await promise;
  timer.cancel();
  signal?.removeEventListener("abort", end);
}
