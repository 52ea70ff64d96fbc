import { Prng } from "@millrace/base/prng";
import type { Random } from "@millrace/base/world";

/** Randomness that a seed brings back. */
export class SeededRandom implements Random {
  readonly #prng: Prng;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  bytes(count: number): Buffer {
    return this.#prng.bytes(count);
  }

  fraction(): number {
    return this.#prng.fraction();
  }
}
