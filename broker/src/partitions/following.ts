import { assert } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { PartitionLog } from "@millrace/storage/log";
import { isCompacted } from "@millrace/storage/log-config";
import { NO_LEADER_EPOCH } from "@millrace/storage/types";
import type { LeaderEpoch, Offset } from "@millrace/storage/types";

/** What a follower may do to its replica. */
export interface FollowedReplica {
  readonly log: PartitionLog;
  readonly highWatermark: Offset;
  /** Whether a cut may go below the high watermark. */
  readonly mayLoseCommitted: boolean;
  learnHighWatermark(ofLeader: number): void;
  /** There is news for the leader. */
  onFollowerProgress(): void;
}

/**
 * Why what a leader sent was not taken, or not all of it.
 * - bad-batch: a checksum, a length, an offset or an epoch is wrong; nothing from there on was stored
 * - disk-full, log-failed: the log takes nothing at present, or never again
 * - ended: the replica does not follow in this epoch any more
 */
export type FollowFailure = "bad-batch" | "disk-full" | "log-failed" | "ended";

/** Why a tail was not cut: below-high-watermark would take away what was committed. */
export type CutFailure = "below-high-watermark" | "log-failed" | "ended" | "in-agreement";

/** Where a follower stands: what it says when it fetches. */
export interface FollowerPosition {
  readonly fetchOffset: Offset;
  /** Of the last record before `fetchOffset`; -1 without one. */
  readonly lastFetchedEpoch: LeaderEpoch;
  readonly logStartOffset: Offset;
  readonly flushedOffset: Offset;
}

/** A replica that follows a leader in one leader epoch: takes its batches, and cuts off what the leader never had. */
export class Following {
  readonly leader: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly #replica: FollowedReplica;
  readonly #logger: Logger;
  #isEnded = false;
  #cutting: Promise<unknown> = Promise.resolve();
  /** What the leader said last of its start, and whether this replica is on its way there. */
  #leaderStart = -1;
  #isMovingStart = false;
  /** In a log that is not compacted: where offsets are missing, if the leader is to be believed. */
  #gap: { readonly after: number; readonly before: number } | null = null;

  constructor(replica: FollowedReplica, leader: number, leaderEpoch: LeaderEpoch, logger: Logger) {
    this.#replica = replica;
    this.leader = leader;
    this.leaderEpoch = leaderEpoch;
    this.#logger = logger;
  }

  /** Another leader, another epoch, or another role: nothing of this leader's is taken any more. */
  end(): void {
    this.#isEnded = true;
  }

  /** Settled when no cut is under way. */
  get settled(): Promise<unknown> {
    return this.#cutting;
  }

  /** What it tells its leader with the next fetch: of its start what is durable, since the leader tells who has asked for it. */
  get position(): FollowerPosition {
    const { log } = this.#replica;
    this.#followStart();
    const fetchOffset = log.logEndOffset;
    // An epoch that began at the end of the log, when this replica led, has no record that could be told of.
    const lastFetchedEpoch =
      fetchOffset > log.logStartOffset ? log.epochAt((fetchOffset - 1) as Offset) : NO_LEADER_EPOCH;
    const { durableLogStartOffset: logStartOffset, flushedOffset } = log;
    return { fetchOffset, lastFetchedEpoch, logStartOffset, flushedOffset };
  }

  /** The sound batches of a response; the bytes belong to the log from then on. Gives how many bytes were stored. */
  append(records: Buffer, nowMs: TimeMs): Result<number, FollowFailure> {
    if (this.#isEnded) return failed("ended");
    const { log } = this.#replica;
    const batches: RecordBatchView[] = [];
    let nextOffset: number = log.logEndOffset;
    let epoch: number = this.position.lastFetchedEpoch;
    let sizeBytes = 0;
    let fault: string | null = null;
    const found = batchesIn(records);
    for (const batch of found) {
      // A batch in whose middle the fetch began is here already.
      if (batch.lastOffset < nextOffset) continue;
      fault = this.#faultOf(batch, nextOffset, epoch) ?? this.#gapBefore(batch, nextOffset);
      if (fault !== null) break;
      batches.push(batch);
      nextOffset = batch.lastOffset + 1;
      epoch = batch.partitionLeaderEpoch;
      sizeBytes += batch.sizeBytes;
    }
    if (fault === null && found.fault !== null && (found.fault !== "truncated" || batches.length === 0))
      fault = `no batch follows offset ${nextOffset}: ${found.fault}`;
    if (batches.length > 0) {
      const { leaderEpoch } = this;
      const appended = log.append({ bytes: records, batches }, { origin: "replication", leaderEpoch, nowMs });
      if (!appended.ok)
        return failed(appended.failure.kind === "disk-full" ? "disk-full" : "log-failed", appended.failure.message);
    }
    return fault === null ? ok(sizeBytes) : failed("bad-batch", fault);
  }

  #faultOf(batch: RecordBatchView, nextOffset: number, epoch: number): string | null {
    const { baseOffset, partitionLeaderEpoch } = batch;
    if (baseOffset < nextOffset) return `a batch begins at offset ${baseOffset}, and the log ends at ${nextOffset}`;
    if (!batch.isCrcValid()) return `the batch at offset ${baseOffset} has a wrong checksum`;
    if (partitionLeaderEpoch > this.leaderEpoch)
      return `the batch at offset ${baseOffset} is of epoch ${partitionLeaderEpoch}, and its leader of ${this.leaderEpoch}`;
    if (partitionLeaderEpoch < epoch)
      return `the batch at offset ${baseOffset} is of epoch ${partitionLeaderEpoch}, and the one before of ${epoch}`;
    return null;
  }

