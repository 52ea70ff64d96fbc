import { must } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import { KiB } from "@millrace/base/units";
import { NetworkError } from "@millrace/base/world";
import type {
  Address,
  Clock,
  Connection,
  ConnectionHandlers,
  ConnectOptions,
  FileSlice,
  Listener,
  Network,
  Part,
} from "@millrace/base/world";

export interface SimulatedNetworkOptions {
  readonly clock: Clock;
  /** How long everything takes from one end to the other. 0 delivers in a microtask, without the clock. */
  readonly latencyMs?: number;
  /** Bytes that are on their way or wait at a receiver that has paused, before the sender has to wait. */
  readonly windowBytes?: number;
}

const chunkBytesMax = 64 * KiB;
const firstFreePort = 49_152;
/** How long an end that has ended waits for the other one to end too. */
const lingerMs = 1000;

/** A network within the process: each connection delivers in order, copies what it delivers, and loses nothing. */
export class SimulatedNetwork implements Network {
  readonly #clock: Clock;
  readonly #latencyMs: number;
  readonly #windowBytes: number;
  readonly #listeners = new Map<string, SimulatedListener>();
  readonly #connections = new Set<SimulatedConnection>();
  #nextPort = firstFreePort;

  constructor(options: SimulatedNetworkOptions) {
    this.#clock = options.clock;
    this.#latencyMs = options.latencyMs ?? 0;
    this.#windowBytes = options.windowBytes ?? 256 * KiB;
  }

