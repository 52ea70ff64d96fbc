import { joinRefused, syncRefused } from "../answers.ts";
import type { JoinAnswer, LeftMember, SyncAnswer } from "../answers.ts";
import type { Assignment } from "../assignors/types.ts";
import { CONSUMER_PROTOCOL_TYPE } from "../classic-group.ts";
import type { HeartbeatCommand, JoinCommand, LeaveCommand, LeavingMember, SyncCommand } from "../commands.ts";
import { assignmentBytes, subscriptionOf } from "../consumer-protocol.ts";
import { answered, decisionOf } from "../draft.ts";
import type { GroupFailure } from "../failures.ts";
import type { TopicLookup } from "../topic-lookup.ts";
import { classicJoinTimer, classicSyncTimer, sessionTimer } from "../types.ts";
import type { GroupDecision } from "../types.ts";
import { ConsumerDraft } from "./draft.ts";
import type { ConsumerSurroundings } from "./draft.ts";
import type { ConsumerGroup } from "./group.ts";
import { refuseStatic } from "./heartbeat.ts";
import { removeMembers, replaceStaticMember } from "./leave.ts";
import { assignmentOf, newMember, sameNames } from "./member.ts";
import type { ClassicProtocol, ConsumerMember } from "./member.ts";
import { canDowngradeWithout, downgrade, joinedWithoutLeader, named } from "./migration.ts";
import { isTargetDue } from "./target.ts";
import { ownersAwaited, updateMember } from "./update.ts";

/*
 * Members that speak the classic protocol inside of a consumer group: the coordinator assigns to them, too. A JoinGroup
 * is answered at once, with the member's epoch as the generation and without a leader; a SyncGroup with what the member
 * has; a Heartbeat says when there is a reason to join again.
 */

export function decideJoinConsumer(
  group: ConsumerGroup,
  command: JoinCommand,
  around: ConsumerSurroundings,
): GroupDecision {
  const { ticket, instanceId } = command;
  const isNewcomer = command.memberId === "";
  const memberId = isNewcomer ? command.newMemberId : command.memberId;
  const refuse = (failure: GroupFailure): GroupDecision => answered(ticket, joinRefused(failure, command.memberId));
  const { consumer } = around.settings;
  if (consumer.isMigrationDisabled) return refuse("inconsistent-group-protocol");
  if (group.memberCount >= consumer.sizeMax && group.member(memberId) === null) return refuse("group-max-size-reached");
  const subscription = subscriptionOf(command.protocols[0]?.metadata ?? new Uint8Array(0));
  if (subscription === null || !supportsClassic(group, command)) return refuse("inconsistent-group-protocol");
  if (isNewcomer && command.isMemberIdRequired && instanceId === null)
    return answered(ticket, joinRefused("member-id-required", memberId));

  const present = instanceId === null ? group.member(memberId) : group.staticMember(instanceId);
  if (instanceId !== null && !isNewcomer) {
    const refusal = refuseStatic(present, memberId, instanceId);
    if (refusal !== null) return refuse(refusal.failure);
  }
  // A member of the consumer protocol does not become a classic one under the same member id.
  if (present?.memberId === memberId && present.classic === null) return refuse("unknown-member-id");
  const owned = ownedOf(subscription.ownedPartitions, around.topics);
  const updatedFrom = (member: ConsumerMember): ConsumerMember => ({
    ...member,
    instanceId: instanceId ?? member.instanceId,
    rackId: subscription.rackId === null || subscription.rackId === "" ? member.rackId : subscription.rackId,
    rebalanceTimeoutMs: command.rebalanceTimeoutMs,
    topicNames: [...new Set(subscription.topics)].sort(),
    topicRegex: "",
    clientId: command.clientId,
    clientHost: command.clientHost,
    classic: { sessionTimeoutMs: command.sessionTimeoutMs, protocols: command.protocols },
  });

  const draft = new ConsumerDraft(group, around);
  const isReplaced = present !== null && present.memberId !== memberId;
  if (isReplaced && present.classic === null && canDowngradeWithout(draft, [present], 1))
    return joinByDowngrade(draft, { command, memberId, present, updatedFrom });

  const before = isReplaced ? replaceStaticMember(draft, present, memberId) : (present ?? newMember(memberId));
  const member = updateMember(draft, { before, updated: updatedFrom(before), owned });
  draft.renewSession(member);
  const { groupId } = group;
  draft.cancelTimer(classicJoinTimer(groupId, memberId));
  draft.setTimer(classicSyncTimer(groupId, memberId), command.rebalanceTimeoutMs);
  if (draft.isJoinAwaited(memberId)) draft.soften({ groupId, memberId, isJoinAwaited: false });
  draft.reply(ticket, joined(member), "committed");
  return draft.decision();
}

