import net from "node:net";
import type { OnReadOpts, Server, Socket } from "node:net";

/** Larger reads are fewer system calls; beyond this a loopback socket has seldom more to give. */
const readBytesMax = 256 * 1024;

/**
 * One buffer for the reads of all connections: libuv asks for it, reads and calls back within one call, so that no two
 * reads ever overlap. A buffer for each read, as streams have it, costs a collection of garbage every few hundred
 * megabytes: a quarter of the CPU time of a broker that takes in large batches.
 */
const shared = Buffer.allocUnsafeSlow(readBytesMax);

/** Where the bytes of one connection go. Nothing arrives before `receive` is set, since the socket is paused until then. */
export class SharedReads {
  receive: (chunk: Buffer) => void = () => {};
  /** Asked before each read: null is the shared buffer. */
  memory: () => Buffer | null = () => null;

  readonly option: OnReadOpts = {
    buffer: () => this.memory() ?? shared,
    callback: (countBytes, memory) => {
      this.receive((memory as Buffer).subarray(0, countBytes));
      return true;
    },
  };
}

/** What a socket is inside, as far as it is needed here; the platform gives `onread` to connecting sockets only. */
interface Inside {
  _handle: { readonly fd?: number } | null;
  server?: Server;
  _server?: Server;
}

/** Takes an accepted, paused socket over into one that reads into the shared buffer. */
export function readShared(accepted: Socket, server: Server, reads: SharedReads): Socket {
  const inside = accepted as unknown as Inside;
  const handle = inside._handle;
  if (handle === null) return accepted; // It is gone already, and nothing will be read.
  inside._handle = null;
  const options = { handle, allowHalfOpen: true, pauseOnCreate: true, onread: reads.option };
  const socket = new net.Socket(options as unknown as net.SocketConstructorOpts);
  // The server counts its connections by these.
  const taken = socket as unknown as Inside;
  taken.server = server;
  taken._server = server;
  return socket;
}

/** The descriptor of a listening server; null where it listens no more, or the platform does not tell. */
export function listeningFd(server: Server): number | null {
  const fd = (server as unknown as Inside)._handle?.fd ?? -1;
  return fd < 0 ? null : fd;
}

/** A paused socket of an accepted descriptor that reads into the shared buffer. */
export function openShared(fd: number, reads: SharedReads): Socket {
  const options = {
    fd,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    pauseOnCreate: true,
    onread: reads.option,
  };
  const socket = new net.Socket(options);
  return socket.setNoDelay(true).setKeepAlive(true);
}
