import type { Logger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import type { MarkersToWrite } from "./types.ts";

/**
 * Why a marker is not in its partition, as far as anybody knows.
 * - gone: there is no such partition any more, so nothing in it is undecided
 * - stale-producer-epoch: the partition has heard of a newer one, so nothing of this one is open there
 * - stale-coordinator-epoch: another coordinator has come after this one
 * - loading, not-ready, not-leader, not-enough-replicas, timed-out, unreachable: later it may be taken, perhaps by another broker
 */
export type MarkerFailure =
  | "gone"
  | "stale-producer-epoch"
  | "stale-coordinator-epoch"
  | "loading"
  | "not-ready"
  | "not-leader"
  | "not-enough-replicas"
  | "timed-out"
  | "unreachable";

/** What another broker's coordinator, or an administrator's tool, is told. A group coordinator that is loading is no leader yet, as in Kafka. */
export const codeOfMarkerFailure: Readonly<Record<MarkerFailure, ErrorCode>> = {
  gone: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "stale-producer-epoch": ErrorCode.INVALID_PRODUCER_EPOCH,
  "stale-coordinator-epoch": ErrorCode.TRANSACTION_COORDINATOR_FENCED,
  loading: ErrorCode.NOT_LEADER_OR_FOLLOWER,
  "not-ready": ErrorCode.KAFKA_STORAGE_ERROR,
  "not-leader": ErrorCode.NOT_LEADER_OR_FOLLOWER,
  "not-enough-replicas": ErrorCode.NOT_ENOUGH_REPLICAS,
  "timed-out": ErrorCode.REQUEST_TIMED_OUT,
  unreachable: ErrorCode.NETWORK_EXCEPTION,
};

export interface MarkerWriterOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * One try: looks who leads the partition, has the marker appended there, and settles when it is committed. Where it does not append at
   * once it asks `isCurrent` again, and takes no for a failure.
   */
  end(
    topic: string,
    partition: number,
    marker: TransactionMarker,
    isCurrent: () => boolean,
  ): Promise<Result<void, MarkerFailure>>;
}

/** A marker that is not in its partition yet. */
export interface PendingMarker {
  readonly topic: string;
  readonly partition: number;
  readonly sinceMs: TimeMs;
  readonly attempts: number;
  /** Of the last attempt; null while none has failed. */
  readonly failure: MarkerFailure | null;
  readonly message: string | null;
}

const RETRY_MS = 20;
const RETRY_MAX_MS = 1_000;

/**
 * Writes the markers of a decided transaction, and does not give up: what is decided has to be seen everywhere. Each try looks anew for
 * the leader of the partition. Markers of one producer come into a partition in the order in which they were given.
 */
export class MarkerWriter {
  readonly #options: MarkerWriterOptions;
  /** By transactional id. */
  readonly #pending = new Map<string, Set<Pending>>();

  constructor(options: MarkerWriterOptions) {
    this.#options = options;
  }

