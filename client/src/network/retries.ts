import type { Clock, Random } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";

export interface RetryOptions {
  /** What is tried, for the message when the time is over: "topic orders". */
  readonly what: string;
  readonly timeoutMs: number;
  /** The first pause; each one after it is twice as long, up to a second. Default 100. */
  readonly backoffMsMin?: number;
}

const backoffMsMax = 1_000;

/** Tries again what may succeed later, and ends whatever is under way when its owner is closed. */
export class Retries {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #running = new Set<(error: KafkaError) => void>();
  #stopped: KafkaError | null = null;

  constructor({ clock, random }: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * Until an attempt succeeds or fails for good, or the time is over: then with TIMED_OUT, and the last failure as its
   * cause. An attempt that is under way at that moment is left to itself.
   */
  async run<T>({ what, timeoutMs, backoffMsMin = 100 }: RetryOptions, attempt: () => Promise<T>): Promise<T> {
    if (this.#stopped !== null) throw this.#stopped;
    let last: KafkaError | null = null;
    const { promise: end, reject } = Promise.withResolvers<never>();
    end.catch(() => {});
    this.#running.add(reject);
    const deadline = this.#clock.schedule(timeoutMs, () => reject(timedOut(what, timeoutMs, last)));
    try {
      for (let backoffMs = backoffMsMin; ; backoffMs = Math.min(2 * backoffMs, backoffMsMax)) {
        try {
          return await Promise.race([attempt(), end]);
        } catch (error) {
          const isWorthMore = error instanceof KafkaError && error.retriable && !isTimedOut(error);
          if (!isWorthMore) throw error;
          last = error;
        }
        await this.#pause(backoffMs, end);
      }
    } finally {
      deadline.cancel();
      this.#running.delete(reject);
    }
  }

  stop(error: KafkaError): void {
    this.#stopped = error;
    for (const reject of this.#running) reject(error);
  }

  async #pause(backoffMs: number, end: Promise<never>): Promise<void> {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const jittered = backoffMs * (0.8 + 0.4 * this.#random.fraction());
    const timer = this.#clock.schedule(jittered, resolve, { isAwaited: true });
    try {
      await Promise.race([over, end]);
    } finally {
      timer.cancel();
    }
  }
}

export function isTimedOut(error: unknown): boolean {
  return error instanceof KafkaError && error.code === "TIMED_OUT";
}

export function timedOut(what: string, timeoutMs: number, last: KafkaError | null): KafkaError {
  const reason = last === null ? "" : `: ${last.message}`;
  return new KafkaError("TIMED_OUT", `${what}: no success within ${Math.round(timeoutMs)} ms${reason}`, {
    retriable: true,
    ...(last === null ? {} : { cause: last }),
  });
}
