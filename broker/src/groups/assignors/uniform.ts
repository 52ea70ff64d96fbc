import { compareTexts, isAlike, unlessChanged } from "./assignment.ts";
import { balancedCounts } from "@millrace/base/balanced-counts";
import type { Subscriptions } from "@millrace/base/balanced-counts";
import type { Assignment, Assignor, AssignorMember, AssignorTopic } from "./types.ts";

/**
 * Members have as many partitions as each other, and a partition moves only where that needs it.
 *
 * Where all subscribe alike the numbers differ by one at most, and the fewest partitions move that this allows. Where they
 * do not, the numbers are as equal as subscriptions allow, by moves of single partitions and by chains of moves; of all
 * assignments that are as equal, one with the fewest moves is taken. balance.ts has the limit of that.
 */
export const uniformAssignor: Assignor = { name: "uniform", assign };

function assign(
  members: readonly AssignorMember[],
  topics: ReadonlyMap<string, AssignorTopic>,
): ReadonlyMap<string, Assignment> {
  const first = members[0];
  if (first === undefined) return new Map();
  const sorted = members.toSorted((left, right) => compareTexts(left.memberId, right.memberId));
  const shares = sorted.map((member) => new Share(member));
  const free = keepCurrent(shares, topics);
  if (sorted.every(({ topicIds }) => isAlike(topicIds, first.topicIds))) balanceAlike(shares, free);
  else balanceUnlike(shares, free);
  return new Map(shares.map((share) => [share.member.memberId, share.toAssignment()]));
}

/** What one member keeps of its present assignment, and what it is given. */
class Share {
  readonly member: AssignorMember;
  /** By topic, in rising order; the very array of the present assignment where all of it is kept. */
  readonly kept: Map<string, readonly number[]> = new Map();
  readonly #given = new Map<string, number[]>();
  size = 0;

  constructor(member: AssignorMember) {
    this.member = member;
  }

  keep(topicId: string, partitions: readonly number[]): void {
    this.kept.set(topicId, partitions);
    this.size += partitions.length;
  }

  /** Gives up its last partitions of a topic, and answers them. */
  shed(topicId: string, count: number): readonly number[] {
    const partitions = this.kept.get(topicId) ?? [];
    const remaining = partitions.length - count;
    if (remaining === 0) this.kept.delete(topicId);
    else this.kept.set(topicId, partitions.slice(0, remaining));
    this.size -= count;
    return partitions.slice(remaining);
  }

  give(topicId: string, partition: number): void {
    const partitions = this.#given.get(topicId);
    if (partitions === undefined) this.#given.set(topicId, [partition]);
    else partitions.push(partition);
    this.size++;
  }

  toAssignment(): Assignment {
    const next = new Map(this.kept);
    for (const [topicId, given] of this.#given) {
      const partitions = [...(this.kept.get(topicId) ?? []), ...given];
      next.set(
        topicId,
        partitions.sort((left, right) => left - right),
      );
    }
    return unlessChanged(this.member, next);
  }
}

/** By topic id, in order of ids: partitions, in rising order, that nobody has. */
type FreePartitions = Map<string, readonly number[]>;

/** Everybody keeps what it may have at all. Of two that have the same partition the first keeps it. */
function keepCurrent(shares: readonly Share[], topics: ReadonlyMap<string, AssignorTopic>): FreePartitions {
  const takenByTopic = new Map<string, Uint8Array>();
  let previous: ReadonlySet<string> | null = null;
  for (const { member } of shares) {
    // Those who subscribe alike mostly share the set, and follow each other.
    if (member.topicIds === previous) continue;
    previous = member.topicIds;
    for (const topicId of member.topicIds) {
      const topic = takenByTopic.has(topicId) ? undefined : topics.get(topicId);
      if (topic !== undefined) takenByTopic.set(topicId, new Uint8Array(topic.partitionCount));
    }
  }
  for (const share of shares) {
    for (const [topicId, partitions] of share.member.current) {
      const taken = takenByTopic.get(topicId);
      if (taken === undefined || !share.member.topicIds.has(topicId)) continue;
      const kept = partitions.filter((partition) => {
        const isFree = taken[partition] === 0;
        if (isFree) taken[partition] = 1;
        return isFree;
      });
      if (kept.length > 0) share.keep(topicId, kept.length === partitions.length ? partitions : kept);
    }
  }
  return new Map(
    [...takenByTopic]
      .map(([topicId, taken]): readonly [string, readonly number[]] => [topicId, indexesOfZero(taken)])
      .sort(([left], [right]) => compareTexts(left, right)),
  );
}

