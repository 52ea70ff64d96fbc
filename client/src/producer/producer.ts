import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import type { ProduceRequestInput } from "kafka-protocol-ts/messages/00-produce";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { BatchBuilder, recordBytesMax } from "kafka-protocol-ts/records/record";
import type { HeaderInput } from "kafka-protocol-ts/records/record";
import type { CompressionName } from "kafka-protocol-ts/records/compression";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import { brokerError, KafkaError } from "../errors.ts";
import { Lane } from "./lane.ts";
import type { Batch, ProducerIdentity } from "./lane.ts";
import { partitionOfKey } from "./partitioner.ts";
import { isTimedOut, timedOut } from "../network/retries.ts";
import { Tally } from "./tally.ts";

export interface ProducerOptions {
  /** Default "all". Only then is a record that is sent again stored once: the others ask for less. */
  readonly acks?: "all" | 1 | 0;
  readonly compression?: CompressionName;
  /** How long a record waits for company at most; 0 still puts all records of one turn together. */
  readonly lingerMs?: number;
  /** Bytes of one batch before compression. Default 1,000,000. */
  readonly batchBytesMax?: number;
  /** Within this time a send succeeds or fails, retries included. Default 120,000. */
  readonly deliveryTimeoutMs?: number;
}

export interface ProducerRecord {
  readonly key?: Uint8Array | string | null;
  readonly value: Uint8Array | string | null;
  readonly headers?: readonly HeaderInput[];
  /** Milliseconds since 1970; now when absent. */
  readonly timestamp?: number;
  /** Absent: murmur2 of the key, as the Java client; records without key stick to a partition for a batch. */
  readonly partition?: number;
}

export interface Delivered {
  readonly partition: number;
  /** -1 where the broker does not say it: under acks 0, and for a duplicate of long ago. */
  readonly offset: number;
}

/** A record whose partition is not known yet, since its topic is not. */
interface Unplaced {
  readonly record: ProducerRecord;
  readonly deadlineMs: number;
  readonly tally: Tally;
  readonly resolve: (delivered: Delivered) => void;
  readonly reject: (error: unknown) => void;
}

/** The broker has lost track of us, or we of what it has stored: what comes next is sent as a new producer. */
const identityFailures: ReadonlySet<string> = new Set(
  [
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.UNKNOWN_PRODUCER_ID,
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.PRODUCER_FENCED,
  ].map(errorName),
);

/** How long the leader waits for its followers. */
const brokerTimeoutMs = 30_000;
const noIdentity: ProducerIdentity = { producerId: -1, producerEpoch: -1 };

/**
 * Sends records in batches, idempotently: a retried batch carries the sequence it had, so that it is stored once.
 * One batch of a partition is in flight at a time, which keeps their order through every retry.
 */
export class Producer implements AsyncDisposable {
  readonly #wire: Wire;
  readonly #options: Required<ProducerOptions>;
  readonly #lanes = new Map<string, Lane>();
  readonly #unplaced = new Map<string, Unplaced[]>();
  readonly #sticky = new Map<string, number>();
  #identity: Promise<ProducerIdentity> | null = null;
  #isLingering = false;
  /** The sends since the last flush, and those before it that are not answered. */
  #tally = new Tally();
  readonly #flushing = new Set<Tally>();
  #isClosed = false;

