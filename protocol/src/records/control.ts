import { MalformedMessage } from "../malformed.ts";
import { encodeBatch } from "./builder.ts";
import type { BatchOptions } from "./builder.ts";

/** The type in a control record's key. */
export const ControlType = {
  ABORT: 0,
  COMMIT: 1,
  LEADER_CHANGE: 2,
  SNAPSHOT_HEADER: 3,
  SNAPSHOT_FOOTER: 4,
  KRAFT_VERSION: 5,
  KRAFT_VOTERS: 6,
} as const;
export type ControlType = (typeof ControlType)[keyof typeof ControlType];

export interface ControlKey {
  readonly version: number;
  /** A type that this version does not know is kept as it is: a reader skips it. */
  readonly type: number;
}

export interface EndTransactionMarker {
  readonly version: number;
  readonly isCommit: boolean;
  readonly coordinatorEpoch: number;
}

const CONTROL_KEY_BYTES = 4;
const MARKER_VALUE_BYTES = 6;

/** A later version may have more fields behind these two; they are left alone. */
export function readControlKey(key: Buffer | null): ControlKey {
  if (key === null || key.length < CONTROL_KEY_BYTES)
    throw new MalformedMessage("a control record without a readable key");
  const version = key.readInt16BE(0);
  if (version < 0) throw new MalformedMessage(`control key version ${version}`);
  return { version, type: key.readInt16BE(2) };
}

export function writeControlKey(type: ControlType, version = 0): Buffer {
  const key = Buffer.allocUnsafe(CONTROL_KEY_BYTES);
  key.writeInt16BE(version, 0);
  key.writeInt16BE(type, 2);
  return key;
}

/** The marker that ends a transaction, or null where the control record is another. */
export function readEndTransactionMarker(record: {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}): EndTransactionMarker | null {
  const { type } = readControlKey(record.key);
  if (type !== ControlType.ABORT && type !== ControlType.COMMIT) return null;
  const value = record.value;
  if (value === null || value.length < MARKER_VALUE_BYTES)
    throw new MalformedMessage("a transaction marker without a readable value");
  const version = value.readInt16BE(0);
  if (version < 0) throw new MalformedMessage(`transaction marker version ${version}`);
  return { version, isCommit: type === ControlType.COMMIT, coordinatorEpoch: value.readInt32BE(2) };
}

export function writeEndTransactionMarkerValue(coordinatorEpoch: number): Buffer {
  const value = Buffer.allocUnsafe(MARKER_VALUE_BYTES);
  value.writeInt16BE(0, 0);
  value.writeInt32BE(coordinatorEpoch, 2);
  return value;
}

/** The whole batch of a marker: one transactional control record, without a sequence. */
export function encodeEndTransactionMarker(
  marker: {
    readonly isCommit: boolean;
    readonly coordinatorEpoch: number;
    readonly producerId: number;
    readonly producerEpoch: number;
    readonly timestamp: number;
  } & Pick<BatchOptions, "baseOffset" | "leaderEpoch">,
): Buffer {
  const { isCommit, coordinatorEpoch, timestamp, ...batch } = marker;
  return encodeBatch({
    ...batch,
    isTransactional: true,
    isControl: true,
    records: [
      {
        timestamp,
        key: writeControlKey(isCommit ? ControlType.COMMIT : ControlType.ABORT),
        value: writeEndTransactionMarkerValue(coordinatorEpoch),
      },
    ],
  });
}

/** KRaft's own control batches (types 2 to 6): a control record without a transaction. The value is written by the caller's schema. */
export function encodeControlBatch(
  control: {
    readonly type: ControlType;
    readonly value: Uint8Array;
    readonly timestamp: number;
  } & Pick<BatchOptions, "baseOffset" | "leaderEpoch">,
): Buffer {
  const { type, value, timestamp, ...batch } = control;
  return encodeBatch({ ...batch, isControl: true, records: [{ timestamp, key: writeControlKey(type), value }] });
}
