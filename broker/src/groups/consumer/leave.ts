import type { GroupDecision } from "../types.ts";
import type { ConsumerDraft } from "./draft.ts";
import type { ConsumerMember } from "./member.ts";
import { canDowngradeWithout, downgrade } from "./migration.ts";
import { forgetRegex } from "./update.ts";

/**
 * Takes members from the group: what they had is free for others from now on. If only classic members are left, the
 * group becomes a classic one.
 */
export function removeMembers(draft: ConsumerDraft, members: readonly ConsumerMember[], reason: string): GroupDecision {
  if (members.length === 0) return draft.decision();
  const { groupId } = draft;
  for (const { memberId } of members) draft.tell({ kind: "member-removed", groupId, memberId, reason });
  const why = `${members.map(({ memberId }) => memberId).join(", ")} ${reason}`;
  if (canDowngradeWithout(draft, members)) return downgrade(draft, { leaving: members, joining: null, reason: why });
  for (const { memberId } of members) draft.removeMember(memberId);
  for (const { topicRegex } of members) forgetRegex(draft, topicRegex);
  draft.bumpEpoch(why);
  return draft.decision();
}

/** An instance id goes on under a new member id, with all that it had. */
export function replaceStaticMember(draft: ConsumerDraft, old: ConsumerMember, memberId: string): ConsumerMember {
  const { groupId } = draft;
  const target = draft.target(old.memberId);
  const member: ConsumerMember = { ...old, memberId, memberEpoch: 0, previousMemberEpoch: 0 };
  draft.removeMember(old.memberId);
  draft.writeSubscription(member);
  draft.writeTarget(memberId, target);
  draft.writeCurrent(member);
  const instanceId = old.instanceId ?? "";
  draft.tell({ kind: "member-replaced", groupId, instanceId, oldMemberId: old.memberId, newMemberId: memberId });
  return member;
}
