import net from "node:net";
import tls from "node:tls";
import { NetworkError } from "../world.ts";
import type { Address, Connection, ConnectOptions, Listener, Network, TlsClientOptions } from "../world.ts";
import { CatchUpPacer } from "./catch-up.ts";
import type { NativeSource } from "./native.ts";
import { systemClock } from "./system-clock.ts";
import { TcpConnection } from "./tcp-connection.ts";
import { listeningFd, openShared, readShared, SharedReads } from "./shared-reads.ts";
import {
  acceptFailure,
  connectFailure,
  hangUpSentence,
  hostAndPort,
  listenFailure,
  tlsConnectFailure,
  tlsOptionsFailure,
} from "./tcp-errors.ts";

export interface TcpNetworkOptions {
  /** Without native calls, file slices are read and written like any other bytes. */
  readonly native: NativeSource;
  /** A connection could not be accepted, most often since no file descriptor is left. The listener goes on. */
  readonly onAcceptFailure?: (error: NetworkError) => void;
}

/** Connections that wait to be accepted while the event loop is busy; the kernel bounds it by its own somaxconn. */
const backlog = 1024;

/** In one turn: about a millisecond's work. */
const acceptedAtOnceMax = 64;

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
          const take = (open: (reads: SharedReads) => net.Socket): void => {
            const reads = new SharedReads();
            onConnection(new TcpConnection(open(reads), this.#native, reads, this.#pacer));
          };
          take((reads) => readShared(accepted, server, reads));
          this.#acceptMore(server, (fd) => take((reads) => openShared(fd, reads)));
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

  /**
   * The platform takes one connection in each turn of the event loop, so that a hundred clients that come back to a busy broker would
   * wait for a hundred turns.
   */
  #acceptMore(server: net.Server, take: (fd: number) => void): void {
    const { calls } = this.#native;
    for (let count = 1; count < acceptedAtOnceMax; count++) {
      const listening = listeningFd(server);
      if (calls === null || listening === null) return;
      const fd = calls.accept(listening);
      // Whatever is wrong shows again when the platform accepts.
      if (fd < 0) return;
      take(fd);
    }
  }

  connect(address: Address, options: ConnectOptions): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const { timeoutMs, signal } = options;
      const isTls = options.tls !== undefined;
      const where = hostAndPort(address);
      if (signal?.aborted === true) {
        reject(new NetworkError("ABORT_ERR", `connecting to ${where} was given up`));
        return;
      }
      const reads = new SharedReads();
      const socket = openSocket(address, reads, options.tls);
      if (socket instanceof NetworkError) {
        reject(socket);
        return;
      }
      let isReached = false;
      const ready = isTls ? "secureConnect" : "connect";
      // Paused before it connects, so that no byte is read before `start`.
      socket.pause();
      const settled = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        socket.removeListener("error", onError);
        socket.removeListener("end", onEnd);
        socket.removeListener(ready, onConnect);
      };
      const fail = (error: NetworkError): void => {
        settled();
        socket.on("error", () => undefined);
        socket.destroy();
        reject(error);
      };
      const onError = (error: Error): void =>
        fail(isTls && isReached ? tlsConnectFailure(error, address) : connectFailure(error, address));
      const onAbort = (): void => fail(new NetworkError("ABORT_ERR", `connecting to ${where} was given up`));
      const onConnect = (): void => {
        settled();
        resolve(new TcpConnection(socket, isTls ? noNative : this.#native, reads, this.#pacer));
      };
      // A server that wants no TLS, or not ours, may just hang up.
      const onEnd = (): void => fail(new NetworkError("ECONNRESET", hangUpSentence(address), undefined, "tls"));
      const onTimeout = (): void => {
        const what = isReached ? "did not end TLS's handshake" : "did not answer";
        const kind = isReached ? "tls" : "network";
        fail(new NetworkError("ETIMEDOUT", `${where} ${what} within ${timeoutMs} ms`, undefined, kind));
      };
      const timer = setTimeout(onTimeout, timeoutMs);
      socket.on("error", onError);
      socket.on(ready, onConnect);
      if (isTls) {
        socket.once("connect", () => (isReached = true));
        socket.on("end", onEnd);
      }
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

/** A socket that connects to the first address of the name that takes it; an error where there is no such port, or the certificate or key is of no use. */
function openSocket(
  { host, port }: Address,
  reads: SharedReads,
  options: TlsClientOptions | undefined,
): net.Socket | NetworkError {
  const { option: onread } = reads;
  const plain = { host, port, allowHalfOpen: true, noDelay: true, keepAlive: true, autoSelectFamily: true, onread };
  try {
    return options === undefined ? net.connect(plain) : tls.connect({ ...plain, ...tlsOptions(host, options) });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Whoever named such an address, it is not the certificate.
    if (code === "ERR_SOCKET_BAD_PORT" || options === undefined) return connectFailure(error as Error, { host, port });
    return tlsOptionsFailure(error as Error);
  }
}

/** What goes through TLS cannot be sent from a file as it lies there. */
const noNative: NativeSource = { calls: null };

function tlsOptions(host: string, options: TlsClientOptions): tls.ConnectionOptions {
  const { ca, serverName, ...others } = options;
  // SNI is for names; an address as the server's name is refused by the platform.
  const servername = serverName ?? (net.isIP(host) === 0 ? host : undefined);
  return {
    ...others,
    ...(ca === undefined ? {} : { ca: Array.isArray(ca) ? [...ca] : (ca as string | Buffer) }),
    ...(servername === undefined ? {} : { servername }),
  };
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
