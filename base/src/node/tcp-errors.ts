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
  // TLS 1.3: a server judges the client's certificate when the client believes that all is agreed.
  if (isOfTls(code)) return new NetworkError(code, tlsSentence(code, error, address), error, "tls");
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

/** Something went wrong before both sides had agreed on TLS. */
export function tlsConnectFailure(error: NodeJS.ErrnoException, address: Address): NetworkError {
  const code = codeOf(error);
  // A refusal or a lost route is the network's; who hangs up after that does not like what it reads.
  const isHangUp = code === "ECONNRESET" || code === "EPIPE";
  if (isHangUp) return new NetworkError(code, hangUpSentence(address), error, "tls");
  if (!isOfTls(code)) return connectFailure(error, address);
  return new NetworkError(code, tlsSentence(code, error, address), error, "tls");
}

export function tlsOptionsFailure(error: NodeJS.ErrnoException): NetworkError {
  const code = codeOf(error);
  return new NetworkError(code, `tls: ${optionsSentence(code)}`, error, "options");
}

export function hangUpSentence(address: Address): string {
  const where = hostAndPort(address);
  return `${where} hung up in the middle of TLS's handshake: it may speak no TLS (leave "tls" out), or want a client certificate (tls.cert, tls.key)`;
}

function isOfTls(code: string): boolean {
  const starts = ["ERR_SSL", "ERR_TLS", "CERT_", "UNABLE_TO_", "CRL_", "DEPTH_ZERO_", "SELF_SIGNED_", "HOSTNAME_"];
  return starts.some((start) => code.startsWith(start)) || codesOfCertificates.has(code);
}

const codesOfCertificates: ReadonlySet<string> = new Set([
  "ERROR_IN_CERT_NOT_BEFORE_FIELD",
  "ERROR_IN_CERT_NOT_AFTER_FIELD",
  "INVALID_CA",
  "INVALID_PURPOSE",
  "PATH_LENGTH_EXCEEDED",
  "EE_KEY_TOO_SMALL",
  "CA_KEY_TOO_SMALL",
  "CA_MD_TOO_WEAK",
]);

/** Why, with the option that mends it. */
function tlsSentence(code: string, error: Error, address: Address): string {
  const where = hostAndPort(address);
  const certificate = `the certificate of ${where}`;
  switch (code) {
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return `${certificate} is signed by itself: give that certificate as tls.ca`;
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return `${certificate} is signed by an authority that is not trusted here (${code}): give the authority's certificate as tls.ca`;
    case "CERT_HAS_EXPIRED":
      return `${certificate} has expired: the broker needs a new one (or the clock here is wrong)`;
    case "CERT_NOT_YET_VALID":
      return `${certificate} is not valid yet: look at the clocks of both sides`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `${certificate} is for ${namesIn(error)}, not for that host: connect by a name that it holds, or set tls.serverName to one`;
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
    case "ERR_SSL_HTTP_REQUEST":
      return `${where} answers, but not with TLS: leave "tls" out, or take the address of the port that speaks it`;
    case "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION":
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return `${where} speaks no version of TLS that is allowed here (${code}): see tls.minVersion, and the broker's ssl.enabled.protocols`;
    case "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED":
      return `${where} wants a client certificate: set tls.cert and tls.key`;
    case "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE":
    case "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE":
    case "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN":
    case "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN":
    case "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA":
      return `${where} does not accept the client's certificate, or misses one (${code}): set tls.cert and tls.key to one whose authority it trusts`;
    default:
      return `TLS with ${where} failed: ${code}`;
  }
}

function optionsSentence(code: string): string {
  switch (code) {
    case "ERR_OSSL_X509_KEY_VALUES_MISMATCH":
      return "tls.key is not the key of tls.cert";
    case "ERR_OSSL_BAD_DECRYPT":
    case "ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED":
    case "ERR_OSSL_PEM_BAD_PASSWORD_READ":
      return "tls.key is encrypted, and tls.passphrase is missing or wrong";
    default:
      return `tls.ca, tls.cert or tls.key cannot be read: each must be the text of a PEM, "-----BEGIN …" and so on (${code})`;
  }
}

function namesIn(error: Error): string {
  const { cert } = error as { readonly cert?: { readonly subjectaltname?: unknown } };
  const names = cert?.subjectaltname;
  return typeof names === "string" && names !== "" ? names : "another name";
}
