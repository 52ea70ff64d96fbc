import type { RecordBatchView } from "kafka-protocol-ts/records/batch";

/** What a transaction's first batch in a partition needs: the coordinator was asked, and nothing has ended the transaction since. */
export interface TransactionGuard {
  readonly producerId: number;
  /** The least sequence that asked: a batch after it must not come first, only because its question was answered and the other's was not. */
  lowestSequence: number;
  users: number;
}

/**
 * Between the coordinator's "yes, the partition belongs to the transaction" and the append the transaction may end: its marker stands in the
 * log, and the batch after it would begin a transaction that nobody ends. So whoever asks takes a guard before, and a marker voids it.
 */
export class TransactionGuards {
  /** Null while nobody asks, as in most of many partitions. */
  #open: Map<number, TransactionGuard> | null = null;

  /** To be taken before the coordinator is asked, and released after the append. */
  take(producerId: number, sequence: number): TransactionGuard {
    this.#open ??= new Map();
    let guard = this.#open.get(producerId);
    if (guard === undefined) {
      guard = { producerId, lowestSequence: sequence, users: 0 };
      this.#open.set(producerId, guard);
    }
    guard.lowestSequence = Math.min(guard.lowestSequence, sequence);
    guard.users += 1;
    return guard;
  }

  release(guard: TransactionGuard): void {
    guard.users -= 1;
    if (guard.users === 0 && this.#open?.get(guard.producerId) === guard) this.#open.delete(guard.producerId);
  }

  /** Whether nothing has ended the producer's transaction since it was taken. */
  isOpen(guard: TransactionGuard): boolean {
    return this.#open?.get(guard.producerId) === guard;
  }

  /** The leadership is lost: markers that come while another broker leads are not seen here. */
  voidAll(): void {
    this.#open = null;
  }

  /** A marker: whoever has asked must ask again. */
  void(producerId: number): void {
    this.#open?.delete(producerId);
  }

  /** Null: the batch may begin its transaction here. Of a producer that is not known here the first sequence is held to what has asked. */
  refuse(
    batch: RecordBatchView,
    guard: TransactionGuard | null,
    isProducerKnown: boolean,
  ): "no-transaction" | "sequence-gap" | null {
    if (guard === null || this.#open?.get(batch.producerId) !== guard) return "no-transaction";
    return !isProducerKnown && batch.baseSequence > guard.lowestSequence ? "sequence-gap" : null;
  }
}
