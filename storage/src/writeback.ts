import { Deque } from "@millrace/base/deque";
import { MiB } from "@millrace/base/units";
import type { Clock } from "@millrace/base/world";
import type { Segment } from "./segment.ts";

/** In pieces of this size the disk begins to write a segment: smaller ones cost more calls. */
const PIECE_BYTES = 512 * 1024;
/** For each byte that comes so many are begun, where too much waits. */
const PACE = 4;
/** After so long without anything new a burst is over. */
const IDLE_MS = 500;
/** Who is in no hurry waits so long for that. */
const BURST_MS_MAX = 10_000;
/** What waits then gets to the disk at this pace, so that no frame of the journal waits behind a heap of it. */
const SPREAD_BYTES = 4 * MiB;
const SPREAD_MS = 10;
/** Between two pieces of what somebody else writes beside a load. */
const GIVE_WAY_MS = 10;

/** Of a segment, written and not yet told to the disk. */
interface Piece {
  readonly segment: Segment;
  readonly position: number;
  readonly sizeBytes: number;
}

/**
 * When the disk begins to write the segments of what the journal has made durable already.
 *
 * Each byte goes to the disk twice, to the journal and to its segment. The second can wait: so a burst has the disk for the
 * first alone. When it is over, or more than `lagBytes` waits, the rest is written too; and while a load goes on, as much as
 * comes, evenly. A sync of a segment finds little to do once nothing waits.
 */
export class Writeback {
  readonly #clock: Clock;
  /** So much of a burst may wait. */
  lagBytes: number = 0;
  /** A burst is over: nothing waits. */
  onIdle: () => void = () => {};
  readonly #pieces = new Deque<Piece>();
  #waitingBytes = 0;
  /** The load goes on for longer than a burst. */
  #isEven = false;
  #notedMs = -Infinity;
  #isTimed = false;
  #isStopped = false;
  #waiters: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something came just now. */
  get isBusy(): boolean {
    return this.#clock.monotonicMs() - this.#notedMs < IDLE_MS;
  }

  /** Nothing is done in its own time any more. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Who writes much besides waits for it between small pieces, while a load goes on. */
  async giveWay(): Promise<void> {
    if (this.isBusy && !this.#isStopped)
      await new Promise<void>((resolve) => void this.#clock.schedule(GIVE_WAY_MS, resolve, { isAwaited: true }));
  }

  /** More of the segment is in its file. */
  noteWritten(segment: Segment): void {
    const { writebackPosition: position } = segment;
    const sizeBytes = segment.sizeBytes - position;
    if (sizeBytes < PIECE_BYTES || this.#isStopped) return;
    segment.writebackPosition = segment.sizeBytes;
    this.#pieces.push({ segment, position, sizeBytes });
    this.#waitingBytes += sizeBytes;
    this.#notedMs = this.#clock.monotonicMs();
    if (this.#waitingBytes > this.lagBytes) this.#isEven = true;
    if (this.#isEven) this.#begin(PACE * sizeBytes);
    this.#startTimer();
  }

  /** Resolves when nothing waits: since a burst was over or too long, or somebody hurries. */
  caughtUp(): Promise<void> {
    if (this.#pieces.isEmpty) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** As `spread`, after the burst that may be under way. */
  async spreadAfterBurst(): Promise<void> {
    if (this.#pieces.isEmpty) return;
    // The end of the burst, or a stop, may come first.
    const { promise: isLate, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.schedule(BURST_MS_MAX, resolve);
    await Promise.race([this.caughtUp(), isLate]);
    timer.cancel();
    await this.spread();
  }

  /** What waits now is begun, evenly; resolves then. */
  async spread(): Promise<void> {
    for (let restBytes = this.#waitingBytes; restBytes > 0 && !this.#pieces.isEmpty; restBytes -= SPREAD_BYTES) {
      this.#begin(Math.min(SPREAD_BYTES, restBytes));
      if (restBytes > SPREAD_BYTES)
        await new Promise<void>((resolve) => void this.#clock.schedule(SPREAD_MS, resolve, { isAwaited: true }));
    }
  }

  /** Nothing waits any more: who hurries syncs it. */
  hurry(): void {
    this.#pieces.clear();
    this.#waitingBytes = 0;
    this.#settle();
  }

  /** The directory has failed, or is closed. */
  stop(): void {
    this.#isStopped = true;
    this.hurry();
  }

  #startTimer(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#clock.schedule(IDLE_MS, () => {
      this.#isTimed = false;
      if (this.#isStopped) return;
      if (this.isBusy) this.#startTimer();
      else void this.spread().then(() => this.#burstIsOver());
    });
  }

  #burstIsOver(): void {
    if (this.#isStopped || !this.#pieces.isEmpty) return;
    this.#isEven = false;
    this.onIdle();
  }

  #begin(sizeBytes: number): void {
    for (let begunBytes = 0; begunBytes < sizeBytes;) {
      const piece = this.#pieces.shift();
      if (piece === undefined) break;
      this.#waitingBytes -= piece.sizeBytes;
      // What is closed was synced, or is gone.
      if (!piece.segment.isOpen) continue;
      begunBytes += piece.sizeBytes;
      piece.segment.log.startWriteback(piece.position, piece.sizeBytes);
    }
    if (this.#pieces.isEmpty) this.#settle();
  }

  #settle(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
