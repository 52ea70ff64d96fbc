import { ok } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import type { BrokerImage, MetadataImage } from "../image.ts";
import type { MetadataRecord } from "../records.ts";
import { beginShutdown, cordonDirectories, fenceBroker, unfenceBroker } from "./brokers.ts";
import { senderOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { isActive, leadsAnything } from "./partition-changes.ts";

interface Session {
  readonly lastContactMs: number;
  /** How far the broker has read the metadata log; -1: it has not said. */
  readonly metadataOffset: number;
}

/**
 * Who lives, as the active controller has heard. Soft state: it is in no log, and a controller that becomes active
 * begins anew and gives everyone a full session, as it cannot know who spoke to the one before.
 */
export class BrokerSessions {
  readonly #sessions = new Map<number, Session>();
  /** Of brokers that lead nothing any more: the metadata offset that the others must have read before they may go. */
  readonly #shutdownOffsets = new Map<number, number>();

  /** A registration or a heartbeat came. */
  touch(brokerId: number, nowMs: number, metadataOffset: number): void {
    this.#sessions.set(brokerId, { lastContactMs: nowMs, metadataOffset });
  }

  /** This controller has become the active one. */
  reset(image: Pick<MetadataImage, "brokers">, nowMs: number): void {
    this.#sessions.clear();
    this.#shutdownOffsets.clear();
    for (const id of image.brokers.keys()) this.touch(id, nowMs, -1);
  }

  isAlive(brokerId: number, nowMs: number, sessionMs: number): boolean {
    const session = this.#sessions.get(brokerId);
    return session !== undefined && nowMs - session.lastContactMs < sessionMs;
  }

  /** Brokers that count as there and have not been heard of for a session, the one that is silent for longest first. */
  expired(image: Pick<MetadataImage, "brokers">, nowMs: number, sessionMs: number): number[] {
    const lastContact = (id: number): number => this.#sessions.get(id)?.lastContactMs ?? -Infinity;
    return [...image.brokers.values()]
      .filter(({ id, isFenced }) => !isFenced && !this.isAlive(id, nowMs, sessionMs))
      .map(({ id }) => id)
      .sort((a, b) => lastContact(a) - lastContact(b));
  }

  /** The broker was fenced or unregistered. */
  forget(brokerId: number): void {
    this.#sessions.delete(brokerId);
    this.#shutdownOffsets.delete(brokerId);
  }

  /**
   * Whether all brokers that may lead have read that `brokerId` leads nothing: until then some of its clients may still
   * be sent to it. The offset is noted when it is first asked for.
   */
  haveOthersCaughtUp(image: Pick<MetadataImage, "brokers" | "offset">, brokerId: number): boolean {
    const shutdownOffset = this.#shutdownOffsets.get(brokerId) ?? image.offset;
    this.#shutdownOffsets.set(brokerId, shutdownOffset);
    const others = [...image.brokers.values()].filter((broker) => isActive(broker) && broker.id !== brokerId);
    return others.every(({ id }) => (this.#sessions.get(id)?.metadataOffset ?? -1) >= shutdownOffset);
  }

  /** The broker comes up, or stays: an earlier shutdown of it is of the past. */
  cancelShutdown(brokerId: number): void {
    this.#shutdownOffsets.delete(brokerId);
  }
}

export interface HeartbeatRequest {
  readonly brokerId: number;
  readonly brokerEpoch: number;
  /** How far the broker has read the metadata log. */
  readonly currentMetadataOffset: number;
  readonly wantFence: boolean;
  readonly wantShutDown: boolean;
  /** Null: as they were. */
  readonly cordonedDirectoryIds?: readonly Uuid[] | null;
}

export interface HeartbeatAnswer {
  /** It has read its own registration. */
  readonly isCaughtUp: boolean;
  readonly isFenced: boolean;
  readonly shouldShutDown: boolean;
}

type NextState = "fenced" | "unfenced" | "shutting-down" | "gone";

/** BrokerHeartbeat (63), of a broker whose session was touched: what it asks for, and what it may (KIP-631). */
export function heartbeat(
  context: DecisionContext,
  sessions: BrokerSessions,
  request: HeartbeatRequest,
): Decision<ItemResult<HeartbeatAnswer>> {
  const sender = senderOf(context.image, request);
  if (!sender.ok) return { response: sender, records: [] };
  const broker = sender.value;
  const next = nextState(context, sessions, broker, request);
  const answer: HeartbeatAnswer = {
    isCaughtUp: request.currentMetadataOffset >= broker.epoch,
    isFenced: next === "fenced" || next === "gone",
    shouldShutDown: next === "gone",
  };
  return { response: ok(answer), records: recordsOf(context, broker, next, request.cordonedDirectoryIds ?? null) };
}

function nextState(
  { image }: DecisionContext,
  sessions: BrokerSessions,
  broker: BrokerImage,
  { wantFence, wantShutDown, currentMetadataOffset }: HeartbeatRequest,
): NextState {
  if (broker.isInControlledShutdown) {
    // It leads nothing since it began to stop, and nobody elects it.
    return sessions.haveOthersCaughtUp(image, broker.id) ? "gone" : "shutting-down";
  }
  sessions.cancelShutdown(broker.id);
  if (broker.isFenced) {
    if (wantShutDown) return "gone";
    return !wantFence && currentMetadataOffset >= broker.epoch ? "unfenced" : "fenced";
  }
  if (wantFence) return wantShutDown ? "gone" : "fenced";
  if (!wantShutDown) return "unfenced";
  return leadsAnything(image, broker.id) ? "shutting-down" : "gone";
}

function recordsOf(
  context: DecisionContext,
  broker: BrokerImage,
  next: NextState,
  cordonedDirectoryIds: readonly Uuid[] | null,
): readonly MetadataRecord[] {
  const { records } = decisionFor(context, broker.id, next);
  if (cordonedDirectoryIds === null) return records;
  const [changed, ...partitions] = records;
  const current = changed?.type === "broker" ? changed : broker;
  const cordoned = cordonDirectories(current, cordonedDirectoryIds);
  return cordoned === null ? records : [cordoned, ...partitions];
}

function decisionFor(context: DecisionContext, brokerId: number, next: NextState): Decision<null> {
  switch (next) {
    case "fenced":
    case "gone":
      return fenceBroker(context, brokerId);
    case "unfenced":
      return unfenceBroker(context, brokerId);
    case "shutting-down":
      return beginShutdown(context, brokerId);
  }
}
