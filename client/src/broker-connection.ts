import type { Address, Clock, Connection, Network, Timer } from "@millrace/base/world";
import type { Api, ApiInfo } from "kafka-protocol-ts/api";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { brokerError, KafkaError } from "./errors.ts";

const clientSoftware = { clientSoftwareName: "millrace", clientSoftwareVersion: "0.1.0" } as const;
/** Answers larger than this are refused: no length from outside is believed beyond it. */
const frameBytesMax = 256 * 1024 * 1024;

interface Waiting {
  readonly what: string;
  receive(frame: Buffer): void;
  fail(error: KafkaError): void;
  readonly timeout: Timer;
}

/** One connection to one broker: requests are pipelined, answers come in order, versions are negotiated once. */
export class BrokerConnection {
  readonly address: Address;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #clientId: string;
  readonly #requestTimeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  readonly #served = new Map<number, readonly [number, number]>();
  #nextCorrelationId = 1;
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #failure: KafkaError | null = null;

  private constructor(connection: Connection, address: Address, options: BrokerConnectionOptions) {
    this.#connection = connection;
    this.address = address;
    this.#clock = options.clock;
    this.#clientId = options.clientId;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    connection.start({
      onData: (chunk) => this.#receive(chunk),
      onEnd: () =>
        this.#fail(new KafkaError("NETWORK_EXCEPTION", `${this.#name} closed the connection`, { retriable: true })),
      onClose: (error) =>
        this.#fail(
          new KafkaError("NETWORK_EXCEPTION", `lost the connection to ${this.#name}: ${error?.message ?? "closed"}`, {
            retriable: true,
            cause: error,
          }),
        ),
    });
  }

  static async open(network: Network, address: Address, options: BrokerConnectionOptions): Promise<BrokerConnection> {
    let connection: Connection;
    try {
      connection = await network.connect(address, { timeoutMs: options.connectTimeoutMs });
    } catch (error) {
      throw new KafkaError(
        "NOT_CONNECTED",
        `cannot connect to ${address.host}:${address.port}: ${(error as Error).message}`,
        {
          retriable: true,
          cause: error,
        },
      );
    }
    const opened = new BrokerConnection(connection, address, options);
    await opened.#negotiate();
    return opened;
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

  /** Sends and gives the answer with the version that was spoken. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    options: { readonly timeoutMs?: number } = {},
  ): Promise<Res> {
    const version = this.versionOf(api);
    const body = typeof message === "function" ? (message as (version: number) => ReqInput)(version) : message;
    return this.#send(api, version, body, options.timeoutMs ?? this.#requestTimeoutMs);
  }

  close(): void {
    this.#fail(new KafkaError("CLOSED", `the connection to ${this.#name} was closed`));
    this.#connection.destroy();
  }

  get #name(): string {
    return `${this.address.host}:${this.address.port}`;
  }

  async #negotiate(): Promise<void> {
    let version = apiVersions.versions[1];
    for (;;) {
      const answer = await this.#send(apiVersions, version, clientSoftware, this.#requestTimeoutMs);
      if (answer.errorCode === ErrorCode.UNSUPPORTED_VERSION && version > 0) {
        const known = answer.apiKeys.find(({ apiKey }) => apiKey === apiVersions.key);
        version = Math.min(known?.maxVersion ?? 0, version - 1);
        continue;
      }
      if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `ApiVersions of ${this.#name}`);
      for (const { apiKey, minVersion, maxVersion } of answer.apiKeys)
        this.#served.set(apiKey, [minVersion, maxVersion]);
      return;
    }
  }

  #send<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    message: ReqInput,
    timeoutMs: number,
  ): Promise<Res> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const correlationId = this.#nextCorrelationId;
    this.#nextCorrelationId = correlationId === 0x7fffffff ? 1 : correlationId + 1;
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, correlationId, this.#clientId);
    api.request.write(writer, message, version);
    return new Promise<Res>((resolve, reject) => {
      const what = `${api.name} v${version}`;
      this.#waiting.set(correlationId, {
        what,
        timeout: this.#clock.schedule(timeoutMs, () => {
          this.#fail(
            new KafkaError("REQUEST_TIMED_OUT", `${what} got no answer from ${this.#name} within ${timeoutMs} ms`, {
              retriable: true,
            }),
          );
          this.#connection.destroy();
        }),
        fail: reject,
        receive: (frame) => {
          const reader = new ByteReader(frame);
          // Pre-KIP-511 answers to an unknown ApiVersions version have body v0: it is readable whatever was asked.
          readResponseHeader(reader, api, version);
          const isOldAnswer =
            api.key === apiVersions.key && version > 0 && frame.readInt16BE(4) === ErrorCode.UNSUPPORTED_VERSION;
          resolve(api.response.read(reader, isOldAnswer ? 0 : version));
        },
      });
      this.#connection.send(writer.finishFrame() as readonly Uint8Array[]);
    });
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(Buffer.from(chunk));
    this.#bufferedBytes += chunk.length;
    try {
      for (let frame = this.#nextFrame(); frame !== null; frame = this.#nextFrame()) this.#deliver(frame);
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      this.#fail(
        new KafkaError("CORRUPT_MESSAGE", `unreadable answer from ${this.#name}: ${error.message}`, { cause: error }),
      );
      this.#connection.destroy(error);
    }
  }

  #nextFrame(): Buffer | null {
    if (this.#bufferedBytes < 4) return null;
    const joined = (): Buffer => {
      const [first] = this.#chunks;
      const whole =
        this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks, this.#bufferedBytes);
      this.#chunks = [whole];
      return whole;
    };
    const [first] = this.#chunks;
    const head = first !== undefined && first.length >= 4 ? first : joined();
    const sizeBytes = head.readInt32BE(0);
    if (sizeBytes < 4 || sizeBytes > frameBytesMax) throw new MalformedMessage(`a frame claims ${sizeBytes} bytes`);
    if (this.#bufferedBytes < 4 + sizeBytes) return null;
    const whole = joined();
    this.#bufferedBytes -= 4 + sizeBytes;
    this.#chunks = this.#bufferedBytes === 0 ? [] : [whole.subarray(4 + sizeBytes)];
    return whole.subarray(4, 4 + sizeBytes);
  }

  #deliver(frame: Buffer): void {
    const correlationId = frame.readInt32BE(0);
    const waiting = this.#waiting.get(correlationId);
    if (waiting === undefined) throw new MalformedMessage(`an answer to request ${correlationId}, which nobody sent`);
    this.#waiting.delete(correlationId);
    waiting.timeout.cancel();
    try {
      waiting.receive(frame);
    } catch (error) {
      const unreadable = new MalformedMessage(`${waiting.what}: ${(error as Error).message}`);
      waiting.fail(new KafkaError("CORRUPT_MESSAGE", unreadable.message, { cause: error }));
      throw unreadable;
    }
  }

  #fail(error: KafkaError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    for (const waiting of this.#waiting.values()) {
      waiting.timeout.cancel();
      waiting.fail(error);
    }
    this.#waiting.clear();
  }
}

export interface BrokerConnectionOptions {
  readonly clock: Clock;
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
}
