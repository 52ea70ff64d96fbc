import { Deque } from "@millrace/base/deque";
import type { Address, Clock, Connection, Network, Random, Timer, TlsClientOptions } from "@millrace/base/world";
import type { Api, ApiInfo } from "kafka-protocol-ts/api";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { saslAuthenticate } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { saslHandshake } from "kafka-protocol-ts/messages/17-sasl-handshake";
import { brokerError, KafkaError } from "../errors.ts";
import { addressText } from "./address.ts";
import { authenticate } from "./authentication.ts";
import type { SaslOptions } from "./authentication.ts";
import { connectionClosed, connectionOpened, requestEnded, requestThrottled } from "./diagnostics.ts";
import { FrameAssembler } from "./frame-assembler.ts";

const clientSoftware = { clientSoftwareName: "millrace", clientSoftwareVersion: "0.1.0" } as const;
/** Answers larger than this are refused: no length from outside is believed beyond it. */
const frameBytesMaxDefault = 256 * 1024 * 1024;
const correlationIdMax = 0x7fff_ffff;

export interface BrokerConnectionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly frameBytesMax?: number;
  readonly tls?: TlsClientOptions;
  readonly sasl?: SaslOptions;
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
  /** Requests without an answer whose bytes have not left. */
  readonly #leaving = new Set<(error: KafkaError) => void>();
  readonly #served = new Map<number, readonly [number, number]>();
  readonly #features = new Map<string, number>();
  /** Requests that leave when the broker has heard who we are, or wants to hear from us again. */
  #held: (() => void)[] = [];
  #holds = 0;
  /** From then on we say again who we are, before the next request (KIP-368). Monotonic. */
  #reauthenticateAtMs = Number.POSITIVE_INFINITY;
  #throttledUntilMs = 0;
  #throttle: Timer | null = null;
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
    this.#frames = new FrameAssembler(options.frameBytesMax ?? frameBytesMaxDefault, (frame) => this.#deliver(frame));
    connection.start({
      onData: (chunk) => this.#receive(chunk),
      onEnd: () => this.#fail(this.#lost("the broker closed it")),
      onClose: (error) => this.#fail(this.#lost(error?.message ?? "closed", error)),
    });
  }

  static async open(network: Network, address: Address, options: BrokerConnectionOptions): Promise<BrokerConnection> {
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
      connectionOpened({ broker: addressText(address) });
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
    return this.#throttledUntilMs > this.#clock.monotonicMs();
  }

  /** Requests that have no answer yet. */
  get inFlight(): number {
    return this.#waiting.length + this.#held.length;
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

  /** Sends and gives the answer. A function is asked for the message in the version that is spoken. */
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
    await new Promise<void>((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      this.#leaving.add(reject);
      this.#whenFree(() =>
        this.#connection.send(parts, () => {
          this.#leaving.delete(reject);
          resolve();
        }),
      );
    });
  }

  close(): void {
    this.#fail(new KafkaError("CLOSED", `the connection to ${this.name} was closed`));
  }

  #lost(reason: string, cause: Error | null = null): KafkaError {
    return new KafkaError("NETWORK_EXCEPTION", `lost the connection to ${this.name}: ${reason}`, {
      retriable: true,
      broker: this.name,
      ...(cause === null ? {} : { cause }),
    });
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
      return;
    }
  }

  #encode<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    message: ReqInput,
  ): { readonly correlationId: number; readonly parts: readonly Uint8Array[] } {
    const correlationId = this.#nextCorrelationId;
    this.#nextCorrelationId = correlationId === correlationIdMax ? 1 : correlationId + 1;
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, correlationId, this.#clientId);
    api.request.write(writer, message, version);
    return { correlationId, parts: writer.finishFrame() as readonly Uint8Array[] };
  }

  async #send<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    message: ReqInput,
    timeoutMs: number,
    isUrgent = false,
  ): Promise<Res> {
    if (this.#failure !== null) throw this.#failure;
    const { correlationId, parts } = this.#encode(api, version, message);
    return new Promise<Res>((resolve, reject) => {
      const onTimeout = (): void => {
        const sentence = `${api.name} v${version} got no answer from ${this.name} within ${timeoutMs} ms`;
        this.#fail(new KafkaError("REQUEST_TIMED_OUT", sentence, { retriable: true, broker: this.name }));
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
        this.#waiting.push({ correlationId, api: api.name, version, sentMs, timeout, receive, fail: reject });
        this.#connection.send(parts);
      };
      if (isUrgent) leave();
      else this.#whenFree(leave);
    });
  }

  // --- Who may send now -------------------------------------------------------------------------------------------------

  /** At once, or behind those that wait already. */
  #whenFree(leave: () => void): void {
    const { sasl } = this.#options;
    if (sasl !== undefined && this.#holds === 0 && this.#clock.monotonicMs() >= this.#reauthenticateAtMs) {
      // What is in flight is answered first, since answers keep their order; what comes now waits for the end of it.
      this.#authenticate(sasl).catch((error: unknown) => this.#fail(error as KafkaError));
    }
    if (this.#holds === 0) leave();
    else this.#held.push(leave);
  }

  #hold(): void {
    this.#holds++;
  }

  #release(): void {
    this.#holds--;
    if (this.#holds > 0) return;
    const held = this.#held;
    this.#held = [];
    for (const leave of held) leave();
  }

  /** KIP-219: a broker that throttles says so in its answer, and reads nothing of us for so long. */
  #heedThrottle(api: string, answer: unknown): void {
    const { throttleTimeMs = 0 } = answer as { readonly throttleTimeMs?: number };
    if (!(throttleTimeMs > 0)) return;
    requestThrottled({ broker: this.name, api, throttleTimeMs });
    const untilMs = this.#clock.monotonicMs() + throttleTimeMs;
    const isThrottled = this.isThrottled;
    this.#throttledUntilMs = Math.max(this.#throttledUntilMs, untilMs);
    if (isThrottled) return;
    this.#hold();
    const look = (): void => {
      const restMs = this.#throttledUntilMs - this.#clock.monotonicMs();
      if (restMs > 0 && this.#failure === null)
        this.#throttle = this.#clock.schedule(restMs, look, { isAwaited: true });
      else this.#release();
    };
    look();
  }

  async #authenticate(sasl: SaslOptions): Promise<void> {
    this.#reauthenticateAtMs = Number.POSITIVE_INFINITY;
    this.#hold();
    try {
      const timeoutMs = this.#requestTimeoutMs;
      const { sessionLifetimeMs } = await authenticate(
        {
          host: this.address.host,
          broker: this.name,
          handshake: async (mechanism) =>
            this.#send(saslHandshake, this.versionOf(saslHandshake), { mechanism }, timeoutMs, true),
          authenticate: async (authBytes) =>
            this.#send(saslAuthenticate, this.versionOf(saslAuthenticate), { authBytes }, timeoutMs, true),
        },
        sasl,
        this.#options,
      );
      if (sessionLifetimeMs > 0) {
        // As the Java client: somewhere between 85 and 95 % of the session, so that not all come at once.
        const share = 0.85 + 0.1 * this.#options.random.fraction();
        this.#reauthenticateAtMs = this.#clock.monotonicMs() + share * sessionLifetimeMs;
      }
    } finally {
      this.#release();
    }
  }

  // --- Answers ----------------------------------------------------------------------------------------------------------

  #receive(chunk: Buffer): void {
    if (this.#failure !== null) return;
    try {
      this.#frames.push(chunk);
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      const sentence = `unreadable answer from ${this.name}: ${error.message}${this.#hint()}`;
      this.#fail(new KafkaError("CORRUPT_MESSAGE", sentence, { cause: error, broker: this.name }));
    }
  }

  /** A first answer that is no frame is most often another protocol's. */
  #hint(): string {
    if (this.#served.size > 0) return "";
    return "; it may not be a Kafka broker, or a port where TLS is spoken";
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
    const { api, version, sentMs, timeout } = waiting;
    try {
      waiting.receive(frame);
    } catch (error) {
      // Whatever a reader trips over lies in the bytes that came.
      throw new MalformedMessage(`${api} v${version}: ${(error as Error).message}`, { cause: error });
    }
    this.#waiting.shift();
    timeout.cancel();
    const latencyMs = this.#clock.monotonicMs() - sentMs;
    requestEnded({ broker: this.name, api, version, latencyMs, answerBytes: frame.length, error: null });
  }

  /** The end of the connection: all who wait are told why. */
  #fail(error: KafkaError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#throttle?.cancel();
    for (const { api, version, sentMs, timeout, fail } of this.#waiting) {
      timeout.cancel();
      fail(error);
      const latencyMs = this.#clock.monotonicMs() - sentMs;
      requestEnded({ broker: this.name, api, version, latencyMs, answerBytes: 0, error });
    }
    this.#waiting.clear();
    const held = this.#held;
    this.#held = [];
    for (const leave of held) leave();
    for (const fail of this.#leaving) fail(error);
    this.#leaving.clear();
    this.#connection.destroy(error);
    if (this.#served.size > 0) connectionClosed({ broker: this.name, error });
  }
}

function bodyFor<Body>(message: Body | ((version: number) => Body), version: number): Body {
  return typeof message === "function" ? (message as (version: number) => Body)(version) : message;
}

function connectFailure(error: Error, address: Address): KafkaError {
  const { code = "" } = error as { readonly code?: string };
  const options = { cause: error, broker: addressText(address) };
  // Another try meets the same certificate.
  const isOfTls =
    code.startsWith("ERR_SSL") || code.startsWith("ERR_TLS") || code.startsWith("CERT_") || code.includes("_CERT");
  if (isOfTls) return new KafkaError("TLS_FAILED", error.message, options);
  return new KafkaError("NOT_CONNECTED", error.message, { ...options, retriable: true });
}
