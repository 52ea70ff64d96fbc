import type { Log } from "./log.ts";

/**
 * What a node waits for that has lost entries which it may have acknowledged, and knows its term and its vote: until it is over it
 * takes entries and votes for nobody, itself included. Viewstamped Replication recovers so (Liskov and Cowling, "Viewstamped Replication
 * Revisited", 2012, section 4.3), and PAR (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST '18) says why:
 * whoever votes without what it has acknowledged may elect a leader that lacks what is committed.
 *
 * It is over when the log is, on the disk, that of a leader up to the end that this log had after the node came back. All that counts
 * by what this node has acknowledged is there: a later leader has what was committed before its term (5.4.3), and the leader to whom it
 * was acknowledged has all that it sent. So the end is asked for under a token of this life, and an answer to one before it is none.
 */
export class Recovery {
  readonly token: number;
  #term = 0;
  /** The leader's log and this one are the same up to there. */
  #agreedIndex = 0;
  /** Where the leader's log ended; null: it has not said. */
  #endIndex: number | null = null;

  constructor(random: () => number) {
    this.token = Math.floor(random() * Number.MAX_SAFE_INTEGER);
  }

  agreed(term: number, index: number): void {
    this.#enter(term);
    this.#agreedIndex = Math.max(this.#agreedIndex, index);
  }

  leaderEndsAt(term: number, index: number): void {
    this.#enter(term);
    this.#endIndex ??= index;
  }

  /** Of what lies in the log only so much is known to be the leader's. */
  agreedIndex(term: number, log: Log): number {
    this.#enter(term);
    return Math.max(this.#agreedIndex, log.committedIndex);
  }

  isOver(term: number, log: Log): boolean {
    const agreedIndex = this.agreedIndex(term, log);
    return this.#endIndex !== null && Math.min(agreedIndex, log.persistedIndex) >= this.#endIndex;
  }

  /** Of the leader before it nothing counts: its log may have ended in what never was committed. */
  #enter(term: number): void {
    if (term === this.#term) return;
    this.#term = term;
    this.#agreedIndex = 0;
    this.#endIndex = null;
  }
}
