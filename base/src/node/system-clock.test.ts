import { expect, test } from "vitest";
import { systemClock } from "@millrace/base/node/system-clock";

test("timers fire once after their delay, and a cancelled one does not", async () => {
  const before = systemClock.monotonicMs();
  const fired: string[] = [];
  systemClock.schedule(5, () => fired.push("cancelled")).cancel();
  const timer = await new Promise((resolve) => {
    const set = systemClock.schedule(10, () => resolve(set));
    setTimeout(() => undefined, 50); // A timer of ours keeps no process alive.
  });
  (timer as { cancel(): void }).cancel();
  expect(systemClock.monotonicMs() - before).toBeGreaterThanOrEqual(9);
  expect(fired).toEqual([]);
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
});

test("a delay beyond what the platform takes does not fire at once", async () => {
  let hasFired = false;
  const timers = [2 ** 40, Infinity].map((delayMs) => systemClock.schedule(delayMs, () => (hasFired = true)));
  await new Promise<void>((resolve) => systemClock.schedule(-5, resolve));
  await new Promise<void>((resolve) => systemClock.afterTurn(resolve));
  expect(hasFired).toBe(false);
  for (const timer of timers) timer.cancel();
});
