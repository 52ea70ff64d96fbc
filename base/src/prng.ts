/**
 * Random numbers that a seed brings back: sfc32, the small fast chaotic generator of PractRand. For tests, simulation
 * and jitter; never for secrets.
 */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    // Seeds that differ in one bit have drifted apart after a dozen rounds.
    for (let round = 0; round < 15; round++) this.uint32();
  }

  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** Uniform in [0, 1), 53 bits. */
  fraction(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  /** A whole number from `first` to `last`, both inclusive. */
  between(first: number, last: number): number {
    return first + Math.floor(this.fraction() * (last - first + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(from: readonly T[]): T {
    const index = this.between(0, from.length - 1);
    if (index >= from.length || index < 0) throw new RangeError("nothing to pick from");
    return from[index] as T;
  }

  /** A new array in random order. */
  shuffle<T>(values: readonly T[]): T[] {
    const shuffled = [...values];
    for (let index = shuffled.length - 1; index > 0; index--) {
      const other = this.between(0, index);
      [shuffled[index], shuffled[other]] = [shuffled[other] as T, shuffled[index] as T];
    }
    return shuffled;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count);
    let index = 0;
    for (; index + 4 <= count; index += 4) bytes.writeUInt32LE(this.uint32(), index);
    for (; index < count; index++) bytes[index] = this.uint32() & 0xff;
    return bytes;
  }

  /** An independent generator: drawing more from one does not change the other. */
  fork(): Prng {
    return new Prng(this.uint32() * 2 ** 21 + (this.uint32() & (2 ** 21 - 1)));
  }
}
