import type { Result } from "@millrace/base/result";

/** A change of the ISR that a leader wishes (AlterPartition, KIP-497). */
export interface IsrProposal {
  readonly topicId: string;
  readonly index: number;
  readonly leaderEpoch: number;
  /** Of the state that it changes. */
  readonly partitionEpoch: number;
  /** -1: the broker epoch is not known, since that replica has not fetched from this leader yet (KIP-903). */
  readonly isr: readonly { readonly brokerId: number; readonly brokerEpoch: number }[];
}

/** What the controller made of it: the state of the partition as it is then. */
export interface IsrState {
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
  readonly isr: readonly number[];
}

/**
 * - refused: nothing changed, and the leader may propose again (INELIGIBLE_REPLICA, OPERATION_NOT_ATTEMPTED)
 * - stale: the controller knows a newer state, of which the leader will hear (NEW_LEADER_ELECTED, INVALID_UPDATE_VERSION,
 *   FENCED_LEADER_EPOCH, UNKNOWN_TOPIC_ID)
 * - unknown: whether it changed anything nobody can say, since no answer came; the leader proposes it once more
 */
export type IsrChangeFailure = "refused" | "stale" | "unknown";

/** Takes proposals to the controller. */
export interface IsrChanges {
  /** Never rejects. */
  propose(proposal: IsrProposal): Promise<Result<IsrState, IsrChangeFailure>>;
}

/** What a partition knows of the other brokers. */
export interface Peers {
  readonly isrChanges: IsrChanges;
  /** Of this broker's registration; -1 before. */
  brokerEpoch(): number;
  /** The broker epoch of one that may join an ISR: it is registered, not fenced and does not shut down (KIP-841). Null: it may not. */
  eligibleEpoch(brokerId: number): number | null;
}

/** Of a broker that stands alone. */
export const noPeers: Peers = {
  isrChanges: { propose: () => Promise.resolve({ ok: false, failure: "refused" }) },
  brokerEpoch: () => -1,
  eligibleEpoch: () => null,
};
