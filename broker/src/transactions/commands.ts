import type { Reply, Ticket } from "../coordinator/machine.ts";
import type { Pattern } from "../pattern.ts";
import type { TransactionFailure } from "./failures.ts";
import type { ClientVersion, Outcome, TopicPartitions, Transaction, TransactionState } from "./transaction.ts";

/*
 * Requests as the machine takes them: what the wire and the version mean is already decided. A producer id that the machine needs and was not
 * given is asked for by an answer: then the same command comes again, with one.
 */

export interface Producer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Of InitProducerId, and of EndTxn: the producer to go on with. */
export type ProducerAnswer =
  | { readonly kind: "granted"; readonly producer: Producer }
  | { readonly kind: "needs-producer-id" }
  | { readonly kind: "refused"; readonly failure: TransactionFailure };

export interface InitCommand {
  readonly ticket: Ticket<ProducerAnswer>;
  readonly transactionalId: string;
  readonly timeoutMs: number;
  /** Who asks for its next epoch, and names the present one (KIP-360); null for a new process. */
  readonly expected: Producer | null;
  /** Never given before; null until the machine asks for one. */
  readonly newProducerId: number | null;
}

export interface AddCommand extends Producer {
  readonly ticket: Ticket<AddAnswer>;
  readonly transactionalId: string;
  readonly clientVersion: ClientVersion;
  readonly topics: readonly TopicPartitions[];
  /** now: who asks acknowledges nothing before what this decision writes is committed. */
  readonly when: Reply["when"];
}

/** Null: all of them belong to the transaction now. */
export interface AddAnswer {
  readonly failure: TransactionFailure | null;
}

export interface VerifyCommand extends Producer {
  readonly ticket: Ticket<VerifyAnswer>;
  readonly transactionalId: string;
  readonly topics: readonly TopicPartitions[];
}

export interface VerifyAnswer {
  /** Of the whole request. */
  readonly failure: TransactionFailure | null;
  /** Otherwise of each partition: false where it does not belong to the open transaction. */
  readonly isIn: (topic: string, partition: number) => boolean;
}

export interface EndCommand extends Producer {
  readonly ticket: Ticket<ProducerAnswer>;
  readonly transactionalId: string;
  readonly outcome: Outcome;
  readonly clientVersion: ClientVersion;
  readonly newProducerId: number | null;
}

/** Every marker of the decision stands in its partition. */
export interface CompletedCommand extends Producer {
  readonly transactionalId: string;
}

export interface DescribeCommand {
  readonly ticket: Ticket<DescribeAnswer>;
  readonly transactionalIds: readonly string[];
}

/** In the order of the request; null for an id that is not known. */
export interface DescribeAnswer {
  readonly transactions: readonly (Transaction | null)[];
}

export interface ListCommand {
  readonly ticket: Ticket<ListAnswer>;
  /** Empty: all. */
  readonly states: ReadonlySet<TransactionState>;
  readonly producerIds: ReadonlySet<number>;
  /** Open for longer; null: however long. */
  readonly openForMs: number | null;
  /** The whole id matches it; null: all. */
  readonly pattern: Pattern | null;
}

export interface ListAnswer {
  readonly transactions: readonly Pick<Transaction, "transactionalId" | "producerId" | "state">[];
}
