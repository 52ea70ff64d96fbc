import { NumberCipher } from "./ff1.ts";
import type { DataKey } from "./keys.ts";

/** A digit stays a digit, a letter a letter of its case; everything else stands as it is. */
const classes = ["0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"] as const;

/**
 * Text of the same length, with a character of the same class at each place.
 *
 * @throws Error, where the text is too short to hide anything: fewer than a million texts have its shape.
 */
export function encryptText(text: string, key: DataKey, place: string): string {
  return shifted(text, place, (value, size, tweak) => new NumberCipher(key.secret).encrypt(value, size, tweak));
}

export function decryptText(text: string, key: DataKey, place: string): string {
  return shifted(text, place, (value, size, tweak) => new NumberCipher(key.secret).decrypt(value, size, tweak));
}

/** The text as a number whose digits have as many values as their class has characters. */
function shifted(text: string, place: string, map: (value: bigint, size: bigint, tweak: Uint8Array) => bigint): string {
  let value = 0n;
  let size = 1n;
  const chars = Array.from(text);
  const classOf = (char: string): string | undefined => classes.find((each) => each.includes(char));
  for (const char of chars) {
    const among = classOf(char);
    if (among === undefined) continue;
    value = value * BigInt(among.length) + BigInt(among.indexOf(char));
    size *= BigInt(among.length);
  }
  // The shape is public: it stays. Bound to it and to the place, equal texts of two fields do not look equal.
  const shape = chars.map((char) => classOf(char)?.[0] ?? char).join("");
  let rest = map(value, size, Buffer.from(`${place}\0${shape}`));
  for (let index = chars.length - 1; index >= 0; index--) {
    const among = classOf(chars[index] ?? "");
    if (among === undefined) continue;
    chars[index] = among[Number(rest % BigInt(among.length))] ?? "";
    rest /= BigInt(among.length);
  }
  return chars.join("");
}
