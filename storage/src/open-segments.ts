import type { Disk } from "@millrace/base/world";
import type { Segment } from "./segment.ts";

/** The open segments of a log directory: at most so many, the least recently used are closed first. */
export class OpenSegments {
  readonly #disk: Disk;
  readonly #openMax: number;
  /** In the order of use. */
  readonly #open = new Set<Segment>();
  #closing: Promise<unknown> = Promise.resolve();
  #isWaitingForLease = false;

  constructor(disk: Disk, openMax: number) {
    this.#disk = disk;
    this.#openMax = openMax;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Whether one more can be opened within the bound; else all that are open are held. */
  get hasRoom(): boolean {
    if (this.#open.size < this.#openMax) return true;
    for (const segment of this.#open) if (segment.leases === 0) return true;
    return false;
  }

  /** Opens the segment and gives a lease on it, which the caller releases. */
  async use(segment: Segment): Promise<void> {
    segment.retain();
    try {
      await segment.open(this.#disk);
    } catch (error) {
      segment.release();
      throw error;
    }
    this.#open.add(segment);
    if (this.#open.size > this.#openMax) this.#closeSome();
  }

  /** Was used just now. */
  touch(segment: Segment): void {
    if (this.#open.size <= this.#openMax / 2) return;
    this.#open.delete(segment);
    this.#open.add(segment);
  }

  /** Closes it, when the last lease is given back. */
  close(segment: Segment): Promise<void> {
    this.#open.delete(segment);
    return new Promise((resolve, reject) => {
      segment.whenIdle(() => {
        segment.close().then(resolve, reject);
      });
    });
  }

  /** As `close`, for one that nobody waits for: a reader may hold it as long as its peer is slow. */
  closeSoon(segment: Segment): void {
    this.#open.delete(segment);
    segment.whenIdle(() => {
      this.#closing = Promise.allSettled([this.#closing, segment.close()]);
    });
  }

  /** Closes those that nobody holds: what a start had to look at need not stay open. */
  async closeUnheld(): Promise<void> {
    for (const segment of [...this.#open]) if (segment.leases === 0) this.closeSoon(segment);
    await this.settle();
  }

  /** Waits for what is being closed without anybody waiting for it. */
  async settle(): Promise<void> {
    await this.#closing;
  }

  /** Whoever still holds a lease closes its segment with it. */
  async closeAll(): Promise<void> {
    for (const segment of [...this.#open]) {
      this.#open.delete(segment);
      segment.whenIdle(() => {
        this.#closing = Promise.allSettled([this.#closing, segment.close()]);
      });
    }
    await this.settle();
  }

  #closeSome(): void {
    let firstInUse: Segment | null = null;
    for (const segment of this.#open) {
      if (this.#open.size <= this.#openMax) return;
      if (segment.leases > 0) {
        firstInUse ??= segment;
        continue;
      }
      this.#open.delete(segment);
      // A file that does not close is of no use any more, and there is nobody to tell.
      this.#closing = Promise.allSettled([this.#closing, segment.close()]);
    }
    if (this.#isWaitingForLease || firstInUse === null) return;
    this.#isWaitingForLease = true;
    firstInUse.whenIdle(() => {
      this.#isWaitingForLease = false;
      this.#closeSome();
    });
  }
}
