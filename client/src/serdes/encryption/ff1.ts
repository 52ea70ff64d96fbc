import { createCipheriv, hkdfSync } from "node:crypto";

/**
 * Format-preserving encryption: FF1 of NIST SP 800-38G over the numbers below `size`. They are written as bits, and a
 * result beyond the range is encrypted again until it is within it (cycle walking), which takes two rounds at most on
 * average. `size` below a million could be tried out, and is refused.
 */
export class NumberCipher {
  readonly #key: Uint8Array;

  constructor(secret: Uint8Array) {
    // A key is for one use: the same one also seals.
    this.#key = new Uint8Array(hkdfSync("sha256", secret, "", "format-preserving", 32));
  }

  encrypt(value: bigint, size: bigint, tweak: Uint8Array): bigint {
    return walk(value, size, (bits) => ff1(this.#key, tweak, bits, { radix: 2, isForward: true }));
  }

  decrypt(value: bigint, size: bigint, tweak: Uint8Array): bigint {
    return walk(value, size, (bits) => ff1(this.#key, tweak, bits, { radix: 2, isForward: false }));
  }
}

export const numbersMin = 1_000_000n;

function walk(value: bigint, size: bigint, step: (bits: readonly number[]) => readonly number[]): bigint {
  if (size < numbersMin) throw new Error(`it has only ${size} possible values, which can be tried out`);
  const count = (size - 1n).toString(2).length;
  let at = value;
  do at = numberOf(step(digitsOf(at, 2, count)), 2);
  while (at >= size);
  return at;
}

/** FF1 over numerals of a radix: two halves that take turns in hiding each other, ten times. */
export function ff1(
  key: Uint8Array,
  tweak: Uint8Array,
  numerals: readonly number[],
  { radix, isForward }: { readonly radix: number; readonly isForward: boolean },
): readonly number[] {
  const left = Math.floor(numerals.length / 2);
  const right = numerals.length - left;
  let a = numberOf(numerals.slice(0, left), radix);
  let b = numberOf(numerals.slice(left), radix);
  const halfBytes = Math.ceil(Math.ceil(right * Math.log2(radix)) / 8);
  const outBytes = 4 * Math.ceil(halfBytes / 4) + 4;
  const head = Buffer.alloc(16);
  head.set([1, 2, 1, radix >> 16, (radix >> 8) & 255, radix & 255, 10, left & 255]);
  head.writeUInt32BE(numerals.length, 8);
  head.writeUInt32BE(tweak.length, 12);
  const padding = (((-tweak.length - halfBytes - 1) % 16) + 16) % 16;
  const sizes = [BigInt(radix) ** BigInt(left), BigInt(radix) ** BigInt(right)] as const;
  for (let step = 0; step < 10; step++) {
    const round = isForward ? step : 9 - step;
    const seen = isForward ? b : a;
    const input = [head, tweak, Buffer.alloc(padding), Buffer.of(round), bytesOf(seen, halfBytes)];
    const noise = expanded(key, Buffer.concat(input), outBytes);
    const size = round % 2 === 0 ? sizes[0] : sizes[1];
    if (isForward) [a, b] = [b, (a + noise) % size];
    else [a, b] = [(((b - noise) % size) + size) % size, a];
  }
  return [...digitsOf(a, radix, left), ...digitsOf(b, radix, right)];
}

/** The last block of a CBC-MAC, and as many more blocks as are needed: a number of `count` bytes. */
function expanded(key: Uint8Array, input: Buffer, count: number): bigint {
  const name = `aes-${key.length * 8}`;
  const mac = createCipheriv(`${name}-cbc`, key, Buffer.alloc(16)).setAutoPadding(false).update(input).subarray(-16);
  const blocks = [mac];
  for (let index = 1; index * 16 < count; index++) {
    const block = Buffer.from(mac);
    block.writeUInt32BE((block.readUInt32BE(12) ^ index) >>> 0, 12);
    blocks.push(createCipheriv(`${name}-ecb`, key, null).setAutoPadding(false).update(block));
  }
  return BigInt(`0x${Buffer.concat(blocks).toString("hex", 0, count)}`);
}

function bytesOf(value: bigint, count: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * count, "0"), "hex");
}

function numberOf(digits: readonly number[], radix: number): bigint {
  return digits.reduce((value, digit) => value * BigInt(radix) + BigInt(digit), 0n);
}

function digitsOf(value: bigint, radix: number, count: number): readonly number[] {
  const text = value.toString(radix).padStart(count, "0");
  return Array.from(text, (digit) => Number.parseInt(digit, radix));
}
