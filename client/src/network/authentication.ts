import type { Clock, Random } from "@millrace/base/world";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import type { SaslHandshakeResponse } from "kafka-protocol-ts/messages/17-sasl-handshake";
import type { SaslAuthenticateResponse } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { KafkaError } from "../errors.ts";

/** How the client says who it is. Passwords and tokens never come into a message or a log. */
export type SaslOptions = PlainOptions;

export interface PlainOptions {
  readonly mechanism: "PLAIN";
  readonly username: string;
  readonly password: string;
}

/** The broker, as an exchange of SASL bytes sees it. */
export interface SaslPeer {
  readonly host: string;
  /** "host:port" */
  readonly broker: string;
  handshake(mechanism: string): Promise<SaslHandshakeResponse>;
  authenticate(bytes: Buffer): Promise<SaslAuthenticateResponse>;
}

export interface SaslWorld {
  readonly clock: Clock;
  readonly random: Random;
}

/** What one mechanism says: first by itself, then in answer to each challenge; null when it has nothing more to say. */
export interface SaslExchange {
  first(): Buffer | Promise<Buffer>;
  /** @throws KafkaError (SASL_AUTHENTICATION_FAILED) when the broker does not prove what it must. */
  next(challenge: Buffer): Buffer | null;
}

/**
 * Says who we are, on a connection that nothing else uses meanwhile.
 *
 * @returns how long the broker believes it, in ms; 0: for as long as the connection lasts.
 * @throws KafkaError UNSUPPORTED_SASL_MECHANISM or SASL_AUTHENTICATION_FAILED, which no retry mends.
 */
export async function authenticate(
  peer: SaslPeer,
  sasl: SaslOptions,
  world: SaslWorld,
): Promise<{ readonly sessionLifetimeMs: number }> {
  const { errorCode, mechanisms } = await peer.handshake(sasl.mechanism);
  if (errorCode !== ErrorCode.NONE) {
    const sentence =
      errorCode === ErrorCode.ILLEGAL_SASL_STATE
        ? `${peer.broker} does not authenticate on this port: leave "sasl" out, or take another port`
        : `${peer.broker} does not offer ${sasl.mechanism}, but ${mechanisms.join(", ") || "nothing"}`;
    throw new KafkaError(errorName(errorCode), sentence, { broker: peer.broker });
  }
  const exchange = exchangeOf(sasl, peer, world);
  for (let bytes: Buffer | null = await exchange.first(); ;) {
    const answer = await peer.authenticate(bytes);
    if (answer.errorCode !== ErrorCode.NONE) {
      const reason = answer.errorMessage ?? "wrong credentials";
      const sentence = `${peer.broker} does not believe the ${sasl.mechanism} credentials: ${reason}`;
      throw new KafkaError(errorName(answer.errorCode), sentence, { broker: peer.broker });
    }
    bytes = exchange.next(answer.authBytes);
    if (bytes === null) return { sessionLifetimeMs: answer.sessionLifetimeMs };
  }
}

function exchangeOf(sasl: SaslOptions, _peer: SaslPeer, _world: SaslWorld): SaslExchange {
  switch (sasl.mechanism) {
    case "PLAIN":
      return plain(sasl);
  }
}

/** RFC 4616: authorization identity, user and password, with zeros between them. */
function plain({ username, password }: PlainOptions): SaslExchange {
  return { first: () => Buffer.from(`\u0000${username}\u0000${password}`), next: () => null };
}
