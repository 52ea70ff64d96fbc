import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import type { Record } from "kafka-protocol-ts/records/record";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type {
  CoordinatorRecord,
  MarkerAppendFailure,
  ShardAppendFailure,
  ShardCommitFailure,
  ShardLog,
  TransactionalProducer,
  TransactionMarker,
} from "../shard-log.ts";

/** A log in memory. It commits at once, or when the test says so; and it fails when the test says so. */
export class MemoryLog implements ShardLog {
  readonly #batches: Buffer[] = [];
  #nextOffset = 0;
  #committedOffset = 0;
  #waiters: { readonly nextOffset: number; settle(failure: ShardCommitFailure | null): void }[] = [];
  isAutoCommit = true;
  /** The next append is refused with this. */
  refuseNext: ShardAppendFailure | null = null;
  refuseNextMarker: MarkerAppendFailure | null = null;
  /** What is asked for is lost before anybody can wait for it. */
  isLost: ShardCommitFailure | null = null;
  /** What a batch may be at most. */
  batchBytesMax: number = Infinity;
  /** Loading waits for this. */
  gate: Promise<void> | null = null;

  get nextOffset(): number {
    return this.#nextOffset;
  }

  get isWritable(): boolean {
    return this.refuseNext === null;
  }

  get batchCount(): number {
    return this.#batches.length;
  }

  get records(): readonly Record[] {
    return this.#batches.flatMap((bytes) => readRecords(new RecordBatchView(bytes)));
  }

  append(
    records: readonly CoordinatorRecord[],
    nowMs: TimeMs,
    producer: TransactionalProducer | null = null,
  ): Result<number, ShardAppendFailure> {
    const { refuseNext } = this;
    this.refuseNext = null;
    if (refuseNext !== null) return failed(refuseNext);
    const bytes = encodeBatch({
      baseOffset: this.#nextOffset,
      records: records.map((one) => ({ ...one, timestamp: nowMs })),
      ...(producer !== null && {
        producerId: producer.producerId,
        producerEpoch: producer.producerEpoch,
        isTransactional: true,
      }),
    });
    if (bytes.length > this.batchBytesMax) return failed("too-large");
    this.appendBatch(bytes);
    return ok(this.#nextOffset);
  }

  appendMarker(marker: TransactionMarker, nowMs: TimeMs): Result<number, MarkerAppendFailure> {
    const { refuseNextMarker } = this;
    this.refuseNextMarker = null;
    if (refuseNextMarker !== null) return failed(refuseNextMarker);
    const { outcome, producerId, producerEpoch, coordinatorEpoch } = marker;
    const isCommit = outcome === "commit";
    this.appendBatch(
      encodeEndTransactionMarker({ isCommit, coordinatorEpoch, producerId, producerEpoch, timestamp: nowMs }),
    );
    return ok(this.#nextOffset);
  }

  /** A batch of somebody else: of a transaction, its marker. */
  appendBatch(bytes: Buffer): void {
    const batch = new RecordBatchView(bytes);
    batch.stamp(this.#nextOffset, 0);
    this.#batches.push(bytes);
    this.#nextOffset = batch.lastOffset + 1;
    if (this.isAutoCommit) this.#committedOffset = this.#nextOffset;
  }

  whenCommitted(nextOffset: number, settle: (failure: ShardCommitFailure | null) => void): void {
    if (this.isLost !== null) settle(this.isLost);
    else if (nextOffset <= this.#committedOffset) settle(null);
    else this.#waiters.push({ nextOffset, settle });
  }

  commit(upTo: number = this.#nextOffset): void {
    this.#committedOffset = upTo;
    const ready = this.#waiters.filter(({ nextOffset }) => nextOffset <= upTo);
    this.#waiters = this.#waiters.filter(({ nextOffset }) => nextOffset > upTo);
    for (const { settle } of ready) settle(null);
  }

  /** What is not committed never will be: it is cut off, as by a new leader that has not got it. */
  lose(failure: ShardCommitFailure): void {
    while (this.#nextOffset > this.#committedOffset) {
      const last = this.#batches.pop();
      if (last === undefined) break;
      this.#nextOffset = new RecordBatchView(last).baseOffset;
    }
    const waiters = this.#waiters.splice(0);
    for (const { settle } of waiters) settle(failure);
  }

  async *batches(): AsyncIterable<RecordBatchView> {
    await this.gate;
    for (const bytes of [...this.#batches]) yield new RecordBatchView(bytes);
  }
}
