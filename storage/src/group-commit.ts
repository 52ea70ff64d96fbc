import type { Clock, Disk } from "@millrace/base/world";
import { FRAMES_UNDER_WAY_MAX } from "./journal-frame.ts";
import type { FrameInput } from "./journal-frame.ts";
import type { Journal } from "./journal.ts";
import type { Segment } from "./segment.ts";
import type { RoomLimits } from "./segment-room.ts";
import type { Offset } from "./types.ts";
import type { Portion, WriteQueue } from "./write-queue.ts";
import { Writeback } from "./writeback.ts";

export interface CommitterOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Bytes of one log that may be written and not yet synced: `millrace.unsynced.bytes.max`. */
  readonly unsyncedBytesMax: number;
  /**
   * Without a journal: when so many bytes wait, over all logs, they are written while the group before is still being synced;
   * fewer go in fewer calls after it.
   */
  readonly eagerBytes: number;
  /** Segments that one group covers, and that durability `os` leaves unsynced: each of them is open meanwhile. */
  readonly groupSegmentsMax: number;
  readonly room: RoomLimits;
  /** A sync, or the setting aside of blocks, failed: nothing is known about the directory any more (R16). */
  onDiskFailed(error: unknown): void;
}

/** So little costs less to write on the calling thread than to hand to another: 20 us for 60 KB. */
const SMALL_BYTES = 64 * 1024;
/**
 * But several times as much where the system has no memory at hand, as in a virtual machine that gave its own back: then
 * other threads are to wait for it.
 */
const SLOW_MS_PER_MB = 1.5;
const SLOW_SMALL_BYTES = 16 * 1024;
const SLOW_PAUSE_MS = 250;
/** Over so much it is measured: a single write may have been interrupted by whatever else runs. */
const MEASURED_BYTES = 8 * 1024 * 1024;
/** The system makes a writer wait when too much is dirty: then nothing is written on this thread for a while. */
const STALL_MS = 10;
const STALL_PAUSE_MS = 1000;

/** What becomes durable together. */
interface Group {
  readonly queues: WriteQueue[];
  readonly portions: Portion[];
  /** What was written to them counts when it is durable, by the journal or by a sync. Each with a lease. */
  readonly segments: Set<Segment>;
  /** Written before, without a sync: these are synced themselves. Each with a lease. */
  readonly dirty: Set<Segment>;
  readonly directories: Set<string>;
  /** How far each log reaches with what this group has written. */
  readonly nextOffsets: Map<WriteQueue, Offset>;
  writesUnderWay: number;
  outcome: "journaled" | "synced" | null;
  onWritten: (() => void) | null;
  /** Its writes were ordered; what comes now belongs to the next one. */
  isClosed: boolean;
}

/** A portion that is about to be written. */
interface Started {
  readonly queue: WriteQueue;
  readonly portion: Portion;
  readonly group: Group | null;
}

/**
 * Group commit, for all logs of a directory: one sync covers every batch that waits, over many partitions too.
 *
 *     group n     journal + write ─────┤ told                  without a journal:   write ─┤ sync ──────────┤ told
 *     group n+1       journal + write ─────┤ told                                        │ write ─┤ sync …
 *     group n+2           journal + write …
 *
 * With a journal a group is durable when its one frame is written there, and its batches are written to their segments
 * meanwhile. Some groups are under way at a time and told in order; a log is in two of them at most. Without one, or where the
 * journal cannot take it, the segments are written first and synced then, one group at a time, while the next is gathered. What
 * arrives when no more can begin makes up the next group: the slower the disk, the larger the groups.
 */