  /**
   * No checksum covers an offset. Where nothing was compacted there are no gaps, but for a topic that was compacted once: so one is
   * believed when it comes a second time.
   */
  #gapBefore({ baseOffset }: RecordBatchView, nextOffset: number): string | null {
    if (baseOffset === nextOffset || isCompacted(this.#replica.log.config)) return null;
    const isKnown = this.#gap?.after === nextOffset && this.#gap.before === baseOffset;
    this.#gap = { after: nextOffset, before: baseOffset };
    return isKnown ? null : `between the offsets ${nextOffset} and ${baseOffset} there is nothing`;
  }

  /** What the leader says of itself, beside records. */
  learn(highWatermark: number, logStartOffset: number): void {
    if (this.#isEnded) return;
    this.#replica.learnHighWatermark(highWatermark);
    this.#leaderStart = logStartOffset;
    this.#followStart();
  }

  /** As far as this replica can follow yet, whose high watermark and disk may be behind. */
  #followStart(): void {
    const { log, highWatermark } = this.#replica;
    const offset = Math.min(this.#leaderStart, highWatermark, log.durableOffset) as Offset;
    if (this.#isEnded || this.#isMovingStart || offset <= log.durableLogStartOffset) return;
    this.#isMovingStart = true;
    void log.deleteRecordsBefore(offset).then((moved) => {
      this.#isMovingStart = false;
      if (moved.ok && !this.#isEnded) this.#replica.onFollowerProgress();
    });
  }

  /**
   * The logs part: the leader has nothing after `endOffset` of `epoch`, the greatest epoch that both may share (KIP-101, KIP-279).
   * Where this replica does not know that epoch it goes back to the one before, and asks again.
   */
  async truncate(epoch: number, endOffset: number): Promise<Result<void, CutFailure>> {
    if (this.#isEnded) return failed("ended");
    const { log, highWatermark } = this.#replica;
    const target = this.#commonEnd(epoch, endOffset);
    if (target >= log.logEndOffset) return failed("in-agreement");
    const facts = {
      topic: log.topic,
      partition: log.partition,
      leader: this.leader,
      leaderEpoch: this.leaderEpoch,
      logEndOffset: log.logEndOffset,
      highWatermark,
      epoch,
      endOffset,
      truncatedTo: target,
    };
    if (target < highWatermark) {
      if (!this.#replica.mayLoseCommitted) {
        this.#logger.error(
          "the leader lacks records that were committed: this replica keeps them, and follows no more",
          facts,
        );
        return failed("below-high-watermark");
      }
      this.#logger.error("the leader lacks records that were committed: they are lost", facts);
    } else this.#logger.info("the tail that the leader does not have is cut", facts);
    return this.#cut(async () => {
      const cut = await log.truncateTo(target);
      const isKept = this.#replica.mayLoseCommitted || !cut.ok || log.logEndOffset >= highWatermark;
      assert(
        isKept,
        () => `a cut of ${log.topic}-${log.partition} to ${target} took it below its high watermark ${highWatermark}`,
      );
      return cut;
    });
  }

  #commonEnd(epoch: number, endOffset: number): Offset {
    const { log, highWatermark } = this.#replica;
    if (endOffset < 0) return highWatermark;
    const own = log.endOffsetForEpoch(epoch);
    if (own.epoch === NO_LEADER_EPOCH) return Math.min(endOffset, log.logEndOffset) as Offset;
    return (own.epoch === epoch ? Math.min(own.endOffset, endOffset) : own.endOffset) as Offset;
  }

  /** The leader's log begins after this one ends: nothing of it is of use. */
  async startAnewAt(offset: Offset): Promise<Result<void, CutFailure>> {
    if (this.#isEnded) return failed("ended");
    const { log } = this.#replica;
    assert(offset >= this.#replica.highWatermark, "a log begins anew past what is committed");
    this.#logger.warn("the leader's log begins after this one ends: the log begins anew", {
      ...{ topic: log.topic, partition: log.partition, leader: this.leader, leaderEpoch: this.leaderEpoch },
      ...{ logEndOffset: log.logEndOffset, logStartOffset: offset },
    });
    return this.#cut(async () => {
      const cut = await log.truncateFullyAndStartAt(offset);
      if (cut.ok) this.#replica.learnHighWatermark(offset);
      return cut;
    });
  }

  #cut(work: () => Promise<Result<void, "log-failed">>): Promise<Result<void, CutFailure>> {
    const cutting = work();
    this.#cutting = Promise.allSettled([this.#cutting, cutting]);
    return cutting;
  }
}
