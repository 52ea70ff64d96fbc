import { must } from "@millrace/base/assert";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import type { EndTxnRequest } from "kafka-protocol-ts/messages/26-end-txn";
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import type { TxnOffsetCommitRequest } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import type { FakeBroker } from "./fake-broker.ts";
import type { Attempt, FakeCluster } from "./fake-cluster.ts";

/** Instead of the coordinator's own answer: a code; or none, with the connection broken before or after it was done. */
export type Trouble = number | "lost" | "done, and lost";

interface Id {
  producerId: number;
  epoch: number;
  /** Of the same producer, where its next one may not have been heard. */
  lastEpoch: number;
  state: "empty" | "ongoing" | "committed" | "aborted";
  readonly partitions: Set<string>;
  readonly groups: Set<string>;
}

/** Coordinators of transactions and groups on a fake cluster, as far as producers can see them. */
export class FakeTransactions {
  /** Who coordinates everything. */
  coordinatorId = 0;
  readonly ids = new Map<string, Id>();
  /** "group topic-partition" to the offset that was committed. */
  readonly offsets = new Map<string, number>();
  readonly commits: TxnOffsetCommitRequest[] = [];
  readonly #pending: (readonly [string, number])[] = [];
  readonly #troubles = new Map<string, Trouble[]>();
  readonly #fake: FakeCluster;
  readonly #version: 1 | 2;
  /** Batches of ended transactions, and how those ended. */
  readonly #decided = new Map<Buffer, boolean>();
  #nextProducerId = 5_000;

  constructor(fake: FakeCluster, version: 1 | 2) {
    this.#fake = fake;
    this.#version = version;
    fake.refuse = (attempt) => this.admit(attempt);
    for (const [nodeId, broker] of fake.brokers.entries()) this.#serve(broker, nodeId);
  }

  /** The next answers of this API. */
  trouble(api: string, ...troubles: readonly Trouble[]): void {
    this.#troubles.set(api, [...(this.#troubles.get(api) ?? []), ...troubles]);
  }

  /** No more troubles. */
  calm(): void {
    this.#troubles.clear();
  }

  /** What a reader of committed records sees. */
  committed(topic: string, partition = 0): (string | null)[] {
    const { log } = must(this.#fake.topics.get(topic)?.partitions[partition], "the partition");
    return log
      .filter((bytes) => this.#decided.get(bytes) === true)
      .flatMap((bytes) => [...batchesIn(bytes)])
      .flatMap((batch) => readRecords(batch).map(({ value }) => value?.toString() ?? null));
  }

  /** The coordinator ends what is open for too long. */
  timeOut(transactionalId: string): void {
    const id = must(this.ids.get(transactionalId), transactionalId);
    this.#end(id, false);
    id.lastEpoch = id.epoch;
    this.#raise(id);
  }

  /** What a leader says of a batch. */
  readonly admit = (attempt: Attempt): number => {
    const { producerId, producerEpoch, isTransactional, version, partition } = attempt;
    if (!isTransactional) return ErrorCode.NONE;
    const id = [...this.ids.values()].find((each) => each.producerId === producerId);
    if (id === undefined) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    if (producerEpoch !== id.epoch) return ErrorCode.INVALID_PRODUCER_EPOCH;
    const addsByItself = this.#version === 2 && version >= 12;
    if (addsByItself) {
      id.state = "ongoing";
      id.partitions.add(partition);
    }
    const isIn = id.state === "ongoing" && id.partitions.has(partition);
    return isIn ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE;
  };

  #serve(broker: FakeBroker, nodeId: number): void {
    const level = this.#version;
    const features = [{ name: "transaction.version", minVersionLevel: level, maxVersionLevel: level }];
    broker.on(apiVersions, () => ({
      errorCode: 0,
      apiKeys: broker.served,
      finalizedFeatures: features,
      finalizedFeaturesEpoch: 1,
    }));
    broker.on(findCoordinator, ({ message }) => ({
      coordinators: message.coordinatorKeys.map((key) => {
        const { host, port } = must(this.#fake.brokers[this.coordinatorId], "a coordinator").address;
        return { key, nodeId: this.coordinatorId, host, port, errorCode: 0, errorMessage: null };
      }),
    }));
    const answer = async (api: string, work: () => number): Promise<number> => {
      if (nodeId !== this.coordinatorId) return ErrorCode.NOT_COORDINATOR;
      const trouble = this.#troubles.get(api)?.shift();
      if (typeof trouble === "number") return trouble;
      const code = trouble === "lost" ? 0 : work();
      if (trouble !== undefined) {
        broker.cut();
        await new Promise<never>(() => {});
      }
      return code;
    };
    broker.on(initProducerId, async ({ message }) => {
      const transactionalId = message.transactionalId ?? "";
      const errorCode = await answer("InitProducerId", () => this.#init(transactionalId, message));
      const id = this.ids.get(transactionalId);
      if (errorCode !== 0 || id === undefined) return { throttleTimeMs: 0, errorCode, producerEpoch: -1 };
      return { throttleTimeMs: 0, errorCode, producerId: id.producerId, producerEpoch: id.epoch };
    });
    broker.on(addPartitionsToTxn, async ({ message }) => {
      const names = message.v3AndBelowTopics.flatMap(({ name, partitions }) =>
        partitions.map((each) => `${name}-${each}`),
      );
      const code = await answer("AddPartitionsToTxn", () =>
        this.#join(message.v3AndBelowTransactionalId, message.v3AndBelowProducerEpoch, (id) => {
          for (const name of names) id.partitions.add(name);
        }),
      );
      return {
        throttleTimeMs: 0,
        resultsByTransaction: [],
        resultsByTopicV3AndBelow: message.v3AndBelowTopics.map(({ name, partitions }) => ({
          name,
          resultsByPartition: partitions.map((partitionIndex) => ({ partitionIndex, partitionErrorCode: code })),
        })),
      };
    });
    broker.on(addOffsetsToTxn, async ({ message }) => ({
      throttleTimeMs: 0,
      errorCode: await answer("AddOffsetsToTxn", () =>
        this.#join(message.transactionalId, message.producerEpoch, (id) => id.groups.add(message.groupId)),
      ),
    }));
    broker.on(txnOffsetCommit, async ({ message, version }) => {
      const errorCode = await answer("TxnOffsetCommit", () => this.#commitOffsets(message, version));
      return {
        throttleTimeMs: 0,
        topics: message.topics.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
        })),
      };
    });
    broker.on(endTxn, async ({ message, version }) => {
      const errorCode = await answer("EndTxn", () => this.#endTxn(message, version));
      const id = this.ids.get(message.transactionalId);
      if (errorCode !== 0 || id === undefined || version < 5) return { throttleTimeMs: 0, errorCode };
      return { throttleTimeMs: 0, errorCode, producerId: id.producerId, producerEpoch: id.epoch };
    });
  }

