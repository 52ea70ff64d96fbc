import { assert } from "./assert.ts";
import type { Configuration, Entry, SnapshotPoint } from "./messages.ts";

interface Placed {
  readonly index: number;
  readonly configuration: Configuration;
}

/**
 * The entries behind the last snapshot, in memory, and how far they have come:
 *
 *     snapshot │ first ··· handedOut ··· committed ··· persisted ··· persisting ··· last
 *
 * A follower may know that entries are committed before its own disk has them; the others come in this order.
 */
export class Log {
  #snapshot: SnapshotPoint;
  #entries: Entry[] = [];
  /** In the order of the log; the first is that of the snapshot, the last is in force. */
  #configurations: Placed[];
  #committedIndex: number;
  #handedOutIndex: number;
  #persistedIndex: number;
  #persistingIndex: number;

  /** @param entries those behind the snapshot, without a gap, all of them on disk. */
  constructor(snapshot: SnapshotPoint, entries: readonly Entry[]) {
    this.#snapshot = snapshot;
    this.#configurations = [{ index: snapshot.index, configuration: snapshot.configuration }];
    this.#committedIndex = this.#handedOutIndex = snapshot.index;
    this.#persistedIndex = this.#persistingIndex = snapshot.index;
    this.append(entries);
    this.#persistedIndex = this.#persistingIndex = this.lastIndex;
  }

