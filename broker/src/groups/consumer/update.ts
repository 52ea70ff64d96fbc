import type { Assignment } from "../assignors/types.ts";
import { revocationTimer } from "../types.ts";
import type { ConsumerDraft } from "./draft.ts";
import { countOwned, isReconciledTo, sameNames, samePartitions } from "./member.ts";
import type { ConsumerMember, MemberSubscription } from "./member.ts";
import { reconcile } from "./reconcile.ts";
import { updateTarget } from "./target.ts";

/**
 * What every request of a member that joins or goes on comes to: what it says of itself is written, the group gets a new
 * epoch if somebody reads other topics now, and a new target if it is time; then the member takes a step towards its own.
 */
export function updateMember(
  draft: ConsumerDraft,
  {
    before,
    updated,
    owned,
  }: { readonly before: ConsumerMember; readonly updated: ConsumerMember; readonly owned: Assignment | null },
): ConsumerMember {
  const hasSubscriptionChanged = updateSubscription(draft, before, updated);
  updateTarget(draft);
  return stepTowardsTarget(draft, updated, { owned, hasSubscriptionChanged });
}

/** True: it reads other topics than before, and the group has another epoch. */
function updateSubscription(draft: ConsumerDraft, before: ConsumerMember, updated: ConsumerMember): boolean {
  const isNew = draft.member(updated.memberId) === null;
  if (isNew || !sameSubscription(before, updated)) draft.writeSubscription(updated);
  const hasRegexChanged = updateRegexes(draft, before, updated);
  const hasChanged = hasRegexChanged || !sameNames(before.topicNames, updated.topicNames);
  if (hasChanged || draft.isUpgraded) draft.bumpEpoch(`${updated.memberId} ${isNew ? "joins" : "reads other topics"}`);
  return hasChanged;
}

/** A regular expression is resolved with its first subscriber, and forgotten with its last. */
function updateRegexes(draft: ConsumerDraft, before: ConsumerMember, updated: ConsumerMember): boolean {
  const old = before.topicRegex ?? "";
  const next = updated.topicRegex ?? "";
  if (old === next) return false;
  forgetRegex(draft, old);
  if (next !== "" && draft.resolved(next) === null) resolveRegex(draft, next);
  return true;
}

export function resolveRegex(draft: ConsumerDraft, regex: string): void {
  const { topics, regexResolver, nowMs } = draft;
  const matching = regexResolver.resolve(regex, topics);
  draft.writeRegex(regex, { topics: matching, version: topics.version, timestampMs: nowMs });
}

/** If nobody subscribes to it any more. */
export function forgetRegex(draft: ConsumerDraft, regex: string | null): void {
  if (regex === null || regex === "" || draft.subscriberCount(regex) > 0) return;
  if (draft.resolved(regex) !== null) draft.writeRegex(regex, null);
}

export function stepTowardsTarget(
  draft: ConsumerDraft,
  member: ConsumerMember,
  { owned, hasSubscriptionChanged }: { readonly owned: Assignment | null; readonly hasSubscriptionChanged: boolean },
): ConsumerMember {
  const { memberId } = member;
  const targetEpoch = draft.assignmentEpoch;
  if (!hasSubscriptionChanged && isReconciledTo(member, targetEpoch)) return member;
  const subscribed = draft.topicIdsOf(member);
  const target = draft.target(memberId);
  const next = reconcile(member, {
    targetEpoch,
    target,
    isSubscribed: (topicId) => subscribed.has(topicId),
    ownerOf: (topicId, partition) => draft.ownerOf(topicId, partition),
    owned,
    hasSubscriptionChanged,
  });
  if (sameStep(member, next)) return member;
  draft.writeCurrent(next);
  tellStep(draft, next, target);
  // Classic members have deadlines of their own, for joining and for syncing.
  if (next.classic !== null) return next;
  const timer = revocationTimer(draft.groupId, memberId, next.memberEpoch);
  if (next.state === "unrevoked") draft.setTimer(timer, next.rebalanceTimeoutMs);
  else draft.cancelTimer(timer);
  return next;
}

/** Whose revocation is waited for, for people. */
function tellStep(draft: ConsumerDraft, member: ConsumerMember, target: Assignment): void {
  const { groupId } = draft;
  const { memberId, rebalanceTimeoutMs: timeoutMs } = member;
  if (member.state === "unrevoked") {
    const partitionCount = countOwned(member.pendingRevocation);
    draft.tell({ kind: "revocation-awaited", groupId, memberId, partitionCount, timeoutMs });
  } else if (member.state === "unreleased") {
    draft.tell({ kind: "release-awaited", groupId, memberId, owners: [...ownersAwaited(draft, member, target)] });
  } else {
    draft.tell({ kind: "member-settled", groupId, memberId, epoch: member.memberEpoch });
  }
}

/** The members that still have partitions of this one's target. */
export function ownersAwaited(
  group: Pick<ConsumerDraft, "ownerOf">,
  member: ConsumerMember,
  target: Assignment,
): ReadonlySet<string> {
  const owners = new Set<string>();
  for (const [topicId, partitions] of target) {
    for (const partition of partitions) {
      const owner = group.ownerOf(topicId, partition);
      if (owner !== null && owner !== member.memberId) owners.add(owner);
    }
  }
  return owners;
}

function sameStep(a: ConsumerMember, b: ConsumerMember): boolean {
  if (a === b) return true;
  if (a.memberEpoch !== b.memberEpoch || a.previousMemberEpoch !== b.previousMemberEpoch) return false;
  if (a.state !== b.state) return false;
  return samePartitions(a.assigned, b.assigned) && samePartitions(a.pendingRevocation, b.pendingRevocation);
}

export function sameSubscription(a: MemberSubscription, b: MemberSubscription): boolean {
  return (
    a.instanceId === b.instanceId &&
    a.rackId === b.rackId &&
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.topicRegex === b.topicRegex &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
    a.serverAssignor === b.serverAssignor &&
    sameNames(a.topicNames, b.topicNames) &&
    sameClassic(a.classic, b.classic)
  );
}

function sameClassic(a: MemberSubscription["classic"], b: MemberSubscription["classic"]): boolean {
  if (a === null || b === null) return a === b;
  if (a.sessionTimeoutMs !== b.sessionTimeoutMs || a.protocols.length !== b.protocols.length) return false;
  return a.protocols.every(({ name, metadata }, at) => {
    const other = b.protocols[at];
    return name === other?.name && Buffer.compare(metadata, other.metadata) === 0;
  });
}
