import { assert } from "@millrace/base/assert";
import { GiB, MiB } from "@millrace/base/units";
import { DiskError } from "@millrace/base/world";
import type { Clock } from "@millrace/base/world";
import { isOutOfSpace } from "./out-of-space.ts";
import type { Segment } from "./segment.ts";
import type { Offset } from "./types.ts";
import type { Portion, WriteQueue } from "./write-queue.ts";

/** So much of a log is written with one call. */
const CALL_BYTES = 512 * 1024;
/** And less of it after so long. */
const HELD_MS = 20;
/** So little is written for a reader on the calling thread: 20 us. */
const SMALL_BYTES = 64 * 1024;
/** Where somebody reads what has just come, it would be asked for again and again: nothing of so much is held then. */
const READ_BYTES = 8 * MiB;
/** Who had nothing in so many groups has little that could be written together. */
const GROUPS_APART_MAX = 8;
/**
 * With less space on the disk nothing is held: what counts could find it full. With so much, somebody else would have to take
 * all of it within HELD_MS.
 */
const USABLE_BYTES_MIN = GiB;
/** Threads that it takes of those that the journal needs as well. */
const CALLS_MAX = 2;

export interface WriteBehindOptions {
  readonly clock: Clock;
  /** Over all logs: what comes beyond is written before its group counts, so that who sends it waits. */
  readonly heldBytesMax: number;
  /** Of the disk. */
  usableBytes(): number;
  /** It is in its file. */
  onWritten(portion: Portion): void;
  /** There is no space for what counts already: it is held until `retry`. */
  onOutOfSpace(queue: WriteQueue, error: unknown): void;
  onFailed(error: unknown): void;
}

/** What a log has in memory, and in the journal. */
export interface HeldPortions {
  /** One after the other, without a gap. Each with a lease on its segment. */
  readonly portions: Portion[];
  sizeBytes: number;
  batches: number;
  /** When it began to be held, or the last of it was written; monotonic. */
  sinceMs: number;
  /** Of the first so many a write is under way. */
  onTheirWay: number;
  readonly waiters: {
    readonly nextOffset: Offset;
    settle(isWritten: boolean): void;
    fail(error: unknown): void;
  }[];
  /** Why it cannot be written for now: there is no space. */
  outOfSpace: { readonly error: unknown } | null;
  readonly spaceWaiters: (() => void)[];
}

