import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import { describeProducers } from "kafka-protocol-ts/messages/61-describe-producers";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import type { RawClient } from "../../journeys/raw-client.ts";

/** The topic that transactions write to. Two partitions; another topic of that size is `other`. */
export const topic = "txn-codes";
const settleTimeoutMs = 10_000;

export interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

export const noProducer: ProducerIdentity = { producerId: -1, producerEpoch: -1 };

/** Codes that say "not now": of a coordinator that loads or is not known yet, and of a transaction that is being ended. */
const later: readonly number[] = [
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.CONCURRENT_TRANSACTIONS,
];

/** Asks until the answer is one that stays. */
export async function settled<Answer>(ask: () => Promise<Answer>, codeOf: (answer: Answer) => number): Promise<Answer> {
  const deadline = performance.now() + settleTimeoutMs;
  for (;;) {
    const answer = await ask();
    if (!later.includes(codeOf(answer))) return answer;
    if (performance.now() > deadline) throw new Error(`still ${errorName(codeOf(answer))}`);
    await sleep(5);
  }
}

let isFree: Promise<unknown> = Promise.resolve();

/**
 * One at a time: Apache Kafka asks its coordinator about several writes at once, and the version of one of them decides
 * whether all are refused with INVALID_TXN_STATE or with TRANSACTION_ABORTABLE.
 */
async function alone<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  const answered = isFree.then(ask);
  isFree = answered.catch(() => null);
  return answered;
}

export interface TxnOffsetCommitOptions {
  readonly groupId: string;
  readonly generationId?: number;
  readonly memberId?: string;
  readonly groupInstanceId?: string;
}

export interface ProduceOptions {
  readonly partition: number;
  readonly sequence: number;
  readonly isTransactional?: boolean;
  /** What the request says, where that is not the producer's own. */
  readonly transactionalId?: string | null;
}

/** A producer as one process believes to be it: a transactional id, a producer id and an epoch. Requests say what it believes. */
export class Producer {
  readonly client: RawClient;
  readonly transactionalId: string;
  readonly groupId: string;
  identity: ProducerIdentity = noProducer;
  /** Of the next record to partition 0. */
  sequence = 0;
  timeoutMs = 60_000;

  constructor(client: RawClient, transactionalId: string) {
    this.client = client;
    this.transactionalId = transactionalId;
    this.groupId = `group-of-${transactionalId}`;
  }

  /** The same transactional id, seen by somebody who believes something else. */
  as(identity: Partial<ProducerIdentity>): Producer {
    const other = new Producer(this.client, this.transactionalId);
    other.identity = { ...this.identity, ...identity };
    other.sequence = this.sequence;
    other.timeoutMs = this.timeoutMs;
    return other;
  }

  /** One that is an epoch older or newer. */
  aged(epochs: number): Producer {
    return this.as({ producerEpoch: this.identity.producerEpoch + epochs });
  }

  async init(claimed: ProducerIdentity = noProducer, version = 5) {
    const { transactionalId, timeoutMs: transactionTimeoutMs } = this;
    const body = { transactionalId, transactionTimeoutMs, ...(version >= 3 ? claimed : {}) };
    return settled(
      async () => this.client.request(initProducerId, version, body),
      ({ errorCode }) => errorCode,
    );
  }

  /** By name of topic and number, in the order of the request. */
  async addPartitions(partitions: readonly (readonly [name: string, partition: number])[], version = 3) {
    const answer = await settled(
      async () =>
        this.client.request(addPartitionsToTxn, version, {
          v3AndBelowTransactionalId: this.transactionalId,
          v3AndBelowProducerId: this.identity.producerId,
          v3AndBelowProducerEpoch: this.identity.producerEpoch,
          v3AndBelowTopics: topicsOf(partitions),
        }),
      ({ resultsByTopicV3AndBelow }) => firstCode(resultsByTopicV3AndBelow),
    );
    return codesOf(answer.resultsByTopicV3AndBelow);
  }

  /** What a broker asks about itself before it appends (KIP-890). */
  async verify(
    partitions: readonly (readonly [name: string, partition: number])[],
    version: number,
    verifyOnly: boolean,
  ) {
    const transaction = { transactionalId: this.transactionalId, ...this.identity, verifyOnly };
    const answer = await settled(
      async () =>
        this.client.request(addPartitionsToTxn, version, {
          transactions: [{ ...transaction, topics: topicsOf(partitions) }],
        }),
      ({ resultsByTransaction }) => firstCode(resultsByTransaction[0]?.topicResults ?? []),
    );
    return `${errorName(answer.errorCode)}: ${codesOf(answer.resultsByTransaction[0]?.topicResults ?? [])}`;
  }

  async addOffsets(version = 3): Promise<number> {
    const { transactionalId, groupId, identity } = this;
    const { errorCode } = await settled(
      async () => this.client.request(addOffsetsToTxn, version, { transactionalId, groupId, ...identity }),
      ({ errorCode }) => errorCode,
    );
    return errorCode;
  }

