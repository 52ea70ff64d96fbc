import type { CoordinatorTimer } from "./machine.ts";

interface Armed<Timer> {
  timer: Timer;
  dueMs: number;
  /** Where the heap will look at it: never later than `dueMs`, so that moving a timer later costs one store. */
  checkMs: number;
}

interface Check {
  readonly atMs: number;
  readonly id: string;
}

/**
 * Timers by id. A heartbeat moves a session timer later thousands of times before it ever runs out, so moving later
 * only writes the new time: the heap finds out when the old time comes, and puts the timer back.
 */
export class TimerQueue<Timer extends CoordinatorTimer> {
  readonly #armed = new Map<string, Armed<Timer>>();
  #heap: Check[] = [];

  get size(): number {
    return this.#armed.size;
  }

  /** Entries of the heap: those armed, and what cancelled and moved ones have left behind. */
  get checksCount(): number {
    return this.#heap.length;
  }

  /** When to look next; Infinity when nothing is armed. May be too early, never too late. */
  get nextCheckMs(): number {
    return this.#heap[0]?.atMs ?? Infinity;
  }

  set(timer: Timer, dueMs: number): void {
    const armed = this.#armed.get(timer.id);
    if (armed !== undefined && armed.checkMs <= dueMs) {
      armed.timer = timer;
      armed.dueMs = dueMs;
      return;
    }
    this.#armed.set(timer.id, { timer, dueMs, checkMs: dueMs });
    this.#push({ atMs: dueMs, id: timer.id });
  }

  cancel(id: string): void {
    this.#armed.delete(id);
  }

  dueMs(id: string): number | null {
    return this.#armed.get(id)?.dueMs ?? null;
  }

  /** The next timer that has run out, or null; it is armed no more. One at a time, since its decision may move the others. */
  takeDue(nowMs: number): Timer | null {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.atMs > nowMs) return null;
      this.#pop();
      const armed = this.#armed.get(first.id);
      if (armed === undefined || armed.checkMs !== first.atMs) continue;
      if (armed.dueMs <= nowMs) {
        this.#armed.delete(first.id);
        return armed.timer;
      }
      armed.checkMs = armed.dueMs;
      this.#push({ atMs: armed.dueMs, id: first.id });
    }
  }

  /** Checks of timers that were cancelled or moved earlier stay in the heap until their time: bounded here. */
  #push(check: Check): void {
    if (this.#heap.length > 1024 + 2 * this.#armed.size) this.#rebuild();
    const heap = this.#heap;
    let at = heap.length;
    heap.push(check);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt] as Check;
      if (parent.atMs <= check.atMs) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = check;
  }

  #pop(): Check {
    const heap = this.#heap;
    const first = heap[0] as Check;
    const last = heap.pop() as Check;
    const length = heap.length;
    if (length === 0) return first;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= length) break;
      const right = childAt + 1;
      if (right < length && (heap[right] as Check).atMs < (heap[childAt] as Check).atMs) childAt = right;
      const child = heap[childAt] as Check;
      if (last.atMs <= child.atMs) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
    return first;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [id, armed] of this.#armed) {
      armed.checkMs = armed.dueMs;
      this.#heap.push({ atMs: armed.dueMs, id });
    }
    // A sorted array is a heap.
    this.#heap.sort((a, b) => a.atMs - b.atMs);
  }
}
