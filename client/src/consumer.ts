import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchResponse } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Record as LogRecord } from "kafka-protocol-ts/records/record";
import type { Cluster, TopicMetadata } from "./cluster.ts";
import { brokerError, KafkaError } from "./errors.ts";

export interface ConsumerOptions {
  readonly isolation?: "read_uncommitted" | "read_committed";
  readonly minBytes?: number;
  readonly maxWaitMs?: number;
  readonly maxBytes?: number;
  readonly partitionMaxBytes?: number;
}

/** Where reading begins: an end of the log, an offset, or the first record at or after a time. */
export type StartAt = "earliest" | "latest" | { readonly offset: number } | { readonly timestamp: number };

export interface ConsumeOptions {
  readonly from?: StartAt;
  /** Absent: all of them. */
  readonly partitions?: readonly number[];
  readonly signal?: AbortSignal;
  /** Ends by itself where each partition ended when reading began. */
  readonly untilEnd?: boolean;
}

export interface ConsumedRecord extends LogRecord {
  readonly topic: string;
  readonly partition: number;
}

const latest = -1;
const earliest = -2;

/** Reads partitions by assignment: positions are the reader's own. */
export class Consumer {
  readonly #cluster: Cluster;
  readonly #options: Required<ConsumerOptions>;

  constructor(cluster: Cluster, options: ConsumerOptions) {
    this.#cluster = cluster;
    this.#options = {
      isolation: "read_uncommitted",
      minBytes: 1,
      maxWaitMs: 500,
      maxBytes: 50 * 1024 * 1024,
      partitionMaxBytes: 1024 * 1024,
      ...options,
    };
  }

  /** Each record once, in order within its partition, until the signal aborts or, with `untilEnd`, the end is reached. */
  async *records(topic: string, options: ConsumeOptions = {}): AsyncGenerator<ConsumedRecord, void> {
    const metadata = await this.#cluster.topic(topic);
    const chosen = options.partitions ?? metadata.partitions.map(({ index }) => index);
    const positions = new Map<number, number>();
    const ends = new Map<number, number>();
    for (const partition of chosen) {
      positions.set(partition, await this.#startOf(metadata, partition, options.from ?? "earliest"));
      if (options.untilEnd === true) ends.set(partition, await this.#offsetFor(metadata, partition, latest));
    }
    for (;;) {
      for (const [partition, end] of ends) if ((positions.get(partition) ?? 0) >= end) positions.delete(partition);
      if (positions.size === 0) return;
      for (const found of await this.#fetch(topic, positions)) {
        if (options.signal?.aborted === true) return;
        const end = ends.get(found.partition);
        if (end === undefined || found.offset < end) yield found;
      }
      if (options.signal?.aborted === true) return;
    }
  }

  async #startOf(topic: TopicMetadata, partition: number, from: StartAt): Promise<number> {
    if (from === "earliest") return this.#offsetFor(topic, partition, earliest);
    if (from === "latest") return this.#offsetFor(topic, partition, latest);
    if ("offset" in from) return from.offset;
    const found = await this.#offsetFor(topic, partition, from.timestamp);
    return found >= 0 ? found : this.#offsetFor(topic, partition, latest);
  }

  async #offsetFor({ name, partitions }: TopicMetadata, partition: number, timestamp: number): Promise<number> {
    const leaderId = partitions[partition]?.leaderId;
    if (leaderId === undefined)
      throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${partition}`);
    const connection = await this.#cluster.connectionTo(leaderId);
    const answer = await connection.request(listOffsets, {
      replicaId: -1,
      isolationLevel: this.#isolationLevel,
      topics: [{ name, partitions: [{ partitionIndex: partition, timestamp }] }],
    });
    const found = answer.topics[0]?.partitions[0];
    if (found === undefined)
      throw new KafkaError("CORRUPT_MESSAGE", `the answer does not mention ${name}-${partition}`);
    if (found.errorCode !== ErrorCode.NONE) throw brokerError(found.errorCode, `${name}-${partition}`);
    return found.offset;
  }

  get #isolationLevel(): number {
    return this.#options.isolation === "read_committed" ? 1 : 0;
  }

  /** One round over all leaders; moves the positions behind what it gives. */
  async #fetch(topic: string, positions: Map<number, number>): Promise<readonly ConsumedRecord[]> {
    const metadata = await this.#cluster.retrying(60_000, async () => this.#cluster.topic(topic));
    const byLeader = Map.groupBy(positions, ([partition]) => metadata.partitions[partition]?.leaderId ?? -1);
    const rounds = [...byLeader].map(async ([leaderId, wanted]) => {
      try {
        return await this.#fetchFrom(metadata, leaderId, wanted);
      } catch (error) {
        this.#cluster.forget(topic);
        if (error instanceof KafkaError && error.retriable) return null;
        throw error;
      }
    });
    const records: ConsumedRecord[] = [];
    for (const answer of await Promise.all(rounds)) {
      for (const { partitions } of answer?.responses ?? []) {
        for (const partition of partitions) this.#take(topic, partition, positions, records);
      }
    }
    return records;
  }

  async #fetchFrom(
    { name, topicId }: TopicMetadata,
    leaderId: number,
    wanted: readonly (readonly [number, number])[],
  ): Promise<FetchResponse> {
    const { maxWaitMs, minBytes, maxBytes, partitionMaxBytes } = this.#options;
    const connection = await this.#cluster.connectionTo(leaderId);
    return connection.request(
      fetch,
      (version) => ({
        maxWaitMs,
        minBytes,
        maxBytes,
        isolationLevel: this.#isolationLevel,
        sessionId: 0,
        sessionEpoch: -1,
        topics: [
          {
            ...(version >= 13 ? { topicId } : { topic: name }),
            partitions: wanted.map(([partition, fetchOffset]) => ({ partition, fetchOffset, partitionMaxBytes })),
          },
        ],
        forgottenTopicsData: [],
      }),
      { timeoutMs: maxWaitMs + 30_000 },
    );
  }

  #take(
    topic: string,
    answer: FetchResponse["responses"][number]["partitions"][number],
    positions: Map<number, number>,
    into: ConsumedRecord[],
  ): void {
    const { partitionIndex: partition, errorCode, records, abortedTransactions } = answer;
    if (errorCode !== ErrorCode.NONE) {
      const error = brokerError(errorCode, `${topic}-${partition} at offset ${positions.get(partition)}`);
      if (!error.retriable || errorCode === ErrorCode.CORRUPT_MESSAGE) throw error;
      this.#cluster.forget(topic);
      return;
    }
    const aborted = new AbortedFilter(abortedTransactions ?? []);
    const bytes = records ?? Buffer.alloc(0);
    for (const batch of batchesIn(bytes)) {
      if (!batch.isCrcValid()) {
        throw new KafkaError(
          "CORRUPT_MESSAGE",
          `${topic}-${partition}: the batch at offset ${batch.baseOffset} fails its CRC`,
        );
      }
      const position = positions.get(partition) ?? 0;
      if (batch.lastOffset < position) continue;
      positions.set(partition, batch.lastOffset + 1);
      if (aborted.hides(batch)) continue;
      for (const record of readRecords(batch))
        if (record.offset >= position) into.push({ ...record, topic, partition });
    }
  }
}

/** Leaves out control batches and the data of aborted transactions, in the order of the log (KIP-98). */
class AbortedFilter {
  readonly #begins: { readonly producerId: number; readonly firstOffset: number }[];
  readonly #open = new Set<number>();

  constructor(aborted: readonly { readonly producerId: number; readonly firstOffset: number }[]) {
    this.#begins = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  hides(batch: {
    readonly lastOffset: number;
    readonly producerId: number;
    readonly isControl: boolean;
    readonly isTransactional: boolean;
  }): boolean {
    for (
      let first = this.#begins[0];
      first !== undefined && first.firstOffset <= batch.lastOffset;
      first = this.#begins[0]
    ) {
      this.#open.add(first.producerId);
      this.#begins.shift();
    }
    if (batch.isControl) {
      this.#open.delete(batch.producerId);
      return true;
    }
    return batch.isTransactional && this.#open.has(batch.producerId);
  }
}
