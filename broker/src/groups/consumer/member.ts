import type { Assignment } from "../assignors/types.ts";
import type { MemberProtocol } from "../classic-group.ts";

/** Which epoch gave the member a partition: by topic id, then by partition. */
export type Owned = ReadonlyMap<string, ReadonlyMap<number, number>>;

/**
 * - stable: it has what its epoch gives it
 * - unrevoked: it was told to give partitions up, and has not said that it did
 * - unreleased: it waits for partitions that other members have not given up yet
 */
export type MemberState = "stable" | "unrevoked" | "unreleased";

/** What a member of a consumer group says about itself: record 5. */
export interface MemberSubscription {
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Sorted, each once. */
  readonly topicNames: readonly string[];
  /** In RE2 syntax; empty or null: none. */
  readonly topicRegex: string | null;
  /** How long it may take to give partitions up. */
  readonly rebalanceTimeoutMs: number;
  readonly serverAssignor: string | null;
  /** Null: it speaks the consumer protocol. Otherwise it goes on with JoinGroup and SyncGroup. */
  readonly classic: ClassicProtocol | null;
}

export interface ClassicProtocol {
  readonly sessionTimeoutMs: number;
  /** In its order of preference; the metadata is a subscription of the embedded consumer protocol. */
  readonly protocols: readonly MemberProtocol[];
}

/** What a member has: record 8. */
export interface MemberAssignment {
  /** 0: not told any epoch yet. −2: a static member that left for a moment. */
  readonly memberEpoch: number;
  /** The answer that told of `memberEpoch` may be lost; then the member comes with this one. */
  readonly previousMemberEpoch: number;
  readonly state: MemberState;
  readonly assigned: Owned;
  readonly pendingRevocation: Owned;
}

/** A member of a consumer group. Never changed in place. */
export interface ConsumerMember extends MemberSubscription, MemberAssignment {
  readonly memberId: string;
}

export const LEAVE_EPOCH = -1;
/** A static member leaves for a moment: its partitions wait for it until its session ends. */
export const STATIC_LEAVE_EPOCH = -2;

export const nothingOwned: Owned = new Map();

/** A member of which nothing is known but its id. */
export function newMember(memberId: string): ConsumerMember {
  return {
    memberId,
    instanceId: null,
    rackId: null,
    clientId: "",
    clientHost: "",
    topicNames: [],
    topicRegex: "",
    rebalanceTimeoutMs: -1,
    serverAssignor: null,
    classic: null,
    memberEpoch: 0,
    previousMemberEpoch: 0,
    state: "stable",
    assigned: nothingOwned,
    pendingRevocation: nothingOwned,
  };
}

/** The part of a member that record 5 holds. */
export function subscriptionOf(member: MemberSubscription): MemberSubscription {
  return {
    instanceId: member.instanceId,
    rackId: member.rackId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    topicNames: member.topicNames,
    topicRegex: member.topicRegex,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    serverAssignor: member.serverAssignor,
    classic: member.classic,
  };
}

/** The part of a member that record 8 holds. */
export function currentOf(member: MemberAssignment): MemberAssignment {
  return {
    memberEpoch: member.memberEpoch,
    previousMemberEpoch: member.previousMemberEpoch,
    state: member.state,
    assigned: member.assigned,
    pendingRevocation: member.pendingRevocation,
  };
}

/** It has all that the epoch gives it. */
export function isReconciledTo(member: MemberAssignment, epoch: number): boolean {
  return member.state === "stable" && member.memberEpoch === epoch;
}

export function hasRegex(member: Pick<MemberSubscription, "topicRegex">): member is { readonly topicRegex: string } {
  return member.topicRegex !== null && member.topicRegex !== "";
}

export function owns(owned: Owned, topicId: string, partition: number): boolean {
  return owned.get(topicId)?.has(partition) ?? false;
}

export function countOwned(owned: Owned): number {
  let count = 0;
  for (const partitions of owned.values()) count += partitions.size;
  return count;
}

/** Without the epochs: what a member is told. */
export function assignmentOf(owned: Owned): Assignment {
  return new Map(
    Array.from(owned, ([topicId, partitions]) => [topicId, [...partitions.keys()].sort((a, b) => a - b)] as const),
  );
}

/** All that the member may still read from: also what it was told to give up. */
export function ownedByMember({ assigned, pendingRevocation }: MemberAssignment): Owned {
  if (pendingRevocation.size === 0) return assigned;
  const all = new Map(assigned);
  for (const [topicId, partitions] of pendingRevocation)
    all.set(topicId, new Map([...(all.get(topicId) ?? []), ...partitions]));
  return all;
}

/** The same partitions, whatever their epochs. */
export function samePartitions(a: Owned, b: Owned): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others === undefined || others.size !== partitions.size) return false;
    for (const partition of partitions.keys()) if (!others.has(partition)) return false;
  }
  return true;
}

export function sameAssignment(a: Assignment, b: Assignment): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others === undefined || others.length !== partitions.length) return false;
    if (partitions.some((partition, at) => partition !== others[at])) return false;
  }
  return true;
}

/** Both sorted. */
export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((name, at) => name === b[at]));
}