/** The last member of the consumer protocol comes back with the classic one, as its instance id tells. */
function joinByDowngrade(
  draft: ConsumerDraft,
  {
    command,
    memberId,
    present,
    updatedFrom,
  }: {
    readonly command: JoinCommand;
    readonly memberId: string;
    readonly present: ConsumerMember;
    readonly updatedFrom: (member: ConsumerMember) => ConsumerMember;
  },
): GroupDecision {
  const joining = updatedFrom({ ...present, memberId });
  const isSame = sameNames(joining.topicNames, present.topicNames) && (present.topicRegex ?? "") === "";
  const { memberEpoch } = present;
  // It comes with nothing, so what it was to give up it has given up.
  const settled =
    isSame && present.state !== "unreleased" && memberEpoch === draft.assignmentEpoch
      ? { ...joining, state: "stable" as const }
      : joining;
  const reason = `${present.instanceId ?? ""} is back as ${memberId} with the classic protocol`;
  return downgrade(draft, { leaving: [present], joining: { member: settled, ticket: command.ticket }, reason });
}

/** All classic members must know one protocol in common. */
function supportsClassic(group: ConsumerGroup, { protocolType, protocols }: JoinCommand): boolean {
  if (protocolType !== CONSUMER_PROTOCOL_TYPE) return false;
  const others = [...group.members()].flatMap(({ classic }) => (classic === null ? [] : [classic]));
  return protocols.some(({ name }) => others.every((other) => other.protocols.some((one) => one.name === name)));
}

function ownedOf(
  partitions: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
  topics: TopicLookup,
): Assignment {
  const owned = new Map<string, readonly number[]>();
  for (const { topic, partitions: indexes } of partitions) {
    const known = topics.byName(topic);
    if (known !== null) owned.set(known.id, indexes);
  }
  return owned;
}

function joined({ memberId, memberEpoch, classic }: ConsumerMember): JoinAnswer {
  return joinedWithoutLeader(memberId, { generation: memberEpoch, protocolName: protocolNameOf(classic) });
}

function protocolNameOf(classic: ClassicProtocol | null): string {
  return classic?.protocols[0]?.name ?? "";
}

/** Why a request of a classic member is refused; otherwise the member. */
function findClassic(
  group: ConsumerGroup,
  { memberId, instanceId, generation }: Pick<HeartbeatCommand, "memberId" | "instanceId" | "generation">,
): { readonly member: ConsumerMember; readonly classic: ClassicProtocol } | GroupFailure {
  const member = instanceId === null ? group.member(memberId) : group.staticMember(instanceId);
  const refusal = instanceId === null ? null : refuseStatic(member, memberId, instanceId);
  if (refusal !== null) return refusal.failure;
  if (member === null || member.classic === null) return "unknown-member-id";
  if (member.memberEpoch !== generation) return "illegal-generation";
  return { member, classic: member.classic };
}

export function decideSyncConsumer(
  group: ConsumerGroup,
  command: SyncCommand,
  around: ConsumerSurroundings,
): GroupDecision {
  const { ticket, memberId, protocolType, protocolName } = command;
  const { groupId } = group;
  const found = findClassic(group, command);
  if (typeof found === "string") return answered(ticket, syncRefused(found));
  const { member, classic } = found;
  const isOtherType = protocolType !== null && protocolType !== CONSUMER_PROTOCOL_TYPE;
  const isOtherName = protocolName !== null && protocolName !== protocolNameOf(classic);
  if (isOtherType || isOtherName) return answered(ticket, syncRefused("inconsistent-group-protocol"));
  // Who has to give partitions up is to have them told first; then its next JoinGroup catches up.
  if (group.assignmentEpoch > member.memberEpoch && member.state !== "unrevoked") {
    return awaitJoin(group, member, { ticket, response: syncRefused("rebalance-in-progress"), when: "now" });
  }
  const answer: SyncAnswer = {
    failure: null,
    protocolType,
    protocolName,
    assignment: assignmentBytes(
      named(assignmentOf(member.assigned), around.topics),
      classic.protocols[0]?.metadata ?? new Uint8Array(0),
    ),
  };
  return decisionOf({
    timers: [
      { timer: classicSyncTimer(groupId, memberId), afterMs: null },
      { timer: sessionTimer(groupId, memberId), afterMs: classic.sessionTimeoutMs },
    ],
    replies: [{ ticket, response: answer, when: "committed" }],
  });
}

