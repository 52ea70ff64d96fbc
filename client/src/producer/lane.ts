import { assert } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import type { Timer } from "@millrace/base/world";
import type { KafkaError } from "../errors.ts";
import { nextSequence } from "./batch.ts";
import type { Batch } from "./batch.ts";
import { noIdentity, producerEpochMax } from "./identity.ts";
import type { ProducerIdentity } from "./identity.ts";
import type { TopicLanes } from "./topic-lanes.ts";

/** After so long without an answer a partition may have forgotten its producer. */
const trustMs = 10 * 60_000;

/**
 * The batches of one partition, and their order through every failure.
 *
 *     sent      sealed with numbers, from the first that is not answered for good to the last that ever left
 *     waiting   filled or being filled, the last of them open for more records
 *
 * When one that was sent must go again the lane is quiet: nothing leaves until all in flight are answered. Then what is
 * left of `sent` goes again from its front. A broker remembers the last five batches of a producer: `sent` never holds more,
 * those included that were stored behind one that was not, so that the first is always known again. Only at the front a
 * batch leaves the lane without having been stored, so that all behind it have not been stored either, and may get other
 * numbers (`repair`).
 */
export class Lane {
  readonly topic: TopicLanes;
  readonly partition: number;
  /** The batch that takes more records: the last that waits. */
  open: Batch | null = null;
  /** What its last batch took: the next one begins with so much. */
  lastBatchBytes = 0;

  inFlightCount = 0;
  /** The broker that has what is in flight. */
  nodeId = -1;
  /** Nothing leaves until all in flight are answered. */
  isQuiet = false;

  // --- Of the sender ---

  /** Has begun a batch in this turn. */
  isFresh = false;
  /** Stands in the queue of a broker. */
  isOffered = false;
  /** Waits for a pause to end, or for its leader to be known. */
  isResting = false;
  rest: Timer | null = null;
  isLeaderStale = false;
  /** Its topic is another one by now: what its brokers still say of it counts for nothing. */
  isDetached = false;
  /** Failures since the last success. */
  failuresCount = 0;
  lastError: KafkaError | null = null;

  readonly #sent: Batch[] = [];
  readonly #waiting = new Deque<Batch>();
  #identity: ProducerIdentity | null = null;
  #nextSequence = 0;
  /** The producer id that the partition is known to know, and since when it was not heard of. */
  #provenId = -1;
  #provenAtMs = 0;
  /** A batch of unknown fate was given up: what follows it may stand behind a gap, or not. */
  #hasGap = false;
  /** A batch was refused for good, and those behind it are numbered as if it had been stored: from here on. */
  #holeSequence = -1;
  /** The partition does not follow our numbers any more. */
  #hasLostTrack = false;

