import type { Disk, DiskFile } from "@millrace/base/world";

/** Does `work` for each item, so many at a time; rejects with the first failure when all that was begun has ended. */
export async function forEachOf<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  let failure: { readonly error: unknown } | null = null;
  const worker = async (): Promise<void> => {
    for (;;) {
      const next = rest.next();
      if (next.done === true || failure !== null) return;
      try {
        await work(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  // Assigned in the closure above, which the checker does not follow.
  const found = failure as { readonly error: unknown } | null;
  if (found !== null) throw found.error;
}

/**
 * One run of `work` at a time. Who asks while one is under way waits for the next, which serves all who have asked by then:
 * it sees everything that was true when they asked.
 */
export class Coalesced {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  run(): Promise<void> {
    if (this.#running === null) return (this.#running = this.#start());
    this.#next ??= this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    );
    return this.#next;
  }

  #startNext(): Promise<void> {
    this.#next = null;
    return (this.#running = this.#start());
  }

  async #start(): Promise<void> {
    try {
      await this.#work();
    } finally {
      if (this.#next === null) this.#running = null;
    }
  }
}

/** One sync for all who ask while another is under way: many small syncs cost as much as a few large ones. */
export class JointSync {
  readonly #disk: Disk;
  #files: DiskFile[] = [];
  readonly #runs: Coalesced;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.#runs = new Coalesced(() => this.#disk.syncFiles(this.#files.splice(0)));
  }

  sync(files: readonly DiskFile[]): Promise<void> {
    this.#files.push(...files);
    return this.#runs.run();
  }
}
