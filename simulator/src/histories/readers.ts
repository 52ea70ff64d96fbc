import { named } from "./findings.ts";
import type { Findings } from "./findings.ts";
import type { Isolation } from "./history.ts";
import { indexAfter } from "./logs.ts";
import type { Logs } from "./logs.ts";
import { placeName, transactionName } from "./operations.ts";
import type { ClientId, Operations, PartitionId, Poll, Read, Step } from "./operations.ts";

/** Where readers went without being moved: what lies there they had to see. */
export interface Coverage {
  isPassed(isolation: Isolation, partition: PartitionId, offset: number): boolean;
}

/** One reader in one partition, since it was last told where to stand. */
interface Run {
  readonly isolation: Isolation;
  readonly first: number;
  /** The offset that it read last, or the one before its first position. */
  last: number;
  /** Null before the first record. */
  lastPoll: Poll | null;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

/**
 * Follows every consumer from poll to poll: it goes on where it was, over every record that readers like it can see.
 * Assignment, revocation, seek and a failed poll end that; after a position or a seek it is known where it goes on.
 */
export function followReaders(operations: Operations, logs: Logs, findings: Findings): Coverage {
  const { partitionNames, clientNames, steps } = operations;
  const runs = clientNames.map(() => new Map<PartitionId, Run>());
  const isolations = clientNames.map((): Isolation => "read_uncommitted");
  for (const { client, isolation } of operations.polls) isolations[client] = isolation;
  const passed = {
    read_committed: partitionNames.map((): Range[] => []),
    read_uncommitted: partitionNames.map((): Range[] => []),
  };

  const end = (partition: PartitionId, { isolation, first, last }: Run): void => {
    if (last >= first) passed[isolation][partition]?.push({ first, last });
  };
  const leave = (client: ClientId, partition: PartitionId): void => {
    const run = runs[client]?.get(partition);
    if (run === undefined) return;
    end(partition, run);
    runs[client]?.delete(partition);
  };
  const read = (poll: Poll, { partition, offset }: Read): void => {
    const run = runs[poll.client]?.get(partition);
    const begin = (): void => {
      const fresh = { isolation: poll.isolation, first: offset, last: offset, lastPoll: poll };
      runs[poll.client]?.set(partition, fresh);
    };
    if (run === undefined) return begin();
    const where = isInternal(run.lastPoll, poll) ? "internal" : "external";
    if (offset <= run.last) {
      findings.add(`${where} nonmonotonic poll`, () => {
        const from = run.lastPoll === null ? `position ${run.last + 1}` : `${run.last}`;
        return `${reader(operations, poll)} went from ${from} to ${placeName(operations, partition, offset)}`;
      });
      end(partition, run);
      return begin();
    }
    const seen = logs.seen[poll.isolation][partition] ?? new Float64Array();
    const next = indexAfter(seen, run.last);
    if ((seen[next] ?? Infinity) < offset) {
      const { last } = run;
      findings.add(`${where} poll skip`, () => {
        const skipped = [...seen.subarray(next, indexAfter(seen, offset - 1))].map(String);
        return `${reader(operations, poll)} went from ${last} to ${placeName(operations, partition, offset)} over ${named(skipped)}`;
      });
    }
    run.last = offset;
    run.lastPoll = poll;
  };

  const take = (step: Step): void => {
    switch (step.kind) {
      case "leave":
        for (const partition of step.partitions) leave(step.client, partition);
        return;
      case "stand":
        for (const { partition, offset } of step.positions) {
          leave(step.client, partition);
          const isolation = isolations[step.client] ?? "read_uncommitted";
          runs[step.client]?.set(partition, { isolation, first: offset, last: offset - 1, lastPoll: null });
        }
        return;
      case "poll":
        if (step.poll.outcome === "ok") for (const each of step.poll.reads) read(step.poll, each);
        // What a failed poll had taken from the consumer nobody saw.
        else for (const partition of [...(runs[step.poll.client]?.keys() ?? [])]) leave(step.poll.client, partition);
    }
  };
  for (const step of steps) take(step);
  for (const ofClient of runs) for (const [partition, run] of ofClient) end(partition, run);

  const merged = {
    read_committed: passed.read_committed.map(merge),
    read_uncommitted: passed.read_uncommitted.map(merge),
  };
  return {
    isPassed: (isolation, partition, offset) => {
      const ranges = merged[isolation][partition];
      if (ranges === undefined) return false;
      const range = ranges.ranges[indexAfter(ranges.firsts, offset) - 1];
      return range !== undefined && offset <= range.last;
    },
  };
}

function isInternal(previous: Poll | null, poll: Poll): boolean {
  if (previous === null) return false;
  return previous === poll || (poll.transaction !== null && previous.transaction === poll.transaction);
}

function merge(ranges: readonly Range[]): { readonly firsts: Float64Array; readonly ranges: readonly Range[] } {
  const merged: Range[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const previous = merged.at(-1);
    if (previous === undefined || first > previous.last + 1) merged.push({ first, last });
    else if (last > previous.last) merged[merged.length - 1] = { first: previous.first, last };
  }
  return { firsts: Float64Array.from(merged, ({ first }) => first), ranges: merged };
}

/** Kafka hides a transaction's records from committed readers until its commit, and for ever after its abort. */
export function checkIsolation(operations: Operations, findings: Findings): void {
  for (const poll of operations.polls) {
    for (const each of poll.reads) {
      const { write } = each;
      if (write === null) continue;
      const { transaction } = write;
      const words = (): string =>
        `${reader(operations, poll)} read ${write.value} at ${placeName(operations, each.partition, each.offset)}`;
      if (write.outcome === "fail" && transaction === null) {
        findings.add("G1a", () => `${words()}, whose send by ${operations.clientNames[write.client]} failed`);
      }
      if (transaction === null || poll.isolation !== "read_committed") continue;
      if (transaction.fate === "aborted") {
        findings.add("G1a", () => `${words()} of the aborted ${transactionName(operations, transaction)}`);
      } else if (isBefore(operations, poll.completedAt, transaction.commitAskedAt)) {
        findings.add("precommitted read", () => {
          return `${words()} before the commit of ${transactionName(operations, transaction)} was asked for`;
        });
      }
    }
  }
}

/** Clients share a clock, and two events of one microsecond have no order. */
function isBefore({ events }: Operations, first: number, second: number): boolean {
  const [one, other] = [events[first], events[second]];
  if (one === undefined || other === undefined) return false;
  return one.client === other.client ? first < second : one.atUs < other.atUs;
}

export function reader(operations: Operations, { client, transaction }: Poll): string {
  const name = operations.clientNames[client] ?? "";
  return transaction === null ? name : transactionName(operations, transaction);
}
