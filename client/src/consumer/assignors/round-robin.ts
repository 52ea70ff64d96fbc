import { must } from "@millrace/base/assert";
import type { TopicPartition } from "../../topic-partition.ts";
import { sortedMembers, subscribersByTopic } from "./assignor.ts";
import type { Assignments, Assignor, AssignorMember, AssignorTopic } from "./assignor.ts";

/** All partitions of all topics, dealt like cards to the members in turn; who does not subscribe is passed over. Java's "roundrobin". */
export const roundRobin: Assignor = { name: "roundrobin", protocol: "eager", assign };

function assign(members: readonly AssignorMember[], topics: ReadonlyMap<string, AssignorTopic>): Assignments {
  const sorted = sortedMembers(members);
  const hands = sorted.map((member) => ({
    member,
    topics: new Set(member.topics),
    partitions: [] as TopicPartition[],
  }));
  let turn = 0;
  for (const topic of subscribersByTopic(sorted, topics).keys()) {
    const { partitionCount } = must(topics.get(topic), topic);
    for (let partition = 0; partition < partitionCount; partition++) {
      // Somebody subscribes: the turn comes to it.
      while (hands[turn]?.topics.has(topic) !== true) turn = (turn + 1) % hands.length;
      hands[turn]?.partitions.push({ topic, partition });
      turn = (turn + 1) % hands.length;
    }
  }
  return new Map(hands.map(({ member, partitions }) => [member.memberId, partitions]));
}
