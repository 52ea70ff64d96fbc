import type { Logger } from "@millrace/base/logger";
import type { Clock, Timer } from "@millrace/base/world";
import type { Result } from "@millrace/base/result";
import { fenceBroker } from "../metadata/controller/brokers.ts";
import type { Decision, DecisionContext, ItemResult } from "../metadata/controller/decision.ts";
import { electMissingLeaders, rebalanceLeaders } from "../metadata/controller/elect-leaders.ts";
import { foundFeatures } from "../metadata/controller/features.ts";
import { BrokerSessions, heartbeat } from "../metadata/controller/heartbeats.ts";
import type { HeartbeatAnswer, HeartbeatRequest } from "../metadata/controller/heartbeats.ts";
import { raiseInternalTopics } from "../metadata/controller/internal-topics.ts";
import { registerBroker } from "../metadata/controller/registration.ts";
import type { BrokerRegistration, RegisteredBroker } from "../metadata/controller/registration.ts";
import { servedFeatures } from "../metadata/features.ts";
import type { DecisionFailure, MetadataService } from "../metadata/metadata.ts";

export interface ControllerOptions {
  readonly metadata: MetadataService;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** This node is the whole cluster: nobody is waited for, and nobody is missed. */
  readonly isAlone: boolean;
  /** Whether its process is gone for certain. */
  isBrokerGone(brokerId: number): Promise<boolean>;
}

/** Between two looks at who is silent. */
const lookMs = 100;
/** Between two looks at partitions that nobody leads, and at internal topics with too few replicas. */
const careMs = 5_000;

type Outcome<T> = Promise<Result<ItemResult<T>, DecisionFailure>>;

