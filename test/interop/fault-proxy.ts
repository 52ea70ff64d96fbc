import type { Socket } from "node:net";
import type { Api } from "kafka-protocol-ts/api";
import { Relay, type Relayed } from "./relay.ts";

/** A frame to stop: the first request of this client and API that comes from now on, or the answer to it. */
export interface Stop {
  /** How the name of the client begins. */
  readonly client: string;
  readonly api: Pick<Api<never, never>, "key">;
  readonly at: "request" | "response";
}

/** The frame has not been passed on, and nothing else of its connection is until it is. */
export interface Stopped {
  pass(): void;
  /** Both sides see the connection close: the frame is lost. */
  cut(): void;
}

interface Waiting {
  readonly stop: Stop;
  readonly resolve: (stopped: Stopped) => void;
}

/**
 * Stands between clients and the broker, knows the frames of the protocol, and stops one on demand: so a test can kill
 * a process just when a request was sent and not yet heard, or was heard and not yet answered.
 */
export class FaultProxy implements AsyncDisposable {
  readonly #relay: Relay;
  #waiting: Waiting | null = null;

  constructor(ports: { readonly port: number; readonly brokerPort: number }) {
    this.#relay = new Relay(ports, (relayed) => this.#pass(relayed));
  }

  /** Resolves when the frame is here. One at a time. */
  async stopAt(stop: Stop): Promise<Stopped> {
    if (this.#waiting !== null) throw new Error("another frame is waited for");
    const { promise, resolve } = Promise.withResolvers<Stopped>();
    this.#waiting = { stop, resolve };
    return await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay[Symbol.asyncDispose]();
  }

  #pass({ client, broker, cut }: Relayed): void {
    /** Correlation ids of the requests whose answer is to be stopped. */
    const awaited = new Map<number, Waiting>();
    const stopped = (waiting: Waiting, pass: () => void): void => {
      this.#waiting = null;
      waiting.resolve({ pass, cut });
    };
    passFrames(client, broker, (frame, pass) => {
      const waiting = this.#waiting;
      if (waiting === null || !isMeant(frame, waiting.stop)) return false;
      if (waiting.stop.at === "request") {
        stopped(waiting, pass);
        return true;
      }
      awaited.set(frame.readInt32BE(8), waiting);
      return false;
    });
    passFrames(broker, client, (frame, pass) => {
      const waiting = awaited.get(frame.readInt32BE(4));
      if (waiting === undefined || waiting !== this.#waiting) return false;
      stopped(waiting, pass);
      return true;
    });
  }
}

/** Frame by frame, until one is held; then all waits until it is passed on. */
function passFrames(from: Socket, to: Socket, holds: (frame: Buffer, pass: () => void) => boolean): void {
  let rest: Buffer = Buffer.alloc(0);
  let isHeld = false;
  const pump = (): void => {
    while (!isHeld && rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const frame = rest.subarray(0, 4 + rest.readInt32BE(0));
      rest = rest.subarray(frame.length);
      const pass = (): void => {
        to.write(frame);
        isHeld = false;
        pump();
      };
      isHeld = holds(frame, pass);
      if (!isHeld) to.write(frame);
    }
  };
  from.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    pump();
  });
}

/** A request's frame: size, key, version, correlation id, and the length and bytes of the client's name. */
function isMeant(frame: Buffer, { client, api }: Stop): boolean {
  if (frame.readInt16BE(4) !== api.key) return false;
  const nameLength = frame.readInt16BE(12);
  return nameLength > 0 && frame.toString("utf8", 14, 14 + nameLength).startsWith(client);
}
