import { Deque } from "@millrace/base/deque";
import type { Clock, Timer } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { fieldsBytesMax } from "kafka-protocol-ts/records/record";
import type { BatchOptions } from "kafka-protocol-ts/records/record";
import { asKafkaError, brokerError, KafkaError } from "../errors.ts";
import { isTimedOut, timedOut } from "../network/retries.ts";
import type { Wire } from "../network/wire.ts";
import { Batch } from "./batch.ts";
import type { Sink } from "./batch.ts";
import { BatchMemory } from "./batch-memory.ts";
import { Budget } from "./budget.ts";
import type { Identities } from "./identity.ts";
import type { AnyRecord } from "./interceptors.ts";
import type { Lane } from "./lane.ts";
import type { Settings } from "./options.ts";
import { partitionOfKey } from "./partitioner.ts";
import type { Partitioner, PartitionerInput } from "./partitioner.ts";
import { headersOf, isRaw, nameOf, rawBytes, roughBytes, written } from "./records.ts";
import type { AnyTopic, WaitingRecord, WrittenRecord } from "./records.ts";
import { Sender } from "./sender.ts";
import type { SenderHost, TransactionalSending } from "./sender-host.ts";
import { batchOptions } from "./split.ts";
import { Tally } from "./tally.ts";
import { TopicLanes } from "./topic-lanes.ts";
import { Unheard } from "./unheard.ts";

/** Who fills without a pause lets the event loop have its turn after so much. */
const turnBytesMax = 1_048_576;
/** What is kept of the memory of batches. */
const memoryBytesMax = 8_388_608;
const noWait: Promise<void> = Promise.resolve();

export interface OutboxParts {
  readonly settings: Settings;
  readonly identities: Identities;
  readonly transaction: TransactionalSending | null;
  /** A record was not delivered, whoever waits for it. */
  readonly onFailed?: (error: KafkaError) => void;
}

/**
 * Records on their way into batches: each gets its bytes and its partition in the order in which they came, and waits
 * where either must be waited for. The sender has them from then on.
 */
export class Outbox {
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #settings: Settings;
  readonly #batchOptions: BatchOptions;
  readonly #sender: Sender;
  readonly #budget: Budget;
  readonly #memory: BatchMemory;
  readonly #unheard = new Unheard();
  readonly #onFailed: ((error: KafkaError) => void) | null;
  readonly #topics = new Map<string, TopicLanes>();
  #lastTopic: TopicLanes | null = null;
  /** Lanes with a batch that was begun and is not due yet. */
  #fresh: Lane[] = [];
  #linger: Timer | null = null;
  /** Of this turn of the event loop: the time, what came, and who waits for its end. 0: none has begun. */
  #turnMs = 0;
  #turnBytes = 0;
  /** What a flush waits for has come late: it does not linger. */
  #isTurnUrgent = false;
  #turnWaiters: (() => void)[] = [];
  /** What came since the last flush, and before it what is not settled. */
  #tally = new Tally();
  readonly #flushing = new Set<Tally>();
  #closed: KafkaError | null = null;

  constructor(wire: Wire, { settings, identities, transaction, onFailed }: OutboxParts) {
    this.#wire = wire;
    this.#clock = wire.world.clock;
    this.#settings = settings;
    this.#batchOptions = batchOptions(settings);
    this.#budget = new Budget(settings.bufferBytesMax);
    this.#memory = new BatchMemory(Math.min(settings.bufferBytesMax / 2, memoryBytesMax));
    this.#onFailed = onFailed ?? null;
    const host: SenderHost = {
      delivered: (lane, batch, baseOffset) => {
        this.#budget.give(batch.chargedBytes);
        batch.deliver(lane.partition, baseOffset);
        const memory = batch.freeMemory;
        if (memory !== null) this.#memory.give(memory);
      },
      failed: (lane, batch, error) => this.#onBatchFailed(lane, batch, error),
    };
    this.#sender = new Sender(wire, { settings, identities, transaction, host });
    const onClosed = (): void => this.#end(new KafkaError("CLOSED", "the cluster was closed"));
    wire.closed.addEventListener("abort", onClosed, { once: true });
    this.#forgetCluster = () => wire.closed.removeEventListener("abort", onClosed);
    if (wire.closed.aborted) onClosed();
  }

