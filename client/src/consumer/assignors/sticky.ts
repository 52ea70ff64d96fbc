import { must } from "@millrace/base/assert";
import { balancedCounts } from "@millrace/base/balanced-counts";
import { partitionKey } from "../../topic-partition.ts";
import type { TopicPartition } from "../../topic-partition.ts";
import { comparePartitions, sortedMembers, subscribersByTopic } from "./assignor.ts";
import type { Assignments, Assignor, AssignorMember, AssignorTopic, LastAssignment } from "./assignor.ts";
import { cooperativeUserData, readCooperativeUserData, readStickyUserData, stickyUserData } from "./user-data.ts";

/**
 * As equal numbers as subscriptions allow, with as few moves as that needs. Members give everything up before they join,
 * and say in their user data what they had. Java's "sticky".
 */
export const sticky: Assignor = {
  name: "sticky",
  protocol: "eager",
  // Java's says nothing before its first assignment, either.
  userData: (last) => (last.generation < 0 ? null : stickyUserData(last)),
  assign: (members, topics) => assign(members.map(fromUserData), topics),
};

/**
 * The same numbers, and members go on reading while they join. A partition that moves is given to nobody at first; who
 * has it gives it up and joins again, and in that second rebalance it is free. Java's "cooperative-sticky".
 */
export const cooperativeSticky: Assignor = {
  name: "cooperative-sticky",
  protocol: "cooperative",
  userData: cooperativeUserData,
  assign: (members, topics) => {
    const known = members.map(withGeneration);
    return withheld(known, assign(known, topics));
  },
};

/**
 * Without what somebody else still has: the last that was given it, or, where two say so of the same generation, either.
 * Every cooperative assignment must be so, or two members would read one partition.
 */
export function withheld(members: readonly AssignorMember[], assignments: Assignments): Assignments {
  const holders = holdersOf(members);
  return new Map(
    Array.from(assignments, ([memberId, partitions]): [string, readonly TopicPartition[]] => [
      memberId,
      partitions.filter((partition) => {
        const holder = holders.get(partitionKey(partition));
        return holder === undefined || holder.memberId === memberId;
      }),
    ]),
  );
}

interface Holder {
  /** Null where two say that they were given it in the same generation: then nobody keeps it. */
  memberId: string | null;
  generation: number;
}

function holdersOf(members: readonly AssignorMember[]): ReadonlyMap<string, Holder> {
  const holders = new Map<string, Holder>();
  for (const { memberId, owned, generation } of members) {
    for (const partition of owned) {
      const key = partitionKey(partition);
      const holder = holders.get(key);
      if (holder === undefined || generation > holder.generation) holders.set(key, { memberId, generation });
      else if (generation === holder.generation && holder.memberId !== memberId) holder.memberId = null;
    }
  }
  return holders;
}

function fromUserData(member: AssignorMember): AssignorMember {
  const told: LastAssignment | null = member.userData === null ? null : readStickyUserData(member.userData);
  return { ...member, owned: told?.partitions ?? [], generation: told?.generation ?? -1 };
}

function withGeneration(member: AssignorMember): AssignorMember {
  const { generation, userData } = member;
  if (generation >= 0 || userData === null) return member;
  return { ...member, generation: readCooperativeUserData(userData) };
}

// --- Numbers, and then which ones -----------------------------------------------------------------------------------------

function assign(members: readonly AssignorMember[], topics: ReadonlyMap<string, AssignorTopic>): Assignments {
  const sorted = sortedMembers(members);
  const hands = new Map<string, TopicPartition[]>(sorted.map(({ memberId }) => [memberId, []]));
  const pools = poolsOf(sorted, topics);
  const counts = countsOf(sorted.length, pools);
  for (const [index, pool] of pools.entries()) {
    const free = [...pool.free];
    const wanting: { readonly hand: TopicPartition[]; left: number }[] = [];
    for (const [place, member] of pool.subscribers.entries()) {
      const hand = must(hands.get(must(sorted[member], "a member").memberId), "its hand");
      const kept = pool.kept[place] ?? [];
      const count = counts[index]?.[place] ?? 0;
      hand.push(...kept.slice(0, count));
      free.push(...kept.slice(count));
      if (count > kept.length) wanting.push({ hand, left: count - kept.length });
    }
    deal(free.sort(comparePartitions), wanting);
  }
  return hands;
}

/** By pool and subscriber: how many partitions it is to have. */
function countsOf(memberCount: number, pools: readonly Pool[]): readonly (readonly number[])[] {
  const edges = pools
    .flatMap(({ subscribers, kept }, pool) =>
      subscribers.map((member, place) => ({ member, pool, place, kept: kept[place]?.length ?? 0 })),
    )
    .sort((left, right) => left.member - right.member || left.pool - right.pool);
  const found = balancedCounts({
    memberCount,
    topicCount: pools.length,
    memberOf: Int32Array.from(edges, ({ member }) => member),
    topicOf: Int32Array.from(edges, ({ pool }) => pool),
    kept: Int32Array.from(edges, ({ kept }) => kept),
    free: Int32Array.from(pools, ({ free }) => free.length),
  });
  const counts = pools.map(({ subscribers }) => subscribers.map(() => 0));
  for (const [edge, { pool, place }] of edges.entries()) must(counts[pool], "a pool")[place] = found[edge] ?? 0;
  return counts;
}

/** Like cards, so that the partitions of one topic, which may be the busy one, go to many. */
function deal(
  partitions: readonly TopicPartition[],
  wanting: readonly { readonly hand: TopicPartition[]; left: number }[],
): void {
  let hands = wanting;
  let turn = 0;
  for (const partition of partitions) {
    if (turn >= hands.length) {
      hands = hands.filter(({ left }) => left > 0);
      turn = 0;
    }
    const next = must(hands[turn++], "a member that wants a partition");
    next.hand.push(partition);
    next.left--;
  }
}

/** Topics whose subscribers are the same count as one: which of their partitions goes where does not change the numbers. */
interface Pool {
  /** Members by number, in rising order. */
  readonly subscribers: readonly number[];
  /** What each of them keeps if nothing moves. */
  readonly kept: readonly (readonly TopicPartition[])[];
  /** What nobody has. */
  readonly free: readonly TopicPartition[];
}

function poolsOf(sorted: readonly AssignorMember[], topics: ReadonlyMap<string, AssignorTopic>): readonly Pool[] {
  const numbers = new Map(sorted.map(({ memberId }, index) => [memberId, index]));
  const holders = holdersOf(sorted);
  const byTopic = Array.from(subscribersByTopic(sorted, topics), ([topic, members]) => ({
    topic,
    subscribers: members.map(({ memberId }) => must(numbers.get(memberId), memberId)),
  }));
  const pools = Map.groupBy(byTopic, ({ subscribers }) => subscribers.join());
  return Array.from(pools.values(), (alike) => {
    const subscribers = alike[0]?.subscribers ?? [];
    const places = new Map(subscribers.map((member, place) => [member, place]));
    const kept = subscribers.map(() => [] as TopicPartition[]);
    const free: TopicPartition[] = [];
    for (const { topic } of alike) {
      const count = topics.get(topic)?.partitionCount ?? 0;
      for (let partition = 0; partition < count; partition++) {
        const holder = holders.get(partitionKey({ topic, partition }))?.memberId ?? null;
        const place = holder === null ? undefined : places.get(numbers.get(holder) ?? -1);
        const pile = place === undefined ? free : (kept[place] ?? free);
        pile.push({ topic, partition });
      }
    }
    return { subscribers, kept, free };
  });
}
