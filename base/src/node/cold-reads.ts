import { MiB } from "../units.ts";

/**
 * Reads of what is to be in memory, one at a time: a disk that two readers far behind keep busy with all they ask for has a sync wait behind all
 * of it. Measured on a virtual disk, with a read ahead of the system's own of 8 MiB: a journal's write took 120 ms at the 99th
 * percentile beside two such readers, and 8 ms with reads of at most a mebibyte one after the other, which went on at the same rate.
 */
export class ColdReads {
  /** Where the bytes fall. Nobody looks at them. */
  #scratch: Buffer | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** Rejects as the read does. A range that is larger than `coldReadBytesMax` is read up to that. */
  run(read: (into: Uint8Array) => Promise<number>, sizeBytes: number): Promise<void> {
    const reading = this.#last.then(() => {
      this.#scratch ??= Buffer.allocUnsafeSlow(coldReadBytesMax);
      return read(this.#scratch.subarray(0, Math.min(sizeBytes, coldReadBytesMax)));
    });
    this.#last = reading.catch(() => undefined);
    return reading.then(() => undefined);
  }
}

export const coldReadBytesMax: number = MiB;
