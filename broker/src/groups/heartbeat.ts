import { refuseMember } from "./classic-group.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { HeartbeatCommand } from "./commands.ts";
import { answered, decisionOf, GroupDraft } from "./draft.ts";
import type { Surroundings } from "./draft.ts";
import { beginRebalance, completeJoinIfAllJoined, rebalanceOrComplete } from "./rebalance.ts";
import type { GroupDecision } from "./types.ts";

/** Decides a Heartbeat. It changes nothing but the session timer, so it costs the same in a group of thousands. */
export function decideHeartbeat(group: ClassicGroup | null, command: HeartbeatCommand): GroupDecision {
  const { ticket, memberId } = command;
  const member = group?.members.get(memberId);
  const failure = group === null ? "unknown-member-id" : refuseMember(group, memberId, command.instanceId);
  if (group === null || failure !== null || member === undefined) {
    return answered(ticket, { failure: failure ?? "unknown-member-id" });
  }
  if (command.generation !== group.generation) return answered(ticket, { failure: "illegal-generation" });
  const isToJoin = group.state === "PreparingRebalance";
  return decisionOf({
    timers: [{ timer: member.session, afterMs: member.sessionTimeoutMs }],
    replies: [{ ticket, response: { failure: isToJoin ? "rebalance-in-progress" : null }, when: "now" }],
  });
}

/** A member was not heard of for its session timeout; or a member id that was given out has not been used. */
export function decideSessionEnd(
  group: ClassicGroup | null,
  memberId: string,
  surroundings: Surroundings,
): GroupDecision {
  if (group === null) return decisionOf({});
  const member = group.members.get(memberId);
  if (member === undefined) {
    if (!group.pendingMembers.has(memberId)) return decisionOf({});
    const draft = new GroupDraft(group, surroundings);
    draft.removeMember(memberId, "did not come back with its member id");
    completeJoinIfAllJoined(draft);
    return draft.decision();
  }
  // Who waits for the coordinator cannot be silent. A new member can: nobody knows whether its client still waits.
  const isWaiting = member.joinTicket !== null || member.syncTicket !== null;
  if (isWaiting && !member.isNew) return decisionOf({});
  const draft = new GroupDraft(group, surroundings);
  const reason = member.isNew ? "its first join took too long" : `was silent for ${member.sessionTimeoutMs} ms`;
  draft.removeMember(memberId, reason);
  rebalanceOrComplete(draft, `${memberId} ${reason}`);
  return draft.decision();
}

/** The time to sync is over: who has joined a generation and does not take its assignment is out. */
export function decideSyncEnd(
  group: ClassicGroup | null,
  generation: number,
  surroundings: Surroundings,
): GroupDecision {
  const isOver = group !== null && (group.state === "CompletingRebalance" || group.state === "Stable");
  if (!isOver || group.generation !== generation || group.pendingSync.size === 0) return decisionOf({});
  const draft = new GroupDraft(group, surroundings);
  const missing = [...group.pendingSync];
  for (const memberId of missing) draft.removeMember(memberId, "did not sync in time");
  beginRebalance(draft, `${missing.join(", ")} did not sync in time`);
  return draft.decision();
}
