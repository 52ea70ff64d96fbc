import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { BatchBuilder, recordBytesMax } from "kafka-protocol-ts/records/record";
import type { HeaderInput } from "kafka-protocol-ts/records/record";
import type { CompressionName } from "kafka-protocol-ts/records/compression";
import type { Cluster, TopicMetadata } from "./cluster.ts";
import { brokerError, KafkaError } from "./errors.ts";
import { partitionOfKey } from "./partitioner.ts";

export interface ProducerOptions {
  /** Default "all". */
  readonly acks?: "all" | 1 | 0;
  readonly compression?: CompressionName;
  /** How long a record waits for company; 0 still puts all records of one turn together. */
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
  /** -1 under acks 0. */
  readonly offset: number;
}

interface Batch {
  readonly builder: BatchBuilder;
  readonly deliveries: {
    readonly resolve: (delivered: Delivered) => void;
    readonly reject: (error: unknown) => void;
  }[];
  readonly deadlineMs: number;
  bytes: Buffer | null;
  recordsCount: number;
}

/** The batches of one partition: one is in flight, the others wait, the last of them is filled. */
interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly queue: Batch[];
  nextSequence: number;
  isSending: boolean;
}

const sequenceEnd = 0x80000000;

/**
 * Sends records in batches, idempotently: a retried batch carries the sequence it had, so that it is stored once.
 * One batch of a partition is in flight at a time, which keeps their order through every retry.
 */
