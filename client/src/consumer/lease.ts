import { Deque } from "@millrace/base/deque";

/**
 * The right to read a partition from a position on: what was handed out under it, and what of that is done. It ends with
 * the ownership, or when somebody seeks; what is done after that changes nothing.
 *
 *     handed out   10 11 12 13 14        done: 10, 12, 13        position 11: what may be committed
 */
export class Lease {
  #position: number;
  /** Of each that is not done and is not before one that is not: where reading goes on after it. */
  readonly #nextOffsets = new Deque<number>();
  /** The ticket of the first of them. */
  #firstTicket = 0;
  /** Done before their turn. */
  readonly #early = new Set<number>();
  /** Those that nobody will say are done, most likely. */
  readonly #abandoned = new Set<number>();
  /** Leader epochs with the first offset of each, for the position. */
  readonly #epochs = new Deque<{ readonly fromOffset: number; readonly epoch: number }>();
  #positionEpoch: number;
  #abort: AbortController | null = null;
  #isEnded = false;
  #onIdle: (() => void)[] = [];

  constructor(position: number, leaderEpoch = -1) {
    this.#position = position;
    this.#positionEpoch = leaderEpoch;
  }

  /** All before it is done: what may be committed. */
  get position(): number {
    return this.#position;
  }

  /** The leader epoch of the record before the position; -1 where it is not known. */
  get positionEpoch(): number {
    return this.#positionEpoch;
  }

  /** How many are handed out, and somebody may still say that they are done. */
  get outstanding(): number {
    return this.#nextOffsets.length - this.#early.size - this.#abandoned.size;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** All before it was handed out, or is of no reader. */
  get handedOutTo(): number {
    return this.#nextOffsets.last() ?? this.#position;
  }

  /** Aborted when the partition is to be given up: whoever works on a record of it should come to an end. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#isEnded) this.#abort.abort();
    return this.#abort.signal;
  }

  /** Something is handed out, behind all that was before. Gives the ticket for `done`. */
  begin(nextOffset: number): number {
    this.#nextOffsets.push(nextOffset);
    return this.#firstTicket + this.#nextOffsets.length - 1;
  }

  /** Of the records that are read next. */
  seeEpoch(fromOffset: number, epoch: number): void {
    if (epoch !== (this.#epochs.last()?.epoch ?? this.#positionEpoch)) this.#epochs.push({ fromOffset, epoch });
  }

  /** A second time changes nothing. */
  done(ticket: number): void {
    if (!this.#isOpen(ticket)) return;
    this.#abandoned.delete(ticket);
    if (ticket > this.#firstTicket) {
      this.#early.add(ticket);
      this.#lookIdle();
      return;
    }
    do {
      this.#moveTo(this.#nextOffsets.shift() ?? this.#position);
      this.#firstTicket++;
    } while (this.#early.delete(this.#firstTicket));
    this.#lookIdle();
  }

  /** Nobody will say that it is done: it stays where it is, and is not waited for. One that is done stays done. */
  abandon(ticket: number): void {
    if (!this.#isOpen(ticket) || this.#early.has(ticket)) return;
    this.#abandoned.add(ticket);
    this.#lookIdle();
  }

  #isOpen(ticket: number): boolean {
    return ticket >= this.#firstTicket && ticket < this.#firstTicket + this.#nextOffsets.length;
  }

  /** Up to there nothing follows that could be handed out: what stands there is of no reader. */
  skipTo(offset: number): void {
    if (this.#nextOffsets.isEmpty) this.#moveTo(offset);
    else {
      this.#nextOffsets.pop();
      this.#nextOffsets.push(offset);
    }
  }

  /** What is in work goes on and may be done, but is told that it should come to an end. */
  revoke(): void {
    this.#isEnded = true;
    this.#abort?.abort();
  }

  /** Settles when nothing is outstanding. */
  async idle(): Promise<void> {
    if (this.outstanding === 0) return;
    await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  #lookIdle(): void {
    if (this.#onIdle.length === 0 || this.outstanding > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #moveTo(offset: number): void {
    this.#position = Math.max(this.#position, offset);
    for (let first = this.#epochs.first(); first !== undefined && first.fromOffset < this.#position;) {
      this.#positionEpoch = first.epoch;
      this.#epochs.shift();
      first = this.#epochs.first();
    }
  }
}
