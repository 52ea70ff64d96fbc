import type { TimeMs } from "@millrace/base/units";
import type { Reply, Ticket, TimerChange } from "../../coordinator/machine.ts";
import type { Assignment } from "../assignors/types.ts";
import type { Surroundings } from "../draft.ts";
import type { GroupEvent } from "../events.ts";
import type { GroupRecord } from "../records.ts";
import type { GroupSettings } from "../settings.ts";
import type { TopicLookup } from "../topic-lookup.ts";
import { classicJoinTimer, classicSyncTimer, revocationTimer, sessionTimer } from "../types.ts";
import type { GroupDecision, GroupTimer, SoftChange } from "../types.ts";
import type { ConsumerGroup, ConsumerGroupView, ResolvedRegex } from "./group.ts";
import { currentOf, hasRegex, subscriptionOf } from "./member.ts";
import type { ConsumerMember } from "./member.ts";
import { metadataHash } from "./metadata-hash.ts";
import type { RegexResolver } from "./regex.ts";

/** What a decision about a consumer group has to know beside it. */
export interface ConsumerSurroundings extends Surroundings {
  readonly topics: TopicLookup;
  readonly regexes: RegexResolver;
}

/**
 * One decision about one consumer group while it is being thought out. The group stays as it is: what is written down is
 * laid over it, so that the next step sees it, and nothing is copied that does not change.
 */
export class ConsumerDraft implements ConsumerGroupView {
  readonly settings: GroupSettings;
  readonly topics: TopicLookup;
  readonly regexResolver: RegexResolver;
  readonly nowMs: TimeMs;
  readonly hasOffsets: boolean;
  /** The group was a classic one until now: its members need a target, whatever the newcomer reads. */
  isUpgraded = false;
  readonly #base: ConsumerGroup;
  groupEpoch: number;
  metadataHash: number;
  assignmentEpoch: number;
  assignmentTimestampMs: number;
  /** Null: taken away. */
  readonly #members = new Map<string, ConsumerMember | null>();
  readonly #targets = new Map<string, Assignment | null>();
  readonly #resolved = new Map<string, ResolvedRegex | null>();
  readonly #records: GroupRecord[] = [];
  readonly #soft: SoftChange[] = [];
  readonly #timers: TimerChange<GroupTimer>[] = [];
  readonly #replies: Reply[] = [];
  readonly #events: GroupEvent[] = [];

  constructor(base: ConsumerGroup, { settings, topics, regexes, nowMs, hasOffsets }: ConsumerSurroundings) {
    this.#base = base;
    this.settings = settings;
    this.topics = topics;
    this.regexResolver = regexes;
    this.nowMs = nowMs;
    this.hasOffsets = hasOffsets;
    this.groupEpoch = base.groupEpoch;
    this.metadataHash = base.metadataHash;
    this.assignmentEpoch = base.assignmentEpoch;
    this.assignmentTimestampMs = base.assignmentTimestampMs;
  }

  get groupId(): string {
    return this.#base.groupId;
  }

  // --- What the group looks like by now --------------------------------------------------------------------------------

  get memberCount(): number {
    let memberCount = this.#base.memberCount;
    for (const [memberId, member] of this.#members) {
      const was = this.#base.member(memberId) === null ? 0 : 1;
      memberCount += (member === null ? 0 : 1) - was;
    }
    return memberCount;
  }

  member(memberId: string): ConsumerMember | null {
    const written = this.#members.get(memberId);
    return written === undefined ? this.#base.member(memberId) : written;
  }

