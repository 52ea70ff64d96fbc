import { failed, ok } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import type { MetadataImage, PartitionImage } from "../image.ts";
import type { PartitionChangeRecord } from "../records.ts";
import { senderOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { changeOf, isActive } from "./partition-changes.ts";

/** What the leader of a partition proposes. */
export interface IsrProposal {
  readonly topicId: Uuid;
  readonly partitionIndex: number;
  /** Under which it leads. */
  readonly leaderEpoch: number;
  /** Of the state that the proposal is based on. */
  readonly partitionEpoch: number;
  /** The epoch of a broker is -1 where the leader does not know it (v2). */
  readonly newIsr: readonly { readonly brokerId: number; readonly brokerEpoch: number }[];
}

/** The partition as it is now. */
export interface AlteredPartition {
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly isr: readonly number[];
  readonly partitionEpoch: number;
}

/**
 * AlterPartition (56) v2–v3 (KIP-497, KIP-841, KIP-903): one result for each proposal, in order, or one failure for all
 * where the sender is not the broker that is registered. A move of replicas that has all it needs in sync is ended with
 * it; if that takes the leadership from the sender, it is told NEW_LEADER_ELECTED, and the change is made all the same.
 */
export function alterPartitions(
  context: DecisionContext,
  sender: { readonly brokerId: number; readonly brokerEpoch: number },
  proposals: readonly IsrProposal[],
): Decision<ItemResult<readonly ItemResult<AlteredPartition>[]>> {
  const known = senderOf(context.image, sender);
  if (!known.ok) return { response: known, records: [] };
  const records: PartitionChangeRecord[] = [];
  const seen = new Set<string>();
  const results = proposals.map((proposal): ItemResult<AlteredPartition> => {
    const topic = context.image.topicById(proposal.topicId);
    if (topic === undefined) return failed("unknown-topic-id");
    const partition = topic.partitions[proposal.partitionIndex];
    const checked = checkProposal(context.image, sender.brokerId, partition, proposal);
    if (!checked.ok) return checked;
    const name = `${topic.id} ${proposal.partitionIndex}`;
    if (seen.has(name)) return failed("bad-request");
    seen.add(name);
    const isr = proposal.newIsr.map(({ brokerId }) => brokerId);
    const change = changeOf(context, { topic, partition: checked.value }, { isr });
    if (change === null) return ok(checked.value);
    records.push(change);
    if (change.leader !== sender.brokerId) return failed("new-leader-elected");
    return ok(change);
  });
  return { response: ok(results), records };
}

function checkProposal(
  image: MetadataImage,
  senderId: number,
  partition: PartitionImage | undefined,
  { leaderEpoch, partitionEpoch, newIsr }: IsrProposal,
): ItemResult<PartitionImage> {
  if (partition === undefined) return failed("unknown-topic");
  // The sender has read what this controller has not: another one has taken its place.
  if (leaderEpoch > partition.leaderEpoch || partitionEpoch > partition.partitionEpoch) return failed("not-controller");
  if (leaderEpoch < partition.leaderEpoch) return failed("fenced-leader-epoch");
  if (senderId !== partition.leader) return failed("bad-request");
  if (partitionEpoch < partition.partitionEpoch) return failed("invalid-update-version");
  const ids = new Set(newIsr.map(({ brokerId }) => brokerId));
  const isIsr = ids.size === newIsr.length && [...ids].every((id) => partition.replicas.includes(id));
  if (!isIsr || !ids.has(partition.leader)) return failed("bad-request");
  const isEligible = ({ brokerId, brokerEpoch }: IsrProposal["newIsr"][number]): boolean => {
    const broker = image.brokers.get(brokerId);
    return isActive(broker) && (brokerEpoch === -1 || brokerEpoch === broker?.epoch);
  };
  return newIsr.every(isEligible) ? ok(partition) : failed("ineligible-replica");
}
