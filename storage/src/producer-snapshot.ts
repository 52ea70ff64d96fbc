import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { readInt64, writeInt64 } from "kafka-protocol-ts/records/int64";
import { ProducerEntry } from "./producer-state.ts";
import type { ProducerStates } from "./producer-state.ts";
import type { Offset } from "./types.ts";

/*
 * `N.snapshot`: the producers' state as it was before offset N. Kafka's format, version 1:
 *
 *     int16 version · uint32 CRC-32C of all that follows · int32 count · entries of 46 bytes
 *
 * Kafka writes one entry a producer, with its last batch. Here a producer has an entry for each batch of its window, oldest
 * first: whoever reads them into a map by producer id keeps the last one, and we know all five again after a restart, so that
 * a retry that crosses it is still answered with its first offset.
 */

const VERSION = 1;
const HEADER_BYTES = 10;
const ENTRY_BYTES = 46;
const CRC_START = 6;

const Field = {
  producerId: 0,
  epoch: 8,
  lastSequence: 10,
  lastOffset: 14,
  offsetDelta: 22,
  timestamp: 26,
  coordinatorEpoch: 34,
  currentTxnFirstOffset: 38,
} as const;

export function encodeSnapshot(states: ProducerStates): Buffer {
  let count = 0;
  for (const entry of states.entries()) count += Math.max(1, entry.marks.length);
  const bytes = Buffer.alloc(HEADER_BYTES + count * ENTRY_BYTES);
  bytes.writeInt16BE(VERSION, 0);
  bytes.writeInt32BE(count, CRC_START);
  let at = HEADER_BYTES;
  for (const entry of states.entries()) {
    const marks = entry.marks.length === 0 ? [noMark(entry)] : entry.marks;
    for (const [index, mark] of marks.entries()) {
      const isLast = index === marks.length - 1;
      writeInt64(bytes, at + Field.producerId, entry.producerId);
      bytes.writeInt16BE(entry.epoch, at + Field.epoch);
      bytes.writeInt32BE(mark.lastSequence, at + Field.lastSequence);
      writeInt64(bytes, at + Field.lastOffset, mark.lastOffset);
      bytes.writeInt32BE(mark.offsetDelta, at + Field.offsetDelta);
      writeInt64(bytes, at + Field.timestamp, isLast ? entry.lastTimestamp : mark.timestamp);
      bytes.writeInt32BE(entry.coordinatorEpoch, at + Field.coordinatorEpoch);
      writeInt64(bytes, at + Field.currentTxnFirstOffset, isLast ? entry.currentTxnFirstOffset : -1);
      at += ENTRY_BYTES;
    }
  }
  bytes.writeUInt32BE(crc32c(bytes.subarray(CRC_START)), 2);
  return bytes;
}

/** A producer of which only an epoch is known: a marker raised it. */
function noMark(entry: ProducerEntry): {
  lastSequence: number;
  lastOffset: number;
  offsetDelta: number;
  timestamp: number;
} {
  return { lastSequence: -1, lastOffset: -1, offsetDelta: 0, timestamp: entry.lastTimestamp };
}

/** Adds a snapshot's producers to `into`; nothing is added where the bytes are not a whole snapshot. */
export function decodeSnapshot(bytes: Buffer, into: ProducerStates): Result<void, "bad-snapshot"> {
  if (bytes.length < HEADER_BYTES) return failed("bad-snapshot", `${bytes.length} bytes are no snapshot`);
  const version = bytes.readInt16BE(0);
  if (version !== VERSION) return failed("bad-snapshot", `snapshot version ${version} is not known`);
  if (crc32c(bytes.subarray(CRC_START)) !== bytes.readUInt32BE(2))
    return failed("bad-snapshot", "its checksum is wrong");
  const count = bytes.readInt32BE(CRC_START);
  if (count * ENTRY_BYTES !== bytes.length - HEADER_BYTES) return failed("bad-snapshot", `it says ${count} entries`);

  const entries = new Map<number, ProducerEntry>();
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const producerId = readInt64(bytes, at + Field.producerId);
    const epoch = bytes.readInt16BE(at + Field.epoch);
    let entry = entries.get(producerId);
    if (entry === undefined) entries.set(producerId, (entry = new ProducerEntry(producerId, epoch)));
    const lastOffset = readInt64(bytes, at + Field.lastOffset) as Offset;
    const timestamp = readInt64(bytes, at + Field.timestamp);
    if (lastOffset >= 0) {
      const lastSequence = bytes.readInt32BE(at + Field.lastSequence);
      entry.add(epoch, { lastSequence, lastOffset, offsetDelta: bytes.readInt32BE(at + Field.offsetDelta), timestamp });
    }
    entry.raiseEpoch(epoch);
    entry.lastTimestamp = timestamp;
    entry.coordinatorEpoch = bytes.readInt32BE(at + Field.coordinatorEpoch);
    entry.currentTxnFirstOffset = readInt64(bytes, at + Field.currentTxnFirstOffset);
  }
  for (const entry of entries.values()) into.restore(entry);
  return ok(undefined);
}
