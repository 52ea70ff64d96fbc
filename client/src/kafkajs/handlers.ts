import type { NextOffset } from "../consumer/consumed-offsets.ts";
import type { PartitionReading } from "../consumer/partition-reading.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { BatchWork } from "./batch-work.ts";
import type { FacadeBatch } from "./consumed-batch.ts";
import { asKafkaJSError, protocolSource } from "./error-mapping.ts";
import { KafkaJSError, KafkaJSProtocolError } from "./errors.ts";
import { consumerEvents as events } from "./events.ts";
import type { PartitionOffset } from "./message-types.ts";
import { topicOffsets } from "./resolved-offsets.ts";
import type { ResolvedOffsets } from "./resolved-offsets.ts";
import type { RunCommits } from "./run-commits.ts";
import type { RunParts } from "./run-parts.ts";

/** The run whose handlers these are. */
export interface HandlersHost {
  readonly isRunning: boolean;
  /** Gives others a turn; false: nothing more is handed out. */
  goesOn(): Promise<boolean>;
  setPaused(
    topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
    isPaused: boolean,
  ): void;
  /** A handler has not failed. */
  wentWell(reading: PartitionReading): void;
}

const rebalanceInProgress = 27;

/** Calls the program's `eachMessage` or `eachBatch`, with what it may ask and say meanwhile. */
export class Handlers {
  readonly #parts: RunParts;
  readonly #offsets: ResolvedOffsets;
  readonly #commits: RunCommits;
  readonly #host: HandlersHost;

  constructor(
    parts: RunParts,
    {
      offsets,
      commits,
      host,
    }: { readonly offsets: ResolvedOffsets; readonly commits: RunCommits; readonly host: HandlersHost },
  ) {
    this.#parts = parts;
    this.#offsets = offsets;
    this.#commits = commits;
    this.#host = host;
  }

  /** What the handler failed with; null: it went well, or its failure is of no interest. */
  async handle(work: BatchWork): Promise<unknown> {
    const { instrumentation, clock } = this.#parts;
    const { batch, reading } = work;
    const startedMs = clock.monotonicMs();
    const about = aboutBatch(batch);
    instrumentation.emit(events.START_BATCH_PROCESS, about);
    try {
      if (batch.isEmpty()) this.#resolve(work, batch.nextOffset);
      else if (this.#parts.config.eachMessage !== undefined) await this.#eachMessage(work);
      else if (this.#parts.config.eachBatch !== undefined) await this.#eachBatch(work);
      else this.#resolve(work, batch.nextOffset);
    } catch (error) {
      const isLost = work.isVoid;
      this.#logFailure(work, error, isLost);
      await this.#commits.auto();
      return isLost ? null : error;
    }
    const duration = Math.round(clock.monotonicMs() - startedMs);
    instrumentation.emit(events.END_BATCH_PROCESS, { ...about, duration });
    if (!work.isVoid) this.#host.wentWell(reading);
    await this.#commits.auto();
    return null;
  }

  async #eachMessage(work: BatchWork): Promise<void> {
    const { batch, reading } = work;
    const { topic, partition } = batch;
    const handler = this.#parts.config.eachMessage;
    for (const message of batch.messages) {
      if (!this.#host.isRunning || work.isVoid) return;
      await handler?.({
        topic,
        partition,
        message,
        heartbeat: async () => this.#heartbeat(work),
        pause: this.#pauser(batch),
      });
      this.#resolve(work, batch.nextOffsetBehind(Number(message.offset)));
      if (work.isVoid) return;
      this.#host.wentWell(reading);
      if (this.#parts.config.autoCommit !== false) await this.#commits.ifNecessary();
      if (reading.isPaused) return;
      if (!(await this.#host.goesOn())) return;
    }
  }

  async #eachBatch(work: BatchWork): Promise<void> {
    const { batch } = work;
    const { eachBatch, eachBatchAutoResolve = true } = this.#parts.config;
    await eachBatch?.({
      batch,
      resolveOffset: (offset) => this.#resolve(work, batch.nextOffsetBehind(Number(offset))),
      heartbeat: async () => this.#heartbeat(work),
      pause: this.#pauser(batch),
      commitOffsetsIfNecessary: async (offsets) => {
        try {
          if (offsets === undefined) await this.#commits.ifNecessary();
          else await this.#commits.commit(nextOffsetsOf(offsets.topics));
        } catch (error) {
          throw asKafkaJSError(error);
        }
      },
      uncommittedOffsets: () => ({ topics: topicOffsets(this.#offsets.uncommitted()) }),
      isRunning: () => this.#host.isRunning,
      isStale: () => work.isVoid,
    });
    if (eachBatchAutoResolve) this.#resolve(work, batch.nextOffset);
  }

  #pauser({ topic, partition }: TopicPartition): () => () => void {
    return () => {
      const topics = [{ topic, partitions: [partition] }];
      this.#host.setPaused(topics, true);
      return () => {
        if (this.#host.isRunning) this.#host.setPaused(topics, false);
      };
    };
  }

  /** The group's own are sent beside it; what it is good for is a turn for them, and word of a partition that is gone. */
  async #heartbeat(work: BatchWork): Promise<void> {
    await this.#host.goesOn();
    if (!work.isRevoked) return;
    const sentence = `${work.reading.key} was taken away from this member: the rest of its batch is another's`;
    throw new KafkaJSProtocolError(protocolSource(rebalanceInProgress, sentence), { retriable: true });
  }

  #resolve(work: BatchWork, nextOffset: number): void {
    if (!work.mayResolve) return;
    this.#offsets.resolve(work.reading, { nextOffset, epoch: work.batch.epochBefore(nextOffset) });
  }

  #logFailure({ batch }: BatchWork, error: unknown, isLost: boolean): void {
    const { logger } = this.#parts;
    const { topic, partition } = batch;
    const about = { topic, partition, offset: batch.firstOffset(), error, stack: (error as Partial<Error>)?.stack };
    if (isLost) logger.debug("a handler ended with an error after its partition was taken away", about);
    else if (!(error instanceof KafkaJSError)) logger.error("the handler has failed", about);
  }
}

/** What events say of a batch. */
function aboutBatch(batch: FacadeBatch) {
  const { topic, partition, highWatermark, messages } = batch;
  return {
    topic,
    partition,
    highWatermark,
    offsetLag: batch.offsetLag(),
    offsetLagLow: batch.offsetLagLow(),
    batchSize: messages.length,
    firstOffset: batch.firstOffset(),
    lastOffset: batch.lastOffset(),
  };
}

function nextOffsetsOf(
  topics: readonly { readonly topic: string; readonly partitions: readonly PartitionOffset[] }[],
): readonly NextOffset[] {
  return topics.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset), leaderEpoch: -1 })),
  );
}
