import type {
  ConsumerProtocolAssignment,
  ConsumerProtocolSubscription,
} from "kafka-protocol-ts/internal/consumer-protocol";
import { must } from "@millrace/base/assert";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Ticket } from "../../coordinator/machine.ts";
import { joinRefused, syncRefused } from "../answers.ts";
import type { JoinAnswer } from "../answers.ts";
import type { Assignment } from "../assignors/types.ts";
import { CONSUMER_PROTOCOL_TYPE, metadataOf, newClassicGroup, noBytes, selectProtocol } from "../classic-group.ts";
import type { ClassicGroup, ClassicMember } from "../classic-group.ts";
import { assignmentBytes, assignmentOf as assignmentOfBytes, subscriptionOf } from "../consumer-protocol.ts";
import type { GroupValue } from "../records.ts";
import { hasPartition } from "../topic-lookup.ts";
import type { TopicLookup } from "../topic-lookup.ts";
import { downgradedTimer, joinTimer, sessionTimer, syncTimer } from "../types.ts";
import type { GroupDecision } from "../types.ts";
import { ConsumerDraft } from "./draft.ts";
import type { ConsumerSurroundings } from "./draft.ts";
import { ConsumerGroup } from "./group.ts";
import type { ConsumerGroupView } from "./group.ts";
import type { Refusal } from "./heartbeat.ts";
import {
  assignmentOf,
  currentOf,
  isReconciledTo,
  newMember,
  nothingOwned,
  subscriptionOf as memberSubscription,
} from "./member.ts";
import type { ConsumerMember, Owned } from "./member.ts";
import { metadataHash } from "./metadata-hash.ts";
import type { ConsumerRecord } from "./records.ts";

/*
 * A group may change its protocol while it lives (group.consumer.migration.policy). Its offsets stay. In the log the
 * tombstones of what it was stand before the records of what it becomes, in one batch.
 */

/** Nobody is in it: a consumer group takes its place. */
export function replaceEmptyClassicGroup(group: ClassicGroup, around: ConsumerSurroundings): ConsumerDraft {
  const draft = new ConsumerDraft(new ConsumerGroup(group.groupId), around);
  forgetClassic(draft, group);
  return draft;
}

/**
 * Every member of the classic group becomes a member that goes on with JoinGroup and SyncGroup. It has what its leader
 * assigned to it, in an epoch that is the group's generation, and what else it brought along when it joined: a cooperative
 * member reads on until it has given that up, and then says so by joining again. (Kafka counts what was assigned alone, and gives
 * the rest to others at once.)
 */
export function upgrade(group: ClassicGroup, around: ConsumerSurroundings): Result<ConsumerDraft, Refusal> {
  const { groupId } = group;
  const cannot = (why: string): Result<ConsumerDraft, Refusal> =>
    failed({ failure: "group-id-not-found", message: `group ${groupId} cannot become a consumer group: ${why}` });
  const { consumer } = around.settings;
  if (!consumer.canUpgrade) return cannot("the broker's migration policy forbids it");
  if (group.protocolType !== CONSUMER_PROTOCOL_TYPE) return cannot(`its members speak ${group.protocolType}`);
  if (group.members.size > consumer.sizeMax) return cannot(`it has more than ${consumer.sizeMax} members`);

  const members: ConsumerMember[] = [];
  const holdings = new Holdings(group.generation, around.topics);
  const found: { readonly classic: ClassicMember; readonly embedded: Embedded }[] = [];
  for (const classic of group.members.values()) {
    const embedded = embeddedOf(classic, group);
    if (!embedded.ok) return cannot(embedded.failure);
    found.push({ classic, embedded: embedded.value });
  }
  // What was assigned counts before what was brought along.
  for (const { classic, embedded } of found) holdings.give(classic.memberId, embedded.assigned);
  for (const { classic, embedded } of found) holdings.give(classic.memberId, embedded.subscription.ownedPartitions);
  for (const { classic, embedded } of found) {
    members.push(
      upgradedMember(classic, { ...embedded, generation: group.generation, has: holdings.of(classic.memberId) }),
    );
  }
  const records = [...creation(groupId, group.generation, members, around.topics)];
  const upgraded = new ConsumerGroup(groupId);
  for (const record of records) upgraded.replay(record);
  const draft = new ConsumerDraft(upgraded, around);
  draft.begin(records);
  draft.isUpgraded = true;
  forgetClassic(draft, group);
  for (const member of members) draft.renewSession(member);
  draft.tell({ kind: "protocol-changed", groupId, to: "consumer", reason: "a member speaks the consumer protocol" });
  return ok(draft);
}

/** What a classic member and its leader have said in Kafka's embedded protocol. */
interface Embedded {
  readonly subscription: ConsumerProtocolSubscription;
  readonly assigned: ConsumerProtocolAssignment["assignedPartitions"];
}

