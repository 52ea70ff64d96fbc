import { Deque } from "@millrace/base/deque";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Failed, Result } from "@millrace/base/result";
import type { Address, Clock, Connection, Network, Timer } from "@millrace/base/world";
import type { Api, ApiInfo } from "kafka-protocol-ts/api";
import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { UnsupportedFieldVersion } from "kafka-protocol-ts/unsupported";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { AnswerAssembler } from "./answer-assembler.ts";
import type { PeerFailure } from "./failures.ts";

const software = { clientSoftwareName: "millrace-broker", clientSoftwareVersion: "0.1.0" } as const;
const answerBytesMaxDefault = 256 * 1024 * 1024;
const inFlightMaxDefault = 1_000;
const correlationIdMax = 0x7fff_ffff;

export interface PeerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Which node it is, for whoever reads the messages. */
  readonly node: string | number;
  readonly address: Address;
  readonly clientId: string;
  /** For all that comes before the first request: connecting, and asking which versions the node speaks. */
  readonly connectTimeoutMs: number;
  /** An answer that claims to be larger closes the connection. Default 256 MiB. */
  readonly answerBytesMax?: number;
  /** Requests without an answer yet; one more is "busy". Default 1,000. */
  readonly inFlightMax?: number;
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
}

/** Why a connection is closed, with a sentence. */
export interface PeerEnd {
  readonly failure: PeerFailure;
  readonly message: string;
}

/** A request that has no answer yet. */
interface Waiting {
  readonly correlationId: number;
  readonly request: string;
  readonly timeout: Timer;
  receive(answer: Buffer): void;
  fail(end: Failed<PeerFailure>): void;
}

/**
 * An outgoing connection to another node: versions are asked for once, requests are pipelined, answers come in the order of the
 * requests. Whatever goes wrong ends it, and fails everything that waits.
 */
export class PeerConnection {
  readonly address: Address;
  /** "node 2 at host:port" */
  readonly name: string;
  /** Settled when the connection is closed, by whomever; never rejects. */
  readonly closed: Promise<PeerEnd>;
  readonly #tellClosed: (end: PeerEnd) => void;
  readonly #connection: Connection;
  readonly #options: PeerOptions;
  readonly #answers: AnswerAssembler;
  readonly #waiting = new Deque<Waiting>();
  readonly #served = new Map<number, readonly [number, number]>();
  #nextCorrelationId = 1;
  #end: PeerEnd | null = null;

