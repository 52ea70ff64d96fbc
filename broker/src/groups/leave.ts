import type { LeftMember } from "./answers.ts";
import { refuseMember, staticMemberId } from "./classic-group.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { LeaveCommand, LeavingMember } from "./commands.ts";
import { answered, GroupDraft } from "./draft.ts";
import type { Surroundings } from "./draft.ts";
import { completeJoinIfAllJoined, rebalanceOrComplete } from "./rebalance.ts";
import type { GroupDecision } from "./types.ts";

/** Decides a LeaveGroup: each member is answered by itself, and together they cause one rebalance. */
export function decideLeave(
  group: ClassicGroup | null,
  command: LeaveCommand,
  surroundings: Surroundings,
): GroupDecision {
  const { ticket } = command;
  if (group === null) {
    const members = command.members.map(({ memberId, instanceId }): LeftMember => ({
      memberId,
      instanceId,
      failure: "unknown-member-id",
    }));
    return answered(ticket, { members });
  }
  const draft = new GroupDraft(group, surroundings);
  const members = command.members.map((leaving): LeftMember => {
    const { memberId, instanceId } = leaving;
    return { memberId, instanceId, failure: removeOne(draft, leaving) };
  });
  const left = [...group.members.keys()].filter((memberId) => !draft.group.members.has(memberId));
  if (left.length > 0) rebalanceOrComplete(draft, `${left.join(", ")} left`);
  else completeJoinIfAllJoined(draft);
  draft.reply(ticket, { members });
  return draft.decision();
}

function removeOne(draft: GroupDraft, { memberId, instanceId, reason }: LeavingMember): LeftMember["failure"] {
  const { group } = draft;
  const why = reason === null || reason === "" ? "left" : `left (${reason})`;
  if (memberId === "") {
    const staticId = instanceId === null ? null : staticMemberId(group, instanceId);
    if (staticId === null) return "unknown-member-id";
    draft.removeMember(staticId, why);
    return null;
  }
  if (!group.pendingMembers.has(memberId)) {
    const failure = refuseMember(group, memberId, instanceId);
    if (failure !== null) return failure;
  }
  draft.removeMember(memberId, why);
  return null;
}
