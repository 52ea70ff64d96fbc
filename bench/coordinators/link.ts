import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import type { Api } from "kafka-protocol-ts/api";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

const correlationIdAt = 8;

/** The whole frame, a view that lasts as long as the call. */
type Answered = (answer: Buffer) => void;

/**
 * One connection with any number of requests on their way. What a load sends again and again is a frame that was built
 * once and is changed in place, and of its answer a few bytes are read where they must lie; for the rest there is `call`.
 */
export class Link {
  readonly #socket: Socket;
  /** Answers come in the order of the requests. */
  readonly #waiting: { readonly correlationId: number; readonly answered: Answered }[] = [];
  readonly #onLost: (reason: string) => void;
  /** The beginning of a frame, and with how many bytes it is worth another look. */
  #parts: Buffer[] = [];
  #haveBytes = 0;
  #wantBytes = 4;
  #nextCorrelationId = 1;
  #isClosed = false;

  private constructor(socket: Socket, onLost: (reason: string) => void) {
    this.#socket = socket;
    this.#onLost = onLost;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error) => this.#lost(error.message));
    socket.on("close", () => this.#lost("the broker closed the connection"));
  }

  static async open(port: number, onLost: (reason: string) => void = failRun): Promise<Link> {
    const socket = createConnection({ port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return new Link(socket, onLost);
  }

  /** The frame's memory belongs to the socket until the answer has come. */
  send(frame: Buffer, answered: Answered): void {
    const correlationId = this.#nextCorrelationId++;
    frame.writeInt32BE(correlationId, correlationIdAt);
    this.#waiting.push({ correlationId, answered });
    this.#socket.write(frame);
  }

  call<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    request: ReqInput,
  ): Promise<Res> {
    return new Promise((resolve) => {
      this.send(frameOf(api, version, request), (answer) => {
        // What is read may be views of it.
        const reader = new ByteReader(Buffer.from(answer), 4);
        readResponseHeader(reader, api, version);
        resolve(api.response.read(reader, version));
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#haveBytes += chunk.length;
    if (this.#haveBytes < this.#wantBytes) return;
    const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    let at = 0;
    this.#wantBytes = 4;
    // What the answers make room for goes out in one call.
    this.#socket.cork();
    while (bytes.length >= at + 4) {
      const sizeBytes = 4 + bytes.readInt32BE(at);
      if (bytes.length < at + sizeBytes) {
        this.#wantBytes = sizeBytes;
        break;
      }
      const answer = bytes.subarray(at, at + sizeBytes);
      const next = this.#waiting.shift();
      if (next === undefined || next.correlationId !== answer.readInt32BE(4)) failRun("an answer came out of turn");
      next.answered(answer);
      at += sizeBytes;
    }
    this.#socket.uncork();
    this.#haveBytes = bytes.length - at;
    this.#parts = this.#haveBytes === 0 ? [] : [bytes.subarray(at)];
  }

  #lost(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onLost(reason);
  }
}

/** A request with its header; the correlation id is written when it is sent. */
export function frameOf<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  version: number,
  request: ReqInput,
): Buffer {
  const writer = new ByteWriter();
  writeRequestHeader(writer, api, version, 0, "bench");
  api.request.write(writer, request, version);
  // A copy: the writer's memory is shared with others, and this is changed in place.
  return Buffer.concat(writer.finishFrame() as readonly Buffer[]);
}

export function failRun(reason: string): never {
  console.error(`bench: ${reason}`);
  process.exit(1);
}
