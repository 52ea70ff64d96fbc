import { joinRefused } from "./answers.ts";
import type { JoinAnswer } from "./answers.ts";
import {
  areSameProtocols,
  joinedCount,
  newClassicGroup,
  noBytes,
  refuseMember,
  selectProtocol,
  staticMemberId,
  supportsProtocols,
} from "./classic-group.ts";
import type { ClassicGroup, ClassicMember } from "./classic-group.ts";
import type { JoinCommand } from "./commands.ts";
import { answered, decisionOf, GroupDraft } from "./draft.ts";
import type { Surroundings } from "./draft.ts";
import { beginRebalance, completeJoinIfAllJoined, joined, rebalanceOrComplete } from "./rebalance.ts";
import { sessionTimer } from "./types.ts";
import type { GroupDecision } from "./types.ts";

export interface JoinSurroundings extends Surroundings {
  /** In the whole shard. */
  readonly pendingMembersCount: number;
}

/** Decides a JoinGroup. Its answer may come much later: the ticket then lies with the member. */
export function decideJoin(
  found: ClassicGroup | null,
  command: JoinCommand,
  surroundings: JoinSurroundings,
): GroupDecision {
  const { ticket, memberId } = command;
  const isNewcomer = memberId === "";
  if (found === null && !isNewcomer) return answered(ticket, joinRefused("unknown-member-id", memberId));

  const group = found ?? newClassicGroup(command.groupId);
  if (!hasRoomFor(group, memberId, surroundings.settings.groupSizeMax)) {
    const draft = new GroupDraft(group, surroundings);
    if (!isNewcomer) draft.removeMember(memberId, "the group is full");
    completeJoinIfAllJoined(draft);
    draft.reply(ticket, joinRefused("group-max-size-reached", ""));
    return draft.decision();
  }
  if (!supportsProtocols(group, command.protocolType, command.protocols)) {
    return answered(ticket, joinRefused("inconsistent-group-protocol", memberId));
  }
  if (!isNewcomer) return decideRejoin(group, command, surroundings);
  if (command.instanceId !== null) return decideStaticNewcomer(group, command, command.instanceId, surroundings);
  if (command.isMemberIdRequired) return giveMemberId(group, command, surroundings);

  const draft = new GroupDraft(group, surroundings);
  addMember(draft, command, command.newMemberId);
  return draft.decision();
}

/**
 * While a group prepares a rebalance, those count who have joined: they may be fewer than the members of a group that
 * was larger than a lowered limit, and the last to come are the ones left out. Otherwise the members count.
 */
function hasRoomFor(group: ClassicGroup, memberId: string, sizeMax: number): boolean {
  switch (group.state) {
    case "Empty":
      return true;
    case "PreparingRebalance":
      return (group.members.get(memberId)?.joinTicket ?? null) !== null || joinedCount(group) < sizeMax;
    case "CompletingRebalance":
    case "Stable":
      return group.members.has(memberId) || group.members.size < sizeMax;
  }
}

/** KIP-394: a client that never got an answer would join anew for ever, each time as one more member. So it must come twice. */
function giveMemberId(group: ClassicGroup, command: JoinCommand, surroundings: JoinSurroundings): GroupDecision {
  const { ticket, newMemberId } = command;
  if (surroundings.pendingMembersCount >= surroundings.settings.pendingMembersMax) {
    return answered(ticket, joinRefused("too-many-pending-joins", ""));
  }
  const draft = new GroupDraft(group, surroundings);
  draft.group.pendingMembers.add(newMemberId);
  draft.setTimer(sessionTimer(group.groupId, newMemberId), command.sessionTimeoutMs);
  draft.reply(ticket, joinRefused("member-id-required", newMemberId));
  return draft.decision();
}

/** KIP-345: whoever comes with an instance id is that member, and the process that had it before is fenced. */
function decideStaticNewcomer(
  group: ClassicGroup,
  command: JoinCommand,
  instanceId: string,
  surroundings: Surroundings,
): GroupDecision {
  const draft = new GroupDraft(group, surroundings);
  const old = group.members.get(staticMemberId(group, instanceId) ?? "");
  if (old === undefined) addMember(draft, command, command.newMemberId);
  else replaceStaticMember(draft, command, instanceId, old);
  return draft.decision();
}

function decideRejoin(group: ClassicGroup, command: JoinCommand, surroundings: Surroundings): GroupDecision {
  const { ticket, memberId, instanceId } = command;
  if (group.pendingMembers.has(memberId) && instanceId === null) {
    const draft = new GroupDraft(group, surroundings);
    addMember(draft, command, memberId);
    return draft.decision();
  }
  const failure = refuseMember(group, memberId, instanceId);
  const member = group.members.get(memberId);
  if (failure !== null || member === undefined)
    return answered(ticket, joinRefused(failure ?? "unknown-member-id", memberId));

  // The member may have missed the answer to its last JoinGroup. A leader of a stable group wants a rebalance: what it
  // assigns from may have changed (partitions of a topic), although its own metadata has not.
  const mayKeepGeneration =
    group.state === "CompletingRebalance" || (group.state === "Stable" && group.leaderId !== memberId);
  if (mayKeepGeneration && areSameProtocols(member.protocols, command.protocols)) {
    return decisionOf({
      timers: [{ timer: sessionTimer(group.groupId, memberId), afterMs: member.sessionTimeoutMs }],
      replies: [{ ticket, response: joined(group, memberId), when: "now" }],
    });
  }
  const draft = new GroupDraft(group, surroundings);
  const brings = areSameProtocols(member.protocols, command.protocols) ? "" : " with other metadata";
  updateMember(draft, member, command);
  rebalanceOrComplete(draft, `${memberId} joins again${brings}${saying(command.reason)}`);
  return draft.decision();
}

