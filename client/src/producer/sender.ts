import { Deque } from "@millrace/base/deque";
import type { Clock, Timer } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import type { ProduceRequestInput, ProduceResponse } from "kafka-protocol-ts/messages/00-produce";
import { asKafkaError, brokerError, KafkaError } from "../errors.ts";
import type { BrokerConnection } from "../network/broker-connection.ts";
import { timedOut } from "../network/retries.ts";
import type { Wire } from "../network/wire.ts";
import { AnswerReader, answers } from "./answers.ts";
import type { PartitionAnswer } from "./answers.ts";
import type { Batch } from "./batch.ts";
import { noIdentity } from "./identity.ts";
import type { Identities, ProducerIdentity } from "./identity.ts";
import type { Lane } from "./lane.ts";
import { int32Max } from "./options.ts";
import type { Settings } from "./options.ts";
import { produceRequest } from "./produce-request.ts";
import type { Entry } from "./produce-request.ts";
import { halvesOf } from "./split.ts";
import type { TopicLanes } from "./topic-lanes.ts";

/** Who gave the batches, and hears what became of them. */
export interface SenderHost {
  delivered(lane: Lane, batch: Batch, baseOffset: number): void;
  failed(lane: Lane, batch: Batch, error: KafkaError): void;
}

/** What a producer with a transactional id asks of its transaction. */
export interface TransactionalSending {
  readonly transactionalId: string;
  /** The last version of Produce that does not add partitions by itself, where those must be added before. */
  readonly produceVersionMax: number;
  /** Whether what is in the lane may leave; if not yet, it is offered again when it may. */
  admits(lane: Lane): boolean;
  /** A batch with numbers was dropped that the broker may lack, or have. */
  dropped(error: KafkaError): void;
}

/** What goes to one broker. */
interface Link {
  readonly nodeId: number;
  /** Lanes with something to send. */
  readonly lanes: Deque<Lane>;
  inFlightCount: number;
  isOpening: boolean;
  isTouched: boolean;
}

const requestsInFlightMax = 5;
const backoffMsMin = 100;
const backoffMsMax = 1_000;
/** The transaction before is still being ended: a matter of milliseconds. */
const concurrentBackoffMs = 20;
/** The broker gives up before we do, so that it can say so. */
const brokerTimeoutShare = 0.9;

/**
 * Brings batches to the leaders of their partitions: several partitions in one request, up to five requests on their way
 * to a broker. What may succeed later goes again, each lane by itself and in its order.
 */
export class Sender {
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #settings: Settings;
  readonly #identities: Identities;
  readonly #transaction: TransactionalSending | null;
  readonly #host: SenderHost;
  readonly #links = new Map<number, Link>();
  #touched: Link[] = [];
  /** Lanes with batches that are not settled. */
  readonly #active = new Set<Lane>();
  /** One timer for the first batch that may run out of time. */
  #deadline: Timer | null = null;
  #deadlineMs = Number.POSITIVE_INFINITY;
  #inFlightCount = 0;
  #idle: (() => void)[] = [];
  #stopped: KafkaError | null = null;

  constructor(
    wire: Wire,
    parts: {
      readonly settings: Settings;
      readonly identities: Identities;
      readonly transaction: TransactionalSending | null;
      readonly host: SenderHost;
    },
  ) {
    this.#wire = wire;
    this.#clock = wire.world.clock;
    this.#settings = parts.settings;
    this.#identities = parts.identities;
    this.#transaction = parts.transaction;
    this.#host = parts.host;
  }

  get active(): Iterable<Lane> {
    return this.#active;
  }

