import type { Prng } from "@millrace/base/prng";
import { DiskError } from "@millrace/base/world";
import type { DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode } from "@millrace/base/world";
import { DiskFaults } from "../disk-faults.ts";
import type { SimulatedDisk, SimulatedFile } from "../simulated-disk.ts";
import type { Process } from "./process.ts";
import type { Trace } from "./trace.ts";

/**
 * The disk of one process: calls take virtual time, so that a crash can come between any two of them, and fail as `faults` says.
 * A process that is dead gets no answer. A sync covers what was written when it was asked for.
 */
export class NodeDisk implements Disk {
  readonly faults: DiskFaults = new DiskFaults();
  /** 1: an SSD; above: as many times slower. */
  slowness = 1;
  #isAstray: ((path: string) => boolean) | null = null;
  readonly #platter: SimulatedDisk;
  readonly #process: Process;
  readonly #prng: Prng;
  readonly #trace: Trace;

  constructor(platter: SimulatedDisk, process: Process, prng: Prng, trace: Trace) {
    this.#platter = platter;
    this.#process = process;
    this.#prng = prng;
    this.#trace = trace;
  }

  /** The next write of a file for which it holds goes to another place in it, and is answered as if it were done. */
  misdirectNext(matches: (path: string) => boolean): void {
    this.#isAstray = matches;
  }

  // --- For its files ----------------------------------------------------------------------------------------------------

  get position(): number {
    return this.#platter.position;
  }

  /** Where the disk really writes. */
  placeOf(path: string, position: number): number {
    if (this.#isAstray?.(path) !== true) return position;
    this.#isAstray = null;
    return this.#prng.chance(0.5) ? position + 4096 : this.#prng.between(0, position);
  }

  wrote(path: string, bytes: Uint8Array): void {
    this.#trace.number(path.length);
    this.#trace.bytes(bytes.length > 64 ? bytes.subarray(0, 64) : bytes);
  }

  /** Never settles for a process that is dead. */
  wait(leastMs: number, mostMs: number): Promise<void> {
    const delayMs = (leastMs + (mostMs - leastMs) * this.#prng.fraction()) * this.slowness;
    return this.#process.after(delayMs);
  }

  alive(): Promise<void> | null {
    return this.#process.isDead ? new Promise<void>(() => {}) : null;
  }

  checkAlive(path: string): void {
    if (this.#process.isDead) throw new DiskError("EIO", path, "use", new Error("its process is dead"));
  }

  /** A sync of a file or a directory: what of it was asked for when it began is durable when it ends. */
  async sync(path: string, commit: (startedAt: number) => Promise<void>): Promise<void> {
    const startedAt = this.#platter.position;
    await this.wait(0.1, 2);
    if ((await this.faults.onSync(path)) === "lie") return;
    await commit(startedAt);
  }

  // --- Disk -------------------------------------------------------------------------------------------------------------

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    await this.alive();
    this.faults.checkOpen(path);
    // What is durable at once becomes so by a sync of its own, so that a crash may come before it.
    const inner = await this.#platter.open(path, mode === "durable" ? "create" : mode);
    return new NodeFile(inner, this, mode === "durable");
  }

  async makeDirectory(path: string): Promise<void> {
    await this.wait(0.01, 0.05);
    await this.#platter.makeDirectory(path);
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    await this.alive();
    return this.#platter.list(path);
  }

  async stat(path: string): ReturnType<Disk["stat"]> {
    await this.alive();
    return this.#platter.stat(path);
  }

  async readFile(path: string): Promise<Buffer> {
    await this.alive();
    this.faults.checkOpen(path);
    this.faults.checkRead(path);
    return this.#platter.readFile(path);
  }

  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const file = await this.open(path, "create");
    try {
      await file.truncate(0);
      await file.write([bytes], 0);
    } finally {
      await file.close();
    }
  }

  async copyFile(from: string, to: string): Promise<void> {
    const bytes = await this.readFile(from);
    if ((await this.stat(to)) !== null) throw new DiskError("EEXIST", from, `copy to ${to}:`);
    await this.writeFile(to, bytes);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.wait(0.01, 0.05);
    await this.#platter.rename(from, to);
  }

  async removeFile(path: string): Promise<void> {
    await this.wait(0.01, 0.05);
    await this.#platter.removeFile(path);
  }

  async removeDirectory(path: string): Promise<void> {
    await this.wait(0.01, 0.05);
    await this.#platter.removeDirectory(path);
  }

  async syncDirectory(path: string): Promise<void> {
    await this.sync(path, (startedAt) => this.#platter.syncDirectory(path, startedAt));
  }

  async syncFiles(files: readonly DiskFile[]): Promise<void> {
    await Promise.all(files.map((file) => file.sync()));
  }

  async lock(path: string): Promise<DiskLock | null> {
    await this.alive();
    return this.#platter.lock(path);
  }

  async space(path: string): ReturnType<Disk["space"]> {
    await this.alive();
    const { totalBytes, usableBytes } = await this.#platter.space(path);
    return { totalBytes, usableBytes: Math.min(usableBytes, this.faults.usableBytes(path)) };
  }
}

class NodeFile implements DiskFile {
  readonly path: string;
  readonly #inner: SimulatedFile;
  readonly #disk: NodeDisk;
  readonly #isDurable: boolean;

  constructor(inner: SimulatedFile, disk: NodeDisk, isDurable: boolean) {
    this.path = inner.path;
    this.#inner = inner;
    this.#disk = disk;
    this.#isDurable = isDurable;
  }

  async sizeBytes(): Promise<number> {
    await this.#disk.alive();
    return this.#inner.sizeBytes();
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    await this.#disk.alive();
    return this.readNow(into, position);
  }

  readNow(into: Uint8Array, position: number): number {
    this.#disk.checkAlive(this.path);
    this.#disk.faults.checkRead(this.path);
    return this.#inner.readNow(into, position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#disk.alive();
    let next = position;
    for (const bytes of buffers) {
      this.#write(bytes, next);
      next += bytes.length;
    }
    if (!this.#isDurable) return this.#disk.wait(0.01, 0.1);
    await this.#disk.sync(this.path, (startedAt) => this.#inner.sync(startedAt));
  }

  writeNow(bytes: Uint8Array, position: number, zeroBytes = 0): void {
    this.#disk.checkAlive(this.path);
    this.#write(bytes, position);
    if (zeroBytes === 0) return;
    try {
      this.#write(Buffer.alloc(zeroBytes), position + bytes.length);
    } catch {
      // Nobody misses what was not written of them.
    }
  }

  #write(bytes: Uint8Array, position: number): void {
    const accepted = this.#disk.faults.onWrite(this.path, bytes.length);
    const taken = bytes.subarray(0, accepted.sizeBytes);
    this.#disk.wrote(this.path, taken);
    if (taken.length > 0) this.#inner.writeNow(taken, this.#disk.placeOf(this.path, position));
    if (accepted.failure !== null) throw accepted.failure;
  }

  async reserve(sizeBytes: number, spareBytes = 0): Promise<void> {
    await this.#disk.alive();
    this.#disk.faults.onReserve(this.path);
    if (this.#disk.faults.usableBytes(this.path) < sizeBytes + spareBytes)
      throw new DiskError("ENOSPC", this.path, "reserve");
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#disk.wait(0.01, 0.05);
    await this.#inner.truncate(sizeBytes);
  }

  startWriteback(): void {}

  async sync(): Promise<void> {
    await this.#disk.sync(this.path, (startedAt) => this.#inner.sync(startedAt));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