export class Committer {
  readonly #options: CommitterOptions;
  /** Of what the journal has made durable. */
  readonly writeback: Writeback;
  #journal: Journal | null = null;
  /** What waits for a group; and what is written at once, since durability `os` waits for none. */
  #waiting: WriteQueue[] = [];
  #waitingForNone: WriteQueue[] = [];
  /** Logs with segments that were written and belong to no group. */
  readonly #dirty = new Set<WriteQueue>();
  #dirtySegments = 0;
  #gathering: Group = emptyGroup();
  /** Becoming durable, oldest first; they are told in this order. */
  readonly #underWay: Group[] = [];
  #isScheduled = false;
  #isFailed = false;
  #queuedBytes = 0;
  readonly #small: Buffer = Buffer.allocUnsafe(SMALL_BYTES);
  #stalledUntilMs = 0;
  #slowUntilMs = 0;
  /** Of what was written on this thread since the last measurement. */
  #hereBytes = 0;
  #hereMs = 0;
  /** When the last sync ended, nothing was waiting for the next. */
  #isInStep = false;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.writeback = new Writeback(options.clock);
  }

  /** From now on groups go through it. Nothing is under way. */
  useJournal(journal: Journal): void {
    this.#journal = journal;
  }

  /** Bytes that were given an offset and are not written yet, over all logs: what limits how much more is taken in. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The queue has so many bytes more. Their write begins at the end of the turn, with all else that the turn brings. */
  submit(queue: WriteQueue, addedBytes: number): void {
    this.#queuedBytes += addedBytes;
    this.#wait(queue);
    this.#schedule();
  }

  #wait(queue: WriteQueue): void {
    if (queue.isWaiting) return;
    queue.isWaiting = true;
    (queue.isSyncWanted ? this.#waiting : this.#waitingForNone).push(queue);
  }

  /** What waited in a queue is not to be written any more. */
  forget(bytes: number): void {
    this.#queuedBytes -= bytes;
  }

  /** Syncs what a log has written without a sync (durability `os`), with the next group. */
  syncSoon(queue: WriteQueue): void {
    if (this.#isFailed || !queue.isDirty) return;
    this.#join(this.#gathering, queue);
    this.#schedule();
  }

  /** Nothing is written or synced any more; who waits for the end of it waits for the writes that are on their way only. */
  fail(): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    this.#waiting = [];
    this.#waitingForNone = [];
    this.#journal?.fail();
    this.writeback.stop();
    for (const group of [this.#gathering, ...this.#underWay]) {
      for (const segment of [...group.segments, ...group.dirty]) segment.release();
      for (const queue of group.queues) {
        queue.leave(group);
        queue.noticeIdle();
      }
    }
  }

  get #groupsMax(): number {
    return this.#journal === null ? 1 : FRAMES_UNDER_WAY_MAX;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.clock.afterTurn(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const started = this.#takeUp();
    this.#writeStarted(started);
    this.#maybeSync();
  }

  /** Gives portions to the next group, and the group to the journal: its thread works while this one writes to segments. */
  #takeUp(): readonly Started[] {
    if (this.#isFailed) return [];
    const isAhead = this.#underWay.length >= this.#groupsMax;
    const isEager = this.#journal === null && this.#queuedBytes >= this.#options.eagerBytes;
    const isLater = this.#gathering.isClosed || (isAhead && !isEager);
    const started: Started[] = [];
    for (const queue of this.#waitingForNone.splice(0)) {
      queue.isWaiting = false;
      this.#start(queue, started);
    }
    const restBytes = this.#bytesLeftForNextGroup();
    for (const queue of isLater ? [] : this.#waiting.splice(0)) {
      queue.isWaiting = false;
      if (restBytes > 0 && this.#queuedBytes <= restBytes) this.#wait(queue);
      else this.#start(queue, started);
    }
    if (this.#journal !== null) this.#maybeSync();
    return started;
  }

  #writeStarted(started: readonly Started[]): void {
    if (started.length === 0) return;
    const { clock } = this.#options;
    const startMs = clock.monotonicMs();
    const bytesHereMax =
      startMs < this.#stalledUntilMs ? 0 : startMs < this.#slowUntilMs ? SLOW_SMALL_BYTES : SMALL_BYTES;
    let bytesHere = 0;
    for (const each of started) {
      const { segment, sizeBytes } = each.portion;
      if (this.#isFailed) this.#abandon(each.queue);
      else if (sizeBytes <= bytesHereMax && segment.isOpen) {
        bytesHere += sizeBytes;
        this.#writeHere(each);
      } else this.#write(each);
    }
    const endMs = clock.monotonicMs();
    const tookMs = endMs - startMs;
    if (tookMs > STALL_MS) this.#stalledUntilMs = endMs + STALL_PAUSE_MS;
    if (bytesHere <= SLOW_SMALL_BYTES) return;
    this.#hereBytes += bytesHere;
    this.#hereMs += tookMs;
    if (this.#hereBytes < MEASURED_BYTES) return;
    if (this.#hereMs > (SLOW_MS_PER_MB * this.#hereBytes) / 1e6) this.#slowUntilMs = endMs + SLOW_PAUSE_MS;
    this.#hereBytes = 0;
    this.#hereMs = 0;
  }

  /**
   * Producers that wait for their answers all at once, and then send all at once, keep disk and processor waiting for each
   * other. So what comes when nothing else is under way is parted in two: one half is answered while the other is synced.
   */
  #bytesLeftForNextGroup(): number {
    const isParted =
      this.#isInStep &&
      this.#journal === null &&
      this.#underWay.length === 0 &&
      this.#queuedBytes >= this.#options.eagerBytes;
    if (!isParted) return 0;
    this.#isInStep = false;
    return this.#queuedBytes / 2;
  }

  #start(queue: WriteQueue, started: Started[]): void {
    // The end of the pause, and of the write, submit it again.
    if (queue.isPaused || queue.isWriting || queue.queuedBytes === 0) return;
    const portion = this.#hasRoomFor(queue) ? queue.take(this.#options.unsyncedBytesMax, this.#gathering) : null;
    if (portion === null) return this.#wait(queue);
    this.#queuedBytes -= portion.sizeBytes;
    // The lease goes over to the group, or lasts as long as the write.
    portion.segment.retain();
    const group = queue.isSyncWanted ? this.#gathering : null;
    if (group !== null) {
      this.#join(group, queue);
      cover(group.segments, portion.segment);
      group.portions.push(portion);
      queue.enter(group, portion.sizeBytes);
      group.writesUnderWay += 1;
    }
    // Nothing in a new file counts before its name is durable.
    if (portion.segment.isNew) (group ?? this.#gathering).directories.add(portion.segment.directory);
    started.push({ queue, portion, group });
  }

  /** Every segment that waits for a sync is open: there is a bound to them. */
  #hasRoomFor(queue: WriteQueue): boolean {
    const { groupSegmentsMax } = this.#options;
    const { segments, dirty } = this.#gathering;
    const isCovered = queue.nextSegment !== null && segments.has(queue.nextSegment);
    const hasRoom = isCovered || segments.size + dirty.size < groupSegmentsMax;
    if (queue.isSyncWanted || queue.isDirty) return hasRoom;
    if (this.#dirtySegments < groupSegmentsMax) return true;
    if (hasRoom) for (const each of this.#dirty) this.#join(this.#gathering, each);
    return hasRoom;
  }

  #join(group: Group, queue: WriteQueue): void {
    if (queue.enter(group, 0)) group.queues.push(queue);
    if (!queue.isDirty) return;
    for (const segment of queue.takeDirty()) {
      this.#dirtySegments -= 1;
      cover(group.dirty, segment);
    }
    this.#dirty.delete(queue);
  }

  #write({ queue, portion, group }: Started): void {
    const { segment, buffers, position } = portion;
    const writing = segment.isOpen
      ? segment.log.write(buffers, position)
      : queue.owner.open(segment).then(() => segment.log.write(buffers, position));
    writing.then(
      () => {
        this.#onWritten(queue, portion, group);
        if (!this.#isFailed) this.#maybeSync();
      },
      (error: unknown) => {
        this.#onWriteFailed(queue, portion, group, error);
        if (!this.#isFailed) this.#maybeSync();
      },
    );
  }

  #writeHere({ queue, portion, group }: Started): void {
    const { segment, position, sizeBytes } = portion;
    const { room, onDiskFailed } = this.#options;
    let failure: { readonly error: unknown } | null = null;
    try {
      segment.writeNow(this.#joined(portion), position, room);
    } catch (error) {
      failure = { error };
    }
    if (failure !== null) return this.#onWriteFailed(queue, portion, group, failure.error);
    if (sizeBytes >= room.fromBytes)
      segment.room?.reserveAhead(segment.log, position + sizeBytes, room)?.catch(onDiskFailed);
    this.#onWritten(queue, portion, group);
  }

  /** The directory has failed before the write began. */
  #abandon(queue: WriteQueue): void {
    queue.isWriting = false;
    queue.noticeIdle();
  }

  /** Many small buffers cost more in a call than their bytes in a copy. */
  #joined({ buffers, sizeBytes }: Portion): Buffer {
    const [first] = buffers;
    if (buffers.length === 1 && first !== undefined) return first;
    let at = 0;
    for (const bytes of buffers) {
      this.#small.set(bytes, at);
      at += bytes.length;
    }
    return this.#small.subarray(0, sizeBytes);
  }

  #onWritten(queue: WriteQueue, portion: Portion, group: Group | null): void {
    const { segment } = portion;
    queue.isWriting = false;
    queue.writtenOffset = portion.nextOffset;
    segment.sizeBytes = portion.position + portion.sizeBytes;
    group?.nextOffsets.set(queue, portion.nextOffset);
    if (group === null && queue.markDirty(segment)) {
      this.#dirtySegments += 1;
      this.#dirty.add(queue);
    }
    if (this.#journal !== null && group !== null) this.writeback.noteWritten(segment);
    if (!this.#isFailed) queue.owner.onWritten(portion);
    this.#afterWrite(queue, portion, group);
  }

  #onWriteFailed(queue: WriteQueue, portion: Portion, group: Group | null, error: unknown): void {
    queue.isWriting = false;
    if (!this.#isFailed) queue.owner.onWriteFailed(portion, error);
    this.#afterWrite(queue, portion, group);
  }

  #afterWrite(queue: WriteQueue, portion: Portion, group: Group | null): void {
    if (group === null) portion.segment.release();
    else {
      group.writesUnderWay -= 1;
      if (group.writesUnderWay === 0) group.onWritten?.();
    }
    queue.noticeIdle();
    if (!this.#isFailed && queue.queuedBytes > 0) this.submit(queue, 0);
  }

  #maybeSync(): void {
    const group = this.#gathering;
    if (this.#isFailed || this.#underWay.length >= this.#groupsMax || group.queues.length === 0) return;
    group.isClosed = true;
    // A sync covers what was written before it; the journal has the bytes from here.
    if (this.#journal === null && group.writesUnderWay > 0) return;
    this.#gathering = emptyGroup();
    this.#underWay.push(group);
    // What is written while this is under way is not promised by it.
    for (const queue of group.queues)
      if (!group.nextOffsets.has(queue)) group.nextOffsets.set(queue, queue.writtenOffset);
    this.#makeDurable(group).then(
      (isJournaled) => {
        group.outcome = isJournaled ? "journaled" : "synced";
        this.#tellInOrder();
      },
      (error: unknown) => {
        if (!this.#isFailed) this.#options.onDiskFailed(error);
      },
    );
    // Logs with much to write do so meanwhile.
    if (this.#waiting.length > 0) this.#pump();
  }

  /** Tells whether the journal has it; else the segments were synced. */
  async #makeDurable(group: Group): Promise<boolean> {
    const { disk } = this.#options;
    const journaling = group.portions.length > 0 ? this.#journal?.append(group.portions.map(frameInput)) : undefined;
    const [isJournaled = false] = await Promise.all([journaling, written(group)]);
    const files = [...(isJournaled ? [] : group.segments), ...group.dirty].filter((segment) => segment.isOpen);
    const syncs = Array.from(group.directories, (directory) => disk.syncDirectory(directory));
    if (files.length > 0) syncs.push(disk.syncFiles(files.map((segment) => segment.log)));
    if (syncs.length > 0) await Promise.all(syncs);
    return isJournaled;
  }

  #tellInOrder(): void {
    for (let [group] = this.#underWay; group !== undefined && group.outcome !== null; [group] = this.#underWay) {
      if (this.#isFailed) return;
      this.#underWay.shift();
      this.#onDurable(group);
    }
  }

  #onDurable(group: Group): void {
    this.#isInStep = this.#gathering.queues.length === 0 && this.#waiting.length === 0;
    if (group.outcome === "journaled") this.#journal?.settle(group.segments);
    else for (const segment of group.segments) segment.release();
    for (const segment of group.dirty) segment.release();
    for (const queue of group.queues) queue.leave(group);
    // The next group begins before anyone is told: the disk works while answers are made. Segments can wait for that.
    const started = this.#takeUp();
    if (this.#journal === null) this.#writeStarted(started);
    else if (started.length > 0) this.#options.clock.afterTurn(() => this.#writeStarted(started));
    this.#maybeSync();
    for (const [queue, nextOffset] of group.nextOffsets) {
      queue.flushedOffset = nextOffset;
      queue.owner.onFlushed(nextOffset);
      queue.noticeIdle();
    }
  }
}

function emptyGroup(): Group {
  return {
    queues: [],
    portions: [],
    segments: new Set(),
    dirty: new Set(),
    directories: new Set(),
    nextOffsets: new Map(),
    writesUnderWay: 0,
    outcome: null,
    isClosed: false,
    onWritten: null,
  };
}

/** One lease a segment is enough. */
function cover(segments: Set<Segment>, segment: Segment): void {
  if (segments.has(segment)) segment.release();
  else segments.add(segment);
}

/** Resolves when no write of the group is under way. */
function written(group: Group): Promise<void> | null {
  if (group.writesUnderWay === 0) return null;
  return new Promise((resolve) => {
    group.onWritten = resolve;
  });
}

function frameInput({ queue, segment, position, nextOffset, sizeBytes, buffers }: Portion): FrameInput {
  const { topicId, partition } = queue.identity;
  return { topicId, partition, segmentBase: segment.baseOffset, position, nextOffset, sizeBytes, buffers };
}
