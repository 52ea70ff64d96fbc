import type { Logger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import type { MarkersToWrite } from "./types.ts";

/**
 * Why a marker is not in its partition.
 * - gone: there is no such partition any more, so nothing in it is undecided
 * - stale-producer-epoch, stale-coordinator-epoch: the partition has heard of a newer one
 * - loading, not-ready: later it may be taken
 */
export type MarkerFailure = "gone" | "stale-producer-epoch" | "stale-coordinator-epoch" | "loading" | "not-ready";

/** What an administrator's tool is told. */
export const codeOfMarkerFailure: Readonly<Record<MarkerFailure, ErrorCode>> = {
  gone: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "stale-producer-epoch": ErrorCode.INVALID_PRODUCER_EPOCH,
  "stale-coordinator-epoch": ErrorCode.TRANSACTION_COORDINATOR_FENCED,
  loading: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  "not-ready": ErrorCode.KAFKA_STORAGE_ERROR,
};

export interface MarkerWriterOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Appends one marker, and settles when it is committed. */
  end(topic: string, partition: number, marker: TransactionMarker): Promise<Result<void, MarkerFailure>>;
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

/** Writes the markers of a decided transaction, and does not give up: what is decided has to be seen everywhere. */
export class MarkerWriter {
  readonly #options: MarkerWriterOptions;
  /** By transactional id. */
  readonly #pending = new Map<string, Set<PendingMarker>>();

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
    const written = await Promise.all(
      topics.flatMap(({ topic, partitions }) =>
        partitions.map(async (partition) => {
          const pending = new Pending(topic, partition, this.#options.clock.now());
          this.#add(transactionalId, pending);
          try {
            return await this.#writeOne(pending, marker, isCurrent);
          } finally {
            this.#remove(transactionalId, pending);
          }
        }),
      ),
    );
    return written.every(Boolean);
  }

  #add(transactionalId: string, pending: PendingMarker): void {
    const ofId = this.#pending.get(transactionalId);
    if (ofId === undefined) this.#pending.set(transactionalId, new Set([pending]));
    else ofId.add(pending);
  }

  #remove(transactionalId: string, pending: PendingMarker): void {
    const ofId = this.#pending.get(transactionalId);
    ofId?.delete(pending);
    if (ofId?.size === 0) this.#pending.delete(transactionalId);
  }

  async #writeOne(pending: Pending, marker: TransactionMarker, isCurrent: () => boolean): Promise<boolean> {
    const { end, logger } = this.#options;
    const { topic, partition } = pending;
    for (let waitMs = RETRY_MS; ; waitMs = Math.min(RETRY_MAX_MS, 2 * waitMs)) {
      // Asked in the turn of the append: the marker of an incarnation that is gone could end the transaction after this one.
      if (!isCurrent()) return false;
      const ended = await end(topic, partition, marker);
      if (ended.ok || ended.failure === "gone") return true;
      if (ended.failure === "stale-producer-epoch" || ended.failure === "stale-coordinator-epoch") {
        const { producerId, producerEpoch } = marker;
        const reason = ended.message ?? ended.failure;
        logger.warn("a partition refuses the marker of a transaction", {
          topic,
          partition,
          producerId,
          producerEpoch,
          reason,
        });
        return true;
      }
      pending.attempts += 1;
      pending.failure = ended.failure;
      pending.message = ended.message ?? null;
      await new Promise<void>((resolve) => this.#options.clock.schedule(waitMs, resolve));
    }
  }
}

/** As the writer keeps it while it tries. */
class Pending implements PendingMarker {
  readonly topic: string;
  readonly partition: number;
  readonly sinceMs: TimeMs;
  attempts = 0;
  failure: MarkerFailure | null = null;
  message: string | null = null;

  constructor(topic: string, partition: number, sinceMs: TimeMs) {
    this.topic = topic;
    this.partition = partition;
    this.sinceMs = sinceMs;
  }
}
