import type { TransactionTimes } from "./plan.ts";

/** One sync of the broker, in milliseconds of the system's monotonic clock (sync-trace.js). */
export interface Sync {
  readonly beganMs: number;
  readonly endedMs: number;
}

/**
 * Of each transaction the syncs that had to follow each other: as many of those within it as do not overlap, the first
 * to end each time. Syncs that ran at the same time cost the time of one.
 */
export function serialSyncs(transactions: readonly TransactionTimes[], syncs: readonly Sync[]): Sync[][] {
  const byEnd = syncs.toSorted((a, b) => a.endedMs - b.endedMs);
  let at = 0;
  return transactions.map(({ beganMs, endedMs }) => {
    while ((byEnd[at]?.endedMs ?? Infinity) < beganMs) at++;
    const chain: Sync[] = [];
    let freeMs = beganMs;
    for (let index = at; (byEnd[index]?.endedMs ?? Infinity) <= endedMs; index++) {
      const sync = byEnd[index];
      if (sync === undefined || sync.beganMs < freeMs) continue;
      chain.push(sync);
      freeMs = sync.endedMs;
    }
    return chain;
  });
}

/** One transaction in words: when it was produced, when it ended, and the syncs between. */
export function traceText({ beganMs, producedMs, endedMs }: TransactionTimes, chain: readonly Sync[]): string {
  const since = (ms: number): string => (ms - beganMs).toFixed(2);
  const text = (from: number, to: number): string =>
    chain
      .filter((sync) => sync.endedMs > from && sync.endedMs <= to)
      .map((sync) => `[sync ${since(sync.beganMs)} to ${since(sync.endedMs)}]`)
      .join(" ");
  return `Produce 0.00 ${text(beganMs, producedMs)} answered ${since(producedMs)}; EndTxn ${text(producedMs, endedMs)} answered ${since(endedMs)} ms`;
}
