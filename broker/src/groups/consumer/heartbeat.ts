import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Assignment } from "../assignors/types.ts";
import { answered, decisionOf } from "../draft.ts";
import type { GroupFailure } from "../failures.ts";
import { revocationTimer, sessionTimer } from "../types.ts";
import type { Group, GroupDecision } from "../types.ts";
import { heartbeatRefused } from "./commands.ts";
import type { ConsumerHeartbeatAnswer, ConsumerHeartbeatCommand } from "./commands.ts";
import { ConsumerDraft, sessionTimeoutMs } from "./draft.ts";
import type { ConsumerSurroundings } from "./draft.ts";
import { ConsumerGroup } from "./group.ts";
import { removeMembers, replaceStaticMember } from "./leave.ts";
import {
  assignmentOf,
  isReconciledTo,
  LEAVE_EPOCH,
  newMember,
  nothingOwned,
  owns,
  samePartitions,
  STATIC_LEAVE_EPOCH,
} from "./member.ts";
import type { ConsumerMember } from "./member.ts";
import { replaceEmptyClassicGroup, upgrade } from "./migration.ts";
import { isTargetDue } from "./target.ts";
import { sameSubscription, updateMember } from "./update.ts";

export interface Refusal {
  readonly failure: GroupFailure;
  readonly message: string;
}

/** Decides a ConsumerGroupHeartbeat: join, go on, or leave. A heartbeat that changes nothing costs nothing but its timer. */
export function decideConsumerHeartbeat(
  found: Group | null,
  command: ConsumerHeartbeatCommand,
  around: ConsumerSurroundings,
): GroupDecision {
  const { memberEpoch } = command;
  const isLeaving = memberEpoch === LEAVE_EPOCH || memberEpoch === STATIC_LEAVE_EPOCH;
  if (isLeaving) return decideConsumerLeave(found, command, around);
  if (found?.type === "consumer" && memberEpoch > 0) {
    const quick = answerUnchanged(found, command, around);
    if (quick !== null) return quick;
  }
  const entered = enter(found, command, around);
  return entered.ok ? goOn(entered.value, command) : refused(command, entered.failure);
}

function goOn(draft: ConsumerDraft, command: ConsumerHeartbeatCommand): GroupDecision {
  const { consumer } = draft.settings;
  const isFull = draft.memberCount >= consumer.sizeMax && draft.member(command.memberId) === null;
  if (isFull) {
    const message = `the group has ${draft.memberCount} members, and ${consumer.sizeMax} are allowed`;
    return refused(command, { failure: "group-max-size-reached", message });
  }
  const found =
    command.instanceId === null ? findDynamic(draft, command) : findStatic(draft, command, command.instanceId);
  if (!found.ok) return refused(command, found.failure);
  const before = found.value;
  const updated = updatedBy(before, command);
  const invalid = refuseRegex(draft, before, updated);
  if (invalid !== null) return refused(command, invalid);

  const member = updateMember(draft, { before, updated, owned: command.owned });
  draft.renewSession(member);
  const isTold = isFullRequest(command) || !samePartitions(before.assigned, member.assigned);
  const answer = heartbeatAnswer(draft, member, isTold);
  draft.reply(command.ticket, answer, isTold || member.memberEpoch !== command.memberEpoch ? "committed" : "now");
  return draft.decision();
}

/** The common case: nobody says anything new and nothing is to be told. Null: it is another case. */
function answerUnchanged(
  group: ConsumerGroup,
  command: ConsumerHeartbeatCommand,
  { settings, nowMs }: ConsumerSurroundings,
): GroupDecision | null {
  const { groupId, memberId, memberEpoch, instanceId, ticket } = command;
  const member = group.member(memberId);
  if (member === null || member.instanceId !== instanceId || member.memberEpoch !== memberEpoch) return null;
  if (!isReconciledTo(member, group.assignmentEpoch) || isFullRequest(command)) return null;
  const isToBeAssigned = group.groupEpoch > group.assignmentEpoch && isTargetDue(group, settings, nowMs);
  if (isToBeAssigned || !sameSubscription(member, updatedBy(member, command))) return null;
  return decisionOf({
    timers: [{ timer: sessionTimer(groupId, memberId), afterMs: sessionTimeoutMs(member, groupId, settings) }],
    replies: [{ ticket, response: heartbeatAnswer({ groupId, settings }, member, false), when: "now" }],
  });
}

