/** Smaller frames come from the platform's own pool. */
export const pooledBytesMin: number = 8 * 1024;
const pooledBytesMax = 4 * 1024 * 1024;
const OVERWRITTEN = 0xa5;

/**
 * Memory of large request frames, used again when nobody refers to a frame any more: a fresh buffer for each would have
 * the garbage collector run many times a second. Frames that are not given back are collected like everything else.
 */
export class FramePool {
  readonly #keptBytesMax: number;
  /** Memory that is nobody else's: a small frame may lie at the start of the platform's pool, with others behind it. */
  readonly #own = new WeakSet<ArrayBufferLike>();
  readonly #free = new Map<number, Buffer[]>();
  #keptBytes = 0;
  readonly #isOverwriting: boolean;

  /** With `isOverwriting` a frame is written over as soon as it is given back: for tests, so that who still refers to it is found. */
  constructor({
    keptBytesMax = 32 * 1024 * 1024,
    isOverwriting = false,
  }: { readonly keptBytesMax?: number; readonly isOverwriting?: boolean } = {}) {
    this.#keptBytesMax = keptBytesMax;
    this.#isOverwriting = isOverwriting;
  }

  /** A buffer of at least so many bytes, with anything in it. */
  take(sizeBytes: number): Buffer {
    if (sizeBytes < pooledBytesMin) return Buffer.allocUnsafe(sizeBytes);
    const classBytes = sizeClass(sizeBytes);
    if (classBytes > pooledBytesMax) return Buffer.allocUnsafeSlow(sizeBytes);
    const kept = this.#free.get(classBytes)?.pop();
    if (kept !== undefined) {
      this.#keptBytes -= classBytes;
      return kept;
    }
    const fresh = Buffer.allocUnsafeSlow(classBytes);
    this.#own.add(fresh.buffer);
    return fresh;
  }

  /** The frame's memory will be written over: nobody may refer to it. Frames that did not come from here are left alone. */
  give(frame: Buffer): void {
    if (this.#isOverwriting) frame.fill(OVERWRITTEN);
    const { buffer } = frame;
    const classBytes = buffer.byteLength;
    if (!this.#own.has(buffer) || this.#keptBytes + classBytes > this.#keptBytesMax) return;
    let free = this.#free.get(classBytes);
    if (free === undefined) this.#free.set(classBytes, (free = []));
    free.push(Buffer.from(buffer));
    this.#keptBytes += classBytes;
  }
}

/** Powers of two and the middle between them: at most a third is wasted. */
function sizeClass(sizeBytes: number): number {
  const power = 2 ** Math.ceil(Math.log2(sizeBytes));
  const middle = (power / 4) * 3;
  return sizeBytes <= middle ? middle : power;
}
