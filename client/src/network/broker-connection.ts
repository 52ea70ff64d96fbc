import { Deque } from "@millrace/base/deque";
import type { Address, Clock, Connection, Network, Random, Timer, TlsClientOptions } from "@millrace/base/world";
import type { Api, ApiInfo } from "kafka-protocol-ts/api";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { UnsupportedFieldVersion } from "kafka-protocol-ts/unsupported";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { saslAuthenticate } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { saslHandshake } from "kafka-protocol-ts/messages/17-sasl-handshake";
import { brokerError, KafkaError } from "../errors.ts";
import { addressText } from "./address.ts";
import { authenticate, beginExchange, noSaslHere } from "./authentication.ts";
import type { SaslPeer } from "./authentication.ts";
import type { SaslOptions } from "./sasl.ts";
import { connectFailure, lostConnection, olderVersion, unreadableAnswer } from "./connection-errors.ts";
import type { Stage } from "./connection-errors.ts";
import { Departures } from "./departures.ts";
import {
  authenticated,
  connectionClosed,
  connectionFailed,
  connectionOpened,
  requestEnded,
  requestThrottled,
} from "./diagnostics.ts";
import type { RequestObserver } from "./diagnostics.ts";
import { FrameAssembler } from "./frame-assembler.ts";
import { Session } from "./session.ts";

const clientSoftware = { clientSoftwareName: "millrace", clientSoftwareVersion: "0.1.0" } as const;
/** Answers larger than this are refused: no length from outside is believed beyond it. */
const frameBytesMaxDefault = 256 * 1024 * 1024;
const correlationIdMax = 0x7fff_ffff;
/** So many of the first bytes show what answers, where it is no broker. */
const firstBytesMax = 16;

export interface BrokerConnectionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly frameBytesMax?: number;
  readonly tls?: TlsClientOptions;
  readonly sasl?: SaslOptions;
  readonly observer?: RequestObserver;
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
}

export interface RequestOptions {
  /** Default: that of the connection. */
  readonly timeoutMs?: number;
  /** A version above it would mean something else. */
  readonly versionMax?: number;
}

/** A request that has no answer yet. */
interface Waiting {
  readonly correlationId: number;
  readonly api: string;
  readonly version: number;
  readonly sentMs: number;
  readonly requestBytes: number;
  readonly timeout: Timer;
  receive(frame: Buffer): void;
  fail(error: KafkaError): void;
}

/**
 * One connection to one broker: versions are negotiated once, requests are pipelined, answers come in the order of the
 * requests. Whatever goes wrong ends it, and fails everything that waits with the same error.
 */
export class BrokerConnection {
  readonly address: Address;
  /** "host:port" */
  readonly name: string;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #clientId: string;
  readonly #requestTimeoutMs: number;
  readonly #options: BrokerConnectionOptions;
  readonly #frames: FrameAssembler;
  readonly #waiting = new Deque<Waiting>();
  /** Who waits for something else than an answer: requests without one to leave, and for a token. */
  readonly #others = new Set<(error: KafkaError) => void>();
  readonly #served = new Map<number, readonly [number, number]>();
  readonly #features = new Map<string, number>();
  readonly #departures: Departures;
  readonly #session: Session = new Session();
  /** Called when nothing waits for an answer any more. */
  #onIdle: (() => void) | null = null;
  #stage: Stage = "new";
  #firstBytes: Buffer = Buffer.alloc(0);
  #openedMs: number | null = null;
  #isUnwanted = false;
  #nextCorrelationId = 1;
  #failure: KafkaError | null = null;

  private constructor(connection: Connection, address: Address, options: BrokerConnectionOptions) {
    this.#connection = connection;
    this.address = address;
    this.name = addressText(address);
    this.#clock = options.clock;
    this.#clientId = options.clientId;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#options = options;
    this.#departures = new Departures(options.clock, () => this.#keepSession());
    this.#frames = new FrameAssembler(options.frameBytesMax ?? frameBytesMaxDefault, (frame) => this.#deliver(frame));
    connection.start({
      onData: (chunk) => this.#receive(chunk),
      memory: () => this.#frames.memory(),
      onEnd: () => this.#fail(this.#lost("the broker closed it")),
      onClose: (error) => this.#fail(this.#lost(error?.message ?? "closed", error)),
    });
  }

