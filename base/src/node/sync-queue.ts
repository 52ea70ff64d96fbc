import { diskError } from "./disk-errors.ts";

/**
 * Syncs wait long, and each of them holds a thread of the pool while it waits. At most half of the threads are given to
 * them, so that reads and writes always find one.
 */
export class SyncQueue {
  readonly #runningMax: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(runningMax: number) {
    this.#runningMax = runningMax;
  }

  run(call: (done: (error: Error | null) => void) => void, path: string, operation: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        this.#running++;
        call((error) => {
          this.#running--;
          this.#waiting.shift()?.();
          if (error === null) resolve();
          else reject(diskError(error, path, operation));
        });
      };
      if (this.#running < this.#runningMax) start();
      else this.#waiting.push(start);
    });
  }
}
