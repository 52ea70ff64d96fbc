import { must } from "@millrace/base/assert";
import type { Address, Connection, Listener, Network } from "@millrace/base/world";
import { apis } from "kafka-protocol-ts/apis";
import type { Api } from "kafka-protocol-ts/api";
import { readRequestHeader, writeResponseHeader } from "kafka-protocol-ts/header";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

/** A request as it came, and ways to answer it that no honest broker takes. */
export interface Asked<Req> {
  readonly api: string;
  readonly version: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly message: Req;
  readonly connection: Connection;
}

export const silence: unique symbol = Symbol("no answer");
type Reply<T> = T | typeof silence;
type Answer = (asked: Asked<never>) => unknown;

/** A broker that says what a test tells it to say: to test a client against answers that a real one gives rarely or never. */
export class FakeBroker implements AsyncDisposable {
  readonly address: Address;
  /** All requests but ApiVersions, in the order in which they came. */
  readonly asked: Asked<unknown>[] = [];
  readonly connections = new Set<Connection>();
  connectionsCount = 0;
  /** What becomes of an answer before it leaves: the frame with its length in front. */
  mangle: ((frame: Buffer) => Buffer) | null = null;
  readonly #listener: Listener;
  readonly #answers = new Map<number, Answer>();
  readonly #versions = new Map<number, readonly [number, number]>();

  private constructor(listener: Listener) {
    this.#listener = listener;
    this.address = listener.address;
  }

  static async start(network: Network, port: number): Promise<FakeBroker> {
    const self: { broker: FakeBroker | null } = { broker: null };
    const listener = await network.listen({ host: "broker", port }, (connection) => self.broker?.serve(connection));
    self.broker = new FakeBroker(listener);
    return self.broker;
  }

  get text(): string {
    return `${this.address.host}:${this.address.port}`;
  }

  /** From now on this API is served, in the client's own versions or in these. */
  on<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    answer: (asked: Asked<Req>) => Reply<ResInput> | Promise<Reply<ResInput>>,
    versions: readonly [number, number] = api.versions,
  ): void {
    this.#answers.set(api.key, answer);
    this.#versions.set(api.key, versions);
  }

  /** How an API is answered until now. */
  answerOf({ key }: { readonly key: number }): ((asked: Asked<unknown>) => unknown) | null {
    return (this.#answers.get(key) as ((asked: Asked<unknown>) => unknown) | undefined) ?? null;
  }

  /** Names of the requests that came. */
  get names(): string[] {
    return this.asked.map(({ api }) => api);
  }

  /** Breaks all connections. */
  cut(): void {
    for (const connection of this.connections) connection.destroy();
  }

  async stop(): Promise<void> {
    await this.#listener.close();
    this.cut();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  serve(connection: Connection): void {
    this.connections.add(connection);
    this.connectionsCount++;
    let buffered = Buffer.alloc(0);
    let before: Promise<void> = Promise.resolve();
    connection.start({
      onData: (chunk) => {
        buffered = Buffer.concat([buffered, chunk]);
        while (buffered.length >= 4 && buffered.length >= 4 + buffered.readInt32BE(0)) {
          const end = 4 + buffered.readInt32BE(0);
          const frame = Buffer.from(buffered.subarray(4, end));
          buffered = buffered.subarray(end);
          const answered = this.#answer(frame, connection);
          // As a broker does: answers in the order of the requests.
          before = before.then(async () => {
            const bytes = await answered;
            if (bytes !== null) connection.send(bytes);
          });
        }
      },
      onEnd: () => connection.destroy(),
      onClose: () => this.connections.delete(connection),
    });
  }

  async #answer(frame: Buffer, connection: Connection): Promise<readonly Uint8Array[] | null> {
    const reader = new ByteReader(frame);
    const { apiKey, apiVersion, correlationId, clientId } = readRequestHeader(reader);
    const api = must(apis[apiKey], `API ${apiKey}`);
    const message = api.request.read(reader, apiVersion);
    const answer = this.#answers.get(apiKey) ?? this.#default(apiKey);
    const asked = { api: api.name, version: apiVersion, correlationId, clientId, message, connection };
    if (apiKey !== apiVersions.key) this.asked.push(asked);
    const reply = await answer(asked as Asked<never>);
    if (reply === silence) return null;
    const parts = response(api, { version: apiVersion, correlationId }, reply);
    return this.mangle === null ? parts : [this.mangle(Buffer.concat(parts))];
  }

  #default(apiKey: number): Answer {
    if (apiKey !== apiVersions.key) throw new Error(`nobody told the fake broker how to answer API ${apiKey}`);
    return () => ({ errorCode: ErrorCode.NONE, apiKeys: this.served });
  }

  /** For answers to ApiVersions. */
  get served(): { apiKey: number; minVersion: number; maxVersion: number }[] {
    const all = new Map(this.#versions);
    if (!all.has(apiVersions.key)) all.set(apiVersions.key, apiVersions.versions);
    return [...all].map(([apiKey, [minVersion, maxVersion]]) => ({ apiKey, minVersion, maxVersion }));
  }
}

/** A whole response, as bytes with the length in front. */
export function response(
  api: Api<unknown, unknown>,
  { version, correlationId }: { readonly version: number; readonly correlationId: number },
  message: unknown,
): readonly Uint8Array[] {
  const writer = new ByteWriter();
  writeResponseHeader(writer, api, version, correlationId);
  api.response.write(writer, message, version);
  return writer.finishFrame() as readonly Uint8Array[];
}
