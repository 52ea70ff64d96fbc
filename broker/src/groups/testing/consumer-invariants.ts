import { assert } from "@millrace/base/assert";
import type { Assignment } from "../assignors/types.ts";
import type { ConsumerGroup } from "../consumer/group.ts";
import { hasRegex, isReconciledTo } from "../consumer/member.ts";
import type { ConsumerMember, Owned } from "../consumer/member.ts";
import { metadataHash } from "../consumer/metadata-hash.ts";
import { classicJoinTimer, revocationTimer, sessionTimer } from "../types.ts";
import type { GroupTimer } from "../types.ts";
import type { GroupHost } from "./group-host.ts";

/** All of a consumer group as text: to see that nothing has changed, or that a replayed one is the same. */
export function consumerGroupText(group: ConsumerGroup, { withSoft }: { readonly withSoft: boolean }): string {
  const { groupId, groupEpoch, metadataHash: hash, assignmentEpoch, assignmentTimestampMs } = group;
  const members = [...group.members()].sort(byId).map((member) => [
    {
      ...member,
      assigned: ownedText(member.assigned),
      pendingRevocation: ownedText(member.pendingRevocation),
      classic: classicText(member),
    },
    assignmentText(group.target(member.memberId)),
  ]);
  const regexes = [...group.regexes()]
    .sort()
    .map((regex) => [regex, [...(group.resolved(regex)?.topics ?? [])].sort()]);
  const counts = [sorted(group.nameCounts), sorted(group.regexCounts)];
  const soft = withSoft ? [...group.awaitedJoins] : [];
  const all = [groupId, groupEpoch, hash, assignmentEpoch, assignmentTimestampMs, members, regexes, counts, soft];
  return JSON.stringify(all);
}

function classicText({ classic }: ConsumerMember): string {
  const protocols = (classic?.protocols ?? []).map(
    ({ name, metadata }) => `${name}=${Buffer.from(metadata).toString("hex")}`,
  );
  return `${classic?.sessionTimeoutMs} ${protocols.join(" ")}`;
}

function byId(a: ConsumerMember, b: ConsumerMember): number {
  return a.memberId < b.memberId ? -1 : 1;
}

