import type { Assignment } from "../assignors/types.ts";
import { hasRegex, isReconciledTo, newMember, nothingOwned } from "./member.ts";
import type { ConsumerMember, Owned } from "./member.ts";
import type { ConsumerRecord } from "./records.ts";

export type ConsumerGroupState = "Empty" | "Assigning" | "Reconciling" | "Stable";

/** The topics that a regular expression matched when it was last resolved. */
export interface ResolvedRegex {
  readonly topics: ReadonlySet<string>;
  /** Of the metadata that it was resolved from; it is told apart by it, and no more. */
  readonly version: number;
  readonly timestampMs: number;
}

/** A group begins with this epoch, and has a target assignment of it: an empty one. */
const FIRST_EPOCH = 1;

const noPartitions: Assignment = new Map();

/** How a group looks to who decides about it. */
export interface ConsumerGroupView {
  readonly groupId: string;
  readonly groupEpoch: number;
  readonly metadataHash: number;
  readonly assignmentEpoch: number;
  readonly assignmentTimestampMs: number;
  readonly memberCount: number;
  member(memberId: string): ConsumerMember | null;
  members(): Iterable<ConsumerMember>;
  /** Who an instance id is at present. */
  staticMember(instanceId: string): ConsumerMember | null;
  target(memberId: string): Assignment;
  /** The member that has the partition, or has not yet said that it gave it up. */
  ownerOf(topicId: string, partition: number): string | null;
  resolved(regex: string): ResolvedRegex | null;
  regexes(): Iterable<string>;
}

/**
 * A group of the consumer protocol (KIP-848). All of it is hard state: `replay` is the only change, and the same for live
 * requests, start-up and failover. What is counted or looked up beside the records is kept up by the way.
 */
export class ConsumerGroup implements ConsumerGroupView {
  readonly type = "consumer";
  readonly groupId: string;
  #groupEpoch: number = FIRST_EPOCH;
  #metadataHash = 0;
  #assignmentEpoch: number = FIRST_EPOCH;
  #assignmentTimestampMs = 0;
  readonly #members = new Map<string, ConsumerMember>();
  readonly #staticMembers = new Map<string, string>();
  readonly #targets = new Map<string, Assignment>();
  /** By topic id and partition: who has it. */
  readonly #owners = new Map<string, Map<number, string>>();
  readonly #resolved = new Map<string, ResolvedRegex>();
  /** How many members subscribe to a topic by its name, and to a regular expression. */
  readonly #nameCounts = new Map<string, number>();
  readonly #regexCounts = new Map<string, number>();
  /** Soft: classic members that were told to join again, and have a deadline for it. */
  readonly awaitedJoins: Set<string> = new Set();

  constructor(groupId: string) {
    this.groupId = groupId;
  }

  get groupEpoch(): number {
    return this.#groupEpoch;
  }

  get metadataHash(): number {
    return this.#metadataHash;
  }

  get assignmentEpoch(): number {
    return this.#assignmentEpoch;
  }

  get assignmentTimestampMs(): number {
    return this.#assignmentTimestampMs;
  }

  get memberCount(): number {
    return this.#members.size;
  }

  member(memberId: string): ConsumerMember | null {
    return this.#members.get(memberId) ?? null;
  }

  members(): Iterable<ConsumerMember> {
    return this.#members.values();
  }

  staticMember(instanceId: string): ConsumerMember | null {
    const memberId = this.#staticMembers.get(instanceId);
    return memberId === undefined ? null : this.member(memberId);
  }

  target(memberId: string): Assignment {
    return this.#targets.get(memberId) ?? noPartitions;
  }

  ownerOf(topicId: string, partition: number): string | null {
    return this.#owners.get(topicId)?.get(partition) ?? null;
  }

  resolved(regex: string): ResolvedRegex | null {
    return this.#resolved.get(regex) ?? null;
  }

  /** Those that have been resolved. */
  regexes(): Iterable<string> {
    return this.#resolved.keys();
  }

  get nameCounts(): ReadonlyMap<string, number> {
    return this.#nameCounts;
  }

  get regexCounts(): ReadonlyMap<string, number> {
    return this.#regexCounts;
  }

