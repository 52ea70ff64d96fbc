import type { Clock } from "@millrace/base/world";
import type { Consumption } from "../consumption.ts";

export interface ReadingOptions {
  readonly consumption: Consumption;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

/** So long records are handed out before the event loop gets a turn: heartbeats and answers come in it. */
const turnMsMax = 10;

/** What all fronts have in common: the beginning, the end, the signal, and turns for others. */
export class Reading {
  readonly #options: ReadingOptions;
  readonly #onAbort: () => void;
  #isStarted = false;
  #isEnded = false;
  #turnMs = 0;
  #aborted: Promise<void> = new Promise(() => {});

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#onAbort = () => void this.end();
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Whether something may be handed out. To be asked before each look for something; it begins the reading, and gives the
   * event loop a turn where it had none for a while.
   */
  async goesOn(): Promise<boolean> {
    const { signal } = this.#options;
    if (!this.#isStarted) await this.#start();
    if (this.#isEnded || signal?.aborted === true) return false;
    await this.#letOthers();
    return !this.#isEnded;
  }

  /**
   * Where there is nothing to take: until there may be something, or the time is over. False: there will never be.
   *
   * @throws what reading failed with; what was fetched before that is handed out first.
   */
  async untilNews(timeoutMs?: number): Promise<boolean> {
    const { consumption, clock } = this.#options;
    if (consumption.failure !== null) throw consumption.failure;
    if (consumption.isOver) return false;
    const waits: Promise<void>[] = [consumption.untilNews(), this.#aborted];
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = timeoutMs === undefined ? null : clock.schedule(timeoutMs, resolve, { isAwaited: true });
    if (timer !== null) waits.push(over);
    await Promise.race(waits);
    timer?.cancel();
    this.#turnMs = clock.monotonicMs();
    return true;
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    await this.#options.consumption.end();
  }

  async #start(): Promise<void> {
    const { consumption, signal, clock } = this.#options;
    this.#isStarted = true;
    if (signal?.aborted === true) return;
    if (signal !== undefined) {
      signal.addEventListener("abort", this.#onAbort, { once: true });
      this.#aborted = new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    const started = consumption.start();
    started.catch(() => undefined);
    await Promise.race([started, this.#aborted]);
    this.#turnMs = clock.monotonicMs();
  }

  /** A loop that always finds something ready would keep everything else waiting. */
  async #letOthers(): Promise<void> {
    const { clock } = this.#options;
    if (clock.monotonicMs() - this.#turnMs < turnMsMax) return;
    await new Promise<void>((resolve) => clock.afterTurn(resolve));
    this.#turnMs = clock.monotonicMs();
  }
}
