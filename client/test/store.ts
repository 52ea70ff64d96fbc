import { encodeBatch } from "kafka-protocol-ts/records/record";
import type { FakePartition } from "./fake-cluster.ts";

/** A batch at the end of a fake partition: "key=value", or a value alone. */
export function storeRecords(partition: FakePartition, records: readonly string[]): void {
  const baseOffset = partition.endOffset;
  const parsed = records.map((record) => {
    const at = record.indexOf("=");
    const key = at < 0 ? null : Buffer.from(record.slice(0, at));
    return { key, value: Buffer.from(record.slice(at + 1)), timestamp: 1_700_000_000_000 + baseOffset };
  });
  partition.log.push(encodeBatch({ baseOffset, records: parsed }));
  partition.endOffset += records.length;
}
