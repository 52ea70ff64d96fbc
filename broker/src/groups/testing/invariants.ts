import { assert } from "@millrace/base/assert";
import type { ClassicGroup } from "../classic-group.ts";
import type { GroupShard } from "../group-shard.ts";
import { checkConsumerInvariants, consumerGroupText } from "./consumer-invariants.ts";
import { joinTimer, sessionTimer, syncTimer } from "../types.ts";
import type { GroupTimer } from "../types.ts";
import type { GroupHost } from "./group-host.ts";

/** All of a shard as text: to see that nothing has changed, or what has. */
export function shardText(shard: GroupShard): string {
  const groups = [...shard.groups.values()].map((group) => ({
    ...(group.type === "classic" ? group : { text: consumerGroupText(group, { withSoft: true }) }),
    offsets: [...shard.offsets.of(group.groupId)],
    pending: [...shard.offsets.pendingOf(group.groupId)],
  }));
  return JSON.stringify([shard.pendingMembersCount, groups], (_key, value: unknown) => {
    if (value instanceof Map) return [...value.entries()];
    if (value instanceof Set) return [...value];
    if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
    return value;
  });
}

/** Every invariant of SPEC.md that can be seen between two steps; the numbers are the same. */
export function checkInvariants(host: GroupHost): void {
  const { shard } = host;
  let pendingCount = 0;
  for (const group of shard.groups.values()) {
    if (group.type === "consumer") {
      checkConsumerInvariants(host, group);
      continue;
    }
    checkMembership(group);
    checkSoftState(group);
    checkTimers(group, host);
    pendingCount += group.pendingMembers.size;
    const isThere =
      group.isLogged || group.members.size > 0 || group.pendingMembers.size > 0 || shard.offsets.has(group.groupId);
    holds(isThere, "I12", group, "nothing keeps it");
  }
  assert(pendingCount === shard.pendingMembersCount, "I9: the sum of pending members is right");
  for (const groupId of shard.offsets.groupIds())
    assert(shard.groups.has(groupId), () => `I12: ${groupId} has offsets and is not there`);
  checkTickets(host);
  checkLog(host);
}

function checkMembership(group: ClassicGroup): void {
  const members = [...group.members.values()];
  const isWhole = group.state === "CompletingRebalance" || group.state === "Stable";
  holds((group.leaderId !== null) === members.length > 0, "I2", group, "a leader exactly where members are");
  holds(group.leaderId === null || group.members.has(group.leaderId), "I2", group, "the leader is a member");
  holds(group.state !== "Empty" || members.length === 0, "I3", group, "Empty has no members");
  holds(!isWhole || members.length > 0, "I3", group, "a generation has members");
  if (members.length > 0) {
    holds(group.protocolType !== null, "I4", group, "its members have a protocol type");
    const [first] = members;
    const common = first?.protocols.filter(({ name }) =>
      members.every(({ protocols }) => protocols.some((one) => one.name === name)),
    );
    holds((common ?? []).length > 0, "I4", group, "a protocol that all members know");
    holds(
      !isWhole || (common ?? []).some(({ name }) => name === group.protocolName),
      "I4",
      group,
      "all members know the selected protocol",
    );
  }
  const instances = members.flatMap(({ instanceId }) => (instanceId === null ? [] : [instanceId]));
  holds(new Set(instances).size === instances.length, "I5", group, "an instance id is one member");
  for (const [memberId, member] of group.members)
    holds(member.memberId === memberId, "I5", group, "a member has one id");
}

function checkSoftState(group: ClassicGroup): void {
  for (const member of group.members.values()) {
    holds(
      member.joinTicket === null || group.state === "PreparingRebalance",
      "I6",
      group,
      "JoinGroup waits while the group prepares",
    );
    holds(
      member.syncTicket === null || group.state === "CompletingRebalance",
      "I6",
      group,
      "SyncGroup waits while the group completes",
    );
    holds(
      member.syncTicket === null || member.memberId !== group.leaderId,
      "I6",
      group,
      "the leader's SyncGroup never waits",
    );
    holds(
      member.syncTicket === null || !group.pendingSync.has(member.memberId),
      "I7",
      group,
      "who has synced is not missing",
    );
  }
  const isWhole = group.state === "CompletingRebalance" || group.state === "Stable";
  holds(isWhole || group.pendingSync.size === 0, "I7", group, "only a generation waits for SyncGroup");
  for (const memberId of group.pendingSync) holds(group.members.has(memberId), "I7", group, "only members are missing");
  holds(
    group.initialDelay === null || group.state === "PreparingRebalance",
    "I8",
    group,
    "the initial delay is part of preparing",
  );
  for (const memberId of group.pendingMembers)
    holds(!group.members.has(memberId), "I9", group, "a pending member is no member");
}

