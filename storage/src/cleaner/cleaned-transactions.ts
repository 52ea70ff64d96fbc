import { readControlKey, ControlType } from "kafka-protocol-ts/records/control";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { AbortedTransaction } from "../transaction-index.ts";
import type { Offset } from "../types.ts";

/** Between two groups of segments, and between two threads. */
export interface CleanedTransactionsState {
  /** Those that begin later, in the order of their first offsets. */
  readonly later: readonly AbortedTransaction[];
  /** Those under way at this place of the log, by producer, and whether a batch of theirs was seen. */
  readonly aborted: readonly (readonly [
    number,
    { readonly transaction: AbortedTransaction; readonly isSeen: boolean },
  ])[];
  /** Producers of which a batch was seen whose transaction will be committed. */
  readonly committed: readonly number[];
}

/**
 * Which batches belong to aborted transactions, and which markers are still of use, while a log is read from its start to a
 * place below which every transaction is decided. As in Kafka:
 *
 *     data of an aborted transaction        goes
 *     marker, with data of it before        stays: readers of what is left of it, and of the index, need it
 *     marker, nothing left before it        goes, when its delete horizon is over
 */
export class CleanedTransactions {
  readonly #later: AbortedTransaction[];
  #next = 0;
  readonly #aborted: Map<number, { readonly transaction: AbortedTransaction; isSeen: boolean }>;
  readonly #committed: Set<number>;

  constructor(state: CleanedTransactionsState) {
    this.#later = state.later.toSorted((a, b) => a.firstOffset - b.firstOffset);
    this.#aborted = new Map(state.aborted.map(([producerId, each]) => [producerId, { ...each }]));
    this.#committed = new Set(state.committed);
  }

  static before(aborted: readonly AbortedTransaction[]): CleanedTransactionsState {
    return { later: aborted, aborted: [], committed: [] };
  }

  get state(): CleanedTransactionsState {
    return { later: this.#later.slice(this.#next), aborted: [...this.#aborted], committed: [...this.#committed] };
  }

  /** Whether the batch belongs to an aborted transaction. Called for every batch of data, in order. */
  isAborted(batch: RecordBatchView): boolean {
    this.#begin(batch.lastOffset as Offset);
    if (!batch.isTransactional) return false;
    const aborted = this.#aborted.get(batch.producerId);
    if (aborted === undefined) {
      this.#committed.add(batch.producerId);
      return false;
    }
    aborted.isSeen = true;
    return true;
  }

  /**
   * What a control batch ends. isUseless: nothing is left of its transaction. aborted: the transaction of an abort marker
   * that is kept, for the index. Called for every control batch, in order.
   */
  end(batch: RecordBatchView): { readonly isUseless: boolean; readonly aborted: AbortedTransaction | null } {
    this.#begin(batch.lastOffset as Offset);
    // Its record went in an earlier round; the batch stayed for its producer's epoch.
    if (batch.recordsCount === 0) return { isUseless: true, aborted: null };
    const [record] = readRecords(batch);
    const { type } = readControlKey(record?.key ?? null);
    const { producerId } = batch;
    if (type === ControlType.COMMIT) return { isUseless: !this.#committed.delete(producerId), aborted: null };
    if (type !== ControlType.ABORT) return { isUseless: false, aborted: null };
    const found = this.#aborted.get(producerId);
    this.#aborted.delete(producerId);
    return found?.isSeen === true
      ? { isUseless: false, aborted: found.transaction }
      : { isUseless: true, aborted: null };
  }

  /** Aborted transactions that begin at `lastOffset` or before it are under way now. */
  #begin(lastOffset: Offset): void {
    for (;;) {
      const next = this.#later[this.#next];
      if (next === undefined || next.firstOffset > lastOffset) return;
      this.#next += 1;
      // Its marker lies before where the reading began.
      if (next.lastOffset < lastOffset) continue;
      this.#aborted.set(next.producerId, { transaction: next, isSeen: false });
    }
  }
}
