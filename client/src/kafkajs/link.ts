import { apiTable } from "kafka-protocol-ts/api-table";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { parseAddress } from "../network/address.ts";
import type { RequestObserver } from "../network/diagnostics.ts";
import { checkSasl } from "../network/sasl.ts";
import { Wire } from "../network/wire.ts";
import type { ClientWorld } from "../network/wire.ts";
import type { KafkaConfig, RetryOptions } from "./config-types.ts";
import { saslOf, tlsOf } from "./connecting.ts";
import { asKafkaJSError, finalError } from "./error-mapping.ts";
import { KafkaJSError } from "./errors.ts";
import type { Instrumentation } from "./events.ts";
import { asBaseLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { pause, RetryPauses, retrySettings } from "./retry.ts";
import type { RetrySettings } from "./retry.ts";
import type { Warnings } from "./warnings.ts";

/** What a Kafka object and all that is made from it have in common. */
export interface Shared {
  readonly config: KafkaConfig;
  readonly world: ClientWorld;
  readonly logger: Logger;
  readonly warnings: Warnings;
}

export interface LinkOptions {
  readonly retry: RetryOptions | undefined;
  readonly metadataMaxAgeMs: number;
  readonly instrumentation: Instrumentation;
  /** Names of the events REQUEST and REQUEST_TIMEOUT. */
  readonly events: { readonly REQUEST: string; readonly REQUEST_TIMEOUT: string };
  /** Hears of requests beside the events. */
  readonly observer?: RequestObserver;
}

/** A timer's longest time. */
const foreverMs = 2_147_483_647;
const apiKeys: ReadonlyMap<string, number> = new Map(Object.values(apiTable).map(({ name, key }) => [name, key]));

/** The connections of one producer, consumer or admin: KafkaJS gives each its own, from `connect` to `disconnect`. */
export class Link {
  readonly shared: Shared;
  readonly retry: RetrySettings;
  readonly #options: LinkOptions;
  #wire: Wire | null = null;
  #connecting: Promise<Wire> | null = null;

  constructor(shared: Shared, options: LinkOptions) {
    this.shared = shared;
    this.#options = options;
    this.retry = retrySettings(shared.config.retry, options.retry);
  }

  /** Null while it is not connected. */
  get wire(): Wire | null {
    return this.#wire;
  }

  /** @throws KafkaJSNumberOfRetriesExceeded, KafkaJSSASLAuthenticationError, KafkaJSNonRetriableError */
  async connect(): Promise<Wire> {
    if (this.#wire !== null) return this.#wire;
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = null));
    return this.#connecting;
  }

  async disconnect(): Promise<void> {
    await this.#connecting?.catch(() => {});
    const wire = this.#wire;
    this.#wire = null;
    await wire?.close();
  }

  async #connect(): Promise<Wire> {
    const { clock, random } = this.shared.world;
    const pauses = new RetryPauses(this.retry, random);
    let wire: Wire | null = null;
    for (let triesCount = 0; ; triesCount++) {
      try {
        wire ??= await this.#open();
        await wire.any();
        this.#wire = wire;
        return wire;
      } catch (error) {
        const mapped = asKafkaJSError(error);
        const isWorthMore = mapped instanceof KafkaJSError && mapped.retriable;
        if (isWorthMore && triesCount < this.retry.retries) {
          this.shared.logger
            .namespace("Connection")
            .error(`connecting failed: ${mapped.message}`, { retryCount: triesCount });
          await pause(clock, pauses.next());
          continue;
        }
        await wire?.close();
        throw finalError(error, this.retry);
      }
    }
  }

  async #open(): Promise<Wire> {
    const { config, world, logger, warnings } = this.shared;
    const { requestTimeout = 30_000, enforceRequestTimeout = true, connectionTimeout = 1_000 } = config;
    const brokers = typeof config.brokers === "function" ? await config.brokers() : config.brokers;
    const tls = tlsOf(config.ssl, warnings);
    const sasl = saslOf(config.sasl);
    if (sasl !== null) checkSasl(sasl);
    installNodeAccelerators();
    return new Wire(world, {
      bootstrap: brokers.map(parseAddress),
      clientId: config.clientId ?? "kafkajs",
      connectTimeoutMs: connectionTimeout,
      requestTimeoutMs: enforceRequestTimeout ? requestTimeout : foreverMs,
      metadataMaxAgeMs: this.#options.metadataMaxAgeMs,
      logger: asBaseLogger(logger.namespace("Client")),
      observer: this.#observer(),
      ...(tls === null ? {} : { tls }),
      ...(sasl === null ? {} : { sasl }),
    });
  }

  #observer(): RequestObserver {
    const { instrumentation, events, observer } = this.#options;
    const { clock } = this.shared.world;
    return {
      sent: (request) => observer?.sent(request),
      ended: (request) => {
        observer?.ended(request);
        const { error, latencyMs, broker, clientId, correlationId } = request;
        const name =
          error === null ? events.REQUEST : error.code === "REQUEST_TIMED_OUT" ? events.REQUEST_TIMEOUT : null;
        if (name === null || !instrumentation.isHeard(name)) return;
        const sentAt = Math.round(clock.now() - latencyMs);
        instrumentation.emit(name, {
          apiKey: apiKeys.get(request.api) ?? -1,
          apiName: request.api,
          apiVersion: request.version,
          broker,
          clientId,
          correlationId,
          createdAt: sentAt,
          sentAt,
          pendingDuration: 0,
          ...(error === null ? { duration: Math.round(latencyMs), size: request.answerBytes } : {}),
        });
      },
    };
  }
}
