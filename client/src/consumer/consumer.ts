import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchResponse } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Record as LogRecord } from "kafka-protocol-ts/records/record";
import { AbortedTransactions } from "./aborted-transactions.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import { brokerError, KafkaError } from "../errors.ts";

export interface ConsumerOptions {
  readonly isolation?: "read_uncommitted" | "read_committed";
  readonly minBytes?: number;
  readonly maxWaitMs?: number;
  readonly maxBytes?: number;
  readonly partitionMaxBytes?: number;
  /** So long brokers may be away before reading fails. Default 60,000. */
  readonly outageMsMax?: number;
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

type PartitionAnswer = FetchResponse["responses"][number]["partitions"][number];

/** Where each partition stands, and where its reading ends. The order is that of the requests: who was served goes last. */
interface Reading {
  readonly topic: string;
  readonly positions: Map<number, number>;
  readonly ends: ReadonlyMap<number, number>;
}

const latest = -1;
const earliest = -2;
const answerGraceMs = 30_000;
/** Whoever begins to read wants to know soon that it cannot be done. */
const beginMsMax = 10_000;

/** Reads partitions by assignment: positions are the reader's own. */
export class Consumer {
  readonly #wire: Wire;
  readonly #options: Required<ConsumerOptions>;

  constructor(wire: Wire, options: ConsumerOptions) {
    this.#wire = wire;
    this.#options = {
      isolation: "read_uncommitted",
      minBytes: 1,
      maxWaitMs: 500,
      maxBytes: 50 * 1024 * 1024,
      partitionMaxBytes: 1024 * 1024,
      outageMsMax: 60_000,
      ...options,
    };
  }