  readonly #forgetCluster: () => void;

  get closed(): KafkaError | null {
    return this.#closed;
  }

  /**
   * Asked before records are given.
   *
   * @throws KafkaError CLOSED; BUFFER_EXHAUSTED where twice what may be buffered is.
   */
  admit(): void {
    if (this.#closed !== null) throw this.#closed;
    if (this.#budget.isExhausted) throw exhausted(this.#budget.usedBytes);
  }

  /** Takes a record. What is wrong with it its sink is told, or the next who looks. */
  accept(topic: AnyTopic, record: AnyRecord, sink: Sink | null): void {
    if (this.#closed !== null) {
      this.refuse(sink, this.#closed);
      return;
    }
    const lanes = this.#lanesOf(nameOf(topic));
    if (lanes.waiting !== null || lanes.metadata === null) {
      this.#wait(lanes, topic, record, sink, null);
      return;
    }
    try {
      if (isRaw(topic)) {
        const key = rawBytes(record.key, "key", topic);
        const value = rawBytes(record.value, "value", topic);
        this.#place(lanes, record, key, value, headersOf(record.headers, topic), sink, null);
        return;
      }
      const bytes = written(topic, record);
      if (bytes instanceof Promise) this.#wait(lanes, topic, record, sink, bytes);
      else this.#place(lanes, record, bytes.key, bytes.value, bytes.headers, sink, null);
    } catch (error) {
      this.refuse(sink, asKafkaError(error));
    }
  }

  /** Settles when there is room for more. @throws the first failure that nobody has heard of. */
  ready(): Promise<void> {
    if (this.#hasRoom && !this.#unheard.isNoted) return noWait;
    return this.#readyLater();
  }

  /** As `ready`, whatever failed. */
  room(): Promise<void> {
    return this.#hasRoom ? noWait : this.#roomLater();
  }

  get #hasRoom(): boolean {
    return this.#budget.hasRoom && this.#turnBytes < turnBytesMax;
  }

  /** Settles when everything taken so far is settled, well or ill. */
  async flush(): Promise<void> {
    const tally = this.#tally;
    this.#tally = new Tally();
    this.#flushing.add(tally);
    tally.isUrgent = true;
    for (const lane of this.#sender.active) {
      if (lane.open === null) continue;
      // What comes later is not waited for.
      lane.open.isDue = true;
      lane.close();
      this.#sender.offer(lane);
    }
    this.#sender.pump();
    await Promise.all([...this.#flushing].map(({ whenSettled }) => whenSettled));
    this.#flushing.delete(tally);
  }

  /** @throws what nobody has heard of, once. */
  throwUnheard(): void {
    this.#unheard.throwFirst();
  }

  /** A failure of which nobody has heard. */
  noteUnheard(error: KafkaError): void {
    this.#unheard.note(error);
  }

  /** Offers a lane that was held back. */
  offer(lane: Lane): void {
    this.#sender.offer(lane);
    this.#sender.pump();
  }

  /** Everything that is not settled fails with this; settles when nothing is in flight any more. */
  async discard(error: KafkaError): Promise<void> {
    this.#failWaiting(error);
    this.#sender.failAll(error);
    await this.#sender.whenIdle();
  }

  /** Takes no more; what it has is sent, up to the limit of time. */
  async close(timeoutMs: number | null): Promise<void> {
    this.#closed ??= new KafkaError("CLOSED", "the producer was closed");
    const giveUp = (): void => {
      const sentence = `the producer was closed, and this was not delivered within ${timeoutMs} ms`;
      this.#end(new KafkaError("TIMED_OUT", sentence, { retriable: true }));
    };
    const timer = timeoutMs === null ? null : this.#clock.schedule(timeoutMs, giveUp, { isAwaited: true });
    await this.flush();
    timer?.cancel();
    this.#end(this.#closed);
  }

  // --- Waiting for a topic, or for bytes --------------------------------------------------------------------------------

  #lanesOf(name: string): TopicLanes {
    const last = this.#lastTopic;
    if (last !== null && last.name === name && last.metadata !== null) return last;
    let lanes = this.#topics.get(name);
    if (lanes === undefined) {
      lanes = new TopicLanes(name, this.#settings.batchBytesMax);
      this.#topics.set(name, lanes);
    }
    if (lanes.metadata === null && lanes.waiting === null) {
      const metadata = this.#wire.metadata.topic(name);
      if (metadata !== null) lanes.learn(metadata);
    }
    this.#lastTopic = lanes;
    return lanes;
  }

  /** Later records of the topic join, so that none of them overtakes another. */
  #wait(
    lanes: TopicLanes,
    topic: AnyTopic,
    record: AnyRecord,
    sink: Sink | null,
    bytes: Promise<WrittenRecord> | null,
  ): void {
    const deadlineMs = this.#clock.monotonicMs() + this.#settings.deliveryTimeoutMs;
    const tally = this.#tally;
    const chargedBytes = roughBytes(record);
    tally.add();
    this.#budget.take(chargedBytes);
    this.#beginTurn(chargedBytes);
    const waiting = { topic, record, sink, deadlineMs, tally, chargedBytes, bytes, isOver: false };
    if (lanes.waiting !== null) {
      lanes.waiting.push(waiting);
      return;
    }
    lanes.waiting = new Deque();
    lanes.waiting.push(waiting);
    void this.#placeWaiting(lanes, lanes.waiting);
  }

  async #placeWaiting(lanes: TopicLanes, waiting: Deque<WaitingRecord>): Promise<void> {
    for (let first = waiting.first(); first !== undefined; first = waiting.first()) {
      try {
        if (lanes.metadata === null && !first.isOver) await this.#find(lanes, first);
        let bytes = first.isOver ? null : (first.bytes ?? written(first.topic, first.record));
        if (bytes instanceof Promise) bytes = await this.#inTime(bytes, first);
        waiting.shift();
        if (first.isOver || bytes === null) continue;
        this.#place(lanes, first.record, bytes.key, bytes.value, bytes.headers, first.sink, first);
        this.#settleWaiting(first);
        first.tally.settle();
      } catch (error) {
        // Who was told meanwhile says nothing of those behind: a transaction was aborted, and they may be of the next one.
        if (lanes.metadata === null && !first.isOver) this.#onNoTopic(waiting, error);
        else {
          if (waiting.first() === first) waiting.shift();
          this.#refuseWaiting(first, asKafkaError(error));
        }
      }
    }
    lanes.waiting = null;
  }

  async #find(lanes: TopicLanes, first: WaitingRecord): Promise<void> {
    const timeoutMs = first.deadlineMs - this.#clock.monotonicMs();
    const retry = { what: `topic ${lanes.name}`, timeoutMs };
    const metadata = await this.#wire.retrying(retry, async () => {
      if (first.isOver) throw this.#closed ?? new KafkaError("ABORTED", "nobody waits for it any more");
      return this.#wire.topic(lanes.name, { mayCreate: true });
    });
    lanes.learn(metadata);
  }

