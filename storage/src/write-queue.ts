import { assert } from "@millrace/base/assert";
import type { Segment } from "./segment.ts";
import type { Offset, Uuid } from "./types.ts";

/** Bytes that go to one place in one file with one call. */
export interface Portion {
  readonly queue: WriteQueue;
  readonly segment: Segment;
  readonly position: number;
  readonly buffers: readonly Buffer[];
  readonly sizeBytes: number;
  /** Exclusive: how far the log reaches when they are written. */
  readonly nextOffset: Offset;
}

const GROUPS_MAX = 2;

/** Which log it is, wherever its directory lies. */
export interface LogIdentity {
  readonly topicId: Uuid;
  readonly partition: number;
}

/** Batches for one segment that wait, one after the other. */
interface Run {
  readonly segment: Segment;
  position: number;
  readonly buffers: Buffer[];
  readonly nextOffsets: Offset[];
  sizeBytes: number;
}

/** What the committer tells a log. */
export interface WriteQueueOwner {
  /** Opens (and where it is new creates) the segment's files. */
  open(segment: Segment): Promise<void>;
  onWritten(portion: Portion): void;
  onFlushed(nextOffset: Offset): void;
  /** Of this portion only a part is in the file, or nothing, and nothing of what comes after it. */
  onWriteFailed(portion: Portion, error: unknown): void;
}

/**
 * What one log has given offsets to and the disk does not have yet. The committer takes portions of it, one at a time.
 *
 *     ───────── flushed ──────────── written ─────────────── end
 *       synced          unsynced              in this queue
 *
 * Not durable are two groups at most, each of at most half of `unsyncedBytesMax`.
 */
export class WriteQueue {
  readonly owner: WriteQueueOwner;
  readonly identity: LogIdentity;
  #runs: Run[] = [];
  #queuedBytes = 0;
  /** A write is on its way. */
  isWriting = false;
  /** In the committer's list of those that have something to write. */
  isWaiting = false;
  /** Truncation and closing work on the files themselves meanwhile. */
  isPaused = false;
  /** Whether what is written from now on counts only when it is synced. */
  isSyncWanted = true;
  /** The groups that have something of this log and are not durable, oldest first. */
  #groups: { readonly group: object; bytes: number }[] = [];
  writtenOffset: Offset;
  flushedOffset: Offset;
  /** Written without a sync, as durability `os` has it; each with a lease. The next group takes them over. */
  #dirty: Set<Segment> | null = null;
  /** The segment of the last write: the next one begins only when this one is durable. */
  #lastSegment: Segment | null = null;
  #onIdle: (() => void) | null = null;

  constructor(owner: WriteQueueOwner, identity: LogIdentity, endOffset: Offset) {
    this.owner = owner;
    this.identity = identity;
    this.writtenOffset = endOffset;
    this.flushedOffset = endOffset;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }
  get isIdle(): boolean {
    return !this.isWriting && this.#groups.length === 0;
  }
  get isDirty(): boolean {
    return this.#dirty !== null;
  }

  push(segment: Segment, position: number, bytes: Buffer, nextOffset: Offset): void {
    this.#queuedBytes += bytes.length;
    const last = this.#runs.at(-1);
    if (last?.segment === segment) {
      last.buffers.push(bytes);
      last.nextOffsets.push(nextOffset);
      last.sizeBytes += bytes.length;
    } else {
      this.#runs.push({ segment, position, buffers: [bytes], nextOffsets: [nextOffset], sizeBytes: bytes.length });
    }
  }

