import { MiB, seconds } from "@millrace/base/units";
import type { Clock, Disk, Timer } from "@millrace/base/world";

const CHECK_MS = seconds(1);
/** Less is used up by the first write. */
const USABLE_BYTES_MIN = 4 * MiB;

/** Who found a disk full waits here until it has room again. The disk is only asked while somebody waits. */
export class SpaceWatch {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #path: string;
  readonly #onFailed: (error: unknown) => void;
  readonly #waiting: (() => void)[] = [];
  #timer: Timer | null = null;
  #isStopped = false;

  constructor(options: {
    readonly disk: Disk;
    readonly clock: Clock;
    readonly path: string;
    readonly onFailed: (error: unknown) => void;
  }) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#path = options.path;
    this.#onFailed = options.onFailed;
  }

  /** Calls back when writing is worth another try. */
  wait(callback: () => void): void {
    this.#waiting.push(callback);
    if (this.#waiting.length === 1) this.#look();
  }

  /** Nobody is called any more. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    if (this.#isStopped) return;
    this.#timer = this.#clock.schedule(CHECK_MS, () => {
      this.#timer = null;
      this.#disk.space(this.#path).then(
        ({ usableBytes }) => {
          if (this.#isStopped) return;
          if (usableBytes < USABLE_BYTES_MIN) return this.#look();
          for (const callback of this.#waiting.splice(0)) callback();
        },
        (error: unknown) => this.#onFailed(error),
      );
    });
  }
}
