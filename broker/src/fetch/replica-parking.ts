import type { Clock, Timer } from "@millrace/base/world";
import type { ExpectedFollowers } from "../partitions/expected-followers.ts";
import type { Partition } from "../partitions/partition.ts";

/** A follower with nothing to fetch hears of a new high watermark after so long: under load the next records bring it sooner. */
const HIGH_WATERMARK_NEWS_MS = 50;
/** While a follower is to come with partitions that it has not fetched here yet, it is not kept for longer. */
const EXPECTED_PARK_MS = 20;

export interface ParkedReplica {
  /** more: there are records, or the time is over; news: it is answered whatever there is. */
  readonly woken: Promise<"more" | "news">;
  cancel(): void;
}

/**
 * Waits until one of the partitions has more for a follower, written or only committed, or `endMs` has come; or, where it is to fetch
 * others as well, for a moment.
 */
export function parkReplica(
  { clock, expectedFollowers }: { readonly clock: Clock; readonly expectedFollowers: ExpectedFollowers },
  partitions: readonly Partition[],
  brokerId: number,
  endMs: number,
): ParkedReplica {
  const unwatch: (() => void)[] = [];
  const { promise: woken, resolve: wake } = Promise.withResolvers<"more" | "news">();
  let news: Timer | null = null;
  let isWaking = false;
  const release = (): void => {
    for (const stop of unwatch) stop();
    unwatch.length = 0;
    end.cancel();
    news?.cancel();
  };
  const wakeSoon = (why: "more" | "news"): void => {
    if (isWaking) return;
    isWaking = true;
    release();
    clock.afterTurn(() => wake(why));
  };
  const isExpected = expectedFollowers.isExpected(brokerId);
  const leftMs = endMs - clock.monotonicMs();
  const end = isExpected
    ? clock.schedule(Math.min(leftMs, EXPECTED_PARK_MS), () => wakeSoon("news"))
    : clock.schedule(leftMs, () => wakeSoon("more"));
  unwatch.push(expectedFollowers.whileParked(brokerId, () => wakeSoon("news")));
  const onNews = (): void => {
    if (!isWaking) news ??= clock.schedule(HIGH_WATERMARK_NEWS_MS, () => wakeSoon("news"));
  };
  for (const partition of partitions) {
    unwatch.push(partition.watchWritten(() => wakeSoon("more")));
    unwatch.push(partition.watch(onNews));
    if (partition.leadership?.remote(brokerId)?.toldHighWatermark !== partition.highWatermark) onNews();
  }
  return { woken, cancel: release };
}
