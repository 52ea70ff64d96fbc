import { NetworkError } from "@millrace/base/world";
import type { Address } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";
import { addressText } from "./address.ts";

/**
 * How far a connection has come. `new`: nothing was answered. `greeted`: the versions are known. `used`: a request was answered
 * to somebody who has said who they are where that was asked.
 */
export type Stage = "new" | "greeted" | "used";

/** Why no connection came about; what another try cannot mend is not retriable. */
export function connectFailure(error: Error, address: Address): KafkaError {
  const options = { cause: error, broker: addressText(address) };
  const { kind, code } = error instanceof NetworkError ? error : { kind: "network", code: "" };
  if (kind === "options") return new KafkaError("INVALID_CONFIG", error.message, options);
  // Another try meets the same certificate; who hangs up, or is silent, may just be ending.
  const isPassing = code === "ECONNRESET" || code === "EPIPE" || code === "ETIMEDOUT";
  if (kind === "tls") return new KafkaError("TLS_FAILED", error.message, { ...options, retriable: isPassing });
  return new KafkaError("NOT_CONNECTED", error.message, { ...options, retriable: true });
}

interface Circumstances {
  readonly broker: string;
  readonly stage: Stage;
  readonly isTls: boolean;
  readonly isSasl: boolean;
}

/** A connection that was there and is no more. */
export function lostConnection(reason: string, cause: Error | null, circumstances: Circumstances): KafkaError {
  const { broker } = circumstances;
  const options = { broker, ...(cause === null ? {} : { cause }) };
  const isOfTls = cause instanceof NetworkError && cause.kind === "tls";
  if (isOfTls) return new KafkaError("TLS_FAILED", cause.message, options);
  const sentence = `lost the connection to ${broker}: ${reason}${hangUpHint(circumstances)}`;
  return new KafkaError("NETWORK_EXCEPTION", sentence, { ...options, retriable: true });
}

/** What it most often means when a broker hangs up before it has done anything for us. */
function hangUpHint({ stage, isTls, isSasl }: Circumstances): string {
  if (stage === "new") {
    return isTls
      ? "; where that happens each time, it may want a client certificate (tls.cert, tls.key), or be no Kafka broker"
      : '; where that happens each time, the port may speak TLS (set "tls"), or be no Kafka broker\'s';
  }
  if (stage === "greeted" && !isSasl) {
    return '; where that happens each time, the broker wants to know who we are (set "sasl")';
  }
  return "";
}

/** A broker that has hung up on one who did not say who they are, each time. */
export function saslWanted(broker: string): KafkaError {
  const sentence = `${broker} tells its versions and then hangs up, each time: it wants to know who we are (set "sasl"), or is of another kind on this port`;
  return new KafkaError("SASL_WANTED", sentence, { broker });
}

/** The version that a broker speaks cannot say what it would be asked; nothing was sent. */
export function olderVersion(error: Error, broker: string): KafkaError {
  const sentence = `${broker} serves an older version: ${error.message}`;
  return new KafkaError("UNSUPPORTED_VERSION", sentence, { broker, cause: error });
}

/** Bytes that are no answer, with a word on what they are if they came first. */
export function unreadableAnswer(
  error: Error,
  firstBytes: Buffer,
  { broker, stage, isTls }: Pick<Circumstances, "broker" | "stage" | "isTls">,
): KafkaError {
  const options = { cause: error, broker };
  const sentence = `unreadable answer from ${broker}: ${error.message}`;
  if (stage !== "new") return new KafkaError("CORRUPT_MESSAGE", sentence, options);
  // A record of TLS: an alert, or a handshake.
  const isRecordOfTls = (firstBytes[0] === 0x15 || firstBytes[0] === 0x16) && firstBytes[1] === 3;
  if (isRecordOfTls && !isTls) {
    return new KafkaError("TLS_FAILED", `${broker} answers with TLS on this port: set "tls"`, options);
  }
  const text = firstBytes.toString("latin1");
  const found = protocols.find(([beginning]) => text.startsWith(beginning));
  const hint = found === undefined ? "it may not be a Kafka broker" : `it speaks ${found[1]}, and is no Kafka broker`;
  return new KafkaError("CORRUPT_MESSAGE", `${sentence}; ${hint}: take the address of another port`, options);
}

/** How others begin to answer. */
const protocols: readonly (readonly [string, string])[] = [
  ["HTTP/", "HTTP"],
  ["<", "HTTP"],
  ["\0\0\x12\x04", "HTTP/2"],
  ["\0\0\x06\x04", "HTTP/2"],
  ["SSH-", "SSH"],
  ["220", "SMTP or FTP"],
  ["-ERR", "Redis"],
  ["AMQP", "AMQP"],
  ["RFB ", "VNC"],
  ["* OK", "IMAP"],
  ["+OK", "POP3"],
];
