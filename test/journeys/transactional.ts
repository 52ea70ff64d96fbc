import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { fetchFrom } from "./calls.ts";
import { must } from "@millrace/base/assert";
import type { RawClient } from "./raw-client.ts";

export interface SendOptions {
  readonly topic?: string;
  readonly partition?: number;
  /** Default: the producer's next. */
  readonly sequence?: number;
  readonly version?: number;
  readonly transactionalId?: string | null;
  readonly isTransactional?: boolean;
}

/** Before a client asks again. Rejects when it has asked for long enough. */
export type Pause = () => Promise<void>;
const noPause: Pause = async () => {};

/** A transactional producer of either version, that does just what a test tells it. Each call gives the error code. */
export class TransactionalProducer {
  readonly client: RawClient;
  readonly transactionalId: string;
  producerId = -1;
  producerEpoch = -1;
  readonly #sequences = new Map<string, number>();

  readonly #pause: Pause;

  constructor(client: RawClient, transactionalId: string, pause: Pause = noPause) {
    this.client = client;
    this.transactionalId = transactionalId;
    this.#pause = pause;
  }

  /** Asks until the transaction of a predecessor is over. */
  async init({
    timeoutMs = 60_000,
    version = 5,
    isExpected = false,
  }: { readonly timeoutMs?: number; readonly version?: number; readonly isExpected?: boolean } = {}): Promise<number> {
    await transactionCoordinatorOf(this.client, this.transactionalId, this.#pause);
    const answer = await untilReady(this.#pause, () =>
      this.client.request(initProducerId, version, {
        transactionalId: this.transactionalId,
        transactionTimeoutMs: timeoutMs,
        ...(isExpected && version >= 3 ? { producerId: this.producerId, producerEpoch: this.producerEpoch } : {}),
      }),
    );
    if (answer.errorCode === ErrorCode.NONE) this.#goOn(answer);
    return answer.errorCode;
  }

  nextSequence(topic: string, partition: number): number {
    return this.#sequences.get(`${topic}-${partition}`) ?? 0;
  }

  /** One batch, a record a value. */
  async send(values: readonly string[], options: SendOptions = {}): Promise<{ errorCode: number; baseOffset: number }> {
    const { topic = "orders", partition = 0, version = 12, isTransactional = true } = options;
    const place = `${topic}-${partition}`;
    const sequence = options.sequence ?? this.nextSequence(topic, partition);
    const { producerId, producerEpoch } = this;
    const records = encodeBatch({
      records: values.map((value) => ({ value: Buffer.from(value), timestamp: 1_700_000_000_000 })),
      producerId,
      producerEpoch,
      baseSequence: sequence,
      isTransactional,
    });
    const transactionalId = options.transactionalId === undefined ? this.transactionalId : options.transactionalId;
    for (;;) {
      const { responses } = await this.client.request(produce, version, {
        transactionalId,
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
      });
      const answer = must(responses[0]?.partitionResponses[0], "each partition is answered");
      // To be asked again, for older and newer producers.
      if (retried.has(answer.errorCode) || answer.errorCode === ErrorCode.NOT_ENOUGH_REPLICAS) {
        await this.#pause();
        continue;
      }
      if (answer.errorCode === ErrorCode.NONE) this.#sequences.set(place, sequence + values.length);
      return answer;
    }
  }

  async add(partitions: readonly number[], { topic = "orders", version = 3 } = {}): Promise<readonly number[]> {
    for (;;) {
      const answer = await this.client.request(addPartitionsToTxn, version, {
        v3AndBelowTransactionalId: this.transactionalId,
        v3AndBelowProducerId: this.producerId,
        v3AndBelowProducerEpoch: this.producerEpoch,
        v3AndBelowTopics: [{ name: topic, partitions }],
      });
      const results = answer.resultsByTopicV3AndBelow[0]!.resultsByPartition;
      const codes = results
        .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
        .map((each) => each.partitionErrorCode);
      if (!codes.some((code) => retried.has(code))) return codes;
      await this.#pause();
    }
  }

  async addOffsets(groupId: string, version = 3): Promise<number> {
    const { transactionalId, producerId, producerEpoch } = this;
    const body = { transactionalId, producerId, producerEpoch, groupId };
    return (await untilReady(this.#pause, () => this.client.request(addOffsetsToTxn, version, body))).errorCode;
  }

  async commitOffset(
    groupId: string,
    offset: number,
    member: {
      readonly version?: number;
      readonly generationId?: number;
      readonly memberId?: string;
      readonly topic?: string;
      readonly metadata?: string;
    } = {},
  ): Promise<number> {
    const { version = 5, generationId = -1, memberId = "", topic = "orders", metadata = null } = member;
    const { transactionalId, producerId, producerEpoch } = this;
    for (;;) {
      const { topics } = await this.client.request(txnOffsetCommit, version, {
        ...{ transactionalId, groupId, producerId, producerEpoch },
        ...(version >= 3 ? { generationId, memberId } : {}),
        topics: [
          { name: topic, partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: metadata }] },
        ],
      });
      const { errorCode } = must(topics[0]?.partitions[0], "each partition is answered");
      if (!retried.has(errorCode)) return errorCode;
      await this.#pause();
    }
  }

  async end(outcome: "commit" | "abort", version = 5): Promise<number> {
    const { transactionalId, producerId, producerEpoch } = this;
    const body = { transactionalId, producerId, producerEpoch, committed: outcome === "commit" };
    const answer = await untilReady(this.#pause, () => this.client.request(endTxn, version, body));
    if (answer.errorCode === ErrorCode.NONE && version >= 5) this.#goOn(answer);
    return answer.errorCode;
  }

  async describe() {
    const { transactionStates } = await this.client.request(describeTransactions, 0, {
      transactionalIds: [this.transactionalId],
    });
    return must(transactionStates[0], "each id is answered");
  }

  /** Settles when every marker is written. */
  async settled(): Promise<string> {
    for (;;) {
      const { transactionState } = await this.describe();
      if (!transactionState.startsWith("Prepare")) return transactionState;
      await this.#pause();
    }
  }

  #goOn({ producerId, producerEpoch }: { readonly producerId: number; readonly producerEpoch: number }): void {
    if (producerId !== this.producerId || producerEpoch !== this.producerEpoch) this.#sequences.clear();
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
  }
}

/** The coordinator is at something else, or not there yet: every client asks again. */
const retried: ReadonlySet<number> = new Set([
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
]);

async function untilReady<T extends { readonly errorCode: number }>(pause: Pause, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (!retried.has(answer.errorCode)) return answer;
    await pause();
  }
}