  *members(): Iterable<ConsumerMember> {
    for (const member of this.#base.members()) {
      const written = this.#members.get(member.memberId);
      if (written !== null) yield written ?? member;
    }
    for (const [memberId, written] of this.#members) {
      if (written !== null && this.#base.member(memberId) === null) yield written;
    }
  }

  staticMember(instanceId: string): ConsumerMember | null {
    for (const member of this.#members.values()) if (member?.instanceId === instanceId) return member;
    const member = this.#base.staticMember(instanceId);
    return member === null ? null : this.member(member.memberId);
  }

  target(memberId: string): Assignment {
    const written = this.#targets.get(memberId);
    return written === undefined ? this.#base.target(memberId) : (written ?? new Map<string, readonly number[]>());
  }

  /** As it was: what this decision takes from one member it gives to no other. */
  ownerOf(topicId: string, partition: number): string | null {
    return this.#base.ownerOf(topicId, partition);
  }

  resolved(regex: string): ResolvedRegex | null {
    const written = this.#resolved.get(regex);
    return written === undefined ? this.#base.resolved(regex) : written;
  }

  *regexes(): Iterable<string> {
    for (const regex of this.#base.regexes()) if (this.resolved(regex) !== null) yield regex;
    for (const [regex, written] of this.#resolved) {
      if (written !== null && this.#base.resolved(regex) === null) yield regex;
    }
  }

  /** How many members subscribe to the regular expression. */
  subscriberCount(regex: string): number {
    let subscriberCount = this.#base.regexCounts.get(regex) ?? 0;
    for (const [memberId, member] of this.#members) {
      if (this.#base.member(memberId)?.topicRegex === regex) subscriberCount -= 1;
      if (member?.topicRegex === regex) subscriberCount += 1;
    }
    return subscriberCount;
  }

  /** All that some member reads. */
  subscribedTopics(): ReadonlySet<string> {
    const counts = new Map(this.#base.nameCounts);
    const count = (member: ConsumerMember | null, by: number): void => {
      for (const name of member?.topicNames ?? []) counts.set(name, (counts.get(name) ?? 0) + by);
    };
    for (const [memberId, member] of this.#members) {
      count(this.#base.member(memberId), -1);
      count(member, 1);
    }
    const names = new Set<string>();
    for (const [name, subscriberCount] of counts) if (subscriberCount > 0) names.add(name);
    for (const regex of this.regexes()) for (const name of this.resolved(regex)?.topics ?? []) names.add(name);
    return names;
  }

  /** The ids of the topics that a member reads and that are there. */
  topicIdsOf(member: ConsumerMember): ReadonlySet<string> {
    const ids = new Set<string>();
    const add = (name: string): void => {
      const topic = this.topics.byName(name);
      if (topic !== null) ids.add(topic.id);
    };
    for (const name of member.topicNames) add(name);
    if (hasRegex(member)) for (const name of this.resolved(member.topicRegex)?.topics ?? []) add(name);
    return ids;
  }

  isJoinAwaited(memberId: string): boolean {
    return this.#base.awaitedJoins.has(memberId);
  }

  // --- Writing ---------------------------------------------------------------------------------------------------------

  /** Records that come before those of this group: of the group that it was. */
  begin(records: readonly GroupRecord[]): void {
    this.#records.unshift(...records);
  }

  writeSubscription(member: ConsumerMember): void {
    this.#members.set(member.memberId, member);
    const { memberId } = member;
    this.#records.push({ kind: "consumer-member", groupId: this.groupId, memberId, value: subscriptionOf(member) });
  }

  writeCurrent(member: ConsumerMember): void {
    this.#members.set(member.memberId, member);
    const { memberId } = member;
    this.#records.push({ kind: "consumer-current", groupId: this.groupId, memberId, value: currentOf(member) });
  }

  writeTarget(memberId: string, target: Assignment): void {
    this.#targets.set(memberId, target);
    this.#records.push({ kind: "consumer-target", groupId: this.groupId, memberId, value: target });
  }

  writeTargetEpoch(epoch: number): void {
    this.assignmentEpoch = epoch;
    this.assignmentTimestampMs = this.nowMs;
    const value = { epoch, timestampMs: this.nowMs };
    this.#records.push({ kind: "consumer-target-epoch", groupId: this.groupId, value });
  }

  /** Everyone is to get another target: `reason` is told to people. */
  bumpEpoch(reason: string): void {
    this.groupEpoch += 1;
    this.metadataHash = metadataHash(this.subscribedTopics(), this.topics);
    const value = { epoch: this.groupEpoch, metadataHash: this.metadataHash };
    this.#records.push({ kind: "consumer-group", groupId: this.groupId, value });
    this.tell({ kind: "epoch-bumped", groupId: this.groupId, epoch: this.groupEpoch, reason });
  }

  writeRegex(regex: string, resolved: ResolvedRegex | null): void {
    this.#resolved.set(regex, resolved);
    this.#records.push({ kind: "consumer-regex", groupId: this.groupId, regex, value: resolved });
  }

  /** In this order what is left of them is true after each record. */
  removeMember(memberId: string): void {
    const { groupId } = this;
    this.#members.set(memberId, null);
    this.#targets.set(memberId, null);
    this.#records.push(
      { kind: "consumer-current", groupId, memberId, value: null },
      { kind: "consumer-target", groupId, memberId, value: null },
      { kind: "consumer-member", groupId, memberId, value: null },
    );
    this.cancelTimers(memberId);
  }

  reply<Response>(ticket: Ticket<Response>, response: Response, when: Reply["when"] = "now"): void {
    this.#replies.push({ ticket, response, when });
  }

  setTimer(timer: GroupTimer, afterMs: number): void {
    this.#timers.push({ timer, afterMs });
  }

  cancelTimer(timer: GroupTimer): void {
    this.#timers.push({ timer, afterMs: null });
  }

  /** All that counts against a member. */
  cancelTimers(memberId: string): void {
    const { groupId } = this;
    this.cancelTimer(sessionTimer(groupId, memberId));
    this.cancelTimer(revocationTimer(groupId, memberId, 0));
    this.cancelTimer(classicJoinTimer(groupId, memberId));
    this.cancelTimer(classicSyncTimer(groupId, memberId));
  }

  /** The member was heard of: its session begins anew. */
  renewSession(member: ConsumerMember): void {
    this.setTimer(sessionTimer(this.groupId, member.memberId), sessionTimeoutMs(member, this.groupId, this.settings));
  }

  soften(change: SoftChange): void {
    this.#soft.push(change);
  }

  tell(event: GroupEvent): void {
    this.#events.push(event);
  }

  decision(): GroupDecision {
    const hasRecords = this.#records.length > 0;
    return {
      records: this.#records,
      isAtomic: true,
      producer: null,
      soft: this.#soft,
      timers: this.#timers,
      // What is written must be safe before anyone hears of it.
      replies: hasRecords ? this.#replies.map((reply) => ({ ...reply, when: "committed" })) : this.#replies,
      effects: [],
      events: this.#events,
    };
  }
}

export function sessionTimeoutMs(member: ConsumerMember, groupId: string, { consumer }: GroupSettings): number {
  return member.classic?.sessionTimeoutMs ?? consumer.ofGroup(groupId).sessionTimeoutMs;
}
