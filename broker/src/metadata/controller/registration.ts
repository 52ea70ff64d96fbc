import { failed, ok } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import { isSameBroker } from "../image-difference.ts";
import type { BrokerImage, MetadataImage } from "../image.ts";
import type { BrokerEndpoint, BrokerRecord, FeatureRange, PartitionChangeRecord } from "../records.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { changesAt, isActive, keepsEligibleLeaders, withoutBroker } from "./partition-changes.ts";

export interface BrokerRegistration {
  readonly id: number;
  /** New with each start of the process. */
  readonly incarnationId: Uuid;
  readonly rack: string | null;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly directoryIds?: readonly Uuid[];
  readonly cordonedDirectoryIds?: readonly Uuid[];
  /** What its version can serve; without it the broker is of the version that decides. */
  readonly features?: readonly FeatureRange[];
  /** Of the cluster that its directories belong to. */
  readonly clusterId?: string;
  /**
   * The epoch of its last life, if it still has every record that it had acknowledged then: it stopped cleanly, or what
   * it acknowledged was synced before. -1 or nothing: records may be missing (KIP-966).
   */
  readonly previousBrokerEpoch?: number;
}

export interface RegisteredBroker {
  readonly brokerEpoch: number;
}

export interface RegistrationOptions {
  /** Of this cluster; without it clusters are not compared. */
  readonly clusterId?: string;
  /** Whether the broker that is registered under this id has a session. */
  isAlive(brokerId: number): boolean;
  /** For a broker that is the whole cluster: nobody has to hear of it first. Otherwise it comes up fenced. */
  readonly isUnfencedAtOnce?: boolean;
}

/**
 * A broker comes up; its epoch is the offset of its registration (KIP-631). The same process again has the same epoch;
 * another one under its id is refused while the first one lives.
 *
 * A broker that comes back before its session is over is not who it was: a crash of the machine may have taken records
 * that were not synced. So it loses what it led, as if it had been fenced in between, and leads again only under a new
 * leader epoch: readers must be able to tell the records that take their offsets from those that were there (KIP-101).
 */
export function registerBroker(
  context: DecisionContext,
  registration: BrokerRegistration,
  options: RegistrationOptions,
): Decision<ItemResult<RegisteredBroker>> {
  const { image } = context;
  const accepted = checkRegistration(image, registration, options);
  if (!accepted.ok) return { response: accepted, records: [] };
  const before = image.brokers.get(registration.id);
  const { isUnfencedAtOnce = false } = options;
  if (before?.incarnationId === registration.incarnationId) {
    const again = brokerRecord(registration, before);
    return { response: ok({ brokerEpoch: before.epoch }), records: isSameBroker(before, again) ? [] : [again] };
  }
  const brokerEpoch = image.offset + 1;
  const state = { epoch: brokerEpoch, isFenced: !isUnfencedAtOnce, isInControlledShutdown: false };
  const changes = isUnfencedAtOnce ? ledAgain(context, registration.id) : withoutEarlierLife(context, registration);
  return { response: ok({ brokerEpoch }), records: [brokerRecord(registration, state), ...changes] };
}

function checkRegistration(
  image: MetadataImage,
  { id, incarnationId, clusterId, features }: BrokerRegistration,
  options: RegistrationOptions,
): ItemResult<null> {
  if (options.clusterId !== undefined && clusterId !== options.clusterId) {
    const ids = `Expected cluster ID ${options.clusterId}, but got cluster ID ${clusterId}`;
    return failed("inconsistent-cluster-id", ids);
  }
  const before = image.brokers.get(id);
  if (before !== undefined && before.incarnationId !== incarnationId && isActive(before) && options.isAlive(id)) {
    return failed(
      "duplicate-broker-registration",
      "Another broker is registered with that broker id. If the broker was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.",
    );
  }
  if (features === undefined) return ok(null);
  for (const [name, level] of image.features) {
    const { minVersion, maxVersion } = features.find((each) => each.name === name) ?? { minVersion: 0, maxVersion: 0 };
    if (level < minVersion || level > maxVersion) {
      return failed(
        "unsupported-version",
        `Unable to register because the broker does not support finalized version ${level} of ${name}. The broker wants a version between ${minVersion} and ${maxVersion}, inclusive.`,
      );
    }
  }
  return ok(null);
}

function brokerRecord(
  registration: BrokerRegistration,
  { epoch, isFenced, isInControlledShutdown }: Pick<BrokerImage, "epoch" | "isFenced" | "isInControlledShutdown">,
): BrokerRecord {
  const { id, incarnationId, rack, endpoints } = registration;
  const { directoryIds = [], cordonedDirectoryIds = [], features = [] } = registration;
  return {
    type: "broker",
    id,
    epoch,
    incarnationId,
    rack,
    endpoints,
    isFenced,
    isInControlledShutdown,
    directoryIds,
    cordonedDirectoryIds,
    features,
  };
}

/** It leads what it led, and what nobody else can lead, each partition under a new leader epoch. */
function ledAgain(context: DecisionContext, id: number): PartitionChangeRecord[] {
  const mayLead = (broker: number): boolean => broker === id || isActive(context.image.brokers.get(broker));
  return changesAt(context, id, ({ leader }) => {
    if (leader === id) return { mayLead, isLeaderNew: true };
    return leader === -1 ? { mayLead } : null;
  });
}

function withoutEarlierLife(
  context: DecisionContext,
  { id, previousBrokerEpoch = -1 }: BrokerRegistration,
): PartitionChangeRecord[] {
  const { image } = context;
  const before = image.brokers.get(id);
  const hasAllRecords = before !== undefined && previousBrokerEpoch === before.epoch;
  if (!keepsEligibleLeaders(image) || hasAllRecords) return withoutBroker(context, id);
  const mayLead = (broker: number): boolean => broker !== id && isActive(image.brokers.get(broker));
  return changesAt(context, id, ({ isr, elr, leader }) => {
    if (!isr.includes(id) && !elr.includes(id) && leader !== id) return null;
    return { isr: isr.filter((each) => each !== id), lossyBroker: id, mayLead };
  });
}
