import { assert } from "@millrace/base/assert";
import type { Offset } from "@millrace/storage/types";
import type { IsrState } from "./isr-changes.ts";

/** A partition as the metadata has it. */
export interface PartitionState {
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
}

/** What a follower says of itself when it fetches. */
export interface FollowerReport {
  readonly brokerId: number;
  /** -1: not said. */
  readonly brokerEpoch: number;
  /** Where it fetches: its log ends there. */
  readonly logEndOffset: number;
  /** -1: not said, and nothing of it counts as flushed. */
  readonly flushedOffset: number;
  readonly logStartOffset: number;
}

/** What a leader knows of another replica. */
export interface RemoteReplica {
  readonly brokerId: number;
  brokerEpoch: number;
  /** Exclusive; -1 before its first fetch from this leader. */
  logEndOffset: number;
  /** Exclusive: below it all is on its disk. */
  flushedOffset: number;
  logStartOffset: number;
  /** Monotonic: when it last had all that could be read at its leader. */
  lastCaughtUpMs: number;
  lastFetchMs: number;
  /** What could be read here when it fetched last. */
  leaderEndAtLastFetch: number;
  /** The high watermark that it was told last. */
  toldHighWatermark: number;
}

/** What the controller was asked for and has not said yet. */
export interface OpenProposal {
  readonly isr: readonly number[];
  readonly partitionEpoch: number;
}

/**
 * What a leader keeps of the other replicas during one leader epoch: how far each of them is, who is in sync, and which change of that is
 * under way. It only computes; times come as arguments.
 *
 * A replica counts up to what it has flushed; under durability `os` up to the end of its log (`isFlushCounted`).
 */
export class Leadership {
  readonly self: number;
  readonly leaderEpoch: number;
  /** Where its epoch begins: who has not come so far may lack what earlier leaders committed. */
  readonly startOffset: Offset;
  #partitionEpoch: number;
  #replicas: readonly number[];
  #isr: readonly number[];
  #proposal: OpenProposal | null = null;
  readonly #remotes = new Map<number, RemoteReplica>();
  /** Of the maximal ISR, without this broker: those that the high watermark waits for. */
  #counted: readonly RemoteReplica[] = [];

  constructor(self: number, state: PartitionState, startOffset: Offset, nowMs: number) {
    this.self = self;
    this.leaderEpoch = state.leaderEpoch;
    this.startOffset = startOffset;
    this.#partitionEpoch = state.partitionEpoch;
    this.#replicas = state.replicas;
    this.#isr = state.isr;
    this.#replicasChanged(nowMs);
  }

