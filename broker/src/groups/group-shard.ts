import type { TimeMs } from "@millrace/base/units";
import type { RecordPlace, ShardMachine, TimerChange } from "../coordinator/machine.ts";
import type { CoordinatorRecord } from "../coordinator/shard-log.ts";
import {
  decideClassicDeadline,
  decideHeartbeatConsumer,
  decideJoinConsumer,
  decideLeaveConsumer,
  decideSyncConsumer,
} from "./consumer/classic-members.ts";
import type { ConsumerDescribeCommand, ConsumerHeartbeatCommand } from "./consumer/commands.ts";
import { decideConsumerDescribe } from "./consumer/describe.ts";
import { sessionTimeoutMs } from "./consumer/draft.ts";
import type { ConsumerSurroundings } from "./consumer/draft.ts";
import { ConsumerGroup } from "./consumer/group.ts";
import { decideConsumerHeartbeat, decideConsumerSessionEnd, decideRevocationEnd } from "./consumer/heartbeat.ts";
import { tombstonesOfConsumerGroup } from "./consumer/migration.ts";
import type { ConsumerRecord } from "./consumer/records.ts";
import { RegexResolver } from "./consumer/regex.ts";
import { decideTopicsCheck } from "./consumer/topics.ts";
import { computeSubscribedTopics, metadataOf, newClassicGroup } from "./classic-group.ts";
import type { ClassicGroup, ClassicMember } from "./classic-group.ts";
import type {
  CommitCommand,
  DeleteGroupsCommand,
  DeleteOffsetsCommand,
  DescribeCommand,
  FetchCommand,
  HeartbeatCommand,
  JoinCommand,
  LeaveCommand,
  ListCommand,
  SyncCommand,
} from "./commands.ts";
import { decideDescribe, decideList } from "./describe.ts";
import { decisionOf, GroupDraft } from "./draft.ts";
import type { Surroundings } from "./draft.ts";
import { decideHeartbeat, decideSessionEnd, decideSyncEnd } from "./heartbeat.ts";
import { decideJoin } from "./join.ts";
import { decideLeave } from "./leave.ts";
import { decideCommit, decideDeleteOffsets, decideFetch } from "./offsets.ts";
import { OffsetStore } from "./offset-store.ts";
import { beginRebalance, joinTimeIsOver } from "./rebalance.ts";
import { decodeRecord, encodeRecord } from "./records.ts";
import type { GroupRecord, GroupValue, LoggedMember } from "./records.ts";
import { decideDeleteGroups, decideRetention, decideTopicsDeleted } from "./retention.ts";
import type { GroupSettings } from "./settings.ts";
import { decideSnapshot } from "./snapshot.ts";
import type { SnapshotCommand } from "./snapshot.ts";
import { decideSync } from "./sync.ts";
import type { TopicLookup } from "./topic-lookup.ts";
import { regexesTimer, retentionTimer, revocationTimer, sessionTimer, topicsTimer } from "./types.ts";
import type { Group, GroupDecision, GroupTimer, GroupTypes, SoftChange } from "./types.ts";

/** Topics that change one soon after the other are looked at together. */
const TOPICS_CHECK_DELAY_MS = 100;

/** All groups of one partition of __consumer_offsets. Pure: SPEC.md beside this file says what it does. */
export class GroupShard implements ShardMachine<GroupTypes> {
  readonly #settings: GroupSettings;
  readonly #topics: TopicLookup;
  readonly #regexes = new RegexResolver();
  readonly #groups = new Map<string, Group>();
  readonly #offsets = new OffsetStore();
  /** Soft: the sum of all groups' pending members. */
  #pendingMembersCount = 0;
  /** Soft: topics have changed, and the timer to look at them runs. */
  #isTopicsCheckDue = false;

  constructor(settings: GroupSettings, topics: TopicLookup) {
    this.#settings = settings;
    this.#topics = topics;
  }

  get groups(): ReadonlyMap<string, Group> {
    return this.#groups;
  }

  get offsets(): OffsetStore {
    return this.#offsets;
  }

  get pendingMembersCount(): number {
    return this.#pendingMembersCount;
  }

  // --- Deciding: nothing changes -------------------------------------------------------------------------------------