  constructor(topic: TopicLanes, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  get name(): string {
    return `${this.topic.name}-${this.partition}`;
  }

  get isEmpty(): boolean {
    return this.#sent.length === 0 && this.#waiting.isEmpty;
  }

  /** When the first of its batches is out of time; infinity where it has none. */
  get deadlineMs(): number {
    let deadlineMs = Number.POSITIVE_INFINITY;
    for (const batch of this.#sent) if (!batch.isOver) deadlineMs = Math.min(deadlineMs, batch.deadlineMs);
    for (const batch of this.#waiting) deadlineMs = Math.min(deadlineMs, batch.deadlineMs);
    return deadlineMs;
  }

  begin(batch: Batch): void {
    this.#waiting.push(batch);
    this.open = batch;
  }

  /** The open batch takes no more records, and records without a key go elsewhere. */
  close(): void {
    this.open = null;
    if (this.topic.sticky === this) this.topic.sticky = null;
  }

  // --- What leaves next -------------------------------------------------------------------------------------------------

  /** Whether a batch may leave now. Of a producer that its partition does not know yet, one at a time (see `take`). */
  canSend(inFlightMax: number, nowMs: number): boolean {
    if (this.isResting || (this.isQuiet && this.inFlightCount > 0)) return false;
    this.isQuiet = false;
    if (this.inFlightCount === 0) this.#dropFront();
    const at = this.#nextIndex();
    if (at >= (this.#isProven(nowMs) ? inFlightMax : 1)) return false;
    return at < this.#sent.length || this.#waiting.first()?.isDue === true;
  }

  /** Where in `sent` the batch stands that leaves next; behind its end where it is one that waits. */
  #nextIndex(): number {
    const sent = this.#sent;
    let at = 0;
    while (at < sent.length && ((sent[at] as Batch).isInFlight || (sent[at] as Batch).isStored)) at++;
    return at;
  }

  /** The one that leaves next, as large as it is now. */
  get next(): Batch | null {
    return this.#sent[this.#nextIndex()] ?? this.#waiting.first() ?? null;
  }

  /**
   * Takes the next batch on its way, numbered. A partition that knows nothing of a producer takes any first sequence: were
   * two batches on their way to it, and the first one refused, the second would be stored before it.
   *
   * @param identity is who the producer is, for a lane that has no identity of its own.
   * @returns null where the epochs of the lane's identity are used up: `identity` must be another one.
   * @throws what the compression throws: `unsendable` is to be called then.
   */
  take(identity: ProducerIdentity, nodeId: number): Batch | null {
    if (!this.#repair(identity)) return null;
    let batch = this.#sent[this.#nextIndex()];
    if (batch === undefined) {
      batch = this.#waiting.first();
      assert(batch !== undefined, "a lane gives a batch when it has one");
      if (batch === this.open) this.close();
      this.lastBatchBytes = batch.sizeBytes;
      const own = this.#identity ?? identity;
      this.#identity = own;
      const baseSequence = own === noIdentity ? -1 : this.#nextSequence;
      batch.seal(own, baseSequence);
      this.#waiting.shift();
      if (baseSequence >= 0) this.#nextSequence = nextSequence(baseSequence, batch.recordsCount);
      this.#sent.push(batch);
    }
    batch.isInFlight = true;
    this.inFlightCount++;
    this.nodeId = nodeId;
    return batch;
  }

  /** The batch that could not be sealed leaves the lane. */
  unsendable(): Batch | null {
    return this.#waiting.shift() ?? null;
  }

  // --- What became of it ------------------------------------------------------------------------------------------------

  /** It is not in flight any more, whatever comes next. */
  answered(batch: Batch): void {
    batch.isInFlight = false;
    this.inFlightCount--;
  }

  stored(batch: Batch, nowMs: number): void {
    batch.isStored = true;
    while (this.#sent[0]?.isStored === true) this.#sent.shift();
    this.#hasGap = false;
    this.#provenId = this.#identity?.producerId ?? -1;
    this.#provenAtMs = nowMs;
    this.failuresCount = 0;
    this.lastError = null;
  }

  /** Whether it is the first that is not stored. What is refused behind others is tried again after them. */
  isFirst(batch: Batch): boolean {
    return this.#sent[0] === batch;
  }

  /** It goes again, in its place. */
  again(): void {
    this.isQuiet = true;
  }

  /**
   * The partition does not follow our numbers: what is left goes again with the next epoch, from 0. Not so what may have
   * been heard before, where the first may: an earlier attempt may still be on its way, and would be stored beside it.
   *
   * @returns what is given up by it.
   */
  lostTrack(): readonly Batch[] {
    this.#hasLostTrack = true;
    this.isQuiet = true;
    if (this.#sent[0]?.isUncertain !== true) return [];
    return this.#sent.filter((batch) => batch.isUncertain && !batch.isOver);
  }

  /** The first one was refused for good: its numbers go to the next. */
  refused(batch: Batch): void {
    batch.isOver = true;
    if (this.#sent.length > 1 || this.inFlightCount > 0) this.isQuiet = true;
    this.#dropFront();
  }

  /** Two in the place of one. */
  replace(batch: Batch, parts: readonly Batch[]): void {
    this.#sent.splice(this.#sent.indexOf(batch), 1, ...parts);
    this.isQuiet = true;
  }

  /** Those that are out of time, or all, are told so. What is sealed keeps its place until its fate is known. */
  giveUp(isDue: (batch: Batch) => boolean, end: (batch: Batch) => void): void {
    for (const batch of this.#sent) if (!batch.isOver && isDue(batch)) end(batch);
    const waiting = [...this.#waiting];
    const kept = waiting.filter((batch) => !isDue(batch));
    if (kept.length < waiting.length) {
      this.#waiting.clear();
      for (const batch of kept) this.#waiting.push(batch);
      if (kept.at(-1) !== this.open) this.open = null;
      for (const batch of waiting) if (isDue(batch)) end(batch);
    }
    if (this.inFlightCount === 0) this.#dropFront();
  }

  /** All that was sent is settled, in a transaction that has ended: the next one has numbers of its own, or goes on. */
  renew(identity: ProducerIdentity): void {
    if (this.#identity === identity) return;
    const before = this.#identity;
    this.#identity = identity;
    this.#hasGap = false;
    this.#hasLostTrack = false;
    this.#holeSequence = -1;
    if (before?.producerId !== identity.producerId || before.producerEpoch !== identity.producerEpoch)
      this.#nextSequence = 0;
  }

  // --- Numbers ----------------------------------------------------------------------------------------------------------

  #isProven(nowMs: number): boolean {
    const own = this.#identity;
    if (own === null) return false;
    if (own === noIdentity) return true;
    return own.producerId === this.#provenId && nowMs - this.#provenAtMs < trustMs;
  }

  /** Batches at the front that nobody waits for any more. */
  #dropFront(): void {
    for (let first = this.#sent[0]; first?.isOver === true && !first.isInFlight; first = this.#sent[0]) {
      this.#sent.shift();
      if (first.isStored || first.baseSequence < 0) continue;
      if (first.isUncertain) this.#hasGap = true;
      else if (this.#holeSequence < 0) this.#holeSequence = first.baseSequence;
    }
  }

  /**
   * New numbers where the old ones are of no use. Behind a batch of unknown fate that was given up, others of unknown fate
   * keep theirs and go first: whether the broker takes them tells what became of it.
   */
  #repair(identity: ProducerIdentity): boolean {
    if (this.inFlightCount > 0) return true;
    const hasHole = this.#holeSequence >= 0;
    if (!this.#hasLostTrack && !this.#hasGap && !hasHole) return true;
    const isUncertain = this.#sent.some((batch) => batch.isUncertain);
    if (this.#hasLostTrack || (hasHole && (isUncertain || this.#hasGap)) || (this.#hasGap && !isUncertain)) {
      return this.#nextEpoch(identity);
    }
    if (hasHole && this.#identity !== null) this.#renumber(this.#identity, this.#holeSequence);
    this.#holeSequence = -1;
    return true;
  }

  /** A broker keeps the epochs of a producer by partition: this one alone goes on with the next (KIP-360). */
  #nextEpoch(identity: ProducerIdentity): boolean {
    const own = this.#identity;
    const isUsedUp = own !== null && own.producerEpoch >= producerEpochMax;
    if (isUsedUp && identity.producerId === own.producerId) return false;
    const next =
      own === null || isUsedUp ? identity : { producerId: own.producerId, producerEpoch: own.producerEpoch + 1 };
    this.#hasLostTrack = false;
    this.#hasGap = false;
    this.#holeSequence = -1;
    // Of those that were given up nobody wants to hear any more.
    this.#sent.splice(0, this.#sent.length, ...this.#sent.filter((batch) => !batch.isOver));
    this.#renumber(next, 0);
    return true;
  }

  #renumber(identity: ProducerIdentity, baseSequence: number): void {
    this.#identity = identity;
    let sequence = baseSequence;
    for (const batch of this.#sent) {
      batch.renumber(identity, sequence);
      sequence = nextSequence(sequence, batch.recordsCount);
    }
    this.#nextSequence = sequence;
  }

  get identity(): ProducerIdentity | null {
    return this.#identity;
  }
}
