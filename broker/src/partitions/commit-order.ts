import type { Offset } from "@millrace/storage/types";
import type { CommitFailure } from "./commit-waiters.ts";

export interface Hold {
  readonly producerId: number;
  /** What stands here or behind waits. */
  readonly from: Offset;
  failure: CommitFailure | null;
}

/**
 * Records that are committed only when something in another log is: a transaction's first batch, and what names its partition to the
 * coordinator, are appended together and become durable together most often, but a log that waits for its turn may come one group later.
 * Acknowledged before that, and the power lost between the two, the batch would belong to no transaction.
 *
 * Where what they wait for is lost for good, they stay uncommitted, and no duplicate of them is acknowledged, until the marker that
 * aborts them is written.
 */
export class CommitOrder {
  /** Offsets never go down from one to the next: they are taken at the end of the log. */
  #holds: Hold[] = [];

  /** At most this is committed. */
  get limit(): number {
    return this.#holds[0]?.from ?? Infinity;
  }

  /** Why an offset that lies behind the limit will not be committed soon; null where it may be. */
  failureOf(nextOffset: Offset): CommitFailure | null {
    return this.#holds.find(({ from, failure }) => failure !== null && nextOffset > from)?.failure ?? null;
  }

  add(producerId: number, from: Offset): Hold {
    const hold: Hold = { producerId, from, failure: null };
    this.#holds.push(hold);
    return hold;
  }

  release(hold: Hold): void {
    this.#holds = this.#holds.filter((each) => each !== hold);
  }

  /** Its transaction ends here, so that nothing of it can be taken for committed any more. */
  ended(producerId: number): void {
    this.#holds = this.#holds.filter((each) => each.producerId !== producerId || each.failure === null);
  }
}
