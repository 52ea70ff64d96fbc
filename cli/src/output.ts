import { once } from "node:events";
import type { Clock } from "@millrace/base/world";

const chunkBytesMax = 64 * 1024;

/**
 * Standard output for many small lines: what is written in one turn leaves together. Lines that wait for nothing more
 * are out at the turn's end, so that a reader who follows sees each record as it comes.
 */
export class Output {
  readonly #clock: Clock;
  #lines: Uint8Array[] = [];
  #bytes = 0;
  #isFlushDue = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False when the reader has gone away: there is nobody to write for. */
  get isOpen(): boolean {
    return process.stdout.writable;
  }

  /** Waits while the reader is slower than we are. */
  async write(line: Uint8Array): Promise<void> {
    this.#lines.push(line);
    this.#bytes += line.length;
    if (this.#bytes >= chunkBytesMax) await this.flush();
    else if (!this.#isFlushDue) {
      this.#isFlushDue = true;
      this.#clock.afterTurn(() => {
        this.#isFlushDue = false;
        void this.flush();
      });
    }
  }

  async flush(): Promise<void> {
    if (this.#bytes === 0 || !this.isOpen) return;
    const chunk = Buffer.concat(this.#lines, this.#bytes);
    this.#lines = [];
    this.#bytes = 0;
    if (process.stdout.write(chunk)) return;
    const end = new AbortController();
    const { signal } = end;
    // A reader that goes away drains nothing.
    await Promise.race([once(process.stdout, "drain", { signal }), once(process.stdout, "close", { signal })]).catch(
      () => {},
    );
    end.abort();
  }
}