function sorted(counts: ReadonlyMap<string, number>): readonly (readonly [string, number])[] {
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

function ownedText(owned: Owned): string {
  return Array.from(
    owned,
    ([topicId, partitions]) => `${topicId}${JSON.stringify([...partitions].sort(([a], [b]) => a - b))}`,
  )
    .sort()
    .join(" ");
}

function assignmentText(assignment: Assignment): string {
  return Array.from(assignment, ([topicId, partitions]) => `${topicId}${JSON.stringify(partitions)}`)
    .sort()
    .join(" ");
}

/** Every invariant of consumer/SPEC.md that can be seen between two steps; the numbers are the same. */
export function checkConsumerInvariants(host: GroupHost, group: ConsumerGroup): void {
  checkOwners(group);
  checkEpochs(group);
  checkMembers(group);
  checkTargets(group, host);
  checkCounts(group);
  checkTimers(group, host);
  checkReplay(group, host);
  const { consumer, groupSizeMax } = host.settings;
  const isAllClassic = [...group.members()].every(({ classic }) => classic !== null);
  const mustBeClassic =
    group.memberCount > 0 && isAllClassic && consumer.canDowngrade && group.memberCount <= groupSizeMax;
  holds(!mustBeClassic, "C11", group, "a group of classic members only is a classic group");
}

function checkOwners(group: ConsumerGroup): void {
  const owners = new Map<string, string>();
  for (const { memberId, assigned, pendingRevocation } of group.members()) {
    for (const owned of [assigned, pendingRevocation]) {
      for (const [topicId, partitions] of owned) {
        holds(partitions.size > 0, "C1", group, "who has nothing of a topic does not mention it");
        for (const partition of partitions.keys()) {
          const key = `${topicId}-${partition}`;
          holds(!owners.has(key), "C1", group, `${key} is ${owners.get(key)}'s and ${memberId}'s`);
          owners.set(key, memberId);
          holds(group.ownerOf(topicId, partition) === memberId, "C1", group, `${key} is known as ${memberId}'s`);
        }
      }
    }
  }
}

function checkEpochs(group: ConsumerGroup): void {
  const { groupEpoch, assignmentEpoch } = group;
  holds(assignmentEpoch <= groupEpoch, "C2", group, "the target's epoch is not ahead of the group's");
  for (const { memberId, memberEpoch, previousMemberEpoch, assigned } of group.members()) {
    holds(memberEpoch <= assignmentEpoch, "C2", group, `${memberId} is not ahead of the target`);
    holds(previousMemberEpoch <= assignmentEpoch, "C2", group, `${memberId} never was`);
    for (const partitions of assigned.values()) {
      for (const epoch of partitions.values())
        holds(epoch <= assignmentEpoch, "C2", group, `${memberId} was given nothing by an epoch to come`);
    }
  }
}

function checkMembers(group: ConsumerGroup): void {
  const instances = new Set<string>();
  for (const member of group.members()) {
    const { memberId, instanceId, state, pendingRevocation } = member;
    if (instanceId !== null) {
      holds(!instances.has(instanceId), "C4", group, `${instanceId} is one member`);
      instances.add(instanceId);
      holds(group.staticMember(instanceId)?.memberId === memberId, "C4", group, `${instanceId} is found`);
    }
    holds(
      (state === "unrevoked") === pendingRevocation.size > 0 || member.memberEpoch === -2,
      "C5",
      group,
      `${memberId} is ${state}`,
    );
  }
}

function checkTargets(group: ConsumerGroup, { topics }: GroupHost): void {
  const given = new Set<string>();
  for (const member of group.members()) {
    for (const [topicId, partitions] of group.target(member.memberId)) {
      for (const partition of partitions) {
        holds(!given.has(`${topicId}-${partition}`), "C6", group, "the target gives a partition to one member");
        given.add(`${topicId}-${partition}`);
      }
    }
    // What it reads no more it may have given up before the target is made anew.
    if (!isReconciledTo(member, group.assignmentEpoch) || group.groupEpoch > group.assignmentEpoch) continue;
    for (const [topicId, partitions] of group.target(member.memberId)) {
      if (topics.byId(topicId) === null) continue;
      for (const partition of partitions)
        holds(
          member.assigned.get(topicId)?.has(partition) === true,
          "C7",
          group,
          `${member.memberId} is stable and has all of its target`,
        );
    }
    for (const [topicId, partitions] of member.assigned) {
      for (const partition of partitions.keys())
        holds(
          group.target(member.memberId).get(topicId)?.includes(partition) === true,
          "C7",
          group,
          `${member.memberId} is stable and has nothing else`,
        );
    }
  }
  const names = subscribedOf(group);
  const isCurrent = group.groupEpoch === group.assignmentEpoch && metadataHash(names, topics) === group.metadataHash;
  if (group.memberCount === 0 || !isCurrent) return;
  for (const name of names) {
    const topic = topics.byName(name);
    for (let partition = 0; partition < (topic?.partitionCount ?? 0); partition++)
      holds(given.has(`${topic?.id}-${partition}`), "C6", group, `${name}-${partition} is in the target`);
  }
}

function subscribedOf(group: ConsumerGroup): ReadonlySet<string> {
  const names = new Set<string>();
  for (const member of group.members()) {
    for (const name of member.topicNames) names.add(name);
    if (hasRegex(member)) for (const name of group.resolved(member.topicRegex)?.topics ?? []) names.add(name);
  }
  return names;
}

function checkCounts(group: ConsumerGroup): void {
  const names = new Map<string, number>();
  const regexes = new Map<string, number>();
  for (const member of group.members()) {
    for (const name of member.topicNames) names.set(name, (names.get(name) ?? 0) + 1);
    if (hasRegex(member)) regexes.set(member.topicRegex, (regexes.get(member.topicRegex) ?? 0) + 1);
  }
  const text = (counts: ReadonlyMap<string, number>): string => JSON.stringify(sorted(counts));
  holds(text(names) === text(group.nameCounts), "C8", group, "subscribers of topics are counted");
  holds(text(regexes) === text(group.regexCounts), "C8", group, "subscribers of regular expressions are counted");
  const resolved = [...group.regexes()].sort();
  holds(
    JSON.stringify(resolved) === JSON.stringify([...regexes.keys()].sort()),
    "C8",
    group,
    "what is read is resolved",
  );
}

function checkTimers(group: ConsumerGroup, { timers }: GroupHost): void {
  const { groupId } = group;
  const isArmed = (timer: GroupTimer): boolean => timers.dueMs(timer.id) !== null;
  for (const { memberId, state, classic, memberEpoch } of group.members()) {
    holds(isArmed(sessionTimer(groupId, memberId)), "C9", group, `${memberId} cannot stay silent for ever`);
    const mustGiveUp = state === "unrevoked" && classic === null && memberEpoch !== -2;
    holds(
      !mustGiveUp || isArmed(revocationTimer(groupId, memberId, memberEpoch)),
      "C9",
      group,
      `${memberId} cannot keep others waiting for ever`,
    );
  }
  for (const memberId of group.awaitedJoins) {
    holds(group.member(memberId) !== null, "C9", group, "only members are awaited");
    holds(isArmed(classicJoinTimer(groupId, memberId)), "C9", group, `${memberId} has a deadline for joining`);
  }
}

function checkReplay(group: ConsumerGroup, host: GroupHost): void {
  const replayed = host.replayedOnce().groups.get(group.groupId);
  holds(replayed?.type === "consumer", "C3", group, "the log has it");
  if (replayed?.type !== "consumer") return;
  const live = consumerGroupText(group, { withSoft: false });
  const fromLog = consumerGroupText(replayed, { withSoft: false });
  holds(live === fromLog, "C3", group, `\n${live}\nis logged as\n${fromLog}`);
}

function holds(condition: boolean, number: string, group: ConsumerGroup, what: string): void {
  assert(
    condition,
    () => `${number} is broken in group ${group.groupId} (${group.state}, epoch ${group.groupEpoch}): ${what}`,
  );
}
