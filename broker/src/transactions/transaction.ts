import type { TimeMs } from "@millrace/base/units";

/** No id, no epoch: of a producer that has none yet, or none to come. */
export const NONE = -1;
/** An int16: the last one is for the marker that ends a producer's last transaction. */
export const EPOCH_MAX = 0x7fff;

/**
 * Where a transactional id stands.
 * - Empty: it has a producer, and no transaction yet
 * - Ongoing: partitions were named
 * - PrepareCommit, PrepareAbort: decided, durably; the markers are being written
 * - CompleteCommit, CompleteAbort: every marker is there
 */
export type TransactionState =
  | "Empty"
  | "Ongoing"
  | "PrepareCommit"
  | "PrepareAbort"
  | "CompleteCommit"
  | "CompleteAbort";

const states: Readonly<Record<TransactionState, true>> = {
  Empty: true,
  Ongoing: true,
  PrepareCommit: true,
  PrepareAbort: true,
  CompleteCommit: true,
  CompleteAbort: true,
};

/** Names of Apache Kafka's that nothing here is ever in: an id that is being forgotten, and one that is being fenced. */
const passingStates: ReadonlySet<string> = new Set(["Dead", "PrepareEpochFence"]);

export function isKnownState(name: string): boolean {
  return Object.hasOwn(states, name) || passingStates.has(name);
}

export function isTransactionState(name: string): name is TransactionState {
  return Object.hasOwn(states, name);
}

export type Outcome = "commit" | "abort";

/**
 * How a client ends its transactions.
 * - 0, 1: every partition is named before it is written to, and the epoch stays
 * - 2: partitions are named by writing to them, and every end raises the epoch (KIP-890)
 */
export type ClientVersion = 0 | 1 | 2;

/** A transactional id, as the log has it. Never changed: a decision makes the next one. */
export interface Transaction {
  readonly transactionalId: string;
  readonly producerId: number;
  /** The id before `producerId`, whose last transaction a client may ask about once more. */
  readonly previousProducerId: number;
  /** The id that takes the place of `producerId` when this transaction is complete, since its epochs are used up. */
  readonly nextProducerId: number;
  readonly producerEpoch: number;
  readonly timeoutMs: number;
  readonly state: TransactionState;
  /** By topic, each in rising order. Empty where no transaction is open. */
  readonly partitions: ReadonlyMap<string, readonly number[]>;
  readonly updateMs: TimeMs;
  /** −1 where no transaction was open yet. */
  readonly startMs: TimeMs | typeof NONE;
  readonly clientVersion: ClientVersion;
}

export function isPrepared(state: TransactionState): state is "PrepareCommit" | "PrepareAbort" {
  return state === "PrepareCommit" || state === "PrepareAbort";
}

export function isComplete(state: TransactionState): state is "CompleteCommit" | "CompleteAbort" {
  return state === "CompleteCommit" || state === "CompleteAbort";
}

/** What was decided of the last transaction; null while nothing is. */
export function outcomeOf(state: TransactionState): Outcome | null {
  if (state === "PrepareCommit" || state === "CompleteCommit") return "commit";
  return state === "PrepareAbort" || state === "CompleteAbort" ? "abort" : null;
}

/** Another transaction would leave no epoch for its marker, or for who fences it. */
export function isEpochUsedUp(epoch: number): boolean {
  return epoch >= EPOCH_MAX - 1;
}

export function hasPartition({ partitions }: Transaction, topic: string, partition: number): boolean {
  return partitions.get(topic)?.includes(partition) ?? false;
}

/** The producer that goes on when this transaction is complete, whose client knows it already. */
export function isNextProducer({ state, nextProducerId }: Transaction, producerId: number): boolean {
  return isPrepared(state) && nextProducerId !== NONE && nextProducerId === producerId;
}

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

export function withPartitions(
  before: ReadonlyMap<string, readonly number[]>,
  added: readonly TopicPartitions[],
): ReadonlyMap<string, readonly number[]> {
  const all = new Map(before);
  for (const { topic, partitions } of added) {
    const merged = new Set([...(all.get(topic) ?? []), ...partitions]);
    all.set(
      topic,
      [...merged].toSorted((a, b) => a - b),
    );
  }
  return all;
}
