import { Prng } from "@millrace/base/prng";
import { describe, expect, test } from "vitest";
import type { Offset } from "../types.ts";
import { halfSipHash, HASH_KEY_BYTES, KeyOffsets } from "./key-offsets.ts";

const secret = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

function keysOf(keysMax: number, bytesMax = 1 << 30, loadFactor = 0.9): KeyOffsets {
  return new KeyOffsets(KeyOffsets.allocate({ keysMax, bytesMax, loadFactor, secret }), loadFactor);
}

describe("key offsets", () => {
  test("hold the last offset of each key, also beyond 2^32, and know what was never put", () => {
    const keys = keysOf(5_000);
    const prng = new Prng(7);
    const expected = new Map<string, number>();
    for (let count = 0, offset = 2 ** 40; count < 20_000; count++) {
      offset += prng.between(1, 2 ** 30);
      const key = `key-${prng.between(0, 4_999)}`;
      expected.set(key, offset);
      expect(keys.put(Buffer.from(`..${key}.`), 2, 2 + key.length, offset as Offset)).toBe(true);
    }
    expect(keys.count).toBe(expected.size);
    for (const [key, offset] of expected) expect(keys.get(Buffer.from(key), 0, key.length)).toBe(offset);
    expect(keys.get(Buffer.from("other"), 0, 5)).toBe(-1);
    expect(keys.get(Buffer.alloc(0), 0, 0)).toBe(-1);
  });

  test("refuse one key more than the load factor allows, and still take known ones", () => {
    const keys = keysOf(1_000_000, 24 * 100, 0.5);
    const put = (key: number): boolean => keys.put(Buffer.from([key, key >> 8]), 0, 2, key as Offset);
    let taken = 0;
    while (put(taken)) taken += 1;
    expect(taken).toBe(50);
    expect(put(3)).toBe(true);
    expect(put(51)).toBe(false);
    expect(keys.get(Buffer.from([49, 0]), 0, 2)).toBe(49);
  });

  test("take no more memory than the keys need", () => {
    const memory = (keysMax: number): number =>
      KeyOffsets.allocate({ keysMax, bytesMax: 1 << 27, loadFactor: 0.9, secret }).byteLength;
    expect(memory(100)).toBeLessThan(4096);
    expect(memory(1e9)).toBeLessThanOrEqual((1 << 27) + 64);
    const exact = keysOf(100);
    for (let key = 0; key < 100; key++) expect(exact.put(Buffer.from([key]), 0, 1, key as Offset)).toBe(true);
  });

  test("hash as HalfSipHash-2-4 is written in its paper's terms, for every length", () => {
    const prng = new Prng(11);
    const out = new Int32Array(4);
    for (let length = 0; length < 70; length++) {
      const bytes = Buffer.from(Array.from({ length: length + 3 }, () => prng.between(0, 255)));
      const key = Array.from({ length: 2 }, () => prng.between(0, 0xffff_ffff) | 0) as [number, number];
      halfSipHash(bytes, 3, length + 3, key[0], key[1], 0, out);
      expect([out[0], out[1]], `length ${length}`).toEqual(plainHash(bytes.subarray(3), key));
    }
    expect(HASH_KEY_BYTES).toBe(16);
  });
});

/** The same function with no thought of speed: words as an array, one function a round. */
function plainHash(message: Uint8Array, [key0, key1]: readonly [number, number]): [number, number] {
  const v = [key0, key1 ^ 0xee, 0x6c796765 ^ key0, 0x74656462 ^ key1].map((word) => word | 0);
  const at = (index: number): number => v[index] as number;
  const rotate = (index: number, by: number): number => (at(index) << by) | (at(index) >>> (32 - by));
  const mix = (a: number, b: number, by: number): void => {
    v[a] = (at(a) + at(b)) | 0;
    v[b] = rotate(b, by) ^ at(a);
  };
  const rounds = (count: number): void => {
    for (let round = 0; round < count; round++) {
      mix(0, 1, 5);
      v[0] = rotate(0, 16);
      mix(2, 3, 8);
      mix(0, 3, 7);
      mix(2, 1, 13);
      v[2] = rotate(2, 16);
    }
  };
  const padded = Buffer.alloc(Math.floor(message.length / 4) * 4 + 4);
  padded.set(message);
  padded[padded.length - 1] = message.length & 0xff;
  for (let position = 0; position < padded.length; position += 4) {
    const word = padded.readInt32LE(position);
    v[3] = at(3) ^ word;
    rounds(2);
    v[0] = at(0) ^ word;
  }
  v[2] = at(2) ^ 0xee;
  rounds(4);
  const first = at(1) ^ at(3);
  v[1] = at(1) ^ 0xdd;
  rounds(4);
  return [first, at(1) ^ at(3)];
}
