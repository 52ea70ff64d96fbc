import { must } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import type { Prng } from "@millrace/base/prng";
import { KiB } from "@millrace/base/units";
import { NetworkError } from "@millrace/base/world";
import type { Address, Connection, ConnectionHandlers, ConnectOptions, Listener, Network } from "@millrace/base/world";
import { SimulatedConnection } from "../simulated-network.ts";
import type { ConnectionHost } from "../simulated-network.ts";
import type { VirtualClock } from "../virtual-clock.ts";
import type { Process } from "./process.ts";
import type { Trace } from "./trace.ts";

const windowBytes = 256 * KiB;
const firstFreePort = 49_152;

export interface Delays {
  /** Of a connection's bursts: between these. */
  leastMs: number;
  mostMs: number;
  /** How often a burst takes a hundred times as long: a packet was lost, and is sent again. */
  lossRate: number;
}

/**
 * One network for many processes, each on a host of its own. Within a connection everything arrives in order; between connections
 * nothing is in order. What a partition holds back arrives when it is healed, unless the connection was broken before.
 */
export class ClusterNetwork {
  readonly delays: Delays = { leastMs: 0.1, mostMs: 1, lossRate: 0 };
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  readonly #trace: Trace;
  readonly #listeners = new Map<string, { readonly process: Process; readonly listener: HostListener }>();
  readonly #lanes = new Set<Lane>();
  readonly #ends = new Set<ProcessConnection>();
  /** "from>to": nothing passes. */
  readonly #blocked = new Set<string>();
  /** Machines without power: nobody answers for them. */
  readonly #silent = new Set<string>();
  readonly #dialling = new Set<() => void>();
  #nextPort = firstFreePort;

  constructor(clock: VirtualClock, prng: Prng, trace: Trace) {
    this.#clock = clock;
    this.#prng = prng;
    this.#trace = trace;
  }

  /** The network as a process of a host sees it. */
  of(process: Process): Network {
    return {
      listen: async (address, onConnection) => this.#listen(process, address, onConnection),
      connect: (address, options) => this.#connect(process, address, options),
    };
  }

  // --- Faults -----------------------------------------------------------------------------------------------------------

  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  heal(): void {
    this.delays.lossRate = 0;
    this.unblock();
  }

