import { BatchBuilder, renumberBatch } from "kafka-protocol-ts/records/record";
import type { BatchOptions } from "kafka-protocol-ts/records/record";
import type { KafkaError } from "../errors.ts";
import type { ProducerIdentity } from "./identity.ts";
import type { Tally } from "./tally.ts";

/** Who wants to hear what becomes of a record. One may stand for many records. */
export interface Sink {
  delivered(partition: number, offset: number): void;
  /** @param partition is null where it was not chosen. */
  failed(error: KafkaError, partition: number | null): void;
}

/** Records of one partition that go together: filled, then sealed with numbers, then sent until it is answered for good. */
export class Batch {
  /** Monotonic: that of its oldest record. */
  deadlineMs: number;
  /** It has waited for company long enough. It takes more records all the same until it is sealed. */
  isDue = false;
  /** Its records were told how it ended; it may still be in flight. */
  isOver = false;
  isInFlight = false;
  isStored = false;
  /** An attempt ended without a word on whether it was stored. */
  isUncertain = false;
  recordsCount = 0;
  /** What its records take of the budget. */
  chargedBytes = 0;
  baseSequence = -1;
  readonly #builder: BatchBuilder | null;
  #bytes: Buffer | null = null;
  #wasRenumbered = false;
  /** Those for whom somebody listens, in their order, and where they stand in the batch. */
  #sinks: Sink[] = [];
  #indexes: number[] = [];
  readonly #tally: Tally;
  #moreTallies: Tally[] | null = null;

  private constructor(builder: BatchBuilder | null, deadlineMs: number, tally: Tally) {
    this.#builder = builder;
    this.deadlineMs = deadlineMs;
    this.#tally = tally;
    tally.add();
  }

  static begin(
    options: BatchOptions,
    { memory, deadlineMs, tally }: { readonly memory: Buffer; readonly deadlineMs: number; readonly tally: Tally },
  ): Batch {
    return new Batch(new BatchBuilder(options, memory), deadlineMs, tally);
  }

  /** What may be used again after it was answered: null where an earlier attempt may still hold it. */
  get freeMemory(): Buffer | null {
    return this.isUncertain || this.#wasRenumbered ? null : (this.#builder?.memory ?? null);
  }

  /** Header and records; before compression, as long as it is not sealed. */
  get sizeBytes(): number {
    return this.#bytes?.length ?? this.#builder?.sizeBytes ?? 0;
  }

  /** What was laid down in a batch that still takes records. */
  get filledBytes(): number {
    return (this.#builder as BatchBuilder).sizeBytes;
  }

  /** What is sent. */
  get bytes(): Buffer {
    if (this.#bytes === null) throw new Error("a batch is sealed before it is sent");
    return this.#bytes;
  }

  /** Lays the record down, which copies its bytes; gives what it takes. */
  add(
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: Parameters<BatchBuilder["add"]>[2],
    timestamp: number,
    sink: Sink | null,
  ): number {
    const builder = this.#builder as BatchBuilder;
    const beforeBytes = builder.sizeBytes;
    builder.add(key, value, headers, timestamp);
    if (sink !== null) {
      this.#sinks.push(sink);
      this.#indexes.push(this.recordsCount);
    }
    this.recordsCount++;
    const bytes = builder.sizeBytes - beforeBytes;
    this.chargedBytes += bytes;
    return bytes;
  }

  /** A record joined that came before the batch: who waits for the record waits for the batch. */
  owe(tally: Tally): void {
    if (tally === this.#tally || this.#moreTallies?.includes(tally) === true) return;
    tally.add();
    (this.#moreTallies ??= []).push(tally);
  }

  get isUrgent(): boolean {
    return this.#tally.isUrgent || this.#moreTallies?.some(({ isUrgent }) => isUrgent) === true;
  }

  /**
   * From now on its bytes and numbers stay, which is how the broker knows it again.
   *
   * @throws what the compression throws; then nothing has changed.
   */
  seal(identity: ProducerIdentity, baseSequence: number): void {
    this.#bytes = (this.#builder as BatchBuilder).build({ ...identity, baseSequence });
    this.baseSequence = baseSequence;
  }

  /** Other numbers, where the broker cannot have it under the old ones. The bytes that were sent before are left alone. */
  renumber(identity: ProducerIdentity, baseSequence: number): void {
    this.baseSequence = baseSequence;
    this.isUncertain = false;
    this.#wasRenumbered = true;
    this.#bytes = Buffer.from(this.bytes);
    renumberBatch(this.#bytes, { ...identity, baseSequence });
  }

  /** Its records in two batches with the numbers that it had; made of the builders that `halves` filled. */
  split(halves: readonly [BatchBuilder, BatchBuilder], identity: ProducerIdentity): readonly [Batch, Batch] {
    const [front, back] = halves;
    const count = front.recordsCount;
    const first = this.#part(front, { from: 0, to: count });
    const second = this.#part(back, { from: count, to: this.recordsCount });
    first.chargedBytes = Math.floor((this.chargedBytes * count) / this.recordsCount);
    second.chargedBytes = this.chargedBytes - first.chargedBytes;
    first.seal(identity, this.baseSequence);
    second.seal(identity, this.baseSequence < 0 ? -1 : nextSequence(this.baseSequence, count));
    for (const tally of [this.#tally, ...(this.#moreTallies ?? [])]) tally.settle();
    this.isOver = true;
    return [first, second];
  }

  #part(builder: BatchBuilder, { from, to }: { readonly from: number; readonly to: number }): Batch {
    const part = new Batch(builder, this.deadlineMs, this.#tally);
    for (const tally of this.#moreTallies ?? []) part.owe(tally);
    part.recordsCount = to - from;
    for (const [at, index] of this.#indexes.entries()) {
      if (index < from || index >= to) continue;
      part.#sinks.push(this.#sinks[at] as Sink);
      part.#indexes.push(index - from);
    }
    part.isDue = true;
    return part;
  }

  /** How many of its records nobody waits for. */
  get unheardCount(): number {
    return this.recordsCount - this.#sinks.length;
  }

  /** @param baseOffset is that of the first record, -1 where it is not known. */
  deliver(partition: number, baseOffset: number): void {
    this.isOver = true;
    const sinks = this.#sinks;
    const indexes = this.#indexes;
    this.#forgetSinks();
    for (let at = 0; at < sinks.length; at++) {
      const offset = baseOffset < 0 ? -1 : baseOffset + (indexes[at] as number);
      (sinks[at] as Sink).delivered(partition, offset);
    }
    this.#settle();
  }

  fail(partition: number, error: KafkaError): void {
    this.isOver = true;
    const sinks = this.#sinks;
    this.#forgetSinks();
    for (const sink of sinks) sink.failed(error, partition);
    this.#settle();
  }

  #forgetSinks(): void {
    this.#sinks = [];
    this.#indexes = [];
  }

  #settle(): void {
    this.#tally.settle();
    if (this.#moreTallies !== null) for (const tally of this.#moreTallies) tally.settle();
  }
}

/** Sequences go from 0 to 2^31 - 1 and begin again. */
const sequenceEnd = 0x8000_0000;

export function nextSequence(sequence: number, recordsCount: number): number {
  return (sequence + recordsCount) % sequenceEnd;
}
