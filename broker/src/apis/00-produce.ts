/**
 * Produce v3–v13 (advertised from 0: KAFKA-18659). v12 adds partitions to the transaction by itself (KIP-890), v13 names topics by
 * id. A batch stays bytes from the frame to the disk.
 * Phase one ends when every batch has its offset; the answer leaves when all of them are as durable as acks asks.
 * The first batch of a transaction in a partition waits until the transaction coordinator has let it in.
 */
import { produce } from "kafka-protocol-ts/messages/00-produce";
import type { ProduceRequest, ProduceResponseInput } from "kafka-protocol-ts/messages/00-produce";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { Result } from "@millrace/base/result";
import { analyzeBatches } from "@millrace/storage/validation";
import type { AnalyzedBatches } from "@millrace/storage/validation";
import type { AppendFailure } from "@millrace/storage/append-failure";
import type { Offset } from "@millrace/storage/types";
import { codeOfAppendFailure, codeOfCommitFailure } from "../failures.ts";
import { isInternalTopic } from "../metadata/topics.ts";
import type { CommitFailure, Partition } from "../partitions/partition.ts";
import type { TransactionGuard } from "../partitions/transaction-guards.ts";
import type { Services } from "../services.ts";
import { refusalOfAdmission, refusalOfAppend } from "../partitions/producer-refusals.ts";
import type { ProducerRefusalKind } from "../partitions/producer-refusals.ts";
import type { AdmissionRequest } from "../transactions/admission.ts";
import type { TransactionRequestFailure } from "../transactions/coordinator.ts";
import { codeOfAdmission } from "../transactions/failures.ts";
import type { TransactionSupport } from "../transactions/failures.ts";
import { CloseConnection, noAnswer, twoPhaseHandler } from "./handler.ts";
import type { Handler, RequestContext, TwoPhases } from "./handler.ts";

type TopicData = ProduceRequest["topicData"][number];
type PartitionData = TopicData["partitionData"][number];
type TopicAnswer = ProduceResponseInput["responses"][number];
type PartitionAnswer = TopicAnswer["partitionResponses"][number];
type Analysis = Result<AnalyzedBatches, AppendFailure>;

