import { expect, test } from "vitest";
import { VirtualClock } from "@millrace/simulator/virtual-clock";

test("time moves only when it is told to, and timers fire in order", async () => {
  const clock = new VirtualClock({ startMs: 1000 });
  const seen: string[] = [];
  const note = (name: string) => () => void seen.push(`${name}@${clock.monotonicMs()}`);
  clock.schedule(20, note("b"));
  clock.schedule(10, note("a"));
  clock.schedule(20, note("c"));
  clock.schedule(15, note("never")).cancel();
  clock.schedule(10, () => void clock.schedule(5, note("nested")));
  await clock.advance(9);
  expect(seen).toEqual([]);
  await clock.advance(100);
  expect(seen).toEqual(["a@10", "nested@15", "b@20", "c@20"]);
  expect([clock.now(), clock.monotonicMs(), clock.pendingTimers]).toEqual([1109, 109, 0]);
});

test("everything that a timer sets off is done before the next one", async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  clock.schedule(1, () => {
    void (async () => {
      for (let step = 0; step < 100; step++) await Promise.resolve();
      seen.push("work of the first");
      clock.afterTurn(() => seen.push("after its turn"));
    })();
  });
  clock.schedule(2, () => seen.push("second"));
  await clock.advance(2);
  expect(seen).toEqual(["work of the first", "after its turn", "second"]);
});

test("the clock runs until something holds, or says that it does not", async () => {
  const clock = new VirtualClock();
  let isReady = false;
  clock.schedule(30_000, () => (isReady = true));
  await expect(clock.runUntil(() => isReady, { withinMs: 1000 })).rejects.toThrow("within 1000 ms of virtual time");
  await clock.runUntil(() => isReady, { withinMs: 30_000 });
  expect(clock.monotonicMs()).toBe(30_000);
});

test("the wall clock may step, and durations do not notice", async () => {
  const clock = new VirtualClock({ startMs: 5000 });
  clock.stepWallClock(-2000);
  await clock.advance(10);
  expect([clock.now(), clock.monotonicMs()]).toEqual([3010, 10]);
});
