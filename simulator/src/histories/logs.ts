import { named } from "./findings.ts";
import type { Findings } from "./findings.ts";
import type { Isolation } from "./history.ts";
import { placeName } from "./operations.ts";
import type { Operations, PartitionId, Write } from "./operations.ts";

/** What is known of the logs of all partitions together: by acknowledgements, and by what readers saw. */
export interface Logs {
  /** By the id of a write: the one offset at which its value lies, or −1 where none or more than one is known. */
  readonly offsets: Float64Array;
  /** By partition, ascending: what such a reader must not jump over, since another one like it saw it. */
  readonly seen: Readonly<Record<Isolation, readonly Float64Array[]>>;
}

/** Puts every value where it was said or seen to lie: finds phantom reads, duplicates and inconsistent offsets. */
export function logsOf(operations: Operations, findings: Findings): Logs {
  const { writes, polls, partitionNames, clientNames } = operations;
  const offsets = new Float64Array(writes.length).fill(-1);
  const values = partitionNames.map(() => new Map<number, string>());
  const rivals = new Map<string, Set<string>>();
  const copies = new Map<Write, Set<number>>();
  const seen = {
    read_committed: partitionNames.map((): number[] => []),
    read_uncommitted: partitionNames.map((): number[] => []),
  };

  const put = (partition: PartitionId, offset: number, value: string): void => {
    const other = values[partition]?.get(offset);
    if (other === undefined) values[partition]?.set(offset, value);
    else if (other !== value) addTo(rivals, placeName(operations, partition, offset), [other, value]);
  };
  const place = (write: Write, offset: number): void => {
    const known = offsets[write.id] ?? -1;
    if (known === -1) offsets[write.id] = offset;
    else if (known !== offset) addTo(copies, write, [known, offset]);
  };

  for (const write of writes) {
    if (write.offset < 0) continue;
    put(write.partition, write.offset, write.value);
    place(write, write.offset);
  }
  for (const poll of polls) {
    for (const { partition, offset, value, write } of poll.reads) {
      put(partition, offset, value);
      if (write !== null) place(write, offset);
      else {
        findings.add("phantom read", () => {
          return `${clientNames[poll.client]} read ${value} at ${placeName(operations, partition, offset)}: nobody sent it there`;
        });
      }
      seen[poll.isolation][partition]?.push(offset);
      // What a committed reader sees, every other sees too.
      if (poll.isolation === "read_committed") seen.read_uncommitted[partition]?.push(offset);
    }
  }
  for (const [where, conflicting] of rivals) {
    findings.add("inconsistent offsets", () => `${where} holds ${named([...conflicting])}`);
  }
  for (const [write, places] of copies) {
    offsets[write.id] = -1;
    findings.add("duplicate", () => {
      const where = [...places].sort((a, b) => a - b).map((offset) => placeName(operations, write.partition, offset));
      return `${write.value} of ${clientNames[write.client]} lies at ${named(where)}`;
    });
  }
  return {
    offsets,
    seen: {
      read_committed: seen.read_committed.map(ascending),
      read_uncommitted: seen.read_uncommitted.map(ascending),
    },
  };
}

function addTo<Key, Value>(sets: Map<Key, Set<Value>>, key: Key, values: readonly Value[]): void {
  const set = sets.get(key) ?? new Set();
  for (const value of values) set.add(value);
  sets.set(key, set);
}

/** In order, each once. */
function ascending(numbers: readonly number[]): Float64Array {
  const sorted = Float64Array.from(numbers).sort();
  let count = 0;
  for (const number of sorted) {
    if (count === 0 || sorted[count - 1] !== number) sorted[count++] = number;
  }
  return sorted.subarray(0, count);
}

/** The index of the first number that is greater. */
export function indexAfter(sorted: Float64Array, number: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? Infinity) > number) high = middle;
    else low = middle + 1;
  }
  return low;
}
