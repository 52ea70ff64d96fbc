import { createConnection, createServer, type Server, type Socket } from "node:net";

/** A client's connection, and the one to the broker that was opened for it. */
export interface Relayed {
  readonly client: Socket;
  readonly broker: Socket;
  /** Both sides see the connection close. */
  cut(): void;
}

/** Stands between clients and a broker: what goes through, and when, is up to `pass`, which is told of each connection. */
export class Relay implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(
    { port, brokerPort }: { readonly port: number; readonly brokerPort: number },
    pass: (relayed: Relayed) => void,
  ) {
    this.#server = createServer({ noDelay: true }, (client) => pass(this.#connected(client, brokerPort)));
    this.#server.listen(port, "127.0.0.1");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
  }

  #connected(client: Socket, brokerPort: number): Relayed {
    const broker = createConnection({ port: brokerPort, host: "127.0.0.1", noDelay: true });
    const cut = (): void => [client, broker].forEach((socket) => socket.destroy());
    for (const socket of [client, broker]) {
      this.#sockets.add(socket);
      socket.on("error", cut);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        cut();
      });
    }
    return { client, broker, cut };
  }
}