  /**
   * Each record once, in order within its partition, until the signal aborts or, with `untilEnd`, the end is reached.
   * At the beginning it fails at once when the topic, a partition or all brokers are not there, and soon when a leader
   * is not; later it waits for them.
   */
  async *records(topic: string, options: ConsumeOptions = {}): AsyncGenerator<ConsumedRecord, void> {
    const { signal } = options;
    const reading = await unlessAborted(signal, this.#begin(topic, options));
    if (reading === null) return;
    const { positions, ends } = reading;
    for (;;) {
      for (const [partition, end] of ends) if ((positions.get(partition) ?? end) >= end) positions.delete(partition);
      if (positions.size === 0) return;
      const answers = await unlessAborted(signal, this.#round(reading));
      if (answers === null) return;
      for (const answer of answers) {
        for (const record of this.#take(reading, answer)) {
          yield record;
          if (signal?.aborted === true) return;
        }
      }
    }
  }

  // --- Where reading begins and ends ------------------------------------------------------------------------------------

  async #begin(name: string, { partitions, from = "earliest", untilEnd = false }: ConsumeOptions): Promise<Reading> {
    const topic = await this.#wire.topic(name);
    const chosen = [...new Set(partitions ?? topic.partitions.map(({ index }) => index))];
    const missing = chosen.find((partition) => topic.partitions[partition] === undefined);
    if (missing !== undefined) {
      const sentence = `the topic has the partitions 0 to ${topic.partitions.length - 1}`;
      throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${missing}`, sentence);
    }
    const positions = await this.#starts(name, chosen, from);
    return { topic: name, positions, ends: untilEnd ? await this.#offsets(name, chosen, latest) : new Map() };
  }

  async #starts(topic: string, partitions: readonly number[], from: StartAt): Promise<Map<number, number>> {
    if (from === "earliest") return this.#offsets(topic, partitions, earliest);
    if (from === "latest") return this.#offsets(topic, partitions, latest);
    if ("offset" in from) return new Map(partitions.map((partition) => [partition, from.offset]));
    const found = await this.#offsets(topic, partitions, from.timestamp);
    // No record is so young: what comes next is.
    const without = partitions.filter((partition) => (found.get(partition) ?? -1) < 0);
    return new Map([...found, ...(await this.#offsets(topic, without, latest))]);
  }

  /** Asks each leader once for all its partitions. */
  async #offsets(name: string, partitions: readonly number[], timestamp: number): Promise<Map<number, number>> {
    const found = new Map<number, number>();
    const retry = { what: `offsets of ${name}`, timeoutMs: Math.min(this.#options.outageMsMax, beginMsMax) };
    await this.#wire.retrying(retry, async () => {
      const topic = await this.#wire.topic(name);
      const missing = partitions.filter((partition) => !found.has(partition));
      const byLeader = Map.groupBy(missing, (partition) => topic.partitions[partition]?.leaderId ?? -1);
      try {
        const answers = [...byLeader.values()].map(async (led) => this.#offsetsFromLeader(topic, led, timestamp));
        for (const answer of await Promise.all(answers)) for (const [index, offset] of answer) found.set(index, offset);
      } catch (error) {
        this.#wire.metadata.forget(name);
        throw error;
      }
    });
    return found;
  }

  async #offsetsFromLeader(
    topic: TopicMetadata,
    partitions: readonly number[],
    timestamp: number,
  ): Promise<ReadonlyMap<number, number>> {
    const { name } = topic;
    const connection = await this.#wire.leader(topic, partitions[0] ?? 0);
    const answer = await connection.request(listOffsets, {
      replicaId: -1,
      isolationLevel: this.#isolationLevel,
      topics: [{ name, partitions: partitions.map((partitionIndex) => ({ partitionIndex, timestamp })) }],
    });
    const found = new Map<number, number>();
    for (const { partitionIndex, errorCode, offset } of answer.topics[0]?.partitions ?? []) {
      if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, `${name}-${partitionIndex}`);
      found.set(partitionIndex, offset);
    }
    const missing = partitions.find((partition) => !found.has(partition));
    if (missing === undefined) return found;
    throw new KafkaError("CORRUPT_MESSAGE", `the answer to ListOffsets does not mention ${name}-${missing}`);
  }

  get #isolationLevel(): number {
    return this.#options.isolation === "read_committed" ? 1 : 0;
  }

  // --- One round over all leaders ---------------------------------------------------------------------------------------

  /** Answers for some partitions at least; waits through changes of leaders and broken connections. */
  async #round({ topic: name, positions }: Reading): Promise<readonly PartitionAnswer[]> {
    const retry = { what: `reading ${name}`, timeoutMs: this.#options.outageMsMax };
    return this.#wire.retrying(retry, async () => {
      const topic = await this.#wire.topic(name);
      const byLeader = Map.groupBy(positions, ([partition]) => topic.partitions[partition]?.leaderId ?? -1);
      const rounds = [...byLeader.values()].map(async (wanted) => this.#fetch(topic, wanted));
      const answers: PartitionAnswer[] = [];
      let failure: unknown = null;
      for (const round of await Promise.allSettled(rounds)) {
        if (round.status === "rejected") failure = worse(failure, round.reason);
        else {
          for (const answer of round.value) {
            if (answer.errorCode === ErrorCode.NONE) answers.push(answer);
            else failure = worse(failure, this.#errorOf(name, answer, positions));
          }
        }
      }
      if (failure === null) return answers;
      this.#wire.metadata.forget(name);
      const isPassing = failure instanceof KafkaError && failure.retriable;
      if (isPassing && answers.some(({ records }) => (records?.length ?? 0) > 0)) return answers;
      throw failure;
    });
  }

  #errorOf(topic: string, { partitionIndex, errorCode }: PartitionAnswer, positions: Reading["positions"]): KafkaError {
    const error = brokerError(errorCode, `${topic}-${partitionIndex} at offset ${positions.get(partitionIndex)}`);
    // The broker has found the damage on its disk: it is there at the next attempt, too.
    return errorCode === ErrorCode.CORRUPT_MESSAGE ? new KafkaError(error.code, error.message) : error;
  }

  async #fetch(
    topic: TopicMetadata,
    wanted: readonly (readonly [number, number])[],
  ): Promise<readonly PartitionAnswer[]> {
    const { maxWaitMs, minBytes, maxBytes, partitionMaxBytes } = this.#options;
    const connection = await this.#wire.leader(topic, wanted[0]?.[0] ?? 0);
    const answer = await connection.request(
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
            ...(version >= 13 ? { topicId: topic.topicId } : { topic: topic.name }),
            partitions: wanted.map(([partition, fetchOffset]) => ({ partition, fetchOffset, partitionMaxBytes })),
          },
        ],
        forgottenTopicsData: [],
      }),
      { timeoutMs: maxWaitMs + answerGraceMs },
    );
    if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `reading ${topic.name}`);
    return answer.responses.flatMap(({ partitions }) => partitions);
  }

  // --- From bytes to records --------------------------------------------------------------------------------------------

  *#take({ topic, positions, ends }: Reading, answer: PartitionAnswer): Generator<ConsumedRecord> {
    const { partitionIndex: partition, abortedTransactions } = answer;
    const bytes = answer.records ?? Buffer.alloc(0);
    const begin = positions.get(partition);
    // Not asked for, or nothing new.
    if (begin === undefined || bytes.length === 0) return;
    const end = ends.get(partition) ?? Number.POSITIVE_INFINITY;
    const aborted = new AbortedTransactions(abortedTransactions ?? []);
    const batches = batchesIn(bytes);
    let position = begin;
    for (const batch of batches) {
      const where = `${topic}-${partition} at offset ${batch.baseOffset}`;
      if (!batch.isCrcValid()) throw corrupt(`${where}: the batch fails its CRC`);
      if (batch.lastOffset < position) continue;
      const first = position;
      position = batch.lastOffset + 1;
      positions.delete(partition);
      positions.set(partition, position);
      if (aborted.hides(batch)) continue;
      for (const record of recordsOf(batch, where)) {
        if (record.offset >= first && record.offset < end) yield { ...record, topic, partition };
      }
    }
    const { fault } = batches;
    // A broker may cut the last batch off; one that does not even give the first would be asked for it forever.
    const isHarmless = fault === null || (fault === "truncated" && position > begin);
    if (!isHarmless) throw corrupt(`${topic}-${partition} at offset ${position}: no readable batch (${fault})`);
  }
}

function recordsOf(batch: RecordBatchView, where: string): readonly LogRecord[] {
  try {
    return readRecords(batch);
  } catch (error) {
    throw corrupt(`${where}: ${(error as Error).message}`, error);
  }
}

function corrupt(message: string, cause?: unknown): KafkaError {
  return new KafkaError("CORRUPT_MESSAGE", message, cause === undefined ? {} : { cause });
}

/** A failure for good is told before one that may pass. */
function worse(a: unknown, b: unknown): unknown {
  const isPassing = (failure: unknown): boolean => failure instanceof KafkaError && failure.retriable;
  return a === null || (isPassing(a) && !isPassing(b)) ? b : a;
}

/** Null as soon as the signal aborts; what was waited for is then left to itself. */
async function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T | null> {
  if (signal === undefined) return work;
  const { promise: aborted, resolve } = Promise.withResolvers<null>();
  const stop = (): void => resolve(null);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