/** Settles when the transactional id has a coordinator that has loaded it. */
export async function transactionCoordinatorOf(
  client: RawClient,
  transactionalId: string,
  pause: Pause = noPause,
): Promise<void> {
  for (; ; await pause()) {
    const { coordinators } = await client.request(findCoordinator, 4, {
      keyType: 1,
      coordinatorKeys: [transactionalId],
    });
    if (coordinators[0]?.errorCode !== ErrorCode.NONE) continue;
    const { transactionStates } = await client.request(describeTransactions, 0, {
      transactionalIds: [transactionalId],
    });
    const code = transactionStates[0]?.errorCode;
    if (code === ErrorCode.NONE || code === ErrorCode.TRANSACTIONAL_ID_NOT_FOUND) return;
  }
}

/** What a reader gets of a partition from its start: the values of data records, without those that it is told are aborted. */
export async function readValues(
  client: RawClient,
  { topic = "orders", partition = 0, isCommitted = true } = {},
): Promise<{ readonly values: readonly string[]; readonly lastStableOffset: number; readonly highWatermark: number }> {
  const values: string[] = [];
  for (let offset = 0; ;) {
    const answer = await fetchFrom(client, { topic, partition, offset, isolationLevel: isCommitted ? 1 : 0 });
    if (answer.errorCode !== ErrorCode.NONE) throw new Error(`${topic}-${partition}: ${errorName(answer.errorCode)}`);
    const aborted = [...(answer.abortedTransactions ?? [])].toSorted((a, b) => a.firstOffset - b.firstOffset);
    const abortedNow = new Set<number>();
    const from = offset;
    for (const batch of batchesIn(answer.records ?? Buffer.alloc(0))) {
      while ((aborted[0]?.firstOffset ?? Infinity) <= batch.baseOffset) abortedNow.add(aborted.shift()!.producerId);
      offset = batch.lastOffset + 1;
      if (batch.isControl) {
        abortedNow.delete(batch.producerId);
        continue;
      }
      if (batch.isTransactional && abortedNow.has(batch.producerId)) continue;
      for (const { value } of readRecords(batch)) values.push(String(value));
    }
    const { lastStableOffset, highWatermark } = answer;
    const end = isCommitted ? lastStableOffset : highWatermark;
    if (offset === from && offset < end)
      throw new Error(`${topic}-${partition}: nothing is at ${offset}, below ${end}`);
    if (offset >= end) return { values, lastStableOffset, highWatermark };
  }
}
