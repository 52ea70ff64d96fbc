import { assert } from "@millrace/base/assert";
import type { TimeMs } from "@millrace/base/units";
import type { Reply, Ticket } from "../../coordinator/machine.ts";
import { TimerQueue } from "../../coordinator/timer-queue.ts";
import type { Assignment } from "../assignors/types.ts";
import { assignmentOf } from "../consumer/member.ts";
import type { ConsumerRecord } from "../consumer/records.ts";
import { GroupShard } from "../group-shard.ts";
import { decodeRecord, encodeRecord } from "../records.ts";
import type { GroupRecord } from "../records.ts";
import type { GroupSettings } from "../settings.ts";
import type { GroupDecision, GroupTimer } from "../types.ts";
import { eventText } from "../events.ts";
import { checkInvariants, shardText } from "./invariants.ts";
import { TestTopics } from "./test-topics.ts";

/** 2026-01-01: where virtual time begins. */
const START_MS = 1_767_225_600_000;

/**
 * Does for one shard what the runtime does, without a log beneath and with time that a test moves: whatever is appended
 * is committed. After every step all invariants of SPEC.md are checked.
 */
export class GroupHost {
  readonly settings: GroupSettings;
  readonly topics: TestTopics;
  shard: GroupShard;
  readonly log: GroupRecord[] = [];
  timers: TimerQueue<GroupTimer> = new TimerQueue();
  readonly open = new Map<number, (response: unknown, when: Reply["when"] | "lost") => void>();
  /** One line for each thing that happened. */
  readonly trace: string[] = [];
  #ticketsGiven = 0;
  #failovers = 0;
  #elapsedMs = 0;

  #replayed: GroupShard | null = null;

  constructor(settings: GroupSettings, topics: TestTopics = new TestTopics({ t: 4, u: 2 })) {
    this.settings = settings;
    this.topics = topics;
    this.shard = new GroupShard(settings, topics);
    this.#apply(this.shard.decideLoaded(this.nowMs));
  }

