import { assert } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock } from "@millrace/base/world";
import type { AppendFailure, AppendInfo, LogRead, PartitionLog, ReadFailure } from "@millrace/storage/log";
import type { LogConfig } from "@millrace/storage/log-config";
import type { LeaderEpoch, Offset } from "@millrace/storage/types";
import type { AnalyzedBatches } from "@millrace/storage/validation";
import { isThrottled } from "../replication/quota.ts";
import { CommitWaiters } from "./commit-waiters.ts";
import type { Settle } from "./commit-waiters.ts";
import { CommitOrder } from "./commit-order.ts";
import { Following } from "./following.ts";
import type { Peers } from "./isr-changes.ts";
import { InSyncReplicas } from "./in-sync-replicas.ts";
import { Leadership } from "./leadership.ts";
import type { FollowerReport, PartitionState, RemoteReplica } from "./leadership.ts";
import { TransactionGuards } from "./transaction-guards.ts";
import type { TransactionGuard } from "./transaction-guards.ts";
export type { CommitFailure } from "./commit-waiters.ts";

export type Isolation = "uncommitted" | "committed";

/** What a partition needs of its topic's settings. */
export interface PartitionConfig extends LogConfig {
  readonly "min.insync.replicas": number;
  readonly "unclean.leader.election.enable": boolean;
  readonly "leader.replication.throttled.replicas": readonly string[];
  readonly "follower.replication.throttled.replicas": readonly string[];
}

/** What all partitions of a broker share. */
export interface PartitionContext {
  /** This broker. */
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peers: Peers;
}

/**
 * A replica of a partition: its log, its high watermark, and who waits for that to move. It leads, or follows another broker, or
 * does neither, as the metadata says.
 *
 * The high watermark is the least durable offset of the in-sync replicas; with one replica, the log's own. While it leads it never goes
 * back. A follower's is what its leader told, as far as its own log goes.
 */
export class Partition {
  readonly log: PartitionLog;
  readonly #context: PartitionContext;
  #config: PartitionConfig;
  #leaderEpoch: LeaderEpoch = -1 as LeaderEpoch;
  #leadership: Leadership | null = null;
  #isrs: InSyncReplicas | null = null;
  #following: Following | null = null;
  /** It leads, and the log's durable offset is the high watermark. */
  #isAlone = false;
  #highWatermark: Offset;
  readonly #commitWaiters = new CommitWaiters();
  /** Null while nothing waits for another log, as nearly always. */
  #commitOrder: CommitOrder | null = null;
  /** Who waits for this log alone, where the high watermark waits for others as well. */
  #localWaiters: CommitWaiters | null = null;
  /** Who waits for the log start offsets of replicas; null while nobody does. */
  #startWaiters: { readonly offset: Offset; readonly settle: (isThere: boolean) => void }[] | null = null;
  /** Null while nobody watches, as in most of many partitions. */
  #watchers: Set<() => void> | null = null;
  #writtenWatchers: Set<() => void> | null = null;
  readonly guards: TransactionGuards = new TransactionGuards();
  /** Of a follower: more of its log is durable, or it has failed. */
  onFollowerProgress: () => void = ignore;

  /** It has no role until it is told one. */
  constructor(log: PartitionLog, config: PartitionConfig, context: PartitionContext) {
    this.log = log;
    this.#config = config;
    this.#context = context;
    this.#highWatermark = log.highWatermark;
    log.onProgress = () => this.#advance();
    log.onCut = (endOffset, why) => this.#cut(endOffset, why);
    log.configure(config);
  }

