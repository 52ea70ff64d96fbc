import type { Address, Connection, Network } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { readRequestHeader, writeResponseHeader } from "kafka-protocol-ts/header";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

type Range = readonly [number, number];

export interface Asked {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  /** The connection, counted from 0. */
  readonly connection: number;
}

export interface FakePeerOptions {
  readonly network: Network;
  readonly address: Address;
  /** What it says it serves; null: it answers ApiVersions no more than anything else. */
  readonly versions: Readonly<Record<number, Range>> | null;
}

/** A node that answers what a test wants it to, true or not. */
export class FakePeer {
  /** All but ApiVersions. */
  readonly asked: Asked[] = [];
  readonly connections: Connection[] = [];
  /** Connections whose other end has closed them. */
  closedCount = 0;
  #versions: FakePeerOptions["versions"];

  private constructor(versions: FakePeerOptions["versions"]) {
    this.#versions = versions;
  }

  static async listen({ network, address, versions }: FakePeerOptions): Promise<FakePeer> {
    const peer = new FakePeer(versions);
    await network.listen(address, (connection) => peer.#take(connection));
    return peer;
  }

  /** To the connection that came last, unless another is named. */
  send(bytes: Uint8Array, connection: number = this.connections.length - 1): void {
    this.connections[connection]?.send([bytes]);
  }

  answer<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    { apiVersion, correlationId, connection }: Asked,
    response: ResInput,
  ): void {
    this.send(answerBytes(api, apiVersion, correlationId, response), connection);
  }

  #take(connection: Connection): void {
    const number = this.connections.push(connection) - 1;
    let bytes: Buffer = Buffer.alloc(0);
    connection.start({
      onData: (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
        while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
          const end = 4 + bytes.readInt32BE(0);
          this.#hear(bytes.subarray(4, end), number);
          bytes = bytes.subarray(end);
        }
      },
      onEnd: () => connection.end(),
      onClose: () => void this.closedCount++,
    });
  }

  #hear(frame: Buffer, connection: number): void {
    const { apiKey, apiVersion, correlationId } = readRequestHeader(new ByteReader(frame));
    const asked: Asked = { apiKey, apiVersion, correlationId, connection };
    if (apiKey !== apiVersions.key || this.#versions === null) {
      this.asked.push(asked);
      return;
    }
    const apiKeys = Object.entries(this.#versions).map(([key, [minVersion, maxVersion]]) => {
      return { apiKey: Number(key), minVersion, maxVersion };
    });
    const [first, last] = this.#versions[apiVersions.key] ?? apiVersions.versions;
    const isKnown = apiVersion >= first && apiVersion <= last;
    const errorCode = isKnown ? 0 : 35;
    const bytes = answerBytes(apiVersions, isKnown ? apiVersion : 0, correlationId, { errorCode, apiKeys });
    this.send(bytes, connection);
  }
}

/** A frame with its length. */
export function answerBytes<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  version: number,
  correlationId: number,
  response: ResInput,
): Buffer {
  const writer = new ByteWriter();
  writeResponseHeader(writer, api, version, correlationId);
  api.response.write(writer, response, version);
  return Buffer.concat(writer.finishFrame().map((part) => Buffer.from(part as Uint8Array)));
}