  constructor(wire: Wire, options: ProducerOptions) {
    this.#wire = wire;
    this.#options = {
      acks: "all",
      compression: "none",
      lingerMs: 0,
      batchBytesMax: 1_000_000,
      deliveryTimeoutMs: 120_000,
      ...options,
    };
  }

  /** Settles when the broker has answered for the record's batch. Records of one partition keep the order of the calls. */
  send(topic: string, record: ProducerRecord): Promise<Delivered> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new KafkaError("CLOSED", "the producer was closed");
      const deadlineMs = this.#wire.world.clock.monotonicMs() + this.#options.deliveryTimeoutMs;
      const tally = this.#tally;
      const unplaced: Unplaced = {
        record,
        deadlineMs,
        tally,
        resolve: (delivered) => {
          tally.settle();
          resolve(delivered);
        },
        reject: (error) => {
          tally.settle();
          reject(error);
        },
      };
      tally.add();
      const waiting = this.#unplaced.get(topic);
      const metadata = this.#wire.metadata.topic(topic);
      if (waiting !== undefined) waiting.push(unplaced);
      else if (metadata !== null) this.#place(metadata, unplaced);
      else {
        const first = [unplaced];
        this.#unplaced.set(topic, first);
        void this.#placeWhenKnown(topic, first);
      }
    });
  }

  /** Settles when everything sent so far has been answered, well or ill. */
  async flush(): Promise<void> {
    const tally = this.#tally;
    this.#tally = new Tally();
    this.#flushing.add(tally);
    tally.isUrgent = true;
    this.#sendAll();
    await Promise.all([...this.#flushing].map(({ whenSettled }) => whenSettled));
    this.#flushing.delete(tally);
  }

  /** Sends what is queued, then takes no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // --- From a record to its batch ---------------------------------------------------------------------------------------

  /** Later records of the topic join the queue, so that none of them overtakes another. */
  async #placeWhenKnown(topic: string, waiting: Unplaced[]): Promise<void> {
    const { clock } = this.#wire.world;
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      try {
        const retry = { what: `topic ${topic}`, timeoutMs: first.deadlineMs - clock.monotonicMs() };
        const metadata = await this.#wire.retrying(retry, async () => this.#wire.topic(topic, { mayCreate: true }));
        const isUrgent = waiting.some(({ tally }) => tally.isUrgent);
        for (const unplaced of waiting.splice(0)) this.#place(metadata, unplaced);
        if (isUrgent) this.#sendAll();
      } catch (error) {
        // Those that came later have more time.
        const isDue = ({ deadlineMs }: Unplaced): boolean => !isTimedOut(error) || deadlineMs <= clock.monotonicMs();
        const late = waiting.findIndex((unplaced) => !isDue(unplaced));
        for (const { reject } of waiting.splice(0, late < 0 ? waiting.length : Math.max(late, 1))) reject(error);
      }
    }
    this.#unplaced.delete(topic);
  }

  #place(metadata: TopicMetadata, unplaced: Unplaced): void {
    try {
      const { record, deadlineMs } = unplaced;
      const partition = this.#partitionFor(metadata, record);
      const batch = this.#append(this.#laneOf(metadata.name, partition), record, deadlineMs);
      batch.deliveries.push(unplaced);
      this.#linger();
    } catch (error) {
      unplaced.reject(error);
    }
  }

  #partitionFor({ name, partitions }: TopicMetadata, { key, partition }: ProducerRecord): number {
    if (partition !== undefined) {
      if (partitions[partition] !== undefined) return partition;
      const sentence = `the topic has the partitions 0 to ${partitions.length - 1}`;
      throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${partition}`, sentence);
    }
    if (key !== null && key !== undefined) return partitionOfKey(toBytes(key), partitions.length);
    const sticky = this.#sticky.get(name);
    if (sticky !== undefined && sticky < partitions.length) return sticky;
    const led = partitions.filter(({ leaderId }) => leaderId >= 0);
    const choice = led.length > 0 ? led : partitions;
    const chosen = choice[Math.floor(this.#wire.world.random.fraction() * choice.length)]?.index ?? 0;
    this.#sticky.set(name, chosen);
    return chosen;
  }

  #laneOf(topic: string, partition: number): Lane {
    const key = `${topic}/${partition}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(topic, partition);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #append(lane: Lane, record: ProducerRecord, deadlineMs: number): Batch {
    const encoded = {
      key: record.key === null || record.key === undefined ? null : toBytes(record.key),
      value: record.value === null ? null : toBytes(record.value),
      headers: record.headers ?? [],
      timestamp: record.timestamp ?? this.#wire.world.clock.now(),
    };
    let batch = lane.open;
    if (batch !== null && batch.builder.sizeBytes + recordBytesMax(encoded) > this.#options.batchBytesMax) {
      this.#sticky.delete(lane.topic);
      batch.isDue = true;
      batch = null;
      this.#start(lane);
    }
    batch ??= lane.begin(new BatchBuilder({ compression: this.#options.compression }), deadlineMs);
    batch.builder.append(encoded);
    return batch;
  }

  #linger(): void {
    if (this.#isLingering) return;
    this.#isLingering = true;
    const end = (): void => {
      this.#isLingering = false;
      this.#sendAll();
    };
    if (this.#options.lingerMs === 0) this.#wire.world.clock.afterTurn(end);
    else this.#wire.world.clock.schedule(this.#options.lingerMs, end, { isAwaited: true });
  }

  #sendAll(): void {
    this.#sticky.clear();
    for (const lane of this.#lanes.values()) {
      const batch = lane.open;
      if (batch !== null) batch.isDue = true;
      this.#start(lane);
    }
  }

  // --- From a batch to its answer ---------------------------------------------------------------------------------------

  #start(lane: Lane): void {
    if (lane.isSending || lane.next === null) return;
    lane.isSending = true;
    void this.#drain(lane);
  }

  async #drain(lane: Lane): Promise<void> {
    for (let batch = lane.next; batch !== null; batch = lane.next) {
      try {
        const offset = await this.#deliver(lane, batch);
        batch.deliveries.forEach(({ resolve }, index) => {
          resolve({ partition: lane.partition, offset: offset < 0 ? -1 : offset + index });
        });
      } catch (error) {
        for (const { reject } of batch.deliveries) reject(error);
      }
      lane.done(batch);
    }
    lane.isSending = false;
  }

  async #deliver(lane: Lane, batch: Batch): Promise<number> {
    const { deliveryTimeoutMs } = this.#options;
    const timeoutMs = batch.deadlineMs - this.#wire.world.clock.monotonicMs();
    const what = `${batch.deliveries.length} records for ${lane.topic}-${lane.partition}`;
    if (timeoutMs <= 0) throw timedOut(what, deliveryTimeoutMs, null);
    try {
      return await this.#wire.retrying({ what, timeoutMs }, async () => this.#attempt(lane, batch));
    } catch (error) {
      this.#afterFailure(lane, batch, error);
      throw error;
    }
  }

  /** What follows must not look to the broker like a gap behind a batch that it never got. */
  #afterFailure(lane: Lane, batch: Batch, error: unknown): void {
    if (batch.sealed === null) return;
    const hasLostTrack = error instanceof KafkaError && identityFailures.has(error.code);
    if (hasLostTrack || batch.isUncertain) this.#identity = null;
    else lane.rewind(batch);
  }

  async #identify(): Promise<ProducerIdentity> {
    if (this.#options.acks !== "all") return noIdentity;
    const identity = (this.#identity ??= this.#newIdentity());
    try {
      return await identity;
    } catch (error) {
      if (this.#identity === identity) this.#identity = null;
      throw error;
    }
  }

  async #newIdentity(): Promise<ProducerIdentity> {
    const request = { transactionalId: null, transactionTimeoutMs: 60_000 };
    const { errorCode, producerId, producerEpoch } = await this.#wire.request(initProducerId, request);
    if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, "InitProducerId");
    return { producerId, producerEpoch };
  }

  /** The offset of the batch's first record. */
  async #attempt(lane: Lane, batch: Batch): Promise<number> {
    const { topic } = lane;
    try {
      const identity = batch.sealed === null ? await this.#identify() : batch.sealed.identity;
      const metadata = await this.#wire.topic(topic, { mayCreate: true });
      const connection = await this.#wire.leader(metadata, lane.partition);
      // The time was over while this attempt waited, and its place may be another batch's.
      if (batch.isOver) throw new KafkaError("TIMED_OUT", "the batch was given up");
      const { bytes } = batch.sealed ?? lane.seal(batch, identity);
      return await this.#produce(connection, { lane, batch, topicId: metadata.topicId, bytes });
    } catch (error) {
      if (!(error instanceof KafkaError) || error.retriable) this.#wire.metadata.forget(topic);
      throw error;
    }
  }

  async #produce(
    connection: BrokerConnection,
    { lane, batch, topicId, bytes }: { lane: Lane; batch: Batch; topicId: string; bytes: Buffer },
  ): Promise<number> {
    const { topic, partition } = lane;
    const acks = this.#options.acks === "all" ? -1 : this.#options.acks;
    // Without topic ids a topic that was deleted and made again would take the old one's records unnoticed.
    const message = (version: number): ProduceRequestInput => ({
      transactionalId: null,
      acks,
      timeoutMs: brokerTimeoutMs,
      topicData: [
        { ...(version >= 13 ? { topicId } : { name: topic }), partitionData: [{ index: partition, records: bytes }] },
      ],
    });
    const wasUncertain = batch.isUncertain;
    batch.isUncertain = true;
    if (acks === 0) {
      await connection.tell(produce, message);
      return -1;
    }
    const answer = await connection.request(produce, message);
    const result = answer.responses[0]?.partitionResponses[0];
    if (result === undefined) {
      throw new KafkaError("CORRUPT_MESSAGE", `the answer to Produce does not mention ${topic}-${partition}`);
    }
    const { errorCode, errorMessage, baseOffset } = result;
    if (errorCode === ErrorCode.NONE) return baseOffset;
    // An earlier attempt was stored, so long ago that the broker has forgotten where.
    if (errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) return -1;
    batch.isUncertain = wasUncertain || mayBeStored.has(errorCode);
    throw brokerError(errorCode, `${topic}-${partition}`, errorMessage);
  }
}

/** Answers after which the leader may have the records all the same. */
const mayBeStored: ReadonlySet<number> = new Set([
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.UNKNOWN_SERVER_ERROR,
]);

function toBytes(value: Uint8Array | string): Buffer {
  if (typeof value === "string") return Buffer.from(value);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