function embeddedOf(classic: ClassicMember, group: ClassicGroup): Result<Embedded, string> {
  const chosen = metadataOf(classic, group.protocolName);
  // Before the first generation is complete no protocol is chosen; every one has the same topics.
  const subscription = subscriptionOf(chosen.length > 0 ? chosen : (classic.protocols[0]?.metadata ?? noBytes));
  const assignment = classic.assignment.length === 0 ? null : assignmentOfBytes(classic.assignment);
  if (subscription === null || (assignment === null && classic.assignment.length > 0))
    return failed("the embedded consumer protocol of its members is malformed");
  if ((assignment?.userData?.length ?? 0) > 0)
    return failed("what its custom assignor keeps with the members would be lost");
  return ok({ subscription, assigned: assignment?.assignedPartitions ?? [] });
}

/** An assignor of the clients may give a partition to two of them. Here it has one owner: whoever is named first. */
class Holdings {
  readonly #epoch: number;
  readonly #topics: TopicLookup;
  readonly #taken = new Set<string>();
  readonly #byMember = new Map<string, Map<string, Map<number, number>>>();

  constructor(epoch: number, topics: TopicLookup) {
    this.#epoch = epoch;
    this.#topics = topics;
  }

  of(memberId: string): Owned {
    return this.#byMember.get(memberId) ?? nothingOwned;
  }