  /** All who wait for the topic are told; of a look-up that took too long those whose time is over. */
  #onNoTopic(waiting: Deque<WaitingRecord>, error: unknown): void {
    const nowMs = this.#clock.monotonicMs();
    const failure = asKafkaError(error);
    let isFirst = true;
    for (let first = waiting.first(); first !== undefined; first = waiting.first()) {
      // Those that came later have more time.
      if (!isFirst && isTimedOut(error) && first.deadlineMs > nowMs) return;
      isFirst = false;
      waiting.shift();
      this.#refuseWaiting(first, failure);
    }
  }

  async #inTime(bytes: Promise<WrittenRecord>, { topic, deadlineMs }: WaitingRecord): Promise<WrittenRecord> {
    const timeoutMs = deadlineMs - this.#clock.monotonicMs();
    const { promise, reject } = Promise.withResolvers<never>();
    const late = (): void => reject(timedOut(`serializing a record for ${nameOf(topic)}`, timeoutMs, null));
    const timer = this.#clock.schedule(timeoutMs, late, { isAwaited: true });
    try {
      return await Promise.race([bytes, promise]);
    } finally {
      timer.cancel();
    }
  }

  #settleWaiting(waiting: WaitingRecord): void {
    waiting.isOver = true;
    this.#budget.give(waiting.chargedBytes);
  }

  #refuseWaiting(waiting: WaitingRecord, error: KafkaError): void {
    if (waiting.isOver) return;
    this.#settleWaiting(waiting);
    this.refuse(waiting.sink, error);
    waiting.tally.settle();
  }

  #failWaiting(error: KafkaError): void {
    for (const { waiting } of this.#topics.values())
      if (waiting !== null) for (const each of waiting) this.#refuseWaiting(each, error);
  }

  // --- Into a batch -----------------------------------------------------------------------------------------------------

  /** @throws KafkaError where the record has no place. */
  #place(
    lanes: TopicLanes,
    record: AnyRecord,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: WrittenRecord["headers"],
    sink: Sink | null,
    waited: WaitingRecord | null,
  ): void {
    const timestamp = record.timestamp ?? this.#now();
    if (!Number.isSafeInteger(timestamp))
      throw new KafkaError("INVALID_TIMESTAMP", `a record for ${lanes.name}: its timestamp ${timestamp} is no integer`);
    let lane = this.#laneFor(lanes, record, key, value);
    const isSticky = lane === null;
    lane ??= lanes.sticky ?? lanes.choose(this.#wire.world.random.fraction());
    const bytesMax = fieldsBytesMax(key, value, headers);
    let batch = lane.open;
    while (batch !== null && batch.filledBytes + bytesMax > lanes.batchBytesMax) {
      batch.isDue = true;
      lane.close();
      this.#sender.offer(lane);
      this.#sender.pump();
      if (isSticky) lane = lanes.choose(this.#wire.world.random.fraction());
      batch = lane.open;
    }
    batch ??= this.#begin(lane, bytesMax);
    if (waited !== null) {
      batch.owe(waited.tally);
      this.#isTurnUrgent ||= waited.tally.isUrgent;
      batch.deadlineMs = Math.min(batch.deadlineMs, waited.deadlineMs);
      this.#sender.watch(lane, batch.deadlineMs);
    }
    const bytes = batch.add(key, value, headers, timestamp, sink);
    this.#budget.take(bytes);
    this.#beginTurn(bytes);
  }

  /** Null: where it is sticky. */
  #laneFor(lanes: TopicLanes, record: AnyRecord, key: Uint8Array | null, value: Uint8Array | null): Lane | null {
    const { partition } = record;
    const partitionCount = lanes.metadata?.partitions.length ?? 0;
    if (partition !== undefined) return existing(lanes, partition, partitionCount);
    const { partitioner } = this.#settings;
    if (partitioner !== null) {
      const chosen = chosenBy(partitioner, { topic: lanes.name, key, value, partitionCount });
      if (chosen !== null) return existing(lanes, chosen, partitionCount);
    }
    return key === null ? null : lanes.lane(partitionOfKey(key, partitionCount));
  }

  #begin(lane: Lane, bytesMax: number): Batch {
    const deadlineMs = this.#clock.monotonicMs() + this.#settings.deliveryTimeoutMs;
    // As much as the one before, and some more.
    const capacityBytes = Math.min(lane.lastBatchBytes + (lane.lastBatchBytes >> 3), lane.topic.batchBytesMax);
    const batch = Batch.begin(this.#batchOptions, {
      memory: this.#memory.take(Math.max(capacityBytes, bytesMax + 64)),
      deadlineMs,
      tally: this.#tally,
    });
    lane.begin(batch);
    this.#sender.watch(lane, deadlineMs);
    if (!lane.isFresh) {
      lane.isFresh = true;
      this.#fresh.push(lane);
    }
    const { lingerMs } = this.#settings;
    if (lingerMs > 0) this.#linger ??= this.#clock.schedule(lingerMs, () => this.#sendAll(), { isAwaited: true });
    return batch;
  }

  // --- Turns ------------------------------------------------------------------------------------------------------------

  #now(): number {
    if (this.#turnMs === 0) this.#beginTurn(0);
    return this.#turnMs;
  }

  #beginTurn(bytes: number): void {
    this.#turnBytes += bytes;
    if (this.#turnMs !== 0) return;
    this.#turnMs = this.#clock.now();
    this.#clock.afterTurn(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#turnMs = 0;
    this.#turnBytes = 0;
    if (this.#settings.lingerMs === 0 || this.#isTurnUrgent) this.#sendAll();
    this.#isTurnUrgent = false;
    if (this.#turnWaiters.length > 0) for (const look of this.#turnWaiters.splice(0)) look();
  }

  /** What was begun need not wait any longer. */
  #sendAll(): void {
    this.#linger?.cancel();
    this.#linger = null;
    const fresh = this.#fresh;
    if (fresh.length === 0) return;
    this.#fresh = [];
    for (const lane of fresh) {
      lane.isFresh = false;
      if (lane.open !== null) lane.open.isDue = true;
      this.#sender.offer(lane);
    }
    this.#sender.pump();
  }

  async #readyLater(): Promise<void> {
    this.#unheard.throwFirst();
    await this.#roomLater();
    this.#unheard.throwFirst();
  }

  async #roomLater(): Promise<void> {
    if (this.#turnBytes >= turnBytesMax) await new Promise<void>((resolve) => this.#turnWaiters.push(resolve));
    await this.#budget.room();
  }

  // --- The end ----------------------------------------------------------------------------------------------------------

  #onBatchFailed(lane: Lane, batch: Batch, error: KafkaError): void {
    this.#budget.give(batch.chargedBytes);
    if (batch.unheardCount > 0) this.#unheard.note(error);
    this.#onFailed?.(error);
    batch.fail(lane.partition, error);
  }

  /** A record alone is not delivered. */
  refuse(sink: Sink | null, error: KafkaError): void {
    this.#onFailed?.(error);
    if (sink === null) this.#unheard.note(error);
    else sink.failed(error, null);
  }

  #end(error: KafkaError): void {
    this.#closed ??= error;
    this.#failWaiting(error);
    this.#sender.stop(error);
    this.#linger?.cancel();
    this.#forgetCluster();
  }
}

function existing(lanes: TopicLanes, partition: number, partitionCount: number): Lane {
  if (Number.isInteger(partition) && partition >= 0 && partition < partitionCount) return lanes.lane(partition);
  const sentence = `the topic has the partitions 0 to ${partitionCount - 1}`;
  throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${lanes.name}-${partition}`, sentence);
}

function chosenBy(partitioner: Partitioner, input: PartitionerInput): number | null {
  try {
    return partitioner(input);
  } catch (error) {
    const sentence = `the partitioner has thrown for a record for ${input.topic}: ${asKafkaError(error).message}`;
    throw new KafkaError("PARTITIONER_FAILED", sentence, { cause: error });
  }
}

function exhausted(usedBytes: number): KafkaError {
  const sentence = `${usedBytes} bytes of records are not answered yet: await ready() between them, or raise bufferBytesMax`;
  return new KafkaError("BUFFER_EXHAUSTED", sentence, { retriable: true });
}
