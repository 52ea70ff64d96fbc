import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import { describeProducers } from "kafka-protocol-ts/messages/61-describe-producers";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { listTransactions } from "kafka-protocol-ts/messages/66-list-transactions";
import { KafkaError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import { onEachBroker } from "./brokers.ts";
import type { Batch, CallOptions, Calls } from "./calls.ts";
import { check, reply, leaderNewsMsMax, unsupported } from "./calls.ts";
import { findHanging } from "./hanging-transactions.ts";
import type { FindHangingOptions, HangingTransaction } from "./hanging-transactions.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { brokerOf, coordinatorOf, leaderOf } from "./routes.ts";

/** "Ongoing", "PrepareCommit", "CompleteAbort" ...: as Kafka names it. */
export type TransactionState = string;

/** A transactional id as a list has it. */
export interface ListedTransaction {
  /** As the producer was given it. */
  readonly transactionalId: string;
  /** The number that the cluster has given it. */
  readonly producerId: number;
  /** How its last transaction stands. */
  readonly state: TransactionState;
}

/** Which transactional ids to list. */
export interface ListTransactionsOptions extends CallOptions {
  /** Only those in one of these states. */
  readonly states?: readonly TransactionState[];
  /** Only those of these producers. */
  readonly producerIds?: readonly number[];
  /** Only those that run for longer (Kafka 3.8). */
  readonly longerThanMs?: number;
  /** Only ids that match this RE2/J pattern (Kafka 4.1). */
  readonly pattern?: string;
}

/** What a coordinator knows of a transactional id. */
export interface TransactionDescription {
  /** As the producer was given it. */
  readonly transactionalId: string;
  /** How its last transaction stands. */
  readonly state: TransactionState;
  /** So long may a transaction be open before the coordinator aborts it. */
  readonly timeoutMs: number;
  /** Null where none is open. */
  readonly startedAtMs: number | null;
  /** The number that the cluster has given it. */
  readonly producerId: number;
  /** Grows each time that an earlier one is fenced. */
  readonly producerEpoch: number;
  /** What the open transaction has written to. */
  readonly partitions: readonly TopicPartition[];
}

/** A producer that a partition remembers. */
export interface ActiveProducer {
  /** The number that the cluster has given it. */
  readonly producerId: number;
  /** Grows each time that an earlier one is fenced. */
  readonly producerEpoch: number;
  /** Null where it has written nothing but markers. */
  readonly lastSequence: number | null;
  /** Of its last record, milliseconds since 1970. */
  readonly lastTimestampMs: number;
  /** Of the coordinator that ended its last transaction; null where none has. */
  readonly coordinatorEpoch: number | null;
  /** Where its open transaction begins; null where none is open. */
  readonly transactionStartOffset: number | null;
}

/** An open transaction in a partition: by where it begins there, or by what is known of its producer. */
export type TransactionToAbort = TopicPartition &
  (
    | { readonly startOffset: number }
    | { readonly producerId: number; readonly producerEpoch: number; readonly coordinatorEpoch?: number }
  );

/** The epoch before which nothing of a transactional id is taken any more. */
export interface FencedProducer {
  /** The number that the cluster has given it. */
  readonly producerId: number;
  /** Whoever has a lower one is refused. */
  readonly producerEpoch: number;
}

/** What an open transaction says of itself in a partition. */
interface Marker extends TopicPartition {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
}

/** Longer than transaction.max.timeout.ms may not be asked for, and nobody will ever use it. */
const fencingTimeoutMs = 60_000;
/** Any coordinator is newer than one that has never written. */
const noCoordinatorEpoch = 0;

/**
 * Transactions, and what partitions remember of producers.
 *
 * @example
 *     const hanging = await admin.transactions.findHanging();
 *     await admin.transactions.abort(hanging);
 */
export class TransactionsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * The transactional ids of all coordinators, broker after broker.
   *
   *     for await (const { transactionalId } of admin.transactions.list({ states: ["Ongoing"] })) ...
   *
   * @throws KafkaError INVALID_REQUEST for a state that does not exist; UNSUPPORTED_VERSION for a filter that a broker does
   * not know.
   */
  async *list(options: ListTransactionsOptions = {}): AsyncGenerator<ListedTransaction, void> {
    const { states = [], producerIds = [], longerThanMs, pattern } = options;
    const seen = new Set<string>();
    const answers = onEachBroker(this.#calls, "transactions.list", options, async (connection) => {
      const version = connection.versionOf(listTransactions);
      if (longerThanMs !== undefined && version < 1)
        throw unsupported(connection, "ListTransactions", "filter by duration");
      if (pattern !== undefined && version < 2) throw unsupported(connection, "ListTransactions", "filter by pattern");
      const answer = await connection.request(listTransactions, {
        stateFilters: states,
        producerIdFilters: producerIds,
        ...(longerThanMs === undefined ? {} : { durationFilter: longerThanMs }),
        ...(pattern === undefined ? {} : { transactionalIdPattern: pattern }),
      });
      check(answer, "transactions.list", connection);
      if (answer.unknownStateFilters.length > 0) {
        const sentence = `states: ${connection.name} knows no ${answer.unknownStateFilters.join(", ")}`;
        throw new KafkaError("INVALID_REQUEST", sentence, { broker: connection.name });
      }
      return answer.transactionStates;
    });
    for await (const transactions of answers) {
      for (const { transactionalId, producerId, transactionState } of transactions) {
        if (seen.has(transactionalId)) continue;
        seen.add(transactionalId);
        yield { transactionalId, producerId, state: transactionState };
      }
    }
  }

  /**
   * What coordinators know of transactional ids: who has them, and how their last transactions stand.
   *
   * @throws KafkaError of a single id: TRANSACTIONAL_ID_NOT_FOUND, TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
   */
  describe(transactionalId: string, options?: CallOptions): Promise<TransactionDescription>;
  describe(
    transactionalIds: readonly string[],
    options?: CallOptions,
  ): Promise<readonly Outcome<string, TransactionDescription>[]>;
  async describe(
    ids: string | readonly string[],
    options: CallOptions = {},
  ): Promise<TransactionDescription | readonly Outcome<string, TransactionDescription>[]> {
    const batch: Batch<string, TransactionDescription> = {
      call: "transactions.describe",
      items: isMany(ids) ? ids : [ids],
      name: (id) => `transaction ${id}`,
      route: coordinatorOf(this.#calls.wire, "transaction", (id) => id),
      send: async (connection, items) => {
        const answer = await connection.request(describeTransactions, { transactionalIds: items });
        const said = new Map(answer.transactionStates.map((state) => [state.transactionalId, state]));
        return items.map((id) =>
          reply(said.get(id), (told) => ({
            transactionalId: id,
            state: told.transactionState,
            timeoutMs: told.transactionTimeoutMs,
            startedAtMs: told.transactionStartTimeMs < 0 ? null : told.transactionStartTimeMs,
            producerId: told.producerId,
            producerEpoch: told.producerEpoch,
            partitions: told.topics.flatMap(({ topic, partitions }) =>
              partitions.map((partition) => ({ topic, partition })),
            ),
          })),
        );
      },
    };
    return isMany(ids) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * The producers that partitions remember: as their leaders do, or one broker that has a replica.
   *
   * Outcomes fail with UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER.
   */
  async describeProducers(
    partitions: readonly TopicPartition[],
    options: CallOptions & { readonly brokerId?: number } = {},
  ): Promise<readonly Outcome<TopicPartition, readonly ActiveProducer[]>[]> {
    const { brokerId } = options;
    const { wire } = this.#calls;
    return this.#calls.each(
      {
        call: "transactions.describeProducers",
        items: partitions,
        name: partitionName,
        route: brokerId === undefined ? leaderOf(wire) : brokerOf(wire, () => brokerId),
        topicOf: ({ topic }) => topic,
        unknownTopicMsMax: leaderNewsMsMax,
        // A replica that is not there will not come because it is asked for.
        final: brokerId === undefined ? [] : ["NOT_LEADER_OR_FOLLOWER"],
        send: async (connection, items) => {
          const { topics } = await connection.request(describeProducers, {
            topics: byTopic(
              items,
              (name, partitionIndexes: number[]) => ({ name, partitionIndexes }),
              ({ partition }) => partition,
            ),
          });
          const said = byPartition(
            topics,
            ({ name }) => name,
            (topic) => topic.partitions.map((each) => [each.partitionIndex, each]),
          );
          const known = (number: number): number | null => (number < 0 ? null : number);
          return items.map((item) =>
            reply(said.get(partitionKey(item)), ({ activeProducers }) =>
              activeProducers.map((producer) => ({
                producerId: producer.producerId,
                producerEpoch: producer.producerEpoch,
                lastSequence: known(producer.lastSequence),
                lastTimestampMs: producer.lastTimestamp,
                coordinatorEpoch: known(producer.coordinatorEpoch),
                transactionStartOffset: known(producer.currentTxnStartOffset),
              })),
            ),
          );
        },
      },
      options,
    );
  }

  /**
   * Open transactions of which no coordinator knows, so that nobody will end them: readers of committed records wait for
   * ever (KIP-664). Looked for in the partitions that are named, or in all.
   *
   *     const hanging = await admin.transactions.findHanging();
   *     await admin.transactions.abort(hanging);
   */
  async findHanging(options: FindHangingOptions = {}): Promise<readonly HangingTransaction[]> {
    return findHanging(this.#calls, this, options);
  }

  /**
   * Ends an open transaction in one partition, by a marker that no coordinator sends. Only for one that hangs: where a
   * coordinator still knows it, `forceTerminate` is right.
   *
   * @throws KafkaError of a single one: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED; INVALID_REQUEST where no
   * transaction begins at `startOffset`.
   */
  abort(transaction: TransactionToAbort, options?: CallOptions): Promise<void>;
  abort(
    transactions: readonly TransactionToAbort[],
    options?: CallOptions,
  ): Promise<readonly Outcome<TransactionToAbort>[]>;
  async abort(
    transactions: TransactionToAbort | readonly TransactionToAbort[],
    options: CallOptions = {},
  ): Promise<void | readonly Outcome<TransactionToAbort>[]> {
    const items = isMany(transactions) ? transactions : [transactions];
    const outcomes = await Promise.all(
      items.map(async (item): Promise<Outcome<TransactionToAbort>> => {
        try {
          await this.#writeMarker(await this.#markerOf(item, options), options);
          return { item, ok: true, value: undefined };
        } catch (error) {
          if (!(error instanceof KafkaError) || error.code === "ABORTED" || error.code === "CLOSED") throw error;
          return { item, ok: false, error };
        }
      }),
    );
    if (isMany(transactions)) return outcomes;
    const [outcome] = outcomes;
    if (outcome?.ok === false) throw outcome.error;
  }

  /**
   * Takes transactional ids away from whoever uses them: what is open is aborted, and its producer fenced.
   *
   * @throws KafkaError of a single id: TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
   */
  fenceProducers(transactionalId: string, options?: CallOptions): Promise<FencedProducer>;
  fenceProducers(
    transactionalIds: readonly string[],
    options?: CallOptions,
  ): Promise<readonly Outcome<string, FencedProducer>[]>;
  async fenceProducers(
    ids: string | readonly string[],
    options: CallOptions = {},
  ): Promise<FencedProducer | readonly Outcome<string, FencedProducer>[]> {
    const batch = this.#fencing("transactions.fenceProducers", isMany(ids) ? ids : [ids]);
    return isMany(ids) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Ends the open transaction of an id, whatever its state, also one that is prepared and waits (KIP-939). Its producer is
   * fenced.
   *
   * @throws KafkaError TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
   */
  async forceTerminate(transactionalId: string, options: CallOptions = {}): Promise<void> {
    await this.#calls.one(this.#fencing("transactions.forceTerminate", [transactionalId]), options);
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  #fencing(call: string, ids: readonly string[]): Batch<string, FencedProducer> {
    return {
      call,
      items: ids,
      name: (id) => `transactional id ${id}`,
      route: coordinatorOf(this.#calls.wire, "transaction", (id) => id),
      send: (connection, items) =>
        Promise.all(
          items.map(async (transactionalId) => {
            const answer = await connection.request(initProducerId, {
              transactionalId,
              transactionTimeoutMs: fencingTimeoutMs,
            });
            return reply(answer, ({ producerId, producerEpoch }) => ({ producerId, producerEpoch }));
          }),
        ),
    };
  }

  async #markerOf(transaction: TransactionToAbort, options: CallOptions): Promise<Marker> {
    const { topic, partition } = transaction;
    if ("producerId" in transaction) {
      const { producerId, producerEpoch, coordinatorEpoch = noCoordinatorEpoch } = transaction;
      return { topic, partition, producerId, producerEpoch, coordinatorEpoch };
    }
    const [producers] = await this.describeProducers([{ topic, partition }], options);
    if (producers?.ok === false) throw producers.error;
    const found = producers?.value.find((each) => each.transactionStartOffset === transaction.startOffset);
    if (found === undefined) {
      const sentence = `${partitionName(transaction)}: no open transaction begins at offset ${transaction.startOffset}`;
      throw new KafkaError("INVALID_REQUEST", sentence);
    }
    const { producerId, producerEpoch, coordinatorEpoch } = found;
    return { topic, partition, producerId, producerEpoch, coordinatorEpoch: coordinatorEpoch ?? noCoordinatorEpoch };
  }

  async #writeMarker(marker: Marker, options: CallOptions): Promise<void> {
    const { topic, partition, producerId, producerEpoch, coordinatorEpoch } = marker;
    await this.#calls.one(
      {
        call: "transactions.abort",
        items: [{ topic, partition }],
        name: partitionName,
        route: leaderOf(this.#calls.wire),
        topicOf: ({ topic }) => topic,
        unknownTopicMsMax: leaderNewsMsMax,
        send: async (connection) => {
          const answer = await connection.request(writeTxnMarkers, {
            markers: [
              {
                producerId,
                producerEpoch,
                coordinatorEpoch,
                transactionResult: false,
                topics: [{ name: topic, partitionIndexes: [partition] }],
              },
            ],
          });
          return [reply(answer.markers[0]?.topics[0]?.partitions[0], () => {})];
        },
      },
      options,
    );
  }
}
