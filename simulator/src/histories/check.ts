import type { Result } from "@millrace/base/result";
import { failed, ok } from "@millrace/base/result";
import { checkCycles } from "./cycles.ts";
import { Findings } from "./findings.ts";
import type { Finding, FindingKind } from "./findings.ts";
import { checkGroups } from "./groups.ts";
import type { HistoryEvent } from "./history.ts";
import { logsOf } from "./logs.ts";
import { operationsOf } from "./operations.ts";
import { checkIsolation, followReaders } from "./readers.ts";
import { checkPresence, checkSendOrder } from "./writers.ts";

export interface CheckOptions {
  /** The history ends with a committed reader that read every partition from its start to its end. Default true. */
  readonly isReadToEnd?: boolean;
  /** Whether send skip, G0 and G0-process count: the workload keeps transactions apart. Default false. */
  readonly areWritesIsolated?: boolean;
  /** Of a classic group, for "two owners". Default 45 s, as Kafka's clients have it. */
  readonly sessionTimeoutMs?: number;
  /** So many findings of each kind are put into words. Default 10. */
  readonly textsMax?: number;
}

export interface Report {
  readonly findings: readonly Finding[];
  /** How many of each kind there are, worded or not. */
  readonly counts: ReadonlyMap<FindingKind, number>;
  readonly size: HistorySize;
}

/** How much the history has of what can go wrong: a check of nothing finds nothing. */
export interface HistorySize {
  readonly events: number;
  readonly acknowledged: number;
  readonly indeterminate: number;
  readonly read: number;
  readonly committed: number;
  readonly aborted: number;
  readonly undecided: number;
}

/**
 * Looks for every class of `findings.ts` in a history, in time that grows with its size and no faster but for sorting.
 * What was not answered may have happened or not: it is neither missed nor forbidden, but where a part of it is seen the
 * rest of it is held to have happened too. Fails for a history that no clients can have written.
 */
export function checkHistory(events: readonly HistoryEvent[], options: CheckOptions = {}): Result<Report, "malformed"> {
  const { isReadToEnd = true, areWritesIsolated = false, sessionTimeoutMs = 45_000, textsMax = 10 } = options;
  const gathered = operationsOf(events);
  if (!gathered.ok) return failed("malformed", gathered.message);
  const operations = gathered.value;
  const findings = new Findings(textsMax);
  const logs = logsOf(operations, findings);
  const coverage = followReaders(operations, logs, findings);
  checkIsolation(operations, findings);
  checkPresence(operations, { logs, coverage, isReadToEnd }, findings);
  checkSendOrder(operations, { logs, areWritesIsolated }, findings);
  checkCycles(operations, { logs, areWritesIsolated }, findings);
  checkGroups(operations, { logs, sessionTimeoutMs, isReadToEnd }, findings);
  const { writes, polls, transactions } = operations;
  const writing = transactions.filter((transaction) => transaction.writes.length > 0);
  const count = <T>(all: readonly T[], isCounted: (each: T) => boolean): number =>
    all.reduce((sum, each) => sum + (isCounted(each) ? 1 : 0), 0);
  return ok({
    findings: findings.list,
    counts: findings.counts,
    size: {
      events: events.length,
      acknowledged: count(writes, ({ outcome }) => outcome === "ok"),
      indeterminate: count(writes, ({ outcome }) => outcome === "info"),
      read: polls.reduce((sum, { reads }) => sum + reads.length, 0),
      committed: count(writing, ({ fate }) => fate === "committed"),
      aborted: count(writing, ({ fate }) => fate === "aborted"),
      undecided: count(writing, ({ fate }) => fate === "indeterminate"),
    },
  });
}
