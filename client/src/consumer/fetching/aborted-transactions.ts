interface Batch {
  readonly lastOffset: number;
  readonly producerId: number;
  readonly isControl: boolean;
  readonly isTransactional: boolean;
}

/** Which batches of one answer a reader does not see: control batches, and the data of aborted transactions (KIP-98). */
export class AbortedTransactions {
  readonly #begins: { readonly producerId: number; readonly firstOffset: number }[];
  readonly #open = new Set<number>();

  /** As a broker lists them: those that reach into the answer, and where each began. */
  constructor(aborted: readonly { readonly producerId: number; readonly firstOffset: number }[]) {
    this.#begins = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** To be asked for every batch, in the order of the log. */
  hides({ lastOffset, producerId, isControl, isTransactional }: Batch): boolean {
    for (let begin = this.#begins[0]; begin !== undefined && begin.firstOffset <= lastOffset; begin = this.#begins[0]) {
      this.#open.add(begin.producerId);
      this.#begins.shift();
    }
    if (isControl) {
      this.#open.delete(producerId);
      return true;
    }
    return isTransactional && this.#open.has(producerId);
  }
}
