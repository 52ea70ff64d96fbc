import { assert } from "@millrace/base/assert";
import { failed, ok } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import { isSameList } from "../image-difference.ts";
import type { BrokerImage } from "../image.ts";
import type { BrokerRecord, MetadataRecord } from "../records.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { changesAt, isActive, withoutBroker } from "./partition-changes.ts";
import { registerBroker as register } from "./registration.ts";
import type { BrokerRegistration, RegisteredBroker } from "./registration.ts";

export type { BrokerRegistration } from "./registration.ts";

/** The start of a broker that is a cluster by itself: it is registered and unfenced in one write to the log. */
export function registerBroker(context: DecisionContext, registration: BrokerRegistration): Decision<RegisteredBroker> {
  const { response, records } = register(context, registration, { isAlive: () => false, isUnfencedAtOnce: true });
  assert(response.ok, () => `the only broker registers: ${response.ok ? "" : (response.message ?? response.failure)}`);
  return { response: response.value, records };
}

/**
 * A broker's session is over, or it asked for it: it leads nothing and is in no ISR in which others remain. The last
 * one in sync stays, as it alone has everything; with eligible leader replicas it is one of those (KIP-966).
 */
export function fenceBroker(context: DecisionContext, brokerId: number): Decision<null> {
  const broker = context.image.brokers.get(brokerId);
  if (broker === undefined || broker.isFenced) return { response: null, records: [] };
  const changed: BrokerRecord = { ...broker, type: "broker", isFenced: true, isInControlledShutdown: false };
  return { response: null, records: [changed, ...withoutBroker(context, brokerId)] };
}

/** A broker lives and has read its own registration: it may lead, and partitions without a leader that it can lead get it. */
export function unfenceBroker(context: DecisionContext, brokerId: number): Decision<null> {
  const broker = context.image.brokers.get(brokerId);
  if (broker?.isFenced !== true) return { response: null, records: [] };
  const changed: BrokerRecord = { ...broker, type: "broker", isFenced: false, isInControlledShutdown: false };
  const mayLead = (id: number): boolean => id === brokerId || isActive(context.image.brokers.get(id));
  const changes = changesAt(context, brokerId, ({ leader }) => (leader === -1 ? { mayLead } : null));
  return { response: null, records: [changed, ...changes] };
}

/** A broker wants to stop: others take over what it leads while it still answers. It is done when it leads nothing. */
export function beginShutdown(context: DecisionContext, brokerId: number): Decision<null> {
  const broker = context.image.brokers.get(brokerId);
  if (broker === undefined || !isActive(broker)) return { response: null, records: [] };
  const changed: BrokerRecord = { ...broker, type: "broker", isInControlledShutdown: true };
  return { response: null, records: [changed, ...withoutBroker(context, brokerId)] };
}

/** `kafka-cluster unregister`: a broker that will not come back. Its replicas stay where they are, to be moved. */
export function unregisterBroker(context: DecisionContext, brokerId: number): Decision<ItemResult<null>> {
  const broker = context.image.brokers.get(brokerId);
  if (broker === undefined) {
    const refused = failed("broker-not-registered" as const, `Broker ID ${brokerId} is not currently registered`);
    return { response: refused, records: [] };
  }
  const removed: MetadataRecord = { type: "broker-removed", id: brokerId, epoch: broker.epoch };
  return { response: ok(null), records: [removed, ...withoutBroker(context, brokerId)] };
}

/** What a broker tells with its heartbeats, beside that it lives: which of its directories take nothing new (KIP-1066). */
export function cordonDirectories(broker: BrokerImage, cordonedDirectoryIds: readonly Uuid[]): BrokerRecord | null {
  if (isSameList(broker.cordonedDirectoryIds, cordonedDirectoryIds)) return null;
  return { ...broker, type: "broker", cordonedDirectoryIds };
}