/** One partition of the request on its way: analysed, then appended, then answered. */
interface Entry {
  readonly data: PartitionData;
  readonly partition: Partition | null;
  analysis: Analysis | Promise<Analysis> | null;
  /** Of the first batch of a transaction in its partition, from before the coordinator is asked until it is appended. */
  guard: TransactionGuard | null;
  /** In which the guard was taken: another leader may have ended the transaction since, and the guard does not know. */
  guardEpoch: number;
  answer: Writable<PartitionAnswer>;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

export const produceHandler: Handler = twoPhaseHandler(
  produce,
  (services, request, context): TwoPhases<ProduceResponseInput> => {
    const isAcksLegal = request.acks === -1 || request.acks === 0 || request.acks === 1;
    const topics = request.topicData.map((topic) => ({
      topic,
      entries: topic.partitionData.map((data) =>
        isAcksLegal
          ? examine(services, request, topic, data, context)
          : refusedEntry(data, ErrorCode.INVALID_REQUIRED_ACKS, `acks is ${request.acks}; -1, 0 and 1 are legal`),
      ),
    }));
    const entries = topics.length === 1 ? (topics[0]?.entries ?? []) : topics.flatMap((each) => each.entries);
    const slow = entries.filter((entry) => entry.analysis instanceof Promise);
    const appended = new Pending(services, request);
    const appendAll = (): void => {
      for (const entry of entries) append(services, entry, appended);
      appended.close();
    };
    const begun = (): Promise<void> | null => beginTransactions(services, request, context, entries);
    const admitted = slow.length === 0 ? begun() : settleAnalyses(slow).then(begun);
    const analysed = admitted === null ? null : admitted.then(appendAll);
    if (analysed === null) appendAll();
    const inOrder = isBackedUp(services)
      ? (analysed ?? Promise.resolve()).then(() => appended.whenSettled())
      : analysed;
    const respond = (): ProduceResponseInput | typeof noAnswer => {
      if (request.acks === 0) return closeOnError(topics);
      return {
        responses: topics.map(({ topic, entries: ofTopic }) => ({
          name: topic.name,
          topicId: topic.topicId,
          partitionResponses: ofTopic.map((entry) => entry.answer),
        })),
      };
    };
    if (request.acks === 0)
      return { inOrder, answer: (analysed ?? Promise.resolve()).then(respond), mayReuseRequest: () => false };
    return { inOrder, answer: appended.done.then(respond), mayReuseRequest: () => appended.isAllWritten };
  },
  { versions: [3, 13] },
);

/**
 * What waits for the disk is memory too, also where nobody waits for an answer (acks=0, a timeout). Where it is too much, a
 * connection's next request does not begin before this one has come to its end, and the connection is not read on.
 */
function isBackedUp({ partitions, configs }: Services): boolean {
  const limitBytes = configs.broker["queued.max.request.bytes"];
  return limitBytes >= 0 && partitions.queuedBytes > limitBytes;
}

/** Finds the partition and reads the batches in place; nothing changes yet. */
function examine(
  services: Services,
  request: ProduceRequest,
  topic: TopicData,
  data: PartitionData,
  context: RequestContext,
): Entry {
  const found =
    context.version >= 13
      ? services.partitions.leadingById(topic.topicId, data.index)
      : services.partitions.leading(topic.name, data.index);
  if (!found.ok) return refusedEntry(data, found.failure, found.message);
  const partition = found.value;
  if (isInternalTopic(partition.topic) && context.clientId !== "__admin_client") {
    return refusedEntry(
      data,
      ErrorCode.INVALID_TOPIC_EXCEPTION,
      `${partition.topic} is an internal topic: clients do not write to it`,
    );
  }
  if (data.records === null) return refusedEntry(data, ErrorCode.INVALID_RECORD, "the request holds no records");
  const isEnough = request.acks !== -1 || partition.hasEnoughReplicas;
  if (!isEnough)
    return refusedEntry(data, ErrorCode.NOT_ENOUGH_REPLICAS, "fewer in-sync replicas than min.insync.replicas");
  return {
    data,
    partition,
    guard: null,
    guardEpoch: -1,
    analysis: analyzeBatches(data.records, {
      ...services.partitions.rulesOf(partition.topic).validation,
      produceVersion: context.version,
      isTransactionalAllowed: request.transactionalId !== null,
      nowMs: services.clock.now(),
    }),
    answer: emptyAnswer(data.index),
  };
}

async function settleAnalyses(slow: readonly Entry[]): Promise<void> {
  for (const entry of slow) entry.analysis = await entry.analysis;
}

/**
 * Asks the transaction coordinator about each batch that begins a transaction in its partition: null where there is none, as in
 * nearly every request. A batch that is not let in has its answer then.
 */
function beginTransactions(
  services: Services,
  request: ProduceRequest,
  { version }: RequestContext,
  entries: readonly Entry[],
): Promise<void> | null {
  const { transactionalId } = request;
  if (transactionalId === null) return null;
  const beginning: Beginning[] = [];
  let first: RecordBatchView | null = null;
  for (const entry of entries) {
    const { partition, analysis } = entry;
    if (partition === null || analysis === null || analysis instanceof Promise || !analysis.ok) continue;
    const [batch] = analysis.value.batches;
    if (batch === undefined || !batch.isTransactional) continue;
    first ??= batch;
    if (batch.producerId !== first.producerId || batch.producerEpoch !== first.producerEpoch) {
      const message = `${transactionalId} has one producer id and epoch at a time`;
      remember(services, partition, batch, "producer-id-mapping", message);
      exclude(entry, ErrorCode.INVALID_PRODUCER_ID_MAPPING, message);
    } else if (partition.mayBeginTransaction(batch.producerId, batch.producerEpoch)) {
      beginning.push({ entry, partition, batch });
    }
  }
  if (first === null || beginning.length === 0) return null;
  const support = version >= 12 ? "implicit" : version === 11 ? "abortable" : "none";
  for (const each of beginning) takeGuard(each, support);
  if (support !== "implicit" && !services.configs.broker["transaction.partition.verification.enable"]) return null;
  const { producerId, producerEpoch } = first;
  return letIn(services, { transactionalId, producerId, producerEpoch, support }, beginning);
}

/** A batch that begins a transaction in its partition. */
interface Beginning {
  readonly entry: Entry;
  readonly partition: Partition;
  readonly batch: RecordBatchView;
}

function takeGuard({ entry, partition, batch }: Beginning, support: TransactionSupport): void {
  // Each transaction of version 2 has an epoch of its own, and each epoch begins with 0.
  const firstSequence = support === "implicit" ? 0 : batch.baseSequence;
  entry.guard = partition.guards.take(batch.producerId, firstSequence);
  entry.guardEpoch = partition.leaderEpoch;
}

/** Each marker that comes while the coordinator is asked is a reason to ask again: there are few of one producer. */
const ASKED_MAX = 5;

/** Most often the marker that comes in between is of the transaction before, which its producer does not wait for. */
async function letIn(
  services: Services,
  asking: Omit<AdmissionRequest, "partitions">,
  beginning: readonly Beginning[],
): Promise<void> {
  const { support } = asking;
  let asked = beginning;
  for (let count = 1; asked.length > 0; count++) {
    const partitions = asked.map(({ partition }) => partition);
    const admission = await services.transactions.admit({ ...asking, partitions });
    const again: Beginning[] = [];
    for (const each of asked) {
      const { entry, partition } = each;
      const failure = admission(partition);
      const isVoid = entry.guard !== null && !partition.guards.isOpen(entry.guard);
      if (failure === null && !isVoid) continue;
      if (entry.guard !== null) partition.guards.release(entry.guard);
      if (failure !== null) keepOut(services, asking, each, failure);
      else if (count === ASKED_MAX) keepOut(services, asking, each, "not-available");
      else {
        takeGuard(each, support);
        again.push(each);
      }
    }
    asked = again;
  }
}

function keepOut(
  services: Services,
  { transactionalId, support }: Omit<AdmissionRequest, "partitions">,
  { entry, partition, batch }: Beginning,
  failure: TransactionRequestFailure,
): void {
  const message = `${partition.topic}-${partition.index} is not part of an open transaction of ${transactionalId}: ${failure}`;
  remember(services, partition, batch, refusalOfAdmission(failure), message);
  exclude(entry, codeOfAdmission(failure, support), message);
}

/** For who asks why a producer does not get on. */
function remember(
  { clock, producerRefusals }: Services,
  { topic, index }: Partition,
  { producerId, producerEpoch }: RecordBatchView,
  kind: ProducerRefusalKind | null,
  message: string,
): void {
  if (kind !== null) producerRefusals.add(clock.now(), { producerId, producerEpoch, topic, index, kind, message });
}

/** It has its answer: nothing is appended. */
function exclude(entry: Entry, errorCode: ErrorCode, message: string): void {
  entry.analysis = null;
  entry.guard = null;
  entry.answer.errorCode = errorCode;
  entry.answer.errorMessage = message;
}

function append(services: Services, entry: Entry, appended: Pending): void {
  const { partition, analysis, answer, guard } = entry;
  if (partition === null || analysis === null || analysis instanceof Promise) return;
  if (!analysis.ok) return refuse(answer, analysis.failure);
  if (guard !== null && entry.guardEpoch !== partition.leaderEpoch) {
    partition.guards.release(guard);
    answer.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER;
    return;
  }
  const result = partition.append(analysis.value, "client", services.clock.now(), guard);
  if (guard !== null) partition.guards.release(guard);
  if (!result.ok) {
    if (result.failure === "not-leader") answer.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER;
    else {
      refuse(answer, result.failure);
      const [batch] = analysis.value.batches;
      if (batch !== undefined)
        remember(services, partition, batch, refusalOfAppend(result.failure.kind), result.failure.message);
    }
    return;
  }
  const info = result.value;
  answer.baseOffset = info.firstOffset;
  answer.logAppendTimeMs = info.logAppendTimeMs;
  answer.logStartOffset = info.logStartOffset;
  appended.wait(entry, partition, info.nextOffset);
}

function refuse(answer: Writable<PartitionAnswer>, failure: AppendFailure): void {
  answer.errorCode = codeOfAppendFailure[failure.kind];
  answer.errorMessage = failure.message ?? null;
  if (failure.recordErrors !== undefined) answer.recordErrors = failure.recordErrors;
  answer.baseOffset = -1;
}

function refusedEntry(data: PartitionData, errorCode: ErrorCode, message: string | undefined): Entry {
  return {
    data,
    partition: null,
    guard: null,
    guardEpoch: -1,
    analysis: null,
    answer: { ...emptyAnswer(data.index), errorCode, errorMessage: message ?? null },
  };
}

function emptyAnswer(index: number): Writable<PartitionAnswer> {
  return { index, errorCode: ErrorCode.NONE, baseOffset: -1, logAppendTimeMs: -1, logStartOffset: -1 };
}

/** acks=0 has no answer in which to name a failure: the connection says it (Kafka does the same). */
function closeOnError(
  topics: readonly { readonly topic: TopicData; readonly entries: readonly Entry[] }[],
): typeof noAnswer {
  for (const { topic, entries } of topics) {
    const bad = entries.find((entry) => entry.answer.errorCode !== ErrorCode.NONE);
    if (bad === undefined) continue;
    const { errorCode, errorMessage } = bad.answer;
    const why = typeof errorMessage === "string" ? `${errorName(errorCode)}: ${errorMessage}` : errorName(errorCode);
    throw new CloseConnection(`acks=0 and ${topic.name}-${bad.data.index} failed: ${why}`);
  }
  return noAnswer;
}

/** Counts the partitions whose batches are not yet durable; gives up when the request's time is over. */
class Pending {
  readonly done: Promise<void>;
  readonly #services: Services;
  readonly #request: ProduceRequest;
  readonly #waiting = new Set<Entry>();
  #resolve: () => void = () => {};
  #isClosed = false;
  /** False once a batch's end is unknown: it may still wait to be written. */
  isAllWritten = true;
  #forgetDeadline: (() => void) | null = null;
  /** Batches of which it is not known whether they became durable; a timeout does not change that. */
  #unsettled = 0;
  #onSettled: () => void = () => {};