/**
 * Tells a member to join again where this brings it on: there is a target of another epoch, it has partitions to give up,
 * or those that it waits for are free.
 */
export function decideHeartbeatConsumer(
  group: ConsumerGroup,
  command: HeartbeatCommand,
  around: ConsumerSurroundings,
): GroupDecision {
  const { ticket, memberId } = command;
  const { groupId } = group;
  const found = findClassic(group, command);
  if (typeof found === "string") return answered(ticket, { failure: found });
  const { member, classic } = found;
  const session = { timer: sessionTimer(groupId, memberId), afterMs: classic.sessionTimeoutMs };
  const hasReason =
    member.memberEpoch < group.assignmentEpoch ||
    member.state === "unrevoked" ||
    (member.state === "unreleased" && ownersAwaited(group, member, group.target(memberId)).size === 0) ||
    hasNobodyToAssign(group, around);
  if (!hasReason)
    return decisionOf({ timers: [session], replies: [{ ticket, response: { failure: null }, when: "now" }] });
  const told = awaitJoin(group, member, { ticket, response: { failure: "rebalance-in-progress" }, when: "now" });
  return { ...told, timers: [session, ...told.timers] };
}

/** A target is made when a member heartbeats or joins. Where all are classic (they may not downgrade), one has to join. */
function hasNobodyToAssign(group: ConsumerGroup, { settings, nowMs }: ConsumerSurroundings): boolean {
  if (group.groupEpoch <= group.assignmentEpoch || !isTargetDue(group, settings, nowMs)) return false;
  return [...group.members()].every(({ classic }) => classic !== null);
}

/** The first time that it is told to join again counts: from then on it has its rebalance timeout. */
function awaitJoin(
  group: ConsumerGroup,
  { memberId, rebalanceTimeoutMs }: ConsumerMember,
  reply: GroupDecision["replies"][number],
): GroupDecision {
  const { groupId } = group;
  if (group.awaitedJoins.has(memberId)) return decisionOf({ replies: [reply] });
  return decisionOf({
    replies: [reply],
    soft: [{ groupId, memberId, isJoinAwaited: true }],
    timers: [{ timer: classicJoinTimer(groupId, memberId), afterMs: rebalanceTimeoutMs }],
  });
}

export function decideLeaveConsumer(
  group: ConsumerGroup,
  command: LeaveCommand,
  around: ConsumerSurroundings,
): GroupDecision {
  const leaving = new Map<string, ConsumerMember>();
  const members = command.members.map((one): LeftMember => {
    const { memberId, instanceId } = one;
    const found = findLeaving(group, one);
    if (typeof found === "string") return { memberId, instanceId, failure: found };
    leaving.set(found.memberId, found);
    return { memberId, instanceId, failure: null };
  });
  const draft = new ConsumerDraft(group, around);
  draft.reply(command.ticket, { members });
  return removeMembers(draft, [...leaving.values()], "left");
}

/** An administrator means a static member by its instance id alone. */
function findLeaving(group: ConsumerGroup, { memberId, instanceId }: LeavingMember): ConsumerMember | GroupFailure {
  if (instanceId === null) return group.member(memberId) ?? "unknown-member-id";
  const member = group.staticMember(instanceId);
  if (member === null) return "unknown-member-id";
  return memberId === "" || memberId === member.memberId ? member : "fenced-instance-id";
}

/** A classic member was told to join again, or has joined, and did not do its part within its rebalance timeout. */
export function decideClassicDeadline(
  group: ConsumerGroup,
  { memberId, kind }: { readonly memberId: string; readonly kind: "classic-join" | "classic-sync" },
  around: ConsumerSurroundings,
): GroupDecision {
  const member = group.member(memberId);
  if (member === null || member.classic === null) return decisionOf({});
  const what = kind === "classic-join" ? "did not join again" : "did not sync";
  return removeMembers(new ConsumerDraft(group, around), [member], `${what} in time`);
}
