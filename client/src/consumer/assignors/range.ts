import { must } from "@millrace/base/assert";
import type { TopicPartition } from "../../topic-partition.ts";
import { comparePartitions, sortedMembers, subscribersByTopic } from "./assignor.ts";
import type { Assignments, Assignor, AssignorMember, AssignorTopic } from "./assignor.ts";

/**
 * Of each topic every subscriber has neighbouring partitions, in the order of members; the first ones have one more where
 * they cannot be equal. So topics with equal numbers of partitions are cut alike. Java's "range".
 *
 * Where members name racks on which only a part of the replicas are (KIP-881), a partition goes to a member of a rack of
 * its replicas as long as the numbers stay the same.
 */
export const range: Assignor = { name: "range", protocol: "eager", assign };

function assign(members: readonly AssignorMember[], topics: ReadonlyMap<string, AssignorTopic>): Assignments {
  const assigned = new Map<string, TopicPartition[]>(members.map(({ memberId }) => [memberId, []]));
  const cuts = Array.from(
    subscribersByTopic(sortedMembers(members), topics),
    ([topic, subscribers]) => new Cut(topic, must(topics.get(topic), topic), { subscribers, assigned }),
  );
  const isRackAware = cuts.some((cut) => cut.isRackAware);
  if (isRackAware) matchRacks(cuts);
  for (const cut of cuts) cut.giveRanges(() => true);
  if (isRackAware) for (const partitions of assigned.values()) partitions.sort(comparePartitions);
  return assigned;
}

/** Topics that are cut alike stay so: a partition number goes to a member only where the racks of all of them match. */
function matchRacks(cuts: readonly Cut[]): void {
  for (const alike of Map.groupBy(cuts, (cut) => cut.kind).values()) {
    const [cut] = alike;
    if (cut === undefined) continue;
    if (alike.length === 1) {
      if (cut.isRackAware) cut.giveRanges((member, partition) => cut.matches(member, partition));
      continue;
    }
    const left = new Set(cut.subscribers);
    for (let partition = 0; partition < cut.partitionCount && left.size > 0; partition++) {
      const match = [...left].find((member) =>
        alike.every((each) => each.matches(member, partition) && each.roomOf(member) > 0),
      );
      if (match === undefined) continue;
      for (const each of alike) each.give(match, [partition]);
      if (alike.every((each) => each.roomOf(match) === 0)) left.delete(match);
    }
  }
}

/** One topic that is shared out. */
class Cut {
  readonly subscribers: readonly AssignorMember[];
  readonly partitionCount: number;
  readonly #topic: string;
  readonly #racks: readonly (readonly string[])[] | null;
  readonly #assigned: ReadonlyMap<string, TopicPartition[]>;
  readonly #given = new Map<string, number>();
  readonly #quota: number;
  /** How many members may still have one more than the quota. */
  #largerLeft: number;
  #left: number[];

  constructor(
    topic: string,
    { partitionCount, racks }: AssignorTopic,
    to: { readonly subscribers: readonly AssignorMember[]; readonly assigned: ReadonlyMap<string, TopicPartition[]> },
  ) {
    this.subscribers = to.subscribers;
    this.partitionCount = partitionCount;
    this.#topic = topic;
    this.#racks = racks ?? null;
    this.#assigned = to.assigned;
    this.#quota = Math.floor(partitionCount / to.subscribers.length);
    this.#largerLeft = partitionCount % to.subscribers.length;
    this.#left = Array.from({ length: partitionCount }, (_, partition) => partition);
  }

  /** Equal in topics that are cut alike. */
  get kind(): string {
    return JSON.stringify([this.partitionCount, ...this.subscribers.map(({ memberId }) => memberId)]);
  }

  /** Racks matter where members are on racks of replicas, and not every partition is on every rack anyway. */
  get isRackAware(): boolean {
    if (this.#racks === null) return false;
    const all = new Set(this.#racks.flat());
    const isNear = this.subscribers.some(({ rack }) => rack !== null && rack !== "" && all.has(rack));
    return isNear && this.#racks.some((racks) => new Set(racks).size !== all.size);
  }

  matches({ rack }: AssignorMember, partition: number): boolean {
    return rack === null || rack === "" || this.#racks?.[partition]?.includes(rack) === true;
  }

  roomOf({ memberId }: AssignorMember): number {
    const quota = this.#quota + (this.#largerLeft > 0 ? 1 : 0);
    return Math.max(0, quota - (this.#given.get(memberId) ?? 0));
  }

  giveRanges(mayHave: (member: AssignorMember, partition: number) => boolean): void {
    for (const member of this.subscribers) {
      const partitions = this.#left.filter((partition) => mayHave(member, partition)).slice(0, this.roomOf(member));
      if (partitions.length > 0) this.give(member, partitions);
    }
  }

  give({ memberId }: AssignorMember, partitions: readonly number[]): void {
    const count = (this.#given.get(memberId) ?? 0) + partitions.length;
    this.#given.set(memberId, count);
    if (count > this.#quota) this.#largerLeft--;
    this.#left = this.#left.filter((partition) => !partitions.includes(partition));
    const assigned = this.#assigned.get(memberId);
    for (const partition of partitions) assigned?.push({ topic: this.#topic, partition });
  }
}
