import { createConnection, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { Prng } from "@millrace/base/prng";

/** What may happen to a chunk on its way, each with its chance. What is left passes as it is. */
export interface Chaos {
  /** It waits, and all behind it, for up to `delayMsMax`. */
  readonly delay: number;
  readonly delayMsMax: number;
  /** A part of it passes, then both sides see the connection close. */
  readonly cut: number;
  /** As `cut`, by RST. */
  readonly reset: number;
  /** Nothing passes in this direction any more, and nobody hears of it. */
  readonly stall: number;
  /** It passes in pieces of a few bytes, each an event of its own. */
  readonly crumble: number;
}

export const calm: Chaos = { delay: 0, delayMsMax: 0, cut: 0, reset: 0, stall: 0, crumble: 0 };
export const storm: Chaos = { delay: 0.1, delayMsMax: 60, cut: 0.02, reset: 0.02, stall: 0.002, crumble: 0.05 };

const pieceBytesMax = 7;
const crumbledBytesMax = 2_000;

/**
 * Stands between clients and a broker and spoils what passes, as a seed says: for each connection and direction a generator of
 * its own, so that what one connection suffers does not depend on the others. Frames are not known here: a cut falls anywhere.
 */
export class ChaosProxy implements AsyncDisposable {
  /** What is done from now on. */
  chaos: Chaos;
  /** How often what was done. */
  readonly counts: Record<"connection" | "delay" | "cut" | "reset" | "stall" | "crumble", number> = {
    connection: 0,
    delay: 0,
    cut: 0,
    reset: 0,
    stall: 0,
    crumble: 0,
  };
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(options: {
    readonly port: number;
    readonly brokerPort: number;
    readonly seed: number;
    readonly chaos: Chaos;
  }) {
    const { port, brokerPort, seed, chaos } = options;
    this.chaos = chaos;
    this.#server = createServer({ noDelay: true }, (client) => {
      const broker = createConnection({ port: brokerPort, host: "127.0.0.1", noDelay: true });
      const ofConnection = seed * 1_000_003 + this.counts.connection++;
      this.#relay(client, broker, new Prng(2 * ofConnection));
      this.#relay(broker, client, new Prng(2 * ofConnection + 1));
    });
    this.#server.listen(port, "127.0.0.1");
  }

  /** All connections end now, as when a network is unplugged; new ones are taken. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #relay(from: Socket, to: Socket, prng: Prng): void {
    this.#sockets.add(from);
    let before: Promise<void> = Promise.resolve();
    let isStalled = false;
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      if (!isStalled) void before.then(() => to.destroy());
    });
    from.on("data", (chunk: Buffer) => {
      const fate = isStalled ? "lost" : this.#fate(prng);
      if (fate === "stall") isStalled = true;
      if (fate === "stall" || fate === "lost") return;
      before = before.then(() => this.#pass(fate, chunk, { from, to, prng }));
    });
  }

  #fate(prng: Prng): "pass" | "delay" | "cut" | "reset" | "stall" | "crumble" {
    let left = prng.fraction();
    for (const kind of ["delay", "cut", "reset", "stall", "crumble"] as const) {
      left -= this.chaos[kind];
      if (left >= 0) continue;
      this.counts[kind]++;
      return kind;
    }
    return "pass";
  }

  async #pass(
    fate: "pass" | "delay" | "cut" | "reset" | "crumble",
    chunk: Buffer,
    { from, to, prng }: { readonly from: Socket; readonly to: Socket; readonly prng: Prng },
  ): Promise<void> {
    if (fate === "delay") await pause(prng.fraction() * this.chaos.delayMsMax);
    if (fate === "cut" || fate === "reset") {
      to.write(chunk.subarray(0, prng.between(0, chunk.length)), () => {
        for (const socket of [from, to]) if (fate === "cut") socket.destroy();
        for (const socket of [from, to]) if (fate === "reset") socket.resetAndDestroy();
      });
      return;
    }
    const crumbled = fate === "crumble" ? chunk.subarray(0, crumbledBytesMax) : chunk.subarray(0, 0);
    for (let at = 0; at < crumbled.length && !to.destroyed;) {
      const size = prng.between(1, pieceBytesMax);
      to.write(crumbled.subarray(at, at + size));
      at += size;
      await pause(0);
    }
    const rest = chunk.subarray(crumbled.length);
    if (rest.length > 0 && !to.destroyed && !to.write(rest)) await drained(to);
  }
}

async function pause(ms: number): Promise<void> {
  await new Promise<void>((resolve) => void setTimeout(resolve, ms));
}

async function drained(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
}