/**
 * What a node does while it is the active controller, beside deciding what it is asked to: it knows which brokers live,
 * fences those that do not, and looks after partitions without a leader, preferred leaders and internal topics.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #sessions = new BrokerSessions();
  /** By the connection that its last heartbeat came by. */
  readonly #brokerOf = new Map<string, number>();
  /** Brokers that there is a sign of being gone from: it is looked after them until they are heard of, or are gone. */
  readonly #suspects = new Set<number>();
  /** Brokers whose processes are gone. */
  readonly #gone = new Set<number>();
  #isActive = false;
  #isClosed = false;
  #isLooking = false;
  #look: Timer | null = null;
  #nextCareMs = 0;
  #nextRebalanceMs = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
    if (options.isAlone) return;
    options.metadata.onRole(({ isActive }) => this.#roleChanged(isActive));
    this.#roleChanged(options.metadata.quorum.isActive);
  }

  decide<T>(decide: (context: DecisionContext) => Decision<T>): Promise<Result<T, DecisionFailure>> {
    return this.#options.metadata.decide(decide);
  }

  async registerBroker(registration: BrokerRegistration): Outcome<RegisteredBroker> {
    const { isAlone, clusterId, clock } = this.#options;
    // Whoever holds a directory holds its lock: the process that had it before is gone, whatever its session says.
    const before = this.#options.metadata.image.brokers.get(registration.id);
    const holdsItsDirectory = before?.directoryIds.some((id) => registration.directoryIds?.includes(id)) ?? false;
    const isAlive = (id: number): boolean => !isAlone && !holdsItsDirectory && this.#isAlive(id);
    const decided = await this.decide((context) =>
      registerBroker(context, registration, { clusterId, isAlive, isUnfencedAtOnce: isAlone }),
    );
    if (decided.ok && decided.value.ok) {
      this.#gone.delete(registration.id);
      this.#suspects.delete(registration.id);
      this.#sessions.touch(registration.id, clock.monotonicMs(), -1);
    }
    return decided;
  }

  /** @param connectionId by which it came: one that breaks is a sign that the broker is gone. */
  async heartbeat(request: HeartbeatRequest, connectionId: string): Outcome<HeartbeatAnswer> {
    const { metadata, clock } = this.#options;
    const { brokerId, brokerEpoch, currentMetadataOffset } = request;
    if (metadata.image.brokers.get(brokerId)?.epoch === brokerEpoch) {
      // Before its turn comes: a slow disk must not look like a silent broker.
      this.#sessions.touch(brokerId, clock.monotonicMs(), currentMetadataOffset);
      this.#gone.delete(brokerId);
      this.#suspects.delete(brokerId);
      this.#brokerOf.set(connectionId, brokerId);
    }
    const decided = await this.decide((context) => heartbeat(context, this.#sessions, request));
    if (decided.ok && decided.value.ok && decided.value.value.shouldShutDown) this.#sessions.forget(brokerId);
    return decided;
  }

  /** A connection to this node broke: most often the process of whoever it was is gone, and then nobody listens there. */
  connectionLost(connectionId: string): void {
    const brokerId = this.#brokerOf.get(connectionId);
    if (brokerId === undefined) return;
    this.#brokerOf.delete(connectionId);
    this.#suspect(brokerId);
  }

  /** A process that is being killed may still listen for a moment. */
  #suspect(brokerId: number): void {
    this.#suspects.add(brokerId);
    void this.#probe(brokerId);
  }

  async #probe(brokerId: number): Promise<void> {
    const isGone = await this.#options.isBrokerGone(brokerId);
    if (isGone && this.#suspects.has(brokerId)) this.brokerGone(brokerId);
  }

  /** A broker's process is gone, so that its session need not be waited for. */
  brokerGone(brokerId: number): void {
    if (!this.#isActive || this.#options.metadata.image.brokers.get(brokerId)?.isFenced !== false) return;
    this.#gone.add(brokerId);
    this.#lookNow();
  }

  close(): void {
    this.#isClosed = true;
    this.#look?.cancel();
  }

  get #sessionMs(): number {
    return this.#options.metadata.configs.broker["broker.session.timeout.ms"];
  }

  #isAlive(brokerId: number): boolean {
    if (this.#gone.has(brokerId)) return false;
    const nowMs = this.#options.clock.monotonicMs();
    return this.#sessions.isAlive(brokerId, nowMs, this.#sessionMs);
  }

  #roleChanged(isActive: boolean): void {
    if (isActive === this.#isActive) return;
    const { metadata, clock, logger } = this.#options;
    this.#isActive = isActive;
    this.#look?.cancel();
    this.#brokerOf.clear();
    this.#gone.clear();
    this.#suspects.clear();
    if (!isActive) return;
    logger.info("this node is the active controller", { epoch: metadata.quorum.role.term });
    const nowMs = clock.monotonicMs();
    this.#sessions.reset(metadata.image, nowMs);
    this.#nextCareMs = nowMs;
    // Whoever died with the controller before this one would be given a whole session.
    for (const { id, isFenced } of metadata.image.brokers.values()) if (!isFenced) this.#suspect(id);
    this.#nextRebalanceMs = nowMs + this.#rebalanceMs;
    // A cluster that has just been founded.
    if (metadata.image.features.size === 0) void this.decide((context) => foundFeatures(context, servedFeatures));
    this.#scheduleLook();
  }

  #scheduleLook(): void {
    this.#look = this.#options.clock.schedule(lookMs, () => {
      if (this.#isClosed || !this.#isActive) return;
      this.#scheduleLook();
      for (const brokerId of this.#suspects) void this.#probe(brokerId);
      this.#lookNow();
    });
  }

  #lookNow(): void {
    if (this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    void this.#lookAround().finally(() => {
      this.#isLooking = false;
    });
  }

  get #rebalanceMs(): number {
    return this.#options.metadata.configs.broker["leader.imbalance.check.interval.seconds"] * 1000;
  }

  async #lookAround(): Promise<void> {
    const { metadata, clock, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    const silent = new Set(this.#sessions.expired(metadata.image, nowMs, this.#sessionMs));
    for (const brokerId of this.#gone) silent.add(brokerId);
    for (const brokerId of silent) {
      // It may have been heard of while others were fenced.
      if (this.#isAlive(brokerId)) continue;
      logger.warn("a broker is fenced: it has not been heard of", { brokerId });
      const fenced = await this.decide((context) => fenceBroker(context, brokerId));
      if (!fenced.ok) return;
      this.#sessions.forget(brokerId);
      this.#gone.delete(brokerId);
      this.#suspects.delete(brokerId);
    }
    if (nowMs >= this.#nextCareMs) {
      this.#nextCareMs = nowMs + careMs;
      await this.decide(electMissingLeaders);
      await this.decide(raiseInternalTopics);
    }
    if (nowMs >= this.#nextRebalanceMs && metadata.configs.broker["auto.leader.rebalance.enable"]) {
      this.#nextRebalanceMs = nowMs + this.#rebalanceMs;
      for (let hasMore = true; hasMore;) {
        const decided = await this.decide(rebalanceLeaders);
        hasMore = decided.ok && decided.value.hasMore;
      }
    }
  }
}
