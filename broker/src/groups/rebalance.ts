import type { JoinAnswer } from "./answers.ts";
import { haveAllJoined, metadataOf, noBytes, rebalanceTimeoutMs, selectProtocol } from "./classic-group.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { GroupDraft } from "./draft.ts";
import { joinTimer, syncTimer } from "./types.ts";

/*
 * The way of a group from one generation to the next. Requests and timers call these steps:
 *
 *     Empty ───────────────┐
 *     Stable ──────────────┤ beginRebalance             completeJoin                      the leader's SyncGroup
 *     CompletingRebalance ─┴────────> PreparingRebalance ─────────> CompletingRebalance ────────> Stable (replayed)
 *                                                        └─────────> Empty (replayed), when nobody is left
 */

/** Members may ask for no time at all to join in. Nobody is asked again and again without a pause. */
const POSTPONED_MS_MIN = 1_000;

/** Everyone has to join again. A group that was empty first waits a little for more members (KIP-134). */
export function beginRebalance(draft: GroupDraft, reason: string): void {
  const { group, settings } = draft;
  if (group.state === "CompletingRebalance") {
    for (const member of [...group.members.values()]) {
      draft.refuseSync(member, "rebalance-in-progress");
      draft.putMember({ ...member, syncTicket: null, assignment: noBytes });
    }
  }
  group.pendingSync.clear();
  draft.cancelTimer(syncTimer(group.groupId, group.generation));

  const wasEmpty = group.state === "Empty";
  group.state = "PreparingRebalance";
  draft.tell({ kind: "rebalance-began", groupId: group.groupId, generation: group.generation, reason });
  if (wasEmpty) {
    const delayMs = settings.initialRebalanceDelayMs;
    const remainingMs = Math.max(rebalanceTimeoutMs(group) - delayMs, 0);
    group.initialDelay = { hasNewMember: false, delayMs, remainingMs };
    draft.setTimer(joinTimer(group.groupId), delayMs);
  } else if (haveAllJoined(group)) {
    completeJoin(draft);
  } else {
    draft.setTimer(joinTimer(group.groupId), rebalanceTimeoutMs(group));
  }
}

/** After a change of who is there: begins a rebalance, or ends the joining if this was what it waited for. */
export function rebalanceOrComplete(draft: GroupDraft, reason: string): void {
  if (draft.group.state === "PreparingRebalance") completeJoinIfAllJoined(draft);
  else beginRebalance(draft, reason);
}

/** The initial delay runs to its end, whoever has joined. */
export function completeJoinIfAllJoined(draft: GroupDraft): void {
  const { group } = draft;
  if (group.state === "PreparingRebalance" && group.initialDelay === null && haveAllJoined(group)) completeJoin(draft);
}

/** The time to join is over. The initial delay is begun again while new members keep coming and their timeout leaves room. */
export function joinTimeIsOver(draft: GroupDraft): void {
  const { group, settings } = draft;
  if (group.state !== "PreparingRebalance") return;
  const { initialDelay } = group;
  if (initialDelay === null || !initialDelay.hasNewMember || initialDelay.remainingMs === 0) {
    completeJoin(draft);
    return;
  }
  const delayMs = Math.min(settings.initialRebalanceDelayMs, initialDelay.remainingMs);
  const remainingMs = Math.max(initialDelay.remainingMs - initialDelay.delayMs, 0);
  group.initialDelay = { hasNewMember: false, delayMs, remainingMs };
  draft.setTimer(joinTimer(group.groupId), delayMs);
}

/**
 * Begins the next generation with those who have joined. Dynamic members that have not are out; static ones stay until
 * their session ends, since their process may only be restarting (KIP-345).
 */
export function completeJoin(draft: GroupDraft): void {
  const { group } = draft;
  draft.cancelTimer(joinTimer(group.groupId));
  for (const member of [...group.members.values()]) {
    const hasMissedIt = member.joinTicket === null && member.instanceId === null;
    if (hasMissedIt) draft.removeMember(member.memberId, "did not join in time");
  }
  if (group.members.size > 0 && !electJoinedLeader(draft)) {
    draft.tell({ kind: "join-postponed", groupId: group.groupId, generation: group.generation + 1 });
    draft.setTimer(joinTimer(group.groupId), Math.max(rebalanceTimeoutMs(group), POSTPONED_MS_MIN));
    return;
  }
  group.initialDelay = null;
  group.generation += 1;
  group.pendingSync.clear();
  if (group.members.size === 0) becomeEmpty(draft);
  else awaitSync(draft);
}

/** Nobody is left. The record says so, and replaying it makes the group Empty. */
function becomeEmpty(draft: GroupDraft): void {
  const { group } = draft;
  group.protocolName = null;
  group.leaderId = null;
  draft.tell({ kind: "emptied", groupId: group.groupId, generation: group.generation });
  draft.record();
}

/** Tells every member its generation, and the leader whom to assign to. */
function awaitSync(draft: GroupDraft): void {
  const { group } = draft;
  group.protocolName = selectProtocol(group);
  group.state = "CompletingRebalance";
  draft.resubscribe();
  draft.tell({
    kind: "generation-joined",
    groupId: group.groupId,
    generation: group.generation,
    memberCount: group.members.size,
    protocol: group.protocolName ?? "",
  });
  for (const member of [...group.members.values()]) {
    draft.answerJoin(member, joined(group, member.memberId));
    draft.putMember({ ...member, joinTicket: null, isNew: false });
    draft.renewSession(member);
    group.pendingSync.add(member.memberId);
  }
  draft.setTimer(syncTimer(group.groupId, group.generation), rebalanceTimeoutMs(group));
}

/** The present generation, as JoinGroup tells it to a member. */
export function joined(group: ClassicGroup, memberId: string): JoinAnswer {
  return {
    failure: null,
    memberId,
    generation: group.generation,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    leaderId: group.leaderId ?? "",
    members:
      group.leaderId === memberId
        ? Array.from(group.members.values(), (member) => ({
            memberId: member.memberId,
            instanceId: member.instanceId,
            metadata: metadataOf(member, group.protocolName),
          }))
        : [],
    skipAssignment: false,
  };
}

/** The leader stays if it has joined; otherwise it is the first that has. False: nobody has. */
function electJoinedLeader(draft: GroupDraft): boolean {
  const { group } = draft;
  const leader = group.leaderId === null ? undefined : group.members.get(group.leaderId);
  if (leader !== undefined && leader.joinTicket !== null) return true;
  for (const member of group.members.values()) {
    if (member.joinTicket === null) continue;
    group.leaderId = member.memberId;
    return true;
  }
  return false;
}
