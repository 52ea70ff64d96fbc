import type { Logger } from "@millrace/base/logger";
import type { Clock, Timer } from "@millrace/base/world";
import type { Uuid } from "@millrace/storage/types";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import { brokerRegistration } from "kafka-protocol-ts/messages/62-broker-registration";
import { brokerHeartbeat } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import type { ControllerLink } from "./controller/controller-link.ts";
import { servedFeatures } from "./metadata/features.ts";
import type { BrokerEndpoint } from "./metadata/records.ts";

export interface LifecycleOptions {
  readonly link: Pick<ControllerLink, "request">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: number;
  readonly clusterId: string;
  readonly incarnationId: Uuid;
  readonly rack: string | null;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly directoryIds: readonly Uuid[];
  /** There is no other controller to wait for. */
  readonly isAlone: boolean;
  /** Of the last clean stop; -1: it was none. */
  readonly previousBrokerEpoch: number;
  readonly heartbeatMs: number;
  readonly sessionMs: number;
  /** Before anything is done under this epoch. */
  onRegistered(brokerEpoch: number): Promise<void>;
  /** How far this broker has followed the metadata. */
  metadataOffset(): number;
}

/** The controller does not take this broker, and will not: the message says why. */
export class RegistrationRefused extends Error {
  override readonly name = "RegistrationRefused";
}

const retryMs = 100;
/** Many changes of the metadata are told of by one heartbeat. */
const newsMs = 50;
/** Elections are over by then. A cluster that is stopped as a whole has no controller any more, and its last node nobody to wait for. */
const patienceAtShutdownMs = 3_000;

/**
 * A broker's life as the controller sees it (KIP-631): registered and fenced, unfenced once it has followed the metadata
 * up to its own registration, and shutting down, until all that it led is led by others.
 */
export class BrokerLifecycle {
  readonly #options: LifecycleOptions;
  #brokerEpoch = -1;
  #isFenced = true;
  #wantsShutDown = false;
  /** The controller counts it as gone. */
  #isShutDown = false;
  #isClosed = false;
  #next: Timer | null = null;
  /** The next heartbeat comes sooner than it had to. */
  #isSoon = false;
  #beating: Promise<void> | null = null;
  #whenUnfenced: (() => void)[] = [];
  #whenShutDown: (() => void)[] = [];

  constructor(options: LifecycleOptions) {
    this.#options = options;
  }

