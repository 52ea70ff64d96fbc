import { assert } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import type { BatchBuilder } from "kafka-protocol-ts/records/record";

export interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

export interface Batch {
  readonly builder: BatchBuilder;
  readonly deliveries: {
    readonly resolve: (delivered: { readonly partition: number; readonly offset: number }) => void;
    readonly reject: (error: unknown) => void;
  }[];
  /** That of its oldest record. */
  readonly deadlineMs: number;
  /** It has waited for company long enough, or has no room for more. */
  isDue: boolean;
  /** Its bytes and numbers, which no retry changes: they are how the broker knows it again. */
  sealed: { readonly bytes: Buffer; readonly baseSequence: number; readonly identity: ProducerIdentity } | null;
  /** An attempt ended without a word on whether it was stored. */
  isUncertain: boolean;
  /** Its records were told how it ended. */
  isOver: boolean;
}

/** Sequences go from 0 to 2^31 - 1 and begin again. */
const sequenceEnd = 0x8000_0000;

/** The batches of one partition: the first is in flight, the others wait, the last of them may be open for more records. */
export class Lane {
  readonly topic: string;
  readonly partition: number;
  isSending = false;
  readonly #queue = new Deque<Batch>();
  #identity: ProducerIdentity | null = null;
  #nextSequence = 0;

  constructor(topic: string, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  /** The batch that takes more records. */
  get open(): Batch | null {
    const last = this.#queue.last();
    return last === undefined || last.isDue || last.sealed !== null ? null : last;
  }

  /** The batch to be sent next, or on its way. */
  get next(): Batch | null {
    const first = this.#queue.first();
    return first?.isDue === true ? first : null;
  }

  begin(builder: BatchBuilder, deadlineMs: number): Batch {
    const batch: Batch = {
      builder,
      deliveries: [],
      deadlineMs,
      isDue: false,
      sealed: null,
      isUncertain: false,
      isOver: false,
    };
    this.#queue.push(batch);
    return batch;
  }

  /** Numbers a batch that goes out for the first time. A new identity begins with 0. */
  seal(batch: Batch, identity: ProducerIdentity): NonNullable<Batch["sealed"]> {
    if (this.#identity !== identity) this.#nextSequence = 0;
    this.#identity = identity;
    const baseSequence = identity.producerId < 0 ? -1 : this.#nextSequence;
    const bytes = batch.builder.build({ ...identity, baseSequence });
    batch.sealed = { bytes, baseSequence, identity };
    this.#nextSequence = (this.#nextSequence + batch.builder.recordsCount) % sequenceEnd;
    return batch.sealed;
  }

  /** The broker has refused the batch: its numbers go to the next one. */
  rewind({ sealed }: Batch): void {
    if (sealed !== null && sealed.identity === this.#identity) this.#nextSequence = Math.max(0, sealed.baseSequence);
  }

  done(batch: Batch): void {
    batch.isOver = true;
    const first = this.#queue.shift();
    assert(first === batch, "the batches of a lane end in their order");
  }
}