function indexesOfZero(flags: Uint8Array): readonly number[] {
  const indexes: number[] = [];
  for (let index = flags.indexOf(0); index >= 0; index = flags.indexOf(0, index + 1)) indexes.push(index);
  return indexes;
}

/** The larger shares go to those who have most already: nobody gives up a partition for the sake of who is called first. */
function balanceAlike(shares: readonly Share[], free: FreePartitions): void {
  const total = shares.reduce((sum, { size }) => sum + size, 0) + sumOf([...free.values()].map(({ length }) => length));
  const quota = Math.floor(total / shares.length);
  const largerCount = total % shares.length;
  const byId = new Map<string, number[]>([...free].map(([topicId, partitions]) => [topicId, [...partitions]]));
  const short: { readonly share: Share; readonly quota: number }[] = [];
  // Stable, so that the order of ids decides between equals.
  for (const [index, share] of shares.toSorted((left, right) => right.size - left.size).entries()) {
    const own = index < largerCount ? quota + 1 : quota;
    for (const topicId of [...share.kept.keys()].sort(compareTexts).reverse()) {
      if (share.size <= own) break;
      const count = Math.min(share.size - own, share.kept.get(topicId)?.length ?? 0);
      byId.get(topicId)?.push(...share.shed(topicId, count));
    }
    if (share.size < own) short.push({ share, quota: own });
  }
  deal(byId, short);
}

/** Like cards, so that the partitions of one topic, which may be the busy one, go to many. */
function deal(
  partitionsByTopic: ReadonlyMap<string, number[]>,
  short: readonly { readonly share: Share; readonly quota: number }[],
): void {
  let hands = short;
  let turn = 0;
  for (const [topicId, partitions] of partitionsByTopic) {
    for (const partition of partitions.sort((left, right) => left - right)) {
      if (turn >= hands.length) {
        hands = hands.filter(({ share, quota }) => share.size < quota);
        turn = 0;
      }
      hands[turn++]?.share.give(topicId, partition);
    }
  }
}

/** How many of each topic each member has is decided first; which ones, and that it is these, follows from it. */
function balanceUnlike(shares: readonly Share[], free: FreePartitions): void {
  const topicIds = [...free.keys()];
  const subscriptions = subscriptionsOf(shares, free);
  const counts = balancedCounts(subscriptions);
  const wanting = topicIds.map(() => [] as { readonly share: Share; count: number }[]);
  const pools = topicIds.map((topicId) => [...(free.get(topicId) ?? [])]);
  for (const [edge, count] of counts.entries()) {
    const share = shares[subscriptions.memberOf[edge] as number];
    const topic = subscriptions.topicOf[edge] as number;
    const difference = count - (subscriptions.kept[edge] as number);
    if (share === undefined || difference === 0) continue;
    if (difference > 0) wanting[topic]?.push({ share, count: difference });
    else pools[topic]?.push(...share.shed(topicIds[topic] ?? "", -difference));
  }
  for (const [topic, pool] of pools.entries()) {
    let hands = wanting[topic] ?? [];
    let turn = 0;
    for (const partition of pool.sort((left, right) => left - right)) {
      if (turn >= hands.length) {
        hands = hands.filter(({ count }) => count > 0);
        turn = 0;
      }
      const hand = hands[turn++];
      if (hand === undefined) continue;
      hand.count--;
      hand.share.give(topicIds[topic] ?? "", partition);
    }
  }
}

function subscriptionsOf(shares: readonly Share[], free: FreePartitions): Subscriptions {
  const topicIds = [...free.keys()];
  const indexes = new Map(topicIds.map((topicId, index) => [topicId, index]));
  const memberOf: number[] = [];
  const topicOf: number[] = [];
  const kept: number[] = [];
  const topicsOfSet = new Map<ReadonlySet<string>, readonly number[]>();
  for (const [index, { member, kept: keptByTopic }] of shares.entries()) {
    let topics = topicsOfSet.get(member.topicIds);
    if (topics === undefined) {
      topics = [...member.topicIds]
        .flatMap((topicId) => indexes.get(topicId) ?? [])
        .sort((left, right) => left - right);
      topicsOfSet.set(member.topicIds, topics);
    }
    for (const topic of topics) {
      memberOf.push(index);
      topicOf.push(topic);
      kept.push(keptByTopic.get(topicIds[topic] ?? "")?.length ?? 0);
    }
  }
  return {
    memberCount: shares.length,
    topicCount: free.size,
    memberOf: Int32Array.from(memberOf),
    topicOf: Int32Array.from(topicOf),
    kept: Int32Array.from(kept),
    free: Int32Array.from([...free.values()].map(({ length }) => length)),
  };
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0);
}
