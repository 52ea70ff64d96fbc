import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import type { Clock, Connection } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { saslHandshake } from "kafka-protocol-ts/messages/17-sasl-handshake";
import { saslAuthenticate } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import type { FakeBroker } from "./fake-broker.ts";
import { silence } from "./fake-broker.ts";

export const secret = "pencil-Sharpener-42";

export interface FakeSaslOptions {
  readonly clock: Clock;
  readonly mechanisms?: readonly string[];
  readonly username?: string;
  readonly password?: string;
  /** 0: a session lasts as long as its connection. */
  readonly sessionLifetimeMs?: number;
  readonly iterations?: number;
}

type Step = { readonly bytes: Buffer; readonly isDone: boolean } | { readonly refusal: string };

/** What a broker does that wants to know who asks: written on its own, from the RFCs, so that a mistake of the client's is not made twice. */
export class FakeSasl {
  readonly options: FakeSaslOptions;
  /** Of each exchange that ended well. */
  readonly users: string[] = [];
  /** Tokens that are taken, with the extensions that came with them. */
  readonly tokens = new Map<string, string>();
  sessionLifetimeMs: number;
  password: string;
  /** Set to have a SCRAM server lie. */
  tamper: (message: string) => string = (message) => message;
  readonly #sessions = new WeakMap<Connection, number>();
  readonly #exchanges = new WeakMap<Connection, (bytes: Buffer) => Step>();

  private constructor(broker: FakeBroker, options: FakeSaslOptions) {
    this.options = options;
    this.password = options.password ?? secret;
    this.sessionLifetimeMs = options.sessionLifetimeMs ?? 0;
    const mechanisms = [...(options.mechanisms ?? ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])];
    broker.on(saslHandshake, ({ message, connection }) => {
      if (!mechanisms.includes(message.mechanism)) {
        return { errorCode: ErrorCode.UNSUPPORTED_SASL_MECHANISM, mechanisms };
      }
      this.#exchanges.set(connection, this.#begin(message.mechanism));
      return { errorCode: ErrorCode.NONE, mechanisms };
    });
    broker.on(saslAuthenticate, ({ message, connection }) => {
      const step = this.#exchanges.get(connection)?.(Buffer.from(message.authBytes)) ?? { refusal: "no handshake" };
      if ("refusal" in step) {
        const errorCode = ErrorCode.SASL_AUTHENTICATION_FAILED;
        return { errorCode, errorMessage: step.refusal, authBytes: Buffer.alloc(0), sessionLifetimeMs: 0 };
      }
      const lifetimeMs = this.sessionLifetimeMs > 0 ? this.sessionLifetimeMs : Number.POSITIVE_INFINITY;
      if (step.isDone) this.#sessions.set(connection, options.clock.monotonicMs() + lifetimeMs);
      const sessionLifetimeMs = step.isDone ? this.sessionLifetimeMs : 0;
      return { errorCode: ErrorCode.NONE, errorMessage: null, authBytes: step.bytes, sessionLifetimeMs };
    });
  }

  /** From now on this broker wants to know who asks. */
  static on(broker: FakeBroker, options: FakeSaslOptions): FakeSasl {
    return new FakeSasl(broker, options);
  }

  /** As Kafka: who has not said who they are, or not again in time, is hung up on. */
  guard<Asked extends { readonly connection: Connection }, Answer>(
    answer: (asked: Asked) => Answer | typeof silence | Promise<Answer | typeof silence>,
  ): (asked: Asked) => Promise<Answer | typeof silence> {
    return async (asked) => {
      const untilMs = this.#sessions.get(asked.connection) ?? 0;
      if (this.options.clock.monotonicMs() < untilMs) return answer(asked);
      asked.connection.end();
      return silence;
    };
  }

  #begin(mechanism: string): (bytes: Buffer) => Step {
    if (mechanism === "PLAIN") return (bytes) => this.#plain(bytes.toString("utf8"));
    if (mechanism === "OAUTHBEARER") return this.#oauthBearer();
    return this.#scram(mechanism === "SCRAM-SHA-256" ? "sha256" : "sha512");
  }

  get #username(): string {
    return this.options.username ?? "billing";
  }

  #done(user: string, bytes = Buffer.alloc(0)): Step {
    this.users.push(user);
    return { bytes, isDone: true };
  }

  #plain(text: string): Step {
    const [, user = "", password = ""] = text.split("\0");
    const isRight = user === this.#username && password === this.password;
    return isRight ? this.#done(user) : { refusal: "Authentication failed: Invalid username or password" };
  }

  #scram(hash: string): (bytes: Buffer) => Step {
    const salt = Buffer.from("0123456789abcdef");
    const iterations = this.options.iterations ?? 4096;
    const hmac = (key: Buffer, text: string): Buffer => createHmac(hash, key).update(text).digest();
    let signed = "";
    return (bytes) => {
      const text = bytes.toString("utf8");
      if (signed === "") {
        const bare = text.slice("n,,".length);
        const serverFirst = this.tamper(
          `r=${/r=(.*)$/.exec(bare)?.[1]}fromServer,s=${salt.toString("base64")},i=${iterations}`,
        );
        signed = `${bare},${serverFirst}`;
        return { bytes: Buffer.from(serverFirst), isDone: false };
      }
      const [, withoutProof = "", proof = ""] = /^(.*),p=(.*)$/.exec(text) ?? [];
      const all = `${signed},${withoutProof}`;
      const salted = pbkdf2Sync(this.password, salt, iterations, createHash(hash).digest().length, hash);
      const stored = createHash(hash).update(hmac(salted, "Client Key")).digest();
      const signature = hmac(stored, all);
      const clientKey = Buffer.from(proof, "base64").map((byte, index) => byte ^ (signature[index] ?? 0));
      const user = /^n=([^,]*)/.exec(signed)?.[1]?.replaceAll("=2C", ",").replaceAll("=3D", "=") ?? "";
      const isRight = createHash(hash).update(clientKey).digest().equals(stored) && user === this.#username;
      if (!isRight) return { refusal: "Authentication failed during authentication due to invalid credentials" };
      const final = `v=${hmac(hmac(salted, "Server Key"), all).toString("base64")}`;
      return this.#done(user, Buffer.from(this.tamper(final)));
    };
  }

  #oauthBearer(): (bytes: Buffer) => Step {
    let isRefused = false;
    return (bytes) => {
      const text = bytes.toString("utf8");
      if (isRefused) return { refusal: text === "\u0001" ? '{"status":"invalid_token"}' : "what is that?" };
      const [header, auth = "", ...extensions] = text.split("\u0001");
      const token = auth.slice("auth=Bearer ".length);
      const isWhole = header === "n,," && auth.startsWith("auth=Bearer ") && text.endsWith("\u0001\u0001");
      if (isWhole && this.tokens.get(token) === extensions.filter(Boolean).join(" ")) return this.#done(token);
      isRefused = true;
      const reason = { status: "invalid_token", scope: "kafka", "openid-configuration": "https://id.test/.well-known" };
      return { bytes: Buffer.from(JSON.stringify(reason)), isDone: false };
    };
  }
}
