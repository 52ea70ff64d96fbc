import { KafkaError } from "../errors.ts";

/**
 * How the client says who it is; `mechanism` tells the forms apart. Passwords and tokens never come into a message or a log.
 *
 *     sasl: { mechanism: "SCRAM-SHA-512", username: "billing", password }
 */
export type SaslOptions = PlainOptions | ScramOptions | OAuthBearerOptions;

/** RFC 4616. The password crosses the network as it is: for connections with TLS. */
export interface PlainOptions {
  /** Tells this form from the others. */
  readonly mechanism: "PLAIN";
  /** As the broker knows it. */
  readonly username: string;
  /** Never logged, never part of an error. */
  readonly password: string;
}

/**
 * RFC 5802 and 7677. The password never crosses the network, and the broker proves that it knows it. Names and passwords are
 * taken as they are in UTF-8, without SASLprep (RFC 4013): Apache Kafka does the same, so that both sides hash the same bytes.
 */
export interface ScramOptions {
  /** Which hash the broker has the password under. */
  readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512";
  /** As the broker knows it. */
  readonly username: string;
  /** Never logged, never part of an error, never sent. */
  readonly password: string;
}

/** RFC 7628: a token that somebody else has given out. */
export interface OAuthBearerOptions {
  /** Tells this form from the others. */
  readonly mechanism: "OAUTHBEARER";
  /** Asked whenever a connection says who we are, which it does again before a session ends: it may keep a token while it is good. */
  token(): OAuthBearerToken | Promise<OAuthBearerToken>;
}

/** A token, and how long it is good. */
export interface OAuthBearerToken {
  /** As it goes into "Authorization: Bearer". */
  readonly value: string;
  /** How long it is still good. Where the broker sets an end to sessions, the client says who it is again before that. */
  readonly lifetimeMs?: number;
  /** SASL extensions (KIP-342): names of letters, values of printable ASCII. */
  readonly extensions?: Readonly<Record<string, string>>;
}

/** What one mechanism says: first by itself, then in answer to each challenge. */
export interface SaslExchange {
  readonly first: Buffer;
  /**
   * Null when it has nothing more to say: the broker has proved what it must.
   *
   * @throws KafkaError (SASL_AUTHENTICATION_FAILED) when the broker does not prove it, or gives a reason against us.
   */
  next(challenge: Buffer): Buffer | null;
  /** Why the broker said no, where it has told so before. */
  readonly refusal?: string | null;
  /** How long what was said is good. */
  readonly lifetimeMs?: number;
}

/** For whom something is asked, and until when. */
export interface SaslLimits {
  /** "host:port" */
  readonly broker: string;
  readonly timeoutMs: number;
  /** Rejects when the connection ends: then nobody needs it any more. */
  readonly ended: Promise<never>;
}

/** Credentials that the broker, or a proof of the broker that we do not believe. */
export function refused(code: string, mechanism: string, broker: string, reason: string): KafkaError {
  const sentence = `${broker} does not accept the ${mechanism} credentials of "sasl": ${reason}`;
  return new KafkaError(code, sentence, { broker });
}

/** @throws KafkaError INVALID_CONFIG, naming the option and never its value. */
export function checkSasl(sasl: SaslOptions): void {
  if (!mechanisms.has(sasl.mechanism)) throw unknownMechanism(sasl.mechanism);
  const missing = (option: string, what: string): KafkaError =>
    new KafkaError("INVALID_CONFIG", `sasl.${option}: ${sasl.mechanism} needs ${what}`);
  if (sasl.mechanism === "OAUTHBEARER") {
    if (typeof sasl.token !== "function") throw missing("token", "a function that gives a token");
    return;
  }
  const { username, password } = sasl as Partial<PlainOptions>;
  if (typeof username !== "string" || username === "") throw missing("username", "a name");
  if (typeof password !== "string") throw missing("password", "a text");
  if (sasl.mechanism !== "PLAIN") return;
  if (username.includes("\u0000")) throw missing("username", "a name without NUL");
  if (password.includes("\u0000")) throw missing("password", "a text without NUL");
}

const mechanisms: ReadonlySet<string> = new Set(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]);

export function unknownMechanism(mechanism: string): KafkaError {
  const sentence = `sasl.mechanism: "${mechanism}" is not known here; there are ${[...mechanisms].join(", ")}`;
  return new KafkaError("INVALID_CONFIG", sentence);
}
