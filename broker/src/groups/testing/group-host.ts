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

/** A record, of nobody's or of a producer's transaction, or the marker that ends one. */
type LogEntry =
  | { readonly record: GroupRecord; readonly producerId: number }
  | { readonly ended: number; readonly outcome: "commit" | "abort" };

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
  readonly #log: LogEntry[] = [];
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

  /** The producer's marker comes into the log. */
  endTransaction(producerId: number, outcome: "commit" | "abort"): void {
    this.#log.push({ ended: producerId, outcome });
    this.trace.push(`log: ${outcome} of producer ${producerId}`);
    this.shard.replayEndTransaction(producerId, outcome);
    this.#replayed = null;
    checkInvariants(this);
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
    const encoded = this.#log.map((entry) => ("record" in entry ? encodeRecord(entry.record) : null));
    const outcomes = this.#outcomes();
    const keyAt = (offset: number): string => Buffer.from(encoded[offset]?.key ?? []).toString("latin1");
    // The cleaner goes no further than the first transaction that is open.
    const firstOpen = outcomes.indexOf("open");
    const cleanedBelow = firstOpen === -1 ? outcomes.length : firstOpen;
    const lastOf = new Map<string, number>();
    for (const [offset, outcome] of outcomes.slice(0, cleanedBelow).entries())
      if (outcome === "counts") lastOf.set(keyAt(offset), offset);
    for (const [offset, entry] of this.#log.entries()) {
      if ("ended" in entry) {
        shard.replayEndTransaction(entry.ended, entry.outcome);
        continue;
      }
      const { key, value } = encoded[offset] ?? { key: new Uint8Array(), value: null };
      // Of each key the last record that counts stays, a tombstone only for a while, and what is not decided yet.
      const isSuperseded = value === null || (lastOf.get(keyAt(offset)) ?? offset) > offset;
      const isGone = outcomes[offset] === "aborted" || (outcomes[offset] === "counts" && isSuperseded);
      if (isCompacted && isGone && offset < cleanedBelow) continue;
      const decoded = decodeRecord(key, value);
      assert(decoded !== null, "what was written is known");
      shard.replay(decoded, { offset, producerId: entry.producerId });
    }
    return shard;
  }

  /** Of each entry of the log what has become of it: outside of transactions a record counts at once. */
  #outcomes(): readonly ("counts" | "aborted" | "open" | "marker")[] {
    const ends = new Map<number, "commit" | "abort">();
    const outcomes: ("counts" | "aborted" | "open" | "marker")[] = [];
    for (let offset = this.#log.length - 1; offset >= 0; offset--) {
      const entry = this.#log[offset];
      if (entry === undefined) continue;
      if ("ended" in entry) {
        ends.set(entry.ended, entry.outcome);
        outcomes[offset] = "marker";
      } else if (entry.producerId === -1) outcomes[offset] = "counts";
      else {
        const end = ends.get(entry.producerId);
        outcomes[offset] = end === undefined ? "open" : end === "commit" ? "counts" : "aborted";
      }
    }
    return outcomes;
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
    const producerId = decision.producer?.producerId ?? -1;
    for (const record of decision.records) {
      this.trace.push(`log: ${recordText(record)}${producerId === -1 ? "" : ` by producer ${producerId}`}`);
      this.shard.replay(record, { offset: this.#log.length, producerId });
      this.#log.push({ record, producerId });
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