  unblock(): void {
    this.#blocked.clear();
    for (const lane of this.#lanes) lane.pump();
    for (const dial of this.#dialling) dial();
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}>${to}`);
  }

  /** Breaks connections between hosts for which the predicate holds; each end is told at a time of its own. */
  cut(isCut: (a: string, b: string) => boolean): void {
    for (const end of this.#ends)
      if (isCut(end.local.host, end.remote.host)) end.destroy(new NetworkError("ECONNRESET", "the network was cut"));
  }

  /** The process is dead. Its system tells the others, unless it has no power. */
  lost(process: Process, isSilent: boolean): void {
    for (const [key, held] of this.#listeners) if (held.process === process) this.#listeners.delete(key);
    if (isSilent) this.#silent.add(process.name);
    for (const end of this.#ends) {
      if (end.process !== process) continue;
      if (!isSilent) end.destroy();
      else end.hush();
    }
  }

  /** The machine has power again: what others still hold open to it is reset. */
  returned(host: string): void {
    this.#silent.delete(host);
    for (const end of this.#ends) if (end.remote.host === host && end.isPeerLost) end.reset();
  }

  // --- Connections ------------------------------------------------------------------------------------------------------

  #listen(process: Process, address: Address, onConnection: (connection: Connection) => void): Listener {
    const taken: Address = { host: process.name, port: address.port === 0 ? this.#nextPort++ : address.port };
    const key = `${taken.host}:${taken.port}`;
    if (this.#listeners.has(key)) throw new NetworkError("EADDRINUSE", `${key} is already in use`);
    const listener = new HostListener(taken, onConnection, () => {
      if (this.#listeners.get(key)?.process === process) this.#listeners.delete(key);
    });
    this.#listeners.set(key, { process, listener });
    return listener;
  }

  async #connect(process: Process, address: Address, options: ConnectOptions): Promise<Connection> {
    const where = `${address.host}:${address.port}`;
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    let isOver = false;
    const end = (settle: () => void): void => {
      if (isOver) return;
      isOver = true;
      this.#dialling.delete(dial);
      timeout.cancel();
      process.enter("input", settle);
    };
    const fail = (code: string, why: string): void => end(() => reject(new NetworkError(code, `${where}: ${why}`)));
    const dial = (): void => {
      if (isOver) return;
      if (process.isDead) return end(() => {});
      const [near, far] = [process.name, address.host];
      if (this.isBlocked(near, far) || this.isBlocked(far, near) || this.#silent.has(far)) return;
      const held = this.#listeners.get(where);
      if (held === undefined) return fail("ECONNREFUSED", "nothing listens there");
      end(() => {
        if (options.signal?.aborted === true) return reject(new NetworkError("ABORT_ERR", `${where}: given up`));
        resolve(this.#open(process, held));
      });
    };
    const timeout = this.#clock.schedule(options.timeoutMs, () => fail("ETIMEDOUT", "no answer"));
    options.signal?.addEventListener("abort", () => fail("ABORT_ERR", "given up"), { once: true });
    this.#dialling.add(dial);
    this.#clock.schedule(this.delayMs() * 2, dial);
    return promise;
  }

  #open(process: Process, { process: far, listener }: { readonly process: Process; readonly listener: HostListener }) {
    const near: Address = { host: process.name, port: this.#nextPort++ };
    const client = this.#end(process, far, near, listener.address);
    const server = this.#end(far, process, listener.address, near);
    client.pairWith(server);
    server.pairWith(client);
    far.enter("input", () => listener.onConnection(server));
    return client;
  }

  #end(process: Process, peer: Process, local: Address, remote: Address): ProcessConnection {
    const lane = new Lane({ network: this, clock: this.#clock, trace: this.#trace, from: process, to: peer });
    this.#lanes.add(lane);
    const host: ConnectionHost = {
      clock: process.clock,
      windowBytes,
      after: (call) => lane.send(call),
      drop: () => lane.drop(),
    };
    const end = new ProcessConnection(local, remote, { host, process, peer });
    this.#ends.add(end);
    end.onGone = () => {
      this.#ends.delete(end);
      lane.close();
    };
    return end;
  }

  keep(lane: Lane): void {
    this.#lanes.add(lane);
  }

  forget(lane: Lane): void {
    this.#lanes.delete(lane);
  }

  delayMs(): number {
    const { leastMs, mostMs, lossRate } = this.delays;
    const delayMs = leastMs + (mostMs - leastMs) * this.#prng.fraction();
    return lossRate > 0 && this.#prng.chance(lossRate) ? delayMs * 100 : delayMs;
  }
}

class HostListener implements Listener {
  readonly address: Address;
  readonly onConnection: (connection: Connection) => void;
  readonly #onClose: () => void;

  constructor(address: Address, onConnection: (connection: Connection) => void, onClose: () => void) {
    this.address = address;
    this.onConnection = onConnection;
    this.#onClose = onClose;
  }

  async close(): Promise<void> {
    this.#onClose();
  }
}

/** An end of a connection, in the process that holds it. */
class ProcessConnection extends SimulatedConnection {
  readonly process: Process;
  readonly #peer: Process;

  constructor(
    local: Address,
    remote: Address,
    { host, process, peer }: { readonly host: ConnectionHost; readonly process: Process; readonly peer: Process },
  ) {
    super(local, remote, host);
    this.process = process;
    this.#peer = peer;
  }

  get isPeerLost(): boolean {
    return this.#peer.isDead;
  }

  /** Nobody hears of this end any more. */
  hush(): void {
    this.onGone();
  }

  override start(handlers: ConnectionHandlers): void {
    const { process } = this;
    super.start({
      onData: (chunk) => process.isDead || handlers.onData(chunk),
      onEnd: () => process.isDead || handlers.onEnd(),
      onClose: (error) => process.isDead || handlers.onClose(error),
    });
  }
}

interface LaneOptions {
  readonly network: ClusterNetwork;
  readonly clock: VirtualClock;
  readonly trace: Trace;
  readonly from: Process;
  readonly to: Process;
}

/** One direction of a connection: first in, first out. */
class Lane {
  readonly #options: LaneOptions;
  readonly #queue = new Deque<{ readonly dueMs: number; call(): void }>();
  #dueMs = 0;
  #drawnAtMs = -1;
  #isArmed = false;
  #isClosed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  send(call: () => void): void {
    const { clock, network } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs !== this.#drawnAtMs) this.#dueMs = Math.max(this.#dueMs, nowMs + network.delayMs());
    this.#drawnAtMs = nowMs;
    this.#queue.push({ dueMs: this.#dueMs, call });
    // The last word of a connection is that it is closed.
    network.keep(this);
    this.#arm();
  }

  /** What is on its way does not come. */
  drop(): void {
    this.#queue.clear();
    this.#dueMs = 0;
    this.#drawnAtMs = -1;
  }

  /** Nothing more is sent: the lane is forgotten when it is empty. */
  close(): void {
    this.#isClosed = true;
    if (this.#queue.isEmpty) this.#options.network.forget(this);
  }

  #arm(): void {
    const first = this.#queue.first();
    if (this.#isArmed || first === undefined) return;
    this.#isArmed = true;
    const { clock } = this.#options;
    clock.schedule(first.dueMs - clock.monotonicMs(), () => {
      this.#isArmed = false;
      this.pump();
    });
  }

  pump(): void {
    const { network, clock, trace, from, to } = this.#options;
    if (network.isBlocked(from.name, to.name)) return;
    const nowMs = clock.monotonicMs();
    for (let next = this.#queue.first(); next !== undefined && next.dueMs <= nowMs; next = this.#queue.first()) {
      const { call } = must(this.#queue.shift(), "what was first");
      trace.delivered(from.name, to.name, nowMs);
      to.enter("input", call);
    }
    if (!this.#queue.isEmpty) this.#arm();
    else if (this.#isClosed) network.forget(this);
  }
}
