import type { Offset } from "@millrace/storage/types";
import type { Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";

/** Kafka's name of the one way in which we choose. */
export const rackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/**
 * Where a consumer had better read (KIP-392): an in-sync replica of its own rack that has the offset, the one that is furthest. Null: here,
 * since this broker is of that rack, or no other is.
 */
export function preferredReplica(
  { configs, identity, metadata }: Pick<Services, "configs" | "identity" | "metadata">,
  { leadership }: Partition,
  rackId: string,
  offset: Offset,
): number | null {
  if (leadership === null || leadership.isAlone || rackId === "") return null;
  if (configs.broker["replica.selector.class"] !== rackAwareSelector || identity.rack === rackId) return null;
  let preferred: number | null = null;
  let furthest = -1;
  for (const id of leadership.isr) {
    const remote = leadership.remote(id);
    const broker = metadata.image.brokers.get(id);
    if (remote === undefined || broker === undefined || broker.isFenced || broker.rack !== rackId) continue;
    const hasOffset = remote.logStartOffset <= offset && offset <= remote.logEndOffset;
    if (!hasOffset || remote.logEndOffset <= furthest) continue;
    preferred = id;
    furthest = remote.logEndOffset;
  }
  return preferred;
}
