/** Buffers of one size that are used again, so that large reads do not make garbage. */
export class SlabPool {
  readonly #slabBytes: number;
  readonly #keptMax: number;
  readonly #free: Buffer[] = [];

  constructor(options: { readonly slabBytes: number; readonly keptMax: number }) {
    this.#slabBytes = options.slabBytes;
    this.#keptMax = options.keptMax;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#slabBytes);
  }

  give(slab: Buffer): void {
    if (this.#free.length < this.#keptMax) this.#free.push(slab);
  }
}
