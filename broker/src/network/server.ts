import type { Logger } from "@millrace/base/logger";
import type { Address, Clock, Connection, Listener, Network, Timer } from "@millrace/base/world";
import type { BoundHandler } from "../apis/handler.ts";
import { Admission } from "./admission.ts";
import type { AdmissionLimits } from "./admission.ts";
import { Conversation } from "./conversation.ts";
import type { ConversationHost, ConversationLimits } from "./conversation.ts";
import type { FramePool } from "./frame-pool.ts";
import { MemoryBudget } from "./memory-budget.ts";

export interface ListenerConfig {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly kind: "broker" | "controller";
}

export interface ServerLimits extends ConversationLimits {
  /** Connections that are accepted and wait to be taken. */
  readonly waitingMax: number;
  readonly idleMsMax: number;
  /** Request bytes of all connections together. */
  readonly requestBytesMax: number;
  readonly stallMs: number;
}

type ListenerKind = ListenerConfig["kind"];

export interface Serving {
  readonly handlers: ReadonlyMap<number, BoundHandler>;
  /** A connection, by its id, is gone. */
  onDisconnected?(connectionId: string): void;
  /** A bug showed itself: the broker stops. */
  fatal(error: unknown): void;
}

interface Arrival {
  readonly connection: Connection;
  readonly listener: ListenerConfig;
  readonly host: string;
}

/** The listeners and the connections they took. */
export class Server {
  readonly #network: Network;
  readonly #limits: ServerLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #budget: MemoryBudget;
  readonly #framePool: FramePool;
  readonly #admission: Admission<Arrival>;
  readonly #listeners: Listener[] = [];
  readonly #conversations = new Set<Conversation>();
  /** Kinds of listener for which there is something to serve with. */
  readonly #hosts = new Map<ListenerKind, ConversationHost>();
  /** Taken, and waiting for that. */
  readonly #early: Arrival[] = [];
  #nextId = 0;
  #sweep: Timer | null = null;
  #whenEmpty: (() => void) | null = null;

  constructor(options: {
    readonly network: Network;
    readonly limits: ServerLimits;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly framePool: FramePool;
  }) {
    this.#framePool = options.framePool;
    this.#network = options.network;
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#budget = new MemoryBudget({
      limitBytes: options.limits.requestBytesMax,
      stallMs: options.limits.stallMs,
      clock: options.clock,
    });
    this.#admission = new Admission({
      clock: options.clock,
      waitingMax: options.limits.waitingMax,
      take: (arrival) => this.#take(arrival),
      refuse: (arrival, reason) => this.#refuse(arrival, reason),
    });
  }

  get connectionCount(): number {
    return this.#conversations.size;
  }

  get requestBytes(): number {
    return this.#budget.usedBytes;
  }

  /** Binds, and gives the bound address. Whoever connects before `serve` waits: nothing is read from it. */
  async listen(config: ListenerConfig): Promise<Address> {
    const listener = await this.#network.listen(config, (connection) =>
      this.#admission.arrive({ connection, listener: config, host: connection.remote.host }),
    );
    this.#listeners.push(listener);
    return listener.address;
  }

  /** From now on connections are taken; each waits until there is something to serve its listener with. */
  open(admissionLimits: () => AdmissionLimits): void {
    this.#sweep = this.#scheduleSweep();
    this.#admission.open(admissionLimits);
  }

  /** Serves those that wait and whoever connects from now on. Whoever was served with something else has to connect anew. */
  serve(kind: ListenerKind, { handlers, fatal, onDisconnected }: Serving): void {
    for (const conversation of this.#conversations) {
      if (conversation.info.kind === kind) conversation.close("the listener serves something else", "info");
    }
    this.#hosts.set(kind, {
      handlers,
      fatal,
      limits: this.#limits,
      budget: this.#budget,
      framePool: this.#framePool,
      clock: this.#clock,
      logger: this.#logger,
      onClosed: (conversation: Conversation) => {
        this.#closed(conversation);
        onDisconnected?.(conversation.info.id);
      },
    });
    for (const arrival of this.#early.splice(0)) this.#take(arrival);
  }

  /** A lower max.connections closes the connections that have been silent longest, as in Kafka; a lower limit of an address closes none. */
  admissionLimitsChanged(): void {
    const { surplus } = this.#admission;
    const bySilence = [...this.#conversations].sort((a, b) => a.lastActiveMs - b.lastActiveMs);
    for (const conversation of bySilence.slice(0, surplus)) conversation.close("max.connections is lower now", "info");
    this.#admission.limitsChanged();
  }

  /** Takes no new connections, lets what is in flight be answered for `graceMs`, then closes the rest. */
  async close(graceMs: number): Promise<void> {
    this.#sweep?.cancel();
    await Promise.all(this.#listeners.map(async (listener) => listener.close()));
    for (const { connection } of [...this.#admission.close(), ...this.#early.splice(0)]) connection.destroy();
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

  #take(arrival: Arrival): void {
    const { connection, listener, host: clientHost } = arrival;
    const host = this.#hosts.get(listener.kind);
    if (host === undefined) return this.#letWait(arrival);
    const info = { id: String(++this.#nextId), clientHost, listenerName: listener.name, kind: listener.kind };
    const conversation = new Conversation(connection, info, host);
    this.#conversations.add(conversation);
    conversation.start();
  }

  #letWait(arrival: Arrival): void {
    if (this.#early.length < this.#limits.waitingMax) return void this.#early.push(arrival);
    this.#admission.left(arrival.host);
    this.#refuse(arrival, "the broker is not ready, and socket.listen.backlog.size others wait");
  }

  #refuse({ connection, listener, host }: Arrival, reason: string): void {
    this.#logger.warn("connection refused", { peer: host, listener: listener.name, reason });
    connection.destroy();
  }

  #closed(conversation: Conversation): void {
    if (!this.#conversations.delete(conversation)) return;
    this.#admission.left(conversation.info.clientHost);
    if (this.#conversations.size === 0) this.#whenEmpty?.();
  }

  /** As in Kafka, a negative limit is none. */
  #scheduleSweep(): Timer | null {
    if (this.#limits.idleMsMax < 0) return null;
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
