import { createConnection, createServer } from "node:net";
import type { Server, Socket } from "node:net";

/** What happens to connections: they pass, are reset and refused, or stay and carry nothing. */
export type LinkState = "open" | "cut" | "silent";

interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** Who has connected, by the name in its first request; null before that. */
  client: string | null;
}

/** A size, a key, a version and a correlation id stand before the length of the client's name. */
const nameLengthAt = 12;
const headBytesMax = 300;

/**
 * Stands before one port of a node. What passes depends on who has connected: nodes tell their names in the header of the first
 * request, as clients do, so that a cut may lie between two nodes and leave the others alone.
 */
export class LinkProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #port: number;
  readonly #stateOf: (client: string) => LinkState;
  readonly #links = new Set<Link>();

  constructor(options: { readonly port: number; readonly targetPort: number; stateOf(client: string): LinkState }) {
    this.#port = options.port;
    this.#stateOf = options.stateOf;
    this.#server = createServer({ noDelay: true }, (near) => this.#take(near, options.targetPort));
    this.listen();
  }

  /** Takes connections, as from the beginning on. */
  listen(): void {
    if (!this.#server.listening) this.#server.listen(this.#port, "127.0.0.1");
  }

  /** Refuses connections, as a machine does on which nothing listens. */
  refuse(): void {
    if (this.#server.listening) this.#server.close();
    this.cutAll();
  }

  /** Looks anew at what may pass. */
  changed(): void {
    for (const link of this.#links) {
      if (link.client === null) continue;
      const state = this.#stateOf(link.client);
      if (state === "cut") reset(link);
      else for (const socket of [link.near, link.far]) socket[state === "open" ? "resume" : "pause"]();
    }
  }

  /** Ends all connections at once, whoever has them; new ones are taken. */
  cutAll(): void {
    for (const link of this.#links) reset(link);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.cutAll();
    await promise;
  }

  #take(near: Socket, targetPort: number): void {
    const far = createConnection({ port: targetPort, host: "127.0.0.1", noDelay: true });
    const link: Link = { near, far, client: null };
    this.#links.add(link);
    const close = (): void => {
      this.#links.delete(link);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on("error", close).on("close", close);
    let head: Buffer = Buffer.alloc(0);
    near.on("data", (chunk: Buffer) => {
      if (link.client === null) {
        head = Buffer.concat([head, chunk]);
        link.client = nameIn(head);
        if (link.client === null) return;
        chunk = head;
        if (this.#stateOf(link.client) !== "open") this.changed();
        if (near.destroyed) return;
      }
      pass(chunk, near, far);
    });
    far.on("data", (chunk: Buffer) => pass(chunk, far, near));
  }
}

/** What has not passed yet waits, as it does in a network. */
function pass(chunk: Buffer, from: Socket, to: Socket): void {
  if (to.destroyed || to.write(chunk)) return;
  from.pause();
  to.once("drain", () => from.resume());
}

function reset({ near, far }: Link): void {
  near.resetAndDestroy();
  far.resetAndDestroy();
}

/** Null: too little has come. A client without a name, or what is none, is "". */
function nameIn(head: Buffer): string | null {
  if (head.length < nameLengthAt + 2) return null;
  const length = Math.max(0, head.readInt16BE(nameLengthAt));
  if (nameLengthAt + 2 + length > headBytesMax) return "";
  if (head.length < nameLengthAt + 2 + length) return null;
  return head.toString("utf8", nameLengthAt + 2, nameLengthAt + 2 + length);
}
