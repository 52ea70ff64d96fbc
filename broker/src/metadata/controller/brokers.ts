import type { Uuid } from "@millrace/storage/types";
import type { BrokerEndpoint, MetadataRecord } from "../records.ts";
import type { Decision, DecisionContext } from "./decision.ts";

export interface BrokerRegistration {
  readonly id: number;
  /** New with each start of the process. */
  readonly incarnationId: Uuid;
  readonly rack: string | null;
  readonly endpoints: readonly BrokerEndpoint[];
}

/**
 * A broker comes up; its epoch is the offset of its registration. It leads again what it led before, each partition
 * under a new leader epoch: a crash of the machine may have taken records that were not synced, and readers must be
 * able to tell the records that take their offsets from those that were there (KIP-101).
 */
export function registerBroker(
  { image }: DecisionContext,
  registration: BrokerRegistration,
): Decision<{ readonly brokerEpoch: number }> {
  const brokerEpoch = image.offset + 1;
  const records: MetadataRecord[] = [{ type: "broker", ...registration, epoch: brokerEpoch, isFenced: false }];
  for (const { id: topicId, partitions } of image.topics()) {
    for (const { index, isr, leader, leaderEpoch, partitionEpoch } of partitions) {
      const leads = leader === registration.id || (leader === -1 && isr.includes(registration.id));
      if (!leads) continue;
      records.push({
        type: "partition-change",
        topicId,
        index,
        isr,
        leader: registration.id,
        leaderEpoch: leaderEpoch + 1,
        partitionEpoch: partitionEpoch + 1,
      });
    }
  }
  return { response: { brokerEpoch }, records };
}
