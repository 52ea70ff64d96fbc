import type { TimeMs } from "@millrace/base/units";
import type { RecentEvent } from "../coordinator/recent-events.ts";
import { eventText } from "../groups/events.ts";
import type { GroupEvent } from "../groups/events.ts";
import type { GroupSnapshot, MemberSnapshot, OffsetSnapshot, PartitionName } from "../groups/snapshot.ts";
import { countText, durationText, eventsOf, listText, timeText } from "./explanation.ts";
import type { Explanation, Fact } from "./explanation.ts";
import { placeText, whyHeld } from "./partition.ts";
import type { Offsets, OpenHere } from "./partition.ts";

/** The log of a partition that the group reads; a sentence: why it cannot be looked at. */
export type ReadLog = (Offsets & { readonly open: readonly OpenHere[] }) | string;

export interface GroupFacts {
  readonly snapshot: GroupSnapshot;
  readonly nowMs: TimeMs;
  readonly bootstrap: string;
  /** Of every partition that the group has an offset of, or a member. */
  logOf(partition: PartitionName): ReadLog;
  /** Of the producers that have offsets of the group in an open transaction. */
  transactionalIdOf(producerId: number): string | null;
  readonly events: readonly RecentEvent<GroupEvent>[];
}

/** One partition on its way. */
interface Progress extends PartitionName {
  readonly log: ReadLog;
  readonly member: MemberSnapshot | null;
  readonly committed: OffsetSnapshot | null;
  /** Null: nothing is committed, or there is nothing to compare with. */
  readonly lag: number | null;
}

const REASONS_MAX = 30;
/** A member that has work and has not committed for so long is worth a look. */
const COMMIT_OLD_MS = 60_000;

export function explainGroup(facts: GroupFacts): Explanation {
  const { snapshot, events } = facts;
  const progress = progressOf(facts).toSorted((a, b) => (b.lag ?? 0) - (a.lag ?? 0));
  const lag = progress.reduce((sum, each) => sum + (each.lag ?? 0), 0);
  const reasons = [
    ...whyNobody(facts),
    ...whyNotStable(facts),
    ...snapshot.members.flatMap(whySilent),
    ...progress.flatMap((each) => whyPartitionStands(facts, each)),
    ...whyRefused(facts),
  ];
  if (reasons.length === 0)
    reasons.push("Nothing is stuck: every member is heard of, and every partition that has records gets on.");
  const shown = reasons.slice(0, REASONS_MAX);
  if (shown.length < reasons.length) shown.push(`${reasons.length - shown.length} more reasons of this kind.`);
  return {
    kind: "group",
    name: snapshot.groupId,
    summary: `${snapshot.state}, ${epochText(snapshot)}, ${countText(snapshot.members.length, "member")}, lag ${lag}`,
    facts: factsOf(facts, progress),
    reasons: shown,
    events: eventsOf(events, eventText),
  };
}

function epochText({ type, epoch }: GroupSnapshot): string {
  return `${type === "classic" ? "generation" : "epoch"} ${epoch}`;
}

function progressOf({ snapshot, logOf }: GroupFacts): readonly Progress[] {
  const all = new Map<
    string,
    { partition: PartitionName; member: MemberSnapshot | null; committed: OffsetSnapshot | null }
  >();
  for (const committed of snapshot.offsets) {
    const { topic, index } = committed;
    all.set(placeText(committed), { partition: { topic, index }, member: null, committed });
  }
  for (const member of snapshot.members) {
    for (const partition of member.partitions) {
      const known = all.get(placeText(partition));
      all.set(placeText(partition), { partition, member, committed: known?.committed ?? null });
    }
  }
  return Array.from(all.values(), ({ partition, member, committed }) => {
    const log = logOf(partition);
    const offset = committed?.offset ?? null;
    const lag = typeof log === "string" || offset === null ? null : Math.max(0, log.highWatermark - offset);
    return { ...partition, log, member, committed, lag };
  });
}

// --- What is known -------------------------------------------------------------------------------------------------------

