import { assert } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { AppendFailure, AppendInfo, LogRead, PartitionLog, ReadFailure } from "@millrace/storage/log";
import type { LeaderEpoch, Offset } from "@millrace/storage/types";
import type { AnalyzedBatches } from "@millrace/storage/validation";
import type { TimeMs } from "@millrace/base/units";
import { TransactionGuards } from "./transaction-guards.ts";
import type { TransactionGuard } from "./transaction-guards.ts";

/** Why something that waited for the high watermark will not get there. */
export type CommitFailure = "not-leader" | "log-failed" | "disk-full";

interface CommitWaiter {
  readonly nextOffset: Offset;
  settle(failure: CommitFailure | null): void;
}

export type Isolation = "uncommitted" | "committed";

/**
 * A partition this broker leads: its log, its leader epoch, its high watermark, and who waits for that to move.
 * The high watermark is the least durable offset of the in-sync replicas; with one replica, the log's own.
 */
export class Partition {
  readonly log: PartitionLog;
  readonly #leaderEpoch: LeaderEpoch;
  #highWatermark: Offset;
  /** In the order of their offsets, since offsets are given in order. */
  readonly #commitWaiters = new Deque<CommitWaiter>();
  /** Null while nobody watches, as in most of many partitions. */
  #watchers: Set<() => void> | null = null;
  readonly guards: TransactionGuards = new TransactionGuards();
  #isGone = false;

  constructor(log: PartitionLog, leaderEpoch: LeaderEpoch) {
    this.log = log;
    this.#leaderEpoch = leaderEpoch;
    this.#highWatermark = log.durableOffset;
    log.onProgress = () => this.#advance();
    log.onCut = (endOffset, why) => this.#cut(endOffset, why);
  }

