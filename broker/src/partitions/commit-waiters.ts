import { Deque } from "@millrace/base/deque";
import type { Offset } from "@millrace/storage/types";

/** Why something that waited for the high watermark will not get there. */
export type CommitFailure = "not-leader" | "log-failed" | "disk-full" | "not-enough-replicas";

export type Settle = (failure: CommitFailure | null) => void;

interface CommitWaiter {
  readonly nextOffset: Offset;
  /** It is of no use to whoever waits while fewer replicas are in sync than min.insync.replicas. */
  readonly needsMinIsr: boolean;
  readonly settle: Settle;
}

/** Who waits for an offset of a log to be passed, in the order of their offsets, since offsets are given in order. */
export class CommitWaiters {
  readonly #waiters = new Deque<CommitWaiter>();

  add(nextOffset: Offset, needsMinIsr: boolean, settle: Settle): void {
    this.#waiters.push({ nextOffset, needsMinIsr, settle });
  }

  /** All below `offset` is there. */
  reached(offset: Offset): void {
    for (let first = this.#waiters.first(); first !== undefined && first.nextOffset <= offset;) {
      this.#waiters.shift();
      first.settle(null);
      first = this.#waiters.first();
    }
  }

  failAll(failure: CommitFailure): void {
    for (let next = this.#waiters.shift(); next !== undefined; next = this.#waiters.shift()) next.settle(failure);
  }

  /** What was appended from `endOffset` on will never be there. */
  failAbove(endOffset: Offset, failure: CommitFailure): void {
    this.#fail(failure, ({ nextOffset }) => nextOffset > endOffset);
  }

  failUnderMinIsr(): void {
    this.#fail("not-enough-replicas", ({ needsMinIsr }) => needsMinIsr);
  }

  #fail(failure: CommitFailure, isHit: (waiter: CommitWaiter) => boolean): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) if (!isHit(waiter)) this.#waiters.push(waiter);
    for (const waiter of waiters) if (isHit(waiter)) waiter.settle(failure);
  }
}