  give(memberId: string, named: readonly { readonly topic: string; readonly partitions: readonly number[] }[]): void {
    let owned = this.#byMember.get(memberId);
    if (owned === undefined) this.#byMember.set(memberId, (owned = new Map()));
    for (const { topic, partitions } of named) {
      const known = this.#topics.byName(topic);
      if (known === null) continue;
      for (const partition of partitions) {
        const key = `${partition}:${known.id}`;
        if (this.#taken.has(key) || !hasPartition(known, partition)) continue;
        this.#taken.add(key);
        let ofTopic = owned.get(known.id);
        if (ofTopic === undefined) owned.set(known.id, (ofTopic = new Map()));
        ofTopic.set(partition, this.#epoch);
      }
    }
  }
}

function upgradedMember(
  classic: ClassicMember,
  {
    subscription,
    generation,
    has,
  }: Pick<Embedded, "subscription"> & { readonly generation: number; readonly has: Owned },
): ConsumerMember {
  return {
    ...newMember(classic.memberId),
    instanceId: classic.instanceId,
    rackId: subscription.rackId === "" ? null : subscription.rackId,
    clientId: classic.clientId,
    clientHost: classic.clientHost,
    topicNames: [...new Set(subscription.topics)].sort(),
    rebalanceTimeoutMs: classic.rebalanceTimeoutMs,
    classic: { sessionTimeoutMs: classic.sessionTimeoutMs, protocols: classic.protocols },
    memberEpoch: generation,
    previousMemberEpoch: generation,
    assigned: has,
  };
}

/** All records of a group whose members all have their target. */
function* creation(
  groupId: string,
  epoch: number,
  members: readonly ConsumerMember[],
  topics: TopicLookup,
): Iterable<ConsumerRecord> {
  for (const member of members)
    yield { kind: "consumer-member", groupId, memberId: member.memberId, value: memberSubscription(member) };
  const names = new Set(members.flatMap(({ topicNames }) => topicNames));
  yield { kind: "consumer-group", groupId, value: { epoch, metadataHash: metadataHash(names, topics) } };
  for (const { memberId, assigned } of members)
    yield { kind: "consumer-target", groupId, memberId, value: assignmentOf(assigned) };
  yield { kind: "consumer-target-epoch", groupId, value: { epoch, timestampMs: 0 } };
  for (const member of members)
    yield { kind: "consumer-current", groupId, memberId: member.memberId, value: currentOf(member) };
}

/** Whoever waits is told to join again; then the classic group is no more. */
function forgetClassic(draft: ConsumerDraft, group: ClassicGroup): void {
  const { groupId } = group;
  for (const { memberId, joinTicket, syncTicket } of group.members.values()) {
    if (joinTicket !== null) draft.reply(joinTicket, joinRefused("rebalance-in-progress", memberId));
    if (syncTicket !== null) draft.reply(syncTicket, syncRefused("rebalance-in-progress"));
  }
  for (const memberId of group.pendingMembers) draft.cancelTimer(sessionTimer(groupId, memberId));
  draft.cancelTimer(joinTimer(groupId));
  draft.cancelTimer(syncTimer(groupId, group.generation));
  draft.soften({ groupId, group: null });
  if (group.isLogged) draft.begin([{ kind: "group", groupId, value: null }]);
}

// --- Back to the classic protocol --------------------------------------------------------------------------------------

/** Once these are gone, only classic members are left, and it may be. So many more come in their place. */
export function canDowngradeWithout(
  draft: ConsumerDraft,
  leaving: readonly ConsumerMember[],
  comingCount: number = 0,
): boolean {
  const { settings } = draft;
  const goneIds = new Set(leaving.map(({ memberId }) => memberId));
  let leftCount = comingCount;
  for (const member of draft.members()) {
    if (goneIds.has(member.memberId)) continue;
    if (member.classic === null) return false;
    leftCount += 1;
  }
  return leftCount > 0 && settings.consumer.canDowngrade && leftCount <= settings.groupSizeMax;
}

/**
 * The members that are left form a classic group, stable in a generation that is the group's epoch, with what they have.
 * `joining` is a static member that comes with the classic protocol in the place of one that is among `leaving`.
 */
export function downgrade(
  draft: ConsumerDraft,
  {
    leaving,
    joining,
    reason,
  }: {
    readonly leaving: readonly ConsumerMember[];
    readonly joining: { readonly member: ConsumerMember; readonly ticket: Ticket<JoinAnswer> } | null;
    readonly reason: string;
  },
): GroupDecision {
  const { groupId, nowMs, topics } = draft;
  const goneIds = new Set(leaving.map(({ memberId }) => memberId));
  const members = [...draft.members()].filter(({ memberId }) => !goneIds.has(memberId));
  if (joining !== null) members.push(joining.member);
  const value = classicValue(draft.groupEpoch, members, { topics, nowMs });
  if (joining !== null) draft.reply(joining.ticket, joinedWithoutLeader(joining.member.memberId, value));
  for (const { memberId } of [...leaving, ...members]) draft.cancelTimers(memberId);
  for (const member of members) draft.renewSession(member);
  const isSettled = members.every((member) => isReconciledTo(member, draft.groupEpoch));
  // What those who left had is nobody's until the members have assigned it among themselves.
  if (joining === null || !isSettled) draft.setTimer(downgradedTimer(groupId, reason), 0);
  draft.tell({ kind: "protocol-changed", groupId, to: "classic", reason });
  draft.begin([...tombstonesOfConsumerGroup(draft), { kind: "group", groupId, value }]);
  return draft.decision();
}

/** A JoinGroup that is answered with no leader: whoever gets it assigns nothing, and takes what SyncGroup tells it. */
export function joinedWithoutLeader(
  memberId: string,
  { generation, protocolName }: Pick<GroupValue, "generation" | "protocolName">,
): JoinAnswer {
  return {
    failure: null,
    memberId,
    generation,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    protocolName,
    leaderId: "",
    members: [],
    skipAssignment: false,
  };
}

function classicValue(
  generation: number,
  members: readonly ConsumerMember[],
  { topics, nowMs }: { readonly topics: TopicLookup; readonly nowMs: number },
): GroupValue {
  const classicMembers = new Map(members.map((member) => [member.memberId, asClassic(member)] as const));
  const group: ClassicGroup = {
    ...newClassicGroup(""),
    state: "Stable",
    generation,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    members: classicMembers,
  };
  const protocolName = selectProtocol(group);
  return {
    protocolType: CONSUMER_PROTOCOL_TYPE,
    generation,
    protocolName,
    leaderId: members[0]?.memberId ?? null,
    stateTimestampMs: nowMs,
    members: members.map(({ memberId, instanceId, clientId, clientHost, rebalanceTimeoutMs, classic, assigned }) => {
      const subscription = metadataOf(must(classicMembers.get(memberId), "one of them"), protocolName);
      return {
        memberId,
        instanceId,
        clientId,
        clientHost,
        rebalanceTimeoutMs,
        sessionTimeoutMs: classic?.sessionTimeoutMs ?? 0,
        subscription,
        assignment: assignmentBytes(named(assignmentOf(assigned), topics), subscription),
      };
    }),
  };
}

function asClassic(member: ConsumerMember): ClassicMember {
  return {
    memberId: member.memberId,
    instanceId: member.instanceId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    sessionTimeoutMs: member.classic?.sessionTimeoutMs ?? 0,
    protocols: member.classic?.protocols ?? [],
    assignment: noBytes,
    joinTicket: null,
    syncTicket: null,
    isNew: false,
    session: sessionTimer("", member.memberId),
  };
}

/** A topic that is gone cannot be named, and nobody can read it. */
export function named(
  assignment: Assignment,
  topics: TopicLookup,
): readonly { readonly topic: string; readonly partitions: readonly number[] }[] {
  const result: { topic: string; partitions: readonly number[] }[] = [];
  for (const [topicId, partitions] of assignment) {
    const topic = topics.byId(topicId);
    if (topic !== null) result.push({ topic: topic.name, partitions });
  }
  return result;
}

/** All that the log has of a group, its own record last. */
export function* tombstonesOfConsumerGroup(group: ConsumerGroupView): Iterable<ConsumerRecord> {
  const { groupId } = group;
  const memberIds = Array.from(group.members(), ({ memberId }) => memberId);
  for (const memberId of memberIds) yield { kind: "consumer-current", groupId, memberId, value: null };
  for (const memberId of memberIds) yield { kind: "consumer-target", groupId, memberId, value: null };
  yield { kind: "consumer-target-epoch", groupId, value: null };
  for (const memberId of memberIds) yield { kind: "consumer-member", groupId, memberId, value: null };
  for (const regex of group.regexes()) yield { kind: "consumer-regex", groupId, regex, value: null };
  yield { kind: "consumer-partition-metadata", groupId, value: null };
  yield { kind: "consumer-group", groupId, value: null };
}
