import { describe, expect, test } from "vitest";
import { CatchUpPacer } from "@millrace/base/node/catch-up";
import type { Clock, Timer } from "@millrace/base/world";

/** Time passes when a test says so, and the loop may be busy meanwhile: then what is due comes late. */
class BusyClock implements Clock {
  #nowMs = 0;
  #timers: { readonly dueMs: number; readonly callback: () => void }[] = [];

  now: Clock["now"] = () => this.#nowMs as ReturnType<Clock["now"]>;
  monotonicMs = (): number => this.#nowMs;
  afterTurn = (callback: () => void): void => callback();

  schedule(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((each) => each !== timer)) };
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** One turn: so long nothing is called, then everything that is due. */
  turn(busyMs: number): void {
    this.#nowMs += busyMs;
    const due = this.#timers.filter(({ dueMs }) => dueMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ dueMs }) => dueMs > this.#nowMs);
    for (const { callback } of due) callback();
  }
}

const mebibyte = 1024 * 1024;

/** A reader that takes what it gets, and others that ask for something each turn. Tells the megabytes a second that it got. */
function run(
  { clock, pacer }: { readonly clock: BusyClock; readonly pacer: CatchUpPacer },
  { seconds, busyMs, others }: { readonly seconds: number; readonly busyMs: number; readonly others: boolean },
): number {
  const endMs = clock.monotonicMs() + seconds * 1000;
  let sentBytes = 0;
  let isWaiting = false;
  while (clock.monotonicMs() < endMs) {
    if (others) pacer.countRequest();
    for (let left = 2 * mebibyte; left > 0 && !isWaiting;) {
      const allowed = pacer.allow(Math.min(left, mebibyte));
      if (allowed === 0) {
        isWaiting = true;
        pacer.wait(() => (isWaiting = false));
      }
      pacer.count(allowed);
      sentBytes += allowed;
      left -= allowed;
    }
    clock.turn(busyMs);
  }
  return sentBytes / 1e6 / seconds;
}

function setUp(): { clock: BusyClock; pacer: CatchUpPacer } {
  const clock = new BusyClock();
  return { clock, pacer: new CatchUpPacer(clock) };
}

describe("the rate of readers far behind", () => {
  test("is not bounded while nobody else asks for anything, however late the loop is", () => {
    expect(run(setUp(), { seconds: 2, busyMs: 20, others: false })).toBeCloseTo((2 * mebibyte) / 20_000, 0);
  });

  test("is not bounded while others are served in time", () => {
    expect(run(setUp(), { seconds: 2, busyMs: 1, others: true })).toBeGreaterThan(2_000);
  });

  test("falls while others wait for the loop, down to a rate that is left to it", () => {
    const world = setUp();
    const early = run(world, { seconds: 0.3, busyMs: 9, others: true });
    const late = run(world, { seconds: 3, busyMs: 9, others: true });
    const last = run(world, { seconds: 3, busyMs: 9, others: true });
    expect(early).toBeGreaterThan(late);
    // A piece a turn: what was saved up may not exceed it.
    expect(last).toBeGreaterThan(25);
    expect(last).toBeLessThan(70);
  });

  test("rises again once the loop keeps up, and is free when the others have gone", () => {
    const world = setUp();
    const held = run(world, { seconds: 3, busyMs: 9, others: true });
    const rising = run(world, { seconds: 4, busyMs: 1, others: true });
    expect(rising).toBeGreaterThan(2 * held);
    run(world, { seconds: 1, busyMs: 1, others: false });
    expect(run(world, { seconds: 1, busyMs: 1, others: false })).toBeGreaterThan(2_000);
  });

  test("costs no timer when nobody is behind", () => {
    const world = setUp();
    run(world, { seconds: 1, busyMs: 9, others: true });
    expect(world.clock.timers).toBeGreaterThan(0);
    for (let turn = 0; turn < 1_000; turn++) {
      world.pacer.countRequest();
      world.clock.turn(5);
    }
    expect(world.clock.timers).toBe(0);
  });

  test("lets those that wait go on in their order", () => {
    const world = setUp();
    run(world, { seconds: 3, busyMs: 9, others: true });
    const order: number[] = [];
    for (let reader = 0; reader < 3; reader++) {
      world.pacer.wait(() => {
        order.push(reader);
        world.pacer.count(mebibyte / 4);
      });
    }
    for (let turn = 0; turn < 200 && order.length < 3; turn++) world.clock.turn(1);
    expect(order).toEqual([0, 1, 2]);
  });
});
