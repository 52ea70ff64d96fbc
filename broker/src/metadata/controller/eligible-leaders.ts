import { failed, ok } from "@millrace/base/result";
import { allBrokers, ResourceType } from "../../config/resources.ts";
import type { TopicImage } from "../image.ts";
import type { ConfigRecord, PartitionChangeRecord } from "../records.ts";
import type { DecisionContext, ItemResult } from "./decision.ts";
import { keepsEligibleLeaders, minInSync } from "./partition-changes.ts";

const key = "min.insync.replicas";

/** With eligible leader replicas all brokers have one min.insync.replicas, and the log says which (KIP-966). */
export function checkMinInSync(
  { image }: Pick<DecisionContext, "image">,
  { resourceType, resourceName, name, value }: ConfigRecord,
): ItemResult<null> {
  if (resourceType !== ResourceType.BROKER || name !== key || !keepsEligibleLeaders(image)) return ok(null);
  if (resourceName !== allBrokers) {
    return failed("invalid-config", `Broker-level ${key} cannot be altered while ELR is enabled.`);
  }
  if (value !== null) return ok(null);
  return failed("invalid-config", `Cluster-level ${key} cannot be removed while ELR is enabled.`);
}

/**
 * Replicas are eligible because nothing is committed while fewer than min.insync.replicas are in sync. Where the number
 * goes down, the replicas that are in sync may be enough from here on, and then the others begin to lack records.
 */
export function withoutVoidEligibility(
  context: DecisionContext,
  changes: readonly ConfigRecord[],
): PartitionChangeRecord[] {
  const relevant = changes.filter(({ name }) => name === key);
  if (relevant.length === 0 || !keepsEligibleLeaders(context.image)) return [];
  const ofCluster = relevant.find(({ resourceType }) => resourceType === ResourceType.BROKER)?.value ?? null;
  const ofTopics = new Map(
    relevant
      .filter(({ resourceType }) => resourceType === ResourceType.TOPIC)
      .map(({ resourceName, value }) => [resourceName, value]),
  );
  const topics = ofCluster === null ? [...ofTopics.keys()] : [...context.image.topics()].map(({ name }) => name);
  return topics.flatMap((name) => {
    const topic = context.image.topic(name);
    if (topic === undefined) return [];
    const overrides = new Map(context.image.configsOf(ResourceType.TOPIC, name));
    const own = ofTopics.has(name) ? (ofTopics.get(name) ?? null) : (overrides.get(key) ?? null);
    overrides.delete(key);
    const inherited = ofCluster ?? String(context.configs.topicWith(overrides)[key]);
    return voidAt(topic, Number(own ?? inherited));
  });
}

/** Nobody is eligible any more but members of an ISR; where an ISR is empty, somebody has to lead first. */
export function withoutEligibleLeaders({ image }: Pick<DecisionContext, "image">): PartitionChangeRecord[] {
  return [...image.topics()].flatMap((topic) => voidAt(topic, 1));
}

function voidAt({ id, partitions }: TopicImage, configured: number): PartitionChangeRecord[] {
  return partitions
    .filter(({ elr, isr, replicas }) => elr.length > 0 && isr.length >= minInSync(configured, replicas))
    .map((partition) => ({
      ...partition,
      type: "partition-change",
      topicId: id,
      replicas: null,
      partitionEpoch: partition.partitionEpoch + 1,
      elr: [],
      lastKnownElr: [],
    }));
}

/**
 * With eligible leader replicas all brokers have one `min.insync.replicas`, and the log says which: a controller that
 * believed in a smaller number than a partition's leader would take replicas for eligible that lack records (KIP-966).
 */
export function oneMinInSync({ image, configs }: DecisionContext): ConfigRecord[] {
  const records: ConfigRecord[] = [];
  const type = ResourceType.BROKER;
  for (const broker of image.configuredResources(type)) {
    if (broker === allBrokers || !image.configsOf(type, broker).has(key)) continue;
    records.push({ type: "config", resourceType: type, resourceName: broker, name: key, value: null });
  }
  if (image.configsOf(type, allBrokers).has(key)) return records;
  const value = String(configs.broker[key]);
  records.push({ type: "config", resourceType: type, resourceName: allBrokers, name: key, value });
  return records;
}
