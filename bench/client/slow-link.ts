import { createConnection, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Stands between a client and a broker, and takes no more than so much a second of what the client sends. */
export class SlowLink implements AsyncDisposable {
  readonly #server: Server;
  readonly #bytesPerSecond: number;
  readonly #sockets = new Set<Socket>();

  constructor(ports: { readonly port: number; readonly brokerPort: number }, bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#server = createServer({ noDelay: true }, (socket) => this.#relay(socket, ports.brokerPort));
    this.#server.listen(ports.port, "127.0.0.1");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
  }

  #relay(client: Socket, brokerPort: number): void {
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
    broker.pipe(client);
    void this.#pass(client, broker).catch(cut);
  }

  async #pass(client: Socket, broker: Socket): Promise<void> {
    for await (const chunk of client) {
      broker.write(chunk as Buffer);
      await sleep(((chunk as Buffer).length * 1000) / this.#bytesPerSecond);
    }
  }
}
