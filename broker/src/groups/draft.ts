import type { TimeMs } from "@millrace/base/units";
import { nothingDecided } from "../coordinator/machine.ts";
import type { Reply, Ticket, TimerChange } from "../coordinator/machine.ts";
import { joinRefused, syncRefused } from "./answers.ts";
import type { JoinAnswer } from "./answers.ts";
import { computeSubscribedTopics, metadataOf } from "./classic-group.ts";
import type { ClassicGroup, ClassicMember } from "./classic-group.ts";
import type { GroupEvent } from "./events.ts";
import type { GroupFailure } from "./failures.ts";
import type { GroupRecord, GroupValue } from "./records.ts";
import type { GroupSettings } from "./settings.ts";
import { sessionTimer } from "./types.ts";
import type { GroupDecision, GroupTimer } from "./types.ts";

/** A group that may be changed: its own map and sets. The members in it are still replaced, never changed. */
type Working = {
  -readonly [Field in Exclude<keyof ClassicGroup, "members" | "pendingMembers" | "pendingSync">]: ClassicGroup[Field];
} & {
  readonly members: Map<string, ClassicMember>;
  readonly pendingMembers: Set<string>;
  readonly pendingSync: Set<string>;
};

/** What a decision about one group has to know beside it. */
export interface Surroundings {
  readonly settings: GroupSettings;
  readonly nowMs: TimeMs;
  /** The group has offsets, so it is there even without members. */
  readonly hasOffsets: boolean;
}

/**
 * One decision about one classic group while it is being thought out. All changes are made to a copy, which the
 * decision carries as its soft change; the group that everyone sees stays as it is until the runtime applies it.
 */
export class GroupDraft {
  readonly group: Working;
  readonly settings: GroupSettings;
  readonly nowMs: TimeMs;
  readonly #hasOffsets: boolean;
  readonly #records: GroupRecord[] = [];
  readonly #timers: TimerChange<GroupTimer>[] = [];
  readonly #replies: Reply[] = [];
  readonly #events: GroupEvent[] = [];

  constructor(group: ClassicGroup, { settings, nowMs, hasOffsets }: Surroundings) {
    this.group = {
      ...group,
      members: new Map(group.members),
      pendingMembers: new Set(group.pendingMembers),
      pendingSync: new Set(group.pendingSync),
    };
    this.settings = settings;
    this.nowMs = nowMs;
    this.#hasOffsets = hasOffsets;
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

  tell(event: GroupEvent): void {
    this.#events.push(event);
  }

  /** The member was heard of: its session begins anew. */
  renewSession(member: ClassicMember, afterMs: number = member.sessionTimeoutMs): void {
    this.setTimer(member.session, afterMs);
  }

  putMember(member: ClassicMember): void {
    this.group.members.set(member.memberId, member);
  }

  /** Takes a member, or a member id that was only given out, from the group, and answers what it waits for. */
  removeMember(memberId: string, reason: string): void {
    const { group } = this;
    const member = group.members.get(memberId);
    if (member !== undefined) {
      this.answerJoin(member, joinRefused("unknown-member-id", ""));
      this.refuseSync(member, "unknown-member-id");
      this.tell({ kind: "member-removed", groupId: group.groupId, memberId, reason });
    }
    group.members.delete(memberId);
    group.pendingMembers.delete(memberId);
    group.pendingSync.delete(memberId);
    if (group.leaderId === memberId) group.leaderId = group.members.keys().next().value ?? null;
    this.cancelTimer(sessionTimer(group.groupId, memberId));
  }

  /** Answers the JoinGroup that the member waits with, if it does. */
  answerJoin(member: ClassicMember, answer: JoinAnswer): void {
    if (member.joinTicket !== null) this.reply(member.joinTicket, answer);
  }

  /** Refuses the SyncGroup that the member waits with, if it does. While it waited it could not be heard of. */
  refuseSync(member: ClassicMember, failure: GroupFailure): void {
    if (member.syncTicket === null) return;
    this.reply(member.syncTicket, syncRefused(failure));
    this.renewSession(member);
  }

  /** The group as it now is, with the assignments its members hold: replaying it makes the group Stable, or Empty without members. */
  record(): void {
    this.#records.push({ kind: "group", groupId: this.group.groupId, value: this.groupValue() });
  }

  groupValue(): GroupValue {
    const { group } = this;
    return {
      protocolType: group.protocolType,
      generation: group.generation,
      protocolName: group.protocolName,
      leaderId: group.leaderId,
      stateTimestampMs: this.nowMs,
      members: Array.from(group.members.values(), (member) => ({
        memberId: member.memberId,
        instanceId: member.instanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        rebalanceTimeoutMs: member.rebalanceTimeoutMs,
        sessionTimeoutMs: member.sessionTimeoutMs,
        subscription: metadataOf(member, group.protocolName),
        assignment: member.assignment,
      })),
    };
  }

  resubscribe(): void {
    this.group.subscribedTopics = computeSubscribedTopics(this.group);
  }

  decision(): GroupDecision {
    const { group } = this;
    const willBeLogged = group.isLogged || this.#records.length > 0;
    const isNothingLeft =
      !willBeLogged && !this.#hasOffsets && group.members.size === 0 && group.pendingMembers.size === 0;
    return {
      records: this.#records,
      isAtomic: true,
      producer: null,
      soft: [{ groupId: group.groupId, group: isNothingLeft ? null : group }],
      timers: this.#timers,
      // What is written must be safe before anyone hears of it.
      replies:
        this.#records.length === 0 ? this.#replies : this.#replies.map((reply) => ({ ...reply, when: "committed" })),
      effects: [],
      events: this.#events,
    };
  }
}

/** A decision of the parts that are given. */
export function decisionOf(parts: Partial<GroupDecision>): GroupDecision {
  const { records, isAtomic, producer, soft, timers, replies, effects, events } = nothingDecided;
  // Field by field: a spread over a spread is ten times as slow, and each heartbeat makes one.
  return {
    records: parts.records ?? records,
    isAtomic: parts.isAtomic ?? isAtomic,
    producer: parts.producer ?? producer,
    soft: parts.soft ?? soft,
    timers: parts.timers ?? timers,
    replies: parts.replies ?? replies,
    effects: parts.effects ?? effects,
    events: parts.events ?? events,
  };
}

/** An answer and nothing else. */
export function answered<Response>(
  ticket: Ticket<Response>,
  response: Response,
  when: Reply["when"] = "now",
): GroupDecision {
  return decisionOf({ replies: [{ ticket, response, when }] });
}
