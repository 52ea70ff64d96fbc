import type { Ticket } from "../coordinator/machine.ts";
import type { JoinAnswer, SyncAnswer } from "./answers.ts";
import type { ConsumerGroup } from "./consumer/group.ts";
import { subscribedTopicsOf } from "./consumer-protocol.ts";
import type { GroupTimer } from "./types.ts";

/**
 * Empty and Stable are hard: they are entered by replaying a record, and by nothing else.
 * The two in between are soft: a new leader of the partition knows nothing of them and the members join again.
 * A group that is not there is what Kafka calls Dead.
 */
export type ClassicGroupState = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable";

/** A way of assigning that a member knows, with bytes of its own that the coordinator passes on untouched. */
export interface MemberProtocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

export interface ClassicMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  /** In the member's order of preference. Of these the log keeps the selected one only. */
  readonly protocols: readonly MemberProtocol[];
  readonly assignment: Uint8Array;
  /** Soft: a JoinGroup of this member that waits for the others. */
  readonly joinTicket: Ticket<JoinAnswer> | null;
  /** Soft: a SyncGroup of this member that waits for the leader's. */
  readonly syncTicket: Ticket<SyncAnswer> | null;
  /** Soft: its first JoinGroup has not been answered, so its client cannot send heartbeats. */
  readonly isNew: boolean;
  /** Made once with the member, since each heartbeat and each commit moves it. */
  readonly session: GroupTimer;
}

/** Soft: a group that was empty waits for more members before it completes its first generation (KIP-134). */
export interface InitialDelay {
  /** Since the delay was last begun, a member came: it may be begun once more. */
  readonly hasNewMember: boolean;
  readonly delayMs: number;
  /** How much more delay the members' rebalance timeout leaves. */
  readonly remainingMs: number;
}

/** A group of the classic protocol. Never changed in place: a decision makes a new one. */
export interface ClassicGroup {
  readonly type: "classic";
  readonly groupId: string;
  /** Hard: the log holds a record of this group. A simple group has none, only offsets. */
  readonly isLogged: boolean;
  readonly state: ClassicGroupState;
  /** Hard once it is logged; a generation in the making runs ahead of the log. */
  readonly generation: number;
  /** Null: a simple group, which nobody ever joined. */
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leaderId: string | null;
  /** Wall-clock time of the last logged change; −1 from a record that lacks it. */
  readonly stateTimestampMs: number;
  /** In the order in which they joined. */
  readonly members: ReadonlyMap<string, ClassicMember>;
  /** Of members that use Kafka's consumer protocol; null: unknown. */
  readonly subscribedTopics: ReadonlySet<string> | null;
  /** Soft: member ids that were given out and not yet used (KIP-394). */
  readonly pendingMembers: ReadonlySet<string>;
  /** Soft: members of this generation whose SyncGroup has not come. */
  readonly pendingSync: ReadonlySet<string>;
  /** Soft. Only while the group is PreparingRebalance out of Empty. */
  readonly initialDelay: InitialDelay | null;
}

export const CONSUMER_PROTOCOL_TYPE = "consumer";
export const noBytes: Uint8Array = new Uint8Array(0);

/** A group that nobody knows yet. */
export function newClassicGroup(groupId: string): ClassicGroup {
  return {
    type: "classic",
    groupId,
    isLogged: false,
    state: "Empty",
    generation: 0,
    protocolType: null,
    protocolName: null,
    leaderId: null,
    stateTimestampMs: -1,
    members: new Map(),
    subscribedTopics: null,
    pendingMembers: new Set(),
    pendingSync: new Set(),
    initialDelay: null,
  };
}

/** The group waits for the member that asks longest. */
export function rebalanceTimeoutMs(group: ClassicGroup): number {
  let timeoutMs = 0;
  for (const member of group.members.values()) timeoutMs = Math.max(timeoutMs, member.rebalanceTimeoutMs);
  return timeoutMs;
}