  /**
   * The next bytes to be written, or null where the log has to wait for a sync first. A segment begins only when the one
   * before it is durable, so that a torn tail always lies in the last one. A batch larger than half the bound is a group of its
   * own, with nothing else unsynced: so the bound holds for it too.
   */
  take(unsyncedBytesMax: number, group: object): Portion | null {
    const run = this.#runs[0];
    if (run === undefined) return null;
    assert(!this.isWriting && !this.isPaused, "a log has one write under way at most");
    const half = Math.floor(unsyncedBytesMax / 2);
    const mine = this.#groups.find((each) => each.group === group);
    const hasUnsynced = this.#groups.length > 0;
    const isNextSegment = this.#lastSegment !== null && this.#lastSegment !== run.segment;
    const isOversizedUnsynced = this.#groups.some(({ bytes }) => bytes > half);
    const isThirdGroup = mine === undefined && this.#groups.length >= GROUPS_MAX;
    if (this.isSyncWanted && hasUnsynced && (isNextSegment || isOversizedUnsynced || isThirdGroup)) return null;
    const budget = this.isSyncWanted ? half - (mine?.bytes ?? 0) : half;
    if (run.sizeBytes <= budget) {
      this.#runs.shift();
      return this.#taken(run.segment, run.position, run.buffers, run.sizeBytes, run.nextOffsets.at(-1));
    }
    let count = 0;
    let sizeBytes = 0;
    for (const buffer of run.buffers) {
      if (sizeBytes + buffer.length > budget) break;
      sizeBytes += buffer.length;
      count += 1;
    }
    if (count === 0) {
      if (this.isSyncWanted && hasUnsynced) return null;
      count = 1;
      sizeBytes = run.buffers[0]?.length ?? 0;
    }
    const buffers = run.buffers.splice(0, count);
    const nextOffset = run.nextOffsets.splice(0, count).at(-1);
    const { position } = run;
    run.position += sizeBytes;
    run.sizeBytes -= sizeBytes;
    if (run.buffers.length === 0) this.#runs.shift();
    return this.#taken(run.segment, position, buffers, sizeBytes, nextOffset);
  }

  #taken(
    segment: Segment,
    position: number,
    buffers: readonly Buffer[],
    sizeBytes: number,
    nextOffset: Offset | undefined,
  ): Portion {
    assert(nextOffset !== undefined, "a portion holds a batch");
    this.#queuedBytes -= sizeBytes;
    this.#lastSegment = segment;
    this.isWriting = true;
    return { queue: this, segment, position, buffers, sizeBytes, nextOffset };
  }

  /** False where it was in the group already. */
  enter(group: object, bytes: number): boolean {
    const mine = this.#groups.find((each) => each.group === group);
    if (mine !== undefined) mine.bytes += bytes;
    else this.#groups.push({ group, bytes });
    return mine === undefined;
  }

  /** The group is durable, or never will be. */
  leave(group: object): void {
    this.#groups = this.#groups.filter((each) => each.group !== group);
  }

  /** Of what is written next. */
  get nextSegment(): Segment | null {
    return this.#runs[0]?.segment ?? null;
  }

  /** False where it was dirty already. */
  markDirty(segment: Segment): boolean {
    this.#dirty ??= new Set();
    if (this.#dirty.has(segment)) return false;
    segment.retain();
    this.#dirty.add(segment);
    return true;
  }

  /** Gives away the dirty segments, with their leases. */
  takeDirty(): Iterable<Segment> {
    const dirty = this.#dirty;
    this.#dirty = null;
    return dirty ?? [];
  }

  /** Forgets all that waits: it was refused, or the log is gone. Gives the bytes it was. */
  clear(): number {
    const forgottenBytes = this.#queuedBytes;
    this.#runs = [];
    this.#queuedBytes = 0;
    return forgottenBytes;
  }

  /** After a cut or a load: what is there is durable. */
  reset(endOffset: Offset): void {
    assert(this.isIdle && this.#queuedBytes === 0, "a queue is reset when nothing is under way");
    this.#lastSegment = null;
    this.writtenOffset = endOffset;
    this.flushedOffset = endOffset;
  }

  /** No further write begins; resolves when those under way, and their syncs, have ended. */
  pause(): Promise<void> {
    this.isPaused = true;
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** By the committer, after each step. */
  noticeIdle(): void {
    if (this.#onIdle === null || !this.isIdle) return;
    const onIdle = this.#onIdle;
    this.#onIdle = null;
    onIdle();
  }
}
