import { assert } from "@millrace/base/assert";
import type { Clock } from "@millrace/base/world";
import { NO_SEQUENCE } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { readRecords } from "kafka-protocol-ts/records/record";
import { readEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type { Offset } from "./types.ts";

/** A producer may have five requests in flight: so many of its batches are known again when they come twice. */
export const PRODUCER_WINDOW = 5;
const SEQUENCE_LIMIT = 0x8000_0000;
export const NO_COORDINATOR_EPOCH = -1;

/** One batch of a producer, as it is remembered. */
export interface BatchMark {
  readonly lastSequence: number;
  readonly lastOffset: Offset;
  /** First offset = last offset − this; the first sequence likewise. */
  readonly offsetDelta: number;
  readonly timestamp: number;
}

/** What the log knows of one producer id. */
export class ProducerEntry {
  readonly producerId: number;
  epoch: number;
  coordinatorEpoch: number = NO_COORDINATOR_EPOCH;
  lastTimestamp = -1;
  /** When its last batch came, by the monotonic clock; null for one that was loaded, until somebody asks. */
  heardMs: number | null = null;
  /** −1 without a transaction under way. */
  currentTxnFirstOffset = -1;
  /** Oldest first, at most PRODUCER_WINDOW, all of the present epoch. */
  readonly marks: BatchMark[] = [];

  constructor(producerId: number, epoch: number) {
    this.producerId = producerId;
    this.epoch = epoch;
  }

  get lastSequence(): number {
    return this.marks.at(-1)?.lastSequence ?? NO_SEQUENCE;
  }

  add(epoch: number, mark: BatchMark): void {
    this.raiseEpoch(epoch);
    if (this.marks.length === PRODUCER_WINDOW) this.marks.shift();
    this.marks.push(mark);
    this.lastTimestamp = mark.timestamp;
  }

  /** A new epoch begins its sequences anew, and no batch of the old one counts as a duplicate of its batches (R9). */
  raiseEpoch(epoch: number): void {
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.marks.length = 0;
  }
}

/** What others may see of a producer. */
export type ProducerView = Readonly<
  Pick<
    ProducerEntry,
    "producerId" | "epoch" | "coordinatorEpoch" | "lastTimestamp" | "lastSequence" | "currentTxnFirstOffset"
  >
>;

export type SequenceFailure = "stale-producer-epoch" | "sequence-gap" | "stale-coordinator-epoch" | "no-transaction";

/** What the checks say of a batch: take it, it was taken before, or no. */
export type SequenceVerdict =
  | { readonly kind: "new" }
  | { readonly kind: "duplicate"; readonly mark: BatchMark }
  | { readonly kind: "refused"; readonly failure: SequenceFailure; readonly message: string };

const none: readonly never[] = [];
const isNew: SequenceVerdict = { kind: "new" };

export interface UnstableTransaction {
  readonly producerId: number;
  readonly firstOffset: Offset;
  /** The marker's offset; null while the transaction is under way. */
  lastOffset: Offset | null;
}

/** A transaction that has just ended with a marker in the log. */
export interface CompletedTransaction {
  readonly producerId: number;
  readonly firstOffset: Offset;
  readonly lastOffset: Offset;
  readonly isAborted: boolean;
}

/** Every producer with records in one partition: what duplicates, gaps and stale producers are told by, and what is not yet decided. */
export class ProducerStates {
  /** Null in the many logs that never had a producer with an id. */
  #entries: Map<number, ProducerEntry> | null = null;
  /** In the order of their first offsets. Those that ended stay until readers may pass their marker. */
  readonly #unstable: UnstableTransaction[] = [];

  get size(): number {
    return this.#entries?.size ?? 0;
  }

  entries(): Iterable<ProducerEntry> {
    return this.#entries?.values() ?? none;
  }

  get(producerId: number): ProducerEntry | undefined {
    return this.#entries?.get(producerId);
  }

  // --- Judging -------------------------------------------------------------------------------------------------------

  /** Changes nothing. Order matters: a batch that is among the last five is a duplicate whatever its epoch says now. */
  check(batch: RecordBatchView): SequenceVerdict {
    const entry = this.#entries?.get(batch.producerId);
    // The state may have expired, or the records with it: such a producer goes on where it was.
    if (entry === undefined) return isNew;
    const epoch = batch.producerEpoch;
    if (epoch < entry.epoch) return staleEpoch(batch, entry);
    const firstSequence = batch.baseSequence;
    if (epoch > entry.epoch) {
      return firstSequence === 0
        ? isNew
        : gap(batch, `epoch ${epoch} begins with sequence ${firstSequence}, not with 0`);
    }
    for (const mark of entry.marks) {
      const isSame = mark.lastSequence === batch.lastSequence && mark.offsetDelta === batch.lastOffsetDelta;
      if (isSame) return { kind: "duplicate", mark };
    }
    const last = entry.lastSequence;
    const expected = last === NO_SEQUENCE ? 0 : (last + 1) % SEQUENCE_LIMIT;
    if (firstSequence !== expected) return gap(batch, `sequence ${firstSequence} where ${expected} is next`);
    if (entry.currentTxnFirstOffset !== -1 && !batch.isTransactional) {
      const message = `producer ${batch.producerId} has a transaction open here, and sent records outside of it`;
      return { kind: "refused", failure: "no-transaction", message };
    }
    return isNew;
  }

  /** For what the broker itself writes in a producer's name: only who was fenced is refused. */
  checkEpoch(batch: RecordBatchView): SequenceVerdict {
    const entry = this.#entries?.get(batch.producerId);
    return entry !== undefined && batch.producerEpoch < entry.epoch ? staleEpoch(batch, entry) : isNew;
  }

  /** A marker comes from the transaction coordinator, with its producer's epoch (KIP-890: one more than the data's). */
  checkMarker(batch: RecordBatchView, coordinatorEpoch: number): SequenceVerdict {
    const entry = this.#entries?.get(batch.producerId);
    if (entry === undefined) return isNew;
    if (batch.producerEpoch < entry.epoch) return staleEpoch(batch, entry);
    if (coordinatorEpoch < entry.coordinatorEpoch) {
      const message = `coordinator epoch ${coordinatorEpoch} is older than ${entry.coordinatorEpoch}`;
      return { kind: "refused", failure: "stale-coordinator-epoch", message };
    }
    return isNew;
  }

  // --- Changing ------------------------------------------------------------------------------------------------------

  /**
   * Remembers a batch that is in the log. Also how the state is rebuilt, and then nobody has heard the producer just now.
   * Gives the transaction that it ended, if it ended one.
   */
  replay(batch: RecordBatchView, baseOffset: Offset, heardMs: number | null = null): CompletedTransaction | null {
    const producerId = batch.producerId;
    const entry = this.#entryOf(producerId, batch.producerEpoch);
    entry.heardMs = heardMs;
    if (batch.isControl) return this.#end(entry, batch, baseOffset);
    const lastOffset = (baseOffset + batch.lastOffsetDelta) as Offset;
    entry.add(batch.producerEpoch, {
      lastSequence: batch.lastSequence,
      lastOffset,
      offsetDelta: batch.lastOffsetDelta,
      timestamp: batch.maxTimestamp,
    });
    if (batch.isTransactional && entry.currentTxnFirstOffset === -1) {
      entry.currentTxnFirstOffset = baseOffset;
      this.#unstable.push({ producerId, firstOffset: baseOffset, lastOffset: null });
    }
    return null;
  }

  #entryOf(producerId: number, epoch: number): ProducerEntry {
    this.#entries ??= new Map();
    let entry = this.#entries.get(producerId);
    if (entry === undefined) this.#entries.set(producerId, (entry = new ProducerEntry(producerId, epoch)));
    return entry;
  }

  #end(entry: ProducerEntry, batch: RecordBatchView, baseOffset: Offset): CompletedTransaction | null {
    if (batch.recordsCount === 0) {
      // Compaction took the marker with its whole transaction, and kept the producer's epoch.
      entry.raiseEpoch(batch.producerEpoch);
      entry.lastTimestamp = batch.maxTimestamp;
      return null;
    }
    const marker = markerOf(batch);
    if (marker === null) return null;
    entry.raiseEpoch(batch.producerEpoch);
    entry.coordinatorEpoch = marker.coordinatorEpoch;
    entry.lastTimestamp = batch.maxTimestamp;
    const firstOffset = entry.currentTxnFirstOffset;
    // A marker without a transaction here: the coordinator writes to every partition that the producer had named.
    if (firstOffset === -1) return null;
    entry.currentTxnFirstOffset = -1;
    const ended = this.#unstable.find((each) => each.producerId === entry.producerId && each.lastOffset === null);
    assert(ended !== undefined, "a transaction that ends was under way");
    ended.lastOffset = baseOffset;
    return {
      producerId: entry.producerId,
      firstOffset: firstOffset as Offset,
      lastOffset: baseOffset,
      isAborted: !marker.isCommit,
    };
  }

  /** Takes over an entry of a snapshot. */
  restore(entry: ProducerEntry): void {
    this.#entries ??= new Map();
    this.#entries.set(entry.producerId, entry);
    if (entry.currentTxnFirstOffset === -1) return;
    const firstOffset = entry.currentTxnFirstOffset as Offset;
    this.#unstable.push({ producerId: entry.producerId, firstOffset, lastOffset: null });
    this.#unstable.sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Takes over all that another has, and forgets its own. */
  replaceBy(other: ProducerStates): void {
    this.#entries = other.#entries;
    this.#unstable.splice(0, this.#unstable.length, ...other.#unstable);
  }

  /**
   * Forgets producers that are silent and have no transaction under way (`producer.id.expiration.ms`). Silence is a
   * duration: neither a wall clock that steps nor records with old times end it early, or a retry would be stored
   * twice. Only how long it had lasted before a restart has no other measure than the times of records.
   */
  expire({
    clock,
    expirationMs,
  }: {
    readonly clock: Pick<Clock, "now" | "monotonicMs">;
    readonly expirationMs: number;
  }): void {
    if (this.#entries === null) return;
    const [wallMs, nowMs] = [clock.now(), clock.monotonicMs()];
    for (const [producerId, entry] of this.#entries) {
      entry.heardMs ??= nowMs - Math.max(0, wallMs - entry.lastTimestamp);
      const isSilent = entry.currentTxnFirstOffset === -1 && nowMs - entry.heardMs >= expirationMs;
      if (isSilent) this.#entries.delete(producerId);
    }
  }

  // --- What is decided -----------------------------------------------------------------------------------------------

  /** Below it every transaction is decided, and its marker lies below the high watermark. Null: all are. */
  firstUnstableOffset(highWatermark: Offset): Offset | null {
    for (const transaction of this.#unstable) {
      if (transaction.lastOffset === null || transaction.lastOffset >= highWatermark) return transaction.firstOffset;
    }
    return null;
  }

  /** Transactions whose marker lies below `offset` need not be looked at again. */
  forgetDecidedBelow(offset: Offset): void {
    if (this.#unstable.length === 0) return;
    const kept = this.#unstable.filter(({ lastOffset }) => lastOffset === null || lastOffset >= offset);
    if (kept.length < this.#unstable.length) this.#unstable.splice(0, this.#unstable.length, ...kept);
  }

  /** How far readers of committed records could go right after this transaction had ended: what `.txnindex` keeps with it. */
  lastStableOffsetAfter(completed: CompletedTransaction): Offset {
    const other = this.#unstable.find(({ lastOffset }) => lastOffset === null);
    return other === undefined ? ((completed.lastOffset + 1) as Offset) : other.firstOffset;
  }
}

/** Null for a control batch of another kind: it has nothing to do with producers. */
export function markerOf(
  batch: RecordBatchView,
): { readonly isCommit: boolean; readonly coordinatorEpoch: number } | null {
  const [record] = readRecords(batch);
  if (record === undefined) throw new MalformedMessage("a control batch without a record");
  return readEndTransactionMarker(record);
}

function staleEpoch(batch: RecordBatchView, entry: ProducerEntry): SequenceVerdict {
  const message = `producer ${batch.producerId} has epoch ${batch.producerEpoch}, which is older than ${entry.epoch}`;
  return { kind: "refused", failure: "stale-producer-epoch", message };
}

function gap(batch: RecordBatchView, why: string): SequenceVerdict {
  return { kind: "refused", failure: "sequence-gap", message: `producer ${batch.producerId}: ${why}` };
}