/**
 * What the journal makes durable may be written to its segment later: several batches of a log with one call, which another
 * thread makes. So the event loop, the busiest of all threads, is spared a third of its work.
 *
 *     ───────── written ──────────── held ─────────────── end
 *       in the segment      in memory, and in the journal
 *
 * The order of a log's writes is kept: who has something held writes nothing past it. Who needs the file (a reader at the
 * log's end, a sync, a cut) has what is held written first. A crash loses nothing: the journal keeps its frames until the
 * segments are synced, and they are synced when what is held of them is written.
 */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  /** Hold something; in the order in which they began to. */
  readonly #queues = new Set<WriteQueue>();
  /** Wait for a thread. */
  readonly #due = new Set<WriteQueue>();
  #heldBytes = 0;
  #calls = 0;
  #isTimed = false;
  /** Whether there is much space; looked at once a group. */
  #isSpacious = false;
  #lookedAt = -1;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether the next portion of a log may be held. Notes that the log has something in this group; they are numbered. */
  accepts(queue: WriteQueue, group: number): boolean {
    const isBusy = group - queue.lastGroup <= GROUPS_APART_MAX;
    queue.lastGroup = group;
    const segment = queue.nextSegment;
    const isPossible = queue.isSyncWanted && segment?.isOpen === true && (queue.held?.outOfSpace ?? null) === null;
    const isWanted = isPossible && isBusy && queue.readBytes <= 0 && this.#heldBytes < this.#options.heldBytesMax;
    return isWanted && this.#hasMuchSpace(group);
  }

  #hasMuchSpace(group: number): boolean {
    if (group === this.#lookedAt) return this.#isSpacious;
    this.#lookedAt = group;
    try {
      this.#isSpacious = this.#options.usableBytes() >= USABLE_BYTES_MIN;
    } catch (error) {
      // Whatever is wrong with the disk, the writes will tell.
      if (!(error instanceof DiskError)) throw error;
      this.#isSpacious = false;
    }
    return this.#isSpacious;
  }

  /** Takes over a lease on its segment. */
  hold(portion: Portion): void {
    const { queue, sizeBytes } = portion;
    const held = (queue.held ??= nothingHeld(this.#options.clock.monotonicMs()));
    this.#queues.add(queue);
    held.portions.push(portion);
    held.sizeBytes += sizeBytes;
    held.batches += portion.buffers.length;
    this.#heldBytes += sizeBytes;
    if (held.sizeBytes >= CALL_BYTES) this.#soon(queue);
    this.#startTimer();
  }

  /** For a reader: null where the file has all of the log that it can have; else a promise of that. */
  show(queue: WriteQueue): Promise<unknown> | null {
    const { held } = queue;
    if (held === null) return null;
    queue.readBytes = READ_BYTES;
    if (held.outOfSpace !== null) return null;
    const { log } = held.portions[0]?.segment ?? {};
    const isLittle =
      held.onTheirWay === 0 && held.sizeBytes <= SMALL_BYTES && this.#countOfNext(held) === held.portions.length;
    if (log === undefined || !isLittle) return this.written(queue).catch(ignoreNoSpace);
    held.onTheirWay = held.portions.length;
    try {
      log.writeNow(Buffer.concat(held.portions.flatMap(({ buffers }) => buffers)), held.portions[0]?.position ?? 0);
    } catch (error) {
      this.#failed(queue, held, error);
      return null;
    }
    this.#done(queue, held);
    return null;
  }

  /**
   * Resolves when what is held now is written; to false where it never will be, since the log is gone. Where there is no
   * space for it, ENOSPC.
   */
  written(queue: WriteQueue): Promise<boolean> {
    const { held } = queue;
    const last = held?.portions.at(-1);
    if (held === null || last === undefined) return Promise.resolve(true);
    if (held.outOfSpace !== null) return Promise.reject(held.outOfSpace.error);
    this.#soon(queue);
    return new Promise((settle, fail) => {
      held.waiters.push({ nextOffset: last.nextOffset, settle, fail });
    });
  }

  /** As `written`, for all that is held of these segments; where there is no space for it, it waits until there is. */
  async writtenOf(segments: ReadonlySet<Segment>): Promise<void> {
    for (const queue of [...this.#queues]) {
      while (queue.held?.portions.some(({ segment }) => segments.has(segment)) === true) {
        const { held } = queue;
        if (held.outOfSpace !== null) await new Promise<void>((resolve) => held.spaceWaiters.push(resolve));
        else await this.written(queue).catch(ignoreNoSpace);
      }
    }
  }

  /** What comes from `offset` on was refused, since there is no space for it. */
  cut(queue: WriteQueue, offset: Offset): void {
    const { held } = queue;
    if (held === null) return;
    assert(held.onTheirWay === 0, "what is cut is not being written");
    const kept = held.portions.filter(({ nextOffset }) => nextOffset <= offset);
    if (kept.length === 0) return this.drop(queue);
    for (const portion of held.portions.splice(kept.length)) {
      held.sizeBytes -= portion.sizeBytes;
      held.batches -= portion.buffers.length;
      this.#heldBytes -= portion.sizeBytes;
      portion.segment.release();
    }
  }

  /** There may be space again. */
  retry(queue: WriteQueue): Promise<boolean> {
    const { held } = queue;
    if (held !== null) {
      held.outOfSpace = null;
      for (const resolve of held.spaceWaiters.splice(0)) resolve();
    }
    return this.written(queue);
  }

  /** What is held of the log is of no use any more: it is deleted, or its directory has failed. */
  drop(queue: WriteQueue): void {
    const { held } = queue;
    if (held === null) return;
    queue.held = null;
    this.#queues.delete(queue);
    this.#due.delete(queue);
    this.#heldBytes -= held.sizeBytes;
    for (const { segment } of held.portions) segment.release();
    for (const waiter of held.waiters) waiter.settle(false);
    for (const resolve of held.spaceWaiters) resolve();
    queue.noticeIdle();
  }

  fail(): void {
    for (const queue of [...this.#queues]) this.drop(queue);
  }

  #startTimer(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#options.clock.schedule(HELD_MS, () => {
      this.#isTimed = false;
      const untilMs = this.#options.clock.monotonicMs() - HELD_MS;
      for (const queue of [...this.#queues]) if ((queue.held?.sinceMs ?? Infinity) <= untilMs) this.#soon(queue);
      for (const queue of this.#queues) if (queue.held?.outOfSpace === null) return this.#startTimer();
    });
  }

  #soon(queue: WriteQueue): void {
    this.#due.add(queue);
    this.#startCalls();
  }

  #startCalls(): void {
    for (const queue of [...this.#due]) {
      if (this.#calls >= CALLS_MAX) return;
      this.#due.delete(queue);
      const { held } = queue;
      if (held !== null && held.onTheirWay === 0 && held.outOfSpace === null) this.#write(queue, held);
    }
  }

  /** Those at the front that lie in one segment. */
  #countOfNext({ portions }: HeldPortions): number {
    const other = portions.findIndex(({ segment }) => segment !== portions[0]?.segment);
    return other === -1 ? portions.length : other;
  }

  #write(queue: WriteQueue, held: HeldPortions): void {
    const [first] = held.portions;
    if (first === undefined) return;
    held.onTheirWay = this.#countOfNext(held);
    this.#calls += 1;
    const buffers = held.portions.slice(0, held.onTheirWay).flatMap((portion) => portion.buffers);
    const end = (error: unknown): void => {
      this.#calls -= 1;
      if (queue.held === held && error === null) this.#done(queue, held);
      else if (queue.held === held) this.#failed(queue, held, error);
      this.#startCalls();
    };
    first.segment.log.write(buffers, first.position).then(() => end(null), end);
  }

  #done(queue: WriteQueue, held: HeldPortions): void {
    const portions = held.portions.splice(0, held.onTheirWay);
    held.onTheirWay = 0;
    held.sinceMs = this.#options.clock.monotonicMs();
    if (held.portions.length === 0) {
      queue.held = null;
      this.#queues.delete(queue);
    }
    for (const portion of portions) {
      held.sizeBytes -= portion.sizeBytes;
      held.batches -= portion.buffers.length;
      this.#heldBytes -= portion.sizeBytes;
      this.#options.onWritten(portion);
      portion.segment.release();
    }
    for (const waiter of held.waiters.splice(0)) {
      if (waiter.nextOffset <= queue.writtenOffset) waiter.settle(true);
      else held.waiters.push(waiter);
    }
    if (queue.held === held && (held.sizeBytes >= CALL_BYTES || held.waiters.length > 0)) this.#soon(queue);
  }

  #failed(queue: WriteQueue, held: HeldPortions, error: unknown): void {
    held.onTheirWay = 0;
    if (!isOutOfSpace(error)) return this.#options.onFailed(error);
    held.outOfSpace = { error };
    for (const waiter of held.waiters.splice(0)) waiter.fail(error);
    this.#options.onOutOfSpace(queue, error);
  }
}

function nothingHeld(sinceMs: number): HeldPortions {
  return {
    portions: [],
    sizeBytes: 0,
    batches: 0,
    sinceMs,
    onTheirWay: 0,
    waiters: [],
    outOfSpace: null,
    spaceWaiters: [],
  };
}

function ignoreNoSpace(error: unknown): boolean {
  if (!isOutOfSpace(error)) throw error;
  return false;
}
