import type { Assignments, AssignorMember, AssignorTopic, AsyncAssignor } from "../consumer/assignors/assignor.ts";
import type { Wire } from "../network/wire.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { AssignerProtocol } from "./assigner-protocol.ts";
import type { Assigner, AssignerCluster, GroupMember, PartitionAssigner } from "./assigner-types.ts";
import type { Logger } from "./logger.ts";
import type { PartitionMetadata } from "./message-types.ts";
import { partitionMetadataOf } from "./sending.ts";

/**
 * Partition after partition, topic after topic, to one member after the other in the order of their ids. Members that use
 * KafkaJS itself share out the same way under the same name, so that both can be in a group at once.
 */
const roundRobin: PartitionAssigner = ({ cluster }: { readonly cluster: AssignerCluster }): Assigner => ({
  name: "RoundRobinAssigner",
  version: 0,
  async assign({ members, topics }) {
    const memberIds = members.map(({ memberId }) => memberId).sort();
    const all = topics.flatMap((topic) =>
      cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => ({ topic, partitionId })),
    );
    return memberIds.map((memberId, at) => {
      const assignment: { [topic: string]: number[] } = {};
      for (const { topic, partitionId } of all.filter((_, index) => index % memberIds.length === at))
        (assignment[topic] ??= []).push(partitionId);
      const memberAssignment = AssignerProtocol.MemberAssignment.encode({
        version: 0,
        assignment,
        userData: Buffer.alloc(0),
      });
      return { memberId, memberAssignment };
    });
  },
  protocol({ topics }) {
    const metadata = AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) });
    return { name: "RoundRobinAssigner", metadata };
  },
});

/** How members share out partitions; the same results as those of KafkaJS under the same names. */
export const PartitionAssigners: { readonly roundRobin: PartitionAssigner } = { roundRobin };

/** An assigner of KafkaJS as the group membership of this client uses it. */
export function assignorOf(
  create: PartitionAssigner,
  context: {
    readonly groupId: string;
    readonly logger: Logger;
    readonly wire: Wire;
    /** What this member reads. */
    readonly topics: readonly string[];
  },
): AsyncAssignor {
  const cluster = new KnownCluster(context.wire);
  const { groupId, logger } = context;
  const topics = [...context.topics];
  const assigner = create({ cluster, groupId, logger });
  return {
    name: assigner.name,
    protocol: "eager",
    userData: () => AssignerProtocol.MemberMetadata.decode(assigner.protocol({ topics }).metadata)?.userData ?? null,
    assign: async (members, known) => {
      cluster.topics = known;
      const assigned = await assigner.assign({ members: members.map(asGroupMember), topics });
      const partitions = new Map(
        assigned.map(({ memberId, memberAssignment }) => [memberId, partitionsOf(memberAssignment)]),
      );
      return new Map(members.map(({ memberId }) => [memberId, partitions.get(memberId) ?? []])) satisfies Assignments;
    },
  };
}

function asGroupMember({ memberId, topics, userData }: AssignorMember): GroupMember {
  const about = { version: 0, topics: [...topics], userData: userData ?? Buffer.alloc(0) };
  return { memberId, memberMetadata: AssignerProtocol.MemberMetadata.encode(about) };
}

function partitionsOf(memberAssignment: Buffer): readonly TopicPartition[] {
  const { assignment = {} } = AssignerProtocol.MemberAssignment.decode(memberAssignment) ?? {};
  return Object.entries(assignment).flatMap(([topic, partitions]) =>
    partitions.map((partition) => ({ topic, partition })),
  );
}

/** What is known of the topics when partitions are shared out. */
class KnownCluster implements AssignerCluster {
  readonly #wire: Wire;
  topics: ReadonlyMap<string, AssignorTopic> = new Map();

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  findTopicPartitionMetadata(topic: string): PartitionMetadata[] {
    const found = this.#wire.metadata.topic(topic);
    const count = this.topics.get(topic)?.partitionCount ?? found?.partitions.length ?? 0;
    const known = found === null ? [] : partitionMetadataOf(found);
    return Array.from({ length: count }, (_, partitionId) => known[partitionId] ?? unknownPartition(partitionId));
  }

  findLeaderForPartitions(topic: string, partitions: number[]): { [leader: string]: number[] } {
    const byLeader: { [leader: string]: number[] } = {};
    for (const { partitionId, leader } of this.findTopicPartitionMetadata(topic))
      if (partitions.includes(partitionId)) (byLeader[leader] ??= []).push(partitionId);
    return byLeader;
  }

  getNodeIds(): number[] {
    return [...this.#wire.metadata.brokers.keys()];
  }

  isConnected(): boolean {
    return !this.#wire.closed.aborted;
  }
}

function unknownPartition(partitionId: number): PartitionMetadata {
  return { partitionErrorCode: 0, partitionId, leader: -1, replicas: [], isr: [], offlineReplicas: [] };
}