  #init(transactionalId: string, known: { readonly producerId: number; readonly producerEpoch: number }): number {
    const id = this.ids.get(transactionalId);
    if (id === undefined) {
      const producerId = this.#nextProducerId++;
      const empty = { state: "empty", partitions: new Set<string>(), groups: new Set<string>() } as const;
      this.ids.set(transactionalId, { producerId, epoch: 0, lastEpoch: -1, ...empty });
      return 0;
    }
    const isKnown = known.producerId >= 0;
    const isLast = isKnown && known.producerEpoch === id.lastEpoch;
    if (isKnown && (known.producerId !== id.producerId || !(isLast || known.producerEpoch === id.epoch)))
      return ErrorCode.PRODUCER_FENCED;
    if (id.state === "ongoing") {
      this.#end(id, false);
      this.#raise(id);
      id.lastEpoch = isKnown ? known.producerEpoch : -1;
      return ErrorCode.CONCURRENT_TRANSACTIONS;
    }
    id.state = "empty";
    if (isLast) return 0;
    id.lastEpoch = isKnown ? id.epoch : -1;
    this.#raise(id);
    return 0;
  }

  #join(transactionalId: string, epoch: number, join: (id: Id) => void): number {
    const id = this.ids.get(transactionalId);
    if (id === undefined) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    if (epoch !== id.epoch) return ErrorCode.PRODUCER_FENCED;
    id.state = "ongoing";
    join(id);
    return 0;
  }

  #commitOffsets(message: TxnOffsetCommitRequest, version: number): number {
    this.commits.push(message);
    const id = this.ids.get(message.transactionalId);
    if (id?.epoch !== message.producerEpoch) return ErrorCode.INVALID_PRODUCER_EPOCH;
    if (this.#version === 2 && version >= 5) {
      id.state = "ongoing";
      id.groups.add(message.groupId);
    }
    if (!id.groups.has(message.groupId)) return ErrorCode.INVALID_TXN_STATE;
    for (const { name, partitions } of message.topics)
      for (const { partitionIndex, committedOffset } of partitions)
        this.#pending.push([`${message.groupId} ${name}-${partitionIndex}`, committedOffset]);
    return 0;
  }

  #endTxn({ transactionalId, producerEpoch, committed }: EndTxnRequest, version: number): number {
    const id = this.ids.get(transactionalId);
    if (id === undefined) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    const isVersion2 = version >= 5;
    const wanted = committed ? "committed" : "aborted";
    const isAgain = isVersion2 && producerEpoch === id.lastEpoch && id.state !== "ongoing" && id.state !== "empty";
    if (isAgain) return id.state === wanted ? 0 : ErrorCode.INVALID_TXN_STATE;
    if (producerEpoch !== id.epoch) return ErrorCode.PRODUCER_FENCED;
    if (!isVersion2 && id.state === wanted) return 0;
    if (id.state !== "ongoing" && !(isVersion2 && !committed)) return ErrorCode.INVALID_TXN_STATE;
    this.#end(id, committed);
    if (isVersion2) {
      id.lastEpoch = id.epoch;
      this.#raise(id);
    }
    return 0;
  }

  #end(id: Id, isCommit: boolean): void {
    for (const { partitions } of this.#fake.topics.values()) {
      for (const { log } of partitions)
        for (const bytes of log)
          for (const { producerId } of batchesIn(bytes))
            if (producerId === id.producerId && !this.#decided.has(bytes)) this.#decided.set(bytes, isCommit);
    }
    if (isCommit) for (const [key, offset] of this.#pending) this.offsets.set(key, offset);
    this.#pending.length = 0;
    id.partitions.clear();
    id.groups.clear();
    id.state = isCommit ? "committed" : "aborted";
  }

  /** The next epoch, which the markers bring to the partitions. */
  #raise(id: Id): void {
    id.epoch++;
    for (const { partitions } of this.#fake.topics.values())
      for (const { producers } of partitions)
        if (producers.has(id.producerId)) producers.set(id.producerId, { epoch: id.epoch, batches: [] });
  }
}