function factsOf({ snapshot, nowMs }: GroupFacts, progress: readonly Progress[]): readonly Fact[] {
  const { type, state, epoch, assignmentEpoch, protocol, leaderId, members, pendingMembersCount } = snapshot;
  return [
    ["state", state],
    ["type", type],
    ...(type === "classic"
      ? [["generation", String(epoch)] satisfies Fact]
      : [["group epoch", String(epoch)] satisfies Fact, ["assignment epoch", String(assignmentEpoch)] satisfies Fact]),
    ...(protocol === "" ? [] : [["assignor", protocol] satisfies Fact]),
    ...(leaderId === null ? [] : [["leader", leaderId] satisfies Fact]),
    ...(pendingMembersCount === 0 ? [] : [["given a member id", String(pendingMembersCount)] satisfies Fact]),
    ...members.map((member): Fact => [`member ${member.memberId}`, memberText(member)]),
    ...progress.map((each): Fact => [placeText(each), progressText(each, nowMs)]),
  ];
}

function memberText(member: MemberSnapshot): string {
  const { clientId, clientHost, instanceId, memberEpoch, partitions, isWaiting } = member;
  const silentMs = silenceOf(member);
  return [
    `client ${clientId} at ${clientHost}`,
    ...(instanceId === null ? [] : [`instance ${instanceId}`]),
    ...(memberEpoch === null ? [] : [`epoch ${memberEpoch}`]),
    ...(isWaiting ? ["waits for the others"] : []),
    ...(silentMs === null ? [] : [`heard of ${durationText(silentMs)} ago`]),
    partitions.length === 0 ? "no partition" : `has ${listText(partitions.map(placeText))}`,
  ].join(", ");
}

function progressText({ log, member, committed, lag }: Progress, nowMs: TimeMs): string {
  const offset = committed?.offset ?? null;
  const commitMs = committed?.commitMs ?? null;
  const ago = commitMs === null ? "" : ` ${durationText(nowMs - commitMs)} ago`;
  const said = offset === null ? "nothing committed" : `committed ${offset}${ago}`;
  const reader = member === null ? "no member has it" : `read by ${member.memberId}`;
  if (typeof log === "string") return `${said}, ${reader}, ${log}`;
  const { logStartOffset, lastStableOffset, highWatermark, logEndOffset } = log;
  const behind = lag === null ? "" : `, lag ${lag}`;
  return `${said}${behind}, log ${logStartOffset} to ${logEndOffset}, high watermark ${highWatermark}, last stable offset ${lastStableOffset}, ${reader}`;
}

/** How long nothing was heard of it; null: nothing is to be heard while it waits for an answer. */
function silenceOf({ isWaiting, sessionTimeoutMs, sessionLeftMs }: MemberSnapshot): number | null {
  return isWaiting || sessionLeftMs === null ? null : Math.max(0, sessionTimeoutMs - sessionLeftMs);
}

function who({ memberId, clientId, clientHost }: MemberSnapshot): string {
  return `${memberId} (client ${clientId} at ${clientHost})`;
}

// --- Why the group does not get on --------------------------------------------------------------------------------------

function whyNobody({ snapshot, events }: GroupFacts): readonly string[] {
  if (snapshot.members.length > 0 || snapshot.pendingMembersCount > 0) return [];
  const left = events.findLast(({ event }) => event.kind === "member-removed");
  const last =
    left?.event.kind === "member-removed"
      ? ` The last one, ${left.event.memberId}, went at ${timeText(left.atMs)}: ${left.event.reason}.`
      : "";
  return [`Nobody is in the group, so no partition gets on.${last} Start its consumers.`];
}

function whyNotStable(facts: GroupFacts): readonly string[] {
  const { snapshot } = facts;
  if (snapshot.type === "consumer") return whyNotReconciled(facts);
  const left =
    snapshot.phaseLeftMs === null ? "" : ` It does so in ${durationText(snapshot.phaseLeftMs)} at the latest.`;
  const reasons: string[] = [];
  if (snapshot.isInitialDelay) {
    reasons.push(
      `The group was empty, and waits for more members before its first generation (group.initial.rebalance.delay.ms).${left}`,
    );
  } else {
    for (const member of snapshot.members) reasons.push(...whyAwaited(facts, member));
  }
  if (snapshot.state === "PreparingRebalance" && snapshot.pendingMembersCount > 0) {
    reasons.push(
      `The group waits for ${countText(snapshot.pendingMembersCount, "client")} that asked for a member id and did not come back with it. If they do not exist any more, their session timeout ends the wait.`,
    );
  }
  const cause = causeOfRebalance(facts);
  if (reasons.length > 0 && cause !== null) reasons.push(cause);
  return reasons;
}

