import { createCipheriv, createDecipheriv } from "node:crypto";
import type { Random } from "@millrace/base/world";
import type { DataKey } from "./keys.ts";

/**
 * What is sealed, and by which key:
 *
 *     1      algorithm: 1 is AES-256-GCM
 *     16     id of the data key
 *     12     nonce, by chance
 *     n      the bytes
 *     16     tag, also over algorithm, key id and the place (the path of the field)
 */
const algorithm = 1;
const headBytes = 17;
const nonceBytes = 12;
const tagBytes = 16;

/** @param place what the bytes are bound to: elsewhere they do not open. */
export function seal(plain: Uint8Array, key: DataKey, place: string, random: Random): Buffer {
  const head = Buffer.concat([Buffer.of(algorithm), key.id]);
  const nonce = random.bytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key.secret, nonce).setAAD(Buffer.concat([head, Buffer.from(place)]));
  return Buffer.concat([head, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** @throws Error, where the bytes cannot be what `seal` made. */
export function sealedWith(sealed: Buffer): Buffer {
  if (sealed.length < headBytes + nonceBytes + tagBytes) throw new Error("the encrypted bytes are cut off");
  if (sealed[0] !== algorithm) throw new Error(`they are encrypted by an unknown algorithm, ${sealed[0]}`);
  return sealed.subarray(1, headBytes);
}

/** @throws Error, where a bit is another, or the place. */
export function open(sealed: Buffer, key: DataKey, place: string): Buffer {
  const nonceEnd = headBytes + nonceBytes;
  const tagBegin = sealed.length - tagBytes;
  const nonce = sealed.subarray(headBytes, nonceEnd);
  const decipher = createDecipheriv("aes-256-gcm", key.secret, nonce, { authTagLength: tagBytes });
  decipher.setAAD(Buffer.concat([sealed.subarray(0, headBytes), Buffer.from(place)]));
  decipher.setAuthTag(sealed.subarray(tagBegin));
  return Buffer.concat([decipher.update(sealed.subarray(nonceEnd, tagBegin)), decipher.final()]);
}

/** Of a field: its JSON, or what JSON has no words for. */
export function plainOf(value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.of(kinds.bytes), value]);
  if (typeof value === "bigint") return Buffer.concat([Buffer.of(kinds.bigint), Buffer.from(value.toString())]);
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new Error(`JSON has no text for ${typeof value}`);
  return Buffer.concat([Buffer.of(kinds.json), Buffer.from(json)]);
}

export function valueOf(plain: Buffer): unknown {
  const rest = plain.subarray(1);
  if (plain[0] === kinds.bytes) return rest;
  if (plain[0] === kinds.bigint) return BigInt(rest.toString());
  if (plain[0] === kinds.json) return JSON.parse(rest.toString());
  throw new Error(`a value of the unknown kind ${plain[0]}`);
}

const kinds = { json: 0, bytes: 1, bigint: 2 } as const;
