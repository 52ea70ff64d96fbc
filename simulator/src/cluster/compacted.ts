import { batchesIn } from "kafka-protocol-ts/records/batch";
import { ControlType, readControlKey } from "kafka-protocol-ts/records/control";
import { readRecords } from "kafka-protocol-ts/records/record";

interface Kept {
  readonly offset: number;
  readonly value: Buffer | null;
}

/**
 * What a compacted log is about: by key, as hexadecimal digits, where its last committed record stands, and what it says. Each replica is
 * compacted in its own time, and tombstones go after a while: so a key that was deleted is not there.
 *
 * @param batches in the order of their offsets.
 */
export function lastByKey(batches: Iterable<Buffer>): ReadonlyMap<string, string> {
  const last = new Map<string, Kept>();
  /** Of transactions that are open there. */
  const open = new Map<number, Map<string, Kept>>();
  for (const bytes of batches) {
    for (const batch of batchesIn(bytes)) {
      const { producerId } = batch;
      if (batch.isControl) {
        for (const { key } of readRecords(batch))
          if (readControlKey(key).type === ControlType.COMMIT)
            for (const [name, kept] of open.get(producerId) ?? []) keep(last, name, kept);
        open.delete(producerId);
        continue;
      }
      const into = batch.isTransactional ? (open.get(producerId) ?? new Map<string, Kept>()) : last;
      if (batch.isTransactional) open.set(producerId, into);
      for (const { key, value, offset } of readRecords(batch))
        keep(into, key?.toString("hex") ?? "", { offset, value });
    }
  }
  const shown = new Map<string, string>();
  for (const [name, { offset, value }] of last)
    if (value !== null) shown.set(name, `${offset}: ${value.toString("hex")}`);
  return shown;
}

/** A transaction may be committed after others have written to its keys. */
function keep(into: Map<string, Kept>, name: string, kept: Kept): void {
  if ((into.get(name)?.offset ?? -1) < kept.offset) into.set(name, kept);
}