  get brokerEpoch(): number {
    return this.#brokerEpoch;
  }
  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** @throws RegistrationRefused */
  async register(): Promise<number> {
    const { link, clock, logger, nodeId, sessionMs, isAlone } = this.#options;
    for (let told = false; !this.#isClosed;) {
      const answered = await link.request(brokerRegistration, this.#registration(), { timeoutMs: sessionMs });
      const errorCode = answered.ok ? answered.value.errorCode : ErrorCode.NOT_CONTROLLER;
      if (answered.ok && errorCode === ErrorCode.NONE) {
        await this.#options.onRegistered(answered.value.brokerEpoch);
        return (this.#brokerEpoch = answered.value.brokerEpoch);
      }
      if (errorCode === ErrorCode.INCONSISTENT_CLUSTER_ID)
        throw new RegistrationRefused(`node.id ${nodeId}: the controllers are those of another cluster`);
      if (isAlone) throw new RegistrationRefused(`node.id ${nodeId} could not be registered: ${errorName(errorCode)}`);
      // The one before it, killed a moment ago, may count as alive until its session is over.
      if (!told) logger.info("the broker is not registered yet", { nodeId, reason: errorName(errorCode) });
      told = true;
      await new Promise<void>((resolve) => clock.schedule(retryMs, resolve, { isAwaited: true }));
    }
    throw new RegistrationRefused("the broker stops");
  }

  /** Settles when this broker may lead. */
  live(): Promise<void> {
    this.#beat();
    if (!this.#isFenced) return Promise.resolve();
    return new Promise((resolve) => this.#whenUnfenced.push(resolve));
  }

  /** Another controller is active, which knows of nobody whether it lives. */
  controllerChanged(): void {
    if (this.#next === null) return;
    this.#next.cancel();
    this.#beat();
  }

  /** This broker has followed the metadata further: whoever shuts down waits for all others to have heard of it. */
  metadataFollowed(): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    // One that is under way tells less; the next one follows it soon.
    if (this.#next === null) return;
    this.#next.cancel();
    this.#next = this.#options.clock.schedule(newsMs, () => this.#beat());
  }

  /** Gives up what this broker leads, for at most `timeoutMs`. Settles when that is led by others. */
  async shutDown(timeoutMs: number): Promise<void> {
    if (this.#brokerEpoch === -1 || this.#isClosed) return;
    const done = new Promise<void>((resolve) => this.#whenShutDown.push(resolve));
    const { clock } = this.#options;
    this.#wantsShutDown = true;
    this.#next?.cancel();
    this.#beat();
    const timeout = clock.schedule(timeoutMs, () => this.#giveUpShutdown("it takes too long"), { isAwaited: true });
    await done;
    timeout.cancel();
  }

  #giveUpShutdown(reason: string): void {
    this.#options.logger.warn("what this broker leads was not taken over", { reason });
    for (const resolve of this.#whenShutDown.splice(0)) resolve();
  }

  /** Does not wait for a heartbeat that is under way: where no controller is known it would be a whole session. */
  close(): void {
    this.#isClosed = true;
    this.#next?.cancel();
    for (const resolve of [...this.#whenShutDown.splice(0), ...this.#whenUnfenced.splice(0)]) resolve();
  }

  #registration() {
    const { nodeId, clusterId, incarnationId, endpoints, rack, directoryIds, previousBrokerEpoch } = this.#options;
    return {
      brokerId: nodeId,
      clusterId,
      incarnationId,
      listeners: endpoints.map(({ listener, host, port }) => ({ name: listener, host, port, securityProtocol: 0 })),
      features: servedFeatures.map(({ name, minVersion, maxVersion }) => ({
        name,
        minSupportedVersion: minVersion,
        maxSupportedVersion: maxVersion,
      })),
      rack,
      logDirs: directoryIds,
      // A process that lives has lost nothing.
      previousBrokerEpoch: this.#brokerEpoch === -1 ? previousBrokerEpoch : this.#brokerEpoch,
    };
  }

  /** One at a time; one that is due while another is under way follows it. */
  #beat(): void {
    if (this.#isClosed || this.#isShutDown || this.#beating !== null) return;
    const asked = this.#wantsShutDown;
    this.#isSoon = false;
    this.#next = null;
    this.#beating = this.#heartbeat(asked).then((pauseMs) => {
      this.#beating = null;
      if (this.#isClosed || this.#isShutDown) return;
      if (asked !== this.#wantsShutDown) this.#beat();
      else this.#next = this.#options.clock.schedule(this.#isSoon ? newsMs : pauseMs, () => this.#beat());
    });
  }

  /** Gives the pause until the next one. */
  async #heartbeat(wantShutDown: boolean): Promise<number> {
    const { link, logger, nodeId, heartbeatMs, sessionMs, metadataOffset } = this.#options;
    const message = {
      brokerId: nodeId,
      brokerEpoch: this.#brokerEpoch,
      currentMetadataOffset: metadataOffset(),
      wantFence: false,
      wantShutDown,
    };
    const timeoutMs = wantShutDown ? Math.min(sessionMs, patienceAtShutdownMs) : sessionMs;
    const answered = await link.request(brokerHeartbeat, message, { timeoutMs });
    if (!answered.ok) {
      if (wantShutDown) this.#giveUpShutdown("no controller is known");
      return retryMs;
    }
    const { errorCode, isFenced, shouldShutDown } = answered.value;
    if (errorCode === ErrorCode.STALE_BROKER_EPOCH) {
      await this.#registerAgain();
      return 0;
    }
    if (errorCode !== ErrorCode.NONE) return retryMs;
    if (isFenced !== this.#isFenced) {
      this.#isFenced = isFenced;
      if (isFenced && !wantShutDown) logger.warn("this broker is fenced: the controller has not heard of it in time");
      if (!isFenced) for (const resolve of this.#whenUnfenced.splice(0)) resolve();
    }
    this.#isShutDown ||= shouldShutDown;
    if (shouldShutDown) for (const resolve of this.#whenShutDown.splice(0)) resolve();
    return isFenced || wantShutDown ? retryMs : heartbeatMs;
  }

  /** The controller knows another registration, or none: as after a loss of contact in which it was removed. */
  async #registerAgain(): Promise<void> {
    this.#isFenced = true;
    try {
      await this.register();
    } catch (error) {
      if (!(error instanceof RegistrationRefused)) throw error;
      this.#options.logger.error("this broker is not in the cluster any more", { reason: error.message });
    }
  }
}