function addMember(draft: GroupDraft, command: JoinCommand, memberId: string): void {
  const { group, settings } = draft;
  if (group.initialDelay !== null) group.initialDelay = { ...group.initialDelay, hasNewMember: true };
  if (group.members.size === 0) group.protocolType = command.protocolType;
  group.leaderId ??= memberId;
  group.pendingMembers.delete(memberId);
  const member = memberOf(command, memberId);
  draft.putMember(member);
  draft.renewSession(member, settings.newMemberJoinTimeoutMs);
  rebalanceOrComplete(draft, `${memberId} joins${saying(command.reason)}`);
}

/** The sender of a first JoinGroup, which waits with it. */
function memberOf(command: JoinCommand, memberId: string): ClassicMember {
  return {
    memberId,
    instanceId: command.instanceId,
    clientId: command.clientId,
    clientHost: command.clientHost,
    rebalanceTimeoutMs: command.rebalanceTimeoutMs,
    sessionTimeoutMs: command.sessionTimeoutMs,
    protocols: command.protocols,
    assignment: noBytes,
    joinTicket: command.ticket,
    syncTicket: null,
    isNew: true,
    session: sessionTimer(command.groupId, memberId),
  };
}

/** The member joins with what it brings now. An older JoinGroup of it is told to come again: its client has long given it up. */
function updateMember(draft: GroupDraft, member: ClassicMember, command: JoinCommand): void {
  draft.answerJoin(member, joinRefused("rebalance-in-progress", member.memberId));
  draft.putMember({
    ...member,
    protocols: command.protocols,
    rebalanceTimeoutMs: command.rebalanceTimeoutMs,
    sessionTimeoutMs: command.sessionTimeoutMs,
    joinTicket: command.ticket,
  });
}

/**
 * The member goes on under a new member id. A stable group keeps its generation and assignment: that is what static
 * membership is for. Only where the group's protocol would change does everyone join again.
 */
function replaceStaticMember(draft: GroupDraft, command: JoinCommand, instanceId: string, old: ClassicMember): void {
  const { group } = draft;
  const { newMemberId } = command;
  const wasLeader = group.leaderId === old.memberId;
  draft.answerJoin(old, joinRefused("fenced-instance-id", old.memberId));
  draft.refuseSync(old, "fenced-instance-id");
  draft.cancelTimer(sessionTimer(group.groupId, old.memberId));
  const member: ClassicMember = { ...memberOf(command, newMemberId), assignment: old.assignment, isNew: false };
  takePlace(draft, old, member);
  draft.renewSession(member);
  draft.tell({ kind: "member-replaced", groupId: group.groupId, instanceId, oldMemberId: old.memberId, newMemberId });

  const reason = `${instanceId} is back as ${newMemberId}${saying(command.reason)}`;
  if (group.state === "PreparingRebalance") {
    completeJoinIfAllJoined(draft);
  } else if (group.state === "Stable" && selectProtocol(group) === group.protocolName) {
    draft.answerJoin(member, rejoinedStable(group, command, wasLeader ? old.memberId : null));
    draft.putMember({ ...member, joinTicket: null });
    draft.record();
  } else {
    // In CompletingRebalance the leader may be assigning to the old member id right now.
    beginRebalance(draft, reason);
  }
}

/**
 * A leader that comes back must not assign: nobody else joins. From v9 on it is told so; older clients are told of a
 * leader that does not exist any more, so that they take themselves for followers.
 */
function rejoinedStable(group: ClassicGroup, command: JoinCommand, oldLeaderId: string | null): JoinAnswer {
  const answer = joined(group, command.newMemberId);
  if (command.canSkipAssignment) return { ...answer, skipAssignment: oldLeaderId !== null };
  return oldLeaderId === null ? answer : { ...answer, leaderId: oldLeaderId, members: [] };
}

/** It keeps the old one's place in the order of joining, and the lead if it had that. */
function takePlace(draft: GroupDraft, old: ClassicMember, member: ClassicMember): void {
  const { group } = draft;
  const members = [...group.members.values()];
  group.members.clear();
  for (const one of members) draft.putMember(one === old ? member : one);
  if (group.leaderId === old.memberId) group.leaderId = member.memberId;
  if (group.pendingSync.delete(old.memberId)) group.pendingSync.add(member.memberId);
}

function saying(reason: string | null): string {
  return reason === null || reason === "" ? "" : ` (${reason})`;
}
