import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import type { Partition } from "../partitions/partition.ts";
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
export function parkUntilReadable(
  clock: Clock,
  partitions: readonly FetchPartition[],
  find: (asked: FetchPartition) => Result<Partition, unknown>,
  endMs: number,
): Parked {
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
  for (const asked of partitions) {
    const found = find(asked);
    if (found.ok) unwatch.push(found.value.watch(wakeSoon));
  }
  return { woken, cancel: release };
}