  async commitOffsets(version: number, options: Partial<TxnOffsetCommitOptions> = {}): Promise<number> {
    const partitions = [{ partitionIndex: 0, committedOffset: 7, committedMetadata: "" }];
    const body = {
      transactionalId: this.transactionalId,
      groupId: this.groupId,
      ...this.identity,
      ...options,
      topics: [{ name: topic, partitions }],
    };
    const answer = await settled(
      async () => alone(async () => this.client.request(txnOffsetCommit, version, body)),
      ({ topics }) => topics[0]?.partitions[0]?.errorCode ?? 0,
    );
    return answer.topics[0]?.partitions[0]?.errorCode ?? 0;
  }

  /** What the producer's own group has committed, as one sees it who waits for transactions, or does not. */
  async fetchOffset(requireStable: boolean): Promise<string> {
    const answer = await settled(
      async () =>
        this.client.request(offsetFetch, 8, {
          groups: [{ groupId: this.groupId, topics: [{ name: topic, partitionIndexes: [0] }] }],
          requireStable,
        }),
      ({ groups }) => groups[0]?.errorCode ?? 0,
    );
    const partition = answer.groups[0]?.topics[0]?.partitions[0];
    return `${errorName(partition?.errorCode ?? 0)} offset ${partition?.committedOffset}`;
  }

  async end(committed: boolean, version: number) {
    const { transactionalId, identity } = this;
    return settled(
      async () => this.client.request(endTxn, version, { transactionalId, ...identity, committed }),
      ({ errorCode }) => errorCode,
    );
  }

  async produce(version: number, options: ProduceOptions): Promise<number> {
    const { transactionalId = this.transactionalId, partition, sequence, isTransactional = true } = options;
    const records = encodeBatch({
      records: [{ timestamp: 1_700_000_000_000, key: Buffer.from("k"), value: Buffer.from("v") }],
      ...this.identity,
      baseSequence: sequence,
      isTransactional,
    });
    const body = {
      transactionalId,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
    };
    const answer = await settled(
      async () => alone(async () => this.client.request(produce, version, body)),
      ({ responses }) => responses[0]?.partitionResponses[0]?.errorCode ?? 0,
    );
    return answer.responses[0]?.partitionResponses[0]?.errorCode ?? 0;
  }

  async writeMarker(
    version: number,
    marker: { readonly isCommit: boolean; readonly partition?: number; readonly transactionVersion?: number },
  ) {
    const { isCommit: transactionResult, partition = 0, transactionVersion = 0 } = marker;
    const { markers } = await this.client.request(writeTxnMarkers, version, {
      markers: [
        {
          ...this.identity,
          transactionResult,
          coordinatorEpoch: 0,
          ...(version >= 2 ? { transactionVersion } : {}),
          topics: [{ name: topic, partitionIndexes: [partition] }],
        },
      ],
    });
    return markers[0]?.topics[0]?.partitions[0]?.errorCode ?? 0;
  }

  /** How the coordinator describes the id, once nothing is under way any more. */
  async describe() {
    const deadline = performance.now() + settleTimeoutMs;
    for (;;) {
      const { transactionStates } = await this.client.request(describeTransactions, 0, {
        transactionalIds: [this.transactionalId],
      });
      const state = transactionStates[0];
      if (state === undefined) throw new Error(`DescribeTransactions says nothing of ${this.transactionalId}`);
      const isSettled = !later.includes(state.errorCode) && !state.transactionState.startsWith("Prepare");
      if (isSettled) return state;
      if (performance.now() > deadline) throw new Error(`${this.transactionalId} stays in ${state.transactionState}`);
      await sleep(5);
    }
  }

  /** How partition 0 describes the producer; null when it knows none. */
  async describeProducer() {
    const { topics } = await this.client.request(describeProducers, 0, {
      topics: [{ name: topic, partitionIndexes: [0] }],
    });
    const producers = topics[0]?.partitions[0]?.activeProducers ?? [];
    return producers.find(({ producerId }) => producerId === this.identity.producerId) ?? null;
  }
}

interface TopicCodes {
  readonly name: string;
  readonly resultsByPartition: readonly { readonly partitionIndex: number; readonly partitionErrorCode: number }[];
}

function firstCode(results: readonly TopicCodes[]): number {
  return results[0]?.resultsByPartition[0]?.partitionErrorCode ?? 0;
}

function codesOf(results: readonly TopicCodes[]): string {
  return results
    .flatMap(({ name, resultsByPartition }) =>
      resultsByPartition.map(
        ({ partitionIndex, partitionErrorCode }) => `${name}-${partitionIndex} ${errorName(partitionErrorCode)}`,
      ),
    )
    .sort()
    .join(", ");
}

function topicsOf(partitions: readonly (readonly [name: string, partition: number])[]) {
  const names = [...new Set(partitions.map(([name]) => name))];
  return names.map((name) => ({
    name,
    partitions: partitions.filter(([each]) => each === name).map(([, partition]) => partition),
  }));
}
