import type { TimeMs } from "@millrace/base/units";
import type { RecordPlace, ShardMachine } from "../coordinator/machine.ts";
import type { CoordinatorRecord } from "../coordinator/shard-log.ts";
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
import { decideSync } from "./sync.ts";
import { retentionTimer } from "./types.ts";
import type { GroupDecision, GroupTimer, GroupTypes, SoftGroup } from "./types.ts";

/** All groups of one partition of __consumer_offsets. Pure: SPEC.md beside this file says what it does. */
export class GroupShard implements ShardMachine<GroupTypes> {
  readonly #settings: GroupSettings;
  readonly #groups = new Map<string, ClassicGroup>();
  readonly #offsets = new OffsetStore();
  /** Soft: the sum of all groups' pending members. */
  #pendingMembersCount = 0;

  constructor(settings: GroupSettings) {
    this.#settings = settings;
  }

  get groups(): ReadonlyMap<string, ClassicGroup> {
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
    const surroundings = { ...this.#around(command.groupId, nowMs), pendingMembersCount: this.#pendingMembersCount };
    return decideJoin(this.#find(command.groupId), command, surroundings);
  }

  decideSync(command: SyncCommand, nowMs: TimeMs): GroupDecision {
    return decideSync(this.#find(command.groupId), command, this.#around(command.groupId, nowMs));
  }

  decideHeartbeat(command: HeartbeatCommand): GroupDecision {
    return decideHeartbeat(this.#find(command.groupId), command);
  }

  decideLeave(command: LeaveCommand, nowMs: TimeMs): GroupDecision {
    return decideLeave(this.#find(command.groupId), command, this.#around(command.groupId, nowMs));
  }

  decideCommit(command: CommitCommand, nowMs: TimeMs): GroupDecision {
    return decideCommit(this.#find(command.groupId), command, { settings: this.#settings, nowMs });
  }

  decideFetch(command: FetchCommand): GroupDecision {
    return decideFetch(this.#offsets, command);
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

  decideTopicsDeleted(topics: ReadonlySet<string>): GroupDecision {
    return decideTopicsDeleted(this.#groups, this.#offsets, topics);
  }

  /** Nobody has been heard of yet: every session begins now. A group larger than the limit has since become must shrink. */
  decideLoaded(nowMs: TimeMs): GroupDecision {
    const decisions = Array.from(this.#groups.values(), (group) => {
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
      ],
      events: decisions.flatMap(({ events }) => events),
    });
  }

  decideTimer(timer: GroupTimer, nowMs: TimeMs): GroupDecision {
    switch (timer.kind) {
      case "session":
        return decideSessionEnd(this.#find(timer.groupId), timer.memberId, this.#around(timer.groupId, nowMs));
      case "sync":
        return decideSyncEnd(this.#find(timer.groupId), timer.generation, this.#around(timer.groupId, nowMs));
      case "join": {
        const group = this.#find(timer.groupId);
        if (group === null) return decisionOf({});
        const draft = new GroupDraft(group, this.#around(timer.groupId, nowMs));
        joinTimeIsOver(draft);
        return draft.decision();
      }
      case "retention":
        return decideRetention(this.#groups, this.#offsets, { settings: this.#settings, nowMs });
    }
  }

  // --- The only change -----------------------------------------------------------------------------------------------

  replay(record: GroupRecord, { offset: recordOffset, producerId }: RecordPlace): void {
    const { groupId } = record;
    if (record.kind === "group") {
      if (record.value !== null) this.#put(replayGroup(this.#find(groupId), groupId, record.value));
      else this.#remove(groupId);
      return;
    }
    if (record.value === null) {
      this.#offsets.remove(record);
      this.#forgetIfNothing(groupId);
      return;
    }
    // Offsets make a group: a simple one, if nobody ever joined it.
    if (!this.#groups.has(groupId)) this.#put(newClassicGroup(groupId));
    const committed = { ...record.value, recordOffset };
    if (producerId === -1) this.#offsets.put(record, committed);
    else this.#offsets.putPending(producerId, record, committed);
  }

  replayEndTransaction(producerId: number, outcome: "commit" | "abort"): void {
    for (const groupId of this.#offsets.endTransaction(producerId, outcome)) this.#forgetIfNothing(groupId);
  }

  applySoft({ groupId, group }: SoftGroup): void {
    if (group === null) this.#remove(groupId);
    else this.#put(group);
  }

  encode(record: GroupRecord): CoordinatorRecord {
    return encodeRecord(record);
  }

  decode(key: Uint8Array, value: Uint8Array | null): GroupRecord | null {
    return decodeRecord(key, value);
  }

  #find(groupId: string): ClassicGroup | null {
    return this.#groups.get(groupId) ?? null;
  }

  #around(groupId: string, nowMs: TimeMs): Surroundings {
    return { settings: this.#settings, nowMs, hasOffsets: this.#offsets.has(groupId) };
  }

  #put(group: ClassicGroup): void {
    this.#pendingMembersCount +=
      group.pendingMembers.size - (this.#groups.get(group.groupId)?.pendingMembers.size ?? 0);
    this.#groups.set(group.groupId, group);
  }

  /** Whatever of its offsets is left keeps a simple group there: the log says so too. */
  #remove(groupId: string): void {
    this.#pendingMembersCount -= this.#groups.get(groupId)?.pendingMembers.size ?? 0;
    this.#groups.delete(groupId);
    if (this.#offsets.has(groupId)) this.#put(newClassicGroup(groupId));
  }

  #forgetIfNothing(groupId: string): void {
    const group = this.#groups.get(groupId);
    if (group === undefined || group.isLogged || group.members.size > 0 || group.pendingMembers.size > 0) return;
    if (!this.#offsets.has(groupId)) this.#remove(groupId);
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
      replayMember(present?.members.get(logged.memberId) ?? null, logged, value.protocolName),
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

function replayMember(present: ClassicMember | null, logged: LoggedMember, protocolName: string | null): ClassicMember {
  const { subscription, ...hard } = logged;
  const isSame = present !== null && Buffer.compare(metadataOf(present, protocolName), subscription) === 0;
  return {
    ...hard,
    protocols: isSame ? present.protocols : [{ name: protocolName ?? "", metadata: subscription }],
    joinTicket: present?.joinTicket ?? null,
    syncTicket: present?.syncTicket ?? null,
    isNew: present?.isNew ?? false,
  };
}
