import type { Clock } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { ProduceResponse } from "kafka-protocol-ts/messages/00-produce";
import { brokerError, KafkaError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import { AnswerReader, answers } from "./answers.ts";
import type { PartitionAnswer } from "./answers.ts";
import type { Batch } from "./batch.ts";
import { noIdentity } from "./identity.ts";
import type { Lane } from "./lane.ts";
import type { Settings } from "./options.ts";
import type { Entry } from "./produce-request.ts";
import type { SenderHost, TransactionalSending } from "./sender-host.ts";
import { halvesOf } from "./split.ts";

/**
 * What becomes of batches whose request has ended: they are stored, split, refused for good, or go again. Their lanes know
 * afterwards; when something leaves next is the sender's to say.
 */
export class Outcomes {
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #settings: Settings;
  readonly #transaction: TransactionalSending | null;
  readonly #host: SenderHost;

  constructor(
    wire: Wire,
    parts: {
      readonly settings: Settings;
      readonly transaction: TransactionalSending | null;
      readonly host: SenderHost;
    },
  ) {
    this.#wire = wire;
    this.#clock = wire.world.clock;
    this.#settings = parts.settings;
    this.#transaction = parts.transaction;
    this.#host = parts.host;
  }

  /** The request was answered. @param answer is null under acks 0. */
  answered(entries: readonly Entry[], answer: ProduceResponse | null): void {
    const nowMs = this.#clock.monotonicMs();
    const reader = answer === null ? null : new AnswerReader(answer);
    for (const entry of entries) {
      const { lane, batch, topic, topicId } = entry;
      if (reader === null) {
        this.#onStored(entry, -1, nowMs);
        continue;
      }
      const part = reader.next(topic.name, topicId, lane.partition);
      if (part === null) {
        const sentence = `the answer to Produce does not mention ${lane.name}`;
        this.broken(entry, new KafkaError("CORRUPT_MESSAGE", sentence, { retriable: true }));
      } else if (part.errorCode === ErrorCode.NONE) this.#onStored(entry, part.baseOffset, nowMs);
      // An earlier attempt was stored, so long ago that the broker has forgotten where.
      else if (part.errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) this.#onStored(entry, -1, nowMs);
      else {
        lane.answered(batch);
        if (!lane.isDetached) this.#onRefused(entry, part, answer?.nodeEndpoints ?? []);
      }
    }
  }

  #onStored({ lane, batch }: Entry, baseOffset: number, nowMs: number): void {
    lane.answered(batch);
    lane.stored(batch, nowMs);
    if (!batch.isOver) this.#host.delivered(lane, batch, baseOffset);
  }

  /** No word on what became of it. */
  broken({ lane, batch }: Entry, error: KafkaError): void {
    lane.answered(batch);
    batch.isUncertain = true;
    if (lane.isDetached) return;
    if (error.retriable) this.#tryAgain(lane, error, { isLeaderStale: true });
    else this.#fail(lane, batch, error);
  }

  #onRefused({ lane, batch }: Entry, part: PartitionAnswer, endpoints: ProduceResponse["nodeEndpoints"]): void {
    const { errorCode, errorMessage, currentLeader } = part;
    const error = brokerError(errorCode, lane.name, errorMessage);
    if (answers.mayBeStored.has(errorCode)) batch.isUncertain = true;
    if (error.retriable) {
      const isLearned =
        this.#wire.metadata.learnLeader(lane.topic.name, lane.partition, currentLeader, endpoints) ||
        (answers.isOfTopic.has(errorCode) && this.#isLedElsewhere(lane));
      this.#tryAgain(lane, error, { isLeaderStale: answers.isOfTopic.has(errorCode) && !isLearned, isLearned });
      return;
    }
    const isNumbered = batch.baseSequence >= 0;
    // Behind one that goes again this one was out of order, or will be asked about again in its turn.
    if (isNumbered && !lane.isFirst(batch)) {
      lane.again();
      return;
    }
    if (answers.isTooLarge.has(errorCode) && batch.recordsCount > 1 && !batch.isOver) this.#split(lane, batch);
    else if (isNumbered && answers.hasLostTrack.has(errorCode) && lane.isQuiet) lane.again();
    else if (isNumbered && answers.hasLostTrack.has(errorCode) && this.#transaction === null)
      this.#onLostTrack(lane, error);
    else this.#fail(lane, batch, error);
  }

  /** By what an earlier answer has told: the others that were on their way to the same broker bring no news. */
  #isLedElsewhere({ topic, partition, nodeId }: Lane): boolean {
    const leaderId = this.#wire.metadata.topic(topic.name)?.partitions[partition]?.leaderId ?? -1;
    return leaderId >= 0 && leaderId !== nodeId;
  }

  #onLostTrack(lane: Lane, error: KafkaError): void {
    const what = { partition: lane.name, error };
    this.#wire.logger.warn(
      "a partition does not follow the producer's sequences; it goes on with the next epoch",
      what,
    );
    // At once, unless that was of no use.
    lane.failuresCount = lane.lastError?.code === error.code ? lane.failuresCount + 1 : 0;
    lane.lastError = error;
    lane.isLeaderStale = true;
    const sentence = `${error.message} These records may have been stored or not.`;
    const failure = new KafkaError(error.code, sentence, { cause: error });
    for (const batch of lane.lostTrack()) this.#host.failed(lane, batch, failure);
  }

  #split(lane: Lane, batch: Batch): void {
    const halves = halvesOf(batch, this.#settings);
    const parts = batch.split(halves, lane.identity ?? noIdentity);
    // What comes next should not have to be split again.
    const largestBytes = Math.max(halves[0].sizeBytes, halves[1].sizeBytes);
    lane.topic.batchBytesMax = Math.min(lane.topic.batchBytesMax, largestBytes);
    lane.replace(batch, parts);
  }

  #fail(lane: Lane, batch: Batch, error: KafkaError): void {
    const isOver = batch.isOver;
    if (batch.baseSequence >= 0) this.#transaction?.dropped(error);
    lane.refused(batch);
    if (!isOver) this.#host.failed(lane, batch, error);
  }

  #tryAgain(
    lane: Lane,
    error: KafkaError,
    { isLeaderStale, isLearned = false }: { readonly isLeaderStale: boolean; readonly isLearned?: boolean },
  ): void {
    lane.lastError = error;
    lane.isLeaderStale ||= isLeaderStale;
    if (isLearned) lane.isLeaderStale = false;
    // Who is told where to go need not wait, if it is not sent back and forth. Requests that break together fail once.
    else lane.failuresCount = lane.isQuiet ? Math.max(1, lane.failuresCount) : lane.failuresCount + 1;
    lane.again();
  }
}
