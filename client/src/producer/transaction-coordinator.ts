import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { addOffsetsToTxn } from "kafka-protocol-ts/messages/25-add-offsets-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import type { ConsumedOffsets, NextOffset } from "../consumer/consumed-offsets.ts";
import { abortedError, brokerError, KafkaError } from "../errors.ts";
import type { CoordinatorKind, Wire } from "../network/wire.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { ProducerIdentity } from "./identity.ts";

/**
 * How transactions are spoken of: 1 names each partition before it is written to; 2 (KIP-890) leaves that to the brokers,
 * and every end gives another epoch.
 */
export type TransactionVersion = 1 | 2;

/** The last versions that mean version 1. */
const produceV1 = 11;
const addPartitionsV1 = 3;
const endTxnV1 = 4;
const txnOffsetCommitV1 = 4;
/** From here on InitProducerId takes the epoch that one had (KIP-360). */
const initWithEpoch = 3;

export const produceVersionMax: Readonly<Record<TransactionVersion, number>> = { 1: produceV1, 2: produce.versions[1] };

/** The coordinator is still busy with the transaction before: a matter of milliseconds. */
const backoffMsMin = 20;

const isFencing: ReadonlySet<number> = new Set([ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH]);
const isOtherCoordinator: ReadonlySet<string> = new Set(["NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE"]);
const isFatal: ReadonlySet<number> = new Set([
  ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  ErrorCode.INVALID_TRANSACTION_TIMEOUT,
  ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
]);

/** How an EndTxn ended that did not succeed. */
export class EndFailure extends Error {
  override readonly name = "EndFailure";
  override readonly cause: KafkaError;
  /** An attempt got no answer: it may have been heard. */
  readonly isUncertain: boolean;
  constructor(cause: KafkaError, isUncertain: boolean) {
    super(cause.message, { cause });
    this.cause = cause;
    this.isUncertain = isUncertain;
  }
}

/** What a producer says to the coordinator of its transactional id, and to that of a group: each until it is answered. */
export class TransactionCoordinator {
  readonly transactionalId: string;
  readonly #wire: Wire;
  readonly #transactionTimeoutMs: number;
  readonly #timeoutMs: number;
  #stopped: KafkaError | null = null;

  constructor(
    wire: Wire,
    options: { readonly transactionalId: string; readonly transactionTimeoutMs: number; readonly timeoutMs: number },
  ) {
    this.#wire = wire;
    this.transactionalId = options.transactionalId;
    this.#transactionTimeoutMs = options.transactionTimeoutMs;
    this.#timeoutMs = options.timeoutMs;
  }

  /** Asks nobody any more. */
  stop(error: KafkaError): void {
    this.#stopped ??= error;
  }

  /** Which version the cluster has agreed upon. */
  async version(): Promise<TransactionVersion> {
    const { transactionalId } = this;
    const retry = { what: `the coordinator of ${transactionalId}`, timeoutMs: this.#timeoutMs };
    const connection = await this.#wire.retrying(retry, async () =>
      this.#wire.coordinator("transaction", transactionalId),
    );
    const isVersion2 =
      connection.featureLevel("transaction.version") >= 2 &&
      connection.serves(produce, produceV1 + 1) &&
      connection.serves(endTxn, endTxnV1 + 1) &&
      connection.serves(txnOffsetCommit, txnOffsetCommitV1 + 1);
    return isVersion2 ? 2 : 1;
  }