  async listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
    const taken: Address = { host: address.host, port: address.port === 0 ? this.#nextPort++ : address.port };
    const key = keyOf(taken);
    if (this.#listeners.has(key)) {
      throw new NetworkError("EADDRINUSE", `port ${taken.port} on ${taken.host} is already in use`);
    }
    const listener = new SimulatedListener(taken, onConnection, () => this.#listeners.delete(key));
    this.#listeners.set(key, listener);
    return listener;
  }

  /** TLS is not simulated: what would be encrypted goes in the clear. */
  async connect(address: Address, options: ConnectOptions): Promise<Connection> {
    await new Promise<void>((resolve) => this.#after(resolve));
    const where = keyOf(address);
    if (options.signal?.aborted === true) throw new NetworkError("ABORT_ERR", `connecting to ${where} was given up`);
    const listener = this.#listeners.get(where);
    if (listener === undefined) {
      throw new NetworkError("ECONNREFUSED", `${where} refused the connection: nothing listens there`);
    }
    const near: Address = { host: address.host, port: this.#nextPort++ };
    const after = (call: () => void): void => this.#after(call);
    // All connections share one queue, and what is in it is about to arrive.
    const host = { clock: this.#clock, windowBytes: this.#windowBytes, after, drop: () => {} };
    const client = new SimulatedConnection(near, listener.address, host);
    const server = new SimulatedConnection(listener.address, near, host);
    client.pairWith(server);
    server.pairWith(client);
    for (const connection of [client, server]) {
      this.#connections.add(connection);
      connection.onGone = () => this.#connections.delete(connection);
    }
    listener.onConnection(server);
    return client;
  }

  /** Breaks every connection for which the predicate holds, at both ends, as when a machine disappears. */
  cut(isCut: (connection: Connection) => boolean = () => true): void {
    const error = new NetworkError("ECONNRESET", "the network was cut");
    for (const connection of this.#connections) if (isCut(connection)) connection.destroy(error);
  }

  #after(call: () => void): void {
    if (this.#latencyMs === 0) queueMicrotask(call);
    else this.#clock.schedule(this.#latencyMs, call);
  }
}

class SimulatedListener implements Listener {
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

/** What a connection stands in. */
export interface ConnectionHost {
  readonly clock: Clock;
  readonly windowBytes: number;
  /** Calls when what was sent has arrived at the other end: in the order in which it was sent. */
  after(call: () => void): void;
  /** What was sent and has not arrived does not arrive. */
  drop(): void;
}

type Queued = Uint8Array | OutgoingSlice | (() => void);

interface OutgoingSlice {
  readonly slice: FileSlice;
  sentBytes: number;
}

export class SimulatedConnection implements Connection {
  readonly local: Address;
  readonly remote: Address;
  onGone: () => void = () => undefined;
  readonly #host: ConnectionHost;
  #peer: SimulatedConnection | null = null;
  #handlers: ConnectionHandlers | null = null;

  readonly #outgoing = new Deque<Queued>();
  #queuedBytes = 0;
  #isSending = false;
  #isEnding = false;
  #hasSentEnd = false;
  /** Bytes that have left and were not yet taken by the other end. */
  #inFlightBytes = 0;

  readonly #incoming = new Deque<Buffer>();
  #isPaused = false;
  #hasPeerEnded = false;
  #isEndTold = false;
  #isClosed = false;
  #closeReason: Error | null = null;

  constructor(local: Address, remote: Address, host: ConnectionHost) {
    this.local = local;
    this.remote = remote;
    this.#host = host;
  }

  pairWith(peer: SimulatedConnection): void {
    this.#peer = peer;
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    if (this.#isClosed) queueMicrotask(() => handlers.onClose(this.#closeReason));
    else queueMicrotask(() => this.#deliver());
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    queueMicrotask(() => this.#deliver());
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send(parts: readonly Part[], onSent?: () => void): void {
    if (this.#isEnding || this.#isClosed) {
      for (const part of parts) if (!(part instanceof Uint8Array)) part.release();
      return;
    }
    for (const part of parts) {
      if (part instanceof Uint8Array) this.#outgoing.push(part);
      else this.#outgoing.push({ slice: part, sentBytes: 0 });
      this.#queuedBytes += part instanceof Uint8Array ? part.length : part.sizeBytes;
    }
    if (onSent !== undefined) this.#outgoing.push(onSent);
    this.#sendSoon();
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#sendSoon();
  }

  destroy(reason?: Error): void {
    if (this.#isClosed) return;
    const peer = this.#peer;
    this.#close(reason ?? null);
    // What is under way arrives first.
    this.#host.after(() => peer?.reset());
  }

  abort(reason?: Error): void {
    if (this.#isClosed) return;
    this.#host.drop();
    this.destroy(reason);
  }

  // --- Sending -------------------------------------------------------------------------------------------------------

  #sendSoon(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    queueMicrotask(() => void this.#send());
  }

  async #send(): Promise<void> {
    const hasRoom = (): boolean => this.#inFlightBytes < this.#host.windowBytes;
    while (!this.#isClosed && !this.#outgoing.isEmpty && hasRoom()) {
      const next = must(this.#outgoing.first(), "the next part");
      if (typeof next === "function") {
        this.#outgoing.shift();
        next();
      } else if (next instanceof Uint8Array) this.#sendBytes(next);
      else await this.#sendSlice(next);
    }
    this.#isSending = false;
    if (this.#isEnding && this.#outgoing.isEmpty && !this.#isClosed) this.#sendEnd();
  }

  #sendBytes(bytes: Uint8Array): void {
    this.#outgoing.shift();
    if (bytes.length > chunkBytesMax) this.#outgoing.unshift(bytes.subarray(chunkBytesMax));
    this.#transmit(Buffer.from(bytes.subarray(0, chunkBytesMax)));
  }

  async #sendSlice(outgoing: OutgoingSlice): Promise<void> {
    const { slice } = outgoing;
    const chunk = Buffer.alloc(Math.min(chunkBytesMax, slice.sizeBytes - outgoing.sentBytes));
    let failure: Error | null = null;
    try {
      const count = await slice.file.read(chunk, slice.position + outgoing.sentBytes);
      if (count < chunk.length) failure = new Error(`${slice.file.path} is shorter than its slice`);
    } catch (error) {
      failure = error as Error;
    }
    // A close during the read has emptied the queue and has given the slice back.
    if (this.#isClosed) return;
    if (failure !== null) return this.destroy(new NetworkError("EIO", failure.message, failure));
    outgoing.sentBytes += chunk.length;
    if (outgoing.sentBytes === slice.sizeBytes) {
      this.#outgoing.shift();
      slice.release();
    }
    this.#transmit(chunk);
  }

  #transmit(chunk: Buffer): void {
    this.#queuedBytes -= chunk.length;
    if (chunk.length === 0) return;
    this.#inFlightBytes += chunk.length;
    const peer = this.#peer;
    this.#host.after(() => peer?.receive(chunk));
  }

  #sendEnd(): void {
    if (this.#hasSentEnd) return;
    this.#hasSentEnd = true;
    const peer = this.#peer;
    this.#host.after(() => peer?.receiveEnd());
    if (this.#hasPeerEnded) this.#close(null);
    else this.#host.clock.schedule(lingerMs, () => this.#close(null));
  }

  // --- Receiving -----------------------------------------------------------------------------------------------------

  receive(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#incoming.push(chunk);
    this.#deliver();
  }

  receiveEnd(): void {
    this.#hasPeerEnded = true;
    this.#deliver();
  }

  reset(): void {
    // Input that has arrived is still served; what a paused receiver has not taken is lost, as with TCP.
    this.#deliver();
    this.#close(new NetworkError("ECONNRESET", `${keyOf(this.remote)} reset the connection`));
  }

  #deliver(): void {
    const isWanted = (): boolean => this.#isEnding || (this.#handlers !== null && !this.#isPaused);
    while (!this.#isClosed && isWanted() && !this.#incoming.isEmpty) {
      const chunk = must(this.#incoming.shift(), "the next chunk");
      this.#peer?.taken(chunk.length);
      if (!this.#isEnding) this.#handlers?.onData(chunk);
      // It was valid during the call only: whoever kept it instead of a copy finds this.
      chunk.fill(0xdb);
    }
    if (this.#isClosed || !this.#hasPeerEnded || !this.#incoming.isEmpty || !isWanted()) return;
    if (!this.#isEndTold && !this.#isEnding) {
      this.#isEndTold = true;
      this.#handlers?.onEnd();
    }
    if (this.#hasSentEnd) this.#close(null);
  }

  /** The other end has taken bytes: there is room for more. */
  taken(sizeBytes: number): void {
    this.#inFlightBytes -= sizeBytes;
    if (!this.#isClosed && !this.#outgoing.isEmpty) this.#sendSoon();
  }

  #close(reason: Error | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closeReason = reason;
    for (const part of this.#outgoing) {
      if (typeof part !== "function" && !(part instanceof Uint8Array)) part.slice.release();
    }
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#queuedBytes = 0;
    this.onGone();
    queueMicrotask(() => this.#handlers?.onClose(reason));
  }
}

function keyOf({ host, port }: Address): string {
  return `${host}:${port}`;
}
