import { assert } from "@millrace/base/assert";
import type { Offset } from "../types.ts";
import type { SupersededOffsets } from "./superseded-offsets.ts";

/** A key takes so much of `log.cleaner.dedupe.buffer.size`, as in Kafka: 16 bytes of hash, 8 of offset. */
export const KEY_ENTRY_BYTES = 24;
export const HASH_KEY_BYTES = 16;
const ENTRY_WORDS = KEY_ENTRY_BYTES / 4;
/** The count, then the hash's secret. */
const HEAD_WORDS = 8;
const COUNT = 0;
const SECRET = 1;
const TWO_TO_32 = 0x1_0000_0000;

/**
 * The last offset of each key: what compaction decides by. Keys are known by their hash alone, so that an entry has one size
 * and the whole lies in memory of a fixed size, which threads share.
 *
 * A record is dropped because another has the same hash. So nobody may be able to make two keys with one hash: it is 128 bits
 * of HalfSipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), twice with a key of its own, and the keys are
 * drawn anew for each round. MD5, which Kafka takes, costs ten times as much here and nothing is hidden in it.
 */
export class KeyOffsets {
  readonly #words: Int32Array;
  readonly #slots: number;
  readonly #keysMax: number;
  readonly #superseded: SupersededOffsets | null;

  /** Empty memory for so many keys, or for as many as `bytesMax` holds at `loadFactor`. */
  static allocate(options: {
    readonly keysMax: number;
    readonly bytesMax: number;
    readonly loadFactor: number;
    /** HASH_KEY_BYTES unpredictable bytes. */
    readonly secret: Uint8Array;
  }): SharedArrayBuffer {
    const { keysMax, bytesMax, loadFactor, secret } = options;
    assert(secret.length === HASH_KEY_BYTES, "the hash has a key");
    const slots = Math.min(Math.ceil((keysMax + 1) / loadFactor) + 1, Math.floor(bytesMax / KEY_ENTRY_BYTES));
    const memory = new SharedArrayBuffer(4 * HEAD_WORDS + KEY_ENTRY_BYTES * Math.max(2, slots));
    new Uint8Array(memory, 4 * SECRET, HASH_KEY_BYTES).set(secret);
    return memory;
  }

  /** `superseded` learns of each offset in whose place a later one comes. */
  constructor(memory: SharedArrayBuffer, loadFactor: number, superseded: SupersededOffsets | null = null) {
    this.#superseded = superseded;
    this.#words = new Int32Array(memory);
    this.#slots = Math.floor((this.#words.length - HEAD_WORDS) / ENTRY_WORDS);
    // One slot at least stays free, so that a search ends.
    this.#keysMax = Math.min(this.#slots - 1, Math.max(1, Math.floor(this.#slots * loadFactor)));
  }

  get count(): number {
    return this.#words[COUNT] as number;
  }

  /** Notes that the key in `bytes` from `start` to `end` has `offset`, later than any before. False where there is no room for one more key. */
  put(bytes: Uint8Array, start: number, end: number, offset: Offset): boolean {
    const words = this.#words;
    const at = this.#find(bytes, start, end);
    if (words[at + 4] === 0) {
      const count = words[COUNT] as number;
      if (count >= this.#keysMax) return false;
      words[COUNT] = count + 1;
      words[at] = hash[0] as number;
      words[at + 1] = hash[1] as number;
      words[at + 2] = hash[2] as number;
      words[at + 3] = hash[3] as number;
    } else this.#superseded?.mark(this.#offsetAt(at));
    words[at + 4] = Math.floor(offset / TWO_TO_32) + 1;
    words[at + 5] = offset | 0;
    return true;
  }

  /** −1 for a key that was not noted. */
  get(bytes: Uint8Array, start: number, end: number): Offset {
    return this.#offsetAt(this.#find(bytes, start, end));
  }

  #offsetAt(at: number): Offset {
    const high = this.#words[at + 4] as number;
    return (high === 0 ? -1 : (high - 1) * TWO_TO_32 + ((this.#words[at + 5] as number) >>> 0)) as Offset;
  }

  /** The entry with the key's hash, or the free one where it belongs; the hash is left in `hash`. */
  #find(bytes: Uint8Array, start: number, end: number): number {
    const words = this.#words;
    halfSipHash(bytes, start, end, words[SECRET] as number, words[SECRET + 1] as number, 0);
    halfSipHash(bytes, start, end, words[SECRET + 2] as number, words[SECRET + 3] as number, 2);
    const [h0, h1, h2, h3] = hash as unknown as readonly [number, number, number, number];
    let slot = Math.floor(((h0 >>> 0) * this.#slots) / TWO_TO_32);
    for (;;) {
      const at = HEAD_WORDS + slot * ENTRY_WORDS;
      if (words[at + 4] === 0) return at;
      const isSame = words[at] === h0 && words[at + 1] === h1 && words[at + 2] === h2 && words[at + 3] === h3;
      if (isSame) return at;
      slot += 1;
      if (slot === this.#slots) slot = 0;
    }
  }
}

/** What the last hash was: returning it would allocate for each key. */
const hash: Int32Array = new Int32Array(4);

/**
 * HalfSipHash-2-4 with 64 bits of output, into two words of `hash` from `into` on. Written out, since a call for each of its
 * rounds doubles its cost, and it runs once for every record of a log.
 */
// oxlint-disable-next-line max-lines-per-function
export function halfSipHash(
  bytes: Uint8Array,
  start: number,
  end: number,
  key0: number,
  key1: number,
  into: 0 | 2,
  out: Int32Array = hash,
): void {
  let v0 = key0;
  let v1 = key1 ^ 0xee;
  let v2 = key0 ^ 0x6c79_6765;
  let v3 = key1 ^ 0x7465_6462;
  let at = start;
  for (const last = end - 3; at < last; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    v3 ^= word;
    for (let count = 0; count < 2; count++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= word;
  }
  let last = (end - start) << 24;
  for (let shift = 0; at < end; at++, shift += 8) last |= (bytes[at] as number) << shift;
  v3 ^= last;
  // Two rounds for the last word, then four for each half of the output.
  for (let count = 0; count < 10; count++) {
    if (count === 2) {
      v0 ^= last;
      v2 ^= 0xee;
    }
    if (count === 6) {
      out[into] = v1 ^ v3;
      v1 ^= 0xdd;
    }
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  out[into + 1] = v1 ^ v3;
}
