import type { Clock, Random } from "@millrace/base/world";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import type { SaslHandshakeResponse } from "kafka-protocol-ts/messages/17-sasl-handshake";
import type { SaslAuthenticateResponse } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { KafkaError } from "../errors.ts";
import { oauthBearer } from "./oauth-bearer.ts";
import { refused, unknownMechanism } from "./sasl.ts";
import type { PlainOptions, SaslExchange, SaslLimits, SaslOptions } from "./sasl.ts";
import { scram } from "./scram.ts";

/** The broker, as an exchange of SASL bytes sees it. */
export interface SaslPeer {
  /** "host:port" */
  readonly broker: string;
  handshake(mechanism: string): Promise<SaslHandshakeResponse>;
  authenticate(bytes: Buffer): Promise<SaslAuthenticateResponse>;
}

export interface SaslWorld {
  readonly clock: Clock;
  readonly random: Random;
}

/** An honest exchange is over long before. */
const roundsMax = 8;

/**
 * Asks for what is needed to say who we are, before the connection is wanted.
 *
 * @throws KafkaError TOKEN_FAILED where there is no token, INVALID_CONFIG where it cannot be one.
 */
export async function beginExchange(
  sasl: SaslOptions,
  { broker, timeoutMs, ended }: SaslLimits,
  { clock, random }: SaslWorld,
): Promise<SaslExchange> {
  switch (sasl.mechanism) {
    case "PLAIN":
      return plain(sasl);
    case "SCRAM-SHA-256":
    case "SCRAM-SHA-512":
      return scram(sasl, broker, random);
    case "OAUTHBEARER":
      return oauthBearer(sasl, { broker, timeoutMs, ended, clock });
    default:
      throw unknownMechanism((sasl as { readonly mechanism: string }).mechanism);
  }
}

/**
 * Says who we are, on a connection that nothing else uses meanwhile.
 *
 * @returns how long the broker believes it, in ms; 0: for as long as the connection lasts.
 * @throws KafkaError UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE or SASL_AUTHENTICATION_FAILED, which no retry mends.
 */
export async function authenticate(
  peer: SaslPeer,
  mechanism: SaslOptions["mechanism"],
  exchange: SaslExchange,
): Promise<{ readonly sessionLifetimeMs: number }> {
  const { broker } = peer;
  const { errorCode, mechanisms } = await peer.handshake(mechanism);
  if (errorCode === ErrorCode.ILLEGAL_SASL_STATE) throw noSaslHere(broker);
  if (errorCode !== ErrorCode.NONE) {
    const offered = mechanisms.join(", ") || "nothing";
    const sentence = `${broker} does not offer ${mechanism}, but ${offered}: set sasl.mechanism to one of these`;
    throw new KafkaError(errorName(errorCode), sentence, { broker });
  }
  let bytes: Buffer = exchange.first;
  for (let round = 0; round < roundsMax; round++) {
    const answer = await peer.authenticate(bytes);
    if (answer.errorCode !== ErrorCode.NONE) {
      const reason = exchange.refusal ?? answer.errorMessage ?? "wrong credentials";
      throw refused(errorName(answer.errorCode), mechanism, broker, reason);
    }
    const next = exchange.next(answer.authBytes);
    if (next === null) return { sessionLifetimeMs: sessionMs(answer.sessionLifetimeMs, exchange.lifetimeMs) };
    bytes = next;
  }
  throw refused("SASL_AUTHENTICATION_FAILED", mechanism, broker, `it asks on and on after ${roundsMax} answers`);
}

/** The port authenticates nobody. */
export function noSaslHere(broker: string): KafkaError {
  const sentence = `${broker} asks nobody who they are on this port: leave "sasl" out, or take the address of another port`;
  return new KafkaError("ILLEGAL_SASL_STATE", sentence, { broker });
}

function sessionMs(ofBroker: number, ofCredentials: number | undefined): number {
  if (!(ofBroker > 0)) return 0;
  return ofCredentials !== undefined && ofCredentials > 0 ? Math.min(ofBroker, ofCredentials) : ofBroker;
}

/** RFC 4616: authorization identity, user and password, with zeros between them. */
function plain({ username, password }: PlainOptions): SaslExchange {
  return { first: Buffer.from(`\u0000${username}\u0000${password}`), next: () => null };
}
