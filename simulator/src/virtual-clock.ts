import { systemClock } from "@millrace/base/node/system-clock";
import type { TimeMs } from "@millrace/base/units";
import type { Clock, Timer } from "@millrace/base/world";

interface Alarm {
  readonly dueMs: number;
  readonly callback: () => void;
}

/**
 * Time that stands still until a test moves it. Timers fire in the order in which they are due, and those that are due
 * together in the order in which they were set. Between two of them everything that they set off in microtasks is done.
 */
export class VirtualClock implements Clock {
  #elapsedMs = 0;
  #wallOffsetMs: number;
  readonly #alarms = new Set<Alarm>();
  #afterTurn: (() => void)[] = [];
  #isTurnEndDue = false;

  constructor(options: { readonly startMs?: number } = {}) {
    this.#wallOffsetMs = options.startMs ?? Date.UTC(2026, 0, 1);
  }

  now(): TimeMs {
    return Math.floor(this.#wallOffsetMs + this.#elapsedMs) as TimeMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  schedule(delayMs: number, callback: () => void): Timer {
    const alarm: Alarm = { dueMs: this.#elapsedMs + Math.min(Math.max(delayMs, 0), 2 ** 31 - 1), callback };
    this.#alarms.add(alarm);
    return { cancel: () => void this.#alarms.delete(alarm) };
  }

  afterTurn(callback: () => void): void {
    this.#afterTurn.push(callback);
    if (this.#isTurnEndDue) return;
    this.#isTurnEndDue = true;
    systemClock.afterTurn(() => {
      this.#isTurnEndDue = false;
      for (const due of this.#afterTurn.splice(0)) due();
    });
  }

  /** The wall clock steps forward or back; durations do not notice. */
  stepWallClock(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Timers that have not fired. */
  get pendingTimers(): number {
    return this.#alarms.size;
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    do {
      await new Promise<void>((resolve) => systemClock.afterTurn(resolve));
    } while (this.#isTurnEndDue);
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms;
    await this.settle();
    while (await this.#fireNext(endMs));
    this.#elapsedMs = endMs;
    await this.settle();
  }

  /** Moves from timer to timer until the condition holds; fails when it does not within the time. */
  async runUntil(condition: () => boolean, options: { readonly withinMs: number }): Promise<void> {
    const endMs = this.#elapsedMs + options.withinMs;
    await this.settle();
    while (!condition()) {
      const hasFired = await this.#fireNext(endMs);
      if (!hasFired) throw new Error(`the condition did not hold within ${options.withinMs} ms of virtual time`);
    }
  }

  async #fireNext(endMs: number): Promise<boolean> {
    let next: Alarm | null = null;
    for (const alarm of this.#alarms) if (next === null || alarm.dueMs < next.dueMs) next = alarm;
    if (next === null || next.dueMs > endMs) return false;
    this.#alarms.delete(next);
    this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
    next.callback();
    await this.settle();
    return true;
  }
}