  /** What of the decided transaction is still to be written, and what keeps it. */
  pendingOf(transactionalId: string): readonly PendingMarker[] {
    return [...(this.#pending.get(transactionalId) ?? [])];
  }

  /** True when every partition has its marker; false when `isCurrent` said no before. */
  async write(markers: MarkersToWrite, coordinatorEpoch: number, isCurrent: () => boolean): Promise<boolean> {
    const { transactionalId, producerId, producerEpoch, outcome, isEpochRaised, topics } = markers;
    const marker: TransactionMarker = { producerId, producerEpoch, outcome, coordinatorEpoch, isEpochRaised };
    const earlier = this.#earlier(transactionalId, producerId);
    const written = await Promise.all(
      topics.flatMap(({ topic, partitions }) =>
        partitions.map(async (partition) => {
          const sinceMs = this.#options.clock.now();
          const pending = new Pending({ topic, partition, producerId, sinceMs, isCurrent });
          const before = earlier.findLast((each) => each.partition === partition && each.topic === topic) ?? null;
          this.#add(transactionalId, pending);
          try {
            if (before !== null) await before.untilDone();
            return await this.#writeOne(pending, marker);
          } finally {
            this.#remove(transactionalId, pending);
          }
        }),
      ),
    );
    return written.every(Boolean);
  }

  /** What must not be overtaken: nearly always nothing. What an incarnation that is gone has left is not sent any more. */
  #earlier(transactionalId: string, producerId: number): readonly Pending[] {
    const pending = [...(this.#pending.get(transactionalId) ?? [])];
    return pending.filter((each) => each.producerId === producerId && each.isCurrent());
  }

  #add(transactionalId: string, pending: Pending): void {
    const ofId = this.#pending.get(transactionalId);
    if (ofId === undefined) this.#pending.set(transactionalId, new Set([pending]));
    else ofId.add(pending);
  }

  #remove(transactionalId: string, pending: Pending): void {
    const ofId = this.#pending.get(transactionalId);
    ofId?.delete(pending);
    if (ofId?.size === 0) this.#pending.delete(transactionalId);
    pending.done();
  }

  async #writeOne(pending: Pending, marker: TransactionMarker): Promise<boolean> {
    const { end, clock } = this.#options;
    const { topic, partition, isCurrent } = pending;
    for (let waitMs = RETRY_MS; ; waitMs = Math.min(RETRY_MAX_MS, 2 * waitMs)) {
      // Asked in the turn of the append: the marker of an incarnation that is gone could end the transaction after this one.
      if (!isCurrent()) return false;
      const ended = await end(topic, partition, marker, isCurrent);
      if (ended.ok || ended.failure === "gone") return true;
      if (ended.failure === "stale-producer-epoch") {
        this.#refused(pending, marker, ended.message ?? ended.failure);
        return true;
      }
      pending.attempts += 1;
      pending.failure = ended.failure;
      pending.message = ended.message ?? null;
      if (ended.failure === "stale-coordinator-epoch") {
        this.#refused(pending, marker, ended.message ?? ended.failure);
        return this.#untilGone(isCurrent);
      }
      await new Promise<void>((resolve) => clock.schedule(waitMs, resolve));
    }
  }

  /** The coordinator after this one writes this marker, or has: here it is not even tried again, and nothing is complete. */
  async #untilGone(isCurrent: () => boolean): Promise<false> {
    while (isCurrent()) await new Promise<void>((resolve) => this.#options.clock.schedule(RETRY_MAX_MS, resolve));
    return false;
  }

  #refused({ topic, partition }: Pending, { producerId, producerEpoch }: TransactionMarker, reason: string): void {
    const fields = { topic, partition, producerId, producerEpoch, reason };
    this.#options.logger.warn("a partition refuses the marker of a transaction", fields);
  }
}

/** As the writer keeps it while it tries. */
class Pending implements PendingMarker {
  readonly topic: string;
  readonly partition: number;
  readonly producerId: number;
  readonly sinceMs: TimeMs;
  readonly isCurrent: () => boolean;
  attempts = 0;
  failure: MarkerFailure | null = null;
  message: string | null = null;
  /** Null while nobody waits for it, as nearly always. */
  #waiting: (() => void)[] | null = null;

  constructor({
    topic,
    partition,
    producerId,
    sinceMs,
    isCurrent,
  }: Pick<Pending, "topic" | "partition" | "producerId" | "sinceMs" | "isCurrent">) {
    this.topic = topic;
    this.partition = partition;
    this.producerId = producerId;
    this.sinceMs = sinceMs;
    this.isCurrent = isCurrent;
  }

  untilDone(): Promise<void> {
    return new Promise((resolve) => {
      (this.#waiting ??= []).push(resolve);
    });
  }

  done(): void {
    for (const resolve of this.#waiting ?? []) resolve();
  }
}