/** What began the rebalance that is still under way. */
function causeOfRebalance({ events }: GroupFacts): string | null {
  const began = events.findLast(({ event }) => event.kind === "rebalance-began");
  if (began?.event.kind !== "rebalance-began") return null;
  return `The rebalance began at ${timeText(began.atMs)}: ${began.event.reason}.`;
}

function whyAwaited(facts: GroupFacts, member: MemberSnapshot): readonly string[] {
  const { owes, owedLeftMs, rebalanceTimeoutMs, instanceId } = member;
  if (owes === null) return [];
  const for_ = awaitedText(facts, member);
  const left = owedLeftMs === null ? "" : ` in ${durationText(owedLeftMs)}`;
  const interval = `its max.poll.interval.ms is ${durationText(rebalanceTimeoutMs)}`;
  if (owes === "join") {
    const then =
      instanceId === null
        ? `The group goes on without it${left}`
        : `The group goes on${left}, and its partitions wait for it until its session ends`;
    return [
      `The group waits for ${who(member)} to join again${for_}. ${then} (${interval}). A consumer joins in its next poll(): look what that process does between two polls.`,
    ];
  }
  const { leaderId } = facts.snapshot;
  if (member.memberId === leaderId) {
    return [
      `The group waits for the assignment by its leader ${who(member)}${for_}. It is removed${left} if none comes (${interval}). Look at the assignor in that process.`,
    ];
  }
  return [
    `The group waits for ${who(member)} to ask for its assignment${for_}. It is removed${left} if it does not (${interval}).`,
  ];
}

/** Since when, from what happened; otherwise from what is left of the time that it has. */
function awaitedText(
  { events, nowMs }: GroupFacts,
  { owes, owedLeftMs, rebalanceTimeoutMs, memberId }: MemberSnapshot,
): string {
  const began = events.findLast(({ event }) => {
    if (owes === "revocation") return event.kind === "revocation-awaited" && event.memberId === memberId;
    return event.kind === (owes === "join" ? "rebalance-began" : "generation-joined");
  });
  const sinceMs =
    began !== undefined ? nowMs - began.atMs : owedLeftMs === null ? null : rebalanceTimeoutMs - owedLeftMs;
  return sinceMs === null ? "" : `, for ${durationText(sinceMs)} now`;
}

function whyNotReconciled(facts: GroupFacts): readonly string[] {
  const { snapshot, events } = facts;
  const reasons: string[] = [];
  if (snapshot.state === "Assigning") {
    reasons.push(
      `Epoch ${snapshot.epoch} has no target assignment yet, the last is of ${snapshot.assignmentEpoch}: it is made with a member's next heartbeat, consumer.assignment.interval.ms after the last one at the earliest.`,
    );
  }
  for (const member of snapshot.members) {
    const { owes, owedLeftMs, toGiveUp, waitsFor, rebalanceTimeoutMs } = member;
    const left = owedLeftMs === null ? "" : ` in ${durationText(owedLeftMs)}`;
    if (owes === "revocation") {
      reasons.push(
        `${who(member)} has to give up ${listText(toGiveUp.map(placeText))} and has not said that it did${awaitedText(facts, member)}. It is removed${left} otherwise (its max.poll.interval.ms is ${durationText(rebalanceTimeoutMs)}). A consumer gives partitions up in poll(): look what that process does between two polls.`,
      );
    } else if (owes === "join") {
      reasons.push(...whyAwaited(facts, member));
    }
    if (waitsFor.length > 0) {
      const owners = [...new Set(waitsFor.map(({ ownerId }) => ownerId))];
      reasons.push(
        `${who(member)} waits for ${listText(waitsFor.map(placeText))}, which ${listText(owners)} still ${owners.length === 1 ? "has" : "have"}.`,
      );
    }
  }
  const bumped = events.findLast(({ event }) => event.kind === "epoch-bumped");
  if (reasons.length > 0 && bumped?.event.kind === "epoch-bumped")
    reasons.push(`Epoch ${bumped.event.epoch} began at ${timeText(bumped.atMs)}: ${bumped.event.reason}.`);
  return reasons;
}

