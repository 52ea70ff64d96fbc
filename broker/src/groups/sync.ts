import { syncRefused } from "./answers.ts";
import { noBytes, refuseMember } from "./classic-group.ts";
import type { ClassicGroup, ClassicMember } from "./classic-group.ts";
import type { SyncCommand } from "./commands.ts";
import { answered, GroupDraft } from "./draft.ts";
import type { Surroundings } from "./draft.ts";
import type { GroupFailure } from "./failures.ts";
import { groupRecordBytesMax } from "./records.ts";
import { beginRebalance } from "./rebalance.ts";
import { syncTimer } from "./types.ts";
import type { GroupDecision } from "./types.ts";

/**
 * Decides a SyncGroup. Members wait for the leader's; with it the generation is complete, and is written. An assignment
 * is hard state, so every answer that carries one leaves when it is committed.
 */
export function decideSync(
  group: ClassicGroup | null,
  command: SyncCommand,
  surroundings: Surroundings,
): GroupDecision {
  const { ticket, memberId } = command;
  const failure = refuse(group, command);
  const member = group?.members.get(memberId);
  if (group === null || failure !== null || member === undefined) {
    return answered(ticket, syncRefused(failure ?? "unknown-member-id"));
  }
  const draft = new GroupDraft(group, surroundings);
  switch (group.state) {
    case "Empty":
    case "PreparingRebalance":
      return answered(ticket, syncRefused("rebalance-in-progress"));
    case "Stable":
      hasSynced(draft, memberId);
      draft.renewSession(member);
      draft.reply(ticket, assigned(draft.group, member), "committed");
      return draft.decision();
    case "CompletingRebalance":
      hasSynced(draft, memberId);
      // An older SyncGroup of the same member: its client has given it up.
      draft.refuseSync(member, "rebalance-in-progress");
      draft.putMember({ ...member, syncTicket: ticket });
      if (group.leaderId === memberId) assign(draft, command.assignments);
      return draft.decision();
  }
}

function refuse(group: ClassicGroup | null, command: SyncCommand): GroupFailure | null {
  if (group === null) return "unknown-member-id";
  const failure = refuseMember(group, command.memberId, command.instanceId);
  if (failure !== null) return failure;
  if (command.generation !== group.generation) return "illegal-generation";
  const isOtherType =
    command.protocolType !== null && group.protocolType !== null && command.protocolType !== group.protocolType;
  const isOtherName =
    command.protocolName !== null && group.protocolName !== null && command.protocolName !== group.protocolName;
  return isOtherType || isOtherName ? "inconsistent-group-protocol" : null;
}

function hasSynced(draft: GroupDraft, memberId: string): void {
  const { group } = draft;
  group.pendingSync.delete(memberId);
  if (group.pendingSync.size === 0) draft.cancelTimer(syncTimer(group.groupId, group.generation));
}

/** Takes the leader's assignment as it is; whom it leaves out gets an empty one. */
function assign(draft: GroupDraft, assignments: ReadonlyMap<string, Uint8Array>): void {
  const { group } = draft;
  for (const member of [...group.members.values()]) {
    draft.putMember({ ...member, assignment: assignments.get(member.memberId) ?? noBytes });
  }
  if (groupRecordBytesMax(group.groupId, draft.groupValue()) > draft.settings.recordBytesMax) {
    refuseAll(draft, "assignment-too-large");
    return;
  }
  for (const member of [...group.members.values()]) {
    if (member.syncTicket === null) continue;
    draft.reply(member.syncTicket, assigned(group, member), "committed");
    draft.putMember({ ...member, syncTicket: null });
    // While it waited it could not be heard of.
    draft.renewSession(member);
  }
  draft.record();
  draft.tell({
    kind: "stabilized",
    groupId: group.groupId,
    generation: group.generation,
    memberCount: group.members.size,
  });
}

/** The log would not take this generation. Another try may be smaller, with fewer members or another assignor. */
function refuseAll(draft: GroupDraft, failure: GroupFailure): void {
  for (const member of [...draft.group.members.values()]) {
    draft.refuseSync(member, failure);
    draft.putMember({ ...member, syncTicket: null });
  }
  beginRebalance(draft, "the assignment is larger than a record may be");
}

function assigned(group: ClassicGroup, member: ClassicMember): ReturnType<typeof syncRefused> {
  return {
    failure: null,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    assignment: member.assignment,
  };
}
