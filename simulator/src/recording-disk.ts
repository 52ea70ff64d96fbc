import { assert } from "@millrace/base/assert";
import type { Prng } from "@millrace/base/prng";
import { DiskError } from "@millrace/base/world";
import type { DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode } from "@millrace/base/world";
import { CrashModel } from "./crash-model.ts";
import type { DiskEvent, NodePlace } from "./crash-model.ts";
import { DiskFaults } from "./disk-faults.ts";
import { FileTree } from "./file-tree.ts";
import type { FileNode, Place, TreeNode } from "./file-tree.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import type { SimulatedDiskOptions } from "./simulated-disk.ts";

/** A moment that a test wants to find again, such as "the answer for offset 41 left". */
export interface Mark<Label> {
  readonly position: number;
  readonly label: Label;
}

/**
 * Writes down what a program does to another disk, real or simulated: each write, cut, sync, creation, renaming and
 * removal, in the order in which they were answered. From that it builds what a loss of power at any moment would have
 * left, as a simulated disk on which the program can be started again.
 *
 * A sync covers what had been answered when it was asked for. What was asked for and not yet answered may be on a real
 * disk at the moment of a crash; the images of the moment in which it was answered show that, and promise more.
 *
 * `faults` makes the disk fail, fill up, lie or be slow.
 */
export class RecordingDisk<Label = string> implements Disk {
  readonly faults: DiskFaults = new DiskFaults();
  /** What files were to be given ahead, and what was cut off behind. */
  readonly reservations: { readonly path: string; readonly sizeBytes: number }[] = [];
  readonly #inner: Disk;
  /** The names as they were when the recording began. */
  readonly #initial: FileTree;
  /** The names as they are; the files are empty, since their bytes lie in the inner disk. */
  readonly #names: FileTree;
  readonly #events: DiskEvent[] = [];
  readonly #marks: Mark<Label>[] = [];

  private constructor(inner: Disk, initial: FileTree, names: FileTree) {
    this.#inner = inner;
    this.#initial = initial;
    this.#names = names;
  }

  /** What already lies below `root` counts as durable. Nothing outside of it may be used. */
  static async over<Label = string>(inner: Disk, root: string): Promise<RecordingDisk<Label>> {
    const initial = new FileTree();
    const names = new FileTree();
    const scratch = new SimulatedDisk({}, initial);
    await scratch.makeDirectory(root);
    await new SimulatedDisk({}, names).makeDirectory(root);
    const adopt = async (path: string): Promise<void> => {
      for (const { name, kind } of await inner.list(path)) {
        const child = `${path}/${name}`;
        const [place, place2] = [initial.place(child, "adopt"), names.place(child, "adopt")];
        if (kind === "directory") {
          place.directory.entries.set(name, initial.newDirectory());
          place2.directory.entries.set(name, names.newDirectory());
          await adopt(child);
        } else if (kind === "file") {
          const file = initial.newFile();
          file.content.write(await inner.readFile(child), 0);
          place.directory.entries.set(name, file);
          place2.directory.entries.set(name, names.newFile());
        }
      }
    };
    if ((await inner.stat(root)) !== null) await adopt(root);
    return new RecordingDisk<Label>(inner, initial, names);
  }

  /** The number of events so far: the position of the present moment. */
  get position(): number {
    return this.#events.length;
  }

  get marks(): readonly Mark<Label>[] {
    return this.#marks;
  }

  /** All that was written down, for a test that asserts an order. */
  get events(): readonly DiskEvent[] {
    return this.#events;
  }

  mark(label: Label): void {
    this.#marks.push({ position: this.position, label });
  }

  /** The marks that had been set when the recording stood at `position`. */
  marksUntil(position: number): readonly Mark<Label>[] {
    return this.#marks.filter((mark) => mark.position <= position);
  }

  /** What a loss of power at each of the positions (in rising order) would have left. */
  *powerLosses(
    positions: Iterable<number>,
    prng: Prng,
    options: SimulatedDiskOptions = {},
  ): Generator<{ readonly position: number; readonly disk: SimulatedDisk }> {
    const model = new CrashModel(this.#initial);
    for (const position of positions) {
      assert(position >= model.position && position <= this.position, "positions rise, and lie in the recording");
      for (const event of this.#events.slice(model.position, position)) model.apply(event);
      yield { position, disk: new SimulatedDisk(options, model.image(prng)) };
    }
  }

  afterPowerLoss(prng: Prng, position: number = this.position): SimulatedDisk {
    for (const { disk } of this.powerLosses([position], prng)) return disk;
    throw new Error("one position gives one disk");
  }

  // --- Disk ----------------------------------------------------------------------------------------------------------

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    if (this.faults.isSlow) await this.faults.delay("names", path);
    this.faults.checkOpen(path);
    const file = await this.#inner.open(path, mode);
    const node = this.#names.find(path) ?? this.#created(path, this.#names.newFile());
    assert(node.kind === "file", "a file was opened");
    return new RecordingFile(file, node, this, mode === "durable");
  }

  #created(path: string, node: TreeNode): TreeNode {
    const place = this.#names.place(path, "record");
    place.directory.entries.set(place.name, node);
    this.record({ kind: "create", node: node.id, isDirectory: node.kind === "directory", at: nodePlace(place) });
    return node;
  }