  /**
   * Connects, asks which versions the broker speaks, and says who we are where `sasl` is given.
   *
   * @throws KafkaError NOT_CONNECTED, TLS_FAILED, NETWORK_EXCEPTION, CORRUPT_MESSAGE, SASL_AUTHENTICATION_FAILED ...: where
   * another try may succeed it is retriable.
   */
  static async open(network: Network, address: Address, options: BrokerConnectionOptions): Promise<BrokerConnection> {
    const startedMs = options.clock.monotonicMs();
    const { clientId } = options;
    const broker = addressText(address);
    const elapsedMs = (): number => options.clock.monotonicMs() - startedMs;
    try {
      const opened = await BrokerConnection.#open(network, address, options);
      opened.#openedMs = options.clock.monotonicMs();
      connectionOpened({ broker, clientId, durationMs: elapsedMs(), isTls: options.tls !== undefined });
      return opened;
    } catch (error) {
      connectionFailed({ broker, clientId, durationMs: elapsedMs(), error: error as KafkaError });
      throw error;
    }
  }

  static async #open(network: Network, address: Address, options: BrokerConnectionOptions): Promise<BrokerConnection> {
    const { signal, tls, connectTimeoutMs: timeoutMs } = options;
    let connection: Connection;
    try {
      connection = await network.connect(address, {
        timeoutMs,
        ...(signal === undefined ? {} : { signal }),
        ...(tls === undefined ? {} : { tls }),
      });
    } catch (error) {
      throw connectFailure(error as Error, address);
    }
    const opened = new BrokerConnection(connection, address, options);
    const close = (): void => opened.close();
    signal?.addEventListener("abort", close);
    if (signal?.aborted === true) close();
    try {
      await opened.#negotiate();
      if (options.sasl !== undefined) await opened.#authenticate(options.sasl);
      // A token that came after the end must not make a connection look open.
      if (opened.#failure !== null) throw opened.#failure;
      return opened;
    } catch (error) {
      opened.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", close);
    }
  }

  get isOpen(): boolean {
    return this.#failure === null;
  }

  /** The broker has asked for a pause: what is sent now leaves later. */
  get isThrottled(): boolean {
    return this.#departures.isThrottled;
  }

  /** More than who it is and who we are. */
  get hasAnswered(): boolean {
    return this.#stage === "used";
  }

  /** The broker told its versions and hung up at the first request: most often it wants to know who we are. */
  get isUnwanted(): boolean {
    return this.#isUnwanted;
  }

  /** Requests that have no answer yet. */
  get inFlight(): number {
    return this.#waiting.length + this.#departures.heldCount;
  }

  /** Whether both sides speak a version of this API, and such a one. */
  serves(api: ApiInfo, versionMin = 0): boolean {
    const served = this.#served.get(api.key);
    if (served === undefined) return false;
    const version = Math.min(served[1], api.versions[1]);
    return version >= Math.max(served[0], api.versions[0], versionMin);
  }

  /** The level of a feature that the cluster has finalised (KIP-584); 0 where it has not. */
  featureLevel(name: string): number {
    return this.#features.get(name) ?? 0;
  }

  /** The highest version both sides speak, and not above `versionMax`. */
  versionOf(api: ApiInfo, versionMax: number = api.versions[1]): number {
    const served = this.#served.get(api.key);
    if (served === undefined) throw new KafkaError("UNSUPPORTED_VERSION", `${this.name} does not serve ${api.name}`);
    const version = Math.min(served[1], versionMax);
    if (version < Math.max(served[0], api.versions[0])) {
      throw new KafkaError(
        "UNSUPPORTED_VERSION",
        `${this.name} serves ${api.name} ${served[0]} to ${served[1]}; this client speaks ${api.versions[0]} to ${versionMax}`,
      );
    }
    return version;
  }

