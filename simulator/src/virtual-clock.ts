import { systemClock } from "@millrace/base/node/system-clock";
import type { TimeMs } from "@millrace/base/units";
import type { Clock, Timer } from "@millrace/base/world";

interface Alarm {
  readonly dueMs: number;
  /** Among those that are due together the one that was set first is first. */
  readonly number: number;
  /** Null: cancelled. */
  callback: (() => void) | null;
}

/**
 * Time that stands still until a test moves it. Timers fire in the order in which they are due, and those that are due
 * together in the order in which they were set. Between two of them everything that they set off in microtasks is done.
 */
export class VirtualClock implements Clock {
  #elapsedMs = 0;
  #wallOffsetMs: number;
  /** A heap: those that were cancelled leave it when their time has come. */
  readonly #alarms: Alarm[] = [];
  #nextNumber = 0;
  #pendingTimers = 0;
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
    const dueMs = this.#elapsedMs + Math.min(Math.max(delayMs, 0), 2 ** 31 - 1);
    const alarm: Alarm = { dueMs, number: this.#nextNumber++, callback };
    this.#pendingTimers++;
    push(this.#alarms, alarm);
    return {
      cancel: () => {
        if (alarm.callback !== null) this.#pendingTimers--;
        alarm.callback = null;
      },
    };
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
    return this.#pendingTimers;
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
    let next = this.#alarms[0];
    while (next?.callback === null) {
      pop(this.#alarms);
      next = this.#alarms[0];
    }
    if (next === undefined || next.dueMs > endMs) return false;
    pop(this.#alarms);
    this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
    const { callback } = next;
    next.callback = null;
    this.#pendingTimers--;
    callback?.();
    await this.settle();
    return true;
  }
}

function isBefore(a: Alarm, b: Alarm): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number);
}

function push(heap: Alarm[], alarm: Alarm): void {
  let index = heap.push(alarm) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !isBefore(alarm, above)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = alarm;
}

function pop(heap: Alarm[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    const [left, right] = [heap[child], heap[child + 1]];
    if (left === undefined) break;
    let below = left;
    if (right !== undefined && isBefore(right, left)) {
      below = right;
      child++;
    }
    if (!isBefore(below, last)) break;
    heap[index] = below;
    index = child;
  }
  heap[index] = last;
}