  get topic(): string {
    return this.log.topic;
  }
  get index(): number {
    return this.log.partition;
  }
  /** Of the leader, whoever it is; -1 before any is known. */
  get leaderEpoch(): LeaderEpoch {
    return this.#leaderEpoch;
  }
  get isLeading(): boolean {
    return this.#leadership !== null;
  }
  /** What is known of the other replicas; null while it does not lead. */
  get leadership(): Leadership | null {
    return this.#leadership;
  }
  /** The broker that it follows; null while it does not. */
  get followedLeader(): number | null {
    return this.#following?.leader ?? null;
  }
  get highWatermark(): Offset {
    return this.#highWatermark;
  }
  get logStartOffset(): Offset {
    return this.log.logStartOffset;
  }
  /** For acks=all; with one replica min.insync.replicas is met by that one. */
  get hasEnoughReplicas(): boolean {
    if (this.#isAlone) return true;
    const leadership = this.#leadership;
    return leadership !== null && !leadership.isUnderMinIsr(this.#config["min.insync.replicas"]);
  }
  /** Whether what leaders before this one committed is known to be: until then nobody can say where its committed records end (KIP-207). */
  get isEndKnown(): boolean {
    return this.#isAlone || this.#leadership === null || this.#highWatermark >= this.#leadership.startOffset;
  }
  get lastStableOffset(): Offset {
    return this.log.lastStableOffsetBelow(this.#highWatermark);
  }
  /** Whether a replica counts up to what it has flushed, and not up to the end of its log. */
  get isFlushCounted(): boolean {
    return this.#config["millrace.durability"] === "fsync";
  }

  /** Exclusive: readers with this isolation see what lies below. */
  readableEnd(isolation: Isolation): Offset {
    return isolation === "committed" ? this.lastStableOffset : this.#highWatermark;
  }

  configure(config: PartitionConfig): void {
    this.#config = config;
    this.log.configure(config);
    if (this.#leadership !== null && !this.#isAlone) this.#isrChanged();
  }

  // --- Roles ----------------------------------------------------------------------------------------------------------

  /** Ends the role of a follower. When it resolves nothing of the old leader's is on its way into the log, nor out of it. */
  async stopFollowing(): Promise<void> {
    const following = this.#following;
    this.#following = null;
    following?.end();
    await following?.settled;
  }

  /** Leads from now on, or goes on leading with another ISR. It does not follow. */
  lead(state: PartitionState): void {
    const { clock } = this.#context;
    if (this.#leadership?.leaderEpoch === state.leaderEpoch) {
      if (!this.#leadership.update(state, clock.monotonicMs())) return;
    } else {
      assert(this.#following === null, "who leads does not follow");
      this.#leaderEpoch = state.leaderEpoch as LeaderEpoch;
      // Whoever stands alone is followed by nobody who could ask where its epoch began.
      if (state.replicas.length > 1) this.log.beginEpoch(this.#leaderEpoch);
      else this.#highWatermark = this.log.durableOffset;
      const { nodeId, peers } = this.#context;
      const leadership = new Leadership(nodeId, state, this.log.logEndOffset, clock.monotonicMs());
      this.#leadership = leadership;
      this.#isrs = new InSyncReplicas(this.log, leadership, peers, () => this.#isrChanged());
    }
    this.#isAlone = this.#leadership.isAlone && this.#highWatermark <= this.log.durableOffset;
    this.log.replicatedHighWatermark = this.#isAlone ? null : this.#highWatermark;
    this.#isrChanged();
  }

  /** Follows a leader from now on; one of -1: there is none. It did not follow another before, or stopped. */
  follow({ leader, leaderEpoch }: PartitionState): void {
    this.#stepDown();
    this.#leaderEpoch = leaderEpoch as LeaderEpoch;
    this.log.replicatedHighWatermark = this.#highWatermark;
    if (leader < 0) return;
    this.#following = new Following(this, leader, leaderEpoch as LeaderEpoch, this.#context.logger);
  }

  #stepDown(): void {
    const wasLeading = this.#leadership !== null;
    this.#leadership = null;
    this.#isrs = null;
    this.#isAlone = false;
    this.#following?.end();
    this.#following = null;
    if (!wasLeading) return;
    this.guards.voidAll();
    this.#commitOrder = null;
    this.#commitWaiters.failAll("not-leader");
    this.#localWaiters?.failAll("not-leader");
    for (const { settle } of this.#startWaiters?.splice(0) ?? []) settle(false);
    this.#wakeWatchers();
    this.#wakeWrittenWatchers();
  }

  /** The topic was deleted, or the replica lies elsewhere: everything that waits is told. */
  resign(): void {
    this.#stepDown();
    this.#wakeWatchers();
  }

  // --- Leading: append ------------------------------------------------------------------------------------------------

  /** Whether this producer, in this epoch, has records here that no marker follows: then more of them belong to the same transaction. */
  hasOpenTransaction(producerId: number, epoch: number): boolean {
    const producer = this.log.producer(producerId);
    return producer !== null && producer.epoch === epoch && producer.currentTxnFirstOffset !== -1;
  }

  /** Whether its next batch needs to be let in first: it has no transaction open here, and was not fenced. */
  mayBeginTransaction(producerId: number, epoch: number): boolean {
    return !this.hasOpenTransaction(producerId, epoch) && epoch >= (this.log.producer(producerId)?.epoch ?? 0);
  }

  /** Whether one write makes both durable most often: they share the group commit of one log directory, and neither has other replicas. */
  isDurableWith(other: Partition): boolean {
    return this.#isAlone && other.#isAlone && parentOf(this.log.directory) === parentOf(other.log.directory);
  }

  /** What is appended here from now on is committed only when what stands in `other`, for this producer's transaction, is. */
  commitAfter(other: Partition, producerId: number): void {
    const nextOffset = other.log.logEndOffset;
    if (nextOffset <= other.#highWatermark) return;
    const order = (this.#commitOrder ??= new CommitOrder());
    const hold = order.add(producerId, this.log.logEndOffset);
    other.whenCommitted(nextOffset, (failure) => {
      if (this.#commitOrder !== order) return;
      if (failure === null) order.release(hold);
      else {
        hold.failure = failure;
        this.#commitWaiters.failAbove(hold.from, failure);
      }
      this.#advance();
    });
  }

  /** A batch that begins a transaction here needs the guard that was taken before the transaction coordinator was asked. */
  append(
    batches: AnalyzedBatches,
    origin: "client" | "coordinator",
    nowMs: TimeMs,
    guard: TransactionGuard | null = null,
  ): Result<AppendInfo, AppendFailure | "not-leader"> {
    if (this.#leadership === null) return failed("not-leader");
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
      this.#commitOrder?.ended(producerId);
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

  /**
   * Calls back once: at once where the high watermark already covers `nextOffset`, else when it does or never will. With
   * `needsMinIsr` also when fewer replicas are in sync than min.insync.replicas: acks=all is told, a coordinator waits on.
   */
  whenCommitted(nextOffset: Offset, settle: Settle, needsMinIsr = false): void {
    if (this.#leadership === null) return settle("not-leader");
    const isUnder = needsMinIsr && !this.hasEnoughReplicas;
    if (nextOffset <= this.#highWatermark) return settle(isUnder ? "not-enough-replicas" : null);
    if (this.log.failure !== null) return settle("log-failed");
    if (isUnder) return settle("not-enough-replicas");
    const failure = this.#commitOrder?.failureOf(nextOffset) ?? null;
    if (failure !== null) return settle(failure);
    this.#commitWaiters.add(nextOffset, needsMinIsr, settle);
  }

  /** As `whenCommitted`, and does not wait for other replicas: acks=1. */
  whenDurable(nextOffset: Offset, settle: Settle): void {
    if (this.#isAlone && this.#commitOrder === null) return this.whenCommitted(nextOffset, settle);
    if (this.#leadership === null) return settle("not-leader");
    if (nextOffset <= this.log.durableOffset) return settle(null);
    if (this.log.failure !== null) return settle("log-failed");
    this.#localWaiters ??= new CommitWaiters();
    this.#localWaiters.add(nextOffset, false, settle);
  }

  // --- Leading: other replicas ----------------------------------------------------------------------------------------

  /**
   * A follower fetches, and its log agrees with this one up to there. What it says may move the high watermark, and bring it into
   * the ISR. Null: it is no replica; "stale": it speaks for a broker that has registered anew.
   */
  noteFetch(report: FollowerReport): RemoteReplica | "stale" | null {
    const leadership = this.#leadership;
    if (leadership === null) return null;
    const nowMs = this.#context.clock.monotonicMs();
    const remote = leadership.noteFetch(report, this.log.writtenOffset, this.isFlushCounted, nowMs);
    if (remote === null || remote === "stale") return remote;
    this.#isrs?.expandBy(remote, this.#highWatermark, this.isFlushCounted);
    this.#advance();
    if (this.#startWaiters !== null) this.#checkStarts();
    return remote;
  }

  /** The least log start offset of the replicas that count: what lies below is gone whoever leads next. */
  get lowWatermark(): Offset {
    const { peers } = this.#context;
    const isAlive = (brokerId: number): boolean => peers.eligibleEpoch(brokerId) !== null;
    return this.#leadership?.lowWatermark(this.logStartOffset, isAlive) ?? this.logStartOffset;
  }

  /** Calls back once: true when the low watermark is there, false when this replica does not lead any more. Gives what ends the wait. */
  whenLowWatermark(offset: Offset, settle: (isThere: boolean) => void): () => void {
    if (this.#leadership === null) {
      settle(false);
      return ignore;
    }
    const waiter = { offset, settle };
    (this.#startWaiters ??= []).push(waiter);
    this.#checkStarts();
    return () => {
      this.#startWaiters = this.#startWaiters?.filter((each) => each !== waiter) ?? null;
    };
  }

  #checkStarts(): void {
    const waiters = this.#startWaiters ?? [];
    const { lowWatermark } = this;
    this.#startWaiters = waiters.filter(({ offset }) => offset > lowWatermark);
    if (this.#startWaiters.length === 0) this.#startWaiters = null;
    for (const { offset, settle } of waiters) if (offset <= lowWatermark) settle(true);
  }

  /** Proposes an ISR without those that have lagged for longer; what got no answer is proposed again. */
  checkIsr(lagMaxMs: number): void {
    this.#isrs?.check(lagMaxMs, this.isFlushCounted, this.#context.clock.monotonicMs());
  }

  #isrChanged(): void {
    if (!this.hasEnoughReplicas) this.#commitWaiters.failUnderMinIsr();
    if (this.#startWaiters !== null) this.#checkStarts();
    this.#advance();
  }

  // --- Following ------------------------------------------------------------------------------------------------------

  /** Of this leader epoch; null where it does not follow in it (any more). */
  followingIn(leaderEpoch: number): Following | null {
    return this.#following?.leaderEpoch === leaderEpoch ? this.#following : null;
  }

  /**
   * What the leader said of its high watermark, as far as the own log goes. It does not go back: that a new leader does not know yet
   * what was committed does not undo it.
   */
  learnHighWatermark(ofLeader: number): void {
    const known = Math.min(ofLeader, this.log.logEndOffset) as Offset;
    if (this.#leadership !== null || known <= this.#highWatermark) return;
    this.#highWatermark = known;
    this.log.replicatedHighWatermark = known;
    this.#wakeWatchers();
  }

  /**
   * Whether a cut may go below the high watermark: where leaders are elected that were not in sync, or replicas count what is not on
   * their disks, that records which were committed are lost is the bargain.
   */
  get mayLoseCommitted(): boolean {
    return this.#config["unclean.leader.election.enable"] || !this.isFlushCounted;
  }

  // --- Reading --------------------------------------------------------------------------------------------------------

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

  /** For a follower: all that can be read, committed or not. */
  readForReplica(
    offset: Offset,
    limits: { readonly sizeBytesMax: number; readonly isWholeBatchGuaranteed: boolean },
  ): Result<LogRead, ReadFailure> | Promise<Result<LogRead, ReadFailure>> {
    return this.log.read(offset, { ...limits, upTo: this.log.writtenOffset });
  }

  /** Whether what followers that are not in sync fetch here, or what this one fetches, is bounded (KIP-73). */
  isThrottledAs(role: "leader" | "follower"): boolean {
    const list = this.#config[`${role}.replication.throttled.replicas`];
    return list.length > 0 && isThrottled(list, this.index, this.#context.nodeId);
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

  /** As `watch`, and not for the high watermark, but whenever there may be more for a follower. */
  watchWritten(onChange: () => void): () => void {
    const watchers = (this.#writtenWatchers ??= new Set());
    watchers.add(onChange);
    this.log.onWritten = () => this.#wakeWrittenWatchers();
    return () => {
      watchers.delete(onChange);
      if (watchers.size > 0 || this.#writtenWatchers !== watchers) return;
      this.#writtenWatchers = null;
      this.log.onWritten = ignore;
    };
  }

  /** KIP-320: is the client's picture of the leadership older or newer than ours? -1 does not ask. */
  checkLeaderEpoch(epoch: number): Result<void, "fenced-leader-epoch" | "unknown-leader-epoch"> {
    if (epoch === -1 || epoch === this.#leaderEpoch) return ok(undefined);
    return failed(epoch < this.#leaderEpoch ? "fenced-leader-epoch" : "unknown-leader-epoch");
  }

  // --- What the log tells ---------------------------------------------------------------------------------------------

  #advance(): void {
    if (this.log.failure !== null) {
      this.#commitWaiters.failAll("log-failed");
      this.#localWaiters?.failAll("log-failed");
      // Readers that wait for more are told at once.
      this.#wakeWatchers();
      this.#wakeWrittenWatchers();
    }
    const durable = this.log.durableOffset;
    if (this.#isAlone) {
      this.#localWaiters?.reached(durable);
      assert(durable >= this.#highWatermark, () => {
        return `the high watermark of ${this.topic}-${this.index} would go back from ${this.#highWatermark} to ${durable}`;
      });
      return this.#raiseHighWatermark(durable);
    }
    const leadership = this.#leadership;
    if (leadership === null) return this.onFollowerProgress();
    this.#localWaiters?.reached(durable);
    // KIP-966: what fewer replicas have than were asked for is not committed.
    if (leadership.isUnderMinIsr(this.#config["min.insync.replicas"])) return;
    this.#raiseHighWatermark(leadership.leastOffset(durable, this.isFlushCounted));
  }

  #raiseHighWatermark(offset: Offset): void {
    const next = Math.min(offset, this.#commitOrder?.limit ?? Infinity) as Offset;
    if (next <= this.#highWatermark) return;
    this.#highWatermark = next;
    if (!this.#isAlone) this.log.replicatedHighWatermark = next;
    this.#commitWaiters.reached(next);
    this.#wakeWatchers();
  }

  /** What was appended from `endOffset` on will never be there: whoever waits for it is told. */
  #cut(endOffset: Offset, why: "disk-full" | "truncated"): void {
    const failure = why === "disk-full" ? "disk-full" : "not-leader";
    this.#highWatermark = Math.min(this.#highWatermark, endOffset) as Offset;
    this.#commitWaiters.failAbove(endOffset, failure);
    this.#localWaiters?.failAbove(endOffset, failure);
  }

  #wakeWatchers(): void {
    for (const onChange of this.#watchers ?? none) onChange();
  }

  #wakeWrittenWatchers(): void {
    for (const onChange of this.#writtenWatchers ?? none) onChange();
  }
}

const none: readonly (() => void)[] = [];

function ignore(): void {}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
