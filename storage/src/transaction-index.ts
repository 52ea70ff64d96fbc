import type { Disk } from "@millrace/base/world";
import { readInt64, writeInt64 } from "kafka-protocol-ts/records/int64";
import type { Offset } from "./types.ts";

export const TRANSACTION_ENTRY_BYTES = 34;
const VERSION = 0;

/** An aborted transaction: a reader of committed records drops its producer's records from the first offset to the marker. */
export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: Offset;
  /** The marker's. */
  readonly lastOffset: Offset;
  /** Where readers could go up to when it ended: whoever reads below it needs no later entry. */
  readonly lastStableOffset: Offset;
}

/** `.txnindex`: 34 bytes an aborted transaction, in the order of their markers. The file is absent while there are none. */
export function encodeAborted({ producerId, firstOffset, lastOffset, lastStableOffset }: AbortedTransaction): Buffer {
  const bytes = Buffer.alloc(TRANSACTION_ENTRY_BYTES);
  bytes.writeInt16BE(VERSION, 0);
  writeInt64(bytes, 2, producerId);
  writeInt64(bytes, 10, firstOffset);
  writeInt64(bytes, 18, lastOffset);
  writeInt64(bytes, 26, lastStableOffset);
  return bytes;
}

/** Whole entries of the known version, up to the first that is not. */
export function decodeAborted(bytes: Buffer): AbortedTransaction[] {
  const found: AbortedTransaction[] = [];
  for (let at = 0; at + TRANSACTION_ENTRY_BYTES <= bytes.length; at += TRANSACTION_ENTRY_BYTES) {
    if (bytes.readInt16BE(at) !== VERSION) break;
    found.push({
      producerId: readInt64(bytes, at + 2),
      firstOffset: readInt64(bytes, at + 10) as Offset,
      lastOffset: readInt64(bytes, at + 18) as Offset,
      lastStableOffset: readInt64(bytes, at + 26) as Offset,
    });
  }
  return found;
}

/** Empty where the segment has no aborted transaction. */
export async function readAborted(disk: Disk, path: string): Promise<AbortedTransaction[]> {
  return (await disk.stat(path)) === null ? [] : decodeAborted(await disk.readFile(path));
}
