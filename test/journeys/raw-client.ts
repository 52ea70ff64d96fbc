import { nodeWorld } from "@millrace/base/node/node-world";
import type { Address, Connection, Network } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

const tcp: Network = nodeWorld({ isNativeWanted: false }).network;

export interface RawClientOptions {
  /** TCP, or the simulated network on which the broker listens. */
  readonly network?: Network;
  readonly clientId?: string | null;
}

/** A connection that does just what a test tells it: any version, any bytes, requests pipelined without waiting. */
export class RawClient implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #clientId: string | null;
  readonly #waiting: { resolve(frame: Buffer): void; reject(error: Error): void }[] = [];
  #chunks: Buffer[] = [];
  #receivedBytes = 0;
  #nextCorrelationId = 1;
  #isClosed = false;
  /** Correlation ids in the order in which answers arrived. */
  readonly answered: number[] = [];
  readonly closed: Promise<void>;

  private constructor(connection: Connection, clientId: string | null) {
    this.#connection = connection;
    this.#clientId = clientId;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    connection.start({
      onData: (chunk) => this.#receive(chunk),
      onEnd: () => connection.end(),
      onClose: () => {
        this.#isClosed = true;
        for (const { reject } of this.#waiting) reject(new Error("the broker closed the connection"));
        this.#waiting.length = 0;
        resolve();
      },
    });
  }

  static async connect(address: Address, { network = tcp, clientId = "raw" }: RawClientOptions = {}) {
    return new RawClient(await network.connect(address, { timeoutMs: 10_000 }), clientId);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Requests that have no answer yet. */
  get unanswered(): number {
    return this.#waiting.length;
  }

  /** What the broker's side has not taken yet, beyond what the system holds for it. */
  get unsentBytes(): number {
    return this.#connection.queuedBytes;
  }

  /** Sends now; settles with the answer. Answers are matched by their order, which is what Kafka promises. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    body: ReqInput,
  ): Promise<Res> {
    const correlationId = this.#nextCorrelationId++;
    const frame = await this.exchange(encodeRequest(api, version, correlationId, body, this.#clientId));
    if (frame.readInt32BE(0) !== correlationId) {
      throw new Error(`the answer to ${correlationId} was expected, that to ${frame.readInt32BE(0)} came`);
    }
    const reader = new ByteReader(frame);
    readResponseHeader(reader, api, version);
    const response = api.response.read(reader, version);
    if (reader.remaining > 0) throw new Error(`${reader.remaining} bytes follow a ${api.name} v${version} answer`);
    return response;
  }

  /** Sends these bytes and settles with the next answer's frame. */
  async exchange(bytes: Buffer): Promise<Buffer> {
    if (this.#isClosed) throw new Error("the broker closed the connection");
    this.#connection.send([bytes]);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  /** Sends bytes and expects nothing. */
  write(bytes: Buffer): void {
    this.#connection.send([bytes]);
  }

  /** Reads nothing any more, so that TCP makes the broker wait. */
  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  /** Says that nothing more will be sent, and hears nothing any more. */
  end(): void {
    this.#connection.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.destroy();
    await this.closed;
  }

  #receive(chunk: Buffer): void {
    // It is valid during the call only.
    this.#chunks.push(Buffer.from(chunk));
    this.#receivedBytes += chunk.length;
    for (let frame = this.#takeFrame(); frame !== null; frame = this.#takeFrame()) {
      this.answered.push(frame.readInt32BE(0));
      this.#waiting.shift()?.resolve(frame);
    }
  }

  #takeFrame(): Buffer | null {
    if (this.#receivedBytes < 4) return null;
    if ((this.#chunks[0]?.length ?? 0) < 4) this.#chunks = [Buffer.concat(this.#chunks)];
    const sizeBytes = this.#chunks[0]?.readInt32BE(0) ?? 0;
    if (this.#receivedBytes < 4 + sizeBytes) return null;
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(4 + sizeBytes)];
    this.#receivedBytes -= 4 + sizeBytes;
    return all.subarray(4, 4 + sizeBytes);
  }
}

/** A whole frame, length included. */
export function encodeRequest<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  version: number,
  correlationId: number,
  body: ReqInput,
  clientId: string | null = "raw",
): Buffer {
  const writer = new ByteWriter();
  writeRequestHeader(writer, api, version, correlationId, clientId);
  api.request.write(writer, body, version);
  return Buffer.concat(writer.finishFrame() as readonly Buffer[]);
}