function checkTimers(group: ClassicGroup, { timers }: GroupHost): void {
  const isArmed = (timer: GroupTimer): boolean => timers.dueMs(timer.id) !== null;
  const { groupId } = group;
  for (const memberId of group.pendingMembers)
    holds(isArmed(sessionTimer(groupId, memberId)), "I11", group, `${memberId} cannot stay for ever`);
  for (const member of group.members.values()) {
    const isWaiting = (member.joinTicket !== null || member.syncTicket !== null) && !member.isNew;
    holds(
      isWaiting || isArmed(sessionTimer(groupId, member.memberId)),
      "I11",
      group,
      `${member.memberId} cannot stay for ever`,
    );
  }
  holds(group.state !== "PreparingRebalance" || isArmed(joinTimer(groupId)), "I11", group, "preparing ends");
  holds(group.pendingSync.size === 0 || isArmed(syncTimer(groupId, group.generation)), "I11", group, "completing ends");
}

/** I10: every request that is open waits at one member, and every ticket at a member is open. */
function checkTickets({ shard, open }: GroupHost): void {
  const parked: number[] = [];
  for (const group of shard.groups.values()) {
    // A consumer group keeps nobody waiting.
    if (group.type === "consumer") continue;
    const { members } = group;
    for (const { joinTicket, syncTicket } of members.values()) {
      if (joinTicket !== null) parked.push(joinTicket.id);
      if (syncTicket !== null) parked.push(syncTicket.id);
    }
  }
  const isSame = parked.length === open.size && parked.every((id) => open.has(id));
  assert(isSame, () => `I10: tickets ${parked.join(",")} are parked and ${[...open.keys()].join(",")} are open`);
}

/** I1: what is hard is what the log says, and only that. */
function checkLog(host: GroupHost): void {
  const replayed = host.replayedOnce();
  for (const group of host.shard.groups.values()) {
    const offsets = offsetsText(host.shard, group.groupId);
    assert(offsets === offsetsText(replayed, group.groupId), `I1: the offsets of ${group.groupId} are the log's`);
    if (group.type === "consumer") continue;
    const logged = replayed.groups.get(group.groupId);
    const fromLog = logged?.type === "classic" ? logged : undefined;
    holds(group.isLogged === (fromLog?.isLogged ?? false), "I1", group, "it is logged exactly where the log has it");
    const isHard = group.isLogged && (group.state === "Empty" || group.state === "Stable");
    if (isHard && fromLog !== undefined)
      holds(hardText(group) === hardText(fromLog), "I1", group, `${hardText(group)} is logged as ${hardText(fromLog)}`);
    holds(group.generation >= (fromLog?.generation ?? 0), "I13", group, "its generation is not behind the log");
  }
  for (const { groupId, type } of replayed.groups.values()) {
    const live = host.shard.groups.get(groupId);
    assert(live !== undefined, () => `I1: the log's group ${groupId} is here`);
    assert(live.type === type, () => `I1: ${groupId} is of the kind that the log says`);
  }
}

function offsetsText(shard: GroupShard, groupId: string): string {
  const pending = Array.from(shard.offsets.pendingOf(groupId), (one) => JSON.stringify(one));
  return `${committedText(shard, groupId)} pending ${pending.toSorted().join(" ")}`;
}

function committedText(shard: GroupShard, groupId: string): string {
  return Array.from(shard.offsets.of(groupId), ({ topic, partition, committed }) => {
    const { offset, leaderEpoch, metadata, commitTimestampMs, expireTimestampMs, topicId, recordOffset } = committed;
    return [
      topic,
      partition,
      offset,
      leaderEpoch,
      metadata,
      commitTimestampMs,
      expireTimestampMs,
      topicId,
      recordOffset,
    ].join("/");
  }).join(" ");
}

function hardText(group: ClassicGroup): string {
  const members = [...group.members.values()].map(
    ({ memberId, instanceId, clientId, sessionTimeoutMs, rebalanceTimeoutMs, assignment }) =>
      [
        memberId,
        instanceId,
        clientId,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        Buffer.from(assignment).toString("latin1"),
      ].join("/"),
  );
  const topics = group.subscribedTopics === null ? "?" : [...group.subscribedTopics].sort().join(",");
  const { state, generation, protocolType, protocolName, leaderId, stateTimestampMs } = group;
  return [state, generation, protocolType, protocolName, leaderId, stateTimestampMs, topics, ...members].join(" ");
}

function holds(condition: boolean, number: string, group: ClassicGroup, what: string): void {
  assert(
    condition,
    () => `${number} is broken in group ${group.groupId} (${group.state}, generation ${group.generation}): ${what}`,
  );
}
