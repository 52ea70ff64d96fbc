import type { PartitionLog } from "@millrace/storage/log";
import type { Offset } from "@millrace/storage/types";
import type { IsrProposal, Peers } from "./isr-changes.ts";
import type { Leadership, OpenProposal, RemoteReplica } from "./leadership.ts";

/** Sees to it that the ISR of a partition led here holds those that keep up: proposes changes of it, one at a time, and takes the answers. */
export class InSyncReplicas {
  readonly #log: PartitionLog;
  readonly #leadership: Leadership;
  readonly #peers: Peers;
  readonly #onChange: () => void;
  /** What got no answer: whether it was done nobody knows, so that it is asked for again and counts meanwhile. */
  #unanswered: OpenProposal | null = null;

  /** `onChange` is called when the ISR is another, or fewer replicas are waited for. */
  constructor(log: PartitionLog, leadership: Leadership, peers: Peers, onChange: () => void) {
    this.#log = log;
    this.#leadership = leadership;
    this.#peers = peers;
    this.#onChange = onChange;
  }

  expandBy(remote: RemoteReplica, highWatermark: Offset, isFlushCounted: boolean): void {
    const leadership = this.#leadership;
    if (leadership.proposal !== null || leadership.isr.includes(remote.brokerId)) return;
    const eligibleEpoch = this.#peers.eligibleEpoch(remote.brokerId);
    const expanded = leadership.expanded(remote, highWatermark, { isFlushCounted, eligibleEpoch });
    if (expanded !== null) this.#propose(leadership.propose(expanded));
  }

  check(lagMaxMs: number, isFlushCounted: boolean, nowMs: number): void {
    const leadership = this.#leadership;
    const unanswered = this.#unanswered;
    this.#unanswered = null;
    if (unanswered !== null && unanswered === leadership.proposal) return this.#propose(unanswered);
    if (leadership.proposal !== null) return;
    const shrunk = leadership.shrunk(this.#log.writtenOffset, lagMaxMs, isFlushCounted, nowMs);
    if (shrunk !== null) this.#propose(leadership.propose(shrunk));
  }

  #propose(proposal: OpenProposal): void {
    const leadership = this.#leadership;
    const wish: IsrProposal = {
      topicId: this.#log.topicId,
      index: this.#log.partition,
      leaderEpoch: leadership.leaderEpoch,
      partitionEpoch: proposal.partitionEpoch,
      isr: proposal.isr.map((brokerId) => ({
        brokerId,
        brokerEpoch:
          brokerId === leadership.self ? this.#peers.brokerEpoch() : (leadership.remote(brokerId)?.brokerEpoch ?? -1),
      })),
    };
    void this.#peers.isrChanges.propose(wish).then((answer) => {
      if (answer.ok) leadership.settle(proposal, answer.value);
      else if (answer.failure === "refused") leadership.withdraw(proposal);
      else if (answer.failure === "unknown") this.#unanswered = proposal;
      this.#onChange();
    });
  }
}
