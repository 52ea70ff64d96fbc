/** Bytes of records that have not been answered, and who waits for them to become fewer. */
export class Budget {
  readonly bytesMax: number;
  #usedBytes = 0;
  #waiting: (() => void)[] = [];

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get hasRoom(): boolean {
    return this.#usedBytes <= this.bytesMax;
  }

  /** Who has not waited for room for so long is refused. */
  get isExhausted(): boolean {
    return this.#usedBytes >= 2 * this.bytesMax;
  }

  take(bytes: number): void {
    this.#usedBytes += bytes;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
    if (this.#waiting.length > 0 && this.hasRoom) this.release();
  }

  /** Settles when there is room. */
  async room(): Promise<void> {
    while (!this.hasRoom) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Who waits looks again. */
  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }
}
