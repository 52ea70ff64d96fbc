import type { OffsetValue } from "./records.ts";

export interface CommittedOffset extends OffsetValue {
  /** Where in the log its record stands: a transaction that is committed late must not undo what was committed since. */
  readonly recordOffset: number;
}

/** What an offset belongs to. */
export interface OffsetPlace {
  readonly groupId: string;
  readonly topic: string;
  readonly partition: number;
}

type ByPartition = Map<number, CommittedOffset>;
type ByTopic = Map<string, ByPartition>;
type ByGroup = Map<string, ByTopic>;

/** The offsets of all groups of a shard. Hard state: only replay changes it. */
export class OffsetStore {
  readonly #committed: ByGroup = new Map();
  /** By producer: offsets in a transaction that has not ended. */
  readonly #pending = new Map<number, ByGroup>();

  /** The groups that have any, committed or pending. */
  *groupIds(): Iterable<string> {
    yield* this.#committed.keys();
    for (const byGroup of this.#pending.values()) yield* byGroup.keys();
  }

  has(groupId: string): boolean {
    return this.#committed.has(groupId) || this.hasPending(groupId);
  }

  get(groupId: string, topic: string, partition: number): CommittedOffset | null {
    return this.#committed.get(groupId)?.get(topic)?.get(partition) ?? null;
  }

  /** Topics and partitions in the order of their first commit. */
  *of(
    groupId: string,
  ): Iterable<{ readonly topic: string; readonly partition: number; readonly committed: CommittedOffset }> {
    for (const [topic, byPartition] of this.#committed.get(groupId) ?? []) {
      for (const [partition, committed] of byPartition) yield { topic, partition, committed };
    }
  }

  hasPending(groupId: string): boolean {
    for (const byGroup of this.#pending.values()) if (byGroup.has(groupId)) return true;
    return false;
  }

  isPending(groupId: string, topic: string, partition: number): boolean {
    for (const byGroup of this.#pending.values())
      if (byGroup.get(groupId)?.get(topic)?.has(partition) === true) return true;
    return false;
  }

  *pendingOf(
    groupId: string,
  ): Iterable<{ readonly topic: string; readonly partition: number; readonly producerId: number }> {
    for (const [producerId, byGroup] of this.#pending) {
      for (const [topic, byPartition] of byGroup.get(groupId) ?? []) {
        for (const partition of byPartition.keys()) yield { topic, partition, producerId };
      }
    }
  }

  put(place: OffsetPlace, committed: CommittedOffset): void {
    put(this.#committed, place, committed);
  }

  putPending(producerId: number, place: OffsetPlace, committed: CommittedOffset): void {
    let byGroup = this.#pending.get(producerId);
    if (byGroup === undefined) this.#pending.set(producerId, (byGroup = new Map()));
    put(byGroup, place, committed);
  }

  /** A tombstone ends what is committed and what is pending. */
  remove(place: OffsetPlace): void {
    remove(this.#committed, place);
    for (const [producerId, byGroup] of this.#pending) {
      remove(byGroup, place);
      if (byGroup.size === 0) this.#pending.delete(producerId);
    }
  }

  /** The later record wins, whichever way it came into the log. Gives the groups that were touched. */
  endTransaction(producerId: number, outcome: "commit" | "abort"): readonly string[] {
    const byGroup = this.#pending.get(producerId);
    if (byGroup === undefined) return [];
    this.#pending.delete(producerId);
    if (outcome === "commit") {
      for (const [groupId, byTopic] of byGroup) {
        for (const [topic, byPartition] of byTopic) {
          for (const [partition, committed] of byPartition) {
            const present = this.get(groupId, topic, partition);
            if (present === null || present.recordOffset < committed.recordOffset) {
              put(this.#committed, { groupId, topic, partition }, committed);
            }
          }
        }
      }
    }
    return [...byGroup.keys()];
  }
}

function put(byGroup: ByGroup, { groupId, topic, partition }: OffsetPlace, committed: CommittedOffset): void {
  let byTopic = byGroup.get(groupId);
  if (byTopic === undefined) byGroup.set(groupId, (byTopic = new Map()));
  let byPartition = byTopic.get(topic);
  if (byPartition === undefined) byTopic.set(topic, (byPartition = new Map()));
  byPartition.set(partition, committed);
}

function remove(byGroup: ByGroup, { groupId, topic, partition }: OffsetPlace): void {
  const byTopic = byGroup.get(groupId);
  const byPartition = byTopic?.get(topic);
  if (byTopic === undefined || byPartition === undefined) return;
  byPartition.delete(partition);
  if (byPartition.size === 0) byTopic.delete(topic);
  if (byTopic.size === 0) byGroup.delete(groupId);
}
