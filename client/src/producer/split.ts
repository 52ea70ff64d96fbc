import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { compressionName } from "kafka-protocol-ts/records/compression";
import { BatchBuilder, readRecords } from "kafka-protocol-ts/records/record";
import type { BatchOptions, RecordInput } from "kafka-protocol-ts/records/record";
import type { Batch } from "./batch.ts";
import type { Settings } from "./options.ts";

/** How the batches of a producer are built. */
export function batchOptions(settings: Settings): BatchOptions {
  return {
    // Asked for each batch.
    get compression() {
      return settings.compression;
    },
    ...fixedOptions(settings),
  };
}

function fixedOptions({ compressionLevel, transactionalId }: Settings): BatchOptions {
  return {
    ...(compressionLevel === undefined ? {} : { compressionLevel }),
    isTransactional: transactionalId !== null,
  };
}

/** The records of a sealed batch in two builders, each with at least one and about half of the bytes. */
export function halvesOf(batch: Batch, settings: Settings): readonly [BatchBuilder, BatchBuilder] {
  const view = new RecordBatchView(batch.bytes);
  const records = readRecords(view);
  // The codec that it has: whoever chooses has been asked for these records.
  const options = { ...fixedOptions(settings), compression: compressionName(view.codec) ?? "none" };
  const front = new BatchBuilder(options);
  const back = new BatchBuilder(options);
  const bytesOf = ({ key, value }: RecordInput): number => (key?.length ?? 0) + (value?.length ?? 0);
  const half = records.reduce((sum, record) => sum + bytesOf(record), 0) / 2;
  let bytes = 0;
  for (const [index, { offset: _, ...record }] of records.entries()) {
    bytes += bytesOf(record);
    const isFront = index === 0 || (bytes <= half && index < records.length - 1);
    (isFront ? front : back).append(record);
  }
  return [front, back];
}