/** The group that the member comes to: a new one, or a classic one that becomes a consumer group by this. */
function enter(
  found: Group | null,
  command: ConsumerHeartbeatCommand,
  around: ConsumerSurroundings,
): Result<ConsumerDraft, Refusal> {
  const { groupId, memberEpoch } = command;
  if (found?.type === "consumer") return ok(new ConsumerDraft(found, around));
  if (memberEpoch !== 0) return failed(notFound(groupId, found));
  if (found === null) return ok(new ConsumerDraft(new ConsumerGroup(groupId), around));
  if (found.state === "Empty") return ok(replaceEmptyClassicGroup(found, around));
  return upgrade(found, around);
}

export function notFound(groupId: string, found: Group | null): Refusal {
  const message = found === null ? `there is no group ${groupId}` : `group ${groupId} is not a consumer group`;
  return { failure: "group-id-not-found", message };
}

function findDynamic(draft: ConsumerDraft, command: ConsumerHeartbeatCommand): Result<ConsumerMember, Refusal> {
  const { memberId, memberEpoch, groupId } = command;
  const member = draft.member(memberId);
  if (member === null) {
    if (memberEpoch === 0) return ok(newMember(memberId));
    return failed({ failure: "unknown-member-id", message: `${memberId} is no member of group ${groupId}` });
  }
  const failure = refuseEpoch(member, command);
  return failure === null ? ok(member) : failed({ failure: "fenced-member-epoch", message: failure });
}

/** A static member that comes back takes the place of the one that said it would leave for a moment. */
function findStatic(
  draft: ConsumerDraft,
  command: ConsumerHeartbeatCommand,
  instanceId: string,
): Result<ConsumerMember, Refusal> {
  const { memberId, memberEpoch } = command;
  const present = draft.staticMember(instanceId);
  if (memberEpoch === 0) {
    if (present === null) return ok(draft.member(memberId) ?? newMember(memberId));
    if (present.classic === null && present.memberEpoch !== STATIC_LEAVE_EPOCH) {
      const message = `${memberId} cannot join as ${instanceId}: ${present.memberId} is it, and has not left`;
      return failed({ failure: "unreleased-instance-id", message });
    }
    return ok(replaceStaticMember(draft, present, memberId));
  }
  const refusal = refuseStatic(present, memberId, instanceId);
  if (refusal !== null) return failed(refusal);
  if (present === null) return failed({ failure: "unknown-member-id", message: `there is no ${instanceId}` });
  const failure = refuseEpoch(present, command);
  return failure === null ? ok(present) : failed({ failure: "fenced-member-epoch", message: failure });
}

export function refuseStatic(present: ConsumerMember | null, memberId: string, instanceId: string): Refusal | null {
  if (present === null)
    return { failure: "unknown-member-id", message: `there is no member with instance id ${instanceId}` };
  if (present.memberId === memberId) return null;
  return {
    failure: "fenced-instance-id",
    message: `${memberId} is not ${instanceId} any more: ${present.memberId} is`,
  };
}

/**
 * A member comes with the epoch that it was told last. The answer that told it may be lost: then it comes with the one
 * before, and must not have more than it was given. Whoever comes with another one has to begin anew.
 */
function refuseEpoch(member: ConsumerMember, { memberEpoch, owned }: ConsumerHeartbeatCommand): string | null {
  if (memberEpoch === 0 || memberEpoch === member.memberEpoch) return null;
  const begin = "give up all partitions and join again";
  if (memberEpoch > member.memberEpoch)
    return `member epoch ${memberEpoch} is ahead of ${member.memberEpoch}, which the coordinator knows: ${begin}`;
  const hasMissedAnswer = memberEpoch === member.previousMemberEpoch && isWithin(owned, member);
  if (hasMissedAnswer) return null;
  return `member epoch ${memberEpoch} is behind ${member.memberEpoch}, which the coordinator knows: ${begin}`;
}

function isWithin(owned: Assignment | null, { assigned }: ConsumerMember): boolean {
  if (owned === null) return false;
  for (const [topicId, partitions] of owned) {
    if (!partitions.every((partition) => owns(assigned, topicId, partition))) return false;
  }
  return true;
}

/** The member as the request says it is. The same one if the request says nothing new. */
function updatedBy(member: ConsumerMember, command: ConsumerHeartbeatCommand): ConsumerMember {
  const updated: ConsumerMember = {
    ...member,
    instanceId: command.instanceId ?? member.instanceId,
    rackId: command.rackId ?? member.rackId,
    rebalanceTimeoutMs: command.rebalanceTimeoutMs ?? member.rebalanceTimeoutMs,
    serverAssignor: command.serverAssignor ?? member.serverAssignor,
    topicNames: command.topicNames ?? member.topicNames,
    topicRegex: command.topicRegex ?? member.topicRegex,
    clientId: command.clientId,
    clientHost: command.clientHost,
    classic: null,
  };
  return sameSubscription(member, updated) ? member : updated;
}

