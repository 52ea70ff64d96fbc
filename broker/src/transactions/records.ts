import type { TimeMs } from "@millrace/base/units";
import { transactionLog } from "kafka-protocol-ts/internal/transaction-records";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { CoordinatorRecord } from "../coordinator/shard-log.ts";
import type { ClientVersion, NONE, Transaction, TransactionState } from "./transaction.ts";

/** What `__transaction_state` says of a transactional id, in Kafka's own format; null: it is forgotten. */
export interface TransactionRecord {
  readonly transactionalId: string;
  readonly transaction: Transaction | null;
}

/** The first that has a place for what transactions of version 2 need. */
const VALUE_VERSION = 1;

const statusOf: Readonly<Record<TransactionState, number>> = {
  Empty: 0,
  Ongoing: 1,
  PrepareCommit: 2,
  PrepareAbort: 3,
  CompleteCommit: 4,
  CompleteAbort: 5,
};
const stateOf = new Map(Object.entries(statusOf).map(([state, status]) => [status, state as TransactionState]));

export function encodeRecord({ transactionalId, transaction }: TransactionRecord): CoordinatorRecord {
  const key = new ByteWriter(64);
  key.int16(transactionLog.type);
  transactionLog.key.write(key, { transactionalId }, 0);
  if (transaction === null) return { key: key.toBuffer(), value: null };
  const value = new ByteWriter(128);
  value.int16(VALUE_VERSION);
  const { partitions, state } = transaction;
  const message = {
    producerId: transaction.producerId,
    previousProducerId: transaction.previousProducerId,
    nextProducerId: transaction.nextProducerId,
    producerEpoch: transaction.producerEpoch,
    transactionTimeoutMs: transaction.timeoutMs,
    transactionStatus: statusOf[state],
    transactionPartitions:
      state === "Empty" ? null : Array.from(partitions, ([topic, partitionIds]) => ({ topic, partitionIds })),
    transactionLastUpdateTimestampMs: transaction.updateMs,
    transactionStartTimestampMs: transaction.startMs,
    clientTransactionVersion: transaction.clientVersion,
  };
  transactionLog.value.write(value, message, VALUE_VERSION);
  return { key: key.toBuffer(), value: value.toBuffer() };
}

/** Null: a record of a kind that is not known. Throws MalformedMessage for one of ours that cannot be read. */
export function decodeRecord(key: Uint8Array, value: Uint8Array | null): TransactionRecord | null {
  const keyReader = readerOf(key);
  if (keyReader.int16() !== transactionLog.type) return null;
  const { transactionalId } = transactionLog.key.read(keyReader, 0);
  return { transactionalId, transaction: value === null ? null : readValue(transactionalId, value) };
}

function readValue(transactionalId: string, bytes: Uint8Array): Transaction | null {
  const reader = readerOf(bytes);
  const version = reader.int16();
  const { name, versions } = transactionLog.value;
  const [first, last] = versions;
  if (version < first || version > last)
    throw new MalformedMessage(`${name} has version ${version}; ${first} to ${last} are known here`);
  const value = transactionLog.value.read(reader, version);
  const state = stateOf.get(value.transactionStatus);
  // Apache Kafka has two more, which it does not log: an id that is about to be forgotten, and one that is being fenced.
  if (state === undefined)
    throw new MalformedMessage(`transactional id ${transactionalId} has the status ${value.transactionStatus}`);
  return {
    transactionalId,
    producerId: value.producerId,
    previousProducerId: value.previousProducerId,
    nextProducerId: value.nextProducerId,
    producerEpoch: value.producerEpoch,
    timeoutMs: value.transactionTimeoutMs,
    state,
    partitions: new Map(value.transactionPartitions?.map(({ topic, partitionIds }) => [topic, partitionIds])),
    updateMs: value.transactionLastUpdateTimestampMs as TimeMs,
    startMs: value.transactionStartTimestampMs as TimeMs | typeof NONE,
    clientVersion: Math.min(2, Math.max(0, value.clientTransactionVersion)) as ClientVersion,
  };
}

function readerOf(bytes: Uint8Array): ByteReader {
  return new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
