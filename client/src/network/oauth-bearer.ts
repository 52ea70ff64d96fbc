import type { Clock } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";
import type { OAuthBearerOptions, OAuthBearerToken, SaslExchange, SaslLimits } from "./sasl.ts";
import { refused } from "./sasl.ts";

/** Between the parts of what we say; alone it is the answer to a reason against us. */
const separator = "\u0001";
const reasonBytesMax = 4_096;

/** RFC 7628. A broker that does not like the token gives a reason as JSON, and says no after we have seen it. */
export async function oauthBearer(
  { token }: OAuthBearerOptions,
  peer: SaslLimits & { readonly clock: Clock },
): Promise<SaslExchange> {
  const { value, lifetimeMs, extensions = {} } = await asked(token, peer);
  checkToken(value);
  const parts = Object.entries(extensions).map(([name, text]) => `${checkedExtension(name, text)}${separator}`);
  const words: { refusal: string | null } = { refusal: null };
  return {
    first: Buffer.from(`n,,${separator}auth=Bearer ${value}${separator}${parts.join("")}${separator}`),
    next: (challenge) => {
      // Who has given a reason against us cannot take us after all.
      if (words.refusal !== null) {
        throw refused("SASL_AUTHENTICATION_FAILED", "OAUTHBEARER", peer.broker, words.refusal);
      }
      if (challenge.length === 0) return null;
      words.refusal = reasonOf(challenge);
      return Buffer.from(separator);
    },
    get refusal() {
      return words.refusal;
    },
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  };
}

/** The function is the caller's: it may fail, and it may never answer. */
async function asked(
  token: OAuthBearerOptions["token"],
  { broker, timeoutMs, ended, clock }: SaslLimits & { readonly clock: Clock },
): Promise<OAuthBearerToken> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = clock.schedule(timeoutMs, () => reject(tokenFailure(broker, `gave no token within ${timeoutMs} ms`)), {
    isAwaited: true,
  });
  try {
    const given = await Promise.race([late, ended, Promise.try(token)]);
    if (typeof given === "object" && given !== null) return given;
  } catch (error) {
    // Its message may hold what must not be printed: whoever wants it finds it as the cause.
    throw error instanceof KafkaError ? error : tokenFailure(broker, "has failed; the cause says why", error);
  } finally {
    timer.cancel();
  }
  throw new KafkaError("INVALID_CONFIG", "sasl.token() must give an object with the token as its value", { broker });
}

/** Whoever gives tokens out may be back soon. */
function tokenFailure(broker: string, what: string, cause?: unknown): KafkaError {
  const options = { broker, retriable: true, ...(cause === undefined ? {} : { cause }) };
  return new KafkaError(
    "TOKEN_FAILED",
    `sasl.token() ${what}; without it ${broker} cannot be told who we are`,
    options,
  );
}

function checkToken(value: string): void {
  if (typeof value === "string" && /^[A-Za-z0-9._~+/-]+=*$/.test(value)) return;
  throw new KafkaError("INVALID_CONFIG", "sasl.token() gave a value that no token can be (RFC 6750, section 2.1)");
}

function checkedExtension(name: string, text: string): string {
  if (/^[A-Za-z]+$/.test(name) && name !== "auth" && /^[\x20-\x7e\t\r\n]*$/.test(text)) return `${name}=${text}`;
  throw new KafkaError("INVALID_CONFIG", `sasl.token() gave an extension "${name}" that RFC 7628 does not allow`);
}

/** {"status":"invalid_token","scope":"…","openid-configuration":"…"} */
function reasonOf(challenge: Buffer): string {
  const text = challenge.subarray(0, reasonBytesMax).toString("utf8");
  try {
    const { status, scope, "openid-configuration": configuration } = JSON.parse(text) as Record<string, unknown>;
    const told = [
      typeof status === "string" ? status : "no status",
      ...(typeof scope === "string" ? [`a token of the scope "${scope}" is wanted`] : []),
      ...(typeof configuration === "string" ? [`tokens are given out as ${configuration} says`] : []),
    ];
    return printable(told.join("; "));
  } catch {
    return printable(text);
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 400);
}