  get nowMs(): TimeMs {
    return (START_MS + this.#elapsedMs) as TimeMs;
  }

  /** `answer` is called when it comes; with "lost" when a failover took the request along. */
  ask<Response>(
    decide: (shard: GroupShard, ticket: Ticket<Response>) => GroupDecision,
    answer: (response: Response | null, when: Reply["when"] | "lost") => void,
  ): void {
    const ticket: Ticket<Response> = { id: ++this.#ticketsGiven };
    this.open.set(ticket.id, (response, when) => answer(response as Response | null, when));
    this.#step(() => decide(this.shard, ticket));
  }

  tell(decide: (shard: GroupShard) => GroupDecision): void {
    this.#step(() => decide(this.shard));
  }

  advance(ms: number): void {
    const endMs = this.#elapsedMs + ms;
    for (;;) {
      for (
        let timer = this.timers.takeDue(this.#elapsedMs);
        timer !== null;
        timer = this.timers.takeDue(this.#elapsedMs)
      ) {
        const due = timer;
        this.#step(() => this.shard.decideTimer(due, this.nowMs));
      }
      const nextMs = this.timers.nextCheckMs;
      if (nextMs > endMs) break;
      this.#elapsedMs = nextMs;
    }
    this.#elapsedMs = endMs;
  }

  /**
   * Another broker takes over: it knows the log and nothing else. Whoever waited is not answered. Every second time the
   * log has been compacted before.
   */
  failover(): void {
    this.#failovers += 1;
    this.shard = this.replayed({ isCompacted: this.#failovers % 2 === 0 });
    for (const settle of this.open.values()) settle(null, "lost");
    this.open.clear();
    this.timers = new TimerQueue();
    this.#step(() => this.shard.decideLoaded(this.nowMs));
  }

  /** A fresh shard that has read the log as bytes. */
  replayed({ isCompacted = false }: { readonly isCompacted?: boolean } = {}): GroupShard {
    const shard = new GroupShard(this.settings, this.topics);
    const encoded = this.log.map((record) => encodeRecord(record));
    const lastOf = new Map(encoded.map(({ key }, offset) => [Buffer.from(key).toString("latin1"), offset] as const));
    for (const [offset, { key, value }] of encoded.entries()) {
      // Of each key the last record stays, and a tombstone only for a while.
      const isGone = value === null || lastOf.get(Buffer.from(key).toString("latin1")) !== offset;
      if (isCompacted && isGone) continue;
      const decoded = decodeRecord(key, value);
      assert(decoded !== null, "what was written is known");
      shard.replay(decoded, { offset, producerId: -1 });
    }
    return shard;
  }

  /** The same, and only once a step. */
  replayedOnce(): GroupShard {
    return (this.#replayed ??= this.replayed());
  }

  #step(decide: () => GroupDecision): void {
    const before = shardText(this.shard);
    const decision = decide();
    assert(shardText(this.shard) === before, "I16, C10: deciding changed something");
    this.#apply(decision);
    this.#replayed = null;
    checkInvariants(this);
  }

  #apply(decision: GroupDecision): void {
    for (const soft of decision.soft) this.shard.applySoft(soft);
    for (const record of decision.records) {
      this.trace.push(`log: ${recordText(record)}`);
      this.shard.replay(record, { offset: this.log.length, producerId: -1 });
      this.log.push(record);
    }
    for (const { timer, afterMs } of decision.timers) {
      if (afterMs === null) this.timers.cancel(timer.id);
      else this.timers.set(timer, this.#elapsedMs + afterMs);
    }
    for (const event of decision.events) this.trace.push(`${event.groupId}: ${eventText(event)}`);
    for (const { ticket, response, when } of decision.replies) {
      const settle = this.open.get(ticket.id);
      assert(settle !== undefined, () => `ticket ${ticket.id} is answered twice`);
      this.open.delete(ticket.id);
      settle(response, when);
    }
  }
}

function recordText(record: GroupRecord): string {
  if (record.kind === "offset") {
    const place = `${record.groupId} ${record.topic}-${record.partition}`;
    return record.value === null ? `offset ${place} gone` : `offset ${place} = ${record.value.offset}`;
  }
  if (record.kind !== "group") return consumerRecordText(record);
  const { groupId, value } = record;
  if (value === null) return `group ${groupId} gone`;
  const members = value.members.map(
    ({ memberId, assignment }) =>
      `${memberId}[${Buffer.from(assignment)
        .toString()
        .replaceAll(/[^ -~]/g, ".")}]`,
  );
  return `group ${groupId} generation ${value.generation} ${members.length === 0 ? "empty" : `leader ${value.leaderId} ${members.join(" ")}`}`;
}

function consumerRecordText(record: ConsumerRecord): string {
  const { groupId } = record;
  switch (record.kind) {
    case "consumer-group":
      return record.value === null ? `${groupId} epoch gone` : `${groupId} epoch ${record.value.epoch}`;
    case "consumer-partition-metadata":
      return `${groupId} partition metadata gone`;
    case "consumer-member": {
      const { memberId, value } = record;
      if (value === null) return `${groupId} ${memberId} gone`;
      const reads = [
        ...value.topicNames,
        ...(value.topicRegex === null || value.topicRegex === "" ? [] : [`/${value.topicRegex}/`]),
      ];
      const extra = [
        value.instanceId === null ? "" : ` as ${value.instanceId}`,
        value.classic === null ? "" : " classic",
      ];
      return `${groupId} ${memberId}${extra.join("")} reads ${reads.join(",") || "nothing"}`;
    }
    case "consumer-target-epoch":
      return record.value === null ? `${groupId} target gone` : `${groupId} target of epoch ${record.value.epoch}`;
    case "consumer-target":
      return record.value === null
        ? `${groupId} ${record.memberId} target gone`
        : `${groupId} ${record.memberId} is to have ${assignmentText(record.value)}`;
    case "consumer-current": {
      const { memberId, value } = record;
      if (value === null) return `${groupId} ${memberId} has nothing`;
      const pending =
        value.pendingRevocation.size === 0 ? "" : `, gives up ${assignmentText(assignmentOf(value.pendingRevocation))}`;
      const epochs = `${value.memberEpoch}(${value.previousMemberEpoch})`;
      return `${groupId} ${memberId} ${value.state} ${epochs} has ${assignmentText(assignmentOf(value.assigned))}${pending}`;
    }
    case "consumer-regex":
      return record.value === null
        ? `${groupId} /${record.regex}/ gone`
        : `${groupId} /${record.regex}/ is ${[...record.value.topics].sort().join(",") || "nothing"}`;
  }
}

/** Ids of test topics begin with their name. */
export function assignmentText(assignment: Assignment): string {
  const texts = Array.from(
    assignment,
    ([topicId, partitions]) => `${topicName(topicId)}[${partitions.join(",")}]`,
  ).sort();
  return texts.join(" ") || "nothing";
}

function topicName(topicId: string): string {
  return Buffer.from(topicId, "base64url").toString().split("~")[0] ?? "";
}
