/**
 * What clients did and were told, in order: all that a checker may know. Each mark stands at a position of the recorded
 * disk, so that for a crash at any position it is known what had been promised and what had only been asked for.
 */
export type Mark =
  | { readonly kind: "creating"; readonly topic: string }
  | { readonly kind: "created"; readonly topic: TopicMade }
  | { readonly kind: "deleting" | "deleted"; readonly topicId: string }
  | { readonly kind: "sending"; readonly batch: SentBatch }
  | { readonly kind: "stored"; readonly batch: SentBatch; readonly baseOffset: number }
  /** A consumer was given the batch: from then on it must not vanish either. */
  | { readonly kind: "seen"; readonly batch: SentBatch; readonly baseOffset: number }
  | { readonly kind: "trimming"; readonly topicId: string; readonly partition: number; readonly offset: number }
  | { readonly kind: "trimmed"; readonly topicId: string; readonly partition: number; readonly startOffset: number }
  | { readonly kind: "committing" | "committed"; readonly commit: Commit }
  | { readonly kind: "configuring" | "configured"; readonly topicId: string; readonly retentionMs: number }
  | { readonly kind: "producer-id"; readonly producerId: number }
  | { readonly kind: "transaction-writing" | "transaction-written"; readonly write: TransactionWrite }
  /** Another process takes the transactional id over: what the one before is at may be aborted from then on. */
  | { readonly kind: "transaction-fencing"; readonly transactionalId: string }
  | { readonly kind: "transaction-ending" | "transaction-ended"; readonly transaction: SentTransaction };

export interface TopicMade {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  /** LogAppendTime: the broker writes timestamps and with them the checksum. */
  readonly isStamped: boolean;
  /** Retention by size may move the start of the log, down to so many bytes. */
  readonly retentionBytes: number | null;
}

export interface SentBatch {
  /** Unique in a run, and part of every value. */
  readonly number: number;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** One connection, or one idempotent producer: its batches stand in the log in the order in which it sent them. */
  readonly producer: string;
  /** As it was sent. */
  readonly bytes: Buffer;
  readonly recordsCount: number;
  /** −1 outside of idempotence. */
  readonly producerId: number;
  readonly baseSequence: number;
}

export interface Commit {
  readonly group: string;
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  /** Grows with each commit of the group for the partition. */
  readonly offset: number;
}

/** One record of a transaction, and all that its producer needs to send it again. */
export interface TransactionWrite {
  readonly transactionalId: string;
  readonly number: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly partition: number;
  readonly value: string;
  readonly sequence: number;
}

export interface SentTransaction {
  /** Unique in a run, and the offset that it commits. */
  readonly number: number;
  readonly transactionalId: string;
  readonly values: readonly { readonly partition: number; readonly value: string }[];
  readonly outcome: "commit" | "abort";
}

export const partitionKey = (topicId: string, partition: number): string => `${topicId}/${partition}`;
