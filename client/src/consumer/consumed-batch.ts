import { KafkaError } from "../errors.ts";
import type { ConsumedOffsets, NextOffset } from "./consumed-offsets.ts";
import type { ConsumedRecord, RecordSource } from "./consumed-record.ts";
import type { Consumption } from "./consumption.ts";

/**
 * Records of one partition, in their order. It is done, or not, as a whole.
 *
 * @example
 *     for await (const batch of consumer.batches(orders)) {
 *       await store(batch.records.map(({ value }) => value));
 *       await batch.commit();
 *     }
 */
export class ConsumedBatch<Record extends ConsumedRecord<unknown, unknown> = ConsumedRecord> {
  /** The topic of all its records. */
  readonly topic: string;
  /** The partition of all its records. */
  readonly partition: number;
  /** At least one, in the order of their offsets. */
  readonly records: readonly Record[];
  /** Where reading goes on after it: at least one more than the offset of its last record. */
  readonly nextOffset: number;
  /** The end of the partition for readers, when it was fetched last. */
  readonly highWatermark: number;
  readonly #consumption: Consumption;
  readonly #source: RecordSource;
  readonly #ticket: number;
  readonly #leaderEpoch: number;

  constructor(
    consumption: Consumption,
    source: RecordSource,
    about: {
      readonly records: readonly Record[];
      readonly nextOffset: number;
      readonly highWatermark: number;
      readonly leaderEpoch: number;
      readonly ticket: number;
    },
  ) {
    this.topic = source.topic;
    this.partition = source.partition;
    this.records = about.records;
    this.nextOffset = about.nextOffset;
    this.highWatermark = about.highWatermark;
    this.#leaderEpoch = about.leaderEpoch;
    this.#consumption = consumption;
    this.#source = source;
    this.#ticket = about.ticket;
  }

  /** How many records. */
  get length(): number {
    return this.records.length;
  }

  [Symbol.iterator](): Iterator<Record> {
    return this.records[Symbol.iterator]();
  }

  /** Aborted when the partition is to be given up, or reading ends: work on it should come to an end. */
  get signal(): AbortSignal {
    return this.#source.lease.signal;
  }

  /** It needs no more attention. */
  done(): void {
    this.#source.lease.done(this.#ticket);
  }

  /**
   * Done, and committed with all before it that is done; settles when the coordinator has it.
   *
   * @throws KafkaError NOT_ASSIGNED where its partition was given up before: its next owner reads it again.
   */
  async commit(): Promise<void> {
    this.done();
    await this.#consumption.commitUnder(this.#source.lease, this);
  }

  /**
   * For `transaction.commitOffsets(batch)`: where the group goes on after it.
   *
   * @throws KafkaError NO_GROUP, or NOT_A_MEMBER while the group comes together.
   */
  consumedOffsets(): ConsumedOffsets {
    const group = this.#consumption.identity();
    const { topic, partition, nextOffset: offset } = this;
    const next: NextOffset = { topic, partition, offset, leaderEpoch: this.#leaderEpoch };
    if (this.#source.lease.isEnded)
      throw new KafkaError("NOT_ASSIGNED", `${topic}-${partition} was given up: its batch is somebody else's`);
    return { group, offsets: [next] };
  }

  /**
   * Whoever had it in hand is gone. For fronts.
   *
   * @internal
   */
  abandon(): void {
    this.#source.lease.abandon(this.#ticket);
  }
}
