import { NetworkError } from "../world.ts";
import type { Address } from "../world.ts";

/** `127.0.0.1:9092`, `[::1]:9092` */
export function hostAndPort({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function listenFailure(error: NodeJS.ErrnoException, { host, port }: Address): NetworkError {
  const code = codeOf(error);
  return new NetworkError(code, sentence(), error);
  function sentence(): string {
    switch (code) {
      case "EADDRINUSE":
        return `port ${port} on ${host} is already in use`;
      case "EACCES":
        return `this user may not listen on port ${port} of ${host}`;
      case "EADDRNOTAVAIL":
        return `${host} is not an address of this machine, so that port ${port} cannot be opened on it`;
      case "ENOTFOUND":
      case "EAI_AGAIN":
        return `the name ${host} cannot be resolved, so that port ${port} cannot be opened on it`;
      default:
        return `port ${port} on ${host} cannot be opened: ${code}`;
    }
  }
}

export function acceptFailure(error: NodeJS.ErrnoException, address: Address): NetworkError {
  const code = codeOf(error);
  const isOutOfFiles = code === "EMFILE" || code === "ENFILE";
  const reason = isOutOfFiles ? "no file descriptor is left" : code;
  return new NetworkError(code, `a connection to ${hostAndPort(address)} could not be accepted: ${reason}`, error);
}

export function connectFailure(error: NodeJS.ErrnoException, address: Address): NetworkError {
  const code = codeOf(error);
  const where = hostAndPort(address);
  return new NetworkError(code, sentence(), error);
  function sentence(): string {
    switch (code) {
      case "ECONNREFUSED":
        return `${where} refused the connection: nothing listens there`;
      case "ENOTFOUND":
      case "EAI_AGAIN":
        return `the name ${address.host} cannot be resolved`;
      case "EHOSTUNREACH":
      case "ENETUNREACH":
        return `${where} cannot be reached from here`;
      default:
        return `cannot connect to ${where}: ${code}`;
    }
  }
}

export function connectionFailure(error: NodeJS.ErrnoException, address: Address): NetworkError {
  const code = codeOf(error);
  const where = hostAndPort(address);
  return new NetworkError(code, sentence(), error);
  function sentence(): string {
    switch (code) {
      case "ECONNRESET":
        return `${where} reset the connection`;
      case "EPIPE":
        return `${where} closed the connection while bytes were on their way to it`;
      case "ETIMEDOUT":
        return `${where} has gone silent`;
      default:
        return `the connection with ${where} failed: ${code}`;
    }
  }
}

function codeOf(error: NodeJS.ErrnoException): string {
  // A name with several addresses fails with one error for each of them.
  const [first] = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [];
  return error.code ?? first?.code ?? "EIO";
}