  constructor(services: Services, request: ProduceRequest) {
    this.#services = services;
    this.#request = request;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  wait(entry: Entry, partition: Partition, nextOffset: Offset): void {
    this.#waiting.add(entry);
    this.#unsettled += 1;
    const settle = (failure: CommitFailure | null): void => {
      this.#unsettled -= 1;
      if (this.#unsettled === 0) this.#onSettled();
      if (!this.#waiting.delete(entry)) return;
      if (failure !== null) {
        this.isAllWritten = false;
        entry.answer.errorCode = codeOfCommitFailure[failure];
        entry.answer.baseOffset = -1;
      }
      if (this.#isClosed && this.#waiting.size === 0) this.#finish();
    };
    if (this.#request.acks === -1) partition.whenCommitted(nextOffset, settle, true);
    else partition.whenDurable(nextOffset, settle);
  }

  /** Of what was appended so far. */
  whenSettled(): Promise<void> {
    if (this.#unsettled === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onSettled = resolve;
    });
  }

  /** No more partitions will come. */
  close(): void {
    this.#isClosed = true;
    if (this.#waiting.size === 0) return this.#finish();
    this.#forgetDeadline = this.#services.partitions.deadlines.add(this.#request.timeoutMs, () => {
      this.isAllWritten = false;
      for (const entry of this.#waiting) {
        entry.answer.errorCode = ErrorCode.REQUEST_TIMED_OUT;
        entry.answer.baseOffset = -1;
      }
      this.#waiting.clear();
      this.#finish();
    });
  }

  #finish(): void {
    this.#forgetDeadline?.();
    this.#resolve();
  }
}