  decideJoin(command: JoinCommand, nowMs: TimeMs): GroupDecision {
    const around = this.#around(command.groupId, nowMs);
    const group = this.#find(command.groupId);
    const surroundings = { ...around, pendingMembersCount: this.#pendingMembersCount };
    if (group?.type !== "consumer") return decideJoin(group, command, surroundings);
    if (group.memberCount > 0) return decideJoinConsumer(group, command, around);
    // Nobody is in it: a classic group takes its place.
    const decision = decideJoin(null, command, surroundings);
    if (decision.soft.length === 0) return decision;
    return { ...decision, records: [...tombstonesOfConsumerGroup(group), ...decision.records] };
  }

  decideSync(command: SyncCommand, nowMs: TimeMs): GroupDecision {
    const around = this.#around(command.groupId, nowMs);
    const group = this.#find(command.groupId);
    return group?.type === "consumer" ? decideSyncConsumer(group, command, around) : decideSync(group, command, around);
  }

  decideHeartbeat(command: HeartbeatCommand, nowMs: TimeMs): GroupDecision {
    const group = this.#find(command.groupId);
    return group?.type === "consumer"
      ? decideHeartbeatConsumer(group, command, this.#around(command.groupId, nowMs))
      : decideHeartbeat(group, command);
  }

  decideLeave(command: LeaveCommand, nowMs: TimeMs): GroupDecision {
    const around = this.#around(command.groupId, nowMs);
    const group = this.#find(command.groupId);
    return group?.type === "consumer"
      ? decideLeaveConsumer(group, command, around)
      : decideLeave(group, command, around);
  }

  decideConsumerHeartbeat(command: ConsumerHeartbeatCommand, nowMs: TimeMs): GroupDecision {
    return decideConsumerHeartbeat(this.#find(command.groupId), command, this.#around(command.groupId, nowMs));
  }

  decideConsumerDescribe(command: ConsumerDescribeCommand): GroupDecision {
    return decideConsumerDescribe(this.#find(command.groupId), command, this.#settings);
  }

  decideCommit(command: CommitCommand, nowMs: TimeMs): GroupDecision {
    const around = { settings: this.#settings, nowMs, topics: this.#topics };
    return decideCommit(this.#find(command.groupId), command, around);
  }

  decideFetch(command: FetchCommand): GroupDecision {
    return decideFetch(this.#find(command.groupId), this.#offsets, command);
  }

  decideDeleteOffsets(command: DeleteOffsetsCommand): GroupDecision {
    return decideDeleteOffsets(this.#find(command.groupId), this.#offsets, command);
  }

  decideDeleteGroups(command: DeleteGroupsCommand): GroupDecision {
    return decideDeleteGroups(this.#groups, this.#offsets, command);
  }

  decideList(command: ListCommand): GroupDecision {
    return decideList(this.#groups, command);
  }

  decideDescribe(command: DescribeCommand): GroupDecision {
    return decideDescribe(this.#groups, command);
  }

  decideSnapshot(command: SnapshotCommand): GroupDecision {
    const around = { settings: this.#settings, topics: this.#topics };
    return decideSnapshot(this.#find(command.groupId), this.#offsets, command, around);
  }

  decideTopicsDeleted(topics: ReadonlySet<string>): GroupDecision {
    return decideTopicsDeleted(this.#groups, this.#offsets, topics);
  }

  /** Topics came, went or got partitions. */
  decideTopicsChanged(): GroupDecision {
    if (this.#isTopicsCheckDue) return decisionOf({});
    return decisionOf({
      soft: [{ isTopicsCheckDue: true }],
      timers: [{ timer: topicsTimer, afterMs: TOPICS_CHECK_DELAY_MS }],
    });
  }

  /** Nobody has been heard of yet: every session begins now. A group larger than the limit has since become must shrink. */
  decideLoaded(nowMs: TimeMs): GroupDecision {
    const decisions = Array.from(this.#groups.values(), (group) => {
      if (group.type === "consumer") return this.#decideConsumerLoaded(group);
      const draft = new GroupDraft(group, this.#around(group.groupId, nowMs));
      for (const member of group.members.values()) draft.renewSession(member);
      if (group.members.size > this.#settings.groupSizeMax) {
        beginRebalance(draft, `${group.members.size} members are more than ${this.#settings.groupSizeMax}`);
      }
      return draft.decision();
    });
    return decisionOf({
      soft: decisions.flatMap(({ soft }) => soft),
      timers: [
        ...decisions.flatMap(({ timers }) => timers),
        { timer: retentionTimer, afterMs: this.#settings.offsetsRetentionCheckMs },
        // Topics may have changed while nobody looked.
        { timer: topicsTimer, afterMs: 0 },
        { timer: regexesTimer, afterMs: this.#settings.consumer.regexRefreshMs },
      ],
      events: decisions.flatMap(({ events }) => events),
    });
  }

  #decideConsumerLoaded(group: ConsumerGroup): GroupDecision {
    const { groupId } = group;
    const timers: TimerChange<GroupTimer>[] = [];
    for (const member of group.members()) {
      const { memberId, memberEpoch, rebalanceTimeoutMs } = member;
      timers.push({
        timer: sessionTimer(groupId, memberId),
        afterMs: sessionTimeoutMs(member, groupId, this.#settings),
      });
      if (member.state === "unrevoked" && member.classic === null)
        timers.push({ timer: revocationTimer(groupId, memberId, memberEpoch), afterMs: rebalanceTimeoutMs });
    }
    return decisionOf({ timers });
  }

  decideTimer(timer: GroupTimer, nowMs: TimeMs): GroupDecision {
    switch (timer.kind) {
      case "retention":
        return decideRetention(this.#groups, this.#offsets, { settings: this.#settings, nowMs });
      case "topics":
        return { ...this.#checkTopics(nowMs), soft: [{ isTopicsCheckDue: false }] };
      case "regexes":
        return {
          ...this.#checkTopics(nowMs),
          timers: [{ timer: regexesTimer, afterMs: this.#settings.consumer.regexRefreshMs }],
        };
      default: {
        const group = this.#find(timer.groupId);
        if (group === null) return decisionOf({});
        const around = this.#around(timer.groupId, nowMs);
        return group.type === "consumer"
          ? decideConsumerTimer(group, timer, around)
          : decideClassicTimer(group, timer, around);
      }
    }
  }

  #checkTopics(nowMs: TimeMs): GroupDecision {
    const groups = [...this.#groups.values()].filter((group) => group.type === "consumer");
    return decideTopicsCheck(groups, (groupId) => this.#around(groupId, nowMs));
  }

  // --- The only change -----------------------------------------------------------------------------------------------

  replay(record: GroupRecord, { offset: recordOffset, producerId }: RecordPlace): void {
    const { groupId } = record;
    if (record.kind === "group") {
      const present = this.#find(groupId);
      const classic = present?.type === "classic" ? present : null;
      if (record.value !== null) this.#put(replayGroup(classic, groupId, record.value));
      else if (classic !== null) this.#remove(groupId);
      return;
    }
    if (record.kind !== "offset") {
      this.#replayConsumer(record);
      return;
    }
    if (record.value === null) {
      this.#offsets.remove(record);
      this.#forgetIfNothing(groupId);
      return;
    }
    // Offsets make a group: a simple one, if nobody ever joined it.
    if (!this.#groups.has(groupId)) this.#put(newClassicGroup(groupId));
    const { offset, leaderEpoch, metadata, topicId, commitTimestampMs, expireTimestampMs } = record.value;
    const committed = { offset, leaderEpoch, metadata, topicId, commitTimestampMs, expireTimestampMs, recordOffset };
    if (producerId === -1) this.#offsets.put(record, committed);
    else this.#offsets.putPending(producerId, record, committed);
  }

  replayEndTransaction(producerId: number, outcome: "commit" | "abort"): void {
    for (const groupId of this.#offsets.endTransaction(producerId, outcome)) this.#forgetIfNothing(groupId);
  }

  applySoft(change: SoftChange): void {
    if ("isTopicsCheckDue" in change) {
      this.#isTopicsCheckDue = change.isTopicsCheckDue;
    } else if ("isJoinAwaited" in change) {
      const group = this.#find(change.groupId);
      if (group?.type !== "consumer") return;
      if (change.isJoinAwaited) group.awaitedJoins.add(change.memberId);
      else group.awaitedJoins.delete(change.memberId);
    } else if (change.group === null) this.#remove(change.groupId);
    else this.#put(change.group);
  }

  /** The first record of a consumer group makes it. Whatever classic group was there has had its tombstone, or only offsets. */
  #replayConsumer(record: ConsumerRecord): void {
    const { groupId } = record;
    const present = this.#find(groupId);
    if (present?.type === "consumer") {
      if (record.kind === "consumer-group" && record.value === null) this.#remove(groupId);
      else present.replay(record);
      return;
    }
    if (record.value === null) return;
    const group = new ConsumerGroup(groupId);
    group.replay(record);
    this.#put(group);
  }

  encode(record: GroupRecord): CoordinatorRecord {
    return encodeRecord(record);
  }

  decode(key: Uint8Array, value: Uint8Array | null): GroupRecord | null {
    return decodeRecord(key, value);
  }

  #find(groupId: string): Group | null {
    return this.#groups.get(groupId) ?? null;
  }

  #around(groupId: string, nowMs: TimeMs): ConsumerSurroundings {
    return {
      settings: this.#settings,
      nowMs,
      hasOffsets: this.#offsets.has(groupId),
      topics: this.#topics,
      regexes: this.#regexes,
    };
  }

  #put(group: Group): void {
    this.#pendingMembersCount += pendingCount(group) - pendingCount(this.#groups.get(group.groupId));
    this.#groups.set(group.groupId, group);
  }

  /** Whatever of its offsets is left keeps a simple group there: the log says so too. */
  #remove(groupId: string): void {
    this.#pendingMembersCount -= pendingCount(this.#groups.get(groupId));
    this.#groups.delete(groupId);
    if (this.#offsets.has(groupId)) this.#put(newClassicGroup(groupId));
  }

  #forgetIfNothing(groupId: string): void {
    const group = this.#groups.get(groupId);
    if (group?.type !== "classic" || group.isLogged || group.members.size > 0 || group.pendingMembers.size > 0) return;
    if (!this.#offsets.has(groupId)) this.#remove(groupId);
  }
}

function pendingCount(group: Group | undefined): number {
  return group?.type === "classic" ? group.pendingMembers.size : 0;
}

type MemberTimer = Exclude<GroupTimer, { readonly kind: "retention" | "topics" | "regexes" }>;

/** A timer of what the group was before means nothing to it. */
function decideClassicTimer(group: ClassicGroup, timer: MemberTimer, around: Surroundings): GroupDecision {
  switch (timer.kind) {
    case "session":
      return decideSessionEnd(group, timer.memberId, around);
    case "sync":
      return decideSyncEnd(group, timer.generation, around);
    case "join":
    case "downgraded": {
      const draft = new GroupDraft(group, around);
      if (timer.kind === "join") joinTimeIsOver(draft);
      else if (group.state === "Stable") beginRebalance(draft, timer.reason);
      return draft.decision();
    }
    case "revocation":
    case "classic-join":
    case "classic-sync":
      return decisionOf({});
  }
}

function decideConsumerTimer(group: ConsumerGroup, timer: MemberTimer, around: ConsumerSurroundings): GroupDecision {
  switch (timer.kind) {
    case "session":
      return decideConsumerSessionEnd(group, timer.memberId, around);
    case "revocation":
      return decideRevocationEnd(group, timer, around);
    case "classic-join":
    case "classic-sync":
      return decideClassicDeadline(group, timer, around);
    case "join":
    case "sync":
    case "downgraded":
      return decisionOf({});
  }
}

/**
 * What a group is after its record: stable with these members, or empty. Of a member that is here already its soft state
 * stays: the protocols that the log does not keep, and whom it waits for.
 */
function replayGroup(present: ClassicGroup | null, groupId: string, value: GroupValue): ClassicGroup {
  const members = new Map<string, ClassicMember>();
  for (const logged of value.members) {
    members.set(
      logged.memberId,
      replayMember(groupId, present?.members.get(logged.memberId) ?? null, logged, value.protocolName),
    );
  }
  const group: ClassicGroup = {
    ...(present ?? newClassicGroup(groupId)),
    isLogged: true,
    state: members.size === 0 ? "Empty" : "Stable",
    generation: value.generation,
    protocolType: value.protocolType,
    protocolName: value.protocolName,
    leaderId: value.leaderId,
    stateTimestampMs: value.stateTimestampMs,
    members,
    initialDelay: null,
  };
  return { ...group, subscribedTopics: computeSubscribedTopics(group) };
}

function replayMember(
  groupId: string,
  present: ClassicMember | null,
  logged: LoggedMember,
  protocolName: string | null,
): ClassicMember {
  const { subscription, ...hard } = logged;
  const isSame = present !== null && Buffer.compare(metadataOf(present, protocolName), subscription) === 0;
  return {
    ...hard,
    protocols: isSame ? present.protocols : [{ name: protocolName ?? "", metadata: subscription }],
    joinTicket: present?.joinTicket ?? null,
    syncTicket: present?.syncTicket ?? null,
    isNew: present?.isNew ?? false,
    session: present?.session ?? sessionTimer(groupId, logged.memberId),
  };
}