  get partitionEpoch(): number {
    return this.#partitionEpoch;
  }
  /** As the controller has it. */
  get isr(): readonly number[] {
    return this.#isr;
  }
  get replicas(): readonly number[] {
    return this.#replicas;
  }
  get proposal(): OpenProposal | null {
    return this.#proposal;
  }
  get isAlone(): boolean {
    return this.#remotes.size === 0;
  }
  /** In sync, or perhaps in sync: a change that is under way may have been made already. */
  get maximalIsr(): readonly number[] {
    const { isr = [] } = this.#proposal ?? {};
    return [...this.#isr, ...isr.filter((id) => !this.#isr.includes(id))];
  }
  remotes(): IterableIterator<RemoteReplica> {
    return this.#remotes.values();
  }
  remote(brokerId: number): RemoteReplica | undefined {
    return this.#remotes.get(brokerId);
  }

  // --- What changes it ------------------------------------------------------------------------------------------------

  /** The metadata says something newer of the same leader epoch. False: it is not newer. */
  update(state: PartitionState, nowMs: number): boolean {
    assert(state.leaderEpoch === this.leaderEpoch, "a leadership lasts for one leader epoch");
    if (state.partitionEpoch <= this.#partitionEpoch) return false;
    this.#partitionEpoch = state.partitionEpoch;
    this.#replicas = state.replicas;
    this.#isr = state.isr;
    this.#proposal = null;
    this.#replicasChanged(nowMs);
    return true;
  }

  /** What the controller answered; the image may have told the same before, or something newer. */
  settle(proposal: OpenProposal, answer: IsrState): void {
    const isCurrent = this.#proposal === proposal && answer.leaderEpoch === this.leaderEpoch;
    if (!isCurrent || answer.partitionEpoch < this.#partitionEpoch) return;
    this.#partitionEpoch = answer.partitionEpoch;
    this.#isr = answer.isr;
    this.#proposal = null;
    this.#count();
  }

  /** The controller did not do it, and nothing has changed. */
  withdraw(proposal: OpenProposal): void {
    if (this.#proposal !== proposal) return;
    this.#proposal = null;
    this.#count();
  }

  /** From now on the high watermark waits for those that may be in sync soon, too, and for those that may be no longer. */
  propose(isr: readonly number[]): OpenProposal {
    assert(this.#proposal === null, "one change of the ISR is under way at a time");
    const proposal = { isr, partitionEpoch: this.#partitionEpoch };
    this.#proposal = proposal;
    this.#count();
    return proposal;
  }

  /**
   * A follower fetches; `readableEnd` is what it could read here. Null: it is none of the replicas.
   * "stale": the broker has registered anew since, and this is a request of before (KIP-903).
   */
  noteFetch(
    report: FollowerReport,
    readableEnd: number,
    isFlushCounted: boolean,
    nowMs: number,
  ): RemoteReplica | "stale" | null {
    const remote = this.#remotes.get(report.brokerId);
    if (remote === undefined) return null;
    if (report.brokerEpoch !== -1 && report.brokerEpoch < remote.brokerEpoch) return "stale";
    remote.brokerEpoch = report.brokerEpoch;
    remote.logEndOffset = report.logEndOffset;
    // What it says of its disk is never more than what it says of its log.
    remote.flushedOffset = Math.min(report.flushedOffset, report.logEndOffset);
    remote.logStartOffset = report.logStartOffset;
    const counted = countedOffset(remote, isFlushCounted);
    if (counted >= readableEnd) remote.lastCaughtUpMs = nowMs;
    // Since then it has got all that there was at that time.
    else if (counted >= remote.leaderEndAtLastFetch && remote.lastFetchMs >= 0)
      remote.lastCaughtUpMs = Math.max(remote.lastCaughtUpMs, remote.lastFetchMs);
    remote.leaderEndAtLastFetch = readableEnd;
    remote.lastFetchMs = nowMs;
    return remote;
  }

  // --- What follows from it -------------------------------------------------------------------------------------------

  /** The least offset of all that are, or may be, in sync; `ownOffset` is what counts of the leader's log. */
  leastOffset(ownOffset: Offset, isFlushCounted: boolean): Offset {
    let least: number = ownOffset;
    const counted = this.#counted;
    for (let index = 0; index < counted.length; index++) {
      const remote = counted[index] as RemoteReplica;
      const offset = isFlushCounted ? remote.flushedOffset : remote.logEndOffset;
      if (offset < least) least = offset;
    }
    return least as Offset;
  }

  /** The least log start offset of this leader, of all that are, or may be, in sync, and of others of which `isAlive` says so. */
  lowWatermark(ownStart: Offset, isAlive: (brokerId: number) => boolean): Offset {
    let least: number = ownStart;
    const inSync = this.maximalIsr;
    for (const { brokerId, logStartOffset } of this.#remotes.values())
      if (logStartOffset < least && (inSync.includes(brokerId) || isAlive(brokerId))) least = logStartOffset;
    return least as Offset;
  }

  /** As in Kafka no more replicas are asked for than the partition has. */
  isUnderMinIsr(minInsyncReplicas: number): boolean {
    return this.#isr.length < Math.min(minInsyncReplicas, this.#replicas.length);
  }

  /** The ISR without those that have lagged for too long; null: all are in time. */
  shrunk(readableEnd: number, lagMaxMs: number, isFlushCounted: boolean, nowMs: number): readonly number[] | null {
    const kept = this.#isr.filter((id) => {
      const remote = this.#remotes.get(id);
      if (remote === undefined) return true;
      return countedOffset(remote, isFlushCounted) >= readableEnd || nowMs - remote.lastCaughtUpMs <= lagMaxMs;
    });
    return kept.length === this.#isr.length ? null : kept;
  }

  /**
   * The ISR with a replica that has caught up: up to the high watermark, and past where this leader began. Null: it is in the ISR,
   * or not so far. `eligibleEpoch` is the broker epoch under which it may join; null where it may not.
   */
  expanded(
    remote: RemoteReplica,
    highWatermark: Offset,
    { isFlushCounted, eligibleEpoch }: { readonly isFlushCounted: boolean; readonly eligibleEpoch: number | null },
  ): readonly number[] | null {
    if (this.#isr.includes(remote.brokerId)) return null;
    const offset = countedOffset(remote, isFlushCounted);
    if (offset < highWatermark || offset < this.startOffset) return null;
    const isKnown = remote.brokerEpoch === -1 || remote.brokerEpoch === eligibleEpoch;
    if (eligibleEpoch === null || !isKnown) return null;
    return [...this.#isr, remote.brokerId];
  }

  #replicasChanged(nowMs: number): void {
    for (const id of this.#remotes.keys()) if (!this.#replicas.includes(id)) this.#remotes.delete(id);
    for (const brokerId of this.#replicas) {
      if (brokerId === this.self || this.#remotes.has(brokerId)) continue;
      this.#remotes.set(brokerId, {
        brokerId,
        brokerEpoch: -1,
        logEndOffset: -1,
        flushedOffset: -1,
        logStartOffset: -1,
        // Who is in sync has the whole time to come to a new leader.
        lastCaughtUpMs: this.#isr.includes(brokerId) ? nowMs : Number.NEGATIVE_INFINITY,
        lastFetchMs: -1,
        leaderEndAtLastFetch: this.startOffset,
        toldHighWatermark: -1,
      });
    }
    this.#count();
  }

  #count(): void {
    this.#counted = this.maximalIsr.flatMap((id) => this.#remotes.get(id) ?? []);
  }
}

function countedOffset({ flushedOffset, logEndOffset }: RemoteReplica, isFlushCounted: boolean): number {
  return isFlushCounted ? flushedOffset : logEndOffset;
}
