import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import type {
  AddPartitionsToTxnRequestInput,
  AddPartitionsToTxnResponse,
} from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import type { InterBroker } from "../inter-broker.ts";
import { BrokerBatches } from "./broker-batches.ts";
import type { Producer } from "./commands.ts";
import type { TransactionRequestFailure } from "./coordinator.ts";
import type { TopicPartitions } from "./transaction.ts";

export interface RemoteCoordinatorOptions {
  readonly clock: Clock;
  readonly interBroker: InterBroker;
  /** How long a broker has for its answer. */
  readonly timeoutMs: number;
  /** `add.partitions.to.txn.retry.backoff.max.ms`: how long a request waits for the end of the transaction before. */
  readonly concurrentWaitMs: number;
  /** The broker that coordinates the id, by the metadata; null: nobody at present. */
  coordinatorOf(transactionalId: string): number | null;
  fatal(error: unknown): void;
}

export interface RemoteQuestion extends Producer {
  readonly transactionalId: string;
  readonly topics: readonly TopicPartitions[];
  /** The producer named its partitions before: nothing is added. */
  readonly isVerifyOnly: boolean;
}

/** Of each partition: null, it belongs to the open transaction; otherwise why not. */
export type RemoteAnswer = (topic: string, partition: number) => TransactionRequestFailure | null;

interface Outgoing {
  readonly question: RemoteQuestion;
  settle(result: Result<RemoteAnswer, TransactionRequestFailure>): void;
}

/** Of one request: it is answered when the slowest of its transactions is. */
const TRANSACTIONS_MAX = 1_000;
/** Apache Kafka's add.partitions.to.txn.retry.backoff.ms. */
const RETRY_MS = 20;
/** From this version on brokers ask, for several transactions, and the producers of those that are added to are of version 2 (KIP-890). */
const BROKERS_VERSION = 4;

/**
 * Asks the coordinators of transactional ids on other brokers, by AddPartitionsToTxn: of each broker one request is under way, with every
 * transaction that waits. While the transaction before is being ended the coordinator says so at once, and is asked again from
 * here: in its place a request would hold up all the others that came with it.
 */
export class RemoteCoordinator {
  readonly #options: RemoteCoordinatorOptions;
  readonly #batches: BrokerBatches<Outgoing>;

  constructor(options: RemoteCoordinatorOptions) {
    this.#options = options;
    this.#batches = new BrokerBatches({
      clock: options.clock,
      itemsMax: TRANSACTIONS_MAX,
      keyOf: ({ question }) => question.transactionalId,
      fitsInto: ({ question }, entry) => isSame(question, entry.question),
      isDue: (brokerId, item) => this.#isDue(brokerId, item),
      send: (brokerId, items) => this.#send(brokerId, items),
      fatal: (error) => options.fatal(error),
    });
  }

  async ask(question: RemoteQuestion): Promise<Result<RemoteAnswer, TransactionRequestFailure>> {
    const { clock, concurrentWaitMs, coordinatorOf } = this.#options;
    const untilMs = clock.monotonicMs() + concurrentWaitMs;
    for (;;) {
      const brokerId = coordinatorOf(question.transactionalId);
      if (brokerId === null) return failed("not-available");
      const answer = await new Promise<Result<RemoteAnswer, TransactionRequestFailure>>((settle) => {
        this.#batches.add(brokerId, { question, settle });
      });
      const isOver = clock.monotonicMs() + RETRY_MS > untilMs;
      if (isOver || !answer.ok || !isConcurrent(question, answer.value)) return answer;
      await new Promise<void>((resolve) => clock.schedule(RETRY_MS, resolve));
    }
  }

  #isDue(brokerId: number, { question, settle }: Outgoing): boolean {
    if (this.#options.coordinatorOf(question.transactionalId) === brokerId) return true;
    settle(failed("not-coordinator"));
    return false;
  }

  async #send(brokerId: number, items: readonly Outgoing[]): Promise<void> {
    const { interBroker, timeoutMs } = this.#options;
    const answer = await interBroker.request(brokerId, addPartitionsToTxn, (version) => requestOf(items, version), {
      timeoutMs,
    });
    if (!answer.ok) {
      const message = answer.message ?? `broker ${brokerId} gave no answer`;
      for (const { settle } of items) settle(failed("not-available", message));
      return;
    }
    const codes = codesOf(answer.value);
    for (const { question, settle } of items) {
      const ofId = codes.get(question.transactionalId);
      const { errorCode } = answer.value;
      settle(
        ok((topic, partition) =>
          failureOf(errorCode === ErrorCode.NONE ? ofId?.get(topic)?.get(partition) : errorCode),
        ),
      );
    }
  }
}

