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
  /** By group: whose transactions hold offsets of it. Requests of a group that has none ask here, however many are open. */
  readonly #producersOf = new Map<string, Set<number>>();

  /** The groups that have any, committed or pending. */
  *groupIds(): Iterable<string> {
    yield* this.#committed.keys();
    yield* this.#producersOf.keys();
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
    return this.#producersOf.has(groupId);
  }

  isPending(groupId: string, topic: string, partition: number): boolean {
    for (const producerId of this.#producersOf.get(groupId) ?? [])
      if (this.#pending.get(producerId)?.get(groupId)?.get(topic)?.has(partition) === true) return true;
    return false;
  }

  *pendingOf(
    groupId: string,
  ): Iterable<{ readonly topic: string; readonly partition: number; readonly producerId: number }> {
    for (const producerId of this.#producersOf.get(groupId) ?? []) {
      for (const [topic, byPartition] of this.#pending.get(producerId)?.get(groupId) ?? []) {
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
    const producers = this.#producersOf.get(place.groupId);
    if (producers === undefined) this.#producersOf.set(place.groupId, new Set([producerId]));
    else producers.add(producerId);
  }

  #forget(groupId: string, producerId: number): void {
    const producers = this.#producersOf.get(groupId);
    producers?.delete(producerId);
    if (producers?.size === 0) this.#producersOf.delete(groupId);
  }

  /** A tombstone ends what is committed and what is pending. */
  remove(place: OffsetPlace): void {
    remove(this.#committed, place);
    for (const producerId of [...(this.#producersOf.get(place.groupId) ?? [])]) {
      const byGroup = this.#pending.get(producerId);
      if (byGroup === undefined) continue;
      remove(byGroup, place);
      if (!byGroup.has(place.groupId)) this.#forget(place.groupId, producerId);
      if (byGroup.size === 0) this.#pending.delete(producerId);
    }
  }

  /** The later record wins, whichever way it came into the log. Gives the groups that were touched. */
  endTransaction(producerId: number, outcome: "commit" | "abort"): readonly string[] {
    const byGroup = this.#pending.get(producerId);
    if (byGroup === undefined) return [];
    this.#pending.delete(producerId);
    for (const groupId of byGroup.keys()) this.#forget(groupId, producerId);
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
