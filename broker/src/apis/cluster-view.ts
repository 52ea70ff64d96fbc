import { ErrorCode } from "kafka-protocol-ts/errors";
import { memberOf } from "../quorum/node-ids.ts";
import type { MetadataImage, PartitionImage, TopicImage } from "../metadata/image.ts";
import type { Services } from "../services.ts";
import type { RequestContext } from "./handler.ts";

/** What an answer about a topic or the cluster says of rights when nobody asked. */
export const operationsNotAsked: number = -(2 ** 31);

/*
 * Without an authorizer everything is allowed. The bits are Kafka's numbers of operations: read 3, write 4, create 5,
 * delete 6, alter 7, describe 8, cluster action 9, describe configs 10, alter configs 11, idempotent write 12.
 */
export const allTopicOperations: number = bits([3, 4, 5, 6, 7, 8, 10, 11]);
export const allClusterOperations: number = bits([5, 7, 8, 9, 10, 11, 12]);

function bits(operations: readonly number[]): number {
  return operations.reduce((field, operation) => field | (1 << operation), 0);
}

export interface ReachableBroker {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
  readonly isFenced: boolean;
}

/** Brokers that a client of this listener can connect to. */
export function reachableBrokers(
  { metadata, identity }: Services,
  { connection }: RequestContext,
  options: { readonly includesFenced: boolean },
): ReachableBroker[] {
  const reachable: ReachableBroker[] = [];
  for (const { id, rack, endpoints, isFenced } of metadata.image.brokers.values()) {
    if (isFenced && !options.includesFenced) continue;
    // A port that the system chose is known to this broker before the metadata has it.
    const address =
      id === identity.nodeId
        ? identity.advertised.get(connection.listenerName)
        : endpoints.find(({ listener }) => listener === connection.listenerName);
    if (address !== undefined) reachable.push({ id, host: address.host, port: address.port, rack, isFenced });
  }
  return reachable;
}

/**
 * Which broker clients shall bring their administration to: the active controller, where that is a broker that lives, too. Any other
 * one takes it there, as this one does.
 */
export function controllerIdOf({ metadata, identity }: Services): number {
  const { leader } = metadata.quorum.role;
  const nodeId = leader === null ? identity.nodeId : memberOf(leader).nodeId;
  return metadata.image.brokers.get(nodeId)?.isFenced === false ? nodeId : identity.nodeId;
}

/** A partition as clients see it. */
export interface PartitionView {
  readonly errorCode: ErrorCode;
  readonly partitionIndex: number;
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly replicaNodes: readonly number[];
  readonly isrNodes: readonly number[];
  readonly offlineReplicas: readonly number[];
}

/**
 * A replica whose log is offline counts as it does in Kafka: it leads no more, and is not in sync. A leader that this listener's clients
 * cannot reach is none for them (KIP-103).
 */
export function viewPartition(
  { brokers }: MetadataImage,
  partition: PartitionImage,
  {
    isOfflineAt = () => false,
    listenerName,
  }: { readonly isOfflineAt?: (brokerId: number) => boolean; readonly listenerName?: string } = {},
): PartitionView {
  const hasListener = (id: number): boolean =>
    listenerName === undefined || brokers.get(id)?.endpoints.some(({ listener }) => listener === listenerName) === true;
  const lives = (id: number): boolean => brokers.get(id)?.isFenced === false && !isOfflineAt(id);
  const isAlive = (id: number): boolean => lives(id) && hasListener(id);
  const hasLeader = isAlive(partition.leader);
  const fault = lives(partition.leader) ? ErrorCode.LISTENER_NOT_FOUND : ErrorCode.LEADER_NOT_AVAILABLE;
  return {
    errorCode: hasLeader ? ErrorCode.NONE : fault,
    partitionIndex: partition.index,
    leaderId: hasLeader ? partition.leader : -1,
    leaderEpoch: partition.leaderEpoch,
    replicaNodes: partition.replicas,
    isrNodes: partition.isr.filter((id) => !isOfflineAt(id)),
    offlineReplicas: partition.replicas.filter((id) => !isAlive(id)),
  };
}

export function viewPartitions(
  { metadata, partitions, identity }: Services,
  topic: TopicImage,
  { connection: { listenerName } }: Pick<RequestContext, "connection">,
  { from = 0, to = topic.partitions.length }: { readonly from?: number; readonly to?: number } = {},
): PartitionView[] {
  return topic.partitions.slice(from, to).map((partition) =>
    viewPartition(metadata.image, partition, {
      listenerName,
      isOfflineAt: (id) => id === identity.nodeId && partitions.isOffline(topic.id, partition.index),
    }),
  );
}
