import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import type { Random } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";
import type { SaslExchange, ScramOptions } from "./sasl.ts";

/** RFC 7677: fewer are an invitation to guess. */
const iterationsMin = 4_096;
/** Apache Kafka takes 16,384 at most. Whoever asks for more than this wants us to be busy. */
const iterationsMax = 100_000;
const nonceBytes = 24;
/** Far above what a salt, a nonce or a proof needs. */
const challengeBytesMax = 4_096;

const hashes = {
  "SCRAM-SHA-256": { name: "sha256", sizeBytes: 32 },
  "SCRAM-SHA-512": { name: "sha512", sizeBytes: 64 },
} as const;

/** No channel binding, and nobody else in whose name we act. */
const gs2Header = "n,,";

/** RFC 5802: each side proves that it knows the password, and nobody who listens learns it. */
export function scram({ mechanism, username, password }: ScramOptions, broker: string, random: Random): SaslExchange {
  const hash = hashes[mechanism];
  const nonce = random.bytes(nonceBytes).toString("base64");
  const firstBare = `n=${escaped(username)},r=${nonce}`;
  let signature: Buffer | null = null;

  const prove = (challenge: string): Buffer => {
    const { serverNonce, salt, iterations } = serverFirst(challenge, nonce, broker);
    const withoutProof = `c=${Buffer.from(gs2Header).toString("base64")},r=${serverNonce}`;
    const toSign = `${firstBare},${challenge},${withoutProof}`;
    const salted = pbkdf2Sync(password, salt, iterations, hash.sizeBytes, hash.name);
    const clientKey = hmac(hash.name, salted, "Client Key");
    const clientSignature = hmac(hash.name, createHash(hash.name).update(clientKey).digest(), toSign);
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (clientSignature[at] as number)));
    signature = hmac(hash.name, hmac(hash.name, salted, "Server Key"), toSign);
    return Buffer.from(`${withoutProof},p=${proof.toString("base64")}`);
  };

  const verify = (challenge: string, expected: Buffer): void => {
    const kind = challenge.slice(0, 2);
    const [value = ""] = challenge.slice(2).split(",");
    if (kind === "e=") {
      const sentence = `${broker} does not accept the ${mechanism} credentials of "sasl": ${printable(value)}`;
      throw new KafkaError("SASL_AUTHENTICATION_FAILED", sentence, { broker });
    }
    const told = Buffer.from(value, "base64");
    if (kind === "v=" && told.length === expected.length && timingSafeEqual(told, expected)) return;
    throw unproven(broker, "its signature is not of this password: whoever answers there is not the broker");
  };

  return {
    first: Buffer.from(`${gs2Header}${firstBare}`),
    next: (bytes) => {
      if (bytes.length > challengeBytesMax) throw unproven(broker, `a challenge of ${bytes.length} bytes`);
      const challenge = bytes.toString("utf8");
      if (signature === null) return prove(challenge);
      verify(challenge, signature);
      return null;
    },
  };
}

function serverFirst(
  challenge: string,
  nonce: string,
  broker: string,
): { readonly serverNonce: string; readonly salt: Buffer; readonly iterations: number } {
  // A mandatory extension ("m=") comes first, and does not fit: whoever does not know it must stop.
  const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=(\d{1,10})(?:,|$)/.exec(challenge);
  if (match === null) throw unproven(broker, "its challenge is not one of SCRAM");
  const [, serverNonce = "", salt = "", count = ""] = match;
  const isOurs = serverNonce.startsWith(nonce) && serverNonce.length > nonce.length;
  if (!isOurs) throw unproven(broker, "its challenge answers another client's: somebody replays it");
  const iterations = Number(count);
  if (iterations < iterationsMin || iterations > iterationsMax) {
    throw unproven(broker, `${iterations} iterations (${iterationsMin} to ${iterationsMax} are taken)`);
  }
  return { serverNonce, salt: Buffer.from(salt, "base64"), iterations };
}

function unproven(broker: string, reason: string): KafkaError {
  const sentence = `${broker} does not prove that it knows the password: ${reason}`;
  return new KafkaError("SASL_AUTHENTICATION_FAILED", sentence, { broker });
}

function hmac(hash: string, key: Buffer, text: string): Buffer {
  return createHmac(hash, key).update(text).digest();
}

/** RFC 5802: "," and "=" would end a name. */
function escaped(username: string): string {
  return username.replaceAll("=", "=3D").replaceAll(",", "=2C");
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
}