function refuseRegex(draft: ConsumerDraft, before: ConsumerMember, updated: ConsumerMember): Refusal | null {
  const { topicRegex } = updated;
  if (topicRegex === null || topicRegex === "" || topicRegex === before.topicRegex) return null;
  const flaw = draft.regexResolver.check(topicRegex);
  if (flaw === null) return null;
  return { failure: "invalid-regular-expression", message: `\`${topicRegex}\` is no regular expression: ${flaw}` };
}

/** A member that joins, or that repeats everything since it missed an answer, is told everything. */
function isFullRequest({
  memberEpoch,
  rebalanceTimeoutMs,
  topicNames,
  topicRegex,
  owned,
}: ConsumerHeartbeatCommand): boolean {
  if (memberEpoch === 0) return true;
  return rebalanceTimeoutMs !== null && (topicNames !== null || topicRegex !== null) && owned !== null;
}

function heartbeatAnswer(
  { groupId, settings }: Pick<ConsumerDraft, "groupId" | "settings">,
  member: ConsumerMember,
  isTold: boolean,
): ConsumerHeartbeatAnswer {
  return {
    failure: null,
    message: null,
    memberId: member.memberId,
    memberEpoch: member.memberEpoch,
    heartbeatIntervalMs: settings.consumer.ofGroup(groupId).heartbeatIntervalMs,
    assignment: isTold ? assignmentOf(member.assigned) : null,
  };
}

function refused(
  { ticket, groupId, memberId }: ConsumerHeartbeatCommand,
  { failure, message }: Refusal,
): GroupDecision {
  const decision = answered(ticket, heartbeatRefused(failure, message));
  const isFenced = failure === "fenced-member-epoch" || failure === "fenced-instance-id";
  return isFenced ? { ...decision, events: [{ kind: "member-fenced", groupId, memberId, reason: message }] } : decision;
}

// --- Leaving -----------------------------------------------------------------------------------------------------------

function decideConsumerLeave(
  found: Group | null,
  command: ConsumerHeartbeatCommand,
  around: ConsumerSurroundings,
): GroupDecision {
  const { groupId, memberId, memberEpoch, instanceId, ticket } = command;
  if (found?.type !== "consumer") return refused(command, notFound(groupId, found));
  const member = instanceId === null ? found.member(memberId) : found.staticMember(instanceId);
  if (instanceId !== null) {
    const refusal = refuseStatic(member, memberId, instanceId);
    if (refusal !== null) return refused(command, refusal);
  }
  if (member === null)
    return refused(command, { failure: "unknown-member-id", message: `${memberId} is no member of group ${groupId}` });

  const draft = new ConsumerDraft(found, around);
  const answer = {
    failure: null,
    message: null,
    memberId: member.memberId,
    memberEpoch,
    heartbeatIntervalMs: 0,
    assignment: null,
  };
  draft.reply(ticket, answer);
  if (memberEpoch === STATIC_LEAVE_EPOCH && instanceId !== null) stepAside(draft, member, instanceId);
  else return removeMembers(draft, [member], "left");
  return draft.decision();
}

/** Its partitions stay with it until its session ends; what it was to give up it has given up. */
function stepAside(draft: ConsumerDraft, member: ConsumerMember, instanceId: string): void {
  const { groupId } = draft;
  draft.writeCurrent({ ...member, memberEpoch: STATIC_LEAVE_EPOCH, pendingRevocation: nothingOwned });
  draft.cancelTimer(revocationTimer(groupId, member.memberId, member.memberEpoch));
  draft.tell({ kind: "member-away", groupId, memberId: member.memberId, instanceId });
}

/** A member was not heard of for its session timeout. */
export function decideConsumerSessionEnd(
  group: ConsumerGroup,
  memberId: string,
  around: ConsumerSurroundings,
): GroupDecision {
  const member = group.member(memberId);
  if (member === null) return decisionOf({});
  const timeoutMs = sessionTimeoutMs(member, group.groupId, around.settings);
  const isAway = member.memberEpoch === STATIC_LEAVE_EPOCH;
  const reason = isAway ? "did not come back" : `was silent for ${timeoutMs} ms`;
  return removeMembers(new ConsumerDraft(group, around), [member], reason);
}

/** A member was to give partitions up and has not said that it did. */
export function decideRevocationEnd(
  group: ConsumerGroup,
  { memberId, epoch }: { readonly memberId: string; readonly epoch: number },
  around: ConsumerSurroundings,
): GroupDecision {
  const member = group.member(memberId);
  if (member === null || member.state !== "unrevoked" || member.memberEpoch !== epoch) return decisionOf({});
  const reason = `did not give up its partitions within ${member.rebalanceTimeoutMs} ms`;
  return removeMembers(new ConsumerDraft(group, around), [member], reason);
}
