import { Deque } from "@millrace/base/deque";
import type { Address, Clock, Connection, Network, Timer } from "@millrace/base/world";
import type { Api, ApiInfo } from "kafka-protocol-ts/api";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { addressText } from "./address.ts";
import { brokerError, KafkaError } from "./errors.ts";
import { FrameAssembler } from "./frame-assembler.ts";

const clientSoftware = { clientSoftwareName: "millrace", clientSoftwareVersion: "0.1.0" } as const;
/** Answers larger than this are refused: no length from outside is believed beyond it. */
const frameBytesMaxDefault = 256 * 1024 * 1024;
const correlationIdMax = 0x7fff_ffff;

export interface BrokerConnectionOptions {
  readonly clock: Clock;
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly frameBytesMax?: number;
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
}

/** A request that has no answer yet. */
interface Waiting {
  readonly correlationId: number;
  /** "Fetch v17", for messages. */
  readonly what: string;
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
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #clientId: string;
  readonly #requestTimeoutMs: number;
  readonly #frames: FrameAssembler;
  readonly #waiting = new Deque<Waiting>();
  /** Requests without an answer whose bytes have not left. */
  readonly #leaving = new Set<(error: KafkaError) => void>();
  readonly #served = new Map<number, readonly [number, number]>();
  #nextCorrelationId = 1;
  #failure: KafkaError | null = null;

  private constructor(connection: Connection, address: Address, options: BrokerConnectionOptions) {
    this.#connection = connection;
    this.address = address;
    this.#clock = options.clock;
    this.#clientId = options.clientId;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#frames = new FrameAssembler(options.frameBytesMax ?? frameBytesMaxDefault);
    connection.start({
      onData: (chunk) => this.#receive(chunk),
      onEnd: () => this.#fail(this.#lost("the broker closed it")),
      onClose: (error) => this.#fail(this.#lost(error?.message ?? "closed", error)),
    });
  }

  static async open(network: Network, address: Address, options: BrokerConnectionOptions): Promise<BrokerConnection> {
    const { signal, connectTimeoutMs: timeoutMs } = options;
    let connection: Connection;
    try {
      connection = await network.connect(address, { timeoutMs, ...(signal === undefined ? {} : { signal }) });
    } catch (error) {
      throw new KafkaError("NOT_CONNECTED", (error as Error).message, { retriable: true, cause: error });
    }
    const opened = new BrokerConnection(connection, address, options);
    const close = (): void => opened.close();
    signal?.addEventListener("abort", close);
    if (signal?.aborted === true) close();
    try {
      await opened.#negotiate();
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

  /** The highest version both sides speak. */
  versionOf(api: ApiInfo): number {
    const served = this.#served.get(api.key);
    if (served === undefined) throw new KafkaError("UNSUPPORTED_VERSION", `${this.#name} does not serve ${api.name}`);
    const version = Math.min(served[1], api.versions[1]);
    if (version < Math.max(served[0], api.versions[0])) {
      throw new KafkaError(
        "UNSUPPORTED_VERSION",
        `${this.#name} serves ${api.name} ${served[0]} to ${served[1]}; this client speaks ${api.versions[0]} to ${api.versions[1]}`,
      );
    }
    return version;
  }

  /** Sends and gives the answer. A function is asked for the message in the version that is spoken. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    options: { readonly timeoutMs?: number } = {},
  ): Promise<Res> {
    const version = this.versionOf(api);
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
      this.#connection.send(parts, () => {
        this.#leaving.delete(reject);
        resolve();
      });
    });
  }

  close(): void {
    this.#fail(new KafkaError("CLOSED", `the connection to ${this.#name} was closed`));
  }

  get #name(): string {
    return addressText(this.address);
  }

  #lost(reason: string, cause: Error | null = null): KafkaError {
    return new KafkaError("NETWORK_EXCEPTION", `lost the connection to ${this.#name}: ${reason}`, {
      retriable: true,
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
      if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `ApiVersions of ${this.#name}`);
      for (const { apiKey, minVersion, maxVersion } of answer.apiKeys)
        this.#served.set(apiKey, [minVersion, maxVersion]);
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
  ): Promise<Res> {
    if (this.#failure !== null) throw this.#failure;
    const { correlationId, parts } = this.#encode(api, version, message);
    const what = `${api.name} v${version}`;
    return new Promise<Res>((resolve, reject) => {
      const onTimeout = (): void => {
        const sentence = `${what} got no answer from ${this.#name} within ${timeoutMs} ms`;
        this.#fail(new KafkaError("REQUEST_TIMED_OUT", sentence, { retriable: true }));
      };
      const receive = (frame: Buffer): void => {
        const reader = new ByteReader(frame);
        readResponseHeader(reader, api, version);
        const isOldAnswer =
          api.key === apiVersions.key && version > 0 && frame.readInt16BE(4) === ErrorCode.UNSUPPORTED_VERSION;
        resolve(api.response.read(reader, isOldAnswer ? 0 : version));
      };
      const timeout = this.#clock.schedule(timeoutMs, onTimeout);
      this.#waiting.push({ correlationId, what, timeout, receive, fail: reject });
      this.#connection.send(parts);
    });
  }

  #receive(chunk: Buffer): void {
    if (this.#failure !== null) return;
    this.#frames.push(chunk);
    try {
      for (let frame = this.#frames.next(); frame !== null; frame = this.#frames.next()) this.#deliver(frame);
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      const sentence = `unreadable answer from ${this.#name}: ${error.message}`;
      this.#fail(new KafkaError("CORRUPT_MESSAGE", sentence, { cause: error }));
    }
  }

  #deliver(frame: Buffer): void {
    const correlationId = frame.readInt32BE(0);
    const waiting = this.#waiting.first();
    if (waiting?.correlationId !== correlationId) {
      const expected = waiting === undefined ? "nothing was asked" : `the next one is due to ${waiting.correlationId}`;
      throw new MalformedMessage(`an answer to request ${correlationId}, where ${expected}`);
    }
    try {
      waiting.receive(frame);
    } catch (error) {
      // Whatever a reader trips over lies in the bytes that came.
      throw new MalformedMessage(`${waiting.what}: ${(error as Error).message}`, { cause: error });
    }
    this.#waiting.shift();
    waiting.timeout.cancel();
  }

  /** The end of the connection: all who wait are told why. */
  #fail(error: KafkaError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    for (const { timeout, fail } of this.#waiting) {
      timeout.cancel();
      fail(error);
    }
    this.#waiting.clear();
    for (const fail of this.#leaving) fail(error);
    this.#leaving.clear();
    this.#connection.destroy(error);
  }
}

function bodyFor<Body>(message: Body | ((version: number) => Body), version: number): Body {
  return typeof message === "function" ? (message as (version: number) => Body)(version) : message;
}