export class Producer implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #options: Required<ProducerOptions>;
  readonly #lanes = new Map<string, Lane>();
  readonly #sticky = new Map<string, number>();
  #identity: Promise<{ readonly producerId: number; readonly producerEpoch: number }> | null = null;
  #isFlushScheduled = false;
  #pending = 0;
  #whenIdle: (() => void)[] = [];
  #isClosed = false;

  constructor(cluster: Cluster, options: ProducerOptions) {
    this.#cluster = cluster;
    this.#options = {
      acks: "all",
      compression: "none",
      lingerMs: 0,
      batchBytesMax: 1_000_000,
      deliveryTimeoutMs: 120_000,
      ...options,
    };
  }

  /** Settles when the broker has answered for the record's batch. */
  async send(topic: string, record: ProducerRecord): Promise<Delivered> {
    if (this.#isClosed) throw new KafkaError("CLOSED", "the producer was closed");
    this.#pending++;
    try {
      const { deliveryTimeoutMs } = this.#options;
      const metadata = await this.#cluster.retrying(deliveryTimeoutMs, async () => this.#cluster.topic(topic));
      const partition = this.#partitionFor(metadata, record);
      if (metadata.partitions[partition] === undefined) {
        throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${topic}-${partition}`);
      }
      return await new Promise<Delivered>((resolve, reject) => {
        this.#enqueue(topic, partition, record, { resolve, reject });
      });
    } finally {
      this.#pending--;
      if (this.#pending === 0) this.#idle();
    }
  }

  /** Settles when everything sent so far has been answered, well or ill. */
  async flush(): Promise<void> {
    if (this.#pending === 0) return;
    for (const lane of this.#lanes.values()) this.#startLane(lane);
    await new Promise<void>((resolve) => {
      this.#whenIdle.push(resolve);
    });
  }

  async close(): Promise<void> {
    await this.flush();
    this.#isClosed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #partitionFor({ name, partitions }: TopicMetadata, { key, partition }: ProducerRecord): number {
    if (partition !== undefined) return partition;
    if (key !== null && key !== undefined) return partitionOfKey(toBytes(key), partitions.length);
    const sticky = this.#sticky.get(name);
    if (sticky !== undefined && sticky < partitions.length) return sticky;
    const chosen = Math.floor(this.#cluster.world.random.fraction() * partitions.length);
    this.#sticky.set(name, chosen);
    return chosen;
  }

  #enqueue(topic: string, partition: number, record: ProducerRecord, delivery: Batch["deliveries"][number]): void {
    const laneKey = `${topic}/${partition}`;
    let lane = this.#lanes.get(laneKey);
    if (lane === undefined) {
      lane = { topic, partition, queue: [], nextSequence: 0, isSending: false };
      this.#lanes.set(laneKey, lane);
    }
    const { clock } = this.#cluster.world;
    const encoded = {
      key: record.key === null || record.key === undefined ? null : toBytes(record.key),
      value: record.value === null ? null : toBytes(record.value),
      headers: record.headers ?? [],
      timestamp: record.timestamp ?? clock.now(),
    };
    let batch = lane.queue.at(-1);
    const isFull =
      batch !== undefined && batch.builder.sizeBytes + recordBytesMax(encoded) > this.#options.batchBytesMax;
    if (batch === undefined || batch.bytes !== null || isFull) {
      if (isFull) this.#sticky.delete(topic);
      batch = {
        builder: new BatchBuilder({ compression: this.#options.compression }),
        deliveries: [],
        deadlineMs: clock.monotonicMs() + this.#options.deliveryTimeoutMs,
        bytes: null,
        recordsCount: 0,
      };
      lane.queue.push(batch);
    }
    batch.builder.append(encoded);
    batch.deliveries.push(delivery);
    batch.recordsCount++;
    if (isFull) this.#startLane(lane);
    else this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    const flush = (): void => {
      this.#isFlushScheduled = false;
      this.#sticky.clear();
      for (const lane of this.#lanes.values()) this.#startLane(lane);
    };
    if (this.#options.lingerMs === 0) this.#cluster.world.clock.afterTurn(flush);
    else this.#cluster.world.clock.schedule(this.#options.lingerMs, flush);
  }

  #startLane(lane: Lane): void {
    if (lane.isSending || lane.queue.length === 0) return;
    lane.isSending = true;
    void this.#drain(lane).finally(() => {
      lane.isSending = false;
      // What was enqueued between the last look at the queue and here.
      this.#startLane(lane);
    });
  }

  async #drain(lane: Lane): Promise<void> {
    for (let batch = lane.queue[0]; batch !== undefined; batch = lane.queue[0]) {
      try {
        const offset = await this.#deliver(lane, batch);
        batch.deliveries.forEach(({ resolve }, index) => {
          resolve({ partition: lane.partition, offset: offset < 0 ? -1 : offset + index });
        });
      } catch (error) {
        for (const { reject } of batch.deliveries) reject(error);
      }
      lane.queue.shift();
    }
  }

  #idle(): void {
    for (const resolve of this.#whenIdle) resolve();
    this.#whenIdle = [];
  }

  async #deliver(lane: Lane, batch: Batch): Promise<number> {
    const { clock } = this.#cluster.world;
    return this.#cluster.retrying(batch.deadlineMs - clock.monotonicMs(), async () => {
      if (batch.bytes === null) {
        const identity = await this.#identify();
        batch.bytes = batch.builder.build({ ...identity, baseSequence: lane.nextSequence });
        lane.nextSequence = (lane.nextSequence + batch.recordsCount) % sequenceEnd;
      }
      return this.#produceOnce(lane, batch.bytes);
    });
  }

  async #identify(): Promise<{ readonly producerId: number; readonly producerEpoch: number }> {
    this.#identity ??= this.#cluster
      .request(initProducerId, { transactionalId: null, transactionTimeoutMs: 60_000 })
      .then(({ errorCode, producerId, producerEpoch }) => {
        if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, "InitProducerId");
        return { producerId, producerEpoch };
      });
    try {
      return await this.#identity;
    } catch (error) {
      this.#identity = null;
      throw error;
    }
  }

  async #produceOnce({ topic, partition }: Lane, records: Buffer): Promise<number> {
    const { partitions, topicId } = await this.#cluster.topic(topic);
    const leaderId = partitions[partition]?.leaderId ?? -1;
    const connection = await this.#cluster.connectionTo(leaderId);
    // Without topic ids a topic that was deleted and made again would take the old one's records unnoticed.
    const answer = await connection.request(produce, (version) => ({
      transactionalId: null,
      acks: this.#options.acks === "all" ? -1 : this.#options.acks,
      timeoutMs: 30_000,
      topicData: [
        {
          ...(version >= 13 ? { topicId } : { name: topic }),
          partitionData: [{ index: partition, records }],
        },
      ],
    }));
    const result = answer.responses[0]?.partitionResponses[0];
    if (result === undefined)
      throw new KafkaError("CORRUPT_MESSAGE", `the answer does not mention ${topic}-${partition}`);
    if (result.errorCode !== ErrorCode.NONE) {
      this.#cluster.forget(topic);
      throw brokerError(result.errorCode, `${topic}-${partition}`, result.errorMessage);
    }
    return result.baseOffset;
  }
}

function toBytes(value: Uint8Array | string): Buffer {
  if (typeof value === "string") return Buffer.from(value);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
