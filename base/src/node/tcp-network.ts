import net from "node:net";
import { NetworkError } from "../world.ts";
import type { Address, Connection, Listener, Network } from "../world.ts";
import { CatchUpPacer } from "./catch-up.ts";
import type { NativeSource } from "./native.ts";
import { systemClock } from "./system-clock.ts";
import { TcpConnection } from "./tcp-connection.ts";
import { readShared, SharedReads } from "./shared-reads.ts";
import { acceptFailure, connectFailure, hostAndPort, listenFailure } from "./tcp-errors.ts";

export interface TcpNetworkOptions {
  /** Without native calls, file slices are read and written like any other bytes. */
  readonly native: NativeSource;
  /** A connection could not be accepted, most often since no file descriptor is left. The listener goes on. */
  readonly onAcceptFailure?: (error: NetworkError) => void;
}

/** Connections that wait to be accepted while the event loop is busy; the kernel bounds it by its own somaxconn. */
const backlog = 1024;

export class TcpNetwork implements Network {
  readonly #native: NativeSource;
  readonly #pacer: CatchUpPacer = new CatchUpPacer(systemClock);
  readonly #onAcceptFailure: (error: NetworkError) => void;

  constructor(options: TcpNetworkOptions) {
    this.#native = options.native;
    this.#onAcceptFailure = options.onAcceptFailure ?? (() => undefined);
  }

  listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const server = net.createServer(
        { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true },
        (accepted) => {
          const reads = new SharedReads();
          onConnection(new TcpConnection(readShared(accepted, server, reads), this.#native, reads, this.#pacer));
        },
      );
      const onListenFailure = (error: Error): void => reject(listenFailure(error, address));
      server.once("error", onListenFailure);
      server.listen({ host: address.host, port: address.port, backlog }, () => {
        const { address: host, port } = server.address() as net.AddressInfo;
        server.removeListener("error", onListenFailure);
        server.on("error", (error) => this.#onAcceptFailure(acceptFailure(error, { host, port })));
        resolve(new TcpListener(server, { host, port }));
      });
    });
  }

  connect(
    address: Address,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const { timeoutMs, signal } = options;
      const where = hostAndPort(address);
      if (signal?.aborted === true) {
        reject(new NetworkError("ABORT_ERR", `connecting to ${where} was given up`));
        return;
      }
      const { host, port } = address;
      const reads = new SharedReads();
      const onread = reads.option;
      const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true, onread });
      // Paused before it connects, so that no byte is read before `start`.
      socket.pause();
      const settled = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        socket.removeListener("error", onError);
        socket.removeListener("connect", onConnect);
      };
      const fail = (error: NetworkError): void => {
        settled();
        socket.on("error", () => undefined);
        socket.destroy();
        reject(error);
      };
      const onError = (error: Error): void => fail(connectFailure(error, address));
      const onAbort = (): void => fail(new NetworkError("ABORT_ERR", `connecting to ${where} was given up`));
      const onConnect = (): void => {
        settled();
        resolve(new TcpConnection(socket, this.#native, reads, this.#pacer));
      };
      const timer = setTimeout(
        () => fail(new NetworkError("ETIMEDOUT", `${where} did not answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      socket.on("error", onError);
      socket.on("connect", onConnect);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

class TcpListener implements Listener {
  readonly address: Address;
  readonly #server: net.Server;
  #closing: Promise<void> | null = null;

  constructor(server: net.Server, address: Address) {
    this.#server = server;
    this.address = address;
  }

  close(): Promise<void> {
    // The server's own callback would wait for all of its connections; the port is free as soon as this returns.
    this.#closing ??= new Promise((resolve) => {
      this.#server.close();
      setImmediate(resolve);
    });
    return this.#closing;
  }
}