  private constructor(connection: Connection, options: PeerOptions) {
    this.#connection = connection;
    this.#options = options;
    this.address = options.address;
    this.name = nameOf(options);
    const closed = Promise.withResolvers<PeerEnd>();
    this.closed = closed.promise;
    this.#tellClosed = closed.resolve;
    this.#answers = new AnswerAssembler(options.answerBytesMax ?? answerBytesMaxDefault, (answer) =>
      this.#deliver(answer),
    );
    connection.start({
      onData: (chunk) => this.#receive(chunk),
      memory: () => this.#answers.memory(),
      onEnd: () => this.#finish("lost", `${this.name} has closed the connection`),
      onClose: (error) => this.#finish("lost", `the connection to ${this.name} broke: ${error?.message ?? "closed"}`),
    });
  }

  /** Connects and asks which versions the node speaks. */
  static async open(options: PeerOptions): Promise<Result<PeerConnection, PeerFailure>> {
    const { network, clock, address, connectTimeoutMs: timeoutMs, signal } = options;
    const startedMs = clock.monotonicMs();
    let connection: Connection;
    try {
      connection = await network.connect(address, { timeoutMs, ...(signal === undefined ? {} : { signal }) });
    } catch (error) {
      return failed("unreachable", `${nameOf(options)} cannot be reached: ${(error as Error).message}`);
    }
    const opened = new PeerConnection(connection, options);
    const close = (): void => opened.close();
    signal?.addEventListener("abort", close);
    if (signal?.aborted === true) close();
    const leftMs = Math.max(0, timeoutMs - (clock.monotonicMs() - startedMs));
    const greeted = await opened.#greet(leftMs);
    signal?.removeEventListener("abort", close);
    if (greeted.ok) return ok(opened);
    opened.close();
    return greeted;
  }

  get isOpen(): boolean {
    return this.#end === null;
  }

  /** Requests that have no answer yet. */
  get inFlight(): number {
    return this.#waiting.length;
  }

  /** The highest version that both nodes speak. */
  versionOf(api: ApiInfo): Result<number, "unsupported"> {
    const served = this.#served.get(api.key);
    if (served === undefined)
      return failed("unsupported", `${this.name} does not serve ${api.name} (API key ${api.key})`);
    const version = Math.min(served[1], api.versions[1]);
    if (version >= Math.max(served[0], api.versions[0])) return ok(version);
    const [theirs, ours] = [served.join(" to "), api.versions.join(" to ")];
    return failed("unsupported", `${this.name} serves ${api.name} ${theirs}, and this node speaks ${ours}`);
  }

  /**
   * Sends and gives the answer; requests leave in the order of the calls. A function is asked for the message in the version that is
   * spoken. Bytes of the answer stay valid as long as somebody holds them. One that is not answered in time ends the connection.
   */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<Result<Res, PeerFailure>> {
    if (this.#end !== null) return failed(this.#end.failure, this.#end.message);
    const version = this.versionOf(api);
    if (!version.ok) return version;
    const body = typeof message === "function" ? (message as (version: number) => ReqInput)(version.value) : message;
    return this.#send(api, version.value, body, timeoutMs);
  }

  /** Closes; what waits for an answer fails with "closed". Twice is harmless. */
  close(): void {
    this.#finish("closed", `the connection to ${this.name} was closed`);
  }

  /** KIP-511: a node that does not know our version of ApiVersions says so in version 0, with the versions that it knows. */
  async #greet(timeoutMs: number): Promise<Result<void, PeerFailure>> {
    const startedMs = this.#options.clock.monotonicMs();
    let version = apiVersions.versions[1];
    for (;;) {
      const leftMs = Math.max(0, timeoutMs - (this.#options.clock.monotonicMs() - startedMs));
      const answer = await this.#send(apiVersions, version, software, leftMs);
      if (!answer.ok) return answer;
      const { errorCode, apiKeys } = answer.value;
      if (errorCode === ErrorCode.UNSUPPORTED_VERSION && version > 0) {
        const known = apiKeys.find(({ apiKey }) => apiKey === apiVersions.key);
        version = Math.max(0, Math.min(known?.maxVersion ?? 0, version - 1));
        continue;
      }
      if (errorCode !== ErrorCode.NONE)
        return failed("unsupported", `${this.name} refuses ApiVersions: ${errorMessage(errorCode as ErrorCode)}`);
      for (const { apiKey, minVersion, maxVersion } of apiKeys) this.#served.set(apiKey, [minVersion, maxVersion]);
      return ok(undefined);
    }
  }

  async #send<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    message: ReqInput,
    timeoutMs: number,
  ): Promise<Result<Res, PeerFailure>> {
    if (this.#end !== null) return failed(this.#end.failure, this.#end.message);
    const { clock, clientId, inFlightMax = inFlightMaxDefault } = this.#options;
    const request = `${api.name} v${version}`;
    if (this.#waiting.length >= inFlightMax)
      return failed("busy", `${inFlightMax} requests to ${this.name} have no answer yet: ${request} is one too many`);
    const correlationId = this.#nextCorrelationId;
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, correlationId, clientId);
    try {
      api.request.write(writer, message, version);
    } catch (error) {
      if (!(error instanceof UnsupportedFieldVersion)) throw error;
      return failed("unsupported", `${this.name} is of an older version: ${error.message}`);
    }
    this.#nextCorrelationId = correlationId === correlationIdMax ? 1 : correlationId + 1;
    return new Promise((resolve) => {
      const receive = (answer: Buffer): void => {
        const reader = new ByteReader(answer);
        readResponseHeader(reader, api, version);
        const isOldAnswer =
          api.key === apiVersions.key && version > 0 && answer.readInt16BE(4) === ErrorCode.UNSUPPORTED_VERSION;
        resolve(ok(api.response.read(reader, isOldAnswer ? 0 : version)));
      };
      const timeout = clock.schedule(timeoutMs, () =>
        this.#finish("timed-out", `${this.name} did not answer ${request} within ${timeoutMs} ms`, waiting),
      );
      const waiting: Waiting = { correlationId, request, timeout, receive, fail: resolve };
      this.#waiting.push(waiting);
      this.#connection.send(writer.finishFrame() as readonly Uint8Array[]);
    });
  }

  #receive(chunk: Buffer): void {
    if (this.#end !== null) return;
    try {
      if (this.#waiting.isEmpty) throw new MalformedMessage(`${chunk.length} bytes, where nothing was asked`);
      this.#answers.push(chunk);
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      this.#finish("malformed", `${this.name} sent what is no answer: ${error.message}`, this.#waiting.first());
    }
  }

  #deliver(answer: Buffer): void {
    // An answer before it in the same chunk may have ended the connection.
    if (this.#end !== null) return;
    const correlationId = answer.readInt32BE(0);
    const waiting = this.#waiting.first();
    if (waiting?.correlationId !== correlationId) {
      const expected = waiting === undefined ? "nothing was asked" : `the next one is due to ${waiting.correlationId}`;
      throw new MalformedMessage(`an answer to request ${correlationId}, where ${expected}`);
    }
    try {
      waiting.receive(answer);
    } catch (error) {
      // Whatever a reader trips over lies in the bytes that came.
      throw new MalformedMessage(`${waiting.request}: ${(error as Error).message}`, { cause: error });
    }
    this.#waiting.shift();
    waiting.timeout.cancel();
  }

  /** All who wait are told; to those who are not to blame (`culprit`) it is a connection that was lost. */
  #finish(failure: PeerFailure, message: string, culprit?: Waiting): void {
    if (this.#end !== null) return;
    this.#end = { failure, message };
    for (const waiting of this.#waiting) {
      waiting.timeout.cancel();
      waiting.fail(failed(culprit === undefined || waiting === culprit ? failure : "lost", message));
    }
    this.#waiting.clear();
    this.#connection.destroy();
    if (failure !== "closed") this.#options.logger.debug("a connection to another node has ended", { reason: message });
    this.#tellClosed(this.#end);
  }
}

function nameOf({ node, address }: PeerOptions): string {
  return `node ${node} at ${address.host}:${address.port}`;
}