  get snapshot(): SnapshotPoint {
    return this.#snapshot;
  }
  get lastIndex(): number {
    return this.#snapshot.index + this.#entries.length;
  }
  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#snapshot.term;
  }
  get committedIndex(): number {
    return this.#committedIndex;
  }
  /** On the disk, as the host has said. */
  get persistedIndex(): number {
    return this.#persistedIndex;
  }
  get configuration(): Configuration {
    return (this.#configurations.at(-1) as Placed).configuration;
  }
  get configurationIndex(): number {
    return (this.#configurations.at(-1) as Placed).index;
  }

  /** The one that comes back if the one in force does not last; null where that is committed, or nothing is before it. */
  get configurationBefore(): Configuration | null {
    if (this.configurationIndex <= this.#committedIndex) return null;
    return this.#configurations.at(-2)?.configuration ?? null;
  }

  /** Null: a snapshot stands for it, or it is not there yet. */
  termAt(index: number): number | null {
    if (index === this.#snapshot.index) return this.#snapshot.term;
    return this.#entries[index - this.#snapshot.index - 1]?.term ?? null;
  }

  /** Whether a log that ends so has all that this one has that may be committed (section 5.4.1). */
  isCoveredBy(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);
  }

  /** The last index up to this one whose term is not beyond that one: where two logs may still agree. */
  lastNotBeyond(index: number, term: number): number {
    let at = Math.min(index, this.lastIndex);
    while (at > this.#snapshot.index && (this.termAt(at) ?? 0) > term) at--;
    return at;
  }

  /** From there on, as many as fit; at least one where there is one. */
  slice(from: number, limits: { readonly bytesMax: number; readonly upTo?: number }): readonly Entry[] {
    const { bytesMax, upTo = this.lastIndex } = limits;
    const begin = from - this.#snapshot.index - 1;
    assert(begin >= 0, `entry ${from} is asked for, and a snapshot stands for all up to ${this.#snapshot.index}`);
    let end = begin;
    for (let bytes = 0; end < upTo - this.#snapshot.index; end++) {
      const entry = this.#entries[end];
      if (entry === undefined) break;
      bytes += sizeOf(entry);
      if (bytes > bytesMax && end > begin) break;
    }
    return this.#entries.slice(begin, end);
  }

  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, `entry ${entry.index} does not follow ${this.lastIndex}`);
      assert(
        entry.term >= this.lastTerm,
        `entry ${entry.index} is of term ${entry.term}, behind one of ${this.lastTerm}`,
      );
      this.#entries.push(entry);
      if (entry.kind === "configuration") this.#configurations.push(entry);
    }
  }

  /** Another leader's entries take the place of these: none of them was committed. */
  truncateFrom(index: number): void {
    assert(index > this.#committedIndex, `entry ${index} was committed (up to ${this.#committedIndex}), and is to go`);
    this.#entries.length = index - this.#snapshot.index - 1;
    this.#configurations = this.#configurations.filter((placed) => placed.index < index);
    this.#persistedIndex = Math.min(this.#persistedIndex, index - 1);
    this.#persistingIndex = Math.min(this.#persistingIndex, index - 1);
  }

  commitTo(index: number): void {
    assert(index <= this.lastIndex, `${index} is said to be committed, and the log ends at ${this.lastIndex}`);
    this.#committedIndex = Math.max(this.#committedIndex, index);
  }

  /** What the host has not been asked to write yet; it counts as asked from now on. */
  takeUnwritten(): readonly Entry[] {
    const entries = this.#entries.slice(this.#persistingIndex - this.#snapshot.index);
    this.#persistingIndex = this.lastIndex;
    return entries;
  }

  get hasUnwritten(): boolean {
    return this.#persistingIndex < this.lastIndex;
  }

  /** The host has written what it was asked to. What was truncated meanwhile does not count. */
  written(): void {
    this.#persistedIndex = this.#persistingIndex;
  }

  /** What is committed and was not handed out yet; it counts as handed out from now on. */
  takeCommitted(bytesMax: number): readonly Entry[] {
    const entries = this.slice(this.#handedOutIndex + 1, { bytesMax, upTo: this.#committedIndex });
    this.#handedOutIndex += entries.length;
    return entries;
  }

  get hasCommitted(): boolean {
    return this.#handedOutIndex < this.#committedIndex;
  }

  /** The host has a snapshot of its state after this entry, which it was handed. */
  compactTo(index: number): SnapshotPoint {
    assert(index <= this.#handedOutIndex, `a snapshot of ${index}, and ${this.#handedOutIndex} was handed out last`);
    const term = this.termAt(index);
    if (term === null || index <= this.#snapshot.index) return this.#snapshot;
    const before = this.#configurations.filter((placed) => placed.index <= index).at(-1) as Placed;
    this.#entries = this.#entries.slice(index - this.#snapshot.index);
    this.#configurations = [
      { index: before.index, configuration: before.configuration },
      ...this.#configurations.filter((placed) => placed.index > index),
    ];
    this.#snapshot = { index, term, configuration: before.configuration };
    this.#persistedIndex = Math.max(this.#persistedIndex, index);
    this.#persistingIndex = Math.max(this.#persistingIndex, index);
    return this.#snapshot;
  }

  /** The host's state is that of this snapshot. Entries behind it stay where they belong to it. */
  installed({ index, term, configuration }: SnapshotPoint): void {
    assert(index > this.#handedOutIndex, `a snapshot of ${index} goes back behind ${this.#handedOutIndex}`);
    const snapshot: SnapshotPoint = { index, term, configuration };
    if (index <= this.#committedIndex) {
      // That was heard meanwhile: the log has them, and the state has what they did.
      this.#handedOutIndex = index;
      return;
    }
    const isPrefix = this.termAt(snapshot.index) === snapshot.term;
    const rest = isPrefix ? this.#entries.slice(snapshot.index - this.#snapshot.index) : [];
    const persisted = isPrefix ? Math.max(this.#persistedIndex, snapshot.index) : snapshot.index;
    this.#snapshot = snapshot;
    this.#entries = [];
    this.#configurations = [{ index: snapshot.index, configuration: snapshot.configuration }];
    this.append(rest);
    this.#committedIndex = this.#handedOutIndex = snapshot.index;
    this.#persistedIndex = this.#persistingIndex = persisted;
  }
}

const entryOverheadBytes = 24;

export function sizeOf(entry: Entry): number {
  return entryOverheadBytes + (entry.kind === "data" ? entry.data.length : 0);
}
