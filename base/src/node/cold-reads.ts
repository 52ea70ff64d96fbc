import { MiB } from "../units.ts";

/**
 * Reads of what is to be in memory, one at a time: a disk that two readers far behind keep busy with all they ask for has a sync wait behind all
 * of it. Measured on a virtual disk, with a read ahead of the system's own of 8 MiB: a journal's write took 120 ms at the 99th
 * percentile beside two such readers, and 8 ms with reads of at most a mebibyte one after the other, which went on at the same rate.
 */
export class ColdReads {
  #durableWrites = 0;
  #onQuiet: (() => void) | null = null;
  /** Where the bytes fall. Nobody looks at them. */
  #scratch: Buffer | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** Somebody waits for a write to be on the disk: no read begins meanwhile, or not for long. */
  durableWriteBegan(): void {
    this.#durableWrites += 1;
  }

  durableWriteEnded(): void {
    this.#durableWrites -= 1;
    if (this.#durableWrites === 0) this.#onQuiet?.();
  }

  #quiet(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, patienceMs);
      this.#onQuiet = () => {
        clearTimeout(timer);
        this.#onQuiet = null;
        resolve();
      };
    });
  }

  /** Rejects as the read does. A range that is larger than `coldReadBytesMax` is read up to that. */
  run(read: (into: Uint8Array) => Promise<number>, sizeBytes: number): Promise<void> {
    const reading = this.#last.then(async () => {
      if (this.#durableWrites > 0) await this.#quiet();
      this.#scratch ??= Buffer.allocUnsafeSlow(coldReadBytesMax);
      return read(this.#scratch.subarray(0, Math.min(sizeBytes, coldReadBytesMax)));
    });
    this.#last = reading.catch(() => undefined);
    return reading.then(() => undefined);
  }
}

/** A read waits so long for a write to end. */
const patienceMs = 4;
export const coldReadBytesMax: number = MiB;