/** How many members wait for the others to join. */
export function joinedCount(group: ClassicGroup): number {
  let count = 0;
  for (const member of group.members.values()) if (member.joinTicket !== null) count++;
  return count;
}

export function haveAllJoined(group: ClassicGroup): boolean {
  return group.pendingMembers.size === 0 && joinedCount(group) === group.members.size;
}

/** The member id that an instance id stands for at present. */
export function staticMemberId(group: ClassicGroup, instanceId: string): string | null {
  for (const member of group.members.values()) if (member.instanceId === instanceId) return member.memberId;
  return null;
}

export function metadataOf(member: ClassicMember, protocolName: string | null): Uint8Array {
  return member.protocols.find(({ name }) => name === protocolName)?.metadata ?? noBytes;
}

/** Whether a member with these could be in the group: every member must know one protocol in common. */
export function supportsProtocols(
  group: ClassicGroup,
  protocolType: string,
  protocols: readonly MemberProtocol[],
): boolean {
  if (group.state === "Empty") return protocolType !== "" && protocols.length > 0;
  if (protocolType !== group.protocolType) return false;
  return protocols.some(({ name }) => isKnownToAll(group, name));
}

function isKnownToAll(group: ClassicGroup, protocolName: string): boolean {
  for (const { protocols } of group.members.values()) {
    if (!protocols.some(({ name }) => name === protocolName)) return false;
  }
  return true;
}

/** Each member votes for the first of its protocols that all know; the most votes win, the earliest voter's among equals. */
export function selectProtocol(group: ClassicGroup): string | null {
  const votes = new Map<string, number>();
  for (const { protocols } of group.members.values()) {
    const vote = protocols.find(({ name }) => votes.has(name) || isKnownToAll(group, name))?.name;
    if (vote !== undefined) votes.set(vote, (votes.get(vote) ?? 0) + 1);
  }
  let selected: string | null = null;
  let most = 0;
  for (const [name, count] of votes) {
    if (count > most) {
      selected = name;
      most = count;
    }
  }
  return selected;
}

/** The same names with the same bytes in the same order: nothing that an assignment depends on has changed. */
export function areSameProtocols(a: readonly MemberProtocol[], b: readonly MemberProtocol[]): boolean {
  if (a.length !== b.length) return false;
  return a.every(
    ({ name, metadata }, index) => name === b[index]?.name && Buffer.compare(metadata, b[index].metadata) === 0,
  );
}

/** What the members of a consumer group subscribe to; null where the coordinator cannot know. */
export function computeSubscribedTopics(
  group: Pick<ClassicGroup, "protocolType" | "protocolName" | "members">,
): ReadonlySet<string> | null {
  if (group.protocolType !== CONSUMER_PROTOCOL_TYPE) return null;
  const topics = new Set<string>();
  if (group.members.size === 0) return topics;
  if (group.protocolName === null) return null;
  for (const member of group.members.values()) {
    const subscribed = subscribedTopicsOf(metadataOf(member, group.protocolName));
    if (subscribed === null) return null;
    for (const topic of subscribed) topics.add(topic);
  }
  return topics;
}

/** A consumer group whose subscription is unknown counts as subscribed to everything: nothing of it is deleted. */
export function isSubscribed(group: ClassicGroup | ConsumerGroup, topic: string): boolean {
  if (group.type === "consumer") return group.isSubscribed(topic);
  if (group.subscribedTopics !== null) return group.subscribedTopics.has(topic);
  return group.protocolType === CONSUMER_PROTOCOL_TYPE;
}

/** Why a request of a member is refused, or null. An instance id that another member id holds now is fenced (KIP-345). */
export function refuseMember(
  group: ClassicGroup,
  memberId: string,
  instanceId: string | null,
): "unknown-member-id" | "fenced-instance-id" | null {
  const member = group.members.get(memberId);
  if (instanceId === null || member?.instanceId === instanceId)
    return member === undefined ? "unknown-member-id" : null;
  return staticMemberId(group, instanceId) === null ? "unknown-member-id" : "fenced-instance-id";
}