function whySilent(member: MemberSnapshot): readonly string[] {
  const silentMs = silenceOf(member);
  const { sessionTimeoutMs, sessionLeftMs, partitions, memberEpoch } = member;
  // Clients beat three times in a session at least.
  if (silentMs === null || sessionLeftMs === null || silentMs * 3 <= sessionTimeoutMs) return [];
  const then = `${durationText(sessionLeftMs)} (its session timeout is ${durationText(sessionTimeoutMs)})`;
  const had =
    partitions.length === 0
      ? ""
      : `, and ${listText(partitions.map(placeText))} ${partitions.length === 1 ? "goes" : "go"} to others`;
  if (memberEpoch !== null && memberEpoch < 0)
    return [`${who(member)} said ${durationText(silentMs)} ago that it comes back. It is removed in ${then}${had}.`];
  return [
    `Nothing was heard of ${who(member)} for ${durationText(silentMs)}. It is removed in ${then}${had}. Look whether that process runs and reaches the broker.`,
  ];
}

// --- Why a partition does not get on ------------------------------------------------------------------------------------

function whyPartitionStands(facts: GroupFacts, progress: Progress): readonly string[] {
  const { log, committed, member, lag } = progress;
  const { snapshot, nowMs } = facts;
  const name = placeText(progress);
  const offset = committed?.offset ?? null;
  const reasons = whyUnstable(facts, progress);
  if (typeof log === "string") return [...reasons, `${name} cannot be read: ${log}.`];
  const { logStartOffset, lastStableOffset, highWatermark, logEndOffset, open } = log;
  if (offset !== null && (offset < logStartOffset || offset > logEndOffset)) {
    reasons.push(
      `${name} has the offset ${offset} committed, and its log holds ${logStartOffset} to ${logEndOffset}: its consumer begins where auto.offset.reset says. Set another one with kafka-consumer-groups.sh --reset-offsets while the group is empty.`,
    );
    return reasons;
  }
  if (member === null && snapshot.members.length > 0 && (lag ?? 0) > 0) {
    reasons.push(
      `${name} has ${countText(lag ?? 0, "record")} to be read, and no member has it: no member subscribes to ${progress.topic}, or a rebalance is under way.`,
    );
  }
  if (member !== null && offset === null && highWatermark > logStartOffset && reasons.length === 0) {
    reasons.push(
      `${name} has no committed offset: ${member.memberId} begins where auto.offset.reset says, and has committed nothing since.`,
    );
  }
  if (offset !== null && offset >= lastStableOffset && lastStableOffset < highWatermark) {
    const [first] = open;
    const held = first === undefined ? "" : ` ${whyHeld(first, progress, facts)}`;
    reasons.push(
      `${name} is read up to its last stable offset ${lastStableOffset}: consumers with isolation.level=read_committed get no further, although there are records up to ${highWatermark}.${held}`,
    );
  } else if (member !== null && (lag ?? 0) > 0 && reasons.length === 0) {
    const commitMs = committed?.commitMs ?? null;
    if (commitMs !== null && nowMs - commitMs >= COMMIT_OLD_MS) {
      reasons.push(
        `${name} has a lag of ${lag ?? 0}, and ${who(member)} has committed nothing for ${durationText(nowMs - commitMs)}: it processes slowly, fails at a record, or is paused. Look at that process.`,
      );
    }
  }
  return reasons;
}

/** Another offset is part of a transaction that has not ended (KIP-447). */
function whyUnstable({ transactionalIdOf }: GroupFacts, progress: Progress): string[] {
  return (progress.committed?.pendingProducerIds ?? []).map((producerId) => {
    const transactionalId = transactionalIdOf(producerId);
    const owner = transactionalId === null ? `producer ${producerId}` : `${transactionalId} (producer ${producerId})`;
    const more = transactionalId === null ? `producer ${producerId}` : `transaction ${transactionalId}`;
    return `${placeText(progress)} has an offset in the open transaction of ${owner}: a consumer with isolation.level=read_committed that begins there is told UNSTABLE_OFFSET_COMMIT until it ends. \`millrace explain ${more}\` says more.`;
  });
}

/** The latest member that was shut out. */
function whyRefused({ events }: GroupFacts): readonly string[] {
  const last = events.findLast(({ event }) => event.kind === "commit-refused" || event.kind === "member-fenced");
  if (last?.event.kind === "commit-refused") {
    return [
      `At ${timeText(last.atMs)} a commit was refused: ${eventText(last.event)}. What it would have committed is read once more by who has the partitions now; if it happens often, its processing takes longer than max.poll.interval.ms.`,
    ];
  }
  if (last?.event.kind === "member-fenced")
    return [`At ${timeText(last.atMs)} ${eventText(last.event)}. A consumer that is fenced joins again by itself.`];
  return [];
}
