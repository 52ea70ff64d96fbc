import { DiskError } from "@millrace/base/world";
import type { Clock, DiskErrorCode } from "@millrace/base/world";

type Matches = (path: string) => boolean;
/** names: whatever makes, changes, lists or looks at names. */
export type SlowOperation = "read" | "write" | "sync" | "names" | "reserve";

const every: Matches = () => true;

/** The faults that a test switches on in a RecordingDisk. */
export class DiskFaults {
  /** Syncs, all or those of some paths, do nothing and say yes: the planted bug that every durability test must find. */
  areSyncsLies: boolean | Matches = false;
  /** What may still be written before the disk is full. */
  spaceBytes: number = Infinity;
  /** Paths that lie on a file system of their own, which is full by itself. */
  readonly volumes: { readonly matches: Matches; spaceBytes: number }[] = [];
  #syncFailures: { readonly code: DiskErrorCode; readonly matches: Matches }[] = [];
  #reservationFailure: DiskErrorCode | null = null;
  #writeFailures: { readonly code: DiskErrorCode; readonly matches: Matches }[] = [];
  #unreadable: { readonly code: DiskErrorCode; readonly matches: Matches }[] = [];
  #slowness: { readonly clock: Clock; delayMs(operation: SlowOperation, path: string): number } | null = null;
  #gate: Promise<void> | null = null;
  #syncsAtGate = 0;

  /** None any more, but for the volumes of their own. */
  clear(): void {
    this.areSyncsLies = false;
    this.spaceBytes = Infinity;
    this.#syncFailures = [];
    this.#reservationFailure = null;
    this.#writeFailures = [];
    this.#unreadable = [];
    this.#slowness = null;
  }

  /** The next sync of a file or directory whose path matches fails. */
  failNextSync(options: { readonly code?: DiskErrorCode; readonly matches?: Matches } = {}): void {
    this.#syncFailures.push({ code: options.code ?? "EIO", matches: options.matches ?? every });
  }

  failNextWrite(options: { readonly code?: DiskErrorCode; readonly matches?: Matches } = {}): void {
    this.#writeFailures.push({ code: options.code ?? "EIO", matches: options.matches ?? every });
  }

  failNextReservation(options: { readonly code?: DiskErrorCode } = {}): void {
    this.#reservationFailure = options.code ?? "EIO";
  }

  /** EACCES: the file cannot be opened. Any other code: it can, but its bytes cannot be read. */
  makeUnreadable(matches: Matches | string, code: DiskErrorCode = "EIO"): void {
    this.#unreadable.push({ code, matches: typeof matches === "string" ? (path) => path === matches : matches });
  }

  makeReadable(): void {
    this.#unreadable = [];
  }

  /**
   * Operations take time of the clock before they have any effect, each for itself, so that a later one may overtake an earlier one.
   * What is done on the calling thread takes none. Until the function that is returned is called.
   */
  slowDown(clock: Clock, delayMs: (operation: SlowOperation, path: string) => number): () => void {
    this.#slowness = { clock, delayMs };
    return () => {
      this.#slowness = null;
    };
  }

  /** Syncs wait until the function that is returned is called, so that a test sees what happens meanwhile. */
  holdSyncs(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return () => {
      this.#gate = null;
      resolve();
    };
  }

  /** How many wait at present. */
  get heldSyncs(): number {
    return this.#syncsAtGate;
  }

  // --- For the disk --------------------------------------------------------------------------------------------------

  /** Where it is not, nobody waits, not even for a microtask. */
  get isSlow(): boolean {
    return this.#slowness !== null;
  }

  async delay(operation: SlowOperation, path: string): Promise<void> {
    const slowness = this.#slowness;
    const delayMs = slowness?.delayMs(operation, path) ?? 0;
    if (slowness !== null && delayMs > 0)
      await new Promise<void>((resolve) => slowness.clock.schedule(delayMs, resolve));
  }

  async onSync(path: string): Promise<"sync" | "lie"> {
    if (this.#gate !== null) {
      this.#syncsAtGate++;
      await this.#gate;
      this.#syncsAtGate--;
    }
    const failure = takeFirst(this.#syncFailures, path);
    if (failure !== null) throw new DiskError(failure.code, path, "sync", new Error("a fault that a test has planted"));
    const isLie = typeof this.areSyncsLies === "boolean" ? this.areSyncsLies : this.areSyncsLies(path);
    return isLie ? "lie" : "sync";
  }

  /** How much of the write the disk takes, and how it fails with the rest. */
  onWrite(path: string, sizeBytes: number): { readonly sizeBytes: number; readonly failure: DiskError | null } {
    const failure = takeFirst(this.#writeFailures, path);
    if (failure !== null) return { sizeBytes: 0, failure: new DiskError(failure.code, path, "write") };
    const volume = this.#volumeOf(path);
    const taken = Math.min(sizeBytes, volume.spaceBytes);
    volume.spaceBytes -= taken;
    return { sizeBytes: taken, failure: taken < sizeBytes ? new DiskError("ENOSPC", path, "write") : null };
  }

  onReserve(path: string): void {
    const code = this.#reservationFailure;
    this.#reservationFailure = null;
    if (code !== null) throw new DiskError(code, path, "reserve");
  }

  usableBytes(path: string): number {
    return this.#volumeOf(path).spaceBytes;
  }

  #volumeOf(path: string): { spaceBytes: number } {
    return this.volumes.find(({ matches }) => matches(path)) ?? this;
  }

  checkOpen(path: string): void {
    const found = this.#unreadable.find(({ matches }) => matches(path));
    if (found?.code === "EACCES") throw new DiskError("EACCES", path, "open");
  }

  checkRead(path: string): void {
    const found = this.#unreadable.find(({ matches }) => matches(path));
    if (found !== undefined) throw new DiskError(found.code, path, "read");
  }
}

function takeFirst<T extends { readonly matches: Matches }>(planted: T[], path: string): T | null {
  const index = planted.findIndex(({ matches }) => matches(path));
  return index === -1 ? null : (planted.splice(index, 1)[0] ?? null);
}
