import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";

/** Every value says in which batch it was sent. */
export const valuePrefix = (number: number): string => `batch ${number} record `;

/** Null where the batch is none of ours, or was torn: a broker that breaks its promises serves such batches too. */
export function batchNumberOf(view: RecordBatchView): number | null {
  if (!view.isCrcValid()) return null;
  const found = /^batch (\d+) record /.exec(readRecords(view)[0]?.value?.toString("latin1", 0, 40) ?? "");
  return found === null ? null : Number(found[1]);
}
