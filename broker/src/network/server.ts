import type { Logger } from "@millrace/base/logger";
import type { Clock, Connection, Listener, Network, Timer } from "@millrace/base/world";
import type { Handler } from "../apis/handler.ts";
import type { Services } from "../services.ts";
import { Conversation } from "./conversation.ts";
import type { ConversationHost, ConversationLimits } from "./conversation.ts";
import { FramePool } from "./frame-pool.ts";
import { MemoryBudget } from "./memory-budget.ts";

export interface ListenerConfig {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly kind: "broker" | "controller";
}

export interface ServerLimits extends ConversationLimits {
  readonly connectionsMax: number;
  readonly connectionsPerHostMax: number;
  readonly idleMsMax: number;
  /** Request bytes of all connections together. */
  readonly requestBytesMax: number;
  readonly stallMs: number;
}

/** The listeners and the connections they took. */
export class Server {
  readonly #network: Network;
  readonly #limits: ServerLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #budget: MemoryBudget;
  readonly #framePool = new FramePool();
  readonly #listeners: Listener[] = [];
  readonly #conversations = new Set<Conversation>();
  readonly #perHost = new Map<string, number>();
  #nextId = 0;
  #sweep: Timer | null = null;
  #whenEmpty: (() => void) | null = null;

  constructor(options: {
    readonly network: Network;
    readonly limits: ServerLimits;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#network = options.network;
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#budget = new MemoryBudget({
      limitBytes: options.limits.requestBytesMax,
      stallMs: options.limits.stallMs,
      clock: options.clock,
    });
  }

  get connectionCount(): number {
    return this.#conversations.size;
  }

  get requestBytes(): number {
    return this.#budget.usedBytes;
  }

  /** Binds; requests are served from the first connection on, so the services must be ready. Gives the bound address. */
  async listen(
    config: ListenerConfig,
    serving: {
      readonly services: Services;
      readonly handlers: ReadonlyMap<number, Handler>;
      fatal(error: unknown): void;
    },
  ): Promise<{ readonly host: string; readonly port: number }> {
    const host: ConversationHost = {
      ...serving,
      fatal: (error) => serving.fatal(error),
      limits: this.#limits,
      budget: this.#budget,
      framePool: this.#framePool,
      clock: this.#clock,
      logger: this.#logger,
      onClosed: (conversation) => this.#closed(conversation),
    };
    const listener = await this.#network.listen(config, (connection) => this.#accept(connection, config, host));
    this.#listeners.push(listener);
    this.#sweep ??= this.#scheduleSweep();
    return listener.address;
  }

  /** Takes no new connections, lets what is in flight be answered for `graceMs`, then closes the rest. */
  async close(graceMs: number): Promise<void> {
    this.#sweep?.cancel();
    await Promise.all(this.#listeners.map(async (listener) => listener.close()));
    for (const conversation of this.#conversations) conversation.finish();
    if (this.#conversations.size === 0) return;
    await new Promise<void>((resolve) => {
      const closeRest = (): void => {
        for (const conversation of this.#conversations) conversation.close("the broker stops", "info");
      };
      // Connections that are not read any more do not keep the process alive until their last answer.
      const grace = this.#clock.schedule(graceMs, closeRest, { isAwaited: true });
      this.#whenEmpty = () => {
        grace.cancel();
        resolve();
      };
    });
  }

  #accept(connection: Connection, config: ListenerConfig, host: ConversationHost): void {
    const { host: clientHost } = connection.remote;
    const ofHost = this.#perHost.get(clientHost) ?? 0;
    const { connectionsMax, connectionsPerHostMax } = this.#limits;
    if (this.#conversations.size >= connectionsMax || ofHost >= connectionsPerHostMax) {
      const limit = ofHost >= connectionsPerHostMax ? "max.connections.per.ip" : "max.connections";
      this.#logger.warn("connection refused", {
        peer: clientHost,
        listener: config.name,
        reason: `${limit} is reached`,
      });
      connection.destroy();
      return;
    }
    this.#perHost.set(clientHost, ofHost + 1);
    const info = { id: String(++this.#nextId), clientHost, listenerName: config.name, kind: config.kind };
    const conversation = new Conversation(connection, info, host);
    this.#conversations.add(conversation);
    conversation.start();
  }

  #closed(conversation: Conversation): void {
    if (!this.#conversations.delete(conversation)) return;
    const { clientHost } = conversation.info;
    const left = (this.#perHost.get(clientHost) ?? 1) - 1;
    if (left === 0) this.#perHost.delete(clientHost);
    else this.#perHost.set(clientHost, left);
    if (this.#conversations.size === 0) this.#whenEmpty?.();
  }

  #scheduleSweep(): Timer {
    const intervalMs = Math.max(1000, Math.min(30_000, this.#limits.idleMsMax / 4));
    return this.#clock.schedule(intervalMs, () => {
      const oldestMs = this.#clock.monotonicMs() - this.#limits.idleMsMax;
      for (const conversation of this.#conversations) {
        if (conversation.isIdle && conversation.lastActiveMs < oldestMs) {
          conversation.close("idle longer than connections.max.idle.ms", "info");
        }
      }
      this.#sweep = this.#scheduleSweep();
    });
  }
}
