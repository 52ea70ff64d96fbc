import { must } from "@millrace/base/assert";
import type { Api } from "kafka-protocol-ts/api";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import type { Outcome } from "@millrace/broker/transactions/transaction";
import type { TestCluster } from "./test-cluster.ts";

/** Which versions a producer speaks: 1 names partitions before it writes to them, 2 does not (KIP-890). */
export type ProducerVersion = 1 | 2;

const retried: ReadonlySet<number> = new Set([
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.REQUEST_TIMED_OUT,
]);
const RETRY_MS = 10;

/** A transactional producer that looks for coordinators and leaders, and asks again where it is told to. Each call rejects with the name of another error. */
export class TestProducer {
  readonly #cluster: TestCluster;
  readonly #transactionalId: string;
  readonly #version: ProducerVersion;
  readonly #sequences = new Map<string, number>();
  producerId = -1;
  producerEpoch = -1;

  constructor(cluster: TestCluster, transactionalId: string, version: ProducerVersion) {
    this.#cluster = cluster;
    this.#transactionalId = transactionalId;
    this.#version = version;
  }

  async init(): Promise<void> {
    const body = { transactionalId: this.#transactionalId, transactionTimeoutMs: 60_000 };
    const given = await this.#asked(
      () => this.#toCoordinator(1, this.#transactionalId, initProducerId, 5, body),
      ({ errorCode }) => errorCode,
    );
    this.#goOn(given);
  }

  /** One batch of one record. */
  async send(topic: string, partition: number, value: string): Promise<void> {
    if (this.#version === 1) await this.#add(topic, partition);
    await this.sendUnnamed(topic, partition, value);
  }

  /** Without naming the partition before. */
  async sendUnnamed(topic: string, partition: number, value: string): Promise<void> {
    const place = `${topic}-${partition}`;
    const baseSequence = this.#sequences.get(place) ?? 0;
    const { producerId, producerEpoch } = this;
    const records = encodeBatch({
      records: [{ value: Buffer.from(value), timestamp: 1_700_000_000_000 }],
      producerId,
      producerEpoch,
      baseSequence,
      isTransactional: true,
    });
    const body = {
      transactionalId: this.#transactionalId,
      acks: -1,
      timeoutMs: 10_000,
      topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
    };
    await this.#asked(
      () => this.#toLeader(topic, partition, produce, this.#version === 1 ? 11 : 12, body),
      ({ responses }) => must(responses[0]?.partitionResponses[0], "each partition is answered").errorCode,
    );
    this.#sequences.set(place, baseSequence + 1);
  }

  async commitOffset(groupId: string, topic: string, offset: number): Promise<void> {
    const { producerId, producerEpoch } = this;
    const body = { transactionalId: this.#transactionalId, groupId, producerId, producerEpoch };
    if (this.#version === 1) {
      await this.#asked(
        () => this.#toCoordinator(1, this.#transactionalId, addOffsetsToTxn, 3, body),
        ({ errorCode }) => errorCode,
      );
    }
    const partitions = [{ partitionIndex: 0, committedOffset: offset, committedMetadata: null }];
    const commit = { ...body, generationId: -1, memberId: "", topics: [{ name: topic, partitions }] };
    await this.#asked(
      () => this.#toCoordinator(0, groupId, txnOffsetCommit, this.#version === 1 ? 3 : 5, commit),
      ({ topics }) => must(topics[0]?.partitions[0], "each partition is answered").errorCode,
    );
  }

  async end(outcome: Outcome): Promise<void> {
    const { producerId, producerEpoch } = this;
    const committed = outcome === "commit";
    const body = { transactionalId: this.#transactionalId, producerId, producerEpoch, committed };
    const ended = await this.#asked(
      () => this.#toCoordinator(1, this.#transactionalId, endTxn, this.#version === 1 ? 4 : 5, body),
      ({ errorCode }) => errorCode,
    );
    if (this.#version === 2) this.#goOn(ended);
  }

  /** When nothing of its transaction is left to be written. */
  async settled(): Promise<string> {
    for (;;) {
      const { transactionStates } = await this.#asked(
        () =>
          this.#toCoordinator(1, this.#transactionalId, describeTransactions, 0, {
            transactionalIds: [this.#transactionalId],
          }),
        (answer) => answer.transactionStates[0]?.errorCode ?? -1,
      );
      const { transactionState } = must(transactionStates[0], "each id is answered");
      if (!transactionState.startsWith("Prepare")) return transactionState;
      await this.#pause();
    }
  }

  async #add(topic: string, partition: number): Promise<void> {
    const body = {
      v3AndBelowTransactionalId: this.#transactionalId,
      v3AndBelowProducerId: this.producerId,
      v3AndBelowProducerEpoch: this.producerEpoch,
      v3AndBelowTopics: [{ name: topic, partitions: [partition] }],
    };
    await this.#asked(
      () => this.#toCoordinator(1, this.#transactionalId, addPartitionsToTxn, 3, body),
      (answer) => answer.resultsByTopicV3AndBelow[0]?.resultsByPartition[0]?.partitionErrorCode ?? -1,
    );
  }

  #goOn({ producerId, producerEpoch }: { readonly producerId: number; readonly producerEpoch: number }): void {
    if (producerId !== this.producerId || producerEpoch !== this.producerEpoch) this.#sequences.clear();
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
  }

  async #asked<Res>(ask: () => Promise<Res | null>, codeOf: (answer: Res) => number): Promise<Res> {
    for (;;) {
      const answer = await ask();
      const code = answer === null ? null : codeOf(answer);
      if (answer !== null && code === ErrorCode.NONE) return answer;
      if (code !== null && !retried.has(code)) {
        const { producerId, producerEpoch } = this;
        throw new Error(
          `${errorName(code)} (version ${this.#version}, producer ${producerId}, epoch ${producerEpoch})`,
        );
      }
      await this.#pause();
    }
  }

  /** Null: it is not to be had at the moment. */
  async #toCoordinator<Req, Res, ReqInput, ResInput>(
    keyType: 0 | 1,
    key: string,
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    body: ReqInput,
  ): Promise<Res | null> {
    const asked = must(
      this.#cluster.brokers.find(({ isUp }) => isUp),
      "somebody is up",
    );
    const { coordinators } = await this.#cluster.call(asked.id, findCoordinator, 4, {
      keyType,
      coordinatorKeys: [key],
    });
    const found = must(coordinators[0], "each key is answered");
    return found.errorCode === ErrorCode.NONE ? this.#to(found.nodeId, api, version, body) : null;
  }

  async #toLeader<Req, Res, ReqInput, ResInput>(
    topic: string,
    partition: number,
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    body: ReqInput,
  ): Promise<Res | null> {
    const leader = this.#cluster.leaderOf(topic, partition);
    return leader === -1 ? null : this.#to(leader, api, version, body);
  }

  /** Null also where the broker has gone before it answered: its answer is lost. */
  async #to<Req, Res, ReqInput, ResInput>(
    brokerId: number,
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    body: ReqInput,
  ): Promise<Res | null> {
    const broker = this.#cluster.broker(brokerId);
    if (!broker.isUp) return null;
    const answer = await this.#cluster.call(brokerId, api, version, body);
    return broker.isUp ? answer : null;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#cluster.clock.schedule(RETRY_MS, resolve));
  }
}