  async makeDirectory(path: string): Promise<void> {
    if (this.faults.isSlow) await this.faults.delay("names", path);
    await this.#inner.makeDirectory(path);
    let made = path.startsWith("/") ? "" : ".";
    for (const name of path.split("/").filter((part) => part !== "" && part !== ".")) {
      made += `/${name}`;
      if (this.#names.find(made) === null) this.#created(made, this.#names.newDirectory());
    }
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    if (this.faults.isSlow) await this.faults.delay("names", path);
    return this.#inner.list(path);
  }

  async stat(path: string): ReturnType<Disk["stat"]> {
    if (this.faults.isSlow) await this.faults.delay("names", path);
    return this.#inner.stat(path);
  }

  async readFile(path: string): Promise<Buffer> {
    if (this.faults.isSlow) await this.faults.delay("read", path);
    this.faults.checkOpen(path);
    this.faults.checkRead(path);
    return this.#inner.readFile(path);
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
    if (this.faults.isSlow) await this.faults.delay("names", from);
    await this.#inner.rename(from, to);
    const [source, target] = [this.#names.place(from, "record"), this.#names.place(to, "record")];
    const node = source.directory.entries.get(source.name);
    assert(node !== undefined, "what was renamed was recorded before");
    if (target.directory.entries.get(target.name) === node) return;
    source.directory.entries.delete(source.name);
    target.directory.entries.set(target.name, node);
    this.record({ kind: "rename", node: node.id, from: nodePlace(source), at: nodePlace(target) });
  }

  async removeFile(path: string): Promise<void> {
    if (this.faults.isSlow) await this.faults.delay("names", path);
    await this.#inner.removeFile(path);
    if (this.#names.find(path) !== null) this.#removed(this.#names.place(path, "record"));
  }

  async removeDirectory(path: string): Promise<void> {
    if (this.faults.isSlow) await this.faults.delay("names", path);
    await this.#inner.removeDirectory(path);
    if (this.#names.find(path) !== null) this.#removed(this.#names.place(path, "record"));
  }

  #removed({ directory, name }: Place): void {
    const node = directory.entries.get(name);
    assert(node !== undefined, "what was removed was recorded before");
    if (node.kind === "directory") {
      for (const child of node.entries.keys()) this.#removed({ directory: node, name: child });
    }
    directory.entries.delete(name);
    this.record({ kind: "remove", node: node.id, at: nodePlace({ directory, name }) });
  }

  async syncDirectory(path: string): Promise<void> {
    const { id } = this.#names.directory(path, "sync directory");
    const startedAt = this.position;
    if (this.faults.isSlow) await this.faults.delay("sync", path);
    if ((await this.faults.onSync(path)) === "lie") return;
    await this.#inner.syncDirectory(path);
    this.record({ kind: "sync-directory", node: id, startedAt });
  }

  async syncFiles(files: readonly DiskFile[]): Promise<void> {
    const ours = files.map((file) => {
      assert(file instanceof RecordingFile, "a disk syncs the files that it has opened");
      return file;
    });
    const startedAt = this.position;
    if (this.faults.isSlow) await Promise.all(ours.map(({ path }) => this.faults.delay("sync", path)));
    const honest: RecordingFile[] = [];
    for (const file of ours) if ((await this.faults.onSync(file.path)) === "sync") honest.push(file);
    if (honest.length === 0) return;
    await this.#inner.syncFiles(honest.map((file) => file.inner));
    for (const { node } of honest) this.record({ kind: "sync", node: node.id, startedAt });
  }

  async lock(path: string): Promise<DiskLock | null> {
    const lock = await this.#inner.lock(path);
    if (lock !== null && this.#names.find(path) === null) this.#created(path, this.#names.newFile());
    return lock;
  }

  async space(path: string): ReturnType<Disk["space"]> {
    const { totalBytes, usableBytes } = await this.#inner.space(path);
    return { totalBytes, usableBytes: Math.min(usableBytes, this.faults.usableBytes(path)) };
  }

  record(event: DiskEvent): void {
    this.#events.push(event);
  }
}

/** What a file needs of its disk. */
interface Recorder {
  readonly faults: DiskFaults;
  readonly position: number;
  readonly reservations: { readonly path: string; readonly sizeBytes: number }[];
  record(event: DiskEvent): void;
}

class RecordingFile implements DiskFile {
  readonly inner: DiskFile;
  readonly node: FileNode;
  readonly #disk: Recorder;
  readonly #isDurable: boolean;

  constructor(inner: DiskFile, node: FileNode, disk: Recorder, isDurable: boolean) {
    this.inner = inner;
    this.node = node;
    this.#disk = disk;
    this.#isDurable = isDurable;
  }

  get path(): string {
    return this.inner.path;
  }

  sizeBytes(): Promise<number> {
    return this.inner.sizeBytes();
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    // Copied before the call: what the caller does to its buffers afterwards is its own affair.
    const bytes = Buffer.concat(buffers);
    if (this.#disk.faults.isSlow) await this.#disk.faults.delay("write", this.path);
    const accepted = this.#disk.faults.onWrite(this.path, bytes.length);
    if (accepted.sizeBytes === bytes.length) await this.inner.write([bytes], position);
    else if (accepted.sizeBytes > 0) await this.inner.write([bytes.subarray(0, accepted.sizeBytes)], position);
    this.#recordWrite(bytes.subarray(0, accepted.sizeBytes), position);
    if (accepted.failure !== null) throw accepted.failure;
    if (this.#isDurable) await this.#recordSync();
  }

  writeNow(bytes: Uint8Array, position: number, zeroBytes = 0): void {
    assert(!this.#isDurable, "what is durable at once is not written on the calling thread");
    this.#writeNow(bytes, position);
    if (zeroBytes === 0) return;
    try {
      this.#writeNow(Buffer.alloc(zeroBytes), position + bytes.length);
    } catch {
      // Nobody misses what was not written of them.
    }
  }

  #writeNow(bytes: Uint8Array, position: number): void {
    const accepted = this.#disk.faults.onWrite(this.path, bytes.length);
    if (accepted.sizeBytes > 0) this.inner.writeNow(bytes.subarray(0, accepted.sizeBytes), position);
    this.#recordWrite(Uint8Array.from(bytes.subarray(0, accepted.sizeBytes)), position);
    if (accepted.failure !== null) throw accepted.failure;
  }

  #recordWrite(bytes: Uint8Array, position: number): void {
    if (bytes.length > 0) this.#disk.record({ kind: "write", node: this.node.id, position, bytes });
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    if (this.#disk.faults.isSlow) await this.#disk.faults.delay("read", this.path);
    this.#disk.faults.checkRead(this.path);
    return this.inner.read(into, position);
  }

  readNow(into: Uint8Array, position: number): number {
    this.#disk.faults.checkRead(this.path);
    return this.inner.readNow(into, position);
  }

  async truncate(sizeBytes: number): Promise<void> {
    if (this.#disk.faults.isSlow) await this.#disk.faults.delay("write", this.path);
    await this.inner.truncate(sizeBytes);
    this.#disk.reservations.push({ path: this.path, sizeBytes });
    this.#disk.record({ kind: "truncate", node: this.node.id, sizeBytes });
  }

  /** Nothing of it is written; only a disk with too little space is noticed. */
  async reserve(sizeBytes: number, spareBytes = 0): Promise<void> {
    if (this.#disk.faults.isSlow) await this.#disk.faults.delay("reserve", this.path);
    this.#disk.faults.onReserve(this.path);
    if (this.#disk.faults.usableBytes(this.path) < sizeBytes + spareBytes)
      throw new DiskError("ENOSPC", this.path, "reserve");
    this.#disk.reservations.push({ path: this.path, sizeBytes });
  }

  startWriteback(position: number, sizeBytes: number): void {
    this.inner.startWriteback(position, sizeBytes);
  }

  async sync(): Promise<void> {
    await this.#recordSync(() => this.inner.sync());
  }

  async #recordSync(sync?: () => Promise<void>): Promise<void> {
    const startedAt = this.#disk.position;
    if (this.#disk.faults.isSlow) await this.#disk.faults.delay("sync", this.path);
    if ((await this.#disk.faults.onSync(this.path)) === "lie") return;
    await sync?.();
    this.#disk.record({ kind: "sync", node: this.node.id, startedAt });
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

function nodePlace({ directory, name }: Place): NodePlace {
  return { directory: directory.id, name };
}
