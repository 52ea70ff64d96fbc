import type { Clock, Disk, Timer } from "@millrace/base/world";

interface Doomed {
  readonly dueMs: number;
  remove(): Promise<void>;
}

/** What was renamed to be removed, and is, when its delay is over. What a crash leaves is removed at the next start. */
export class Trash {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #doomed = new Set<Doomed>();
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(options: { readonly disk: Disk; readonly clock: Clock }) {
    this.#disk = options.disk;
    this.#clock = options.clock;
  }

  get count(): number {
    return this.#doomed.size;
  }

  addFiles(paths: readonly string[], delayMs: number, closed: Promise<void>): void {
    this.#add(delayMs, async () => {
      await closed;
      for (const path of paths) await this.#disk.removeFile(path);
    });
  }

  addDirectory(path: string, delayMs: number, closed: Promise<unknown>): void {
    this.#add(delayMs, async () => {
      await closed;
      await this.#disk.removeDirectory(path);
    });
  }

  /** Forgets what is not due. What is due and held by a reader goes when that lets go. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#doomed.clear();
  }

  #add(delayMs: number, remove: () => Promise<void>): void {
    this.#doomed.add({ dueMs: this.#clock.monotonicMs() + delayMs, remove });
    this.#schedule();
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#isClosed) return;
    let firstMs = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#doomed) firstMs = Math.min(firstMs, dueMs);
    if (firstMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.schedule(Math.max(0, firstMs - this.#clock.monotonicMs()), () => {
      this.#timer = null;
      this.#removeDue();
    });
  }

  #removeDue(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const doomed of [...this.#doomed]) {
      if (doomed.dueMs > nowMs || !this.#doomed.delete(doomed)) continue;
      // Where it cannot be removed it stays under its new name until the next start.
      doomed.remove().catch(() => {});
    }
    this.#schedule();
  }
}
