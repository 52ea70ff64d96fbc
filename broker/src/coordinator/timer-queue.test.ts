import fc from "fast-check";
import { expect, test } from "vitest";
import { TimerQueue } from "./timer-queue.ts";

test("timers come out when they are due, whatever was moved or cancelled before", () => {
  const change = fc.record({
    id: fc.constantFrom("a", "b", "c", "d", "e"),
    afterMs: fc.option(fc.nat(50)),
    passMs: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60, size: "max" }), (changes) => {
      const queue = new TimerQueue<{ readonly id: string }>();
      const expected = new Map<string, number>();
      let nowMs = 0;
      for (const { id, afterMs, passMs } of changes) {
        if (afterMs === null) {
          queue.cancel(id);
          expected.delete(id);
        } else {
          queue.set({ id }, nowMs + afterMs);
          expected.set(id, nowMs + afterMs);
        }
        nowMs += passMs;
        expect(queue.nextCheckMs).toBeLessThanOrEqual(Math.min(...expected.values()));
        for (let due = queue.takeDue(nowMs); due !== null; due = queue.takeDue(nowMs)) {
          expect(expected.get(due.id)).toBeLessThanOrEqual(nowMs);
          expected.delete(due.id);
        }
        expect([...expected.values()].filter((dueMs) => dueMs <= nowMs)).toEqual([]);
        expect(queue.size).toBe(expected.size);
      }
    }),
  );
});

test("moving a timer later again and again costs no memory", () => {
  const queue = new TimerQueue<{ readonly id: string }>();
  for (let index = 0; index < 100_000; index++) queue.set({ id: "heartbeat" }, index);
  expect(queue.takeDue(99_998)).toBeNull();
  expect(queue.takeDue(99_999)).toEqual({ id: "heartbeat" });
});

test("timers that come and go leave little behind", () => {
  const queue = new TimerQueue<{ readonly id: string }>();
  for (let index = 0; index < 100_000; index++) {
    queue.set({ id: `member-${index}` }, 1_800_000);
    queue.cancel(`member-${index}`);
  }
  expect(queue.checksCount).toBeLessThan(2_000);
});
