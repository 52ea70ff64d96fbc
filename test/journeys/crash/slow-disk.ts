import type { Prng } from "@millrace/base/prng";
import type { Clock, DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode } from "@millrace/base/world";

/**
 * A disk whose syncs and writes take their time, each for itself, so that what a program does meanwhile is interleaved
 * with them. A write is on the disk when it is answered, not before; a sync covers what was answered before it began.
 */
export class SlowDisk implements Disk {
  readonly #inner: Disk;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #syncMsMax: number;

  constructor(inner: Disk, options: { readonly clock: Clock; readonly prng: Prng; readonly syncMsMax: number }) {
    this.#inner = inner;
    this.#clock = options.clock;
    this.#prng = options.prng;
    this.#syncMsMax = options.syncMsMax;
  }

  /** Most calls are quick, a few take far longer than the others. */
  pause(msMax: number): Promise<void> {
    const ms = this.#prng.chance(0.05) ? msMax * 5 : this.#prng.fraction() * msMax;
    return new Promise((resolve) => {
      this.#clock.schedule(ms, resolve);
    });
  }

  get syncMsMax(): number {
    return this.#syncMsMax;
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    return new SlowFile(await this.#inner.open(path, mode), this);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#inner.makeDirectory(path);
  }

  list(path: string): Promise<DirectoryEntry[]> {
    return this.#inner.list(path);
  }

  stat(path: string): ReturnType<Disk["stat"]> {
    return this.#inner.stat(path);
  }

  readFile(path: string): Promise<Buffer> {
    return this.#inner.readFile(path);
  }

  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    await this.pause(1);
    await this.#inner.writeFile(path, bytes);
  }

  async copyFile(from: string, to: string): Promise<void> {
    await this.pause(1);
    await this.#inner.copyFile(from, to);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.pause(1);
    await this.#inner.rename(from, to);
  }

  async removeFile(path: string): Promise<void> {
    await this.pause(1);
    await this.#inner.removeFile(path);
  }

  async removeDirectory(path: string): Promise<void> {
    await this.pause(1);
    await this.#inner.removeDirectory(path);
  }

  async syncDirectory(path: string): Promise<void> {
    await this.pause(this.#syncMsMax);
    await this.#inner.syncDirectory(path);
  }

  async syncFiles(files: readonly DiskFile[]): Promise<void> {
    await Promise.all(files.map((file) => file.sync()));
  }

  lock(path: string): Promise<DiskLock | null> {
    return this.#inner.lock(path);
  }

  space(path: string): ReturnType<Disk["space"]> {
    return this.#inner.space(path);
  }
}

class SlowFile implements DiskFile {
  readonly #inner: DiskFile;
  readonly #disk: SlowDisk;

  constructor(inner: DiskFile, disk: SlowDisk) {
    this.#inner = inner;
    this.#disk = disk;
  }

  get path(): string {
    return this.#inner.path;
  }

  sizeBytes(): Promise<number> {
    return this.#inner.sizeBytes();
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#disk.pause(2);
    await this.#inner.write(buffers, position);
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.#inner.read(into, position);
  }

  readNow(into: Uint8Array, position: number): number {
    return this.#inner.readNow(into, position);
  }

  writeNow(bytes: Uint8Array, position: number, zeroBytes?: number): void {
    this.#inner.writeNow(bytes, position, zeroBytes);
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#disk.pause(1);
    await this.#inner.truncate(sizeBytes);
  }

  startWriteback(position: number, sizeBytes: number): void {
    this.#inner.startWriteback(position, sizeBytes);
  }

  async sync(): Promise<void> {
    await this.#disk.pause(this.#disk.syncMsMax);
    await this.#inner.sync();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
