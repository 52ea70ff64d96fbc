import { answered } from "./draft.ts";
import type { Ticket } from "../coordinator/machine.ts";
import type { ClassicGroup, ClassicMember } from "./classic-group.ts";
import { sessionTimeoutMs } from "./consumer/draft.ts";
import type { ConsumerGroup } from "./consumer/group.ts";
import { assignmentOf as partitionsOf, ownedByMember } from "./consumer/member.ts";
import type { ConsumerMember } from "./consumer/member.ts";
import { assignmentOf } from "./consumer-protocol.ts";
import type { OffsetStore } from "./offset-store.ts";
import type { GroupSettings } from "./settings.ts";
import type { TopicLookup } from "./topic-lookup.ts";
import { classicJoinTimer, joinTimer, revocationTimer, sessionTimer, syncTimer } from "./types.ts";
import type { Group, GroupDecision, GroupTimer } from "./types.ts";

/** A group at one moment, with all that tells why it does not get on. */
export interface GroupSnapshot {
  readonly groupId: string;
  readonly type: "classic" | "consumer";
  /** In Kafka's words. */
  readonly state: string;
  /** The generation of a classic group, the group epoch of a consumer group. */
  readonly epoch: number;
  /** Of a consumer group: the epoch that its target assignment is of. */
  readonly assignmentEpoch: number | null;
  /** The assignor that a classic group has agreed on; empty: none yet. */
  readonly protocol: string;
  readonly leaderId: string | null;
  /** It was empty, and waits for more members before its first generation (KIP-134). */
  readonly isInitialDelay: boolean;
  /** How long joining, or syncing, may still take; null: nobody is awaited. */
  readonly phaseLeftMs: number | null;
  readonly members: readonly MemberSnapshot[];
  /** Clients that were given a member id and have not come back with it (KIP-394). */
  readonly pendingMembersCount: number;
  readonly offsets: readonly OffsetSnapshot[];
}

export interface MemberSnapshot {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  /** max.poll.interval.ms of Java consumers. */
  readonly rebalanceTimeoutMs: number;
  /** Of a member of a consumer group. */
  readonly memberEpoch: number | null;
  /** What the group waits for from it; `owedLeftMs`: for how long yet. */
  readonly owes: "join" | "sync" | "revocation" | null;
  readonly owedLeftMs: number | null;
  /** A JoinGroup or SyncGroup of it waits for the others: it has nothing to say. */
  readonly isWaiting: boolean;
  /** Until it counts as gone, if nothing is heard of it. */
  readonly sessionLeftMs: number | null;
  /** What it has, also what it is to give up. */
  readonly partitions: readonly PartitionName[];
  readonly toGiveUp: readonly PartitionName[];
  /** What is meant for it and another member still has. */
  readonly waitsFor: readonly (PartitionName & { readonly ownerId: string })[];
}

export interface PartitionName {
  readonly topic: string;
  readonly index: number;
}

export interface OffsetSnapshot extends PartitionName {
  /** Null: there is only an offset in an open transaction. */
  readonly offset: number | null;
  readonly commitMs: number | null;
  /** Producers with an open transaction that holds another offset of the partition. */
  readonly pendingProducerIds: readonly number[];
}

export interface SnapshotCommand {
  readonly ticket: Ticket<SnapshotAnswer>;
  readonly groupId: string;
}

/** Without the times, which its host knows. Null: there is no such group. */
export interface SnapshotAnswer {
  readonly snapshot: GroupSnapshot | null;
}

/** Decides a read of a group with all that is known of it. */
export function decideSnapshot(
  group: Group | null,
  offsets: OffsetStore,
  { ticket }: SnapshotCommand,
  around: { readonly settings: GroupSettings; readonly topics: TopicLookup },
): GroupDecision {
  const snapshot = group === null ? null : snapshotOf(group, offsets, around);
  return answered(ticket, { snapshot } satisfies SnapshotAnswer, "committed");
}

function snapshotOf(
  group: Group,
  offsets: OffsetStore,
  around: { readonly settings: GroupSettings; readonly topics: TopicLookup },
): GroupSnapshot {
  const common = { groupId: group.groupId, state: group.state, phaseLeftMs: null };
  if (group.type === "classic") {
    return {
      ...common,
      type: "classic",
      epoch: group.generation,
      assignmentEpoch: null,
      protocol: group.protocolName ?? "",
      leaderId: group.leaderId,
      isInitialDelay: group.initialDelay !== null,
      members: Array.from(group.members.values(), (member) => classicMember(group, member)),
      pendingMembersCount: group.pendingMembers.size,
      offsets: offsetsOf(offsets, group.groupId),
    };
  }
  return {
    ...common,
    type: "consumer",
    epoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    protocol: "",
    leaderId: null,
    isInitialDelay: false,
    members: Array.from(group.members(), (member) => consumerMember(group, member, around)),
    pendingMembersCount: 0,
    offsets: offsetsOf(offsets, group.groupId),
  };
}