  /** The lane has a batch that must be settled in time. */
  watch(lane: Lane, deadlineMs: number): void {
    this.#active.add(lane);
    if (deadlineMs < this.#deadlineMs) this.#lookAt(deadlineMs);
  }

  /** Puts the lane into the queue of its leader, if something of it may leave; `pump` sends it. */
  offer(lane: Lane): void {
    if (lane.isOffered || lane.isDetached || !lane.canSend(this.#settings.inFlightMax, this.#clock.monotonicMs()))
      return;
    if (this.#transaction?.admits(lane) === false) return;
    const leaderId = this.#leaderOf(lane);
    if (lane.isDetached) return;
    if (leaderId < 0 || lane.isLeaderStale) {
      this.#findLeader(lane);
      return;
    }
    // Its order over two connections nobody warrants.
    if (lane.inFlightCount > 0 && lane.nodeId !== leaderId) return;
    let link = this.#links.get(leaderId);
    if (link === undefined) {
      link = { nodeId: leaderId, lanes: new Deque(), inFlightCount: 0, isOpening: false, isTouched: false };
      this.#links.set(leaderId, link);
    }
    lane.isOffered = true;
    link.lanes.push(lane);
    this.#touch(link);
  }

  /** Sends what was offered. */
  pump(): void {
    // A lane whose leader has changed since it was offered moves from one link to another.
    while (this.#touched.length > 0) {
      const touched = this.#touched;
      this.#touched = [];
      for (const link of touched) {
        link.isTouched = false;
        this.#pumpLink(link);
      }
    }
  }

  /** Settles when nothing is on its way. */
  async whenIdle(): Promise<void> {
    while (this.#inFlightCount > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Everything that is not settled fails with this; what is in flight is not waited for. */
  failAll(error: KafkaError): void {
    for (const lane of this.#active) this.#failLane(lane, error);
  }

  /** Nothing is sent any more. */
  stop(error: KafkaError): void {
    if (this.#stopped !== null) return;
    this.#stopped = error;
    this.failAll(error);
    this.#deadline?.cancel();
    this.#deadline = null;
    for (const lane of this.#active) lane.rest?.cancel();
    this.#active.clear();
  }

  // --- Requests ---------------------------------------------------------------------------------------------------------

  #touch(link: Link): void {
    if (link.isTouched) return;
    link.isTouched = true;
    this.#touched.push(link);
  }

  #pumpLink(link: Link): void {
    if (link.isOpening || link.lanes.isEmpty || link.inFlightCount >= requestsInFlightMax) return;
    const connection = this.#wire.openBroker(link.nodeId);
    if (connection !== null && this.#identities.current !== null) this.#fill(link, connection);
    else void this.#open(link);
  }

  /** What lacks before anything can leave: a connection, an identity. */
  async #open(link: Link): Promise<void> {
    link.isOpening = true;
    try {
      const connection = await this.#wire.broker(link.nodeId);
      if (this.#identities.current === null) await this.#identities.obtain();
      link.isOpening = false;
      if (connection.isOpen) this.#fill(link, connection);
      else this.#pumpLink(link);
      this.pump();
    } catch (error) {
      link.isOpening = false;
      this.#onUnreachable(link, asKafkaError(error));
    }
  }

  #onUnreachable(link: Link, error: KafkaError): void {
    const lanes = [...link.lanes];
    link.lanes.clear();
    for (const lane of lanes) {
      lane.isOffered = false;
      if (error.retriable) this.#tryLater(lane, error, { isLeaderStale: true });
      else this.#failLane(lane, error);
    }
    this.pump();
  }

  #fill(link: Link, connection: BrokerConnection): void {
    while (link.inFlightCount < requestsInFlightMax && !link.lanes.isEmpty && this.#stopped === null) {
      const entries = this.#gather(link);
      if (entries.length > 0) void this.#exchange(link, connection, entries);
      else if (this.#identities.current === null) {
        void this.#open(link);
        return;
      }
    }
  }

  /** At most one batch of each lane that waits, up to the size of a request. */
  #gather(link: Link): Entry[] {
    const { inFlightMax, requestBytesMax } = this.#settings;
    const nowMs = this.#clock.monotonicMs();
    const entries: Entry[] = [];
    let bytes = 0;
    for (let left = link.lanes.length; left > 0; left--) {
      const identity = this.#identities.current;
      if (identity === null) break;
      const lane = link.lanes.shift() as Lane;
      lane.isOffered = false;
      if (!this.#mayLeave(lane, link, nowMs)) continue;
      const nextBytes = lane.next?.sizeBytes ?? 0;
      if (entries.length > 0 && bytes + nextBytes > requestBytesMax) {
        lane.isOffered = true;
        link.lanes.unshift(lane);
        break;
      }
      if (this.#transaction !== null) lane.renew(identity);
      const batch = this.#taken(lane, identity, link.nodeId);
      if (batch === null) {
        lane.isOffered = true;
        link.lanes.push(lane);
        continue;
      }
      bytes += batch.sizeBytes;
      const { topic } = lane;
      entries.push({ lane, batch, topic, topicId: topic.metadata?.topicId ?? "" });
      if (lane.canSend(inFlightMax, nowMs)) {
        lane.isOffered = true;
        link.lanes.push(lane);
      }
    }
    return entries;
  }

  /** Null: the lane is to be looked at again, with another identity or behind a batch that could not be sent. */
  #taken(lane: Lane, identity: ProducerIdentity, nodeId: number): Batch | null {
    try {
      const batch = lane.take(identity, nodeId);
      if (batch === null) this.#identities.useUp(identity);
      return batch;
    } catch (error) {
      const sentence = `a batch for ${lane.name} cannot be compressed, see compression and compressionLevel: ${asKafkaError(error).message}`;
      const batch = lane.unsendable();
      if (batch !== null) this.#host.failed(lane, batch, new KafkaError("INVALID_CONFIG", sentence, { cause: error }));
      this.#dismissIfEmpty(lane);
      return null;
    }
  }

  /** Since it was offered its leader may have changed, or its transaction have failed. */
  #mayLeave(lane: Lane, link: Link, nowMs: number): boolean {
    if (lane.isDetached || !lane.canSend(this.#settings.inFlightMax, nowMs)) return false;
    if (this.#transaction?.admits(lane) === false) return false;
    if (lane.topic.metadata?.partitions[lane.partition]?.leaderId === link.nodeId) return true;
    this.offer(lane);
    return false;
  }

  async #exchange(link: Link, connection: BrokerConnection, entries: readonly Entry[]): Promise<void> {
    link.inFlightCount++;
    this.#inFlightCount++;
    let answer: ProduceResponse | null = null;
    let failure: KafkaError | null = null;
    try {
      const versionMax = this.#transaction?.produceVersionMax ?? produce.versions[1];
      const message = (version: number): ProduceRequestInput =>
        produceRequest(entries, version, {
          transactionalId: this.#transaction?.transactionalId ?? null,
          acks: this.#settings.acks,
          timeoutMs: Math.min(int32Max, Math.ceil(this.#wire.requestTimeoutMs * brokerTimeoutShare)),
        });
      if (this.#settings.acks === 0) await connection.tell(produce, message);
      else answer = await connection.request(produce, message, { versionMax });
    } catch (error) {
      failure = asKafkaError(error);
    }
    link.inFlightCount--;
    this.#inFlightCount--;
    if (failure !== null) for (const entry of entries) this.#onBroken(entry, failure);
    else this.#onAnswer(entries, answer);
    for (const { lane } of entries) this.#goOn(lane);
    if (!link.lanes.isEmpty) this.#touch(link);
    this.pump();
    if (this.#inFlightCount === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  // --- Answers ----------------------------------------------------------------------------------------------------------

  /** @param answer is null under acks 0. */
  #onAnswer(entries: readonly Entry[], answer: ProduceResponse | null): void {
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
        this.#onBroken(entry, new KafkaError("CORRUPT_MESSAGE", sentence, { retriable: true }));
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
  #onBroken({ lane, batch }: Entry, error: KafkaError): void {
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
    // Who is told where to go need not wait, if it is not sent back and forth.
    else lane.failuresCount++;
    lane.again();
  }

  /** The next batches; after a failure, when all that was in flight is answered. */
  #goOn(lane: Lane): void {
    if (this.#stopped !== null) return;
    if (lane.isQuiet && lane.inFlightCount === 0 && !lane.isResting) {
      const pauseMs = this.#pauseMs(lane);
      if (pauseMs > 0) this.#rest(lane, pauseMs);
    }
    this.offer(lane);
    this.#dismissIfEmpty(lane);
  }

  #dismissIfEmpty(lane: Lane): void {
    if (lane.inFlightCount > 0 || !(lane.isEmpty || lane.isDetached)) return;
    this.#active.delete(lane);
    if (lane.rest === null) return;
    lane.rest.cancel();
    lane.rest = null;
    lane.isResting = false;
  }

  // --- Pauses and leaders -----------------------------------------------------------------------------------------------

  #tryLater(lane: Lane, error: KafkaError, { isLeaderStale }: { readonly isLeaderStale: boolean }): void {
    lane.lastError = error;
    lane.isLeaderStale ||= isLeaderStale;
    lane.failuresCount++;
    this.#rest(lane, this.#pauseMs(lane));
  }

  #pauseMs({ failuresCount, lastError }: Lane): number {
    if (failuresCount === 0) return 0;
    if (lastError?.code === "CONCURRENT_TRANSACTIONS") return concurrentBackoffMs;
    const pauseMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (failuresCount - 1));
    return pauseMs * (0.8 + 0.4 * this.#wire.world.random.fraction());
  }

  #rest(lane: Lane, pauseMs: number): void {
    if (lane.isResting || this.#stopped !== null) return;
    lane.isResting = true;
    const end = (): void => {
      lane.rest = null;
      lane.isResting = false;
      this.offer(lane);
      this.pump();
    };
    lane.rest = this.#clock.schedule(pauseMs, end, { isAwaited: true });
  }

  #leaderOf(lane: Lane): number {
    const { topic } = lane;
    const metadata = this.#wire.metadata.topic(topic.name);
    if (metadata === null) return -1;
    this.#wire.refreshIfOld(topic.name);
    if (metadata !== topic.metadata) this.#learn(topic, metadata);
    return metadata.partitions[lane.partition]?.leaderId ?? -1;
  }

  /** By what an earlier answer has told: the others that were on their way to the same broker bring no news. */
  #isLedElsewhere({ topic, partition, nodeId }: Lane): boolean {
    const leaderId = this.#wire.metadata.topic(topic.name)?.partitions[partition]?.leaderId ?? -1;
    return leaderId >= 0 && leaderId !== nodeId;
  }

  #learn(topic: TopicLanes, metadata: NonNullable<TopicLanes["metadata"]>): void {
    const beforeId = topic.metadata?.topicId ?? "";
    for (const lane of topic.learn(metadata)) {
      const sentence = `topic ${topic.name} was deleted and made again: records for the one of id ${beforeId} are not written into that of id ${metadata.topicId}`;
      this.#failLane(lane, new KafkaError("UNKNOWN_TOPIC_ID", sentence));
    }
  }

  /** Asks until somebody leads the partition; the lane rests meanwhile. */
  #findLeader(lane: Lane): void {
    if (this.#stopped !== null) return;
    lane.isResting = true;
    const { name } = lane.topic;
    this.#wire.refresh(name, { mayCreate: true }).then(
      (metadata) => {
        lane.isResting = false;
        lane.isLeaderStale = false;
        if (this.#stopped !== null) return;
        if (metadata !== lane.topic.metadata) this.#learn(lane.topic, metadata);
        if (lane.isDetached) return;
        const leaderId = metadata.partitions[lane.partition]?.leaderId;
        if (leaderId !== undefined && leaderId >= 0) this.offer(lane);
        else {
          const code = leaderId === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.LEADER_NOT_AVAILABLE;
          this.#tryLater(lane, brokerError(code, `partition ${lane.name}`), { isLeaderStale: true });
        }
        this.pump();
      },
      (error: unknown) => {
        lane.isResting = false;
        if (this.#stopped !== null) return;
        const failure = asKafkaError(error);
        if (failure.retriable) this.#tryLater(lane, failure, { isLeaderStale: true });
        else this.#failLane(lane, failure);
      },
    );
  }

  // --- What is out of time ----------------------------------------------------------------------------------------------

  #lookAt(deadlineMs: number): void {
    this.#deadline?.cancel();
    this.#deadlineMs = deadlineMs;
    this.#deadline = this.#clock.schedule(deadlineMs - this.#clock.monotonicMs(), () => this.#onDeadline());
  }

  #onDeadline(): void {
    this.#deadline = null;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonicMs();
    const { deliveryTimeoutMs } = this.#settings;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#active) {
      lane.giveUp(
        ({ deadlineMs }) => deadlineMs <= nowMs,
        (batch) => {
          const what = `${batch.recordsCount} records for ${lane.name}`;
          this.#drop(lane, batch, timedOut(what, deliveryTimeoutMs, lane.lastError));
        },
      );
      this.#dismissIfEmpty(lane);
      nextMs = Math.min(nextMs, lane.deadlineMs);
    }
    if (nextMs < this.#deadlineMs) this.#lookAt(nextMs);
  }

  #failLane(lane: Lane, error: KafkaError): void {
    lane.giveUp(
      () => true,
      (batch) => this.#drop(lane, batch, error),
    );
    this.#dismissIfEmpty(lane);
  }

  #drop(lane: Lane, batch: Batch, error: KafkaError): void {
    if (batch.baseSequence >= 0) this.#transaction?.dropped(error);
    this.#host.failed(lane, batch, error);
  }
}
