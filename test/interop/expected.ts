import type { ProduceAnswer } from "./contract.ts";
import type { ConsumedRecord, SampleRecord } from "./records.ts";

/**
 * What a topic must hold: built from what was sent and where the client was told that it lies, and from nothing that a
 * broker or a client read. So a record that both the writer and the reader see wrongly is still found.
 */
export class ExpectedTopic {
  readonly name: string;
  readonly #partitions = new Map<number, SampleRecord[]>();

  constructor(name: string) {
    this.name = name;
  }

  get count(): number {
    return [...this.#partitions.values()].reduce((sum, records) => sum + records.length, 0);
  }

  /** Records of one call of `produce`, with the answer. Records sent earlier must lie before those sent later. */
  add(records: readonly SampleRecord[], { acks }: ProduceAnswer): void {
    if (acks.length !== records.length) throw new Error(`${acks.length} acks for ${records.length} records`);
    for (const [index, record] of records.entries()) {
      const [partition, offset] = acks[index] ?? [-1, -1];
      const known = this.#partitions.get(partition) ?? [];
      this.#partitions.set(partition, known);
      if (offset !== known.length) {
        throw new Error(`${this.name}-${partition}: record ${index} lies at ${offset}, not at ${known.length}`);
      }
      known.push(record);
    }
  }

  /** Each key's partition, so that a key in two of them is found. */
  partitionsOfKeys(): ReadonlyMap<string, ReadonlySet<number>> {
    const found = new Map<string, Set<number>>();
    for (const [partition, records] of this.#partitions) {
      for (const { key } of records) {
        if (key === null) continue;
        const text = key.toString("latin1");
        found.set(text, (found.get(text) ?? new Set()).add(partition));
      }
    }
    return found;
  }

  /**
   * Compares what one group read, in the order in which it read, with what lies there. `from` says where the group
   * went on from in each partition; the answer is where it now stands.
   */
  check(consumed: readonly ConsumedRecord[], from: ReadonlyMap<number, number> = new Map()): Map<number, number> {
    const next = new Map(from);
    for (const record of consumed) {
      if (record.topic !== this.name) throw new Error(`a record of ${record.topic} came with those of ${this.name}`);
      const wanted = next.get(record.partition) ?? 0;
      const place = `${this.name}-${record.partition}, offset ${record.offset}`;
      if (record.offset !== wanted) throw new Error(`${place} came where offset ${wanted} was due`);
      const expected = this.#partitions.get(record.partition)?.[wanted];
      if (expected === undefined) throw new Error(`${place} was never acknowledged`);
      const difference = differenceOf(expected, record);
      if (difference !== null) throw new Error(`${place}: ${difference}`);
      next.set(record.partition, wanted + 1);
    }
    return next;
  }

  /** That a group which stands at `at` has everything. */
  checkComplete(at: ReadonlyMap<number, number>): void {
    for (const [partition, records] of this.#partitions) {
      const read = at.get(partition) ?? 0;
      if (read !== records.length) throw new Error(`${this.name}-${partition}: ${read} of ${records.length} were read`);
    }
  }
}

/** Null when the two say the same, byte for byte. */
export function differenceOf(expected: SampleRecord, read: SampleRecord): string | null {
  if (!isSame(expected.key, read.key)) return `key ${show(read.key)}, not ${show(expected.key)}`;
  if (!isSame(expected.value, read.value)) return `value ${show(read.value)}, not ${show(expected.value)}`;
  if (expected.timestamp !== read.timestamp) return `timestamp ${read.timestamp}, not ${expected.timestamp}`;
  const areHeadersSame =
    expected.headers.length === read.headers.length &&
    expected.headers.every(([name, value], index) => {
      const [readName, readValue] = read.headers[index] ?? ["", null];
      return name === readName && isSame(value, readValue);
    });
  return areHeadersSame ? null : `headers ${showHeaders(read)}, not ${showHeaders(expected)}`;
}

function isSame(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}

function show(bytes: Buffer | null): string {
  if (bytes === null) return "null";
  return bytes.length > 60
    ? `${bytes.length} bytes ${bytes.toString("hex", 0, 30)}...`
    : JSON.stringify(bytes.toString());
}

function showHeaders({ headers }: SampleRecord): string {
  return `[${headers.map(([name, value]) => `${name}=${show(value)}`).join(", ")}]`;
}