  /** Whether some member reads the topic, by its name or by a regular expression. */
  isSubscribed(topic: string): boolean {
    if (this.#nameCounts.has(topic)) return true;
    for (const { topics } of this.#resolved.values()) if (topics.has(topic)) return true;
    return false;
  }

  get state(): ConsumerGroupState {
    if (this.#members.size === 0) return "Empty";
    if (this.groupEpoch > this.assignmentEpoch) return "Assigning";
    for (const member of this.#members.values()) {
      if (!isReconciledTo(member, this.assignmentEpoch)) return "Reconciling";
    }
    return "Stable";
  }

  /** The tombstone of the group itself is the shard's business: it forgets the group. */
  replay(record: ConsumerRecord): void {
    switch (record.kind) {
      case "consumer-group":
        if (record.value === null) return;
        this.#groupEpoch = record.value.epoch;
        this.#metadataHash = record.value.metadataHash;
        return;
      case "consumer-member":
        if (record.value === null) this.#remove(record.memberId);
        else this.#put({ ...this.#findOrNew(record.memberId), ...record.value });
        return;
      case "consumer-current":
        if (record.value !== null) this.#put({ ...this.#findOrNew(record.memberId), ...record.value });
        else this.#forgetAssignment(record.memberId);
        return;
      case "consumer-target":
        if (record.value === null) this.#targets.delete(record.memberId);
        else this.#targets.set(record.memberId, record.value);
        return;
      case "consumer-target-epoch":
        this.#assignmentEpoch = record.value?.epoch ?? FIRST_EPOCH;
        this.#assignmentTimestampMs = record.value?.timestampMs ?? 0;
        return;
      case "consumer-regex":
        if (record.value === null) this.#resolved.delete(record.regex);
        else this.#resolved.set(record.regex, record.value);
        return;
      case "consumer-partition-metadata":
        return;
    }
  }

  /** A compacted log may have what a member has before what it says of itself. */
  #findOrNew(memberId: string): ConsumerMember {
    return this.#members.get(memberId) ?? newMember(memberId);
  }

  #put(member: ConsumerMember): void {
    const { memberId } = member;
    const old = this.#members.get(memberId);
    if (old !== undefined) {
      this.#uncount(old);
      this.#disown(memberId, old);
    }
    this.#members.set(memberId, member);
    if (member.instanceId !== null) this.#staticMembers.set(member.instanceId, memberId);
    for (const name of member.topicNames) count(this.#nameCounts, name, 1);
    if (hasRegex(member)) count(this.#regexCounts, member.topicRegex, 1);
    for (const owned of [member.assigned, member.pendingRevocation]) this.#own(memberId, owned);
  }

  #forgetAssignment(memberId: string): void {
    const member = this.#members.get(memberId);
    if (member === undefined) return;
    this.#put({
      ...member,
      memberEpoch: -1,
      previousMemberEpoch: -1,
      state: "stable",
      assigned: nothingOwned,
      pendingRevocation: nothingOwned,
    });
  }

  #remove(memberId: string): void {
    const member = this.#members.get(memberId);
    if (member === undefined) return;
    this.#uncount(member);
    this.#disown(memberId, member);
    this.#members.delete(memberId);
    this.awaitedJoins.delete(memberId);
    // A static member that was replaced leaves its instance id to its successor.
    if (member.instanceId !== null && this.#staticMembers.get(member.instanceId) === memberId)
      this.#staticMembers.delete(member.instanceId);
  }

  #uncount(member: ConsumerMember): void {
    for (const name of member.topicNames) count(this.#nameCounts, name, -1);
    if (hasRegex(member)) count(this.#regexCounts, member.topicRegex, -1);
  }

  #own(memberId: string, owned: Owned): void {
    for (const [topicId, partitions] of owned) {
      let owners = this.#owners.get(topicId);
      if (owners === undefined) this.#owners.set(topicId, (owners = new Map()));
      for (const partition of partitions.keys()) owners.set(partition, memberId);
    }
  }

  #disown(memberId: string, { assigned, pendingRevocation }: ConsumerMember): void {
    for (const owned of [assigned, pendingRevocation]) {
      for (const [topicId, partitions] of owned) {
        const owners = this.#owners.get(topicId);
        if (owners === undefined) continue;
        for (const partition of partitions.keys()) if (owners.get(partition) === memberId) owners.delete(partition);
        if (owners.size === 0) this.#owners.delete(topicId);
      }
    }
  }
}

function count(counts: Map<string, number>, key: string, by: number): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}
