import type { TopicPartition } from "../../topic-partition.ts";

/** What the leader of a classic group knows of one member: what the member wrote into its JoinGroup. */
export interface AssignorMember {
  /** Another one after each restart, unless it is a static member. */
  readonly memberId: string;
  /** Of a static member (KIP-345). */
  readonly instanceId: string | null;
  /** What it subscribes to. */
  readonly topics: readonly string[];
  /** The bytes that the member's own assignor of this name gave; null where it gave none. */
  readonly userData: Buffer | null;
  /** What it says that it has. Members of the eager protocol give everything up before they join, and say nothing. */
  readonly owned: readonly TopicPartition[];
  /** In which generation it was given that; -1 where it does not say. */
  readonly generation: number;
  /** Where it says that it is; else null. */
  readonly rack: string | null;
}

/** What the leader knows of one topic that somebody subscribes to. */
export interface AssignorTopic {
  /** Its partitions are 0 to one less. */
  readonly partitionCount: number;
  /** By partition: the racks on which its replicas are. Absent where brokers have no racks. */
  readonly racks?: readonly (readonly string[])[];
}

/** What a member has after a rebalance, and says of it in the next one. */
export interface LastAssignment {
  /** Empty before the first one. */
  readonly partitions: readonly TopicPartition[];
  /** -1 before the first one. */
  readonly generation: number;
}

/** By member id: every member is in it, those that are given nothing, too. */
export type Assignments = ReadonlyMap<string, readonly TopicPartition[]>;

/**
 * How a classic group shares out its partitions: the members that have one in common let their leader use it. To write
 * another one, implement this and give it to the consumer among its `assignors`, in all members.
 *
 *     const everythingToTheFirst: Assignor = {
 *       name: "first",
 *       protocol: "eager",
 *       assign: (members, topics) => ...,
 *     };
 */
export interface Assignor {
  /** What members call it among each other: those of the same name must give the same results. */
  readonly name: string;
  /**
   * Cooperative: members keep reading while they join, and give up only what the result takes from them (KIP-429). A member
   * does so as long as the group agrees on such a one.
   */
  readonly protocol: "eager" | "cooperative";
  /** What the leader is told of this member besides its subscription. */
  userData?(last: LastAssignment): Uint8Array | null;
  /**
   * Pure: the same members and topics, in whatever order, give the same result. A topic that does not exist is not in
   * `topics`. The result of a cooperative assignor gives nobody what somebody else still has: `withheld` sees to that.
   */
  assign(members: readonly AssignorMember[], topics: ReadonlyMap<string, AssignorTopic>): Assignments;
}

/** An assignor that needs to ask somebody first: the group waits for it, up to its rebalance timeout. */
export interface AsyncAssignor extends Omit<Assignor, "assign"> {
  assign(members: readonly AssignorMember[], topics: ReadonlyMap<string, AssignorTopic>): Promise<Assignments>;
}

/** Static members first, by instance id: a restart gives them new member ids, and moves nothing. */
export function sortedMembers(members: readonly AssignorMember[]): readonly AssignorMember[] {
  return members.toSorted(({ instanceId: a, memberId: left }, { instanceId: b, memberId: right }) => {
    if (a !== null && b !== null && a !== b) return compareTexts(a, b);
    if ((a === null) !== (b === null)) return a === null ? 1 : -1;
    return compareTexts(left, right);
  });
}

/** The order of Java's String: by UTF-16 units, whatever the language. */
export function compareTexts(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

export function comparePartitions(left: TopicPartition, right: TopicPartition): number {
  return compareTexts(left.topic, right.topic) || left.partition - right.partition;
}

/** Subscribers of each topic that exists, in the order of `members`; topics in their order. */
export function subscribersByTopic(
  members: readonly AssignorMember[],
  topics: ReadonlyMap<string, AssignorTopic>,
): ReadonlyMap<string, readonly AssignorMember[]> {
  const found = new Map<string, AssignorMember[]>();
  for (const member of members) {
    for (const topic of new Set(member.topics)) {
      const subscribers = found.get(topic);
      if (subscribers !== undefined) subscribers.push(member);
      else if (topics.has(topic)) found.set(topic, [member]);
    }
  }
  return new Map([...found].sort(([left], [right]) => compareTexts(left, right)));
}