  /**
   * Sends and gives the answer. A function is asked for the message in the version that is spoken: the highest that both
   * sides know, or `versionMax`.
   */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    options: RequestOptions = {},
  ): Promise<Res> {
    const version = this.versionOf(api, options.versionMax);
    return this.#send(api, version, bodyFor(message, version), options.timeoutMs ?? this.#requestTimeoutMs);
  }

  /** Sends what a broker never answers (Produce with acks 0); settled when the bytes have left. */
  async tell<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
  ): Promise<void> {
    const version = this.versionOf(api);
    const { parts } = this.#encode(api, version, bodyFor(message, version));
    const timeoutMs = this.#requestTimeoutMs;
    await new Promise<void>((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      this.#others.add(reject);
      const leave = (): void => {
        if (this.#failure !== null) return;
        this.#connection.send(parts, () => {
          this.#others.delete(reject);
          resolve();
        });
      };
      const giveUp = (): void => {
        this.#others.delete(reject);
        reject(this.#heldTooLong(api.name, version, timeoutMs));
      };
      this.#departures.depart(leave, timeoutMs, giveUp);
    });
  }

  close(): void {
    this.#fail(new KafkaError("CLOSED", `the connection to ${this.name} was closed`));
  }

  #lost(reason: string, cause: Error | null = null): KafkaError {
    return lostConnection(reason, cause, this.#circumstances());
  }

  #circumstances(): Parameters<typeof lostConnection>[2] {
    const { tls, sasl } = this.#options;
    // A broker may end an idle connection for no other reason.
    const stage = this.#waiting.isEmpty ? "used" : this.#stage;
    return { broker: this.name, stage, isTls: tls !== undefined, isSasl: sasl !== undefined };
  }

  #heldTooLong(api: string, version: number, timeoutMs: number): KafkaError {
    const reason = this.isThrottled ? "the broker throttles this client" : "the broker was being told who we are";
    const sentence = `${api} v${version} could not be sent to ${this.name} within ${timeoutMs} ms: ${reason}`;
    return new KafkaError("REQUEST_TIMED_OUT", sentence, { retriable: true, broker: this.name });
  }

  /** KIP-511: a broker that does not know our version of ApiVersions says so in version 0, with the versions that it knows. */
  async #negotiate(): Promise<void> {
    let version = apiVersions.versions[1];
    for (;;) {
      const answer = await this.#send(apiVersions, version, clientSoftware, this.#requestTimeoutMs);
      if (answer.errorCode === ErrorCode.UNSUPPORTED_VERSION && version > 0) {
        const known = answer.apiKeys.find(({ apiKey }) => apiKey === apiVersions.key);
        version = Math.max(0, Math.min(known?.maxVersion ?? 0, version - 1));
        continue;
      }
      if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `ApiVersions of ${this.name}`);
      for (const { apiKey, minVersion, maxVersion } of answer.apiKeys)
        this.#served.set(apiKey, [minVersion, maxVersion]);
      for (const { name, maxVersionLevel } of answer.finalizedFeatures) this.#features.set(name, maxVersionLevel);
      this.#stage = "greeted";
      return;
    }
  }

  #encode<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    message: ReqInput,
  ): { readonly correlationId: number; readonly parts: readonly Uint8Array[]; readonly sizeBytes: number } {
    const correlationId = this.#nextCorrelationId;
    this.#nextCorrelationId = correlationId === correlationIdMax ? 1 : correlationId + 1;
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, correlationId, this.#clientId);
    try {
      api.request.write(writer, message, version);
    } catch (error) {
      if (!(error instanceof UnsupportedFieldVersion)) throw error;
      throw olderVersion(error, this.name);
    }
    const parts = writer.finishFrame() as readonly Uint8Array[];
    return { correlationId, parts, sizeBytes: parts.reduce((sum, { length }) => sum + length, 0) };
  }

  async #send<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    message: ReqInput,
    timeoutMs: number,
    isUrgent = false,
  ): Promise<Res> {
    if (this.#failure !== null) throw this.#failure;
    const { correlationId, parts, sizeBytes } = this.#encode(api, version, message);
    return new Promise<Res>((resolve, reject) => {
      const onTimeout = (): void => {
        const sentence = `${api.name} v${version} got no answer from ${this.name} within ${timeoutMs} ms`;
        const failure = new KafkaError("REQUEST_TIMED_OUT", sentence, { retriable: true, broker: this.name });
        // It will be sent again on another connection, and what the network still holds of it must not come after that.
        this.#connection.abort(failure);
        this.#fail(failure);
      };
      const receive = (frame: Buffer): void => {
        const reader = new ByteReader(frame);
        readResponseHeader(reader, api, version);
        const isOldAnswer =
          api.key === apiVersions.key && version > 0 && frame.readInt16BE(4) === ErrorCode.UNSUPPORTED_VERSION;
        const answer = api.response.read(reader, isOldAnswer ? 0 : version);
        this.#heedThrottle(api.name, answer);
        resolve(answer);
      };
      const leave = (): void => {
        if (this.#failure !== null) {
          reject(this.#failure);
          return;
        }
        const timeout = this.#clock.schedule(timeoutMs, onTimeout);
        const sentMs = this.#clock.monotonicMs();
        const about = { correlationId, api: api.name, version, sentMs, requestBytes: sizeBytes };
        this.#waiting.push({ ...about, timeout, receive, fail: reject });
        const { observer } = this.#options;
        observer?.sent({ broker: this.name, clientId: this.#clientId, api: api.name, version, correlationId });
        this.#connection.send(parts);
      };
      if (isUrgent) leave();
      else this.#departures.depart(leave, timeoutMs, () => reject(this.#heldTooLong(api.name, version, timeoutMs)));
    });
  }

  // --- Who may send now -------------------------------------------------------------------------------------------------

  /** Called before a request leaves that nothing else holds back. */
  #keepSession(): void {
    const { sasl } = this.#options;
    const isDue = this.#session.isDue(this.#clock.monotonicMs());
    if (sasl !== undefined && isDue && this.#failure === null) void this.#reauthenticate(sasl);
  }

  #heedThrottle(api: string, answer: unknown): void {
    const { throttleTimeMs = 0 } = answer as { readonly throttleTimeMs?: number };
    if (!(throttleTimeMs > 0)) return;
    requestThrottled({ broker: this.name, clientId: this.#clientId, api, throttleTimeMs });
    if (this.#failure === null) this.#departures.throttle(throttleTimeMs);
  }

  /**
   * KIP-368: before the session ends, on the same connection. What comes meanwhile waits; a broker that does not believe us any
   * more, or gives no answer, loses the connection.
   */
  async #reauthenticate(sasl: SaslOptions): Promise<void> {
    const startedMs = this.#clock.monotonicMs();
    const tell = (error: KafkaError | null): void => {
      const durationMs = this.#clock.monotonicMs() - startedMs;
      authenticated({ broker: this.name, clientId: this.#clientId, mechanism: sasl.mechanism, durationMs, error });
    };
    try {
      await this.#authenticate(sasl);
      tell(null);
    } catch (error) {
      const failure = error instanceof KafkaError ? error : this.#lost((error as Error).message, error as Error);
      tell(failure);
      this.#fail(failure);
    }
  }

  async #authenticate(sasl: SaslOptions): Promise<void> {
    this.#session.end();
    if (!this.serves(saslHandshake) || !this.serves(saslAuthenticate)) throw noSaslHere(this.name);
    const timeoutMs = this.#requestTimeoutMs;
    const { promise: ended, reject } = Promise.withResolvers<never>();
    ended.catch(() => {});
    this.#others.add(reject);
    this.#departures.hold();
    try {
      const asking = beginExchange(sasl, { broker: this.name, timeoutMs, ended }, this.#options);
      // A broker answers in order: behind a Fetch or a JoinGroup that waits, the time of these requests would be over too soon.
      const [exchange] = await Promise.all([asking, this.#idle()]);
      const startedMs = this.#clock.monotonicMs();
      const { sessionLifetimeMs } = await authenticate(this.#saslPeer(timeoutMs), sasl.mechanism, exchange);
      if (sessionLifetimeMs > 0) this.#session.begin(startedMs, sessionLifetimeMs, this.#options.random.fraction());
    } finally {
      this.#others.delete(reject);
      this.#departures.release();
    }
  }

  /** All that was sent has been answered, or never will be. */
  async #idle(): Promise<void> {
    if (this.#waiting.isEmpty) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #saslPeer(timeoutMs: number): SaslPeer {
    const [ofHandshake, ofBytes] = [this.versionOf(saslHandshake), this.versionOf(saslAuthenticate)];
    return {
      broker: this.name,
      handshake: async (mechanism) => this.#send(saslHandshake, ofHandshake, { mechanism }, timeoutMs, true),
      authenticate: async (authBytes) => this.#send(saslAuthenticate, ofBytes, { authBytes }, timeoutMs, true),
    };
  }

  // --- Answers ----------------------------------------------------------------------------------------------------------

  #receive(chunk: Buffer): void {
    if (this.#failure !== null) return;
    if (this.#stage === "new" && this.#firstBytes.length < firstBytesMax) {
      this.#firstBytes = Buffer.concat([this.#firstBytes, chunk.subarray(0, firstBytesMax)]).subarray(0, firstBytesMax);
    }
    try {
      if (this.#waiting.isEmpty) throw new MalformedMessage(`${chunk.length} bytes, where nothing was asked`);
      this.#frames.push(chunk);
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      const about = { broker: this.name, stage: this.#stage, isTls: this.#options.tls !== undefined };
      this.#fail(unreadableAnswer(error, this.#firstBytes, about));
    }
  }

  #deliver(frame: Buffer): void {
    // A frame before it in the same chunk may have ended the connection.
    if (this.#failure !== null) return;
    const correlationId = frame.readInt32BE(0);
    const waiting = this.#waiting.first();
    if (waiting?.correlationId !== correlationId) {
      const expected = waiting === undefined ? "nothing was asked" : `the next one is due to ${waiting.correlationId}`;
      throw new MalformedMessage(`an answer to request ${correlationId}, where ${expected}`);
    }
    const { api, version, timeout } = waiting;
    try {
      waiting.receive(frame);
    } catch (error) {
      // Whatever a reader trips over lies in the bytes that came.
      throw new MalformedMessage(`${api} v${version}: ${(error as Error).message}`, { cause: error });
    }
    this.#waiting.shift();
    timeout.cancel();
    if (this.#stage === "greeted" && !api.startsWith("Sasl")) this.#stage = "used";
    this.#session.heed(this.#clock.monotonicMs() - waiting.sentMs);
    this.#tellEnded(waiting, { answerBytes: frame.length, error: null });
    if (this.#waiting.isEmpty) this.#tellIdle();
  }

  #tellEnded(waiting: Waiting, how: { readonly answerBytes: number; readonly error: KafkaError | null }): void {
    const { api, version, correlationId, sentMs, requestBytes } = waiting;
    const latencyMs = this.#clock.monotonicMs() - sentMs;
    const event = { broker: this.name, clientId: this.#clientId, api, version, latencyMs, requestBytes, ...how };
    requestEnded(event);
    this.#options.observer?.ended({ ...event, correlationId });
  }

  #tellIdle(): void {
    const onIdle = this.#onIdle;
    this.#onIdle = null;
    onIdle?.();
  }

  /** The end of the connection: all who wait are told why. */
  #fail(error: KafkaError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    const isFirst = this.#stage === "greeted" && !this.#waiting.isEmpty;
    this.#isUnwanted = isFirst && error.code === "NETWORK_EXCEPTION" && this.#options.sasl === undefined;
    for (const waiting of this.#waiting) {
      waiting.timeout.cancel();
      waiting.fail(error);
      this.#tellEnded(waiting, { answerBytes: 0, error });
    }
    this.#waiting.clear();
    this.#departures.stop();
    this.#tellIdle();
    for (const fail of this.#others) fail(error);
    this.#others.clear();
    this.#connection.destroy(error);
    if (this.#openedMs === null) return;
    const lifetimeMs = this.#clock.monotonicMs() - this.#openedMs;
    connectionClosed({ broker: this.name, clientId: this.#clientId, lifetimeMs, error });
  }
}

function bodyFor<Body>(message: Body | ((version: number) => Body), version: number): Body {
  return typeof message === "function" ? (message as (version: number) => Body)(version) : message;
}