function classicMember(group: ClassicGroup, member: ClassicMember): MemberSnapshot {
  const { memberId, instanceId, clientId, clientHost, rebalanceTimeoutMs } = member;
  const owesJoin = group.state === "PreparingRebalance" && member.joinTicket === null;
  const owesSync = group.state === "CompletingRebalance" && group.pendingSync.has(memberId);
  const assigned = group.protocolType === "consumer" ? assignmentOf(member.assignment) : null;
  return {
    ...{ memberId, instanceId, clientId, clientHost, rebalanceTimeoutMs },
    sessionTimeoutMs: member.sessionTimeoutMs,
    memberEpoch: null,
    isWaiting: member.joinTicket !== null || member.syncTicket !== null,
    owes: owesJoin ? "join" : owesSync ? "sync" : null,
    owedLeftMs: null,
    sessionLeftMs: null,
    partitions: (assigned?.assignedPartitions ?? []).flatMap(({ topic, partitions }) =>
      partitions.map((index) => ({ topic, index })),
    ),
    toGiveUp: [],
    waitsFor: [],
  };
}

function consumerMember(
  group: ConsumerGroup,
  member: ConsumerMember,
  { settings, topics }: { readonly settings: GroupSettings; readonly topics: TopicLookup },
): MemberSnapshot {
  const { memberId, instanceId, clientId, clientHost, rebalanceTimeoutMs, memberEpoch } = member;
  const nameOf = (topicId: string): string => topics.byId(topicId)?.name ?? topicId;
  const named = (byTopicId: ReadonlyMap<string, readonly number[]>): readonly PartitionName[] =>
    [...byTopicId].flatMap(([topicId, partitions]) => partitions.map((index) => ({ topic: nameOf(topicId), index })));
  const waitsFor = [...group.target(memberId)].flatMap(([topicId, partitions]) =>
    partitions.flatMap((index) => {
      const ownerId = group.ownerOf(topicId, index);
      return ownerId === null || ownerId === memberId ? [] : [{ topic: nameOf(topicId), index, ownerId }];
    }),
  );
  const isUnrevoked = member.state === "unrevoked";
  return {
    ...{ memberId, instanceId, clientId, clientHost, rebalanceTimeoutMs, memberEpoch },
    sessionTimeoutMs: sessionTimeoutMs(member, group.groupId, settings),
    isWaiting: false,
    owes: isUnrevoked ? "revocation" : group.awaitedJoins.has(memberId) ? "join" : null,
    owedLeftMs: null,
    sessionLeftMs: null,
    partitions: named(partitionsOf(ownedByMember(member))),
    toGiveUp: isUnrevoked ? named(partitionsOf(member.pendingRevocation)) : [],
    waitsFor,
  };
}

function offsetsOf(offsets: OffsetStore, groupId: string): readonly OffsetSnapshot[] {
  const pending = new Map<string, PartitionName & { readonly producerIds: number[] }>();
  for (const { topic, partition, producerId } of offsets.pendingOf(groupId)) {
    const key = `${topic}-${partition}`;
    const known = pending.get(key);
    if (known === undefined) pending.set(key, { topic, index: partition, producerIds: [producerId] });
    else known.producerIds.push(producerId);
  }
  const snapshots: OffsetSnapshot[] = [];
  for (const { topic, partition, committed } of offsets.of(groupId)) {
    const key = `${topic}-${partition}`;
    const pendingProducerIds = pending.get(key)?.producerIds ?? [];
    pending.delete(key);
    snapshots.push({
      ...{ topic, index: partition, pendingProducerIds },
      offset: committed.offset,
      commitMs: committed.commitTimestampMs,
    });
  }
  for (const { topic, index, producerIds } of pending.values())
    snapshots.push({ topic, index, offset: null, commitMs: null, pendingProducerIds: producerIds });
  return snapshots;
}

/** Adds what only its host knows: how long each timer still runs. */
export function withTimes(snapshot: GroupSnapshot, leftMs: (timer: GroupTimer) => number | null): GroupSnapshot {
  const { groupId, epoch, type } = snapshot;
  const phaseLeftMs = type === "classic" ? (leftMs(joinTimer(groupId)) ?? leftMs(syncTimer(groupId, epoch))) : null;
  const owedLeftMs = ({ owes, memberId, memberEpoch }: MemberSnapshot): number | null => {
    if (owes === null) return null;
    if (type === "classic") return phaseLeftMs;
    return leftMs(
      owes === "revocation"
        ? revocationTimer(groupId, memberId, memberEpoch ?? 0)
        : classicJoinTimer(groupId, memberId),
    );
  };
  return {
    ...snapshot,
    phaseLeftMs,
    members: snapshot.members.map((member) => ({
      ...member,
      owedLeftMs: owedLeftMs(member),
      sessionLeftMs: leftMs(sessionTimer(groupId, member.memberId)),
    })),
  };
}
