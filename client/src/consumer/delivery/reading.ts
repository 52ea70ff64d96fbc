import type { Clock } from "@millrace/base/world";
import type { Consumption } from "../consumption.ts";

export interface ReadingOptions {
  readonly consumption: Consumption;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

/** So long records are handed out before the event loop gets a turn: heartbeats and answers come in it. */
const turnMsMax = 10;
/** After so long whoever waits looks again. */
const waitMsMax = 3_600_000;
/** Looking at the clock costs as much as a small record: so many may pass between two looks, as long as they are quick. */
const strideMax = 16;

/** What all fronts have in common: the beginning, the end, the signal, and turns for others. */
export class Reading {
  readonly #options: ReadingOptions;
  readonly #onAbort: () => void;
  #isStarted = false;
  #isEnded = false;
  #whenEnded: () => void = () => {};
  #turnMs = 0;
  #lookedMs = 0;
  /** How many records pass between two looks at the clock, and how many are left. */
  #stride = 1;
  #untilLook = 1;

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#onAbort = () => void this.end();
  }

  /** Nothing more may be handed out. */
  get isEnded(): boolean {
    return this.#isEnded || this.#options.consumption.isEnded;
  }

  /**
   * Whether something may be handed out. To be asked before each look for something; it begins the reading, and gives the
   * event loop a turn where it had none for a while.
   */
  async goesOn(): Promise<boolean> {
    const { signal } = this.#options;
    if (!this.#isStarted) await this.#start();
    if (this.isEnded || signal?.aborted === true) return false;
    await this.#letOthers();
    this.#options.consumption.look();
    return !this.isEnded;
  }

  /** To be asked for each record that is handed out: whether `goesOn` is due, so that others get their turn. */
  isTurnDue(): boolean {
    if (--this.#untilLook > 0) return false;
    const nowMs = this.#options.clock.monotonicMs();
    const eachMs = (nowMs - this.#lookedMs) / this.#stride;
    this.#lookedMs = nowMs;
    this.#stride = Math.max(1, Math.min(strideMax, 2 * this.#stride, Math.floor(turnMsMax / Math.max(eachMs, 0.001))));
    this.#untilLook = this.#stride;
    return nowMs - this.#turnMs >= turnMsMax;
  }

  /**
   * Where there is nothing to take: until there may be something, or the time is over. False: there will never be.
   *
   * @throws what reading failed with; what was fetched before that is handed out first.
   */
  async untilNews(timeoutMs?: number): Promise<boolean> {
    const { consumption, clock } = this.#options;
    if (consumption.hasReady) return true;
    if (consumption.failure !== null) throw consumption.failure;
    if (consumption.isOver) return false;
    const { promise: over, resolve } = Promise.withResolvers<void>();
    // Somebody waits: a program must not end because no request happens to be under way.
    const timer = clock.schedule(timeoutMs ?? waitMsMax, resolve, { isAwaited: true });
    await Promise.race([consumption.untilNews(), over]);
    timer.cancel();
    this.#turnMs = clock.monotonicMs();
    return true;
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#whenEnded();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    await this.#options.consumption.end();
  }

  async #start(): Promise<void> {
    const { consumption, signal, clock } = this.#options;
    this.#isStarted = true;
    if (signal?.aborted === true) return;
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    this.#whenEnded = resolve;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    const started = consumption.start();
    started.catch(() => undefined);
    await Promise.race([started, ended]);
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
