import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Address, Clock, Network, Random } from "@millrace/base/world";
import { Backoff, pause } from "./backoff.ts";
import type { PeerFailure } from "./failures.ts";
import { PeerConnection } from "./peer-connection.ts";
import type { PeerEnd } from "./peer-connection.ts";

/** A connection that held so long was a good one: the next try need not wait as if none had ever succeeded. */
const steadyMs = 1_000;

export interface PeersOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  /** See PeerOptions. */
  readonly answerBytesMax?: number;
  readonly inFlightMax?: number;
}

/** A node by its id, or by its id and directory id. */
export type PeerName = string | number;
/** Requests of one purpose wait for each other, and for no others: "raft", "fetch" ... */
export type Purpose = string;

/** The connections of this node to others: one for each node and purpose, made when it is asked for. */
export class Peers {
  readonly #options: PeersOptions;
  readonly #links = new Map<PeerName, Map<Purpose, Link>>();
  #isClosed = false;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /**
   * A connection that is open, or why there is none. After a failure the next try begins when its backoff is over, so that a loop
   * that asks again and again does no harm. Under another address than before it is another connection.
   */
  async to(node: PeerName, address: Address, purpose: Purpose): Promise<Result<PeerConnection, PeerFailure>> {
    if (this.#isClosed) return failed("closed", "this node is stopping");
    let links = this.#links.get(node);
    if (links === undefined) this.#links.set(node, (links = new Map<Purpose, Link>()));
    let link = links.get(purpose);
    if (link !== undefined && !isSame(link.address, address)) {
      link.close();
      link = undefined;
    }
    if (link === undefined) links.set(purpose, (link = new Link({ node, address, purpose }, this.#options)));
    return link.connected();
  }

  /** Closes what leads to a node: it does not belong to the cluster any more. */
  forget(node: PeerName): void {
    const links = this.#links.get(node);
    this.#links.delete(node);
    for (const link of links?.values() ?? []) link.close();
  }

  close(): void {
    this.#isClosed = true;
    for (const node of [...this.#links.keys()]) this.forget(node);
  }
}

interface Target {
  readonly node: PeerName;
  readonly address: Address;
  readonly purpose: Purpose;
}

/** What leads to one address of one node for one purpose. */
class Link {
  readonly #target: Target;
  readonly #options: PeersOptions;
  readonly #closing = new AbortController();
  readonly #backoff: Backoff;
  #connection: PeerConnection | null = null;
  #opening: Promise<Result<PeerConnection, PeerFailure>> | null = null;
  #notBeforeMs = 0;
  /** Told once, until it is reached again. */
  #isUnreachable = false;

  constructor(target: Target, options: PeersOptions) {
    this.#target = target;
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  get address(): Address {
    return this.#target.address;
  }

  async connected(): Promise<Result<PeerConnection, PeerFailure>> {
    if (this.#connection?.isOpen === true) return ok(this.#connection);
    this.#opening ??= this.#open();
    const opening = this.#opening;
    const opened = await opening;
    if (this.#opening === opening) this.#opening = null;
    return opened;
  }

  close(): void {
    this.#closing.abort();
    this.#connection?.close();
  }

  async #open(): Promise<Result<PeerConnection, PeerFailure>> {
    const { network, clock, logger, clientId, connectTimeoutMs, answerBytesMax, inFlightMax } = this.#options;
    const { node, address } = this.#target;
    const { signal } = this.#closing;
    const waitMs = this.#notBeforeMs - clock.monotonicMs();
    if (waitMs > 0) await pause(clock, waitMs, signal);
    if (signal.aborted) return failed("closed", `node ${node} is not to be reached at ${address.host}:${address.port}`);
    const opened = await PeerConnection.open({
      ...{ network, clock, logger, node, address, clientId, connectTimeoutMs, signal },
      ...(answerBytesMax === undefined ? {} : { answerBytesMax }),
      ...(inFlightMax === undefined ? {} : { inFlightMax }),
    });
    if (!opened.ok) {
      this.#failed(opened.message ?? opened.failure);
      return opened;
    }
    const connection = opened.value;
    this.#connection = connection;
    if (this.#isUnreachable) logger.info("a node is reached again", this.#fields());
    this.#isUnreachable = false;
    const openedMs = clock.monotonicMs();
    void connection.closed.then((end) => this.#ended(end, clock.monotonicMs() - openedMs));
    return opened;
  }

  #ended({ failure }: PeerEnd, lifetimeMs: number): void {
    if (lifetimeMs >= steadyMs) this.#backoff.reset();
    if (failure !== "closed") this.#notBeforeMs = this.#options.clock.monotonicMs() + this.#backoff.nextMs();
  }

  #failed(reason: string): void {
    const { clock, logger } = this.#options;
    this.#notBeforeMs = clock.monotonicMs() + this.#backoff.nextMs();
    if (this.#closing.signal.aborted || this.#isUnreachable) return;
    this.#isUnreachable = true;
    logger.warn("a node cannot be reached", { ...this.#fields(), reason });
  }

  #fields(): { readonly node: PeerName; readonly address: string; readonly purpose: Purpose } {
    const { node, address, purpose } = this.#target;
    return { node, address: `${address.host}:${address.port}`, purpose };
  }
}

function isSame(a: Address, b: Address): boolean {
  return a.host === b.host && a.port === b.port;
}
