import { named } from "./findings.ts";
import type { Findings } from "./findings.ts";
import type { Logs } from "./logs.ts";
import { isKnownCommitted, isPromised, placeName, transactionName } from "./operations.ts";
import type { Operations, PartitionId, Write } from "./operations.ts";
import type { Coverage } from "./readers.ts";

/**
 * What was acknowledged is there, once all was read: finds lost writes, unseen ones and torn transactions. With
 * `isReadToEnd` some committed reader went through every partition at the end.
 */
export function checkPresence(
  operations: Operations,
  { logs, coverage, isReadToEnd }: { readonly logs: Logs; readonly coverage: Coverage; readonly isReadToEnd: boolean },
  findings: Findings,
): void {
  const hasCommittedReaders = operations.polls.some(({ isolation }) => isolation === "read_committed");
  const isSeen = ({ isReadBy }: Write): boolean =>
    isReadBy.read_committed || (!hasCommittedReaders && isReadBy.read_uncommitted);
  const isPassed = (write: Write): boolean => {
    const offset = logs.offsets[write.id] ?? -1;
    if (offset < 0) return false;
    const { partition, isReadBy } = write;
    const isMissed = !isReadBy.read_uncommitted && coverage.isPassed("read_uncommitted", partition, offset);
    return isMissed || coverage.isPassed("read_committed", partition, offset);
  };
  const describe = (write: Write): string => {
    const offset = logs.offsets[write.id] ?? -1;
    const where =
      offset < 0
        ? `in ${operations.partitionNames[write.partition]}`
        : `at ${placeName(operations, write.partition, offset)}`;
    const { transaction } = write;
    const by =
      transaction === null ? (operations.clientNames[write.client] ?? "") : transactionName(operations, transaction);
    return `${write.value} ${where} of ${by}`;
  };
  for (const write of operations.writes) {
    if (!isPromised(write) || isSeen(write)) continue;
    if (isPassed(write))
      findings.add("lost write", () => `${describe(write)} was acknowledged, and readers went past it`);
    else if (isReadToEnd) findings.add("unseen", () => `${describe(write)} was acknowledged and never read`);
  }
  for (const transaction of operations.transactions) {
    if (!isKnownCommitted(transaction)) continue;
    const present = transaction.writes.filter(({ isReadBy }) => isReadBy.read_committed);
    const absent = transaction.writes.filter(
      (write) => write.outcome === "ok" && !write.isReadBy.read_committed && (isReadToEnd || isPassed(write)),
    );
    if (present.length === 0 || absent.length === 0) continue;
    findings.add("torn transaction", () => {
      const [there, missing] = [present, absent].map((writes) => named(writes.map(({ value }) => value)));
      return `${transactionName(operations, transaction)}: ${there} is there, ${missing} is not`;
    });
  }
}

/**
 * The sends of one producer to one partition lie in the order in which it sent them. Only acknowledged ones are held to
 * it: what timed out may have been overtaken.
 */
export function checkSendOrder(
  operations: Operations,
  { logs, areWritesIsolated }: { readonly logs: Logs; readonly areWritesIsolated: boolean },
  findings: Findings,
): void {
  const { clientNames, partitionNames } = operations;
  const last = clientNames.map(() => new Map<PartitionId, Write>());
  const byOffset = areWritesIsolated ? writesByOffset(operations, logs) : [];
  for (const write of operations.writes) {
    const offset = logs.offsets[write.id] ?? -1;
    if (write.outcome !== "ok" || offset < 0) continue;
    const { partition } = write;
    const previous = last[write.client]?.get(partition);
    last[write.client]?.set(partition, write);
    if (previous === undefined) continue;
    const previousOffset = logs.offsets[previous.id] ?? -1;
    const words = (): string => {
      const where = partitionNames[partition] ?? "";
      return `${clientNames[write.client]} sent ${previous.value} and then ${write.value} to ${where}: they lie at ${previousOffset} and ${offset}`;
    };
    if (offset <= previousOffset) findings.add("nonmonotonic send", words);
    else if (areWritesIsolated && write.transaction !== null && write.transaction === previous.transaction) {
      const between = foreignBetween(byOffset[partition] ?? [], { first: previous, last: write, logs });
      if (between.length > 0) findings.add("send skip", () => `${words()}, with ${named(between)} between them`);
    }
  }
}

/** Of each partition, what lies in it, in order: of committed transactions and of writes outside of transactions. */
export function writesByOffset(
  { writes, partitionNames }: Operations,
  { offsets }: Logs,
): readonly (readonly Write[])[] {
  const ofPartition = partitionNames.map((): Write[] => []);
  for (const write of writes) {
    const isThere = write.transaction === null ? write.outcome !== "fail" : isKnownCommitted(write.transaction);
    if (isThere && (offsets[write.id] ?? -1) >= 0) ofPartition[write.partition]?.push(write);
  }
  for (const ordered of ofPartition) ordered.sort((a, b) => (offsets[a.id] ?? 0) - (offsets[b.id] ?? 0));
  return ofPartition;
}

/** More are not named, so that two sends far apart cost no more than two near ones. */
const foreignMax = 8;

function foreignBetween(
  ordered: readonly Write[],
  { first, last, logs }: { readonly first: Write; readonly last: Write; readonly logs: Logs },
): string[] {
  const offsetAt = (index: number): number => logs.offsets[ordered[index]?.id ?? -1] ?? Infinity;
  const [start, stop] = [logs.offsets[first.id] ?? 0, logs.offsets[last.id] ?? 0];
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (offsetAt(middle) > start) high = middle;
    else low = middle + 1;
  }
  const end = Math.min(ordered.length, low + foreignMax);
  const values: string[] = [];
  for (let index = low; index < end && offsetAt(index) < stop; index++) values.push(ordered[index]?.value ?? "");
  return values;
}
