import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import { BATCH_HEADER_BYTES, batchesIn } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { BatchBuilder, fieldsBytesMax } from "kafka-protocol-ts/records/builder";
import { trustBatch } from "@millrace/storage/validation";
import type { Offset } from "@millrace/storage/types";
import type {
  CoordinatorRecord,
  MarkerAppendFailure,
  ShardAppendFailure,
  ShardCommitFailure,
  ShardLog,
  TransactionalProducer,
  TransactionMarker,
} from "../coordinator/shard-log.ts";
import { appendMarker } from "./markers.ts";
import type { Partition } from "./partition.ts";
import type { Partitions } from "./partitions.ts";
import type { TransactionGuard } from "./transaction-guards.ts";

const readBytes = 1024 * 1024;
const noHeaders: readonly never[] = [];

/** A partition of an internal topic, as the coordinator above it sees it. */
export class CoordinatorLog implements ShardLog {
  readonly #partition: Partition;
  readonly #partitions: Partitions;

  constructor(partition: Partition, partitions: Partitions) {
    this.#partition = partition;
    this.#partitions = partitions;
  }

  get nextOffset(): number {
    return this.#partition.log.logEndOffset;
  }

  get batchBytesMax(): number {
    return this.#partitions.rulesOf(this.#partition.topic).validation.sizeBytesMax;
  }

  get isWritable(): boolean {
    const { hasEnoughReplicas, log } = this.#partition;
    return hasEnoughReplicas && log.failure === null && !log.isDiskFull;
  }

  append(
    records: readonly CoordinatorRecord[],
    nowMs: TimeMs,
    producer: TransactionalProducer | null,
  ): Result<number, ShardAppendFailure> {
    const bytes = batchOf(records, nowMs, producer);
    if (bytes.length > this.batchBytesMax) return failed("too-large");
    const guard = (producer?.guard ?? null) as TransactionGuard | null;
    const appended = this.#partition.append(trustBatch(bytes), "coordinator", nowMs, guard);
    if (appended.ok) return ok(appended.value.nextOffset);
    const { failure } = appended;
    if (failure === "not-leader") return failed("not-leader");
    const isOfProducer = failure.kind === "stale-producer-epoch" || failure.kind === "no-transaction";
    return failed(isOfProducer ? failure.kind : "log-failed");
  }

  appendMarker(marker: TransactionMarker, nowMs: TimeMs): Result<number, MarkerAppendFailure> {
    return appendMarker(this.#partition, marker, nowMs);
  }

  whenCommitted(nextOffset: number, settle: (failure: ShardCommitFailure | null) => void): void {
    this.#partition.whenCommitted(nextOffset as Offset, (failure) => {
      settle(failure === null || failure === "not-leader" ? failure : "log-failed");
    });
  }

  /** What a follower had only queued when it became the leader cannot be read before. */
  #written(end: Offset): Promise<void> {
    if (this.#partition.log.writtenOffset >= end) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#partition.whenDurable(end, (failure) => {
        if (failure === null) resolve();
        else reject(new Error(`the end of its log is not to be had: ${failure}`));
      });
    });
  }

  async *batches(): AsyncIterable<RecordBatchView> {
    const { log } = this.#partition;
    let offset = log.logStartOffset;
    // To the end, also beyond the high watermark: what a coordinator before this one wrote may still be committed.
    const end = log.logEndOffset;
    await this.#written(end);
    while (offset < end) {
      const read = await log.read(offset, { sizeBytesMax: readBytes, upTo: end, isWholeBatchGuaranteed: true });
      if (!read.ok) throw new Error(`${log.topic}-${log.partition} at ${offset}: ${read.failure}`);
      const { slice } = read.value;
      if (slice === null) return;
      const bytes = Buffer.allocUnsafe(slice.sizeBytes);
      try {
        await slice.file.read(bytes, slice.position);
      } finally {
        slice.release();
      }
      for (const batch of batchesIn(bytes)) {
        if (batch.lastOffset >= offset) yield batch;
        offset = Math.max(offset, batch.lastOffset + 1) as Offset;
      }
    }
  }
}

function batchOf(records: readonly CoordinatorRecord[], nowMs: TimeMs, producer: TransactionalProducer | null): Buffer {
  let bytesMax = BATCH_HEADER_BYTES;
  for (const { key, value } of records) bytesMax += fieldsBytesMax(key, value, noHeaders);
  const options =
    producer === null
      ? {}
      : { producerId: producer.producerId, producerEpoch: producer.producerEpoch, isTransactional: true };
  const builder = new BatchBuilder(options, bytesMax);
  for (const { key, value } of records) builder.add(key, value, noHeaders, nowMs);
  return builder.build();
}
