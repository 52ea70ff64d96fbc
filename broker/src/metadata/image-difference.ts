import type { Uuid } from "@millrace/storage/types";
import { ResourceType } from "../config/resources.ts";
import type { BrokerImage, MetadataDelta, MetadataImage, PartitionImage, TopicImage } from "./image.ts";
import type { BrokerEndpoint } from "./records.ts";

/** What changed from one image to another, as the records between them would have told it. */
export function differenceOf(before: MetadataImage, after: MetadataImage): MetadataDelta {
  const deletedTopics = [...before.topics()].filter(({ id }) => after.topicById(id) === undefined);
  const changedTopics = [...after.topics()].filter((topic) => {
    const was = before.topicById(topic.id);
    return was === undefined || !isSameTopic(was, topic);
  });
  const changed = new Set<Uuid>(changedTopics.map(({ id }) => id));
  const isReconfigured = (type: ResourceType, name: string): boolean =>
    !areSameConfigs(before.configsOf(type, name), after.configsOf(type, name));
  const reconfiguredTopics = [...after.topics()]
    .filter(({ id, name }) => !changed.has(id) && isReconfigured(ResourceType.TOPIC, name))
    .map(({ name }) => name);
  const brokersWithConfigs = new Set([
    ...before.configuredResources(ResourceType.BROKER),
    ...after.configuredResources(ResourceType.BROKER),
  ]);
  const brokers = new Set([...before.brokers.keys(), ...after.brokers.keys()]);
  return {
    deletedTopics,
    changedTopics,
    reconfiguredTopics,
    isBrokerReconfigured: [...brokersWithConfigs].some((name) => isReconfigured(ResourceType.BROKER, name)),
    changedBrokers: [...brokers].filter((id) => !isSameBroker(before.brokers.get(id), after.brokers.get(id))),
  };
}

function isSameTopic(a: TopicImage, b: TopicImage): boolean {
  if (a === b) return true;
  if (a.partitions.length !== b.partitions.length) return false;
  return a.partitions.every((partition, index) => {
    const other = b.partitions[index];
    return other !== undefined && isSamePartition(partition, other);
  });
}

export function isSamePartition(a: PartitionImage, b: PartitionImage): boolean {
  return (
    a.leader === b.leader &&
    a.leaderEpoch === b.leaderEpoch &&
    a.partitionEpoch === b.partitionEpoch &&
    isSameList(a.replicas, b.replicas) &&
    isSameList(a.isr, b.isr) &&
    isSameList(a.addingReplicas, b.addingReplicas) &&
    isSameList(a.removingReplicas, b.removingReplicas) &&
    isSameList(a.elr, b.elr) &&
    isSameList(a.lastKnownElr, b.lastKnownElr)
  );
}

export function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}

function areSameConfigs(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([name, value]) => b.get(name) === value);
}

/** Whether nothing differs in what is known of a broker; a broker that is not there is like none. */
export function isSameBroker(a: BrokerImage | undefined, b: BrokerImage | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.id === b.id &&
    a.epoch === b.epoch &&
    a.incarnationId === b.incarnationId &&
    a.rack === b.rack &&
    a.isFenced === b.isFenced &&
    a.isInControlledShutdown === b.isInControlledShutdown &&
    isSameList(a.directoryIds, b.directoryIds) &&
    isSameList(a.cordonedDirectoryIds, b.cordonedDirectoryIds) &&
    areSameEndpoints(a.endpoints, b.endpoints) &&
    isSameList(a.features.map(featureText), b.features.map(featureText))
  );
}

export function areSameEndpoints(a: readonly BrokerEndpoint[], b: readonly BrokerEndpoint[]): boolean {
  return isSameList(a.map(endpointText), b.map(endpointText));
}

function endpointText({ listener, host, port }: BrokerEndpoint): string {
  return `${listener}://${host}:${port}`;
}

function featureText({ name, minVersion, maxVersion }: BrokerImage["features"][number]): string {
  return `${name} ${minVersion}-${maxVersion}`;
}
