import { batchesIn } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Record } from "kafka-protocol-ts/records/record";
import type { PartitionLog } from "../src/log.ts";
import type { AbortedTransaction } from "../src/transaction-index.ts";
import type { Offset } from "../src/types.ts";

/** What a reader of committed records is given up to the last stable offset, and keeps of it. Throws where offsets do not rise. */
export async function committedRecords(log: PartitionLog): Promise<Record[]> {
  const found: Record[] = [];
  let offset: number = log.logStartOffset;
  const upTo = log.lastStableOffset;
  while (offset < upTo) {
    const read = await log.read(offset as Offset, {
      sizeBytesMax: 1 << 20,
      upTo,
      isWholeBatchGuaranteed: true,
      areAbortedTransactionsWanted: true,
    });
    if (!read.ok) throw new Error(`offset ${offset}: ${read.failure}`);
    const { slice, abortedTransactions } = read.value;
    if (slice === null) break;
    const bytes = Buffer.alloc(slice.sizeBytes);
    await slice.file.read(bytes, slice.position);
    slice.release();
    for (const batch of batchesIn(bytes)) {
      if (!batch.isCrcValid()) throw new Error(`bad checksum at offset ${batch.baseOffset}`);
      if (batch.lastOffset < offset) throw new Error(`offset ${batch.baseOffset} comes after ${offset}`);
      offset = batch.lastOffset + 1;
      const isAborted = (abortedTransactions ?? []).some((each) => covers(each, batch));
      if (!batch.isControl && !isAborted) found.push(...readRecords(batch));
    }
  }
  return found;
}

function covers(
  { producerId, firstOffset, lastOffset }: AbortedTransaction,
  batch: { readonly producerId: number; readonly isTransactional: boolean; readonly baseOffset: number },
): boolean {
  const isMine = batch.isTransactional && batch.producerId === producerId;
  return isMine && firstOffset <= batch.baseOffset && batch.baseOffset < lastOffset;
}

/** The table that a reader builds of records with keys. */
export function tableOf(records: readonly Record[]): Map<string, string> {
  const table = new Map<string, string>();
  for (const { key, value } of records) {
    if (value === null) table.delete(String(key));
    else table.set(String(key), value.toString());
  }
  return table;
}