  /**
   * The identity to go on with. What an earlier producer of the id left open is aborted.
   *
   * @param known is the one that this producer has: then only its own next epoch is asked for, and another producer of the
   *   id is noticed. Null fences every other.
   */
  async init(known: ProducerIdentity | null): Promise<ProducerIdentity> {
    const { transactionalId } = this;
    const transactionTimeoutMs = this.#transactionTimeoutMs;
    const answer = await this.#ask("transaction", transactionalId, {
      api: initProducerId,
      message: (version: number) => {
        const plain = { transactionalId, transactionTimeoutMs };
        if (known === null) return plain;
        // Without an epoch it would fence whoever has fenced us.
        if (version < initWithEpoch) throw this.#fenced("and this cluster cannot tell whether by another producer");
        return { ...plain, ...known };
      },
      codes: ({ errorCode }) => [errorCode],
    });
    return { producerId: answer.producerId, producerEpoch: answer.producerEpoch };
  }

  /** @param signal ends the asking, but not the waiting for an answer: what follows must not overtake it. */
  async addPartitions(
    identity: ProducerIdentity,
    partitions: readonly TopicPartition[],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#ask("transaction", this.transactionalId, {
      api: addPartitionsToTxn,
      versionMax: addPartitionsV1,
      message: {
        v3AndBelowTransactionalId: this.transactionalId,
        v3AndBelowProducerId: identity.producerId,
        v3AndBelowProducerEpoch: identity.producerEpoch,
        v3AndBelowTopics: Array.from(byTopic(partitions), ([name, each]) => ({
          name,
          partitions: each.map(({ partition }) => partition),
        })),
        transactions: [],
      },
      codes: ({ resultsByTopicV3AndBelow }) =>
        resultsByTopicV3AndBelow.flatMap(({ resultsByPartition }) =>
          resultsByPartition.map(({ partitionErrorCode }) => partitionErrorCode),
        ),
      signal,
    });
  }

  /**
   * What a member of a group has consumed; in version 1 the group is named to the transaction before.
   *
   * @param options signal is as that of `addPartitions`.
   */
  async commitOffsets(
    identity: ProducerIdentity,
    { group, offsets }: ConsumedOffsets,
    { version, signal }: { readonly version: TransactionVersion; readonly signal: AbortSignal },
  ): Promise<void> {
    const { transactionalId } = this;
    const { groupId } = group;
    if (version === 1) {
      await this.#ask("transaction", transactionalId, {
        api: addOffsetsToTxn,
        message: { transactionalId, ...identity, groupId },
        codes: ({ errorCode }) => [errorCode],
        signal,
      });
    }
    await this.#ask("group", groupId, {
      api: txnOffsetCommit,
      ...(version === 1 ? { versionMax: txnOffsetCommitV1 } : {}),
      message: (spoken: number) => ({
        transactionalId,
        groupId,
        ...identity,
        // KIP-447: by these the group's coordinator knows a member that has lost its partitions.
        ...(spoken >= 3
          ? { generationId: group.epoch, memberId: group.memberId, groupInstanceId: group.instanceId }
          : {}),
        topics: Array.from(byTopic(offsets), ([name, each]) => ({
          name,
          partitions: each.map(({ partition, offset, leaderEpoch, metadata }) => ({
            partitionIndex: partition,
            committedOffset: offset,
            committedLeaderEpoch: leaderEpoch,
            committedMetadata: metadata ?? "",
          })),
        })),
      }),
      codes: ({ topics }) => topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode)),
      signal,
    });
  }

  /**
   * Ends the transaction; gives the identity to go on with.
   *
   * @throws EndFailure
   */
  async end(
    identity: ProducerIdentity,
    { isCommit, version }: { readonly isCommit: boolean; readonly version: TransactionVersion },
  ): Promise<ProducerIdentity> {
    const { transactionalId } = this;
    const attempts = { isUncertain: false };
    try {
      const { producerId, producerEpoch } = await this.#ask("transaction", transactionalId, {
        api: endTxn,
        ...(version === 1 ? { versionMax: endTxnV1 } : {}),
        message: { transactionalId, ...identity, committed: isCommit },
        codes: ({ errorCode }) => [errorCode],
        attempts,
      });
      const isSame = producerEpoch < 0 || version === 1;
      return isSame ? identity : { producerId, producerEpoch };
    } catch (error) {
      throw new EndFailure(error as KafkaError, attempts.isUncertain);
    }
  }

  #fenced(detail: string, cause?: KafkaError): KafkaError {
    const sentence = `this producer of the transactional id ${this.transactionalId} was fenced, ${detail}: give each producer an id of its own`;
    return new KafkaError("PRODUCER_FENCED", sentence, {
      fatal: true,
      ...(cause === undefined ? {} : { cause, broker: cause.broker }),
    });
  }

  /** Until it succeeds, fails for good, or the time is over. */
  async #ask<Req, Res, ReqInput, ResInput>(
    kind: CoordinatorKind,
    key: string,
    ask: {
      readonly api: Api<Req, Res, ReqInput, ResInput>;
      readonly message: ReqInput | ((version: number) => ReqInput);
      readonly codes: (answer: Res) => readonly number[];
      readonly versionMax?: number;
      readonly attempts?: { isUncertain: boolean };
      readonly signal?: AbortSignal;
    },
  ): Promise<Res> {
    const what = `${ask.api.name} of transactional id ${this.transactionalId}`;
    return this.#wire.retrying({ what, timeoutMs: this.#timeoutMs, backoffMsMin }, async () => {
      if (this.#stopped !== null) throw this.#stopped;
      if (ask.signal?.aborted === true) throw abortedError(ask.signal, what);
      const connection = await this.#wire.coordinator(kind, key);
      try {
        const sent = connection.request(
          ask.api,
          ask.message,
          ask.versionMax === undefined ? {} : { versionMax: ask.versionMax },
        );
        const answer = await this.#answerOf(sent, ask.attempts);
        this.#check(ask.codes(answer), what, connection.name);
        return answer;
      } catch (error) {
        const isLost = error instanceof KafkaError && error.retriable && !connection.isOpen;
        if (isLost || (error instanceof KafkaError && isOtherCoordinator.has(error.code)))
          this.#wire.forgetCoordinator(kind, key);
        throw error;
      }
    });
  }

  async #answerOf<Res>(sent: Promise<Res>, attempts: { isUncertain: boolean } | undefined): Promise<Res> {
    if (attempts === undefined) return sent;
    const before = attempts.isUncertain;
    // As long as there is no answer, and for good where there is none.
    attempts.isUncertain = true;
    const answer = await sent;
    attempts.isUncertain = before;
    return answer;
  }

  /** The gravest of the codes is thrown. */
  #check(codes: readonly number[], what: string, broker: string): void {
    const failures = codes.filter((code) => code !== ErrorCode.NONE);
    if (failures.length === 0) return;
    const fencing = failures.find((code) => isFencing.has(code));
    if (fencing !== undefined)
      throw this.#fenced("since another one of the same id has begun", brokerError(fencing, what, null, { broker }));
    // Where one partition is refused, the others are not tried.
    const told = failures.filter((code) => code !== ErrorCode.OPERATION_NOT_ATTEMPTED);
    const errors = (told.length > 0 ? told : failures).map((code) =>
      brokerError(code, what, null, { broker, fatal: isFatal.has(code) }),
    );
    throw errors.find(({ fatal }) => fatal) ?? errors.find(({ retriable }) => !retriable) ?? errors[0];
  }
}

function byTopic<Each extends TopicPartition | NextOffset>(items: readonly Each[]): Map<string, Each[]> {
  return Map.groupBy(items, ({ topic }) => topic);
}
