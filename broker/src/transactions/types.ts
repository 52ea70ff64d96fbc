import type { Decision } from "../coordinator/machine.ts";
import type { TransactionEvent } from "./events.ts";
import type { TransactionRecord } from "./records.ts";
import type { Outcome, TopicPartitions } from "./transaction.ts";

/**
 * The epoch before the present one, where the producer that had it may not know of the present one: its answer was lost (KIP-360), or its
 * transaction was aborted for its timeout (KIP-588). It may still ask. In memory only: after a failover such a producer is fenced, and begins anew.
 */
export interface SoftTransaction {
  readonly transactionalId: string;
  readonly retriedFromEpoch: number | null;
}

export type TransactionTimer =
  /** The transaction is open for its timeout. */
  | { readonly kind: "timeout"; readonly id: string; readonly transactionalId: string }
  /** Time to look for ids that nobody has used for long. */
  | { readonly kind: "expiry"; readonly id: string };

/** A decision is durable: its markers are to be written to these partitions, and the machine is to be told when they are. */
export interface MarkersToWrite {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly outcome: Outcome;
  /** The epoch is above that of the records that are meant, as in version 2 always. */
  readonly isEpochRaised: boolean;
  readonly topics: readonly TopicPartitions[];
}

export interface TransactionTypes {
  readonly record: TransactionRecord;
  readonly soft: SoftTransaction;
  readonly timer: TransactionTimer;
  readonly event: TransactionEvent;
  readonly effect: MarkersToWrite;
}

export type TransactionDecision = Decision<TransactionTypes>;

export function timeoutTimer(transactionalId: string): TransactionTimer {
  return { kind: "timeout", id: `timeout:${transactionalId}`, transactionalId };
}

export const expiryTimer: TransactionTimer = { kind: "expiry", id: "expiry" };
