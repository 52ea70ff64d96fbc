import type { Assignment } from "../assignors/types.ts";
import { isReconciledTo, nothingOwned, owns } from "./member.ts";
import type { ConsumerMember, Owned } from "./member.ts";

export interface Reconciliation {
  readonly targetEpoch: number;
  readonly target: Assignment;
  /** A topic that it does not read any more is taken from it, whatever the target says. */
  isSubscribed(topicId: string): boolean;
  ownerOf(topicId: string, partition: number): string | null;
  /** What the member says it has; null: it does not say. */
  readonly owned: Assignment | null;
  readonly hasSubscriptionChanged: boolean;
}

/**
 * One step of one member towards its target: first it gives up what it must, then it is given what is free.
 *
 *     stable ──────────┐                        ┌──> unrevoked   it has to give partitions up; its epoch stays
 *     unrevoked ───────┼── it has given up all ─┼──> unreleased  target epoch; others have not given up all yet
 *     unreleased ──────┘                        └──> stable      target epoch; it has all of its target
 *
 * The same member: there is no step to be taken.
 */
export function reconcile(member: ConsumerMember, about: Reconciliation): ConsumerMember {
  if (isReconciledTo(member, about.targetEpoch)) {
    return about.hasSubscriptionChanged ? withoutUnsubscribed(member, about) : member;
  }
  if (member.state === "unrevoked" && stillOwns(about.owned, member.pendingRevocation)) {
    return about.hasSubscriptionChanged ? withoutUnsubscribed(member, about) : member;
  }
  return nextAssignment(member, about);
}

/** A member that does not say what it has still has what it was told to give up. */
function stillOwns(owned: Assignment | null, pendingRevocation: Owned): boolean {
  if (owned === null) return true;
  for (const [topicId, partitions] of owned) {
    if (partitions.some((partition) => owns(pendingRevocation, topicId, partition))) return true;
  }
  return false;
}

function nextAssignment(member: ConsumerMember, about: Reconciliation): ConsumerMember {
  const { target, targetEpoch } = about;
  const assigned = new Map<string, Map<number, number>>();
  const toRevoke = new Map<string, Map<number, number>>();
  for (const [topicId, partitions] of member.assigned) {
    const wanted = new Set(about.isSubscribed(topicId) ? target.get(topicId) : []);
    for (const [partition, epoch] of partitions)
      put(wanted.has(partition) ? assigned : toRevoke, topicId, partition, epoch);
  }
  if (toRevoke.size > 0 && stillOwns(about.owned, toRevoke)) {
    return {
      ...member,
      previousMemberEpoch: member.memberEpoch,
      state: "unrevoked",
      assigned,
      pendingRevocation: toRevoke,
    };
  }

  let isWaiting = false;
  for (const [topicId, partitions] of target) {
    if (!about.isSubscribed(topicId)) continue;
    for (const partition of partitions) {
      if (assigned.get(topicId)?.has(partition) === true) continue;
      const owner = about.ownerOf(topicId, partition);
      // What it was itself told to give up, it has given up: it is here because of that.
      if (owner === null || owner === member.memberId) put(assigned, topicId, partition, targetEpoch);
      else isWaiting = true;
    }
  }
  return {
    ...member,
    memberEpoch: targetEpoch,
    previousMemberEpoch: member.memberEpoch,
    state: isWaiting ? "unreleased" : "stable",
    assigned,
    pendingRevocation: nothingOwned,
  };
}

/** The target is not new yet, but the member has already said that it does not read a topic any more. */
function withoutUnsubscribed(member: ConsumerMember, about: Reconciliation): ConsumerMember {
  if ([...member.assigned.keys()].every((topicId) => about.isSubscribed(topicId))) return member;
  const assigned = new Map<string, ReadonlyMap<number, number>>();
  const pendingRevocation = new Map(member.pendingRevocation);
  for (const [topicId, partitions] of member.assigned) {
    if (about.isSubscribed(topicId)) assigned.set(topicId, partitions);
    else pendingRevocation.set(topicId, new Map([...(pendingRevocation.get(topicId) ?? []), ...partitions]));
  }
  const previousMemberEpoch = member.memberEpoch;
  if (!stillOwns(about.owned, pendingRevocation)) return { ...member, previousMemberEpoch, assigned };
  return { ...member, previousMemberEpoch, state: "unrevoked", assigned, pendingRevocation };
}

function put(owned: Map<string, Map<number, number>>, topicId: string, partition: number, epoch: number): void {
  let partitions = owned.get(topicId);
  if (partitions === undefined) owned.set(topicId, (partitions = new Map()));
  partitions.set(partition, epoch);
}