  get topic(): string {
    return this.log.topic;
  }
  get index(): number {
    return this.log.partition;
  }
  get leaderEpoch(): LeaderEpoch {
    return this.#leaderEpoch;
  }
  get highWatermark(): Offset {
    return this.#highWatermark;
  }
  get logStartOffset(): Offset {
    return this.log.logStartOffset;
  }
  /** With one replica min.insync.replicas is met by that one. */
  get hasEnoughReplicas(): boolean {
    return !this.#isGone;
  }
  get lastStableOffset(): Offset {
    return this.log.lastStableOffsetBelow(this.#highWatermark);
  }

  /** Exclusive: readers with this isolation see what lies below. */
  readableEnd(isolation: Isolation): Offset {
    return isolation === "committed" ? this.lastStableOffset : this.#highWatermark;
  }

  /** Whether this producer, in this epoch, has records here that no marker follows: then more of them belong to the same transaction. */
  hasOpenTransaction(producerId: number, epoch: number): boolean {
    const producer = this.log.producer(producerId);
    return producer !== null && producer.epoch === epoch && producer.currentTxnFirstOffset !== -1;
  }

  /** Whether its next batch needs to be let in first: it has no transaction open here, and was not fenced. */
  mayBeginTransaction(producerId: number, epoch: number): boolean {
    return !this.hasOpenTransaction(producerId, epoch) && epoch >= (this.log.producer(producerId)?.epoch ?? 0);
  }

  /**
   * Whether what is appended here, after something was appended to `other`, is never known to be durable before that is: they share
   * the group commit of one log directory, whose groups are told in order, and neither has other replicas.
   */
  isDurableAfter(other: Partition): boolean {
    return parentOf(this.log.directory) === parentOf(other.log.directory);
  }

  /** A batch that begins a transaction here needs the guard that was taken before the transaction coordinator was asked. */
  append(
    batches: AnalyzedBatches,
    origin: "client" | "coordinator",
    nowMs: TimeMs,
    guard: TransactionGuard | null = null,
  ): Result<AppendInfo, AppendFailure | "not-leader"> {
    if (this.#isGone) return failed("not-leader");
    const refusal = this.#refuseTransaction(batches, guard);
    if (refusal !== null) return failed(refusal);
    return this.log.append(batches, { leaderEpoch: this.#leaderEpoch, origin, nowMs });
  }

  #refuseTransaction({ batches }: AnalyzedBatches, guard: TransactionGuard | null): AppendFailure | null {
    const [batch] = batches;
    if (batch === undefined || !batch.isTransactional) return null;
    const { producerId, producerEpoch } = batch;
    if (batch.isControl) {
      this.guards.void(producerId);
      return null;
    }
    // Who was fenced is told so by the log.
    if (!this.mayBeginTransaction(producerId, producerEpoch)) return null;
    // A producer that is remembered is judged by its sequences.
    const isKnown = this.log.producer(producerId) !== null;
    const kind = this.guards.refuse(batch, guard, isKnown);
    if (kind === null) return null;
    const message =
      kind === "no-transaction"
        ? `producer ${producerId} has no transaction open that ${this.topic}-${this.index} belongs to`
        : `sequence ${batch.baseSequence} of producer ${producerId} came before ${guard?.lowestSequence}`;
    return { kind, message };
  }

  /** Calls back once: at once where the high watermark already covers `nextOffset`, else when it does or never will. */
  whenCommitted(nextOffset: Offset, settle: (failure: CommitFailure | null) => void): void {
    if (this.#isGone) return settle("not-leader");
    if (nextOffset <= this.#highWatermark) return settle(null);
    if (this.log.failure !== null) return settle("log-failed");
    this.#commitWaiters.push({ nextOffset, settle });
  }

  read(
    offset: Offset,
    limits: { readonly sizeBytesMax: number; readonly isolation: Isolation; readonly isWholeBatchGuaranteed: boolean },
  ): Result<LogRead, ReadFailure> | Promise<Result<LogRead, ReadFailure>> {
    return this.log.read(offset, {
      sizeBytesMax: limits.sizeBytesMax,
      upTo: this.readableEnd(limits.isolation),
      isWholeBatchGuaranteed: limits.isWholeBatchGuaranteed,
      areAbortedTransactionsWanted: limits.isolation === "committed",
    });
  }

  /** Calls `onChange` whenever there may be more to read, until the returned function is called. */
  watch(onChange: () => void): () => void {
    const watchers = (this.#watchers ??= new Set());
    watchers.add(onChange);
    return () => {
      watchers.delete(onChange);
      if (watchers.size === 0 && this.#watchers === watchers) this.#watchers = null;
    };
  }

  /** KIP-320: is the client's picture of the leadership older or newer than ours? -1 does not ask. */
  checkLeaderEpoch(epoch: number): Result<void, "fenced-leader-epoch" | "unknown-leader-epoch"> {
    if (epoch === -1 || epoch === this.#leaderEpoch) return ok(undefined);
    return failed(epoch < this.#leaderEpoch ? "fenced-leader-epoch" : "unknown-leader-epoch");
  }

  /** The topic was deleted or the leadership lost: everything that waits is told. */
  resign(): void {
    this.#isGone = true;
    this.#settleAll("not-leader");
    this.#wakeWatchers();
  }

  #advance(): void {
    if (this.log.failure !== null) {
      this.#settleAll("log-failed");
      // Readers that wait for more are told at once.
      this.#wakeWatchers();
    }
    const next = this.log.durableOffset;
    assert(next >= this.#highWatermark, () => {
      return `the high watermark of ${this.topic}-${this.index} would go back from ${this.#highWatermark} to ${next}`;
    });
    if (next === this.#highWatermark) return;
    this.#highWatermark = next;
    for (let first = this.#commitWaiters.first(); first !== undefined && first.nextOffset <= next;) {
      this.#commitWaiters.shift();
      first.settle(null);
      first = this.#commitWaiters.first();
    }
    this.#wakeWatchers();
  }

  /** What was appended from `endOffset` on will never be there: whoever waits for it is told. */
  #cut(endOffset: Offset, why: "disk-full" | "truncated"): void {
    const kept: CommitWaiter[] = [];
    for (let next = this.#commitWaiters.shift(); next !== undefined; next = this.#commitWaiters.shift()) {
      if (next.nextOffset > endOffset) next.settle(why === "disk-full" ? "disk-full" : "not-leader");
      else kept.push(next);
    }
    for (const waiter of kept) this.#commitWaiters.push(waiter);
    this.#highWatermark = Math.min(this.#highWatermark, endOffset) as Offset;
  }

  #settleAll(failure: CommitFailure): void {
    for (let next = this.#commitWaiters.shift(); next !== undefined; next = this.#commitWaiters.shift())
      next.settle(failure);
  }

  #wakeWatchers(): void {
    for (const onChange of this.#watchers ?? []) onChange();
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
