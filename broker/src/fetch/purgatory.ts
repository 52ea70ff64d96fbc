import type { Services } from "../services.ts";
import type { FetchPartition } from "./sessions.ts";

export interface Parked {
  /** Settles once there may be more to read, or the time is over. */
  readonly woken: Promise<void>;
  cancel(): void;
}

/**
 * Waits until one of the partitions has more to read or `endMs` has come. Many appends of one turn wake it once, at the
 * turn's end, so that a fetch is not read again for each of them.
 */
export function parkUntilReadable(services: Services, partitions: readonly FetchPartition[], endMs: number): Parked {
  const { clock } = services;
  const unwatch: (() => void)[] = [];
  let isWaking = false;
  let wake: () => void = () => {};
  const woken = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const release = (): void => {
    for (const stop of unwatch) stop();
    unwatch.length = 0;
    timer.cancel();
  };
  const wakeSoon = (): void => {
    if (isWaking) return;
    isWaking = true;
    release();
    clock.afterTurn(wake);
  };
  const timer = clock.schedule(endMs - clock.monotonicMs(), wakeSoon);
  for (const { topic, partition } of partitions) {
    const found = services.partitions.leading(topic ?? "", partition);
    if (found.ok) unwatch.push(found.value.watch(wakeSoon));
  }
  return { woken, cancel: release };
}