function isSame(one: RemoteQuestion, other: RemoteQuestion): boolean {
  return (
    one.producerId === other.producerId &&
    one.producerEpoch === other.producerEpoch &&
    one.isVerifyOnly === other.isVerifyOnly
  );
}

function isConcurrent({ topics }: RemoteQuestion, answer: RemoteAnswer): boolean {
  const [first] = topics;
  const [partition] = first?.partitions ?? [];
  // It is said of the whole transaction.
  return first !== undefined && partition !== undefined && answer(first.topic, partition) === "concurrent-transactions";
}

function requestOf(items: readonly Outgoing[], version: number): AddPartitionsToTxnRequestInput {
  if (version < BROKERS_VERSION)
    throw new Error(`AddPartitionsToTxn between brokers begins with version ${BROKERS_VERSION}, not ${version}`);
  const byId = new Map<string, { readonly question: RemoteQuestion; readonly topics: Map<string, Set<number>> }>();
  for (const { question } of items) {
    let entry = byId.get(question.transactionalId);
    if (entry === undefined) byId.set(question.transactionalId, (entry = { question, topics: new Map() }));
    for (const { topic, partitions } of question.topics) {
      const named = entry.topics.get(topic);
      if (named === undefined) entry.topics.set(topic, new Set(partitions));
      else for (const partition of partitions) named.add(partition);
    }
  }
  return {
    transactions: Array.from(byId.values(), ({ question, topics }) => ({
      transactionalId: question.transactionalId,
      producerId: question.producerId,
      producerEpoch: question.producerEpoch,
      verifyOnly: question.isVerifyOnly,
      topics: Array.from(topics, ([name, partitions]) => ({ name, partitions: [...partitions] })),
    })),
  };
}

type Codes = ReadonlyMap<string, ReadonlyMap<string, ReadonlyMap<number, number>>>;

function codesOf({ resultsByTransaction }: AddPartitionsToTxnResponse): Codes {
  return new Map(
    resultsByTransaction.map(({ transactionalId, topicResults }) => [
      transactionalId,
      new Map(
        topicResults.map(({ name, resultsByPartition }) => [
          name,
          new Map(resultsByPartition.map((each) => [each.partitionIndex, each.partitionErrorCode])),
        ]),
      ),
    ]),
  );
}

/** The words that the coordinator would have said here. What is not known to it is tried again: its metadata may be older than ours. */
function failureOf(code: number | undefined): TransactionRequestFailure | null {
  switch (code) {
    case ErrorCode.NONE:
      return null;
    case ErrorCode.PRODUCER_FENCED:
    case ErrorCode.INVALID_PRODUCER_EPOCH:
      return "producer-fenced";
    case ErrorCode.TRANSACTION_ABORTABLE:
      return "abortable";
    case ErrorCode.CONCURRENT_TRANSACTIONS:
      return "concurrent-transactions";
    case ErrorCode.INVALID_PRODUCER_ID_MAPPING:
      return "invalid-producer-id-mapping";
    case ErrorCode.INVALID_TXN_STATE:
    case ErrorCode.CLUSTER_AUTHORIZATION_FAILED:
      return "invalid-state";
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      return "loading";
    case ErrorCode.NOT_COORDINATOR:
      return "not-coordinator";
    default:
      return "not-available";
  }
}
